// Publishing files so that a reader sees all of them or none, whatever is killed or full.
//
// Everything is first staged under a name of our own beside its place, and is on the disk before
// the first rename. A name that is in use is never replaced, except by as_replacement. What a
// killed run left staged is found by its fixed name, under the lock that every run takes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pki/file.h"
#include "store/directory.h"

namespace pki {

/// A file's place. The Directory must outlive it.
struct Place {
  const Directory* directory;
  std::string name;

  [[nodiscard]] std::string path() const { return directory->path_of(name); }
  /// Where it waits until it is published.
  [[nodiscard]] Place pending() const { return {directory, "." + name + ".new"}; }
};

/// Files that are written, but not yet under their names. Removed again unless published.
class Staged {
 public:
  /// A new directory `name` in `parent` with `files` in it, made for `owner`. Published by one
  /// rename.
  static Staged as_directory(const Directory& parent, const std::string& name,
                             const std::vector<File>& files, const Owner& owner = {});
  /// Files that go into directories that are there already. Published one after the other, in
  /// order; a crash between two renames leaves the rest pending for the next run.
  struct Placed {
    const Directory* directory;
    File file;
  };
  static Staged as_files(std::vector<Placed> files);
  /// The same, but what has their names is replaced.
  static Staged as_replacements(std::vector<Placed> files);
  /// A file that takes the place of the one of its name, if there is one. Its bytes come by
  /// write().
  static Staged as_replacement(const Place& place, unsigned mode, const Owner& owner = {});

  Staged(Staged&&) noexcept = default;
  Staged& operator=(Staged&&) = delete;
  ~Staged();

  void write(std::string_view bytes);
  /// Waits until everything staged is on the disk. publish() does it where it was not done before.
  void sync();
  /// On return the files are under their names, and that is on the disk. Throws Error.
  void publish();

  /// Removes what a killed run staged in `parent`, by as_directory or in StagedDirectories, with
  /// files of these names.
  static void clear(const Directory& parent, const std::vector<std::string>& names);

 private:
  struct Written {
    Descriptor file;
    std::string name;
  };

  // One rename, and what must be on the disk before it.
  struct Move {
    Place from;
    std::string to;
    bool is_directory = false;
    std::optional<Directory> contents;  // once that is open
    std::vector<Written> files;
    bool synced = false;
    bool published = false;
    bool replaces = false;  // what has the name
  };

  Staged() = default;

  std::vector<Move> moves_;
};

/// New directories, many of them, which reach the disk together: they are staged in one of ours.
/// Removed again unless published. None is staged by as_directory meanwhile.
class StagedDirectories {
 public:
  /// In `parent`, which must outlive it. All of them hold files of these names.
  StagedDirectories(const Directory& parent, std::vector<std::string> file_names);
  ~StagedDirectories();
  StagedDirectories(const StagedDirectories&) = delete;
  StagedDirectories& operator=(const StagedDirectories&) = delete;

  /// May be called by several threads at once.
  void add(const std::string& name, const std::vector<File>& files, const Owner& owner) const;
  /// Waits until all that was added before is on the disk.
  void sync() const;
  /// Gives one its name, which is on the disk once `parent` is synced. Throws Error.
  void publish(const std::string& name) const;
  /// When all are published. Throws Error.
  void finish();

 private:
  const Directory& parent_;
  std::vector<std::string> file_names_;
  bool syncs_together_;
  bool is_finished_ = false;
  Directory staging_;
};

}  // namespace pki
