#include "cli/list_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/values.h"
#include "pki/error.h"

namespace pki::cli {
namespace {

std::string_view phrase(Listed::Status status) {
  switch (status) {
    case Listed::Status::missing: return "missing from disk";
    case Listed::Status::unrecorded: return "not in the ledger";
    default: return word(status);
  }
}

std::string_view colour(Listed::Status status) {
  switch (status) {
    case Listed::Status::valid: return "\x1b[32m";
    case Listed::Status::expired:
    case Listed::Status::revoked: return "\x1b[31m";
    case Listed::Status::expiring:
    case Listed::Status::missing: return "\x1b[33m";
    case Listed::Status::superseded:
    case Listed::Status::unrecorded: break;
  }
  return {};
}

// Off the disk it is not known; on it, it may be for neither servers nor clients.
std::string_view kind_of(const Listed& one) {
  if (one.profile.has_value()) return one.profile->name;
  return one.file.empty() ? "" : "other";
}

// The text, blanks up to the width, and two more.
void add_column(std::string& row, std::string_view text, std::size_t width) {
  row += text;
  row.append(std::max(width, text.size()) - text.size() + 2, ' ');
}

void trim(std::string& row) { row.erase(row.find_last_not_of(' ') + 1); }

// What follows stands on a line of its own where the table would be too wide.
void add_break(std::string& row, const TableStyle& style) {
  if (style.is_narrow) {
    trim(row);
    row += "\n    ";
  } else {
    row += "  ";
  }
}

constexpr std::size_t kind_width = 6;
constexpr std::size_t status_width = 17;
constexpr std::size_t date_width = 10;
constexpr std::size_t days_width = 6;
constexpr std::size_t bar_cells = 8;
constexpr std::size_t bar_width = bar_cells + 2;
constexpr std::size_t serial_width = 32;

// How much of its lifetime a certificate has left.
std::string bar(const Listed& one, Instant now) {
  const double lifetime = static_cast<double>((one.not_after - *one.not_before).count());
  const double left = static_cast<double>((one.not_after - now).count());
  const double share = lifetime > 0 ? std::clamp(left / lifetime, 0.0, 1.0) : 0.0;
  // A cell as long as there is anything left.
  const auto full =
      static_cast<std::size_t>(std::min(share * bar_cells + 0.999, double{bar_cells}));
  return fmt::format("[{:<{}}]", std::string(full, '='), bar_cells);
}

std::string shown_sans(const std::vector<std::string>& sans) {
  constexpr std::size_t most = 8;
  std::string out;
  for (std::size_t i = 0; i < std::min(most, sans.size()); ++i) {
    out += fmt::format("{}{}", i == 0 ? "" : ", ", shown_name(sans[i]));
  }
  if (sans.size() > most) out += fmt::format(" and {} more", sans.size() - most);
  return out;
}

std::string dump(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// A JSON string; of the usual kind without the library's help.
std::string json_string(std::string_view text) {
  const bool is_plain = std::ranges::all_of(
      text, [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
  if (!is_plain) return dump(std::string(text));
  std::string out = "\"";
  out += text;
  out += '"';
  return out;
}

// Label values are UTF-8. What is not, or would not print, comes as on a terminal: replacement
// characters could make two names the same, and with that the whole text invalid.
std::string label_value(std::string_view text) {
  const bool is_utf8 = dump(std::string(text)).find("\xef\xbf\xbd") == std::string::npos;
  const std::string plain = is_utf8 && printable(text) == text ? std::string(text) : quote(text);
  std::string out;
  for (const char c : plain) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string_view word(Listed::Status status) {
  switch (status) {
    case Listed::Status::valid: return "valid";
    case Listed::Status::expiring: return "expiring";
    case Listed::Status::expired: return "expired";
    case Listed::Status::revoked: return "revoked";
    case Listed::Status::superseded: return "superseded";
    case Listed::Status::missing: return "missing";
    case Listed::Status::unrecorded: return "unrecorded";
  }
  return "";
}

std::chrono::days days_left(const Listed& one, Instant now) {
  return std::chrono::floor<std::chrono::days>(one.not_after - now);
}

std::string shown_name(std::string_view name) {
  const bool is_plain = std::ranges::all_of(name, [](char c) { return c >= ' ' && c <= '~'; });
  return is_plain ? std::string(name) : quote(name);
}

std::size_t table_width(const TableStyle& style) {
  return style.name_width + 2 + kind_width + 2 + status_width + 2 + date_width + 2 + days_width +
         (style.has_bar ? 2 + bar_width : 0) + 2 + serial_width + 2;
}

std::string table_head(const TableStyle& style) {
  std::string head;
  add_column(head, "NAME", style.name_width);
  add_column(head, "KIND", kind_width);
  add_column(head, "STATUS", status_width);
  add_column(head, "EXPIRES", date_width);
  head += "  DAYS";
  if (style.has_bar) head.append(2 + bar_width, ' ');
  add_break(head, style);
  add_column(head, "SERIAL", serial_width);
  return head + "NAMES\n";
}

std::string table_row(const Listed& one, const TableStyle& style, Instant now) {
  const std::string_view begin = style.may_colour ? colour(one.status) : "";
  const std::string_view end = begin.empty() ? "" : "\x1b[0m";
  const std::string_view kind = kind_of(one);
  const std::string days = std::to_string(days_left(one, now).count());
  std::string row;
  row.reserve(160);
  add_column(row, shown_name(one.name), style.name_width);
  add_column(row, kind.empty() ? "-" : kind, kind_width);
  row += begin;
  add_column(row, phrase(one.status), status_width);
  row += end;
  add_column(row, std::string_view(text(one.not_after)).substr(0, date_width), date_width);
  row.append(days_width - std::min(days_width, days.size()), ' ');
  row += days;
  if (style.has_bar && one.not_before.has_value()) {
    row.append("  ").append(begin).append(bar(one, now)).append(end);
  } else if (style.has_bar) {  // the ledger does not tell when it began
    row.append(2 + bar_width, ' ');
  }
  add_break(row, style);
  add_column(row, one.serial.text(), serial_width);
  row += shown_sans(one.sans);
  trim(row);
  row += '\n';
  return row;
}

std::string json_head(const Listing& listing) {
  const std::string ledger =
      listing.ledger().has_value() ? full_path(*listing.ledger()).string() : "";
  return fmt::format("{{\n  \"ledger\": {},\n  \"complete\": {},\n  \"certificates\": [",
                     dump(ledger), listing.is_complete());
}

// Put together here: a document of nlohmann's for each would take most of the time.
std::string json_object(const Listed& one, Instant now) {
  std::string sans;
  for (const std::string& san : one.sans) sans += (sans.empty() ? "" : ",") + json_string(san);
  std::string out = "\n    {\"name\":";
  out += json_string(one.name);
  out += ",\"kind\":" + json_string(kind_of(one));
  out += ",\"status\":" + json_string(word(one.status));
  out += ",\"names\":[" + sans + "]";
  out += ",\"serial\":" + json_string(one.serial.text());
  out += ",\"not_before\":" + json_string(one.not_before.has_value() ? text(*one.not_before) : "");
  out += ",\"not_after\":" + json_string(text(one.not_after));
  out += ",\"days_left\":" + std::to_string(days_left(one, now).count());
  out += ",\"certificate\":" + json_string(one.file.empty() ? "" : full_path(one.file).string());
  out += std::string(",\"in_ledger\":") + (one.is_recorded ? "true" : "false");
  out += ",\"revoked_at\":" + json_string(one.revoked_at.has_value() ? text(*one.revoked_at) : "");
  out += ",\"revocation_reason\":" + json_string(one.revocation_reason) + "}";
  return out;
}

std::string json_tail(const Listing& listing) {
  return fmt::format("\n  ],\n  \"warnings\": {}\n}}\n", dump(listing.warnings()));
}

std::string prometheus_text(const Listing& listing, std::span<const Listed> shown,
                            std::span<const std::size_t> counts) {
  std::string expiry =
      "# HELP pki_certificate_expiry_timestamp_seconds When the certificate on the disk ends, in "
      "seconds since 1970.\n"
      "# TYPE pki_certificate_expiry_timestamp_seconds gauge\n";
  std::string status =
      "# HELP pki_certificate_status 1 for the status that the certificate on the disk has.\n"
      "# TYPE pki_certificate_status gauge\n";
  std::set<std::string> seen;  // a copy in the same file would make the text invalid
  for (const Listed& one : shown) {
    const std::string labels = fmt::format("name=\"{}\",kind=\"{}\",serial=\"{}\"",
                                           label_value(one.name), kind_of(one), one.serial.text());
    if (one.file.empty() || !seen.insert(labels).second) continue;
    expiry += fmt::format("pki_certificate_expiry_timestamp_seconds{{{}}} {}\n", labels,
                          one.not_after.time_since_epoch().count());
    status +=
        fmt::format("pki_certificate_status{{{},status=\"{}\"}} 1\n", labels, word(one.status));
  }
  std::string text = expiry + status +
                     "# HELP pki_certificates How many certificates have each status.\n"
                     "# TYPE pki_certificates gauge\n";
  for (std::size_t i = 0; i < all_list_statuses.size(); ++i) {
    if (all_list_statuses[i] == Listed::Status::superseded) continue;  // not looked for
    text += fmt::format("pki_certificates{{status=\"{}\"}} {}\n", word(all_list_statuses[i]),
                        counts[i]);
  }
  if (listing.crl_end().has_value()) {
    text += fmt::format(
        "# HELP pki_crl_next_update_timestamp_seconds When the revocation list ends, in seconds "
        "since 1970.\n"
        "# TYPE pki_crl_next_update_timestamp_seconds gauge\n"
        "pki_crl_next_update_timestamp_seconds {}\n",
        listing.crl_end()->time_since_epoch().count());
  }
  return text + fmt::format(
                    "# HELP pki_list_warnings How many warnings pki list had: what it could not "
                    "read, above all.\n"
                    "# TYPE pki_list_warnings gauge\n"
                    "pki_list_warnings {}\n",
                    listing.warnings().size());
}

}  // namespace pki::cli
