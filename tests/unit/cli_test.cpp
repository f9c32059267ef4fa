#include "cli/cli.h"

#include <sstream>

#include "support.h"

using pki::Certificate;
using pki::cli::Exit;
namespace fs = std::filesystem;

namespace {

struct Result {
  Exit status;
  std::string out;
  std::string err;
};

Result run(std::vector<std::string> arguments, bool terminal = false) {
  std::ostringstream out;
  std::ostringstream err;
  const Exit status = pki::cli::run(arguments, {out, err, terminal, test::now});
  return {status, out.str(), err.str()};
}

// The options that keep everything inside `home`.
std::vector<std::string> in(const fs::path& home, std::vector<std::string> more) {
  std::vector<std::string> all = {"--ca-cert=" + (home / "minica.pem").string(), "-ca-key",
                                  (home / "minica-key.pem").string(), "--out", home.string()};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

bool one_line(const std::string& text) {
  return text.starts_with("pki: ") && std::ranges::count(text, '\n') == 1 && text.ends_with('\n');
}

}  // namespace

TEST_CASE("cli: help and version go to stdout") {
  for (const char* spelling : {"-h", "-help", "--help"}) {
    const Result result = run({spelling});
    CHECK(result.status == Exit::done);
    CHECK(result.out.starts_with("Usage: pki"));
    CHECK(result.out.find("Examples:") < result.out.find("Options"));
    CHECK(result.err.empty());
  }
  CHECK(run({"--version"}).out.starts_with("pki 0."));
}

TEST_CASE("cli: nothing asked for is usage on stderr and status 1, as in minica") {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{}, {"-domains", ""}, {"-"}, {"--", "--domains", "a"}, {"issue"}}) {
    const Result result = run(arguments);
    CHECK(result.status == Exit::failed);
    CHECK(result.out.empty());
    CHECK(result.err.starts_with("Usage: pki"));
  }
}

TEST_CASE("cli: wrong usage is one line and status 2") {
  const std::vector<std::string> rows[] = {
      {"--bogus"},
      {"-bogus=1"},
      {"--domains"},
      {"---domains", "a"},
      {"-=a"},
      {"frobnicate"},
      {"--domains", "a", "b"},
      {"--domains", "a", "--", "b"},
      {"--domains", "a", "--days", "0"},
      {"--domains", "a", "--days", "1e3"},
      {"--domains", "a", "--key-type", "dsa"},
      {"--domains", "a", "--ca-cert", "x.pem", "--ca-key", "./x.pem"},
      {"--domains", "a", "--ca-cert", ""},
      {"--domains", "a", "--quiet=maybe"},
      {"--domains", "a", "--bo\x1b[2Jgus"},
  };
  for (const auto& arguments : rows) {
    CAPTURE(arguments.back());
    const Result result = run(arguments);
    CHECK(result.status == Exit::usage);
    CHECK(one_line(result.err));
    CHECK(!test::contains(result.err, "\x1b"));
    CHECK(result.out.empty());
  }
}

TEST_CASE("cli: a refused value is one line that names the option, and status 1") {
  const test::TemporaryDirectory home;
  const std::pair<const char*, const char*> rows[] = {{"--domains=a,,b", "--domains"},
                                                      {"--domains=a,", "--domains"},
                                                      {"--domains=127.0.0.1", "--ip-addresses"},
                                                      {"--ip-addresses=1.2.3", "--ip-addresses"},
                                                      {"--ip-addresses=a", "--ip-addresses"}};
  for (const auto& [argument, word] : rows) {
    CAPTURE(argument);
    const Result result = run(in(home.path(), {argument}));
    CHECK(result.status == Exit::failed);
    CHECK(one_line(result.err));
    CHECK(test::contains(result.err, word));
    CHECK(fs::is_empty(home.path()));
  }
  CHECK(run(in(home.path(), {"--domains=a", "--ca-alg=dsa"})).status == Exit::failed);
  CHECK(test::contains(run(in(home.path(), {"--domains=a", "--ca-alg=ed25519"})).err, "SCRAM"));
  CHECK(fs::is_empty(home.path()));
}

TEST_CASE("cli: quiet off a terminal, next steps on one, unchanged when nothing is to do") {
  const test::TemporaryDirectory home;
  const Result first =
      run(in(home.path(), {"-domains", "a", "-domains=b", "--ip-addresses", "::1"}));
  CHECK(first.status == Exit::done);
  CHECK(first.out.empty());
  CHECK(first.err.empty());
  const Result again = run(in(home.path(), {"--domains", "b,a", "--ip-addresses", "0:0::1"}), true);
  CHECK(again.status == Exit::done);  // "b" comes first: another directory
  CHECK(test::contains(again.out, "client_tls_ca_file = " + (home.path() / "minica.pem").string()));
  const Result third = run(in(home.path(), {"--domains", "a,b", "--ip-addresses", "::1"}));
  CHECK(third.status == Exit::done);
  CHECK(test::contains(third.err, "a: unchanged"));
  CHECK(run(in(home.path(), {"--quiet", "--domains", "a,b", "--ip-addresses", "::1"})).err.empty());
}

TEST_CASE("cli: --json is one document, whatever happened") {
  const test::TemporaryDirectory home;
  const Result made = run(in(home.path(), {"--json", "--domains", "a"}));
  CHECK(made.out.starts_with("{\n"));
  CHECK(made.out.ends_with("}\n"));
  CHECK(test::contains(made.out, R"("status": "issued")"));
  CHECK(test::contains(run(in(home.path(), {"--json", "--domains", "a"})).out,
                       R"("status": "unchanged")"));
}

TEST_CASE("cli: an expiring certificate is a finding") {
  const test::TemporaryDirectory home;
  CHECK(run(in(home.path(), {"--domains", "a", "--days", "3"})).status == Exit::done);
  std::ostringstream out;
  std::ostringstream err;
  const std::vector<std::string> arguments = in(home.path(), {"--domains", "a"});
  const Exit status = pki::cli::run(arguments, {out, err, false, test::now + std::chrono::days{2}});
  CHECK(status == Exit::finding);
  CHECK(one_line(err.str()));
  CHECK(test::contains(err.str(), "expires on"));
}

TEST_CASE("cli: results that stdout does not take are a failure") {
  const test::TemporaryDirectory home;
  std::ostringstream out;
  std::ostringstream err;
  out.setstate(std::ios::badbit);
  const std::vector<std::string> arguments = in(home.path(), {"--json", "--domains", "a"});
  CHECK(pki::cli::run(arguments, {out, err, false, test::now}) == Exit::failed);
  CHECK(test::contains(err.str(), "standard output"));
}

TEST_CASE("cli: a fleet's file: every error in it, else a JSON document a line") {
  const test::TemporaryDirectory home;
  const std::string file = (home.path() / "hosts.txt").string();
  test::write_file(file, "a.test,b 10.0.0.1\n\nc c\nd,\na.test\n");
  const Result bad = run(in(home.path(), {"--hosts", file}));
  CHECK(bad.status == Exit::failed);
  CHECK(bad.out.empty());
  for (const char* place : {":3: ", ":4: ", ":5: "}) CHECK(test::contains(bad.err, file + place));
  CHECK(std::ranges::count(bad.err, '\n') == 3);
  CHECK(std::distance(fs::directory_iterator(home.path()), {}) == 1);

  test::write_file(file, "a.test,b 10.0.0.1\n*.w.test # a comment\n");
  const Result good = run(in(home.path(), {"--json", "--jobs=2", "--hosts", file}));
  CHECK(good.status == Exit::done);
  CHECK(good.err.empty());
  CHECK(std::ranges::count(good.out, '\n') == 2);
  CHECK(good.out.starts_with(R"({"name":"a.test","status":"issued",)"));
  CHECK(test::contains(good.out, "\n{\"name\":\"_.w.test\","));

  const Result again = run(in(home.path(), {"--hosts", file}));
  CHECK(again.status == Exit::done);
  CHECK(again.err.starts_with("pki: 0 issued, 2 unchanged in "));
  CHECK(one_line(again.err));
  CHECK(run(in(home.path(), {"--quiet", "--hosts", file})).err.empty());
  const Result differs = run(in(home.path(), {"--key-type=p384", "--hosts", file}));
  CHECK(differs.status == Exit::failed);
  CHECK(test::contains(differs.err, file + ":2: " + home.path().string() + "/_.w.test/cert.pem"));

  test::write_file(file, "alice\nbob\n");
  CHECK(run(in(home.path(), {"--users", file})).status == Exit::done);
  const Certificate alice =
      Certificate::from_pem(test::read_file(home.path() / "alice" / "cert.pem"));
  CHECK(alice.allows_client_auth());
  CHECK(!alice.allows_server_auth());
  CHECK(run(in(home.path(), {"--hosts", file, "--users", file})).status == Exit::usage);
  CHECK(run(in(home.path(), {"--hosts", file, "--domains", "x"})).status == Exit::usage);
  CHECK(run(in(home.path(), {"--users", file, "--user", "x"})).status == Exit::usage);
  CHECK(run(in(home.path(), {"--users", file, "--profile", "peer"})).status == Exit::usage);
  for (const char* jobs : {"0", "-1", "x", "1025", ""}) {
    CHECK(run(in(home.path(), {"--hosts", file, "--jobs", jobs})).status == Exit::usage);
  }
  CHECK(run(in(home.path(), {"--hosts", file + ".not"})).status == Exit::failed);
  CHECK(run(in(home.path(), {"--hosts", home.path().string()})).status == Exit::failed);
}

TEST_CASE("cli: a fleet's bar and summary are for terminals") {
  const test::TemporaryDirectory home;
  const std::string file = (home.path() / "hosts.txt").string();
  test::write_file(file, "a\nb\nc\n");
  const auto run_on = [&](bool err_is_terminal, std::vector<std::string> more) {
    more.insert(more.end(), {"--hosts", file});
    std::ostringstream out;
    std::ostringstream err;
    CHECK(pki::cli::run(in(home.path(), more), {.out = out,
                                                .err = err,
                                                .out_is_terminal = err_is_terminal,
                                                .now = test::now,
                                                .may_colour = false,
                                                .err_is_terminal = err_is_terminal}) == Exit::done);
    for (const char* name : {"a", "b", "c"}) fs::remove_all(home.path() / name);
    return err.str();
  };
  CHECK(run_on(false, {}).empty());
  const std::string shown = run_on(true, {});
  CHECK(test::contains(shown, "0 of 3"));
  CHECK(test::contains(shown, "\r\x1b[Kpki: 3 issued, 0 unchanged in "));
  CHECK(shown.ends_with(" s\n"));
  CHECK(run_on(true, {"--quiet"}).empty());
  CHECK(!test::contains(run_on(true, {"--json"}), "\r"));
}
