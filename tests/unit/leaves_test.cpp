#include "store/leaves.h"

#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

using namespace pki;
namespace fs = std::filesystem;

namespace {

void write_certificate(const fs::path& directory, const Certificate& certificate) {
  fs::create_directory(directory);
  test::write_file(directory / "cert.pem", std::string(as_text(certificate.pem())));
}

Certificate issue(const Issuer& root, const Profile& profile = profiles::server) {
  CertificateSpec spec = test::server_spec({DnsName::parse("bouncerhost")});
  spec.profile = profile;
  return root.sign(spec, Key::generate(KeyType::p256).public_key());
}

struct Found {
  std::vector<std::string> leaves;  // "name 0": the name, and which root
  std::vector<std::string> warnings;
};

Found find(const fs::path& home, std::vector<Certificate> roots, bool follow = false) {
  Found found;
  for_each_leaf(
      Directory::open(home), roots,
      [&](const StoredLeaf& leaf) {
        found.leaves.push_back(leaf.name + " " + std::to_string(leaf.root));
      },
      [&](const std::string& line) { found.warnings.push_back(line); }, follow);
  return found;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("leaves: those of the roots, in the order of their names, whatever else is there") {
  const test::TemporaryDirectory home;
  const Issuer old_root = test::make_root(KeyType::p384);
  const Issuer root = test::make_root();
  const Issuer other = Issuer::self_signed(
      [] {
        CertificateSpec spec = test::root_spec();
        spec.common_name = "another root";
        return spec;
      }(),
      Key::generate(KeyType::p256));
  write_certificate(home.path() / "b", issue(root));
  write_certificate(home.path() / "a\n\x1b", issue(root, profiles::client));
  write_certificate(home.path() / "c", issue(old_root));
  write_certificate(home.path() / "foreign", issue(other));
  write_certificate(home.path() / "root", root.certificate());
  write_certificate(home.path() / ".pki.new", issue(root));
  fs::create_directory(home.path() / "empty");
  fs::create_directory_symlink("b", home.path() / "link");
  test::write_file(home.path() / "file", "");
  REQUIRE(::mkfifo((home.path() / "fifo").c_str(), 0600) == 0);

  Found found = find(home.path(), {root.certificate(), old_root.certificate()});
  CHECK(found.leaves == Names{"a\n\x1b 0", "b 0", "c 1"});
  CHECK(found.warnings.empty());
  found = find(home.path(), {root.certificate()});
  CHECK(found.leaves == Names{"a\n\x1b 0", "b 0"});
  CHECK(found.warnings.empty());
  CHECK(find(home.path(), {}).leaves.empty());
}

TEST_CASE("leaves: a link is followed if that is asked for, but no leaf is found twice") {
  const test::TemporaryDirectory home;
  const test::TemporaryDirectory elsewhere;
  const Issuer root = test::make_root();
  write_certificate(home.path() / "here", issue(root));
  write_certificate(elsewhere.path() / "there", issue(root));
  fs::create_directory_symlink("here", home.path() / "again");
  fs::create_directory_symlink(elsewhere.path() / "there", home.path() / "link");
  fs::create_directory_symlink("nowhere", home.path() / "dangling");
  fs::create_directory_symlink(".", home.path() / "self");
  fs::create_symlink("here/cert.pem", home.path() / "file");
  CHECK(find(home.path(), {root.certificate()}).leaves == Names{"here 0"});
  const Found found = find(home.path(), {root.certificate()}, true);
  CHECK(found.leaves == Names{"here 0", "link 0"});
  CHECK(found.warnings.empty());
}

TEST_CASE("leaves: what may be one and cannot be read is told, and the others are found") {
  const test::TemporaryDirectory home;
  const Issuer root = test::make_root();
  const Certificate leaf = issue(root);
  write_certificate(home.path() / "good", leaf);
  fs::create_directory(home.path() / "damaged");
  test::write_file(home.path() / "damaged/cert.pem",
                   "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  fs::create_directory(home.path() / "empty");
  test::write_file(home.path() / "empty/cert.pem", "");
  fs::create_directory(home.path() / "fifo");
  REQUIRE(::mkfifo((home.path() / "fifo/cert.pem").c_str(), 0600) == 0);
  fs::create_directory(home.path() / "link");
  fs::create_symlink("../good/cert.pem", home.path() / "link/cert.pem");
  fs::create_directories(home.path() / "nested/cert.pem");

  // The last byte of the DER is the signature's.
  std::vector<unsigned char> der = leaf.der();
  der.back() ^= 1U;
  write_certificate(home.path() / "forged", Certificate::from_der(der));

  const Found found = find(home.path(), {root.certificate()});
  CHECK(found.leaves == Names{"good 0"});
  const Names expected = {"damaged", "empty", "fifo", "forged", "link", "nested"};
  REQUIRE(found.warnings.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(found.warnings[i].starts_with((home.path() / expected[i]).string() + " is passed over"));
  }
}

TEST_CASE("leaves: a certificate under the root's name and another key is none of its") {
  const test::TemporaryDirectory home;
  const Issuer root = test::make_root();
  const Issuer namesake = test::make_root();
  write_certificate(home.path() / "leaf", issue(namesake));
  const Found found = find(home.path(), {root.certificate()});
  CHECK(found.leaves.empty());
  CHECK(found.warnings.empty());  // its authority key identifier says so
}

TEST_CASE("profile_of: what a certificate is for") {
  const Issuer root = test::make_root();
  CHECK(profile_of(root.certificate())->name == "root");
  for (const Profile& profile : {profiles::server, profiles::client, profiles::peer}) {
    CHECK(profile_of(issue(root, profile))->name == profile.name);
  }
}
