// The exports beside a leaf (see pki/export.h), when the leaf gets another pair.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pki/certificate.h"
#include "pki/file.h"
#include "pki/key.h"
#include "pki/secret.h"
#include "store/directory.h"

namespace pki {

/// All that an export may make.
inline constexpr std::array export_names = {"key.pk8",      "key.p12",        "cert.der",
                                            "root.crt",     "postgresql.crt", "postgresql.key",
                                            "fullchain.pem"};

/// What a leaf's two files hold.
struct PairContents {
  std::span<const Certificate> chain;  // the leaf, then what stands behind it
  const Key& key;
  const Certificate& root;  // that some exports hold, too
};

struct RemadeExports {
  std::vector<File> files;         // with the names, owners and modes of those they replace
  std::vector<std::string> stale;  // a line each: what goes on holding the old pair, and why
};

/// Makes anew what was made of `before`. A p12 cannot be without its password. What holds neither
/// pair is somebody's own, and left alone. Throws Error.
[[nodiscard]] RemadeExports remake_exports(const Directory& leaf, const PairContents& before,
                                           const PairContents& after,
                                           const std::optional<SecretBytes>& password);

}  // namespace pki
