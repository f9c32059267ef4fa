#include "pki/export.h"

#include "pki/ca.h"
#include "pki/pkcs12.h"
#include "support.h"

using namespace pki;
namespace fs = std::filesystem;

namespace {

SecretBytes secret(std::string_view text) { return {text.begin(), text.end()}; }

// A root and the leaf of a database user in `home`.
ExportRequest with_leaf(const fs::path& home, ExportFormat format) {
  LeafRequest request;
  request.role = RoleName::parse("app_user");
  request.profile = profiles::client;
  (void)Ca({home / "minica.pem", home / "minica-key.pem", home}).issue(request, test::now);
  return {.format = format,
          .leaf = home / "app_user",
          .root = home / "minica.pem",
          .to = home / "app_user",
          .password = secret("pässword"),
          .owner = {}};
}

}  // namespace

TEST_CASE("export: every format is made once, and then unchanged") {
  struct Row {
    ExportFormat format;
    std::vector<std::string> files;
  };
  const Row rows[] = {{ExportFormat::pk8, {"key.pk8"}},
                      {ExportFormat::p12, {"key.p12"}},
                      {ExportFormat::der, {"cert.der"}},
                      {ExportFormat::fullchain, {"fullchain.pem"}},
                      {ExportFormat::libpq, {"root.crt", "postgresql.crt", "postgresql.key"}}};
  for (const Row& row : rows) {
    CAPTURE(row.files.front());
    const test::TemporaryDirectory home;
    const ExportRequest request = with_leaf(home.path(), row.format);
    const Exported first = export_leaf(request);
    CHECK(first.unchanged.empty());
    REQUIRE(first.made.size() == row.files.size());
    for (std::size_t i = 0; i < row.files.size(); ++i) {
      CHECK(first.made[i].filename() == row.files[i]);
      const bool is_secret = row.files[i].find("key") != std::string::npos;
      CHECK(test::mode_of(first.made[i]) == (is_secret ? 0600 : 0644));
    }
    const Exported second = export_leaf(request);
    CHECK(second.made.empty());
    CHECK(second.unchanged == first.made);
  }
}

TEST_CASE("export: a file that differs is left alone, and nothing is made then") {
  const test::TemporaryDirectory home;
  const ExportRequest request = with_leaf(home.path(), ExportFormat::libpq);
  test::write_file(request.to / "postgresql.crt", "mine");
  CHECK(test::contains(test::error_of([&] { (void)export_leaf(request); }), "postgresql.crt"));
  CHECK(test::read_file(request.to / "postgresql.crt") == "mine");
  CHECK(!fs::exists(request.to / "root.crt"));
}

TEST_CASE("export: pending files of a killed run are cleared, and links never written through") {
  const test::TemporaryDirectory home;
  const ExportRequest request = with_leaf(home.path(), ExportFormat::pk8);
  test::write_file(home.path() / "victim", "precious");
  fs::create_symlink(home.path() / "victim", request.to / ".key.pk8.new");
  (void)export_leaf(request);
  CHECK(test::read_file(home.path() / "victim") == "precious");
  CHECK(!fs::is_symlink(request.to / ".key.pk8.new"));
}

TEST_CASE("export: another password's p12 is not the same") {
  const test::TemporaryDirectory home;
  ExportRequest request = with_leaf(home.path(), ExportFormat::p12);
  (void)export_leaf(request);
  request.password = secret("other");
  CHECK_THROWS_AS((void)export_leaf(request), Error);
  request.password = {};
  CHECK(test::contains(test::error_of([&] { (void)export_leaf(request); }), "password"));
}

TEST_CASE("pkcs12: holds what was put in, for its password alone") {
  const Issuer root = test::make_root();
  const Key key = Key::generate(KeyType::p256);
  const Certificate leaf = root.sign(test::server_spec({DnsName::parse("a")}), key.public_key());
  const SecretBytes der = to_pkcs12(key, leaf, std::span(&root.certificate(), 1), "user", "secret");
  CHECK(pkcs12_holds(der, "secret", key, leaf));
  CHECK(!pkcs12_holds(der, "Secret", key, leaf));
  CHECK(!pkcs12_holds(der, "secret", Key::generate(KeyType::p256), leaf));
  CHECK(!pkcs12_holds(std::span(der).first(der.size() / 2), "secret", key, leaf));
  CHECK_THROWS_AS((void)to_pkcs12(key, leaf, {}, "user", ""), Error);
}

TEST_CASE("passwords: the line end that an editor adds is none of theirs") {
  const test::TemporaryDirectory home;
  for (const auto& [contents, password] :
       {std::pair{"a b\n", "a b"}, {"a\r\n", "a"}, {"a", "a"}, {"a\n\n", "a\n"}}) {
    test::write_file(home.path() / "pw", contents);
    CHECK(as_text(read_password_file(home.path() / "pw")) == password);
  }
  CHECK_THROWS_AS((void)read_password_file(home.path() / "absent"), Error);
  CHECK_THROWS_AS((void)read_password_descriptor(-1), Error);
}
