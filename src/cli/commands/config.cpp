// pki config: what to tell PgBouncer, PostgreSQL, psql and the drivers about files that are there.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/command.h"
#include "cli/values.h"
#include "pki/leaf.h"
#include "pki/revocation.h"
#include "pki/snippets.h"

namespace pki::cli {
namespace {

constexpr std::string_view description =
    "Prints configuration for the certificate in the directory NAME, to paste or to\n"
    "include. KIND is pgbouncer or postgres, for the server that NAME belongs to; or\n"
    "psql, libpq-env, jdbc, rails, node or go, for a client of that server.\n";

constexpr std::string_view examples =
    "  pki config pgbouncer bouncerhost > /etc/pgbouncer/tls.ini\n"
    "  pki config pgbouncer bouncerhost --server-ca /etc/pgbouncer/global-bundle.pem\n"
    "  pki config psql bouncerhost --user app_user --dbname app\n";

constexpr std::string_view operands[] = {"KIND", "NAME"};

constexpr Option options[] = {
    {"server-ca", "FILE",
     "pgbouncer: also verify the database, with the roots in FILE (RDS: its bundle)"},
    {"require-client-cert", "",
     "pgbouncer, postgres: let in only users with a certificate of this root"},
    {"user", "ROLE", "clients: the database user; with its certificate, if one is there"},
    {"dbname", "DB", "clients: the database"},
    {"port", "N", "clients: the server's port (default 6432, PgBouncer's)"},
    {"ca-cert", "FILE", "the root's certificate (default minica.pem)"},
    {"out", "DIR", "where the directory NAME is (default the working directory)"},
    {"json", "", "print a JSON document"},
    {"quiet", "", "print errors only"},
    {"verbose", "", "print what is done"},
};

struct Kind {
  std::string_view name;
  std::string (*server)(const ServerSetup&);  // one of the two
  std::string (*client)(const ClientSetup&);
};

constexpr std::array kinds = {
    Kind{"pgbouncer", pgbouncer_snippet, nullptr}, Kind{"postgres", postgres_snippet, nullptr},
    Kind{"psql", nullptr, psql_snippet},           Kind{"libpq-env", nullptr, libpq_env_snippet},
    Kind{"jdbc", nullptr, jdbc_snippet},           Kind{"rails", nullptr, rails_snippet},
    Kind{"node", nullptr, node_snippet},           Kind{"go", nullptr, go_snippet},
};

// In an ini file, and in most of what is printed here, a line's end is the end of a setting: what
// follows it would be one of its own.
void refuse_control_bytes(std::string_view what, std::string_view text) {
  if (printable(text) == text) return;
  throw Error(fmt::format("{} {} has a control byte in it", what, quote(text)),
              "no configuration can hold that: choose another name");
}

// An option that the kind would ignore is a mistake.
void refuse_option(const Arguments& arguments, const Kind& kind, std::string_view option) {
  if (!arguments.has(option)) return;
  throw UsageError(fmt::format("--{} does not go with {}", option, kind.name),
                   "see pki config --help");
}

ServerSetup server_setup(const Arguments& arguments, const Kind& kind,
                         const std::filesystem::path& leaf, const std::filesystem::path& root) {
  for (const char* option : {"user", "dbname", "port"}) refuse_option(arguments, kind, option);
  if (kind.name != "pgbouncer") refuse_option(arguments, kind, "server-ca");
  ServerSetup setup{
      .certificate = leaf / leaf_certificate_name, .key = leaf / leaf_key_name, .root = root};
  if (arguments.has("server-ca")) {
    setup.server_ca = full_path(arguments.last("server-ca"));
    static_cast<void>(read_certificate_file(*setup.server_ca));
  }
  setup.require_client_certificate = arguments.is_on("require-client-cert");
  if (kind.name == "postgres" && setup.require_client_certificate) {
    if (const std::optional<CrlFile> list = find_crl(root)) setup.revocation_list = list->path;
  }
  return setup;
}

ClientSetup client_setup(const Arguments& arguments, const Kind& kind,
                         const Certificate& certificate, const std::filesystem::path& leaves,
                         const std::filesystem::path& root) {
  for (const char* option : {"server-ca", "require-client-cert"}) {
    refuse_option(arguments, kind, option);
  }
  ClientSetup setup{.root = root};
  const San host = certificate.sans().front();
  setup.host = text(host);
  setup.host_is_address = std::holds_alternative<IpAddress>(host);
  if (setup.host.starts_with('*')) setup.host.replace(0, 1, "HOST");
  constexpr int largest_port = 65'535;
  if (arguments.has("port")) {
    setup.port = parse_number("port", arguments.all("port").back(), 1, largest_port);
  }
  setup.database = arguments.last("dbname", setup.database);
  if (arguments.has("user")) {
    setup.user = RoleName::parse(arguments.last("user")).text();
    const std::filesystem::path identity = leaves / setup.user;
    if (const std::optional<Certificate> client = find_leaf_certificate(identity)) {
      if (!client->allows_client_auth()) {
        throw Error(
            fmt::format("{} is no client certificate", (identity / leaf_certificate_name).string()),
            fmt::format("make one with pki --user {}", setup.user));
      }
      setup.identity = identity;
    }
  }
  return setup;
}

Exit config(const Arguments& arguments, Output& output) {
  const auto* const kind = std::ranges::find(kinds, arguments.operands().front(), &Kind::name);
  if (kind == kinds.end()) {
    throw UsageError(fmt::format("unknown kind {}", quote(arguments.operands().front())),
                     "use pgbouncer, postgres, psql, libpq-env, jdbc, rails, node or go");
  }
  const CaFiles files = ca_files(arguments);
  const std::filesystem::path leaves = full_path(files.leaves);
  const std::filesystem::path root = full_path(files.certificate);
  const std::filesystem::path leaf = full_path(leaf_path(files, arguments.operands().back()));
  for (const std::filesystem::path& path : {root, leaf}) {
    refuse_control_bytes("the path", path.string());
  }
  refuse_control_bytes("--dbname", arguments.last("dbname"));
  refuse_control_bytes("--server-ca", arguments.last("server-ca"));
  const Certificate certificate = read_leaf_certificate(leaf);
  if (!certificate.allows_server_auth() || certificate.sans().empty()) {
    throw Error(
        fmt::format("{} is no server's certificate", (leaf / leaf_certificate_name).string()),
        "name the directory of the host's; --user names the user's");
  }
  // PgBouncer would notice a root that is not there only when a client comes.
  static_cast<void>(read_certificate_file(root));
  if (kind->server != nullptr) {
    output.snippet(kind->name, kind->server(server_setup(arguments, *kind, leaf, root)));
    return Exit::done;
  }
  const ClientSetup client = client_setup(arguments, *kind, certificate, leaves, root);
  if (kind->name == "jdbc" && client.identity.has_value() &&
      !leaf_has(*client.identity, "key.pk8")) {
    output.warning(fmt::format("{} is not there yet: pki export {} --format pk8 makes it",
                               (*client.identity / "key.pk8").string(), client.user));
  }
  output.snippet(kind->name, kind->client(client));
  return Exit::done;
}

}  // namespace

const Command config_command = {"config",    "print configuration for a server or a client",
                                description, examples,
                                operands,    options,
                                config};

}  // namespace pki::cli
