#include "pki/ca.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
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
#include "store/writer.h"

namespace pki {
namespace {

using std::chrono::days;

// Hosts at their first boot have clocks that lag: a certificate is valid a little before it is
// made.
constexpr std::chrono::minutes backdate{5};

constexpr days renewal_window{30};

std::vector<std::string> leaf_files() { return {leaf_certificate_name, leaf_key_name}; }

// So many leaves are published together at most: they are in memory until then.
constexpr std::size_t largest_group = 1000;
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

// "minica.pem" -> "minica-index.txt"
std::string sibling_name(const std::filesystem::path& certificate, const char* suffix) {
  return certificate.stem().string() + suffix;
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

std::vector<File> files_of(const Certificate& certificate, const Key& key, const Owner& owner) {
  std::vector<File> files;
  files.push_back({leaf_certificate_name, certificate.pem(), File::public_mode, owner});
  files.push_back({leaf_key_name, key.pem(), File::key_mode(owner), owner});
  return files;
}

std::string name_of(const LeafRequest& request) {
  return request.role.has_value() ? request.role->text() : directory_name(request.sans.front());
}

// How an existing certificate differs from what is asked for; empty if it satisfies it.
std::vector<std::string> differences(const LeafRequest& request, const Certificate& existing,
                                     const Issuer& root) {
  std::vector<std::string> found;
  const auto differ = [&](std::string_view what, std::string_view there, std::string_view asked) {
    found.push_back(fmt::format("{} {} there, {} asked for", what, there, asked));
  };
  if (!root.has_signed(existing)) found.emplace_back("it was not signed by this root");
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
  const PublicKey key = existing.public_key();
  if (request.key_type.has_value() && key.type() != request.key_type) {
    const std::optional<KeyType> type = key.type();
    differ("key type", type.has_value() ? text(*type) : key.description(), text(*request.key_type));
  }
  if (request.lifetime.has_value()) {
    const Validity validity = existing.validity();
    const bool ends_with_root = validity.not_after == root.certificate().validity().not_after;
    if (validity.length() != *request.lifetime && !ends_with_root) {
      differ("lifetime", text(std::chrono::floor<days>(validity.length())),
             text(*request.lifetime));
    }
  }
  return found;
}

bool is_expiring(const Validity& validity, Instant now) {
  const std::chrono::seconds window =
      std::min<std::chrono::seconds>(renewal_window, validity.length() / 3);
  return validity.not_after - now < window;
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
  std::vector<std::string> reserved_names;
  std::optional<Issuer> root;
  std::vector<std::string> warnings;

  State(const CaFiles& ca_files, KeyType new_root_type)
      : files(ca_files),
        new_root(new_root_type),
        certificate_directory(Directory::open(files.certificate.parent_path())),
        key_directory(Directory::open(files.key.parent_path())),
        leaves(Directory::open(files.leaves)),
        root_pair({&certificate_directory, file_name(files.certificate)},
                  {&key_directory, file_name(files.key)}),
        ledger(certificate_directory, sibling_name(files.certificate, "-index.txt")),
        reserved_names{file_name(files.certificate), file_name(files.key),
                       sibling_name(files.certificate, "-index.txt"),
                       sibling_name(files.certificate, "-crl.pem")} {}

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
  void look_at(Leaf& leaf, Instant now, bool syncs_together) const;
  [[nodiscard]] Issued existing_leaf(const Leaf& leaf, Instant now, bool syncs_together) const;
  [[nodiscard]] bool may_exclude_leaves() const;
  void try_out(const Leaf& leaf, const PublicKey& key, Instant now) const;
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
  Certificate certificate = root_pair.read_certificate(true);
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
      {.common_name = fmt::format("minica root ca {:02x}{:02x}{:02x}", serial.bytes()[0],
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

void Ca::State::look_at(Leaf& leaf, Instant now, bool syncs_together) const {
  if (leaves.look(leaf.name).kind == EntryKind::absent) return;
  leaf.directory = std::make_unique<Directory>(leaves.open_directory(leaf.name, true));
  leaf.pair.emplace(Place{leaf.directory.get(), leaf_certificate_name},
                    Place{leaf.directory.get(), leaf_key_name});
  leaf.pair->demand_plain_files();
  leaf.pair->recover();
  if (leaf.pair->is_there()) leaf.existing = existing_leaf(leaf, now, syncs_together);
}

Issued Ca::State::existing_leaf(const Leaf& leaf, Instant now, bool syncs_together) const {
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
  demand_valid_root(now);
  const Certificate certificate = pair.read_certificate(false);
  const Key key = pair.read_key(false).key;
  if (key.public_key() != certificate.public_key() || !key.halves_match()) {
    throw Error(fmt::format("{} does not match {}", pair.key().path(), pair.certificate().path()),
                advice);
  }
  std::vector<std::string> found;
  try {
    found = differences(request, certificate, *root);
    for (std::string& line : pair.differences_from(request.owner)) found.push_back(std::move(line));
  } catch (const Error& error) {
    found.emplace_back(error.what());
  }
  if (!found.empty()) {
    throw Error(fmt::format("{} is there and differs: {}", pair.certificate().path(),
                            fmt::join(found, "; ")),
                advice);
  }
  std::vector<std::string> notes = warnings;
  const bool expiring = is_expiring(certificate.validity(), now);
  if (expiring && certificate.validity().not_after == root->certificate().validity().not_after) {
    notes.push_back(fmt::format("{} ends then too: a new certificate needs a new root",
                                root_pair.certificate().path()));
  }
  // As in sync_root(); the rest is the caller's.
  const bool is_elsewhere = leaf.directory->identity().first != leaves.identity().first;
  if (!syncs_together || is_elsewhere) leaf.directory->sync();
  return {.status = expiring ? Issued::Status::expiring : Issued::Status::unchanged,
          .certificate = certificate,
          .directory = leaves.path_of(name),
          .certificate_file = pair.certificate().path(),
          .key_file = pair.key().path(),
          .root_is_new = false,
          .warnings = std::move(notes)};
}

// In memory.
void Ca::State::make(Leaf& leaf, const Issuer& issuer, Instant now) const {
  const LeafRequest& request = leaf.request;
  const CertificateSpec spec = specify(request, issuer, now, leaf.warnings);
  const Key key = Key::generate(request.key_type.value_or(KeyType::p256));
  leaf.certificate = sign(issuer, spec, key.public_key(), leaf.name);
  leaf.files = files_of(*leaf.certificate, key, request.owner);
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

Ca::Ca(const CaFiles& files, KeyType new_root) : state_(std::make_unique<State>(files, new_root)) {
  state_->demand_distinct_names();
  state_->lock();
  state_->root_pair.recover();
  Staged::clear(state_->leaves, leaf_files());
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
    bool has_directory = false;
    std::unique_ptr<Leaf> leaf;
  };
  const bool syncs_together = batch.size > 1 && leaves.can_sync_file_system();
  const std::optional<Key> trial_key = batch.size > 1 && may_exclude_leaves()
                                           ? std::optional(Key::generate(KeyType::p256))
                                           : std::nullopt;
  const auto look_at_one = [&](std::size_t number, Look& look) {
    try {
      Leaf leaf = begin(batch.request(number));
      look_at(leaf, now, syncs_together);
      look.existing = std::move(leaf.existing);
      look.has_directory = leaf.pair.has_value();
      if (look.existing.has_value()) return;
      if (trial_key.has_value()) try_out(leaf, trial_key->public_key(), now);
      if (batch.size <= most_open) look.leaf = std::make_unique<Leaf>(std::move(leaf));
    } catch (const Error& error) {
      look.refusal = error;
    }
  };

  std::vector<Missing> missing;
  bool is_refused = false;
  std::vector<Look> looks;
  Workers workers(std::min(batch.jobs, batch.size));
  for (std::size_t first = 0; first < batch.size; first += looks.size()) {
    looks = std::vector<Look>(std::min(largest_group, batch.size - first));
    workers.run(looks.size(), [&](std::size_t i) { look_at_one(first + i, looks[i]); });
    if (std::ranges::any_of(looks, [](const Look& look) { return look.existing.has_value(); })) {
      sync_root();
      if (syncs_together) {
        leaves.sync_file_system();
      } else {
        sync_leaves();
      }
    }
    for (std::size_t i = 0; i < looks.size(); ++i) {
      Look& look = looks[i];
      if (look.refusal.has_value()) {
        is_refused = true;
        batch.refused(first + i, *look.refusal);
      } else if (look.existing.has_value()) {
        batch.done(first + i, *look.existing);
      } else {
        missing.push_back({first + i, look.has_directory, std::move(look.leaf)});
      }
    }
  }
  return is_refused ? std::nullopt : std::optional(std::move(missing));
}

Leaf Ca::State::make_one(const Batch& batch, Missing& missing, const Issuer& issuer,
                         const StagedDirectories* many, Instant now) const {
  Leaf leaf =
      missing.leaf != nullptr ? std::move(*missing.leaf) : begin(batch.request(missing.number));
  if (missing.has_directory && leaf.directory == nullptr) look_at(leaf, now, false);
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
  if (root.has_value()) {
    demand_valid_root(now);
  } else {
    unpublished_root = make_root(now);
  }
  const bool root_is_new = unpublished_root.has_value();
  std::optional<StagedDirectories> staging;
  if (missing.size() > 1) staging.emplace(leaves, leaf_files());
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
    staged_root.emplace(root_pair.stage(unpublished_root->certificate(), unpublished_root->key()));
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

}  // namespace pki
