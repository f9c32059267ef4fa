#include "store/leaves.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "pki/error.h"
#include "pki/leaf.h"
#include "store/pair.h"

namespace pki {
namespace {

// Nothing where there is none: also if it went away between two looks.
std::optional<Certificate> find_certificate(const Directory& leaves, const std::string& name) {
  if (leaves.look(name).kind != EntryKind::directory) return std::nullopt;
  const Directory directory = leaves.open_directory(name, false);
  if (directory.look(leaf_certificate_name).kind == EntryKind::absent) return std::nullopt;
  return read_certificate_at({&directory, leaf_certificate_name}, false);
}

}  // namespace

void for_each_leaf(const Directory& leaves, std::span<const Certificate> roots,
                   const std::function<void(StoredLeaf)>& visit,
                   const std::function<void(const std::string&)>& warn) {
  for (const std::string& name : leaves.names()) {
    if (name.starts_with('.')) continue;
    std::optional<Certificate> certificate;
    try {
      certificate = find_certificate(leaves, name);
    } catch (const Error& error) {
      warn(fmt::format("{} is passed over: {}", leaves.path_of(name), error.what()));
    }
    if (!certificate.has_value() || certificate->is_ca()) continue;
    const auto is_named = [&](const Certificate& root) { return certificate->names_issuer(root); };
    const auto has_signed = [&](const Certificate& root) {
      return is_named(root) && certificate->is_signed_by(root);
    };
    const auto root = std::ranges::find_if(roots, has_signed);
    if (root != roots.end()) {
      visit({name, std::move(*certificate), static_cast<std::size_t>(root - roots.begin())});
    } else if (std::ranges::any_of(roots, is_named)) {
      warn(
          fmt::format("{} is passed over: its certificate names this root, but bears no valid "
                      "signature of it",
                      leaves.path_of(name)));
    }
  }
}

}  // namespace pki
