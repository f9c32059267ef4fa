#include "x509/ec_encoding.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/objects.h>

#include <algorithm>

#include "base/openssl.h"

namespace pki {
namespace {

// SEQUENCE { 0, { id-ecPublicKey, prime256v1 }, OCTET STRING { SEQUENCE { 1, OCTET STRING (32) ...
constexpr std::array<unsigned char, 36> p256_head = {
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20};
// ... [1] { BIT STRING (no unused bits) ...
constexpr std::array<unsigned char, 5> p256_middle = {0xa1, 0x44, 0x03, 0x42, 0x00};

constexpr std::array<unsigned char, 26> p256_public = {
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};

constexpr std::array<unsigned char, 35> p384_head = {
    0x30, 0x81, 0xb6, 0x02, 0x01, 0x00, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22,
    0x04, 0x81, 0x9e, 0x30, 0x81, 0x9b, 0x02, 0x01, 0x01, 0x04, 0x30};
constexpr std::array<unsigned char, 5> p384_middle = {0xa1, 0x64, 0x03, 0x62, 0x00};
constexpr std::array<unsigned char, 23> p384_public = {
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
    0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00};

constexpr unsigned char uncompressed = 0x04;  // a point's first octet (SEC 1 2.3.3)

}  // namespace

const std::array<EcEncoding, 2> ec_encodings = {
    EcEncoding{KeyType::p256, "prime256v1", "P-256", NID_X9_62_prime256v1, 32, p256_head,
               p256_middle, p256_public},
    EcEncoding{KeyType::p384, "secp384r1", "P-384", NID_secp384r1, 48, p384_head, p384_middle,
               p384_public},
};

const EcEncoding* ec_encoding_of(const evp_pkey_st* key) {
  return ec_encoding_of_group(ec_group(key));
}

const EcEncoding* ec_encoding_of_group(std::string_view group) {
  const auto* const found = std::ranges::find_if(ec_encodings, [&](const EcEncoding& encoding) {
    return group == encoding.group || group == encoding.description;
  });
  return found != ec_encodings.end() ? found : nullptr;
}

std::optional<EcParts> split_pkcs8(const EcEncoding& encoding, const SecretBytes& der) {
  const std::size_t scalar_at = encoding.pkcs8_head.size();
  const std::size_t middle_at = scalar_at + encoding.field_size;
  const std::size_t point_at = middle_at + encoding.pkcs8_middle.size();
  const std::span<const unsigned char> bytes(der);
  if (bytes.size() != point_at + encoding.point_size() || bytes[point_at] != uncompressed ||
      !std::ranges::equal(bytes.first(scalar_at), encoding.pkcs8_head) ||
      !std::ranges::equal(bytes.subspan(middle_at, encoding.pkcs8_middle.size()),
                          encoding.pkcs8_middle)) {
    return std::nullopt;
  }
  return EcParts{bytes.subspan(scalar_at, encoding.field_size), bytes.subspan(point_at)};
}

SecretBytes join_pkcs8(const EcEncoding& encoding, std::span<const unsigned char> scalar,
                       std::span<const unsigned char> point) {
  SecretBytes der;
  der.reserve(encoding.pkcs8_head.size() + scalar.size() + encoding.pkcs8_middle.size() +
              point.size());
  for (const auto part : {encoding.pkcs8_head, scalar, encoding.pkcs8_middle, point}) {
    der.insert(der.end(), part.begin(), part.end());
  }
  return der;
}

std::string ec_group(const evp_pkey_st* key) {
  std::array<char, 64> name{};
  if (EVP_PKEY_get_group_name(key, name.data(), name.size(), nullptr) != 1) {
    forget_openssl_errors();
    return {};
  }
  return name.data();
}

Handle<bignum_st> ec_scalar(const evp_pkey_st* key) {
  bignum_st* number = nullptr;
  check(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &number), "reading a key's number");
  return Handle<bignum_st>(number);
}

std::vector<unsigned char> ec_point(const evp_pkey_st* key) {
  const EcEncoding* const encoding = ec_encoding_of(key);
  if (encoding == nullptr) return {};
  std::array<unsigned char, 256> buffer{};
  std::size_t size = 0;
  if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, buffer.data(), buffer.size(),
                                      &size) != 1) {
    forget_openssl_errors();
    return {};
  }
  if (size != encoding->point_size() || buffer.front() != uncompressed) return {};
  return {buffer.data(), buffer.data() + size};
}

}  // namespace pki
