// Renewing leaves: what Ca::renew does, whoever signs.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pki/ca.h"
#include "pki/crl.h"
#include "pki/issuer.h"
#include "store/directory.h"
#include "store/ledger.h"

namespace pki {

/// What renewals need of an authority. Its lock is held.
struct RenewalAuthority {
  const Directory& leaves;
  const Ledger& ledger;
  const Issuer& issuer;
  std::string issuer_path;  // of its certificate, for messages
  /// What has signed the leaves. One that has another root than the issuer's is due in any case.
  std::span<const Certificate> roots;
  /// What stands behind a new certificate in its file.
  std::span<const Certificate> chain;
  /// The issuer's, if there is a list.
  std::optional<Crl> revocations;
  /// Those of the root's files, which are locked, and held open: a leaf's files that lie in one are
  /// replaced one by one.
  std::vector<std::pair<dev_t, ino_t>> root_directories;
};

/// See Ca::renew.
[[nodiscard]] std::vector<Renewed> renew(const RenewalAuthority& authority,
                                         const RenewalRequest& request, Instant now);

/// See Ca::loaded.
void remove_marks(const Directory& leaves, std::span<const Renewed> renewed);

}  // namespace pki
