#include "pki/listing.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "pki/error.h"
#include "pki/leaf.h"
#include "pki/revocation.h"
#include "store/directory.h"
#include "store/leaves.h"
#include "store/ledger_reader.h"
#include "x509/presented.h"

namespace pki {
namespace {

struct SerialHash {
  std::size_t operator()(const SerialNumber& serial) const noexcept {
    const auto bytes = serial.bytes();
    return std::hash<std::string_view>{}(
        {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
};

std::uint64_t hash_of(std::string_view subject) { return std::hash<std::string_view>{}(subject); }

// Of each subject the newest line, by its offset in the ledger. Subjects are known by their hashes:
// a ledger may have a million of them.
class NewestLines {
 public:
  void set(std::uint64_t subject, std::uint64_t offset) {
    if (4 * used_ >= 3 * slots_.size()) grow();
    Slot& slot = find(subject);
    if (slot.offset == unused) ++used_;
    slot = {subject, offset};
  }
  void forget(std::uint64_t subject) {
    if (slots_.empty()) return;
    Slot& slot = find(subject);
    if (slot.offset != unused) slot.offset = forgotten;
  }
  /// In ascending order; nothing is left here.
  std::vector<std::uint64_t> take_offsets() {
    std::vector<std::uint64_t> offsets;
    offsets.reserve(used_);
    for (const Slot& slot : slots_) {
      if (slot.offset < forgotten) offsets.push_back(slot.offset);
    }
    slots_ = {};
    std::ranges::sort(offsets);
    return offsets;
  }

 private:
  static constexpr std::uint64_t unused = UINT64_MAX;
  static constexpr std::uint64_t forgotten = unused - 1;
  struct Slot {
    std::uint64_t subject = 0;
    std::uint64_t offset = unused;
  };

  // Where it is, or would be: there is always an unused slot.
  Slot& find(std::uint64_t subject) {
    std::size_t at = subject % slots_.size();
    while (slots_[at].offset != unused && slots_[at].subject != subject) {
      at = (at + 1) % slots_.size();
    }
    return slots_[at];
  }
  void grow() {
    std::vector<Slot> old(std::max<std::size_t>(1024, 2 * slots_.size()));
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.offset != unused) find(slot.subject) = slot;
    }
  }

  std::vector<Slot> slots_;  // a power of two
  std::size_t used_ = 0;
};

// A host's name as that of its directory.
std::string as_directory_name(std::string name) {
  if (name.starts_with('*')) name.front() = '_';
  return name;
}

Listed unknown_to_the_disk() {
  return {.status = Listed::Status::missing,
          .name = {},
          .profile = {},
          .sans = {},
          .serial = *SerialNumber::parse("00"),
          .not_before = {},
          .not_after = {},
          .file = {},
          .is_recorded = true,
          .revoked_at = {},
          .revocation_reason = {}};
}

// Who a certificate on the disk is for.
struct Holder {
  std::string subject;
  std::string own_name;  // how its directory is called, unless somebody renamed it
};

}  // namespace

struct Listing::State {
  CaFiles files;
  Instant now;
  std::vector<Listed> on_disk;
  std::vector<Holder> holders;                                               // of each
  std::unordered_multimap<SerialNumber, std::size_t, SerialHash> by_serial;  // copies have one
  std::optional<std::filesystem::path> ledger;
  std::uint64_t ledger_size = 0;  // before the directories were looked at
  // Of what is not on the disk: where the lines of those are that are missing or revoked.
  std::vector<std::uint64_t> off_disk;
  std::uint64_t past_count = 0;
  std::optional<Instant> crl_end;
  std::vector<std::string> warnings;
  bool is_complete = true;

  void pass_over(const std::string& line);
  void add(const Certificate& certificate, const std::optional<Profile>& profile,
           const std::string& name, const std::filesystem::path& file);
  void find_certificates();
  void read_ledger();
  void judge(std::optional<std::chrono::days> window);
  void look_at_crl();
  void show(const LedgerEntry& entry, Listed& one,
            const std::function<void(const Listed&)>& visit) const;
};

void Listing::State::pass_over(const std::string& line) {
  warnings.push_back(line);
  is_complete = false;
}

void Listing::State::add(const Certificate& certificate, const std::optional<Profile>& profile,
                         const std::string& name, const std::filesystem::path& file) {
  const Validity validity = certificate.validity();
  PresentedNames presented = presented_names(certificate);
  std::vector<std::string> sans = std::move(presented.dns);
  std::ranges::move(presented.addresses, std::back_inserter(sans));
  on_disk.push_back({.status = Listed::Status::valid,
                     .name = name,
                     .profile = profile,
                     .sans = std::move(sans),
                     .serial = certificate.serial(),
                     .not_before = validity.not_before,
                     .not_after = validity.not_after,
                     .file = file,
                     .is_recorded = false,
                     .revoked_at = {},
                     .revocation_reason = {}});
  const Listed& added = on_disk.back();
  holders.push_back(
      {certificate.subject(),
       as_directory_name(added.sans.empty() ? presented.common_name : added.sans.front())});
  by_serial.emplace(added.serial, on_disk.size() - 1);
  if (now < validity.not_before) {
    warnings.push_back(fmt::format("{} is not valid before {}, and the clock says {}",
                                   file.string(), text(validity.not_before), text(now)));
  }
}

void Listing::State::find_certificates() {
  const std::vector<Certificate> roots = read_bundle(files.certificate);
  for (const Certificate& root : roots) {
    const std::string name = root.common_name();
    add(root, profiles::root, name.empty() ? root.subject() : name, files.certificate);
  }
  const Directory leaves = Directory::open(files.leaves);
  const auto warn = [&](const std::string& line) { pass_over(line); };
  for_each_leaf(
      leaves, roots,
      [&](const StoredLeaf& leaf) {
        const std::filesystem::path directory = leaves.path_of(leaf.name);
        try {
          add(leaf.certificate, profile_of(leaf.certificate), leaf.name,
              directory / leaf_certificate_name);
        } catch (const Error& error) {
          pass_over(fmt::format("{} is passed over: {}", directory.string(), error.what()));
        }
      },
      warn, true);
}

void Listing::State::read_ledger() {
  std::unordered_set<std::uint64_t> subjects_on_disk;
  for (const Holder& holder : holders) subjects_on_disk.insert(hash_of(holder.subject));
  NewestLines missing;
  std::vector<std::uint64_t> revoked;
  const auto visit = [&](const LedgerEntry& entry) {
    const bool is_revoked = entry.status == LedgerEntry::Status::revoked;
    auto [found, end] = by_serial.equal_range(entry.serial);
    if (found != end) {
      for (; found != end; ++found) {
        Listed& one = on_disk[found->second];
        one.is_recorded = true;
        if (!is_revoked) continue;
        one.revoked_at = entry.revoked_at;
        one.revocation_reason = entry.reason;
      }
      return;
    }
    if (entry.offset >= ledger_size) return;  // it may be in a directory by now
    ++past_count;                             // if it is not found to be one of the others
    const bool has_ended = entry.not_after < now;
    const std::uint64_t subject = hash_of(entry.subject);
    if (!is_revoked && !has_ended && !entry.common_name.starts_with(root_name)) {
      if (!subjects_on_disk.contains(subject)) missing.set(subject, entry.offset);
      return;
    }
    missing.forget(subject);
    if (!has_ended && is_revoked) revoked.push_back(entry.offset);
  };
  const auto warn = [&](const std::string& line) { warnings.push_back(line); };
  try {
    const std::filesystem::path path = files.ledger();
    const Directory directory = Directory::open(path.parent_path());
    if (pki::read_ledger(directory, path.filename().string(), visit, warn)) ledger = path;
  } catch (const Error& error) {
    pass_over(fmt::format("the ledger is passed over: {}", error.what()));
  }
  off_disk = missing.take_offsets();
  const auto middle = static_cast<std::ptrdiff_t>(off_disk.size());
  off_disk.insert(off_disk.end(), revoked.begin(), revoked.end());
  std::ranges::inplace_merge(off_disk, off_disk.begin() + middle);
  past_count -= off_disk.size();
}

void Listing::State::judge(std::optional<std::chrono::days> window) {
  std::unordered_map<std::string_view, std::string_view> subject_of;  // by the directory's name
  for (std::size_t i = 0; i < on_disk.size(); ++i) {
    if (!on_disk[i].is_root()) subject_of.emplace(on_disk[i].name, holders[i].subject);
  }
  const auto is_superseded = [&](std::size_t i) {
    const auto newer = subject_of.find(holders[i].own_name);
    return !on_disk[i].is_root() && newer != subject_of.end() && newer->first != on_disk[i].name &&
           newer->second == holders[i].subject;
  };
  for (std::size_t i = 0; i < on_disk.size(); ++i) {
    Listed& one = on_disk[i];
    const Validity validity{*one.not_before, one.not_after};
    const bool is_expiring =
        window.has_value() ? one.not_after - now < *window : validity.is_expiring(now);
    if (one.revoked_at.has_value()) {
      one.status = Listed::Status::revoked;
    } else if (is_superseded(i)) {
      one.status = Listed::Status::superseded;
    } else if (one.not_after < now) {
      one.status = Listed::Status::expired;
    } else if (is_expiring) {
      one.status = Listed::Status::expiring;
    } else if (!one.is_recorded && !one.is_root() && ledger.has_value()) {
      one.status = Listed::Status::unrecorded;
    }
  }
}

void Listing::State::show(const LedgerEntry& entry, Listed& one,
                          const std::function<void(const Listed&)>& visit) const {
  const bool is_root = entry.common_name.starts_with(root_name);
  one.profile = is_root ? std::optional(profiles::root) : std::nullopt;
  one.name =
      as_directory_name(std::string(entry.common_name.empty() ? entry.subject : entry.common_name));
  one.serial = entry.serial;
  one.not_after = entry.not_after;
  one.revoked_at = entry.revoked_at;
  one.revocation_reason = entry.reason;
  visit(one);
}

// Past its end, all certificates are refused where it is read.
void Listing::State::look_at_crl() {
  constexpr std::chrono::days soon{30};
  try {
    const std::optional<CrlFile> list = find_crl(files.certificate);
    if (!list.has_value()) return;
    crl_end = list->crl.next_update();
    if (crl_end.has_value() && *crl_end - now < soon) {
      warnings.push_back(fmt::format("{} {} on {}: pki crl makes it anew, and servers must load it",
                                     list->path.string(), *crl_end < now ? "ended" : "ends",
                                     text(*crl_end)));
    }
  } catch (const Error& error) {
    warnings.emplace_back(error.what());
  }
}

Listing::Listing(const CaFiles& files, Instant now, std::optional<std::chrono::days> window) {
  auto state = std::make_unique<State>();
  state->files = files;
  state->now = now;
  const std::filesystem::path ledger = files.ledger();
  state->ledger_size = Directory::open(ledger.parent_path()).look(ledger.filename().string()).size;
  state->find_certificates();
  state->read_ledger();
  state->judge(window);
  state->look_at_crl();
  state_ = std::move(state);
}

Listing::~Listing() = default;
Listing::Listing(Listing&&) noexcept = default;
Listing& Listing::operator=(Listing&&) noexcept = default;

std::span<const Listed> Listing::on_disk() const noexcept { return state_->on_disk; }

void Listing::for_each_off_disk(const std::function<void(const Listed&)>& visit) const {
  if (!state_->ledger.has_value()) return;
  const Directory directory = Directory::open(state_->ledger->parent_path());
  Listed one = unknown_to_the_disk();
  read_ledger_at(state_->off_disk, directory, state_->ledger->filename().string(),
                 [&](const LedgerEntry& entry) {
                   one.status = entry.status == LedgerEntry::Status::revoked
                                    ? Listed::Status::revoked
                                    : Listed::Status::missing;
                   state_->show(entry, one, visit);
                 });
}

void Listing::for_each_past(const std::function<void(const Listed&)>& visit) const {
  if (!state_->ledger.has_value()) return;
  const Directory directory = Directory::open(state_->ledger->parent_path());
  Listed one = unknown_to_the_disk();
  std::span<const std::uint64_t> others = state_->off_disk;
  const auto show = [&](const LedgerEntry& entry) {
    while (!others.empty() && others.front() < entry.offset) others = others.subspan(1);
    const bool is_other = !others.empty() && others.front() == entry.offset;
    if (is_other || entry.offset >= state_->ledger_size) return;
    if (state_->by_serial.contains(entry.serial)) return;
    one.status = entry.status == LedgerEntry::Status::revoked ? Listed::Status::revoked
                 : entry.not_after < state_->now              ? Listed::Status::expired
                                                              : Listed::Status::superseded;
    state_->show(entry, one, visit);
  };
  pki::read_ledger(directory, state_->ledger->filename().string(), show, [](const std::string&) {});
}

std::uint64_t Listing::past_count() const noexcept { return state_->past_count; }

const std::optional<std::filesystem::path>& Listing::ledger() const noexcept {
  return state_->ledger;
}

bool Listing::is_complete() const noexcept { return state_->is_complete; }

const std::optional<Instant>& Listing::crl_end() const noexcept { return state_->crl_end; }

const std::vector<std::string>& Listing::warnings() const noexcept { return state_->warnings; }

}  // namespace pki
