// A server on the network: is traffic to it encrypted, and can clients verify it?
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pki/certificate.h"
#include "pki/leaf.h"
#include "pki/report.h"

namespace pki {

struct ServerCheck {
  std::string host;  ///< A name, or an address without brackets.
  std::uint16_t port = 6432;
  /// The name the certificate must have; `host` if there is none.
  std::optional<std::string> name;
  /// What the server is verified with.
  std::vector<Certificate> roots;
  std::filesystem::path roots_file;  ///< Where they are from, for messages.
  /// Shown where the server asks for a certificate, but to no server that is not verified.
  std::shared_ptr<const ClientIdentity> identity;
  /// The certificate that the server should serve, if it is known.
  std::optional<Certificate> on_disk;
  std::filesystem::path on_disk_file;
  /// TLS from the first byte, as sslnegotiation=direct does (PostgreSQL 17, PgBouncer 1.25).
  bool direct = false;
  /// Whether to find out, with a second connection, if the server takes clients without TLS.
  bool probe_plaintext = true;
  Instant now;
  std::chrono::days warn = std::chrono::days{30};
  /// For each step: name resolution, connection, handshake, each answer.
  std::chrono::milliseconds timeout = std::chrono::seconds{10};
};

/// A report for each address that the host's name resolves to. Connects to nothing else, and logs
/// in nowhere. Failures of the network are findings.
[[nodiscard]] std::vector<Report> check_server(const ServerCheck& check);
/// The same for several, at the same time: the reports of each, in their order.
[[nodiscard]] std::vector<std::vector<Report>> check_servers(std::span<const ServerCheck> checks);

/// What one address of a server shows.
struct ServedCertificate {
  std::string address;
  std::optional<Certificate> certificate;
  std::string fault = {};  ///< Why there is none.
};

/// The certificate alone, at each address of the host: nothing about it is judged. Of `check` only
/// host, port, name, direct and timeout count.
[[nodiscard]] std::vector<ServedCertificate> served_certificates(const ServerCheck& check);

}  // namespace pki
