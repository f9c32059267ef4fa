#include "pki/issuer.h"

#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/openssl.h"
#include "pki/error.h"
#include "x509/asn1.h"
#include "x509/certificate_der.h"
#include "x509/ec_encoding.h"
#include "x509/signing.h"

namespace pki {
namespace {

// A root of ours (with no identifier of an issuer's key) has no authority key identifier.
Der make(const CertificateSpec& spec, const PublicKey& key,
         std::span<const unsigned char> issuer_name,
         const std::optional<Der>& issuer_key_identifier, const Key& signer) {
  const Der algorithm = signature_algorithm(signer.public_key());
  const Der tbs = tbs_certificate_der(spec, key, {issuer_name, issuer_key_identifier, algorithm});
  return certificate_der(tbs, algorithm, sign(tbs, signer));
}

std::span<const unsigned char> subject_of(const Certificate& certificate) {
  const unsigned char* der = nullptr;
  std::size_t size = 0;
  check(X509_NAME_get0_der(X509_get_subject_name(certificate.native()), &der, &size),
        "reading a certificate's subject");
  return {der, size};
}

bool is_critical(x509_st* certificate, int nid) {
  const int at = X509_get_ext_by_NID(certificate, nid, -1);
  return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(certificate, at)) == 1;
}

bool same_octets(const ASN1_OCTET_STRING* a, std::span<const unsigned char> b) {
  return a != nullptr && std::ranges::equal(octets_of(a), b);
}

// Every field that the profile and the specification determine, as the certificate really has it.
void check_against(const CertificateSpec& spec, const PublicKey& key, const Certificate& issuer,
                   const Certificate& made) {
  x509_st* const x = made.native();
  const auto demand = [](bool holds, const char* field) {
    if (!holds) {
      throw Error(fmt::format("the new certificate has a wrong {}", field),
                  "this is a fault in pki: please report it; nothing was written");
    }
  };
  const std::uint32_t flags = X509_get_extension_flags(x);
  demand(X509_get_version(x) == X509_VERSION_3, "version");
  demand(made.serial() == spec.serial, "serial number");
  demand(made.validity() == spec.validity, "validity");
  demand(made.common_name() == spec.common_name, "common name");
  demand(X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(issuer.native())) == 0,
         "issuer name");
  demand(made.public_key_der() == key.der(), "public key");
  demand((flags & (EXFLAG_INVALID | EXFLAG_CRITICAL)) == 0, "extension");
  demand((flags & EXFLAG_BCONS) != 0 && made.is_ca() == spec.profile.is_ca &&
             is_critical(x, NID_basic_constraints) && X509_get_pathlen(x) == -1,
         "basic constraints extension");
  demand(X509_get_key_usage(x) == key_usage_of(spec.profile, key) && is_critical(x, NID_key_usage),
         "key usage");
  const std::uint32_t usages = (spec.profile.server_auth ? XKU_SSL_SERVER : 0U) |
                               (spec.profile.client_auth ? XKU_SSL_CLIENT : 0U);
  demand(usages == 0 ? X509_get_ext_by_NID(x, NID_ext_key_usage, -1) < 0
                     : X509_get_extended_key_usage(x) == usages,
         "extended key usage");
  demand(made.sans() == spec.sans, "subject alternative name");
  demand(is_critical(x, NID_subject_alt_name) == (spec.common_name.empty() && !spec.sans.empty()),
         "criticality of the subject alternative name");
  demand(same_octets(X509_get0_subject_key_id(x), key_identifier(key.der())),
         "subject key identifier");
  if (!spec.profile.is_ca) {
    demand(same_octets(X509_get0_authority_key_id(x), issuer_key_identifier(issuer)),
           "authority key identifier");
  }
}

// What a client will do, but for signatures and dates, which sign() has seen to: what
// X509_verify_cert() asks of a leaf under a root, in the same functions. It would need the leaf's
// public key decoded, which takes longer than all of this, and is known to the octet.
void verify(const Certificate& leaf, const Profile& profile, const Certificate& root) {
  const auto demand = [](int status) {
    if (status != X509_V_OK) {
      throw Error(fmt::format("a certificate under this root would never verify: {}",
                              X509_verify_cert_error_string(status)),
                  "ask for names and usages that the root allows, or make a new root");
    }
  };
  const auto demand_purpose = [&](int purpose) {
    const bool is_fit = X509_check_purpose(leaf.native(), purpose, 0) == 1 &&
                        X509_check_purpose(root.native(), purpose, 1) == 1;
    demand(is_fit ? X509_V_OK : X509_V_ERR_INVALID_PURPOSE);
  };
  demand(X509_check_issued(root.native(), leaf.native()));
  if (profile.server_auth) demand_purpose(X509_PURPOSE_SSL_SERVER);
  if (profile.client_auth) demand_purpose(X509_PURPOSE_SSL_CLIENT);

  const Handle<NAME_CONSTRAINTS_st> constraints(static_cast<NAME_CONSTRAINTS*>(
      X509_get_ext_d2i(root.native(), NID_name_constraints, nullptr, nullptr)));
  if (constraints != nullptr) {
    demand(NAME_CONSTRAINTS_check(leaf.native(), constraints.get()));
    const bool has_dns_name = std::ranges::any_of(
        leaf.sans(), [](const San& san) { return std::holds_alternative<DnsName>(san); });
    // Then a common name that looks like one counts.
    if (!has_dns_name) demand(NAME_CONSTRAINTS_check_CN(leaf.native(), constraints.get()));
  }
  forget_openssl_errors();
}

// X509_verify_cert() refuses a curve that is described by parameters, in every certificate. That
// they are not a name is in the AlgorithmIdentifier (RFC 5480 2.1.1).
bool has_named_curve(std::span<const unsigned char> public_key_der) {
  const auto enter = [](std::span<const unsigned char> der) {
    const std::optional<DerElement> first = take_element(der);
    return first.has_value() ? first->contents : std::span<const unsigned char>{};
  };
  std::span<const unsigned char> algorithm = enter(enter(public_key_der));
  const std::optional<DerElement> kind = take_element(algorithm);
  const std::optional<DerElement> parameters = take_element(algorithm);
  const ASN1_OBJECT* const ec = OBJ_nid2obj(NID_X9_62_id_ecPublicKey);
  const bool is_ec =
      kind.has_value() &&
      std::ranges::equal(kind->contents, std::span(OBJ_get0_data(ec), OBJ_length(ec)));
  return !is_ec || (parameters.has_value() && parameters->tag == Tag::object_identifier);
}

}  // namespace

Issuer::Issuer(Certificate certificate, Key key)
    : certificate_(std::move(certificate)), key_(std::move(key)) {
  x509_st* const root = certificate_.native();
  const std::string make_new = "make a new root: choose other names with --ca-cert and --ca-key";
  // The public half of a key that is not EC is asked itself: see is_signed_with().
  const bool halves_match = ec_encoding_of(key_.native()) == nullptr || key_.halves_match();
  if (!certificate_.has_key(key_.public_key()) || !halves_match) {
    throw Error("the certificate and the private key do not match", "put the pair back together");
  }
  static_cast<void>(signature_digest(key_.public_key()));
  const std::uint32_t flags = X509_get_extension_flags(root);
  if ((flags & EXFLAG_INVALID) != 0) throw Error("its extensions are damaged", make_new);
  if (X509_get_version(root) != X509_VERSION_3 || (flags & EXFLAG_BCONS) == 0 ||
      !certificate_.is_ca()) {
    throw Error("not a CA certificate (v3 with basicConstraints CA:TRUE)", make_new);
  }
  if ((X509_get_key_usage(root) & KU_KEY_CERT_SIGN) == 0) {
    throw Error("its key usage does not allow it to sign certificates", make_new);
  }
  if (!has_named_curve(certificate_.public_key_der())) {
    throw Error("its key's curve has parameters instead of a name", make_new);
  }
  if ((flags & EXFLAG_CRITICAL) != 0) {
    throw Error("it has a critical extension that clients do not know", make_new);
  }
  if (X509_self_signed(root, 0) != 1 || !is_signed_with(certificate_, key_)) {
    forget_openssl_errors();
    throw Error("not self-signed, or its signature is damaged: clients need a self-signed root",
                make_new);
  }
}

Issuer Issuer::self_signed(const CertificateSpec& spec, Key key) {
  Certificate root = Certificate::from_der(
      make(spec, key.public_key(), name_der(spec.common_name), std::nullopt, key));
  check_against(spec, key.public_key(), root, root);
  return {std::move(root), std::move(key)};
}

Certificate Issuer::sign(const CertificateSpec& spec, const PublicKey& key) const {
  const Validity mine = certificate_.validity();
  if (spec.validity.not_before < mine.not_before || spec.validity.not_after > mine.not_after ||
      spec.validity.not_after < spec.validity.not_before) {
    throw Error(fmt::format("the certificate's validity is not within its root's ({} to {})",
                            text(mine.not_before), text(mine.not_after)));
  }
  if (!has_named_curve(key.der())) {
    throw Error("the new certificate's key has a curve without a name: clients refuse it",
                "make a new key, without --reuse-key");
  }
  const Der der =
      make(spec, key, subject_of(certificate_), issuer_key_identifier(certificate_), key_);
  // Read back from its bytes: what is verified is what will be published. A signature that
  // is_signed_with() leaves to OpenSSL needs the context of keys.
  const bool verifies_here = ec_encoding_of(key_.native()) != nullptr;
  Certificate made(read_certificate(der, verifies_here ? keyless_context() : common_context()));
  check_against(spec, key, certificate_, made);
  if (!is_signed_with(made, key_)) {
    throw Error("the new certificate has a wrong signature",
                "this is a fault in pki: please report it; nothing was written");
  }
  verify(made, spec.profile, certificate_);
  return made;
}

bool Issuer::has_signed(const Certificate& certificate) const {
  return X509_NAME_cmp(X509_get_issuer_name(certificate.native()),
                       X509_get_subject_name(certificate_.native())) == 0 &&
         is_signed_with(certificate, key_);
}

bool Issuer::is_name_constrained() const noexcept {
  return X509_get_ext_by_NID(certificate_.native(), NID_name_constraints, -1) >= 0;
}

std::string Issuer::strict_fault() const {
  x509_st* const root = certificate_.native();
  if (X509_get0_subject_key_id(root) == nullptr) return "no subject key identifier";
  if ((X509_get_extension_flags(root) & EXFLAG_KUSAGE) == 0) return "no key usage";
  if (!is_critical(root, NID_basic_constraints)) return "basic constraints that are not critical";
  if (X509_NAME_entry_count(X509_get_subject_name(root)) == 0) return "no subject";
  const Handle<stack_st_GENERAL_NAME> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(root, NID_subject_alt_name, nullptr, nullptr)));
  if (names != nullptr && sk_GENERAL_NAME_num(names.get()) == 0) {
    return "an empty subject alternative name";
  }
  return {};
}

}  // namespace pki
