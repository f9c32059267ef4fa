#include "store/access.h"

#include <endian.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>
#include <optional>
#include <system_error>

#include "pki/error.h"

namespace pki {
namespace {

namespace fs = std::filesystem;

constexpr unsigned read_bit = 4;
constexpr unsigned search_bit = 1;

std::string reason(int error) { return std::generic_category().message(error); }

bool is_in(const Reader& reader, gid_t group) {
  return reader.group == group || std::ranges::find(reader.groups, group) != reader.groups.end();
}

// --- access control lists (acl(5)) ---

struct AclEntry {
  unsigned tag;
  unsigned permissions;
  std::uint32_t id;
};

// In the kernel's order. Empty: the file has none. Throws Error where there may be one.
std::vector<AclEntry> acl_of(const fs::path& path) {
  std::array<char, XATTR_SIZE_MAX> bytes{};
  const ssize_t size =
      ::lgetxattr(path.c_str(), "system.posix_acl_access", bytes.data(), bytes.size());
  if (size < 0 && (errno == ENODATA || errno == EOPNOTSUPP)) return {};
  if (size < 0) throw Error("its access control list cannot be read: " + reason(errno));

  posix_acl_xattr_header header{};
  const std::size_t length = static_cast<std::size_t>(size);
  if (length >= sizeof header) std::memcpy(&header, bytes.data(), sizeof header);
  if (le32toh(header.a_version) != POSIX_ACL_XATTR_VERSION) {
    throw Error("its access control list is of an unknown kind");
  }
  std::vector<AclEntry> entries;
  posix_acl_xattr_entry entry{};
  for (std::size_t at = sizeof header; at + sizeof entry <= length; at += sizeof entry) {
    std::memcpy(&entry, bytes.data() + at, sizeof entry);
    entries.push_back({le16toh(entry.e_tag), le16toh(entry.e_perm), le32toh(entry.e_id)});
  }
  return entries;
}

bool acl_permits(const std::vector<AclEntry>& acl, gid_t group, const Reader& reader,
                 unsigned wanted) {
  const auto mask = std::ranges::find(acl, unsigned{ACL_MASK}, &AclEntry::tag);
  const unsigned bound = mask != acl.end() ? mask->permissions : 7U;
  bool is_in_a_group = false;
  for (const AclEntry& entry : acl) {
    const bool suffices = (entry.permissions & wanted) != 0;
    if (entry.tag == ACL_USER && entry.id == reader.user) {
      return suffices && (bound & wanted) != 0;
    }
    const bool is_his_group = (entry.tag == ACL_GROUP_OBJ && is_in(reader, group)) ||
                              (entry.tag == ACL_GROUP && is_in(reader, entry.id));
    if (is_his_group && suffices) return (bound & wanted) != 0;
    is_in_a_group = is_in_a_group || is_his_group;
    if (entry.tag == ACL_OTHER) return suffices && !is_in_a_group;
  }
  return false;
}

// --- one component ---

// Whether he may search a directory or read a file; if not, how it is said and mended.
Access judge(const fs::path& path, const struct stat& status, const Reader& reader,
             unsigned wanted) {
  if (reader.user == 0) return {};
  const unsigned mode = status.st_mode & 07777U;
  const char letter = wanted == read_bit ? 'r' : 'x';
  const auto denied = [&](std::string grant) -> Access {
    return {Access::Outcome::denied, path,
            fmt::format("its mode is {:04o}, its owner {}", mode,
                        owner_text(status.st_uid, status.st_gid)),
            std::move(grant)};
  };
  if (reader.user == status.st_uid) {
    return (mode >> 6U & wanted) != 0 ? Access{} : denied(fmt::format("chmod u+{}", letter));
  }
  // With no permission for the group, which then is the list's mask, the kernel reads no list.
  if ((mode & S_IRWXG) != 0) {
    try {
      const std::vector<AclEntry> acl = acl_of(path);
      if (!acl.empty()) {
        Access answer =
            denied(fmt::format("setfacl -m u:{}:{}", reader.user, wanted == read_bit ? "r" : "rx"));
        answer.why += ", and it has an access control list";
        return acl_permits(acl, status.st_gid, reader, wanted) ? Access{} : answer;
      }
    } catch (const Error& error) {
      return {Access::Outcome::unknown, path, error.what()};
    }
  }
  const bool as_group = is_in(reader, status.st_gid);
  if (((as_group ? mode >> 3U : mode) & wanted) != 0) return {};
  return denied(fmt::format("chmod {}+{}", as_group ? 'g' : 'o', letter));
}

// proc(5), protected_symlinks: a last link in a directory like /tmp counts only if it is the
// follower's or the directory's owner's.
bool is_protected_link(const struct stat& directory, const struct stat& link,
                       const Reader& reader) {
  constexpr mode_t shared = S_ISVTX | S_IWOTH;
  if ((directory.st_mode & shared) != shared) return false;
  if (link.st_uid == reader.user || link.st_uid == directory.st_uid) return false;
  char state = '0';
  std::ifstream("/proc/sys/fs/protected_symlinks").get(state);
  return state != '0';
}

// "a//b/" is a, b, and an empty one that stands for the demand of a directory.
void prepend(std::deque<fs::path>& pending, const fs::path& path) {
  const fs::path relative = path.relative_path();
  pending.insert(pending.begin(), relative.begin(), relative.end());
}

}  // namespace

std::string owner_text(uid_t user, gid_t group) {
  const passwd* owner = ::getpwuid(user);
  const ::group* owners = ::getgrgid(group);
  return fmt::format("{}:{}", owner != nullptr ? owner->pw_name : std::to_string(user),
                     owners != nullptr ? owners->gr_name : std::to_string(group));
}

Access access_of(const fs::path& path, const Reader& reader) {
  constexpr int most_links = 40;  // MAXSYMLINKS in the kernel
  using Outcome = Access::Outcome;
  std::deque<fs::path> pending;
  std::error_code failed;
  prepend(pending, fs::absolute(path, failed));
  if (failed) return {Outcome::unknown, path, "the working directory is gone"};
  fs::path at = "/";
  struct stat status {};
  if (::stat("/", &status) != 0) return {Outcome::unknown, at, reason(errno)};
  for (int links = 0; !pending.empty();) {
    if (!S_ISDIR(status.st_mode)) return {Outcome::absent, at, "it is not a directory"};
    if (Access search = judge(at, status, reader, search_bit); search.outcome != Outcome::granted) {
      return search;
    }
    const fs::path name = pending.front();
    pending.pop_front();
    if (name.empty() || name == ".") continue;
    const fs::path next = name == ".." ? at.parent_path() : at / name;
    const struct stat directory = status;
    if (::lstat(next.c_str(), &status) != 0) {
      const bool is_absent = errno == ENOENT || errno == ENAMETOOLONG;
      return {is_absent ? Outcome::absent : Outcome::unknown, next, reason(errno)};
    }
    if (!S_ISLNK(status.st_mode)) {
      at = next;
      continue;
    }
    if (++links > most_links) return {Outcome::denied, next, "there are more than 40 links"};
    if (pending.empty() && is_protected_link(directory, status, reader)) {
      return {Outcome::denied, next,
              "it is a link that is neither his nor the directory's owner's, in a directory that "
              "all may write"};
    }
    std::error_code error;
    const fs::path target = fs::read_symlink(next, error);
    if (error) return {Outcome::unknown, next, error.message()};
    prepend(pending, target);
    status = directory;
    if (target.is_absolute()) {
      at = "/";
      if (::stat("/", &status) != 0) return {Outcome::unknown, at, reason(errno)};
    }
  }
  return judge(at, status, reader, read_bit);
}

}  // namespace pki
