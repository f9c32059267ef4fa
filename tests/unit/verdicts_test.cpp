// What the real clients do is in tests/e2e/verdicts.py. Here is what our words for it are, and what
// no real client can be shown.
#include "postgres/verdicts.h"

#include "support.h"

using pki::Certificate;
using pki::CertificateSpec;
using pki::Issuer;
using pki::Key;
using pki::KeyType;
using pki::San;
using pki::Verdict;

namespace {

constexpr std::size_t client_count = 8;

std::vector<San> names(const std::vector<std::string>& texts) {
  std::vector<San> sans;
  for (const std::string& text : texts) {
    try {
      sans.emplace_back(pki::IpAddress::parse(text));
    } catch (const pki::Error&) {
      sans.emplace_back(pki::DnsName::parse(text));
    }
  }
  return sans;
}

// One letter a client, in the order of the table: the names' first letters, or a dot that refuses.
std::string who_accepts(const std::vector<Verdict>& verdicts) {
  REQUIRE(verdicts.size() == client_count);
  std::string letters = "lLPGrjnN";
  for (std::size_t i = 0; i < client_count; ++i) {
    CAPTURE(verdicts[i].client);
    CHECK(verdicts[i].accepts == verdicts[i].reason.empty());
    if (!verdicts[i].accepts) letters[i] = '.';
  }
  return letters;
}

std::string reason_of(const std::vector<Verdict>& verdicts, const std::string& client) {
  const auto found = std::ranges::find(verdicts, client, &Verdict::client);
  REQUIRE(found != verdicts.end());
  return found->reason;
}

std::vector<Verdict> judge(const Certificate& leaf, const Certificate& root,
                           const std::string& host, pki::Instant at = test::now) {
  return pki::client_verdicts(std::vector{leaf}, std::vector{root}, host, at);
}

}  // namespace

TEST_CASE("verdicts: which names count for whom") {
  struct Row {
    std::vector<std::string> names;
    std::string host;
    std::string accepted_by;
    std::string client;  // of the reason
    std::string reason;
  };
  const std::vector<Row> rows = {
      {{"bouncerhost"}, "bouncerhost", "lLPGrjnN", "PgBouncer", ""},
      {{"bouncerhost"}, "BOUNCERHOST", "lLPGrjnN", "PgBouncer", ""},
      {{"bouncerhost"},
       "bouncerhost.",
       "...Gr.nN",
       "PgBouncer",
       "it does not take the dot at the end of a host name"},
      {{"bouncerhost"},
       "dbhost",
       "........",
       "pgjdbc",
       R"(no name in the certificate is "dbhost")"},
      {{"bouncerhost"},
       "192.0.2.1",
       "........",
       "Go (pgx)",
       R"(no name in the certificate is "192.0.2.1")"},
      // The first name is the common name, too, which PgBouncer and old libpq take.
      {{"192.0.2.1"},
       "192.0.2.1",
       "lLPGrjn.",
       "node-postgres before 8.23.1",
       "connected to an address it looks for localhost, unless ssl.host is set"},
      {{"a", "192.0.2.1"},
       "192.0.2.1",
       "l.PGrjn.",
       "libpq before 15",
       "it looks at no addresses in certificates, but at DNS names and the common name"},
      {{"192.0.2.1", "a"}, "192.0.2.1", "l.PGrjn.", "pgjdbc", ""},
      {{"a", "2001:db8::1"},
       "2001:db8::1",
       "l.PGr.n.",
       "pgjdbc",
       "it compares addresses as text: of IPv6 it takes the spelling with all eight groups"},
      {{"a", "2001:db8::1"}, "2001:DB8:0:0:0:0:0:1", "l.PGrjn.", "pgjdbc", ""},
      {{"a", "localhost", "192.0.2.1"}, "192.0.2.1", "l.PGrjnN", "pgjdbc", ""},
      {{"a", "*.db.example"}, "x.db.example", "lLPGrjnN", "PgBouncer", ""},
      {{"a", "*.db.example"},
       "db.example",
       "........",
       "PgBouncer",
       R"(no name in the certificate is "db.example")"},
      {{"a", "*.db.example"},
       "x.y.db.example",
       "........",
       "PgBouncer",
       R"(no name in the certificate is "x.y.db.example")"},
      {{"a", "*.example"},
       "db.example",
       "lL.G.j..",
       "PgBouncer",
       R"(it does not take "*.example" for "db.example")"},
  };
  const Issuer root = test::make_root();
  const Key key = Key::generate(KeyType::p256);
  for (const Row& row : rows) {
    CAPTURE(row.host);
    const Certificate leaf = root.sign(test::server_spec(names(row.names)), key.public_key());
    const std::vector<Verdict> verdicts = judge(leaf, root.certificate(), row.host);
    CHECK(who_accepts(verdicts) == row.accepted_by);
    CHECK(reason_of(verdicts, row.client) == row.reason);
  }
}

TEST_CASE("verdicts: a host name that is none") {
  const Issuer root = test::make_root();
  const Key key = Key::generate(KeyType::p256);
  const Certificate leaf = root.sign(test::server_spec(names({"bouncerhost"})), key.public_key());
  for (const std::string host :
       {"", ".", "*", "..", "a b", "-", "\xff\n", "*.bouncerhost", "[::1]"}) {
    CAPTURE(host);
    const std::vector<Verdict> verdicts = judge(leaf, root.certificate(), host);
    CHECK(who_accepts(verdicts) == "........");
    for (const Verdict& verdict : verdicts) {
      CHECK(std::ranges::all_of(verdict.reason, [](char c) { return c >= ' ' && c <= '~'; }));
    }
  }
}

TEST_CASE("verdicts: chains") {
  const Issuer root = test::make_root();
  const Issuer other = test::make_root();
  const Key key = Key::generate(KeyType::p256);
  const CertificateSpec spec = test::server_spec(names({"bouncerhost"}));
  const Certificate leaf = root.sign(spec, key.public_key());

  SUBCASE("an expired leaf, told with its date") {
    const std::vector<Verdict> verdicts = judge(leaf, root.certificate(), "bouncerhost",
                                                spec.validity.not_after + std::chrono::seconds{1});
    CHECK(who_accepts(verdicts) == "........");
    CHECK(reason_of(verdicts, "Go (pgx)") ==
          "the certificate expired at " + pki::text(spec.validity.not_after));
  }
  SUBCASE("not yet valid") {
    const std::vector<Verdict> verdicts = judge(leaf, root.certificate(), "bouncerhost",
                                                spec.validity.not_before - std::chrono::seconds{1});
    CHECK(who_accepts(verdicts) == "........");
    CHECK(reason_of(verdicts, "pgjdbc") ==
          "the certificate is not valid before " + pki::text(spec.validity.not_before));
  }
  SUBCASE("another root") {
    CHECK(who_accepts(judge(leaf, other.certificate(), "bouncerhost")) == "........");
  }
  SUBCASE("no roots") {
    CHECK(who_accepts(pki::client_verdicts(std::vector{leaf}, {}, "bouncerhost", test::now)) ==
          "........");
  }
  SUBCASE("the leaf alone is trusted") {
    const std::vector<Verdict> verdicts = judge(leaf, leaf, "bouncerhost");
    CHECK(who_accepts(verdicts) == "...G.j..");
    CHECK(reason_of(verdicts, "rustls (tokio-postgres)") ==
          "the certificate itself is trusted, and it wants its issuer");
    CHECK(reason_of(verdicts, "PgBouncer") ==
          R"(the certificate comes from "/CN=test root", which is neither sent nor trusted)");
  }
  SUBCASE("a root as a leaf") {
    const std::vector<Verdict> verdicts =
        judge(root.certificate(), root.certificate(), root.certificate().common_name());
    CHECK(reason_of(verdicts, "rustls (tokio-postgres)") ==
          "the certificate is a CA's, which it takes from no server");
  }
  SUBCASE("a client's certificate") {
    CertificateSpec client = spec;
    client.profile = pki::profiles::client;
    const std::vector<Verdict> verdicts =
        judge(root.sign(client, key.public_key()), root.certificate(), "bouncerhost");
    CHECK(who_accepts(verdicts) == "........");
    CHECK(reason_of(verdicts, "PgBouncer") ==
          "the certificate has an extended key usage without serverAuth");
  }
  SUBCASE("every kind of key that we make") {
    for (const KeyType type : pki::all_key_types) {
      CAPTURE(pki::text(type));
      const Key some = Key::generate(type);
      CHECK(who_accepts(judge(root.sign(spec, some.public_key()), root.certificate(),
                              "bouncerhost")) == "lLPGrjnN");
      if (type == KeyType::ed25519) continue;  // not for roots of ours
      const Issuer issuer = test::make_root(type);
      CHECK(who_accepts(judge(issuer.sign(spec, key.public_key()), issuer.certificate(),
                              "bouncerhost")) == "lLPGrjnN");
    }
  }
}
