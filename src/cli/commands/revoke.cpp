// pki revoke: a certificate that is to be believed no more, in the ledger and on the list.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/values.h"
#include "pki/ca.h"
#include "pki/leaf.h"

namespace pki::cli {
namespace {

constexpr std::string_view description =
    "Revokes the certificate in the directory NAME, or the one with this SERIAL number.\n"
    "Makes the root's revocation list anew, which PostgreSQL and libpq read.\n";

constexpr std::string_view examples =
    "  pki revoke app_user --reason keyCompromise\n"
    "  pki revoke app_user --all\n"
    "  pki revoke 5BDA8598A8CA2B3F1D6E07C9345F1A20\n";

constexpr std::string_view operands[] = {"NAME|SERIAL"};

constexpr Option options[] = {
    {"reason", "REASON",
     "unspecified (default), keyCompromise, CACompromise, affiliationChanged, superseded or "
     "cessationOfOperation"},
    {"all", "", "also all others of the same subject that are still valid"},
    {"ca-cert", "FILE", "the root's certificate (default minica.pem)"},
    {"ca-key", "FILE", "the root's private key (default minica-key.pem)"},
    {"out", "DIR", "where the directory NAME is (default the working directory)"},
    {"json", "", "print what was revoked as a JSON document"},
    {"quiet", "", "print errors only"},
    {"verbose", "", "print what is done"},
};

// A directory with a certificate in it is a name, however it is spelled.
std::variant<std::string, SerialNumber> parse_target(const CaFiles& files, std::string operand) {
  while (operand.size() > 1 && operand.ends_with('/')) operand.pop_back();
  const std::optional<SerialNumber> serial = parse_serial(operand);
  if (!serial.has_value() || find_leaf_certificate(leaf_path(files, operand)).has_value()) {
    return operand;
  }
  return *serial;
}

Exit revoke(const Arguments& arguments, Output& output) {
  std::optional<RevocationReason> reason;
  if (arguments.has("reason")) reason = parse_reason(arguments.last("reason"));
  const CaFiles files = ca_files(arguments);
  const RevokeRequest request{.certificate = parse_target(files, arguments.operands().front()),
                              .reason = reason,
                              .all = arguments.is_on("all")};
  output.detail(fmt::format("locking {}", files.leaves.string()));
  output.revoked(Ca(files).revoke(request, output.now()));
  return Exit::done;
}

}  // namespace

const Command revoke_command = {
    "revoke", "take a certificate back", description, examples, operands, options, revoke};

}  // namespace pki::cli
