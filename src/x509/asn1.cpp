#include "x509/asn1.h"

#include <fmt/format.h>
#include <openssl/asn1.h>

#include <ctime>

#include "base/openssl.h"
#include "pki/error.h"

namespace pki {

Instant read_time(const asn1_string_st* time) {
  std::tm broken_down{};
  check(ASN1_TIME_to_tm(time, &broken_down), "reading a date");
  using namespace std::chrono;
  const year_month_day date{year{broken_down.tm_year + 1900},
                            month{static_cast<unsigned>(broken_down.tm_mon + 1)},
                            day{static_cast<unsigned>(broken_down.tm_mday)}};
  return sys_days{date} + hours{broken_down.tm_hour} + minutes{broken_down.tm_min} +
         seconds{broken_down.tm_sec};
}

std::string asn1_time(Instant instant) {
  const auto day = std::chrono::floor<std::chrono::days>(instant);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{instant - day};
  const int year = static_cast<int>(date.year());
  const std::string year_digits =
      year < 2050 ? fmt::format("{:02}", year % 100) : fmt::format("{:04}", year);
  return fmt::format("{}{:02}{:02}{:02}{:02}{:02}Z", year_digits,
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count());
}

void set_time(asn1_string_st* field, Instant instant) {
  // ASN1_TIME_set() would load the local time zone.
  check(ASN1_TIME_set_string(field, asn1_time(instant).c_str()), "writing a date");
}

SerialNumber read_serial(const asn1_string_st* integer) {
  if (ASN1_STRING_type(integer) == V_ASN1_NEG_INTEGER) throw Error("a negative serial number");
  return SerialNumber::from_bytes(octets_of(integer));
}

void set_serial(asn1_string_st* field, const SerialNumber& serial) {
  const auto bytes = serial.bytes();
  check(ASN1_STRING_set(field, bytes.data(), static_cast<int>(bytes.size())),
        "writing a serial number");
}

std::span<const unsigned char> octets_of(const asn1_string_st* string) {
  return {ASN1_STRING_get0_data(string), static_cast<std::size_t>(ASN1_STRING_length(string))};
}

Handle<asn1_string_st> octet_string(std::span<const unsigned char> bytes) {
  auto string = check(ASN1_OCTET_STRING_new(), "writing bytes");
  check(ASN1_OCTET_STRING_set(string.get(), bytes.data(), static_cast<int>(bytes.size())),
        "writing bytes");
  return string;
}

}  // namespace pki
