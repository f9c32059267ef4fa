#include "cli/shell.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "support.h"

using pki::cli::run_shell;

namespace {

std::string quoted(const std::filesystem::path& path) { return "'" + path.string() + "'"; }

}  // namespace

TEST_CASE("shell: how a command ended") {
  struct Row {
    const char* command;
    const char* failure;
  };
  const Row rows[] = {{"true", ""},
                      {"exit 3", "ended with status 3"},
                      {"no-such-command 2>/dev/null", "ended with status 127"},
                      {"kill -9 $$", "was ended by signal 9"}};
  for (const Row& row : rows) {
    CAPTURE(row.command);
    CHECK(run_shell(row.command, "A=b", {}) == row.failure);
  }
}

TEST_CASE("shell: what a command finds") {
  const test::TemporaryDirectory home;
  const std::filesystem::path seen = home.path() / "seen";
  const int open = ::open("/dev/null", O_RDONLY);  // as if somebody had left it to us
  ::setenv("PKI_RENEWED", "an older one", 1);
  const std::string command = "{ echo \"$PKI_RENEWED\"; umask; cat; ls /proc/$$/fd; trap; } > " +
                              quoted(seen) + "; kill -PIPE $$";
  CHECK(run_shell(command, "PKI_RENEWED=a b", {.umask = 027}) == "was ended by signal 13");
  CHECK(test::read_file(seen) == "a b\n0027\n0\n1\n10\n2\n");
  ::unsetenv("PKI_RENEWED");
  ::close(open);
}
