#include "cli/shell.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <system_error>
#include <vector>

#include "pki/error.h"

namespace pki::cli {
namespace {

// This process's environment, and one variable more.
std::vector<std::string> environment_with(const std::string& variable) {
  const std::string name = variable.substr(0, variable.find('=') + 1);
  std::vector<std::string> all = {variable};
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with(name)) all.emplace_back(*entry);
  }
  return all;
}

// As it was before main() made this process fit for keys.
void give_back(const Inherited& inherited) {
  ::umask(inherited.umask);
  struct rlimit core {};
  (void)::getrlimit(RLIMIT_CORE, &core);
  core.rlim_cur = inherited.core_limit;
  (void)::setrlimit(RLIMIT_CORE, &core);
  (void)std::signal(SIGXFSZ, SIG_DFL);
  (void)std::signal(SIGPIPE, SIG_DFL);
}

// In the child.
[[noreturn]] void become_shell(const std::string& command, char* const* environment,
                               const Inherited& inherited) {
  give_back(inherited);
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (nothing >= 0 && ::dup2(nothing, STDIN_FILENO) >= 0 &&
      ::dup2(STDERR_FILENO, STDOUT_FILENO) >= 0) {
    ::closefrom(STDERR_FILENO + 1);
    std::array<const char*, 4> arguments = {"sh", "-c", command.c_str(), nullptr};
    ::execve("/bin/sh", const_cast<char* const*>(arguments.data()), environment);
  }
  ::_exit(127);  // as a shell's for what it cannot run
}

}  // namespace

std::string run_shell(const std::string& command, const std::string& variable,
                      const Inherited& inherited) {
  std::vector<std::string> variables = environment_with(variable);
  std::vector<char*> environment;
  environment.reserve(variables.size() + 1);
  for (std::string& each : variables) environment.push_back(each.data());
  environment.push_back(nullptr);

  const pid_t child = ::fork();
  if (child < 0) {
    throw Error(fmt::format("cannot start a shell: {}", std::generic_category().message(errno)),
                "raise the limit of processes (ulimit -u)");
  }
  if (child == 0) become_shell(command, environment.data(), inherited);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      throw Error(
          fmt::format("cannot wait for a shell: {}", std::generic_category().message(errno)));
    }
  }
  if (WIFSIGNALED(status)) return fmt::format("was ended by signal {}", WTERMSIG(status));
  if (WEXITSTATUS(status) == 0) return {};
  return fmt::format("ended with status {}", WEXITSTATUS(status));
}

}  // namespace pki::cli
