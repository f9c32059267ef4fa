// pki rotate: a new root in the place of the old one, without an outage.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/values.h"
#include "pki/ca.h"

namespace pki::cli {
namespace {

constexpr std::string_view description =
    "Replaces the root, step by step, while all clients keep connecting:\n"
    "  begin   makes a new root, which the old one signs too; minica.pem then has both.\n"
    "          Then pki renew --all moves the certificates over, and clients get the new\n"
    "          minica.pem, in any order.\n"
    "  finish  takes the old root out of minica.pem, once no certificate hangs on it.\n"
    "  status  says how far it is.\n"
    "Each step can be run again.\n";

constexpr std::string_view examples =
    "  pki rotate begin\n"
    "  pki renew --all --exec 'systemctl reload pgbouncer'\n"
    "  pki rotate status\n"
    "  pki rotate finish\n";

constexpr std::string_view operands[] = {"STEP"};

constexpr Option options[] = {
    {"ca-alg", "ALG", "begin: algorithm of the new root (default that of the old one)"},
    {"no-cross", "",
     "begin: without the old root's signature; clients need the new minica.pem before any "
     "certificate is moved over"},
    {"ca-cert", "FILE", "the root's certificate (default minica.pem)"},
    {"ca-key", "FILE", "the root's private key (default minica-key.pem)"},
    {"out", "DIR", "where the certificates' directories are (default the working directory)"},
    {"json", "", "print how far it is as a JSON document"},
    {"quiet", "", "print errors only"},
    {"verbose", "", "print what is done"},
};

Exit rotate(const Arguments& arguments, Output& output) {
  const std::string& step = arguments.operands().front();
  if (step != "begin" && step != "status" && step != "finish") {
    throw UsageError(fmt::format("unknown step {}", quote(step)), "use begin, status or finish");
  }
  for (const std::string_view option : {"ca-alg", "no-cross"}) {
    if (step == "begin" || !arguments.has(option)) continue;
    throw UsageError(fmt::format("--{} is for begin", option), "leave it out");
  }
  const CaFiles files = ca_files(arguments);
  RotationRequest request;
  if (arguments.has("ca-alg")) request.key_type = parse_algorithm(arguments.last("ca-alg"));
  request.cross = !arguments.is_on("no-cross");
  output.warn_of_clock();
  output.detail(fmt::format("locking {}", files.leaves.string()));
  Ca ca(files);
  if (step == "begin") {
    output.rotation(ca.begin_rotation(request, output.now()), files, RotationStep::begin);
    return Exit::done;
  }
  if (step == "status") {
    output.rotation(ca.rotation(output.now()), files, RotationStep::status);
    return Exit::done;
  }
  const Rotation rotation = ca.finish_rotation(output.now());
  output.rotation(rotation, files, RotationStep::finish);
  return rotation.is_under_way ? Exit::finding : Exit::done;
}

}  // namespace

const Command rotate_command = {
    "rotate", "replace the root without an outage", description, examples, operands, options,
    rotate};

}  // namespace pki::cli
