// The files of --hosts and --users: a certificate a line.
//
//   # the poolers
//   bouncerhost,pgbouncer.internal  10.0.0.5,fd00::5
//
// A line of --hosts has names, addresses, or names and then addresses: what --domains and
// --ip-addresses take, between blanks. A line of --users has a role. The rest of a line from a '#'
// on is a comment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pki/error.h"
#include "pki/names.h"

namespace pki::cli {

enum class FleetKind { hosts, users };

/// What one line asks for: names, or a role.
struct FleetEntry {
  std::vector<San> sans;
  std::optional<RoleName> role;
};

/// Keeps the text alone, and parses a line each time it is asked for: a hundred thousand entries
/// would take many times as much memory.
class Fleet {
 public:
  static constexpr std::size_t largest_file = std::size_t{64} << 20U;
  static constexpr std::size_t longest_line = 65536;
  /// After so many a file is taken for a wrong one.
  static constexpr std::size_t most_errors = 10'000;

  /// `name` is the file's, for messages. All of it is checked.
  Fleet(std::string name, std::string text, FleetKind kind);

  /// What is wrong, in the order of the lines: "hosts.txt:3: ...". Every error there is,
  /// up to `most_errors`.
  [[nodiscard]] const std::vector<Error>& errors() const noexcept { return errors_; }
  /// Without comments and blank lines.
  [[nodiscard]] std::size_t size() const noexcept { return lines_.size(); }
  /// Of a number below size(), in a fleet without errors.
  [[nodiscard]] FleetEntry entry(std::size_t number) const;
  /// `error` with the place of that entry.
  [[nodiscard]] Error located(std::size_t number, const Error& error) const;

 private:
  struct Line {
    std::uint32_t begin;
    std::uint32_t size;
    std::uint32_t number;  // in the file, from 1 on
  };

  [[nodiscard]] std::string_view text_of(const Line& line) const noexcept {
    return std::string_view(text_).substr(line.begin, line.size);
  }
  [[nodiscard]] Error located_at(std::size_t line, const Error& error) const;

  std::string name_;
  std::string text_;
  FleetKind kind_;
  std::vector<Line> lines_;
  std::vector<Error> errors_;
};

}  // namespace pki::cli
