#include "x509/signing.h"

#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

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

// The bytes that were signed: the first element of the certificate (RFC 5280 4.1). OpenSSL keeps
// them as they came, and it also takes lengths that are not as DER has them: nothing then.
std::optional<std::span<const unsigned char>> signed_part(
    std::span<const unsigned char> certificate) {
  const std::optional<DerElement> whole = take_element(certificate);
  if (!whole.has_value()) return std::nullopt;
  std::span<const unsigned char> parts = whole->contents;
  const std::optional<DerElement> first = take_element(parts);
  return first.has_value() ? std::optional(first->encoding) : std::nullopt;
}

Der digest_of(std::span<const unsigned char> bytes, const EVP_MD* kind) {
  Der digest(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  check(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, kind, nullptr), "digesting");
  digest.resize(size);
  return digest;
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

Der signature_algorithm(const PublicKey& key) {
  const bool is_rsa = EVP_PKEY_is_a(key.native(), "RSA") == 1;
  const int key_kind = is_rsa ? NID_rsaEncryption : NID_X9_62_id_ecPublicKey;
  int algorithm = NID_undef;
  check(OBJ_find_sigid_by_algs(&algorithm, EVP_MD_get_type(signature_digest(key)), key_kind),
        "choosing a signature algorithm");
  DerWriter identifier;
  identifier.wrap(Tag::sequence, [&] {
    identifier.add_object(algorithm);
    // RFC 3279 2.2.1 and RFC 5758 3.2: NULL with RSA, and nothing with ECDSA.
    if (is_rsa) identifier.add(Tag::null, std::span<const unsigned char>{});
  });
  return std::move(identifier).take();
}

Der sign(std::span<const unsigned char> bytes, const Key& key) {
  constexpr const char* signing = "signing a certificate";
  const Handle<evp_md_ctx_st> context = check(EVP_MD_CTX_new(), signing);
  check(EVP_DigestSignInit_ex(context.get(), nullptr,
                              EVP_MD_get0_name(signature_digest(key.public_key())),
                              common_context(), nullptr, key.native(), nullptr),
        signing);
  std::size_t size = static_cast<std::size_t>(EVP_PKEY_get_size(key.native()));
  Der signature(size);
  check(EVP_DigestSign(context.get(), signature.data(), &size, bytes.data(), bytes.size()),
        signing);
  signature.resize(size);
  return signature;
}

bool is_signed_with(const Certificate& certificate, const Key& key) {
  const EcEncoding* const encoding = ec_encoding_of(key.native());
  const std::vector<unsigned char> der = certificate.der();
  const std::optional<std::span<const unsigned char>> part = signed_part(der);
  if (encoding == nullptr || !part.has_value() || !has_usual_algorithm(certificate, key)) {
    const bool verified = X509_verify(certificate.native(), key.native()) == 1;
    forget_openssl_errors();
    return verified;
  }
  const Der digest = digest_of(*part, signature_digest(key.public_key()));
  const ASN1_BIT_STRING* signature = nullptr;
  X509_get0_signature(&signature, nullptr, certificate.native());
  constexpr long unused_bits = 0x07;  // of a bit string's last octet
  if ((signature->flags & unused_bits) != 0) return false;
  return ec_has_signed(*encoding, ec_scalar(key.native()).get(), digest, octets_of(signature));
}

Der key_identifier(std::span<const unsigned char> public_key_der) {
  std::span<const unsigned char> rest = public_key_der;
  const std::optional<DerElement> info = take_element(rest);
  rest = info.has_value() ? info->contents : rest;
  const std::optional<DerElement> algorithm = take_element(rest);
  const std::optional<DerElement> bits = take_element(rest);
  if (!algorithm.has_value() || !bits.has_value() || bits->contents.empty()) {
    throw Error("a public key is not in DER");
  }
  // Without the number of unused bits.
  Der digest = digest_of(bits->contents.subspan(1), EVP_sha256());
  digest.resize(20);
  return digest;
}

Der issuer_key_identifier(const Certificate& issuer) {
  const ASN1_OCTET_STRING* own = X509_get0_subject_key_id(issuer.native());
  if (own == nullptr) return key_identifier(issuer.public_key_der());
  const std::span<const unsigned char> octets = octets_of(own);
  return {octets.begin(), octets.end()};
}

}  // namespace pki
