// pki renew: certificates that end soon, replaced where they lie; and then the servers that use
// them.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "cli/command.h"
#include "cli/shell.h"
#include "cli/values.h"
#include "pki/ca.h"
#include "pki/probe.h"

namespace pki::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::string_view description =
    "Gives certificates that end soon a new key and a new certificate, with everything\n"
    "else as it was, in place. Those that do not are left alone.\n";

constexpr std::string_view examples =
    "  pki renew bouncerhost\n"
    "  pki renew --all --exec 'systemctl reload pgbouncer' --confirm bouncerhost\n"
    "  pki renew --all --before 60d --out /etc/pgbouncer/tls \\\n"
    "      --ca-cert /root/ca/minica.pem --ca-key /root/ca/minica-key.pem\n";

constexpr std::string_view operands[] = {"[NAME...]"};

constexpr Option options[] = {
    {"all", "", "every certificate of the root, in place of names; its revocation list, too"},
    {"before", "DAYS",
     "renew what ends within these days, like 60d (default 30d, or a third of the lifetime if that "
     "is shorter)"},
    {"reuse-key", "", "keep the keys"},
    {"exec", "CMD",
     "run this with sh if something was renewed, with the names in PKI_RENEWED, and again by the "
     "next run if it fails"},
    {"confirm", "HOST[:PORT]",
     "after that, see that this server serves a certificate as it is on the disk; may be repeated"},
    {"timeout", "SECONDS", "how long to wait for that (default 10)"},
    {"password-file", "FILE", "the file with the password of a p12 beside a certificate"},
    {"password-fd", "N", "an open descriptor to read it from"},
    {"ca-cert", "FILE", "the root's certificate (default minica.pem)"},
    {"ca-key", "FILE", "the root's private key (default minica-key.pem)"},
    {"out", "DIR", "where the directories NAME are (default the working directory)"},
    {"json", "", "print what was done as a JSON document"},
    {"quiet", "", "print errors only"},
    {"verbose", "", "print what is done"},
};

// What is to happen when something was renewed.
struct Sequel {
  std::string command;  // empty if there is none
  std::vector<ServerAddress> servers = {};
  seconds patience{};

  [[nodiscard]] bool is_asked_for() const { return !command.empty() || !servers.empty(); }
};

RenewalRequest request_of(const Arguments& arguments) {
  RenewalRequest request;
  if (arguments.is_on("all") != arguments.operands().empty()) {
    throw UsageError("renew takes names of certificates or --all", "give one of them");
  }
  if (!arguments.is_on("all")) {
    request.names.emplace();
    for (const std::string& name : arguments.operands()) request.names->push_back(leaf_name(name));
  }
  if (arguments.has("before")) request.before = parse_days("before", arguments.last("before"));
  request.reuse_key = arguments.is_on("reuse-key");
  request.p12_password = read_password(arguments);
  return request;
}

Sequel sequel_of(const Arguments& arguments) {
  Sequel sequel{.command = arguments.last("exec")};
  for (const std::string& server : arguments.all("confirm")) {
    sequel.servers.push_back(parse_server(server));
  }
  sequel.patience = parse_timeout(arguments, seconds{10});
  return sequel;
}

// The names in the environment of a command are those of directories: they have no blanks, if they
// are ours.
bool run_command(const std::string& command, std::span<const Renewed> marked, Output& output) {
  std::string variable = "PKI_RENEWED=";
  for (const Renewed& renewed : marked) {
    variable += (variable.ends_with('=') ? "" : " ") + renewed.name;
  }
  output.detail(fmt::format("running {}", command));
  const std::string failure = run_shell(command, variable, output.inherited());
  if (failure.empty()) return true;
  output.error(Error(fmt::format("the command {} {}", quote(command), failure),
                     "the new files are in place; mend it, and run this again: it is run until it "
                     "succeeds"));
  return false;
}

// Whether every address of a server shows a certificate that is on the disk now.
Exit confirm(const ServerAddress& server, seconds patience, std::span<const Renewed> all,
             Output& output) {
  const auto until = std::chrono::steady_clock::now() + patience;
  ServerCheck check;
  check.host = server.host;
  check.port = server.port;
  const auto is_current = [&](const ServedCertificate& served) {
    return served.certificate.has_value() &&
           std::ranges::find(all, served.certificate->fingerprint(), &Renewed::fingerprint) !=
               all.end();
  };
  for (;;) {
    const auto left =
        std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
    check.timeout = std::max(left, milliseconds{1000});
    const std::vector<ServedCertificate> served = served_certificates(check);
    const auto wrong = std::ranges::find_if_not(served, is_current);
    if (wrong == served.end()) {
      output.detail(fmt::format("{} port {} serves it", server.host, server.port));
      return Exit::done;
    }
    constexpr milliseconds pause{200};
    if (left > pause) {
      std::this_thread::sleep_for(pause);
      continue;
    }
    const std::string place =
        fmt::format("{} port {} ({})", server.host, server.port, wrong->address);
    if (!wrong->certificate.has_value()) {
      output.error(Error(fmt::format("cannot confirm what {} serves: {}", place, wrong->fault),
                         "see that it runs, and run this again"));
      return Exit::failed;
    }
    output.error(Error(
        fmt::format("{} serves a certificate that is not on the disk, valid until {}", place,
                    text(wrong->certificate->validity().not_after)),
        "its log says why it did not load the new one (PgBouncer before 1.25 says RELOAD when that "
        "failed); mend it, and run this again"));
    return Exit::finding;
  }
}

Exit worst(Exit a, Exit b) {
  if (a == Exit::failed || b == Exit::failed) return Exit::failed;
  return a == Exit::done ? b : a;
}

// On success the marks go: see Ca::loaded. `with_list`: the revocation list has one.
Exit run_sequel(const Sequel& sequel, const CaFiles& files, std::span<const Renewed> all,
                bool with_list, Output& output) {
  std::vector<Renewed> marked;
  std::ranges::copy_if(all, std::back_inserter(marked), &Renewed::is_marked);
  if (marked.empty() && !with_list) return Exit::done;
  if (!sequel.is_asked_for()) {
    const auto warn = [&](const std::filesystem::path& what) {
      output.warning(
          fmt::format("{}: what was to follow its renewal has not succeeded yet: run "
                      "this with --exec or --confirm",
                      what.string()));
    };
    for (const Renewed& renewed : marked) warn(renewed.directory);
    if (with_list) warn(crl_path(files.certificate));
    return Exit::done;
  }
  if (!sequel.command.empty() && !run_command(sequel.command, marked, output)) return Exit::failed;
  Exit status = Exit::done;
  for (const ServerAddress& server : sequel.servers) {
    status = worst(status, confirm(server, sequel.patience, all, output));
  }
  if (status == Exit::done) {
    Ca ca(files);
    ca.loaded(marked);
    if (with_list) ca.crl_loaded();
  }
  return status;
}

// A list that has run out shuts everybody out. What fails here holds up no certificate.
Exit refresh_list(Ca& ca, bool mark, Output& output) {
  try {
    if (const std::optional<CrlFile> list = ca.refresh_crl(output.now(), mark)) {
      output.note(fmt::format("{}: made anew, lasts until {}", list->path.string(),
                              text(list->crl.next_update().value_or(output.now()))));
    }
    return Exit::done;
  } catch (const Error& error) {
    output.error(error);
    return Exit::failed;
  }
}

Exit status_of(std::span<const Renewed> all) {
  Exit status = Exit::done;
  for (const Renewed& renewed : all) {
    if (renewed.status == Renewed::Status::failed) status = worst(status, Exit::failed);
    if (renewed.status == Renewed::Status::ends_with_root || !renewed.stale.empty()) {
      status = worst(status, Exit::finding);
    }
  }
  return status;
}

Exit renew(const Arguments& arguments, Output& output) {
  RenewalRequest request = request_of(arguments);
  const Sequel sequel = sequel_of(arguments);
  const CaFiles files = ca_files(arguments);
  request.mark = sequel.is_asked_for();
  output.warn_of_clock();
  output.detail(fmt::format("locking {}", files.leaves.string()));
  const bool is_all = arguments.is_on("all");
  std::vector<Renewed> all;
  Exit status = Exit::done;
  bool with_list = false;
  {
    Ca ca(files);
    all = ca.renew(request, output.now());
    if (is_all) {
      status = refresh_list(ca, request.mark, output);
      with_list = ca.crl_awaits_loading();
    }
  }  // unlocked before the command: it may want to run this program
  output.renewed(all, files, is_all, sequel.is_asked_for());
  status = worst(status, status_of(all));
  return worst(status, run_sequel(sequel, files, all, with_list, output));
}

}  // namespace

const Command renew_command = {"renew",     "replace certificates that end soon, in place",
                               description, examples,
                               operands,    options,
                               renew};

}  // namespace pki::cli
