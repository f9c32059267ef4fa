// The fixed DER encodings of P-256 and P-384 keys.
//
// PKCS#8 (RFC 5208 with RFC 5915 inside) and SubjectPublicKeyInfo (RFC 5480) of a named curve are
// constant bytes around the key's parts. Reading and writing them so costs next to nothing, where
// OpenSSL 3.0's encoders and decoders cost more than making the key and signing with it.
#pragma once

#include <openssl/types.h>

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pki/handle.h"
#include "pki/key.h"
#include "pki/secret.h"

namespace pki {

struct EcEncoding {
  KeyType type;
  std::string_view group;        // OpenSSL's name
  std::string_view description;  // NIST's name
  int nid;
  std::size_t field_size;                       // octets in the private scalar
  std::span<const unsigned char> pkcs8_head;    // up to the scalar
  std::span<const unsigned char> pkcs8_middle;  // between the scalar and the point
  std::span<const unsigned char> public_head;   // SubjectPublicKeyInfo up to the point

  /// An uncompressed point: 0x04, x, y.
  [[nodiscard]] constexpr std::size_t point_size() const { return 1 + 2 * field_size; }
};

extern const std::array<EcEncoding, 2> ec_encodings;

/// Null for a key, or a group, that has no fixed encoding here.
[[nodiscard]] const EcEncoding* ec_encoding_of(const evp_pkey_st* key);
[[nodiscard]] const EcEncoding* ec_encoding_of_group(std::string_view group);

struct EcParts {
  std::span<const unsigned char> scalar;
  std::span<const unsigned char> point;
};

/// The parts of a PKCS#8 key that is encoded in exactly this way (as OpenSSL and Go do); they point
/// into `der`. Nothing for any other bytes.
[[nodiscard]] std::optional<EcParts> split_pkcs8(const EcEncoding& encoding,
                                                 const SecretBytes& der);

[[nodiscard]] SecretBytes join_pkcs8(const EcEncoding& encoding,
                                     std::span<const unsigned char> scalar,
                                     std::span<const unsigned char> point);

/// OpenSSL's name of a key's group; empty if it has none.
[[nodiscard]] std::string ec_group(const evp_pkey_st* key);
/// The private scalar of an EC key. Throws Error.
[[nodiscard]] Handle<bignum_st> ec_scalar(const evp_pkey_st* key);
/// The public point of a key that has a fixed encoding here, if it is kept uncompressed and OpenSSL
/// hands it out; else empty.
[[nodiscard]] std::vector<unsigned char> ec_point(const evp_pkey_st* key);

}  // namespace pki
