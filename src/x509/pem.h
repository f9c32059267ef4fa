// PEM (RFC 7468), for text that may hold a private key.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pki/secret.h"

namespace pki {

[[nodiscard]] SecretBytes to_pem(std::string_view label, std::span<const unsigned char> der);

struct PemBlock {
  std::string label;  // "CERTIFICATE"; empty where there was no further block
  SecretBytes der;
  bool encrypted = false;  // "Proc-Type: 4,ENCRYPTED", the form that OpenSSL wrote before PKCS#8
};

/// The first block in `text` whose label `wanted` accepts. Text around blocks is skipped.
[[nodiscard]] PemBlock find_pem(std::string_view text,
                                const std::function<bool(std::string_view label)>& wanted);

/// The contents of every block with this label, in order.
[[nodiscard]] std::vector<SecretBytes> all_pem(std::string_view text, std::string_view label);

}  // namespace pki
