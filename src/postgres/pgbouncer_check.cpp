#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/ascii.h"
#include "pki/error.h"
#include "pki/leaf.h"
#include "pki/local_check.h"
#include "pki/names.h"
#include "postgres/examination.h"
#include "postgres/pgbouncer_ini.h"

namespace pki {
namespace {

namespace fs = std::filesystem;
using Level = Finding::Level;
using Secrecy = Examination::Secrecy;

// --- who is talked to ---

std::optional<IpAddress> address_of(const std::string& host) {
  try {
    return IpAddress::parse(host);
  } catch (const Error&) {
    return std::nullopt;
  }
}

bool is_loopback(const std::string& host) {
  constexpr unsigned char net = 127;  // RFC 1122 3.2.1.3
  if (equal_ignoring_case(host, "localhost") || host == "::1") return true;
  const std::optional<IpAddress> address = address_of(host);
  return address.has_value() && address->bytes().size() == 4 && address->bytes().front() == net;
}

bool is_unix_socket(std::string_view host) {
  return host.starts_with('/') || host.starts_with('@');
}

// Hosts of databases that traffic reaches by a network.
std::vector<std::string> remote_hosts(const PgbouncerIni& ini) {
  std::vector<std::string> hosts;
  for (const IniDatabase& database : ini.databases) {
    for (const std::string& host : database.hosts) {
      const bool is_known = std::ranges::find(hosts, host) != hosts.end();
      if (!is_loopback(host) && !is_unix_socket(host) && !is_known) hosts.push_back(host);
    }
  }
  return hosts;
}

std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t most = 3;
  std::string out;
  for (std::size_t i = 0; i < std::min(most, names.size()); ++i) {
    out += (i == 0 ? "" : ", ") + printable(names[i]);
  }
  return names.size() > most ? fmt::format("{} and {} more", out, names.size() - most) : out;
}

// Who can connect: nobody but through a unix socket, this host alone, or others.
enum class Reach { none, host, network };

Reach reach_of(std::string_view addresses) {
  Reach reach = Reach::none;
  while (!addresses.empty()) {
    const std::size_t end = std::min(addresses.find(','), addresses.size());
    std::string_view address = addresses.substr(0, end);
    addresses.remove_prefix(std::min(end + 1, addresses.size()));
    while (address.starts_with(' ')) address.remove_prefix(1);
    while (address.ends_with(' ')) address.remove_suffix(1);
    if (address.empty()) continue;
    if (!is_loopback(std::string(address))) return Reach::network;
    reach = Reach::host;
  }
  return reach;
}

void note_relative(Examination& examination, const std::string& label, const fs::path& path) {
  examination.note(
      "relative-path",
      fmt::format("{}: the path is relative to where PgBouncer is started, here taken for this "
                  "directory{}",
                  label, path.string().starts_with('~') ? "; ~ has no meaning in it" : ""),
      "write the whole path");
}

class IniCheck {
 public:
  IniCheck(const PgbouncerIni& ini, Examination& examination)
      : ini_(ini), examination_(examination) {}

  void run() {
    state_settings();
    judge_user();
    if (!ini_.is_complete) return;
    judge_logins();
    judge_clients();
    judge_servers();
  }

 private:
  // In lower case, and without what was meant as a comment; "" if it is not set.
  [[nodiscard]] std::string word(const char* name) const {
    return ascii_lower(std::string(without_comment(ini_.value(name))));
  }

  // "client_tls_sslmode = allow (/etc/pgbouncer/pgbouncer.ini:7)"
  [[nodiscard]] std::string stated(const std::string& name) const {
    const auto found = ini_.settings.find(name);
    if (found == ini_.settings.end()) return name + " is not set";
    return fmt::format("{} = {} ({})", name, printable(found->second.value),
                       found->second.place.text());
  }

  void refuse(const char* id, const std::string& what, std::string remedy) {
    examination_.problem(id, "PgBouncer does not start: " + what, std::move(remedy));
  }

  void state_settings() {
    for (const auto& [name, setting] : ini_.settings) {
      if (name.find("_tls_") == std::string::npos) continue;
      examination_.fact(name,
                        fmt::format("{} ({})", printable(setting.value), setting.place.text()));
    }
    for (const auto* name : {"client_tls_sslmode", "server_tls_sslmode"}) {
      if (!ini_.settings.contains(name)) examination_.fact(name, "not set");
    }
  }

  void judge_user() {
    const std::string& user = ini_.value("user");
    const std::string reader = printable(examination_.reader().name);
    examination_.fact("files are read by", reader);
    const std::optional<Reader> its_user = find_reader(user);
    if (!user.empty() && (!its_user.has_value() || its_user->user != examination_.reader().user)) {
      examination_.note("other-user",
                        fmt::format("files were judged for user {}, but PgBouncer runs as {}",
                                    reader, stated("user")),
                        fmt::format("check for that user: --as {}", argument(user)));
    } else if (examination_.reader().user == 0) {
      examination_.note("other-user",
                        "files were judged for root, who can read all, but as whom PgBouncer does "
                        "not start",
                        "check for its user: --as postgres");
    }
  }

  // What lets clients in: PgBouncer starts without, and lets nobody in.
  void judge_logins() {
    if (!ini_.value("auth_file").empty()) (void)read("auth_file", Secrecy::secret);
    if (!ini_.value("auth_hba_file").empty()) (void)read("auth_hba_file", Secrecy::open);
  }

  // --- from clients to PgBouncer ---

  void judge_clients() {
    const std::string mode = word("client_tls_sslmode");
    const bool is_off = mode.empty() || mode == "disable";
    if (is_off || mode == "allow" || mode == "prefer") judge_plaintext();
    judge_cert_login(mode);
    if (is_off || !is_ssl_mode(mode)) return;
    judge_values("client_tls", Level::problem);
    judge_client_ca(mode);
    judge_misunderstanding(mode);
    if (ini_.value("client_tls_key_file").empty() || ini_.value("client_tls_cert_file").empty()) {
      refuse("files-unset",
             stated("client_tls_sslmode") +
                 ", and client_tls_key_file or client_tls_cert_file is not set",
             "set both: pki config pgbouncer NAME prints the lines");
      return;
    }
    judge_pair("client_tls", false);
  }

  void judge_plaintext() {
    const Reach reach = reach_of(ini_.value("listen_addr"));
    if (reach == Reach::none) return;
    examination_.add(reach == Reach::network ? Level::problem : Level::note, "plaintext-clients",
                     fmt::format("clients may connect without TLS{}: {}",
                                 reach == Reach::network ? "" : ", from this host alone",
                                 stated("client_tls_sslmode")),
                     "client_tls_sslmode = require");
  }

  // auth_type = cert has demands of its own.
  void judge_cert_login(const std::string& mode) {
    if (word("auth_type") != "cert") return;
    if (mode != "verify-full") {
      refuse("auth-cert", "auth_type = cert, and " + stated("client_tls_sslmode"),
             "client_tls_sslmode = verify-full");
    }
  }

  void judge_client_ca(const std::string& mode) {
    if (!ini_.value("client_tls_ca_file").empty()) {
      judge_roots("client_tls_ca_file");
    } else if (mode == "verify-full") {
      refuse("client-ca-unset",
             stated("client_tls_sslmode") + ", and client_tls_ca_file is not set",
             "client_tls_ca_file = the root of your clients' certificates");
    } else {
      const bool verifies = mode == "verify-ca";
      examination_.add(
          verifies ? Level::problem : Level::note, "client-ca-unset",
          verifies
              ? "client_tls_ca_file is not set: a certificate of any public CA lets a client in"
              : "client_tls_ca_file is not set: PgBouncer loads the system's bundle, does not "
                "start where there is none, and refuses clients with a private certificate",
          "client_tls_ca_file = your root, minica.pem");
    }
  }

  void judge_misunderstanding(const std::string& mode) {
    const std::string auth_type = word("auth_type");
    if (!mode.starts_with("verify-") || auth_type == "cert" || auth_type == "hba") return;
    examination_.note("clients-need-certificates",
                      stated("client_tls_sslmode") +
                          ": every client must show a certificate; it does not make clients verify "
                          "this server",
                      "client_tls_sslmode = require if users log in by password, and "
                      "sslmode=verify-full on the clients");
  }

  // --- from PgBouncer to databases ---

  void judge_servers() {
    const std::string mode = word("server_tls_sslmode");
    const std::vector<std::string> hosts = remote_hosts(ini_);
    if (!hosts.empty()) {
      judge_server_mode(mode, hosts);
    } else if (!mode.starts_with("verify-") && !ini_.databases.empty()) {
      examination_.note("server-tls-local",
                        "all databases are on this host: nothing to be encrypted leaves it", "");
    }
    if (mode == "disable" || (!mode.empty() && !is_ssl_mode(mode))) return;
    judge_values("server_tls", mode.empty() ? Level::unknown : Level::problem);
    if (!ini_.value("server_tls_ca_file").empty()) judge_roots("server_tls_ca_file");
    judge_server_pair();
  }

  void judge_server_mode(const std::string& mode, const std::vector<std::string>& hosts) {
    const std::string verified =
        "server_tls_sslmode = verify-full, and server_tls_ca_file = the database's root; for RDS "
        "its global-bundle.pem";
    const std::string to = "traffic to " + some_of(hosts);
    if (mode.empty()) {
      examination_.problem("server-tls-plaintext",
                           to + " is not verified, and before PgBouncer 1.20 not encrypted: "
                                "server_tls_sslmode is not set",
                           verified);
    } else if (mode == "disable" || mode == "allow" || mode == "prefer") {
      examination_.problem(
          "server-tls-plaintext",
          fmt::format("{} {} encrypted, and the server not verified: {}", to,
                      mode == "disable" ? "is not" : "need not be", stated("server_tls_sslmode")),
          verified);
    } else if (mode == "require") {
      examination_.problem("server-unverified",
                           to + " is encrypted for whoever answers, who is not verified: " +
                               stated("server_tls_sslmode"),
                           verified);
    }
    if (!mode.starts_with("verify-")) return;
    const bool has_ca = !ini_.value("server_tls_ca_file").empty();
    if (mode == "verify-ca") {
      examination_.add(
          has_ca ? Level::note : Level::problem, "server-name-unchecked",
          fmt::format("{} is taken by any server with a certificate of {}: {}", to,
                      has_ca ? "that CA" : "any public CA", stated("server_tls_sslmode")),
          has_ca ? "server_tls_sslmode = verify-full checks the name too" : verified);
    } else if (!has_ca) {
      examination_.note("server-ca-unset",
                        "server_tls_ca_file is not set: databases are verified with the system's "
                        "bundle, which has neither your root nor RDS's",
                        "server_tls_ca_file = the database's root");
    }
    if (mode == "verify-full") judge_host_addresses(hosts);
  }

  void judge_host_addresses(const std::vector<std::string>& hosts) {
    std::vector<std::string> addresses;
    std::ranges::copy_if(hosts, std::back_inserter(addresses),
                         [](const std::string& host) { return address_of(host).has_value(); });
    if (addresses.empty()) return;
    examination_.note("server-host-address",
                      fmt::format("databases are named by address: {} must be in the certificate",
                                  some_of(addresses)),
                      "write the name that its certificate has: host=NAME");
  }

  void judge_server_pair() {
    const bool has_key = !ini_.value("server_tls_key_file").empty();
    const bool has_certificate = !ini_.value("server_tls_cert_file").empty();
    if (has_key && has_certificate) judge_pair("server_tls", true);
    if (has_key == has_certificate) return;
    examination_.problem("files-unset",
                         "of server_tls_key_file and server_tls_cert_file only one is set",
                         "set both, or neither");
  }

  // --- what both have ---

  void judge_values(const std::string& side, Level level) {
    const auto refuse_value = [&](const std::string& name, const char* remedy) {
      const std::string& value = ini_.value(name);
      if (without_comment(value).size() < value.size())
        remedy = "move the comment to a line of its own";
      examination_.add(level, "ini-value", "PgBouncer does not start: " + stated(name), remedy);
    };
    const std::string protocols_name = side + "_protocols";
    const IniProtocols protocols = parse_protocols(ini_.value(protocols_name));
    if (!protocols.is_valid) {
      refuse_value(protocols_name,
                   "secure, or tlsv1.2 and tlsv1.3 with a comma and no space before it");
    } else if (protocols.has_none) {
      examination_.problem("no-protocol", "no version of TLS is left: " + stated(protocols_name),
                           protocols_name + " = secure");
    } else if (protocols.has_old) {
      examination_.note(
          "old-protocols",
          "TLS 1.0 or 1.1 is allowed (RFC 8996 says not to): " + stated(protocols_name),
          protocols_name + " = secure");
    }
    if (!is_cipher_list(ini_.value(side + "_ciphers"))) {
      refuse_value(side + "_ciphers", "take the line out; TLS 1.3 has no part in it");
    }
    if (side == "server_tls") return;
    if (!is_dheparams(ini_.value("client_tls_dheparams"))) {
      refuse_value("client_tls_dheparams", "client_tls_dheparams = auto");
    }
    if (!is_ecdh_curve(ini_.value("client_tls_ecdhcurve"))) {
      refuse_value("client_tls_ecdhcurve", "client_tls_ecdhcurve = auto, or prime256v1");
    }
  }

  // How messages call the file that a setting names.
  std::string label_of(const std::string& setting) {
    return fmt::format("{} {}", setting, printable(ini_.value(setting)));
  }

  std::optional<Examination::Read> read(const std::string& setting, Secrecy secrecy) {
    const fs::path path = ini_.value(setting);
    if (path.is_relative()) {
      note_relative(examination_, label_of(setting), path);
    }
    return examination_.read(path, label_of(setting), secrecy);
  }

  void judge_roots(const std::string& setting) {
    const auto file = read(setting, Secrecy::open);
    if (!file.has_value()) return;
    const std::vector<Certificate> roots = examination_.certificates(*file);
    const auto is_valid = [&](const Certificate& root) {
      try {
        return root.validity().contains(examination_.check().now);
      } catch (const Error&) {
        return false;
      }
    };
    const bool others_are_valid = std::ranges::count_if(roots, is_valid) > 1;
    for (const Certificate& root : roots) {
      examination_.judge_root(others_are_valid ? Level::note : Level::problem, file->label, root);
    }
  }

  void judge_pair(const std::string& side, bool for_client) {
    const auto certificate_file = read(side + "_cert_file", Secrecy::open);
    const auto key_file = read(side + "_key_file", Secrecy::secret);
    std::vector<Certificate> chain;
    if (certificate_file.has_value()) {
      chain = examination_.certificates(*certificate_file);
    }
    if (!chain.empty()) {
      std::string why_unverified;
      const std::vector<Certificate> roots =
          examination_.roots_beside(certificate_file->path.parent_path(), why_unverified);
      examination_.fact(side + " certificate",
                        fmt::format("{}{}", examination_.lifetime(chain.front()),
                                    roots.empty() ? "; not verified: " + why_unverified : ""));
      examination_.inspect_chain(certificate_file->label, chain, roots, for_client);
    }
    if (!key_file.has_value()) return;
    examination_.judge_exposure(*key_file);
    const std::optional<Key> key = examination_.key(*key_file);
    if (key.has_value() && !chain.empty()) {
      examination_.judge_pair(*certificate_file, chain, *key_file, *key);
    }
  }

  const PgbouncerIni& ini_;
  Examination& examination_;
};

}  // namespace

namespace {

std::optional<PgbouncerIni> read_ini(Examination& examination, const fs::path& file) {
  const auto main = examination.read(file, printable(file.string()), Secrecy::open);
  if (!main.has_value()) return std::nullopt;
  const ReadIni read_included = [&](const std::string& name,
                                    const IniPlace& place) -> std::optional<std::string> {
    const fs::path path = name;
    const std::string label = fmt::format("{}: the included {}", place.text(), quote(name));
    if (path.is_relative()) note_relative(examination, label, path);
    const auto included = examination.read(path, label, Secrecy::open);
    if (!included.has_value()) return std::nullopt;
    return std::string(as_text(included->file.contents));
  };
  return parse_pgbouncer_ini(file.string(), as_text(main->file.contents), read_included);
}

// The user that it names, whoever that is.
std::optional<Reader> reader_of(const fs::path& file, const LocalCheck& check) {
  Report unused;
  Examination examination(check, unused);
  const std::optional<PgbouncerIni> ini = read_ini(examination, file);
  if (!ini.has_value() || ini->value("user").empty()) return std::nullopt;
  return find_reader(ini->value("user"));
}

}  // namespace

Report check_pgbouncer_ini(const fs::path& file, const LocalCheck& check) {
  LocalCheck of_its_user = check;
  if (!check.reader.has_value()) of_its_user.reader = reader_of(file, check);
  Report report;
  report.target = printable(file.string());
  Examination examination(of_its_user, report);
  const std::optional<PgbouncerIni> ini = read_ini(examination, file);
  if (!ini.has_value()) return report;
  for (const Finding& found : ini->findings) report.findings.push_back(found);
  IniCheck(*ini, examination).run();
  return report;
}

}  // namespace pki
