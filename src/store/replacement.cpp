#include "store/replacement.h"

#include <algorithm>
#include <utility>

#include "pki/error.h"
#include "pki/leaf.h"
#include "store/exports.h"

namespace pki {
namespace {

constexpr const char* staging_name = ".renewal.new";
constexpr const char* ready_name = ".renewal.ready";
constexpr unsigned private_mode = 0700;

bool is_own(const std::string& name) {
  return name == leaf_certificate_name || name == leaf_key_name || name == reload_mark_name ||
         std::ranges::find(export_names, name) != std::end(export_names);
}

bool is_directory(const Directory& parent, const std::string& name) {
  return parent.look(name).kind == EntryKind::directory;
}

// Whether there is a directory to be looked into. Anything else under a name of ours goes away.
bool is_left(const Directory& parent, const std::string& name) {
  const EntryKind kind = parent.look(name).kind;
  if (kind != EntryKind::absent && kind != EntryKind::directory) parent.remove(name);
  return kind == EntryKind::directory;
}

void remove_emptied(const Directory& parent, const std::string& name) {
  try {
    parent.remove_directory(name);
  } catch (const Error& error) {
    throw Error(error.what(), "it is for files of this program alone: move it away");
  }
}

// Removes a staged or a replaced directory, of which `twin` is the other one. What is not ours is
// in both, or was put there after the links were made.
void remove_twin(const Directory& parent, const std::string& name,
                 const std::optional<Directory>& twin) {
  const Directory directory = parent.open_directory(name, false);
  for (const std::string& file : directory.names()) {
    if (is_own(file)) {
      directory.remove(file);
    } else if (twin.has_value()) {
      const Entry there = twin->look(file);
      if (there.kind == EntryKind::absent) {
        directory.move_new(file, *twin);
        twin->sync();
      } else if (there.identity == directory.look(file).identity) {
        directory.remove(file);
      }
    }
  }
  remove_emptied(parent, name);
}

std::optional<Directory> find_directory(const Directory& parent, const std::string& name) {
  if (!is_directory(parent, name)) return std::nullopt;
  return parent.open_directory(name, false);
}

void remove_within(const Directory& leaf) {
  const Directory staged = leaf.open_directory(staging_name, false);
  for (const std::string& name : staged.names()) {
    if (is_own(name)) staged.remove(name);
  }
  remove_emptied(leaf, staging_name);
}

}  // namespace

Replacement::Replacement(const Directory& leaves, const std::string& name, const Directory& current,
                         std::vector<File> files, bool may_exchange)
    : leaves_(&leaves), name_(name), current_(&current), files_(std::move(files)) {
  try {
    if (may_exchange && leaves.is_writable()) stage_beside();
    if (!is_staged_) stage_within();
  } catch (const Error&) {
    remove_staged();
    throw;
  }
}

Replacement::Replacement(Replacement&& other) noexcept
    : leaves_(other.leaves_),
      name_(std::move(other.name_)),
      current_(other.current_),
      files_(std::move(other.files_)),
      container_(std::move(other.container_)),
      staged_(std::move(other.staged_)),
      written_(std::move(other.written_)),
      is_staged_(std::exchange(other.is_staged_, false)),
      was_exchange_(other.was_exchange_) {}

Replacement::~Replacement() { remove_staged(); }

// Leaves nothing staged where a file cannot be in both directories.
void Replacement::stage_beside() {
  if (!is_directory(*leaves_, staging_name)) {
    leaves_->make_directory(staging_name, {}, private_mode);
  }
  container_ = leaves_->open_directory(staging_name, false);
  container_->make_directory(name_, {}, private_mode);
  is_staged_ = true;
  staged_ = container_->open_directory(name_, false);
  write_files();
  for (const std::string& name : current_->names()) {
    const bool is_replaced = std::ranges::find(files_, name, &File::name) != files_.end();
    if (is_replaced || current_->link_into(name, *staged_)) continue;
    remove_staged();
    return;
  }
  // Only now: before, its new owner could put something of his own between our files.
  staged_->take_access_of(*current_);
}

void Replacement::stage_within() {
  current_->make_directory(staging_name, {}, private_mode);
  is_staged_ = true;
  staged_ = current_->open_directory(staging_name, false);
  write_files();
}

void Replacement::write_files() {
  staged_->drop_default_acl();
  for (const File& file : files_) written_.push_back({staged_->write_new(file), file.name});
}

void Replacement::sync() {
  for (Written& written : written_) staged_->sync_file(std::move(written.file), written.name);
  written_.clear();
  staged_->sync();
}

void Replacement::publish() {
  if (container_.has_value()) {
    was_exchange_ = container_->exchange(name_, *leaves_);
    if (!was_exchange_) {
      remove_staged();
      stage_within();
      sync();
    }
  }
  if (!was_exchange_) {
    current_->rename_new(staging_name, ready_name);
    recover(*current_);
  }
  is_staged_ = false;
}

void Replacement::remove_staged() noexcept {
  written_.clear();
  staged_.reset();
  const std::optional<Directory> container = std::exchange(container_, std::nullopt);
  if (!std::exchange(is_staged_, false)) return;
  try {
    if (container.has_value()) {
      remove_twin(*container, name_, find_directory(*leaves_, name_));
    } else {
      remove_within(*current_);
    }
  } catch (const Error&) {
    // We are here because something failed already, and that is being reported, or because another
    // way is taken. What stays is cleared later.
  }
}

void Replacement::clear(const Directory& leaves) {
  if (!is_left(leaves, staging_name)) return;
  leaves.sync();
  const Directory container = leaves.open_directory(staging_name, false);
  for (const std::string& name : container.names()) {
    if (is_directory(container, name)) remove_twin(container, name, find_directory(leaves, name));
  }
  remove_emptied(leaves, staging_name);
}

void Replacement::recover(const Directory& leaf) {
  if (is_left(leaf, ready_name)) {
    leaf.sync();  // that it is ready
    const Directory ready = leaf.open_directory(ready_name, false);
    // In the order of their names: the certificate, then its key.
    for (const std::string& name : ready.names()) {
      if (is_own(name)) ready.move_over(name, leaf);
    }
    leaf.sync();
    remove_emptied(leaf, ready_name);
  }
  if (is_left(leaf, staging_name)) remove_within(leaf);
}

}  // namespace pki
