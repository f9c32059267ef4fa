#include "cli/list_view.h"

#include <nlohmann/json.hpp>

#include "support.h"

using namespace pki;
using namespace pki::cli;
using namespace std::chrono;
using Status = Listed::Status;

namespace {

Listed listed(const std::string& name, days left = days{76}) {
  return {.status = Status::valid,
          .name = name,
          .profile = profiles::server,
          .sans = {"a", "b"},
          .serial = *SerialNumber::parse("0AFF"),
          .not_before = test::now + left - days{760},
          .not_after = test::now + left,
          .file = "host/cert.pem",
          .is_recorded = true,
          .revoked_at = {},
          .revocation_reason = {}};
}

std::string row(const Listed& one, const TableStyle& style) {
  return table_row(one, style, test::now);
}

}  // namespace

TEST_CASE("list view: a row") {
  CHECK(
      table_head({}) ==
      "NAME              KIND    STATUS             EXPIRES       DAYS  SERIAL                    "
      "        NAMES\n");
  CHECK(
      row(listed("host"), {}) ==
      "host              server  valid              2027-02-08      76  0AFF                      "
      "        a, b\n");
  const TableStyle terminal{.name_width = 16, .has_bar = true, .may_colour = true};
  CHECK(test::contains(row(listed("host"), terminal), "\x1b[32m[=       ]"));
  Listed missing = listed("*gone");
  missing.status = Status::missing;
  missing.file.clear();
  missing.not_before.reset();
  missing.profile.reset();
  missing.sans.clear();
  CHECK(row(missing, {}) ==
        "*gone             -       missing from disk  2027-02-08      76  0AFF\n");
  CHECK(row(missing, {.has_bar = true}).find("0AFF") ==
        row(listed("x"), {.has_bar = true}).find("0AFF"));
}

TEST_CASE("list view: a narrow terminal") {
  const TableStyle style{.name_width = 22, .has_bar = true, .is_narrow = true};
  CHECK(table_width(style) == 117);
  CHECK(table_head(style) ==
        "NAME                    KIND    STATUS             EXPIRES       DAYS\n"
        "    SERIAL                            NAMES\n");
  CHECK(row(listed("host"), style) ==
        "host                    server  valid              2027-02-08      76  [=       ]\n"
        "    0AFF                              a, b\n");
}

TEST_CASE("list view: the bar is what is left of the lifetime") {
  struct Row {
    days left;
    const char* bar;
  };
  for (const Row& one :
       {Row{days{760}, "[========]"}, Row{days{900}, "[========]"}, Row{days{665}, "[======= ]"},
        Row{days{380}, "[====    ]"}, Row{days{1}, "[=       ]"}, Row{days{0}, "[        ]"},
        Row{days{-9}, "[        ]"}}) {
    CAPTURE(one.left.count());
    CHECK(test::contains(row(listed("host", one.left), {.has_bar = true}), one.bar));
  }
  Listed instant = listed("host");
  instant.not_before = instant.not_after;
  CHECK(test::contains(row(instant, {.has_bar = true}), "[        ]"));
}

TEST_CASE("list view: days are whole, and negative after the end") {
  Listed one = listed("host", days{0});
  CHECK(days_left(one, test::now) == days{0});
  CHECK(days_left(one, test::now + seconds{1}) == days{-1});
  CHECK(days_left(one, test::now - days{1} + seconds{1}) == days{0});
}

TEST_CASE("list view: nothing that is listed steers a terminal or breaks a line") {
  Listed one = listed("evil\x1b[2J\nname\x9b\xc3\xa4");
  one.sans = {"\x1b]0;title\a", "plain"};
  const std::string text = row(one, {});
  CHECK(text.starts_with(R"("evil\x1b[2J\nname\x9b\xc3\xa4")"));
  CHECK(test::contains(text, R"("\x1b]0;title\x07", plain)"));
  CHECK(std::ranges::count(text, '\n') == 1);
  CHECK(std::ranges::all_of(text, [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }));
}

TEST_CASE("list view: many names are few in a row") {
  Listed one = listed("host");
  one.sans.assign(10, "name");
  CHECK(test::contains(row(one, {}), "name, name and 2 more\n"));
}

TEST_CASE("list view: JSON of any bytes") {
  Listed one = listed("a\"b\\c\n\x9b");
  one.revoked_at = test::now;
  one.revocation_reason = "key\tCompromise";
  const auto object = nlohmann::json::parse(json_object(one, test::now));
  CHECK(object["name"] == "a\"b\\c\n\xef\xbf\xbd");
  CHECK(object["names"] == nlohmann::json{"a", "b"});
  CHECK(object["days_left"] == 76);
  CHECK(object["revoked_at"] == "2026-11-24T12:00:00Z");
  CHECK(object["revocation_reason"] == "key\tCompromise");
  CHECK(object["in_ledger"] == true);
}

TEST_CASE("list view: labels of any bytes, and no series twice") {
  const test::TemporaryDirectory home;
  test::write_file(home.path() / "minica.pem",
                   std::string(as_text(test::make_root().certificate().pem())));
  const Listing listing(
      {.certificate = home.path() / "minica.pem", .key = "none", .leaves = home.path()}, test::now);
  const std::vector<Listed> rows = {listed("a\"b\\c"), listed("\xc3\xa4"), listed("\n"),
                                    listed("\x9b"),    listed("\x9c"),     listed("\xc3\xa4")};
  const std::array<std::size_t, all_list_statuses.size()> counts = {6, 0, 0, 0, 0, 1, 0};
  const std::string text = prometheus_text(listing, rows, counts);
  const auto has = [&](const std::string& line) { return test::contains(text, line + "\n"); };
  const std::string metric = "pki_certificate_expiry_timestamp_seconds";
  const std::string end = R"(",kind="server",serial="0AFF"} 1802088000)";
  CHECK(has(metric + R"({name="a\"b\\c)" + end));
  CHECK(has(metric + "{name=\"\xc3\xa4" + end));
  CHECK(has(metric + R"({name="\"\\n\")" + end));
  CHECK(has(metric + R"({name="\"\\x9b\")" + end));
  CHECK(has(metric + R"({name="\"\\x9c\")" + end));
  CHECK(std::ranges::count(text, '\n') == 2 * (2 + 5) + (2 + 6) + 3);
  CHECK(has("pki_certificates{status=\"missing\"} 1"));
}
