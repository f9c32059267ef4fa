#include "x509/signing.h"

#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <span>

#include "base/openssl.h"
#include "pki/error.h"
#include "x509/asn1.h"
#include "x509/ec_encoding.h"
#include "x509/ec_group.h"

namespace pki {
namespace {

[[noreturn]] void refuse_key(const PublicKey& key, const std::string& why) {
  throw Error(fmt::format("a root with a key of type {}: {}", key.description(), why),
              "make a new root, with an EC (P-256) or an RSA key of 2048 bits or more");
}

// The bytes that were signed: the first element of the certificate (RFC 5280 4.1).
std::span<const unsigned char> signed_part(std::span<const unsigned char> certificate) {
  const unsigned char* cursor = certificate.data();
  const unsigned char* begin = nullptr;
  long size = 0;
  int tag = 0;
  int tag_class = 0;
  const auto enter = [&] {
    begin = cursor;
    const long left = certificate.data() + certificate.size() - cursor;
    if ((ASN1_get_object(&cursor, &size, &tag, &tag_class, left) & 0x80) != 0) {
      throw_openssl_error("taking a certificate apart");
    }
  };
  enter();
  enter();
  return {begin, cursor + size};
}

// Where it is the one that goes with the key.
bool has_usual_algorithm(const Certificate& certificate, const Key& key) {
  const X509_ALGOR* algorithm = nullptr;
  X509_get0_signature(nullptr, &algorithm, certificate.native());
  int digest = NID_undef;
  int kind = NID_undef;
  return X509_ALGOR_cmp(algorithm, X509_get0_tbs_sigalg(certificate.native())) == 0 &&
         OBJ_find_sigid_algs(OBJ_obj2nid(algorithm->algorithm), &digest, &kind) == 1 &&
         kind == NID_X9_62_id_ecPublicKey && algorithm->parameter == nullptr &&
         digest == EVP_MD_get_type(signature_digest(key.public_key()));
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

bool is_signed_with(const Certificate& certificate, const Key& key) {
  const EcEncoding* const encoding = ec_encoding_of(key.native());
  if (encoding == nullptr || !has_usual_algorithm(certificate, key)) {
    const bool verified = X509_verify(certificate.native(), key.native()) == 1;
    forget_openssl_errors();
    return verified;
  }
  const std::vector<unsigned char> der = certificate.der();
  const std::span<const unsigned char> part = signed_part(der);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  check(EVP_Digest(part.data(), part.size(), digest.data(), &size,
                   signature_digest(key.public_key()), nullptr),
        "digesting a certificate");
  const ASN1_BIT_STRING* signature = nullptr;
  X509_get0_signature(&signature, nullptr, certificate.native());
  constexpr long unused_bits = 0x07;  // of a bit string's last octet
  if ((signature->flags & unused_bits) != 0) return false;
  return ec_has_signed(
      *encoding, ec_scalar(key.native()).get(), std::span(digest).first(size),
      {ASN1_STRING_get0_data(signature), static_cast<std::size_t>(ASN1_STRING_length(signature))});
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
