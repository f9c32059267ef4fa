// A libFuzzer target: whatever stands in pgbouncer.ini, reading it ends, and what comes out is fit
// to be shown. tests/fuzz/fuzz.sh builds and runs it.
#include "postgres/pgbouncer_ini.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "pki/error.h"

namespace {

// Unlike assert(), in every kind of build.
void demand(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t most_findings = 110;
  const std::string text(data, data + size);
  // Files include themselves: the worst there is.
  const pki::ReadIni read = [&](const std::string&, const pki::IniPlace&) { return text; };
  const pki::PgbouncerIni ini = pki::parse_pgbouncer_ini("fuzz.ini", text, read);
  demand(ini.findings.size() <= most_findings);
  for (const pki::Finding& finding : ini.findings) {
    demand(!finding.id.empty() && !finding.remedy.empty());
    demand(finding.what == pki::printable(finding.what));
  }
  for (const auto& [name, setting] : ini.settings) {
    demand(setting.place.line > 0);
    demand(pki::without_comment(setting.value).size() <= setting.value.size());
    (void)pki::parse_protocols(setting.value);
    (void)pki::is_ecdh_curve(setting.value);
  }
  return 0;
}
