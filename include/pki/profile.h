// What a certificate is for: a table of constants.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "pki/certificate.h"

namespace pki {

struct Profile {
  std::string_view name;
  bool is_ca;
  bool server_auth;  // id-kp-serverAuth, RFC 5280 4.2.1.12
  bool client_auth;  // id-kp-clientAuth
  Lifetime lifetime;
};

/// minica's lifetimes. Two years and 30 days stay below 825 days, which Apple's verifier allows at
/// most, for a private root too (support.apple.com/103769).
namespace profiles {

/// Neither usage: a root with serverAuth alone could not anchor client certificates.
inline constexpr Profile root{"root", true, false, false, {.years = std::chrono::years{100}}};
/// serverAuth only: PgBouncer takes a certificate for host `alice` that has clientAuth too for a
/// login of the role `alice`.
inline constexpr Profile server{
    "server", false, true, false, {std::chrono::years{2}, std::chrono::days{30}}};
inline constexpr Profile client{
    "client", false, false, true, {std::chrono::years{2}, std::chrono::days{30}}};
inline constexpr Profile peer{
    "peer", false, true, true, {std::chrono::years{2}, std::chrono::days{30}}};

}  // namespace profiles

/// What the common names of our roots, and of no host or user, begin with: minica's words.
inline constexpr std::string_view root_name = "minica root ca ";

/// Hosts at their first boot have clocks that lag: a certificate is valid a little before it is
/// made.
inline constexpr std::chrono::minutes backdate{5};

/// What an existing certificate is for, by its extended key usages; nothing for neither of the two.
[[nodiscard]] inline std::optional<Profile> profile_of(const Certificate& certificate) {
  if (certificate.is_ca()) return profiles::root;
  const bool client = certificate.allows_client_auth();
  if (certificate.allows_server_auth()) return client ? profiles::peer : profiles::server;
  return client ? std::optional(profiles::client) : std::nullopt;
}

}  // namespace pki
