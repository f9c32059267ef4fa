// The names a certificate vouches for: parsed, or not there at all.
//
// A value of these types can stand in a certificate, in a directory's name and in a log line as it
// is. What would be ambiguous to some verifier is refused, never mapped: see the rules at each
// parse.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pki {

/// A host name, or one with a whole `*` as its left-most label.
///
/// RFC 5280 4.2.1.6 (dNSName in "preferred name syntax", RFC 1034 3.5) and RFC 9525 6.3
/// (wildcards).
class DnsName {
 public:
  /// Letters, digits and inner hyphens in labels of 1 to 63, 253 characters in all. One trailing
  /// dot is dropped. Refused: what reads as an IP address, `_`, and anything outside ASCII (write
  /// the A-label, `xn--...`). Case is kept. Throws Error.
  static DnsName parse(std::string_view text);

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] bool is_wildcard() const noexcept { return text_.front() == '*'; }

  /// Without regard to case, as every verifier compares.
  friend bool operator==(const DnsName& a, const DnsName& b) noexcept;

 private:
  explicit DnsName(std::string text) : text_(std::move(text)) {}

  std::string text_;
};

/// An IPv4 or IPv6 address, as the 4 or 16 bytes of an iPAddress (RFC 5280 4.2.1.6).
class IpAddress {
 public:
  /// What inet_pton(3) reads; never the shortened, octal or hexadecimal forms of inet_aton(3). An
  /// IPv4-mapped address becomes the IPv4 one: verifiers never match the 16-byte form. Throws
  /// Error.
  static IpAddress parse(std::string_view text);
  /// Takes 4 or 16 bytes in network order; throws Error on another length.
  static IpAddress from_bytes(std::span<const std::uint8_t> bytes);

  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept {
    return {bytes_.data(), size_};
  }
  /// The one canonical spelling (RFC 5952, by inet_ntop).
  [[nodiscard]] std::string text() const;

  friend bool operator==(const IpAddress&, const IpAddress&) noexcept = default;

 private:
  IpAddress() = default;

  std::array<std::uint8_t, 16> bytes_{};
  std::size_t size_ = 0;
};

/// The name of a database user, as a client certificate's common name.
///
/// PostgreSQL compares it byte for byte, and truncates longer names to 63 bytes (NAMEDATALEN).
class RoleName {
 public:
  /// 1 to 63 of ASCII's letters and digits, `_`, `.`, `-`, `@`, `$` and `+`, the first one a
  /// letter, a digit or `_`: what can also be a directory's name everywhere. Case is kept. Throws
  /// Error.
  static RoleName parse(std::string_view text);

  [[nodiscard]] const std::string& text() const noexcept { return text_; }

  friend bool operator==(const RoleName&, const RoleName&) noexcept = default;

 private:
  explicit RoleName(std::string text) : text_(std::move(text)) {}

  std::string text_;
};

/// A subject alternative name.
using San = std::variant<DnsName, IpAddress>;

[[nodiscard]] std::string text(const San& san);

/// The same names in the same order, each once.
[[nodiscard]] std::vector<San> without_duplicates(const std::vector<San>& sans);

/// Whether both hold the same names, in whatever order.
[[nodiscard]] bool same_names(const std::vector<San>& a, const std::vector<San>& b);

/// The name of a certificate's directory: its first name, with `_` for `*`.
[[nodiscard]] std::string directory_name(const San& first);

/// The first name that fits in a common name (64 characters, RFC 5280 ub-common-name); empty if
/// none.
[[nodiscard]] std::string common_name_for(const std::vector<San>& sans);

}  // namespace pki
