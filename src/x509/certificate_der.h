// The bytes of a certificate (RFC 5280 4.1), from its specification, and back to OpenSSL's object.
//
// Written directly: OpenSSL 3.0's way to them, an object for every field and extension, takes as
// long as the signature. That they are right is not taken for granted: see pki/issuer.h.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <optional>
#include <span>

#include "pki/issuer.h"
#include "x509/der.h"

namespace pki {

/// The bits of a key usage extension's first octet (RFC 5280 4.2.1.3), as OpenSSL names them.
[[nodiscard]] std::uint32_t key_usage_of(const Profile& profile, const PublicKey& key);

/// A Name with nothing but a common name, or with nothing.
[[nodiscard]] Der name_der(const std::string& common_name);

/// What its issuer puts into a certificate.
struct IssuerFields {
  std::span<const unsigned char> name;
  const std::optional<Der>& key_identifier;  // nothing: no authority key identifier
  std::span<const unsigned char> algorithm;  // of its signatures, an AlgorithmIdentifier
};

/// TBSCertificate: what is signed.
[[nodiscard]] Der tbs_certificate_der(const CertificateSpec& spec, const PublicKey& key,
                                      const IssuerFields& issuer);

/// Certificate.
[[nodiscard]] Der certificate_der(std::span<const unsigned char> tbs_certificate,
                                  std::span<const unsigned char> algorithm,
                                  std::span<const unsigned char> signature);

/// Has OpenSSL read one. Throws Error unless `der` is one certificate and nothing else. Whether its
/// public key is decoded depends on the context: see base/openssl.h.
[[nodiscard]] Handle<x509_st> read_certificate(std::span<const unsigned char> der,
                                               OSSL_LIB_CTX* context);

}  // namespace pki
