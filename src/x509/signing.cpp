#include "x509/signing.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/openssl.h"
#include "pki/error.h"
#include "x509/asn1.h"

namespace pki {
namespace {

[[noreturn]] void refuse_key(const PublicKey& key, const std::string& why) {
  throw Error(fmt::format("a root with a key of type {}: {}", key.description(), why),
              "make a new root, with an EC (P-256) or an RSA key of 2048 bits or more");
}

}  // namespace

const EVP_MD* signature_digest(const PublicKey& key) {
  const evp_pkey_st* native = key.native();
  if (EVP_PKEY_is_a(native, "ED25519") == 1 || EVP_PKEY_is_a(native, "ED448") == 1) {
    refuse_key(key, "its signatures break SCRAM channel binding in libpq");
  }
  const int bits = EVP_PKEY_get_bits(native);
  if (EVP_PKEY_is_a(native, "RSA") == 1) {
    if (bits < 2048) refuse_key(key, "too weak, clients refuse it");
    return EVP_sha256();
  }
  if (EVP_PKEY_is_a(native, "EC") == 1) {
    if (bits == 256) return EVP_sha256();
    if (bits == 384) return EVP_sha384();
    if (bits == 521) return EVP_sha512();
  }
  refuse_key(key, "not supported");
}

std::vector<unsigned char> key_identifier(const x509_st* certificate) {
  const ASN1_BIT_STRING* bits = X509_get0_pubkey_bitstr(certificate);
  std::vector<unsigned char> digest(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  check(EVP_Digest(ASN1_STRING_get0_data(bits), static_cast<std::size_t>(ASN1_STRING_length(bits)),
                   digest.data(), &size, EVP_sha256(), nullptr),
        "digesting a public key");
  digest.resize(20);
  return digest;
}

std::vector<unsigned char> issuer_key_identifier(x509_st* issuer) {
  const ASN1_OCTET_STRING* own = X509_get0_subject_key_id(issuer);
  if (own == nullptr) return key_identifier(issuer);
  return {ASN1_STRING_get0_data(own), ASN1_STRING_get0_data(own) + ASN1_STRING_length(own)};
}

Handle<AUTHORITY_KEYID_st> authority_key_identifier(x509_st* issuer) {
  auto authority = check(AUTHORITY_KEYID_new(), "building an authority key identifier");
  authority->keyid = octet_string(issuer_key_identifier(issuer)).release();
  return authority;
}

}  // namespace pki
