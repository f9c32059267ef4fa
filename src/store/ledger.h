// minica-index.txt: every certificate ever signed, in the format of OpenSSL's ca database.
//
// A line a certificate, six fields between tabs: V(alid) or R(evoked), when it ends, when it was
// revoked, its serial number, the file (always "unknown"), its subject. `openssl ca` and
// `openssl ocsp` read it as it is, with `unique_subject = no`: a name may be issued again.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "pki/certificate.h"
#include "pki/crl.h"
#include "store/directory.h"

namespace pki {

class Ledger {
 public:
  /// The Directory must outlive it. The file is made when there is something to record.
  Ledger(const Directory& directory, std::string name)
      : directory_(directory), name_(std::move(name)) {}

  /// On return the lines are on the disk: only then may the certificates be published. Costs the
  /// same whatever the file's size. Throws Error.
  void record(std::span<const Certificate> certificates) const;
  /// The same for a certificate that is revoked, and whose line was never written.
  void record_revoked(const Certificate& certificate, const RevokedCertificate& revoked) const;

  /// Cuts off a last line that a crash has torn, and gives a whole one its newline.
  void mend() const;
  /// Writes into the lines at these offsets, in ascending order, that their certificates are
  /// revoked. The file is replaced as a whole: a reader sees all of it or none, and on return it is
  /// on the disk. Flat memory. The lines come from read_ledger() under the same lock, and the file
  /// has been mended. Throws Error.
  void revoke(std::span<const std::uint64_t> offsets, Instant time, RevocationReason reason) const;

  [[nodiscard]] const Directory& directory() const noexcept { return directory_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] std::string path() const { return directory_.path_of(name_); }

 private:
  const Directory& directory_;
  std::string name_;
};

}  // namespace pki
