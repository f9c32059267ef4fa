// What a server says before it is known who it is: its answer to an SSLRequest, and the messages
// that may stand in its place or follow it.
//
// Every byte is hostile. What comes out of here is a line of printable ASCII, and is still nobody's
// word: a server that was not verified said it.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pki {

/// The answer to an SSLRequest is one byte.
enum class Greeting {
  tls,     ///< 'S': TLS is next, if nothing follows; see foreign_protocol().
  no_tls,  ///< 'N'
  error,   ///< 'E': the first byte of an ErrorResponse.
  other,   ///< No server of PostgreSQL's protocol says so.
};

[[nodiscard]] Greeting read_greeting(char first_byte);

/// The protocol of a server that sent `bytes`, its first one included, where that is not
/// PostgreSQL's: "SSH", "HTTP". Empty if they do not tell.
[[nodiscard]] std::string_view foreign_protocol(std::span<const char> bytes);

/// A message of a server that nobody has logged in to yet.
struct ServerMessage {
  char type;             ///< 'E' error, 'N' notice, 'R' authentication, 'v' protocol version.
  std::string severity;  ///< "FATAL"; empty but in errors and notices, as is ...
  std::string code;      ///< ... the SQLSTATE. Of 'R': "ok", "password", "md5", "sasl", ...
  std::string message;   ///< Of 'R': the mechanisms of SASL, between spaces.

  friend bool operator==(const ServerMessage&, const ServerMessage&) = default;
};

/// How much to read before a message is parsed.
inline constexpr std::size_t message_header_size = 5;

/// The size of a message, header included, by its header. Nothing if no such message begins so: it
/// is longer than any that is sent so early (30,000 bytes, as in libpq), or shorter than its
/// header.
[[nodiscard]] std::optional<std::size_t> message_size(std::span<const char> header);

/// The message that `bytes` begin with. Nothing if it is not whole or is none. An error from before
/// protocol 3.0, which is text without a length, ends where it ends or `bytes` do: a postmaster
/// that cannot fork still sends one.
[[nodiscard]] std::optional<ServerMessage> parse_message(std::span<const char> bytes);

/// Text that somebody else wrote as one line: spaces for line breaks, '?' for what is no printable
/// ASCII, and cut short where it is longer than a sentence or two.
[[nodiscard]] std::string one_line(std::string_view text);

}  // namespace pki
