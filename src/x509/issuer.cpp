#include "pki/issuer.h"

#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/openssl.h"
#include "pki/error.h"
#include "x509/asn1.h"
#include "x509/ec_encoding.h"
#include "x509/signing.h"

namespace pki {
namespace {

constexpr const char* building = "building a certificate";

// --- building ---

void set_common_name(x509_st* certificate, const std::string& common_name) {
  if (common_name.empty()) return;
  check(
      X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(common_name.data()),
                                 static_cast<int>(common_name.size()), -1, 0),
      building);
}

void set_public_key(x509_st* certificate, const PublicKey& key) {
  const std::optional<KeyType> type = key.type();
  const auto encoding = std::ranges::find_if(
      ec_encodings, [&](const EcEncoding& candidate) { return candidate.type == type; });
  if (encoding != ec_encodings.end()) {
    const std::vector<unsigned char> point = ec_point(key.native());
    if (point.size() == encoding->point_size()) {
      auto* copy = static_cast<unsigned char*>(OPENSSL_memdup(point.data(), point.size()));
      if (copy == nullptr) throw_openssl_error(building);
      check(X509_PUBKEY_set0_param(
                X509_get_X509_PUBKEY(certificate), OBJ_nid2obj(NID_X9_62_id_ecPublicKey),
                V_ASN1_OBJECT, OBJ_nid2obj(encoding->nid), copy, static_cast<int>(point.size())),
            building);
      return;
    }
  }
  check(X509_set_pubkey(certificate, key.native()), building);
}

void add_extension(x509_st* certificate, int nid, void* value, bool critical) {
  check(X509_add1_ext_i2d(certificate, nid, value, critical ? 1 : 0, X509V3_ADD_DEFAULT), building);
}

std::uint32_t key_usage_of(const Profile& profile, const PublicKey& key) {
  if (profile.is_ca) return KU_KEY_CERT_SIGN | KU_CRL_SIGN;
  // RFC 8813 section 3: keyEncipherment is RSA's alone.
  return EVP_PKEY_is_a(key.native(), "RSA") == 1 ? KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT
                                                 : KU_DIGITAL_SIGNATURE;
}

void add_key_usage(x509_st* certificate, std::uint32_t usage) {
  // Named bit i is bit 7-i of the first octet (X.680 22.7); none of the later octets is needed
  // here.
  const Handle<asn1_string_st> bits = check(ASN1_BIT_STRING_new(), building);
  for (int bit = 0; bit < 8; ++bit) {
    if ((usage & (0x80U >> static_cast<unsigned>(bit))) != 0) {
      check(ASN1_BIT_STRING_set_bit(bits.get(), bit, 1), building);
    }
  }
  add_extension(certificate, NID_key_usage, bits.get(), true);
}

void add_extended_key_usage(x509_st* certificate, const Profile& profile) {
  const Handle<stack_st_ASN1_OBJECT> usages(sk_ASN1_OBJECT_new_null());
  if (usages == nullptr) throw_openssl_error(building);
  const auto add = [&](int nid) {
    check(sk_ASN1_OBJECT_push(usages.get(), OBJ_nid2obj(nid)), building);
  };
  if (profile.server_auth) add(NID_server_auth);
  if (profile.client_auth) add(NID_client_auth);
  if (sk_ASN1_OBJECT_num(usages.get()) > 0) {
    add_extension(certificate, NID_ext_key_usage, usages.get(), false);
  }
}

Handle<GENERAL_NAME_st> general_name(const San& san) {
  auto name = check(GENERAL_NAME_new(), building);
  const bool is_dns = std::holds_alternative<DnsName>(san);
  auto value =
      check(ASN1_STRING_type_new(is_dns ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING), building);
  if (is_dns) {
    const std::string& host = std::get<DnsName>(san).text();
    check(ASN1_STRING_set(value.get(), host.data(), static_cast<int>(host.size())), building);
  } else {
    const auto bytes = std::get<IpAddress>(san).bytes();
    check(ASN1_STRING_set(value.get(), bytes.data(), static_cast<int>(bytes.size())), building);
  }
  GENERAL_NAME_set0_value(name.get(), is_dns ? GEN_DNS : GEN_IPADD, value.release());
  return name;
}

void add_sans(x509_st* certificate, const CertificateSpec& spec) {
  if (spec.sans.empty()) return;
  const Handle<stack_st_GENERAL_NAME> names = check(GENERAL_NAMES_new(), building);
  for (const San& san : spec.sans) {
    Handle<GENERAL_NAME_st> name = general_name(san);
    check(sk_GENERAL_NAME_push(names.get(), name.get()), building);
    static_cast<void>(name.release());  // the stack owns it now
  }
  add_extension(certificate, NID_subject_alt_name, names.get(), spec.common_name.empty());
}

// A certificate for `key`, without an issuer's name, authority key identifier and signature.
Handle<x509_st> build(const CertificateSpec& spec, const PublicKey& key) {
  auto certificate = check(X509_new_ex(common_context(), nullptr), building);
  x509_st* const x = certificate.get();
  check(X509_set_version(x, X509_VERSION_3), building);
  set_serial(X509_get_serialNumber(x), spec.serial);
  set_time(X509_getm_notBefore(x), spec.validity.not_before);
  set_time(X509_getm_notAfter(x), spec.validity.not_after);
  set_common_name(x, spec.common_name);
  set_public_key(x, key);

  const Handle<BASIC_CONSTRAINTS_st> constraints = check(BASIC_CONSTRAINTS_new(), building);
  constraints->ca = spec.profile.is_ca ? 0xff : 0;
  add_extension(x, NID_basic_constraints, constraints.get(), true);
  add_key_usage(x, key_usage_of(spec.profile, key));
  add_extended_key_usage(x, spec.profile);
  add_extension(x, NID_subject_key_identifier, octet_string(key_identifier(x)).get(), false);
  add_sans(x, spec);
  return certificate;
}

// Signed certificates are read back from their bytes: what is verified is what will be published.
Certificate sign_with(x509_st* certificate, const Key& key) {
  check(X509_sign(certificate, key.native(), signature_digest(key.public_key())),
        "signing a certificate");
  unsigned char* der = nullptr;
  const int size = check(i2d_X509(certificate, &der), "signing a certificate");
  const std::vector<unsigned char> bytes(der, der + size);
  OPENSSL_free(der);
  return Certificate::from_der(bytes);
}

// --- verifying ---

bool is_critical(x509_st* certificate, int nid) {
  const int at = X509_get_ext_by_NID(certificate, nid, -1);
  return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(certificate, at)) == 1;
}

bool same_octets(const ASN1_OCTET_STRING* a, std::span<const unsigned char> b) {
  return a != nullptr &&
         std::ranges::equal(
             std::span(ASN1_STRING_get0_data(a), static_cast<std::size_t>(ASN1_STRING_length(a))),
             b);
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
  demand(made.public_key() == key, "public key");
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
  demand(same_octets(X509_get0_subject_key_id(x), key_identifier(x)), "subject key identifier");
  if (!spec.profile.is_ca) {
    demand(same_octets(X509_get0_authority_key_id(x), issuer_key_identifier(issuer.native())),
           "authority key identifier");
  }
}

// What a client will do, but for signatures and dates: chain, usages and name constraints.
void verify(const Certificate& leaf, const Profile& profile, const Certificate& root, bool strict) {
  const Handle<x509_store_st> store = check(X509_STORE_new(), "verifying a certificate");
  check(X509_STORE_add_cert(store.get(), root.native()), "verifying a certificate");
  // Signatures and dates, which sign() has seen to.
  X509_STORE_set_verify(store.get(), [](x509_store_ctx_st*) { return 1; });
  const Handle<x509_store_ctx_st> context = check(X509_STORE_CTX_new(), "verifying a certificate");
  const auto verify_as = [&](int purpose) {
    check(X509_STORE_CTX_init(context.get(), store.get(), leaf.native(), nullptr),
          "verifying a certificate");
    X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context.get());
    X509_VERIFY_PARAM_set_time(parameters, leaf.validity().not_before.time_since_epoch().count());
    X509_VERIFY_PARAM_set_purpose(parameters, purpose);
    if (strict) X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
    const bool verified = X509_verify_cert(context.get()) == 1;
    const int reason = X509_STORE_CTX_get_error(context.get());
    X509_STORE_CTX_cleanup(context.get());
    forget_openssl_errors();
    if (!verified) {
      throw Error(fmt::format("a certificate under this root would never verify: {}",
                              X509_verify_cert_error_string(reason)),
                  "ask for names and usages that the root allows, or make a new root");
    }
  };
  if (profile.server_auth) verify_as(X509_PURPOSE_SSL_SERVER);
  if (profile.client_auth) verify_as(X509_PURPOSE_SSL_CLIENT);
  if (!profile.server_auth && !profile.client_auth) verify_as(X509_PURPOSE_ANY);
}

}  // namespace

Issuer::Issuer(Certificate certificate, Key key)
    : certificate_(std::move(certificate)), key_(std::move(key)) {
  x509_st* const root = certificate_.native();
  const std::string make_new = "make a new root: choose other names with --ca-cert and --ca-key";
  // The public half of a key that is not EC is asked itself: see is_signed_with().
  const bool halves_match = ec_encoding_of(key_.native()) == nullptr || key_.halves_match();
  if (certificate_.public_key() != key_.public_key() || !halves_match) {
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
  const PublicKey public_key = key.public_key();
  const Handle<x509_st> draft = build(spec, public_key);
  check(X509_set_issuer_name(draft.get(), X509_get_subject_name(draft.get())), building);
  Certificate root = sign_with(draft.get(), key);
  check_against(spec, public_key, root, root);
  return {std::move(root), std::move(key)};
}

Certificate Issuer::sign(const CertificateSpec& spec, const PublicKey& key) const {
  const Validity mine = certificate_.validity();
  if (spec.validity.not_before < mine.not_before || spec.validity.not_after > mine.not_after ||
      spec.validity.not_after < spec.validity.not_before) {
    throw Error(fmt::format("the certificate's validity is not within its root's ({} to {})",
                            text(mine.not_before), text(mine.not_after)));
  }
  const Handle<x509_st> draft = build(spec, key);
  check(X509_set_issuer_name(draft.get(), X509_get_subject_name(certificate_.native())), building);
  add_extension(draft.get(), NID_authority_key_identifier,
                authority_key_identifier(certificate_.native()).get(), false);

  Certificate made = sign_with(draft.get(), key_);
  check_against(spec, key, certificate_, made);
  if (!is_signed_with(made, key_)) {
    throw Error("the new certificate has a wrong signature",
                "this is a fault in pki: please report it; nothing was written");
  }
  verify(made, spec.profile, certificate_, strict_fault().empty());
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
  return {};
}

}  // namespace pki
