// pgbouncer.ini, read as PgBouncer reads it (1.18; tests/e2e/local_check.py asks it).
//
// Pure: files are read by whoever calls. PgBouncer stops at the first thing that it refuses; here
// all of them are found, and the settings are what they would be without.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pki/report.h"

namespace pki {

struct IniPlace {
  std::string file;
  int line = 0;

  [[nodiscard]] std::string text() const;  // "/etc/pgbouncer/pgbouncer.ini:12", printable
};

struct IniSetting {
  std::string value;
  IniPlace place;
};

struct IniDatabase {
  std::string name;
  std::vector<std::string> hosts;  // empty: a unix socket
  IniPlace place;
};

struct PgbouncerIni {
  std::map<std::string, IniSetting> settings;  // of [pgbouncer], as they are in the end
  std::vector<IniDatabase> databases;
  Findings findings;
  bool is_complete = true;  // otherwise a file that is included is missing from it

  /// Empty if it is not set.
  [[nodiscard]] const std::string& value(const std::string& name) const;
};

/// The text of a file that is included at `place`, by its name there. Nothing if it cannot be read,
/// which whoever reads it reports.
using ReadIni =
    std::function<std::optional<std::string>(const std::string& name, const IniPlace& place)>;

/// `text` is that of the file `name`; the others are read when they are included.
[[nodiscard]] PgbouncerIni parse_pgbouncer_ini(const std::string& name, std::string_view text,
                                               const ReadIni& read);

/// What stands before a comment that PgBouncer takes for a part of the value; all of it if there
/// is none.
[[nodiscard]] std::string_view without_comment(std::string_view value);

/// The protocols of client_tls_protocols and server_tls_protocols.
struct IniProtocols {
  bool is_valid = false;
  bool has_none = false;
  bool has_old = false;  // TLS 1.0, 1.1
};
[[nodiscard]] IniProtocols parse_protocols(std::string_view value);

/// The other values of TLS settings, as PgBouncer 1.18 judges them.
[[nodiscard]] bool is_ssl_mode(std::string_view value);
[[nodiscard]] bool is_dheparams(std::string_view value);
[[nodiscard]] bool is_ecdh_curve(const std::string& value);
[[nodiscard]] bool is_cipher_list(const std::string& value);

}  // namespace pki
