#include "cli/cli.h"

#include <fmt/format.h>

// Values are split where their meaning is known; see Arguments::list.
#define CXXOPTS_VECTOR_DELIMITER '\0'
// std::regex is slow to build, and it would be built at every start.
#define CXXOPTS_NO_REGEX
#include <algorithm>
#include <array>
#include <cxxopts.hpp>

#include "cli/command.h"
#include "cli/output.h"

namespace pki::cli {
namespace {

// A subcommand is the first bare word; without one it is the first row.
constexpr std::array commands = {&issue_command,  &list_command,   &renew_command,
                                 &revoke_command, &rotate_command, &crl_command,
                                 &check_command,  &config_command, &export_command};

constexpr Option common_options[] = {
    {"help", "", "print this and exit (also -h)"},
    {"version", "", "print the version and exit"},
};

const Command* find_command(std::string_view name) {
  const auto* const found = std::ranges::find(commands, name, &Command::name);
  return found != commands.end() ? *found : nullptr;
}

const Option* find_option(const Command& command, std::string_view name) {
  for (const std::span<const Option> table :
       {command.options, std::span<const Option>(common_options)}) {
    const auto found = std::ranges::find(table, name, &Option::name);
    if (found != table.end()) return &*found;
  }
  return nullptr;
}

std::string wrapped(std::string_view text, std::size_t indent) {
  constexpr std::size_t width = 80;
  std::string out;
  std::size_t column = indent;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (column > indent && column + 1 + end > width) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += text.substr(0, end);
    column += end;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::string help(const Command& command) {
  constexpr std::size_t indent = 27;
  const bool is_default = &command == commands.front();
  std::string usage = is_default ? fmt::format("[{}]", command.name) : std::string(command.name);
  for (const std::string_view operand : command.operands) usage += fmt::format(" {}", operand);
  std::string out = fmt::format(
      "Usage: pki {} OPTION...\n"
      "{}\n"
      "Examples:\n{}\n",
      usage, command.description, command.examples);
  if (is_default) {
    out += "Commands (pki COMMAND --help tells more):\n";
    for (const Command* other : commands) {
      out += fmt::format("  {:<{}}{}\n", other->name, indent - 2, wrapped(other->summary, indent));
    }
    out += '\n';
  }
  out += "Options (one dash or two, a space or '=' before the value):\n";
  for (const std::span<const Option> table :
       {command.options, std::span<const Option>(common_options)}) {
    for (const Option& option : table) {
      const std::string left = fmt::format("  --{} {}", option.name, option.argument);
      out += fmt::format("{:<{}}{}\n", left, indent, wrapped(option.help, indent));
    }
  }
  out +=
      "\n"
      "Exit status: 0 done or nothing to do, 1 failed, 2 wrong usage, 3 the certificate\n"
      "is there but expires soon or has expired (issue; list --expiring), or there is a\n"
      "problem (check, renew; 1 is also what could not be told).\n"
      "The manual: man pki\n";
  return out;
}

struct Normalised {
  std::vector<std::string> options;
  std::vector<std::string> operands;
};

// Go's spelling of options (-name value, --name=value and so on) becomes --name=value, the one that
// cxxopts reads without a guess. Where a command takes no operands the first one ends the options,
// as in Go.
Normalised normalise(const Command& command, std::span<const std::string> arguments) {
  Normalised out;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument.size() < 2 || argument.front() != '-' || argument == "--") {
      if (argument != "--" && !command.operands.empty()) {
        out.operands.push_back(argument);
        continue;
      }
      const auto rest = arguments.subspan(argument == "--" ? i + 1 : i);
      out.operands.insert(out.operands.end(), rest.begin(), rest.end());
      break;
    }
    std::string_view body = argument;
    body.remove_prefix(body.starts_with("--") ? 2 : 1);
    const std::size_t equals = body.find('=');
    const std::string_view name = body.substr(0, equals);
    if (name.empty() || name.starts_with('-')) {
      throw UsageError(fmt::format("bad option syntax: {}", quote(argument)), "see pki --help");
    }
    const Option* option = find_option(command, name == "h" ? "help" : name);
    if (option == nullptr) {
      throw UsageError(
          fmt::format("unknown option {}", quote(argument.substr(0, argument.find('=')))),
          "see pki --help");
    }
    std::string normal = fmt::format("--{}", option->name);
    if (equals != std::string_view::npos) {
      const std::string_view value = body.substr(equals + 1);
      if (option->argument.empty() && value != "true" && value != "false") {
        throw UsageError(
            fmt::format("--{} is a switch and has the value {}", option->name, quote(value)),
            fmt::format("write --{}", option->name));
      }
      normal += body.substr(equals);
    } else if (!option->argument.empty()) {
      if (++i == arguments.size()) {
        throw UsageError(fmt::format("--{} needs a value", option->name),
                         fmt::format("write --{} {}", option->name, option->argument));
      }
      normal += "=" + arguments[i];
    }
    out.options.push_back(std::move(normal));
  }
  return out;
}

cxxopts::ParseResult parse(const Command& command, std::span<const std::string> normal) {
  cxxopts::Options parser("pki");
  for (const std::span<const Option> table :
       {command.options, std::span<const Option>(common_options)}) {
    for (const Option& option : table) {
      parser.add_options()(std::string(option.name), "",
                           option.argument.empty()
                               ? std::shared_ptr<cxxopts::Value>(cxxopts::value<bool>())
                               : cxxopts::value<std::vector<std::string>>());
    }
  }
  std::vector<const char*> argv = {"pki"};
  for (const std::string& argument : normal) argv.push_back(argument.c_str());
  return parser.parse(static_cast<int>(argv.size()), argv.data());
}

bool takes(const Command& command, std::size_t operands) {
  if (command.operands.empty()) return true;  // those are refused where they are read
  const std::string_view last = command.operands.back();
  if (last.starts_with('[')) return true;
  const bool may_repeat = last.ends_with("...");
  return may_repeat ? operands >= command.operands.size() : operands == command.operands.size();
}

Exit dispatch(std::span<const std::string> arguments, Output& output) {
  const Command* command = commands.front();
  if (!arguments.empty() && !arguments.front().empty() && arguments.front().front() != '-') {
    command = find_command(arguments.front());
    if (command == nullptr) {
      throw UsageError(fmt::format("unknown command {}", quote(arguments.front())),
                       "see pki --help");
    }
    arguments = arguments.subspan(1);
  }
  Normalised normal = normalise(*command, arguments);
  const cxxopts::ParseResult parsed = parse(*command, normal.options);
  const Arguments given(parsed, std::move(normal.operands));
  if (given.is_on("help")) {
    output.text(help(*command));
    return Exit::done;
  }
  if (given.is_on("version")) {
    output.text("pki " PKI_VERSION "\n");
    return Exit::done;
  }
  if (!takes(*command, given.operands().size())) {
    throw UsageError(
        fmt::format("{} takes {}", command->name, fmt::join(command->operands, " and ")),
        fmt::format("see pki {} --help", command->name));
  }
  output.set_json(given.is_on("json"));
  output.set_verbosity(given.is_on("verbose") ? Verbosity::verbose
                       : given.is_on("quiet") ? Verbosity::quiet
                                              : Verbosity::normal);
  try {
    return command->run(given, output);
  } catch (const NothingAsked&) {
    output.usage_after_mistake(help(*command));
    return Exit::failed;
  }
}

}  // namespace

bool Arguments::has(std::string_view name) const { return parsed_.count(std::string(name)) > 0; }

bool Arguments::is_on(std::string_view name) const {
  return has(name) && parsed_[std::string(name)].as<bool>();
}

std::vector<std::string> Arguments::all(std::string_view name) const {
  const std::string key(name);
  return parsed_.count(key) == 0 ? std::vector<std::string>{}
                                 : parsed_[key].as<std::vector<std::string>>();
}

std::vector<std::string> Arguments::list(std::string_view name) const {
  std::vector<std::string> elements;
  const std::vector<std::string> values = all(name);
  if (values.size() == 1 && values.front().empty()) return elements;
  for (const std::string& value : values) {
    for (std::size_t start = 0;;) {
      const std::size_t comma = value.find(',', start);
      elements.push_back(value.substr(start, comma - start));
      if (comma == std::string::npos) break;
      start = comma + 1;
    }
  }
  return elements;
}

std::string Arguments::last(std::string_view name, std::string_view otherwise) const {
  const std::vector<std::string> values = all(name);
  if (values.empty()) return std::string(otherwise);
  if (values.back().empty()) {
    throw UsageError(fmt::format("--{} has an empty value", name), "see pki --help");
  }
  return values.back();
}

void Arguments::refuse_operands() const {
  if (operands_.empty()) return;
  throw UsageError(fmt::format("extra argument {}", quote(operands_.front())),
                   "separate names by commas only, without spaces");
}

Exit run(std::span<const std::string> arguments, const Environment& environment) {
  Output output(environment);
  try {
    const Exit status = dispatch(arguments, output);
    output.finish();
    return status;
  } catch (const UsageError& error) {
    output.error(error);
    return Exit::usage;
  } catch (const Error& error) {
    output.error(error);
    return Exit::failed;
  } catch (const std::bad_alloc&) {
    output.error(Error("out of memory", "free some and run this again"));
    return Exit::failed;
  } catch (const std::exception& error) {
    // Of the standard library, where the system refuses what it hardly ever does.
    output.error(Error(printable(error.what()), "see what the system lacks, and run this again"));
    return Exit::failed;
  }
}

}  // namespace pki::cli
