// pki issue: a root if there is none, a key and a certificate in a directory named after the host
// or the database user.
#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"
#include "cli/values.h"
#include "pki/ca.h"

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
    "  pki --ca-cert /root/ca/db.pem --ca-key /root/ca/db-key.pem \\\n"
    "      --out /etc/pgbouncer/tls --domains bouncerhost\n";

constexpr Option options[] = {
    {"domains", "NAME,...", "DNS names for the certificate; the first one names its directory"},
    {"ip-addresses", "IP,...", "IPv4 and IPv6 addresses for the certificate"},
    {"user", "ROLE,...", "a client certificate for each of these database users"},
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
    {"json", "", "print what was made as a JSON document"},
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
    all.back().profile = profiles::client;
  }
  return all;
}

Exit issue(const Arguments& arguments, Output& output) {
  const auto nothing = [&](std::string_view option) {
    return std::ranges::all_of(arguments.all(option), &std::string::empty);
  };
  const bool for_users = !nothing("user");
  if (nothing("domains") && nothing("ip-addresses") && !for_users) throw NothingAsked();
  arguments.refuse_operands();
  if (for_users && !(nothing("domains") && nothing("ip-addresses"))) {
    throw UsageError("--user does not go with --domains and --ip-addresses",
                     "make the certificates with two commands");
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
    throw UsageError("--user makes client certificates: --profile can only be client",
                     "leave --profile out");
  }
  if (arguments.has("owner")) common.owner = parse_owner(arguments.last("owner"));
  const std::vector<LeafRequest> all = requests(arguments, common);
  const CaFiles files = ca_files(arguments);

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
