#include "pki/inspection.h"

#include <array>

#include "support.h"
#include "x509/presented.h"

namespace {

using pki::Certificate;

// The identifiers of all findings but notes.
std::vector<std::string> found(const pki::Inspection& inspection) {
  std::vector<std::string> ids;
  for (const pki::Finding& finding : pki::inspect(inspection)) {
    if (finding.level != pki::Finding::Level::note) ids.push_back(finding.id);
  }
  return ids;
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("inspection: names are matched as RFC 9525 says") {
  struct Row {
    const char* pattern;
    const char* host;
    bool matches;
  };
  constexpr auto rows = std::to_array<Row>({
      {"bouncerhost", "bouncerhost", true},
      {"bouncerhost", "BouncerHost.", true},
      {"bouncerhost", "bouncerhost2", false},
      {"*.db.example", "a.db.example", true},
      {"*.db.example", "A.DB.example", true},
      {"*.db.example", "a.b.db.example", false},
      {"*.db.example", "db.example", false},
      {"*.db.example", ".db.example", false},
      {"*.example", "a.example", false},
      {"*", "a", false},
      {"a*.db.example", "ab.db.example", false},
      {"", "a", false},
  });
  for (const Row& row : rows) {
    CAPTURE(row.pattern);
    CAPTURE(row.host);
    CHECK(pki::matches_dns_name(row.pattern, row.host) == row.matches);
  }
}

TEST_CASE("inspection: a leaf of ours, over its life and for several names") {
  const pki::Key key = pki::Key::generate(pki::KeyType::p256);
  const pki::Issuer root =
      pki::Issuer::self_signed(test::root_spec(), pki::Key::generate(pki::KeyType::p256));
  const pki::Validity validity =
      pki::Validity::starting(test::now, {.days = std::chrono::days{90}});
  const std::array chain = {
      root.sign({.common_name = "bouncerhost",
                 .sans = {pki::DnsName::parse("bouncerhost"), pki::IpAddress::parse("2001:db8::1")},
                 .profile = pki::profiles::server,
                 .validity = validity,
                 .serial = pki::SerialNumber::generate()},
                key.public_key())};
  const std::array roots = {root.certificate()};
  pki::Inspection inspection{
      .chain = chain, .roots = roots, .host = "bouncerhost", .now = test::now};

  CHECK(found(inspection) == Ids{});
  inspection.host = "2001:DB8:0::1";
  CHECK(found(inspection) == Ids{});
  inspection.host = "2001:db8::2";
  CHECK(found(inspection) == Ids{"name-mismatch"});
  inspection.host.reset();

  inspection.now = validity.not_after - std::chrono::days{30};
  CHECK(found(inspection) == Ids{});
  inspection.now += std::chrono::seconds{1};
  CHECK(found(inspection) == Ids{"expires-soon"});
  inspection.now = validity.not_after;
  CHECK(found(inspection) == Ids{"expires-soon"});
  inspection.now += std::chrono::seconds{1};
  CHECK(found(inspection) == Ids{"expired"});
  inspection.now = validity.not_before - std::chrono::seconds{1};
  CHECK(found(inspection) == Ids{"issuer-expired", "not-yet-valid"});  // the root begins then too

  inspection.now = test::now;
  inspection.for_client = true;
  CHECK(found(inspection) == Ids{"wrong-usage"});
  inspection.for_client = false;
  inspection.roots = {};
  CHECK(found(inspection) == Ids{});
}

TEST_CASE("inspection: text of a certificate's reaches a finding in quotes only") {
  const pki::Issuer root =
      pki::Issuer::self_signed(test::root_spec(), pki::Key::generate(pki::KeyType::p256));
  const std::array chain = {root.certificate()};
  for (const pki::Finding& finding :
       pki::inspect({.chain = chain, .roots = {}, .host = "\x1b[31m\n", .now = test::now})) {
    CAPTURE(finding.id);
    CHECK(finding.what.find_first_of("\x1b\n") == std::string::npos);
    CHECK(finding.remedy.find_first_of("\x1b\n") == std::string::npos);
  }
}
