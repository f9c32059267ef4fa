// Arithmetic in the groups of P-256 and P-384.
#pragma once

#include <openssl/types.h>

#include <span>
#include <vector>

#include "x509/ec_encoding.h"

namespace pki {

/// The encoded public point that belongs to a private scalar; empty if it is none of the group's.
[[nodiscard]] std::vector<unsigned char> ec_point_of(const EcEncoding& encoding,
                                                     const bignum_st* scalar);

/// Whether an ECDSA signature (DER) is the key's, for who has the key. Verifying with the public
/// key Q is a multiplication of the base point and one of Q (FIPS 186-5 6.4.2): longer than making
/// a key and signing with it. As Q = scalar * G, here it is one multiplication of the base point.
/// `digest` must be as long as the field.
[[nodiscard]] bool ec_has_signed(const EcEncoding& encoding, const bignum_st* scalar,
                                 std::span<const unsigned char> digest,
                                 std::span<const unsigned char> signature);

}  // namespace pki
