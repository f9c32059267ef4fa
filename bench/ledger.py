"""What the length of the ledger costs: list, renew, and one more certificate."""

import datetime
import random
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from measure import HOST, Bench, Row, Sample, hyperfine, in_turns, remove, run, say

INDEX = "minica-index.txt"
LEAVES = 100  # that are on the disk, in each of the directories

# 3 is a finding: a ledger of years has certificates that have expired.
DONE = (0, 3)

COMMANDS = {
    "pki list": ["list"],
    "pki list --all --json": ["list", "--all", "--json"],
    "pki renew --all": ["renew", "--all"],
    f"pki renew --all, {LEAVES} are due": ["renew", "--all", "--before", "1000d"],
}


def lines(count: int) -> Iterator[str]:
    """Lines as years leave them: every host has been renewed now and then, the newest line last;
    most have expired, some were revoked. In the format of OpenSSL's ca database."""
    chance = random.Random(count)
    now = datetime.datetime.now(datetime.UTC)
    hosts = max(1, count // 5)
    lifetime = datetime.timedelta(days=760)
    step = 3 * lifetime / count
    end = now - 2 * lifetime
    for number in range(count):
        end += step
        revoked = chance.random() < 0.02
        serial = f"{chance.getrandbits(128) & ~(1 << 127) | (1 << 126):032X}"
        yield "\t".join(
            (
                "R" if revoked else "V",
                f"{end:%y%m%d%H%M%SZ}",
                f"{min(end - lifetime / 2, now):%y%m%d%H%M%SZ},superseded" if revoked else "",
                serial,
                "unknown",
                f"/CN=host{number % hosts:06}.db.example.org\n",
            )
        )


def with_ledger(bench: Bench, count: int) -> Path:
    """A directory with a root, leaves and a ledger of so many lines: those of the leaves last."""
    directory = bench.with_root(f"ledger-{count}")
    for number in range(LEAVES):
        run([bench.pki, "--quiet", "--domains", f"leaf{number:03}.db.example.org"], directory)
    index = directory / INDEX
    own = index.read_text()
    with open(index, "w", encoding="ascii") as file:
        file.writelines(lines(count - own.count("\n")))
        file.write(own)
    return directory


def figures(sample: Sample) -> Mapping[str, float]:
    return {"wall": sample.wall, "cpu": sample.cpu, "memory": sample.memory}


def issue(bench: Bench, directory: Path, runs: int) -> Mapping[str, float]:
    command = [bench.pki, "--domains", HOST]
    wall, cpu = hyperfine(command, directory, runs, f"rm -rf {HOST}")
    return {"wall": wall, "cpu": cpu}


def measure(bench: Bench) -> Mapping[str, Mapping[str, Row]]:
    """Command -> lines -> what it took."""
    sizes = (1000, 100_000) if bench.quick else (1000, 100_000, 1_000_000)
    rounds, runs = (3, 4) if bench.quick else (9, 20)

    say("the ledgers are made")
    directories = {size: with_ledger(bench, size) for size in sizes}
    results: dict[str, dict[str, Row]] = {}
    for name, arguments in COMMANDS.items():
        if not bench.has(arguments[0]):
            say(f"skipped: {name}: this pki has no command {arguments[0]}")
            continue
        say(name)
        results[name] = in_turns(
            rounds,
            {
                str(size): lambda directory=directory, arguments=arguments: figures(
                    run([bench.pki, *arguments], directory, statuses=DONE)
                )
                for size, directory in directories.items()
            },
        )

    say("one certificate, with an empty ledger and a long one")
    # An empty one grows by a line each time, to a few hundred.
    directories[0] = bench.with_root("ledger-0")
    (directories[0] / INDEX).write_text("")
    results["pki --domains"] = in_turns(
        rounds,
        {str(size): partial(issue, bench, directories[size], runs) for size in (0, max(sizes))},
    )
    for directory in directories.values():
        remove(directory)
    return results
