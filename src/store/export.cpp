#include "pki/export.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "pki/certificate.h"
#include "pki/error.h"
#include "pki/key.h"
#include "pki/leaf.h"
#include "pki/pkcs12.h"
#include "store/directory.h"
#include "store/exports.h"
#include "store/pair.h"
#include "store/writer.h"

namespace pki {
namespace {

// The files of a leaf, read once: its directory may be the service's, who could change them
// between.
struct Source {
  std::vector<Certificate> chain;  // the leaf, then its intermediates
  Owner certificate_owner;
  std::optional<Pair::StoredKey> key;  // for the formats that have one
};

struct Wanted {
  std::string name;
  SecretBytes contents;
  bool is_secret = false;
  bool is_random = false;  // its bytes are never the same twice
};

bool has_key(ExportFormat format) {
  return format != ExportFormat::der && format != ExportFormat::fullchain;
}

// libpq's root.crt is for the server's certificate, which may have another root.
bool has_root_in_chain(ExportFormat format) {
  return format == ExportFormat::p12 || format == ExportFormat::fullchain;
}

// The one of the roots that has signed the leaf, or what stands last in its file.
const Certificate& root_of(std::span<const Certificate> chain, std::span<const Certificate> roots) {
  for (const Certificate* signed_by_it : {&chain.front(), &chain.back()}) {
    const auto root = std::ranges::find_if(
        roots, [&](const Certificate& each) { return signed_by_it->is_signed_by(each); });
    if (root != roots.end()) return *root;
  }
  return roots.front();
}

Source read_source(const ExportRequest& request, const Directory& leaf,
                   std::span<const Certificate> roots) {
  const Pair pair({&leaf, leaf_certificate_name}, {&leaf, leaf_key_name});
  pair.demand_plain_files();
  Source source;
  const File file = leaf.read(leaf_certificate_name, false);
  const std::string path = pair.certificate().path();
  source.chain = parse_file(pair.certificate(), file, Certificate::chain_from_pem);
  source.certificate_owner = file.owner;
  if (source.chain.front().is_ca()) {
    throw Error(fmt::format("{} is a CA certificate", path), "name the directory of a leaf");
  }
  const Certificate& root = root_of(source.chain, roots);
  if (has_root_in_chain(request.format) && !source.chain.front().is_signed_by(root) &&
      !source.chain.back().is_signed_by(root)) {
    throw Error(fmt::format("{} was not signed by the root in {}", path, request.root.string()),
                "name its root with --ca-cert");
  }
  if (has_key(request.format)) {
    source.key.emplace(pair.read_key(false));
    if (!source.chain.front().has_key(source.key->key.public_key()) ||
        !source.key->key.halves_match()) {
      throw Error(fmt::format("{} does not match {}", pair.key().path(), path),
                  "put the pair back together");
    }
  }
  return source;
}

// What a file of this name holds. Those without a key need none.
SecretBytes contents_of(std::string_view name, std::span<const Certificate> chain, const Key* key,
                        const Certificate& root, std::string_view password) {
  std::vector<Certificate> with_root(chain.begin(), chain.end());
  with_root.push_back(root);
  if (name == "key.pk8") return key->der();
  if (name == "key.p12") {
    return to_pkcs12(*key, chain.front(), std::span(with_root).subspan(1), "user", password);
  }
  if (name == "postgresql.key") return key->pem();
  if (name == "cert.der") {
    const std::vector<unsigned char> der = chain.front().der();
    return {der.begin(), der.end()};
  }
  if (name == "root.crt") return root.pem();
  return pem_of(name == "fullchain.pem" ? with_root : chain);
}

// A p12's password is to be known.
bool is_made_of(const File& file, const PairContents& pair, std::string_view password) {
  if (file.name == "key.p12") {
    return pkcs12_holds(file.contents, password, pair.key, pair.chain.front());
  }
  return file.contents == contents_of(file.name, pair.chain, &pair.key, pair.root, password);
}

std::vector<Wanted> wanted_files(const ExportRequest& request, const Source& source,
                                 const Certificate& root) {
  std::vector<Wanted> files;
  const auto add = [&](const char* name, bool is_secret = false, bool is_random = false) {
    const Key* key = source.key.has_value() ? &source.key->key : nullptr;
    files.push_back({name, contents_of(name, source.chain, key, root, as_text(request.password)),
                     is_secret, is_random});
  };
  switch (request.format) {
    case ExportFormat::pk8: add("key.pk8", true); break;
    case ExportFormat::p12: add("key.p12", true, true); break;
    case ExportFormat::der: add("cert.der"); break;
    case ExportFormat::fullchain: add("fullchain.pem"); break;
    case ExportFormat::libpq:
      add("root.crt");
      add("postgresql.crt");
      add("postgresql.key", true);
      break;
  }
  return files;
}

std::filesystem::path without_last_slash(const std::filesystem::path& path) {
  return path.filename().empty() ? path.parent_path() : path;
}

bool is_beside(const ExportRequest& request) {
  return without_last_slash(request.to.lexically_normal()) ==
         without_last_slash(request.leaf.lexically_normal());
}

// May be reached by a link, as when it is made. Where files are to be made in it it is locked, so
// that no renewal exchanges it meanwhile.
Directory open_leaf(const ExportRequest& request) {
  for (;;) {
    Directory leaf = Directory::open(request.leaf);
    if (!is_beside(request)) return leaf;
    leaf.lock();
    if (Directory::open(request.leaf).identity() == leaf.identity()) return leaf;
  }
}

// Another directory than the leaf's may not be reached by a link: it is in a home, and root's files
// must not land where its owner points to.
Directory open_target(const ExportRequest& request, const Owner& owner, unsigned key_mode) {
  const std::filesystem::path clean = without_last_slash(request.to);
  const std::string name = clean.filename().string();
  if (name.empty() || name == "." || name == "..") return Directory::open(clean);
  const Directory parent = Directory::open(clean.parent_path());
  if (parent.look(name).kind == EntryKind::absent) {
    constexpr unsigned private_mode = 0700;
    constexpr unsigned group_mode = 0750;
    parent.make_directory(name, owner,
                          key_mode == File::group_secret_mode ? group_mode : private_mode);
    parent.sync();
  }
  return parent.open_directory(name, false);
}

bool is_same(const Wanted& wanted, const File& there, const ExportRequest& request,
             const Source& source) {
  if (!wanted.is_random) return there.contents == wanted.contents;
  return pkcs12_holds(there.contents, as_text(request.password), source.key->key,
                      source.chain.front());
}

// Root makes files for whom the leaf's are; anybody else for himself.
Owner owner_for(const ExportRequest& request, const Owner& of_source) {
  if (request.owner.has_value()) return *request.owner;
  return ::geteuid() == 0 ? of_source : Owner{};
}

unsigned key_mode_for(const ExportRequest& request, const Source& source) {
  if (request.owner.has_value()) return File::key_mode(*request.owner);
  return ::geteuid() == 0 ? source.key->mode & File::group_secret_mode : File::secret_mode;
}

// Throws where a file that is there is not what is wanted.
void demand_same(const Wanted& wanted, const Place& place, unsigned mode,
                 const ExportRequest& request, const Source& source) {
  const File there = place.directory->read(place.name, false);
  if (!is_same(wanted, there, request, source)) {
    throw Error(fmt::format("{} is there and differs", place.path()),
                "move it away, and run this again");
  }
  if (!request.owner.has_value()) return;
  const Owner& owner = *request.owner;
  if (there.mode != mode || owner.user.value_or(*there.owner.user) != *there.owner.user ||
      owner.group.value_or(*there.owner.group) != *there.owner.group) {
    throw Error(fmt::format("{} is there, with another owner or mode", place.path()),
                "chown and chmod it, or move it away");
  }
}

// What an editor puts behind it is no part of a password.
SecretBytes password_of(SecretBytes contents) {
  if (!contents.empty() && contents.back() == '\n') contents.pop_back();
  if (!contents.empty() && contents.back() == '\r') contents.pop_back();
  demand_pkcs12_password(as_text(contents));
  return contents;
}

}  // namespace

Exported export_leaf(const ExportRequest& request) {
  Directory leaf = open_leaf(request);
  const std::vector<Certificate> roots = read_bundle(request.root);
  const Source source = read_source(request, leaf, roots);
  const Certificate root = root_of(source.chain, roots);
  std::vector<Wanted> wanted = wanted_files(request, source, root);

  const Owner certificate_owner = owner_for(request, source.certificate_owner);
  const Owner key_owner =
      source.key.has_value() ? owner_for(request, source.key->owner) : certificate_owner;
  const unsigned key_mode =
      source.key.has_value() ? key_mode_for(request, source) : File::secret_mode;
  Directory target =
      is_beside(request) ? std::move(leaf) : open_target(request, key_owner, key_mode);
  if (!is_beside(request)) target.lock();
  for (const char* name : export_names) target.remove(Place{&target, name}.pending().name);

  Exported result;
  std::vector<Staged::Placed> missing;
  for (Wanted& file : wanted) {
    const Place place{&target, file.name};
    const unsigned mode = file.is_secret ? key_mode : File::public_mode;
    if (target.look(file.name).kind != EntryKind::absent) {
      demand_same(file, place, mode, request, source);
      result.unchanged.emplace_back(place.path());
      continue;
    }
    missing.push_back({&target,
                       {file.name, std::move(file.contents), mode,
                        file.is_secret ? key_owner : certificate_owner}});
    result.made.emplace_back(place.path());
  }
  Staged::as_files(std::move(missing)).publish();
  target.sync();
  return result;
}

RemadeExports remake_exports(const Directory& leaf, const PairContents& before,
                             const PairContents& after,
                             const std::optional<SecretBytes>& password) {
  RemadeExports remade;
  for (const std::string name : export_names) {
    const Entry entry = leaf.look(name);
    if (entry.kind == EntryKind::absent) continue;
    const auto is_stale = [&](std::string_view why) {
      if (name != "root.crt") {
        remade.stale.push_back(fmt::format("{} is left as it is: {}", leaf.path_of(name), why));
      }
    };
    if (entry.kind != EntryKind::regular || entry.links > 1) {
      is_stale("it is a link or not a regular file");
      continue;
    }
    if (name == "key.p12" && !password.has_value()) {
      is_stale("its password is not known, and it holds the old certificate");
      continue;
    }
    File file = leaf.read_with_attributes(name);
    const std::string_view secret = password.has_value() ? as_text(*password) : std::string_view();
    if (!is_made_of(file, before, secret)) {
      if (!is_made_of(file, after, secret)) is_stale("it was not made of the pair beside it");
      continue;
    }
    SecretBytes contents = contents_of(name, after.chain, &after.key, after.root, secret);
    if (contents == file.contents) continue;
    file.contents = std::move(contents);
    remade.files.push_back(std::move(file));
  }
  return remade;
}

SecretBytes read_password_file(const std::filesystem::path& path) {
  const Directory directory = Directory::open(path.parent_path());
  return password_of(directory.read(path.filename().string(), true).contents);
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
  return password_of(std::move(password));
}

}  // namespace pki
