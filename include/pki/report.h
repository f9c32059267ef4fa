// What a check has to say: findings, and what they rest on.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "pki/error.h"

namespace pki {

struct Finding {
  enum class Level {
    problem,  ///< Something is wrong, or will be soon.
    unknown,  ///< It could not be told whether something is.
    note,     ///< Worth knowing, and no more.
  };

  Level level;
  std::string id;      ///< "expired", "name-mismatch": for scripts; it keeps its meaning.
  std::string what;    ///< One line, as an Error's.
  std::string remedy;  ///< What to do; empty where there is nothing to be done.
};

using Findings = std::vector<Finding>;

/// What was seen, a row of a table: {"protocol", "TLSv1.3"}.
struct Fact {
  std::string name;
  std::string value;
};

/// Whether a kind of client takes a server's certificate for the name that it connects to.
struct Verdict {
  std::string client;  ///< "libpq 15 and later"
  bool accepts;
  std::string reason;  ///< Why not; empty if it does.
};

/// What was found at one place: a server's address, a login, a file or a directory.
struct Report {
  std::string target;
  std::vector<Fact> facts;
  /// libpq's newest first. Empty where no server's certificate was seen.
  std::vector<Verdict> verdicts;
  Findings findings;
  /// A command line that does the same with other means; empty if there is none.
  std::string command;
};

/// Of a target that could not be looked at.
[[nodiscard]] inline Report report_unknown(std::string target, std::string id, const Error& error) {
  Report report;
  report.target = std::move(target);
  report.findings.push_back({Finding::Level::unknown, std::move(id), error.what(), error.hint()});
  return report;
}

}  // namespace pki
