// A file to be made: its permission and its owner travel with its bytes.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pki/secret.h"

namespace pki {

/// Who files are made for. What is not given stays as it is for the process that makes them.
struct Owner {
  std::optional<uid_t> user;
  std::optional<gid_t> group;

  /// PostgreSQL and libpq take a key of 0600 that belongs to the service, or one of 0640 that
  /// belongs to root: so a group may read a key if no user but root was asked for.
  [[nodiscard]] bool shares_with_group() const noexcept {
    return group.has_value() && user.value_or(0) == 0;
  }
};

struct File {
  std::string name;  // without a directory
  SecretBytes contents;
  unsigned mode;  // never wider than this, not even for a moment, whatever the umask
  Owner owner = {};
  /// Extended attributes, name and value: the ACL and the label of a file that this one replaces.
  std::vector<std::pair<std::string, std::string>> attributes = {};

  /// For what is public: certificates, the ledger.
  static constexpr unsigned public_mode = 0644;
  /// For keys.
  static constexpr unsigned secret_mode = 0600;
  static constexpr unsigned group_secret_mode = 0640;

  static unsigned key_mode(const Owner& owner) noexcept {
    return owner.shares_with_group() ? group_secret_mode : secret_mode;
  }
};

}  // namespace pki
