// minica-index.txt: every certificate ever signed, in the format of OpenSSL's ca database.
//
// A line a certificate, six fields between tabs: V(alid) or R(evoked), when it ends, when it was
// revoked, its serial number, the file (always "unknown"), its subject. `openssl ca` and
// `openssl ocsp` read it as it is, with `unique_subject = no`: a name may be issued again.
#pragma once

#include <span>
#include <string>

#include "pki/certificate.h"
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

 private:
  const Directory& directory_;
  std::string name_;
};

}  // namespace pki
