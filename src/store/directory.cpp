#include "store/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <span>
#include <system_error>

#include "pki/error.h"

namespace pki {
namespace {

// What a person can do about a failed system call.
std::string hint_for(int error) {
  switch (error) {
    case EACCES:
    case EPERM: return "run as a user who may do that, or change its permissions";
    case ENOSPC:
    case EDQUOT: return "free some space and run this again";
    case EIO: return "check the disk (dmesg) and run this again";
    case EFBIG: return "raise the file size limit (ulimit -f) and run this again";
    case EMFILE:
    case ENFILE: return "raise the limit of open files (ulimit -n) and run this again";
    case EROFS: return "name a directory on a file system that is writable";
    case ENOENT: return "name what is there, or make it first";
    case ELOOP: return "there is a link in the way: move it away, or name what it leads to";
    case EEXIST: return "something else made it meanwhile: look at it, then run this again";
    default: return "mend that and run this again";
  }
}

// Retries a call that a signal interrupted.
template <class Call>
auto uninterrupted(Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

// 0, or the error.
int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = uninterrupted([&] { return ::write(fd, bytes.data(), bytes.size()); });
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

// All of `bytes` from `offset` on; 0, or the error. A file that ends before is one.
int read_all(int fd, std::span<char> bytes, off_t offset) {
  while (!bytes.empty()) {
    const ssize_t got =
        uninterrupted([&] { return ::pread(fd, bytes.data(), bytes.size(), offset); });
    if (got < 0) return errno;
    if (got == 0) return EIO;
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
  return 0;
}

int sync_descriptor(int fd) {
  return uninterrupted([&] { return ::fsync(fd); }) == 0 ? 0 : errno;
}

// -1 leaves a user or a group as it is.
int give_to(int fd, const Owner& owner) {
  if (!owner.user.has_value() && !owner.group.has_value()) return 0;
  const uid_t user = owner.user.value_or(static_cast<uid_t>(-1));
  const gid_t group = owner.group.value_or(static_cast<gid_t>(-1));
  return ::fchown(fd, user, group) == 0 ? 0 : errno;
}

// The umask may have taken bits from the mode that the open call asked for; it never adds any.
int widen_to(int fd, unsigned mode) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return errno;
  if ((status.st_mode & 07777U) == mode) return 0;
  return ::fchmod(fd, mode) == 0 ? 0 : errno;
}

constexpr const char* access_acl = "system.posix_acl_access";
constexpr const char* default_acl = "system.posix_acl_default";
constexpr const char* selinux_label = "security.selinux";

using Attributes = std::vector<std::pair<std::string, std::string>>;

// Of those named, the ones that are there. 0, or the error.
int read_attributes(int fd, std::span<const char* const> names, Attributes& attributes) {
  constexpr std::size_t largest = 65536;  // XATTR_SIZE_MAX of linux/limits.h
  for (const char* name : names) {
    const ssize_t size = ::fgetxattr(fd, name, nullptr, 0);
    if (size < 0 && (errno == ENODATA || errno == EOPNOTSUPP)) continue;
    std::string value(largest, '\0');
    const ssize_t got = size < 0 ? size : ::fgetxattr(fd, name, value.data(), value.size());
    if (got < 0) return errno;
    value.resize(static_cast<std::size_t>(got));
    attributes.emplace_back(name, std::move(value));
  }
  return 0;
}

int write_attributes(int fd, const Attributes& attributes) {
  for (const auto& [name, value] : attributes) {
    if (::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) == 0) continue;
    // A label that no SELinux is there to judge takes a privilege, and means nothing.
    if (name == selinux_label && (errno == EPERM || errno == EOPNOTSUPP)) continue;
    return errno;
  }
  return 0;
}

// Without its newline, if it has one.
std::string_view last_line_of(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text.substr(text.rfind('\n') + 1);  // npos + 1 is 0
}

EntryKind kind_of(mode_t mode) {
  if (S_ISREG(mode)) return EntryKind::regular;
  if (S_ISDIR(mode)) return EntryKind::directory;
  if (S_ISLNK(mode)) return EntryKind::link;
  return EntryKind::other;
}

}  // namespace

Descriptor::~Descriptor() { (void)close(); }

int Descriptor::close() noexcept {
  const int fd = std::exchange(fd_, -1);
  return fd < 0 || ::close(fd) == 0 ? 0 : errno;
}

void Directory::fail(std::string_view doing, const std::string& name, int error) const {
  throw Error(
      fmt::format("cannot {} {}: {}", doing, path_of(name), std::generic_category().message(error)),
      hint_for(error));
}

Directory::Directory(Descriptor descriptor, std::filesystem::path path)
    : descriptor_(std::move(descriptor)), path_(std::move(path)) {
  struct stat status {};
  if (::fstat(descriptor_.get(), &status) != 0) fail("look at", ".", errno);
  identity_ = {status.st_dev, status.st_ino};
}

Directory Directory::open(const std::filesystem::path& path) {
  const std::string name = path.empty() ? "." : path.string();
  Descriptor opened(
      uninterrupted([&] { return ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!opened.is_open()) {
    const int error = errno;
    throw Error(fmt::format("cannot open directory {}: {}", quote(name),
                            std::generic_category().message(error)),
                hint_for(error));
  }
  return {std::move(opened), path};
}

void Directory::lock() {
  if (uninterrupted([&] { return ::flock(descriptor_.get(), LOCK_EX); }) == 0) return;
  const int error = errno;
  throw Error(fmt::format("cannot lock directory {}: {}", path_of("."),
                          std::generic_category().message(error)),
              "its file system knows no flock(2): use a local one");
}

std::string Directory::path_of(const std::string& name) const {
  return path_.empty() || path_ == "." ? name : (path_ / name).string();
}

Entry Directory::look(const std::string& name, bool follow) const {
  struct stat status {};
  const int flags = follow ? 0 : AT_SYMLINK_NOFOLLOW;
  if (::fstatat(descriptor_.get(), name.c_str(), &status, flags) != 0) {
    if (errno == ENOENT) return {};
    fail("look at", name, errno);
  }
  return {.kind = kind_of(status.st_mode),
          .mode = status.st_mode & 07777U,
          .user = status.st_uid,
          .group = status.st_gid,
          .links = status.st_nlink,
          .size = static_cast<std::uint64_t>(status.st_size),
          .identity = {status.st_dev, status.st_ino}};
}

std::vector<std::string> Directory::names() const {
  // Opened anew: a copy of the descriptor would share its place in the list.
  const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  const int fd = uninterrupted([&] { return ::openat(descriptor_.get(), ".", flags); });
  if (fd < 0) fail("list", ".", errno);
  const auto close = [](DIR* list) { (void)::closedir(list); };
  const std::unique_ptr<DIR, decltype(close)> list(::fdopendir(fd), close);
  if (list == nullptr) {
    const int error = errno;
    ::close(fd);
    fail("list", ".", error);
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const struct dirent* entry = ::readdir(list.get());
    if (entry == nullptr && errno != 0) fail("list", ".", errno);
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::ranges::sort(names);
  return names;
}

Directory Directory::open_directory(const std::string& name, bool follow) const {
  const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW);
  Descriptor opened(
      uninterrupted([&] { return ::openat(descriptor_.get(), name.c_str(), flags); }));
  if (!opened.is_open()) {
    const int error = errno;
    const bool is_link = !follow && look(name).kind == EntryKind::link;
    fail("open directory", name, is_link ? ELOOP : error);
  }
  return {std::move(opened), path_of(name)};
}

File Directory::read(const std::string& name, bool follow, std::size_t largest) const {
  return read_file(name, follow, false, largest);
}

File Directory::read_with_attributes(const std::string& name) const {
  return read_file(name, false, true, largest_file);
}

File Directory::read_file(const std::string& name, bool follow, bool with_attributes,
                          std::size_t largest) const {
  // O_NONBLOCK: a FIFO would wait for its writer.
  const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW);
  const Descriptor opened(
      uninterrupted([&] { return ::openat(descriptor_.get(), name.c_str(), flags); }));
  if (!opened.is_open() && errno == ENOENT) {
    const bool is_link = look(name).kind == EntryKind::link;
    throw Error(fmt::format("{} is {}", path_of(name),
                            is_link ? "a link to a file that is not there" : "not there"),
                is_link ? "mend the link, or remove it" : "name a file that is there");
  }
  if (!opened.is_open()) fail("open", name, errno);
  struct stat status {};
  if (::fstat(opened.get(), &status) != 0) fail("look at", name, errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(fmt::format("{} is not a regular file", path_of(name)), "name a regular file");
  }
  const auto too_large = [&] {
    throw Error(fmt::format("{} is larger than {} MiB", path_of(name), largest >> 20U),
                "name the right file");
  };
  if (static_cast<std::size_t>(status.st_size) > largest) too_large();

  SecretBytes contents(static_cast<std::size_t>(status.st_size) + 1);
  std::size_t size = 0;
  for (;;) {
    const ssize_t got = uninterrupted(
        [&] { return ::read(opened.get(), contents.data() + size, contents.size() - size); });
    if (got < 0) fail("read", name, errno);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
    if (size > largest) too_large();
    if (size == contents.size()) contents.resize(2 * size);  // it grew since we looked
  }
  contents.resize(size);
  File file{name, std::move(contents), status.st_mode & 07777U, {status.st_uid, status.st_gid}};
  constexpr std::array copied = {access_acl, selinux_label};
  if (with_attributes) {
    const int error = read_attributes(opened.get(), copied, file.attributes);
    if (error != 0) fail("read the attributes of", name, error);
  }
  return file;
}

Directory Directory::make_directory(const std::string& name, const Owner& owner,
                                    unsigned mode) const {
  if (::mkdirat(descriptor_.get(), name.c_str(), mode) != 0) fail("make directory", name, errno);
  try {
    Directory made = open_directory(name, false);
    int error = give_to(made.descriptor_.get(), owner);
    if (error == 0) error = widen_to(made.descriptor_.get(), mode);
    if (error != 0) fail("set the owner and the mode of", name, error);
    return made;
  } catch (const Error&) {
    ::unlinkat(descriptor_.get(), name.c_str(), AT_REMOVEDIR);
    throw;
  }
}

void Directory::give_away(const Owner& owner) const {
  if (const int error = give_to(descriptor_.get(), owner)) fail("change the owner of", ".", error);
}

void Directory::take_access_of(const Directory& other) const {
  struct stat status {};
  if (::fstat(other.descriptor_.get(), &status) != 0) other.fail("look at", ".", errno);
  constexpr std::array copied = {access_acl, default_acl, selinux_label};
  Attributes attributes;
  int error = read_attributes(other.descriptor_.get(), copied, attributes);
  if (error != 0) other.fail("read the attributes of", ".", error);
  error = give_to(descriptor_.get(), {status.st_uid, status.st_gid});
  if (error == 0) error = write_attributes(descriptor_.get(), attributes);
  if (error == 0) error = widen_to(descriptor_.get(), status.st_mode & 07777U);
  // The setgid bit is dropped without a word for want of a privilege: chmod(2).
  struct stat changed {};
  if (error == 0 && ::fstat(descriptor_.get(), &changed) != 0) error = errno;
  if (error == 0 && changed.st_mode != status.st_mode) error = EPERM;
  if (error != 0) fail("set the owner and the mode of", ".", error);
}

void Directory::drop_default_acl() const {
  if (::fremovexattr(descriptor_.get(), default_acl) == 0) return;
  if (errno != ENODATA && errno != EOPNOTSUPP) fail("set the ACL of", ".", errno);
}

bool Directory::is_writable() const {
  return ::faccessat(descriptor_.get(), ".", W_OK | X_OK, AT_EACCESS) == 0;
}

Descriptor Directory::make_file(const File& file) const {
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  // For its maker alone, until it belongs to whom it is made for.
  const bool is_given_away =
      file.owner.user.has_value() || file.owner.group.has_value() || !file.attributes.empty();
  const unsigned mode = is_given_away ? File::secret_mode : file.mode;
  Descriptor opened(
      uninterrupted([&] { return ::openat(descriptor_.get(), file.name.c_str(), flags, mode); }));
  if (!opened.is_open()) fail("make", file.name, errno);
  int error = give_to(opened.get(), file.owner);
  // Before the mode: where there is an ACL the group's bits stand for more than the group.
  if (error == 0) error = write_attributes(opened.get(), file.attributes);
  if (error == 0) error = widen_to(opened.get(), file.mode);
  if (error == 0) error = write_all(opened.get(), as_text(file.contents));
  if (error != 0) {
    ::unlinkat(descriptor_.get(), file.name.c_str(), 0);
    fail("write", file.name, error);
  }
  return opened;
}

Descriptor Directory::write_new(const File& file) const {
  Descriptor opened = make_file(file);
  // A hint: files that are under way together are waited for together.
  (void)::sync_file_range(opened.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
  return opened;
}

void Directory::write_one_of_many(const File& file) const {
  if (const int error = make_file(file).close()) fail("write", file.name, error);
}

void Directory::write_more(const Descriptor& file, std::string_view bytes,
                           const std::string& name) const {
  if (const int error = write_all(file.get(), bytes)) fail("write", name, error);
}

void Directory::sync_file(Descriptor file, const std::string& name) const {
  int error = sync_descriptor(file.get());
  if (error == 0) error = file.close();
  if (error != 0) fail("write", name, error);
}

void Directory::append_lines(const std::string& name, std::string_view lines,
                             Line (*judge)(std::string_view last_line)) const {
  const int flags = O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  const auto open_with = [&](int more) {
    return Descriptor(uninterrupted([&] {
      return ::openat(descriptor_.get(), name.c_str(), flags | more, File::public_mode);
    }));
  };
  Descriptor opened = open_with(0);
  const bool is_new = !opened.is_open() && errno == ENOENT;
  if (is_new) opened = open_with(O_CREAT | O_EXCL);
  if (!opened.is_open()) fail("open", name, errno);
  struct stat status {};
  if (::fstat(opened.get(), &status) != 0) fail("look at", name, errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(fmt::format("{} is not a regular file", path_of(name)), "move it away");
  }

  // One write: the newline that an unfinished line may lack, then ours.
  std::string text(lines);
  off_t end = status.st_size;
  std::array<char, 65536> tail{};
  const off_t tail_at = std::max<off_t>(0, end - static_cast<off_t>(tail.size()));
  const std::size_t tail_size = static_cast<std::size_t>(end - tail_at);
  if (const int error = read_all(opened.get(), std::span(tail).first(tail_size), tail_at)) {
    fail("read", name, error);
  }
  const std::string_view seen(tail.data(), tail_size);
  if (!seen.empty()) {
    const bool is_ended = seen.ends_with('\n');
    const std::string_view line = last_line_of(seen);
    const bool begins_here = tail_at == 0 || line.size() + (is_ended ? 1 : 0) < seen.size();
    const Line kind = begins_here ? judge(line) : Line::foreign;
    if (kind == Line::foreign || (kind == Line::torn && is_ended)) {
      throw Error(fmt::format("{} has a last line that is none of this program's", path_of(name)),
                  "move the file away");
    }
    if (kind == Line::torn) {
      end -= static_cast<off_t>(line.size());
      if (::ftruncate(opened.get(), end) != 0) fail("mend", name, errno);
    } else if (!is_ended) {
      text.insert(0, 1, '\n');
    }
  }

  int error = is_new ? widen_to(opened.get(), File::public_mode) : 0;
  if (error == 0) error = write_all(opened.get(), text);
  if (error == 0) error = sync_descriptor(opened.get());
  if (error != 0) {
    // Whole lines or none. Should this fail too, the next run mends it.
    if (::ftruncate(opened.get(), end) != 0) fail("mend", name, errno);
    fail("write", name, error);
  }
  if (const int close_error = opened.close()) fail("write", name, close_error);
  if (is_new) sync();
}

bool Directory::read_lines(const std::string& name,
                           const std::function<void(const TextLine&)>& visit) const {
  const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  const Descriptor opened(
      uninterrupted([&] { return ::openat(descriptor_.get(), name.c_str(), flags); }));
  if (!opened.is_open() && errno == ENOENT) return false;
  if (!opened.is_open()) fail("open", name, errno);
  struct stat status {};
  if (::fstat(opened.get(), &status) != 0) fail("look at", name, errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(fmt::format("{} is not a regular file", path_of(name)), "move it away");
  }
  std::vector<char> buffer(4 * longest_line);
  std::size_t held = 0;       // the beginning of a line
  std::uint64_t dropped = 0;  // of that line, because it is too long
  TextLine line{.text = {}, .number = 1, .offset = 0, .is_ended = true};
  for (;;) {
    const ssize_t got = uninterrupted(
        [&] { return ::read(opened.get(), buffer.data() + held, buffer.size() - held); });
    if (got < 0) fail("read", name, errno);
    std::string_view rest(buffer.data(), held + static_cast<std::size_t>(got));
    for (std::size_t end = rest.find('\n', held); end != std::string_view::npos;
         end = rest.find('\n')) {
      line.text = rest.substr(0, end);
      visit(line);
      line.offset += dropped + end + 1;
      ++line.number;
      dropped = 0;
      rest.remove_prefix(end + 1);
    }
    if (got == 0) {
      line.text = rest;
      line.is_ended = false;
      if (!rest.empty()) visit(line);
      return true;
    }
    held = rest.size();
    std::copy(rest.begin(), rest.end(), buffer.begin());
    if (held > 2 * longest_line) {
      dropped += held - longest_line - 1;
      held = longest_line + 1;
    }
  }
}

void Directory::rename_new(const std::string& from, const std::string& to) const {
  rename_new(from, *this, to);
}

void Directory::move_new(const std::string& name, const Directory& to) const {
  rename_new(name, to, name);
}

void Directory::rename_new(const std::string& from, const Directory& other,
                           const std::string& to) const {
  const int fd = descriptor_.get();
  const int other_fd = other.descriptor_.get();
  if (::renameat2(fd, from.c_str(), other_fd, to.c_str(), RENAME_NOREPLACE) == 0) return;
  if (errno != ENOSYS && errno != EINVAL) other.fail("make", to, errno);
  // The file system has no RENAME_NOREPLACE: look first. The lock keeps other runs of ours out.
  if (other.look(to).kind != EntryKind::absent) other.fail("make", to, EEXIST);
  if (::renameat(fd, from.c_str(), other_fd, to.c_str()) != 0) other.fail("make", to, errno);
}

void Directory::move_over(const std::string& name, const Directory& to) const {
  if (::renameat(descriptor_.get(), name.c_str(), to.descriptor_.get(), name.c_str()) != 0) {
    to.fail("replace", name, errno);
  }
}

bool Directory::exchange(const std::string& name, const Directory& other) const {
  if (::renameat2(descriptor_.get(), name.c_str(), other.descriptor_.get(), name.c_str(),
                  RENAME_EXCHANGE) == 0) {
    return true;
  }
  switch (errno) {
    case EINVAL:
    case ENOSYS:
    case EBUSY:  // a mount point, or a directory above one
    case EXDEV: return false;
    default: other.fail("replace", name, errno);
  }
}

bool Directory::link_into(const std::string& name, const Directory& other) const {
  if (::linkat(descriptor_.get(), name.c_str(), other.descriptor_.get(), name.c_str(), 0) == 0) {
    return true;
  }
  switch (errno) {
    case EPERM:  // a directory, or protected_hardlinks of proc(5)
    case EXDEV:
    case EMLINK:
    case EOPNOTSUPP: return false;
    default: other.fail("link", name, errno);
  }
}

void Directory::rename_over(const std::string& from, const std::string& to) const {
  const int fd = descriptor_.get();
  if (::renameat(fd, from.c_str(), fd, to.c_str()) != 0) fail("replace", to, errno);
}

void Directory::remove(const std::string& name) const {
  if (::unlinkat(descriptor_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
    fail("remove", name, errno);
  }
}

void Directory::remove_directory(const std::string& name) const {
  if (::unlinkat(descriptor_.get(), name.c_str(), AT_REMOVEDIR) != 0) fail("remove", name, errno);
}

bool Directory::gives_its_group() const {
  struct stat status {};
  if (::fstat(descriptor_.get(), &status) != 0) fail("look at", ".", errno);
  return (status.st_mode & S_ISGID) != 0;
}

void Directory::sync() const {
  if (const int error = sync_descriptor(descriptor_.get())) fail("sync directory", ".", error);
}

void Directory::sync_file_system() const {
  if (uninterrupted([&] { return ::syncfs(descriptor_.get()); }) != 0) {
    fail("sync the file system of", ".", errno);
  }
}

bool Directory::can_sync_file_system() const {
  // syncfs(2) has reported what could not be written since Linux 5.8.
  struct utsname system {};
  unsigned major = 0;
  unsigned minor = 0;
  if (::uname(&system) != 0 || std::sscanf(system.release, "%u.%u", &major, &minor) != 2 ||
      std::pair(major, minor) < std::pair(5U, 8U)) {
    return false;
  }
  struct statfs status {};
  if (::fstatfs(descriptor_.get(), &status) != 0) fail("look at", ".", errno);
  switch (status.f_type) {
    // FUSE does not pass it on, and an overlay does not hear of errors below it.
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC: return true;
    default: return false;
  }
}

}  // namespace pki
