#include "store/pair.h"

#include <fmt/format.h>

#include "pki/error.h"

namespace pki {
namespace {

bool is_there(const Place& place) {
  return place.directory->look(place.name).kind != EntryKind::absent;
}

Pair::StoredKey read_key_at(const Place& place, bool follow_links) {
  const File file = place.directory->read(place.name, follow_links);
  return {parse_file(place, file, Key::from_pem), file.mode, file.owner};
}

bool match(const Place& certificate, const Place& key) {
  try {
    return read_certificate_at(certificate, false)
        .has_key(read_key_at(key, false).key.public_key());
  } catch (const Error&) {
    return false;
  }
}

void finish(const Place& place) {
  place.directory->rename_new(place.pending().name, place.name);
  place.directory->sync();
}

}  // namespace

Certificate read_certificate_at(const Place& place, bool follow_links) {
  return parse_file(place, place.directory->read(place.name, follow_links), Certificate::from_pem);
}

void Pair::recover() const {
  const Place pending_certificate = certificate_.pending();
  const Place pending_key = key_.pending();
  const bool certificate_waits = pki::is_there(pending_certificate);
  bool key_waits = pki::is_there(pending_key);
  if (!certificate_waits && !key_waits) return;

  if (has_certificate() != has_key()) {
    if (has_certificate() && key_waits && match(certificate_, pending_key)) finish(key_);
    if (has_key() && certificate_waits && match(pending_certificate, key_)) finish(certificate_);
    return;
  }
  if (key_waits && !match(certificate_, key_) && match(certificate_, pending_key)) {
    key_.directory->rename_over(pending_key.name, key_.name);
    key_.directory->sync();
    key_waits = false;
  }
  pending_certificate.directory->remove(pending_certificate.name);
  pending_key.directory->remove(pending_key.name);
}

bool Pair::has_certificate() const { return pki::is_there(certificate_); }

bool Pair::has_key() const { return pki::is_there(key_); }

void Pair::demand_plain_files() const {
  for (const Place& place : {certificate_, key_}) {
    const Entry entry = place.directory->look(place.name);
    if (entry.kind == EntryKind::absent) continue;
    if (entry.kind != EntryKind::regular || entry.links > 1) {
      throw Error(fmt::format("{} is a link or not a regular file", place.path()),
                  "move it away, and run this again");
    }
  }
}

std::vector<std::string> Pair::differences_from(const Owner& owner) const {
  std::vector<std::string> found;
  const auto compare = [&](const char* file, const Entry& entry, unsigned mode) {
    if (owner.user.value_or(entry.user) != entry.user) {
      found.push_back(
          fmt::format("the {} belongs to user {}, not {}", file, entry.user, *owner.user));
    }
    if (owner.group.value_or(entry.group) != entry.group) {
      found.push_back(
          fmt::format("the {} belongs to group {}, not {}", file, entry.group, *owner.group));
    }
    if (entry.mode != mode) {
      found.push_back(fmt::format("the {} has mode {:04o}, not {:04o}", file, entry.mode, mode));
    }
  };
  if (owner.user.has_value() || owner.group.has_value()) {
    compare("key", key_.directory->look(key_.name), File::key_mode(owner));
  }
  return found;
}

bool Pair::is_there() const {
  const bool certificate_there = has_certificate();
  const bool key_there = has_key();
  if (certificate_there == key_there) return certificate_there;
  const Place& missing = certificate_there ? key_ : certificate_;
  const Place& present = certificate_there ? certificate_ : key_;
  throw Error(fmt::format("{} is missing, but {} is there", missing.path(), present.path()),
              "put the missing file back, or move the other one away");
}

Certificate Pair::read_certificate(bool follow_links) const {
  return read_certificate_at(certificate_, follow_links);
}

Pair::StoredKey Pair::read_key(bool follow_links) const { return read_key_at(key_, follow_links); }

Staged Pair::stage(std::span<const Certificate> chain, const Key& key, const Owner& owner) const {
  std::vector<Staged::Placed> files;
  files.push_back(
      {certificate_.directory, {certificate_.name, pem_of(chain), File::public_mode, owner}});
  files.push_back({key_.directory, {key_.name, key.pem(), File::key_mode(owner), owner}});
  return Staged::as_files(std::move(files));
}

}  // namespace pki
