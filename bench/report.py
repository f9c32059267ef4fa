"""Figures in, results.md and results.svg out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import plot
from fleet import looped
from issue import DURABLE_FLOOR
from measure import Row, Series, median, quartiles, ratios
from service import LOGINS, MINICA, OURS

MIB = 1024**2
LOGIN = next(iter(LOGINS))  # the cheap one, with which it is the key that counts


# --- Words and tables -----------------------------------------------------------------------------


def digits(value: float) -> str:
    """Three digits that count, and no more."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{places}f}"


def spread(series: Series, unit: float = 1) -> str:
    """The median, and between which figures the middle half of the rounds lies."""
    low, high = quartiles(series)
    text = digits(median(series) * unit)
    if len(series) == 1:
        return text
    return f"{text} ({digits(low * unit)}–{digits(high * unit)})"


def times(series: Series, reference: Series) -> str:
    return digits(median(ratios(series, reference)))


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


# --- Targets --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    what: str
    figures: Callable[[Mapping], Series]  # KeyError, if they were not measured
    bound: float
    at_least: bool = False
    unit: str = ""

    def judge(self, figures: Mapping) -> list[str]:
        asked = f"at {'least' if self.at_least else 'most'} {self.bound:g}{self.unit}"
        try:
            series = self.figures(figures)
        except KeyError:
            return [self.what, asked, "not measured", ""]
        value = median(series)
        met = value >= self.bound if self.at_least else value <= self.bound
        return [self.what, asked, spread(series) + self.unit, "met" if met else "**missed**"]


def issue_ratio(what: str, other: Callable[[Mapping], str]) -> Callable[[Mapping], Series]:
    def figures(all_of_them: Mapping) -> Series:
        rows = all_of_them["issue"]["existing"]
        return ratios(rows["pki"][what], rows[other(all_of_them)][what])

    return figures


def fleet_ratio(other: Callable[[Mapping], str]) -> Callable[[Mapping], Series]:
    def figures(all_of_them: Mapping) -> Series:
        rows = all_of_them["fleet"]["10000"]
        return ratios(rows["pki"]["rate"], rows[other(all_of_them)]["rate"])

    return figures


def ledger_ratio(figures: Mapping) -> Series:
    rows = figures["ledger"]["pki --domains"]
    return ratios(rows["1000000"]["wall"], rows["0"]["wall"])


def connection_ratio(figures: Mapping) -> Series:
    rows = figures["service"][LOGIN]
    return ratios(rows[OURS]["rate"], rows[MINICA]["rate"])


def pgbouncer_ratio(figures: Mapping) -> Series:
    rows = figures["service"][LOGIN]
    return ratios(rows[MINICA]["cpu"], rows[OURS]["cpu"])


TARGETS = (
    Target(
        "one certificate on a root that is there, fsyncs included: wall time, to minica's",
        issue_ratio("wall", lambda figures: figures["minica"]),
        0.6,
    ),
    Target("the same: CPU time, to minica's", issue_ratio("cpu", lambda f: f["minica"]), 0.5),
    Target(
        "the same: wall time, to that of the floor with fsync",
        issue_ratio("wall", lambda _: DURABLE_FLOOR),
        1.5,
    ),
    Target(
        "10,000 hosts: certificates a second, to those of a shell loop with minica",
        fleet_ratio(lambda figures: looped(figures["minica"])),
        60,
        at_least=True,
    ),
    Target(
        "the same, with minica as Debian's own Go builds it",
        fleet_ratio(lambda figures: looped(figures["debian's minica"])),
        60,
        at_least=True,
    ),
    Target(
        "10,000 hosts: certificates a second, to those of the floor with one sync",
        fleet_ratio(lambda _: DURABLE_FLOOR),
        0.7,
        at_least=True,
    ),
    Target(
        "10,000 hosts: share of the cores in use, while it runs",
        lambda figures: [
            cores / figures["cores"] for cores in figures["fleet"]["10000"]["pki"]["cores"]
        ],
        0.8,
        at_least=True,
    ),
    Target(
        "100,000 hosts: peak memory",
        lambda figures: [size / MIB for size in figures["fleet"]["100000"]["pki"]["memory"]],
        48,
        unit=" MiB",
    ),
    Target("one certificate at 1,000,000 lines, to one at none: wall time", ledger_ratio, 1.1),
    Target(
        "`pki list` of 1,000,000 lines",
        lambda figures: figures["ledger"]["pki list"]["1000000"]["wall"],
        1.2,
        unit=" s",
    ),
    Target(
        "`pki list --all --json` of 1,000,000 lines",
        lambda figures: figures["ledger"]["pki list --all --json"]["1000000"]["wall"],
        1.2,
        unit=" s",
    ),
    Target(
        f"connections a second through PgBouncer, to those with minica's leaf ({LOGIN})",
        connection_ratio,
        1.8,
        at_least=True,
    ),
    Target(
        f"PgBouncer's CPU time for a connection with minica's leaf, to that with ours ({LOGIN})",
        pgbouncer_ratio,
        1.8,
        at_least=True,
    ),
)


# --- The parts ------------------------------------------------------------------------------------


def issue_table(rows: Mapping[str, Row]) -> str:
    ours = rows["pki"]
    return table(
        ["", "wall, ms", "CPU, ms", "wall, to pki's", "CPU, to pki's", "peak, MiB"],
        [
            [
                name,
                spread(row["wall"], 1000),
                spread(row["cpu"], 1000),
                times(row["wall"], ours["wall"]),
                times(row["cpu"], ours["cpu"]),
                digits(median(row["memory"]) / MIB),
            ]
            for name, row in rows.items()
        ],
    )


def issue_part(figures: Mapping) -> str:
    part = figures["issue"]
    return f"""## One certificate

Each program as it comes, run by hyperfine in batches, the batches in turns. Only pki and the floor
with fsync wait for the disk. The keys are P-256, but for minica's (P-384) and mkcert's (its roots
are RSA 3072, and without `-ecdsa` its leaves RSA 2048). openssl, certtool and cfssl need more than
one command, here in a shell script ([others](others)).

On a root that is there:

{issue_table(part["existing"])}
With a new root each time:

{issue_table(part["fresh"])}"""


def fleet_part(figures: Mapping) -> str:
    text = """## Fleets

`pki --hosts FILE`, on a root that is there; what is in memory is written to the disk before each
run. *pki, the same file again* finds every certificate there and has only to look. The floor's
threads only make keys, certificates and files. *floor, fsync* makes them in a directory of its own,
syncs them all with one syncfs(2), and renames each to its place.

"""
    for size, rows in figures["fleet"].items():
        ours = rows["pki"]["rate"]
        text += f"{int(size):,} host{'s' if size != '1' else ''}:\n\n"
        text += table(
            ["", "certificates/s", "to pki's", "CPU, µs each", "cores in use", "peak, MiB"],
            [
                [
                    name,
                    spread(row["rate"]),
                    times(row["rate"], ours),
                    spread(row["cpu"], 1e6),
                    digits(median(row["cores"])),
                    digits(median(row["memory"]) / MIB),
                ]
                for name, row in rows.items()
            ],
        )
        text += "\n"
    return text + (
        "minica's loop was timed over at most 300 hosts: the last one takes as long as the first,\n"
        "so that the rate is taken for that of any number.\n"
    )


def ledger_part(figures: Mapping) -> str:
    text = """## The ledger

Lines as years leave them: most have expired, some were revoked, a host has several. On the disk lie
the same 100 leaves each time. None is due, unless said: `renew --all` is what cron runs every day.

"""
    rows = []
    for command, sizes in figures["ledger"].items():
        for size, row in sizes.items():
            rows.append(
                [
                    f"{command}: {int(size):,} lines",
                    spread(row["wall"], 1000),
                    spread(row["cpu"], 1000),
                    digits(median(row["memory"]) / MIB) if "memory" in row else "",
                ]
            )
    return text + table(["", "wall, ms", "CPU, ms", "peak, MiB"], rows)


def service_part(figures: Mapping) -> str:
    text = """## Connections

`pgbench --connect` with eight clients: for every `SELECT 1` a new connection, TLS 1.3, verify-full,
through PgBouncer; pgbench, PgBouncer and PostgreSQL share the cores. PgBouncer has one thread.
*busy* is the share of one core that it used: where that is well under 1 the clients, not PgBouncer,
were the limit, and the CPU time that it spent on a connection is the figure that will hold on
another machine. P-256 and RSA leaves have our usual root, P-256; minica's has a P-384 root.

"""
    for login, rows in figures["service"].items():
        ours = rows[OURS]
        text += f"Login by {LOGINS[login]}:\n\n"
        text += table(
            ["", "connections/s", "to ours", "PgBouncer's CPU, ms each", "to ours", "busy"],
            [
                [
                    kind,
                    spread(row["rate"]),
                    times(row["rate"], ours["rate"]),
                    spread(row["cpu"], 1000),
                    times(row["cpu"], ours["cpu"]),
                    digits(median(row["busy"])),
                ]
                for kind, row in rows.items()
            ],
        )
        text += "\n"
    if "scram-sha-256" in figures["service"]:
        text += (
            "With SCRAM the client hashes its password 4,096 times for each login, on the same\n"
            "cores: that costs the same whatever the key, and leaves less of a difference.\n"
        )
    return text.rstrip("\n") + "\n"


SECTIONS = {
    "issue": issue_part,
    "fleet": fleet_part,
    "ledger": ledger_part,
    "service": service_part,
}


# --- The whole ------------------------------------------------------------------------------------


def facts(rows: Mapping[str, str]) -> str:
    return "".join(f"- {what}: {value}\n" for what, value in rows.items())


def write(figures: Mapping, directory: Path) -> list[Path]:
    measured = [part for part in SECTIONS if part in figures]
    missing = [part for part in SECTIONS if part not in figures]
    notes = ""
    if figures["quick"]:
        notes += "**A quick run**: it shows that everything runs, and is no measurement.\n\n"
    if missing:
        notes += f"Not measured: {', '.join(missing)}.\n\n"
    plotted = plot.panels(figures)
    plot_line = "![The figures as a plot](results.svg)\n\n" if plotted else ""
    text = f"""# Results

Written by `bench/run` on {figures["date"]}, in {math.ceil(figures["minutes"])} minutes.

{notes}Figures are medians of rounds, in brackets the middle half of them; ratios are medians of the
ratios within the rounds. What is compared was measured in turns.

{plot_line}## Targets

{table(["", "asked for", "this run", ""], [target.judge(figures) for target in TARGETS])}
*minica* is jsha/minica 1.1.0; the targets are for {figures["minica"]}. That nothing of the
reliability is given up for the speed is not measured here: tests/fault has the tests.

## Machine

{facts(figures["machine"])}
## Versions

{facts(figures["versions"])}
{chr(10).join(SECTIONS[part](figures) for part in measured)}
## How to repeat it

    bench/run

on Debian 12, as root or with sudo. It installs what it compares with from Debian's packages, builds
`build/pki` and the floor ([floor.cpp](floor.cpp)), and writes this file. Let the machine do nothing
else. `--at DIR` measures on another file system (a tmpfs leaves the disk out), `--only issue,fleet`
some parts, and `--quick` shows within minutes that all of it runs.
"""
    written = [directory / "results.md"]
    written[0].write_text(text)
    if plotted:
        written.append(directory / "results.svg")
        written[1].write_text(plot.svg(plotted))
    return written
