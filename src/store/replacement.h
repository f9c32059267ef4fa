// Exchanging files of a leaf's directory for new ones, so that a reader finds all old or all new.
//
// A new directory is made in .renewal.new beside the old one: the new files, and a hard link to
// everything else. One renameat2(RENAME_EXCHANGE) puts it in the old one's place. Where that cannot
// be (a mount point; a directory within, which has no hard links; a file system that does not know
// how) the new files wait within the old directory. Renaming theirs from .renewal.new to
// .renewal.ready is what decides; then they are renamed one by one, and for that moment a reader
// may find a key that does not match. What a killed run left is found by these names, under the
// lock that every run takes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pki/file.h"
#include "store/directory.h"

namespace pki {

class Replacement {
 public:
  /// Stages `files`, which take the place of those of the same names in `current`: the directory
  /// `name` in `leaves`. Both must outlive it. Throws Error; then nothing is left.
  Replacement(const Directory& leaves, const std::string& name, const Directory& current,
              std::vector<File> files, bool may_exchange = true);
  Replacement(Replacement&& other) noexcept;
  Replacement& operator=(Replacement&&) = delete;
  /// Removes what is staged and not published.
  ~Replacement();

  /// Where the new files are until they are published.
  [[nodiscard]] const Directory& staged() const { return *staged_; }
  /// Waits until everything staged is on the disk.
  void sync();
  /// On return the files are under their names; whether that is on the disk clear() sees to.
  void publish();
  /// Whether that was by one exchange.
  [[nodiscard]] bool was_exchange() const noexcept { return was_exchange_; }

  /// To be called when all are published, and after a run that was killed: waits until what is
  /// published is on the disk, and removes what it replaced. A file that somebody put there
  /// meanwhile is moved to where the others are. Throws Error.
  static void clear(const Directory& leaves);
  /// After a run that was killed: finishes or removes what it staged within a leaf's directory.
  static void recover(const Directory& leaf);

 private:
  struct Written {
    Descriptor file;
    std::string name;
  };

  void stage_beside();
  void stage_within();
  void write_files();
  void remove_staged() noexcept;

  const Directory* leaves_;
  std::string name_;
  const Directory* current_;
  std::vector<File> files_;
  std::optional<Directory> container_;  // .renewal.new beside, while something is staged there
  std::optional<Directory> staged_;
  std::vector<Written> written_;
  bool is_staged_ = false;  // and not published yet
  bool was_exchange_ = false;
};

}  // namespace pki
