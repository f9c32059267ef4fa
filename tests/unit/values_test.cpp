#include "cli/values.h"

#include "support.h"

using namespace pki;
using namespace pki::cli;

TEST_CASE("parse_days: whole days, with or without their d") {
  struct Row {
    const char* text;
    int days;
  };
  for (const Row& row : {Row{"30d", 30}, Row{"30", 30}, Row{"0", 0}, Row{"0d", 0}, Row{"007d", 7},
                         Row{"36525d", 36'525}}) {
    CAPTURE(row.text);
    CHECK(parse_days("expiring", row.text) == std::chrono::days{row.days});
  }
  for (const char* text : {"", "d", "-1", "-1d", "+3", " 3", "3 d", "3dd", "3D", "12h", "4w",
                           "1.5d", "0x10", "36526", "99999999999999999999d", "30d\n"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(static_cast<void>(parse_days("expiring", text)), const UsageError&);
    CHECK(test::contains(test::error_of([&] { (void)parse_days("expiring", text); }),
                         "--expiring: "));
  }
}

TEST_CASE("parse_serial: serial numbers as people have them") {
  const std::pair<const char*, const char*> rows[] = {
      {"5B", "5B"},
      {"5b", "5B"},
      {"b", "0B"},
      {"00ff", "FF"},
      {"0000FF", "FF"},
      {"1ff", "01FF"},
      {"5b:da:85", "5BDA85"},
      {"00:ff:00", "FF00"},
      {"00112233445566778899aabbccddeeff0011223344", "112233445566778899AABBCCDDEEFF0011223344"}};
  for (const auto& [typed, expected] : rows) {
    CAPTURE(typed);
    const std::optional<SerialNumber> serial = parse_serial(typed);
    REQUIRE(serial.has_value());
    CHECK(serial->text() == expected);
  }
  for (const char* typed :
       {"", ":", "5b:", ":5b", "5b::da", "5:bd", "5b:d", "5bda:85", "0x5b", "5b da", "bouncerhost",
        "5b\n", "-5b", "::1", "fe80::1", "1100112233445566778899aabbccddeeff00112233"}) {
    CAPTURE(typed);
    CHECK(!parse_serial(typed).has_value());
  }
}
