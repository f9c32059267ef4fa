#include "store/ledger_reader.h"

#include <fmt/format.h>

#include <array>

namespace pki {
namespace {

// Reads as many digits as `number` is to have; false where there is something else.
bool take_number(std::string_view& text, std::size_t digits, unsigned& number) {
  number = 0;
  for (const char c : text.substr(0, digits)) {
    const unsigned digit = static_cast<unsigned>(c) - '0';
    if (digit > 9) return false;
    number = 10 * number + digit;
  }
  text.remove_prefix(digits);
  return true;
}

// ASN.1's UTCTime or GeneralizedTime: YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ.
std::optional<Instant> parse_time(std::string_view text) {
  constexpr std::size_t short_size = 13;
  constexpr std::size_t long_size = 15;
  const bool is_short = text.size() == short_size;
  if ((!is_short && text.size() != long_size) || text.back() != 'Z') return std::nullopt;
  unsigned year = 0;
  unsigned month = 0;
  unsigned day = 0;
  unsigned hour = 0;
  unsigned minute = 0;
  unsigned second = 0;
  if (!take_number(text, is_short ? 2 : 4, year) || !take_number(text, 2, month) ||
      !take_number(text, 2, day) || !take_number(text, 2, hour) || !take_number(text, 2, minute) ||
      !take_number(text, 2, second)) {
    return std::nullopt;
  }
  if (is_short) year += year < 50 ? 2000 : 1900;  // RFC 5280 4.1.2.5.1
  const std::chrono::year_month_day date{std::chrono::year{static_cast<int>(year)},
                                         std::chrono::month{month}, std::chrono::day{day}};
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  return std::chrono::sys_days{date} + std::chrono::hours{hour} + std::chrono::minutes{minute} +
         std::chrono::seconds{second};
}

std::string_view common_name_in(std::string_view subject) {
  constexpr std::string_view label = "/CN=";
  const std::size_t at = subject.find(label);
  if (at == std::string_view::npos) return {};
  const std::string_view name = subject.substr(at + label.size());
  return name.substr(0, name.find('/'));
}

LedgerEntry empty_entry() {
  return {.status = LedgerEntry::Status::valid,
          .not_after = {},
          .revoked_at = {},
          .reason = {},
          .serial = *SerialNumber::parse("00"),
          .subject = {},
          .common_name = {},
          .offset = 0};
}

// What is wrong with a line; nullptr where `entry` has got it all.
const char* parse(const Directory::TextLine& line, LedgerEntry& entry) {
  if (line.text.size() > Directory::longest_line) return "is too long";
  std::array<std::string_view, 6> fields;
  std::string_view rest = line.text;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::size_t tab = rest.find('\t');
    fields[i] = rest.substr(0, tab);
    const bool is_last = i + 1 == fields.size();
    if (is_last != (tab == std::string_view::npos)) {
      return line.is_ended || is_last
                 ? "does not have six fields between tabs"
                 : "was cut short when a run was killed; the next certificate mends it";
    }
    if (!is_last) rest.remove_prefix(tab + 1);
  }
  const auto& [status, expiry, revocation, serial, file, subject] = fields;
  if (status != "V" && status != "R" && status != "E") return "has an unknown status";
  const bool is_revoked = status == "R";
  entry.status = is_revoked ? LedgerEntry::Status::revoked : LedgerEntry::Status::valid;
  const std::optional<Instant> not_after = parse_time(expiry);
  if (!not_after.has_value()) return "has no date of expiry";
  entry.not_after = *not_after;
  // The date, and then the reason and what belongs to it.
  const std::size_t comma = revocation.find(',');
  entry.revoked_at = is_revoked ? parse_time(revocation.substr(0, comma)) : std::nullopt;
  if (is_revoked != entry.revoked_at.has_value()) return "has no date of revocation";
  entry.reason = {};
  if (is_revoked && comma != std::string_view::npos) {
    entry.reason = revocation.substr(comma + 1);
    entry.reason = entry.reason.substr(0, entry.reason.find(','));
  }
  const std::optional<SerialNumber> number = SerialNumber::parse(serial);
  if (!number.has_value()) return "has no serial number";
  entry.serial = *number;
  entry.subject = subject;
  entry.common_name = common_name_in(subject);
  entry.offset = line.offset;
  return nullptr;
}

}  // namespace

bool read_ledger(const Directory& directory, const std::string& name,
                 const std::function<void(const LedgerEntry&)>& visit,
                 const std::function<void(const std::string&)>& warn) {
  constexpr std::uint64_t most_warnings = 10;
  std::uint64_t unreadable = 0;
  LedgerEntry entry = empty_entry();
  const bool is_there = directory.read_lines(name, [&](const Directory::TextLine& line) {
    if (line.text.starts_with('#')) return;  // a comment, to OpenSSL too
    const char* const fault = parse(line, entry);
    if (fault == nullptr) {
      visit(entry);
    } else if (++unreadable <= most_warnings) {
      warn(fmt::format("{} is passed over in part: line {} {}", directory.path_of(name),
                       line.number, fault));
    }
  });
  if (unreadable > most_warnings) {
    warn(fmt::format("{}: {} lines in all cannot be read", directory.path_of(name), unreadable));
  }
  return is_there;
}

void read_ledger_at(std::span<const std::uint64_t> offsets, const Directory& directory,
                    const std::string& name, const std::function<void(const LedgerEntry&)>& visit) {
  if (offsets.empty()) return;
  LedgerEntry entry = empty_entry();
  directory.read_lines(name, [&](const Directory::TextLine& line) {
    while (!offsets.empty() && offsets.front() < line.offset) offsets = offsets.subspan(1);
    if (offsets.empty() || offsets.front() != line.offset) return;
    if (parse(line, entry) == nullptr) visit(entry);
  });
}

}  // namespace pki
