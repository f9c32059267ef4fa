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
