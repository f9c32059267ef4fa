// An open directory: every file operation of the store goes through one.
//
// Names are relative to the open descriptor and hold no slash, so that no path can be swapped for
// another between two calls. Every failure is an Error that names the file.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pki/file.h"
#include "pki/secret.h"

namespace pki {

/// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
  /// What close(2) says: a network file system may report a failed write only there.
  [[nodiscard]] int close() noexcept;

 private:
  int fd_;
};

enum class EntryKind { absent, regular, directory, link, other };

/// What lies under a name.
struct Entry {
  EntryKind kind = EntryKind::absent;
  unsigned mode = 0;  // permission bits
  uid_t user = 0;
  gid_t group = 0;
  std::size_t links = 0;  // hard links
  std::uint64_t size = 0;
  std::pair<dev_t, ino_t> identity = {};
};

class Directory {
 public:
  /// No PEM file that this program handles comes near it.
  static constexpr std::size_t largest_file = std::size_t{1} << 20;

  /// Follows links; an empty path is the working directory.
  static Directory open(const std::filesystem::path& path);

  /// Held until the Directory goes away, by a crash too: flock(2) on the directory itself leaves no
  /// lock file. Waits for whoever holds it.
  void lock();
  /// Device and inode: equal for two paths to the same directory.
  [[nodiscard]] std::pair<dev_t, ino_t> identity() const noexcept { return identity_; }
  /// `name` with this directory's path, for messages and results.
  [[nodiscard]] std::string path_of(const std::string& name) const;

  /// A link is followed only if `follow` says so; one that leads nowhere is then absent.
  [[nodiscard]] Entry look(const std::string& name, bool follow = false) const;
  /// All names in this directory but "." and "..", sorted.
  [[nodiscard]] std::vector<std::string> names() const;
  /// A directory in this one. A link to a directory is followed only if `follow` says so.
  [[nodiscard]] Directory open_directory(const std::string& name, bool follow) const;
  /// A regular file of at most `largest` bytes. A link is followed only if `follow` says so; mode
  /// and owner are those of the file it leads to. Never blocks.
  [[nodiscard]] File read(const std::string& name, bool follow,
                          std::size_t largest = largest_file) const;
  /// The same with its ACL and its SELinux label, for a file that is to take its place.
  [[nodiscard]] File read_with_attributes(const std::string& name) const;

  Directory make_directory(const std::string& name, const Owner& owner = {},
                           unsigned mode = 0755) const;
  /// Changes the owner of this directory itself.
  void give_away(const Owner& owner) const;
  /// Gives this directory itself the owner, the mode, the ACL and the SELinux label of another.
  void take_access_of(const Directory& other) const;
  /// What is made in this directory gets no ACL from it.
  void drop_default_acl() const;
  /// Whether names can be made and removed here.
  [[nodiscard]] bool is_writable() const;
  /// Makes a file that was not there, and sets the disk to work on it. Its bytes are there for good
  /// after sync_file().
  [[nodiscard]] Descriptor write_new(const File& file) const;
  /// The same for one of many files: they are there for good after sync_file_system().
  void write_one_of_many(const File& file) const;
  /// Adds to a file that write_new() has made. `name` is for messages.
  void write_more(const Descriptor& file, std::string_view bytes, const std::string& name) const;
  /// Waits until the bytes of an open file are on the disk, and closes it. `name` is for messages.
  void sync_file(Descriptor file, const std::string& name) const;
  /// What the last line of a file of lines is: whole, torn by a crash, or of another kind of file.
  enum class Line { whole, torn, foreign };
  /// Adds lines to a file in one write and waits for the disk; the file is made if need be, and the
  /// directory synced. A torn last line is cut off, a whole one that lacks its newline gets it, and
  /// a file of another kind is refused.
  void append_lines(const std::string& name, std::string_view lines,
                    Line (*judge)(std::string_view last_line)) const;
  /// A line of a file, without its newline.
  struct TextLine {
    std::string_view text;  // valid during the call
    std::uint64_t number;   // from 1 on
    std::uint64_t offset;   // of its first byte
    bool is_ended;          // false only where the last one lacks its newline
  };
  /// What is longer comes without its middle, and is still longer than this.
  static constexpr std::size_t longest_line = std::size_t{1} << 16;
  /// Calls `visit` for each line of a regular file of any size, in turn, in constant memory. False
  /// if there is no such file. Links are not followed. Never blocks.
  bool read_lines(const std::string& name, const std::function<void(const TextLine&)>& visit) const;
  /// Renames within this directory; a file that has the new name is never replaced.
  void rename_new(const std::string& from, const std::string& to) const;
  /// The same; what has the new name is replaced.
  void rename_over(const std::string& from, const std::string& to) const;
  /// A new name as rename_new() gives it, from this directory into another, the name the same.
  void move_new(const std::string& name, const Directory& to) const;
  /// The same, but what has the name there is replaced.
  void move_over(const std::string& name, const Directory& to) const;
  /// Exchanges what has this name here and in another directory, in one step. False if that cannot
  /// be: a mount point, another file system, or one that does not know how.
  [[nodiscard]] bool exchange(const std::string& name, const Directory& other) const;
  /// Gives a file of this directory the same name in another one, too. False if that cannot be: it
  /// is a directory, or not ours to link.
  [[nodiscard]] bool link_into(const std::string& name, const Directory& other) const;
  /// Removes a file or a link; nothing happens if it is not there.
  void remove(const std::string& name) const;
  /// Removes an empty directory.
  void remove_directory(const std::string& name) const;
  /// Whether what is made in it belongs to its group, not to that of whoever makes it (setgid).
  [[nodiscard]] bool gives_its_group() const;
  /// Waits until the names in this directory are on the disk.
  void sync() const;
  /// Waits until all that was written to this directory's file system is on the disk: for many
  /// files that is much less than to wait for one after the other.
  void sync_file_system() const;
  /// Whether sync_file_system() can be relied on: not on every kind of file system does it wait,
  /// and learn of what could not be written.
  [[nodiscard]] bool can_sync_file_system() const;

 private:
  Directory(Descriptor descriptor, std::filesystem::path path);

  void rename_new(const std::string& from, const Directory& other, const std::string& to) const;
  [[nodiscard]] Descriptor make_file(const File& file) const;
  [[nodiscard]] File read_file(const std::string& name, bool follow, bool with_attributes,
                               std::size_t largest) const;
  [[noreturn]] void fail(std::string_view doing, const std::string& name, int error) const;

  Descriptor descriptor_;
  std::filesystem::path path_;
  std::pair<dev_t, ino_t> identity_;
};

}  // namespace pki
