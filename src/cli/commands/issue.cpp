// pki issue: a root if there is none, a key and a certificate in a directory named after the host.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "cli/command.h"
#include "pki/ca.h"

namespace pki::cli {
namespace {

constexpr std::string_view examples =
    "  pki --domains bouncerhost\n"
    "  pki --domains bouncerhost,pgbouncer.internal --ip-addresses 10.0.0.5\n"
    "  pki --domains '*.db.example.org' --key-type rsa2048 --days 90\n"
    "  pki --ca-cert /root/ca/db.pem --ca-key /root/ca/db-key.pem \\\n"
    "      --out /etc/pgbouncer/tls --domains bouncerhost\n";

constexpr Option options[] = {
    {"domains", "NAME,...", "DNS names for the certificate; the first one names its directory"},
    {"ip-addresses", "IP,...", "IPv4 and IPv6 addresses for the certificate"},
    {"ca-cert", "FILE", "the root's certificate (default minica.pem)"},
    {"ca-key", "FILE", "the root's private key (default minica-key.pem)"},
    {"ca-alg", "ALG",
     "algorithm of a new root, and of the leaf's key without --key-type: ecdsa (P-256, the "
     "default), "
     "rsa (2048 bits), or p256, p384, rsa2048, rsa3072, rsa4096"},
    {"key-type", "TYPE",
     "the leaf's key: p256 (default), p384, rsa2048, rsa3072, rsa4096 or ed25519"},
    {"days", "N",
     "lifetime of the certificate (default 2 years and 30 days); never past the root's"},
    {"out", "DIR", "where the certificate's directory is made (default the working directory)"},
    {"json", "", "print what was made as a JSON document"},
    {"quiet", "", "print errors only"},
    {"verbose", "", "print what is done"},
};

// Names the option in what the parser of its value says.
template <class Parse>
void parse_into(std::vector<San>& sans, const std::vector<std::string>& values,
                std::string_view option, Parse parse) {
  for (const std::string& value : values) {
    try {
      sans.emplace_back(parse(value));
    } catch (const Error& error) {
      throw Error(fmt::format("--{}: {}", option, error.what()), error.hint());
    }
  }
}

// minica's names for algorithms, and ours for types.
KeyType parse_algorithm(const std::string& text) {
  const std::optional<KeyType> type = parse_key_type(text);
  if (type == KeyType::ed25519) {
    throw Error(
        "--ca-alg: an Ed25519 root breaks SCRAM logins: libpq finds no channel binding hash "
        "for its signatures",
        "use ecdsa or rsa for the root; --key-type ed25519 makes an Ed25519 leaf under it");
  }
  if (type.has_value()) return *type;
  std::string lower = text;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (lower == "ecdsa") return KeyType::p256;
  if (lower == "rsa") return KeyType::rsa2048;
  throw Error(fmt::format("--ca-alg: unknown algorithm {}", quote(text)),
              "use ecdsa, rsa, p256, p384, rsa2048, rsa3072 or rsa4096");
}

KeyType parse_type(const std::string& text) {
  const std::optional<KeyType> type = parse_key_type(text);
  if (type.has_value()) return *type;
  throw UsageError(fmt::format("--key-type: unknown type {}", quote(text)),
                   "use p256, p384, rsa2048, rsa3072, rsa4096 or ed25519");
}

std::chrono::days parse_days(const std::string& text) {
  constexpr int most = 36'525;  // a century, as the root
  int days = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), days);
  if (error != std::errc{} || end != text.data() + text.size() || days < 1 || days > most) {
    throw UsageError(fmt::format("--days: {} is not possible", quote(text)),
                     fmt::format("give a whole number from 1 to {}", most));
  }
  return std::chrono::days{days};
}

// Clocks that were never set make certificates that nobody can use once they are.
void warn_of_clock(Output& output) {
  constexpr Instant released{std::chrono::seconds{PKI_RELEASED}};
  if (output.now() < released) {
    output.warning(fmt::format("the clock says {}, before this program was made: set it first",
                               text(output.now())));
  }
}

Exit issue(const Arguments& arguments, Output& output) {
  const auto nothing = [&](std::string_view option) {
    return std::ranges::all_of(arguments.all(option), &std::string::empty);
  };
  if (nothing("domains") && nothing("ip-addresses")) throw NothingAsked();
  arguments.refuse_extra();
  KeyType root_type = KeyType::p256;
  LeafRequest request;
  if (arguments.has("ca-alg")) {
    root_type = parse_algorithm(arguments.all("ca-alg").back());
    request.key_type = root_type;
  }
  if (arguments.has("key-type")) request.key_type = parse_type(arguments.last("key-type"));
  if (arguments.has("days")) request.lifetime = parse_days(arguments.last("days"));
  parse_into(request.sans, arguments.list("domains"), "domains", DnsName::parse);
  parse_into(request.sans, arguments.list("ip-addresses"), "ip-addresses", IpAddress::parse);

  const CaFiles files{.certificate = arguments.last("ca-cert", "minica.pem"),
                      .key = arguments.last("ca-key", "minica-key.pem"),
                      .leaves = arguments.last("out", ".")};
  if (files.certificate.lexically_normal() == files.key.lexically_normal()) {
    throw UsageError("--ca-cert and --ca-key name the same file", "give each one of its own");
  }

  warn_of_clock(output);
  output.detail(fmt::format("locking {}", files.leaves.string()));
  Ca ca(files, root_type);
  const Issued issued = ca.issue(request, output.now());
  if (issued.root_is_new) output.detail(fmt::format("{}: made", files.certificate.string()));
  output.issued(issued, files);
  return issued.status == Issued::Status::expiring ? Exit::finding : Exit::done;
}

}  // namespace

const Command issue_command = {"issue",
                               "make a key and a certificate (also without the word \"issue\")",
                               examples, options, issue};

}  // namespace pki::cli
