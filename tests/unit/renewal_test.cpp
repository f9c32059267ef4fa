#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pki/ca.h"
#include "pki/export.h"
#include "pki/leaf.h"
#include "pki/pkcs12.h"
#include "support.h"

using namespace pki;
using namespace std::chrono;
namespace fs = std::filesystem;
using Status = Renewed::Status;

namespace {

// When a certificate of the usual lifetime, made at test::now, is due.
constexpr Instant late = test::now + days{740};

CaFiles files_in(const fs::path& home) {
  return {home / "minica.pem", home / "minica-key.pem", home};
}

LeafRequest for_host(const char* name) {
  LeafRequest request;
  request.sans = {DnsName::parse(name)};
  return request;
}

Issued issue(const fs::path& home, const LeafRequest& request, Instant now = test::now) {
  return Ca(files_in(home)).issue(request, now);
}

RenewalRequest named(std::vector<std::string> names) { return {.names = std::move(names)}; }

std::vector<Renewed> renew(const fs::path& home, const RenewalRequest& request = {},
                           Instant now = late) {
  return Ca(files_in(home)).renew(request, now);
}

// The only one.
Renewed renew_one(const fs::path& home, const RenewalRequest& request = {}, Instant now = late) {
  std::vector<Renewed> renewed = renew(home, request, now);
  REQUIRE(renewed.size() == 1);
  return std::move(renewed.front());
}

Key key_in(const fs::path& leaf) { return Key::from_pem(test::read_file(leaf / "key.pem")); }

bool is_pair(const fs::path& leaf) {
  return key_in(leaf).public_key() == read_leaf_certificate(leaf).public_key();
}

std::size_t ledger_lines(const fs::path& home) {
  return static_cast<std::size_t>(
      std::ranges::count(test::read_file(home / "minica-index.txt"), '\n'));
}

ino_t inode_of(const fs::path& path) {
  struct stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status.st_ino;
}

// Whether nothing of ours is left in it but what is to be there.
bool is_tidy(const fs::path& home) {
  return std::none_of(fs::recursive_directory_iterator(home), {}, [](const auto& entry) {
    return entry.path().filename().string().starts_with('.');
  });
}

SecretBytes secret(std::string_view text) { return {text.begin(), text.end()}; }

std::string export_to(const fs::path& leaf, ExportFormat format) {
  const Exported made = export_leaf({.format = format,
                                     .leaf = leaf,
                                     .root = leaf.parent_path() / "minica.pem",
                                     .to = leaf,
                                     .password = secret("password"),
                                     .owner = {}});
  return test::read_file(made.made.back());
}

}  // namespace

TEST_CASE("renewal: what ends soon gets a new key and certificate, all else stays as it was") {
  const test::TemporaryDirectory home;
  LeafRequest request;
  request.sans = {DnsName::parse("b.test"), DnsName::parse("a.test"), IpAddress::parse("::1")};
  request.profile = profiles::peer;
  request.key_type = KeyType::p384;
  request.lifetime = days{90};
  const Issued before = issue(home.path(), request);
  const fs::path leaf = before.directory;
  fs::permissions(leaf, fs::perms(0750));
  fs::permissions(before.key_file, fs::perms(0400));
  fs::permissions(before.certificate_file, fs::perms(0640));
  const Key old_key = key_in(leaf);

  const Renewed renewed = renew_one(home.path(), {}, test::now + days{61});
  CHECK(renewed.status == Status::renewed);
  CHECK(renewed.name == "b.test");
  CHECK(renewed.replaced == before.certificate.serial());
  CHECK(renewed.is_exchange);
  CHECK(renewed.warnings.empty());
  const Certificate after = read_leaf_certificate(leaf);
  CHECK(after.serial() == renewed.serial);
  CHECK(after.fingerprint() == renewed.fingerprint);
  CHECK(after.sans() == request.sans);
  CHECK(after.common_name() == "b.test");
  CHECK(after.allows_server_auth());
  CHECK(after.allows_client_auth());
  CHECK(after.public_key().type() == KeyType::p384);
  CHECK(after.validity().length() == days{90});
  CHECK(after.validity().not_before == test::now + days{61} - minutes{5});
  CHECK(is_pair(leaf));
  CHECK(key_in(leaf).public_key() != old_key.public_key());
  CHECK(test::mode_of(leaf) == 0750);
  CHECK(test::mode_of(before.key_file) == 0400);
  CHECK(test::mode_of(before.certificate_file) == 0640);
  CHECK(ledger_lines(home.path()) == 3);
  CHECK(test::contains(test::read_file(home.path() / "minica-index.txt"), after.serial().text()));
  CHECK(is_tidy(home.path()));
}

TEST_CASE("renewal: what does not end soon is left alone, to the byte") {
  struct Row {
    int lifetime;
    int age;
    std::optional<days> before;
    Status status;
  };
  const Row rows[] = {{760, 729, {}, Status::unchanged},    {760, 731, {}, Status::renewed},
                      {760, 761, {}, Status::renewed},      {9, 5, {}, Status::unchanged},
                      {9, 7, {}, Status::renewed},          {760, 0, days{759}, Status::unchanged},
                      {760, 0, days{760}, Status::renewed}, {760, 755, days{0}, Status::unchanged},
                      {760, 761, days{0}, Status::renewed}, {760, 755, days{4}, Status::unchanged}};
  for (const Row& row : rows) {
    CAPTURE(row.lifetime);
    CAPTURE(row.age);
    const test::TemporaryDirectory home;
    LeafRequest request = for_host("a");
    request.lifetime = days{row.lifetime};
    const Issued made = issue(home.path(), request);
    const std::string before = test::read_file(made.certificate_file);
    RenewalRequest what = named({"a"});
    what.before = row.before;
    const Renewed renewed = renew_one(home.path(), what, test::now + days{row.age});
    CHECK(renewed.status == row.status);
    CHECK((test::read_file(made.certificate_file) == before) == (row.status == Status::unchanged));
    CHECK(ledger_lines(home.path()) == (row.status == Status::unchanged ? 2 : 3));
  }
}

TEST_CASE("renewal: the key can be kept, with the bytes of its file") {
  const test::TemporaryDirectory home;
  const Issued made = issue(home.path(), for_host("a"));
  const std::string before = test::read_file(made.key_file) + "a comment\n";
  test::write_file(made.key_file, before);
  CHECK(renew_one(home.path(), {.reuse_key = true}).status == Status::renewed);
  CHECK(test::read_file(made.key_file) == before);
  CHECK(is_pair(made.directory));
}

TEST_CASE("renewal: files of the operator's stay, the same ones, and links as links") {
  const test::TemporaryDirectory home;
  const fs::path leaf = issue(home.path(), for_host("a")).directory;
  test::write_file(leaf / "dh.pem", "mine");
  fs::create_symlink("dh.pem", leaf / "link");
  fs::create_symlink("nowhere", leaf / "dangling");
  REQUIRE(::mkfifo((leaf / "fifo").c_str(), 0600) == 0);
  const ino_t inode = inode_of(leaf / "dh.pem");
  const Renewed renewed = renew_one(home.path());
  CHECK(renewed.status == Status::renewed);
  CHECK(renewed.is_exchange);
  CHECK(inode_of(leaf / "dh.pem") == inode);
  CHECK(fs::hard_link_count(leaf / "dh.pem") == 1);
  CHECK(fs::read_symlink(leaf / "link") == "dh.pem");
  CHECK(fs::read_symlink(leaf / "dangling") == "nowhere");
  CHECK(fs::is_fifo(leaf / "fifo"));
  CHECK(std::distance(fs::directory_iterator(leaf), {}) == 6);
  CHECK(is_tidy(home.path()));
}

TEST_CASE("renewal: beside a directory the files are replaced one by one") {
  const test::TemporaryDirectory home;
  const fs::path leaf = issue(home.path(), for_host("a")).directory;
  fs::create_directory(leaf / "conf.d");
  test::write_file(leaf / "conf.d" / "x", "mine");
  test::write_file(leaf / "dh.pem", "mine too");
  export_to(leaf, ExportFormat::pk8);
  const ino_t inode = inode_of(leaf);
  const Renewed renewed = renew_one(home.path(), {.mark = true});
  CHECK(renewed.status == Status::renewed);
  CHECK(!renewed.is_exchange);
  CHECK(inode_of(leaf) == inode);
  CHECK(is_pair(leaf));
  const SecretBytes der = key_in(leaf).der();
  CHECK(test::read_file(leaf / "key.pk8") == std::string(as_text(der)));
  CHECK(test::read_file(leaf / "conf.d" / "x") == "mine");
  CHECK(std::distance(fs::directory_iterator(leaf), {}) == 6);
  Ca(files_in(home.path())).loaded({&renewed, 1});
  CHECK(is_tidy(home.path()));
}

TEST_CASE("renewal: the ACL of a replaced file is its successor's too") {
  const test::TemporaryDirectory home;
  const Issued made = issue(home.path(), for_host("a"));
  // linux/posix_acl_xattr.h: version 2, then tag, permissions and id of each entry; here user::rw-,
  // user:4242:r--, group::---, mask::r--, other::---.
  const unsigned char acl[] = {2,  0, 0, 0,                        //
                               1,  0, 6, 0, 255,  255,  255, 255,  //
                               2,  0, 4, 0, 0x92, 0x10, 0,   0,    //
                               4,  0, 0, 0, 255,  255,  255, 255,  //
                               16, 0, 4, 0, 255,  255,  255, 255,  //
                               32, 0, 0, 0, 255,  255,  255, 255};
  constexpr const char* name = "system.posix_acl_access";
  if (::setxattr(made.key_file.c_str(), name, acl, sizeof acl, 0) != 0) return;  // none here
  CHECK(renew_one(home.path()).status == Status::renewed);
  unsigned char found[sizeof acl + 1] = {};
  REQUIRE(::getxattr(made.key_file.c_str(), name, found, sizeof found) == sizeof acl);
  CHECK(std::equal(std::begin(acl), std::end(acl), found));
  CHECK(::getxattr(made.certificate_file.c_str(), name, found, sizeof found) < 0);
  CHECK(test::mode_of(made.key_file) == 0640);
}

TEST_CASE("renewal: exports of the pair are made anew, what is none of them is left and named") {
  const test::TemporaryDirectory home;
  const fs::path leaf = issue(home.path(), for_host("a")).directory;
  for (const ExportFormat format : {ExportFormat::pk8, ExportFormat::p12, ExportFormat::der,
                                    ExportFormat::fullchain, ExportFormat::libpq}) {
    export_to(leaf, format);
  }
  fs::permissions(leaf / "key.pk8", fs::perms(0640));
  const std::string root = test::read_file(leaf / "root.crt");
  const std::string p12 = test::read_file(leaf / "key.p12");

  SUBCASE("with the password") {
    const Renewed renewed = renew_one(home.path(), {.p12_password = secret("password")});
    CHECK(renewed.status == Status::renewed);
    CHECK(renewed.exports.size() == 6);
    CHECK(renewed.stale.empty());
    const std::string made = test::read_file(leaf / "key.p12");
    CHECK(pkcs12_holds(std::span(reinterpret_cast<const unsigned char*>(made.data()), made.size()),
                       "password", key_in(leaf), read_leaf_certificate(leaf)));
    CHECK(renew_one(home.path(), {}, test::now + days{800}).status == Status::unchanged);
  }
  SUBCASE("without it, or with a wrong one") {
    std::optional<SecretBytes> password;
    SUBCASE("") {}
    SUBCASE("") { password = secret("wrong"); }
    const Renewed renewed = renew_one(home.path(), {.p12_password = password});
    CHECK(renewed.status == Status::renewed);
    REQUIRE(renewed.stale.size() == 1);
    CHECK(test::contains(renewed.stale.front(), "key.p12"));
    CHECK(test::read_file(leaf / "key.p12") == p12);
  }
  const SecretBytes der = key_in(leaf).der();
  CHECK(test::read_file(leaf / "key.pk8") == std::string(as_text(der)));
  CHECK(test::mode_of(leaf / "key.pk8") == 0640);
  const std::string certificate = test::read_file(leaf / "cert.pem");
  CHECK(test::read_file(leaf / "fullchain.pem") == certificate + root);
  CHECK(test::read_file(leaf / "postgresql.crt") == certificate);
  CHECK(test::read_file(leaf / "postgresql.key") == test::read_file(leaf / "key.pem"));
  CHECK(test::read_file(leaf / "root.crt") == root);
  const std::vector<unsigned char> certificate_der = read_leaf_certificate(leaf).der();
  CHECK(test::read_file(leaf / "cert.der") ==
        std::string(certificate_der.begin(), certificate_der.end()));
}

TEST_CASE("renewal: a file with an export's name, but not of this pair, is the operator's") {
  const test::TemporaryDirectory home;
  const fs::path leaf = issue(home.path(), for_host("a")).directory;
  test::write_file(leaf / "fullchain.pem", test::read_file(leaf / "cert.pem") + "and more\n");
  fs::create_symlink("key.pem", leaf / "key.pk8");
  const Renewed renewed = renew_one(home.path());
  CHECK(renewed.status == Status::renewed);
  CHECK(renewed.exports.empty());
  CHECK(renewed.stale.size() == 2);
  CHECK(test::read_file(leaf / "fullchain.pem").ends_with("and more\n"));
  CHECK(fs::is_symlink(leaf / "key.pk8"));
}

TEST_CASE("renewal: all of a root's leaves, and the failure of one does not hold up the others") {
  const test::TemporaryDirectory home;
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) (void)issue(home.path(), for_host(name));
  LeafRequest user;
  user.role = RoleName::parse("app_user");
  user.profile = profiles::client;
  (void)issue(home.path(), user);
  (void)issue(home.path(), for_host("young"), late);
  fs::remove(home.path() / "a" / "key.pem");
  fs::copy_file(home.path() / "c" / "key.pem", home.path() / "b" / "key.pem",
                fs::copy_options::overwrite_existing);
  test::write_file(home.path() / "d" / "cert.pem", "damaged");
  fs::rename(home.path() / "e" / "cert.pem", home.path() / "elsewhere.pem");
  fs::create_symlink("../elsewhere.pem", home.path() / "e" / "cert.pem");
  fs::create_directory_symlink("f", home.path() / "second name");
  fs::create_directory(home.path() / "empty");
  const test::TemporaryDirectory other;
  (void)issue(other.path(), for_host("foreign"));
  fs::copy(other.path() / "foreign", home.path() / "foreign");
  fs::rename(home.path() / "f", other.path() / "f");
  fs::create_directory_symlink(other.path() / "f", home.path() / "f");

  struct Row {
    const char* name;
    Status status;
    const char* says;
  };
  const Row rows[] = {{"a", Status::failed, "key.pem is missing"},
                      {"app_user", Status::renewed, ""},
                      {"b", Status::failed, "does not match"},
                      {"c", Status::renewed, ""},
                      {"d", Status::failed, "d/cert.pem"},
                      {"e", Status::failed, "e/cert.pem"},
                      {"f", Status::failed, "f is a link"},
                      {"second name", Status::failed, "second name is a link"},
                      {"young", Status::unchanged, ""}};
  std::vector<Renewed> renewed = renew(home.path());
  std::ranges::sort(renewed, {}, &Renewed::name);
  REQUIRE(renewed.size() == std::size(rows));
  for (std::size_t i = 0; i < std::size(rows); ++i) {
    CAPTURE(rows[i].name);
    CHECK(renewed[i].name == rows[i].name);
    CHECK(renewed[i].status == rows[i].status);
    CHECK(renewed[i].error.has_value() == (rows[i].status == Status::failed));
    if (renewed[i].error.has_value()) {
      CHECK(test::contains(renewed[i].error->what(), rows[i].says));
    }
  }
  CHECK(read_leaf_certificate(home.path() / "app_user").common_name() == "app_user");
  CHECK(read_leaf_certificate(home.path() / "app_user").sans().empty());
  CHECK(is_tidy(home.path()));
  // Eight leaves and the root, the two new ones: nothing was recorded of those that failed.
  CHECK(ledger_lines(home.path()) == 11);
}

TEST_CASE("renewal: names that are no leaf's are refused, each by itself") {
  const test::TemporaryDirectory home;
  (void)issue(home.path(), for_host("a"));
  fs::create_directory(home.path() / "empty");
  test::write_file(home.path() / "file", "");
  fs::create_directory_symlink("a", home.path() / "link");
  const char* const names[] = {"nowhere", "empty", "file", "link", "..",
                               ".",       "",      "a/b",  "/",    ".pki"};
  for (const char* name : names) {
    CAPTURE(name);
    const std::vector<Renewed> renewed = renew(home.path(), named({name, "a", "a"}));
    REQUIRE(renewed.size() == 2);
    CHECK(renewed[0].status == Status::failed);
    CHECK(!renewed[0].error->hint().empty());
    CHECK(renewed[1].name == "a");
    CHECK(renewed[1].status != Status::failed);
  }
}

TEST_CASE("renewal: links in place of the leaf's files are not followed") {
  for (const char* name : {"cert.pem", "key.pem"}) {
    for (const bool hard : {false, true}) {
      CAPTURE(name);
      CAPTURE(hard);
      const test::TemporaryDirectory home;
      const fs::path leaf = issue(home.path(), for_host("a")).directory;
      fs::rename(leaf / name, home.path() / "victim");
      if (hard) {
        fs::create_hard_link(home.path() / "victim", leaf / name);
      } else {
        fs::create_symlink("../victim", leaf / name);
      }
      const std::string before = test::read_file(home.path() / "victim");
      CHECK(renew_one(home.path(), named({"a"})).status == Status::failed);
      CHECK(test::read_file(home.path() / "victim") == before);
      CHECK(fs::is_symlink(leaf / name) == !hard);
    }
  }
}

TEST_CASE("renewal: a leaf that ends with its root is not renewed for nothing") {
  const test::TemporaryDirectory home;
  (void)issue(home.path(), for_host("a"));
  const Instant end = sys_days{2126y / 11 / 24} + hours{12} - minutes{5} - seconds{1};
  (void)issue(home.path(), for_host("b"), end - days{100});
  CHECK(renew_one(home.path(), named({"b"}), end - days{20}).status == Status::ends_with_root);
  const Renewed a = renew_one(home.path(), named({"a"}), end - days{20});
  CHECK(a.status == Status::renewed);
  CHECK(a.validity->not_after == end);
  CHECK(a.warnings.size() == 1);
  CHECK(ledger_lines(home.path()) == 4);
  CHECK(test::contains(test::error_of([&] { (void)renew(home.path(), {}, end + seconds{1}); }),
                       "expired"));
}

TEST_CASE("renewal: without a root nothing is renewed, and none is made") {
  const test::TemporaryDirectory home;
  CHECK(test::contains(test::error_of([&] { (void)renew(home.path()); }), "there is no root"));
  CHECK(fs::is_empty(home.path()));
}

TEST_CASE("renewal: a mark stays until it is said that the pair is loaded") {
  const test::TemporaryDirectory home;
  const fs::path leaf = issue(home.path(), for_host("a")).directory;
  const fs::path mark = leaf / reload_mark_name;
  CHECK(!renew_one(home.path()).is_marked);
  CHECK(!fs::exists(mark));
  Instant now = late + days{740};
  const Renewed first = renew_one(home.path(), {.mark = true}, now);
  CHECK(first.is_marked);
  CHECK(fs::exists(mark));
  // It outlives runs that do nothing, and a renewal that is not asked to mark.
  CHECK(renew_one(home.path(), {}, now).is_marked);
  now += days{740};
  const Renewed second = renew_one(home.path(), {}, now);
  CHECK(second.status == Status::renewed);
  CHECK(second.is_marked);
  Ca(files_in(home.path())).loaded({&first, 1});  // which is not there any more
  CHECK(fs::exists(mark));
  Ca(files_in(home.path())).loaded({&second, 1});
  CHECK(!fs::exists(mark));
  CHECK(!renew_one(home.path(), {}, now).is_marked);
}

TEST_CASE("renewal: what is revoked is renewed by name alone, with a new key") {
  const test::TemporaryDirectory home;
  const Issued made = issue(home.path(), for_host("a"));
  const Key old_key = key_in(made.directory);
  (void)Ca(files_in(home.path())).revoke({.certificate = "a"}, test::now);
  for (const Instant now : {test::now, late, late + days{100}}) {
    CHECK(renew_one(home.path(), {}, now).status == Status::revoked);
  }
  RenewalRequest kept = named({"a"});
  kept.reuse_key = true;
  CHECK(renew_one(home.path(), kept, test::now).status == Status::failed);
  CHECK(read_leaf_certificate(made.directory).serial() == made.certificate.serial());
  const Renewed renewed = renew_one(home.path(), named({"a"}), test::now);
  CHECK(renewed.status == Status::renewed);
  CHECK(renewed.warnings.size() == 1);
  CHECK(key_in(made.directory).public_key() != old_key.public_key());
  CHECK(renew_one(home.path(), {}, test::now).status == Status::unchanged);
}

TEST_CASE("renewal: the revocation list is made anew when half of its time is over, and marked") {
  const test::TemporaryDirectory home;
  (void)issue(home.path(), for_host("a"));
  const fs::path path = home.path() / "minica-crl.pem";
  CHECK(!Ca(files_in(home.path())).refresh_crl(test::now, true).has_value());  // there is none
  (void)Ca(files_in(home.path())).write_crl(days{100}, test::now);
  const std::string before = test::read_file(path);
  Ca ca(files_in(home.path()));
  CHECK(!ca.refresh_crl(test::now + days{49}, true).has_value());
  CHECK(!ca.crl_awaits_loading());
  CHECK(test::read_file(path) == before);
  const std::optional<CrlFile> made = ca.refresh_crl(test::now + days{51}, true);
  REQUIRE(made.has_value());
  CHECK(test::read_file(path) != before);
  CHECK(ca.crl_awaits_loading());
  CHECK(ca.refresh_crl(test::now + days{151}, true).has_value());  // marked already
  ca.crl_loaded();
  CHECK(!ca.crl_awaits_loading());
  CHECK(is_tidy(home.path()));
}

TEST_CASE("renewal: other programs' certificates are renewed to the nearest of ours") {
  const test::TemporaryDirectory home;
  const Issuer root = Issuer::self_signed(test::root_spec(), Key::generate(KeyType::rsa2048));
  test::write_file(home.path() / "minica.pem", std::string(as_text(root.certificate().pem())));
  test::write_file(home.path() / "minica-key.pem", std::string(as_text(root.key().pem())));
  fs::permissions(home.path() / "minica-key.pem", fs::perms(0600));
  CertificateSpec spec = test::server_spec({DnsName::parse("a")});
  spec.profile = profiles::peer;
  const Key key = Key::generate(KeyType::rsa2048);
  const Certificate leaf = root.sign(spec, key.public_key());
  fs::create_directory(home.path() / "a");
  fs::permissions(home.path() / "a", fs::perms(0700));
  test::write_file(
      home.path() / "a" / "cert.pem",
      "text before\n" + std::string(as_text(leaf.pem())) + std::string(as_text(leaf.pem())));
  test::write_file(home.path() / "a" / "key.pem", std::string(as_text(key.pem())));
  fs::permissions(home.path() / "a" / "key.pem", fs::perms(0604));
  const Renewed renewed = renew_one(home.path());
  CHECK(renewed.status == Status::renewed);
  CHECK(renewed.warnings.size() == 2);  // the second certificate, and the key's mode
  const Certificate after = read_leaf_certificate(home.path() / "a");
  CHECK(after.public_key().type() == KeyType::rsa2048);
  CHECK(after.allows_client_auth());
  CHECK(after.allows_server_auth());
  CHECK(test::mode_of(home.path() / "a" / "key.pem") == 0604);
  CHECK(test::mode_of(home.path() / "a") == 0700);
}

TEST_CASE("renewal: the root's files in the leaf's own directory are no trap") {
  const test::TemporaryDirectory home;
  fs::create_directory(home.path() / "a");
  const CaFiles files{home.path() / "a" / "ca.pem", home.path() / "a" / "ca-key.pem", home.path()};
  (void)Ca(files).issue(for_host("a"), test::now);
  const std::vector<Renewed> renewed = Ca(files).renew({}, late);
  REQUIRE(renewed.size() == 1);
  CHECK(renewed.front().status == Status::renewed);
  CHECK(!renewed.front().is_exchange);
  CHECK(is_pair(home.path() / "a"));
  CHECK(Ca(files).issue(for_host("b"), late).status == Issued::Status::issued);
  CHECK(std::ranges::count(test::read_file(home.path() / "a" / "ca-index.txt"), '\n') == 4);
}
