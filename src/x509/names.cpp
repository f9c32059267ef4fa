#include "pki/names.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/ascii.h"
#include "pki/error.h"

namespace pki {
namespace {

constexpr std::size_t longest_name = 253;        // RFC 1034 3.1: 255 octets on the wire
constexpr std::size_t longest_label = 63;        // RFC 1034 3.1
constexpr std::size_t longest_common_name = 64;  // RFC 5280 ub-common-name

// Not those of <cctype>: they follow the locale.
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
[[noreturn]] void refuse_domain(std::string_view text, std::string_view why,
                                std::string hint = {}) {
  throw Error(fmt::format("invalid domain name {}: {}", quote(text), why), std::move(hint));
}

std::vector<std::string_view> split_labels(std::string_view name) {
  std::vector<std::string_view> labels;
  for (std::size_t start = 0;;) {
    const std::size_t dot = name.find('.', start);
    labels.push_back(name.substr(start, dot - start));
    if (dot == std::string_view::npos) return labels;
    start = dot + 1;
  }
}

// Both families' binary forms; `size` is 0 when `text` is not an address.
struct Parsed {
  std::array<std::uint8_t, 16> bytes{};
  std::size_t size = 0;
};

Parsed parse_address(std::string_view text) {
  Parsed parsed;
  const std::string terminated(text);
  // inet_pton would stop at a NUL and accept what stands before it.
  if (terminated.find('\0') != std::string::npos) return parsed;
  if (inet_pton(AF_INET, terminated.c_str(), parsed.bytes.data()) == 1) {
    parsed.size = 4;
  } else if (inet_pton(AF_INET6, terminated.c_str(), parsed.bytes.data()) == 1) {
    parsed.size = 16;
  }
  return parsed;
}

bool reads_as_address(std::string_view text) {
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  return parse_address(text).size != 0;
}

// inet_aton(3), and so getaddrinfo, reads "foo.123", "0x7f000001" and the like as addresses.
bool reads_as_number(std::string_view label) {
  const auto is_hex = [](char c) {
    return is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f');
  };
  if (label.size() > 1 && label[0] == '0' && ascii_lower(label[1]) == 'x') {
    return std::ranges::all_of(label.substr(2), is_hex);
  }
  return std::ranges::all_of(label, is_digit);
}

// Separates San keys that could otherwise meet: no DNS name holds a ':' and none is all digits.
std::string comparison_key(const San& san) { return ascii_lower(text(san)); }

}  // namespace

DnsName DnsName::parse(std::string_view text) {
  if (text.empty()) {
    throw Error("empty domain name", "separate names with single commas and no spaces");
  }
  if (reads_as_address(text)) {
    refuse_domain(text, "this is an IP address", "use --ip-addresses");
  }
  if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) {
    refuse_domain(text, "not ASCII", "write the name's A-label (xn--...)");
  }

  std::string_view name = text;
  if (name.ends_with('.')) name.remove_suffix(1);  // a dNSName has no absolute form
  if (name.size() > longest_name) {
    refuse_domain(text, fmt::format("{} characters, {} at most", name.size(), longest_name));
  }

  std::vector<std::string_view> labels = split_labels(name);
  if (labels.front() == "*") {
    labels.erase(labels.begin());
    if (labels.empty()) refuse_domain(text, "a wildcard needs a domain", "write *.example.org");
  }
  for (const std::string_view label : labels) {
    if (label.empty()) refuse_domain(text, "empty label", "write single dots, between labels only");
    if (label.size() > longest_label) {
      refuse_domain(
          text, fmt::format("a label has {} characters, {} at most", label.size(), longest_label));
    }
    for (const char c : label) {
      if (c == '*') {
        refuse_domain(text, "a wildcard is a whole left-most label", "write *.example.org");
      }
      if (c == '_') {
        refuse_domain(text, "'_' is not allowed in a host name");
      }
      if (c == ' ') {
        refuse_domain(text, "a space", "separate names with commas only");
      }
      if (!is_letter(c) && !is_digit(c) && c != '-') {
        refuse_domain(text, "only letters, digits, '-' and '.' make a host name",
                      "give the bare name, without port, path or quotes");
      }
    }
    if (label.front() == '-' || label.back() == '-') {
      refuse_domain(text, "a label begins or ends with '-'");
    }
  }
  if (reads_as_number(labels.back())) {
    refuse_domain(text, "a last label that is a number reads as an IP address",
                  "for an address use --ip-addresses");
  }
  return DnsName(std::string(name));
}

bool operator==(const DnsName& a, const DnsName& b) noexcept {
  return equal_ignoring_case(a.text_, b.text_);
}

IpAddress IpAddress::parse(std::string_view text) {
  const Parsed parsed = parse_address(text);
  if (parsed.size == 0) {
    if (text.empty()) {
      throw Error("empty IP address", "separate addresses with single commas and no spaces");
    }
    throw Error(fmt::format("invalid IP address {}", quote(text)),
                "write four decimal numbers (192.0.2.1) or an IPv6 address (2001:db8::1), without "
                "brackets, port, prefix or zone");
  }
  return from_bytes({parsed.bytes.data(), parsed.size});
}

IpAddress IpAddress::from_bytes(std::span<const std::uint8_t> bytes) {
  constexpr std::array<std::uint8_t, 12> v4_mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (bytes.size() == 16 && std::ranges::equal(bytes.first(12), v4_mapped)) {
    bytes = bytes.subspan(12);
  }
  if (bytes.size() != 4 && bytes.size() != 16) {
    throw Error(fmt::format("an IP address of {} bytes", bytes.size()), "4 or 16 are possible");
  }
  IpAddress address;
  std::ranges::copy(bytes, address.bytes_.begin());
  address.size_ = bytes.size();
  return address;
}

std::string IpAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  inet_ntop(size_ == 4 ? AF_INET : AF_INET6, bytes_.data(), buffer.data(), buffer.size());
  return buffer.data();
}

RoleName RoleName::parse(std::string_view text) {
  constexpr std::size_t longest_role = 63;  // PostgreSQL's NAMEDATALEN - 1
  constexpr std::string_view other_characters = "_.-@$+";
  const auto refuse = [&](std::string_view why, const char* hint) {
    throw Error(fmt::format("invalid role name {}: {}", quote(text), why), hint);
  };
  if (text.empty()) {
    throw Error("empty role name", "separate names with single commas and no spaces");
  }
  if (text.size() > longest_role) {
    refuse(fmt::format("{} bytes, PostgreSQL takes {}", text.size(), longest_role),
           "give the name that the role has there");
  }
  const auto is_word = [](char c) { return is_letter(c) || is_digit(c) || c == '_'; };
  if (!is_word(text.front())) {
    refuse("it must begin with a letter, a digit or '_'", "it is a directory's name too");
  }
  for (const char c : text) {
    if (!is_word(c) && other_characters.find(c) == std::string_view::npos) {
      refuse("only letters, digits and _.-@$+ are possible", "it is a directory's name too");
    }
  }
  return RoleName(std::string(text));
}

std::string text(const San& san) {
  return std::visit([](const auto& name) { return std::string(name.text()); }, san);
}

std::vector<San> without_duplicates(const std::vector<San>& sans) {
  std::vector<San> unique;
  std::unordered_set<std::string> seen;
  for (const San& san : sans) {
    if (seen.insert(comparison_key(san)).second) unique.push_back(san);
  }
  return unique;
}

bool same_names(const std::vector<San>& a, const std::vector<San>& b) {
  const auto keys = [](const std::vector<San>& sans) {
    std::unordered_set<std::string> set;
    for (const San& san : sans) set.insert(comparison_key(san));
    return set;
  };
  return keys(a) == keys(b);
}

std::string directory_name(const San& first) {
  std::string name = text(first);
  if (name.front() == '*') name.front() = '_';
  return name;
}

std::string common_name_for(const std::vector<San>& sans) {
  for (const San& san : sans) {
    std::string name = text(san);
    if (name.size() <= longest_common_name) return name;
  }
  return {};
}

}  // namespace pki
