#include "x509/der.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>

#include "support.h"
#include "x509/asn1.h"
#include "x509/certificate_der.h"
#include "x509/signing.h"

using namespace pki;
using namespace std::chrono;

namespace {

template <class Write>
Der written(const Write& write) {
  DerWriter writer;
  write(writer);
  return std::move(writer).take();
}

template <class T>
Der openssl_writes(int (*encode)(const T*, unsigned char**), const T* value) {
  unsigned char* der = nullptr;
  const int size = encode(value, &der);
  REQUIRE(size > 0);
  Der copy(der, der + size);
  OPENSSL_free(der);
  return copy;
}

void add_extension(x509_st* x, X509V3_CTX& context, int nid, const std::string& text) {
  CAPTURE(text);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, text.c_str());
  REQUIRE(extension != nullptr);
  REQUIRE(X509_add_ext(x, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

// The same TBSCertificate by OpenSSL's own builder, from its objects and configuration strings.
Der openssl_builds(const CertificateSpec& spec, const Key& key, const Certificate* issuer,
                   const Key& issuer_key) {
  const Handle<x509_st> made(X509_new());
  x509_st* const x = made.get();
  X509_set_version(x, X509_VERSION_3);
  set_serial(X509_get_serialNumber(x), spec.serial);
  set_time(X509_getm_notBefore(x), spec.validity.not_before);
  set_time(X509_getm_notAfter(x), spec.validity.not_after);
  if (!spec.common_name.empty()) {
    X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(spec.common_name.data()), -1,
                               -1, 0);
  }
  X509_set_issuer_name(x, X509_get_subject_name(issuer != nullptr ? issuer->native() : x));
  REQUIRE(X509_set_pubkey(x, key.native()) == 1);

  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer != nullptr ? issuer->native() : x, x, nullptr, nullptr, 0);
  const bool is_ca = spec.profile.is_ca;
  add_extension(x, context, NID_basic_constraints,
                is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  const bool is_rsa = EVP_PKEY_is_a(key.native(), "RSA") == 1;
  add_extension(x, context, NID_key_usage,
                is_ca    ? "critical,keyCertSign,cRLSign"
                : is_rsa ? "critical,digitalSignature,keyEncipherment"
                         : "critical,digitalSignature");
  std::string usages = spec.profile.server_auth ? "serverAuth" : "";
  if (spec.profile.client_auth) usages += usages.empty() ? "clientAuth" : ",clientAuth";
  if (!usages.empty()) add_extension(x, context, NID_ext_key_usage, usages);
  const ASN1_BIT_STRING* const bits = X509_get0_pubkey_bitstr(x);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  REQUIRE(EVP_Digest(ASN1_STRING_get0_data(bits),
                     static_cast<std::size_t>(ASN1_STRING_length(bits)), digest.data(), nullptr,
                     EVP_sha256(), nullptr) == 1);
  add_extension(x, context, NID_subject_key_identifier, test::hex(std::span(digest).first(20)));
  std::string names;
  for (const San& san : spec.sans) {
    names += names.empty() ? "" : ",";
    names += (std::holds_alternative<DnsName>(san) ? "DNS:" : "IP:") + text(san);
  }
  if (!names.empty()) {
    add_extension(x, context, NID_subject_alt_name,
                  (spec.common_name.empty() ? "critical," : "") + names);
  }
  if (issuer != nullptr) {
    add_extension(x, context, NID_authority_key_identifier, "keyid:always");
  }
  const bool is_p384 = issuer_key.public_key().type() == KeyType::p384;
  REQUIRE(X509_sign(x, issuer_key.native(), is_p384 ? EVP_sha384() : EVP_sha256()) > 0);
  unsigned char* tbs = nullptr;
  const int length = i2d_re_X509_tbs(x, &tbs);
  REQUIRE(length > 0);
  Der copy(tbs, tbs + length);
  OPENSSL_free(tbs);
  return copy;
}

Der signed_part_of(const Certificate& certificate) {
  const Der der = certificate.der();
  std::span<const unsigned char> rest = der;
  rest = take_element(rest).value().contents;
  const std::span<const unsigned char> part = take_element(rest).value().encoding;
  return {part.begin(), part.end()};
}

}  // namespace

TEST_CASE("der: elements of every length are written as OpenSSL writes them, and taken off again") {
  for (const std::size_t size : {0U, 1U, 127U, 128U, 255U, 256U, 65535U, 65536U, 70000U}) {
    CAPTURE(size);
    const Der contents(size, 0x5a);
    const Handle<asn1_string_st> string(ASN1_OCTET_STRING_new());
    REQUIRE(ASN1_OCTET_STRING_set(string.get(), contents.data(), static_cast<int>(size)) == 1);
    const Der added = written([&](DerWriter& to) { to.add(Tag::octet_string, contents); });
    CHECK(added == openssl_writes(i2d_ASN1_OCTET_STRING, string.get()));
    const Der wrapped = written(
        [&](DerWriter& to) { to.wrap(Tag::octet_string, [&] { to.add_encoded(contents); }); });
    CHECK(wrapped == added);

    Der both = added;
    both.push_back(0x05);  // NULL follows
    both.push_back(0x00);
    std::span<const unsigned char> rest = both;
    const std::optional<DerElement> first = take_element(rest);
    REQUIRE(first.has_value());
    CHECK(first->tag == Tag::octet_string);
    CHECK(std::ranges::equal(first->contents, contents));
    CHECK(std::ranges::equal(first->encoding, added));
    CHECK(take_element(rest)->tag == Tag::null);
    CHECK(rest.empty());
    CHECK(!take_element(rest).has_value());
    for (std::size_t cut = 0; cut < std::min<std::size_t>(added.size(), 200); ++cut) {
      std::span<const unsigned char> part = std::span(added).first(cut);
      CHECK(!take_element(part).has_value());
    }
  }
}

TEST_CASE("der: what is not DER is not taken off") {
  const auto takes = [](Der bytes) {
    bytes.resize(300);
    std::span<const unsigned char> rest = bytes;
    return take_element(rest).has_value();
  };
  CHECK(takes({0x04, 0x7f}));
  CHECK(takes({0x04, 0x81, 0x80}));
  CHECK(!takes({0x04, 0x80}));              // of no definite length
  CHECK(!takes({0x04, 0x81, 0x7f}));        // longer than need be
  CHECK(!takes({0x04, 0x82, 0x00, 0x80}));  // the same
  CHECK(!takes({0x1f, 0x81, 0x01}));        // a tag of several octets
  CHECK(!takes({0x04, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  CHECK(!takes({0x04, 0x89, 0x01, 0, 0, 0, 0, 0, 0, 0, 0}));  // more than there are numbers for
  CHECK(!takes({0x04, 0xff}));
}

TEST_CASE("der: integers, objects and named bits are as OpenSSL writes them") {
  for (const std::uint64_t number : {0UL, 1UL, 127UL, 128UL, 255UL, 256UL, 0x8000UL, 0x7fffffUL}) {
    CAPTURE(number);
    const Handle<asn1_string_st> integer(ASN1_INTEGER_new());
    REQUIRE(ASN1_INTEGER_set_uint64(integer.get(), number) == 1);
    Der magnitude;
    for (int shift = 56; shift >= 0; shift -= 8) {
      magnitude.push_back(static_cast<unsigned char>(number >> shift));
    }
    CHECK(written([&](DerWriter& to) { to.add_integer(magnitude); }) ==
          openssl_writes(i2d_ASN1_INTEGER, integer.get()));
  }
  for (const int nid : {NID_commonName, NID_server_auth, NID_sha256WithRSAEncryption}) {
    CHECK(written([&](DerWriter& to) { to.add_object(nid); }) ==
          openssl_writes(i2d_ASN1_OBJECT, OBJ_nid2obj(nid)));
  }
  for (unsigned bits = 0; bits < 256; ++bits) {
    const Handle<asn1_string_st> string(ASN1_BIT_STRING_new());
    for (int bit = 0; bit < 8; ++bit) {
      const bool is_set = (bits & (0x80U >> static_cast<unsigned>(bit))) != 0;
      REQUIRE(ASN1_BIT_STRING_set_bit(string.get(), bit, is_set ? 1 : 0) == 1);
    }
    CHECK(written([&](DerWriter& to) { to.add_named_bits(static_cast<std::uint8_t>(bits)); }) ==
          openssl_writes(i2d_ASN1_BIT_STRING, string.get()));
  }
}

TEST_CASE("certificates are, to the octet, what OpenSSL builds from the same specification") {
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
  std::vector<std::vector<San>> lists;
  lists.push_back({DnsName::parse("a")});
  lists.push_back({DnsName::parse("*.db.test"), IpAddress::parse("10.0.0.5")});
  lists.push_back({IpAddress::parse("2001:db8::1")});
  lists.push_back({DnsName::parse(longest)});
  lists.emplace_back();
  for (int i = 0; i < 3000; ++i) {
    lists.back().emplace_back(DnsName::parse("host" + std::to_string(i) + ".many.test"));
  }
  for (const KeyType root_type : {KeyType::p256, KeyType::p384, KeyType::rsa2048}) {
    CAPTURE(text(root_type));
    const CertificateSpec root_spec = test::root_spec();
    const Issuer root = Issuer::self_signed(root_spec, Key::generate(root_type));
    CHECK(signed_part_of(root.certificate()) ==
          openssl_builds(root_spec, root.key(), nullptr, root.key()));
    for (const KeyType type : all_key_types) {
      CAPTURE(text(type));
      const Key key = Key::generate(type);
      for (const auto& sans : lists) {
        CertificateSpec spec = test::server_spec(sans);
        for (const Profile& profile : {profiles::server, profiles::client, profiles::peer}) {
          spec.profile = profile;
          const Certificate made = root.sign(spec, key.public_key());
          CHECK(signed_part_of(made) == openssl_builds(spec, key, &root.certificate(), root.key()));
          CHECK(X509_verify(made.native(), root.key().native()) == 1);
        }
      }
      // Without names, for a role; and with dates on both sides of 2050.
      CertificateSpec spec = test::server_spec({});
      spec.common_name = "j\u00f6rg";
      spec.profile = profiles::client;
      spec.validity = {sys_days{2049y / 12 / 31}, sys_days{2050y / 1 / 1}};
      CHECK(signed_part_of(root.sign(spec, key.public_key())) ==
            openssl_builds(spec, key, &root.certificate(), root.key()));
    }
  }
}

TEST_CASE("a name is one that OpenSSL takes") {
  CHECK(name_der("").size() == 2);
  const Handle<X509_name_st> name(X509_NAME_new());
  const std::string text = "j\u00f6rg";
  REQUIRE(X509_NAME_add_entry_by_NID(name.get(), NID_commonName, MBSTRING_UTF8,
                                     reinterpret_cast<const unsigned char*>(text.data()), -1, -1,
                                     0) == 1);
  CHECK(name_der(text) == openssl_writes(i2d_X509_NAME, name.get()));
  CHECK(name_der(std::string(64, 'x')).size() > 64);
  CHECK_THROWS_AS((void)name_der(std::string(65, 'x')), Error);
  CHECK_THROWS_AS((void)name_der("\xff"), Error);
}

TEST_CASE("public keys are written as OpenSSL writes them, and read again") {
  for (const KeyType type : all_key_types) {
    CAPTURE(text(type));
    const Key key = Key::generate(type);
    const Der der = key.public_key().der();
    CHECK(der == openssl_writes(i2d_PUBKEY, static_cast<const EVP_PKEY*>(key.native())));
    CHECK(PublicKey::from_der(der) == key.public_key());
    CHECK(PublicKey::from_der(der).type() == type);
    CHECK(!(PublicKey::from_der(der) == Key::generate(type).public_key()));
    Der longer = der;
    longer.push_back(0);
    CHECK_THROWS_AS((void)PublicKey::from_der(longer), Error);
    CHECK_THROWS_AS((void)PublicKey::from_der(std::span(der).first(der.size() - 1)), Error);
  }
}

TEST_CASE("a certificate knows its key, also in another encoding") {
  const Issuer root = test::make_root();
  const Key key = Key::generate(KeyType::p256);
  const std::vector<San> sans = {DnsName::parse("a.test")};
  const Certificate made = root.sign(test::server_spec(sans), key.public_key());
  CHECK(made.public_key_der() == key.public_key().der());
  CHECK(made.has_key(key.public_key()));
  CHECK(!made.has_key(root.key().public_key()));
  CHECK(!made.has_key(Key::generate(KeyType::rsa2048).public_key()));

  REQUIRE(EVP_PKEY_set_utf8_string_param(key.native(), "point-format", "compressed") == 1);
  const Der compressed = openssl_writes(i2d_PUBKEY, static_cast<const EVP_PKEY*>(key.native()));
  REQUIRE(compressed.size() < made.public_key_der().size());
  const PublicKey same = PublicKey::from_der(compressed);
  CHECK(made.has_key(same));
  REQUIRE(EVP_PKEY_set_utf8_string_param(key.native(), "point-format", "hybrid") == 1);
  const Der hybrid = openssl_writes(i2d_PUBKEY, static_cast<const EVP_PKEY*>(key.native()));
  REQUIRE(hybrid.size() == made.public_key_der().size());
  REQUIRE(hybrid != made.public_key_der());
  CHECK(PublicKey::from_der(hybrid) == key.public_key());
  CHECK(made.has_key(PublicKey::from_der(hybrid)));
  CHECK(root.sign(test::server_spec(sans), same)
            .has_key(Key::from_pem(as_text(key.pem())).public_key()));
}
