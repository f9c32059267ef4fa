// pki check: is traffic encrypted and verified, and will it stay so? Of servers, of whole ways to a
// database, and of the files they rest on.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "cli/command.h"
#include "cli/values.h"
#include "pki/leaf.h"
#include "pki/local_check.h"
#include "pki/login.h"
#include "pki/probe.h"

namespace pki::cli {
namespace {

constexpr std::string_view description =
    "Says what is wrong, and what to do, with a TARGET:\n"
    "  HOST[:PORT]        a PgBouncer or PostgreSQL (port 6432 if none is given): is traffic\n"
    "                     encrypted, and can clients verify it? Nobody logs in.\n"
    "  CONNECTION STRING  the same, then a login with libpq, and how the pooler at the other\n"
    "                     end reaches its database: \"postgresql://USER@HOST:PORT/DB\"\n"
    "  NAME/              a directory with cert.pem and key.pem\n"
    "  PATH.ini           PgBouncer's configuration, and the files it names\n"
    "  PATH.pem           a bundle of roots, or a certificate\n";

constexpr std::string_view examples =
    "  pki check bouncerhost\n"
    "  pki check bouncerhost:6432 dbhost:5432\n"
    "  pki check \"postgresql://app@bouncerhost:6432/shop\"\n"
    "  pki check bouncerhost/ /etc/pgbouncer/pgbouncer.ini --as postgres\n"
    "  pki check db.example.org:5432 --ca-cert /etc/pgbouncer/global-bundle.pem\n"
    "  pki check 10.0.0.5:6432 --name bouncerhost --quiet || alert\n";

constexpr std::string_view operands[] = {"TARGET..."};

constexpr Option options[] = {
    {"ca-cert", "FILE",
     "what is verified with: a root, or a bundle of them (default minica.pem; for files the one "
     "beside a leaf's directory; for a connection string its sslrootcert)"},
    {"name", "NAME", "the name or address the certificate must have, instead of HOST"},
    {"cert", "FILE",
     "a client certificate, or its directory, to show where the server asks for one, once it is "
     "verified"},
    {"key", "FILE", "its key (default key.pem beside it)"},
    {"as", "USER",
     "who must be able to read the files (default the user that an ini names, else whoever runs "
     "this)"},
    {"out", "DIR",
     "where HOST/cert.pem may be, to compare it with what is served (default the working "
     "directory)"},
    {"direct", "", "TLS from the first byte: PostgreSQL 17 and PgBouncer 1.25"},
    {"no-plaintext-probe", "",
     "leave out the second connection, which shows whether clients without TLS are refused"},
    {"warn-days", "N", "fewer days left than these are a finding (default 30)"},
    {"timeout", "SECONDS", "how long each step may take (default 10)"},
    {"json", "", "print the reports as a JSON document"},
    {"quiet", "", "print only what is wrong or cannot be told, on stderr"},
    {"verbose", "", "print what is done"},
};

struct Target {
  enum class Kind { server, connection, directory, configuration, certificates };

  Kind kind;
  std::string text;  // the operand
  std::string host = {};
  std::uint16_t port = 6432;
  std::optional<ConnectionTarget> connection = {};  // of that kind

  [[nodiscard]] bool is_remote() const noexcept {
    return kind == Kind::server || kind == Kind::connection;
  }
};

Target server_target(const std::string& operand) {
  const ServerAddress server = parse_server(operand);
  return {Target::Kind::server, operand, server.host, server.port};
}

Target parse_connection(const std::string& operand) {
  const ConnectionTarget connection = read_conninfo(operand);
  return {Target::Kind::connection, operand, connection.address.value_or(connection.host),
          connection.port, connection};
}

// Whatever looks like one: what libpq cannot read it refuses without repeating it.
bool is_connection_string(std::string_view operand) {
  return !operand.starts_with('/') && !operand.starts_with('.') &&
         (operand.find("://") != std::string_view::npos ||
          operand.find_first_of("=@") != std::string_view::npos);
}

bool is_path(std::string_view operand) {
  constexpr std::string_view endings[] = {".ini", ".pem", ".crt"};
  return operand == "." || operand == ".." || operand.find('/') != std::string_view::npos ||
         std::ranges::any_of(endings, [&](auto ending) { return operand.ends_with(ending); });
}

Target parse_target(const std::string& operand) {
  if (is_connection_string(operand)) return parse_connection(operand);
  if (!is_path(operand)) return server_target(operand);
  std::error_code failed;  // then it is no directory
  if (operand.ends_with('/') || std::filesystem::is_directory(operand, failed)) {
    return {Target::Kind::directory, operand};
  }
  return {operand.ends_with(".ini") ? Target::Kind::configuration : Target::Kind::certificates,
          operand};
}

std::vector<Target> parse_targets(const Arguments& arguments) {
  std::vector<Target> targets;
  for (const std::string& operand : arguments.operands()) targets.push_back(parse_target(operand));
  const bool any_remote = std::ranges::any_of(targets, &Target::is_remote);
  const bool any_local = !std::ranges::all_of(targets, &Target::is_remote);
  const auto refuse = [](std::string_view option, std::string_view is_for) {
    throw UsageError(fmt::format("--{} is for {}, and none is given", option, is_for),
                     fmt::format("leave --{} out", option));
  };
  if (!any_local && arguments.has("as")) refuse("as", "files");
  for (const std::string_view option : {"name", "cert", "key"}) {
    if (!any_remote && arguments.has(option)) refuse(option, "servers");
  }
  const bool any_connection =
      std::ranges::find(targets, Target::Kind::connection, &Target::kind) != targets.end();
  if (any_connection && arguments.has("name")) {
    throw UsageError("--name does not go with a connection string: libpq verifies its host",
                     "write host=NAME and hostaddr=ADDRESS into the string");
  }
  return targets;
}

// The certificate here that the host should serve.
void find_on_disk(ServerCheck& check, const CaFiles& files, Output& output) {
  const std::filesystem::path leaf = leaf_path(files, check.name.value_or(check.host));
  try {
    check.on_disk = find_leaf_certificate(leaf);
    check.on_disk_file = leaf / leaf_certificate_name;
  } catch (const Error& error) {
    output.warning(fmt::format("what is served is not compared with a file: {}", error.what()));
  }
}

std::filesystem::path roots_of(const Target& target, const Arguments& arguments) {
  std::filesystem::path ours = CaFiles{}.certificate;
  if (arguments.has("ca-cert")) return arguments.last("ca-cert");
  if (target.kind != Target::Kind::connection) return ours;
  std::filesystem::path root = target.connection->root.value_or(ours);
  if (root == "system") {
    throw Error("sslrootcert=system names no file",
                "name the system's bundle: --ca-cert /etc/ssl/certs/ca-certificates.crt");
  }
  return root;
}

// The client certificate that the command line names, or else the connection string.
std::shared_ptr<const ClientIdentity> identity_of(const Target& target,
                                                  const Arguments& arguments) {
  std::filesystem::path certificate;
  std::filesystem::path key;
  if (arguments.has("cert")) {
    certificate = arguments.last("cert");
    std::error_code failed;  // then it is no directory
    if (std::filesystem::is_directory(certificate, failed)) certificate /= leaf_certificate_name;
    key = arguments.last("key", (certificate.parent_path() / leaf_key_name).string());
  } else if (arguments.has("key")) {
    throw UsageError("--key without --cert", "name the certificate, too: --cert FILE");
  } else if (target.kind == Target::Kind::connection && target.connection->certificate &&
             target.connection->key) {
    certificate = *target.connection->certificate;
    key = *target.connection->key;
  }
  if (certificate.empty()) return nullptr;
  return std::make_shared<const ClientIdentity>(read_identity(certificate, key));
}

std::chrono::days parse_warn_days(const Arguments& arguments) {
  constexpr int a_century = 36'525;
  return std::chrono::days{
      parse_number("warn-days", arguments.last("warn-days", "30"), 0, a_century)};
}

ServerCheck server_check(const Target& target, const Arguments& arguments, Output& output) {
  const std::filesystem::path roots = roots_of(target, arguments);
  ServerCheck check;
  check.host = target.host;
  check.port = target.port;
  if (target.connection.has_value()) check.name = target.connection->host;
  if (arguments.has("name")) check.name = parse_host(arguments.last("name"));
  check.roots = read_bundle(roots);
  check.roots_file = full_path(roots);
  check.identity = identity_of(target, arguments);
  check.direct = arguments.is_on("direct");
  check.probe_plaintext = !arguments.is_on("no-plaintext-probe");
  check.now = output.now();
  check.warn = parse_warn_days(arguments);
  check.timeout = parse_timeout(arguments, std::chrono::seconds{10});
  find_on_disk(check, {.certificate = roots, .leaves = arguments.last("out", ".")}, output);
  return check;
}

// libpq verifies too before it sends anything; but where it would refuse, nobody need be asked.
void log_in(const Target& target, const ServerCheck& check, std::vector<Report>& reports) {
  const auto verified = std::ranges::find_if(reports, [](const Report& report) {
    return !report.verdicts.empty() && report.verdicts.front().accepts;
  });
  if (verified == reports.end()) {
    reports.back().findings.push_back({Finding::Level::note, "login-not-tried",
                                       "nobody logs in to a server that is not verified",
                                       "mend first what else is found"});
    return;
  }
  LoginCheck login;
  login.conninfo = target.text;
  login.root = check.roots_file;
  login.timeout = check.timeout;
  login.address = std::ranges::find(verified->facts, "address", &Fact::name)->value;
  if (check.identity != nullptr) {
    login.certificate = full_path(check.identity->certificate_file);
    login.key = full_path(check.identity->key_file);
  }
  verified->command.clear();  // that of the login does more
  reports.push_back(check_login(login));
}

LocalCheck local_check(const Arguments& arguments, const Output& output) {
  LocalCheck check{.roots = std::nullopt,
                   .reader = std::nullopt,
                   .now = output.now(),
                   .warn = parse_warn_days(arguments)};
  if (arguments.has("ca-cert")) check.roots = arguments.last("ca-cert");
  if (arguments.has("as")) check.reader = parse_reader(arguments.last("as"));
  return check;
}

Report check_files(const Target& target, const LocalCheck& check) {
  switch (target.kind) {
    case Target::Kind::directory: return check_leaf(target.text, check);
    case Target::Kind::configuration: return check_pgbouncer_ini(target.text, check);
    default: return check_bundle(target.text, check);
  }
}

Exit judge(std::span<const Report> reports) {
  const auto any = [&](Finding::Level level) {
    return std::ranges::any_of(reports, [&](const Report& report) {
      return std::ranges::any_of(report.findings,
                                 [&](const Finding& finding) { return finding.level == level; });
    });
  };
  if (any(Finding::Level::problem)) return Exit::finding;
  return any(Finding::Level::unknown) ? Exit::failed : Exit::done;
}

Exit check(const Arguments& arguments, Output& output) {
  const std::vector<Target> targets = parse_targets(arguments);
  const LocalCheck local = local_check(arguments, output);
  std::vector<std::vector<Report>> reports(targets.size());
  std::vector<ServerCheck> servers;
  std::vector<std::size_t> of_targets;  // which target each of the servers is
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const Target& target = targets[i];
    try {
      if (!target.is_remote()) {
        reports[i] = {check_files(target, local)};
        continue;
      }
      servers.push_back(server_check(target, arguments, output));
      of_targets.push_back(i);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      // What all servers share is wrong for all; what a string names is its own.
      if (target.kind == Target::Kind::server || targets.size() == 1) throw;
      reports[i] = {report_unknown(target.text, "not-checked", error)};
    }
  }
  std::vector<std::vector<Report>> of_servers = check_servers(servers);
  for (std::size_t i = 0; i < servers.size(); ++i) {
    const Target& target = targets[of_targets[i]];
    try {
      if (target.kind == Target::Kind::connection) log_in(target, servers[i], of_servers[i]);
    } catch (const Error& error) {
      of_servers[i].push_back(report_unknown(target.text, "not-checked", error));
    }
    reports[of_targets[i]] = std::move(of_servers[i]);
  }
  std::vector<Report> all;
  for (std::vector<Report>& found : reports) std::ranges::move(found, std::back_inserter(all));
  output.reports(all);
  return judge(all);
}

}  // namespace

const Command check_command = {
    "check",     "see whether traffic is encrypted and verified, and will stay so",
    description, examples,
    operands,    options,
    check};

}  // namespace pki::cli
