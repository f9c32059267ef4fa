#include "pki/issuer.h"

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <thread>

#include "support.h"

using namespace pki;
using namespace std::chrono;

namespace {

std::vector<San> names(std::initializer_list<const char*> dns,
                       std::initializer_list<const char*> addresses = {}) {
  std::vector<San> sans;
  for (const char* name : dns) sans.emplace_back(DnsName::parse(name));
  for (const char* address : addresses) sans.emplace_back(IpAddress::parse(address));
  return sans;
}

bool critical(const Certificate& certificate, int nid) {
  const int at = X509_get_ext_by_NID(certificate.native(), nid, -1);
  return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(certificate.native(), at)) == 1;
}

bool has(const Certificate& certificate, int nid) {
  return X509_get_ext_by_NID(certificate.native(), nid, -1) >= 0;
}

std::string octets(const ASN1_OCTET_STRING* string) {
  return string == nullptr
             ? std::string()
             : std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                           static_cast<std::size_t>(ASN1_STRING_length(string)));
}

// The whole of a leaf's profile, in one place.
void check_server_profile(const Certificate& leaf, const Issuer& root,
                          const CertificateSpec& spec) {
  x509_st* const x = leaf.native();
  CHECK(X509_get_version(x) == X509_VERSION_3);
  CHECK(leaf.serial() == spec.serial);
  CHECK(leaf.validity() == spec.validity);
  CHECK(leaf.sans() == spec.sans);
  CHECK(leaf.common_name() == spec.common_name);
  CHECK(!leaf.is_ca());
  CHECK(critical(leaf, NID_basic_constraints));
  CHECK(critical(leaf, NID_key_usage));
  const bool is_rsa = EVP_PKEY_is_a(leaf.public_key().native(), "RSA") == 1;
  CHECK(X509_get_key_usage(x) ==
        (is_rsa ? KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT : KU_DIGITAL_SIGNATURE));
  CHECK(X509_get_extended_key_usage(x) == XKU_SSL_SERVER);
  CHECK(!critical(leaf, NID_ext_key_usage));
  CHECK(critical(leaf, NID_subject_alt_name) == spec.common_name.empty());
  CHECK(octets(X509_get0_subject_key_id(x)).size() == 20);
  CHECK(octets(X509_get0_authority_key_id(x)) ==
        octets(X509_get0_subject_key_id(root.certificate().native())));
  CHECK(X509_get_ext_count(x) == 6);
  CHECK(root.has_signed(leaf));
}

}  // namespace

TEST_CASE("root: CA:TRUE, keyCertSign and cRLSign, SKI; no pathlen, no EKU, no AKI") {
  for (const KeyType type : {KeyType::p256, KeyType::p384, KeyType::rsa2048}) {
    CAPTURE(text(type));
    const Issuer root = test::make_root(type);
    const Certificate& certificate = root.certificate();
    x509_st* const x = certificate.native();
    CHECK(certificate.is_ca());
    CHECK(X509_get_pathlen(x) == -1);
    CHECK(critical(certificate, NID_basic_constraints));
    CHECK(critical(certificate, NID_key_usage));
    CHECK(X509_get_key_usage(x) == (KU_KEY_CERT_SIGN | KU_CRL_SIGN));
    CHECK(!has(certificate, NID_ext_key_usage));
    CHECK(!has(certificate, NID_authority_key_identifier));
    CHECK(has(certificate, NID_subject_key_identifier));
    CHECK(X509_get_signature_nid(x) == (type == KeyType::p256   ? NID_ecdsa_with_SHA256
                                        : type == KeyType::p384 ? NID_ecdsa_with_SHA384
                                                                : NID_sha256WithRSAEncryption));
    CHECK(X509_get0_notAfter(x)->type == V_ASN1_GENERALIZEDTIME);
    CHECK(root.strict_fault().empty());
  }
}

TEST_CASE("leaf: the server profile, for every key type and form of name") {
  const Issuer root = test::make_root();
  for (const KeyType type : all_key_types) {
    CAPTURE(text(type));
    const CertificateSpec spec =
        test::server_spec(names({"bouncerhost", "*.db.test"}, {"10.0.0.5", "::1"}));
    check_server_profile(root.sign(spec, Key::generate(type).public_key()), root, spec);
  }
  const std::string label(63, 'a');
  const std::string longest =
      label + "." + label + "." + label + "." + std::string(61, 'b');  // 253
  for (const auto& sans : {names({"a"}), names({}, {"2001:db8::1"}), names({longest.c_str()}),
                           names({longest.c_str(), "short.test"}), names({"B.test", "a.test"})}) {
    CAPTURE(text(sans.front()));
    const CertificateSpec spec = test::server_spec(sans);
    check_server_profile(root.sign(spec, Key::generate(KeyType::p256).public_key()), root, spec);
  }
}

TEST_CASE("leaf: client and peer usages") {
  const Issuer root = test::make_root();
  CertificateSpec spec = test::server_spec(names({"alice"}));
  const PublicKey key = Key::generate(KeyType::p256).public_key();
  spec.profile = profiles::client;
  const Certificate client = root.sign(spec, key);
  CHECK(client.allows_client_auth());
  CHECK(!client.allows_server_auth());
  spec.profile = profiles::peer;
  const Certificate peer = root.sign(spec, key);
  CHECK(peer.allows_client_auth());
  CHECK(peer.allows_server_auth());
}

TEST_CASE("UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5)") {
  const Issuer root = test::make_root();
  const PublicKey key = Key::generate(KeyType::p256).public_key();
  CertificateSpec spec = test::server_spec(names({"a"}));
  spec.validity = {sys_days{2030y / 1 / 1}, sys_days{2049y / 12 / 31}};
  CHECK(X509_get0_notAfter(root.sign(spec, key).native())->type == V_ASN1_UTCTIME);
  spec.validity = {sys_days{2030y / 1 / 1}, sys_days{2050y / 1 / 1}};
  CHECK(X509_get0_notAfter(root.sign(spec, key).native())->type == V_ASN1_GENERALIZEDTIME);
}

TEST_CASE("an issuer signs nothing that lives longer than itself") {
  const Issuer root = test::make_root();
  const PublicKey key = Key::generate(KeyType::p256).public_key();
  const Validity mine = root.certificate().validity();
  CertificateSpec spec = test::server_spec(names({"a"}));
  for (const Validity& bad : {Validity{mine.not_before - seconds{1}, mine.not_after},
                              Validity{mine.not_before, mine.not_after + seconds{1}},
                              Validity{mine.not_before + days{2}, mine.not_before + days{1}}}) {
    spec.validity = bad;
    CHECK_THROWS_AS((void)root.sign(spec, key), Error);
  }
  spec.validity = mine;
  CHECK(root.sign(spec, key).validity() == mine);
}

// libpq knows no digest for an Ed25519 signature, so SCRAM channel binding fails.
TEST_CASE("an Ed25519 root is refused, an Ed25519 leaf is not") {
  const std::string error = test::error_of([] { (void)test::make_root(KeyType::ed25519); });
  CHECK(test::contains(error, "SCRAM"));
}

TEST_CASE("a pair that does not match, or may not sign, is no issuer") {
  const Issuer root = test::make_root();
  CHECK(test::contains(
      test::error_of([&] { (void)Issuer(root.certificate(), Key::generate(KeyType::p256)); }),
      "do not match"));
  Key key = Key::generate(KeyType::p256);
  const Certificate leaf = root.sign(test::server_spec(names({"a"})), key.public_key());
  CHECK(test::contains(test::error_of([&] { (void)Issuer(leaf, std::move(key)); }), "not a CA"));
}

TEST_CASE("has_signed tells another root's certificates apart, also under the same name") {
  const Issuer root = test::make_root();
  const Issuer same_name = test::make_root();
  const Certificate leaf =
      root.sign(test::server_spec(names({"a"})), Key::generate(KeyType::p256).public_key());
  CHECK(root.has_signed(leaf));
  CHECK(!same_name.has_signed(leaf));
}

TEST_CASE("one issuer serves several threads") {
  const Issuer root = test::make_root();
  std::vector<std::thread> threads;
  std::vector<int> verified(4, 0);
  for (std::size_t i = 0; i < verified.size(); ++i) {
    threads.emplace_back([&root, &count = verified[i]] {
      for (int n = 0; n < 50; ++n) {
        const Certificate leaf = root.sign(test::server_spec(names({"a.test"}, {"::1"})),
                                           Key::generate(KeyType::p256).public_key());
        if (root.has_signed(leaf)) ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : verified) CHECK(count == 50);
}
