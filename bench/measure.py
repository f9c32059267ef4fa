"""How programs are run and timed here, and what is made of the times.

The machine is never quiet for long. So what is compared is measured in turns: in every round each
case once (or one short batch of it), in another order each time. A series is a list with one figure
a round; a ratio is the median of the ratios within the rounds.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOST = "bouncerhost"
ENVIRONMENT = {**os.environ, "CAROOT": "."}  # where mkcert has its root

Series = list[float]
Row = dict[str, Series]  # what was measured -> its series


@dataclass(frozen=True)
class Bench:
    """What is measured, where, and how patiently."""

    pki: str
    floor: str
    minicas: Mapping[str, str]  # what the tables call it -> the program; the first is the fastest
    place: Path  # on the file system that is measured
    quick: bool

    @property
    def minica(self) -> str:
        """The name of the one that `pki` is judged against."""
        return next(iter(self.minicas))

    def fresh(self, name: str) -> Path:
        """An empty directory of this name."""
        directory = self.place / name
        remove(directory)
        directory.mkdir(parents=True)
        return directory

    def with_root(self, name: str) -> Path:
        """A fresh directory with a root of ours."""
        directory = self.fresh(name)
        run([self.pki, "--quiet", "--domains", "the-first-one"], directory)
        return directory

    def has(self, *command: str, option: str = "") -> bool:
        """Whether this pki has a command, or an option of it."""
        helped = subprocess.run([self.pki, *command, "--help"], capture_output=True, text=True)
        return helped.returncode == 0 and option in helped.stdout


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def remove(directory: Path) -> None:
    """rm is far faster than shutil.rmtree() at a hundred thousand directories."""
    subprocess.run(["rm", "-rf", str(directory)], check=True)


# --- Running --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    wall: float  # seconds
    cpu: float  # seconds, of the program and all that it started
    memory: int  # bytes, the largest resident set


def run(command: list[str], directory: Path, statuses: Iterable[int] = (0,)) -> Sample:
    """Runs a command once. What it prints is thrown away unless it fails."""
    # A child of this process would inherit the peak of its memory, and report that as its own;
    # time(1) is small.
    with tempfile.NamedTemporaryFile() as peak, tempfile.TemporaryFile() as errors:
        timed = ["/usr/bin/time", "--quiet", f"--output={peak.name}", "--format=%M", *command]
        with open(os.devnull, "wb") as out:
            start = time.perf_counter()
            process = subprocess.Popen(
                timed,
                cwd=directory,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # it is gone; Popen need not look
        if process.returncode not in statuses:
            errors.seek(0)
            raise RuntimeError(
                f"{shlex.join(command)}: status {process.returncode}\n"
                + errors.read().decode(errors="replace")
            )
        return Sample(wall, usage.ru_utime + usage.ru_stime, int(peak.read()) * 1024)


def hyperfine(command: list[str], directory: Path, runs: int, prepare: str) -> tuple[float, float]:
    """The median wall time and the mean CPU time of a batch of runs, in seconds.

    `prepare` is run before each of them, without a shell like the command itself.
    """
    with tempfile.NamedTemporaryFile() as report:
        options = ["--shell=none", f"--runs={runs}", f"--export-json={report.name}"]
        done = subprocess.run(
            ["hyperfine", *options, "--prepare", prepare, shlex.join(command)],
            cwd=directory,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command)}: {done.stderr}")
        (result,) = json.load(report)["results"]
    return result["median"], result["user"] + result["system"]


def in_turns(rounds: int, cases: Mapping[str, Callable[[], Mapping[str, float]]]) -> dict[str, Row]:
    """Measures every case once a round."""
    rows: dict[str, Row] = {name: {} for name in cases}
    names = list(cases)
    for number in range(rounds):
        turned = names[number % len(names) :] + names[: number % len(names)]
        for name in turned:
            for what, figure in cases[name]().items():
                rows[name].setdefault(what, []).append(figure)
    return rows


# --- Figures --------------------------------------------------------------------------------------


def median(series: Series) -> float:
    return statistics.median(series)


def quartiles(series: Series) -> tuple[float, float]:
    if len(series) < 4:
        return min(series), max(series)
    low, _, high = statistics.quantiles(series, n=4, method="inclusive")
    return low, high


def ratios(ours: Series, theirs: Series) -> Series:
    """Round by round."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]
