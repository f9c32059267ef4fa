#include "postgres/verdicts.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/ascii.h"
#include "base/openssl.h"
#include "pki/error.h"
#include "pki/names.h"
#include "x509/presented.h"

namespace pki {
namespace {

// --- Names ---------------------------------------------------------------------------------------

/// What a client connects to.
struct Host {
  std::string text;
  std::string address;  // canonical; empty for a name

  [[nodiscard]] bool is_address() const noexcept { return !address.empty(); }
};

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

template <class Matches>
bool any_matches(const std::vector<std::string>& patterns, Matches matches, std::string_view host) {
  return std::ranges::any_of(patterns,
                             [&](const std::string& pattern) { return matches(pattern, host); });
}

std::string_view without_last_dot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

bool holds_nul(std::string_view name) { return name.find('\0') != std::string_view::npos; }

// From the first dot on.
std::string_view domain_of(std::string_view name) {
  const std::size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(dot);
}

// Whether a star may stand before it: .example.org, not .example.
bool is_long_domain(std::string_view domain) {
  return !domain.empty() && !domain_of(domain.substr(1)).empty();
}

// A star is a whole label, and stands for one.
bool plain_or_star(std::string_view pattern, std::string_view host) {
  if (equal_ignoring_case(pattern, host)) return true;
  const std::string_view domain = domain_of(host);
  return pattern.starts_with("*.") && domain.size() > 1 && domain.size() < host.size() &&
         equal_ignoring_case(pattern.substr(1), domain);
}

bool plain_or_long_star(std::string_view pattern, std::string_view host) {
  return plain_or_star(pattern, host) &&
         (equal_ignoring_case(pattern, host) || is_long_domain(domain_of(host)));
}

// The certificate's DNS names are compared with an address, too.
bool libpq_takes(const PresentedNames& names, const Host& host, bool reads_addresses) {
  for (const std::string& name : names.dns) {
    if (holds_nul(name)) return false;
    if (plain_or_star(name, host.text)) return true;
  }
  if (reads_addresses && host.is_address()) {
    if (contains(names.addresses, host.address)) return true;
    if (!names.addresses.empty()) return false;
  } else if (!names.dns.empty()) {
    return false;
  }
  return plain_or_star(names.common_name, host.text);
}

bool libpq_15_takes(const PresentedNames& names, const Host& host) {
  return libpq_takes(names, host, true);
}

bool libpq_14_takes(const PresentedNames& names, const Host& host) {
  return libpq_takes(names, host, false);
}

// The common name always counts, whatever else there is.
bool pgbouncer_takes(const PresentedNames& names, const Host& host) {
  if (host.is_address()) {
    return contains(names.addresses, host.address) || names.common_name == host.text;
  }
  for (const std::string& name : names.dns) {
    if (holds_nul(name) || name == " ") return false;
    if (plain_or_long_star(name, host.text)) return true;
  }
  return plain_or_long_star(names.common_name, host.text);
}

bool go_takes(const PresentedNames& names, const Host& host) {
  if (host.is_address()) return contains(names.addresses, host.address);
  return any_matches(names.dns, equal_ignoring_case, host.text) ||
         any_matches(names.dns, plain_or_star, without_last_dot(host.text));
}

// rustls-pki-types holds our rules of a host name, and takes underscores besides.
bool is_host_for_rustls(const Host& host) {
  std::string name = host.text;
  std::ranges::replace(name, '_', 'a');
  try {
    return host.is_address() || !DnsName::parse(name).is_wildcard();
  } catch (const Error&) {
    return false;
  }
}

bool rustls_takes(const PresentedNames& names, const Host& host) {
  if (host.is_address()) return contains(names.addresses, host.address);
  return is_host_for_rustls(host) &&
         any_matches(names.dns, plain_or_long_star, without_last_dot(host.text));
}

// A star stands for whatever begins the first label.
bool pgjdbc_matches(std::string_view pattern, std::string_view host) {
  const std::size_t star = pattern.rfind('*');
  if (star == std::string_view::npos) return equal_ignoring_case(pattern, host);
  const std::string_view rest = pattern.substr(1);
  if (star != 0 || domain_of(rest).empty() || host.size() < rest.size()) return false;
  const std::size_t rest_starts = host.size() - rest.size();
  return domain_of(host.substr(0, rest_starts)).empty() &&
         equal_ignoring_case(rest, host.substr(rest_starts));
}

// All eight groups of an IPv6 address.
std::string java_spelling(const std::string& address) {
  const IpAddress parsed = IpAddress::parse(address);
  const std::span<const std::uint8_t> bytes = parsed.bytes();
  if (bytes.size() == 4) return address;
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    out += fmt::format("{}{:x}", i == 0 ? "" : ":", bytes[i] << 8 | bytes[i + 1]);
  }
  return out;
}

// Addresses are compared as text, just like names.
bool pgjdbc_takes(const PresentedNames& names, const Host& host) {
  if (any_matches(names.dns, pgjdbc_matches, host.text)) return true;
  if (std::ranges::any_of(names.addresses, [&](const std::string& address) {
        return equal_ignoring_case(java_spelling(address), host.text);
      })) {
    return true;
  }
  return names.dns.empty() && pgjdbc_matches(names.common_name, host.text);
}

// A star stands for anything within the first label: db*.example.org.
bool node_matches(std::string_view pattern, std::string_view host) {
  pattern = without_last_dot(pattern);
  if (equal_ignoring_case(pattern, host)) return true;
  const std::string_view domain = domain_of(pattern);
  const std::string_view label = pattern.substr(0, pattern.size() - domain.size());
  const std::size_t star = label.find('*');
  if (star == std::string_view::npos || label.rfind('*') != star || !is_long_domain(domain) ||
      !equal_ignoring_case(domain, domain_of(host)) ||
      ascii_lower(std::string(label)).find("xn--") != std::string::npos) {
    return false;
  }
  const std::string_view before = label.substr(0, star);
  const std::string_view after = label.substr(star + 1);
  const std::string_view host_label = host.substr(0, host.size() - domain.size());
  return before.size() + after.size() <= host_label.size() &&
         equal_ignoring_case(before, host_label.substr(0, before.size())) &&
         equal_ignoring_case(after, host_label.substr(host_label.size() - after.size()));
}

bool node_takes(const PresentedNames& names, const Host& host) {
  if (host.is_address()) return contains(names.addresses, host.address);
  const std::string_view name = without_last_dot(host.text);
  if (!names.dns.empty()) return any_matches(names.dns, node_matches, name);
  return !names.common_name.empty() && node_matches(names.common_name, name);
}

// node-postgres named no address to Node, which then has another host in mind.
bool old_node_takes(const PresentedNames& names, const Host& host) {
  return node_takes(names, host.is_address() ? Host{"localhost", {}} : host);
}

// --- Chains --------------------------------------------------------------------------------------

struct Fault {
  int code;  // X509_V_ERR_...
  std::size_t depth;
};

/// From the leaf to what is trusted, or as far as there is a way.
struct Path {
  std::vector<Certificate> certificates;  // not empty
  std::vector<Fault> faults;              // all that OpenSSL finds
  bool is_anchored = false;               // the last certificate is one of the trusted ones

  [[nodiscard]] const Certificate& leaf() const { return certificates.front(); }
  /// Whether it is trusted and, not being the leaf, only there to vouch for others.
  [[nodiscard]] bool is_anchor(std::size_t depth) const {
    return is_anchored && depth > 0 && depth + 1 == certificates.size();
  }
};

enum class Scope { leaf, below_anchor, all };

/// OpenSSL verifies for every client; this is where they differ. Usages are in the bits of
/// X509_get_key_usage and X509_get_extended_key_usage: one of them is enough, and all are there in
/// a certificate that has no such extension.
struct ChainRules {
  bool any_anchor;     // whatever is trusted ends a chain, not a root alone
  int security_level;  // of OpenSSL: 2 is Debian's, and wants 112 bits of keys and digests
  std::uint32_t key_usages;
  std::uint32_t extended_key_usages;
  Scope extended_key_usage_scope;
  bool trusts_leaf_blindly;  // which is trusted itself
  bool (*overlooks)(const Fault&, const Path&);
  std::string (*objection)(const Path&);  // a further reason to refuse; empty for none
};

Handle<x509_st> share(x509_st* certificate) {
  X509_up_ref(certificate);
  return Handle<x509_st>(certificate);
}

int note_fault(int ok, X509_STORE_CTX* context) noexcept {
  if (ok == 0) {
    auto* faults = static_cast<std::vector<Fault>*>(X509_STORE_CTX_get_app_data(context));
    faults->push_back({X509_STORE_CTX_get_error(context),
                       static_cast<std::size_t>(X509_STORE_CTX_get_error_depth(context))});
  }
  return 1;  // go on: there may be more
}

Path find_path(std::span<const Certificate> chain, std::span<const Certificate> roots, Instant now,
               const ChainRules& rules) {
  constexpr const char* doing = "verifying a chain";
  const Handle<x509_store_st> store = check(X509_STORE_new(), doing);
  for (const Certificate& root : roots) {
    check(X509_STORE_add_cert(store.get(), root.native()), doing);
  }
  const Handle<stack_st_X509> sent = check(sk_X509_new_null(), doing);
  for (const Certificate& certificate : chain) {
    check(X509_add_cert(sent.get(), certificate.native(), X509_ADD_FLAG_UP_REF), doing);
  }
  Path path;
  const Handle<x509_store_ctx_st> context = check(X509_STORE_CTX_new(), doing);
  check(X509_STORE_CTX_init(context.get(), store.get(), chain.front().native(), sent.get()), doing);
  X509_STORE_CTX_set_time(context.get(), 0, now.time_since_epoch().count());
  X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(context.get()), rules.security_level);
  if (rules.any_anchor) X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_PARTIAL_CHAIN);
  X509_STORE_CTX_set_app_data(context.get(), &path.faults);
  X509_STORE_CTX_set_verify_cb(context.get(), note_fault);
  const bool did_verify = X509_verify_cert(context.get()) > 0;
  forget_openssl_errors();
  if (!did_verify) path.faults.push_back({X509_STORE_CTX_get_error(context.get()), 0});

  const stack_st_X509* found = X509_STORE_CTX_get0_chain(context.get());
  for (int i = 0; i < sk_X509_num(found); ++i) {
    path.certificates.emplace_back(share(sk_X509_value(found, i)));
  }
  if (path.certificates.empty()) path.certificates.push_back(chain.front());
  for (Fault& fault : path.faults) {
    fault.depth = std::min(fault.depth, path.certificates.size() - 1);
  }
  path.is_anchored = std::ranges::any_of(roots, [&](const Certificate& root) {
    return X509_cmp(root.native(), path.certificates.back().native()) == 0;
  });
  return path;
}

std::string one_line(const X509_NAME* name) {
  char* line = X509_NAME_oneline(name, nullptr, 0);
  const std::string text = line != nullptr ? line : "";
  OPENSSL_free(line);
  return fmt::format("\"{}\"", text);  // with escapes of its own
}

std::string describe(const Path& path, std::size_t depth) {
  if (depth == 0) return "the certificate";
  return "its issuer " + one_line(X509_get_subject_name(path.certificates[depth].native()));
}

std::string describe(const Path& path, const Fault& fault) {
  const Certificate& certificate = path.certificates[fault.depth];
  const std::string who = describe(path, fault.depth);
  switch (fault.code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return fmt::format("{} expired at {}", who, text(certificate.validity().not_after));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return fmt::format("{} is not valid before {}", who, text(certificate.validity().not_before));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
      return fmt::format("{} is trusted but no root, and it wants a root", who);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return fmt::format("{} comes from {}, which is neither sent nor trusted", who,
                         one_line(X509_get_issuer_name(certificate.native())));
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return "the certificate is signed by itself, and not trusted";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: return fmt::format("{} is not trusted", who);
    default: return fmt::format("{}: {}", who, X509_verify_cert_error_string(fault.code));
  }
}

bool overlooks_nothing(const Fault& /*fault*/, const Path& /*path*/) { return false; }

std::string no_objection(const Path& /*path*/) { return {}; }

// An anchor is a name, a key and name constraints; basicConstraints make other CAs; and key usage
// is not read at all.
bool rustls_overlooks(const Fault& fault, const Path& path) {
  const bool is_anchor = path.is_anchor(fault.depth);
  switch (fault.code) {
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN: return true;
    case X509_V_ERR_INVALID_CA: return is_anchor || path.certificates[fault.depth].is_ca();
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED: return is_anchor;
    default: return false;
  }
}

// Whose certificate is constrained is what OpenSSL tells, and not by whom.
bool only_anchor_constrains_names(const Path& path) {
  for (std::size_t i = 0; i < path.certificates.size(); ++i) {
    const bool constrains =
        X509_get_ext_by_NID(path.certificates[i].native(), NID_name_constraints, -1) >= 0;
    if (constrains && !path.is_anchor(i)) return false;
  }
  return true;
}

bool java_overlooks(const Fault& fault, const Path& path) {
  switch (fault.code) {
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION: return only_anchor_constrains_names(path);
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED: return path.is_anchor(fault.depth);
    default: return false;
  }
}

int digest_of_signature(const Certificate& certificate) {
  int digest = NID_undef;
  int key = NID_undef;
  OBJ_find_sigid_algs(X509_get_signature_nid(certificate.native()), &digest, &key);
  return digest;
}

std::string refuse_signature(const Path& path, std::size_t depth) {
  return fmt::format("{} is signed with {}, which it does not take", describe(path, depth),
                     OBJ_nid2ln(X509_get_signature_nid(path.certificates[depth].native())));
}

std::string go_objection(const Path& path) {
  for (std::size_t i = 0; i < path.certificates.size(); ++i) {
    const int digest = digest_of_signature(path.certificates[i]);
    const bool is_weak = digest == NID_md5 || digest == NID_sha1 || digest == NID_sha224;
    if (is_weak && !path.is_anchor(i)) return refuse_signature(path, i);
  }
  return {};
}

struct KeyKind {
  int algorithm;  // EVP_PKEY_RSA and so on
  int bits;
};

KeyKind key_kind(const Certificate& certificate) {
  const EVP_PKEY* key = X509_get0_pubkey(certificate.native());
  forget_openssl_errors();
  if (key == nullptr) return {EVP_PKEY_NONE, 0};
  return {EVP_PKEY_get_base_id(key), EVP_PKEY_get_bits(key)};
}

// ring is what rustls computes with, here.
bool ring_takes_key(const KeyKind& key) {
  switch (key.algorithm) {
    case EVP_PKEY_RSA: return key.bits >= 2048;
    case EVP_PKEY_EC: return key.bits == 256 || key.bits == 384;
    case EVP_PKEY_ED25519: return true;
    default: return false;
  }
}

bool ring_takes_digest(int digest, const KeyKind& signer) {
  switch (digest) {
    case NID_undef:  // Ed25519 has none
    case NID_sha256:
    case NID_sha384: return true;
    case NID_sha512: return signer.algorithm == EVP_PKEY_RSA;
    default: return false;
  }
}

std::string rustls_objection(const Path& path) {
  if (path.leaf().is_ca()) return "the certificate is a CA's, which it takes from no server";
  if (path.certificates.size() == 1 && !path.leaf().is_signed_by(path.leaf())) {
    return "the certificate itself is trusted, and it wants its issuer";
  }
  for (std::size_t i = 0; i < path.certificates.size(); ++i) {
    const Certificate& certificate = path.certificates[i];
    if (!ring_takes_key(key_kind(certificate))) {
      return fmt::format("{} has a key that it does not take", describe(path, i));
    }
    if (path.is_anchor(i)) break;
    const std::size_t signer = std::min(i + 1, path.certificates.size() - 1);
    if (!ring_takes_digest(digest_of_signature(certificate), key_kind(path.certificates[signer]))) {
      return refuse_signature(path, i);
    }
    if (X509_get_version(certificate.native()) != X509_VERSION_3) {
      return fmt::format("{} is of version 1, and it takes version 3 only", describe(path, i));
    }
  }
  return {};
}

std::string refusal_of_chain(const ChainRules& rules, const Path& path) {
  if (rules.trusts_leaf_blindly && path.is_anchored && path.certificates.size() == 1) return {};
  for (const Fault& fault : path.faults) {
    if (!rules.overlooks(fault, path)) return describe(path, fault);
  }
  if ((X509_get_key_usage(path.leaf().native()) & rules.key_usages) == 0) {
    return "the certificate's key usage does not allow what a server does";
  }
  for (std::size_t i = 0; i < path.certificates.size(); ++i) {
    const bool is_in_scope =
        i == 0 || rules.extended_key_usage_scope == Scope::all ||
        (rules.extended_key_usage_scope == Scope::below_anchor && !path.is_anchor(i));
    const std::uint32_t usages = X509_get_extended_key_usage(path.certificates[i].native());
    if (is_in_scope && (usages & rules.extended_key_usages) == 0) {
      return fmt::format("{} has an extended key usage without serverAuth", describe(path, i));
    }
  }
  return rules.objection(path);
}

// --- The table -----------------------------------------------------------------------------------

constexpr std::uint32_t any_usage = 0xffffffff;

constexpr ChainRules openssl_rules{
    .any_anchor = false,
    .security_level = 2,
    .key_usages = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT,
    .extended_key_usages = XKU_SSL_SERVER | XKU_SGC,
    .extended_key_usage_scope = Scope::all,
    .trusts_leaf_blindly = false,
    .overlooks = overlooks_nothing,
    .objection = no_objection,
};

constexpr ChainRules go_rules{
    .any_anchor = true,
    .security_level = 0,
    .key_usages = any_usage,
    .extended_key_usages = XKU_SSL_SERVER | XKU_ANYEKU,
    .extended_key_usage_scope = Scope::all,
    .trusts_leaf_blindly = false,
    .overlooks = overlooks_nothing,
    .objection = go_objection,
};

constexpr ChainRules rustls_rules{
    .any_anchor = true,
    .security_level = 0,
    .key_usages = any_usage,
    .extended_key_usages = XKU_SSL_SERVER,
    .extended_key_usage_scope = Scope::below_anchor,
    .trusts_leaf_blindly = false,
    .overlooks = rustls_overlooks,
    .objection = rustls_objection,
};

constexpr ChainRules java_rules{
    .any_anchor = true,
    .security_level = 0,
    .key_usages = KU_DIGITAL_SIGNATURE,
    .extended_key_usages = XKU_SSL_SERVER | XKU_SGC | XKU_ANYEKU,
    .extended_key_usage_scope = Scope::leaf,
    .trusts_leaf_blindly = true,
    .overlooks = java_overlooks,
    .objection = no_objection,
};

struct Client {
  const char* name;
  bool (*takes)(const PresentedNames&, const Host&);
  /// Why it may refuse an address that is in the certificate.
  std::string_view on_addresses;
  const ChainRules& chain;
};

constexpr Client libpq{"libpq 15 and later", libpq_15_takes, "", openssl_rules};

constexpr std::array clients{
    libpq,
    Client{"libpq before 15", libpq_14_takes,
           "it looks at no addresses in certificates, but at DNS names and the common name",
           openssl_rules},
    Client{"PgBouncer", pgbouncer_takes, "", openssl_rules},
    Client{"Go (pgx)", go_takes, "", go_rules},
    Client{"rustls (tokio-postgres)", rustls_takes, "", rustls_rules},
    Client{"pgjdbc", pgjdbc_takes,
           "it compares addresses as text: of IPv6 it takes the spelling with all eight groups",
           java_rules},
    Client{"node-postgres", node_takes, "", openssl_rules},
    Client{"node-postgres before 8.23.1", old_node_takes,
           "connected to an address it looks for localhost, unless ssl.host is set", openssl_rules},
};

bool is_some_wildcard_for(std::string_view pattern, std::string_view host) {
  return plain_or_star(pattern, host) || pgjdbc_matches(pattern, host) ||
         node_matches(pattern, host);
}

std::string refusal_of_name(const Client& client, const PresentedNames& names, const Host& host) {
  if (client.takes(names, host)) return {};
  const std::string sought = quote(host.text);
  if (host.is_address()) {
    if (contains(names.addresses, host.address)) return std::string(client.on_addresses);
  } else {
    const Host dotless{std::string(without_last_dot(host.text)), {}};
    if (dotless.text != host.text && client.takes(names, dotless)) {
      return "it does not take the dot at the end of a host name";
    }
    if (&client.chain == &rustls_rules && !is_host_for_rustls(host)) {
      return fmt::format("{} is no host name to it", sought);
    }
  }
  for (const std::string& name : names.dns) {
    if (holds_nul(name)) return fmt::format("the name {} holds a NUL", quote(name));
    if (host.is_address() && equal_ignoring_case(name, host.text)) {
      return "it does not look for addresses among DNS names";
    }
    if (is_some_wildcard_for(name, host.text)) {
      return fmt::format("it does not take {} for {}", quote(name), sought);
    }
  }
  if (plain_or_star(names.common_name, host.text)) {
    return fmt::format("{} is the common name only, which it does not look at here", sought);
  }
  return fmt::format("no name in the certificate is {}", sought);
}

Verdict judge(const Client& client, std::span<const Certificate> chain,
              std::span<const Certificate> roots, const std::string& host, Instant now) {
  std::string reason = refusal_of_chain(client.chain, find_path(chain, roots, now, client.chain));
  if (reason.empty()) {
    reason =
        refusal_of_name(client, presented_names(chain.front()), Host{host, address_text(host)});
  }
  return {client.name, reason.empty(), std::move(reason)};
}

}  // namespace

std::vector<Verdict> client_verdicts(std::span<const Certificate> chain,
                                     std::span<const Certificate> roots, const std::string& host,
                                     Instant now) {
  std::vector<Verdict> verdicts;
  verdicts.reserve(clients.size());
  for (const Client& client : clients) {
    verdicts.push_back(judge(client, chain, roots, host, now));
  }
  return verdicts;
}

bool is_verified(std::span<const Certificate> chain, std::span<const Certificate> roots,
                 const std::string& host, Instant now) {
  return judge(libpq, chain, roots, host, now).accepts;
}

}  // namespace pki
