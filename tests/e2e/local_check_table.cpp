// local_check_table: the local checks, asked from a test.
//
// Reads requests from stdin, a line each, fields between tabs; answers each with a line of JSON:
//   leaf|ini|bundle  PATH  ROOTS  READER  NOW     a report
//   access           PATH  READER                 whether the reader can read it
// READER is "" for whoever runs this, or UID:GID:GROUP,GROUP...; NOW is in seconds since 1970.
#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/openssl.h"
#include "pki/local_check.h"
#include "store/access.h"

namespace {

using Json = nlohmann::json;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> fields;
  std::istringstream in(text + separator);
  for (std::string field; std::getline(in, field, separator);) fields.push_back(field);
  return fields;
}

std::optional<pki::Reader> reader_of(const std::string& text) {
  if (text.empty()) return std::nullopt;
  const std::vector<std::string> parts = split(text, ':');
  const auto number = [](const std::string& digits) {
    return static_cast<unsigned>(std::stoul(digits));
  };
  pki::Reader reader{"user" + parts.at(0), number(parts.at(0)), number(parts.at(1)), {}};
  for (const std::string& group : split(parts.at(2), ',')) {
    if (!group.empty()) reader.groups.push_back(number(group));
  }
  return reader;
}

Json answer(const std::vector<std::string>& request) {
  using namespace pki;
  const std::string& kind = request.at(0);
  if (kind == "access") {
    constexpr const char* outcomes[] = {"granted", "denied", "absent", "unknown"};
    const Access access =
        access_of(request.at(1), reader_of(request.at(2)).value_or(this_process()));
    return {{"outcome", outcomes[static_cast<int>(access.outcome)]},
            {"at", access.at.string()},
            {"why", access.why},
            {"grant", access.grant}};
  }
  using Roots = std::optional<std::filesystem::path>;
  const LocalCheck check{.roots = request.at(2).empty() ? Roots() : Roots(request.at(2)),
                         .reader = reader_of(request.at(3)),
                         .now = Instant{std::chrono::seconds{std::stoll(request.at(4))}}};
  const Report report = kind == "leaf"  ? check_leaf(request.at(1), check)
                        : kind == "ini" ? check_pgbouncer_ini(request.at(1), check)
                                        : check_bundle(request.at(1), check);
  Json out = {{"target", report.target}, {"facts", Json::array()}, {"findings", Json::array()}};
  for (const Fact& fact : report.facts) out["facts"].push_back({fact.name, fact.value});
  constexpr const char* levels[] = {"problem", "unknown", "note"};
  for (const Finding& finding : report.findings) {
    out["findings"].push_back({{"level", levels[static_cast<int>(finding.level)]},
                               {"id", finding.id},
                               {"what", finding.what},
                               {"remedy", finding.remedy}});
  }
  return out;
}

}  // namespace

int main() {
  pki::start_openssl_for_one_job();  // as the program does
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(split(line, '\t')).dump(-1, ' ', true, Json::error_handler_t::replace)
              << std::endl;
  }
  return 0;
}
