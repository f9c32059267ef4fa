#include "store/revocation.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/ascii.h"
#include "pki/error.h"
#include "pki/leaf.h"
#include "store/ledger_reader.h"

namespace pki {
namespace {

using std::chrono::days;
using std::chrono::seconds;

// Past its next update a list makes servers refuse everybody, and a list that is copied by hand
// protects no better for being short-lived: it outlives every certificate that has the usual
// lifetime or one that all clients take.
constexpr days usual_lifetime{825};

// A million certificates that were all revoked have half of that.
constexpr std::size_t largest_list = std::size_t{128} << 20U;

// A line of the ledger about a certificate that is revoked.
struct RevokedLine {
  RevokedCertificate certificate;
  Instant not_after;
};

// What is asked for.
struct Subject {
  std::optional<SerialNumber> serial;
  std::string name;  // as the ledger writes it; empty where there is none
};

// What the ledger says about it.
struct Survey {
  std::vector<RevokedLine> revoked;        // all
  std::vector<std::uint64_t> lines;        // that are to be changed
  std::vector<RevokedLine> changes;        // what they become
  std::optional<RevokedCertificate> past;  // if it was revoked before
  std::vector<SerialNumber> still_valid;
  bool is_known = false;
};

// Words that OpenSSL's index has beside RFC 5280's reasons. Any other is still a revocation.
RevocationReason reason_of(std::string_view word) {
  if (equal_ignoring_case(word, "keyTime")) return RevocationReason::key_compromise;
  if (equal_ignoring_case(word, "CAkeyTime")) return RevocationReason::ca_compromise;
  if (equal_ignoring_case(word, "holdInstruction")) return RevocationReason::certificate_hold;
  return parse_revocation_reason(word).value_or(RevocationReason::unspecified);
}

// All of it, or none: a line that is passed over could be that of a revoked certificate.
void read(const Ledger& ledger, const std::function<void(const LedgerEntry&)>& visit) {
  read_ledger(ledger.directory(), ledger.name(), visit, [](const std::string& fault) {
    throw Error(fmt::format("no revocation list can be made: {}", fault),
                "mend that line, or remove it");
  });
}

RevokedLine line_of(const LedgerEntry& entry) {
  return {{entry.serial, *entry.revoked_at, reason_of(entry.reason)}, entry.not_after};
}

std::string list_of(const std::vector<SerialNumber>& serials) {
  constexpr std::size_t most = 4;
  std::string out;
  for (const SerialNumber& serial : std::span(serials).first(std::min(most, serials.size()))) {
    out += fmt::format("{}{}", out.empty() ? "" : ", ", serial.text());
  }
  return serials.size() > most ? fmt::format("{} and {} more", out, serials.size() - most) : out;
}

Subject subject_of(const Books& books, const RevokeRequest& request,
                   const std::optional<Certificate>& on_disk) {
  if (const auto* name = std::get_if<std::string>(&request.certificate)) {
    if (!on_disk.has_value()) return {std::nullopt, "/CN=" + *name};
    return {on_disk->serial(), on_disk->subject()};
  }
  Subject subject{std::get<SerialNumber>(request.certificate), {}};
  bool is_known = false;
  read(books.ledger, [&](const LedgerEntry& entry) {
    if (entry.serial != subject.serial) return;
    is_known = true;
    subject.name = entry.subject;
  });
  if (is_known) return subject;
  throw Error(fmt::format("{} has no certificate with the serial number {}", books.ledger.path(),
                          subject.serial->text()),
              "openssl x509 -noout -serial -in FILE shows a certificate's; or name its directory");
}

Survey survey(const Books& books, const RevokeRequest& request, const Subject& subject,
              Instant now) {
  const SerialNumber root = books.root.certificate().serial();
  Survey found;
  read(books.ledger, [&](const LedgerEntry& entry) {
    const bool is_asked_for = entry.serial == subject.serial;
    const bool is_namesake = !subject.name.empty() && entry.subject == subject.name &&
                             entry.not_after >= now && entry.serial != root;
    found.is_known = found.is_known || is_asked_for;
    if (entry.status == LedgerEntry::Status::revoked) {
      found.revoked.push_back(line_of(entry));
      const bool is_past = subject.serial.has_value() ? is_asked_for : request.all && is_namesake;
      if (is_past) found.past = found.revoked.back().certificate;
    } else if (is_asked_for || (is_namesake && request.all)) {
      found.lines.push_back(entry.offset);
      found.changes.push_back(
          {{entry.serial, now, request.reason.value_or(RevocationReason::unspecified)},
           entry.not_after});
    } else if (is_namesake) {
      found.still_valid.push_back(entry.serial);
    }
  });
  return found;
}

void demand_something(const Books& books, const RevokeRequest& request, const Subject& subject,
                      const Survey& found) {
  if (subject.serial == books.root.certificate().serial()) {
    throw Error("that is the root's own certificate, and a root cannot revoke itself",
                "take it away from whoever trusts it, and make a new one");
  }
  if (!subject.serial.has_value() && found.changes.empty() && !found.past.has_value()) {
    const std::string& name = std::get<std::string>(request.certificate);
    throw Error(
        fmt::format("there is no certificate in a directory {}", quote(name)),
        found.still_valid.empty()
            ? fmt::format("name one that is there, or a serial number in {}", books.ledger.path())
            : fmt::format("{} has {} of that name: name the serial number, or give --all",
                          books.ledger.path(), list_of(found.still_valid)));
  }
  if (found.past.has_value() && request.reason.value_or(found.past->reason) != found.past->reason) {
    throw Error(fmt::format("{} was revoked on {} with the reason {}", found.past->serial.text(),
                            text(found.past->time), text(found.past->reason)),
                "leave --reason out: it stays as it is");
  }
}

seconds lifetime_of(const std::optional<Crl>& last, std::optional<days> asked) {
  if (asked.has_value()) return *asked;
  const std::optional<Instant> end = last.has_value() ? last->next_update() : std::nullopt;
  return end.has_value() && *end > last->this_update() ? *end - last->this_update()
                                                       : seconds{usual_lifetime};
}

// What the next list has on it, in order.
std::vector<RevokedCertificate> listed(const std::vector<RevokedLine>& revoked,
                                       const std::optional<Crl>& last, Instant now) {
  // RFC 5280 3.3: an entry stays until it was on a list that was made after its certificate's end.
  const auto is_done = [&](const RevokedLine& entry) {
    return last.has_value() && entry.certificate.time < last->this_update() &&
           entry.not_after < std::min(last->this_update(), now);
  };
  std::vector<RevokedCertificate> out;
  std::vector<SerialNumber> known;
  for (const RevokedLine& entry : revoked) {
    known.push_back(entry.certificate.serial);
    if (!is_done(entry)) out.push_back(entry.certificate);
  }
  // Where lines of the ledger were lost nothing is to become valid again.
  if (last.has_value()) {
    std::ranges::sort(known);
    for (const RevokedCertificate& certificate : last->revoked()) {
      if (!std::ranges::binary_search(known, certificate.serial)) out.push_back(certificate);
    }
  }
  std::ranges::sort(out);
  const auto same_serial = [](const RevokedCertificate& a, const RevokedCertificate& b) {
    return a.serial == b.serial;
  };
  out.erase(std::unique(out.begin(), out.end(), same_serial), out.end());
  return out;
}

bool covers(const std::optional<Crl>& list, const std::vector<RevokedCertificate>& certificates) {
  if (!list.has_value()) return false;
  std::vector<RevokedCertificate> there = list->revoked();
  std::ranges::sort(there);
  return std::ranges::includes(there, certificates);
}

Crl make_list(const Books& books, std::vector<RevokedCertificate> certificates,
              const std::optional<Crl>& last, std::optional<days> lifetime, Instant now) {
  const Certificate& root = books.root.certificate();
  // Larger than the last one's, also where that was lost: the seconds since 1970.
  const auto since_1970 = static_cast<std::uint64_t>(now.time_since_epoch().count());
  const std::uint64_t past = last.has_value() ? last->number().value_or(0) : 0;
  const Instant this_update = std::max(now - backdate, root.validity().not_before);
  try {
    return books.root.sign(CrlSpec{.number = std::max(past + 1, since_1970),
                                   .this_update = this_update,
                                   .next_update = this_update + lifetime_of(last, lifetime),
                                   .revoked = std::move(certificates)});
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", books.root_path, error.what()), error.hint());
  }
}

// `is_user`: it may be a user's.
std::vector<std::string> warnings(const Revoked& revoked, bool is_user, Instant now) {
  std::vector<std::string> out;
  if (!revoked.still_valid.empty()) {
    out.push_back(fmt::format(
        "of {} there are other valid certificates: {}; revoke them by serial number, or with --all",
        revoked.subject, list_of(revoked.still_valid)));
  }
  if (revoked.status == Revoked::Status::unchanged) return out;
  const Crl& list = revoked.list.crl;
  if (list.next_update().value_or(now) < now + days{30}) {
    out.push_back(
        fmt::format("{} ends on {}, and then all certificates are refused where it is read: pki "
                    "crl makes it anew",
                    revoked.list.path.string(), text(*list.next_update())));
  }
  out.emplace_back(
      is_user
          ? "PgBouncer reads no revocation lists: take a revoked user out of its auth_file, and "
            "restart it"
          : "PgBouncer reads no revocation lists, nor do clients without sslcrl: where the key "
            "is in wrong hands, give the host another name there, or make a new root");
  return out;
}

// The predecessor's list goes with the root's own.
SecretBytes file_of(const Books& books, const Crl& list) {
  SecretBytes pem = list.pem();
  if (books.predecessor == nullptr) return pem;
  const Instant end = *list.next_update();
  const SecretBytes other = books.predecessor
                                ->sign(CrlSpec{.number = *list.number(),
                                               .this_update = list.this_update(),
                                               .next_update = end,
                                               .revoked = list.revoked()})
                                .pem();
  pem.insert(pem.end(), other.begin(), other.end());
  return pem;
}

// On the disk already, and so is whatever a killed run did to the ledger beside it.
Staged stage_list(const Books& books, const Crl& list) {
  const SecretBytes pem = file_of(books, list);
  if (pem.size() > largest_list) {
    throw Error(fmt::format("{} would have {} MiB", books.list.path(), pem.size() >> 20U),
                "make a new root: nobody could read that list");
  }
  Staged staged = Staged::as_replacement(books.list, File::public_mode);
  staged.write(as_text(pem));
  staged.sync();
  return staged;
}

}  // namespace

std::filesystem::path crl_path(const std::filesystem::path& root_certificate) {
  return root_certificate.parent_path() / (root_certificate.stem().string() + "-crl.pem");
}

std::optional<CrlFile> find_crl(const std::filesystem::path& root_certificate) {
  const std::filesystem::path path = crl_path(root_certificate);
  const Directory directory = Directory::open(path.parent_path());
  const Place place{&directory, path.filename().string()};
  if (directory.look(place.name).kind == EntryKind::absent) return std::nullopt;
  std::optional<Crl> list = read_list(place, read_bundle(root_certificate));
  if (!list.has_value()) return std::nullopt;
  return CrlFile{path, std::move(*list)};
}

bool is_due(const Crl& crl, Instant now) {
  const std::optional<Instant> end = crl.next_update();
  return !end.has_value() || *end - now < (*end - crl.this_update()) / 2;
}

std::optional<Crl> read_list(const Place& list, std::span<const Certificate> roots) {
  if (list.directory->look(list.name).kind == EntryKind::absent) return std::nullopt;
  const File file = list.directory->read(list.name, false, largest_list);
  try {
    std::string_view rest = as_text(file.contents);
    std::vector<Crl> lists;
    while (lists.empty() || !rest.empty()) {
      lists.push_back(Crl::from_pem(rest));
      const SecretBytes pem = lists.back().pem();
      // Another CA's list behind it, in a file that a server reads, would be lost.
      if (!rest.starts_with(as_text(pem))) {
        throw Error("it holds something else than revocation lists in PEM");
      }
      rest.remove_prefix(pem.size());
    }
    for (const Crl& crl : lists) {
      const auto has_signed = [&](const Certificate& root) { return crl.is_signed_by(root); };
      if (std::ranges::none_of(roots, has_signed)) throw Error("not signed by this root");
    }
    std::optional<Crl> first;
    for (const Certificate& root : roots) {
      const auto is_its = [&](const Crl& crl) { return crl.is_signed_by(root); };
      if (std::ranges::count_if(lists, is_its) > 1) throw Error("it holds two lists of one root");
      const auto found = std::ranges::find_if(lists, is_its);
      if (!first.has_value() && found != lists.end()) first = *found;
    }
    return first;
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", list.path(), error.what()),
                "move it away: this is the place of the root's revocation list");
  }
}

Revoked revoke(const Books& books, const RevokeRequest& request,
               const std::optional<Certificate>& on_disk, Instant now) {
  const std::optional<Crl> last = read_list(books.list, books.trusted);
  books.ledger.mend();
  const Subject subject = subject_of(books, request, on_disk);
  Survey found = survey(books, request, subject, now);
  demand_something(books, request, subject, found);

  // One of minica's, for instance.
  const bool is_unknown = on_disk.has_value() && !found.is_known;
  const RevocationReason reason = request.reason.value_or(RevocationReason::unspecified);
  if (is_unknown) {
    found.changes.push_back({{*subject.serial, now, reason}, on_disk->validity().not_after});
  }
  std::vector<RevokedLine> all = std::move(found.revoked);
  all.insert(all.end(), found.changes.begin(), found.changes.end());
  std::vector<RevokedCertificate> certificates = listed(all, last, now);
  const auto result = [&](Revoked::Status status, const Crl& list) {
    Revoked out{.status = status,
                .subject = subject.name,
                .certificates = {},
                .still_valid = std::move(found.still_valid),
                .list = {books.list.path(), list},
                .warnings = {}};
    for (const RevokedLine& change : found.changes) out.certificates.push_back(change.certificate);
    if (out.certificates.empty()) out.certificates.push_back(*found.past);
    const bool is_user = !on_disk.has_value() || on_disk->allows_client_auth();
    out.warnings = warnings(out, is_user, now);
    return out;
  };
  if (found.changes.empty() && covers(last, certificates) && !is_due(*last, now)) {
    books.list.directory->sync();  // the run that did it may have been killed before that
    return result(Revoked::Status::unchanged, *last);
  }

  const Crl list = make_list(books, std::move(certificates), last, std::nullopt, now);
  Staged staged = stage_list(books, list);
  if (is_unknown) books.ledger.record_revoked(*on_disk, found.changes.back().certificate);
  if (!found.lines.empty()) books.ledger.revoke(found.lines, now, reason);
  staged.publish();
  return result(Revoked::Status::revoked, list);
}

CrlFile write_list(const Books& books, std::optional<days> lifetime, Instant now) {
  const std::optional<Crl> last = read_list(books.list, books.trusted);
  books.ledger.mend();
  std::vector<RevokedLine> revoked;
  read(books.ledger, [&](const LedgerEntry& entry) {
    if (entry.status == LedgerEntry::Status::revoked) revoked.push_back(line_of(entry));
  });
  Crl list = make_list(books, listed(revoked, last, now), last, lifetime, now);
  stage_list(books, list).publish();
  return {books.list.path(), std::move(list)};
}

}  // namespace pki
