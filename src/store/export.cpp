#include "pki/export.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "pki/error.h"
#include "pki/key.h"
#include "pki/leaf.h"
#include "pki/pkcs12.h"
#include "store/directory.h"
#include "store/pair.h"
#include "store/writer.h"

namespace pki {
namespace {

// What is to be there. `is_same` judges a file that is, where the bytes themselves say nothing.
struct Wanted {
  std::string name;
  SecretBytes contents;
  bool is_secret = false;
  bool is_random = false;
};

SecretBytes bytes(const std::vector<unsigned char>& der) { return {der.begin(), der.end()}; }

SecretBytes joined(const SecretBytes& a, const SecretBytes& b) {
  SecretBytes both(a.begin(), a.end());
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

std::vector<Wanted> wanted_files(const ExportRequest& request, const File& certificate_file,
                                 const Certificate& certificate, const Key& key,
                                 const Certificate& root) {
  std::vector<Wanted> files;
  const auto add = [&](const char* name, SecretBytes contents, bool is_secret) -> Wanted& {
    return files.emplace_back(Wanted{name, std::move(contents), is_secret});
  };
  switch (request.format) {
    case ExportFormat::pk8: add("key.pk8", key.der(), true); break;
    case ExportFormat::p12:
      add("key.p12",
          to_pkcs12(key, certificate, std::span(&root, 1), "user", as_text(request.password)), true)
          .is_random = true;
      break;
    case ExportFormat::der: add("cert.der", bytes(certificate.der()), false); break;
    case ExportFormat::fullchain:
      add("fullchain.pem", joined(certificate_file.contents, root.pem()), false);
      break;
    case ExportFormat::libpq:
      add("root.crt", root.pem(), false);
      add("postgresql.crt", SecretBytes(certificate_file.contents), false);
      add("postgresql.key", key.pem(), true);
      break;
  }
  return files;
}

Directory open_or_make(const std::filesystem::path& path, const Owner& owner) {
  const std::filesystem::path clean = path.filename().empty() ? path.parent_path() : path;
  const std::string name = clean.filename().string();
  if (!name.empty() && name != "." && name != "..") {
    const Directory parent = Directory::open(clean.parent_path());
    if (parent.look(name).kind == EntryKind::absent) {
      constexpr unsigned private_mode = 0700;
      parent.make_directory(name, owner, private_mode);
      parent.sync();
    }
  }
  return Directory::open(clean);
}

Owner owner_of(const Directory& directory, const std::string& name) {
  const Entry entry = directory.look(name);
  Owner owner;
  // Only what is not so anyway: an ordinary user may not even give a file to himself's other group.
  if (entry.user != ::geteuid()) owner.user = entry.user;
  if (entry.group != ::getegid()) owner.group = entry.group;
  return owner;
}

bool is_same(const Wanted& wanted, const File& there, const ExportRequest& request, const Key& key,
             const Certificate& certificate) {
  if (wanted.is_random) {
    return pkcs12_holds(there.contents, as_text(request.password), key, certificate);
  }
  return there.contents == wanted.contents;
}

SecretBytes without_line_end(SecretBytes password) {
  if (!password.empty() && password.back() == '\n') password.pop_back();
  if (!password.empty() && password.back() == '\r') password.pop_back();
  return password;
}

}  // namespace

Exported export_leaf(const ExportRequest& request) {
  const Directory leaf = Directory::open(request.leaf);
  const Pair pair({&leaf, "cert.pem"}, {&leaf, "key.pem"});
  const Certificate certificate = pair.read_certificate(true);
  const Pair::StoredKey stored = pair.read_key(true);
  if (stored.key.public_key() != certificate.public_key()) {
    throw Error(fmt::format("{} does not match {}", pair.key().path(), pair.certificate().path()),
                "put the pair back together");
  }
  const Certificate root = read_certificate_file(request.root);
  const File certificate_file = leaf.read("cert.pem", true);

  std::vector<Wanted> wanted =
      wanted_files(request, certificate_file, certificate, stored.key, root);
  const Owner key_owner = request.owner.value_or(owner_of(leaf, "key.pem"));
  const Owner certificate_owner = request.owner.value_or(owner_of(leaf, "cert.pem"));
  const unsigned key_mode =
      request.owner.has_value() ? File::key_mode(key_owner) : stored.mode & File::group_secret_mode;
  Directory target = open_or_make(request.to, key_owner);
  target.lock();
  Exported result;
  std::vector<Staged::Placed> missing;
  for (Wanted& file : wanted) {
    const Place place{&target, file.name};
    if (target.look(file.name).kind != EntryKind::absent) {
      if (!is_same(file, target.read(file.name, false), request, stored.key, certificate)) {
        throw Error(fmt::format("{} is there and differs", place.path()),
                    "move it away, and run this again");
      }
      result.unchanged.emplace_back(place.path());
      continue;
    }
    target.remove(place.pending().name);  // of a run that was killed
    missing.push_back(
        {&target,
         {file.name, std::move(file.contents), file.is_secret ? key_mode : File::public_mode,
          file.is_secret ? key_owner : certificate_owner}});
    result.made.emplace_back(place.path());
  }
  Staged::as_files(std::move(missing)).publish();
  target.sync();
  return result;
}

SecretBytes read_password_file(const std::filesystem::path& path) {
  const Directory directory = Directory::open(path.parent_path());
  return without_line_end(directory.read(path.filename().string(), true).contents);
}

SecretBytes read_password_descriptor(int descriptor) {
  constexpr std::size_t longest = 4096;
  SecretBytes password(longest + 1);
  std::size_t size = 0;
  while (size < password.size()) {
    const ssize_t got = ::read(descriptor, password.data() + size, password.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw Error(fmt::format("cannot read the password from descriptor {}", descriptor),
                  "open it for reading");
    }
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > longest) throw Error("a password of more than 4096 bytes", "choose a shorter one");
  password.resize(size);
  return without_line_end(std::move(password));
}

}  // namespace pki
