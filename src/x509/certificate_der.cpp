#include "x509/certificate_der.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>

#include "base/openssl.h"
#include "pki/error.h"
#include "x509/asn1.h"
#include "x509/signing.h"

namespace pki {
namespace {

constexpr std::array<unsigned char, 1> der_true = {0xff};
constexpr std::array<unsigned char, 1> version_3 = {2};

void add_time(DerWriter& to, Instant instant) {
  const std::string text = asn1_time(instant);
  constexpr std::size_t utc_time_size = 13;  // its year has two digits
  to.add(text.size() == utc_time_size ? Tag::utc_time : Tag::generalized_time, text);
}

// OpenSSL has an eye on what a common name may be: UTF-8, of 64 characters at most.
void add_common_name(DerWriter& to, const std::string& name) {
  constexpr long most_characters = 64;  // RFC 5280 appendix A.1, ub-common-name
  asn1_string_st* copy = nullptr;
  const int tag = ASN1_mbstring_ncopy(&copy, reinterpret_cast<const unsigned char*>(name.data()),
                                      static_cast<int>(name.size()), MBSTRING_UTF8,
                                      B_ASN1_UTF8STRING, 1, most_characters);
  const Handle<asn1_string_st> string(copy);
  check(tag, "writing a common name");
  to.add(Tag::utf8_string, octets_of(string.get()));
}

template <class Write>
void add_extension(DerWriter& to, int nid, bool is_critical, const Write& write) {
  to.wrap(Tag::sequence, [&] {
    to.add_object(nid);
    if (is_critical) to.add(Tag::boolean, der_true);
    to.wrap(Tag::octet_string, write);
  });
}

void add_extended_key_usage(DerWriter& to, const Profile& profile) {
  if (!profile.server_auth && !profile.client_auth) return;
  add_extension(to, NID_ext_key_usage, false, [&] {
    to.wrap(Tag::sequence, [&] {
      if (profile.server_auth) to.add_object(NID_server_auth);
      if (profile.client_auth) to.add_object(NID_client_auth);
    });
  });
}

void add_sans(DerWriter& to, const CertificateSpec& spec) {
  if (spec.sans.empty()) return;
  add_extension(to, NID_subject_alt_name, spec.common_name.empty(), [&] {
    to.wrap(Tag::sequence, [&] {
      for (const San& san : spec.sans) {
        if (const auto* name = std::get_if<DnsName>(&san)) {
          to.add(implicit_tag(2), name->text());
        } else {
          to.add(implicit_tag(7), std::get<IpAddress>(san).bytes());
        }
      }
    });
  });
}

void add_extensions(DerWriter& to, const CertificateSpec& spec, const PublicKey& key,
                    std::span<const unsigned char> key_der,
                    const std::optional<Der>& issuer_key_identifier) {
  add_extension(to, NID_basic_constraints, true, [&] {
    to.wrap(Tag::sequence, [&] {
      if (spec.profile.is_ca) to.add(Tag::boolean, der_true);  // false is the default: not written
    });
  });
  add_extension(to, NID_key_usage, true, [&] {
    to.add_named_bits(static_cast<std::uint8_t>(key_usage_of(spec.profile, key)));
  });
  add_extended_key_usage(to, spec.profile);
  add_extension(to, NID_subject_key_identifier, false,
                [&] { to.add(Tag::octet_string, key_identifier(key_der)); });
  add_sans(to, spec);
  if (!issuer_key_identifier.has_value()) return;
  add_extension(to, NID_authority_key_identifier, false, [&] {
    to.wrap(Tag::sequence, [&] { to.add(implicit_tag(0), *issuer_key_identifier); });
  });
}

}  // namespace

std::uint32_t key_usage_of(const Profile& profile, const PublicKey& key) {
  if (profile.is_ca) return KU_KEY_CERT_SIGN | KU_CRL_SIGN;
  // RFC 8813 section 3: keyEncipherment is RSA's alone.
  return EVP_PKEY_is_a(key.native(), "RSA") == 1 ? KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT
                                                 : KU_DIGITAL_SIGNATURE;
}

Der name_der(const std::string& common_name) {
  DerWriter name;
  name.wrap(Tag::sequence, [&] {
    if (common_name.empty()) return;
    name.wrap(Tag::set, [&] {
      name.wrap(Tag::sequence, [&] {
        name.add_object(NID_commonName);
        add_common_name(name, common_name);
      });
    });
  });
  return std::move(name).take();
}

Der tbs_certificate_der(const CertificateSpec& spec, const PublicKey& key,
                        const IssuerFields& issuer) {
  const Der key_der = key.der();
  DerWriter tbs;
  tbs.wrap(Tag::sequence, [&] {
    tbs.wrap(explicit_tag(0), [&] { tbs.add_integer(version_3); });
    tbs.add_integer(spec.serial.bytes());
    tbs.add_encoded(issuer.algorithm);
    tbs.add_encoded(issuer.name);
    tbs.wrap(Tag::sequence, [&] {
      add_time(tbs, spec.validity.not_before);
      add_time(tbs, spec.validity.not_after);
    });
    tbs.add_encoded(name_der(spec.common_name));
    tbs.add_encoded(key_der);
    tbs.wrap(explicit_tag(3), [&] {
      tbs.wrap(Tag::sequence,
               [&] { add_extensions(tbs, spec, key, key_der, issuer.key_identifier); });
    });
  });
  return std::move(tbs).take();
}

Der certificate_der(std::span<const unsigned char> tbs_certificate,
                    std::span<const unsigned char> algorithm,
                    std::span<const unsigned char> signature) {
  DerWriter certificate;
  certificate.wrap(Tag::sequence, [&] {
    certificate.add_encoded(tbs_certificate);
    certificate.add_encoded(algorithm);
    certificate.add_bits(signature);
  });
  return std::move(certificate).take();
}

Handle<x509_st> read_certificate(std::span<const unsigned char> der, OSSL_LIB_CTX* context) {
  const unsigned char* cursor = der.data();
  x509_st* made = check(X509_new_ex(context, nullptr), "reading a certificate").release();
  // Frees what it was given when it fails.
  Handle<x509_st> certificate(d2i_X509(&made, &cursor, static_cast<long>(der.size())));
  if (certificate == nullptr) throw Error("the certificate is damaged: " + take_openssl_reason());
  if (cursor != der.data() + der.size()) {
    throw Error("the certificate is damaged: bytes follow its end");
  }
  return certificate;
}

}  // namespace pki
