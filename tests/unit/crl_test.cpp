#include "pki/crl.h"

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "support.h"

using namespace pki;

namespace {

SerialNumber serial(std::string_view text) { return SerialNumber::parse(text).value(); }

CrlSpec spec(std::vector<RevokedCertificate> revoked = {}) {
  return {.number = 7,
          .this_update = test::now,
          .next_update = test::now + std::chrono::days{30},
          .revoked = std::move(revoked)};
}

}  // namespace

TEST_CASE("crl: the list says what was asked for, and nothing else") {
  using enum RevocationReason;
  for (const KeyType type : {KeyType::p256, KeyType::p384, KeyType::rsa2048}) {
    const Issuer root = test::make_root(type);
    const std::vector<RevokedCertificate> revoked = {
        {serial("5B"), test::now, key_compromise},
        {serial("FF00"), test::now - std::chrono::days{400}, unspecified},
        {SerialNumber::generate(), test::now, superseded}};
    const Crl crl = root.sign(spec(revoked));
    CHECK(X509_CRL_get_version(crl.native()) == X509_CRL_VERSION_2);
    CHECK(crl.number() == 7);
    CHECK(crl.this_update() == test::now);
    CHECK(crl.next_update() == test::now + std::chrono::days{30});
    std::vector<RevokedCertificate> sorted = revoked;
    std::ranges::sort(sorted);
    CHECK(crl.revoked() == sorted);
    CHECK(crl.is_signed_by(root.certificate()));
    CHECK(!crl.is_signed_by(test::make_root().certificate()));
    CHECK(X509_CRL_get_ext_by_NID(crl.native(), NID_authority_key_identifier, -1) >= 0);
    CHECK(Crl::from_pem(as_text(crl.pem())).der() == crl.der());
  }
}

TEST_CASE("crl: a list of nothing has no list, and an unspecified reason no extension") {
  // RFC 5280 5.1.2.6 and 5.3.1.
  const Issuer root = test::make_root();
  CHECK(X509_CRL_get_REVOKED(root.sign(spec()).native()) == nullptr);
  const Crl one = root.sign(spec({{serial("01"), test::now}}));
  const X509_REVOKED* entry = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(one.native()), 0);
  CHECK(X509_REVOKED_get_ext_count(entry) == 0);
}

TEST_CASE("crl: numbers up to 64 bits, dates beyond 2049") {
  const Issuer root = test::make_root();
  CrlSpec far = spec();
  far.number = 0xFFFF'FFFF'FFFF'FFFF;
  far.next_update = std::chrono::sys_days{std::chrono::year{2090} / 1 / 1};
  const Crl crl = root.sign(far);
  CHECK(crl.number() == far.number);
  CHECK(crl.next_update() == far.next_update);
}

TEST_CASE("crl: what cannot be signed") {
  const Issuer root = test::make_root();
  CrlSpec never = spec();
  never.next_update = never.this_update;
  CHECK_THROWS_AS((void)root.sign(never), Error);
  CrlSpec before_its_root = spec();
  before_its_root.this_update -= std::chrono::days{1};
  CHECK(test::contains(test::error_of([&] { (void)root.sign(before_its_root); }), "not yet valid"));
  CrlSpec root_revoked = spec({{root.certificate().serial(), test::now}});
  CHECK(test::contains(test::error_of([&] { (void)root.sign(root_revoked); }), "revoked"));
}

TEST_CASE("crl: what is no revocation list") {
  const Issuer root = test::make_root();
  const Crl crl = root.sign(spec({{serial("01"), test::now}}));
  const std::vector<unsigned char> der = crl.der();
  for (std::size_t size = 0; size < der.size(); ++size) {
    CHECK_THROWS_AS((void)Crl::from_der(std::span(der).first(size)), Error);
  }
  std::vector<unsigned char> longer = der;
  longer.push_back(0);
  CHECK_THROWS_AS((void)Crl::from_der(longer), Error);
  for (const std::string& text :
       {std::string(), std::string("X509 CRL"), std::string(as_text(root.certificate().pem())),
        std::string("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")}) {
    CHECK_THROWS_AS((void)Crl::from_pem(text), Error);
  }
}

// Nothing that a byte can be makes a reader do more than refuse.
TEST_CASE("crl: every byte changed") {
  const Issuer root = test::make_root();
  const std::vector<unsigned char> der =
      root.sign(spec({{serial("01"), test::now, RevocationReason::key_compromise}})).der();
  std::size_t believed = 0;
  for (std::size_t at = 0; at < der.size(); ++at) {
    for (const int flip : {0x01, 0x20, 0x80, 0xFF}) {
      std::vector<unsigned char> changed = der;
      changed[at] = static_cast<unsigned char>(changed[at] ^ flip);
      try {
        const Crl crl = Crl::from_der(changed);
        if (crl.is_signed_by(root.certificate())) ++believed;
        (void)crl.this_update();
        (void)crl.next_update();
        (void)crl.number();
        (void)crl.revoked();
      } catch (const Error&) {
        continue;
      }
    }
  }
  CHECK(believed == 0);
}

TEST_CASE("crl: reasons by the words of OpenSSL's index") {
  for (const char* word : {"unspecified", "keyCompromise", "CACompromise", "affiliationChanged",
                           "superseded", "cessationOfOperation", "certificateHold"}) {
    CAPTURE(word);
    REQUIRE(parse_revocation_reason(word).has_value());
    CHECK(text(*parse_revocation_reason(word)) == word);
  }
  // RFC 5280 spells it so.
  CHECK(parse_revocation_reason("cACompromise") == RevocationReason::ca_compromise);
  for (const char* word : {"", "key", "keyCompromise ", "key-compromise", "removeFromCRL", "1"}) {
    CAPTURE(word);
    CHECK(!parse_revocation_reason(word).has_value());
  }
}
