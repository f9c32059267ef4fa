// Which certificates still hang on an old root.
#pragma once

#include <span>
#include <vector>

#include "pki/rotation.h"
#include "store/directory.h"
#include "store/ledger.h"

namespace pki {

/// The first of `roots` is the one that signs now. A certificate that only the ledger knows counts
/// if its line came before that root's, and there is no later one of its subject. Throws an Error
/// for what cannot be read, and may be one.
[[nodiscard]] std::vector<Straggler> find_stragglers(const Directory& leaves,
                                                     std::span<const Certificate> roots,
                                                     const Ledger& ledger, Instant now);

}  // namespace pki
