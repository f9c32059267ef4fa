// pki list: every certificate of a root, and how long it has left.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/command.h"
#include "cli/list_view.h"
#include "cli/values.h"
#include "pki/listing.h"
#include "pki/snippets.h"

namespace pki::cli {
namespace {

constexpr std::string_view description =
    "Lists the root and its certificates, from the files alone: what is in the\n"
    "directories, then what only the ledger knows and is still valid. Reads only, and\n"
    "needs no key.\n";

constexpr std::string_view examples =
    "  pki list\n"
    "  pki list --sort expiry --kind client\n"
    "  pki list --expiring 30d --quiet || alert\n"
    "  pki list --prometheus > pki.prom.new && mv pki.prom.new pki.prom\n";

constexpr Option options[] = {
    {"expiring", "DAYS",
     "only what ends within so many days (30d), or has ended; the exit status is 3 if anything "
     "does"},
    {"kind", "USE", "only certificates of this kind: server, client or peer (both)"},
    {"sort", "ORDER", "by name or by expiry, whatever the ledger's order"},
    {"all", "", "also what is over: superseded and expired, in the ledger's order"},
    {"prometheus", "", "print metrics for node_exporter's textfile collector"},
    {"ca-cert", "FILE", "the root's certificate (default minica.pem)"},
    {"out", "DIR", "where the certificates' directories are (default the working directory)"},
    {"json", "", "print a JSON document"},
    {"quiet", "", "print only what ends soon or has ended, on stderr"},
    {"verbose", "", "print what is done"},
};

enum class Order { as_found, name, expiry };

struct Request {
  std::optional<std::chrono::days> window;
  std::optional<Profile> kind;
  Order order = Order::as_found;
  bool all = false;
  Instant now;

  /// Whether it ends within the window, or has ended and stands in a directory all the same.
  [[nodiscard]] bool is_ending(const Listed& one) const;
  /// Whether it is to be shown.
  [[nodiscard]] bool wants(const Listed& one) const;
};

bool Request::is_ending(const Listed& one) const {
  using Status = Listed::Status;
  if (one.status == Status::missing) {
    return one.not_after - now < window.value_or(std::chrono::days{30});
  }
  return !one.file.empty() && (one.status == Status::expiring || one.status == Status::expired);
}

bool Request::wants(const Listed& one) const {
  if (kind.has_value() && (!one.profile.has_value() || one.profile->name != kind->name)) {
    return false;
  }
  if (window.has_value()) return is_ending(one);
  return all || one.status != Listed::Status::superseded;
}

Order parse_order(const std::string& text) {
  if (text == "name") return Order::name;
  if (text == "expiry") return Order::expiry;
  throw UsageError(fmt::format("--sort: unknown order {}", quote(text)), "use name or expiry");
}

Profile parse_kind(const std::string& text) {
  for (const Profile& profile : {profiles::server, profiles::client, profiles::peer}) {
    if (profile.name == text) return profile;
  }
  throw UsageError(fmt::format("--kind: unknown kind {}", quote(text)),
                   "use server, client or peer");
}

void refuse_together(const Arguments& arguments, std::string_view one, std::string_view other) {
  if (!arguments.has(one) || !arguments.has(other)) return;
  throw UsageError(fmt::format("--{} does not go with --{}", one, other), "give one of them");
}

Request parse(const Arguments& arguments, const Output& output) {
  if (!arguments.operands().empty()) {
    throw UsageError(fmt::format("extra argument {}", quote(arguments.operands().front())),
                     "see pki list --help");
  }
  refuse_together(arguments, "all", "expiring");
  refuse_together(arguments, "all", "prometheus");
  refuse_together(arguments, "json", "prometheus");
  Request request;
  request.now = output.now();
  if (arguments.has("expiring")) {
    request.window = parse_days("expiring", arguments.all("expiring").back());
  }
  if (arguments.has("kind")) request.kind = parse_kind(arguments.last("kind"));
  if (arguments.has("sort")) request.order = parse_order(arguments.last("sort"));
  request.all = arguments.is_on("all");
  return request;
}

// What was found, for the exit status and for what a person may do next.
struct Tally {
  std::array<std::size_t, all_list_statuses.size()> counts{};  // of what was wanted, no roots
  std::uint64_t over = 0;                                      // not wanted for that
  bool root_is_ending = false;
  bool leaf_is_ending = false;

  [[nodiscard]] std::size_t of(Listed::Status status) const {
    return counts[static_cast<std::size_t>(status)];
  }
};

// Holds nothing but what is to be sorted.
Tally for_each_wanted(const Request& request, const Listing& listing,
                      const std::function<void(const Listed&)>& show) {
  Tally tally;
  std::vector<Listed> held;
  const auto take = [&](const Listed& one) {
    if (!request.wants(one)) {
      if (one.status == Listed::Status::superseded) ++tally.over;
      return;
    }
    if (!one.is_root()) ++tally.counts[static_cast<std::size_t>(one.status)];
    if (request.is_ending(one))
      (one.is_root() ? tally.root_is_ending : tally.leaf_is_ending) = true;
    if (request.order == Order::as_found) {
      show(one);
    } else {
      held.push_back(one);
    }
  };
  std::ranges::for_each(listing.on_disk(), take);
  listing.for_each_off_disk(take);
  if (request.all) {
    listing.for_each_past(take);
  } else {
    tally.over += listing.past_count();
  }
  // Roots stay first.
  std::ranges::stable_sort(held, [&](const Listed& a, const Listed& b) {
    if (a.is_root() != b.is_root()) return a.is_root();
    return request.order == Order::expiry ? a.not_after < b.not_after : a.name < b.name;
  });
  std::ranges::for_each(held, show);
  return tally;
}

TableStyle style_for(const Listing& listing, const Output& output) {
  TableStyle style{.has_bar = output.is_terminal(), .may_colour = output.may_colour()};
  constexpr std::size_t widest = 40;
  for (const Listed& one : listing.on_disk()) {
    style.name_width = std::clamp(shown_name(one.name).size(), style.name_width, widest);
  }
  style.is_narrow = output.columns() > 0 && output.columns() < table_width(style);
  return style;
}

// For a person, behind the table.
std::string next_steps(const Request& request, const Tally& tally, const Listing& listing,
                       const Arguments& arguments) {
  std::string where;
  for (const char* option : {"ca-cert", "out"}) {
    if (arguments.has(option)) {
      where += fmt::format(" --{} {}", option, shell_word(arguments.last(option)));
    }
  }
  std::string out;
  if (tally.leaf_is_ending) {
    out += fmt::format("To renew what ends soon or has ended:\n  pki renew --all{}\n", where);
  }
  if (tally.root_is_ending) {
    out += fmt::format("The root ends too; to replace it:\n  pki rotate begin{}\n", where);
  }
  if (tally.of(Listed::Status::missing) > 0) {
    out += fmt::format(
        "Missing from disk: valid, and in no directory here. If nobody is to use it any more:\n"
        "  pki revoke SERIAL{}\n",
        where);
  }
  if (tally.of(Listed::Status::unrecorded) > 0) {
    out += "Not in the ledger: made by another program, minica for one. It serves all the same.\n";
  }
  if (!listing.ledger().has_value() && listing.is_complete()) {
    out += "There is no ledger yet: the next certificate begins one.\n";
  }
  if (tally.over > 0 && !request.window.has_value() && !request.kind.has_value()) {
    out += fmt::format("{} more {} superseded or expired:\n  pki list --all{}\n", tally.over,
                       tally.over == 1 ? "is" : "are", where);
  }
  return out.empty() ? out : "\n" + out;
}

Error finding(const Listed& one, const Request& request) {
  const std::string file = one.file.empty() ? one.name : one.file.string();
  const std::string what =
      fmt::format("{} {} on {}", file, one.not_after < request.now ? "expired" : "expires",
                  text(one.not_after));
  if (one.is_root()) return Error(what, "replace it: pki rotate begin");
  if (one.file.empty()) {
    return Error(what + ", and is missing from disk",
                 fmt::format("issue it again, or: pki revoke {}", one.serial.text()));
  }
  return Error(what, fmt::format("renew it: pki renew {}", one.name));
}

Tally print(const Request& request, const Listing& listing, const Arguments& arguments,
            Output& output) {
  if (arguments.is_on("prometheus")) {
    std::vector<Listed> shown;
    const Tally tally = for_each_wanted(request, listing, [&](const Listed& one) {
      if (!one.file.empty()) shown.push_back(one);
    });
    output.text(prometheus_text(listing, shown, tally.counts));
    return tally;
  }
  bool is_first = true;
  if (arguments.is_on("json")) {
    output.text(json_head(listing));
    const Tally tally = for_each_wanted(request, listing, [&](const Listed& one) {
      output.text((std::exchange(is_first, false) ? "" : ",") + json_object(one, request.now));
    });
    output.text(json_tail(listing));
    return tally;
  }
  if (output.is_quiet()) {
    return for_each_wanted(request, listing, [&](const Listed& one) {
      if (request.is_ending(one)) output.error(finding(one, request));
    });
  }
  const TableStyle style = style_for(listing, output);
  const Tally tally = for_each_wanted(request, listing, [&](const Listed& one) {
    if (std::exchange(is_first, false)) output.text(table_head(style));
    output.text(table_row(one, style, request.now));
  });
  if (output.is_terminal()) {
    if (is_first) output.text("There is nothing to list.\n");
    output.text(next_steps(request, tally, listing, arguments));
  }
  return tally;
}

Exit list(const Arguments& arguments, Output& output) {
  const Request request = parse(arguments, output);
  const CaFiles files = ca_files(arguments);
  output.detail(fmt::format("reading {}, the directories in {} and {}", files.certificate.string(),
                            files.leaves.string(), files.ledger().string()));
  const Listing listing(files, request.now, request.window);
  for (const std::string& line : listing.warnings()) output.warning(line);
  const Tally tally = print(request, listing, arguments, output);
  if (!request.window.has_value()) return Exit::done;
  if (tally.leaf_is_ending || tally.root_is_ending) return Exit::finding;
  return listing.is_complete() ? Exit::done : Exit::failed;  // what was passed over may end too
}

}  // namespace

const Command list_command = {"list",      "list all certificates, and how long they have left",
                              description, examples,
                              {},          options,
                              list};

}  // namespace pki::cli
