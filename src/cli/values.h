// The values of options, from text to what they mean. Each throws an Error, or a UsageError where
// the command line itself is wrong, that names the option.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "pki/ca.h"
#include "pki/reader.h"

namespace pki::cli {

[[nodiscard]] std::vector<San> parse_sans(const Arguments& arguments);
[[nodiscard]] std::vector<RoleName> parse_roles(const Arguments& arguments);
/// minica's names for algorithms, and ours for types.
[[nodiscard]] KeyType parse_algorithm(const std::string& text);
[[nodiscard]] KeyType parse_type(const std::string& text);
[[nodiscard]] Profile parse_profile(const std::string& text);
/// A whole number from `least` to `most`.
[[nodiscard]] int parse_number(std::string_view option, const std::string& text, int least,
                               int most);
/// A span of whole days: "30d" or "30". A century at most.
[[nodiscard]] std::chrono::days parse_days(std::string_view option, const std::string& text);
/// Hexadecimal in any case, with leading zeros or without, also in groups of two digits between
/// colons as `openssl x509 -text` prints it. Nothing for anything else.
[[nodiscard]] std::optional<SerialNumber> parse_serial(std::string text);
[[nodiscard]] RevocationReason parse_reason(const std::string& text);
/// USER, USER:GROUP or :GROUP, names or ids.
[[nodiscard]] Owner parse_owner(const std::string& text);

/// A server.
struct ServerAddress {
  std::string host;  // a name, or an address without brackets
  std::uint16_t port = 6432;
};
/// HOST, HOST:PORT, an IPv6 address, [IPv6] or [IPv6]:PORT.
[[nodiscard]] ServerAddress parse_server(const std::string& text);
[[nodiscard]] std::string parse_host(const std::string& text);
/// --timeout, in seconds.
[[nodiscard]] std::chrono::seconds parse_timeout(const Arguments& arguments,
                                                 std::chrono::seconds otherwise);
/// --password-file or --password-fd; nothing if neither is given. Never from argv or the
/// environment: others can read those.
[[nodiscard]] std::optional<SecretBytes> read_password(const Arguments& arguments);
/// Whoever --as names: a user's name or id, with the groups that he has.
[[nodiscard]] Reader parse_reader(const std::string& text);

/// --ca-cert, --ca-key and --out.
[[nodiscard]] CaFiles ca_files(const Arguments& arguments);

/// The name of a certificate's directory as an operand NAME gives it: without a slash at its end,
/// and with `_` for `*`.
[[nodiscard]] std::string leaf_name(std::string name);
/// The directory that an operand NAME stands for, in --out.
[[nodiscard]] std::filesystem::path leaf_path(const CaFiles& files, std::string name);

/// Absolute, without links and ".." as far as it exists; as it is where the working directory is
/// gone.
[[nodiscard]] std::filesystem::path full_path(const std::filesystem::path& path);

}  // namespace pki::cli
