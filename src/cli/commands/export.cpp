// pki export: a key and a certificate in the forms that some programs want.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "cli/command.h"
#include "cli/values.h"
#include "pki/export.h"

namespace pki::cli {
namespace {

constexpr std::string_view description =
    "Makes other forms of the key and the certificate in the directory NAME, beside\n"
    "them; for libpq in ~/.postgresql. A file that is there is never replaced.\n";

constexpr std::string_view examples =
    "  pki export app_user --format pk8\n"
    "  pki export app_user --format p12 --password-file /root/p12.password\n"
    "  pki export app_user --format libpq --to ~app/.postgresql --owner app\n";

constexpr std::string_view operands[] = {"NAME"};

constexpr Option options[] = {
    {"format", "FORMAT",
     "pk8 (key in DER, for pgjdbc), p12 (PKCS #12), der (certificate in DER), fullchain "
     "(certificate and root), libpq (postgresql.crt, postgresql.key, root.crt)"},
    {"password-file", "FILE", "p12: the file with its password"},
    {"password-fd", "N", "p12: an open descriptor to read its password from"},
    {"to", "DIR", "where the files are made (default NAME, for libpq ~/.postgresql)"},
    {"owner", "USER[:GROUP]",
     "who the files are for; the key gets mode 0640 with :GROUP or root:GROUP, else 0600"},
    {"ca-cert", "FILE", "the root's certificate (default minica.pem)"},
    {"out", "DIR", "where the directory NAME is (default the working directory)"},
    {"json", "", "print what was made as a JSON document"},
    {"quiet", "", "print errors only"},
    {"verbose", "", "print what is done"},
};

struct FormatName {
  std::string_view name;
  ExportFormat format;
};

constexpr std::array formats = {
    FormatName{"pk8", ExportFormat::pk8},     FormatName{"p12", ExportFormat::p12},
    FormatName{"der", ExportFormat::der},     FormatName{"fullchain", ExportFormat::fullchain},
    FormatName{"libpq", ExportFormat::libpq},
};

ExportFormat parse_format(const Arguments& arguments) {
  const std::string name = arguments.last("format");
  const auto* const found = std::ranges::find(formats, name, &FormatName::name);
  if (found != formats.end()) return found->format;
  throw UsageError(name.empty() ? "--format is missing"
                                : fmt::format("--format: unknown format {}", quote(name)),
                   "use pk8, p12, der, fullchain or libpq");
}

SecretBytes password_for(const Arguments& arguments, ExportFormat format) {
  const bool is_given = arguments.has("password-file") || arguments.has("password-fd");
  if (format != ExportFormat::p12) {
    if (!is_given) return {};
    throw UsageError("only a p12 has a password", "leave --password-file and --password-fd out");
  }
  if (!is_given) {
    throw UsageError("a p12 needs a password", "give either --password-file or --password-fd");
  }
  return *read_password(arguments);
}

std::filesystem::path target(const Arguments& arguments, ExportFormat format,
                             const std::filesystem::path& leaf) {
  if (arguments.has("to")) return arguments.last("to");
  if (format != ExportFormat::libpq) return leaf;
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') {
    throw UsageError("there is no home directory (HOME is not set)", "say where with --to");
  }
  return std::filesystem::path(home) / ".postgresql";
}

Exit export_files(const Arguments& arguments, Output& output) {
  const CaFiles files = ca_files(arguments);
  ExportRequest request{.format = parse_format(arguments),
                        .leaf = leaf_path(files, arguments.operands().front()),
                        .root = files.certificate,
                        .to = {},
                        .password = {},
                        .owner = {}};
  request.to = target(arguments, request.format, request.leaf);
  request.password = password_for(arguments, request.format);
  if (arguments.has("owner")) request.owner = parse_owner(arguments.last("owner"));
  output.exported(export_leaf(request));
  return Exit::done;
}

}  // namespace

const Command export_command = {"export",    "make other forms of a key and a certificate",
                                description, examples,
                                operands,    options,
                                export_files};

}  // namespace pki::cli
