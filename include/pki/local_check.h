// Checks of what is on the disk: a leaf's directory, PgBouncer's configuration, a bundle of roots.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>

#include "pki/certificate.h"
#include "pki/reader.h"
#include "pki/report.h"

namespace pki {

struct LocalCheck {
  /// What leaves are verified with, a root or a bundle. Nothing: the minica.pem beside a leaf's
  /// directory, if there is one. Read by whoever runs this: it need not be there for the reader.
  std::optional<std::filesystem::path> roots;
  /// Nothing: whoever runs this.
  std::optional<Reader> reader;
  Instant now;
  /// Fewer days left than these are a finding.
  std::chrono::days warn = std::chrono::days{30};
};

/// cert.pem and key.pem in a directory: pair, chain, names, usages, dates, modes, and whether the
/// reader can reach and read each.
[[nodiscard]] Report check_leaf(const std::filesystem::path& directory, const LocalCheck& check);

/// pgbouncer.ini, with what it includes: its TLS settings, and the files they name. The reader, if
/// none is given, is the user that it names.
[[nodiscard]] Report check_pgbouncer_ini(const std::filesystem::path& file,
                                         const LocalCheck& check);

/// Every certificate in a PEM file of roots: subject, algorithm, days left. A leaf's certificate
/// with its intermediates is judged as such.
[[nodiscard]] Report check_bundle(const std::filesystem::path& file, const LocalCheck& check);

}  // namespace pki
