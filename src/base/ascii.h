// Letters without regard to case and to the locale, as DNS names and options are compared.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace pki {

constexpr char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

inline std::string ascii_lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) { return ascii_lower(c); });
  return text;
}

inline bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto fold = [](char c) { return ascii_lower(c); };
  return std::ranges::equal(a, b, {}, fold, fold);
}

}  // namespace pki
