// A certificate revocation list (RFC 5280 section 5): which certificates of a root are to be
// believed no more.
//
// Specification x issuer -> list: see Issuer::sign. PostgreSQL (ssl_crl_file) and libpq (sslcrl)
// read one; past its next update they refuse every certificate of the root.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "pki/certificate.h"
#include "pki/handle.h"
#include "pki/secret.h"

namespace pki {

/// RFC 5280 5.3.1. Those that OpenSSL's index has words for.
enum class RevocationReason : std::uint8_t {
  unspecified = 0,
  key_compromise = 1,
  ca_compromise = 2,
  affiliation_changed = 3,
  superseded = 4,
  cessation_of_operation = 5,
  certificate_hold = 6,
};

/// "keyCompromise": as OpenSSL's index has it.
[[nodiscard]] std::string_view text(RevocationReason reason);
/// Without regard to case. Nothing for another word.
[[nodiscard]] std::optional<RevocationReason> parse_revocation_reason(std::string_view text);

struct RevokedCertificate {
  SerialNumber serial;
  Instant time;
  RevocationReason reason = RevocationReason::unspecified;

  // NOLINTNEXTLINE: clang-tidy 14 sees a null pointer in what the compiler makes
  friend auto operator<=>(const RevokedCertificate&, const RevokedCertificate&) noexcept = default;
};

struct CrlSpec {
  /// Larger than that of the list before it (RFC 5280 5.2.3).
  std::uint64_t number;
  Instant this_update;
  Instant next_update;
  /// Each serial number once, in any order.
  std::vector<RevokedCertificate> revoked;
};

/// Cheap to copy.
class Crl {
 public:
  /// Throws Error unless `der` is one list and nothing else.
  static Crl from_der(std::span<const unsigned char> der);
  /// The first X509 CRL block, whatever stands around it. Throws Error.
  static Crl from_pem(std::string_view pem);

  [[nodiscard]] std::vector<unsigned char> der() const;
  [[nodiscard]] SecretBytes pem() const;
  /// Nothing in a list of version 1, as `openssl ca -gencrl` makes without configuration. Throws
  /// Error for one that is larger than 64 bits.
  [[nodiscard]] std::optional<std::uint64_t> number() const;
  [[nodiscard]] Instant this_update() const;
  /// Nothing in a list that breaks RFC 5280 5.1.2.5: it lasts for ever.
  [[nodiscard]] std::optional<Instant> next_update() const;
  /// In the list's order; a reason that RevocationReason does not have counts as unspecified.
  /// Throws Error where the list breaks RFC 5280.
  [[nodiscard]] std::vector<RevokedCertificate> revoked() const;
  [[nodiscard]] std::optional<RevokedCertificate> find(const SerialNumber& serial) const;
  /// Whether it names `issuer` and bears the signature of its key.
  [[nodiscard]] bool is_signed_by(const Certificate& issuer) const;

  Crl(const Crl& other) noexcept;
  Crl(Crl&&) noexcept = default;
  Crl& operator=(Crl other) noexcept;
  ~Crl() = default;

  [[nodiscard]] X509_crl_st* native() const noexcept { return crl_.get(); }

 private:
  explicit Crl(Handle<X509_crl_st> crl) : crl_(std::move(crl)) {}

  Handle<X509_crl_st> crl_;
};

}  // namespace pki
