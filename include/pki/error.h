// How the library reports failure: one exception, thrown by every layer, printed by none of them.
//
// An Error carries one line for a person: what went wrong, naming the file, option or value, and a
// hint that says what to do. Both are lower case without a full stop, and hold no control bytes
// (values in them have gone through quote()).
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace pki {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what, std::string hint = {})
      : std::runtime_error(what), hint_(std::move(hint)) {}

  /// What to do about it; empty when `what()` says it already.
  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }

 private:
  std::string hint_;
};

/// `text` with its control bytes escaped (`\n`, `\x1b`): what a path in a message may hold cannot
/// steer a terminal or break a line.
[[nodiscard]] std::string printable(std::string_view text);

/// `text` in double quotes, safe for a terminal and a log: everything but printable ASCII is
/// escaped, quotes and backslashes too, and what is longer than a name may be is cut short.
[[nodiscard]] std::string quote(std::string_view text);

}  // namespace pki
