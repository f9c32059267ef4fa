#include "pki/reader.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace pki {

Reader this_process() {
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(0, ::getgroups(0, nullptr))));
  const int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<std::size_t>(std::max(0, count)));
  const passwd* entry = ::getpwuid(::geteuid());
  return {entry != nullptr ? entry->pw_name : std::to_string(::geteuid()), ::geteuid(), ::getegid(),
          std::move(groups)};
}

std::optional<Reader> find_reader(const std::string& name) {
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) {
    constexpr auto nobody = static_cast<uid_t>(-1);
    uid_t id = nobody;
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data(), end, id);
    if (error != std::errc{} || stop != end || id == nobody) return std::nullopt;
    entry = ::getpwuid(id);
    if (entry == nullptr) return Reader{name, id, static_cast<gid_t>(-1), {}};
  }
  Reader reader{entry->pw_name, entry->pw_uid, entry->pw_gid, std::vector<gid_t>(64)};
  for (;;) {
    auto count = static_cast<int>(reader.groups.size());
    const bool fits =
        ::getgrouplist(reader.name.c_str(), reader.group, reader.groups.data(), &count) >= 0;
    reader.groups.resize(static_cast<std::size_t>(count));
    if (fits) return reader;
  }
}

}  // namespace pki
