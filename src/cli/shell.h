// A command line of the operator's.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <string>

namespace pki::cli {

/// What this process was started with and has changed for itself: commands are to have it as it
/// was.
struct Inherited {
  mode_t umask = 022;
  rlim_t core_limit = RLIM_INFINITY;
};

/// Runs `command` with /bin/sh and waits for its end. It has NAME=VALUE of `variable` in its
/// environment, nothing to read, no descriptor of ours, and what it prints goes to stderr: stdout
/// carries our results. Returns how it failed ("ended with status 3"), or nothing. Throws Error if
/// it cannot be started.
[[nodiscard]] std::string run_shell(const std::string& command, const std::string& variable,
                                    const Inherited& inherited);

}  // namespace pki::cli
