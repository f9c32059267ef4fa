#include "store/ledger.h"

#include <fmt/format.h>

#include <algorithm>

#include "pki/error.h"
#include "store/writer.h"
#include "x509/asn1.h"

namespace pki {
namespace {

// A line has six fields between tabs. A torn one is the beginning of one: its status, and then
// fewer.
Directory::Line judge(std::string_view line) {
  constexpr int separators = 5;
  constexpr std::string_view statuses = "VRE";
  if (line.empty() || statuses.find(line.front()) == std::string_view::npos)
    return Directory::Line::foreign;
  if (line.size() > 1 && line[1] != '\t') return Directory::Line::foreign;
  const auto tabs = std::ranges::count(line, '\t');
  return tabs < separators    ? Directory::Line::torn
         : tabs == separators ? Directory::Line::whole
                              : Directory::Line::foreign;
}

// As `openssl ca -revoke` writes it: "271224040506Z,keyCompromise", without a reason if there is
// none.
std::string revocation_text(Instant time, RevocationReason reason) {
  if (reason == RevocationReason::unspecified) return asn1_time(time);
  return fmt::format("{},{}", asn1_time(time), text(reason));
}

std::string line_for(const Certificate& certificate, char status = 'V',
                     const std::string& revocation = {}) {
  return fmt::format("{}\t{}\t{}\t{}\tunknown\t{}\n", status,
                     asn1_time(certificate.validity().not_after), revocation,
                     certificate.serial().text(), certificate.subject());
}

// The line without its newline, its status and its third field replaced.
std::string revoked_line(std::string_view line, const std::string& revocation) {
  const std::size_t expiry = line.find('\t') + 1;
  const std::size_t old_revocation = line.find('\t', expiry) + 1;
  const std::size_t rest = line.find('\t', old_revocation);
  return fmt::format("R\t{}{}{}", line.substr(expiry, old_revocation - expiry), revocation,
                     line.substr(rest));
}

}  // namespace

void Ledger::record(std::span<const Certificate> certificates) const {
  std::string lines;
  for (const Certificate& certificate : certificates) lines += line_for(certificate);
  directory_.append_lines(name_, lines, judge);
}

void Ledger::record_revoked(const Certificate& certificate,
                            const RevokedCertificate& revoked) const {
  directory_.append_lines(
      name_, line_for(certificate, 'R', revocation_text(revoked.time, revoked.reason)), judge);
}

void Ledger::mend() const {
  if (directory_.look(name_).kind != EntryKind::absent) directory_.append_lines(name_, {}, judge);
}

void Ledger::revoke(std::span<const std::uint64_t> offsets, Instant time,
                    RevocationReason reason) const {
  constexpr std::size_t write_size = std::size_t{1} << 16;
  const std::string revocation = revocation_text(time, reason);
  const Entry entry = directory_.look(name_);
  Staged staged = Staged::as_replacement({&directory_, name_}, entry.mode,
                                         {.user = entry.user, .group = entry.group});
  std::string lines;
  auto next = offsets.begin();
  directory_.read_lines(name_, [&](const Directory::TextLine& line) {
    if (line.text.size() > Directory::longest_line) {  // part of it is missing here
      throw Error(fmt::format("{}: line {} is too long", path(), line.number),
                  "mend that line, or remove it");
    }
    if (next != offsets.end() && line.offset == *next) {
      lines += revoked_line(line.text, revocation);
      ++next;
    } else {
      lines += line.text;
    }
    lines += '\n';
    if (lines.size() < write_size) return;
    staged.write(lines);
    lines.clear();
  });
  staged.write(lines);
  if (next != offsets.end()) {
    throw Error(fmt::format("{} has changed meanwhile", path()), "run this again");
  }
  staged.publish();
}

}  // namespace pki
