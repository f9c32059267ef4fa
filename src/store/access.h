// Whether a user can reach and read a file: the kernel's rules, component by component.
#pragma once

#include <filesystem>
#include <string>

#include "pki/reader.h"

namespace pki {

/// "postgres:ssl-cert", or numbers where they have no names.
[[nodiscard]] std::string owner_text(uid_t user, gid_t group);

struct Access {
  enum class Outcome { granted, denied, absent, unknown };

  Outcome outcome = Outcome::granted;
  std::filesystem::path at = {};  // the component that stops him
  std::string why = {};           // "its mode is 0700, its owner root:root"
  std::string grant = {};         // what would let him, before the path: "chmod o+x"
};

[[nodiscard]] Access access_of(const std::filesystem::path& path, const Reader& reader);

}  // namespace pki
