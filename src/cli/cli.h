// The command line: argv in, exit status out.
//
// run() is a function of its arguments, so that tests call it in-process; main() adds what belongs
// to a process.
#pragma once

#include <iosfwd>
#include <span>
#include <string>

#include "cli/shell.h"
#include "pki/certificate.h"

namespace pki::cli {

/// The exit statuses. A script may rely on them.
enum class Exit {
  done = 0,     // or nothing to do
  failed = 1,   // nothing was changed, or as little as the message says
  usage = 2,    // the command line is wrong
  finding = 3,  // something expires, or a check failed
};

/// What a command may use of the world outside the file system.
struct Environment {
  std::ostream& out;  // results only
  std::ostream& err;  // everything else
  bool out_is_terminal;
  Instant now;
  bool may_colour = false;  // a terminal, and no NO_COLOR
  unsigned columns = 0;     // of the terminal; 0 if that is not known
  Inherited inherited = {};
  bool err_is_terminal = false;
};

/// `arguments` without the program's name.
Exit run(std::span<const std::string> arguments, const Environment& environment);

}  // namespace pki::cli
