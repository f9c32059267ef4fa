#include "pki/snippets.h"

#include <sstream>

#include "support.h"

using namespace pki;

namespace {

const ServerSetup server{
    .certificate = "/tls/h/cert.pem", .key = "/tls/h/key.pem", .root = "/tls/r.pem"};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("snippets: no comment stands behind a value, and client_tls_ca_file is always there") {
  ServerSetup full = server;
  full.server_ca = "/tls/bundle.pem";
  full.require_client_certificate = true;
  for (const ServerSetup& setup : {server, full}) {
    const std::string text = pgbouncer_snippet(setup);
    CHECK(test::contains(text, "client_tls_ca_file = /tls/r.pem\n"));
    for (const std::string& line : lines_of(text)) {
      if (!line.starts_with(';')) CHECK(line.find_first_of(";#") == std::string::npos);
    }
  }
  CHECK(test::contains(pgbouncer_snippet(server), "client_tls_sslmode = require\n"));
  CHECK(!test::contains(pgbouncer_snippet(server), "server_tls"));
  CHECK(test::contains(pgbouncer_snippet(full),
                       "client_tls_sslmode = verify-full\nauth_type = cert\n"));
  CHECK(test::contains(pgbouncer_snippet(full),
                       "server_tls_sslmode = verify-full\nserver_tls_ca_file = /tls/bundle.pem\n"));
}

// Each reader has its own rules for what a path may hold.
TEST_CASE("snippets: paths are quoted as their reader wants it") {
  ClientSetup client;
  client.host = "h";
  client.root = R"(/a b/it's\r.pem)";
  CHECK(test::contains(conninfo(client), R"(sslrootcert='/a b/it\'s\\r.pem')"));
  CHECK(test::contains(psql_snippet(client), "sslrootcert=/a%20b/it%27s%5Cr.pem"));
  CHECK(test::contains(libpq_env_snippet(client), R"(export PGSSLROOTCERT='/a b/it'\''s\r.pem')"));
  CHECK(test::contains(jdbc_snippet(client), "sslrootcert=/a%20b/it%27s%5Cr.pem"));
  CHECK(test::contains(rails_snippet(client), R"(sslrootcert: '/a b/it''s\r.pem')"));
  CHECK(test::contains(node_snippet(client), R"(readFileSync("/a b/it's\\r.pem")"));
  ServerSetup quoted = server;
  quoted.key = "/it's/key.pem";
  CHECK(test::contains(postgres_snippet(quoted), "ssl_key_file = '/it''s/key.pem'"));
}

TEST_CASE("snippets: an IPv6 host stands in brackets in a URL, and node is told of an address") {
  ClientSetup client;
  client.host = "::1";
  client.host_is_address = true;
  client.root = "/r.pem";
  CHECK(test::contains(psql_snippet(client), "postgresql://USER@[::1]:6432/DB?"));
  CHECK(jdbc_snippet(client).starts_with("jdbc:postgresql://[::1]:6432/DB?"));
  CHECK(test::contains(node_snippet(client), "    host: \"::1\",\n"));
  CHECK(test::contains(conninfo(client), "host=::1 "));
}

TEST_CASE("snippets: a connection string is made to verify, in the form it has") {
  CHECK(verifying_conninfo("host=h sslmode=require", "/it's/r.pem") ==
        R"(host=h sslmode=require sslmode=verify-full sslrootcert='/it\'s/r.pem')");
  CHECK(verifying_conninfo("postgresql://h/db", "/a b.pem") ==
        "postgresql://h/db?sslmode=verify-full&sslrootcert=/a%20b.pem");
  CHECK(verifying_conninfo("postgres://h/db?user=a", "/r.pem") ==
        "postgres://h/db?user=a&sslmode=verify-full&sslrootcert=/r.pem");
}

TEST_CASE("snippets: a client's certificate is named where there is one") {
  ClientSetup client;
  client.host = "h";
  client.root = "/r.pem";
  for (const auto snippet :
       {psql_snippet, libpq_env_snippet, jdbc_snippet, rails_snippet, node_snippet, go_snippet}) {
    client.identity.reset();
    CHECK(!test::contains(snippet(client), "/alice/"));
    client.identity = "/alice";
    CHECK(test::contains(snippet(client), "/alice/cert.pem"));
  }
  CHECK(test::contains(jdbc_snippet(client), "sslkey=/alice/key.pk8"));
}

TEST_CASE("snippets: words of a shell") {
  CHECK(shell_word("plain/path.pem") == "plain/path.pem");
  CHECK(shell_word("") == "''");
  CHECK(shell_word("a b") == "'a b'");
  CHECK(shell_word("it's $(x)") == R"('it'\''s $(x)')");
}

TEST_CASE("snippets: a revocation list is named where clients must show certificates") {
  ServerSetup setup = server;
  setup.revocation_list = "/tls/it's.pem";
  CHECK(!test::contains(postgres_snippet(setup), "ssl_crl_file"));
  setup.require_client_certificate = true;
  CHECK(test::contains(postgres_snippet(setup), "\nssl_crl_file = '/tls/it''s.pem'\n"));
  CHECK(!test::contains(pgbouncer_snippet(setup), "crl"));
}
