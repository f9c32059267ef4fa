#include "store/renewal.h"

#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <memory>
#include <utility>

#include "pki/leaf.h"
#include "store/exports.h"
#include "store/leaves.h"
#include "store/pair.h"
#include "store/replacement.h"

namespace pki {
namespace {

using Status = Renewed::Status;

// How many leaves are under way at once, and share a sync of the ledger and of their directory.
constexpr std::size_t group_size = 32;

// A key that others could read goes on being one for them, whoever made it so: the service may be
// among them.
constexpr unsigned widest_key_mode = 0644;
constexpr unsigned permission_bits = 0777;
constexpr unsigned others_bits = 0007;

// A leaf that is due, and what comes after it.
struct Successor {
  Renewed* row;
  std::unique_ptr<Directory> directory;  // its address is in `replacement`
  Certificate certificate;
  Replacement replacement;
};

using Group = std::list<Successor>;

Place place_of(const Directory& directory, const char* name) { return {&directory, name}; }

Pair pair_in(const Directory& directory) {
  return {place_of(directory, leaf_certificate_name), place_of(directory, leaf_key_name)};
}

void demand_name(const std::string& name) {
  if (!name.empty() && name.front() != '.' && name.find('/') == std::string::npos) return;
  throw Error(fmt::format("{} is no name of a certificate's directory", quote(name)),
              "give the name alone, and say with --out where it is");
}

Error link_error(const std::string& path) {
  return Error(fmt::format("{} is a link: what it leads to is not renewed by it", path),
               "renew that where it is, with --out");
}

// The type for a new key in place of this one, or the nearest to it.
KeyType successor_type(const PublicKey& key) {
  if (const std::optional<KeyType> type = key.type()) return *type;
  const std::string description = key.description();
  if (description == "P-521") return KeyType::p384;
  return description.starts_with("RSA") ? KeyType::rsa3072 : KeyType::p256;
}

// What will be published is read back from where it waits.
void demand_pair(const Directory& staged, const Certificate& expected) {
  const Pair pair = pair_in(staged);
  const Certificate certificate = pair.read_certificate(false);
  const Key key = pair.read_key(false).key;
  if (certificate.der() == expected.der() && certificate.has_key(key.public_key()) &&
      key.halves_match()) {
    return;
  }
  throw Error(fmt::format("{} does not hold what was written", pair.certificate().path()),
              "check the disk and the memory of this machine");
}

class Renewal {
 public:
  Renewal(const RenewalAuthority& authority, const RenewalRequest& request, Instant now)
      : authority_(authority), request_(request), now_(now) {}

  std::vector<Renewed> run() {
    if (request_.names.has_value()) {
      find_named();
    } else {
      find_all();
    }
    std::vector<Renewed*> due;
    for (Renewed& row : rows_) {
      if (row.status == Status::renewed) due.push_back(&row);
    }
    for (std::size_t i = 0; i < due.size(); i += group_size) {
      renew_group(std::span(due).subspan(i, std::min(group_size, due.size() - i)));
    }
    return std::move(rows_);
  }

 private:
  // --- finding ---

  void find_named() {
    for (const std::string& name : *request_.names) {
      if (std::ranges::find(rows_, name, &Renewed::name) != rows_.end()) continue;
      look_at(name, [&] {
        demand_name(name);
        switch (authority_.leaves.look(name).kind) {
          case EntryKind::directory: break;
          case EntryKind::link: throw link_error(path_of(name));
          case EntryKind::absent:
            throw Error(fmt::format("{} is not there", path_of(name)),
                        "name a certificate's directory, and say with --out where it is");
          default:
            throw Error(fmt::format("{} is no directory", path_of(name)),
                        "name a certificate's directory");
        }
        if (find(name)) return;
        throw Error(
            fmt::format("{} holds no certificate of {}", path_of(name), authority_.issuer_path),
            "name the directory of one of its certificates, or its root with --ca-cert");
      });
    }
  }

  void find_all() {
    for (const std::string& name : authority_.leaves.names()) {
      if (name.starts_with('.')) continue;
      look_at(name, [&] {
        const EntryKind kind = authority_.leaves.look(name).kind;
        if (kind == EntryKind::directory) find(name);
        // A leaf elsewhere must not be forgotten.
        if (kind == EntryKind::link &&
            find_leaf(authority_.leaves, name, authority_.roots, true).has_value()) {
          throw link_error(path_of(name));
        }
      });
    }
  }

  template <class Look>
  void look_at(const std::string& name, Look look) {
    try {
      look();
    } catch (const Error& error) {
      rows_.push_back({.name = name, .directory = path_of(name), .error = error});
    }
  }

  // Adds a row for a leaf in this directory. Whether there is one.
  bool find(const std::string& name) {
    const Directory directory = authority_.leaves.open_directory(name, false);
    Replacement::recover(directory);
    pair_in(directory).recover();
    const std::optional<StoredLeaf> leaf = find_leaf(authority_.leaves, name, authority_.roots);
    if (!leaf.has_value()) return false;
    const Certificate& certificate = leaf->certificate;
    Renewed row{.name = name, .directory = path_of(name)};
    row.validity = certificate.validity();
    row.serial = certificate.serial();
    row.fingerprint = certificate.fingerprint();
    row.is_marked = directory.look(reload_mark_name).kind != EntryKind::absent;
    row.status = status_of(certificate);
    rows_.push_back(std::move(row));
    return true;
  }

  [[nodiscard]] Status status_of(const Certificate& certificate) const {
    if (is_revoked(certificate)) {
      return request_.names.has_value() ? Status::renewed : Status::revoked;
    }
    // Of another root: there is more to gain than time.
    if (!authority_.issuer.has_signed(certificate)) return Status::renewed;
    const Validity validity = certificate.validity();
    const bool is_due = request_.before.has_value() ? validity.not_after - now_ < *request_.before
                                                    : validity.is_expiring(now_);
    if (!is_due) return Status::unchanged;
    const Instant last = authority_.issuer.certificate().validity().not_after;
    return validity.not_after >= last ? Status::ends_with_root : Status::renewed;
  }

  [[nodiscard]] bool is_revoked(const Certificate& certificate) const {
    return authority_.revocations.has_value() &&
           authority_.revocations->find(certificate.serial()).has_value();
  }

  [[nodiscard]] std::string path_of(const std::string& name) const {
    return authority_.leaves.path_of(name);
  }

  // --- renewing ---

  // What was going to be done is not.
  static void fail(Renewed& row, const Error& error) {
    row.status = Status::failed;
    row.error = error;
    row.exports.clear();
    row.stale.clear();
    row.warnings.clear();
  }

  // Takes a step with each of them. Those that fail are left out from then on.
  template <class Step>
  static void for_each_of(Group& group, Step step) {
    group.remove_if([&](Successor& successor) {
      try {
        step(successor);
        return false;
      } catch (const Error& error) {
        fail(*successor.row, error);
        return true;
      }
    });
  }

  void renew_group(std::span<Renewed* const> due) {
    Group group;
    for (Renewed* row : due) {
      try {
        group.push_back(prepare(*row, group));
      } catch (const Error& error) {
        fail(*row, error);
      }
    }
    record(group);
    for_each_of(group, [](Successor& successor) { successor.replacement.sync(); });
    for_each_of(group, [&](Successor& successor) { publish(successor); });
    try {
      Replacement::clear(authority_.leaves);
    } catch (const Error& error) {
      for (const Successor& successor : group) {
        successor.row->status = Status::failed;
        successor.row->error = error;
      }
    }
  }

  void record(Group& group) const {
    std::vector<Certificate> certificates;
    for (const Successor& successor : group) certificates.push_back(successor.certificate);
    if (certificates.empty()) return;
    try {
      authority_.ledger.record(certificates);
    } catch (const Error& error) {
      for (const Successor& successor : group) fail(*successor.row, error);
      group.clear();
    }
  }

  // In memory, and staged.
  Successor prepare(Renewed& row, const Group& group) const {
    auto directory = std::make_unique<Directory>(authority_.leaves.open_directory(row.name, false));
    const bool is_roots = std::ranges::find(authority_.root_directories, directory->identity()) !=
                          authority_.root_directories.end();
    for (const Successor& other : group) {
      if (other.directory->identity() != directory->identity()) continue;
      throw Error(fmt::format("{} is the same directory as {}", path_of(row.name),
                              path_of(other.row->name)),
                  "take one of the two mounts away");
    }
    if (!is_roots) directory->lock();  // an export may be on its way
    const Pair pair = pair_in(*directory);
    pair.demand_plain_files();
    static_cast<void>(pair.is_there());
    File certificate_file = directory->read_with_attributes(leaf_certificate_name);
    File key_file = directory->read_with_attributes(leaf_key_name);
    const std::vector<Certificate> old_chain =
        parse_file(pair.certificate(), certificate_file, Certificate::chain_from_pem);
    const Certificate& old = old_chain.front();
    const Key old_key = parse_file(pair.key(), key_file, Key::from_pem);
    if (!old.has_key(old_key.public_key()) || !old_key.halves_match()) {
      throw Error(fmt::format("{} does not match {}", pair.key().path(), pair.certificate().path()),
                  "put the pair back together, or move its directory away and make a new one");
    }

    if (request_.reuse_key && is_revoked(old)) {
      throw Error(fmt::format("{} is revoked", pair.certificate().path()),
                  "leave --reuse-key out: its key is not to be trusted any more");
    }
    std::optional<Key> new_key;
    if (!request_.reuse_key) new_key = Key::generate(successor_type(old.public_key()));
    const Key& key = new_key.has_value() ? *new_key : old_key;
    const Certificate certificate = sign(old, key.public_key(), row);
    warn(row, old_chain, certificate, key_file);

    std::vector<Certificate> chain = {certificate};
    chain.insert(chain.end(), authority_.chain.begin(), authority_.chain.end());
    RemadeExports exports =
        remake_exports(*directory, {old_chain, old_key, root_of(old)},
                       {chain, key, authority_.issuer.certificate()}, request_.p12_password);
    row.stale = std::move(exports.stale);
    std::vector<File> files = std::move(exports.files);
    for (const File& file : files) row.exports.push_back(row.directory / file.name);
    if (request_.mark || row.is_marked) {
      files.push_back({reload_mark_name, {}, File::public_mode, certificate_file.owner});
    }
    certificate_file.contents = pem_of(chain);
    certificate_file.mode &= permission_bits;
    files.push_back(std::move(certificate_file));
    if (new_key.has_value()) key_file.contents = key.pem();
    key_file.mode &= widest_key_mode;
    files.push_back(std::move(key_file));

    Replacement replacement(authority_.leaves, row.name, *directory, std::move(files), !is_roots);
    demand_pair(replacement.staged(), certificate);
    return {&row, std::move(directory), certificate, std::move(replacement)};
  }

  [[nodiscard]] const Certificate& root_of(const Certificate& leaf) const {
    const auto root = std::ranges::find_if(
        authority_.roots, [&](const Certificate& each) { return leaf.is_signed_by(each); });
    return root != authority_.roots.end() ? *root : authority_.issuer.certificate();
  }

  [[nodiscard]] Certificate sign(const Certificate& old, const PublicKey& key, Renewed& row) const {
    const std::optional<Profile> profile = profile_of(old);
    if (!profile.has_value()) {
      throw Error(fmt::format("{} is neither for servers nor for clients",
                              (row.directory / leaf_certificate_name).string()),
                  "make another certificate in its place");
    }
    const CertificateSpec spec{.common_name = old.common_name(),
                               .sans = old.sans(),
                               .profile = *profile,
                               .validity = validity_after(old, *profile, row),
                               .serial = SerialNumber::generate()};
    try {
      return authority_.issuer.sign(spec, key);
    } catch (const Error& error) {
      throw Error(fmt::format("{}: {} ({})", authority_.issuer_path, error.what(), row.name),
                  error.hint());
    }
  }

  // As long as the old one's, unless that was cut short by its root's end.
  [[nodiscard]] Validity validity_after(const Certificate& old, const Profile& profile,
                                        Renewed& row) const {
    const Validity limits = authority_.issuer.certificate().validity();
    const Instant start = std::max(now_ - backdate, limits.not_before);
    const Validity before = old.validity();
    Validity validity{start, start + (before.not_after - before.not_before)};
    if (before.not_after == root_of(old).validity().not_after) {
      validity = Validity::starting(start, profile.lifetime);
    }
    if (validity.not_after > limits.not_after) {
      validity.not_after = limits.not_after;
      row.warnings.push_back(fmt::format("{}: the certificate ends with its root, on {}", row.name,
                                         text(limits.not_after)));
    }
    if (request_.before.has_value() && validity.not_after - now_ < *request_.before) {
      row.warnings.push_back(
          fmt::format("{}: the new certificate too ends within {}: every run will renew it",
                      row.name, text(*request_.before)));
    }
    return validity;
  }

  void warn(Renewed& row, std::span<const Certificate> old_chain, const Certificate& certificate,
            const File& key_file) const {
    const auto add = [&](const std::string& line) {
      row.warnings.push_back(fmt::format("{}: {}", row.name, line));
    };
    const Certificate& old = old_chain.front();
    const std::string old_type = old.public_key().description();
    const std::string new_type = certificate.public_key().description();
    if (is_revoked(old)) add("the certificate was revoked, its successor is not");
    if (old_type != new_type) add(fmt::format("the key was {}, and is {} now", old_type, new_type));
    if (old.subject() != certificate.subject()) {
      add(fmt::format("the subject was {}, and is {} now", quote(old.subject()),
                      quote(certificate.subject())));
    }
    if (old_chain.size() > 1 && authority_.chain.empty()) {
      add(fmt::format("{} held more than the certificate: that is gone from it",
                      leaf_certificate_name));
    }
    if ((key_file.mode & others_bits) != 0) {
      add(fmt::format("{} can be read by others, as before: chmod it", leaf_key_name));
    }
  }

  void publish(Successor& successor) const {
    Renewed& row = *successor.row;
    successor.replacement.publish();
    const Certificate& certificate = successor.certificate;
    row.replaced = std::exchange(row.serial, certificate.serial());
    row.validity = certificate.validity();
    row.fingerprint = certificate.fingerprint();
    row.is_marked = row.is_marked || request_.mark;
    row.is_exchange = successor.replacement.was_exchange();
  }

  const RenewalAuthority& authority_;
  const RenewalRequest& request_;
  const Instant now_;
  std::vector<Renewed> rows_;
};

}  // namespace

std::vector<Renewed> renew(const RenewalAuthority& authority, const RenewalRequest& request,
                           Instant now) {
  return Renewal(authority, request, now).run();
}

void remove_marks(const Directory& leaves, std::span<const Renewed> renewed) {
  for (const Renewed& row : renewed) {
    if (!row.is_marked || leaves.look(row.name).kind != EntryKind::directory) continue;
    const Directory directory = leaves.open_directory(row.name, false);
    if (pair_in(directory).read_certificate(false).serial() == row.serial) {
      directory.remove(reload_mark_name);
    }
  }
}

}  // namespace pki
