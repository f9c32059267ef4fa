#include "pki/local_check.h"

#include "support.h"
#include "x509/certificate_file.h"

using namespace pki;

namespace {

namespace fs = std::filesystem;

// A root, and a leaf's directory.
class Place {
 public:
  Place() {
    fs::permissions(top(), fs::perms{0755});
    fs::create_directory(leaf());
    fs::permissions(leaf(), fs::perms{0755});
    const Key key = Key::generate(KeyType::p256);
    const auto spec = test::server_spec({DnsName::parse("bouncerhost")});
    write("minica.pem", root_.certificate().pem(), 0644);
    write("bouncerhost/cert.pem", root_.sign(spec, key.public_key()).pem(), 0644);
    write("bouncerhost/key.pem", key.pem(), 0600);
  }

  void write(const fs::path& name, const SecretBytes& contents, unsigned mode) const {
    test::write_file(top() / name, std::string(as_text(contents)));
    fs::permissions(top() / name, static_cast<fs::perms>(mode));
  }
  [[nodiscard]] const fs::path& top() const { return directory_.path(); }
  [[nodiscard]] fs::path leaf() const { return top() / "bouncerhost"; }
  [[nodiscard]] LocalCheck check(Instant now = test::now) const {
    return {.roots = top() / "minica.pem", .reader = std::nullopt, .now = now};
  }
  [[nodiscard]] const Issuer& root() const { return root_; }

 private:
  test::TemporaryDirectory directory_;
  Issuer root_ = test::make_root();
};

std::string ids(const Report& report) {
  std::string out;
  for (const Finding& finding : report.findings) {
    if (finding.id == "other-user") continue;  // which root hears
    out += (out.empty() ? "" : " ") + finding.id;
  }
  return out;
}

}  // namespace

TEST_CASE("local check: a leaf's directory") {
  const Place place;
  const Report report = check_leaf(place.leaf(), place.check());
  CHECK(ids(report).empty());
  CHECK(report.target == place.leaf().string());
  CHECK(report.facts.front().value == "bouncerhost");
  CHECK(ids(check_leaf(place.leaf(), place.check(test::now + std::chrono::days{750}))) ==
        "expires-soon");

  fs::permissions(place.leaf() / "key.pem", fs::perms{0644});
  CHECK(ids(check_leaf(place.leaf(), place.check())) == "key-exposed");
  fs::permissions(place.leaf() / "key.pem", fs::perms{0600});
  LocalCheck for_other = place.check();
  for_other.reader = Reader{"other", 54'321, 54'321, {}};
  CHECK(ids(check_leaf(place.leaf(), for_other)) == "unreadable");
  place.write("bouncerhost/key.pem", Key::generate(KeyType::ed25519).pem(), 0600);
  CHECK(ids(check_leaf(place.leaf(), place.check())) == "pair-mismatch");
  CHECK(ids(check_leaf(place.top() / "nowhere", place.check())) == "missing-file missing-file");
}

TEST_CASE("local check: a bundle") {
  const Place place;
  const Report report = check_bundle(place.top() / "minica.pem", place.check());
  CHECK(ids(report).empty());
  REQUIRE(report.facts.size() == 1);
  CHECK(report.facts.front().name == "/CN=test root");
  CHECK(test::contains(report.facts.front().value, "P-256, until "));
  CHECK(ids(check_bundle(place.leaf() / "cert.pem", place.check())).empty());
  CHECK(ids(check_bundle(place.leaf() / "key.pem", place.check())) == "damaged-file");
  const Instant later = test::now + std::chrono::days{365 * 200};
  CHECK(ids(check_bundle(place.top() / "minica.pem", place.check(later))) == "root-expired");
}

TEST_CASE("local check: pgbouncer.ini") {
  const Place place;
  const fs::path ini = place.top() / "pgbouncer.ini";
  const std::string top = place.top().string();
  const std::string text = "[pgbouncer]\nlisten_addr = *\nclient_tls_sslmode = require\n" +
                           ("client_tls_key_file = " + top + "/bouncerhost/key.pem\n") +
                           ("client_tls_cert_file = " + top + "/bouncerhost/cert.pem\n") +
                           ("client_tls_ca_file = " + top + "/minica.pem\n");
  test::write_file(ini, text);
  const Report report = check_pgbouncer_ini(ini, place.check());
  CHECK(ids(report).empty());
  CHECK(report.facts.front().name == "client_tls_ca_file");
  CHECK(report.facts.front().value == top + "/minica.pem (" + ini.string() + ":6)");
  test::write_file(ini, text + "[databases]\na = host=db\n[pgbouncer]\nlisten_addr = *\n");
  CHECK(ids(check_pgbouncer_ini(ini, place.check())) ==
        "ini-reset plaintext-clients server-tls-plaintext");
}

TEST_CASE("certificate file: every block, the damaged ones too") {
  const Place place;
  const std::string root(as_text(place.root().certificate().pem()));
  const CertificateFile whole = parse_certificate_file("text\n" + root + "\r\n" + root);
  CHECK(whole.certificates.size() == 2);
  CHECK(whole.damage.empty());
  CHECK(!whole.has_private_key);
  const std::size_t label_end = std::string("-----BEGIN CERTIFICATE-----").size();
  for (std::size_t size = label_end; size + 5 < root.size(); size += 7) {
    CAPTURE(size);
    const CertificateFile torn = parse_certificate_file(root.substr(0, size) + "\n" + root);
    CHECK(torn.certificates.size() == 1);
    CHECK(torn.damage.size() == 1);
  }
  for (std::size_t at = 0; at < root.size(); at += 5) {
    std::string damaged = root;
    damaged[at] = '\0';
    CHECK(parse_certificate_file(damaged + root).certificates.size() <= 2);
  }
  const std::string key(as_text(Key::generate(KeyType::p256).pem()));
  CHECK(parse_certificate_file(root + key).has_private_key);
}
