"""One certificate, with each program as it comes: on a root that is there, and with a new one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measure import HERE, HOST, Bench, Row, hyperfine, in_turns, run, say

DURABLE_FLOOR = "floor, fsync"
LAZY_FLOOR = "floor, no fsync"


@dataclass(frozen=True)
class Program:
    command: list[str]
    leaf: list[str]  # what it leaves of a certificate, and of a root
    root: list[str]
    slow: bool = False  # RSA


def programs(bench: Bench) -> Mapping[str, Program]:
    pki_root = ["minica.pem", "minica-key.pem", "minica-index.txt"]
    by_script = ["cert.pem", "key.pem"]
    mkcert = ["mkcert", "-cert-file", "cert.pem", "-key-file", "key.pem"]
    mkcert_root = ["rootCA.pem", "rootCA-key.pem"]
    return {
        "pki": Program([bench.pki, "--domains", HOST], [HOST], pki_root),
        **{
            name: Program([minica, "-domains", HOST], [HOST], pki_root[:2])
            for name, minica in bench.minicas.items()
        },
        "certtool, script": Program(
            [str(HERE / "others" / "certtool"), HOST], by_script, ["ca.pem", "ca-key.pem"]
        ),
        "cfssl, script": Program(
            [str(HERE / "others" / "cfssl"), HOST],
            ["cert.pem", "cert-key.pem", "cert.csr"],
            ["ca.pem", "ca-key.pem", "ca.csr"],
        ),
        "openssl, script": Program(
            [str(HERE / "others" / "openssl"), HOST], by_script, ["ca.pem", "ca-key.pem"]
        ),
        "mkcert -ecdsa": Program([*mkcert, "-ecdsa", HOST], by_script, mkcert_root, slow=True),
        "mkcert (RSA, its default)": Program([*mkcert, HOST], by_script, mkcert_root, slow=True),
    }


def floors(bench: Bench) -> Mapping[str, Program]:
    """The floor takes a root that is there."""
    root = ["minica.pem", "minica-key.pem"]
    return {
        DURABLE_FLOOR: Program([bench.floor, "--durable", *root, HOST], [HOST], []),
        LAZY_FLOOR: Program([bench.floor, *root, HOST], [HOST], []),
    }


def batch(program: Program, directory: Path, runs: int, with_root: bool) -> Mapping[str, float]:
    """hyperfine's times, and the memory of one run more."""
    litter = ["rm", "-rf", *program.leaf, *(program.root if with_root else ())]
    wall, cpu = hyperfine(program.command, directory, runs, " ".join(litter))
    run(litter, directory)
    return {"wall": wall, "cpu": cpu, "memory": run(program.command, directory).memory}


def measure(bench: Bench) -> Mapping[str, Mapping[str, Row]]:
    rounds, runs = (3, 4) if bench.quick else (15, 10)

    say("one certificate, on a root that is there")
    cases = {}
    for name, program in programs(bench).items():
        directory = bench.fresh(f"issue-{len(cases)}")
        run(program.command, directory)
        cases[name] = partial(batch, program, directory, runs, False)
    directory = bench.with_root("issue-floor")
    for name, program in floors(bench).items():
        cases[name] = partial(batch, program, directory, runs, False)
    existing = in_turns(rounds, cases)

    say("one certificate, and its root")
    cases = {}
    for name, program in programs(bench).items():
        directory = bench.fresh(f"issue-{len(cases)}")
        few = max(1, runs // 5) if program.slow else runs
        cases[name] = partial(batch, program, directory, few, True)
    return {"existing": existing, "fresh": in_turns(rounds, cases)}
