#include "cli/output.h"

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <nlohmann/json.hpp>
#include <ostream>

namespace pki::cli {
namespace {

// A name that is not UTF-8 is shown with replacement characters in JSON, which has no other way.
std::string full_path(const std::filesystem::path& path) {
  std::error_code ignored;  // a deleted working directory: the relative path is the best there is
  const std::filesystem::path full = std::filesystem::absolute(path, ignored);
  return (ignored ? path : full).lexically_normal().string();
}

std::string_view word(Issued::Status status) {
  switch (status) {
    case Issued::Status::issued: return "issued";
    case Issued::Status::unchanged: return "unchanged";
    case Issued::Status::expiring: return "expiring";
  }
  return "";
}

nlohmann::ordered_json to_json(const Issued& issued, const CaFiles& files) {
  const Certificate& certificate = issued.certificate;
  const Validity validity = certificate.validity();
  nlohmann::ordered_json names = nlohmann::ordered_json::array();
  for (const San& san : certificate.sans()) names.push_back(text(san));
  return {
      {"name", issued.directory.filename().string()},
      {"status", word(issued.status)},
      {"names", names},
      {"key", full_path(issued.key_file)},
      {"certificate", full_path(issued.certificate_file)},
      {"serial", certificate.serial().text()},
      {"not_before", text(validity.not_before)},
      {"not_after", text(validity.not_after)},
      {"sha256_fingerprint", certificate.fingerprint()},
      {"root", {{"certificate", full_path(files.certificate)}, {"created", issued.root_is_new}}},
      {"warnings", issued.warnings},
  };
}

// One word of a shell's command line.
std::string shell_word(std::string_view text) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,";
  if (!text.empty() && text.find_first_not_of(plain) == std::string_view::npos) {
    return std::string(text);
  }
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// A value in libpq's connection string.
std::string conninfo_value(std::string_view text) {
  if (text.find_first_of(" '\\") == std::string_view::npos) return std::string(text);
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

// What was made, and lines that can be pasted as they are: PgBouncer takes no comment behind a
// value.
std::string next_steps(const Issued& issued, const CaFiles& files) {
  const Certificate& certificate = issued.certificate;
  std::string host = text(certificate.sans().front());
  if (host.starts_with('*')) host.replace(0, 1, "HOST");
  const std::string key = full_path(issued.key_file);
  const std::string root = full_path(files.certificate);
  std::string out;
  if (issued.root_is_new) {
    out += fmt::format("Made the root {}: clients trust what it signs.\nKeep {} to yourself.\n",
                       root, full_path(files.key));
  }
  out += fmt::format(
      "Made {} and its key, valid until {}.\n"
      "\n"
      "PgBouncer must be able to read the key:\n"
      "  sudo chown postgres {}\n"
      "In pgbouncer.ini, under [pgbouncer]:\n"
      "  client_tls_sslmode = require\n"
      "  client_tls_key_file = {}\n"
      "  client_tls_cert_file = {}\n"
      "  client_tls_ca_file = {}\n"
      "Then connect, and see its line \"SSL connection\":\n"
      "  psql {}\n",
      full_path(issued.certificate_file), text(certificate.validity().not_after), shell_word(key),
      key, full_path(issued.certificate_file), root,
      shell_word(
          fmt::format("host={} port=6432 user=USER dbname=DB sslmode=verify-full sslrootcert={}",
                      host, conninfo_value(root))));
  return out;
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
  const std::string_view separator = error.hint().empty() ? "" : "; ";
  log_->error("{}{}{}", printable(error.what()), separator, printable(error.hint()));
}

void Output::warning(std::string_view line) { log_->warn("warning: {}", printable(line)); }

void Output::note(std::string_view line) { log_->info("{}", printable(line)); }

void Output::detail(std::string_view line) { log_->debug("{}", printable(line)); }

void Output::text(std::string_view text) { environment_.out << text; }

void Output::usage_after_mistake(std::string_view usage) { environment_.err << usage; }

void Output::issued(const Issued& issued, const CaFiles& files) {
  for (const std::string& line : issued.warnings) warning(line);
  const Validity validity = issued.certificate.validity();
  switch (issued.status) {
    case Issued::Status::issued:
      detail(fmt::format("{}: issued, serial {}, valid until {}", issued.directory.string(),
                         issued.certificate.serial().text(), pki::text(validity.not_after)));
      break;
    case Issued::Status::unchanged:
      note(fmt::format("{}: unchanged, valid until {}", issued.directory.string(),
                       pki::text(validity.not_after)));
      break;
    case Issued::Status::expiring:
      error(Error(
          fmt::format("{} {} on {}", issued.certificate_file.string(),
                      validity.not_after < now() ? "expired" : "expires",
                      pki::text(validity.not_after)),
          fmt::format("move {} away and run this again for a new one", issued.directory.string())));
      break;
  }
  if (json_) {
    environment_.out
        << to_json(issued, files).dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
        << '\n';
  } else if (issued.status == Issued::Status::issued && environment_.out_is_terminal &&
             verbosity_ != Verbosity::quiet) {
    environment_.out << next_steps(issued, files);
  }
}

void Output::finish() {
  environment_.out.flush();
  if (!environment_.out) {
    throw Error("cannot write to standard output", "what was asked for is done, see stderr");
  }
}

}  // namespace pki::cli
