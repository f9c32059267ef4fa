#include "pki/listing.h"

#include <map>

#include "store/ledger.h"
#include "support.h"

using namespace pki;
using namespace std::chrono;
namespace fs = std::filesystem;
using Status = Listed::Status;

namespace {

Issuer early_root() {
  CertificateSpec spec = test::root_spec();
  spec.common_name = "minica root ca 123456";
  spec.validity = Validity::starting(test::now - days{2000}, profiles::root.lifetime);
  return Issuer::self_signed(spec, Key::generate(KeyType::p256));
}

// A root with its leaves and its ledger, in a directory of its own.
class Authority {
 public:
  Authority() : root(early_root()) { write("minica.pem", root.certificate()); }

  [[nodiscard]] const fs::path& home() const { return home_.path(); }
  [[nodiscard]] Listing list(std::optional<days> window = {}) const {
    return Listing({.certificate = home() / "minica.pem", .key = "none", .leaves = home()},
                   test::now, window);
  }

  [[nodiscard]] Certificate sign(const std::string& host, days left = days{700},
                                 days lifetime = days{760}) const {
    CertificateSpec spec = test::server_spec({DnsName::parse(host)});
    spec.validity = {test::now + left - lifetime, test::now + left};
    return root.sign(spec, Key::generate(KeyType::p256).public_key());
  }
  void put(const std::string& name, const Certificate& certificate) const {
    fs::create_directory(home() / name);
    write(name + "/cert.pem", certificate);
  }
  void record(const Certificate& certificate) const {
    const std::vector<Certificate> one = {certificate};
    Ledger(Directory::open(home()), "minica-index.txt").record(one);
  }
  void record_as_revoked(const Certificate& certificate, const std::string& when) const {
    record(certificate);
    std::string ledger = test::read_file(home() / "minica-index.txt");
    const std::size_t at = ledger.rfind('\n', ledger.size() - 2) + 1;
    ledger[at] = 'R';
    ledger.insert(ledger.find("\t\t", at) + 1, when);
    test::write_file(home() / "minica-index.txt", ledger);
  }

  Issuer root;

 private:
  void write(const std::string& name, const Certificate& certificate) const {
    test::write_file(home() / name, std::string(as_text(certificate.pem())));
  }

  test::TemporaryDirectory home_;
};

using Statuses = std::map<std::string, Status>;

Statuses on_disk(const Listing& listing) {
  Statuses found;
  for (const Listed& one : listing.on_disk()) found[one.name] = one.status;
  return found;
}

using Rows = std::vector<std::pair<std::string, Status>>;

Rows off_disk(const Listing& listing) {
  Rows rows;
  listing.for_each_off_disk([&](const Listed& one) { rows.emplace_back(one.name, one.status); });
  return rows;
}

Rows past(const Listing& listing) {
  Rows rows;
  listing.for_each_past([&](const Listed& one) { rows.emplace_back(one.name, one.status); });
  CHECK(rows.size() == listing.past_count());
  return rows;
}

constexpr const char* root_name_here = "minica root ca 123456";

}  // namespace

TEST_CASE("listing: what is on the disk") {
  const Authority ca;
  const auto make = [&](const std::string& host, days left, days lifetime) {
    const Certificate made = ca.sign(host, left, lifetime);
    ca.put(host, made);
    return made;
  };
  ca.record(ca.root.certificate());
  ca.record(make("valid", days{30}, days{760}));
  ca.record(make("expiring", days{29}, days{760}));
  ca.record(make("short", days{29}, days{60}));
  ca.record(make("expired", days{-1}, days{760}));
  ca.record_as_revoked(make("revoked", days{-1}, days{760}), "261101000000Z,keyCompromise");
  make("unrecorded", days{700}, days{760});
  make("unrecorded-expiring", days{1}, days{760});

  const Statuses expected = {
      {root_name_here, Status::valid},    {"valid", Status::valid},
      {"expiring", Status::expiring},     {"short", Status::valid},
      {"expired", Status::expired},       {"revoked", Status::revoked},
      {"unrecorded", Status::unrecorded}, {"unrecorded-expiring", Status::expiring},
  };
  const Listing listing = ca.list();
  CHECK(on_disk(listing) == expected);
  CHECK(listing.is_complete());
  CHECK(listing.warnings().empty());
  CHECK(listing.ledger() == ca.home() / "minica-index.txt");
  CHECK(off_disk(listing).empty());
  CHECK(past(listing).empty());

  const Listed& root = listing.on_disk().front();
  CHECK(root.is_root());
  CHECK(root.is_recorded);
  CHECK(root.file == ca.home() / "minica.pem");
  for (const Listed& one : listing.on_disk().subspan(1)) {
    CHECK(one.profile->name == "server");
    CHECK(one.sans == std::vector<std::string>{one.name});
    CHECK(one.file == ca.home() / one.name / "cert.pem");
    CHECK(one.is_recorded == !one.name.starts_with("unrecorded"));
    CHECK((one.revocation_reason == "keyCompromise") == (one.status == Status::revoked));
  }
}

TEST_CASE("listing: a window that is asked for takes the place of the usual one") {
  const Authority ca;
  ca.put("a", ca.sign("a", days{60}));
  ca.put("b", ca.sign("b", days{61}));
  CHECK(on_disk(ca.list())["a"] == Status::valid);
  const Listing wide = ca.list(days{61});
  CHECK(on_disk(wide)["a"] == Status::expiring);
  CHECK(on_disk(wide)["b"] == Status::valid);
  CHECK(on_disk(ca.list(days{36'525}))[root_name_here] == Status::expiring);
  ca.put("c", ca.sign("c", days{0}));  // its last second
  CHECK(on_disk(ca.list(days{0}))["c"] == Status::valid);
  ca.put("d", ca.sign("d", days{-1}));
  CHECK(on_disk(ca.list(days{0}))["d"] == Status::expired);
}

TEST_CASE("listing: without a ledger nothing is wrong with what is not in it") {
  const Authority ca;
  ca.put("a", ca.sign("a"));
  const Listing listing = ca.list();
  CHECK(on_disk(listing) == Statuses{{root_name_here, Status::valid}, {"a", Status::valid}});
  CHECK(!listing.ledger().has_value());
  CHECK(listing.is_complete());
  CHECK(off_disk(listing).empty());
  CHECK(past(listing).empty());
}

TEST_CASE("listing: what only the ledger knows") {
  const Authority ca;
  ca.record(ca.sign("here", days{100}));  // superseded by what is on the disk
  const Certificate here = ca.sign("here", days{300});
  ca.put("here", here);
  ca.record(here);
  ca.record(ca.sign("never-published.here"));
  ca.record(ca.sign("gone", days{100}));
  ca.record_as_revoked(ca.sign("withdrawn"), "261101000000Z,superseded");
  ca.record(ca.sign("gone", days{200}));  // the newest
  ca.record(ca.sign("here", days{400}));  // that never replaced the one on the disk
  ca.record(ca.sign("over", days{-1}));
  ca.record_as_revoked(ca.sign("withdrawn-and-over", days{-1}), "261101000000Z");
  ca.record(ca.sign("*.wild.example"));
  ca.record(ca.sign("replaced", days{300}));
  ca.record(ca.sign("replaced", days{-1}));  // though it has ended before the other
  ca.record(early_root().certificate());     // an older root

  const Listing listing = ca.list();
  const Rows expected = {{"never-published.here", Status::missing},
                         {"withdrawn", Status::revoked},
                         {"gone", Status::missing},
                         {"_.wild.example", Status::missing}};
  CHECK(off_disk(listing) == expected);
  const Rows expected_past = {{"here", Status::superseded},
                              {"gone", Status::superseded},
                              {"here", Status::superseded},
                              {"over", Status::expired},
                              {"withdrawn-and-over", Status::revoked},
                              {"replaced", Status::superseded},
                              {"replaced", Status::expired},
                              {root_name_here, Status::superseded}};
  CHECK(past(listing) == expected_past);
  listing.for_each_off_disk([](const Listed& one) {
    CHECK(!one.profile.has_value());
    CHECK(one.file.empty());
    CHECK(!one.not_before.has_value());
    CHECK(one.revoked_at.has_value() == (one.status == Status::revoked));
  });
}

TEST_CASE("listing: many names are told apart") {
  const Authority ca;
  std::string ledger;
  constexpr int names = 5000;
  for (int i = 0; i < 2 * names; ++i) {
    char serial[17];
    (void)std::snprintf(serial, sizeof serial, "41%014X", static_cast<unsigned>(i));
    ledger += "V\t281224040506Z\t\t" + std::string(serial) + "\tunknown\t/CN=host" +
              std::to_string(i % names) + "\n";
  }
  test::write_file(ca.home() / "minica-index.txt", ledger);
  const Listing listing = ca.list();
  const Rows rows = off_disk(listing);
  REQUIRE(rows.size() == names);
  for (int i = 0; i < names; ++i)
    REQUIRE(rows[static_cast<std::size_t>(i)].first == "host" + std::to_string(i));
  CHECK(past(listing).size() == names);
}

// The manual advises to move a directory away.
TEST_CASE("listing: copies and what was moved away") {
  const Authority ca;
  const Certificate old = ca.sign("host", days{-1});
  const Certificate current = ca.sign("host");
  ca.record(old);
  ca.record(current);
  ca.put("host.old", old);
  ca.put("a-copy", current);
  ca.put("host", current);
  const Certificate renamed = ca.sign("other");
  ca.record(renamed);
  ca.put("pgbouncer", renamed);
  const Statuses expected = {{root_name_here, Status::valid},
                             {"a-copy", Status::superseded},
                             {"host", Status::valid},
                             {"host.old", Status::superseded},
                             {"pgbouncer", Status::valid}};
  CHECK(on_disk(ca.list()) == expected);
  CHECK(off_disk(ca.list()).empty());
}

TEST_CASE("listing: what cannot be read is told, and the rest is listed") {
  const Authority ca;
  ca.put("good", ca.sign("good"));
  fs::create_directory(ca.home() / "damaged");
  test::write_file(ca.home() / "damaged/cert.pem", "nothing");
  Listing listing = ca.list();
  CHECK(on_disk(listing).contains("good"));
  CHECK(!listing.is_complete());
  CHECK(listing.warnings().size() == 1);

  fs::remove_all(ca.home() / "damaged");
  test::write_file(ca.home() / "minica-index.txt", "V\t1\n");
  listing = ca.list();
  CHECK(listing.is_complete());
  CHECK(listing.warnings().size() == 1);
  CHECK(on_disk(listing)["good"] == Status::unrecorded);

  fs::remove(ca.home() / "minica-index.txt");
  fs::create_directory(ca.home() / "minica-index.txt");
  listing = ca.list();
  CHECK(!listing.is_complete());
  CHECK(listing.warnings().size() == 1);
  CHECK(on_disk(listing)["good"] == Status::valid);

  fs::remove(ca.home() / "minica.pem");
  CHECK(test::contains(test::error_of([&] { (void)ca.list(); }), "minica.pem"));
}

TEST_CASE("listing: a certificate that is not valid yet is called that") {
  const Authority ca;
  ca.put("early", ca.sign("early", days{100}, days{50}));
  const Listing listing = ca.list();
  REQUIRE(listing.warnings().size() == 1);
  CHECK(test::contains(listing.warnings()[0], "early/cert.pem is not valid before 2027-01-13"));
  CHECK(listing.is_complete());
}
