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
  std::string sslmode;                               ///< "prefer", where nobody says anything.
  std::optional<std::filesystem::path> root;         ///< sslrootcert
  std::optional<std::filesystem::path> certificate;  ///< sslcert
  std::optional<std::filesystem::path> key;          ///< sslkey
};

/// Throws Error if libpq is not installed, if the string is not one of its, names a Unix socket
/// (on which there is no TLS) or several hosts, holds a password, which would be one on a command
/// line, or names something that is no plain file. Connects to nothing.
[[nodiscard]] ConnectionTarget read_conninfo(const std::string& conninfo);

struct LoginCheck {
  std::string conninfo;
  std::filesystem::path root;  ///< What the server is verified with.
  /// For each step.
  std::chrono::milliseconds timeout = std::chrono::seconds{10};
  /// An address of the host, if one is known already: without it libpq resolves the name, and waits
  /// for as long as the system's resolver does.
  std::optional<std::string> address;
  /// In place of what the string says, both or neither.
  std::optional<std::filesystem::path> certificate;
  std::optional<std::filesystem::path> key;
};

/// Logs in with sslmode=verify-full and `root`, whatever the string and the environment say about
/// that, so that no password goes to a server that libpq has not verified; then reports how the
/// server at the far end is reached, by its own word: directly, or through a pooler, whose hop it
/// then describes. Throws what read_conninfo() does; all that happens on the network is a finding.
[[nodiscard]] Report check_login(const LoginCheck& check);

}  // namespace pki
