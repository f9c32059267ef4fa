// Private keys, public keys and their kinds.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pki/handle.h"
#include "pki/secret.h"

namespace pki {

/// The kinds of key that this library makes. It reads others too: an existing root may have one.
enum class KeyType { p256, p384, rsa2048, rsa3072, rsa4096, ed25519 };

inline constexpr std::array all_key_types = {KeyType::p256,    KeyType::p384,    KeyType::rsa2048,
                                             KeyType::rsa3072, KeyType::rsa4096, KeyType::ed25519};

/// "p256", "rsa2048" and so on: the enumerator's name.
[[nodiscard]] std::string_view text(KeyType type) noexcept;
/// The reverse, without regard to case; nothing for an unknown name.
[[nodiscard]] std::optional<KeyType> parse_key_type(std::string_view text) noexcept;

/// The public half of a key pair. Cheap to copy; may be shared between threads.
class PublicKey {
 public:
  explicit PublicKey(Handle<evp_pkey_st> key);
  /// A SubjectPublicKeyInfo (RFC 5280 4.1.2.7). Throws Error for anything else, and for a key that
  /// OpenSSL cannot read.
  static PublicKey from_der(std::span<const unsigned char> der);

  PublicKey(const PublicKey& other);
  PublicKey(PublicKey&&) noexcept = default;
  PublicKey& operator=(PublicKey other) noexcept;
  ~PublicKey() = default;

  /// Nothing for a key of a kind or size that is not in KeyType.
  [[nodiscard]] std::optional<KeyType> type() const noexcept;
  /// For people: "P-256", "RSA 1024", "ED448".
  [[nodiscard]] std::string description() const;

  /// SubjectPublicKeyInfo.
  [[nodiscard]] std::vector<unsigned char> der() const;

  [[nodiscard]] evp_pkey_st* native() const noexcept { return key_.get(); }

  friend bool operator==(const PublicKey& a, const PublicKey& b) noexcept;

 private:
  friend class Key;
  PublicKey(Handle<evp_pkey_st> key, std::vector<unsigned char> point) noexcept
      : key_(std::move(key)), point_(std::move(point)) {}

  Handle<evp_pkey_st> key_;
  // Of a P-256 or P-384 key, uncompressed, where it is known: OpenSSL computes it anew whenever it
  // is asked. Else empty, and OpenSSL compares and encodes the key.
  std::vector<unsigned char> point_;
};

/// A private key with its public half. May be shared between threads.
class Key {
 public:
  static Key generate(KeyType type);
  /// The first private key in `pem`: PKCS#8, SEC1 or PKCS#1, with whatever stands around it (an EC
  /// PARAMETERS block, comments, CRLF). An encrypted key is refused; nothing is ever prompted for.
  /// Throws Error.
  static Key from_pem(std::string_view pem);

  Key(Key&&) noexcept = default;
  Key& operator=(Key&&) noexcept = default;
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key() = default;

  /// PKCS#8 (RFC 5958), not encrypted.
  [[nodiscard]] SecretBytes der() const;
  /// The same in PEM: what PgBouncer, PostgreSQL and every driver read.
  [[nodiscard]] SecretBytes pem() const;
  [[nodiscard]] const PublicKey& public_key() const& noexcept { return public_key_; }
  [[nodiscard]] PublicKey public_key() && noexcept { return std::move(public_key_); }
  /// Whether the private half belongs to the public one: a file may be damaged between them.
  [[nodiscard]] bool halves_match() const;
  [[nodiscard]] evp_pkey_st* native() const noexcept { return public_key_.native(); }

 private:
  explicit Key(PublicKey pair) noexcept : public_key_(std::move(pair)) {}

  PublicKey public_key_;  // OpenSSL's object has both halves
};

}  // namespace pki
