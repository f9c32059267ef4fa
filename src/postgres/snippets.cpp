#include "pki/snippets.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "pki/leaf.h"

namespace pki {
namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

// --- how each reader quotes ---

// `text` between `quote`s, with a backslash before those of its characters that `special` names.
std::string with_backslashes(std::string_view text, char quote, std::string_view special) {
  std::string out(1, quote);
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out + quote;
}

// `text` in single quotes, with those of its characters that `special` names written twice.
std::string with_doubled(std::string_view text, std::string_view special) {
  std::string out = "'";
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) out += c;
    out += c;
  }
  return out + "'";
}

std::string postgres_value(const std::filesystem::path& path) {
  return with_doubled(path.string(), "'\\");
}

std::string yaml_value(std::string_view text) { return with_doubled(text, "'"); }

// A string literal that JavaScript and Go read alike.
std::string string_literal(std::string_view text) { return with_backslashes(text, '"', "\"\\"); }

// RFC 3986 2.3: all but the unreserved characters; a path keeps its slashes.
std::string url_encoded(std::string_view text) {
  constexpr std::string_view unreserved =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
  std::string out;
  for (const char c : text) {
    out += unreserved.find(c) != std::string_view::npos
               ? std::string(1, c)
               : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// --- what is said ---

std::string certificate_of(const std::filesystem::path& identity) {
  return (identity / leaf_certificate_name).string();
}

std::string key_of(const std::filesystem::path& identity) {
  return (identity / leaf_key_name).string();
}

// By libpq's names, which most drivers use.
Settings tls_settings(const ClientSetup& setup) {
  Settings settings = {{"sslmode", "verify-full"}, {"sslrootcert", setup.root.string()}};
  if (setup.identity.has_value()) {
    settings.emplace_back("sslcert", certificate_of(*setup.identity));
    settings.emplace_back("sslkey", key_of(*setup.identity));
  }
  return settings;
}

Settings all_settings(const ClientSetup& setup) {
  Settings settings = {{"host", setup.host},
                       {"port", std::to_string(setup.port)},
                       {"user", setup.user},
                       {"dbname", setup.database}};
  for (auto& setting : tls_settings(setup)) settings.push_back(std::move(setting));
  return settings;
}

// A literal IPv6 address stands in brackets in a URL.
std::string url_host(const ClientSetup& setup) {
  return setup.host.find(':') != std::string::npos ? "[" + setup.host + "]" : setup.host;
}

std::string query(const Settings& settings) {
  std::string out;
  for (const auto& [name, value] : settings) {
    out += fmt::format("{}{}={}", out.empty() ? "?" : "&", name, url_encoded(value));
  }
  return out;
}

}  // namespace

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

std::string pgbouncer_snippet(const ServerSetup& setup) {
  std::string out;
  if (setup.require_client_certificate) {
    out +=
        "; Only clients with a certificate of this root; its common name is the user they may\n"
        "; log in as, who must also be in auth_file. Include this below any other auth_type: the\n"
        "; last one counts.\n"
        "client_tls_sslmode = verify-full\n"
        "auth_type = cert\n";
  } else {
    out +=
        "; No client without TLS. It is for clients to verify the server: sslmode=verify-full.\n"
        "client_tls_sslmode = require\n";
  }
  out += fmt::format(
      "client_tls_key_file = {}\n"
      "client_tls_cert_file = {}\n"
      "client_tls_ca_file = {}\n",
      setup.key.string(), setup.certificate.string(), setup.root.string());
  if (setup.server_ca.has_value()) {
    out += fmt::format(
        "; The database's name, the host= in [databases], must be in its certificate.\n"
        "server_tls_sslmode = verify-full\n"
        "server_tls_ca_file = {}\n",
        setup.server_ca->string());
  }
  return out;
}

std::string postgres_crl_line(const std::filesystem::path& list) {
  return fmt::format("ssl_crl_file = {}\n", postgres_value(list));
}

std::string postgres_snippet(const ServerSetup& setup) {
  std::string out = fmt::format(
      "ssl = on\n"
      "ssl_cert_file = {}\n"
      "ssl_key_file = {}\n",
      postgres_value(setup.certificate), postgres_value(setup.key));
  if (setup.require_client_certificate) {
    out += fmt::format("ssl_ca_file = {}\n", postgres_value(setup.root));
    if (setup.revocation_list.has_value()) out += postgres_crl_line(*setup.revocation_list);
  }
  out += fmt::format(
      "# In pg_hba.conf, in place of the lines that begin with \"host\": only TLS gets in.\n"
      "# hostssl all all all {}\n",
      setup.require_client_certificate ? "cert" : "scram-sha-256");
  return out;
}

std::string conninfo_value(const std::string& text) {
  const bool is_plain = !text.empty() && text.find_first_of(" '\\") == std::string::npos;
  return is_plain ? text : with_backslashes(text, '\'', "'\\");
}

std::string conninfo(const ClientSetup& setup) {
  std::string out;
  for (const auto& [name, value] : all_settings(setup)) {
    out += fmt::format("{}{}={}", out.empty() ? "" : " ", name, conninfo_value(value));
  }
  return out;
}

// Of a setting that comes twice, libpq takes the last.
std::string with_setting(const std::string& conninfo, std::string_view name,
                         const std::string& value) {
  const bool is_url = conninfo.starts_with("postgresql://") || conninfo.starts_with("postgres://");
  if (!is_url) return fmt::format("{} {}={}", conninfo, name, conninfo_value(value));
  const bool has_query = conninfo.find('?') != std::string::npos;
  return fmt::format("{}{}{}={}", conninfo, has_query ? "&" : "?", name, url_encoded(value));
}

std::string verifying_conninfo(const std::string& conninfo, const std::filesystem::path& root) {
  return with_setting(with_setting(conninfo, "sslmode", "verify-full"), "sslrootcert",
                      root.string());
}

std::string psql_snippet(const ClientSetup& setup) {
  const std::string url =
      fmt::format("postgresql://{}@{}:{}/{}{}", url_encoded(setup.user), url_host(setup),
                  setup.port, url_encoded(setup.database), query(tls_settings(setup)));
  return fmt::format("psql {}\npsql {}\n", shell_word(url), shell_word(conninfo(setup)));
}

std::string libpq_env_snippet(const ClientSetup& setup) {
  constexpr std::pair<std::string_view, std::string_view> variables[] = {
      {"host", "PGHOST"},       {"port", "PGPORT"},       {"user", "PGUSER"},
      {"dbname", "PGDATABASE"}, {"sslmode", "PGSSLMODE"}, {"sslrootcert", "PGSSLROOTCERT"},
      {"sslcert", "PGSSLCERT"}, {"sslkey", "PGSSLKEY"}};
  std::string out;
  for (const auto& [name, value] : all_settings(setup)) {
    for (const auto& [setting, variable] : variables) {
      if (setting == name) out += fmt::format("export {}={}\n", variable, shell_word(value));
    }
  }
  return out;
}

std::string jdbc_snippet(const ClientSetup& setup) {
  Settings settings = {
      {"user", setup.user}, {"sslmode", "verify-full"}, {"sslrootcert", setup.root.string()}};
  if (setup.identity.has_value()) {
    settings.emplace_back("sslcert", certificate_of(*setup.identity));
    // pgjdbc before 42.7.9 reads a key only in this form: pki export NAME --format pk8 makes it.
    settings.emplace_back("sslkey", (*setup.identity / "key.pk8").string());
  }
  return fmt::format("jdbc:postgresql://{}:{}/{}{}\n", url_host(setup), setup.port,
                     url_encoded(setup.database), query(settings));
}

std::string rails_snippet(const ClientSetup& setup) {
  std::string out = fmt::format(
      "production:\n"
      "  adapter: postgresql\n"
      "  host: {}\n"
      "  port: {}\n"
      "  username: {}\n"
      "  database: {}\n",
      yaml_value(setup.host), setup.port, yaml_value(setup.user), yaml_value(setup.database));
  for (const auto& [name, value] : tls_settings(setup)) {
    out += fmt::format("  {}: {}\n", name, yaml_value(value));
  }
  return out;
}

std::string node_snippet(const ClientSetup& setup) {
  const auto file = [](const std::string& path) {
    return fmt::format("fs.readFileSync({}, \"utf8\")", string_literal(path));
  };
  std::string out = fmt::format(
      "const fs = require(\"fs\");\n"
      "const {{ Client }} = require(\"pg\");\n"
      "\n"
      "const client = new Client({{\n"
      "  host: {},\n"
      "  port: {},\n"
      "  user: {},\n"
      "  database: {},\n"
      "  ssl: {{\n",
      string_literal(setup.host), setup.port, string_literal(setup.user),
      string_literal(setup.database));
  // For an address node-postgres names no host to Node's TLS, which then wants "localhost".
  if (setup.host_is_address) out += fmt::format("    host: {},\n", string_literal(setup.host));
  out += fmt::format("    ca: {},\n", file(setup.root.string()));
  if (setup.identity.has_value()) {
    out += fmt::format("    cert: {},\n    key: {},\n", file(certificate_of(*setup.identity)),
                       file(key_of(*setup.identity)));
  }
  return out + "  },\n});\n";
}

std::string go_snippet(const ClientSetup& setup) {
  return fmt::format(
      "// pgx; lib/pq reads the same string: sql.Open(\"postgres\", ...)\n"
      "conn, err := pgx.Connect(context.Background(), {})\n",
      string_literal(conninfo(setup)));
}

}  // namespace pki
