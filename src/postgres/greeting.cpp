#include "postgres/greeting.h"

#include <algorithm>
#include <cstdint>

namespace pki {
namespace {

constexpr std::size_t longest_message = 30'000;
constexpr std::size_t length_size = 4;

// Big-endian; `bytes` holds four or more.
std::uint32_t read_number(std::string_view bytes) {
  std::uint32_t number = 0;
  for (const char c : bytes.substr(0, length_size)) {
    number = number << 8U | static_cast<unsigned char>(c);
  }
  return number;
}

// The text before the next zero byte, which is skipped too. Nothing if there is none.
std::optional<std::string_view> take_string(std::string_view& rest) {
  const std::size_t end = rest.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view text = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return text;
}

// A byte that says which field it is, then a string; a zero byte ends them.
std::optional<ServerMessage> parse_fields(char type, std::string_view rest) {
  ServerMessage message{type, {}, {}, {}};
  while (!rest.empty() && rest.front() != '\0') {
    const char field = rest.front();
    rest.remove_prefix(1);
    const auto text = take_string(rest);
    if (!text.has_value()) return std::nullopt;
    // 'V' is 'S' in English, whatever the server's language; PostgreSQL sends it after 'S'.
    if (field == 'S' || field == 'V') message.severity = one_line(*text);
    if (field == 'C') message.code = one_line(*text);
    if (field == 'M') message.message = one_line(*text);
  }
  if (rest.empty()) return std::nullopt;
  return message;
}

std::string authentication_method(std::uint32_t number) {
  switch (number) {
    case 0: return "ok";
    case 3: return "password";
    case 5: return "md5";
    case 7: return "gss";
    case 9: return "sspi";
    case 10: return "sasl";
    default: return std::to_string(number);
  }
}

std::optional<ServerMessage> parse_authentication(std::string_view rest) {
  if (rest.size() < length_size) return std::nullopt;
  ServerMessage message{'R', {}, authentication_method(read_number(rest)), {}};
  if (message.code != "sasl") return message;
  rest.remove_prefix(length_size);
  std::string mechanisms;
  while (!rest.empty() && rest.front() != '\0') {
    const auto mechanism = take_string(rest);
    if (!mechanism.has_value()) return std::nullopt;
    mechanisms += mechanisms.empty() ? "" : " ";
    mechanisms += *mechanism;
  }
  if (rest.empty()) return std::nullopt;
  message.message = one_line(mechanisms);
  return message;
}

// "Ecould not fork new process for connection: ...\n\0"
ServerMessage parse_old_error(std::string_view text) {
  return {'E', {}, {}, one_line(text.substr(1, text.find('\0', 1) - 1))};
}

bool has_no_length(std::span<const char> bytes) {
  return !bytes.empty() && bytes.front() == 'E' && bytes.size() >= message_header_size &&
         !message_size(bytes).has_value();
}

}  // namespace

Greeting read_greeting(char first_byte) {
  switch (first_byte) {
    case 'S': return Greeting::tls;
    case 'N': return Greeting::no_tls;
    case 'E': return Greeting::error;
    default: return Greeting::other;
  }
}

std::string_view foreign_protocol(std::span<const char> bytes) {
  const std::string_view text(bytes.data(), bytes.size());
  if (text.starts_with("SSH-")) return "SSH";
  if (text.starts_with("HTTP/")) return "HTTP";
  if (text.starts_with("220")) return "SMTP or FTP";
  if (text.starts_with("* OK")) return "IMAP";
  if (text.starts_with("-ERR")) return "Redis";
  // A record of type alert: it takes an SSLRequest for a broken ClientHello.
  if (text.starts_with("\x15\x03")) return "TLS from the first byte";
  // The first packet: its length in three bytes, its number 0, version 10 of the protocol.
  constexpr std::string_view handshake("\0\0\x0a", 3);
  const bool is_other = !text.empty() && read_greeting(text.front()) == Greeting::other;
  if (is_other && text.size() > 4 && text.substr(2, handshake.size()) == handshake) return "MySQL";
  return {};
}

std::optional<std::size_t> message_size(std::span<const char> header) {
  if (header.size() < message_header_size) return std::nullopt;
  const std::size_t length = read_number({header.data() + 1, length_size});
  if (length < length_size || length > longest_message) return std::nullopt;
  return length + 1;
}

std::optional<ServerMessage> parse_message(std::span<const char> bytes) {
  const std::string_view text(bytes.data(), bytes.size());
  if (has_no_length(bytes)) return parse_old_error(text);
  const auto size = message_size(bytes);
  if (!size.has_value() || text.size() < *size) return std::nullopt;
  const std::string_view body = text.substr(message_header_size, *size - message_header_size);
  switch (text.front()) {
    case 'E':
    case 'N': return parse_fields(text.front(), body);
    case 'R': return parse_authentication(body);
    case 'v': return ServerMessage{'v', {}, {}, {}};
    default: return std::nullopt;
  }
}

std::string one_line(std::string_view text) {
  constexpr std::size_t longest = 500;
  constexpr std::string_view blank = " \t\r\n";
  text = text.substr(std::min(text.find_first_not_of(blank), text.size()));
  text = text.substr(0, text.find_last_not_of(blank) + 1);
  std::string out;
  for (const char c : text.substr(0, longest)) {
    const bool is_shown = c >= ' ' && c <= '~';
    out += is_shown ? c : blank.find(c) != std::string_view::npos ? ' ' : '?';
  }
  return text.size() > longest ? out + "..." : out;
}

}  // namespace pki
