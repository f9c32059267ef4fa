// What a subcommand is: a row in the table of cli.cpp, with its options and its function.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/cli.h"
#include "cli/output.h"
#include "pki/error.h"

namespace cxxopts {
class ParseResult;
}

namespace pki::cli {

/// The command line cannot be understood: exit status 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

struct Option {
  std::string_view name;      // without dashes
  std::string_view argument;  // how help names its value; empty for a switch
  std::string_view help;
};

/// Nothing was asked for: usage on stderr and exit status 1, as minica does.
struct NothingAsked {};

/// The options that were given. Every option may be repeated.
class Arguments {
 public:
  Arguments(const cxxopts::ParseResult& parsed, std::vector<std::string> operands)
      : parsed_(parsed), operands_(std::move(operands)) {}

  [[nodiscard]] bool has(std::string_view name) const;
  /// Of a switch: the last one counts (--quiet=false).
  [[nodiscard]] bool is_on(std::string_view name) const;
  /// Every value, in order.
  [[nodiscard]] std::vector<std::string> all(std::string_view name) const;
  /// As `all`, each value split at its commas. An empty element stays one, which the parser of
  /// names refuses; but an only value that is empty is none, as in minica.
  [[nodiscard]] std::vector<std::string> list(std::string_view name) const;
  /// The last value; `otherwise` if there is none. Throws UsageError for an empty one.
  [[nodiscard]] std::string last(std::string_view name, std::string_view otherwise = {}) const;
  /// What is no option.
  [[nodiscard]] const std::vector<std::string>& operands() const noexcept { return operands_; }
  /// Throws UsageError if there is any.
  void refuse_operands() const;

 private:
  const cxxopts::ParseResult& parsed_;
  std::vector<std::string> operands_;
};

struct Command {
  std::string_view name;
  std::string_view summary;
  std::string_view description;
  std::string_view examples;
  /// How help names the arguments that are no options; each must be given; the last one may be
  /// repeated if it ends in "...", and left out if it is "[NAME...]". Empty if there are none.
  std::span<const std::string_view> operands;
  std::span<const Option> options;
  Exit (*run)(const Arguments& arguments, Output& output);
};

extern const Command issue_command;
extern const Command check_command;
extern const Command config_command;
extern const Command list_command;
extern const Command export_command;
extern const Command renew_command;
extern const Command revoke_command;
extern const Command rotate_command;
extern const Command crl_command;

}  // namespace pki::cli
