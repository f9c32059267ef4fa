// inject: runs a command and hurts it at a chosen system call.
//
//   inject [--log FILE] [RULE...] -- COMMAND [ARGUMENT...]
//
// RULE is WHEN:CALLS:ACTION
//   WHEN    K, the K-th of these calls, or K+, that one and all that follow
//   CALLS   names between commas (write,fsync,renameat2), or "any" for every system call
//   ACTION  kill-before  SIGKILL to every process: the call never takes effect
//           kill-after   SIGKILL to every process: the call took effect, but nobody learns of it
//           fail=ERRNO   the call is not made and fails with ERRNO (ENOSPC); fail=0: "succeeds"
//           short=N      the call reads or writes N bytes at most
// Of several rules that apply to a call the first is taken. Each rule counts the calls it names,
// over all processes and threads of the command and from its execve(2) on, so what the dynamic
// loader does counts. This is no job for strace: its counts are per thread and per name.
//
// The log has a line a call, fields between tabs: its number, its name, the arguments that matter,
// "=", the result ("?" if it never returned), and "rule N" where the N-th rule was applied.
//
// The exit status is the command's, 128 and the number for a signal, 125 for a mistake of ours.
//
// PR_SET_DUMPABLE 0 in the command does not stop a tracer that is there already, but without
// CAP_SYS_PTRACE it may then no longer read memory: paths are logged as "?". The rule
// 1+:prctl:fail=0 in front helps. Everything else works as it does for root.
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#ifndef __x86_64__
#error "inject knows the system call registers of x86-64 only: see set_call, set_size, set_result"
#endif

namespace {

using SyscallInfo = __ptrace_syscall_info;

struct Call {
  std::uint64_t number;
  std::string_view name;
  // A letter an argument: f descriptor, p path, o mode in octal, x flags, d number, - not shown.
  std::string_view arguments;
};

// The calls that files are made of. Any other is counted, and logged by its number.
constexpr Call known_calls[] = {
    {SYS_read, "read", "f-d"},
    {SYS_readv, "readv", "f--"},
    {SYS_pread64, "pread64", "f-dd"},
    {SYS_write, "write", "f-d"},
    {SYS_writev, "writev", "f--"},
    {SYS_pwrite64, "pwrite64", "f-dd"},
    {SYS_pwritev, "pwritev", "f--d"},
    {SYS_pwritev2, "pwritev2", "f--d"},
    {SYS_sendfile, "sendfile", "ff-d"},
    {SYS_copy_file_range, "copy_file_range", "f-f-d"},
    {SYS_open, "open", "pxo"},
    {SYS_openat, "openat", "fpxo"},
    {SYS_openat2, "openat2", "fp--"},
    {SYS_creat, "creat", "po"},
    {SYS_close, "close", "f"},
    {SYS_dup, "dup", "f"},
    {SYS_dup2, "dup2", "ff"},
    {SYS_dup3, "dup3", "ffx"},
    {SYS_fcntl, "fcntl", "fdd"},
    {SYS_flock, "flock", "fx"},
    {SYS_fstat, "fstat", "f"},
    {SYS_newfstatat, "newfstatat", "fp-x"},
    {SYS_statx, "statx", "fpxx"},
    {SYS_faccessat2, "faccessat2", "fpxx"},
    {SYS_fgetxattr, "fgetxattr", "fp"},
    {SYS_fsetxattr, "fsetxattr", "fp"},
    {SYS_fremovexattr, "fremovexattr", "fp"},
    {SYS_getdents64, "getdents64", "f"},
    {SYS_fsync, "fsync", "f"},
    {SYS_fdatasync, "fdatasync", "f"},
    {SYS_sync_file_range, "sync_file_range", "f"},
    {SYS_syncfs, "syncfs", "f"},
    {SYS_sync, "sync", ""},
    {SYS_truncate, "truncate", "pd"},
    {SYS_ftruncate, "ftruncate", "fd"},
    {SYS_fallocate, "fallocate", "fxdd"},
    {SYS_chmod, "chmod", "po"},
    {SYS_fchmod, "fchmod", "fo"},
    {SYS_fchmodat, "fchmodat", "fpo"},
    {SYS_chown, "chown", "pdd"},
    {SYS_fchown, "fchown", "fdd"},
    {SYS_fchownat, "fchownat", "fpdd"},
    {SYS_mkdir, "mkdir", "po"},
    {SYS_mkdirat, "mkdirat", "fpo"},
    {SYS_mknod, "mknod", "po"},
    {SYS_mknodat, "mknodat", "fpo"},
    {SYS_link, "link", "pp"},
    {SYS_linkat, "linkat", "fpfpx"},
    {SYS_symlink, "symlink", "pp"},
    {SYS_symlinkat, "symlinkat", "pfp"},
    {SYS_rename, "rename", "pp"},
    {SYS_renameat, "renameat", "fpfp"},
    {SYS_renameat2, "renameat2", "fpfpx"},
    {SYS_unlink, "unlink", "p"},
    {SYS_unlinkat, "unlinkat", "fpx"},
    {SYS_rmdir, "rmdir", "p"},
    {SYS_chdir, "chdir", "p"},
    {SYS_fchdir, "fchdir", "f"},
    {SYS_umask, "umask", "o"},
    {SYS_prctl, "prctl", "ddddd"},
    {SYS_getrandom, "getrandom", "-dx"},
    {SYS_ioctl, "ioctl", "fx"},
    {SYS_clone3, "clone3", ""},
    {SYS_uname, "uname", ""},
    {SYS_fstatfs, "fstatfs", "f"},
    {SYS_execve, "execve", "p"},
    {SYS_exit_group, "exit_group", "d"},
};

const Call* find_call(std::uint64_t number) {
  const auto* const found = std::ranges::find(known_calls, number, &Call::number);
  return found != std::end(known_calls) ? found : nullptr;
}

enum class Action { kill_before, kill_after, fail, shorten };

struct Rule {
  std::uint64_t first = 0;
  bool repeats = false;
  std::vector<std::uint64_t> calls;  // none means any
  Action action = Action::kill_before;
  std::uint64_t value = 0;  // the errno, or the number of bytes

  std::uint64_t seen = 0;

  // To be asked about every call, in order.
  bool applies_to(std::uint64_t call) {
    if (!calls.empty() && std::ranges::find(calls, call) == calls.end()) return false;
    ++seen;
    return repeats ? seen >= first : seen == first;
  }
};

// A mistake in the command line, or a system that does not let us do this.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::uint64_t parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw Failure("not a number: " + std::string(text));
  }
  return number;
}

std::uint64_t parse_errno(std::string_view text) {
  if (text == "0") return 0;
  constexpr int past_last_errno = 134;
  for (int error = 1; error < past_last_errno; ++error) {
    const char* const name = ::strerrorname_np(error);
    if (name != nullptr && text == name) return static_cast<std::uint64_t>(error);
  }
  throw Failure("no such error: " + std::string(text));
}

// Cuts the part before the separator off `text`; all of it if there is none.
std::string_view cut(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

Rule parse_rule(std::string_view text) {
  Rule rule;
  std::string_view when = cut(text, ':');
  if (when.ends_with('+')) {
    rule.repeats = true;
    when.remove_suffix(1);
  }
  rule.first = parse_number(when);

  std::string_view names = cut(text, ':');
  while (names != "any" && !names.empty()) {
    const std::string_view name = cut(names, ',');
    const auto* const found = std::ranges::find(known_calls, name, &Call::name);
    if (found == std::end(known_calls)) throw Failure("no such call: " + std::string(name));
    rule.calls.push_back(found->number);
  }

  const std::string_view action = cut(text, '=');
  if (action == "kill-before") {
    rule.action = Action::kill_before;
  } else if (action == "kill-after") {
    rule.action = Action::kill_after;
  } else if (action == "fail") {
    rule.action = Action::fail;
    rule.value = parse_errno(text);
  } else if (action == "short") {
    rule.action = Action::shorten;
    rule.value = parse_number(text);
  } else {
    throw Failure("no such action: " + std::string(action));
  }
  return rule;
}

void set_register(pid_t thread, std::size_t offset, std::uint64_t value) {
  if (::ptrace(PTRACE_POKEUSER, thread, offset, value) != 0) {
    throw Failure(std::string("cannot set a register: ") + std::strerror(errno));
  }
}

void set_call(pid_t thread, std::uint64_t number) {
  set_register(thread, offsetof(user, regs.orig_rax), number);
}

// The third argument of read(2), write(2) and their kin.
void set_size(pid_t thread, std::uint64_t size) {
  set_register(thread, offsetof(user, regs.rdx), size);
}

void set_result(pid_t thread, std::uint64_t result) {
  set_register(thread, offsetof(user, regs.rax), result);
}

std::string read_string(pid_t thread, std::uint64_t address) {
  std::string text;
  for (;; address += sizeof(long)) {
    errno = 0;
    const long word = ::ptrace(PTRACE_PEEKDATA, thread, address, 0);
    if (errno != 0) return "?";
    std::array<char, sizeof(long)> bytes{};
    std::memcpy(bytes.data(), &word, bytes.size());
    const std::size_t length = ::strnlen(bytes.data(), bytes.size());
    text.append(bytes.data(), length);
    if (length < bytes.size()) return text;
  }
}

std::string format(std::uint64_t value, int base) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.begin(), digits.end(), value, base).ptr;
  return {digits.begin(), end};
}

std::string argument_text(pid_t thread, char kind, std::uint64_t value) {
  switch (kind) {
    case 'f': {
      const auto descriptor = static_cast<std::int32_t>(value);
      return descriptor == AT_FDCWD ? "cwd" : std::to_string(descriptor);
    }
    case 'p': return read_string(thread, value);
    case 'o': return "0" + format(value & 07777, 8);
    case 'x': return "0x" + format(value & 0xffffffff, 16);
    default: return std::to_string(static_cast<std::int64_t>(value));
  }
}

std::string describe(pid_t thread, const SyscallInfo& info) {
  const Call* const call = find_call(info.entry.nr);
  if (call == nullptr) return "call " + std::to_string(info.entry.nr);
  std::string text(call->name);
  for (std::size_t i = 0; i < call->arguments.size(); ++i) {
    const char kind = call->arguments[i];
    if (kind != '-') text += '\t' + argument_text(thread, kind, info.entry.args[i]);
  }
  return text;
}

class Tracer {
 public:
  explicit Tracer(std::vector<Rule> rules) : rules_(std::move(rules)) {}

  // Returns the exit status that stands for the command's end.
  int run(char* const* command);
  [[nodiscard]] const std::string& log() const { return log_; }

 private:
  // A call that was entered and has not returned.
  struct Entered {
    std::string line;
    const Rule* rule = nullptr;  // the one that is applied
    std::uint64_t size = 0;      // what the call was given as its third argument
  };

  void stopped(pid_t thread, int status);
  void enter(pid_t thread, const SyscallInfo& info);
  void leave(pid_t thread, const SyscallInfo& info);
  void forget(pid_t thread);
  void kill_all();
  void write_log(const Entered& call, const std::string& result);

  std::vector<Rule> rules_;
  std::string log_;  // in memory: an open file would be one more descriptor for the command
  std::map<pid_t, std::optional<Entered>> threads_;
  bool has_started_ = false;  // the command, that is: what we do before its execve does not count
  std::uint64_t count_ = 0;
};

int Tracer::run(char* const* command) {
  const pid_t child = ::fork();
  if (child < 0) throw Failure("cannot fork");
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 && ::raise(SIGSTOP) == 0) {
      ::execvp(command[0], command);
    }
    std::perror("inject: cannot run the command");
    _exit(125);
  }
  int child_status = 0;
  for (;;) {
    int status = 0;
    const pid_t thread = ::waitpid(-1, &status, __WALL);
    if (thread < 0 && errno == EINTR) continue;
    if (thread < 0) break;  // no process is left
    if (WIFSTOPPED(status)) {
      stopped(thread, status);
      continue;
    }
    forget(thread);
    if (thread == child) child_status = status;
  }
  return WIFEXITED(child_status) ? WEXITSTATUS(child_status) : 128 + WTERMSIG(child_status);
}

void Tracer::stopped(pid_t thread, int status) {
  constexpr int syscall_stop = SIGTRAP | 0x80;
  int signal = 0;
  if (threads_.try_emplace(thread).second) {
    // The first stop of every thread is a SIGSTOP that it is not to see. What the first thread is
    // told here its children inherit.
    constexpr long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE |
                             PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL;
    ::ptrace(PTRACE_SETOPTIONS, thread, 0, options);
  } else if (WSTOPSIG(status) == syscall_stop) {
    SyscallInfo info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) > 0) {
      if (info.op == PTRACE_SYSCALL_INFO_ENTRY && has_started_) enter(thread, info);
      if (info.op == PTRACE_SYSCALL_INFO_EXIT) leave(thread, info);
    }
  } else if (status >> 16 == PTRACE_EVENT_EXEC) {
    has_started_ = true;
  } else if (status >> 16 == 0) {
    signal = WSTOPSIG(status);
  }
  ::ptrace(PTRACE_SYSCALL, thread, 0, signal);  // fails if it was killed: waitpid tells
}

void Tracer::enter(pid_t thread, const SyscallInfo& info) {
  Entered& call = threads_[thread].emplace();
  call.line = std::to_string(++count_) + '\t' + describe(thread, info);
  call.size = info.entry.args[2];
  for (Rule& rule : rules_) {
    if (rule.applies_to(info.entry.nr) && call.rule == nullptr) call.rule = &rule;
  }
  if (call.rule == nullptr) return;
  switch (call.rule->action) {
    case Action::kill_before: kill_all(); break;
    case Action::kill_after: break;
    case Action::fail: set_call(thread, ~std::uint64_t{0}); break;
    case Action::shorten: set_size(thread, std::min(call.size, call.rule->value)); break;
  }
}

void Tracer::leave(pid_t thread, const SyscallInfo& info) {
  std::optional<Entered>& entered = threads_[thread];
  if (!entered.has_value()) return;
  const Entered call = *std::exchange(entered, std::nullopt);
  std::int64_t result = info.exit.rval;
  if (call.rule != nullptr) {
    switch (call.rule->action) {
      case Action::kill_before: break;
      case Action::kill_after: kill_all(); break;
      case Action::fail:
        result = -static_cast<std::int64_t>(call.rule->value);
        set_result(thread, static_cast<std::uint64_t>(result));
        break;
      case Action::shorten: set_size(thread, call.size); break;
    }
  }
  write_log(call, std::to_string(result));
}

void Tracer::forget(pid_t thread) {
  const auto found = threads_.find(thread);
  if (found == threads_.end()) return;
  if (found->second.has_value()) write_log(*found->second, "?");
  threads_.erase(found);
}

void Tracer::kill_all() {
  for (const auto& [thread, call] : threads_) ::kill(thread, SIGKILL);
}

void Tracer::write_log(const Entered& call, const std::string& result) {
  log_ += call.line + "\t=\t" + result;
  if (call.rule != nullptr) log_ += "\trule " + std::to_string(call.rule - rules_.data() + 1);
  log_ += '\n';
}

int run(int argc, char** argv) {
  std::vector<Rule> rules;
  const char* log_file = nullptr;
  int i = 1;
  for (; i < argc && std::string_view(argv[i]) != "--"; ++i) {
    if (std::string_view(argv[i]) == "--log" && i + 1 < argc) {
      log_file = argv[++i];
    } else {
      rules.push_back(parse_rule(argv[i]));
    }
  }
  if (i + 1 >= argc) throw Failure("usage: inject [--log FILE] [RULE...] -- COMMAND...");
  Tracer tracer(std::move(rules));
  const int status = tracer.run(argv + i + 1);
  if (log_file != nullptr && !(std::ofstream(log_file) << tracer.log() << std::flush)) {
    throw Failure(std::string("cannot write ") + log_file);
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const Failure& failure) {
    std::cerr << "inject: " << failure.what() << '\n';
    return 125;
  }
}
