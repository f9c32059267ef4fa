#include "store/rotation.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/ascii.h"
#include "pki/error.h"
#include "pki/profile.h"
#include "store/leaves.h"
#include "store/ledger_reader.h"

namespace pki {
namespace {

[[noreturn]] void refuse(const std::string& fault) {
  throw Error(fault, "mend it: what cannot be read may hang on the old root");
}

struct OnDisk {
  std::map<SerialNumber, Straggler> stragglers;
  std::unordered_set<std::string> subjects;  // of all leaves
};

OnDisk look_at_disk(const Directory& leaves, std::span<const Certificate> roots, Instant now) {
  OnDisk found;
  const auto visit = [&](const StoredLeaf& leaf) {
    const Certificate& certificate = leaf.certificate;
    found.subjects.insert(certificate.subject());
    const Instant end = certificate.validity().not_after;
    if (leaf.root == 0 || end < now) return;
    const SerialNumber serial = certificate.serial();
    found.stragglers.insert_or_assign(serial, Straggler{leaf.name, serial, end, true});
  };
  for_each_leaf(leaves, roots, visit, refuse, true);
  return found;
}

}  // namespace

// --- the files ---

Pair kept_pair(const Pair& root, const Certificate& old) {
  constexpr std::size_t digits = 6;
  const std::string stem =
      fmt::format("{}-{}", std::filesystem::path(root.certificate().name).stem().string(),
                  ascii_lower(old.serial().text().substr(0, digits)));
  return {{root.certificate().directory, stem + ".pem"}, {root.key().directory, stem + "-key.pem"}};
}

Certificate cross_sign(const Issuer& old, const std::string& path, const Certificate& successor) {
  if (old.certificate().path_length() == 0) {
    throw Error(
        fmt::format("{} may sign leaves alone, as minica makes roots: there can be no "
                    "cross-certificate for those who have no other",
                    path),
        "give --no-cross, and then copy the new file to every client before pki renew --all");
  }
  const Validity limits = old.certificate().validity();
  Validity validity = successor.validity();
  validity.not_before = std::max(validity.not_before, limits.not_before);
  validity.not_after = std::min(validity.not_after, limits.not_after);
  return old.sign({.common_name = successor.common_name(),
                   .sans = {},
                   .profile = profiles::root,
                   .validity = validity,
                   .serial = SerialNumber::generate()},
                  successor.public_key());
}

namespace {

// The file again, under its own name: with whatever else it has but its contents.
Staged::Placed replacing(const Place& place, SecretBytes contents) {
  File file = place.directory->read(place.name, false);
  file.contents = std::move(contents);
  return {place.directory, std::move(file)};
}

// A second copy of both, unless a run that was killed has made it.
Staged keep(const Pair& root, const Pair& kept) {
  std::vector<Staged::Placed> copies;
  for (const auto& [from, to] :
       {std::pair(&root.certificate(), &kept.certificate()), std::pair(&root.key(), &kept.key())}) {
    File file = from->directory->read(from->name, false);
    to->directory->remove(to->pending().name);
    if (to->directory->look(to->name).kind == EntryKind::absent) {
      file.name = to->name;
      copies.push_back({to->directory, std::move(file)});
    } else if (to->directory->read(to->name, false).contents != file.contents) {
      throw Error(fmt::format("{} is there, and is not the old root's", to->path()),
                  "move it away: the old root's pair is kept under that name");
    }
  }
  return Staged::as_files(std::move(copies));
}

}  // namespace

void replace_root(const RootFiles& files, const Certificate& old, const Issuer& successor,
                  const std::optional<Certificate>& cross, const Ledger& ledger) {
  files.pair.demand_plain_files();
  const Pair kept = kept_pair(files.pair, old);
  Staged copies = keep(files.pair, kept);
  std::vector<Certificate> made = {successor.certificate()};
  std::optional<Staged> cross_file;
  if (cross.has_value()) {
    made.push_back(*cross);
    cross_file.emplace(Staged::as_replacement(files.cross, File::public_mode));
    cross_file->write(as_text(cross->pem()));
  }
  const std::vector<Certificate> both = {successor.certificate(), old};
  std::vector<Staged::Placed> replaced;
  replaced.push_back(replacing(files.pair.certificate(), pem_of(both)));
  replaced.push_back(replacing(files.pair.key(), successor.key().pem()));
  Staged pair = Staged::as_replacements(std::move(replaced));

  ledger.record(made);
  pair.sync();
  copies.publish();
  if (cross_file.has_value()) cross_file->publish();
  pair.publish();
}

void drop_predecessors(const RootFiles& files, const Certificate& root) {
  std::vector<Staged::Placed> alone;
  alone.push_back(replacing(files.pair.certificate(), root.pem()));
  Staged::as_replacements(std::move(alone)).publish();
}

// --- what hangs on the old root ---

std::vector<Straggler> find_stragglers(const Directory& leaves, std::span<const Certificate> roots,
                                       const Ledger& ledger, Instant now) {
  OnDisk disk = look_at_disk(leaves, roots, now);
  const SerialNumber successor = roots.front().serial();
  std::unordered_map<std::string, Straggler> off_disk;  // by subject: the newest
  bool is_past = false;                                 // the line of the root that signs now
  const auto visit = [&](const LedgerEntry& entry) {
    is_past = is_past || entry.serial == successor;
    if (entry.status == LedgerEntry::Status::revoked) disk.stragglers.erase(entry.serial);
    const std::string subject(entry.subject);
    if (disk.subjects.contains(subject) || entry.common_name.starts_with(root_name)) return;
    const bool counts =
        !is_past && entry.status == LedgerEntry::Status::valid && entry.not_after >= now;
    if (counts) {
      off_disk.insert_or_assign(
          subject, Straggler{std::string(entry.common_name), entry.serial, entry.not_after, false});
    } else {
      off_disk.erase(subject);
    }
  };
  read_ledger(ledger.directory(), ledger.name(), visit, refuse);
  std::vector<Straggler> all;
  for (auto& [serial, straggler] : disk.stragglers) all.push_back(std::move(straggler));
  std::ranges::sort(all, {}, &Straggler::name);
  std::map<std::string, Straggler> by_name;
  for (auto& [subject, straggler] : off_disk) by_name.emplace(subject, std::move(straggler));
  for (auto& [subject, straggler] : by_name) all.push_back(std::move(straggler));
  return all;
}

}  // namespace pki
