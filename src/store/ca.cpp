#include "pki/ca.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <unordered_set>
#include <utility>

#include "base/ascii.h"
#include "base/workers.h"
#include "pki/error.h"
#include "pki/issuer.h"
#include "pki/leaf.h"
#include "store/directory.h"
#include "store/ledger.h"
#include "store/pair.h"
#include "store/renewal.h"
#include "store/replacement.h"
#include "store/revocation.h"
#include "store/rotation.h"
#include "store/writer.h"

namespace pki {
namespace {

using std::chrono::days;

std::vector<std::string> leaf_files() { return {leaf_certificate_name, leaf_key_name}; }

// So many leaves are published together at most: they are in memory until then.
constexpr std::size_t largest_group = 500;
// And so many of those whose directories are there already: these and their files are open.
constexpr std::size_t most_open = 50;

// OpenSSL's default limit for the peer's certificates in a handshake (max_cert_list).
constexpr std::size_t largest_handshake = std::size_t{100} * 1024;

std::string file_name(const std::filesystem::path& path) {
  std::string name = path.filename().string();
  if (name.empty() || name == "." || name == "..") {
    throw Error(fmt::format("{} is no file name", quote(path.string())), "name a file");
  }
  return name;
}

std::string list(const std::vector<San>& sans) {
  std::string out;
  for (const San& san : sans) {
    if (!out.empty()) out += ',';
    out += text(san);
  }
  if (out.empty()) return "none";
  return out.size() <= 200 ? out : out.substr(0, 200) + "...";
}

std::string usages(bool server, bool client) {
  if (server && client) return "server and client";
  return server ? "server" : client ? "client" : "none";
}

// libpq matches *.test; OpenSSL, Go and PgBouncer want two labels behind the wildcard.
bool is_top_level_wildcard(const San& san) {
  const auto* name = std::get_if<DnsName>(&san);
  return name != nullptr && name->is_wildcard() && std::ranges::count(name->text(), '.') == 1;
}

// What some clients will not take, though it is asked for and verifies.
void warn_of_clients(const std::vector<San>& sans, const SecretBytes& certificate_pem,
                     std::vector<std::string>& warnings) {
  const std::size_t size = certificate_pem.size() / 65 * 48;  // of its DER: what a line stands for
  if (certificate_pem.size() > Directory::largest_file) {
    throw Error(fmt::format("the certificate would have {} KiB", size / 1024),
                "share the names out to several certificates");
  }
  if (size > largest_handshake) {
    warnings.push_back(
        fmt::format("the certificate has {} KiB: clients with OpenSSL's default limit of {} KiB "
                    "refuse it",
                    size / 1024, largest_handshake / 1024));
  }
  for (const San& san : sans) {
    if (is_top_level_wildcard(san)) {
      warnings.push_back(fmt::format(
          "{} is matched by libpq, but not by PgBouncer and OpenSSL: name the hosts", text(san)));
    }
  }
}

std::vector<File> files_of(std::span<const Certificate> chain, const Key& key, const Owner& owner) {
  std::vector<File> files;
  files.push_back({leaf_certificate_name, pem_of(chain), File::public_mode, owner});
  files.push_back({leaf_key_name, key.pem(), File::key_mode(owner), owner});
  return files;
}

std::string name_of(const LeafRequest& request) {
  return request.role.has_value() ? request.role->text() : directory_name(request.sans.front());
}

bool is_signed_by_any(const Certificate& certificate, std::span<const Certificate> roots) {
  return std::ranges::any_of(
      roots, [&](const Certificate& root) { return certificate.is_signed_by(root); });
}

// How an existing certificate differs from what is asked for; empty if it satisfies it.
std::vector<std::string> differences(const LeafRequest& request, const Certificate& existing,
                                     const Issuer& issuer, std::span<const Certificate> roots) {
  std::vector<std::string> found;
  const auto differ = [&](std::string_view what, std::string_view there, std::string_view asked) {
    found.push_back(fmt::format("{} {} there, {} asked for", what, there, asked));
  };
  const bool is_ours = issuer.has_signed(existing) || is_signed_by_any(existing, roots);
  if (!is_ours) found.emplace_back("it was not signed by this root");
  if (request.role.has_value() && existing.common_name() != request.role->text()) {
    differ("common name", quote(existing.common_name()), request.role->text());
  }
  if (!same_names(existing.sans(), request.sans)) {
    differ("names", list(existing.sans()), list(request.sans));
  }
  if (existing.is_ca()) found.emplace_back("it is a CA certificate");
  const Profile& profile = request.profile;
  if (existing.allows_server_auth() != profile.server_auth ||
      existing.allows_client_auth() != profile.client_auth) {
    differ("usage", usages(existing.allows_server_auth(), existing.allows_client_auth()),
           usages(profile.server_auth, profile.client_auth));
  }
  if (request.key_type.has_value()) {
    const PublicKey key = existing.public_key();
    const std::optional<KeyType> type = key.type();
    if (type != request.key_type) {
      differ("key type", type.has_value() ? text(*type) : key.description(),
             text(*request.key_type));
    }
  }
  if (request.lifetime.has_value()) {
    const Validity validity = existing.validity();
    const bool ends_with_root = std::ranges::any_of(roots, [&](const Certificate& root) {
      return validity.not_after == root.validity().not_after;
    });
    if (validity.length() != *request.lifetime && !ends_with_root) {
      differ("lifetime", text(std::chrono::floor<days>(validity.length())),
             text(*request.lifetime));
    }
  }
  return found;
}

}  // namespace

namespace {

// A leaf on its way: what is asked for, what is there, what is made.
struct Leaf {
  std::size_t number = 0;  // of its request
  LeafRequest request;
  std::string name;
  std::unique_ptr<Directory> directory;  // that was there before; its address is in `pair`
  std::optional<Pair> pair;              // in it
  std::optional<Issued> existing;        // which satisfies the request
  std::optional<Certificate> certificate;
  std::vector<File> files;         // that and the key
  std::unique_ptr<Staged> staged;  // unless it is in the directory that many are staged in
  std::vector<std::string> warnings;
};

// What is the same for all leaves that are looked at in one go, by several threads.
struct Circumstances {
  Instant now;
  bool syncs_together;  // then who looks waits for the disk, when all have been looked at
  std::once_flag list_is_read = {};
  std::unordered_set<std::string> revoked = {};  // serial numbers; of the list, if there is one
  std::string list_fault = {};
};

// A leaf that is to be made.
struct Missing {
  std::size_t number;          // of its request
  bool has_directory;          // which is filled
  std::unique_ptr<Leaf> leaf;  // as it was looked at; not kept of many
};

// How many of them, from the first one on, are made together. A quarter, if they are few: one part
// is on its way to the disk while the next is made.
std::size_t group_size(std::span<const Missing> missing, std::size_t all) {
  const std::size_t most = std::clamp<std::size_t>(all / 4, 4, largest_group);
  std::size_t open = 0;
  std::size_t size = 0;
  while (size < std::min(most, missing.size())) {
    if (missing[size].has_directory && ++open > most_open) break;
    ++size;
  }
  return size;
}

}  // namespace

struct Ca::State {
  CaFiles files;
  KeyType new_root;
  Directory certificate_directory;
  Directory key_directory;
  Directory leaves;
  Pair root_pair;
  Ledger ledger;
  Place revocation_list;
  Place cross_place;
  std::vector<std::string> reserved_names;
  std::optional<Issuer> root;
  std::vector<Certificate> trusted;  // what its file holds: the root, then those that it replaces
  std::vector<Certificate> cross;    // the cross-certificate, if there is one
  std::vector<std::string> warnings;

  State(const CaFiles& ca_files, KeyType new_root_type)
      : files(ca_files),
        new_root(new_root_type),
        certificate_directory(Directory::open(files.certificate.parent_path())),
        key_directory(Directory::open(files.key.parent_path())),
        leaves(Directory::open(files.leaves)),
        root_pair({&certificate_directory, file_name(files.certificate)},
                  {&key_directory, file_name(files.key)}),
        ledger(certificate_directory, files.ledger().filename().string()),
        revocation_list{&certificate_directory, crl_path(files.certificate).filename().string()},
        cross_place{&certificate_directory, files.certificate.stem().string() + "-cross.pem"},
        reserved_names{file_name(files.certificate), file_name(files.key), ledger.name(),
                       revocation_list.name, cross_place.name} {}

  void demand_distinct_names() const;
  void lock();
  void load_root();
  void sync_root() const;
  [[nodiscard]] Issuer make_root(Instant now) const;
  void demand_valid_root(Instant now) const;
  [[nodiscard]] CertificateSpec specify(const LeafRequest& request, const Issuer& issuer,
                                        Instant now, std::vector<std::string>& notes) const;
  [[nodiscard]] Certificate sign(const Issuer& issuer, const CertificateSpec& spec,
                                 const PublicKey& key, const std::string& name) const;
  [[nodiscard]] Leaf begin(const LeafRequest& request) const;
  void look_at(Leaf& leaf, Circumstances& circumstances) const;
  [[nodiscard]] Issued existing_leaf(const Leaf& leaf, Circumstances& circumstances) const;
  [[nodiscard]] bool may_exclude_leaves() const;
  void try_out(const Leaf& leaf, const PublicKey& key, Instant now) const;
  [[nodiscard]] std::optional<Crl> find_list() const;
  [[nodiscard]] Place list_mark() const;
  void read_revoked(Circumstances& circumstances) const;
  void make(Leaf& leaf, const Issuer& issuer, Instant now) const;
  void stage(Leaf& leaf, const StagedDirectories* many) const;
  void sync_leaves() const;
  [[nodiscard]] Issued report(Leaf& leaf, bool root_is_new) const;
  [[nodiscard]] std::optional<std::vector<Missing>> check(const Batch& batch, Instant now) const;
  [[nodiscard]] Leaf make_one(const Batch& batch, Missing& missing, const Issuer& issuer,
                              const StagedDirectories* many, Instant now) const;
  void make_all(const Batch& batch, std::span<Missing> missing, Instant now);
  void publish(std::span<Leaf> group, const StagedDirectories* many,
               std::optional<Issuer>& unpublished_root, bool is_first);
  void demand_root(Instant now) const;
  [[nodiscard]] Books books(const std::optional<Issuer>& predecessor) const;
  [[nodiscard]] std::optional<Issuer> load_predecessor() const;
  [[nodiscard]] RootFiles root_files() const { return {root_pair, cross_place}; }
  [[nodiscard]] bool is_rotating() const;
  [[nodiscard]] Rotation look_at_rotation(Instant now) const;
  [[nodiscard]] std::optional<Certificate> find_leaf(std::string name) const;
};

void Ca::State::demand_distinct_names() const {
  if (certificate_directory.identity() != key_directory.identity()) return;
  for (const std::string& name : reserved_names) {
    if (std::ranges::count(reserved_names, name) > 1) {
      throw Error(
          fmt::format("{} would be used for two things", root_pair.key().directory->path_of(name)),
          "give --ca-cert and --ca-key names of their own");
    }
  }
}

// In one order for every run, so that none waits for another in a circle.
void Ca::State::lock() {
  std::vector<Directory*> directories = {&certificate_directory, &key_directory, &leaves};
  const auto identity = [](const Directory* directory) { return directory->identity(); };
  std::ranges::sort(directories, {}, identity);
  const auto same = [&](const Directory* a, const Directory* b) {
    return identity(a) == identity(b);
  };
  directories.erase(std::unique(directories.begin(), directories.end(), same), directories.end());
  for (Directory* directory : directories) directory->lock();
}

void Ca::State::load_root() {
  if (!root_pair.is_there()) return;
  const Place& place = root_pair.certificate();
  trusted = parse_file(place, place.directory->read(place.name, true), Certificate::chain_from_pem);
  Certificate certificate = trusted.front();
  Pair::StoredKey stored = root_pair.read_key(true);
  const std::string key_path = root_pair.key().path();
  if ((stored.mode & 0022U) != 0) {
    throw Error(fmt::format("{} can be written by others", key_path),
                "chmod 600 it, and make a new root if somebody may have changed it");
  }
  if ((stored.mode & 0044U) != 0) {
    warnings.push_back(fmt::format(
        "{} can be read by others, who can then make certificates: chmod 600 it", key_path));
  }
  try {
    root.emplace(std::move(certificate), std::move(stored.key));
  } catch (const Error& error) {
    throw Error(
        fmt::format("{} with {}: {}", root_pair.certificate().path(), key_path, error.what()),
        error.hint());
  }
  cross.clear();
  if (trusted.size() > 1 &&
      cross_place.directory->look(cross_place.name).kind != EntryKind::absent) {
    Certificate found = read_certificate_at(cross_place, false);
    if (found.subject() == root->certificate().subject() &&
        found.has_key(root->key().public_key()) && is_signed_by_any(found, trusted)) {
      cross.push_back(std::move(found));
    } else {
      warnings.push_back(fmt::format("{} is not for {}, and is left out", cross_place.path(),
                                     root_pair.certificate().path()));
    }
  }
  if (const std::string fault = root->strict_fault(); !fault.empty()) {
    warnings.push_back(fmt::format("{} has {}: Python 3.13 and other strict clients refuse it",
                                   root_pair.certificate().path(), fault));
  }
}

// The names of the root's files and of the ledger. The run that made them may have been killed
// between its rename and its sync.
void Ca::State::sync_root() const {
  certificate_directory.sync();
  if (key_directory.identity() != certificate_directory.identity()) key_directory.sync();
}

Issuer Ca::State::make_root(Instant now) const {
  const SerialNumber serial = SerialNumber::generate();
  const Profile& profile = profiles::root;
  return Issuer::self_signed(
      {.common_name = fmt::format("{}{:02x}{:02x}{:02x}", root_name, serial.bytes()[0],
                                  serial.bytes()[1], serial.bytes()[2]),
       .sans = {},
       .profile = profile,
       .validity = Validity::starting(now - backdate, profile.lifetime),
       .serial = serial},
      Key::generate(new_root));
}

void Ca::State::demand_valid_root(Instant now) const {
  const Validity validity = root->certificate().validity();
  const std::string path = root_pair.certificate().path();
  if (now > validity.not_after) {
    throw Error(fmt::format("{} expired on {}", path, text(validity.not_after)),
                "make a new root: choose other names with --ca-cert and --ca-key");
  }
  if (now < validity.not_before) {
    throw Error(fmt::format("{} is not valid before {}", path, text(validity.not_before)),
                fmt::format("set the clock, which says {}", text(now)));
  }
}

CertificateSpec Ca::State::specify(const LeafRequest& request, const Issuer& issuer, Instant now,
                                   std::vector<std::string>& notes) const {
  const Validity limits = issuer.certificate().validity();
  const Lifetime lifetime =
      request.lifetime.has_value() ? Lifetime{.days = *request.lifetime} : request.profile.lifetime;
  Validity validity = Validity::starting(std::max(now - backdate, limits.not_before), lifetime);
  if (validity.not_after > limits.not_after) {
    validity.not_after = limits.not_after;
    notes.push_back(
        fmt::format("the certificate ends with its root, on {}", text(limits.not_after)));
  }
  return {.common_name =
              request.role.has_value() ? request.role->text() : common_name_for(request.sans),
          .sans = request.sans,
          .profile = request.profile,
          .validity = validity,
          .serial = SerialNumber::generate()};
}

Certificate Ca::State::sign(const Issuer& issuer, const CertificateSpec& spec, const PublicKey& key,
                            const std::string& name) const {
  try {
    return issuer.sign(spec, key);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {} ({})", root_pair.certificate().path(), error.what(), name),
                error.hint());
  }
}

Leaf Ca::State::begin(const LeafRequest& request) const {
  Leaf leaf;
  leaf.request = request;
  leaf.warnings = warnings;
  leaf.request.sans = without_duplicates(request.sans);
  if (request.sans.empty() != request.role.has_value()) {
    throw Error("a certificate is for host names or for a database user", "give one of them");
  }
  leaf.name = name_of(leaf.request);
  if (std::ranges::any_of(reserved_names, [&](const std::string& taken) {
        return equal_ignoring_case(taken, leaf.name);
      })) {
    throw Error(fmt::format("the name {} is taken by a file of the root's", quote(leaf.name)),
                "give another name first, or choose other names with --ca-cert and --ca-key");
  }
  return leaf;
}

void Ca::State::look_at(Leaf& leaf, Circumstances& circumstances) const {
  if (leaves.look(leaf.name).kind == EntryKind::absent) return;
  leaf.directory = std::make_unique<Directory>(leaves.open_directory(leaf.name, true));
  leaf.pair.emplace(Place{leaf.directory.get(), leaf_certificate_name},
                    Place{leaf.directory.get(), leaf_key_name});
  Replacement::recover(*leaf.directory);
  leaf.pair->demand_plain_files();
  leaf.pair->recover();
  if (leaf.pair->is_there()) {
    leaf.existing = existing_leaf(leaf, circumstances);
  } else if (!leaf.directory->is_writable()) {
    throw Error(fmt::format("cannot write to {}", leaves.path_of(leaf.name)),
                "change its owner or its mode, or run this as who may");
  }
}

Issued Ca::State::existing_leaf(const Leaf& leaf, Circumstances& circumstances) const {
  const Instant now = circumstances.now;
  const LeafRequest& request = leaf.request;
  const Pair& pair = *leaf.pair;
  const std::string& name = leaf.name;
  const std::string advice = fmt::format(
      "to replace it move {} away; else ask for what is there, or for another first name",
      leaves.path_of(name));
  if (!root.has_value()) {
    throw Error(fmt::format("{} is there, but its root {} is not", pair.certificate().path(),
                            root_pair.certificate().path()),
                "put the root's two files back, or move the certificate's directory away");
  }
  const Certificate certificate = pair.read_certificate(false);
  const Key key = pair.read_key(false).key;
  if (!certificate.has_key(key.public_key()) || !key.halves_match()) {
    throw Error(fmt::format("{} does not match {}", pair.key().path(), pair.certificate().path()),
                advice);
  }
  std::vector<std::string> notes = warnings;
  std::vector<std::string> found;
  try {
    found = differences(request, certificate, *root, trusted);
    for (std::string& line : pair.differences_from(request.owner)) found.push_back(std::move(line));
    std::call_once(circumstances.list_is_read, [&] { read_revoked(circumstances); });
    if (circumstances.revoked.contains(certificate.serial().text())) {
      found.emplace_back("it was revoked");
    }
    if (!circumstances.list_fault.empty()) notes.push_back(circumstances.list_fault);
  } catch (const Error& error) {
    found.emplace_back(error.what());
  }
  if (!found.empty()) {
    throw Error(fmt::format("{} is there and differs: {}", pair.certificate().path(),
                            fmt::join(found, "; ")),
                advice);
  }
  const bool expiring = certificate.validity().is_expiring(now);
  if (expiring && certificate.validity().not_after == root->certificate().validity().not_after) {
    notes.push_back(fmt::format("{} ends then too: a new certificate needs a new root",
                                root_pair.certificate().path()));
  }
  // As in sync_root(); the rest is the caller's.
  const bool is_elsewhere = leaf.directory->identity().first != leaves.identity().first;
  if (!circumstances.syncs_together || is_elsewhere) leaf.directory->sync();
  return {.status = expiring ? Issued::Status::expiring : Issued::Status::unchanged,
          .certificate = certificate,
          .directory = leaves.path_of(name),
          .certificate_file = pair.certificate().path(),
          .key_file = pair.key().path(),
          .root_is_new = false,
          .warnings = std::move(notes)};
}

// Nothing where it cannot be read, too: that is said where it is made anew.
std::optional<Crl> Ca::State::find_list() const {
  try {
    return read_list(revocation_list, trusted);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// There while nobody has said that a list that was made anew is loaded.
Place Ca::State::list_mark() const {
  return {&certificate_directory, "." + revocation_list.name + reload_mark_name};
}

// By the list alone: the ledger may be long, and this is run at every boot.
void Ca::State::read_revoked(Circumstances& circumstances) const {
  try {
    const std::optional<Crl> list = read_list(revocation_list, trusted);
    if (!list.has_value()) return;
    for (const RevokedCertificate& one : list->revoked()) {
      circumstances.revoked.insert(one.serial.text());
    }
  } catch (const Error& error) {
    circumstances.list_fault = error.what();
  }
}

// In memory.
void Ca::State::make(Leaf& leaf, const Issuer& issuer, Instant now) const {
  const LeafRequest& request = leaf.request;
  const CertificateSpec spec = specify(request, issuer, now, leaf.warnings);
  const Key key = Key::generate(request.key_type.value_or(KeyType::p256));
  leaf.certificate = sign(issuer, spec, key.public_key(), leaf.name);
  std::vector<Certificate> chain = {*leaf.certificate};
  chain.insert(chain.end(), cross.begin(), cross.end());
  leaf.files = files_of(chain, key, request.owner);
  warn_of_clients(request.sans, leaf.files.front().contents, leaf.warnings);
  if (request.role.has_value() && issuer.is_name_constrained()) {
    leaf.warnings.push_back(fmt::format(
        "{} has name constraints: some servers take a common name for a host name, and refuse {}",
        root_pair.certificate().path(), request.role->text()));
  }
  if (request.owner.shares_with_group() && !request.owner.user.has_value() && ::geteuid() != 0) {
    leaf.warnings.emplace_back(
        "the key is shared with a group, but is not root's: PostgreSQL and libpq refuse it");
  }
}

// Whether some certificates could never verify under the root: only trying tells which.
bool Ca::State::may_exclude_leaves() const {
  return root.has_value() &&
         (root->is_name_constrained() || !root->certificate().allows_server_auth() ||
          !root->certificate().allows_client_auth());
}

// Throws where the root excludes it.
void Ca::State::try_out(const Leaf& leaf, const PublicKey& key, Instant now) const {
  std::vector<std::string> notes;
  (void)sign(*root, specify(leaf.request, *root, now, notes), key, leaf.name);
}

void Ca::State::stage(Leaf& leaf, const StagedDirectories* many) const {
  std::vector<File> both = std::exchange(leaf.files, {});
  const Owner& owner = leaf.request.owner;
  if (leaf.directory != nullptr) {
    std::vector<Staged::Placed> placed;
    placed.reserve(both.size());
    for (File& file : both) placed.push_back({leaf.directory.get(), std::move(file)});
    leaf.staged = std::make_unique<Staged>(Staged::as_files(std::move(placed)));
  } else if (many != nullptr) {
    many->add(leaf.name, both, owner);
  } else {
    leaf.staged = std::make_unique<Staged>(Staged::as_directory(leaves, leaf.name, both, owner));
  }
}

// A directory that provisioning has just made is to outlive a power cut too.
void Ca::State::sync_leaves() const {
  if (leaves.identity() != certificate_directory.identity()) leaves.sync();
}

Issued Ca::State::report(Leaf& leaf, bool root_is_new) const {
  const std::filesystem::path directory = leaves.path_of(leaf.name);
  return {.status = Issued::Status::issued,
          .certificate = *leaf.certificate,
          .directory = directory,
          .certificate_file = directory / leaf_certificate_name,
          .key_file = directory / leaf_key_name,
          .root_is_new = root_is_new,
          .warnings = std::move(leaf.warnings)};
}

void Ca::State::demand_root(Instant now) const {
  if (!root.has_value()) {
    throw Error(fmt::format("there is no root {}", root_pair.certificate().path()),
                "say where it is with --ca-cert");
  }
  demand_valid_root(now);
}

Books Ca::State::books(const std::optional<Issuer>& predecessor) const {
  return {.root = *root,
          .trusted = trusted,
          .predecessor = predecessor.has_value() ? &*predecessor : nullptr,
          .root_path = root_pair.certificate().path(),
          .ledger = ledger,
          .list = revocation_list};
}

// --- rotation ---

// More than one root may also be there for another reason: that the old one's pair was kept tells.
bool Ca::State::is_rotating() const {
  return trusted.size() > 1 && kept_pair(root_pair, trusted[1]).has_certificate();
}

// For its revocation list: nothing where it may sign none, as minica's roots.
std::optional<Issuer> Ca::State::load_predecessor() const {
  if (!is_rotating()) return std::nullopt;
  const Pair kept = kept_pair(root_pair, trusted[1]);
  if (!kept.is_there()) return std::nullopt;
  Issuer old(trusted[1], kept.read_key(false).key);
  if (!old.may_sign_lists()) return std::nullopt;
  return old;
}

Rotation Ca::State::look_at_rotation(Instant now) const {
  Rotation rotation{.is_under_way = is_rotating(),
                    .root = root->certificate(),
                    .predecessors = {trusted.begin() + 1, trusted.end()},
                    .cross = {},
                    .stragglers = {},
                    .kept = {}};
  if (!rotation.is_under_way) return rotation;
  if (!cross.empty()) rotation.cross = cross.front();
  rotation.stragglers = find_stragglers(leaves, trusted, ledger, now);
  const Pair kept = kept_pair(root_pair, trusted[1]);
  rotation.kept = {kept.certificate().path(), kept.key().path()};
  return rotation;
}

// The certificate in a directory, which must be one of this root's.
std::optional<Certificate> Ca::State::find_leaf(std::string name) const {
  if (name.starts_with('*')) name.front() = '_';
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    throw Error(fmt::format("{} is no name of a certificate's directory", quote(name)),
                "say with --out where the directory is");
  }
  if (leaves.look(name).kind == EntryKind::absent) return std::nullopt;
  const Directory directory = leaves.open_directory(name, true);
  if (directory.look(leaf_certificate_name).kind == EntryKind::absent) return std::nullopt;
  const Place place{&directory, leaf_certificate_name};
  Certificate certificate = read_certificate_at(place, false);
  if (is_signed_by_any(certificate, trusted)) return certificate;
  throw Error(fmt::format("{} was not signed by {}", place.path(), root_pair.certificate().path()),
              "name its root with --ca-cert");
}

Ca::Ca(const CaFiles& files, KeyType new_root) : state_(std::make_unique<State>(files, new_root)) {
  state_->demand_distinct_names();
  state_->lock();
  state_->root_pair.recover();
  Staged::clear(state_->leaves, leaf_files());
  Replacement::clear(state_->leaves);
  for (const std::string& name :
       {state_->ledger.name(), state_->revocation_list.name, state_->cross_place.name}) {
    state_->certificate_directory.remove(
        Place{&state_->certificate_directory, name}.pending().name);
  }
  state_->load_root();
}

Ca::~Ca() = default;
Ca::Ca(Ca&&) noexcept = default;
Ca& Ca::operator=(Ca&&) noexcept = default;

Issued Ca::issue(const LeafRequest& request, Instant now) {
  return std::move(issue(std::span(&request, 1), now).front());
}

std::vector<Issued> Ca::issue(std::span<const LeafRequest> requests, Instant now) {
  std::unordered_set<std::string> names;
  for (const LeafRequest& request : requests) {
    if (request.sans.empty() && !request.role.has_value()) continue;  // refused later
    if (!names.insert(name_of(request)).second) {
      throw Error(fmt::format("the name {} is asked for twice", quote(name_of(request))),
                  "give each certificate a first name of its own");
    }
  }
  std::vector<std::optional<Issued>> issued(requests.size());
  issue({.size = requests.size(),
         .request = [&](std::size_t number) { return requests[number]; },
         .refused = [](std::size_t, const Error& why) { throw Error(why); },
         .done = [&](std::size_t number, const Issued& leaf) { issued[number] = leaf; }},
        now);
  std::vector<Issued> all;
  all.reserve(issued.size());
  for (std::optional<Issued>& leaf : issued) all.push_back(std::move(*leaf));
  return all;
}

bool Ca::issue(const Batch& batch, Instant now) {
  std::optional<std::vector<Missing>> missing = state_->check(batch, now);
  if (!missing.has_value()) return false;
  if (!missing->empty()) state_->make_all(batch, *missing, now);
  return true;
}

// Looks at what is there, and reports what satisfies its request. Returns the rest; nothing if a
// request is refused.
std::optional<std::vector<Missing>> Ca::State::check(const Batch& batch, Instant now) const {
  struct Look {
    std::optional<Error> refusal;
    std::optional<Issued> existing;
    std::optional<std::pair<dev_t, ino_t>> directory;  // which is there already
    std::unique_ptr<Leaf> leaf;
  };
  if (root.has_value()) demand_valid_root(now);
  Circumstances circumstances{now, batch.size > 1 && leaves.can_sync_file_system()};
  const std::optional<Key> trial_key = batch.size > 1 && may_exclude_leaves()
                                           ? std::optional(Key::generate(KeyType::p256))
                                           : std::nullopt;
  const auto look_at_one = [&](std::size_t number, Look& look) {
    try {
      Leaf leaf = begin(batch.request(number));
      look_at(leaf, circumstances);
      look.existing = std::move(leaf.existing);
      if (look.existing.has_value()) return;
      if (leaf.directory != nullptr) look.directory = leaf.directory->identity();
      if (trial_key.has_value()) try_out(leaf, trial_key->public_key(), now);
      if (batch.size <= most_open) look.leaf = std::make_unique<Leaf>(std::move(leaf));
    } catch (const Error& error) {
      look.refusal = error;
    }
  };

  std::vector<Missing> missing;
  std::set<std::pair<dev_t, ino_t>> directories;  // which are to be filled
  bool is_refused = false;
  std::vector<Look> looks;
  Workers workers(std::min(batch.jobs, batch.size));
  for (std::size_t first = 0; first < batch.size; first += looks.size()) {
    looks = std::vector<Look>(std::min(largest_group, batch.size - first));
    workers.run(looks.size(), [&](std::size_t i) { look_at_one(first + i, looks[i]); });
    if (std::ranges::any_of(looks, [](const Look& look) { return look.existing.has_value(); })) {
      sync_root();
      if (circumstances.syncs_together) leaves.sync_file_system();
      sync_leaves();
    }
    for (std::size_t i = 0; i < looks.size(); ++i) {
      Look& look = looks[i];
      const bool is_to_be_filled = look.directory.has_value() && !look.refusal.has_value();
      if (is_to_be_filled && !directories.insert(*look.directory).second) {
        look.refusal.emplace("its directory is a link to that of another certificate",
                             "give each certificate a directory of its own");
      }
      if (look.refusal.has_value()) {
        is_refused = true;
        batch.refused(first + i, *look.refusal);
      } else if (look.existing.has_value()) {
        batch.done(first + i, *look.existing);
      } else {
        missing.push_back({first + i, look.directory.has_value(), std::move(look.leaf)});
      }
    }
  }
  return is_refused ? std::nullopt : std::optional(std::move(missing));
}

Leaf Ca::State::make_one(const Batch& batch, Missing& missing, const Issuer& issuer,
                         const StagedDirectories* many, Instant now) const {
  Leaf leaf =
      missing.leaf != nullptr ? std::move(*missing.leaf) : begin(batch.request(missing.number));
  if (missing.has_directory && leaf.directory == nullptr) {
    Circumstances circumstances{now, false};
    look_at(leaf, circumstances);
  }
  if (leaf.existing.has_value()) {
    throw Error(fmt::format("something else made {} meanwhile", leaves.path_of(leaf.name)),
                "look at it, then run this again");
  }
  leaf.number = missing.number;
  make(leaf, issuer, now);
  stage(leaf, many);
  return leaf;
}

// One group after the other: while one is published, the next is made.
void Ca::State::make_all(const Batch& batch, std::span<Missing> missing, Instant now) {
  std::optional<Issuer> unpublished_root;
  if (!root.has_value()) unpublished_root = make_root(now);
  const bool root_is_new = unpublished_root.has_value();
  std::optional<StagedDirectories> staging;
  const bool makes_directories =
      std::ranges::any_of(missing, [](const Missing& one) { return !one.has_directory; });
  if (missing.size() > 1 && makes_directories) staging.emplace(leaves, leaf_files());
  const StagedDirectories* const many = staging.has_value() ? &*staging : nullptr;

  std::span<Missing> rest = missing;
  std::vector<Leaf> next;
  Workers workers(std::min(batch.jobs, missing.size()));
  const auto start_next = [&] {
    if (rest.empty()) return;
    const std::span<Missing> group = rest.first(group_size(rest, missing.size()));
    rest = rest.subspan(group.size());
    next = std::vector<Leaf>(group.size());
    const Issuer* issuer = unpublished_root.has_value() ? &*unpublished_root : &*root;
    workers.start(group.size(), [&, group, issuer](std::size_t i) {
      next[i] = make_one(batch, group[i], *issuer, many, now);
    });
  };

  start_next();
  for (bool is_first = true; !next.empty(); is_first = false) {
    workers.wait();
    std::vector<Leaf> made = std::exchange(next, {});
    if (!unpublished_root.has_value()) start_next();
    publish(made, many, unpublished_root, is_first);
    for (Leaf& leaf : made) batch.done(leaf.number, report(leaf, root_is_new));
    if (next.empty()) start_next();
  }
  if (staging.has_value()) staging->finish();
}

// What is staged: it is in the ledger, and on the disk, before it gets its name.
void Ca::State::publish(std::span<Leaf> group, const StagedDirectories* many,
                        std::optional<Issuer>& unpublished_root, bool is_first) {
  std::vector<Certificate> recorded;
  std::optional<Staged> staged_root;
  if (unpublished_root.has_value()) {
    recorded.push_back(unpublished_root->certificate());
    staged_root.emplace(
        root_pair.stage(std::span(&unpublished_root->certificate(), 1), unpublished_root->key()));
  }
  for (const Leaf& leaf : group) recorded.push_back(*leaf.certificate);
  ledger.record(recorded);
  if (many != nullptr) many->sync();
  for (const Leaf& leaf : group) {
    if (leaf.staged != nullptr) leaf.staged->sync();
  }
  if (staged_root.has_value()) {
    staged_root->publish();
    root = std::exchange(unpublished_root, std::nullopt);
    trusted = {root->certificate()};
  }
  if (is_first) {
    sync_root();
    sync_leaves();
  }
  for (const Leaf& leaf : group) {
    if (leaf.staged != nullptr) {
      leaf.staged->publish();
    } else {
      many->publish(leaf.name);
    }
  }
  if (many != nullptr) leaves.sync();
}

std::vector<Renewed> Ca::renew(const RenewalRequest& request, Instant now) {
  State& state = *state_;
  state.demand_root(now);
  std::vector<Renewed> renewed =
      pki::renew({.leaves = state.leaves,
                  .ledger = state.ledger,
                  .issuer = *state.root,
                  .issuer_path = state.root_pair.certificate().path(),
                  .roots = state.trusted,
                  .chain = state.cross,
                  .revocations = state.find_list(),
                  .root_directories = {state.certificate_directory.identity(),
                                       state.key_directory.identity()}},
                 request, now);
  const auto first = std::ranges::find(renewed, Renewed::Status::renewed, &Renewed::status);
  if (first != renewed.end()) {
    first->warnings.insert(first->warnings.begin(), state.warnings.begin(), state.warnings.end());
  }
  return renewed;
}

void Ca::loaded(std::span<const Renewed> leaves) { remove_marks(state_->leaves, leaves); }

Revoked Ca::revoke(const RevokeRequest& request, Instant now) {
  state_->demand_root(now);
  const std::optional<Issuer> predecessor = state_->load_predecessor();
  const auto* name = std::get_if<std::string>(&request.certificate);
  return pki::revoke(state_->books(predecessor), request,
                     name != nullptr ? state_->find_leaf(*name) : std::nullopt, now);
}

CrlFile Ca::write_crl(std::optional<days> lifetime, Instant now) {
  state_->demand_root(now);
  const std::optional<Issuer> predecessor = state_->load_predecessor();
  return write_list(state_->books(predecessor), lifetime, now);
}

std::optional<CrlFile> Ca::refresh_crl(Instant now, bool mark) {
  state_->demand_root(now);
  const std::optional<Crl> list = read_list(state_->revocation_list, state_->trusted);
  if (!list.has_value()) return std::nullopt;
  // A root that has just been made has none of its own yet.
  if (list->is_signed_by(state_->root->certificate()) && !is_due(*list, now)) return std::nullopt;
  if (mark && !crl_awaits_loading()) {
    const Place place = state_->list_mark();
    place.directory->sync_file(place.directory->write_new({place.name, {}, File::public_mode}),
                               place.name);
    place.directory->sync();
  }
  return write_crl(std::nullopt, now);
}

bool Ca::crl_awaits_loading() const {
  const Place place = state_->list_mark();
  return place.directory->look(place.name).kind != EntryKind::absent;
}

void Ca::crl_loaded() {
  const Place place = state_->list_mark();
  place.directory->remove(place.name);
}

Rotation Ca::begin_rotation(const RotationRequest& request, Instant now) {
  State& state = *state_;
  state.demand_root(now);
  const std::string path = state.root_pair.certificate().path();
  if (!state.is_rotating()) {
    if (state.trusted.size() > 1) {
      throw Error(fmt::format("{} holds more than the root", path),
                  "take the other certificates out of it");
    }
    const Certificate old = state.root->certificate();
    state.new_root = request.key_type.value_or(old.public_key().type().value_or(KeyType::p256));
    const Issuer successor = state.make_root(now);
    std::optional<Certificate> cross;
    if (request.cross) cross = cross_sign(*state.root, path, successor.certificate());
    replace_root(state.root_files(), old, successor, cross, state.ledger);
    state.root.reset();
    state.load_root();
  }
  // Also where an earlier run began it: that may have been killed before this.
  state.sync_root();
  refresh_crl(now);
  return state.look_at_rotation(now);
}

Rotation Ca::finish_rotation(Instant now) {
  State& state = *state_;
  state.demand_root(now);
  Rotation rotation = state.look_at_rotation(now);
  if (!rotation.stragglers.empty()) return rotation;
  if (rotation.is_under_way) {
    if (read_list(state.revocation_list, state.trusted).has_value()) {
      write_list(state.books(std::nullopt), std::nullopt, now);
    }
    drop_predecessors(state.root_files(), state.root->certificate());
    state.root.reset();
    state.load_root();
  }
  // What a run that was killed has left, too.
  if (state.trusted.size() == 1) {
    state.cross_place.directory->remove(state.cross_place.name);
    state.sync_root();
  }
  rotation.is_under_way = false;
  rotation.predecessors.clear();
  rotation.cross.reset();
  return rotation;
}

Rotation Ca::rotation(Instant now) const {
  if (!state_->root.has_value()) {
    throw Error(fmt::format("there is no root {}", state_->root_pair.certificate().path()),
                "say where it is with --ca-cert");
  }
  return state_->look_at_rotation(now);
}

}  // namespace pki
