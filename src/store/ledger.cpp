#include "store/ledger.h"

#include <fmt/format.h>

#include <algorithm>

namespace pki {
namespace {

// A line has six fields between tabs. A torn one is the beginning of one: its status, and then
// fewer.
Directory::Line judge(std::string_view line) {
  constexpr int separators = 5;
  constexpr std::string_view statuses = "VRE";
  if (line.empty() || statuses.find(line.front()) == std::string_view::npos)
    return Directory::Line::foreign;
  if (line.size() > 1 && line[1] != '\t') return Directory::Line::foreign;
  const auto tabs = std::ranges::count(line, '\t');
  return tabs < separators    ? Directory::Line::torn
         : tabs == separators ? Directory::Line::whole
                              : Directory::Line::foreign;
}

// ASN.1's own: UTCTime through 2049, GeneralizedTime from 2050, as in the certificate.
std::string asn1_time(Instant instant) {
  const auto day = std::chrono::floor<std::chrono::days>(instant);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{instant - day};
  const int year = static_cast<int>(date.year());
  const std::string year_digits =
      year < 2050 ? fmt::format("{:02}", year % 100) : fmt::format("{:04}", year);
  return fmt::format("{}{:02}{:02}{:02}{:02}{:02}Z", year_digits,
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count());
}

std::string line_for(const Certificate& certificate) {
  return fmt::format("V\t{}\t\t{}\tunknown\t{}\n", asn1_time(certificate.validity().not_after),
                     certificate.serial().text(), certificate.subject());
}

}  // namespace

void Ledger::record(std::span<const Certificate> certificates) const {
  std::string lines;
  for (const Certificate& certificate : certificates) lines += line_for(certificate);
  directory_.append_lines(name_, lines, judge);
}

}  // namespace pki
