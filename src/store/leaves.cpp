#include "store/leaves.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "pki/error.h"
#include "pki/leaf.h"
#include "store/pair.h"

namespace pki {
namespace {

// Nothing where there is none.
std::optional<Certificate> find_certificate(const Directory& leaves, const std::string& name,
                                            bool follow) {
  const EntryKind kind = leaves.look(name).kind;
  const bool is_link = kind == EntryKind::link;
  const bool leads_to_directory =
      is_link && follow && leaves.look(name, true).kind == EntryKind::directory;
  if (kind != EntryKind::directory && !leads_to_directory) return std::nullopt;
  const Directory directory = leaves.open_directory(name, follow);
  if (is_link && directory.open_directory("..", false).identity() == leaves.identity()) {
    return std::nullopt;
  }
  if (directory.look(leaf_certificate_name).kind == EntryKind::absent) return std::nullopt;
  return read_certificate_at({&directory, leaf_certificate_name}, false);
}

}  // namespace

std::optional<StoredLeaf> find_leaf(const Directory& leaves, const std::string& name,
                                    std::span<const Certificate> roots, bool follow) {
  std::optional<Certificate> certificate = find_certificate(leaves, name, follow);
  if (!certificate.has_value() || certificate->is_ca()) return std::nullopt;
  const auto is_named = [&](const Certificate& root) { return certificate->names_issuer(root); };
  const auto has_signed = [&](const Certificate& root) {
    return is_named(root) && certificate->is_signed_by(root);
  };
  const auto root = std::ranges::find_if(roots, has_signed);
  if (root != roots.end()) {
    return StoredLeaf{name, std::move(*certificate),
                      static_cast<std::size_t>(root - roots.begin())};
  }
  if (std::ranges::any_of(roots, is_named)) {
    throw Error("its certificate names this root, but bears no valid signature of it",
                "move its directory away");
  }
  return std::nullopt;
}

void for_each_leaf(const Directory& leaves, std::span<const Certificate> roots,
                   const std::function<void(StoredLeaf)>& visit,
                   const std::function<void(const std::string&)>& warn, bool follow) {
  for (const std::string& name : leaves.names()) {
    if (name.starts_with('.')) continue;
    std::optional<StoredLeaf> leaf;
    try {
      leaf = find_leaf(leaves, name, roots, follow);
    } catch (const Error& error) {
      warn(fmt::format("{} is passed over: {}", leaves.path_of(name), error.what()));
    }
    if (leaf.has_value()) visit(std::move(*leaf));
  }
}

}  // namespace pki
