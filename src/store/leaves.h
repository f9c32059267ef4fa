// The leaves of a root, found where they lie: directories with a certificate that it signed,
// whoever made them. Reads only, and takes no lock.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "pki/certificate.h"
#include "store/directory.h"

namespace pki {

struct StoredLeaf {
  std::string name;  // its directory's
  Certificate certificate;
  std::size_t root;  // which of the roots has signed it
};

/// The leaf of one of `roots` in a directory of `leaves`. Nothing for a directory without a
/// certificate, with one of another root, or with a CA's, and for a link, unless `follow` says
/// otherwise: then only for one to another directory in `leaves`, which is found by itself. Throws
/// Error for a certificate that cannot be read, or is damaged: it may be a leaf's.
[[nodiscard]] std::optional<StoredLeaf> find_leaf(const Directory& leaves, const std::string& name,
                                                  std::span<const Certificate> roots,
                                                  bool follow = false);

/// Calls `visit` for each leaf of `roots` in a directory of `leaves`, in the order of their names.
/// Names that begin with a dot are passed over. `warn` gets a line for each that find_leaf() throws
/// an Error for.
void for_each_leaf(const Directory& leaves, std::span<const Certificate> roots,
                   const std::function<void(StoredLeaf)>& visit,
                   const std::function<void(const std::string&)>& warn, bool follow = false);

}  // namespace pki
