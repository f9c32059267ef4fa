// What an issuer does alike for certificates and for revocation lists.
#pragma once

#include <openssl/types.h>

#include <vector>

#include "pki/certificate.h"
#include "pki/handle.h"
#include "pki/key.h"

namespace pki {

/// The digest that goes with the key: SHA-256 for RSA, and in EC one as long as the curve's field.
/// Throws Error for a key that a root of ours may not have.
[[nodiscard]] const EVP_MD* signature_digest(const PublicKey& key);

/// Whether the signature on a certificate is that of the key's private half: quicker than asking
/// the public one, which a caller has compared with it (Key::halves_match).
[[nodiscard]] bool is_signed_with(const Certificate& certificate, const Key& key);

/// RFC 7093 section 2 method 1: the left-most 160 bits of SHA-256 over the subjectPublicKey.
[[nodiscard]] std::vector<unsigned char> key_identifier(const x509_st* certificate);
/// What names an issuer's key: its subject key identifier, or where it has none the above.
[[nodiscard]] std::vector<unsigned char> issuer_key_identifier(x509_st* issuer);
/// The extension that holds it (RFC 5280 4.2.1.1).
[[nodiscard]] Handle<AUTHORITY_KEYID_st> authority_key_identifier(x509_st* issuer);

}  // namespace pki
