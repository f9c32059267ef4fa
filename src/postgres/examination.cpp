#include "postgres/examination.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "pki/ca.h"
#include "pki/error.h"
#include "pki/inspection.h"
#include "pki/leaf.h"
#include "pki/snippets.h"
#include "store/access.h"
#include "store/directory.h"
#include "x509/certificate_file.h"

namespace pki {
namespace {

namespace fs = std::filesystem;
using std::chrono::days;

std::string shown(const fs::path& path) { return printable(path.string()); }

std::string count_of_days(days count) {
  return fmt::format("{} day{}", count.count(), count.count() == 1 ? "" : "s");
}

// How `reader` comes to read what stopped him. A key is not opened to more than him.
std::string remedy_for(const Access& access, const fs::path& file, Examination::Secrecy secrecy,
                       const Reader& reader) {
  const bool is_key =
      secrecy == Examination::Secrecy::secret && access.at.filename() == file.filename();
  if (is_key && !access.grant.starts_with("chmod u")) {
    return fmt::format("chown {} {}, or issue it with --owner {}", printable(reader.name),
                       argument(access.at), printable(reader.name));
  }
  if (access.grant.empty()) return "name the file that it leads to";
  return fmt::format("{} {}", access.grant, argument(access.at));
}

}  // namespace

std::string argument(const fs::path& path) { return shell_word(shown(path)); }

// It has no control bytes, but escapes of its own.
std::string quoted_subject(const Certificate& certificate) {
  return fmt::format("\"{}\"", certificate.subject());
}

std::string key_text(const Certificate& certificate) {
  try {
    return certificate.public_key().description();
  } catch (const Error&) {
    return "a key that cannot be read";
  }
}

Examination::Examination(const LocalCheck& check, Report& report)
    : check_(check), report_(report), reader_(check.reader.value_or(this_process())) {}

void Examination::add(Finding::Level level, const char* id, std::string what, std::string remedy) {
  report_.findings.push_back({level, id, std::move(what), std::move(remedy)});
}

void Examination::problem(const char* id, std::string what, std::string remedy) {
  add(Finding::Level::problem, id, std::move(what), std::move(remedy));
}

void Examination::unknown(const char* id, std::string what, std::string remedy) {
  add(Finding::Level::unknown, id, std::move(what), std::move(remedy));
}

void Examination::note(const char* id, std::string what, std::string remedy) {
  add(Finding::Level::note, id, std::move(what), std::move(remedy));
}

void Examination::fact(std::string name, std::string value) {
  report_.facts.push_back({std::move(name), std::move(value)});
}

std::optional<Examination::Read> Examination::read(const fs::path& path, const std::string& label,
                                                   Secrecy secrecy) {
  const Access access = access_of(path, reader_);
  const bool is_for_us = reader_.user == ::geteuid();
  switch (access.outcome) {
    case Access::Outcome::granted: break;
    case Access::Outcome::absent:
      problem("missing-file", fmt::format("{}: {}: {}", label, shown(access.at), access.why),
              "put the file there, or name one that is there");
      return std::nullopt;
    case Access::Outcome::denied:
      problem("unreadable",
              fmt::format("{}: user {} cannot {} {}: {}", label, printable(reader_.name),
                          access.at.filename() == path.filename() ? "read" : "pass",
                          shown(access.at), access.why),
              remedy_for(access, path, secrecy, reader_));
      if (is_for_us) return std::nullopt;
      break;
    case Access::Outcome::unknown:
      unknown("access-unknown",
              fmt::format("{}: whether user {} can read it cannot be told: {}: {}", label,
                          printable(reader_.name), shown(access.at), access.why),
              "run this as root");
      break;
  }
  try {
    const Directory directory = Directory::open(path.parent_path());
    return Read{path, label, directory.read(path.filename().string(), true)};
  } catch (const Error& error) {
    // Nothing is denied to root, or to us as a reader who was just granted it.
    const bool is_sure =
        access.outcome != Access::Outcome::unknown && (is_for_us || ::geteuid() == 0);
    add(is_sure ? Finding::Level::problem : Finding::Level::unknown, "not-read",
        fmt::format("{}: {}", label, error.what()), is_sure ? error.hint() : "run this as root");
    return std::nullopt;
  }
}

std::vector<Certificate> Examination::certificates(const Read& read) {
  CertificateFile parsed = parse_certificate_file(as_text(read.file.contents));
  for (const std::string& damage : parsed.damage) {
    problem("damaged-file", fmt::format("{}: {}", read.label, printable(damage)),
            "write the file anew: for one damaged block OpenSSL refuses all of it");
  }
  if (parsed.certificates.empty() && parsed.damage.empty()) {
    problem("damaged-file", fmt::format("{}: no certificate in PEM format", read.label),
            "name a file that begins with -----BEGIN CERTIFICATE-----");
  }
  if (parsed.has_private_key && (read.file.mode & 044U) != 0) {
    problem("key-in-certificate-file",
            fmt::format("{}: it holds a private key, and other users can read it", read.label),
            "take the key out of the file, and make a new one: it is no secret any more");
  }
  return std::move(parsed.certificates);
}

std::optional<Key> Examination::key(const Read& read) {
  try {
    Key key = Key::from_pem(as_text(read.file.contents));
    if (!key.halves_match()) {
      problem(
          "damaged-file",
          fmt::format("{}: the key's private half does not belong to its public one", read.label),
          "issue the certificate anew, with a new key");
    }
    return key;
  } catch (const Error& error) {
    const bool is_encrypted = std::string_view(error.what()).ends_with("is encrypted");
    problem(is_encrypted ? "encrypted-key" : "damaged-file",
            fmt::format("{}: {}", read.label, error.what()),
            is_encrypted ? "decrypt it: PgBouncer can ask nobody for its password"
                         : "put the private key there, in PEM");
    return std::nullopt;
  }
}

void Examination::judge_pair(const Read& certificate_file, const std::vector<Certificate>& chain,
                             const Read& key_file, const Key& key) {
  const auto is_its = [&](const Certificate& certificate) {
    try {
      return certificate.has_key(key.public_key());
    } catch (const Error&) {
      return false;
    }
  };
  const auto found = std::ranges::find_if(chain, is_its);
  if (found == chain.begin()) return;
  const bool is_later = found != chain.end();
  problem("pair-mismatch",
          fmt::format("{}: its key is not that of {}{}", certificate_file.label, key_file.label,
                      is_later ? ", which is a later certificate's: the order is wrong" : ""),
          is_later ? "put the certificate first, and what signed it below"
                   : "name the two files that were issued together, or issue them anew");
}

void Examination::judge_exposure(const Read& key_file) {
  const unsigned mode = key_file.file.mode;
  const unsigned group_writes = 020U;
  const unsigned others = 007U;
  if ((mode & (others | group_writes)) == 0) return;
  problem("key-exposed",
          fmt::format("{}: {} ({:04o})", key_file.label,
                      (mode & others) != 0 ? "every user here can open the key"
                                           : "a group can replace the key",
                      mode),
          fmt::format("chmod {} {}, and issue a new key if it was read",
                      (mode & 040U) != 0 && key_file.file.owner.user == 0U ? "0640" : "0600",
                      argument(key_file.path)));
}

void Examination::inspect_chain(const std::string& label, const std::vector<Certificate>& chain,
                                const std::vector<Certificate>& roots, bool for_client) {
  try {
    for (const Finding& found : inspect({.chain = chain,
                                .roots = roots,
                                .host = std::nullopt,
                                .for_client = for_client,
                                .now = check_.now,
                                .warn = check_.warn})) {
      add(found.level, found.id.c_str(), fmt::format("{}: {}", label, found.what), found.remedy);
    }
  } catch (const Error& error) {
    problem("damaged-file", fmt::format("{}: {}", label, error.what()), "issue it anew");
  }
}

std::vector<Certificate> Examination::roots_beside(const fs::path& directory,
                                                   std::string& why_none) const {
  fs::path roots = check_.roots.value_or(fs::path());
  if (!check_.roots.has_value()) {
    std::error_code failed;
    const fs::path here = directory.empty() ? "." : directory;
    fs::path whole = fs::absolute(here, failed).lexically_normal();
    if (!whole.has_filename()) whole = whole.parent_path();
    roots = whole.parent_path() / CaFiles{}.certificate;
  }
  try {
    return read_bundle(roots);
  } catch (const Error& error) {
    why_none = error.what();
    return {};
  }
}

void Examination::judge_root(Finding::Level level, const std::string& label,
                             const Certificate& root) {
  const std::string subject = quoted_subject(root);
  try {
    const Validity validity = root.validity();
    if (check_.now > validity.not_after) {
      add(level, "root-expired",
          fmt::format("{}: {} expired on {}", label, subject, text(validity.not_after)),
          "take it out of the file, and put its successor there");
    } else if (check_.now < validity.not_before) {
      add(level, "root-not-yet-valid",
          fmt::format("{}: {} is not valid before {}", label, subject, text(validity.not_before)),
          "set the clock, or wait");
    } else if (validity.not_after - check_.now < check_.warn) {
      const days left = std::chrono::floor<days>(validity.not_after - check_.now);
      add(level, "root-expires-soon",
          fmt::format("{}: {} expires in {}, on {}", label, subject, count_of_days(left),
                      text(validity.not_after)),
          "add its successor to the file before that day");
    }
  } catch (const Error& error) {
    problem("damaged-file", fmt::format("{}: {}: {}", label, subject, error.what()),
            "take it out of the file");
  }
}

std::string Examination::lifetime(const Certificate& certificate) const {
  try {
    const Instant end = certificate.validity().not_after;
    const bool is_over = check_.now > end;
    const days count = std::chrono::floor<days>(is_over ? check_.now - end : end - check_.now);
    return is_over ? fmt::format("expired {}, {} ago", text(end), count_of_days(count))
                   : fmt::format("until {}, {} left", text(end), count_of_days(count));
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace pki
