#include "cli/values.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <charconv>

#include "base/ascii.h"
#include "pki/export.h"

namespace pki::cli {
namespace {

template <class Name, class Parse>
void parse_into(std::vector<Name>& names, const Arguments& arguments, std::string_view option,
                Parse parse) {
  for (const std::string& value : arguments.list(option)) {
    try {
      names.emplace_back(parse(value));
    } catch (const Error& error) {
      throw Error(fmt::format("--{}: {}", option, error.what()), error.hint());
    }
  }
}

template <class Number>
bool read_number(const std::string& text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc{} && stop == end && !text.empty();
}

uid_t user_id(const std::string& name) {
  uid_t id = 0;
  if (const struct passwd* entry = ::getpwnam(name.c_str())) return entry->pw_uid;
  // All bits set means "leave it as it is" to chown(2).
  if (read_number(name, id) && id != static_cast<uid_t>(-1)) return id;
  throw Error(fmt::format("--owner: there is no user {}", quote(name)),
              "make the user first, for example by installing its service");
}

gid_t group_id(const std::string& name) {
  gid_t id = 0;
  if (const struct group* entry = ::getgrnam(name.c_str())) return entry->gr_gid;
  if (read_number(name, id) && id != static_cast<gid_t>(-1)) return id;
  throw Error(fmt::format("--owner: there is no group {}", quote(name)), "make the group first");
}

[[noreturn]] void refuse_host(const std::string& text) {
  throw UsageError(fmt::format("{} names no host", quote(text)),
                   "write HOST, HOST:PORT or [IPV6]:PORT");
}

}  // namespace

std::vector<San> parse_sans(const Arguments& arguments) {
  std::vector<San> sans;
  parse_into(sans, arguments, "domains", DnsName::parse);
  parse_into(sans, arguments, "ip-addresses", IpAddress::parse);
  return sans;
}

std::vector<RoleName> parse_roles(const Arguments& arguments) {
  std::vector<RoleName> roles;
  parse_into(roles, arguments, "user", RoleName::parse);
  std::vector<RoleName> unique;
  for (const RoleName& role : roles) {
    if (std::ranges::find(unique, role) == unique.end()) unique.push_back(role);
  }
  return unique;
}

KeyType parse_algorithm(const std::string& text) {
  const std::optional<KeyType> type = parse_key_type(text);
  if (type == KeyType::ed25519) {
    throw Error(
        "--ca-alg: an Ed25519 root breaks SCRAM logins: libpq finds no channel binding hash "
        "for its signatures",
        "use ecdsa or rsa for the root; --key-type ed25519 makes an Ed25519 leaf under it");
  }
  if (type.has_value()) return *type;
  if (ascii_lower(text) == "ecdsa") return KeyType::p256;
  if (ascii_lower(text) == "rsa") return KeyType::rsa2048;
  throw Error(fmt::format("--ca-alg: unknown algorithm {}", quote(text)),
              "use ecdsa, rsa, p256, p384, rsa2048, rsa3072 or rsa4096");
}

KeyType parse_type(const std::string& text) {
  if (const std::optional<KeyType> type = parse_key_type(text)) return *type;
  throw UsageError(fmt::format("--key-type: unknown type {}", quote(text)),
                   "use p256, p384, rsa2048, rsa3072, rsa4096 or ed25519");
}

Profile parse_profile(const std::string& text) {
  for (const Profile& profile : {profiles::server, profiles::client, profiles::peer}) {
    if (profile.name == text) return profile;
  }
  throw UsageError(fmt::format("--profile: unknown profile {}", quote(text)),
                   "use server, client or peer");
}

int parse_number(std::string_view option, const std::string& text, int least, int most) {
  int number = 0;
  if (!read_number(text, number) || number < least || number > most) {
    throw UsageError(fmt::format("--{}: {} is not possible", option, quote(text)),
                     fmt::format("give a whole number from {} to {}", least, most));
  }
  return number;
}

std::chrono::days parse_days(std::string_view option, const std::string& text) {
  constexpr int a_century = 36'525;
  const std::string number = text.ends_with('d') ? text.substr(0, text.size() - 1) : text;
  int days = 0;
  if (!read_number(number, days) || days < 0 || days > a_century) {
    throw UsageError(fmt::format("--{}: {} is no number of days", option, quote(text)),
                     fmt::format("write for example 30d; 0d to {}d are possible", a_century));
  }
  return std::chrono::days{days};
}

std::optional<SerialNumber> parse_serial(std::string text) {
  if (text.find(':') != std::string::npos) {
    if (text.size() % 3 != 2) return std::nullopt;
    for (std::size_t i = 2; i < text.size(); i += 3) {
      if (text[i] != ':') return std::nullopt;
    }
    std::erase(text, ':');
  }
  if (text.size() % 2 != 0) text.insert(0, 1, '0');
  return SerialNumber::parse(text);
}

RevocationReason parse_reason(const std::string& text) {
  // A hold could be lifted again, and nothing here does that.
  const std::optional<RevocationReason> reason = parse_revocation_reason(text);
  if (reason.has_value() && reason != RevocationReason::certificate_hold) return *reason;
  throw UsageError(
      fmt::format("--reason: unknown reason {}", quote(text)),
      "use unspecified, keyCompromise, CACompromise, affiliationChanged, superseded or "
      "cessationOfOperation");
}

Owner parse_owner(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string user = text.substr(0, colon);
  Owner owner;
  if (!user.empty()) owner.user = user_id(user);
  if (colon != std::string::npos) {
    const std::string group = text.substr(colon + 1);
    if (group.empty()) {
      throw UsageError(fmt::format("--owner: {} names no group", quote(text)),
                       "write USER, USER:GROUP or :GROUP");
    }
    owner.group = group_id(group);
  }
  return owner;
}

std::string parse_host(const std::string& text) {
  constexpr std::size_t longest_name = 253;  // RFC 1035 3.1, as text
  const bool has_stranger = std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == '/' || c == 0x7f; });
  if (text.empty() || text.front() == '[' || text.size() > longest_name || has_stranger)
    refuse_host(text);
  return text;
}

ServerAddress parse_server(const std::string& text) {
  std::string host = text;
  std::string rest;
  const std::size_t bracket = text.find(']');
  if (text.starts_with('[') && bracket != std::string::npos) {
    host = text.substr(1, bracket - 1);
    rest = text.substr(bracket + 1);
  } else if (std::ranges::count(text, ':') == 1) {
    host = text.substr(0, text.find(':'));
    rest = text.substr(text.find(':'));
  }
  ServerAddress server{parse_host(host)};
  if (rest.empty()) return server;
  if (rest.front() != ':') refuse_host(text);
  if (!read_number(rest.substr(1), server.port) || server.port == 0) {
    throw UsageError(fmt::format("{} has no port from 1 to 65535", quote(text)),
                     "write HOST, HOST:PORT or [IPV6]:PORT");
  }
  return server;
}

std::chrono::seconds parse_timeout(const Arguments& arguments, std::chrono::seconds otherwise) {
  if (!arguments.has("timeout")) return otherwise;
  constexpr int an_hour = 3600;
  return std::chrono::seconds{parse_number("timeout", arguments.last("timeout"), 1, an_hour)};
}

std::optional<SecretBytes> read_password(const Arguments& arguments) {
  const bool from_file = arguments.has("password-file");
  if (from_file && arguments.has("password-fd")) {
    throw UsageError("a password is given twice", "give either --password-file or --password-fd");
  }
  if (from_file) return read_password_file(arguments.last("password-file"));
  if (!arguments.has("password-fd")) return std::nullopt;
  constexpr int largest_descriptor = 65'535;
  return read_password_descriptor(
      parse_number("password-fd", arguments.all("password-fd").back(), 0, largest_descriptor));
}

Reader parse_reader(const std::string& text) {
  if (std::optional<Reader> reader = find_reader(text)) return *std::move(reader);
  throw Error(fmt::format("--as: there is no user {}", quote(text)),
              "name the user that the service runs as");
}

CaFiles ca_files(const Arguments& arguments) {
  CaFiles files{.certificate = arguments.last("ca-cert", "minica.pem"),
                .key = arguments.last("ca-key", "minica-key.pem"),
                .leaves = arguments.last("out", ".")};
  if (files.certificate.lexically_normal() == files.key.lexically_normal()) {
    throw UsageError("--ca-cert and --ca-key name the same file", "give each one of its own");
  }
  return files;
}

std::string leaf_name(std::string name) {
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  if (name.starts_with('*')) name.front() = '_';
  return name;
}

std::filesystem::path leaf_path(const CaFiles& files, std::string name) {
  name = leaf_name(std::move(name));
  return files.leaves == "." ? std::filesystem::path(name) : files.leaves / name;
}

std::filesystem::path full_path(const std::filesystem::path& path) {
  std::error_code failed;
  const std::filesystem::path full =
      std::filesystem::weakly_canonical(std::filesystem::absolute(path, failed), failed);
  return failed ? path : full;
}

}  // namespace pki::cli
