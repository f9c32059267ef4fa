#include "pki/revocation.h"

#include <fmt/format.h>

#include "pki/ca.h"
#include "support.h"

using namespace pki;
using namespace std::chrono;
namespace fs = std::filesystem;

namespace {

// A root and its files in a directory of their own.
struct Home {
  test::TemporaryDirectory directory;
  fs::path path = directory.path();
  fs::path ledger = path / "minica-index.txt";
  fs::path list = path / "minica-crl.pem";

  [[nodiscard]] Ca ca() const { return Ca({path / "minica.pem", path / "minica-key.pem", path}); }

  Certificate issue(const char* role, Instant now = test::now, days lifetime = days{90}) const {
    LeafRequest request;
    request.role = RoleName::parse(role);
    request.profile = profiles::client;
    request.lifetime = lifetime;
    return ca().issue(request, now).certificate;
  }

  // One in place of that which is there, which stays valid.
  Certificate reissue(const char* role) const {
    fs::remove_all(path / role);
    return issue(role);
  }

  Revoked revoke(const RevokeRequest& request, Instant now = test::now) const {
    return ca().revoke(request, now);
  }

  [[nodiscard]] Crl crl() const { return find_crl(path / "minica.pem").value().crl; }

  // Of the ledger, without the root's.
  [[nodiscard]] std::string lines() const {
    std::string text = test::read_file(ledger);
    return text.substr(text.find('\n') + 1);
  }
};

std::vector<SerialNumber> serials_on(const Crl& crl) {
  std::vector<SerialNumber> serials;
  for (const RevokedCertificate& one : crl.revoked()) serials.push_back(one.serial);
  return serials;
}

std::vector<SerialNumber> sorted(std::vector<SerialNumber> serials) {
  std::ranges::sort(serials);
  return serials;
}

std::string line(const char* status, const char* revocation, const Certificate& certificate) {
  return fmt::format("{}\t270222115459Z\t{}\t{}\tunknown\t{}\n", status, revocation,
                     certificate.serial().text(), certificate.subject());
}

}  // namespace

TEST_CASE("revocation: by the name of a directory, with and without a reason") {
  const Home home;
  const Certificate first = home.issue("first");
  const Certificate second = home.issue("second");
  const Certificate third = home.issue("third");
  Revoked revoked = home.revoke({.certificate = "second"});
  CHECK(revoked.status == Revoked::Status::revoked);
  CHECK(revoked.subject == "/CN=second");
  REQUIRE(revoked.certificates.size() == 1);
  CHECK(revoked.certificates[0] == RevokedCertificate{second.serial(), test::now});
  CHECK(revoked.still_valid.empty());
  CHECK(revoked.list.path == home.list);
  CHECK(home.lines() ==
        line("V", "", first) + line("R", "261124120000Z", second) + line("V", "", third));

  revoked = home.revoke({.certificate = "first", .reason = RevocationReason::key_compromise});
  CHECK(home.lines() == line("R", "261124120000Z,keyCompromise", first) +
                            line("R", "261124120000Z", second) + line("V", "", third));
  CHECK(serials_on(home.crl()) == sorted({first.serial(), second.serial()}));
  CHECK(home.crl().find(first.serial())->reason == RevocationReason::key_compromise);
  CHECK(!home.crl().find(third.serial()).has_value());
  CHECK(test::mode_of(home.list) == 0644);
}

TEST_CASE("revocation: once more changes nothing, and another reason is refused") {
  const Home home;
  const Certificate user = home.issue("user");
  home.revoke({.certificate = "user", .reason = RevocationReason::superseded});
  const std::string ledger = test::read_file(home.ledger);
  const std::string list = test::read_file(home.list);
  for (const std::optional<RevocationReason> reason :
       {std::optional<RevocationReason>{}, {RevocationReason::superseded}}) {
    const Revoked again =
        home.revoke({.certificate = user.serial(), .reason = reason}, test::now + days{1});
    CHECK(again.status == Revoked::Status::unchanged);
    REQUIRE(again.certificates.size() == 1);
    CHECK(again.certificates[0].time == test::now);
  }
  const RevokeRequest other{.certificate = "user", .reason = RevocationReason::key_compromise};
  CHECK(test::contains(test::error_of([&] { home.revoke(other); }), "superseded"));
  CHECK(test::read_file(home.ledger) == ledger);
  CHECK(test::read_file(home.list) == list);
}

// The ledger's line was on the disk when the run was killed, its list was not.
TEST_CASE("revocation: once more finishes what was begun") {
  const Home home;
  const Certificate user = home.issue("user");
  home.revoke({.certificate = "user"});
  fs::remove(home.list);
  const Revoked again = home.revoke({.certificate = "user"}, test::now + days{1});
  CHECK(again.status == Revoked::Status::revoked);
  CHECK(again.certificates[0].time == test::now);
  CHECK(serials_on(home.crl()) == sorted({user.serial()}));
}

TEST_CASE("revocation: a name means what is in the directory; --all, what has its subject") {
  const Home home;
  const Certificate expired = home.issue("user", test::now - days{100});
  const Certificate older = home.reissue("user");
  const Certificate newer = home.reissue("user");
  const Certificate other = home.issue("other");
  const Revoked one = home.revoke({.certificate = "user"});
  CHECK(serials_on(home.crl()) == sorted({newer.serial()}));
  CHECK(one.still_valid == std::vector{older.serial()});
  REQUIRE(one.warnings.size() == 2);
  CHECK(test::contains(one.warnings[0], older.serial().text()));
  CHECK(test::contains(one.warnings[1], "PgBouncer"));

  fs::remove_all(home.path / "user");
  const std::string refusal = test::error_of([&] { home.revoke({.certificate = "user"}); });
  CHECK(test::contains(refusal, older.serial().text()));
  CHECK(!test::contains(refusal, expired.serial().text()));
  const Revoked all = home.revoke({.certificate = "user", .all = true});
  CHECK(all.still_valid.empty());
  REQUIRE(all.certificates.size() == 1);
  CHECK(all.certificates[0].serial == older.serial());
  CHECK(serials_on(home.crl()) == sorted({newer.serial(), older.serial()}));
  CHECK(home.revoke({.certificate = "user", .all = true}).status == Revoked::Status::unchanged);
}

TEST_CASE("revocation: by a serial number in the ledger, with all of its subject") {
  const Home home;
  const Certificate older = home.issue("user");
  const Certificate newer = home.reissue("user");
  home.issue("other");
  const Revoked one = home.revoke({.certificate = older.serial()});
  CHECK(one.subject == "/CN=user");
  CHECK(one.still_valid == std::vector{newer.serial()});
  home.revoke({.certificate = older.serial(), .all = true});
  CHECK(serials_on(home.crl()) == sorted({older.serial(), newer.serial()}));
}

// What minica made is in no ledger.
TEST_CASE("revocation: a certificate that the ledger does not know gets its line") {
  const Home home;
  const Certificate user = home.issue("user");
  for (const bool has_ledger : {true, false}) {
    fs::remove(home.list);
    fs::remove(home.ledger);
    if (has_ledger) test::write_file(home.ledger, line("V", "", home.reissue("other")));
    const std::string before = has_ledger ? test::read_file(home.ledger) : "";
    CHECK(home.revoke({.certificate = "user"}).status == Revoked::Status::revoked);
    CHECK(test::read_file(home.ledger) == before + line("R", "261124120000Z", user));
    CHECK(serials_on(home.crl()) == sorted({user.serial()}));
    CHECK(home.revoke({.certificate = "user"}).status == Revoked::Status::unchanged);
  }
}

TEST_CASE("revocation: what is refused changes nothing") {
  const Home home;
  const Home stranger;
  home.issue("user");
  home.issue("damaged");
  stranger.issue("theirs");
  fs::copy(stranger.path / "theirs", home.path / "theirs");
  test::write_file(home.path / "damaged" / "cert.pem", "nothing");
  fs::create_directory(home.path / "empty");
  const SerialNumber root =
      Certificate::from_pem(test::read_file(home.path / "minica.pem")).serial();
  const std::string ledger = test::read_file(home.ledger);
  const std::pair<RevokeRequest, const char*> rows[] = {
      {{.certificate = "theirs"}, "not signed by"},
      {{.certificate = "damaged"}, "damaged/cert.pem"},
      {{.certificate = "empty"}, "\"empty\""},
      {{.certificate = "nobody"}, "\"nobody\""},
      {{.certificate = "nobody", .all = true}, "\"nobody\""},
      {{.certificate = ""}, "no name"},
      {{.certificate = ".."}, "no name"},
      {{.certificate = "../user"}, "no name"},
      {{.certificate = root}, "root"},
      {{.certificate = root, .all = true}, "root"},
      {{.certificate = SerialNumber::generate()}, "serial number"}};
  for (const auto& [request, says] : rows) {
    CAPTURE(says);
    CHECK(test::contains(test::error_of([&] { home.revoke(request); }), says));
    CHECK(test::read_file(home.ledger) == ledger);
    CHECK(!fs::exists(home.list));
  }
  const Home empty;
  CHECK(test::contains(test::error_of([&] { empty.revoke({.certificate = "user"}); }), "no root"));
  CHECK(fs::is_empty(empty.path));
}

// All would be refused by OpenSSL too.
TEST_CASE("revocation: no list is made of a ledger that cannot be read in full") {
  for (const char* bad : {"R\t270222115459Z\tyesterday\t0A\tunknown\t/CN=a\n", "notes\n", "\n",
                          "R\t270222115459Z\t261124120000Z\tXY\tunknown\t/CN=a\n"}) {
    CAPTURE(bad);
    const Home home;
    home.issue("user");
    const std::string good = test::read_file(home.ledger);
    test::write_file(home.ledger, bad + good);
    CHECK(test::contains(test::error_of([&] { home.revoke({.certificate = "user"}); }), "line 1 "));
    CHECK(test::error_of([&] { home.ca().write_crl({}, test::now); }) != "");
    CHECK(test::read_file(home.ledger) == bad + good);
    CHECK(!fs::exists(home.list));
  }
}

TEST_CASE("revocation: what is in the list's place is replaced only if it is this root's") {
  const Home home;
  const Home stranger;
  home.issue("user");
  stranger.issue("user");
  stranger.revoke({.certificate = "user"});
  home.ca().write_crl({}, test::now);
  const std::string ours = test::read_file(home.list);
  const std::string theirs = test::read_file(stranger.list);
  for (const std::string& contents :
       {theirs, ours + theirs, ours + ours, "# x\n" + ours, std::string(), std::string("notes"),
        ours.substr(0, 200), test::read_file(home.path / "minica.pem")}) {
    CAPTURE(contents);
    test::write_file(home.list, contents);
    CHECK(test::contains(test::error_of([&] { home.revoke({.certificate = "user"}); }),
                         "minica-crl.pem"));
    CHECK(test::contains(test::error_of([&] { home.ca().write_crl({}, test::now); }),
                         "minica-crl.pem"));
    CHECK(test::read_file(home.list) == contents);
    CHECK(!test::contains(home.lines(), "R\t"));
  }
  fs::remove(home.list);
  test::write_file(home.path / "elsewhere.pem", ours);
  fs::create_symlink("elsewhere.pem", home.list);
  CHECK_THROWS_AS(home.revoke({.certificate = "user"}), Error);
  CHECK(test::read_file(home.path / "elsewhere.pem") == ours);
  CHECK(fs::is_symlink(home.list));
}

TEST_CASE("revocation: numbers grow, whatever the clock says, and a lost list does not matter") {
  const Home home;
  home.issue("user", test::now - days{1});
  const auto number = [&](Instant now) {
    return home.ca().write_crl({}, now).crl.number().value();
  };
  const std::uint64_t first = number(test::now);
  CHECK(number(test::now) == first + 1);
  CHECK(number(test::now - hours{1}) == first + 2);
  fs::remove(home.list);
  CHECK(number(test::now + seconds{10}) > first + 2);
}

TEST_CASE("revocation: a list lasts longer than any certificate, or as it was asked to") {
  const Home home;
  home.issue("user");
  const auto lifetime = [](const CrlFile& file) {
    return *file.crl.next_update() - file.crl.this_update();
  };
  CHECK(lifetime(home.ca().write_crl({}, test::now)) == days{825});
  CHECK(lifetime(home.ca().write_crl(days{20}, test::now)) == days{20});
  const Revoked revoked = home.revoke({.certificate = "user"});
  CHECK(lifetime(revoked.list) == days{20});
  CHECK(test::contains(revoked.warnings.front(), "pki crl"));
  // Clocks lag.
  CHECK(revoked.list.crl.this_update() == test::now - minutes{5});
}

TEST_CASE("revocation: a list is refreshed when half of its time is over") {
  const Home home;
  home.issue("user");
  CHECK(!home.ca().refresh_crl(test::now).has_value());
  CHECK(!fs::exists(home.list));
  home.ca().write_crl(days{20}, test::now);
  CHECK(!home.ca().refresh_crl(test::now + days{9}).has_value());
  const Instant later = test::now + days{11};
  const std::optional<CrlFile> refreshed = home.ca().refresh_crl(later);
  REQUIRE(refreshed.has_value());
  CHECK(refreshed->crl.next_update() == later - minutes{5} + days{20});
  CHECK(!is_due(home.crl(), later));
  // And so is that of a certificate which was revoked before.
  home.revoke({.certificate = "user"}, later);
  CHECK(home.revoke({.certificate = "user"}, later + days{11}).status == Revoked::Status::revoked);
}

// RFC 5280 3.3.
TEST_CASE("revocation: an expired certificate leaves the list after one more") {
  const Home home;
  const Certificate user = home.issue("user");
  home.revoke({.certificate = "user"});
  const Instant after = test::now + days{91};
  const auto is_listed = [&](Instant now) {
    return home.ca().write_crl({}, now).crl.find(user.serial()).has_value();
  };
  CHECK(is_listed(after));
  // A clock that was wrong then is not believed.
  CHECK(is_listed(test::now + days{10}));
  CHECK(is_listed(after));
  CHECK(!is_listed(after + days{1}));
  CHECK(home.revoke({.certificate = "user"}, after + days{1}).status == Revoked::Status::unchanged);
}

TEST_CASE("revocation: where the ledger was lost nothing becomes valid again") {
  const Home home;
  const Certificate user = home.issue("user");
  home.revoke({.certificate = "user"});
  fs::remove(home.ledger);
  CHECK(serials_on(home.ca().write_crl({}, test::now).crl) == sorted({user.serial()}));
}

TEST_CASE("revocation: the words of OpenSSL's index") {
  const Home home;
  home.issue("user");
  using enum RevocationReason;
  const std::pair<const char*, RevocationReason> rows[] = {
      {"", unspecified},
      {",unspecified", unspecified},
      {",keyCompromise", key_compromise},
      {",keyTime,20261124000000Z", key_compromise},
      {",CAkeyTime,20261124000000Z", ca_compromise},
      {",holdInstruction,holdInstructionReject", certificate_hold},
      {",removeFromCRL", unspecified},
      {",nonsense", unspecified}};
  std::string lines;
  unsigned serial = 0xA0;
  for (const auto& [words, reason] : rows) {
    lines +=
        fmt::format("R\t270222115459Z\t261124000000Z{}\t{:02X}\tunknown\t/CN=x\n", words, ++serial);
  }
  test::write_file(home.ledger, lines);
  const std::vector<RevokedCertificate> listed = home.ca().write_crl({}, test::now).crl.revoked();
  REQUIRE(listed.size() == std::size(rows));
  for (std::size_t i = 0; i < listed.size(); ++i) {
    CAPTURE(rows[i].first);
    CHECK(listed[i].reason == rows[i].second);
    CHECK(text(listed[i].time) == "2026-11-24T00:00:00Z");
  }
}

TEST_CASE("revocation: a revoked certificate is not what was asked for") {
  const Home home;
  home.issue("user");
  home.revoke({.certificate = "user"});
  CHECK(test::contains(test::error_of([&] { home.issue("user"); }), "revoked"));
  // Another's list in that place is no reason to fail, at every boot.
  test::write_file(home.list, "notes");
  LeafRequest request;
  request.role = RoleName::parse("user");
  request.profile = profiles::client;
  const Issued again = home.ca().issue(request, test::now);
  CHECK(again.status == Issued::Status::unchanged);
  REQUIRE(again.warnings.size() == 1);
  CHECK(test::contains(again.warnings[0], "minica-crl.pem"));
}
