// What an issuer does alike for certificates and for revocation lists.
#pragma once

#include <openssl/types.h>

#include <span>

#include "pki/certificate.h"
#include "pki/key.h"
#include "x509/der.h"

namespace pki {

/// The digest that goes with the key: SHA-256 for RSA, and in EC one as long as the curve's field.
/// Throws Error for a key that a root of ours may not have.
[[nodiscard]] const EVP_MD* signature_digest(const PublicKey& key);

/// The AlgorithmIdentifier of the key's signatures with that digest (RFC 5280 4.1.1.2).
[[nodiscard]] Der signature_algorithm(const PublicKey& key);
/// The signature itself.
[[nodiscard]] Der sign(std::span<const unsigned char> bytes, const Key& key);

/// Whether the signature on a certificate is that of the key's private half: quicker than asking
/// the public one, which a caller has compared with it (Key::halves_match).
[[nodiscard]] bool is_signed_with(const Certificate& certificate, const Key& key);

/// RFC 7093 section 2 method 1: the left-most 160 bits of SHA-256 over the subjectPublicKey, of a
/// SubjectPublicKeyInfo.
[[nodiscard]] Der key_identifier(std::span<const unsigned char> public_key_der);
/// What names an issuer's key: its subject key identifier, or where it has none the above.
[[nodiscard]] Der issuer_key_identifier(const Certificate& issuer);

}  // namespace pki
