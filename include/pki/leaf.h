// Reading certificates that are on the disk already.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pki/certificate.h"
#include "pki/key.h"

namespace pki {

/// What a leaf's directory holds.
inline constexpr const char* leaf_certificate_name = "cert.pem";
inline constexpr const char* leaf_key_name = "key.pem";
/// There while nobody has said that a renewed pair is loaded: the certificate's serial number.
inline constexpr const char* reload_mark_name = ".reload-due";

/// The first certificate in a PEM file. Throws an Error that names the file.
[[nodiscard]] Certificate read_certificate_file(const std::filesystem::path& path);
/// All of them, in order: a bundle of roots. Throws an Error that names the file.
[[nodiscard]] std::vector<Certificate> read_bundle(const std::filesystem::path& path);

/// A certificate to log in with, and its key.
struct ClientIdentity {
  std::vector<Certificate> chain;  ///< The client's own first; not empty.
  Key key;
  std::filesystem::path certificate_file;
  std::filesystem::path key_file;
};

/// Throws an Error that names the file which cannot be read, or the two that do not match.
[[nodiscard]] ClientIdentity read_identity(const std::filesystem::path& certificate,
                                           const std::filesystem::path& key);

/// The certificate in a leaf's directory. Throws Error.
[[nodiscard]] Certificate read_leaf_certificate(const std::filesystem::path& leaf);
/// Nothing if there is no such directory, or no certificate in it.
[[nodiscard]] std::optional<Certificate> find_leaf_certificate(const std::filesystem::path& leaf);

/// Whether a leaf's directory has a file of this name.
[[nodiscard]] bool leaf_has(const std::filesystem::path& leaf, const std::string& name);

}  // namespace pki
