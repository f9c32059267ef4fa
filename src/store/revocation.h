// The ledger and the revocation list of one root, and how the second follows the first.
//
// The ledger is the truth: it is on the disk before a list that is made of it takes its name. A run
// that was killed between the two is finished by running it again.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>

#include "pki/issuer.h"
#include "pki/revocation.h"
#include "store/ledger.h"
#include "store/writer.h"

namespace pki {

/// What belongs together. All that is referred to must outlive it, and the caller holds the lock.
struct Books {
  const Issuer& root;
  /// Whose lists may be in the file: the root, and those that it replaces.
  std::span<const Certificate> trusted;
  /// The root before it, while a rotation is under way: it has a list of its own in the same file,
  /// with the same entries, for servers look for one of each CA that they meet.
  const Issuer* predecessor;
  std::string root_path;  // for messages
  const Ledger& ledger;
  Place list;
};

/// `on_disk` is the certificate in the directory that the request names, if there is one. Throws
/// Error; then nothing was changed, or (where the disk failed) no more than the ledger.
Revoked revoke(const Books& books, const RevokeRequest& request,
               const std::optional<Certificate>& on_disk, Instant now);

/// Makes the list anew. `lifetime`: nothing for that of the list before it. Throws Error.
CrlFile write_list(const Books& books, std::optional<std::chrono::days> lifetime, Instant now);

/// The list of the first of `roots` that has one; nothing if there is no file. Throws an Error that
/// names the file if there is anything else in it than lists of these roots.
[[nodiscard]] std::optional<Crl> read_list(const Place& list, std::span<const Certificate> roots);

}  // namespace pki
