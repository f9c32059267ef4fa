#include "pki/certificate.h"

#include <set>

#include "support.h"

using namespace pki;
using namespace std::chrono;

TEST_CASE("validity: calendar years, and both ends inclusive") {
  struct Row {
    sys_days start;
    Lifetime lifetime;
    sys_days day_after_end;
  };
  const Row rows[] = {
      {2026y / 11 / 24, {years{2}, days{30}}, 2028y / 12 / 24},
      {2026y / 11 / 24, {.days = days{1}}, 2026y / 11 / 25},
      {2024y / 2 / 29, {.years = years{1}}, 2025y / 2 / 28},  // no 29 February then
      {2026y / 1 / 1, {.years = years{100}}, 2126y / 1 / 1},
  };
  for (const Row& row : rows) {
    const Instant start = row.start + hours{9};
    const Validity validity = Validity::starting(start, row.lifetime);
    CAPTURE(text(validity.not_after));
    CHECK(validity.not_before == start);
    CHECK(validity.not_after == row.day_after_end + hours{9} - seconds{1});
    CHECK(validity.contains(start));
    CHECK(validity.contains(validity.not_after));
    CHECK(!validity.contains(start - seconds{1}));
    CHECK(!validity.contains(validity.not_after + seconds{1}));
  }
  CHECK(Validity::starting(test::now, {.days = days{90}}).length() == days{90});
}

TEST_CASE("validity: expiring is less than 30 days, or than a third of a short lifetime") {
  for (const auto& [lifetime, window] :
       {std::pair{days{760}, days{30}}, {days{90}, days{30}}, {days{30}, days{10}}}) {
    CAPTURE(lifetime.count());
    const Validity validity = Validity::starting(test::now, {.days = lifetime});
    CHECK(!validity.is_expiring(validity.not_after - window));
    CHECK(validity.is_expiring(validity.not_after - window + seconds{1}));
    CHECK(validity.is_expiring(validity.not_after + days{1}));
    CHECK(!validity.is_expiring(test::now));
  }
}

TEST_CASE("instants are written in ISO 8601") {
  CHECK(text(test::now) == "2026-11-24T12:00:00Z");
  CHECK(text(Instant{sys_days{2126y / 1 / 2}}) == "2126-01-02T00:00:00Z");
}

// RFC 5280 4.1.2.2, and the reasons behind the CA/B baseline requirements' 64 random bits.
TEST_CASE("serial numbers: positive, 16 octets, never the same") {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const SerialNumber serial = SerialNumber::generate();
    CHECK(serial.bytes().size() == 16);
    CHECK((serial.bytes().front() & 0xc0) == 0x40);
    CHECK(serial.text().size() == 32);
    CHECK(seen.insert(serial.text()).second);
  }
  const std::vector<std::uint8_t> small = {0x0a, 0xff};
  CHECK(SerialNumber::from_bytes(small).text() == "0AFF");
  CHECK_THROWS_AS((void)SerialNumber::from_bytes({}), Error);
  CHECK_THROWS_AS((void)SerialNumber::from_bytes(std::vector<std::uint8_t>(21, 1)), Error);
}

TEST_CASE("serial numbers: read from text") {
  struct Row {
    const char* text;
    const char* same;  // empty: refused
  };
  const Row rows[] = {
      {"0AFF", "0AFF"},
      {"0aff", "0AFF"},
      {"000001", "01"},
      {"00", "00"},
      {"00FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"},
      {"", ""},
      {"A", ""},
      {"ABC", ""},
      {"-1", ""},
      {"0x10", ""},
      {"1 ", ""},
      {"0G", ""},
      {"01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const std::optional<SerialNumber> serial = SerialNumber::parse(row.text);
    CHECK((serial.has_value() ? serial->text() : "") == row.same);
  }
}

TEST_CASE("certificate: written and read back the same") {
  const Issuer root = test::make_root();
  const Certificate& certificate = root.certificate();
  const Certificate again = Certificate::from_pem(as_text(certificate.pem()));
  CHECK(again.der() == certificate.der());
  CHECK(again.fingerprint() == certificate.fingerprint());
  CHECK(again.fingerprint().size() == 32 * 3 - 1);
  CHECK(again.subject() == "/CN=test root");
  CHECK(again.is_ca());
  CHECK(again.sans().empty());
}

TEST_CASE("certificate: damaged or foreign bytes are refused, never a crash") {
  const Certificate certificate = test::make_root().certificate();
  const std::vector<unsigned char> der = certificate.der();
  for (std::size_t size = 0; size < der.size(); ++size) {
    CHECK_THROWS_AS((void)Certificate::from_der(std::span(der).first(size)), Error);
  }
  std::vector<unsigned char> longer = der;
  longer.push_back(0);
  CHECK(test::contains(test::error_of([&] { (void)Certificate::from_der(longer); }), "follow"));
  for (std::size_t at = 0; at < der.size(); ++at) {
    std::vector<unsigned char> damaged = der;
    damaged[at] ^= 0xff;
    try {
      const Certificate read = Certificate::from_der(damaged);
      // Whatever could be parsed: every accessor answers or throws an Error.
      const auto probe = [](auto access) {
        try {
          (void)access();
        } catch (const Error&) {
        }
      };
      probe([&] { return read.serial(); });
      probe([&] { return read.validity(); });
      probe([&] { return read.sans(); });
      probe([&] { return read.public_key(); });
      probe([&] { return read.common_name(); });
      probe([&] { return read.subject(); });
      probe([&] { return read.fingerprint(); });
    } catch (const Error&) {
    }
  }
  CHECK_THROWS_AS((void)Certificate::from_pem(""), Error);
  CHECK_THROWS_AS((void)Certificate::from_pem("-----BEGIN CERTIFICATE-----\n"), Error);
}

TEST_CASE("certificate: the first block of a bundle counts") {
  const Certificate first = test::make_root().certificate();
  const Certificate second = test::make_root().certificate();
  const std::string bundle =
      "# a bundle\n" + std::string(as_text(first.pem())) + std::string(as_text(second.pem()));
  CHECK(Certificate::from_pem(bundle).fingerprint() == first.fingerprint());
}
