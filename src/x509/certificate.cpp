#include "pki/certificate.h"

#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/openssl.h"
#include "pki/error.h"
#include "x509/asn1.h"
#include "x509/certificate_der.h"
#include "x509/pem.h"

namespace pki {
namespace {

std::string_view view(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

San read_san(const GENERAL_NAME* name) {
  if (name->type == GEN_DNS) return DnsName::parse(view(name->d.dNSName));
  if (name->type == GEN_IPADD) {
    const std::string_view bytes = view(name->d.iPAddress);
    return IpAddress::from_bytes(
        {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  }
  throw Error("the certificate has a name that is neither a DNS name nor an IP address");
}

constexpr std::string_view hex_digits = "0123456789ABCDEF";

// Of each character the value as a digit; 255 for what is none.
constexpr std::array<std::uint8_t, 256> hex_values = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(255);
  for (std::uint8_t i = 0; i < 16; ++i) {
    values[static_cast<std::uint8_t>(hex_digits[i])] = i;
    values[static_cast<std::uint8_t>(ascii_lower(hex_digits[i]))] = i;
  }
  return values;
}();

bool allows(x509_st* certificate, std::uint32_t usage) {
  return (X509_get_extended_key_usage(certificate) & usage) != 0;
}

}  // namespace

std::string text(Instant instant) {
  const auto day = std::chrono::floor<std::chrono::days>(instant);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{instant - day};
  std::string out = "0000-00-00T00:00:00Z";
  const auto put = [&](std::size_t at, std::size_t digits, std::int64_t number) {
    for (std::size_t i = at + digits; i-- > at; number /= 10) {
      out[i] = static_cast<char>('0' + number % 10);
    }
  };
  put(0, 4, static_cast<int>(date.year()));
  put(5, 2, static_cast<unsigned>(date.month()));
  put(8, 2, static_cast<unsigned>(date.day()));
  put(11, 2, time.hours().count());
  put(14, 2, time.minutes().count());
  put(17, 2, time.seconds().count());
  return out;
}

std::string text(std::chrono::days number) {
  return fmt::format("{} day{}", number.count(), number.count() == 1 ? "" : "s");
}

Validity Validity::starting(Instant not_before, Lifetime lifetime) {
  const auto day = std::chrono::floor<std::chrono::days>(not_before);
  std::chrono::year_month_day end = std::chrono::year_month_day{day} + lifetime.years;
  if (!end.ok()) end = end.year() / end.month() / std::chrono::last;  // 29 February
  const Instant after = std::chrono::sys_days{end} + lifetime.days + (not_before - day);
  return {not_before, after - std::chrono::seconds{1}};
}

SerialNumber SerialNumber::generate() {
  SerialNumber serial;
  serial.size_ = 16;
  check(RAND_bytes(serial.bytes_.data(), static_cast<int>(serial.size_)),
        "drawing a serial number");
  serial.bytes_[0] = static_cast<std::uint8_t>((serial.bytes_[0] & 0x7fU) | 0x40U);
  return serial;
}

SerialNumber SerialNumber::from_bytes(std::span<const std::uint8_t> bytes) {
  SerialNumber serial;
  if (bytes.empty() || bytes.size() > serial.bytes_.size()) {
    throw Error(fmt::format("a serial number of {} octets: 1 to 20 are allowed", bytes.size()));
  }
  std::ranges::copy(bytes, serial.bytes_.begin());
  serial.size_ = bytes.size();
  return serial;
}

std::optional<SerialNumber> SerialNumber::parse(std::string_view text) noexcept {
  while (text.size() > 2 && text.starts_with("00")) text.remove_prefix(2);
  SerialNumber serial;
  serial.size_ = text.size() / 2;
  if (text.empty() || text.size() % 2 != 0 || serial.size_ > serial.bytes_.size()) {
    return std::nullopt;
  }
  unsigned all = 0;
  for (std::size_t i = 0; i < serial.size_; ++i) {
    const unsigned high = hex_values[static_cast<std::uint8_t>(text[2 * i])];
    const unsigned low = hex_values[static_cast<std::uint8_t>(text[2 * i + 1])];
    serial.bytes_[i] = static_cast<std::uint8_t>(high << 4U | low);
    all |= high | low;
  }
  if (all > 15) return std::nullopt;
  return serial;
}

std::string SerialNumber::text() const {
  std::string out;
  for (const std::uint8_t byte : bytes()) {
    out += hex_digits[byte >> 4U];
    out += hex_digits[byte & 15U];
  }
  return out;
}

Certificate::Certificate(Handle<x509_st> certificate) : certificate_(std::move(certificate)) {
  // Fills OpenSSL's cache of extensions now: later readers may be several threads.
  X509_check_purpose(certificate_.get(), -1, 0);
  forget_openssl_errors();
}

Certificate Certificate::from_der(std::span<const unsigned char> der) {
  Handle<x509_st> certificate = read_certificate(der, common_context());
  const bool has_uncommon_key = X509_get0_pubkey(certificate.get()) == nullptr;
  if (has_uncommon_key && common_context() != nullptr) certificate = read_certificate(der, nullptr);
  return Certificate(std::move(certificate));
}

Certificate Certificate::from_pem(std::string_view pem) {
  const PemBlock block =
      find_pem(pem, [](std::string_view label) { return label.ends_with("CERTIFICATE"); });
  if (block.label.empty()) throw Error("no certificate in PEM format");
  if (block.label != "CERTIFICATE") {
    throw Error(fmt::format("a PEM block {} stands first", quote(block.label)),
                "a CERTIFICATE is needed");
  }
  return from_der(block.der);
}

std::vector<Certificate> Certificate::chain_from_pem(std::string_view pem) {
  std::vector<Certificate> chain;
  for (const SecretBytes& der : all_pem(pem, "CERTIFICATE")) chain.push_back(from_der(der));
  if (chain.empty()) throw Error("no certificate in PEM format");
  return chain;
}

Certificate::Certificate(const Certificate& other) noexcept {
  X509_up_ref(other.certificate_.get());
  certificate_.reset(other.certificate_.get());
}

Certificate& Certificate::operator=(Certificate other) noexcept {
  certificate_ = std::move(other.certificate_);
  return *this;
}

std::vector<unsigned char> Certificate::der() const {
  std::vector<unsigned char> der(
      static_cast<std::size_t>(check(i2d_X509(native(), nullptr), "writing a certificate")));
  unsigned char* cursor = der.data();
  check(i2d_X509(native(), &cursor), "writing a certificate");
  return der;
}

SecretBytes Certificate::pem() const { return to_pem("CERTIFICATE", der()); }

std::vector<unsigned char> Certificate::public_key_der() const {
  constexpr const char* writing = "writing a public key";
  const X509_PUBKEY* const key = X509_get_X509_PUBKEY(native());
  std::vector<unsigned char> der(
      static_cast<std::size_t>(check(i2d_X509_PUBKEY(key, nullptr), writing)));
  unsigned char* cursor = der.data();
  check(i2d_X509_PUBKEY(key, &cursor), writing);
  return der;
}

PublicKey Certificate::public_key() const {
  if (evp_pkey_st* decoded = X509_get_pubkey(native())) {
    return PublicKey(Handle<evp_pkey_st>(decoded));
  }
  forget_openssl_errors();
  return PublicKey::from_der(public_key_der());
}

bool Certificate::has_key(const PublicKey& key) const {
  // Its encoding may be another, with a compressed point for instance.
  return public_key_der() == key.der() || public_key() == key;
}

SerialNumber Certificate::serial() const { return read_serial(X509_get0_serialNumber(native())); }

Validity Certificate::validity() const {
  return {read_time(X509_get0_notBefore(native())), read_time(X509_get0_notAfter(native()))};
}

std::vector<San> Certificate::sans() const {
  const Handle<stack_st_GENERAL_NAME> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(native(), NID_subject_alt_name, nullptr, nullptr)));
  std::vector<San> sans;
  sans.reserve(static_cast<std::size_t>(std::max(0, sk_GENERAL_NAME_num(names.get()))));
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    sans.push_back(read_san(sk_GENERAL_NAME_value(names.get(), i)));
  }
  return sans;
}

std::string Certificate::common_name() const {
  const X509_NAME* subject = X509_get_subject_name(native());
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  return std::string(view(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
}

std::string Certificate::subject() const {
  char* line = X509_NAME_oneline(X509_get_subject_name(native()), nullptr, 0);
  std::string text = line != nullptr ? line : "";
  OPENSSL_free(line);
  return text;
}

std::optional<long> Certificate::path_length() const noexcept {
  const long length = X509_get_pathlen(native());
  return length < 0 ? std::nullopt : std::optional(length);
}

bool Certificate::is_ca() const noexcept {
  return (X509_get_extension_flags(native()) & EXFLAG_CA) != 0;
}

bool Certificate::names_issuer(const Certificate& issuer) const {
  const bool is_named = X509_check_issued(issuer.native(), native()) == X509_V_OK;
  forget_openssl_errors();
  return is_named;
}

bool Certificate::is_signed_by(const Certificate& issuer) const {
  const bool is_named =
      X509_NAME_cmp(X509_get_issuer_name(native()), X509_get_subject_name(issuer.native())) == 0;
  const bool verified = is_named && X509_verify(native(), issuer.public_key().native()) == 1;
  forget_openssl_errors();
  return verified;
}

bool Certificate::allows_server_auth() const noexcept { return allows(native(), XKU_SSL_SERVER); }

bool Certificate::allows_client_auth() const noexcept { return allows(native(), XKU_SSL_CLIENT); }

std::string Certificate::fingerprint() const {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  check(X509_digest(native(), EVP_sha256(), digest.data(), &size), "digesting a certificate");
  std::string out;
  for (unsigned i = 0; i < size; ++i) out += fmt::format("{}{:02X}", i == 0 ? "" : ":", digest[i]);
  return out;
}

SecretBytes pem_of(std::span<const Certificate> certificates) {
  SecretBytes all;
  for (const Certificate& certificate : certificates) {
    const SecretBytes pem = certificate.pem();
    all.insert(all.end(), pem.begin(), pem.end());
  }
  return all;
}

}  // namespace pki
