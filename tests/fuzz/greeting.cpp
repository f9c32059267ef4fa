// A libFuzzer target: whatever a server sends before TLS, nothing of it is read that is not there,
// and what comes out is fit to be shown. tests/fuzz/fuzz.sh builds and runs it.
#include "postgres/greeting.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace {

// Unlike assert(), in every kind of build.
void demand(bool condition) {
  if (!condition) std::abort();
}

bool is_shown(const std::string& text) {
  constexpr std::size_t longest = 503;
  return text.size() <= longest &&
         std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

// A copy of just this size, so that the sanitizer sees a read behind its end.
std::optional<pki::ServerMessage> parse_copy(std::span<const char> bytes) {
  const std::vector<char> copy(bytes.begin(), bytes.end());
  return pki::parse_message(copy);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<char> bytes(data, data + size);
  if (!bytes.empty()) (void)pki::read_greeting(bytes.front());
  (void)pki::foreign_protocol(bytes);
  demand(is_shown(pki::one_line({bytes.data(), bytes.size()})));

  const auto message = pki::parse_message(bytes);
  if (message.has_value()) {
    demand(is_shown(message->severity) && is_shown(message->code) && is_shown(message->message));
  }
  const auto length = pki::message_size(bytes);
  if (!length.has_value()) return 0;
  demand(*length >= pki::message_header_size);
  if (*length > bytes.size()) {
    demand(!message.has_value());
    return 0;
  }
  // What follows a message does not change it, and without its last byte it is none.
  const std::span<const char> whole = std::span(bytes).first(*length);
  demand(parse_copy(whole) == message);
  if (*length > pki::message_header_size) demand(!parse_copy(whole.first(*length - 1)).has_value());
  return 0;
}
