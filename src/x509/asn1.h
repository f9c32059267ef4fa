// Values of ASN.1 that certificates and revocation lists share.
#pragma once

#include <span>
#include <string>

#include "pki/certificate.h"
#include "pki/handle.h"

namespace pki {

/// A UTCTime or a GeneralizedTime. Throws Error.
[[nodiscard]] Instant read_time(const asn1_string_st* time);
/// UTCTime through 2049 and GeneralizedTime from 2050, as RFC 5280 4.1.2.5 demands.
[[nodiscard]] std::string asn1_time(Instant instant);
void set_time(asn1_string_st* field, Instant instant);

/// Throws Error for one that breaks RFC 5280 4.1.2.2.
[[nodiscard]] SerialNumber read_serial(const asn1_string_st* integer);
void set_serial(asn1_string_st* field, const SerialNumber& serial);

[[nodiscard]] std::span<const unsigned char> octets_of(const asn1_string_st* string);
[[nodiscard]] Handle<asn1_string_st> octet_string(std::span<const unsigned char> bytes);

}  // namespace pki
