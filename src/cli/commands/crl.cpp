// pki crl: the root's revocation list, made anew from the ledger.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/values.h"
#include "pki/ca.h"

namespace pki::cli {
namespace {

constexpr std::string_view description =
    "Makes the root's revocation list anew: minica-crl.pem, beside the root. Where it\n"
    "is read all certificates are refused once it has ended.\n";

constexpr std::string_view examples =
    "  pki crl\n"
    "  pki crl --days 30\n";

constexpr Option options[] = {
    {"days", "N", "when it ends (default as the last one, or 825)"},
    {"ca-cert", "FILE", "the root's certificate (default minica.pem)"},
    {"ca-key", "FILE", "the root's private key (default minica-key.pem)"},
    {"json", "", "print what was made as a JSON document"},
    {"quiet", "", "print errors only"},
    {"verbose", "", "print what is done"},
};

Exit crl(const Arguments& arguments, Output& output) {
  arguments.refuse_operands();
  constexpr int a_century = 36'525;
  std::optional<std::chrono::days> lifetime;
  if (arguments.has("days")) {
    lifetime = std::chrono::days{parse_number("days", arguments.last("days"), 1, a_century)};
  }
  CaFiles files = ca_files(arguments);
  files.leaves = files.certificate.parent_path();  // none of them is needed
  output.detail(fmt::format("locking the directory of {}", files.certificate.string()));
  output.listed(Ca(files).write_crl(lifetime, output.now()));
  return Exit::done;
}

}  // namespace

const Command crl_command = {
    "crl", "make the revocation list anew", description, examples, {}, options, crl};

}  // namespace pki::cli
