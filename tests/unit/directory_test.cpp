#include "store/directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "support.h"

using namespace pki;
namespace fs = std::filesystem;

namespace {

File file(const std::string& name, const std::string& contents, unsigned mode) {
  return {name, SecretBytes(contents.begin(), contents.end()), mode};
}

// For the time of a test.
class Umask {
 public:
  explicit Umask(mode_t mask) : before_(::umask(mask)) {}
  ~Umask() { ::umask(before_); }
  Umask(const Umask&) = delete;
  Umask& operator=(const Umask&) = delete;

 private:
  mode_t before_;
};

Directory::Line whole(std::string_view) { return Directory::Line::whole; }
Directory::Line torn(std::string_view) { return Directory::Line::torn; }
Directory::Line foreign(std::string_view) { return Directory::Line::foreign; }

}  // namespace

TEST_CASE("directory: lists its names, moves one elsewhere, and syncs what it is on") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  const Directory other = directory.make_directory("other");
  for (const char* name : {"b", "a", ".c"}) {
    directory.write_one_of_many({name, {'x'}, File::public_mode});
  }
  CHECK(directory.names() == std::vector<std::string>{".c", "a", "b", "other"});
  directory.move_new("a", other);
  CHECK(test::read_file(home.path() / "other" / "a") == "x");
  directory.write_one_of_many({"a", {'y'}, File::public_mode});
  CHECK_THROWS_AS(directory.move_new("a", other), Error);
  CHECK(test::read_file(home.path() / "other" / "a") == "x");
  directory.sync_file_system();
  // There is nothing to be synced, and syncfs(2) says so by its success.
  CHECK(!Directory::open("/proc").can_sync_file_system());
}

TEST_CASE("write_new: the mode is as asked for, whatever the umask") {
  for (const mode_t mask : {0000, 0022, 0077, 0777}) {
    CAPTURE(mask);
    const test::TemporaryDirectory home;
    const Directory directory = Directory::open(home.path());
    const Umask umask(mask);
    directory.sync_file(directory.write_new(file("key.pem", "secret", File::secret_mode)), "file");
    directory.sync_file(directory.write_new(file("cert.pem", "public", File::public_mode)), "file");
    directory.make_directory("d");
    CHECK(test::mode_of(home.path() / "key.pem") == 0600);
    CHECK(test::mode_of(home.path() / "cert.pem") == 0644);
    CHECK(test::mode_of(home.path() / "d") == 0755);
    CHECK(test::read_file(home.path() / "cert.pem") == "public");
  }
}

TEST_CASE("write_new: neither replaces a file nor writes through a link") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  test::write_file(home.path() / "victim", "precious");
  fs::create_symlink("victim", home.path() / "link");
  fs::create_symlink("nowhere", home.path() / "dangling");
  for (const char* name : {"victim", "link", "dangling"}) {
    CAPTURE(name);
    CHECK(test::contains(test::error_of([&] {
                           directory.sync_file(
                               directory.write_new(file(name, "new", File::secret_mode)), "file");
                         }),
                         name));
  }
  CHECK(test::read_file(home.path() / "victim") == "precious");
  CHECK(!fs::exists(home.path() / "nowhere"));
}

TEST_CASE("read: only regular files, at most 1 MiB, and never a wait") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  REQUIRE(::mkfifo((home.path() / "fifo").c_str(), 0600) == 0);
  fs::create_symlink("/dev/zero", home.path() / "endless");
  fs::create_directory(home.path() / "d");
  test::write_file(home.path() / "large", std::string((1 << 20) + 1, 'x'));
  test::write_file(home.path() / "largest", std::string(1 << 20, 'x'));
  for (const char* name : {"fifo", "endless", "d", "large", "absent"}) {
    CAPTURE(name);
    CHECK(test::contains(test::error_of([&] { (void)directory.read(name, true); }), name));
  }
  CHECK(directory.read("largest", false).contents.size() == 1 << 20);
  fs::create_symlink("largest", home.path() / "link");
  CHECK(directory.read("link", true).contents.size() == 1 << 20);
  CHECK_THROWS_AS((void)directory.read("link", false), Error);
}

TEST_CASE("rename_new never replaces") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  test::write_file(home.path() / "a", "a");
  test::write_file(home.path() / "b", "b");
  CHECK_THROWS_AS(directory.rename_new("a", "b"), Error);
  CHECK(test::read_file(home.path() / "b") == "b");
  directory.rename_new("a", "c");
  CHECK(test::read_file(home.path() / "c") == "a");
}

TEST_CASE("append_lines: a torn last line is ended or cut off") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  directory.append_lines("index", "one\n", foreign);  // nobody asks about a new file
  CHECK(test::mode_of(home.path() / "index") == 0644);
  directory.append_lines("index", "two\n", whole);
  CHECK(test::read_file(home.path() / "index") == "one\ntwo\n");

  test::write_file(home.path() / "index", "one\nwhole");
  directory.append_lines("index", "two\n", whole);
  CHECK(test::read_file(home.path() / "index") == "one\nwhole\ntwo\n");

  test::write_file(home.path() / "index", "one\nto");
  directory.append_lines("index", "two\n", torn);
  CHECK(test::read_file(home.path() / "index") == "one\ntwo\n");

  test::write_file(home.path() / "index", "torn");
  directory.append_lines("index", "two\n", torn);
  CHECK(test::read_file(home.path() / "index") == "two\n");
}

TEST_CASE("append_lines: a link is not followed, and a file of another kind is left alone") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  test::write_file(home.path() / "victim", "precious\n");
  fs::create_symlink("victim", home.path() / "index");
  CHECK_THROWS_AS(directory.append_lines("index", "x\n", whole), Error);
  CHECK(test::read_file(home.path() / "victim") == "precious\n");

  CHECK_THROWS_AS(directory.append_lines("victim", "x\n", foreign), Error);
  CHECK_THROWS_AS(directory.append_lines("victim", "x\n", torn), Error);  // it has its newline
  CHECK(test::read_file(home.path() / "victim") == "precious\n");
  const std::string long_line(100'000, 'x');
  test::write_file(home.path() / "binary", long_line);
  CHECK_THROWS_AS(directory.append_lines("binary", "x\n", torn), Error);
  CHECK(test::read_file(home.path() / "binary") == long_line);
}

// The lock lives on the directory itself: nothing is left behind, and it goes with its holder.
TEST_CASE("lock: excludes another process until its holder is gone") {
  const test::TemporaryDirectory home;
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    Directory directory = Directory::open(home.path());
    directory.lock();
    (void)!::write(ready[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  const int fd = ::open(home.path().c_str(), O_RDONLY | O_DIRECTORY);
  CHECK(::flock(fd, LOCK_EX | LOCK_NB) == -1);
  ::kill(holder, SIGKILL);
  ::waitpid(holder, nullptr, 0);
  CHECK(::flock(fd, LOCK_EX | LOCK_NB) == 0);
  ::close(fd);
  ::close(ready[0]);
  ::close(ready[1]);
  CHECK(fs::is_empty(home.path()));
}
