// A file to be made: its permission travels with its bytes.
#pragma once

#include <string>

#include "pki/secret.h"

namespace pki {

struct File {
  std::string name;  // without a directory
  SecretBytes contents;
  unsigned mode;  // given to the open call itself, whatever the umask

  /// For what is public: certificates, the ledger.
  static constexpr unsigned public_mode = 0644;
  /// For keys.
  static constexpr unsigned secret_mode = 0600;
};

}  // namespace pki
