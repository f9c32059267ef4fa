#include "store/ledger.h"

#include "support.h"

using namespace pki;

namespace {

Certificate issue(const Issuer& root, const Validity& validity) {
  CertificateSpec spec = test::server_spec({DnsName::parse("bouncerhost")});
  spec.validity = validity;
  return root.sign(spec, Key::generate(KeyType::p256).public_key());
}

}  // namespace

TEST_CASE("ledger: a line in OpenSSL's format for each certificate") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  const Ledger ledger(directory, "minica-index.txt");
  const Issuer root = test::make_root();
  using namespace std::chrono;
  const Certificate near = issue(root, {test::now, sys_days{2028y / 12 / 24} + 4h + 5min + 6s});
  const Certificate far = issue(root, {test::now, sys_days{2051y / 1 / 2}});
  const std::vector<Certificate> both = {near, far};
  ledger.record(both);
  const std::string expected = "V\t281224040506Z\t\t" + near.serial().text() +
                               "\tunknown\t/CN=bouncerhost\n"
                               "V\t20510102000000Z\t\t" +
                               far.serial().text() + "\tunknown\t/CN=bouncerhost\n";
  CHECK(test::read_file(home.path() / "minica-index.txt") == expected);
}

// Stock openssl refuses an index with a short line in it.
TEST_CASE("ledger: a line torn by a crash is cut off, one without its newline is kept") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  const Ledger ledger(directory, "index");
  const Issuer root = test::make_root();
  const std::vector<Certificate> one = {issue(root, root.certificate().validity())};
  ledger.record(one);
  const std::string line = test::read_file(home.path() / "index");
  const std::string whole = line.substr(0, line.size() - 1);

  test::write_file(home.path() / "index", line + "V\t2812");
  ledger.record(one);
  CHECK(test::read_file(home.path() / "index") == line + line);

  test::write_file(home.path() / "index", line + whole);
  ledger.record(one);
  CHECK(test::read_file(home.path() / "index") == line + line + line);
}

TEST_CASE("ledger: a file of that name which is none is left alone") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  const Ledger ledger(directory, "index");
  const Issuer root = test::make_root();
  const std::vector<Certificate> one = {issue(root, root.certificate().validity())};
  for (const char* contents :
       {"my own notes", "notes\n", "V", "Very good\n", "V\t1\t2\t3\t4\t5\t6\n"}) {
    CAPTURE(contents);
    test::write_file(home.path() / "index", contents);
    if (std::string_view(contents) == "V") {
      CHECK_NOTHROW(ledger.record(one));  // the shortest beginning of a line
      continue;
    }
    CHECK(test::contains(test::error_of([&] { ledger.record(one); }), "index"));
    CHECK(test::read_file(home.path() / "index") == contents);
  }
}

TEST_CASE("ledger: what is revoked, every other byte as it was") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  const Ledger ledger(directory, "index");
  const std::string first = "# a comment\nV\t281224040506Z\t\t0a\tx.pem\t/C=DE/CN=a\n";
  const std::string second = "E\t20510102000000Z\t\t0B\tunknown\t/CN=b\n";
  const std::string third = "V\t281224040506Z\t\t0C\tunknown\t/CN=\xff\r\n";
  test::write_file(home.path() / "index", first + second + third + "V\t2812");
  std::filesystem::permissions(home.path() / "index", std::filesystem::perms{0640});
  ledger.mend();
  CHECK(test::read_file(home.path() / "index") == first + second + third);
  ledger.revoke(std::vector<std::uint64_t>{12, first.size()}, test::now,
                RevocationReason::ca_compromise);
  CHECK(test::read_file(home.path() / "index") ==
        "# a comment\nR\t281224040506Z\t261124120000Z,CACompromise\t0a\tx.pem\t/C=DE/CN=a\n"
        "R\t20510102000000Z\t261124120000Z,CACompromise\t0B\tunknown\t/CN=b\n" +
            third);
  CHECK(test::mode_of(home.path() / "index") == 0640);
  // 2050 is written in full.
  const Instant late{std::chrono::sys_days{std::chrono::year{2050} / 1 / 1}};
  ledger.revoke(std::vector<std::uint64_t>{12}, late, RevocationReason::unspecified);
  CHECK(test::contains(test::read_file(home.path() / "index"), "\t20500101000000Z\t0a\t"));
}

TEST_CASE("ledger: a line that is not there any more is an error, and nothing is replaced") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  const Ledger ledger(directory, "index");
  const std::string line = "V\t281224040506Z\t\t0A\tunknown\t/CN=a\n";
  for (const std::string& contents : {line, "#" + std::string(70'000, 'x') + "\n" + line}) {
    test::write_file(home.path() / "index", contents);
    CHECK_THROWS_AS(ledger.revoke(std::vector<std::uint64_t>{1}, test::now, {}), Error);
    CHECK(test::read_file(home.path() / "index") == contents);
    CHECK(!std::filesystem::exists(home.path() / ".index.new"));
  }
}

TEST_CASE("ledger: many lines") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  const Ledger ledger(directory, "index");
  std::string contents;
  std::string expected;
  std::vector<std::uint64_t> offsets;
  for (int i = 0; i < 20'000; ++i) {
    const std::string rest =
        std::to_string(10'000 + i) + "0\tunknown\t/CN=" + std::string(i % 97, 'x') + "\n";
    if (i % 3 == 0) offsets.push_back(contents.size());
    contents += "V\t281224040506Z\t\t" + rest;
    expected += (i % 3 == 0 ? "R\t281224040506Z\t261124120000Z\t" : "V\t281224040506Z\t\t") + rest;
  }
  test::write_file(home.path() / "index", contents);
  ledger.revoke(offsets, test::now, RevocationReason::unspecified);
  CHECK(test::read_file(home.path() / "index") == expected);
}
