#include "store/ledger_reader.h"

#include <sys/stat.h>

#include <filesystem>

#include "store/ledger.h"
#include "support.h"

using namespace pki;
using namespace std::string_literals;

namespace {

struct Read {
  bool is_there = false;
  std::vector<std::string> entries;  // in a form of their own
  std::vector<std::string> warnings;
};

Read read(const std::filesystem::path& home) {
  Read out;
  out.is_there = read_ledger(
      Directory::open(home), "index",
      [&](const LedgerEntry& entry) {
        std::string line = entry.status == LedgerEntry::Status::revoked ? "revoked " : "valid ";
        line += text(entry.not_after) + " ";
        if (entry.revoked_at.has_value()) line += text(*entry.revoked_at) + " ";
        line += std::string(entry.reason) + "|" + entry.serial.text() + "|";
        line += std::string(entry.subject) + "|" + std::string(entry.common_name);
        out.entries.push_back(line);
      },
      [&](const std::string& line) { out.warnings.push_back(line); });
  return out;
}

Read read_text(const std::string& contents) {
  const test::TemporaryDirectory home;
  test::write_file(home.path() / "index", contents);
  return read(home.path());
}

}  // namespace

TEST_CASE("ledger reader: what the ledger writes") {
  const test::TemporaryDirectory home;
  CHECK(!read(home.path()).is_there);
  const Issuer root = test::make_root();
  const std::vector<Certificate> one = {root.certificate()};
  const Directory directory = Directory::open(home.path());
  Ledger(directory, "index").record(one);
  const Read found = read(home.path());
  CHECK(found.is_there);
  REQUIRE(found.entries.size() == 1);
  CHECK(found.entries[0] == "valid 2126-11-24T11:59:59Z |" + root.certificate().serial().text() +
                                "|/CN=test root|test root");
  CHECK(found.warnings.empty());
}

TEST_CASE("ledger reader: lines of OpenSSL's making, and lines of nobody's") {
  struct Row {
    std::string line;
    std::string entry;  // else
    std::string fault;
  };
  const Row rows[] = {
      {"V\t281224040506Z\t\t0A\tunknown\t/CN=a", "valid 2028-12-24T04:05:06Z |0A|/CN=a|a", ""},
      {"V\t20510102000000Z\t\t0a\tx.pem\t/C=DE/O=x y/CN=*.b.c/L=d",
       "valid 2051-01-02T00:00:00Z |0A|/C=DE/O=x y/CN=*.b.c/L=d|*.b.c", ""},
      {"R\t281224040506Z\t271224040506Z\t0A\tunknown\t/CN=a",
       "revoked 2028-12-24T04:05:06Z 2027-12-24T04:05:06Z |0A|/CN=a|a", ""},
      {"R\t281224040506Z\t271224040506Z,holdInstruction,1.2.3\t0A\tunknown\t",
       "revoked 2028-12-24T04:05:06Z 2027-12-24T04:05:06Z holdInstruction|0A||", ""},
      {"E\t991231235959Z\t\t0A\tunknown\t/O=x", "valid 1999-12-31T23:59:59Z |0A|/O=x|", ""},
      {"# a comment", "", ""},
      {"", "", "six fields"},
      {"V", "", "six fields"},
      {"V\t281224040506Z\t\t0A\tunknown", "", "six fields"},
      {"V\t281224040506Z\t\t0A\tunknown\t/CN=a\t", "", "six fields"},
      {"X\t281224040506Z\t\t0A\tunknown\t/CN=a", "", "unknown status"},
      {"VV\t281224040506Z\t\t0A\tunknown\t/CN=a", "", "unknown status"},
      {"V\t\t\t0A\tunknown\t/CN=a", "", "date of expiry"},
      {"V\t2812240405Z\t\t0A\tunknown\t/CN=a", "", "date of expiry"},
      {"V\t281324040506Z\t\t0A\tunknown\t/CN=a", "", "date of expiry"},
      {"V\t270229000000Z\t\t0A\tunknown\t/CN=a", "", "date of expiry"},
      {"V\t281224240000Z\t\t0A\tunknown\t/CN=a", "", "date of expiry"},
      {"V\t28122404050-Z\t\t0A\tunknown\t/CN=a", "", "date of expiry"},
      {"V\t+8122404050506Z\t\t0A\tunknown\t/CN=a", "", "date of expiry"},
      {"V\t281224040506+\t\t0A\tunknown\t/CN=a", "", "date of expiry"},
      {"R\t281224040506Z\t\t0A\tunknown\t/CN=a", "", "date of revocation"},
      {"R\t281224040506Z\t,keyCompromise\t0A\tunknown\t/CN=a", "", "date of revocation"},
      {"V\t281224040506Z\t\t\tunknown\t/CN=a", "", "serial number"},
      {"V\t281224040506Z\t\t-0A\tunknown\t/CN=a", "", "serial number"},
      {"V\t281224040506Z\t\t0A\tunknown\t/CN=\x1b[31m\0x"s,
       "valid 2028-12-24T04:05:06Z |0A|/CN=\x1b[31m\0x|\x1b[31m\0x"s, ""},
      {"V\t281224040506Z\t\t0A\tunknown\t/CN=" + std::string(70'000, 'a'), "", "too long"},
      {std::string(1'000'000, '\t'), "", "too long"},
  };
  const std::string good = "V\t281224040506Z\t\t0B\tunknown\t/CN=good";
  const std::string good_entry = "valid 2028-12-24T04:05:06Z |0B|/CN=good|good";
  for (const Row& row : rows) {
    CAPTURE(row.line.substr(0, 100));
    const Read found = read_text(good + "\n" + row.line + "\n" + good + "\n");
    std::vector<std::string> expected = {good_entry};
    if (!row.entry.empty()) expected.push_back(row.entry);
    expected.push_back(good_entry);
    CHECK(found.entries == expected);
    REQUIRE(found.warnings.size() == (row.fault.empty() ? 0 : 1));
    if (row.fault.empty()) continue;
    CHECK(test::contains(found.warnings[0], "index is passed over in part: line 2 "));
    CHECK(test::contains(found.warnings[0], row.fault));
  }
}

TEST_CASE("ledger reader: some lines only") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  std::string contents;
  std::vector<std::uint64_t> offsets;
  for (int i = 10; i < 99; ++i) {
    offsets.push_back(contents.size());
    contents += "V\t281224040506Z\t\t" + std::to_string(i) + "\tunknown\t/CN=a\nnothing\n";
  }
  test::write_file(home.path() / "index", contents);
  const auto read_at = [&](std::vector<std::uint64_t> some) {
    std::string serials;
    read_ledger_at(some, directory, "index",
                   [&](const LedgerEntry& entry) { serials += entry.serial.text(); });
    return serials;
  };
  CHECK(read_at({}).empty());
  CHECK(read_at({offsets[0], offsets[5], offsets[6], offsets[88]}) == "10151698");
  CHECK(read_at({1, offsets[5], offsets[5] + 1, contents.size(), UINT64_MAX}) == "15");
}

TEST_CASE("ledger reader: a last line without its newline") {
  const std::string line = "V\t281224040506Z\t\t0A\tunknown\t/CN=a";
  Read found = read_text(line + "\n" + line);
  CHECK(found.entries.size() == 2);
  CHECK(found.warnings.empty());
  found = read_text(line + "\nV\t2812");
  CHECK(found.entries.size() == 1);
  REQUIRE(found.warnings.size() == 1);
  CHECK(test::contains(found.warnings[0], "line 2 was cut short"));
}

TEST_CASE("ledger reader: many bad lines are not many warnings") {
  std::string contents;
  for (int i = 0; i < 1000; ++i) contents += "nothing\n";
  const Read found = read_text(contents);
  CHECK(found.is_there);
  REQUIRE(found.warnings.size() == 11);
  CHECK(test::contains(found.warnings.back(), "1000 lines"));
}

TEST_CASE("ledger reader: only a regular file, and never a wait") {
  const test::TemporaryDirectory home;
  REQUIRE(::mkfifo((home.path() / "index").c_str(), 0600) == 0);
  CHECK(test::contains(test::error_of([&] { read(home.path()); }), "not a regular file"));
  std::filesystem::remove(home.path() / "index");
  std::filesystem::create_symlink("/dev/zero", home.path() / "index");
  CHECK(test::contains(test::error_of([&] { read(home.path()); }), "index"));
}

// Lines lie across the buffer's ends in all ways.
TEST_CASE("read_lines: each line once, with its number and its place") {
  const test::TemporaryDirectory home;
  const Directory directory = Directory::open(home.path());
  std::string contents;
  std::vector<std::pair<std::size_t, std::size_t>> expected;  // offset, size
  for (std::size_t i = 0; contents.size() < 3'000'000; ++i) {
    std::size_t size = i * 7919 % 199;
    if (i % 1000 == 500) size = 65'000 + i * 7919 % 1000;
    if (i % 1000 == 700) size = 300'000 + i;
    expected.emplace_back(contents.size(), size);
    contents += std::string(size, static_cast<char>('a' + i % 26)) + "\n";
  }
  test::write_file(home.path() / "lines", contents + "end");
  expected.emplace_back(contents.size(), 3);
  std::size_t seen = 0;
  CHECK(directory.read_lines("lines", [&](const Directory::TextLine& line) {
    REQUIRE(seen < expected.size());
    const auto [offset, size] = expected[seen++];
    CAPTURE(seen);
    REQUIRE(line.number == seen);
    REQUIRE(line.offset == offset);
    REQUIRE(line.is_ended == (seen < expected.size()));
    if (size > Directory::longest_line) {
      REQUIRE(line.text.size() > Directory::longest_line);
    } else {
      REQUIRE(line.text == (contents + "end").substr(offset, size));
    }
  }));
  CHECK(seen == expected.size());
}
