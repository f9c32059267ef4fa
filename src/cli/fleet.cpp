#include "cli/fleet.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/ascii.h"

namespace pki::cli {
namespace {

constexpr std::string_view blanks = " \t";

std::vector<std::string_view> split(std::string_view text, std::string_view separators,
                                    bool keep_empty) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find_first_of(separators, begin), text.size());
    if (keep_empty || end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// No host name has a colon, or nothing but digits and dots.
bool is_like_address(std::string_view text) {
  return text.find(':') != std::string_view::npos ||
         (!text.empty() && text.find_first_not_of("0123456789.") == std::string_view::npos);
}

// A line of a file, taken apart.
class LineParser {
 public:
  LineParser(FleetKind kind, std::vector<Error>& errors) : kind_(kind), errors_(errors) {}

  // Nothing for a line without an entry, or with errors: all of these are added.
  std::optional<FleetEntry> parse(std::string_view line) {
    const std::size_t errors_before = errors_.size();
    look_at_bytes(line);
    const std::vector<std::string_view> columns =
        split(line.substr(0, line.find('#')), blanks, false);
    if (errors_.size() > errors_before || columns.empty()) return std::nullopt;
    FleetEntry entry;
    if (kind_ == FleetKind::users) {
      parse_user(columns, entry);
    } else {
      parse_host(columns, entry);
    }
    return errors_.size() > errors_before ? std::nullopt : std::optional(std::move(entry));
  }

 private:
  void look_at_bytes(std::string_view line) {
    if (line.size() > Fleet::longest_line) {
      errors_.emplace_back(
          fmt::format("a line of {} bytes, {} at most", line.size(), Fleet::longest_line),
          "share the names out to several certificates");
    }
    const auto is_control = [](char c) {
      return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
    };
    const auto control = std::ranges::find_if(line, is_control);
    if (control != line.end()) {
      errors_.emplace_back(fmt::format("a control byte, {}", quote({&*control, 1})),
                           "write plain text: names, commas and blanks");
    }
  }

  void parse_user(const std::vector<std::string_view>& columns, FleetEntry& entry) {
    if (columns.size() > 1) {
      errors_.emplace_back(fmt::format("{} words", columns.size()), "write one role on each line");
      return;
    }
    add([&] { entry.role = RoleName::parse(columns.front()); });
  }

  void parse_host(const std::vector<std::string_view>& columns, FleetEntry& entry) {
    if (columns.size() > 2) {
      errors_.emplace_back(fmt::format("{} columns", columns.size()),
                           "write names, and then addresses, with commas and no blanks in between");
      return;
    }
    const std::vector<std::string_view> first = split(columns.front(), ",", true);
    // Of a host that has no name.
    const bool has_no_names = columns.size() == 1 && is_like_address(first.front());
    for (const std::string_view item : first) {
      if (!has_no_names && is_like_address(item)) {
        errors_.emplace_back(fmt::format("the address {} is among names", quote(item)),
                             "write names first, then a blank, then addresses");
        continue;
      }
      add([&] {
        entry.sans.push_back(has_no_names ? San(IpAddress::parse(item))
                                          : San(DnsName::parse(item)));
      });
    }
    if (columns.size() == 1) return;
    for (const std::string_view item : split(columns.back(), ",", true)) {
      add([&] { entry.sans.emplace_back(IpAddress::parse(item)); });
    }
  }

  template <class Add>
  void add(Add add_item) {
    try {
      add_item();
    } catch (const Error& error) {
      errors_.push_back(error);
    }
  }

  FleetKind kind_;
  std::vector<Error>& errors_;
};

// What two certificates of a run may not share: the name of their directory. Host names that differ
// in case alone are one; roles are two.
std::string directory_key(const FleetEntry& entry) {
  return entry.role.has_value() ? entry.role->text()
                                : ascii_lower(directory_name(entry.sans.front()));
}

}  // namespace

Fleet::Fleet(std::string name, std::string text, FleetKind kind)
    : name_(std::move(name)), text_(std::move(text)), kind_(kind) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  std::unordered_map<std::string, std::uint32_t> lines_of_names;
  std::uint32_t number = 0;
  for (std::size_t begin = text_.starts_with(byte_order_mark) ? byte_order_mark.size() : 0;
       begin < text_.size();) {
    ++number;
    const std::size_t end = std::min(text_.find('\n', begin), text_.size());
    std::size_t size = end - begin;
    if (size > 0 && text_[end - 1] == '\r') --size;
    const Line line{static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(size), number};
    begin = end + 1;

    std::vector<Error> errors;
    const std::optional<FleetEntry> entry = LineParser(kind_, errors).parse(text_of(line));
    if (entry.has_value()) {
      const auto [other, is_new] = lines_of_names.emplace(directory_key(*entry), number);
      if (!is_new) {
        errors.emplace_back(fmt::format("the first name, {}, is also that of line {}",
                                        quote(other->first), other->second),
                            "give each certificate a first name of its own");
      }
      lines_.push_back(line);
    }
    for (const Error& error : errors) errors_.push_back(located_at(number, error));
    if (errors_.size() >= most_errors) {
      errors_.emplace_back(fmt::format("{}: too many errors, of which these are the first", name_),
                           "name the right file");
      return;
    }
  }
}

FleetEntry Fleet::entry(std::size_t number) const {
  std::vector<Error> errors;
  return LineParser(kind_, errors).parse(text_of(lines_[number])).value();
}

Error Fleet::located(std::size_t number, const Error& error) const {
  return located_at(lines_[number].number, error);
}

Error Fleet::located_at(std::size_t line, const Error& error) const {
  return Error(fmt::format("{}:{}: {}", name_, line, error.what()), error.hint());
}

}  // namespace pki::cli
