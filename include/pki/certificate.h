// An X.509 certificate (RFC 5280), read-only, and the values it is made of.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pki/handle.h"
#include "pki/key.h"
#include "pki/names.h"
#include "pki/secret.h"

namespace pki {

/// A moment, in whole seconds of UTC: what a certificate can express. The library never reads the
/// clock; whoever calls it says what time it is.
using Instant = std::chrono::sys_seconds;

/// "2028-12-24T10:15:00Z".
[[nodiscard]] std::string text(Instant instant);
/// "1 day", "30 days".
[[nodiscard]] std::string text(std::chrono::days number);

/// A span of calendar years and days.
struct Lifetime {
  std::chrono::years years{};
  std::chrono::days days{};
};

/// Both ends are inclusive (RFC 5280 4.1.2.5): a certificate of one day lasts 86,400 seconds, and
/// its not_after is 86,399 seconds after its not_before.
struct Validity {
  Instant not_before;
  Instant not_after;

  static Validity starting(Instant not_before, Lifetime lifetime);

  [[nodiscard]] bool contains(Instant instant) const noexcept {
    return not_before <= instant && instant <= not_after;
  }
  [[nodiscard]] std::chrono::seconds length() const noexcept {
    return not_after - not_before + std::chrono::seconds{1};
  }
  /// Less than 30 days, or than a third of a short certificate's lifetime, are left.
  [[nodiscard]] bool is_expiring(Instant now) const noexcept {
    constexpr std::chrono::seconds window = std::chrono::days{30};
    return not_after - now < std::min(window, length() / 3);
  }

  friend bool operator==(const Validity&, const Validity&) noexcept = default;
};

/// A positive integer of at most 20 octets (RFC 5280 4.1.2.2).
class SerialNumber {
 public:
  /// 16 random octets, the top bit clear (else DER needs one more) and the next one set (so that
  /// all have the same length): 126 random bits.
  static SerialNumber generate();
  /// Big-endian, without leading zeros. Throws Error for none, or more than 20.
  static SerialNumber from_bytes(std::span<const std::uint8_t> bytes);

  /// What text() writes, in upper or lower case; leading zeros are dropped. Nothing for anything
  /// else.
  static std::optional<SerialNumber> parse(std::string_view text) noexcept;

  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept {
    return {bytes_.data(), size_};
  }
  /// Upper-case hexadecimal, two digits an octet: as OpenSSL's index writes it.
  [[nodiscard]] std::string text() const;

  /// As numbers.
  // NOLINTNEXTLINE: clang-tidy 14 sees a null pointer in what the compiler makes
  friend auto operator<=>(const SerialNumber&, const SerialNumber&) noexcept = default;

 private:
  SerialNumber() = default;

  std::size_t size_ = 0;
  std::array<std::uint8_t, 20> bytes_{};
};

/// Cheap to copy; may be shared between threads.
class Certificate {
 public:
  /// Takes ownership; the object must not be changed any more.
  explicit Certificate(Handle<x509_st> certificate);
  /// Throws Error unless `der` is one certificate and nothing else.
  static Certificate from_der(std::span<const unsigned char> der);
  /// The first CERTIFICATE block, whatever stands around it. Throws Error.
  static Certificate from_pem(std::string_view pem);

  /// Every CERTIFICATE block, in order: a leaf and its intermediates. Throws Error if there is
  /// none.
  static std::vector<Certificate> chain_from_pem(std::string_view pem);

  Certificate(const Certificate& other) noexcept;
  Certificate(Certificate&&) noexcept = default;
  Certificate& operator=(Certificate other) noexcept;
  ~Certificate() = default;

  [[nodiscard]] std::vector<unsigned char> der() const;
  [[nodiscard]] SecretBytes pem() const;
  /// Throws Error for a key that OpenSSL cannot read.
  [[nodiscard]] PublicKey public_key() const;
  /// The same as SubjectPublicKeyInfo (RFC 5280 4.1.2.7).
  [[nodiscard]] std::vector<unsigned char> public_key_der() const;
  /// Whether that is its public key: quicker than to compare public_key() with it. Throws Error as
  /// that does.
  [[nodiscard]] bool has_key(const PublicKey& key) const;
  /// Throws Error where the file breaks RFC 5280.
  [[nodiscard]] SerialNumber serial() const;
  [[nodiscard]] Validity validity() const;
  /// In the certificate's order. Throws Error if there is one that is no DNS name or IP address.
  [[nodiscard]] std::vector<San> sans() const;
  /// The first common name of the subject; empty if there is none.
  [[nodiscard]] std::string common_name() const;
  /// The subject as OpenSSL's index writes it: "/CN=bouncerhost".
  [[nodiscard]] std::string subject() const;
  [[nodiscard]] bool is_ca() const noexcept;
  /// How many CA certificates may come between this one and a leaf (RFC 5280 4.2.1.9); nothing
  /// where that is not limited.
  [[nodiscard]] std::optional<long> path_length() const noexcept;
  /// Whether its issuer's name and key identifier are those of `issuer`: cheap, and no proof.
  [[nodiscard]] bool names_issuer(const Certificate& issuer) const;
  /// Whether it names `issuer` and bears the signature of its key.
  [[nodiscard]] bool is_signed_by(const Certificate& issuer) const;
  /// Without an extended key usage extension a certificate serves for everything.
  [[nodiscard]] bool allows_server_auth() const noexcept;
  [[nodiscard]] bool allows_client_auth() const noexcept;
  /// SHA-256 of the DER: "AB:CD:...", as `openssl x509 -fingerprint -sha256` prints it.
  [[nodiscard]] std::string fingerprint() const;

  [[nodiscard]] x509_st* native() const noexcept { return certificate_.get(); }

 private:
  Handle<x509_st> certificate_;
};

/// All of them in PEM, one behind the other.
[[nodiscard]] SecretBytes pem_of(std::span<const Certificate> certificates);

}  // namespace pki
