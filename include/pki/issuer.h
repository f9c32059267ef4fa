// Signing: specification x public key x issuer -> certificate.
//
// The same path serves our own keys and any other public key. Nothing leaves it unverified: every
// certificate is read back from its DER by OpenSSL, checked against its specification field by
// field and for its signature, and judged under the issuer by the functions that X509_verify_cert()
// calls.
#pragma once

#include <string>
#include <vector>

#include "pki/certificate.h"
#include "pki/key.h"
#include "pki/names.h"
#include "pki/profile.h"

namespace pki {

class Crl;
struct CrlSpec;

struct CertificateSpec {
  /// At most 64 characters. Empty makes the subject empty, and the SAN critical (RFC 5280 4.2.1.6).
  std::string common_name;
  std::vector<San> sans;
  Profile profile;
  Validity validity;
  SerialNumber serial;
};

/// A certificate that may sign others, and its key. May be shared between threads.
class Issuer {
 public:
  /// Throws Error unless the pair matches and the certificate is a self-signed root that every
  /// client would accept as one: v3, CA:TRUE, keyCertSign if it has a key usage, no critical
  /// extension that OpenSSL does not know, and a key that is EC on a curve with a name
  /// (P-256, P-384, P-521) or RSA of 2048 bits or more. An Ed25519 or Ed448 root is refused: libpq
  /// finds no channel binding hash for its signatures, so that SCRAM logins straight to PostgreSQL
  /// fail.
  Issuer(Certificate certificate, Key key);

  /// A new root, signed by itself. Throws Error if `key` is of a kind that the constructor refuses.
  static Issuer self_signed(const CertificateSpec& spec, Key key);

  /// Throws Error if the certificate could never be valid under this root: its validity is not
  /// within the root's, or the root's constraints or usages exclude it; and for an EC key whose
  /// curve has parameters instead of a name.
  [[nodiscard]] Certificate sign(const CertificateSpec& spec, const PublicKey& key) const;

  /// A list of certificates that were revoked: see pki/crl.h. Read back and checked as a
  /// certificate is, and verified with X509_verify_cert(). Throws Error unless may_sign_lists().
  [[nodiscard]] Crl sign(const CrlSpec& spec) const;
  /// Whether its key usage has cRLSign: that of minica's roots has not.
  [[nodiscard]] bool may_sign_lists() const noexcept;

  [[nodiscard]] const Certificate& certificate() const noexcept { return certificate_; }
  [[nodiscard]] const Key& key() const noexcept { return key_; }
  /// Whether `certificate` names this issuer and bears its signature.
  [[nodiscard]] bool has_signed(const Certificate& certificate) const;
  [[nodiscard]] bool is_name_constrained() const noexcept;
  /// What Python 3.13's default context and `openssl verify -x509_strict` will miss in this root
  /// ("no subject key identifier"); empty for a root of ours.
  [[nodiscard]] std::string strict_fault() const;

 private:
  Certificate certificate_;
  Key key_;
};

}  // namespace pki
