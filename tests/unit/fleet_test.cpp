#include "cli/fleet.h"

#include "support.h"

using namespace pki;
using pki::cli::Fleet;
using pki::cli::FleetEntry;
using pki::cli::FleetKind;

namespace {

Fleet hosts(const std::string& text) { return {"hosts.txt", text, FleetKind::hosts}; }
Fleet users(const std::string& text) { return {"users.txt", text, FleetKind::users}; }

std::string names(const FleetEntry& entry) {
  if (entry.role.has_value()) return entry.role->text();
  std::string out;
  for (const San& san : entry.sans) out += (out.empty() ? "" : " ") + text(san);
  return out;
}

std::vector<std::string> all(const Fleet& fleet) {
  REQUIRE(fleet.errors().empty());
  std::vector<std::string> entries;
  for (std::size_t i = 0; i < fleet.size(); ++i) entries.push_back(names(fleet.entry(i)));
  return entries;
}

std::vector<std::string> messages(const Fleet& fleet) {
  std::vector<std::string> out;
  for (const Error& error : fleet.errors()) out.emplace_back(error.what());
  return out;
}

}  // namespace

TEST_CASE("fleet: a line is names, addresses, or names and then addresses") {
  using Entries = std::vector<std::string>;
  const std::pair<const char*, Entries> rows[] = {
      {"", {}},
      {"\n\n  \n\t\n# a comment\n   # another, of one byte: \xff\n", {}},
      {"a", {"a"}},
      {"a\nb\n", {"a", "b"}},
      {"a\r\nb\r\n\r\n", {"a", "b"}},
      {"a\r", {"a"}},
      {"\xef\xbb\xbf"
       "a\n",
       {"a"}},
      {"  a,b.test.\t\t10.0.0.1,::1  # a pooler", {"a b.test 10.0.0.1 ::1"}},
      {"a#b", {"a"}},
      {"10.0.0.1\n::1,10.0.0.2", {"10.0.0.1", "::1 10.0.0.2"}},
      {"*.a.test\na.test", {"*.a.test", "a.test"}},
      {"a,A", {"a A"}},  // a name that comes twice in one certificate counts once
      {"a 10.0.0.1\nb 10.0.0.1", {"a 10.0.0.1", "b 10.0.0.1"}},
  };
  for (const auto& [text, entries] : rows) {
    CAPTURE(text);
    CHECK(all(hosts(text)) == entries);
  }
  CHECK(all(users("alice\n # none\nAlice\r\n  app_user  # the application's\n")) ==
        Entries{"alice", "Alice", "app_user"});
}

TEST_CASE("fleet: every error is told, with its line") {
  const std::pair<std::string, std::vector<std::string>> rows[] = {
      {"a,,b", {"hosts.txt:1: empty domain name"}},
      {"ok\n,a,", {"hosts.txt:2: empty domain name", "hosts.txt:2: empty domain name"}},
      {"# c\n\na b", {"hosts.txt:3: invalid IP address \"b\""}},
      {"a 10.0.0.1,", {"hosts.txt:1: empty IP address"}},
      {"a,10.0.0.1", {"hosts.txt:1: the address \"10.0.0.1\" is among names"}},
      {"10.0.0.1,a", {"hosts.txt:1: invalid IP address \"a\""}},
      {"10.0.0.1 10.0.0.2", {"hosts.txt:1: the address \"10.0.0.1\" is among names"}},
      {"a 10.0.0.1 10.0.0.2", {"hosts.txt:1: 3 columns"}},
      {"a, b", {"hosts.txt:1: empty domain name", "hosts.txt:1: invalid IP address \"b\""}},
      {"..\n../x", {"hosts.txt:1: ", "hosts.txt:2: "}},
      {std::string("a\0b\nc", 5), {"hosts.txt:1: a control byte, \"\\x00\""}},
      {"a # \x1b[2J", {"hosts.txt:1: a control byte, \"\\x1b\""}},
      {"a\rb", {"hosts.txt:1: a control byte, \"\\r\""}},
      {"a\nb\nA", {"hosts.txt:3: the first name, \"a\", is also that of line 1"}},
      {"a\na.\na",
       {"hosts.txt:2: the first name, \"a\", is also that of line 1",
        "hosts.txt:3: the first name, \"a\", is also that of line 1"}},
      {"::1\n0:0::1", {"hosts.txt:2: the first name, \"::1\", is also that of line 1"}},
      {std::string(Fleet::longest_line + 1, 'a'), {"hosts.txt:1: a line of 65537 bytes"}},
      {"x y z w\na,,\n\nb_c",
       {"hosts.txt:1: 4 columns", "hosts.txt:2: empty domain name",
        "hosts.txt:2: empty domain name", "hosts.txt:4: invalid domain name \"b_c\""}},
  };
  for (const auto& [text, expected] : rows) {
    CAPTURE(text.substr(0, 80));
    const Fleet fleet = hosts(text);
    const std::vector<std::string> found = messages(fleet);
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      CAPTURE(found[i]);
      CHECK(found[i].starts_with(expected[i]));
      CHECK(found[i].size() < 600);
    }
  }
  CHECK(messages(users("alice bob")).front() == "users.txt:1: 2 words");
  CHECK(messages(users("a\n-b\n*")).size() == 2);
  CHECK(messages(users("alice\nalice")).front() ==
        "users.txt:2: the first name, \"alice\", is also that of line 1");
}

TEST_CASE("fleet: a line at its limit, and what is wrong with a line later, have their place") {
  const std::string filler(Fleet::longest_line - 2, ' ');
  const Fleet fleet = hosts("# c\n\na" + filler + "\r\nb");
  CHECK(all(fleet) == std::vector<std::string>{"a", "b"});
  const Error error = fleet.located(1, Error("it is taken", "choose another"));
  CHECK(std::string(error.what()) == "hosts.txt:4: it is taken");
  CHECK(error.hint() == "choose another");
}

// Whatever the bytes, they are an entry or an error.
TEST_CASE("fleet: any bytes") {
  unsigned state = 1;
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 60; ++i) {
      state = state * 1'103'515'245 + 12'345;
      constexpr std::string_view common = "ab.,: \t\n\r#*10-_";
      const unsigned value = state >> 16U;
      text += value % 8 == 0 ? static_cast<char>(value >> 3U) : common[value % common.size()];
    }
    for (const FleetKind kind : {FleetKind::hosts, FleetKind::users}) {
      const Fleet fleet("f", text, kind);
      if (!fleet.errors().empty()) continue;
      for (std::size_t i = 0; i < fleet.size(); ++i) CHECK(!names(fleet.entry(i)).empty());
    }
  }
}
