// Every certificate of a root: those on the disk, and those that only the ledger knows.
//
//   pki::Listing listing({.certificate = "minica.pem", .leaves = "."}, now);
//   for (const pki::Listed& one : listing.on_disk()) ...
//   listing.for_each_off_disk([](const pki::Listed& one) { ... });
//
// From the files alone, a directory that minica made too. Reads only, waits for no lock, and needs
// no key.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pki/ca.h"
#include "pki/certificate.h"
#include "pki/profile.h"

namespace pki {

struct Listed {
  enum class Status {
    valid,
    expiring,  ///< Within the window that was asked for; else as Validity::is_expiring says.
    expired,
    revoked,
    superseded,  ///< Another certificate with its subject is on the disk, or newer.
    missing,     ///< Valid, and in no directory: only the ledger knows it.
    unrecorded,  ///< Valid, but the ledger, though there is one, does not know it.
  };

  Status status;
  /// Of its directory, or what that would be called; a root's common name. Any bytes but a slash.
  std::string name;
  /// Nothing for other usages, and off the disk: the ledger does not tell.
  std::optional<Profile> profile;
  /// The DNS names, then the addresses; none off the disk. Whatever bytes the certificate has.
  std::vector<std::string> sans;
  SerialNumber serial;
  std::optional<Instant> not_before;  ///< Nothing off the disk.
  Instant not_after;
  std::filesystem::path file;  ///< Empty off the disk.
  bool is_recorded;            ///< Whether the ledger knows it.
  std::optional<Instant> revoked_at;
  std::string revocation_reason;  ///< OpenSSL's word: "keyCompromise"; empty for none.

  [[nodiscard]] bool is_root() const noexcept { return profile.has_value() && profile->is_ca; }
};

class Listing {
 public:
  /// What has less than `window` left is `expiring`. Throws Error for a root or a directory that
  /// cannot be read.
  Listing(const CaFiles& files, Instant now, std::optional<std::chrono::days> window = {});

  ~Listing();
  Listing(Listing&&) noexcept;
  Listing& operator=(Listing&&) noexcept;

  /// The roots in their file's order, then the leaves in that of their names.
  [[nodiscard]] std::span<const Listed> on_disk() const noexcept;
  /// What only the ledger knows, and has not ended: missing or revoked, the oldest first. Reads the
  /// ledger once more. Throws Error.
  void for_each_off_disk(const std::function<void(const Listed&)>& visit) const;
  /// What only the ledger knows and is over: superseded, expired, or expired after it was revoked.
  /// The same applies.
  void for_each_past(const std::function<void(const Listed&)>& visit) const;
  [[nodiscard]] std::uint64_t past_count() const noexcept;

  /// Nothing if there is none.
  [[nodiscard]] const std::optional<std::filesystem::path>& ledger() const noexcept;
  /// When the revocation list ends; nothing if there is none, or it has no end.
  [[nodiscard]] const std::optional<Instant>& crl_end() const noexcept;
  /// False if something was passed over that may be one of its certificates, or the ledger.
  [[nodiscard]] bool is_complete() const noexcept;
  /// A line each, for a person: what could not be read.
  [[nodiscard]] const std::vector<std::string>& warnings() const noexcept;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

}  // namespace pki
