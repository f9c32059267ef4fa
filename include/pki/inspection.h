// What is wrong with a certificate, or will be soon, for those who are to verify it.
//
// Pure: certificates and a time in, findings out. All of them, not the first.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>

#include "pki/certificate.h"
#include "pki/report.h"

namespace pki {

struct Inspection {
  /// As a server sends it or a file holds it: the leaf, then intermediates. Not empty.
  std::span<const Certificate> chain;
  /// What is trusted. Empty: the chain's end is not judged.
  std::span<const Certificate> roots;
  /// What clients connect to: a host name, or an IP address as text. Nothing: names are not judged.
  std::optional<std::string> host;
  /// Whether it is shown by a client; otherwise by a server.
  bool for_client = false;
  Instant now;
  /// Fewer days left than these are a finding.
  std::chrono::days warn = std::chrono::days{30};
};

/// The identifiers are listed in pki(1), under "check".
[[nodiscard]] Findings inspect(const Inspection& inspection);

}  // namespace pki
