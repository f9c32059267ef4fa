// pki issue: a root if there is none, a key and a certificate in a directory named after the host
// or the database user.
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/openssl.h"
#include "cli/command.h"
#include "cli/fleet.h"
#include "cli/values.h"
#include "pki/ca.h"
#include "store/input.h"

namespace pki::cli {
namespace {

constexpr std::string_view description =
    "Makes a key and a certificate for a host or a database user, signed by a private\n"
    "root that is made when there is none.\n";

constexpr std::string_view examples =
    "  pki --domains bouncerhost --owner postgres\n"
    "  pki --domains bouncerhost,pgbouncer.internal --ip-addresses 10.0.0.5\n"
    "  pki --domains '*.db.example.org' --key-type rsa2048 --days 90\n"
    "  pki --user app_user --owner app\n"
    "  pki --hosts poolers.txt --out /srv/certificates\n"
    "  pki --ca-cert /root/ca/db.pem --ca-key /root/ca/db-key.pem \\\n"
    "      --out /etc/pgbouncer/tls --domains bouncerhost\n";

constexpr Option options[] = {
    {"domains", "NAME,...", "DNS names for the certificate; the first one names its directory"},
    {"ip-addresses", "IP,...", "IPv4 and IPv6 addresses for the certificate"},
    {"user", "ROLE,...", "a client certificate for each of these database users"},
    {"hosts", "FILE",
     "a certificate for each line of this file (-: standard input): NAME,... [IP,...]; '#' begins "
     "a comment"},
    {"users", "FILE", "a client certificate for each line of this file: ROLE"},
    {"jobs", "N", "how many work at once, where there are many (default one for each core)"},
    {"profile", "USE", "what the certificate is for: server (default), client or peer (both)"},
    {"owner", "USER[:GROUP]",
     "who the files are for; the key gets mode 0640 with :GROUP or root:GROUP, else 0600"},
    {"ca-cert", "FILE", "the root's certificate (default minica.pem)"},
    {"ca-key", "FILE", "the root's private key (default minica-key.pem)"},
    {"ca-alg", "ALG",
     "algorithm of a new root, and of the leaf's key without --key-type: ecdsa (P-256, the "
     "default), rsa (2048 bits), or p256, p384, rsa2048, rsa3072, rsa4096"},
    {"key-type", "TYPE",
     "the leaf's key: p256 (default), p384, rsa2048, rsa3072, rsa4096 or ed25519"},
    {"days", "N",
     "lifetime of the certificate (default 2 years and 30 days); never past the root's"},
    {"out", "DIR", "where the certificate's directory is made (default the working directory)"},
    {"json", "", "print what was made as a JSON document; of --hosts and --users one in each line"},
    {"quiet", "", "print errors only"},
    {"verbose", "", "print what is done"},
};

// One request for the names, or one for each user.
std::vector<LeafRequest> requests(const Arguments& arguments, const LeafRequest& common) {
  const std::vector<San> sans = parse_sans(arguments);
  const std::vector<RoleName> roles = parse_roles(arguments);
  std::vector<LeafRequest> all;
  if (!sans.empty()) {
    all.push_back(common);
    all.back().sans = sans;
  }
  for (const RoleName& role : roles) {
    all.push_back(common);
    all.back().role = role;
  }
  return all;
}

Fleet read_fleet(const Arguments& arguments) {
  const bool for_users = arguments.has("users");
  const std::string file = arguments.last(for_users ? "users" : "hosts");
  const std::string name = file == "-" ? "standard input" : file;
  std::string text = file == "-" ? read_input(0, name, Fleet::largest_file)
                                 : read_input(std::filesystem::path(file), Fleet::largest_file);
  return {name, std::move(text), for_users ? FleetKind::users : FleetKind::hosts};
}

std::size_t number_of_jobs(const Arguments& arguments) {
  constexpr int most = 1024;
  if (!arguments.has("jobs")) return std::max(1U, std::thread::hardware_concurrency());
  return static_cast<std::size_t>(parse_number("jobs", arguments.last("jobs"), 1, most));
}

Exit issue_fleet(const Arguments& arguments, const LeafRequest& common, const CaFiles& files,
                 KeyType root_type, std::size_t jobs, Output& output) {
  const Fleet fleet = read_fleet(arguments);
  for (const Error& error : fleet.errors()) output.error(error);
  if (!fleet.errors().empty()) return Exit::failed;

  output.warn_of_clock();
  output.detail(fmt::format("locking {}", files.leaves.string()));
  prepare_openssl_for(fleet.size());
  Ca ca(files, root_type);
  output.begin_many(fleet.size());
  bool is_expiring = false;
  const bool is_done =
      ca.issue({.size = fleet.size(),
                .request =
                    [&](std::size_t number) {
                      FleetEntry entry = fleet.entry(number);
                      LeafRequest request = common;
                      request.sans = std::move(entry.sans);
                      request.role = std::move(entry.role);
                      return request;
                    },
                .refused = [&](std::size_t number,
                               const Error& why) { output.error(fleet.located(number, why)); },
                .done =
                    [&](std::size_t, const Issued& leaf) {
                      output.issued_one(leaf, files);
                      is_expiring = is_expiring || leaf.status == Issued::Status::expiring;
                    },
                .jobs = jobs},
               output.now());
  output.end_many(is_done);
  if (!is_done) return Exit::failed;
  return is_expiring ? Exit::finding : Exit::done;
}

Exit issue(const Arguments& arguments, Output& output) {
  const auto nothing = [&](std::string_view option) {
    return std::ranges::all_of(arguments.all(option), &std::string::empty);
  };
  const bool for_names = !(nothing("domains") && nothing("ip-addresses"));
  const bool for_fleet = arguments.has("hosts") || arguments.has("users");
  const bool for_users = !nothing("user") || arguments.has("users");
  if (!for_names && !for_users && !for_fleet) throw NothingAsked();
  arguments.refuse_operands();
  if (for_names + !nothing("user") + arguments.has("hosts") + arguments.has("users") > 1) {
    throw UsageError("--domains and --ip-addresses, --user, --hosts and --users do not go together",
                     "make the certificates with several commands");
  }

  constexpr int a_century = 36'525;
  KeyType root_type = KeyType::p256;
  LeafRequest common;
  if (arguments.has("ca-alg")) {
    root_type = parse_algorithm(arguments.all("ca-alg").back());
    common.key_type = root_type;
  }
  if (arguments.has("key-type")) common.key_type = parse_type(arguments.last("key-type"));
  if (arguments.has("days")) {
    common.lifetime =
        std::chrono::days{parse_number("days", arguments.all("days").back(), 1, a_century)};
  }
  if (arguments.has("profile")) common.profile = parse_profile(arguments.last("profile"));
  if (for_users && arguments.has("profile") && common.profile.name != profiles::client.name) {
    throw UsageError("a user's certificate is a client's: --profile can only be client",
                     "leave --profile out");
  }
  if (for_users) common.profile = profiles::client;
  if (arguments.has("owner")) common.owner = parse_owner(arguments.last("owner"));
  const std::size_t jobs = for_fleet || arguments.has("jobs") ? number_of_jobs(arguments) : 1;
  const CaFiles files = ca_files(arguments);
  if (for_fleet) return issue_fleet(arguments, common, files, root_type, jobs, output);
  const std::vector<LeafRequest> all = requests(arguments, common);

  output.warn_of_clock();
  output.detail(fmt::format("locking {}", files.leaves.string()));
  Ca ca(files, root_type);
  const std::vector<Issued> issued = ca.issue(all, output.now());
  if (issued.front().root_is_new)
    output.detail(fmt::format("{}: made", files.certificate.string()));
  output.issued(issued, files, for_users);
  const bool expiring = std::ranges::any_of(
      issued, [](const Issued& leaf) { return leaf.status == Issued::Status::expiring; });
  return expiring ? Exit::finding : Exit::done;
}

}  // namespace

const Command issue_command = {"issue",     "make a key and a certificate: also without this word",
                               description, examples,
                               {},          options,
                               issue};

}  // namespace pki::cli
