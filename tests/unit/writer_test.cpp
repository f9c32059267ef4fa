#include "store/writer.h"

#include "support.h"

using namespace pki;
namespace fs = std::filesystem;

namespace {

File file(const std::string& name, const std::string& contents) {
  return {name, SecretBytes(contents.begin(), contents.end()), File::secret_mode};
}

}  // namespace

TEST_CASE("a staged directory appears whole with publish, and not before") {
  const test::TemporaryDirectory home;
  const Directory parent = Directory::open(home.path());
  {
    Staged staged = Staged::as_directory(parent, "host", {file("a", "1"), file("b", "2")});
    CHECK(!fs::exists(home.path() / "host"));
    staged.publish();
  }
  CHECK(test::read_file(home.path() / "host" / "a") == "1");
  CHECK(test::read_file(home.path() / "host" / "b") == "2");
  CHECK(std::distance(fs::directory_iterator(home.path()), {}) == 1);
}

TEST_CASE("what is staged and not published is removed") {
  const test::TemporaryDirectory home;
  const Directory parent = Directory::open(home.path());
  { const Staged staged = Staged::as_directory(parent, "host", {file("a", "1")}); }
  {
    const Staged staged = Staged::as_files({{&parent, file("a", "1")}, {&parent, file("b", "2")}});
  }
  CHECK(fs::is_empty(home.path()));
}

TEST_CASE("a name that is in use is not replaced, and nothing stays behind") {
  const test::TemporaryDirectory home;
  const Directory parent = Directory::open(home.path());
  fs::create_directory(home.path() / "host");
  test::write_file(home.path() / "a", "precious");
  {
    Staged staged = Staged::as_directory(parent, "host", {file("a", "1")});
    CHECK_THROWS_AS(staged.publish(), Error);
  }
  {
    Staged staged = Staged::as_files({{&parent, file("a", "1")}});
    CHECK_THROWS_AS(staged.publish(), Error);
  }
  CHECK(fs::is_empty(home.path() / "host"));
  CHECK(test::read_file(home.path() / "a") == "precious");
  CHECK(std::distance(fs::directory_iterator(home.path()), {}) == 2);
}

TEST_CASE("many staged directories: each appears whole with its publish, the rest is removed") {
  const test::TemporaryDirectory home;
  const Directory parent = Directory::open(home.path());
  {
    const StagedDirectories staged(parent, {"a", "b"});
    CHECK(test::mode_of(home.path() / ".pki.new") == 0700);
    for (const char* name : {"one", "two", "three"}) {
      staged.add(name, {file("a", name), file("b", "2")}, {});
    }
    CHECK_THROWS_AS(staged.add("two", {file("a", "again")}, {}), Error);
    staged.sync();
    CHECK(std::distance(fs::directory_iterator(home.path()), {}) == 1);
    staged.publish("two");
    CHECK(test::read_file(home.path() / "two" / "a") == "two");
    CHECK(test::mode_of(home.path() / "two") == 0755);
    CHECK(test::mode_of(home.path() / "two" / "b") == File::secret_mode);
    fs::create_directory(home.path() / "three");
    CHECK_THROWS_AS(staged.publish("three"), Error);
  }
  CHECK(fs::is_empty(home.path() / "three"));
  CHECK(!fs::exists(home.path() / "one"));
  CHECK(std::distance(fs::directory_iterator(home.path()), {}) == 2);
}

TEST_CASE("many staged directories: when all are published the one around them goes") {
  const test::TemporaryDirectory home;
  const Directory parent = Directory::open(home.path());
  StagedDirectories staged(parent, {"a"});
  staged.add("one", {file("a", "1")}, {});
  CHECK_THROWS_AS(staged.finish(), Error);
  staged.publish("one");
  staged.finish();
  CHECK(std::distance(fs::directory_iterator(home.path()), {}) == 1);
}

TEST_CASE("clear removes what a killed run staged, and nothing of somebody else's") {
  const test::TemporaryDirectory home;
  const Directory parent = Directory::open(home.path());
  const fs::path staging = home.path() / ".pki.new";

  fs::create_directory(staging);
  test::write_file(staging / "a", "half");
  Staged::clear(parent, {"a", "b"});
  CHECK(!fs::exists(staging));

  fs::create_directories(staging / "host");
  fs::create_directory(staging / "empty");
  test::write_file(staging / "host" / "a", "half");
  Staged::clear(parent, {"a", "b"});
  CHECK(!fs::exists(staging));

  fs::create_directory(home.path() / "victim");
  test::write_file(home.path() / "victim" / "a", "precious");
  fs::create_directory_symlink("victim", staging);
  Staged::clear(parent, {"a"});
  CHECK(!fs::is_symlink(staging));
  CHECK(test::read_file(home.path() / "victim" / "a") == "precious");

  for (const char* name : {"host", "link"}) {
    fs::create_directory(staging);
    if (std::string_view(name) == "link") {
      fs::create_directory_symlink("../victim", staging / name);
    } else {
      fs::create_directory(staging / name);
      test::write_file(staging / name / "thesis", "precious");
    }
    CHECK(test::contains(test::error_of([&] { Staged::clear(parent, {"a"}); }), ".pki.new"));
    CHECK(test::read_file(home.path() / "victim" / "a") == "precious");
    CHECK(fs::exists(staging / name));
    fs::remove_all(staging);
  }

  fs::create_directory(staging);
  test::write_file(staging / "thesis", "precious");
  CHECK(test::contains(test::error_of([&] { Staged::clear(parent, {"a"}); }), ".pki.new"));
  CHECK(test::read_file(staging / "thesis") == "precious");
}
