#include "pki/leaf.h"

#include <fmt/format.h>

#include "pki/error.h"
#include "store/directory.h"
#include "store/pair.h"

namespace pki {

Certificate read_certificate_file(const std::filesystem::path& path) {
  const Directory directory = Directory::open(path.parent_path());
  return read_certificate_at({&directory, path.filename().string()}, true);
}

std::vector<Certificate> read_bundle(const std::filesystem::path& path) {
  const Directory directory = Directory::open(path.parent_path());
  const File file = directory.read(path.filename().string(), true);
  try {
    return Certificate::chain_from_pem(as_text(file.contents));
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", path.string(), error.what()),
                "name a file of certificates in PEM format");
  }
}

ClientIdentity read_identity(const std::filesystem::path& certificate,
                             const std::filesystem::path& key) {
  const Directory certificates = Directory::open(certificate.parent_path());
  const Directory keys = Directory::open(key.parent_path());
  const Pair pair({&certificates, certificate.filename().string()},
                  {&keys, key.filename().string()});
  ClientIdentity identity{read_bundle(certificate), pair.read_key(true).key, certificate, key};
  if (!identity.chain.front().has_key(identity.key.public_key())) {
    throw Error(fmt::format("{} is not the key of {}", key.string(), certificate.string()),
                "name the two files that were issued together");
  }
  return identity;
}

Certificate read_leaf_certificate(const std::filesystem::path& leaf) {
  return read_certificate_file(leaf / leaf_certificate_name);
}

std::optional<Certificate> find_leaf_certificate(const std::filesystem::path& leaf) {
  const Directory leaves = Directory::open(leaf.parent_path());
  if (leaves.look(leaf.filename().string()).kind == EntryKind::absent) return std::nullopt;
  if (!leaf_has(leaf, leaf_certificate_name)) return std::nullopt;
  return read_leaf_certificate(leaf);
}

bool leaf_has(const std::filesystem::path& leaf, const std::string& name) {
  return Directory::open(leaf).look(name).kind != EntryKind::absent;
}

}  // namespace pki
