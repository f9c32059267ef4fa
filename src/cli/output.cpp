#include "cli/output.h"

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

#include "cli/values.h"
#include "pki/leaf.h"
#include "pki/snippets.h"

namespace pki::cli {
namespace {

std::string path_text(const std::filesystem::path& path) { return full_path(path).string(); }

std::string_view word(Issued::Status status) {
  switch (status) {
    case Issued::Status::issued: return "issued";
    case Issued::Status::unchanged: return "unchanged";
    case Issued::Status::expiring: return "expiring";
  }
  return "";
}

// `root`: the path of its certificate.
nlohmann::ordered_json to_json(const Issued& issued, const std::string& root) {
  const Certificate& certificate = issued.certificate;
  const Validity validity = certificate.validity();
  const std::filesystem::path directory = full_path(issued.directory);
  nlohmann::ordered_json names = nlohmann::ordered_json::array();
  for (const San& san : certificate.sans()) names.push_back(text(san));
  return {
      {"name", issued.directory.filename().string()},
      {"status", word(issued.status)},
      {"common_name", certificate.common_name()},
      {"names", names},
      {"key", (directory / issued.key_file.filename()).string()},
      {"certificate", (directory / issued.certificate_file.filename()).string()},
      {"serial", certificate.serial().text()},
      {"not_before", text(validity.not_before)},
      {"not_after", text(validity.not_after)},
      {"sha256_fingerprint", certificate.fingerprint()},
      {"root", {{"certificate", root}, {"created", issued.root_is_new}}},
      {"warnings", issued.warnings},
  };
}

std::string_view word(Renewed::Status status) {
  switch (status) {
    case Renewed::Status::renewed: return "renewed";
    case Renewed::Status::unchanged: return "unchanged";
    case Renewed::Status::ends_with_root: return "ends-with-root";
    case Renewed::Status::revoked: return "revoked";
    case Renewed::Status::failed: return "failed";
  }
  return "";
}

nlohmann::ordered_json to_json(const Renewed& renewed) {
  nlohmann::ordered_json exports = nlohmann::ordered_json::array();
  for (const auto& file : renewed.exports) exports.push_back(path_text(file));
  const auto serial_text = [](const std::optional<SerialNumber>& serial) {
    return serial.has_value() ? serial->text() : std::string();
  };
  return {
      {"name", renewed.name},
      {"status", word(renewed.status)},
      {"key", path_text(renewed.directory / leaf_key_name)},
      {"certificate", path_text(renewed.directory / leaf_certificate_name)},
      {"serial", serial_text(renewed.serial)},
      {"replaced_serial", serial_text(renewed.replaced)},
      {"not_after", renewed.validity.has_value() ? text(renewed.validity->not_after) : ""},
      {"sha256_fingerprint", renewed.fingerprint},
      {"exports", std::move(exports)},
      {"stale", renewed.stale},
      {"warnings", renewed.warnings},
      {"error", renewed.error.has_value() ? renewed.error->what() : ""},
  };
}

std::string_view word(Finding::Level level) {
  switch (level) {
    case Finding::Level::problem: return "problem";
    case Finding::Level::unknown: return "unknown";
    case Finding::Level::note: return "note";
  }
  return "";
}

nlohmann::ordered_json to_json(const Report& report) {
  nlohmann::ordered_json facts = nlohmann::ordered_json::object();
  for (const Fact& fact : report.facts) facts[fact.name] = fact.value;
  nlohmann::ordered_json findings = nlohmann::ordered_json::array();
  for (const Finding& finding : report.findings) {
    findings.push_back({{"level", word(finding.level)},
                        {"id", finding.id},
                        {"what", finding.what},
                        {"remedy", finding.remedy}});
  }
  nlohmann::ordered_json verdicts = nlohmann::ordered_json::array();
  for (const Verdict& verdict : report.verdicts) {
    verdicts.push_back(
        {{"client", verdict.client}, {"accepts", verdict.accepts}, {"reason", verdict.reason}});
  }
  return {{"target", report.target},
          {"facts", std::move(facts)},
          {"verdicts", std::move(verdicts)},
          {"findings", std::move(findings)},
          {"command", report.command}};
}

std::string line_for(const Issued& issued) {
  const std::string name = issued.directory.string();
  const std::string end = text(issued.certificate.validity().not_after);
  return issued.status == Issued::Status::issued
             ? fmt::format("{}: issued, serial {}, valid until {}", name,
                           issued.certificate.serial().text(), end)
             : fmt::format("{}: unchanged, valid until {}", name, end);
}

Error expiry_of(const Issued& issued, Instant now) {
  const Instant end = issued.certificate.validity().not_after;
  return Error(fmt::format("{} {} on {}", issued.certificate_file.string(),
                           end < now ? "expired" : "expires", text(end)),
               fmt::format("pki renew {} makes a new one",
                           shell_word(issued.directory.filename().string())));
}

std::string indented(std::string_view lines) {
  std::string out;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size() - 1);
    out += fmt::format("  {}", lines.substr(0, end + 1));
    lines.remove_prefix(end + 1);
  }
  return out;
}

// `indent`: -1 for all of it in one line.
std::string as_text(const nlohmann::ordered_json& document, int indent) {
  // A path that is not UTF-8 has replacement characters: JSON has no other way.
  return document.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

// 12345 -> "12,345"
std::string grouped(std::size_t number) {
  std::string digits = fmt::format("{}", number);
  for (std::size_t end = digits.size(); end > 3;) {
    end -= 3;
    digits.insert(end, 1, ',');
  }
  return digits;
}

// What was made, and lines that can be pasted as they are.
std::string next_steps(const Issued& issued, const CaFiles& files) {
  const Certificate& certificate = issued.certificate;
  const std::string root = path_text(files.certificate);
  const std::string key = path_text(issued.key_file);
  std::string out;
  if (issued.root_is_new) {
    out += fmt::format("Made the root {}: clients trust what it signs.\nKeep {} to yourself.\n",
                       root, path_text(files.key));
  }
  out += fmt::format("Made {} and its key, valid until {}.\n\n", path_text(issued.certificate_file),
                     text(certificate.validity().not_after));
  ClientSetup client{.host = "HOST", .root = root};
  if (!certificate.allows_server_auth()) {
    client.user = certificate.common_name();
    client.identity = path_text(issued.directory);
    out += fmt::format(
        "The key must belong to whoever connects. If it does not (--owner USER):\n"
        "  sudo chown USER {}\n"
        "Then log in as {} without a password, where PgBouncer or PostgreSQL wants certificates:\n",
        shell_word(key), client.user);
  } else {
    client.host = text(certificate.sans().front());
    if (client.host.starts_with('*')) client.host.replace(0, 1, "HOST");
    const ServerSetup server{
        .certificate = path_text(issued.certificate_file), .key = key, .root = root};
    out += fmt::format(
        "PgBouncer must be able to read the key. If it cannot (--owner postgres):\n"
        "  sudo chown postgres {}\n"
        "In pgbouncer.ini, under [pgbouncer]:\n{}"
        "Then connect, and see its line \"SSL connection\":\n",
        shell_word(key), indented(pgbouncer_snippet(server)));
  }
  return out + fmt::format("  psql {}\n", shell_word(conninfo(client)));
}

// After a renewal that nobody was told of.
std::string next_steps(std::span<const Renewed> all) {
  const auto renewed = std::ranges::find(all, Renewed::Status::renewed, &Renewed::status);
  if (renewed == all.end()) return {};
  return fmt::format(
      "Servers go on with what they have loaded, until they are told:\n"
      "  sudo systemctl reload pgbouncer\n"
      "Then see that the new certificate is served:\n"
      "  pki check {}\n",
      shell_word(renewed->name));
}

nlohmann::ordered_json to_json(const CrlFile& list) {
  const std::optional<Instant> end = list.crl.next_update();
  return {{"path", path_text(list.path)},
          {"number", std::to_string(list.crl.number().value_or(0))},
          {"this_update", text(list.crl.this_update())},
          {"next_update", end.has_value() ? text(*end) : ""}};
}

nlohmann::ordered_json to_json(const Revoked& revoked) {
  const auto serials = [](const auto& certificates, auto serial_of) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto& certificate : certificates) list.push_back(serial_of(certificate).text());
    return list;
  };
  const RevokedCertificate& first = revoked.certificates.front();
  return {{"status", revoked.status == Revoked::Status::revoked ? "revoked" : "unchanged"},
          {"subject", revoked.subject},
          {"serials",
           serials(revoked.certificates, [](const RevokedCertificate& one) { return one.serial; })},
          {"revoked_at", text(first.time)},
          {"reason", text(first.reason)},
          {"still_valid",
           serials(revoked.still_valid, [](const SerialNumber& serial) { return serial; })},
          {"list", to_json(revoked.list)},
          {"warnings", revoked.warnings}};
}

std::string count_of(std::size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

nlohmann::ordered_json to_json(const Certificate& root) {
  return {{"subject", root.subject()},
          {"serial", root.serial().text()},
          {"not_after", text(root.validity().not_after)}};
}

nlohmann::ordered_json to_json(const Rotation& rotation) {
  nlohmann::ordered_json old_roots = nlohmann::ordered_json::array();
  for (const Certificate& old : rotation.predecessors) old_roots.push_back(to_json(old));
  nlohmann::ordered_json stragglers = nlohmann::ordered_json::array();
  for (const Straggler& straggler : rotation.stragglers) {
    stragglers.push_back({{"name", straggler.name},
                          {"serial", straggler.serial.text()},
                          {"not_after", text(straggler.not_after)},
                          {"on_disk", straggler.is_on_disk}});
  }
  nlohmann::ordered_json kept = nlohmann::ordered_json::array();
  for (const std::filesystem::path& path : rotation.kept) kept.push_back(path_text(path));
  return {{"under_way", rotation.is_under_way},  {"root", to_json(rotation.root)},
          {"old_roots", std::move(old_roots)},   {"cross_certificate", rotation.cross.has_value()},
          {"stragglers", std::move(stragglers)}, {"kept", std::move(kept)}};
}

// Who reads a list, and how they come to.
std::string readers_of(const CrlFile& list) {
  const std::string path = path_text(list.path);
  return fmt::format(
      "\nPostgreSQL reads it with this line in postgresql.conf, and again at each reload:\n  {}"
      "libpq, for a server's certificate, with\n  sslcrl={}\n"
      "Where there are copies, copy it again.\n",
      postgres_crl_line(path), conninfo_value(path));
}

}  // namespace

Output::Output(const Environment& environment)
    : environment_(environment),
      log_(std::make_unique<spdlog::logger>(
          "pki", std::make_shared<spdlog::sinks::ostream_sink_st>(environment.err, true))) {
  log_->set_pattern("pki: %v");
}

Output::~Output() = default;

void Output::set_verbosity(Verbosity verbosity) {
  verbosity_ = verbosity;
  switch (verbosity) {
    case Verbosity::quiet: log_->set_level(spdlog::level::err); break;
    case Verbosity::normal: log_->set_level(spdlog::level::info); break;
    case Verbosity::verbose: log_->set_level(spdlog::level::debug); break;
  }
}

void Output::error(const Error& error) {
  erase_bar();
  const std::string_view separator = error.hint().empty() ? "" : "; ";
  log_->error("{}{}{}", printable(error.what()), separator, printable(error.hint()));
}

void Output::warning(std::string_view line) {
  erase_bar();
  log_->warn("warning: {}", printable(line));
}

void Output::note(std::string_view line) {
  erase_bar();
  log_->info("{}", printable(line));
}

void Output::detail(std::string_view line) { log_->debug("{}", printable(line)); }

void Output::text(std::string_view text) { environment_.out << text; }

void Output::usage_after_mistake(std::string_view usage) { environment_.err << usage; }

void Output::issued(std::span<const Issued> all, const CaFiles& files, bool several) {
  nlohmann::ordered_json documents = nlohmann::ordered_json::array();
  for (const Issued& issued : all) {
    report(issued);
    if (json_) documents.push_back(to_json(issued, path_text(files.certificate)));
    if (!json_ && issued.status == Issued::Status::issued && environment_.out_is_terminal &&
        verbosity_ != Verbosity::quiet) {
      environment_.out << next_steps(issued, files);
    }
  }
  if (json_) write_json(several ? documents : documents.front());
}

void Output::begin_many(std::size_t total) {
  many_ = {};
  many_.total = total;
  many_.begin = std::chrono::steady_clock::now();
  draw_bar();
}

void Output::issued_one(const Issued& issued, const CaFiles& files) {
  for (const std::string& line : issued.warnings) {
    if (many_.warnings.insert(line).second) warning(line);
  }
  switch (issued.status) {
    case Issued::Status::issued: ++many_.issued; break;
    case Issued::Status::unchanged: ++many_.unchanged; break;
    case Issued::Status::expiring:
      ++many_.expiring;
      error(expiry_of(issued, now()));
      break;
  }
  if (verbosity_ == Verbosity::verbose && issued.status != Issued::Status::expiring) {
    detail(line_for(issued));
  }
  if (json_) {
    if (many_.root.empty()) many_.root = path_text(files.certificate);
    environment_.out << as_text(to_json(issued, many_.root), -1) << std::flush;
  }
  draw_bar();
}

void Output::end_many(bool is_done) {
  erase_bar();
  if (!is_done) return;
  // As for one: off a terminal a success is silent, and a line says that there was nothing to do.
  if (!environment_.err_is_terminal && many_.issued > 0) return;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - many_.begin;
  const std::string expiring =
      many_.expiring > 0 ? fmt::format(", {} expiring", grouped(many_.expiring)) : "";
  note(fmt::format("{} issued, {} unchanged{} in {:.1f} s", grouped(many_.issued),
                   grouped(many_.unchanged), expiring, elapsed.count()));
}

void Output::draw_bar() {
  using namespace std::chrono;
  // Where JSON is printed between, it would be a mess.
  const bool is_in_the_way = json_ && environment_.out_is_terminal;
  if (!environment_.err_is_terminal || verbosity_ != Verbosity::normal || is_in_the_way) return;
  const auto time = steady_clock::now();
  if (many_.has_bar && time - many_.drawn < milliseconds{100}) return;
  constexpr std::size_t width = 40;
  const std::size_t done = many_.issued + many_.unchanged + many_.expiring;
  const std::size_t filled = many_.total == 0 ? width : done * width / many_.total;
  environment_.err << fmt::format("\r\x1b[K[{:<{}}] {} of {}", std::string(filled, '#'), width,
                                  grouped(done), grouped(many_.total))
                   << std::flush;
  many_.drawn = time;
  many_.has_bar = true;
}

void Output::erase_bar() {
  if (!many_.has_bar) return;
  environment_.err << "\r\x1b[K" << std::flush;
  many_.has_bar = false;
}

void Output::report(const Issued& issued) {
  for (const std::string& line : issued.warnings) warning(line);
  switch (issued.status) {
    case Issued::Status::issued: detail(line_for(issued)); break;
    case Issued::Status::unchanged: note(line_for(issued)); break;
    case Issued::Status::expiring: error(expiry_of(issued, now())); break;
  }
}

void Output::warn_of_clock() {
  constexpr Instant released{std::chrono::seconds{PKI_RELEASED}};
  if (now() < released) {
    warning(fmt::format("the clock says {}, before this program was made: set it first",
                        pki::text(now())));
  }
}

void Output::renewed(std::span<const Renewed> all, const CaFiles& files, bool was_all,
                     bool is_followed) {
  nlohmann::ordered_json documents = nlohmann::ordered_json::array();
  for (const Renewed& renewed : all) {
    if (!was_all || renewed.status != Renewed::Status::unchanged) report(renewed);
    if (json_) documents.push_back(to_json(renewed));
  }
  if (was_all) count_unchanged(all, files);
  if (json_) {
    write_json(documents);
  } else if (environment_.out_is_terminal && verbosity_ != Verbosity::quiet && !is_followed) {
    environment_.out << next_steps(all);
  }
  environment_.out.flush();  // before what follows, which may take its time
}

void Output::report(const Renewed& renewed) {
  const std::string directory = renewed.directory.string();
  const std::string certificate = (renewed.directory / leaf_certificate_name).string();
  for (const std::string& line : renewed.warnings) warning(line);
  switch (renewed.status) {
    case Renewed::Status::renewed:
      note(fmt::format("{}: renewed, valid until {}", directory,
                       pki::text(renewed.validity->not_after)));
      detail(fmt::format("{}: serial {}, exchanged {}", directory, renewed.serial->text(),
                         renewed.is_exchange ? "in one step" : "file by file"));
      break;
    case Renewed::Status::unchanged:
      note(fmt::format("{}: unchanged, valid until {}", directory,
                       pki::text(renewed.validity->not_after)));
      break;
    case Renewed::Status::ends_with_root:
      error(Error(fmt::format("{} ends with its root, on {}, and so would a new one", certificate,
                              pki::text(renewed.validity->not_after)),
                  "make a new root"));
      break;
    case Renewed::Status::revoked: detail(fmt::format("{}: revoked, left alone", directory)); break;
    case Renewed::Status::failed: error(*renewed.error); break;
  }
  for (const std::string& line : renewed.stale) {
    error(Error(line, "move it away, and make it anew with pki export"));
  }
}

// One line for all that were left alone.
void Output::count_unchanged(std::span<const Renewed> all, const CaFiles& files) {
  if (all.empty()) {
    note(fmt::format("{}: no certificates of {} in it", files.leaves.string(),
                     files.certificate.string()));
    return;
  }
  std::size_t count = 0;
  const Renewed* first = nullptr;
  for (const Renewed& renewed : all) {
    if (renewed.status != Renewed::Status::unchanged) continue;
    ++count;
    if (first == nullptr || renewed.validity->not_after < first->validity->not_after) {
      first = &renewed;
    }
  }
  if (first == nullptr) return;
  note(fmt::format("{} unchanged, the first to end is {}, on {}", count, first->directory.string(),
                   pki::text(first->validity->not_after)));
}

void Output::exported(const Exported& exported) {
  const auto paths = [](const std::vector<std::filesystem::path>& files) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto& file : files) list.push_back(path_text(file));
    return list;
  };
  if (json_) {
    write_json({{"made", paths(exported.made)}, {"unchanged", paths(exported.unchanged)}});
    return;
  }
  for (const auto& file : exported.unchanged) note(fmt::format("{}: unchanged", file.string()));
  for (const auto& file : exported.made) {
    if (environment_.out_is_terminal && verbosity_ != Verbosity::quiet) {
      environment_.out << fmt::format("Made {}.\n", path_text(file));
    }
  }
}

void Output::revoked(const Revoked& revoked) {
  for (const std::string& line : revoked.warnings) warning(line);
  for (const RevokedCertificate& one : revoked.certificates) {
    if (revoked.status == Revoked::Status::unchanged) {
      note(fmt::format("{}: unchanged, revoked on {} ({})", one.serial.text(), pki::text(one.time),
                       pki::text(one.reason)));
    } else {
      detail(fmt::format("{}: revoked", one.serial.text()));
    }
  }
  if (json_) {
    write_json(to_json(revoked));
  } else if (revoked.status == Revoked::Status::revoked && environment_.out_is_terminal &&
             verbosity_ != Verbosity::quiet) {
    for (const RevokedCertificate& one : revoked.certificates) {
      environment_.out << fmt::format("Revoked {} ({}).\n", one.serial.text(),
                                      printable(revoked.subject));
    }
    listed(revoked.list);
  }
}

void Output::rotation(const Rotation& rotation, const CaFiles& files, RotationStep step) {
  if (step == RotationStep::finish && rotation.is_under_way) {
    warning(
        fmt::format("not finished: {} still hang on the old root; pki renew --all moves those "
                    "that are here over, pki revoke SERIAL is for those that are gone",
                    count_of(rotation.stragglers.size(), "certificate")));
  }
  if (step == RotationStep::begin && !rotation.cross.has_value()) {
    warning(
        fmt::format("there is no cross-certificate: copy {} to every client before pki renew "
                    "--all",
                    path_text(files.certificate)));
  }
  if (json_) {
    write_json(to_json(rotation));
    return;
  }
  const bool is_asked_for = step == RotationStep::status || rotation.is_under_way;
  if (verbosity_ == Verbosity::quiet) return;
  if (environment_.out_is_terminal || (step != RotationStep::begin && is_asked_for)) {
    print_rotation(rotation, files, step);
  }
}

// What stands, then what is to be done.
void Output::print_rotation(const Rotation& rotation, const CaFiles& files, RotationStep step) {
  std::ostream& out = environment_.out;
  const auto root = [&](const char* word, const Certificate& certificate) {
    out << fmt::format("{}  {}, until {}\n", word, printable(certificate.subject()),
                       pki::text(certificate.validity().not_after));
  };
  root("root    ", rotation.root);
  for (const Certificate& old : rotation.predecessors) root("old root", old);
  for (const Straggler& straggler : rotation.stragglers) {
    out << fmt::format("on the old root: {} ({}, until {}{})\n", printable(straggler.name),
                       straggler.serial.text(), pki::text(straggler.not_after),
                       straggler.is_on_disk ? "" : "; in the ledger alone");
  }
  if (!environment_.out_is_terminal) return;
  const std::string bundle = path_text(files.certificate);
  if (!rotation.is_under_way) {
    out << (step == RotationStep::finish
                ? fmt::format(
                      "\nNo rotation is under way. Copy {} to the clients once more. The old "
                      "root's key{} can be destroyed.\n",
                      bundle,
                      rotation.kept.empty() ? "" : ", " + path_text(rotation.kept.back()) + ",")
                : std::string("\nNo rotation is under way: pki rotate begin\n"));
  } else if (rotation.stragglers.empty()) {
    out << fmt::format(
        "\nNothing hangs on the old root. When all clients have {}:\n"
        "  pki rotate finish\n",
        bundle);
  } else {
    out << fmt::format(
        "\nCopy {} to the clients, reload the servers that read it, and move the "
        "certificates over:\n"
        "  pki renew --all --exec 'systemctl reload pgbouncer'\n",
        bundle);
  }
}

void Output::listed(const CrlFile& list) {
  if (json_) {
    write_json(to_json(list));
  } else if (environment_.out_is_terminal && verbosity_ != Verbosity::quiet) {
    environment_.out << fmt::format(
        "Made the revocation list {}, which ends on {}.\n{}", path_text(list.path),
        pki::text(list.crl.next_update().value_or(now())), readers_of(list));
  }
}

std::string Output::painted(Finding::Level level) const {
  constexpr std::string_view red = "\x1b[31m";
  constexpr std::string_view yellow = "\x1b[33m";
  constexpr std::string_view plain = "\x1b[0m";
  if (!environment_.may_colour || level == Finding::Level::note) return std::string(word(level));
  return fmt::format("{}{}{}", level == Finding::Level::problem ? red : yellow, word(level), plain);
}

// What was seen, in columns; then the clients, those that accept in one row.
void Output::print_table(const Report& report) {
  std::vector<Fact> rows = report.facts;
  std::string accept;
  for (const Verdict& verdict : report.verdicts) {
    if (verdict.accepts) accept += (accept.empty() ? "" : ", ") + verdict.client;
  }
  if (!accept.empty()) rows.push_back({"accepted by", accept});
  for (const Verdict& verdict : report.verdicts) {
    if (!verdict.accepts) {
      rows.push_back({"refused by", fmt::format("{}: {}", verdict.client, verdict.reason)});
    }
  }
  std::size_t width = 0;
  for (const Fact& row : rows) width = std::max(width, printable(row.name).size());
  for (const Fact& row : rows) {
    environment_.out << fmt::format("  {:<{}}  {}\n", printable(row.name), width,
                                    printable(row.value));
  }
}

void Output::reports(std::span<const Report> reports) {
  if (json_) {
    nlohmann::ordered_json documents = nlohmann::ordered_json::array();
    for (const Report& report : reports) documents.push_back(to_json(report));
    write_json(documents);
    return;
  }
  const bool is_quiet = verbosity_ == Verbosity::quiet;
  for (const Report& report : reports) {
    if (!is_quiet) {
      environment_.out << fmt::format("{}\n", report.target);
      print_table(report);
    }
    for (const Finding& finding : report.findings) {
      const std::string line =
          fmt::format("{}: {}{}{}", finding.id, printable(finding.what),
                      finding.remedy.empty() ? "" : "; ", printable(finding.remedy));
      if (!is_quiet) {
        environment_.out << fmt::format("  {}: {}\n", painted(finding.level), line);
      } else if (finding.level != Finding::Level::note) {
        log_->error("{}: {}: {}", report.target, word(finding.level), line);
      }
    }
    if (!is_quiet && !report.command.empty()) {
      environment_.out << fmt::format("  the same by hand: {}\n", printable(report.command));
    }
  }
}

void Output::snippet(std::string_view name, std::string_view snippet) {
  if (json_) {
    write_json({{"kind", name}, {"text", snippet}});
  } else {
    environment_.out << snippet;
  }
}

void Output::write_json(const nlohmann::ordered_json& document) {
  environment_.out << as_text(document, 2);
}

void Output::finish() {
  environment_.out.flush();
  if (!environment_.out) {
    throw Error("cannot write to standard output",
                "what is made is made; run this again for what it prints");
  }
}

}  // namespace pki::cli
