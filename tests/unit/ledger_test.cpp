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
