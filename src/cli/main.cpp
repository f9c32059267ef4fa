#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <utility>

#include "base/openssl.h"
#include "cli/cli.h"

namespace {

pki::cli::Inherited prepare_process() {
  pki::cli::Inherited inherited;
  // A file must never get descriptor 0, 1 or 2: a message would be written into it.
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) < 0) _exit(1);
  }
  // Private keys are in memory: no core dumps, and no tracer but root.
  (void)::prctl(PR_SET_DUMPABLE, 0);
  struct rlimit core {};
  (void)::getrlimit(RLIMIT_CORE, &core);
  inherited.core_limit = std::exchange(core.rlim_cur, 0);
  (void)::setrlimit(RLIMIT_CORE, &core);
  // Every file of ours is made with the mode that it is to have.
  inherited.umask = ::umask(0);
  // Both become errors of write(2), which are reported like any other.
  (void)std::signal(SIGXFSZ, SIG_IGN);
  (void)std::signal(SIGPIPE, SIG_IGN);
  pki::start_openssl_for_one_job();
  return inherited;
}

}  // namespace

int main(int argc, char** argv) {
  const pki::cli::Inherited inherited = prepare_process();
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const bool out_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  // no-color.org: set and not empty.
  const char* const no_color = std::getenv("NO_COLOR");
  const bool may_colour = out_is_terminal && (no_color == nullptr || *no_color == '\0');
  struct winsize size {};
  (void)::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
  const bool err_is_terminal = ::isatty(STDERR_FILENO) == 1;
  return static_cast<int>(
      pki::cli::run(arguments, {std::cout, std::cerr, out_is_terminal, now, may_colour, size.ws_col,
                                inherited, err_is_terminal}));
}
