// Somebody who is to read files.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace pki {

/// A user who is to read the files. Permissions are judged as the kernel would judge them for a
/// process of his; root is bound by none.
struct Reader {
  std::string name;  // for messages
  uid_t user;
  gid_t group;
  std::vector<gid_t> groups;
};

/// Whoever runs this, by his effective identity.
[[nodiscard]] Reader this_process();

/// By name or number, with all groups; nothing for a name that the system does not know. A number
/// that it does not know is a user without groups, as in a container.
[[nodiscard]] std::optional<Reader> find_reader(const std::string& name);

}  // namespace pki
