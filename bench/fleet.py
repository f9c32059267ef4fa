"""A certificate for every line of a file: how many a second, on how many cores, in what memory."""

import itertools
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from issue import DURABLE_FLOOR, LAZY_FLOOR
from measure import Bench, Row, in_turns, run, say

# What was made stays until all is over: for five minutes ext4 does not take the inode of a deleted
# file again, and looks at each of them whenever it makes one.

AGAIN = "pki, the same file again"


def hosts(count: int) -> str:
    return "".join(f"host{number:06}.db.example.org\n" for number in range(count))


def looped(minica: str) -> str:
    return f"{minica}, loop"


class Fleet:
    def __init__(self, bench: Bench, size: int) -> None:
        self._bench = bench
        self._size = size
        self._jobs = str(os.cpu_count())
        self._file = bench.place / f"{size}.hosts"
        self._file.write_text(hosts(size))
        self._next = itertools.count()

    def _timed(self, directory: Path, command: list[str], size: int) -> dict[str, float]:
        os.sync()  # what went before is not to be written on this one's time
        sample = run(command, directory)
        made = sum(1 for entry in os.scandir(directory) if entry.name.startswith("host"))
        if made != size:
            raise RuntimeError(f"{command[0]} made {made} of {size} directories")
        return {
            "rate": size / sample.wall,
            "wall": sample.wall,
            "cores": sample.cpu / sample.wall,
            "cpu": sample.cpu / size,
            "memory": sample.memory,
        }

    def pki(self) -> Mapping[str, float]:
        """And then the same file once more, which finds it all done."""
        directory = self._bench.with_root(f"fleet-{next(self._next)}")
        command = [self._bench.pki, "--quiet", "--hosts", str(self._file), "--jobs", self._jobs]
        first = self._timed(directory, command, self._size)
        again = self._timed(directory, command, self._size)
        return {**first, **{f"again {what}": figure for what, figure in again.items()}}

    def floor(self, *options: str) -> Mapping[str, float]:
        directory = self._bench.with_root(f"fleet-{next(self._next)}")
        root = ["minica.pem", "minica-key.pem"]
        command = [self._bench.floor, *options, *root, "--hosts", str(self._file), self._jobs]
        figures = self._timed(directory, command, self._size)
        return figures

    def minica(self, program: str) -> Mapping[str, float]:
        """As its users do it. It takes as long for the last one as for the first, so that a few
        hundred tell how long any number would take."""
        directory = self._bench.fresh(f"fleet-{next(self._next)}")
        run([program, "-domains", "the-first-one"], directory)
        size = min(self._size, 100 if self._bench.quick else 300)
        few = directory / "few"
        few.write_text(hosts(size))
        loop = f'while read -r host; do {shlex.quote(program)} -domains "$host"; done <few'
        figures = self._timed(directory, ["sh", "-c", loop], size)
        return figures

    def cases(self, with_others: bool) -> Mapping[str, Callable[[], Mapping[str, float]]]:
        cases = {"pki": self.pki, DURABLE_FLOOR: lambda: self.floor("--durable")}
        if with_others:
            cases[LAZY_FLOOR] = self.floor
            for name, program in self._bench.minicas.items():
                cases[looped(name)] = lambda program=program: self.minica(program)
        return cases


def split_again(rows: dict[str, Row]) -> dict[str, Row]:
    """The second run of pki as a row of its own, under the first."""
    both = rows.pop("pki")
    first = {what: series for what, series in both.items() if not what.startswith("again ")}
    again = {
        what.removeprefix("again "): series
        for what, series in both.items()
        if what.startswith("again ")
    }
    return {"pki": first, AGAIN: again, **rows}


def measure(bench: Bench) -> Mapping[str, Mapping[str, Row]]:
    rounds = {1: 3, 100: 3, 1000: 1} if bench.quick else {1: 25, 100: 15, 10_000: 5, 100_000: 2}
    sizes = {}
    for size, times in rounds.items():
        say(f"a fleet of {size:,} hosts")
        # What the others do at 100,000 is what they do at 10,000, ten times as long.
        cases = Fleet(bench, size).cases(with_others=size <= 10_000)
        sizes[str(size)] = split_again(in_turns(times, cases))
    return sizes
