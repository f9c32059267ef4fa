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
//  - nothing that was there is overwritten or removed, and bad input creates nothing;
//  - a key is never readable by others, not even for a moment, and links in the way are not
//  followed.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pki/certificate.h"
#include "pki/file.h"
#include "pki/key.h"
#include "pki/names.h"
#include "pki/profile.h"
#include "pki/revocation.h"

namespace pki {

struct CaFiles {
  std::filesystem::path certificate = "minica.pem";
  std::filesystem::path key = "minica-key.pem";
  /// Where the leaves' directories are made. It must be there.
  std::filesystem::path leaves = ".";
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

  /// Marks certificates as revoked in the ledger, and then makes the revocation list anew. Throws
  /// Error; then nothing was changed, or (where the disk failed) no more than the ledger, and the
  /// same call finishes it.
  Revoked revoke(const RevokeRequest& request, Instant now);
  /// Makes the revocation list anew, from the ledger. It lasts for `lifetime`: nothing for as long
  /// as the one before it, or 825 days. Throws Error.
  CrlFile write_crl(std::optional<std::chrono::days> lifetime, Instant now);
  /// The same where there is a list and it is_due(); else nothing.
  std::optional<CrlFile> refresh_crl(Instant now);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pki
