// How `pki list` shows certificates: a row of a table, an object of a JSON document, or what
// Prometheus reads. Pure text.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pki/listing.h"

namespace pki::cli {

inline constexpr std::array all_list_statuses = {
    Listed::Status::valid,      Listed::Status::expiring,   Listed::Status::expired,
    Listed::Status::revoked,    Listed::Status::superseded, Listed::Status::missing,
    Listed::Status::unrecorded,
};

/// "valid", for scripts.
[[nodiscard]] std::string_view word(Listed::Status status);

/// Whole days until the certificate ends; negative after that.
[[nodiscard]] std::chrono::days days_left(const Listed& one, Instant now);

struct TableStyle {
  std::size_t name_width = 16;
  bool has_bar = false;    // of the days left
  bool is_narrow = false;  // serial numbers and names stand on lines of their own
  bool may_colour = false;
};

/// Names that a terminal would not show as they are come in quotes, with escapes.
[[nodiscard]] std::string shown_name(std::string_view name);
/// Without names.
[[nodiscard]] std::size_t table_width(const TableStyle& style);
[[nodiscard]] std::string table_head(const TableStyle& style);
[[nodiscard]] std::string table_row(const Listed& one, const TableStyle& style, Instant now);

/// Everything before and behind the objects of `certificates`, which stand between commas.
[[nodiscard]] std::string json_head(const Listing& listing);
[[nodiscard]] std::string json_object(const Listed& one, Instant now);
[[nodiscard]] std::string json_tail(const Listing& listing);

/// The text format of Prometheus, version 0.0.4. `counts` goes by status.
[[nodiscard]] std::string prometheus_text(const Listing& listing, std::span<const Listed> shown,
                                          std::span<const std::size_t> counts);

}  // namespace pki::cli
