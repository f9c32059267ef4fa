#include "pki/local_check.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "pki/error.h"
#include "pki/leaf.h"
#include "postgres/examination.h"
#include "store/access.h"
#include "store/directory.h"

namespace pki {
namespace {

namespace fs = std::filesystem;
using Secrecy = Examination::Secrecy;

std::string label_of(const fs::path& path) { return printable(path.string()); }

bool is_self_signed(const Certificate& certificate) {
  try {
    return certificate.is_signed_by(certificate);
  } catch (const Error&) {
    return false;  // a key that cannot be read
  }
}

bool signs(const Certificate& issuer, const Certificate& certificate) {
  try {
    return certificate.is_signed_by(issuer);
  } catch (const Error&) {
    return false;
  }
}

// --- a leaf ---

std::string names_text(const Certificate& certificate) {
  std::string out;
  try {
    for (const San& san : certificate.sans()) {
      out += fmt::format("{}{}", out.empty() ? "" : ", ", text(san));
    }
  } catch (const Error& error) {
    return error.what();
  }
  if (out.empty()) return fmt::format("none; common name {}", quote(certificate.common_name()));
  return out;
}

const char* kind_text(const Certificate& certificate) {
  const bool serves = certificate.allows_server_auth();
  const bool asks = certificate.allows_client_auth();
  if (serves) return asks ? "peer" : "server";
  return asks ? "client" : "neither server nor client";
}

bool is_for_clients_only(const Certificate& certificate) {
  return certificate.allows_client_auth() && !certificate.allows_server_auth();
}

void describe(Examination& examination, const Certificate& leaf) {
  examination.fact("names", names_text(leaf));
  examination.fact("kind", kind_text(leaf));
  examination.fact("valid", examination.lifetime(leaf));
  try {
    examination.fact("serial", leaf.serial().text());
  } catch (const Error& error) {
    examination.fact("serial", error.what());
  }
  examination.fact("key type", key_text(leaf));
  examination.fact("fingerprint", leaf.fingerprint());
}

// What PostgreSQL and libpq refuse; PgBouncer takes any mode.
void judge_key_mode(Examination& examination, const Examination::Read& key_file, bool for_client) {
  const unsigned mode = key_file.file.mode;
  const uid_t owner = key_file.file.owner.user.value_or(0);
  examination.fact(
      "key file",
      fmt::format("{:04o} {}", mode, owner_text(owner, key_file.file.owner.group.value_or(0))));
  examination.judge_exposure(key_file);
  const bool is_refused = (mode & (owner == 0 ? 037U : 077U)) != 0;
  if (!is_refused || (mode & 027U) != 0) return;  // what is exposed was said already
  examination.add(
      for_client ? Finding::Level::problem : Finding::Level::note, "key-mode",
      fmt::format("{}: its group can read the key ({:04o}), which {} unless root owns it",
                  key_file.label, mode,
                  for_client ? "libpq refuses" : "PgBouncer takes but PostgreSQL refuses"),
      fmt::format("chmod 0600 {0}, or chown root {0}", argument(key_file.path)));
}

void judge_directory(Examination& examination, const fs::path& directory) {
  constexpr unsigned others_write = 002U;
  constexpr unsigned sticky = 01000U;
  try {
    const Entry entry = Directory::open(directory).look(".");
    if ((entry.mode & others_write) == 0 || (entry.mode & sticky) != 0) return;
    examination.problem("directory-writable",
                        fmt::format("{}: every user here can replace what is in it ({:04o})",
                                    label_of(directory), entry.mode),
                        fmt::format("chmod o-w {}", argument(directory)));
  } catch (const Error&) {
    // Whoever may not open it hears so of the files in it.
    return;
  }
}

std::vector<Certificate> find_roots(Examination& examination, const std::string& label,
                                    const fs::path& directory) {
  std::string why_none;
  std::vector<Certificate> roots = examination.roots_beside(directory, why_none);
  if (roots.empty()) {
    examination.unknown("not-verified",
                        fmt::format("{}: there is no root to verify it with: {}", label, why_none),
                        "name one, or a bundle: --ca-cert FILE");
  }
  return roots;
}

bool has_expired(const Certificate& certificate, Instant now) {
  try {
    return now > certificate.validity().not_after;
  } catch (const Error&) {
    return false;
  }
}

// Of an expired root the chain's inspection speaks.
void judge_roots(Examination& examination, const std::vector<Certificate>& roots,
                 const Certificate& last) {
  for (const Certificate& root : roots) {
    if (!signs(root, last) || has_expired(root, examination.check().now)) continue;
    examination.judge_root(Finding::Level::problem, "its root", root);
  }
}

}  // namespace

Report check_leaf(const fs::path& directory, const LocalCheck& check) {
  Report report;
  report.target = label_of(directory);
  Examination examination(check, report);
  judge_directory(examination, directory);
  const auto read = [&](const char* name, Secrecy secrecy) {
    const fs::path path = directory / name;
    return examination.read(path, label_of(path), secrecy);
  };
  const auto certificate_file = read(leaf_certificate_name, Secrecy::open);
  const auto key_file = read(leaf_key_name, Secrecy::secret);
  std::vector<Certificate> chain;
  if (certificate_file.has_value()) chain = examination.certificates(*certificate_file);
  const bool for_client = !chain.empty() && is_for_clients_only(chain.front());
  if (!chain.empty()) {
    describe(examination, chain.front());
    const std::vector<Certificate> roots =
        find_roots(examination, certificate_file->label, directory);
    examination.inspect_chain(certificate_file->label, chain, roots, for_client);
    judge_roots(examination, roots, chain.back());
  }
  if (!key_file.has_value()) return report;
  judge_key_mode(examination, *key_file, for_client);
  const std::optional<Key> key = examination.key(*key_file);
  if (key.has_value() && !chain.empty()) {
    examination.judge_pair(*certificate_file, chain, *key_file, *key);
  }
  return report;
}

// --- a bundle ---

namespace {

void describe(Examination& examination, const std::vector<Certificate>& certificates) {
  std::map<std::string, int> seen;  // a renewed root has its predecessor's subject
  for (const Certificate& certificate : certificates) {
    const std::string subject = printable(certificate.subject());
    const int count = ++seen[subject];
    examination.fact(
        count == 1 ? subject : fmt::format("{} ({})", subject, count),
        fmt::format("{}, {}", key_text(certificate), examination.lifetime(certificate)));
  }
}

void judge_bundle(Examination& examination, const std::string& label,
                  const std::vector<Certificate>& certificates) {
  std::set<std::string> seen;
  for (const Certificate& certificate : certificates) {
    const std::string subject = quoted_subject(certificate);
    if (!seen.insert(certificate.fingerprint()).second) {
      examination.note("bundle-duplicate", fmt::format("{}: {} is there twice", label, subject),
                       "take one of them out");
      continue;
    }
    examination.judge_root(Finding::Level::problem, label, certificate);
    if (!certificate.is_ca()) {
      examination.problem(
          "bundle-leaf",
          fmt::format("{}: {} is no CA: nothing that it signed is verified by it", label, subject),
          "take it out, and put its root there");
    } else if (!is_self_signed(certificate)) {
      examination.note("bundle-intermediate",
                       fmt::format("{}: {} is no root: libpq, PostgreSQL and PgBouncer trust it "
                                   "only where its root is there too",
                                   label, subject),
                       "leave intermediates to the servers, which send them");
    }
  }
}

}  // namespace

Report check_bundle(const fs::path& file, const LocalCheck& check) {
  Report report;
  report.target = label_of(file);
  Examination examination(check, report);
  const auto read = examination.read(file, label_of(file), Secrecy::open);
  if (!read.has_value()) return report;
  const std::vector<Certificate> certificates = examination.certificates(*read);
  describe(examination, certificates);
  if (certificates.empty()) return report;
  if (certificates.front().is_ca()) {
    judge_bundle(examination, read->label, certificates);
    return report;
  }
  examination.inspect_chain(read->label, certificates,
                            find_roots(examination, read->label, file.parent_path()),
                            is_for_clients_only(certificates.front()));
  return report;
}

}  // namespace pki
