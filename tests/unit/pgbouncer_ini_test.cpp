#include "postgres/pgbouncer_ini.h"

#include "support.h"

using namespace pki;

namespace {

using Files = std::map<std::string, std::string>;

PgbouncerIni parse(const std::string& text, const Files& files = {}) {
  return parse_pgbouncer_ini("main.ini", text, [&](const std::string& name, const IniPlace&) {
    const auto found = files.find(name);
    return found != files.end() ? std::optional(found->second) : std::nullopt;
  });
}

std::string ids(const PgbouncerIni& ini) {
  std::string out;
  for (const Finding& finding : ini.findings) out += (out.empty() ? "" : " ") + finding.id;
  return out;
}

std::string hosts(const std::string& connection) {
  const PgbouncerIni ini = parse("[databases]\na = " + connection + "\n[pgbouncer]\n");
  REQUIRE(ini.databases.size() == 1);
  std::string out = ids(ini);
  for (const std::string& host : ini.databases.front().hosts) out += "<" + host + ">";
  return out;
}

}  // namespace

TEST_CASE("pgbouncer.ini: values, comments and places") {
  const PgbouncerIni ini = parse(
      "; a comment\n"
      "\n"
      "[pgbouncer] user = postgres\n"
      "  # another\n"
      "client_tls_sslmode\t=  require \t\r\n"
      "client_tls_ca_file=/a b/root.pem\n"
      "server_tls_sslmode = prefer\n"
      "server_tls_sslmode = verify-full");
  CHECK(ids(ini).empty());
  CHECK(ini.value("user") == "postgres");
  CHECK(ini.value("client_tls_sslmode") == "require");
  CHECK(ini.value("client_tls_ca_file") == "/a b/root.pem");
  CHECK(ini.value("server_tls_sslmode") == "verify-full");
  CHECK(ini.value("nothing").empty());
  CHECK(ini.settings.at("server_tls_sslmode").place.text() == "main.ini:8");
  CHECK(ini.settings.at("user").place.text() == "main.ini:3");
}

TEST_CASE("pgbouncer.ini: what PgBouncer refuses, all of it") {
  const PgbouncerIni ini = parse(
      "early = 1\n"
      "[pgbouncer]\n"
      "client_tls_sslmode = require # no\n"
      "no value\n"
      "client_tls_cafile = x\n"
      "server_tls_sslmode = 'require'\n"
      "[nosuch]\n"
      "[databases\n"
      "[databases]\n"
      "a = host=x sslmode=require\n"
      "b = host=x ; main\n");
  CHECK(ids(ini) ==
        "ini-syntax ini-comment ini-syntax ini-setting ini-value ini-section ini-syntax "
        "ini-database ini-database");
  for (const Finding& finding : ini.findings) {
    CAPTURE(finding.what);
    CHECK(test::contains(finding.what, "PgBouncer refuses the file: "));
    CHECK(!finding.remedy.empty());
  }
  CHECK(ids(parse("[databases]\n")) == "ini-section");
  CHECK(ids(parse("[pgbouncer]\n[Pgbouncer]\n")) == "ini-section");
  CHECK(ids(parse("[pgbouncer]\nClient_TLS_sslmode = require\n")) == "ini-setting");
}

TEST_CASE("pgbouncer.ini: another header of its section sets all back") {
  const PgbouncerIni ini = parse("[pgbouncer]\nclient_tls_sslmode = require\n[pgbouncer]\n");
  CHECK(ids(ini) == "ini-reset");
  CHECK(ini.value("client_tls_sslmode").empty());
  CHECK(ids(parse("[pgbouncer]\nlisten_port = 1\n[pgbouncer]\n")).empty());
  CHECK(ids(parse("[pgbouncer]\nclient_tls_sslmode = require\n%include a\n",
                  {{"a", "[pgbouncer]\nserver_tls_sslmode = verify-full\n"}})) == "ini-reset");
}

TEST_CASE("pgbouncer.ini: inclusions") {
  const PgbouncerIni ini =
      parse("[pgbouncer]\n%include\ttls.ini \nuser = postgres\n",
            {{"tls.ini", "; TLS\nclient_tls_sslmode = require\n%include more.ini"},
             {"more.ini", "client_tls_protocols = secure\n[databases]\na = host=x\n"}});
  CHECK(ini.settings.at("client_tls_sslmode").place.text() == "tls.ini:2");
  CHECK(ini.is_complete);
  // The section that a file ends in goes on in the one that includes it.
  CHECK(ini.value("user").empty());
  CHECK(ini.databases.size() == 2);

  CHECK(!parse("[pgbouncer]\n%include nowhere\nclient_tls_sslmode = nope\n").is_complete);
  CHECK(ids(parse("[pgbouncer]\n%include a # b\n")) == "ini-comment");
  CHECK(ids(parse("[pgbouncer]\n%include\n")) == "ini-syntax");
  CHECK(ids(parse("[pgbouncer]\n%include a\n", {{"a", "%include a\n"}})) == "ini-include");
}

TEST_CASE("pgbouncer.ini: inclusions that multiply come to an end") {
  Files files;
  for (int depth = 0; depth < 10; ++depth) {
    std::string text;
    for (int i = 0; i < 100; ++i) text += "%include " + std::to_string(depth + 1) + "\n";
    files[std::to_string(depth)] = depth == 9 ? ";\n" : text;
  }
  const PgbouncerIni ini = parse("[pgbouncer]\n%include 0\n", files);
  REQUIRE(ids(ini) == "ini-include");
  CHECK(ini.findings.front().level == Finding::Level::unknown);
}

TEST_CASE("pgbouncer.ini: hosts of databases") {
  CHECK(hosts("").empty());
  CHECK(hosts("host=x") == "<x>");
  CHECK(hosts("port=5 host = x dbname=y") == "<x>");
  CHECK(hosts("host=x,y,,z") == "<x><y><z>");
  CHECK(hosts("host='x y'") == "<x y>");
  CHECK(hosts("host='it''s' port=1") == "<it's>");
  CHECK(hosts("host=/run/postgresql") == "</run/postgresql>");
  CHECK(hosts("host=x\tport=1") == "<x\tport=1>");
  CHECK(hosts("password='a # b' host=x") == "<x>");
  for (const char* bad : {"host", "host=", "host='x", "host=''", "=x", "host=x # y"}) {
    CAPTURE(bad);
    CHECK(test::contains(hosts(bad), "ini-database"));
  }
}

TEST_CASE("pgbouncer.ini: protocols") {
  for (const char* good :
       {"", "secure", "ALL", "tlsv1.2,tlsv1.3", "tlsv1.2:\ttlsv1.3", "!tlsv1.0"}) {
    CAPTURE(good);
    CHECK(parse_protocols(good).is_valid);
  }
  for (const char* bad :
       {"tlsv1.2+", "secure,", ",secure", "tlsv1.2 ,tlsv1.3", "!", ",", " ", "secure # x"}) {
    CAPTURE(bad);
    CHECK(!parse_protocols(bad).is_valid);
  }
  CHECK(parse_protocols("!all").has_none);
  CHECK(parse_protocols("tlsv1.2,!tlsv1.2").has_none);
  CHECK(!parse_protocols("!tlsv1.0,!tlsv1.1").has_old);
  CHECK(parse_protocols("legacy").has_old);
}

TEST_CASE("pgbouncer.ini: any bytes") {
  const std::string bytes =
      std::string("[]%=#;'\n\r\t ") + '\0' + "include [pgbouncer]\nclient_tls_sslmode=x\xff\x1b";
  for (std::size_t from = 0; from < bytes.size(); ++from) {
    for (std::size_t step = 1; step < bytes.size(); ++step) {
      std::string text = "[databases]\n";
      for (std::size_t i = 0; i < 60; ++i) text += bytes[(from + i * step) % bytes.size()];
      bool is_plain = true;
      for (const Finding& finding : parse(text, {{"", text}}).findings) {
        for (const char c : finding.what + finding.remedy)
          is_plain = is_plain && c >= ' ' && c != 0x7f;
      }
      CAPTURE(text);
      CHECK(is_plain);
    }
  }
}
