// The files of a rotation, and which certificates still hang on an old root: what
// Ca::begin_rotation and Ca::finish_rotation do under their lock.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pki/issuer.h"
#include "pki/rotation.h"
#include "store/directory.h"
#include "store/ledger.h"
#include "store/pair.h"
#include "store/writer.h"

namespace pki {

/// Where a root lies. What is referred to must outlive it.
struct RootFiles {
  const Pair& pair;
  Place cross;  // the cross-certificate's place
};

/// Where an old root's certificate and key stay: "minica-44e151.pem", after the beginning of its
/// serial number, as in the names of our roots.
[[nodiscard]] Pair kept_pair(const Pair& root, const Certificate& old);

/// The successor's name and key, signed by the old root. `path` is that root's, for messages.
/// Throws Error for a root that may sign leaves alone.
[[nodiscard]] Certificate cross_sign(const Issuer& old, const std::string& path,
                                     const Certificate& successor);

/// Keeps the old pair beside the new one, which takes its place; its file holds both certificates.
/// Whatever is killed in between, what was trusted is, and Pair::recover or another rotation puts
/// the rest right. Throws Error.
void replace_root(const RootFiles& files, const Certificate& old, const Issuer& successor,
                  const std::optional<Certificate>& cross, const Ledger& ledger);
/// Leaves `root` alone in its file. Throws Error.
void drop_predecessors(const RootFiles& files, const Certificate& root);

/// The first of `roots` is the one that signs now. A certificate that only the ledger knows counts
/// if its line came before that root's, and there is no later one of its subject. Throws an Error
/// for what cannot be read, and may be one.
[[nodiscard]] std::vector<Straggler> find_stragglers(const Directory& leaves,
                                                     std::span<const Certificate> roots,
                                                     const Ledger& ledger, Instant now);

}  // namespace pki
