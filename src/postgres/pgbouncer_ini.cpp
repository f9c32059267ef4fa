#include "postgres/pgbouncer_ini.h"

#include <fmt/format.h>
#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "base/ascii.h"
#include "base/openssl.h"
#include "pki/error.h"

namespace pki {
namespace {

constexpr std::array<std::string_view, 14> tls_settings = {
    "client_tls_sslmode",   "client_tls_key_file", "client_tls_cert_file", "client_tls_ca_file",
    "client_tls_protocols", "client_tls_ciphers",  "client_tls_dheparams", "client_tls_ecdhcurve",
    "server_tls_sslmode",   "server_tls_key_file", "server_tls_cert_file", "server_tls_ca_file",
    "server_tls_protocols", "server_tls_ciphers"};

constexpr std::array<std::string_view, 2> settings_since_1_25 = {"client_tls13_ciphers",
                                                                 "server_tls13_ciphers"};

constexpr const char* comment_remedy = "move the comment to a line of its own";

bool contains(const auto& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

// isspace() and isalnum() of the C locale.
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_blank(char c) { return c == ' ' || c == '\t'; }
bool is_name(char c) {
  const char lower = ascii_lower(c);
  return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '-' || c == '*';
}

std::string_view trimmed_right(std::string_view text) {
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// One file's text, and where in it the reader is.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text.substr(0, text.find('\0'))) {}

  [[nodiscard]] bool at_end() const { return at_ == text_.size(); }
  [[nodiscard]] char peek() const { return at_end() ? '\0' : text_[at_]; }
  [[nodiscard]] int line() const { return line_; }

  std::string_view take_while(auto wanted) {
    const std::size_t from = at_;
    while (!at_end() && wanted(text_[at_])) line_ += text_[at_++] == '\n' ? 1 : 0;
    return text_.substr(from, at_ - from);
  }
  std::string_view take_line() {
    return take_while([](char c) { return c != '\n'; });
  }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  // "%include", and the blank that must follow.
  bool take_include() {
    constexpr std::string_view word = "%include";
    const std::string_view rest = text_.substr(at_);
    return rest.size() > word.size() && is_blank(rest[word.size()]) && take(word);
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
};

// --- a database's connection string ---

struct ConnectionPair {
  std::string key;
  std::string value;
};

// Nothing at its end. Throws Error for what PgBouncer takes for a syntax error.
std::optional<ConnectionPair> take_pair(std::string_view& text) {
  const auto skip_spaces = [&] {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  };
  const Error syntax("it is no list of name=value");
  skip_spaces();
  if (text.empty()) return std::nullopt;
  const std::size_t key_end = std::min(text.find_first_of("= "), text.size());
  ConnectionPair pair{std::string(text.substr(0, key_end)), {}};
  text.remove_prefix(key_end);
  skip_spaces();
  if (pair.key.empty() || !text.starts_with('=')) throw syntax;
  text.remove_prefix(1);
  skip_spaces();
  if (text.starts_with('\'')) {
    for (text.remove_prefix(1);; text.remove_prefix(1)) {
      if (text.empty()) throw syntax;
      if (text.starts_with("''")) {
        text.remove_prefix(1);
      } else if (text.starts_with('\'')) {
        break;
      }
      pair.value += text.front();
    }
    text.remove_prefix(1);
  } else {
    const std::size_t value_end = std::min(text.find(' '), text.size());
    pair.value = text.substr(0, value_end);
    text.remove_prefix(value_end);
  }
  if (!text.empty()) text.remove_prefix(1);  // whatever it is
  if (pair.value.empty()) throw syntax;
  return pair;
}

std::vector<std::string> split_hosts(std::string_view text) {
  std::vector<std::string> hosts;
  for (;;) {
    const std::size_t end = text.find(',');
    if (end != 0 && !text.empty()) hosts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return hosts;
    text.remove_prefix(end + 1);
  }
}

// --- the file ---

class IniParser {
 public:
  explicit IniParser(const ReadIni& read) : read_(read) {}

  PgbouncerIni run(const std::string& name, std::string_view text) {
    parse(name, text, 0);
    if (!has_main_section_ && !is_stopped_) {
      refuse("ini-section", {name, 1}, "there is no section [pgbouncer]",
             "write [pgbouncer] above the settings");
    }
    return std::move(ini_);
  }

 private:
  void add(Finding::Level level, const char* id, const IniPlace& place, const std::string& what,
           std::string remedy) {
    constexpr std::size_t most = 100;
    if (ini_.findings.size() == most) {
      ini_.findings.push_back({Finding::Level::unknown, "ini-syntax",
                               place.text() + ": more than 100 findings: the rest is not read",
                               "name PgBouncer's configuration, or mend what is found so far"});
      stop();
    }
    if (ini_.findings.size() > most) return;
    ini_.findings.push_back({level, id, place.text() + ": " + what, std::move(remedy)});
  }

  // What PgBouncer does not start for.
  void refuse(const char* id, const IniPlace& place, const std::string& what, std::string remedy) {
    add(Finding::Level::problem, id, place, "PgBouncer refuses the file: " + what,
        std::move(remedy));
  }

  void parse(const std::string& name, std::string_view text, int depth) {
    Cursor cursor(text);
    while (!is_stopped_) {
      cursor.take_while(is_space);
      const IniPlace place{name, cursor.line()};
      if (cursor.at_end()) return;
      if (cursor.take_include()) {
        cursor.take_while(is_blank);
        include(std::string(trimmed_right(cursor.take_line())), place, depth + 1);
      } else if (cursor.peek() == '#' || cursor.peek() == ';') {
        cursor.take_line();
      } else if (cursor.take("[")) {
        const std::string_view section =
            cursor.take_while([](char c) { return c != ']' && c != '\n'; });
        if (cursor.take("]")) {
          enter(std::string(section), place);
        } else {
          refuse("ini-syntax", place, "a section's name lacks its \"]\"",
                 "write it as [pgbouncer]");
        }
      } else {
        parse_setting(cursor, place);
      }
    }
  }

  void parse_setting(Cursor& cursor, const IniPlace& place) {
    const std::string key(cursor.take_while(is_name));
    cursor.take_while(is_blank);
    if (!cursor.take("=")) {
      cursor.take_line();  // not to be shown: it may hold a password
      refuse("ini-syntax", place,
             fmt::format("the line that begins with {} is no name = value", quote(key)),
             "begin comments with # or ; and names of databases with letters, digits, _ . -");
      return;
    }
    cursor.take_while(is_blank);
    set(key, std::string(trimmed_right(cursor.take_line())), place);
  }

  void include(const std::string& name, const IniPlace& place, int depth) {
    constexpr int deepest = 10;
    constexpr int most = 1000;  // ten levels of files that include each other could go on for ever
    constexpr std::size_t most_text = 16U << 20U;
    if (depth > deepest) {
      refuse("ini-include", place, "files include each other more than 10 deep",
             "include it from the main file");
      stop();
      return;
    }
    if (++includes_ > most) {
      add(Finding::Level::unknown, "ini-include", place, "more than 1000 files are included",
          "include fewer");
      stop();
      return;
    }
    if (without_comment(name).size() < name.size()) {
      add(Finding::Level::problem, "ini-comment", place,
          fmt::format("the comment is a part of the file's name: {}", quote(name)), comment_remedy);
    }
    if (const std::optional<std::string> text = read_(name, place)) {
      included_ += text->size();
      if (included_ > most_text) {
        add(Finding::Level::unknown, "ini-include", place, "more than 16 MiB are included",
            "include less");
        stop();
        return;
      }
      parse(name, *text, depth);
    } else {
      stop();
    }
  }

  void stop() {
    is_stopped_ = true;
    ini_.is_complete = false;
  }

  void enter(const std::string& section, const IniPlace& place) {
    section_ = section;
    if (section == "pgbouncer") {
      has_main_section_ = true;
      reset(place);
    } else if (section == "peers") {
      add(Finding::Level::unknown, "ini-newer", place,
          "PgBouncer before 1.19 refuses the section [peers]", "see that yours is newer");
    } else if (section != "databases" && section != "users") {
      refuse("ini-section", place,
             fmt::format("it knows no section {}", quote("[" + section + "]")),
             "sections are [pgbouncer], [databases] and [users], in lower case");
    }
  }

  // Every header of the section sets all of it back to the defaults.
  void reset(const IniPlace& place) {
    std::string lost;
    for (const auto& [name, setting] : ini_.settings) {
      if (contains(tls_settings, name) || name == "auth_type") {
        lost += fmt::format("{}{} ({})", lost.empty() ? "" : ", ", name, setting.place.text());
      }
    }
    if (!lost.empty()) {
      add(Finding::Level::problem, "ini-reset", place,
          "another [pgbouncer] sets back to its default what stands above it: " + lost,
          "take out this line, or move those below it");
    }
    ini_.settings.clear();
  }

  void set(const std::string& key, const std::string& value, const IniPlace& place) {
    if (!section_.has_value()) {
      refuse("ini-syntax", place, fmt::format("{} stands in no section", quote(key)),
             "write [pgbouncer] above it");
    } else if (*section_ == "pgbouncer") {
      set_main(key, value, place);
    } else if (*section_ == "databases") {
      set_database(key, value, place);
    }
  }

  void set_main(const std::string& key, const std::string& value, const IniPlace& place) {
    ini_.settings.insert_or_assign(key, IniSetting{value, place});
    judge_name(key, place);
    const std::string_view plain = without_comment(value);
    const bool is_mode = key == "client_tls_sslmode" || key == "server_tls_sslmode";
    if (is_mode && !is_ssl_mode(value)) {
      const bool has_comment = plain.size() < value.size() && is_ssl_mode(plain);
      refuse(
          has_comment ? "ini-comment" : "ini-value", place,
          fmt::format("{} = {}{}", key, quote(value),
                      has_comment ? ": the comment is a part of the value" : ""),
          has_comment
              ? comment_remedy
              : "take one of disable, allow, prefer, require, verify-ca, verify-full; no quotes");
    } else if (plain.size() < value.size() && !key.ends_with("query")) {
      add(Finding::Level::problem, "ini-comment", place,
          fmt::format("the comment in the value of {} is a part of it", quote(key)),
          comment_remedy);
    }
  }

  void judge_name(const std::string& key, const IniPlace& place) {
    const std::string lower = ascii_lower(key);
    const bool is_of_tls =
        lower.find("tls") != std::string::npos || lower.find("ssl") != std::string::npos;
    if (key.empty()) {
      refuse("ini-syntax", place, "a value without a name", "write name = value");
    } else if (contains(settings_since_1_25, key)) {
      add(Finding::Level::unknown, "ini-newer", place,
          fmt::format("PgBouncer before 1.25 refuses {}", key), "see that yours is newer");
    } else if (is_of_tls && !contains(tls_settings, key)) {
      refuse("ini-setting", place, fmt::format("it knows no {}", quote(key)),
             contains(tls_settings, lower) ? "write it in lower case: " + lower
                                           : "see pgbouncer(5) for the names of its settings");
    }
  }

  // The line for "*" is read when a client asks for a database that has none, and not before.
  void refuse_database(const std::string& name, const IniPlace& place, const std::string& what,
                       std::string remedy) {
    if (name == "*") {
      add(Finding::Level::problem, "ini-database", place,
          "no client gets in by the line for *: " + what, std::move(remedy));
    } else {
      refuse("ini-database", place, fmt::format("database {}: {}", quote(name), what),
             std::move(remedy));
    }
  }

  void set_database(const std::string& name, std::string_view connection, const IniPlace& place) {
    IniDatabase database{name, {}, place};
    try {
      while (const auto pair = take_pair(connection)) {
        if (pair->key == "host") database.hosts = split_hosts(pair->value);
        if (pair->key.starts_with("ssl")) {
          refuse_database(name, place, fmt::format("{} has no place there", quote(pair->key)),
                          "take it out: server_tls_sslmode and its like in [pgbouncer] count for "
                          "all databases");
        }
      }
    } catch (const Error& error) {
      refuse_database(name, place, error.what(),
                      "write name=value with spaces between, values with spaces in single quotes, "
                      "and no comment");
    }
    ini_.databases.push_back(std::move(database));
  }

  const ReadIni& read_;
  PgbouncerIni ini_;
  std::optional<std::string> section_;
  bool has_main_section_ = false;
  bool is_stopped_ = false;
  int includes_ = 0;
  std::size_t included_ = 0;  // bytes
};

// --- values ---

enum Protocol : unsigned { tls1_0 = 1, tls1_1 = 2, tls1_2 = 4, tls1_3 = 8 };
constexpr unsigned secure_protocols = tls1_2 | tls1_3;
constexpr unsigned old_protocols = tls1_0 | tls1_1;
constexpr unsigned all_protocols = old_protocols | secure_protocols;

constexpr std::array<std::pair<std::string_view, unsigned>, 9> protocol_names = {{
    {"all", all_protocols},
    {"legacy", all_protocols},
    {"default", secure_protocols},
    {"secure", secure_protocols},
    {"tlsv1", all_protocols},
    {"tlsv1.0", tls1_0},
    {"tlsv1.1", tls1_1},
    {"tlsv1.2", tls1_2},
    {"tlsv1.3", tls1_3},
}};

bool is_one_of(std::string_view value, std::initializer_list<std::string_view> words) {
  return std::ranges::any_of(
      words, [&](std::string_view word) { return equal_ignoring_case(value, word); });
}

}  // namespace

std::string IniPlace::text() const { return fmt::format("{}:{}", printable(file), line); }

const std::string& PgbouncerIni::value(const std::string& name) const {
  static const std::string none;
  const auto found = settings.find(name);
  return found != settings.end() ? found->second.value : none;
}

PgbouncerIni parse_pgbouncer_ini(const std::string& name, std::string_view text,
                                 const ReadIni& read) {
  return IniParser(read).run(name, text);
}

std::string_view without_comment(std::string_view value) {
  for (std::size_t at = 1; at < value.size(); ++at) {
    if ((value[at] == '#' || value[at] == ';') && is_blank(value[at - 1])) {
      return trimmed_right(value.substr(0, at));
    }
  }
  return value;
}

IniProtocols parse_protocols(std::string_view value) {
  unsigned chosen = value.empty() ? secure_protocols : 0;
  while (!value.empty()) {
    const std::size_t end = std::min(value.find_first_of(",:"), value.size());
    std::string_view word = value.substr(0, end);
    const bool is_last = end == value.size();
    value.remove_prefix(is_last ? end : end + 1);
    word.remove_prefix(std::min(word.find_first_not_of(" \t"), word.size()));
    const bool is_negated = word.starts_with('!');
    if (is_negated) word.remove_prefix(1);
    const auto found = std::ranges::find_if(
        protocol_names, [&](const auto& entry) { return equal_ignoring_case(entry.first, word); });
    // Behind a last comma it finds an empty word, too.
    if (found == protocol_names.end() || (!is_last && value.empty())) return {};
    if (is_negated && chosen == 0) chosen = all_protocols;
    chosen = is_negated ? chosen & ~found->second : chosen | found->second;
  }
  return {.is_valid = true, .has_none = chosen == 0, .has_old = (chosen & old_protocols) != 0};
}

bool is_ssl_mode(std::string_view value) {
  return is_one_of(value, {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"});
}

bool is_dheparams(std::string_view value) {
  return value.empty() || is_one_of(value, {"none", "auto", "legacy"});
}

bool is_ecdh_curve(const std::string& value) {
  if (value.empty() || is_one_of(value, {"none", "auto"})) return true;
  const int curve = OBJ_txt2nid(value.c_str());
  const std::unique_ptr<EC_GROUP, decltype(&EC_GROUP_free)> group(
      curve != NID_undef ? EC_GROUP_new_by_curve_name(curve) : nullptr, EC_GROUP_free);
  forget_openssl_errors();
  return group != nullptr;
}

bool is_cipher_list(const std::string& value) {
  const bool is_word = is_one_of(
      value, {"default", "secure", "compat", "legacy", "normal", "fast", "all", "insecure"});
  if (value.empty() || is_word) return true;
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_method()),
                                                                  SSL_CTX_free);
  if (context == nullptr) throw_openssl_error("starting TLS");
  const bool is_valid = SSL_CTX_set_cipher_list(context.get(), value.c_str()) == 1;
  forget_openssl_errors();
  return is_valid;
}

}  // namespace pki
