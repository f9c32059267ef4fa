// Somebody who is to read files.
#pragma once

#include <sys/types.h>

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

}  // namespace pki
