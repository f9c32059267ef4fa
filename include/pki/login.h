// Logging in with libpq, which is loaded when it is needed, and asking the server how it is
// reached.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "pki/report.h"

namespace pki {

/// Where a connection string leads, after libpq's own reading of it: its environment and its
/// service file count too.
struct ConnectionTarget {
  std::string host;                    ///< The name that the certificate must have.
  std::optional<std::string> address;  ///< hostaddr: connected to in place of what `host` means.
  std::uint16_t port;
  /// What the string itself says; nothing where it leaves that to its surroundings.
  std::optional<std::string> sslmode;
  std::optional<std::filesystem::path> root;         ///< sslrootcert
  std::optional<std::filesystem::path> certificate;  ///< sslcert
  std::optional<std::filesystem::path> key;          ///< sslkey
};

/// Throws Error if libpq is not installed, if the string is not one of its, names a Unix socket
/// (on which there is no TLS) or several hosts, or holds a password, which would be one on a
/// command line. Connects to nothing.
[[nodiscard]] ConnectionTarget read_conninfo(const std::string& conninfo);

/// Logs in with sslmode=verify-full and `root`, whatever the string and the environment say about
/// that, so that no password goes to a server that libpq has not verified; then reports how the
/// server at the far end is reached, by its own word: directly, or through a pooler, whose hop it
/// then describes. Throws what read_conninfo() does; all that happens on the network is a finding.
///
/// `timeout` is for each step. `address` is an address of the host, if one is known already:
/// without it libpq resolves the name, and waits for as long as the system's resolver does.
[[nodiscard]] Report check_login(const std::string& conninfo, const std::filesystem::path& root,
                                 std::chrono::milliseconds timeout,
                                 const std::optional<std::string>& address = std::nullopt);

}  // namespace pki
