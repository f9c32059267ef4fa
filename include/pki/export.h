// The forms in which some programs want a key and a certificate, made from a leaf's two files.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "pki/file.h"
#include "pki/secret.h"

namespace pki {

enum class ExportFormat {
  pk8,        ///< key.pk8: the key as PKCS#8 in DER, not encrypted, for pgjdbc.
  p12,        ///< key.p12: key, certificate and root as PKCS #12, friendly name "user".
  der,        ///< cert.der: the certificate in DER.
  fullchain,  ///< fullchain.pem: the certificate, and then the root.
  libpq,      ///< postgresql.crt, postgresql.key and root.crt, which libpq finds in ~/.postgresql.
};

struct ExportRequest {
  ExportFormat format;
  std::filesystem::path leaf;  ///< The directory with cert.pem and key.pem.
  std::filesystem::path root;  ///< The root's certificate.
  /// Where the files are made; made itself (0700, for the files' owner) if only its last part is
  /// missing.
  std::filesystem::path to;
  SecretBytes password;  ///< Of a p12.
  /// Nothing: files that root makes belong to whom key.pem and cert.pem do, and have their modes;
  /// others' are their own, and a key is 0600.
  std::optional<Owner> owner;
};

struct Exported {
  std::vector<std::filesystem::path> made;
  std::vector<std::filesystem::path> unchanged;  ///< There already, with the same contents.
};

/// Links in the leaf's directory are not followed, nor is `to` itself, unless it is the leaf's
/// directory. Everything is on the disk when it returns. A file that is there with other contents
/// is left alone, and nothing is made then. Throws Error.
[[nodiscard]] Exported export_leaf(const ExportRequest& request);

/// A password's file without the line end that editors put there. Throws Error, for a password that
/// is empty or has a NUL byte, too.
[[nodiscard]] SecretBytes read_password_file(const std::filesystem::path& path);
/// The same of an open descriptor (a pipe). Throws Error.
[[nodiscard]] SecretBytes read_password_descriptor(int descriptor);

}  // namespace pki
