#include "pki/inspection.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/ascii.h"
#include "base/openssl.h"
#include "pki/error.h"
#include "pki/profile.h"
#include "x509/presented.h"
#include "x509/stack.h"

namespace pki {
namespace {

using std::chrono::days;
using Level = Finding::Level;

// Apple's limit for every CA, a private one included (support.apple.com/103769).
constexpr days longest_lifetime{825};

constexpr const char* verifying = "verifying a certificate";

std::string name_of(const Certificate& certificate) {
  const std::string name = certificate.common_name();
  return quote(name.empty() ? certificate.subject() : name);
}

std::string issuer_of(const Certificate& certificate) {
  char* line = X509_NAME_oneline(X509_get_issuer_name(certificate.native()), nullptr, 0);
  std::string text = line != nullptr ? line : "";
  OPENSSL_free(line);
  constexpr std::string_view only_name = "/CN=";
  if (text.starts_with(only_name) && text.find('/', 1) == std::string::npos) {
    text.erase(0, only_name.size());
  }
  return text;
}

bool is_issuer(const Certificate& issuer, const Certificate& certificate) {
  return X509_NAME_cmp(X509_get_subject_name(issuer.native()),
                       X509_get_issuer_name(certificate.native())) == 0;
}

bool names_itself(const Certificate& certificate) { return is_issuer(certificate, certificate); }

struct SignatureKind {
  int digest = NID_undef;
  int key = NID_undef;
};

SignatureKind signature_of(const Certificate& certificate) {
  SignatureKind kind;
  X509_get_signature_info(certificate.native(), &kind.digest, &kind.key, nullptr, nullptr);
  forget_openssl_errors();
  return kind;
}

// How many letters must change to make one name of the other (Levenshtein), to find the nearest.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed =
          diagonal + (ascii_lower(a[i]) == ascii_lower(b[j]) ? std::size_t{0} : std::size_t{1});
      diagonal = std::exchange(row[j + 1], std::min({changed, row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
}

// --- what OpenSSL's verifier finds ---

struct Fault {
  int error;
  int depth;
};

int collect(int ok, X509_STORE_CTX* context) {
  if (ok == 0) {
    auto* faults = static_cast<std::vector<Fault>*>(X509_STORE_CTX_get_app_data(context));
    faults->push_back({X509_STORE_CTX_get_error(context), X509_STORE_CTX_get_error_depth(context)});
  }
  return 1;
}

// All of them: the verifier is told to go on after each.
std::vector<Fault> faults_of(const Inspection& inspection) {
  const Handle<x509_store_st> store = check(X509_STORE_new(), verifying);
  for (const Certificate& root : inspection.roots) {
    check(X509_STORE_add_cert(store.get(), root.native()), verifying);
  }
  const Handle<stack_st_X509> others = stack_of(inspection.chain.subspan(1));
  const Handle<x509_store_ctx_st> context = check(X509_STORE_CTX_new(), verifying);
  check(X509_STORE_CTX_init(context.get(), store.get(), inspection.chain.front().native(),
                            others.get()),
        verifying);
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, inspection.now.time_since_epoch().count());
  X509_VERIFY_PARAM_set_purpose(
      parameters, inspection.for_client ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER);
  X509_VERIFY_PARAM_set_auth_level(parameters, 0);  // weakness is judged below, by name
  std::vector<Fault> faults;
  X509_STORE_CTX_set_app_data(context.get(), &faults);
  X509_STORE_CTX_set_verify_cb(context.get(), collect);
  if (X509_verify_cert(context.get()) <= 0 && faults.empty()) {
    faults.push_back({X509_STORE_CTX_get_error(context.get()), 0});
  }
  forget_openssl_errors();
  return faults;
}

// --- the findings ---

class Inspector {
 public:
  explicit Inspector(const Inspection& inspection)
      : inspection_(inspection), leaf_(inspection.chain.front()) {}

  Findings run() {
    if (!inspection_.roots.empty()) judge_chain();
    judge_order();
    judge_dates();
    judge_usage();
    if (inspection_.host.has_value() && !inspection_.for_client) judge_names(*inspection_.host);
    judge_strength();
    judge_form();
    return std::move(findings_);
  }

 private:
  void add(Level level, const char* id, std::string what, std::string remedy) {
    const bool is_known = std::ranges::any_of(findings_, [&](const Finding& finding) {
      return finding.id == id && finding.what == what;
    });
    if (!is_known) findings_.push_back({level, id, std::move(what), std::move(remedy)});
  }
  void problem(const char* id, std::string what, std::string remedy) {
    add(Level::problem, id, std::move(what), std::move(remedy));
  }
  void note(const char* id, std::string what, std::string remedy) {
    add(Level::note, id, std::move(what), std::move(remedy));
  }

  // The certificate at the end of what leads up from the leaf.
  [[nodiscard]] const Certificate& top() const {
    const Certificate* at = &leaf_;
    for (std::size_t steps = 0; steps < inspection_.chain.size() && !names_itself(*at); ++steps) {
      const auto next = std::ranges::find_if(inspection_.chain, [&](const Certificate& candidate) {
        return is_issuer(candidate, *at);
      });
      if (next == inspection_.chain.end()) break;
      at = &*next;
    }
    return *at;
  }

  void judge_chain() {
    for (const Fault& fault : faults_of(inspection_)) judge_fault(fault);
  }

  void judge_fault(const Fault& fault) {
    switch (fault.error) {
      case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
      case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
      case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: judge_issuer(); break;
      case X509_V_ERR_CERT_HAS_EXPIRED:
      case X509_V_ERR_CERT_NOT_YET_VALID:
        if (fault.depth > 0) {
          problem("issuer-expired",
                  "a certificate between this one and its root, or the root, is out of its dates",
                  "renew it, or take it out of the file");
        }
        break;
      case X509_V_ERR_INVALID_PURPOSE:
        if (fault.depth > 0) {
          problem("issuer-usage", "the usages of a certificate above it exclude it",
                  "sign it with a CA that may sign such certificates");
        }
        break;  // of the leaf itself: judge_usage()
      case X509_V_ERR_INVALID_CA:
      case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        problem("issuer-not-ca", "what has signed it is no CA certificate", "sign it with a CA");
        break;
      case X509_V_ERR_PERMITTED_VIOLATION:
      case X509_V_ERR_EXCLUDED_VIOLATION:
        problem("name-constraints", "the name constraints of its root exclude one of its names",
                "ask for names that the root allows, or make a new root");
        break;
      case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        problem("bad-signature", "its signature is not that of the issuer that it names",
                "another key of the same name has signed it: use that one's root, or make it anew");
        break;
      default:
        problem("does-not-verify", X509_verify_cert_error_string(fault.error),
                "make a new certificate");
    }
  }

  // Nobody who is trusted has signed what is at the top.
  void judge_issuer() {
    const Certificate& last = top();
    const std::string issuer = issuer_of(last);
    const auto namesake = std::ranges::any_of(
        inspection_.roots, [&](const Certificate& root) { return is_issuer(root, last); });
    if (namesake && !names_itself(leaf_)) {
      problem("older-root",
              fmt::format("it was signed by another root with the name {}, not by the one that is "
                          "trusted",
                          quote(issuer)),
              "issue it anew, or trust the root that signed it");
    } else if (names_itself(leaf_)) {
      problem("self-signed", "it is self-signed, and is not among the trusted roots",
              "issue one from a root that clients have: pki --domains NAME");
    } else if (issuer.starts_with(root_name)) {
      problem("older-root",
              fmt::format("it was signed by {}, which is not trusted: an older root, or another "
                          "directory's",
                          quote(issuer)),
              "issue it anew from the root that clients have, or name its root with --ca-cert");
    } else if (names_itself(last)) {
      problem(
          "unknown-root", fmt::format("its root {} is not trusted", quote(issuer)),
          "name the file with its root by --ca-cert, or issue it from a root that clients have");
    } else {
      problem("missing-intermediate",
              fmt::format("its issuer {} is neither sent along nor trusted", quote(issuer)),
              "if that is an intermediate, append it to the server's certificate file; if it is a "
              "root, name its file with --ca-cert");
    }
  }

  void judge_order() {
    const auto& chain = inspection_.chain;
    for (std::size_t i = 1; i < chain.size(); ++i) {
      if (is_issuer(chain[i], chain[i - 1])) continue;
      problem("chain-order",
              fmt::format("certificate {} of {} ({}) has not signed the one before it", i + 1,
                          chain.size(), name_of(chain[i])),
              "write the file in order: the certificate, then what signed it, and so on");
      return;
    }
  }

  void judge_dates() {
    const Validity validity = leaf_.validity();
    const std::string renew = "renew it, and let the server load it";
    if (inspection_.now > validity.not_after) {
      problem("expired", fmt::format("it expired on {}", text(validity.not_after)), renew);
    } else if (validity.not_after - inspection_.now < inspection_.warn) {
      const days left = std::chrono::floor<days>(validity.not_after - inspection_.now);
      problem("expires-soon",
              fmt::format("it expires in {}, on {}", text(left), text(validity.not_after)), renew);
    }
    if (inspection_.now < validity.not_before) {
      problem("not-yet-valid",
              fmt::format("it is not valid before {}, and the clock here says {}",
                          text(validity.not_before), text(inspection_.now)),
              "set the clocks, or wait");
    }
    if (validity.length() > longest_lifetime) {
      problem(
          "over-825-days",
          fmt::format("it is valid for {}: Apple's clients take no more than {}",
                      text(std::chrono::floor<days>(validity.length())), longest_lifetime.count()),
          "issue it with a shorter lifetime");
    }
  }

  void judge_usage() {
    const bool serves =
        inspection_.for_client ? leaf_.allows_client_auth() : leaf_.allows_server_auth();
    const char* const use = inspection_.for_client ? "client" : "server";
    if (leaf_.is_ca()) {
      problem("ca-as-leaf",
              "it is a CA certificate: rustls and others refuse that, and its key "
              "can sign for any name",
              "issue one for this host from it, and keep its key to yourself");
    }
    if (!serves) {
      problem("wrong-usage", fmt::format("its extended key usage does not allow it for a {}", use),
              fmt::format("issue it with --profile {}", use));
    } else if ((X509_get_key_usage(leaf_.native()) & KU_DIGITAL_SIGNATURE) == 0) {
      problem("wrong-usage", "its key usage does not allow digital signatures, as TLS needs them",
              "issue it anew");
    }
    if (!inspection_.for_client && leaf_.allows_client_auth()) {
      note("also-client",
           "it serves for clients too: whoever has its key may log in as a role of its name",
           "issue it with --profile server");
    }
  }

  void judge_names(const std::string& host) {
    const PresentedNames names = presented_names(leaf_);
    const std::string address = address_text(host);
    const bool is_address = !address.empty();
    const auto& candidates = is_address ? names.addresses : names.dns;
    const bool matches = std::ranges::any_of(candidates, [&](const std::string& name) {
      return is_address ? name == address : matches_dns_name(name, host);
    });
    if (matches) return;
    const std::string reissue =
        fmt::format("issue it for that name too: pki {} ...,{}",
                    is_address ? "--ip-addresses" : "--domains", printable(host));
    const bool common_name_matches =
        is_address ? names.common_name == host : matches_dns_name(names.common_name, host);
    if (!names.has_sans() && common_name_matches) {
      problem("cn-only",
              fmt::format("it has {} as its common name only: Go, rustls and others refuse it",
                          quote(host)),
              "issue it anew: pki writes every name as a subject alternative name");
    } else if (is_address && names.addresses.empty()) {
      problem("no-ip-san", fmt::format("it has no IP address, and {} is connected to", quote(host)),
              reissue + ", or connect by name");
    } else {
      problem("name-mismatch", describe_mismatch(names, host), reissue);
    }
  }

  static std::string describe_mismatch(const PresentedNames& names, const std::string& host) {
    std::vector<std::string> all = names.dns;
    all.insert(all.end(), names.addresses.begin(), names.addresses.end());
    if (all.empty() && !names.common_name.empty()) all.push_back(names.common_name);
    if (all.empty()) return fmt::format("it has no name at all, and not {}", quote(host));
    const auto nearest = std::ranges::min_element(all, {}, [&](const std::string& name) {
      return distance(std::string_view(name).substr(0, 253), host);
    });
    return fmt::format("it is not for {}; the nearest of its {} name{} is {}", quote(host),
                       all.size(), all.size() == 1 ? "" : "s", quote(*nearest));
  }

  void judge_strength() {
    for (const Certificate& certificate : inspection_.chain) {
      const bool is_root = names_itself(certificate);
      judge_key(certificate);
      if (!is_root || &certificate == &leaf_) judge_signature(certificate);
    }
  }

  void judge_key(const Certificate& certificate) {
    const evp_pkey_st* key = X509_get0_pubkey(certificate.native());
    if (key == nullptr) {
      forget_openssl_errors();
      problem("weak-key", fmt::format("the key of {} cannot be read", name_of(certificate)),
              "issue it with --key-type p256");
      return;
    }
    constexpr int least_security = 112;  // NIST SP 800-57: RSA 2048, P-224
    if (EVP_PKEY_get_security_bits(key) < least_security) {
      problem("weak-key",
              fmt::format("the key of {} is {}: OpenSSL's clients refuse it", name_of(certificate),
                          certificate.public_key().description()),
              "issue it with --key-type p256");
    }
  }

  void judge_signature(const Certificate& certificate) {
    const SignatureKind kind = signature_of(certificate);
    if (kind.digest == NID_md5 || kind.digest == NID_sha1 || kind.digest == NID_md5_sha1) {
      problem("weak-signature",
              fmt::format("{} is signed with {}: clients refuse it", name_of(certificate),
                          OBJ_nid2sn(kind.digest)),
              "issue it from a root that signs with SHA-256");
    }
    if (&certificate != &leaf_ || inspection_.for_client) return;
    if (kind.key == NID_ED25519 || kind.key == NID_ED448) {
      problem("no-channel-binding",
              fmt::format("it is signed with {}, for which libpq finds no channel binding: SCRAM "
                          "logins straight to PostgreSQL fail",
                          OBJ_nid2sn(kind.key)),
              "issue it from an EC or RSA root, or let clients set channel_binding=disable");
    } else if (kind.key == NID_rsassaPss) {
      note("no-channel-binding",
           "it is signed with RSA-PSS, for which older libpq finds no channel binding",
           "sign it with RSA PKCS #1 or EC");
    }
  }

  void judge_form() {
    if (X509_get_version(leaf_.native()) != X509_VERSION_3) {
      problem("not-v3", "it is no X.509 v3 certificate: rustls and others refuse it",
              "issue it anew");
    } else if (!names_itself(leaf_) && authority_key_identifier(leaf_).empty()) {
      problem("no-aki",
              "it has no authority key identifier: Python 3.13's default context refuses "
              "it",
              "issue it anew");
    }
  }

  const Inspection& inspection_;
  const Certificate& leaf_;
  Findings findings_;
};

}  // namespace

Findings inspect(const Inspection& inspection) { return Inspector(inspection).run(); }

}  // namespace pki
