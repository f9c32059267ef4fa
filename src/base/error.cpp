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

// U+0080 to U+009F, in UTF-8: terminals take them for control bytes, too.
bool is_c1_control(std::string_view text, std::size_t at) {
  return text[at] == '\xc2' && at + 1 < text.size() &&
         (static_cast<unsigned char>(text[at + 1]) & 0xe0U) == 0x80U;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (is_c1_control(text, at)) {
      out += escaped(text[at]);
      ++at;
      out += escaped(text[at]);
    } else {
      out += is_control(text[at]) ? escaped(text[at]) : std::string(1, text[at]);
    }
  }
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
