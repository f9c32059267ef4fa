#include "pki/key.h"

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <span>

#include "base/ascii.h"
#include "base/openssl.h"
#include "pki/error.h"
#include "x509/ec_encoding.h"
#include "x509/ec_group.h"
#include "x509/pem.h"

namespace pki {
namespace {

struct TypeName {
  KeyType type;
  std::string_view name;
};

constexpr std::array type_names = {
    TypeName{KeyType::p256, "p256"},       TypeName{KeyType::p384, "p384"},
    TypeName{KeyType::rsa2048, "rsa2048"}, TypeName{KeyType::rsa3072, "rsa3072"},
    TypeName{KeyType::rsa4096, "rsa4096"}, TypeName{KeyType::ed25519, "ed25519"},
};

constexpr const char* reading = "reading a key";

Handle<evp_pkey_st> share(evp_pkey_st* key) noexcept {
  EVP_PKEY_up_ref(key);
  return Handle<evp_pkey_st>(key);
}

// A key pair of its parts. OpenSSL's decoders would do the same at a hundred times the cost: they
// try every format they know. Private and public half are not checked against each other here: who
// uses a key asks (Key::halves_match).
Handle<evp_pkey_st> from_parts(const EcEncoding& encoding, std::span<const unsigned char> scalar,
                               std::span<const unsigned char> point) {
  SecretBytes native_order(scalar.rbegin(), scalar.rend());  // OSSL_PARAM integers: least first
  std::string group(encoding.group);
  std::array params = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group.data(), 0),
      OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native_order.data(), native_order.size()),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
                                        const_cast<unsigned char*>(point.data()), point.size()),
      OSSL_PARAM_construct_end(),
  };
  const auto context = check(EVP_PKEY_CTX_new_from_name(common_context(), "EC", nullptr), reading);
  check(EVP_PKEY_fromdata_init(context.get()), reading);
  evp_pkey_st* key = nullptr;
  check(EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, params.data()), reading);
  return Handle<evp_pkey_st>(key);
}

Handle<evp_pkey_st> decode_private_key(const SecretBytes& der) {
  const unsigned char* cursor = nullptr;
  const auto decode = [&](OSSL_LIB_CTX* context) {
    cursor = der.data();
    return Handle<evp_pkey_st>(
        d2i_AutoPrivateKey_ex(nullptr, &cursor, static_cast<long>(der.size()), context, nullptr));
  };
  Handle<evp_pkey_st> key = decode(common_context());
  if (key == nullptr && common_context() != nullptr) key = decode(nullptr);
  if (key == nullptr) throw Error("the private key is damaged: " + take_openssl_reason());
  if (cursor != der.data() + der.size()) {
    throw Error("the private key is damaged: bytes follow its end");
  }
  return key;
}

// PKCS#8 of an Ed25519 key (RFC 8410 section 7) up to its 32 bytes.
constexpr std::array<unsigned char, 16> ed25519_pkcs8 = {
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};

SecretBytes pkcs8(const EcEncoding& encoding, const evp_pkey_st* key,
                  std::span<const unsigned char> point) {
  const Handle<bignum_st> number = ec_scalar(key);
  SecretBytes scalar(encoding.field_size);
  check(BN_bn2binpad(number.get(), scalar.data(), static_cast<int>(scalar.size())),
        "writing a key");
  return join_pkcs8(encoding, scalar, point);
}

SecretBytes pkcs8(const evp_pkey_st* key) {
  if (EVP_PKEY_is_a(key, "ED25519") == 1) {
    std::size_t size = 32;
    SecretBytes der(ed25519_pkcs8.begin(), ed25519_pkcs8.end());
    der.resize(ed25519_pkcs8.size() + size);
    check(EVP_PKEY_get_raw_private_key(key, der.data() + ed25519_pkcs8.size(), &size),
          "writing a key");
    return der;
  }
  const auto info = check(EVP_PKEY2PKCS8(key), "writing a key");
  SecretBytes der(static_cast<std::size_t>(
      check(i2d_PKCS8_PRIV_KEY_INFO(info.get(), nullptr), "writing a key")));
  unsigned char* cursor = der.data();
  check(i2d_PKCS8_PRIV_KEY_INFO(info.get(), &cursor), "writing a key");
  return der;
}

Handle<evp_pkey_ctx_st> generator_of(KeyType type) {
  constexpr const char* doing = "generating a key";
  const auto begin = [&](const char* name) {
    auto context = check(EVP_PKEY_CTX_new_from_name(common_context(), name, nullptr), doing);
    check(EVP_PKEY_keygen_init(context.get()), doing);
    return context;
  };
  const auto ec = [&](const char* group) {
    auto context = begin("EC");
    check(EVP_PKEY_CTX_set_group_name(context.get(), group), doing);
    return context;
  };
  const auto rsa = [&](int bits) {
    auto context = begin("RSA");
    check(EVP_PKEY_CTX_set_rsa_keygen_bits(context.get(), bits), doing);
    return context;
  };
  switch (type) {
    case KeyType::p256: return ec("P-256");
    case KeyType::p384: return ec("P-384");
    case KeyType::rsa2048: return rsa(2048);
    case KeyType::rsa3072: return rsa(3072);
    case KeyType::rsa4096: return rsa(4096);
    case KeyType::ed25519: return begin("ED25519");
  }
  return {};
}

}  // namespace

std::string_view text(KeyType type) noexcept {
  return std::ranges::find(type_names, type, &TypeName::type)->name;
}

std::optional<KeyType> parse_key_type(std::string_view text) noexcept {
  for (const TypeName& row : type_names) {
    if (equal_ignoring_case(text, row.name)) return row.type;
  }
  return std::nullopt;
}

PublicKey::PublicKey(Handle<evp_pkey_st> key)
    : key_(std::move(key)), point_(ec_point(key_.get())) {}

PublicKey PublicKey::from_der(std::span<const unsigned char> der) {
  const unsigned char* cursor = nullptr;
  const auto decode = [&](OSSL_LIB_CTX* context) {
    cursor = der.data();
    return Handle<evp_pkey_st>(
        d2i_PUBKEY_ex(nullptr, &cursor, static_cast<long>(der.size()), context, nullptr));
  };
  Handle<evp_pkey_st> key = decode(common_context());
  if (key == nullptr && common_context() != nullptr) key = decode(nullptr);
  if (key == nullptr) throw_openssl_error(reading);
  if (cursor != der.data() + der.size()) throw Error("bytes follow the end of a public key");
  return PublicKey(std::move(key));
}

PublicKey::PublicKey(const PublicKey& other)
    : key_(share(other.key_.get())), point_(other.point_) {}

PublicKey& PublicKey::operator=(PublicKey other) noexcept {
  key_ = std::move(other.key_);
  point_ = std::move(other.point_);
  return *this;
}

std::optional<KeyType> PublicKey::type() const noexcept {
  const evp_pkey_st* key = key_.get();
  if (EVP_PKEY_is_a(key, "ED25519") == 1) return KeyType::ed25519;
  if (EVP_PKEY_is_a(key, "EC") == 1) {
    const EcEncoding* encoding = ec_encoding_of(key);
    return encoding != nullptr ? std::optional(encoding->type) : std::nullopt;
  }
  if (EVP_PKEY_is_a(key, "RSA") == 1) {
    switch (EVP_PKEY_get_bits(key)) {
      case 2048: return KeyType::rsa2048;
      case 3072: return KeyType::rsa3072;
      case 4096: return KeyType::rsa4096;
      default: break;
    }
  }
  return std::nullopt;
}

std::string PublicKey::description() const {
  const evp_pkey_st* key = key_.get();
  if (EVP_PKEY_is_a(key, "EC") == 1) {
    const std::string group = ec_group(key);
    const EcEncoding* encoding = ec_encoding_of_group(group);
    return encoding != nullptr ? std::string(encoding->description) : "EC " + group;
  }
  const char* name = EVP_PKEY_get0_type_name(key);
  if (EVP_PKEY_is_a(key, "RSA") == 1) return fmt::format("{} {}", name, EVP_PKEY_get_bits(key));
  if (EVP_PKEY_is_a(key, "ED25519") == 1) return "Ed25519";
  return name != nullptr ? name : "unknown";
}

std::vector<unsigned char> PublicKey::der() const {
  constexpr const char* writing = "writing a public key";
  if (!point_.empty()) {
    const std::span<const unsigned char> head = ec_encoding_of(key_.get())->public_head;
    std::vector<unsigned char> der(head.begin(), head.end());
    der.insert(der.end(), point_.begin(), point_.end());
    return der;
  }
  unsigned char* encoded = nullptr;
  const int size = check(i2d_PUBKEY(key_.get(), &encoded), writing);
  std::vector<unsigned char> der(encoded, encoded + size);
  OPENSSL_free(encoded);
  return der;
}

bool operator==(const PublicKey& a, const PublicKey& b) noexcept {
  if (!a.point_.empty() && !b.point_.empty()) return a.point_ == b.point_;
  const bool equal = EVP_PKEY_eq(a.key_.get(), b.key_.get()) == 1;
  if (!equal) forget_openssl_errors();
  return equal;
}

Key Key::generate(KeyType type) {
  // Kept: to set a curve up takes longer than to make a key on it.
  thread_local std::optional<KeyType> type_at_hand;
  thread_local Handle<evp_pkey_ctx_st> generator;
  if (type_at_hand != type) {
    type_at_hand.reset();
    generator = generator_of(type);
    type_at_hand = type;
  }
  evp_pkey_st* key = nullptr;
  check(EVP_PKEY_generate(generator.get(), &key), "generating a key");
  return Key(PublicKey(Handle<evp_pkey_st>(key)));
}

Key Key::from_pem(std::string_view pem) {
  const PemBlock block =
      find_pem(pem, [](std::string_view label) { return label.ends_with("PRIVATE KEY"); });
  if (block.label.empty()) throw Error("no private key in PEM format");
  if (block.encrypted || block.label.starts_with("ENCRYPTED")) {
    throw Error("the private key is encrypted", "decrypt it first: openssl pkey -in FILE -out NEW");
  }
  for (const EcEncoding& encoding : ec_encodings) {
    if (const auto parts = split_pkcs8(encoding, block.der)) {
      return Key({from_parts(encoding, parts->scalar, parts->point),
                  {parts->point.begin(), parts->point.end()}});
    }
  }
  return Key(PublicKey(decode_private_key(block.der)));
}

SecretBytes Key::der() const {
  const std::vector<unsigned char>& point = public_key_.point_;
  return point.empty() ? pkcs8(native()) : pkcs8(*ec_encoding_of(native()), native(), point);
}

SecretBytes Key::pem() const { return to_pem("PRIVATE KEY", der()); }

bool Key::halves_match() const {
  // OpenSSL would check the public half too, which costs several times as much: but where one is
  // what belongs to the other, both are sound.
  if (const std::vector<unsigned char>& point = public_key_.point_; !point.empty()) {
    return ec_point_of(*ec_encoding_of(native()), ec_scalar(native()).get()) == point;
  }
  const Handle<evp_pkey_ctx_st> context(EVP_PKEY_CTX_new_from_pkey(nullptr, native(), nullptr));
  const bool match = context != nullptr && EVP_PKEY_pairwise_check(context.get()) == 1;
  forget_openssl_errors();
  return match;
}

}  // namespace pki
