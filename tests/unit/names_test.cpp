#include "pki/names.h"

#include <sstream>

#include "support.h"

using namespace pki;

namespace {

// A line of tests/data/names.txt, which describes its format.
struct Case {
  std::string kind;
  std::string verdict;
  std::string value;
  std::string expectation;
};

std::string unescape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      const char kind = text.at(++i);
      if (kind == 'x') {
        out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
        i += 2;
      } else {
        out += kind == 'n' ? '\n' : kind == 'r' ? '\r' : kind == 't' ? '\t' : kind;
      }
    } else if (text[i] == '{') {
      const std::size_t end = text.find('}', i);
      const auto times = std::stoul(text.substr(i + 1, end - i - 1));
      const char repeated = out.back();
      out.pop_back();
      out.append(times, repeated);
      i = end;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<Case> read_cases(std::string_view kind) {
  std::vector<Case> cases;
  std::istringstream lines(test::read_file(PKI_TEST_DATA "/names.txt"));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream words(line);
    Case row;
    std::string value;
    words >> row.kind >> row.verdict >> value;
    std::getline(words >> std::ws, row.expectation);
    row.value = unescape(value);
    row.expectation = row.expectation == "=" ? row.value : unescape(row.expectation);
    if (row.kind == kind) cases.push_back(row);
  }
  REQUIRE(cases.size() > 10);
  return cases;
}

template <class Parse>
void check_cases(std::string_view kind, Parse parse) {
  for (const Case& row : read_cases(kind)) {
    CAPTURE(quote(row.value));
    if (row.verdict == "refuse") {
      const std::string error = test::error_of([&] { (void)parse(row.value); });
      CAPTURE(error);
      CHECK(test::contains(error, row.expectation));
      CHECK(std::ranges::all_of(error, [](char c) { return c >= 0x20 && c < 0x7f; }));
    } else {
      const std::string expected = row.verdict == "warn" ? row.value : row.expectation;
      CHECK(parse(row.value).text() == expected);
    }
  }
}

std::vector<San> dns(std::initializer_list<const char*> names) {
  std::vector<San> sans;
  for (const char* name : names) sans.emplace_back(DnsName::parse(name));
  return sans;
}

}  // namespace

TEST_CASE("names: every host name of the list is parsed or refused as it says") {
  check_cases("domain", DnsName::parse);
}

TEST_CASE("names: every IP address of the list is parsed or refused as it says") {
  check_cases("ip", IpAddress::parse);
}

TEST_CASE("names: compared without regard to case, kept as typed") {
  CHECK(DnsName::parse("Foo.Test") == DnsName::parse("foo.test"));
  CHECK(DnsName::parse("foo.test") != DnsName::parse("foo.tes"));
  CHECK(DnsName::parse("*.foo.test").is_wildcard());
  CHECK(!DnsName::parse("foo.test").is_wildcard());
  CHECK(without_duplicates(dns({"Foo", "foo", "bar", "FOO"})) == dns({"Foo", "bar"}));
  CHECK(same_names(dns({"a", "B"}), dns({"b", "A", "a"})));
  CHECK(!same_names(dns({"a"}), dns({"a", "b"})));
}

TEST_CASE("names: addresses have one form") {
  CHECK(IpAddress::parse("0:0:0:0:0:0:0:1").text() == "::1");
  CHECK(IpAddress::parse("::ffff:10.0.0.1") == IpAddress::parse("10.0.0.1"));
  CHECK(IpAddress::parse("10.0.0.1").bytes().size() == 4);
  CHECK(IpAddress::parse("2001:DB8::00ff").text() == "2001:db8::ff");
  CHECK_THROWS_AS((void)IpAddress::from_bytes(std::vector<std::uint8_t>(5)), Error);
}

TEST_CASE("names: the directory and the common name follow the first name") {
  CHECK(directory_name(DnsName::parse("*.db.test")) == "_.db.test");
  CHECK(directory_name(IpAddress::parse("0::1")) == "::1");
  const std::string longer = std::string(60, 'a') + ".test";  // 65
  CHECK(common_name_for(dns({"b.test", "a.test"})) == "b.test");
  CHECK(common_name_for(dns({longer.c_str(), "a.test"})) == "a.test");
  CHECK(common_name_for(dns({longer.c_str()})).empty());
  CHECK(common_name_for({IpAddress::parse("::1")}) == "::1");
}

TEST_CASE("names: roles are what PostgreSQL takes and a directory may be called") {
  const std::string longest(63, 'a');
  for (const char* good : {"app_user", "app.user", "Alice", "_x", "9lives", "a-b",
                           "user@example.org", "a$b", "a+b", longest.c_str()}) {
    CHECK(RoleName::parse(good).text() == good);
  }
  const std::string longer(64, 'a');
  const std::pair<const char*, const char*> bad[] = {
      {"", "empty"},        {longer.c_str(), "64 bytes"},
      {".", "begin"},       {"..", "begin"},
      {".hidden", "begin"}, {"-option", "begin"},
      {"a/b", "only"},      {"a b", "only"},
      {"a\nb", "only"},     {"m\xc3\xbcller", "only"},
      {"a\"b", "only"},     {"a,b", "only"},
      {"a\x1b[2J", "only"}, {"a:b", "only"},
      {"$a", "begin"}};
  for (const auto& [name, word] : bad) {
    CAPTURE(quote(name));
    CHECK(test::contains(test::error_of([&] { (void)RoleName::parse(name); }), word));
  }
}
