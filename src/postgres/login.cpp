#include "pki/login.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <string_view>
#include <utility>
#include <vector>

#include "pki/error.h"
#include "pki/snippets.h"
#include "postgres/greeting.h"
#include "postgres/libpq.h"

namespace pki {
namespace {

using Clock = std::chrono::steady_clock;
using Settings = std::vector<std::pair<const char*, std::string>>;

// --- connection strings ---

// libpq quotes what it cannot read, and that may be a password.
std::string without_quoted(std::string_view message) {
  const std::size_t first = message.find('"');
  const std::size_t last = message.rfind('"');
  if (first == last) return one_line(message);
  return one_line(fmt::format("{}\"...\"{}", message.substr(0, first), message.substr(last + 1)));
}

LibpqOptions parse(const std::string& conninfo) {
  char* message = nullptr;
  LibpqOptions options(libpq().PQconninfoParse(conninfo.c_str(), &message));
  const LibpqText owned(message);
  if (options == nullptr) {
    throw Error(fmt::format("the connection string is not one of libpq's: {}",
                            message == nullptr ? "out of memory" : without_quoted(message)),
                "write postgresql://USER@HOST:PORT/DB, or host=HOST port=PORT user=USER dbname=DB");
  }
  return options;
}

void demand_no_secret(const std::string& conninfo) {
  const LibpqOptions options = parse(conninfo);
  for (const PQconninfoOption* at = options.get(); at->keyword != nullptr; ++at) {
    const bool is_secret = std::string_view(at->dispchar) == "*";
    if (is_secret && at->val != nullptr && *at->val != '\0') {
      throw Error(fmt::format("the connection string holds a secret: {}", at->keyword),
                  "give it by PGPASSWORD, a passfile or a service; everybody can read a command "
                  "line");
    }
  }
}

// `settings` win over the string, over its service, and over the environment.
LibpqConnection start(const std::string& conninfo, const Settings& settings) {
  std::vector<const char*> names = {"dbname"};  // the place for a whole connection string
  std::vector<const char*> values = {conninfo.c_str()};
  for (const auto& [name, value] : settings) {
    names.push_back(name);
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  constexpr int expand = 1;
  LibpqConnection connection(libpq().PQconnectStartParams(names.data(), values.data(), expand));
  if (connection == nullptr) throw Error("libpq is out of memory");
  return connection;
}

// What libpq would connect with. Only libpq knows, for it alone reads services: it is made to stop
// before the first packet by a value that it must refuse.
LibpqOptions effective_options(const std::string& conninfo) {
  const std::string refused = "not-to-connect";
  // With a password it has no need to look for one, and to warn of the passfile's mode.
  const LibpqConnection connection =
      start(conninfo, {{"channel_binding", refused}, {"password", "none"}});
  const std::string message = libpq().PQerrorMessage(connection.get());
  if (message.find(refused) == std::string::npos) {
    throw Error(fmt::format("libpq cannot use the connection string: {}", one_line(message)),
                "check it, the PG variables of the environment, and the service file");
  }
  LibpqOptions options(libpq().PQconninfo(connection.get()));
  if (options == nullptr) throw Error("libpq is out of memory");
  return options;
}

std::string value_of(const LibpqOptions& options, std::string_view keyword) {
  for (const PQconninfoOption* at = options.get(); at->keyword != nullptr; ++at) {
    if (at->keyword == keyword && at->val != nullptr) return at->val;
  }
  return {};
}

template <class T = std::filesystem::path>
std::optional<T> given(const std::string& value) {
  return value.empty() ? std::nullopt : std::optional<T>(value);
}

std::uint16_t parse_port(const std::string& text) {
  if (text.empty()) return 5432;  // as libpq does
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc{} || stop != end || port == 0) {
    throw Error(fmt::format("the connection string's port is {}", quote(text)),
                "give a number from 1 to 65535");
  }
  return port;
}

void demand_one_tcp_host(const std::string& host, const std::string& address) {
  if (host.empty() && address.empty()) {
    throw Error("the connection string names no host, and there is no TLS on a Unix socket",
                "add host=HOST, or set PGHOST");
  }
  if (host.find(',') != std::string::npos || address.find(',') != std::string::npos) {
    throw Error(fmt::format("the connection string names several hosts: {}",
                            quote(host.empty() ? address : host)),
                "check them one at a time");
  }
  if (host.starts_with('/') || host.starts_with('@')) {
    throw Error(fmt::format("{} is a Unix socket: there is no TLS on it", quote(host)),
                "name the host by which clients connect over the network");
  }
  if (host.empty()) {
    throw Error("the connection string has a hostaddr, but no host to verify the server's name by",
                "add host=HOST");
  }
}

// libpq opens whatever is there, and waits for ever for the other end of a pipe.
void demand_plain_file(const char* keyword, const std::string& path) {
  std::error_code failed;
  const std::filesystem::file_status status = std::filesystem::status(path, failed);
  if (path.empty() || failed || !std::filesystem::exists(status) ||
      std::filesystem::is_regular_file(status)) {
    return;
  }
  throw Error(fmt::format("{} is {}, which is no regular file", keyword, quote(path)),
              "name a file in PEM format");
}

std::string printed(const ConnectionTarget& target) {
  const std::string host = printable(target.host);
  const bool needs_brackets = host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(needs_brackets ? "[{}]:{}" : "{}:{}"), host, target.port);
}

// --- waiting ---

// Why there is nothing to report any more.
struct Stopped {
  Finding finding;
};

// A server that always has something to say does not get more time than one that is silent.
bool wait_for(int socket, short events, Clock::time_point deadline) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    struct pollfd waiting = {socket, events, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::min<long>(left.count(), INT_MAX)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // libpq meets the same error, and says it
  }
}

[[noreturn]] void stop_for_silence(const ConnectionTarget& target, std::string_view step,
                                   std::chrono::milliseconds timeout, std::string remedy) {
  throw Stopped{{Finding::Level::unknown, "login-timeout",
                 fmt::format("{}: no {} within {:g} seconds", printed(target), step,
                             std::chrono::duration<double>(timeout).count()),
                 std::move(remedy)}};
}

constexpr const char* where_poolers_wait =
    "PgBouncer lets clients wait while it cannot reach or verify the database: read its log";

// --- logging in ---

enum class Stage { connection, tls, login };

Stage stage_of(int status, Stage previous) {
  switch (status) {
    case connection_status::bad:
    case connection_status::started:
    case connection_status::needed: return Stage::connection;
    case connection_status::made:  // once without TLS, and once with it
      return previous == Stage::connection ? Stage::connection : Stage::login;
    case connection_status::tls_startup: return Stage::tls;
    default: return Stage::login;
  }
}

Finding refusal(PGconn* connection, const ConnectionTarget& target, Stage stage) {
  const std::string what = one_line(libpq().PQerrorMessage(connection));
  const auto says = [&](std::string_view part) { return what.find(part) != std::string::npos; };
  if (stage == Stage::connection) {
    return {Finding::Level::unknown, "login-no-connection", what,
            "see that the server runs, and that host and port are right"};
  }
  if (stage == Stage::tls && says("server does not support SSL")) {
    return {Finding::Level::problem, "login-no-tls", what,
            "turn TLS on: client_tls_sslmode in pgbouncer.ini, ssl in postgresql.conf; no password "
            "was sent"};
  }
  if (stage == Stage::tls && (says("certificate verify failed") || says("does not match host"))) {
    return {Finding::Level::problem, "login-verification", what,
            fmt::format("libpq hides the reason: pki check {} names it; no password was sent",
                        printed(target))};
  }
  if (stage == Stage::tls) {
    return {Finding::Level::unknown, "login-tls", what,
            fmt::format("pki check {} says what the server does; no password was sent",
                        printed(target))};
  }
  if (libpq().PQconnectionNeedsPassword(connection) != 0) {
    return {Finding::Level::unknown, "login-no-password", what,
            "give the password by PGPASSWORD, a passfile or a service"};
  }
  return {Finding::Level::unknown, "login-failed", what,
          "see that user, password and database are right; the server's log says more"};
}

LibpqConnection log_in(const LoginCheck& check, const ConnectionTarget& target,
                       const Settings& settings) {
  const std::chrono::milliseconds timeout = check.timeout;
  LibpqConnection connection = start(check.conninfo, settings);
  // By default libpq prints what servers send.
  libpq().PQsetNoticeProcessor(
      connection.get(), [](void*, const char*) {}, nullptr);
  Stage stage = Stage::connection;
  auto deadline = Clock::now() + timeout;
  int next = polling::writing;
  while (next != polling::ok) {
    const Stage reached = stage_of(libpq().PQstatus(connection.get()), stage);
    if (reached != stage) deadline = Clock::now() + timeout;
    stage = reached;
    const int socket = libpq().PQsocket(connection.get());
    if (socket < 0 || next == polling::failed)
      throw Stopped{refusal(connection.get(), target, stage)};
    const short events = next == polling::reading ? POLLIN : POLLOUT;
    if (!wait_for(socket, events, deadline)) {
      constexpr std::array steps = {"connection", "TLS handshake", "end of the login"};
      stop_for_silence(target, steps[static_cast<std::size_t>(stage)], timeout,
                       stage == Stage::login ? where_poolers_wait
                                             : "see that host and port are a PostgreSQL's or a "
                                               "PgBouncer's, and that no firewall is between");
    }
    next = libpq().PQconnectPoll(connection.get());
    if (next == polling::failed) throw Stopped{refusal(connection.get(), target, stage)};
  }
  return connection;
}

// --- asking the server ---

using Row = std::vector<std::string>;

// Nothing once there are no more.
LibpqResult next_result(PGconn* connection, const ConnectionTarget& target,
                        Clock::time_point deadline, std::chrono::milliseconds timeout) {
  while (true) {
    const bool has_unsent = libpq().PQflush(connection) == 1;
    const bool is_ready = !has_unsent && libpq().PQisBusy(connection) == 0;
    const auto events = static_cast<short>(has_unsent ? POLLIN | POLLOUT : POLLIN);
    const bool is_late = is_ready ? Clock::now() >= deadline
                                  : !wait_for(libpq().PQsocket(connection), events, deadline);
    if (is_late) stop_for_silence(target, "answer to a query", timeout, where_poolers_wait);
    // When the connection broke, PQgetResult says why.
    if (is_ready || libpq().PQconsumeInput(connection) == 0) break;
  }
  return LibpqResult(libpq().PQgetResult(connection));
}

// The one row that a query must have; otherwise `refused` is what the server said.
std::optional<Row> ask(PGconn* connection, const std::string& query, const ConnectionTarget& target,
                       std::chrono::milliseconds timeout, std::string& refused) {
  const auto deadline = Clock::now() + timeout;
  refused = "it answers with no row";
  if (libpq().PQsendQuery(connection, query.c_str()) == 0) {
    refused = one_line(libpq().PQerrorMessage(connection));
    return std::nullopt;
  }
  std::optional<Row> row;
  while (const auto result = next_result(connection, target, deadline, timeout)) {
    const int status = libpq().PQresultStatus(result.get());
    if (status == result_status::error)
      refused = one_line(libpq().PQresultErrorMessage(result.get()));
    // Of COPY, which nobody asked for, there would be one result after the other without an end.
    if (status != result_status::rows && status != result_status::error) return std::nullopt;
    if (libpq().PQntuples(result.get()) != 1) continue;
    row.emplace();
    for (int column = 0; column < libpq().PQnfields(result.get()); ++column) {
      row->push_back(one_line(libpq().PQgetvalue(result.get(), 0, column)));
    }
  }
  return row;
}

// What the server at the far end says of its client, which may be a pooler.
struct FarEnd {
  bool has_other_pid;
  bool is_unix_socket;
  bool is_encrypted;
  std::string protocol;
  std::string cipher;
  std::string version;
  std::string user;

  [[nodiscard]] bool is_pooled() const { return has_other_pid || !is_encrypted; }
};

FarEnd ask_far_end(PGconn* connection, const ConnectionTarget& target,
                   std::chrono::milliseconds timeout) {
  constexpr std::string_view question =
      "SELECT pg_catalog.pg_backend_pid(), pg_catalog.inet_client_addr() IS NULL, used, version,"
      " cipher, pg_catalog.current_setting('server_version'), current_user"
      " FROM ({}) AS tls (used, version, cipher)";
  constexpr std::size_t columns = 7;
  // All names are qualified: others may have put functions and operators of theirs on the path.
  // The extension sslinfo is for servers that have no such view, or show it to few.
  constexpr const char* from_view =
      "SELECT ssl, version, cipher FROM pg_catalog.pg_stat_ssl"
      " WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()";
  constexpr const char* schema_of_sslinfo =
      "SELECT pg_catalog.quote_ident(nspname) FROM pg_catalog.pg_extension"
      " JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) extnamespace"
      " WHERE extname OPERATOR(pg_catalog.=) 'sslinfo'";
  std::string first_refusal;
  for (const bool is_view : {true, false}) {
    std::string refused;
    std::string source = from_view;
    if (!is_view) {
      const auto schema = ask(connection, schema_of_sslinfo, target, timeout, refused);
      if (!schema.has_value() || schema->size() != 1) break;
      source = fmt::format("SELECT {0}.ssl_is_used(), {0}.ssl_version(), {0}.ssl_cipher()",
                           schema->front());
    }
    const auto row =
        ask(connection, fmt::format(fmt::runtime(question), source), target, timeout, refused);
    if (row.has_value() && row->size() == columns) {
      const Row& seen = *row;
      return {.has_other_pid = seen[0] != std::to_string(libpq().PQbackendPID(connection)),
              .is_unix_socket = seen[1] == "t",
              .is_encrypted = seen[2] == "t",
              .protocol = seen[3],
              .cipher = seen[4],
              .version = seen[5],
              .user = seen[6]};
    }
    if (first_refusal.empty()) first_refusal = refused;
  }
  throw Stopped{{Finding::Level::unknown, "second-hop-unknown",
                 fmt::format("{} does not say how its database is reached: {}", printed(target),
                             first_refusal),
                 "log in to a PostgreSQL database, and let the user read pg_stat_ssl, or create "
                 "the extension sslinfo"}};
}

std::string second_hop(const FarEnd& seen) {
  if (!seen.is_pooled()) return "none: this is the database";
  if (seen.is_unix_socket) return "a Unix socket, which leaves no machine";
  return seen.is_encrypted ? fmt::format("{}, {}", seen.protocol, seen.cipher) : "plaintext";
}

void judge_second_hop(const FarEnd& seen, const ConnectionTarget& target, Findings& findings) {
  if (!seen.is_pooled() || seen.is_unix_socket) return;
  if (seen.is_encrypted) {
    findings.push_back({Finding::Level::note, "server-verification-unknown",
                        fmt::format("{} encrypts its way to the database; whether it verifies the "
                                    "database cannot be seen from here",
                                    printed(target)),
                        "run pki check /etc/pgbouncer/pgbouncer.ini on its machine"});
  } else {
    findings.push_back(
        {Finding::Level::problem, "server-plaintext",
         fmt::format("{} talks to the database in plaintext", printed(target)),
         "in pgbouncer.ini set server_tls_sslmode = verify-full and server_tls_ca_file, then "
         "RELOAD and RECONNECT: connections that are open stay as they are"});
  }
}

// It is not what we connect with, but it is what an application does with this string here.
void judge_sslmode(const ConnectionTarget& target, const std::filesystem::path& root,
                   Findings& findings) {
  if (target.sslmode == "verify-full") return;
  const bool is_default = target.sslmode == "prefer";
  findings.push_back(
      {is_default ? Finding::Level::note : Finding::Level::problem, "unverified-string",
       is_default
           ? "libpq's default is sslmode=prefer: a client that takes the string as it is does "
             "not verify the server, nor insist on TLS"
           : fmt::format("the string, its service or the environment says sslmode={}: a "
                         "client that takes it as it is does not verify the server",
                         target.sslmode),
       fmt::format("sslmode=verify-full sslrootcert={}", printable(root.string()))});
}

}  // namespace

ConnectionTarget read_conninfo(const std::string& conninfo) {
  demand_no_secret(conninfo);
  const LibpqOptions options = effective_options(conninfo);
  const std::string host = value_of(options, "host");
  const std::string address = value_of(options, "hostaddr");
  demand_one_tcp_host(host, address);
  for (const char* const keyword : {"sslrootcert", "sslcert", "sslkey", "sslcrl"}) {
    demand_plain_file(keyword, value_of(options, keyword));
  }
  return {.host = host,
          .address = given<std::string>(address),
          .port = parse_port(value_of(options, "port")),
          .sslmode = one_line(value_of(options, "sslmode")),
          .root = given(value_of(options, "sslrootcert")),
          .certificate = given(value_of(options, "sslcert")),
          .key = given(value_of(options, "sslkey"))};
}

Report check_login(const LoginCheck& check) {
  const ConnectionTarget target = read_conninfo(check.conninfo);
  Report report;
  report.target = fmt::format("login at {}", printed(target));
  std::string by_hand = verifying_conninfo(check.conninfo, check.root);
  Settings settings = {{"sslmode", "verify-full"},
                       {"sslrootcert", check.root.string()},
                       {"gssencmode", "disable"},  // else the TLS might be skipped for Kerberos
                       {"fallback_application_name", "pki check"}};
  if (check.address.has_value()) settings.emplace_back("hostaddr", *check.address);
  if (check.certificate.has_value() && check.key.has_value()) {
    settings.emplace_back("sslcert", check.certificate->string());
    settings.emplace_back("sslkey", check.key->string());
    by_hand = with_setting(by_hand, "sslcert", check.certificate->string());
    by_hand = with_setting(by_hand, "sslkey", check.key->string());
  }
  report.command = fmt::format(
      "psql {} -c {}", shell_word(by_hand),
      shell_word("SELECT ssl, version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()"));
  judge_sslmode(target, check.root, report.findings);
  try {
    const LibpqConnection connection = log_in(check, target, settings);
    const auto attribute = [&](const char* name) {
      const char* const value = libpq().PQsslAttribute(connection.get(), name);
      return one_line(value == nullptr ? "" : value);
    };
    report.facts.push_back(
        {"first hop", fmt::format("{}, {}, verified", attribute("protocol"), attribute("cipher"))});
    libpq().PQsetnonblocking(connection.get(), 1);
    const FarEnd seen = ask_far_end(connection.get(), target, check.timeout);
    report.facts.push_back({"second hop", second_hop(seen)});
    report.facts.push_back({"server version", seen.version});
    report.facts.push_back({"user", seen.user});
    judge_second_hop(seen, target, report.findings);
  } catch (const Stopped& stopped) {
    report.findings.push_back(stopped.finding);
  }
  return report;
}

}  // namespace pki
