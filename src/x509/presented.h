// The names that a certificate of whatever maker presents, as they are: they may be no valid names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pki/certificate.h"

namespace pki {

struct PresentedNames {
  std::vector<std::string> dns;        // dNSName, any bytes
  std::vector<std::string> addresses;  // iPAddress as text; one of a wrong length is left out
  std::string common_name;             // the first one; empty if there is none

  [[nodiscard]] bool has_sans() const noexcept { return !dns.empty() || !addresses.empty(); }
};

[[nodiscard]] PresentedNames presented_names(const Certificate& certificate);

/// The canonical text of an IP address; empty for any other text.
[[nodiscard]] std::string address_text(std::string_view host);

/// RFC 9525 6.3: without regard to case; `*` stands for exactly one left-most label, with two more
/// behind it.
[[nodiscard]] bool matches_dns_name(std::string_view pattern, std::string_view host);

/// As bytes; empty if there is none.
[[nodiscard]] std::string authority_key_identifier(const Certificate& certificate);

}  // namespace pki
