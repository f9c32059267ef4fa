#include "store/rotation.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

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
