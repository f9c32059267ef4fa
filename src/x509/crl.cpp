#include "pki/crl.h"

#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>

#include "base/ascii.h"
#include "base/openssl.h"
#include "pki/error.h"
#include "pki/issuer.h"
#include "x509/asn1.h"
#include "x509/pem.h"
#include "x509/signing.h"

namespace pki {
namespace {

constexpr const char* building = "building a revocation list";
constexpr const char* verifying = "verifying a revocation list";

struct ReasonName {
  RevocationReason reason;
  std::string_view name;
};

constexpr std::array reason_names = {
    ReasonName{RevocationReason::unspecified, "unspecified"},
    ReasonName{RevocationReason::key_compromise, "keyCompromise"},
    ReasonName{RevocationReason::ca_compromise, "CACompromise"},
    ReasonName{RevocationReason::affiliation_changed, "affiliationChanged"},
    ReasonName{RevocationReason::superseded, "superseded"},
    ReasonName{RevocationReason::cessation_of_operation, "cessationOfOperation"},
    ReasonName{RevocationReason::certificate_hold, "certificateHold"},
};

void add_extension(X509_crl_st* crl, int nid, void* value) {
  check(X509_CRL_add1_ext_i2d(crl, nid, value, 0, X509V3_ADD_DEFAULT), building);
}

Handle<x509_revoked_st> entry_of(const RevokedCertificate& revoked) {
  auto entry = check(X509_REVOKED_new(), building);
  const Handle<asn1_string_st> serial = check(ASN1_INTEGER_new(), building);
  set_serial(serial.get(), revoked.serial);
  check(X509_REVOKED_set_serialNumber(entry.get(), serial.get()), building);
  const Handle<asn1_string_st> time = check(ASN1_TIME_new(), building);
  set_time(time.get(), revoked.time);
  check(X509_REVOKED_set_revocationDate(entry.get(), time.get()), building);
  // RFC 5280 5.3.1: rather no extension than "unspecified".
  if (revoked.reason != RevocationReason::unspecified) {
    const Handle<asn1_string_st> reason = check(ASN1_ENUMERATED_new(), building);
    check(ASN1_ENUMERATED_set(reason.get(), static_cast<long>(revoked.reason)), building);
    check(X509_REVOKED_add1_ext_i2d(entry.get(), NID_crl_reason, reason.get(), 0, 0), building);
  }
  return entry;
}

RevocationReason reason_of(const x509_revoked_st* entry) {
  const Handle<asn1_string_st> value(static_cast<ASN1_ENUMERATED*>(
      X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, nullptr, nullptr)));
  forget_openssl_errors();
  if (value == nullptr) return RevocationReason::unspecified;
  const long code = ASN1_ENUMERATED_get(value.get());
  const auto* const found = std::ranges::find_if(
      reason_names, [&](const ReasonName& row) { return static_cast<long>(row.reason) == code; });
  return found != reason_names.end() ? found->reason : RevocationReason::unspecified;
}

Handle<X509_crl_st> build(const CrlSpec& spec, const Certificate& issuer) {
  auto crl = check(X509_CRL_new(), building);
  check(X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2), building);
  check(X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(issuer.native())), building);
  const Handle<asn1_string_st> time = check(ASN1_TIME_new(), building);
  set_time(time.get(), spec.this_update);
  check(X509_CRL_set1_lastUpdate(crl.get(), time.get()), building);
  set_time(time.get(), spec.next_update);
  check(X509_CRL_set1_nextUpdate(crl.get(), time.get()), building);
  for (const RevokedCertificate& revoked : spec.revoked) {
    Handle<x509_revoked_st> entry = entry_of(revoked);
    check(X509_CRL_add0_revoked(crl.get(), entry.get()), building);
    static_cast<void>(entry.release());  // the list owns it now
  }
  const auto authority = check(AUTHORITY_KEYID_new(), building);
  authority->keyid = octet_string(issuer_key_identifier(issuer)).release();
  add_extension(crl.get(), NID_authority_key_identifier, authority.get());
  const Handle<asn1_string_st> number = check(ASN1_INTEGER_new(), building);
  check(ASN1_INTEGER_set_uint64(number.get(), spec.number), building);
  add_extension(crl.get(), NID_crl_number, number.get());
  return crl;
}

// Every field that the specification determines, as the list really has it.
void check_against(const CrlSpec& spec, const Certificate& issuer, const Crl& made) {
  const auto demand = [](bool holds, const char* field) {
    if (!holds) {
      throw Error(fmt::format("the new revocation list has a wrong {}", field),
                  "this is a fault in pki: please report it; nothing was written");
    }
  };
  demand(X509_CRL_get_version(made.native()) == X509_CRL_VERSION_2, "version");
  demand(made.number() == spec.number, "number");
  demand(made.this_update() == spec.this_update, "this update");
  demand(made.next_update() == spec.next_update, "next update");
  demand(made.revoked() == spec.revoked, "list of certificates");
  demand(X509_CRL_get_ext_count(made.native()) == 2, "set of extensions");
  demand(made.is_signed_by(issuer), "signature");
}

// What PostgreSQL and libpq will do, with the root in place of a leaf.
void verify(const Crl& crl, const CrlSpec& spec, const Certificate& root) {
  const Handle<x509_store_st> store = check(X509_STORE_new(), verifying);
  check(X509_STORE_add_cert(store.get(), root.native()), verifying);
  check(X509_STORE_add_crl(store.get(), crl.native()), verifying);
  const Handle<x509_store_ctx_st> context = check(X509_STORE_CTX_new(), verifying);
  check(X509_STORE_CTX_init(context.get(), store.get(), root.native(), nullptr), verifying);
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, spec.this_update.time_since_epoch().count());
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  const bool verified = X509_verify_cert(context.get()) == 1;
  const int reason = X509_STORE_CTX_get_error(context.get());
  forget_openssl_errors();
  if (!verified) {
    throw Error(fmt::format("a revocation list of this root would never verify: {}",
                            X509_verify_cert_error_string(reason)),
                "make a new root: choose other names with --ca-cert and --ca-key");
  }
}

}  // namespace

std::string_view text(RevocationReason reason) {
  return std::ranges::find(reason_names, reason, &ReasonName::reason)->name;
}

std::optional<RevocationReason> parse_revocation_reason(std::string_view text) {
  const auto* const found = std::ranges::find_if(
      reason_names, [&](const ReasonName& row) { return equal_ignoring_case(row.name, text); });
  if (found == reason_names.end()) return std::nullopt;
  return found->reason;
}

Crl Crl::from_der(std::span<const unsigned char> der) {
  const unsigned char* cursor = der.data();
  Handle<X509_crl_st> crl(d2i_X509_CRL(nullptr, &cursor, static_cast<long>(der.size())));
  if (crl == nullptr) throw Error("the revocation list is damaged: " + take_openssl_reason());
  if (cursor != der.data() + der.size()) {
    throw Error("the revocation list is damaged: bytes follow its end");
  }
  return Crl(std::move(crl));
}

Crl Crl::from_pem(std::string_view pem) {
  const PemBlock block = find_pem(pem, [](std::string_view label) { return label == "X509 CRL"; });
  if (block.label.empty()) throw Error("no revocation list in PEM format");
  return from_der(block.der);
}

Crl::Crl(const Crl& other) noexcept {
  X509_CRL_up_ref(other.crl_.get());
  crl_.reset(other.crl_.get());
}

Crl& Crl::operator=(Crl other) noexcept {
  crl_ = std::move(other.crl_);
  return *this;
}

std::vector<unsigned char> Crl::der() const {
  std::vector<unsigned char> der(
      static_cast<std::size_t>(check(i2d_X509_CRL(native(), nullptr), building)));
  unsigned char* cursor = der.data();
  check(i2d_X509_CRL(native(), &cursor), building);
  return der;
}

SecretBytes Crl::pem() const { return to_pem("X509 CRL", der()); }

std::optional<std::uint64_t> Crl::number() const {
  int found = 0;  // -1: there is no such extension
  const Handle<asn1_string_st> number(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(native(), NID_crl_number, &found, nullptr)));
  if (found == -1) return std::nullopt;
  std::uint64_t value = 0;
  if (number == nullptr || ASN1_INTEGER_get_uint64(&value, number.get()) != 1) {
    forget_openssl_errors();
    throw Error("the revocation list's number is damaged, or has more than 64 bits");
  }
  return value;
}

Instant Crl::this_update() const { return read_time(X509_CRL_get0_lastUpdate(native())); }

std::optional<Instant> Crl::next_update() const {
  const ASN1_TIME* time = X509_CRL_get0_nextUpdate(native());
  if (time == nullptr) return std::nullopt;
  return read_time(time);
}

std::vector<RevokedCertificate> Crl::revoked() const {
  STACK_OF(X509_REVOKED)* const entries = X509_CRL_get_REVOKED(native());
  std::vector<RevokedCertificate> revoked;
  revoked.reserve(static_cast<std::size_t>(std::max(0, sk_X509_REVOKED_num(entries))));
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
    const X509_REVOKED* entry = sk_X509_REVOKED_value(entries, i);
    revoked.push_back({.serial = read_serial(X509_REVOKED_get0_serialNumber(entry)),
                       .time = read_time(X509_REVOKED_get0_revocationDate(entry)),
                       .reason = reason_of(entry)});
  }
  return revoked;
}

std::optional<RevokedCertificate> Crl::find(const SerialNumber& serial) const {
  const std::vector<RevokedCertificate> all = revoked();
  const auto found = std::ranges::find(all, serial, &RevokedCertificate::serial);
  return found != all.end() ? std::optional(*found) : std::nullopt;
}

bool Crl::is_signed_by(const Certificate& issuer) const {
  const bool is_named =
      X509_NAME_cmp(X509_CRL_get_issuer(native()), X509_get_subject_name(issuer.native())) == 0;
  const bool verified = is_named && X509_CRL_verify(native(), issuer.public_key().native()) == 1;
  forget_openssl_errors();
  return verified;
}

bool Issuer::may_sign_lists() const noexcept {
  return (X509_get_key_usage(certificate_.native()) & KU_CRL_SIGN) != 0;
}

Crl Issuer::sign(const CrlSpec& asked) const {
  if (!may_sign_lists()) {
    throw Error(
        "its key usage does not allow it to sign revocation lists, nor do minica's roots",
        "take the role out of PgBouncer's auth_file and of PostgreSQL (nologin), or replace "
        "the root: pki rotate begin");
  }
  if (asked.next_update <= asked.this_update) {
    throw Error("a revocation list's next update must come after it");
  }
  CrlSpec spec = asked;
  // Some readers expect them in the order of their numbers.
  std::ranges::sort(spec.revoked);
  const Handle<X509_crl_st> draft = build(spec, certificate_);
  check(X509_CRL_sign(draft.get(), key_.native(), signature_digest(key_.public_key())),
        "signing a revocation list");
  unsigned char* der = nullptr;
  const int size = check(i2d_X509_CRL(draft.get(), &der), "signing a revocation list");
  const std::vector<unsigned char> bytes(der, der + size);
  OPENSSL_free(der);
  Crl made = Crl::from_der(bytes);
  check_against(spec, certificate_, made);
  verify(made, spec, certificate_);
  return made;
}

}  // namespace pki
