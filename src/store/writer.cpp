#include "store/writer.h"

#include "pki/error.h"

namespace pki {
namespace {

// One name serves every staged directory: under the lock there is only one at a time. A name made
// of the target's could be longer than a file system allows.
constexpr const char* staging_name = ".pki.new";

}  // namespace

Staged Staged::as_directory(const Directory& parent, const std::string& name,
                            const std::vector<File>& files, const Owner& owner) {
  Staged staged;
  Directory made = parent.make_directory(staging_name);
  staged.moves_.push_back({{&parent, staging_name}, name, true, std::move(made), {}});
  Move& move = staged.moves_.back();
  for (const File& file : files) {
    move.files.push_back({move.contents->write_new(file), file.name});
  }
  // Only now: before, its new owner could put something of his own between our files.
  move.contents->give_away(owner);
  return staged;
}

Staged Staged::as_files(std::vector<Placed> files) {
  Staged staged;
  for (Placed& placed : files) {
    const Place place{placed.directory, placed.file.name};
    placed.file.name = place.pending().name;
    Descriptor written = placed.directory->write_new(placed.file);
    staged.moves_.push_back({place.pending(), place.name, false, {}, {}});
    staged.moves_.back().files.push_back({std::move(written), placed.file.name});
  }
  return staged;
}

Staged Staged::as_replacements(std::vector<Placed> files) {
  Staged staged = as_files(std::move(files));
  for (Move& move : staged.moves_) move.replaces = true;
  return staged;
}

Staged Staged::as_replacement(const Place& place, unsigned mode, const Owner& owner) {
  Staged staged;
  const std::string pending = place.pending().name;
  Descriptor written = place.directory->write_new({pending, {}, mode, owner});
  staged.moves_.push_back({place.pending(), place.name, false, {}, {}});
  Move& move = staged.moves_.back();
  move.replaces = true;
  move.files.push_back({std::move(written), pending});
  return staged;
}

void Staged::write(std::string_view bytes) {
  const Move& move = moves_.front();
  const Written& written = move.files.front();
  move.from.directory->write_more(written.file, bytes, written.name);
}

void Staged::sync() {
  for (Move& move : moves_) {
    if (move.synced) continue;
    const Directory& directory = move.contents.has_value() ? *move.contents : *move.from.directory;
    for (Written& written : move.files) directory.sync_file(std::move(written.file), written.name);
    directory.sync();
    move.synced = true;
  }
}

void Staged::publish() {
  sync();
  for (Move& move : moves_) {
    if (move.replaces) {
      move.from.directory->rename_over(move.from.name, move.to);
    } else {
      move.from.directory->rename_new(move.from.name, move.to);
    }
    move.published = true;
    move.from.directory->sync();
  }
}

Staged::~Staged() {
  // Once the first of several files is published the others belong to it, and the next run finishes
  // the job: see Pair::recover.
  if (!moves_.empty() && moves_.front().published) return;
  for (const Move& move : moves_) {
    try {
      if (move.is_directory) {
        for (const Written& written : move.files) move.contents->remove(written.name);
        move.from.directory->remove_directory(move.from.name);
      } else {
        move.from.directory->remove(move.from.name);
      }
    } catch (const Error&) {
      // We are here because something failed already, and that is being reported. The next run
      // clears what stays.
    }
  }
}

void Staged::clear(const Directory& parent, const std::vector<std::string>& names) {
  switch (parent.look(staging_name).kind) {
    case EntryKind::absent: return;
    case EntryKind::directory: break;
    default: parent.remove(staging_name); return;
  }
  const Directory staging = parent.open_directory(staging_name, false);
  const auto remove_files = [&](const Directory& directory) {
    for (const std::string& name : names) directory.remove(name);
  };
  remove_files(staging);
  try {
    for (const std::string& name : staging.names()) {
      if (staging.look(name).kind != EntryKind::directory) continue;
      remove_files(staging.open_directory(name, false));
      staging.remove_directory(name);
    }
    parent.remove_directory(staging_name);
  } catch (const Error& error) {
    throw Error(error.what(), "it is for files of this program alone: move it away");
  }
}

StagedDirectories::StagedDirectories(const Directory& parent, std::vector<std::string> file_names)
    : parent_(parent),
      file_names_(std::move(file_names)),
      syncs_together_(parent.can_sync_file_system()),
      // Nobody else gets at what is in it, though it may have been given away.
      staging_(parent.make_directory(staging_name, {}, parent.gives_its_group() ? 02700 : 0700)) {}

StagedDirectories::~StagedDirectories() {
  if (is_finished_) return;
  try {
    Staged::clear(parent_, file_names_);
  } catch (const Error&) {
    // As in ~Staged.
  }
}

void StagedDirectories::add(const std::string& name, const std::vector<File>& files,
                            const Owner& owner) const {
  const Directory made = staging_.make_directory(name);
  if (syncs_together_) {
    for (const File& file : files) made.write_one_of_many(file);
    made.give_away(owner);
    return;
  }
  std::vector<Descriptor> written;
  written.reserve(files.size());
  for (const File& file : files) written.push_back(made.write_new(file));
  made.give_away(owner);
  for (std::size_t i = 0; i < files.size(); ++i) {
    made.sync_file(std::move(written[i]), files[i].name);
  }
  made.sync();
}

void StagedDirectories::sync() const {
  if (syncs_together_) parent_.sync_file_system();
}

void StagedDirectories::publish(const std::string& name) const { staging_.move_new(name, parent_); }

void StagedDirectories::finish() {
  parent_.remove_directory(staging_name);
  is_finished_ = true;
}

}  // namespace pki
