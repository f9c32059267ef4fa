// Certificates that are to be believed no more: in the ledger, and in the revocation list beside
// the root, minica-crl.pem. See Ca::revoke and pki/crl.h.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "pki/certificate.h"
#include "pki/crl.h"

namespace pki {

struct RevokeRequest {
  /// The name of a leaf's directory, whose certificate is meant; or the serial number of a
  /// certificate in the ledger.
  std::variant<std::string, SerialNumber> certificate;
  /// Nothing: without a reason; and where it is revoked already, whatever the reason was.
  std::optional<RevocationReason> reason = {};
  /// Also every other one of the same subject that has not expired. A name then needs no directory:
  /// it is the subject's common name.
  bool all = false;
};

/// The list on the disk.
struct CrlFile {
  std::filesystem::path path;
  Crl crl;
};

struct Revoked {
  enum class Status {
    revoked,
    unchanged,  ///< It was revoked before, and is on the list; no byte has changed.
  };

  Status status;
  std::string subject;
  /// Those that this call revoked; if there was none, the one that was revoked before.
  std::vector<RevokedCertificate> certificates;
  /// Others of the same subject that are neither revoked nor expired.
  std::vector<SerialNumber> still_valid;
  CrlFile list;
  /// A line each, for a person: what works but should be known.
  std::vector<std::string> warnings;
};

/// "minica-crl.pem", beside the root's certificate.
[[nodiscard]] std::filesystem::path crl_path(const std::filesystem::path& root_certificate);
/// The revocation list of a root; nothing if there is none. Takes no lock. Throws an Error that
/// names the file if it is not this root's, or holds anything else.
[[nodiscard]] std::optional<CrlFile> find_crl(const std::filesystem::path& root_certificate);
/// Whether less than half of its time remains. Past that time servers and clients that read it
/// refuse every certificate of the root.
[[nodiscard]] bool is_due(const Crl& crl, Instant now);

}  // namespace pki
