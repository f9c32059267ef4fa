// A PEM file of certificates, with all that is wrong with it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pki/certificate.h"

namespace pki {

struct CertificateFile {
  std::vector<Certificate> certificates;  // in order
  /// What cannot be read: "certificate 3: ...". For one of these OpenSSL refuses the whole file.
  std::vector<std::string> damage;
  bool has_private_key = false;
};

/// Never throws.
[[nodiscard]] CertificateFile parse_certificate_file(std::string_view pem);

}  // namespace pki
