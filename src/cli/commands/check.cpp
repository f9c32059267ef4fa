// pki check: is traffic to a server encrypted, and can clients verify it?
#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"
#include "cli/values.h"
#include "pki/leaf.h"
#include "pki/probe.h"

namespace pki::cli {
namespace {

constexpr std::string_view description =
    "Connects to PgBouncer or PostgreSQL as a careful client would, without logging in,\n"
    "and says whether traffic is encrypted and verified there, and if not, what to do.\n";

constexpr std::string_view examples =
    "  pki check bouncerhost\n"
    "  pki check bouncerhost:6432 dbhost:5432\n"
    "  pki check db.example.org:5432 --ca-cert /etc/pgbouncer/global-bundle.pem\n"
    "  pki check 10.0.0.5:6432 --name bouncerhost --quiet || alert\n";

constexpr std::string_view operands[] = {"HOST[:PORT]..."};

constexpr Option options[] = {
    {"ca-cert", "FILE",
     "what the server is verified with: a root, or a bundle of them (default minica.pem)"},
    {"name", "NAME", "the name or address the certificate must have, instead of HOST"},
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
  std::vector<Target> targets;
  for (const std::string& operand : arguments.operands()) targets.push_back(parse_target(operand));
  const std::filesystem::path roots = arguments.last("ca-cert", "minica.pem");
  ServerCheck common;
  common.roots = read_bundle(roots);
  common.roots_file = full_path(roots);
  if (arguments.has("name")) common.name = parse_host(arguments.last("name"));
  common.direct = arguments.is_on("direct");
  common.probe_plaintext = !arguments.is_on("no-plaintext-probe");
  common.now = output.now();
  if (arguments.has("warn-days")) {
    constexpr int a_century = 36'525;
    common.warn =
        std::chrono::days{parse_number("warn-days", arguments.last("warn-days"), 0, a_century)};
  }
  common.timeout = parse_timeout(arguments, std::chrono::seconds{10});
  const CaFiles files{.certificate = roots, .leaves = arguments.last("out", ".")};

  std::vector<Report> reports;
  for (const Target& target : targets) {
    ServerCheck one = common;
    one.host = target.host;
    one.port = target.port;
    find_on_disk(one, files, output);
    output.detail(fmt::format("checking {} port {}", one.host, one.port));
    for (Report& report : check_server(one)) reports.push_back(std::move(report));
  }
  output.reports(reports);
  return judge(reports);
}

}  // namespace

const Command check_command = {
    "check",     "see whether traffic to a server is encrypted and verified",
    description, examples,
    operands,    options,
    check};

}  // namespace pki::cli
