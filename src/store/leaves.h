// The leaves of a root, found where they lie: directories with a certificate that it signed,
// whoever made them. Reads only, and takes no lock.
#pragma once

#include <cstddef>
#include <functional>
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

/// Calls `visit` for each leaf of `roots` in a directory of `leaves`, in the order of their names.
/// Links and names that begin with a dot are passed over; so are directories without a certificate,
/// with one of another root, or with a CA's. `warn` gets a line for each that cannot be read, or is
/// damaged: it may be a leaf's.
void for_each_leaf(const Directory& leaves, std::span<const Certificate> roots,
                   const std::function<void(StoredLeaf)>& visit,
                   const std::function<void(const std::string&)>& warn);

}  // namespace pki
