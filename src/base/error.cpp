#include "pki/error.h"

#include <fmt/format.h>

namespace pki {

namespace {

std::string escaped(char c) {
  switch (c) {
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: return fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) out += is_control(c) ? escaped(c) : std::string(1, c);
  return out;
}

std::string quote(std::string_view text) {
  // The longest DNS name is 253 characters; nothing that is worth reading back is longer.
  constexpr std::size_t longest = 256;
  std::string out = "\"";
  for (const char c : text.substr(0, longest)) {
    if (c == '"' || c == '\\') out += '\\';
    out += is_control(c) || !is_ascii(c) ? escaped(c) : std::string(1, c);
  }
  out += text.size() > longest ? "...\"" : "\"";
  return out;
}

}  // namespace pki
