#include "store/access.h"

#include <unistd.h>

#include "support.h"

using namespace pki;

namespace {

using Outcome = Access::Outcome;
namespace fs = std::filesystem;

// Who owns nothing here; and who only shares our group.
const Reader stranger{"stranger", 54'321, 54'321, {}};
Reader member() { return {"member", 54'321, 54'321, {54'320, ::getegid()}}; }

void set_mode(const fs::path& path, unsigned mode) {
  fs::permissions(path, static_cast<fs::perms>(mode));
}

}  // namespace

TEST_CASE("access: modes") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "key.pem";
  test::write_file(file, "a key");
  struct Row {
    unsigned directory;
    unsigned file;
    bool for_stranger;
    bool for_member;
  };
  for (const Row& row :
       {Row{0755, 0644, true, true}, Row{0755, 0640, false, true}, Row{0755, 0604, true, false},
        Row{0755, 0600, false, false}, Row{0700, 0644, false, false}, Row{0710, 0644, false, true},
        Row{0701, 0644, true, false}, Row{0744, 0644, false, false}, Row{0711, 0444, true, true}}) {
    CAPTURE(row.directory);
    CAPTURE(row.file);
    set_mode(file, row.file);
    set_mode(directory.path(), row.directory);
    CHECK((access_of(file, stranger).outcome == Outcome::granted) == row.for_stranger);
    CHECK((access_of(file, member()).outcome == Outcome::granted) == row.for_member);
    set_mode(directory.path(), 0755);
  }
}

TEST_CASE("access: the component that stops a reader, and what lets him") {
  const test::TemporaryDirectory directory;
  set_mode(directory.path(), 0755);
  const fs::path inner = directory.path() / "inner";
  fs::create_directory(inner);
  test::write_file(inner / "f", "");
  set_mode(inner / "f", 0600);
  set_mode(inner, 0700);
  Access access = access_of(inner / "f", stranger);
  CHECK(access.at == inner);
  CHECK(access.grant == "chmod o+x");
  CHECK(access.why == "its mode is 0700, its owner " + owner_text(::geteuid(), ::getegid()));
  CHECK(access_of(inner / "f", member()).grant == "chmod g+x");
  set_mode(inner, 0711);
  access = access_of(inner / "f", stranger);
  CHECK(access.at == inner / "f");
  CHECK(access.grant == "chmod o+r");
  CHECK(access_of(inner / "f", {"root", 0, 0, {}}).outcome == Outcome::granted);
}

TEST_CASE("access: links, and what is not there") {
  const test::TemporaryDirectory directory;
  const fs::path& top = directory.path();
  set_mode(top, 0755);
  test::write_file(top / "f", "");
  set_mode(top / "f", 0644);
  fs::create_directory(top / "d");
  set_mode(top / "d", 0755);
  fs::create_symlink("../f", top / "d" / "up");
  fs::create_symlink(top / "d", top / "link");
  fs::create_symlink("loop", top / "loop");
  fs::create_symlink("nowhere", top / "dangling");
  for (const char* path : {"f", "d/up", "link/up", "d/../f", "./d/.././link/up", "link/../f"}) {
    CAPTURE(path);
    CHECK(access_of(top / path, stranger).outcome == Outcome::granted);
  }
  for (const char* path : {"g", "d/g", "dangling", "f/", "f/g", "f/.."}) {
    CAPTURE(path);
    CHECK(access_of(top / path, stranger).outcome == Outcome::absent);
  }
  CHECK(access_of(top / "loop", stranger).outcome == Outcome::denied);
  CHECK(access_of(top / std::string(5000, 'x'), stranger).outcome == Outcome::absent);
}

TEST_CASE("access: this process is its own reader") {
  const Reader reader = this_process();
  CHECK(reader.user == ::geteuid());
  CHECK(reader.group == ::getegid());
  CHECK(!reader.name.empty());
}
