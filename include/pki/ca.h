// A certificate authority that lives in files: a root, its ledger, and a directory for each leaf.
//
//   pki::Ca ca({.certificate = "minica.pem", .key = "minica-key.pem"});
//   pki::Issued leaf = ca.issue({.sans = {pki::DnsName::parse("bouncerhost")}}, now);
//
// What holds at every instant, whatever is killed, full or raced:
//  - a reader never sees half a file, a key without its certificate, or a pair that does not match;
//  - when issue() returns, everything is on the disk;
//  - no certificate is published before the ledger knows it;
//  - runs that race end with one root, and every leaf chains to it;
//  - what a killed run left is finished or cleared by the next;
//  - nothing that was there is overwritten or removed, but what renew(), revoke() and the rotation
//  of the root are there to replace, and bad input creates nothing;
//  - a key is never readable by others, not even for a moment, and links in the way are not
//  followed.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pki/certificate.h"
#include "pki/error.h"
#include "pki/file.h"
#include "pki/key.h"
#include "pki/names.h"
#include "pki/profile.h"
#include "pki/revocation.h"
#include "pki/rotation.h"
#include "pki/secret.h"

namespace pki {

struct CaFiles {
  std::filesystem::path certificate = "minica.pem";
  std::filesystem::path key = "minica-key.pem";
  /// Where the leaves' directories are made. It must be there.
  std::filesystem::path leaves = ".";

  /// A line for every certificate, beside the root's: minica-index.txt for minica.pem.
  [[nodiscard]] std::filesystem::path ledger() const {
    return certificate.parent_path() / (certificate.stem().string() + "-index.txt");
  }
};

struct LeafRequest {
  /// Order is kept; a name that comes twice counts once.
  std::vector<San> sans;
  /// A database user instead: the common name of a certificate without other names. One of `sans`
  /// and `role` must be there, and not both.
  std::optional<RoleName> role;
  Profile profile = profiles::server;
  /// Nothing: P-256 for a new key, and whatever an existing one is.
  std::optional<KeyType> key_type;
  /// Nothing: the profile's lifetime for a new certificate, and whatever an existing one's is.
  std::optional<std::chrono::days> lifetime;
  /// Who the key, the certificate and a new directory belong to.
  Owner owner;
};

struct Issued {
  enum class Status {
    issued,
    unchanged,  ///< The request was satisfied already; no byte has changed.
    expiring,   ///< As unchanged, but less than 30 days, or than a third of its lifetime, remain.
  };

  Status status;
  Certificate certificate;
  std::filesystem::path directory;
  std::filesystem::path certificate_file;
  std::filesystem::path key_file;
  /// Whether this call made the root.
  bool root_is_new = false;
  /// A line each, for a person: what works but should be known.
  std::vector<std::string> warnings;
};

/// Many requests, which need not be in memory at once.
struct Batch {
  std::size_t size = 0;
  /// The request of a number below `size`. Asked for twice at most, and by several threads at once.
  /// No two may have the same first name or role.
  std::function<LeafRequest(std::size_t number)> request;
  /// For each that cannot be satisfied, in their order.
  std::function<void(std::size_t number, const Error& why)> refused;
  /// For each leaf, as soon as it is on the disk: in their order those that are there already, and
  /// then, in their order, those that are made.
  std::function<void(std::size_t number, const Issued& leaf)> done;
  /// How many threads look at what is there, make keys, and sign. With one none is started.
  std::size_t jobs = 1;
};

struct RenewalRequest {
  /// Names of leaves' directories. Nothing: all leaves of the root, as far as they lie in
  /// directories, not in links to them. One that is named and is revoked is due, whenever it ends.
  std::optional<std::vector<std::string>> names = {};
  /// What ends before so many days are over is renewed. Nothing: what Validity::is_expiring.
  std::optional<std::chrono::days> before = {};
  /// Keep the key, and renew the certificate alone.
  bool reuse_key = false;
  /// Of the p12 files beside the leaves, which cannot be made anew without.
  std::optional<SecretBytes> p12_password = {};
  /// Each renewed leaf is marked, until loaded() is told that those who use it have loaded it.
  bool mark = false;
};

struct Renewed {
  enum class Status {
    renewed,
    unchanged,       ///< It does not end soon.
    ends_with_root,  ///< It ends soon, and so does the root: a new certificate would not last
                     ///< longer.
    revoked,         ///< It is on the revocation list, and was not named: left alone.
    failed,          ///< See `error`; nothing was changed, or the next run finishes it.
  };

  std::string name;  ///< Of its directory.
  Status status = Status::failed;
  /// Of the certificate that is there now; nothing if it cannot be read.
  std::optional<Validity> validity = {};
  std::optional<SerialNumber> serial = {};
  std::string fingerprint = {};
  std::optional<SerialNumber> replaced = {};  ///< What was there before.
  std::filesystem::path directory = {};
  std::vector<std::filesystem::path> exports = {};  ///< Other forms of the pair, made anew with it.
  /// A line each: exports that could not be made anew, and go on holding the old pair.
  std::vector<std::string> stale = {};
  /// Whether the directory was exchanged in one step, not the files one by one.
  bool is_exchange = false;
  /// Marked, by this renewal or an earlier one: nobody has said yet that it is loaded.
  bool is_marked = false;
  std::vector<std::string> warnings = {};
  std::optional<Error> error = {};
};

/// Holds a lock on the root's and the leaves' directories as long as it lives: one at a time.
class Ca {
 public:
  /// Opens the directories, waits for the lock, finishes or clears what a killed run left, and
  /// loads the root if there is one. If there is none, the first issue() makes it, with a key of
  /// type `new_root`. Throws Error for a root that is damaged, incomplete or unfit.
  explicit Ca(const CaFiles& files, KeyType new_root = KeyType::p256);
  ~Ca();
  Ca(Ca&&) noexcept;
  Ca& operator=(Ca&&) noexcept;

  /// Makes a key and a certificate in a directory named after the first name or the role, unless
  /// they are there already and satisfy the request. Throws Error; then nothing was made, or (where
  /// the disk failed, not the request) no more than the root.
  Issued issue(const LeafRequest& request, Instant now);
  /// The same for several: all of them are checked and made in memory before the first is
  /// published.
  std::vector<Issued> issue(std::span<const LeafRequest> requests, Instant now);
  /// The same for any number, in little memory: all of them are checked before the first is made,
  /// but they are made and published by the hundred. False if one was refused; then nothing was
  /// made. Throws Error where the disk failed; what was done before it stays, and the next run goes
  /// on from there.
  bool issue(const Batch& batch, Instant now);

  /// Gives leaves that end soon a new key and a new certificate with the same names, use, type of
  /// key, lifetime, owners and modes. The pair and its exports are exchanged for the new ones in
  /// one step, or, where the file system or what lies in the directory does not allow that, one by
  /// one; whatever else is in the directory stays. What fails for one leaf does not hold up the
  /// others. Throws Error where nothing can be renewed at all.
  std::vector<Renewed> renew(const RenewalRequest& request, Instant now);
  /// Takes the marks away from leaves that renew() returned, unless they were renewed again since.
  void loaded(std::span<const Renewed> leaves);

  /// Marks certificates as revoked in the ledger, and then makes the revocation list anew. Throws
  /// Error; then nothing was changed, or (where the disk failed) no more than the ledger, and the
  /// same call finishes it.
  Revoked revoke(const RevokeRequest& request, Instant now);
  /// Makes the revocation list anew, from the ledger. It lasts for `lifetime`: nothing for as long
  /// as the one before it, or 825 days. Throws Error.
  CrlFile write_crl(std::optional<std::chrono::days> lifetime, Instant now);
  /// The same where there is a list and it is_due(); else nothing. `mark`: crl_awaits_loading()
  /// until crl_loaded() is called.
  std::optional<CrlFile> refresh_crl(Instant now, bool mark = false);
  [[nodiscard]] bool crl_awaits_loading() const;
  void crl_loaded();

  /// Makes a new root in the place of the one that is there, which is kept beside it and goes on
  /// being trusted: see pki/rotation.h. Nothing happens if a rotation is under way. Throws Error.
  Rotation begin_rotation(const RotationRequest& request, Instant now);
  /// Ends the trust in the old root, unless there are stragglers. Nothing happens if no rotation is
  /// under way. Throws Error.
  Rotation finish_rotation(Instant now);
  /// How far it is. Throws Error where there is no root.
  [[nodiscard]] Rotation rotation(Instant now) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pki
