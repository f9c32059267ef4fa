// Configuration to paste or to include: what PgBouncer, PostgreSQL, libpq and the drivers want to
// be told about files of ours. Pure text; each kind is tested by giving it to the real program.
//
// No comment ever stands behind a value: PgBouncer would take it for a part of that.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace pki {

/// One word of a POSIX shell's command line.
[[nodiscard]] std::string shell_word(std::string_view text);

/// A server's side. All paths are absolute.
struct ServerSetup {
  std::filesystem::path certificate;
  std::filesystem::path key;
  std::filesystem::path root;
  /// PgBouncer only: the roots that the database's certificate is verified with (RDS's bundle).
  std::optional<std::filesystem::path> server_ca = {};
  /// Clients must show a certificate of the root, and log in as the role it names.
  bool require_client_certificate = false;
  /// PostgreSQL only, with the above: the root's revocation list.
  std::optional<std::filesystem::path> revocation_list = {};
};

[[nodiscard]] std::string pgbouncer_snippet(const ServerSetup& setup);
/// postgresql.conf, with the lines for pg_hba.conf as comments.
[[nodiscard]] std::string postgres_snippet(const ServerSetup& setup);
/// The line of postgresql.conf that names a revocation list.
[[nodiscard]] std::string postgres_crl_line(const std::filesystem::path& list);

/// A client's side. All paths are absolute.
struct ClientSetup {
  std::string host = {};
  bool host_is_address = false;
  int port = 6432;
  std::string user = "USER";
  std::string database = "DB";
  std::filesystem::path root;
  /// The directory of the client's certificate, if it has one.
  std::optional<std::filesystem::path> identity = {};
};

/// A value in a connection string of libpq's key=value form.
[[nodiscard]] std::string conninfo_value(const std::string& text);
/// What stands behind "psql": such a string.
[[nodiscard]] std::string conninfo(const ClientSetup& setup);
/// A connection string of libpq's, of either form, that verifies the server with `root`, whatever
/// it says about that.
[[nodiscard]] std::string verifying_conninfo(const std::string& conninfo,
                                             const std::filesystem::path& root);
/// The same string with one setting more, which wins over what it says.
[[nodiscard]] std::string with_setting(const std::string& conninfo, std::string_view name,
                                       const std::string& value);

[[nodiscard]] std::string psql_snippet(const ClientSetup& setup);
[[nodiscard]] std::string libpq_env_snippet(const ClientSetup& setup);
[[nodiscard]] std::string jdbc_snippet(const ClientSetup& setup);
[[nodiscard]] std::string rails_snippet(const ClientSetup& setup);
[[nodiscard]] std::string node_snippet(const ClientSetup& setup);
[[nodiscard]] std::string go_snippet(const ClientSetup& setup);

}  // namespace pki
