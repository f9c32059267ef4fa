#include "store/replacement.h"

#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

using namespace pki;
namespace fs = std::filesystem;

namespace {

File file(const std::string& name, const std::string& contents) {
  return {name, SecretBytes(contents.begin(), contents.end()), File::secret_mode};
}

std::vector<File> new_pair() {
  std::vector<File> files;
  files.push_back(file("cert.pem", "new certificate"));
  files.push_back(file("key.pem", "new key"));
  return files;
}

// leaf/ in a directory of its own, with an old pair and a file of the operator's.
class Home {
 public:
  Home() {
    fs::create_directory(leaf());
    test::write_file(leaf() / "cert.pem", "old certificate");
    test::write_file(leaf() / "key.pem", "old key");
    test::write_file(leaf() / "notes", "the operator's");
  }

  [[nodiscard]] fs::path path() const { return directory_.path(); }
  [[nodiscard]] fs::path leaf() const { return path() / "leaf"; }
  [[nodiscard]] std::string read(const char* name) const { return test::read_file(leaf() / name); }
  [[nodiscard]] Directory open() const { return Directory::open(path()); }
  [[nodiscard]] Directory open_leaf() const { return Directory::open(leaf()); }
  [[nodiscard]] std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::recursive_directory_iterator(path()), {}));
  }

 private:
  test::TemporaryDirectory directory_;
};

}  // namespace

TEST_CASE("replacement: old until it is published, and then new, the rest as it was") {
  for (const bool may_exchange : {true, false}) {
    CAPTURE(may_exchange);
    const Home home;
    const Directory leaves = home.open();
    const Directory leaf = home.open_leaf();
    {
      Replacement replacement(leaves, "leaf", leaf, new_pair(), may_exchange);
      replacement.sync();
      CHECK(home.read("key.pem") == "old key");
      replacement.publish();
      CHECK(home.read("key.pem") == "new key");
      CHECK(home.read("cert.pem") == "new certificate");
      CHECK(home.read("notes") == "the operator's");
      CHECK(replacement.was_exchange() == may_exchange);
    }
    Replacement::clear(leaves);
    CHECK(home.entries() == 4);
    CHECK(fs::hard_link_count(home.leaf() / "notes") == 1);
  }
}

TEST_CASE("replacement: what is not published is removed, and the old files stay") {
  for (const bool may_exchange : {true, false}) {
    CAPTURE(may_exchange);
    const Home home;
    const Directory leaves = home.open();
    const Directory leaf = home.open_leaf();
    { const Replacement replacement(leaves, "leaf", leaf, new_pair(), may_exchange); }
    Replacement::clear(leaves);
    CHECK(home.entries() == 4);
    CHECK(home.read("key.pem") == "old key");
  }
}

TEST_CASE("replacement: after a kill before or after the exchange only the twin goes") {
  for (const bool is_exchanged : {false, true}) {
    CAPTURE(is_exchanged);
    const Home home;
    const fs::path twin = home.path() / ".renewal.new" / "leaf";
    fs::create_directories(twin);
    fs::create_hard_link(home.leaf() / "notes", twin / "notes");
    test::write_file(twin / "cert.pem", "another certificate");
    test::write_file(twin / "key.pem", "another key");
    test::write_file(twin / "key.pk8", "another key");
    if (is_exchanged) test::write_file(twin / "late", "made while the links were");
    Replacement::clear(home.open());
    CHECK(!fs::exists(home.path() / ".renewal.new"));
    CHECK(home.read("notes") == "the operator's");
    CHECK(home.read("key.pem") == "old key");
    CHECK(fs::exists(home.leaf() / "late") == is_exchanged);
  }
}

TEST_CASE("replacement: what is certainly nobody's but the operator's stops it") {
  const Home home;
  const fs::path staging = home.path() / ".renewal.new";
  SUBCASE("a file that was changed on both sides") {
    fs::create_directories(staging / "leaf");
    test::write_file(staging / "leaf" / "notes", "other notes");
  }
  SUBCASE("a file beside the directories") {
    fs::create_directory(staging);
    test::write_file(staging / "notes", "other notes");
  }
  SUBCASE("a directory of no leaf") {
    fs::create_directories(staging / "other");
    test::write_file(staging / "other" / "notes", "other notes");
  }
  CHECK(test::contains(test::error_of([&] { Replacement::clear(home.open()); }), ".renewal.new"));
  CHECK(home.read("notes") == "the operator's");
  CHECK(home.entries() > 5);
}

TEST_CASE("replacement: links under the names of its directories lead nowhere") {
  const Home home;
  const test::TemporaryDirectory victim;
  test::write_file(victim.path() / "key.pem", "precious");
  fs::create_directory_symlink(victim.path(), home.path() / ".renewal.new");
  fs::create_directory_symlink(victim.path(), home.leaf() / ".renewal.new");
  fs::create_directory_symlink(victim.path(), home.leaf() / ".renewal.ready");
  Replacement::clear(home.open());
  Replacement::recover(home.open_leaf());
  CHECK(home.entries() == 4);
  CHECK(test::read_file(victim.path() / "key.pem") == "precious");
  CHECK(home.read("key.pem") == "old key");

  fs::create_directory(home.path() / ".renewal.new");
  fs::create_directory_symlink(victim.path(), home.path() / ".renewal.new" / "leaf");
  CHECK_THROWS_AS(Replacement::clear(home.open()), Error);
  CHECK(test::read_file(victim.path() / "key.pem") == "precious");
}

TEST_CASE("replacement: one by one, a kill at any rename is made good") {
  // The state in which some of the files have been moved out of the directory that is ready.
  for (const int moved : {0, 1, 2}) {
    CAPTURE(moved);
    const Home home;
    const fs::path ready = home.leaf() / ".renewal.ready";
    fs::create_directory(ready);
    test::write_file((moved > 0 ? home.leaf() : ready) / "cert.pem", "new certificate");
    test::write_file((moved > 1 ? home.leaf() : ready) / "key.pem", "new key");
    Replacement::recover(home.open_leaf());
    CHECK(home.read("cert.pem") == "new certificate");
    CHECK(home.read("key.pem") == "new key");
    CHECK(home.entries() == 4);
  }
  const Home home;
  fs::create_directory(home.leaf() / ".renewal.new");
  test::write_file(home.leaf() / ".renewal.new" / "cert.pem", "half");
  Replacement::recover(home.open_leaf());
  CHECK(home.read("cert.pem") == "old certificate");
  CHECK(home.entries() == 4);
}

TEST_CASE("replacement: the new directory has mode and owner of the old one") {
  const Home home;
  fs::permissions(home.leaf(), fs::perms(02751));
  const Directory leaves = home.open();
  const Directory leaf = home.open_leaf();
  Replacement replacement(leaves, "leaf", leaf, new_pair());
  CHECK(test::mode_of(home.path() / ".renewal.new") == 0700);
  replacement.sync();
  replacement.publish();
  CHECK(test::mode_of(home.leaf()) == 02751);
  Replacement::clear(leaves);
}
