#include "pki/issuer.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <thread>

#include "support.h"
#include "x509/asn1.h"

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

struct Extension {
  int nid;
  const char* text;
};

// A root that we would not make, signed by itself.
Certificate odd_root(const Key& key, std::span<const Extension> extensions,
                     bool has_subject = true) {
  const Handle<x509_st> made(X509_new());
  x509_st* const x = made.get();
  X509_set_version(x, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x), 17);
  ASN1_TIME_set_string(X509_getm_notBefore(x), "260101000000Z");
  ASN1_TIME_set_string(X509_getm_notAfter(x), "20660101000000Z");
  if (has_subject) {
    X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>("odd root"), -1, -1, 0);
  }
  X509_set_issuer_name(x, X509_get_subject_name(x));
  X509_set_pubkey(x, key.native());
  X509V3_CTX context;
  X509V3_set_ctx(&context, x, x, nullptr, nullptr, 0);
  for (const Extension& extension : extensions) {
    CAPTURE(extension.text);
    X509_EXTENSION* one = X509V3_EXT_conf_nid(nullptr, &context, extension.nid, extension.text);
    REQUIRE(one != nullptr);
    X509_add_ext(x, one, -1);
    X509_EXTENSION_free(one);
  }
  REQUIRE(X509_sign(x, key.native(), EVP_sha256()) > 0);
  unsigned char* der = nullptr;
  const int size = i2d_X509(x, &der);
  const std::vector<unsigned char> bytes(der, der + size);
  OPENSSL_free(der);
  return Certificate::from_der(bytes);
}

// OpenSSL's own verdict on a leaf.
int openssl_verifies(const Certificate& leaf, const Certificate& root, int purpose, bool strict) {
  const Handle<x509_store_st> store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), root.native());
  const Handle<x509_store_ctx_st> context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), leaf.native(), nullptr);
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, test::now.time_since_epoch().count());
  X509_VERIFY_PARAM_set_purpose(parameters, purpose);
  if (strict) X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
  const bool verifies = X509_verify_cert(context.get()) == 1;
  return verifies ? X509_V_OK : X509_STORE_CTX_get_error(context.get());
}

// The first fault that OpenSSL finds in a leaf, used as its profile says.
int openssl_verdict(const Certificate& leaf, const Profile& profile, const Issuer& root) {
  const bool strict = root.strict_fault().empty();
  int verdict = X509_V_OK;
  if (profile.server_auth) {
    verdict = openssl_verifies(leaf, root.certificate(), X509_PURPOSE_SSL_SERVER, strict);
  }
  if (profile.client_auth && verdict == X509_V_OK) {
    verdict = openssl_verifies(leaf, root.certificate(), X509_PURPOSE_SSL_CLIENT, strict);
  }
  return verdict;
}

// With a curve that we do not make keys on, or in an encoding that we do not write.
Key make_key(const char* curve, const char* encoding) {
  const Handle<evp_pkey_st> key(EVP_EC_gen(curve));
  REQUIRE(EVP_PKEY_set_utf8_string_param(key.get(), "encoding", encoding) == 1);
  const Handle<bio_st> bio(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) ==
          1);
  char* pem = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &pem);
  return Key::from_pem({pem, static_cast<std::size_t>(size)});
}

// A leaf with these very octets for its public key.
Certificate leaf_of(const CertificateSpec& spec, std::span<const unsigned char> public_key,
                    const Issuer& root) {
  const Certificate usual = root.sign(spec, Key::generate(KeyType::p256).public_key());
  const Handle<x509_st> made(X509_dup(usual.native()));
  const unsigned char* cursor = public_key.data();
  const Handle<evp_pkey_st> key(d2i_PUBKEY(nullptr, &cursor, static_cast<long>(public_key.size())));
  REQUIRE(X509_set_pubkey(made.get(), key.get()) == 1);
  REQUIRE(X509_sign(made.get(), root.key().native(), EVP_sha256()) > 0);
  unsigned char* der = nullptr;
  const int size = i2d_X509(made.get(), &der);
  const std::vector<unsigned char> bytes(der, der + size);
  OPENSSL_free(der);
  return Certificate::from_der(bytes);
}

Key copy(const Key& key) { return Key::from_pem(as_text(key.pem())); }

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

TEST_CASE("sign() makes what X509_verify_cert() verifies, and nothing else") {
  const Key root_key = Key::generate(KeyType::p256);
  // With this key and name, and extensions that exclude nothing: it makes the leaves to be judged.
  CertificateSpec open_spec = test::root_spec();
  open_spec.common_name = "odd root";
  const Issuer open_root = Issuer::self_signed(open_spec, copy(root_key));

  constexpr Extension ca{NID_basic_constraints, "critical,CA:TRUE"};
  constexpr Extension usage{NID_key_usage, "critical,keyCertSign,cRLSign"};
  const std::string identifier =
      test::hex(octets_of(X509_get0_subject_key_id(open_root.certificate().native())));
  const Extension named{NID_subject_key_identifier, identifier.c_str()};
  std::vector<std::vector<Extension>> roots = {
      {ca, usage, named},
      {ca, named},
      {ca, usage},
      {{NID_basic_constraints, "CA:TRUE"}, usage, named},
      {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"}, usage, named},
      {ca, usage, named, {NID_subject_alt_name, "DER:3000"}},
      {ca, usage, named, {NID_subject_alt_name, "DNS:root.test"}},
      {ca, usage, named, {NID_netscape_cert_type, "sslCA"}},
      {ca, usage, named, {NID_netscape_cert_type, "emailCA"}},
  };
  for (const char* usages : {"serverAuth", "clientAuth", "serverAuth,clientAuth", "codeSigning",
                             "anyExtendedKeyUsage"}) {
    roots.push_back({ca, usage, named, {NID_ext_key_usage, usages}});
  }
  for (const char* constraints :
       {"critical,permitted;DNS:inside.test", "permitted;DNS:.inside.test",
        "critical,excluded;DNS:inside.test", "critical,permitted;IP:10.0.0.0/255.0.0.0",
        "critical,excluded;IP:10.0.0.0/255.0.0.0",
        "critical,permitted;DNS:inside.test,permitted;IP:10.0.0.0/255.0.0.0",
        "critical,permitted;email:inside.test"}) {
    roots.push_back({ca, usage, named, {NID_name_constraints, constraints}});
  }

  std::vector<CertificateSpec> specs;
  for (const auto& sans :
       {names({"inside.test"}), names({"a.inside.test"}), names({"outside.test"}),
        names({"inside.test", "outside.test"}), names({}, {"10.1.2.3"}), names({}, {"192.0.2.1"}),
        names({"inside.test"}, {"10.1.2.3"}), names({"inside.test"}, {"192.0.2.1"}),
        names({}, {"::1"}), names({"*.inside.test"})}) {
    specs.push_back(test::server_spec(sans));
  }
  for (const char* role : {"alice", "inside.test", "outside.test"}) {
    specs.push_back(test::server_spec({}));
    specs.back().common_name = role;
  }
  const std::string label(63, 'a');
  specs.push_back(test::server_spec(names({(label + "." + label + ".inside.test").c_str()})));
  CHECK(specs.back().common_name.empty());

  // Whether a curve has a name is asked of each certificate; of P-256 and P-384 it is written so.
  std::vector<Key> odd_keys;
  for (const char* curve : {"P-521", "secp256k1"}) {
    for (const char* encoding : {"named_curve", "explicit"}) {
      odd_keys.push_back(make_key(curve, encoding));
    }
  }
  odd_keys.push_back(make_key("P-256", "explicit"));
  const Key leaf_key = Key::generate(KeyType::p256);
  std::size_t verified = 0;
  std::size_t refused = 0;
  for (const auto& extensions : roots) {
    CAPTURE(extensions.back().text);
    const Issuer root(odd_root(root_key, extensions), copy(root_key));
    for (CertificateSpec spec : specs) {
      CAPTURE(spec.common_name);
      for (const Profile& profile : {profiles::server, profiles::client, profiles::peer}) {
        spec.profile = profile;
        const Certificate leaf = open_root.sign(spec, leaf_key.public_key());
        const int verdict = openssl_verdict(leaf, profile, root);
        if (verdict == X509_V_OK) {
          CHECK_NOTHROW((void)root.sign(spec, leaf_key.public_key()));
          ++verified;
        } else {
          const std::string reason = X509_verify_cert_error_string(verdict);
          CHECK(test::contains(
              test::error_of([&] { (void)root.sign(spec, leaf_key.public_key()); }), reason));
          ++refused;
        }
      }
    }
  }
  CHECK(verified > 300);
  CHECK(refused > 100);

  for (const Key& key : odd_keys) {
    const CertificateSpec spec = test::server_spec(names({"a.test"}));
    const std::vector<unsigned char> public_key = key.public_key().der();
    const Certificate leaf = leaf_of(spec, public_key, open_root);
    REQUIRE(leaf.public_key_der() == public_key);
    const bool holds = openssl_verdict(leaf, spec.profile, open_root) == X509_V_OK;
    CAPTURE(public_key.size());
    CHECK(holds == (public_key.size() < 200));
    if (holds) {
      CHECK(open_root.sign(spec, key.public_key()).public_key_der() == public_key);
    } else {
      CHECK(test::contains(test::error_of([&] { (void)open_root.sign(spec, key.public_key()); }),
                           "curve"));
    }
  }
}

TEST_CASE("a root whose curve is described by parameters is no issuer; one without a subject is") {
  const std::vector<Extension> extensions = {{NID_basic_constraints, "critical,CA:TRUE"},
                                             {NID_key_usage, "critical,keyCertSign"},
                                             {NID_subject_key_identifier, "hash"}};
  const auto refusal = [](const Certificate& certificate, Key key) {
    return test::error_of([&] { (void)Issuer(certificate, std::move(key)); });
  };
  const Key key = Key::generate(KeyType::p256);
  const Issuer nameless(odd_root(key, extensions, false), copy(key));
  CHECK(nameless.strict_fault() == "no subject");
  const CertificateSpec spec = test::server_spec(names({"a.test"}));
  const Certificate leaf = nameless.sign(spec, key.public_key());
  CHECK(openssl_verdict(leaf, spec.profile, nameless) == X509_V_OK);

  const Key described = Key::generate(KeyType::p256);  // its curve by parameters, not by name
  REQUIRE(EVP_PKEY_set_utf8_string_param(described.native(), "encoding", "explicit") == 1);
  const Certificate certificate = odd_root(described, extensions);
  REQUIRE(certificate.public_key_der().size() > 200);
  CHECK(test::contains(refusal(certificate, copy(key)), "do not match"));
  CHECK(test::contains(refusal(certificate, copy(described)), "curve"));

  const Handle<bio_st> bio(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_PrivateKey(bio.get(), described.native(), nullptr, nullptr, 0, nullptr,
                                   nullptr) == 1);
  char* pem = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &pem);
  Key also_described = Key::from_pem({pem, static_cast<std::size_t>(size)});
  CHECK(test::contains(refusal(certificate, std::move(also_described)), "curve"));
}
