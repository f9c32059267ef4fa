"""What the figures are of: the machine, and the versions of what ran on it."""

import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from measure import HERE, Bench


def first_line(command: list[str]) -> str:
    """Of what a program prints, wherever it prints it."""
    printed = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout
    return printed.strip().partition("\n")[0]


def numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def go_version(program: str) -> str:
    return first_line([program, "env", "GOVERSION"]).removeprefix("go")


def go_programs() -> Mapping[str, str]:
    """Version -> program: the one on the path and Debian's. Newest first."""
    found = {}
    for program in ("/usr/bin/go", "go"):
        found[go_version(program)] = program
    return dict(sorted(found.items(), key=lambda pair: numbers(pair[0]), reverse=True))


def field(path: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*)$", Path(path).read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def sync_time(place: Path) -> float:
    """Seconds that it takes until 4 KiB more are on the disk."""
    times = []
    file = place / "sync"
    with open(file, "wb", buffering=0) as written:
        for _ in range(51):
            written.write(bytes(4096))
            start = time.perf_counter()
            os.fsync(written.fileno())
            times.append(time.perf_counter() - start)
    file.unlink()
    return statistics.median(times)


def describe(place: Path) -> Mapping[str, str]:
    kibibytes = int(field("/proc/meminfo", "MemTotal").split()[0])
    filesystem = first_line(
        ["findmnt", "--noheadings", "--output=FSTYPE,OPTIONS", "-T", str(place)]
    )
    return {
        "processor": field("/proc/cpuinfo", "model name"),
        "cores": f"{os.cpu_count()}",
        "memory": f"{kibibytes / 1024**2:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "file system": " ".join(filesystem.split()),
        "fsync of 4 KiB": f"{sync_time(place) * 1000:.2f} ms",
        "load before the run": f"{os.getloadavg()[0]:.1f}",
    }


def package_version(name: str) -> str:
    return first_line(["dpkg-query", "--show", "--showformat=${Version}", name])


def versions(bench: Bench) -> Mapping[str, str]:
    pki = first_line([bench.pki, "--version"]).removeprefix("pki ")
    if "PKI" in os.environ:
        pki += ", built elsewhere"
    else:
        commit = first_line(["git", "-C", str(HERE), "describe", "--always", "--dirty"])
        pki += f", commit {commit}"
    return {
        "pki": pki,
        "Go": ", ".join(go_programs()),
        "compiler": first_line(["g++", "--version"]),
        "mkcert": package_version("mkcert"),
        "openssl": package_version("openssl"),
        "certtool": package_version("gnutls-bin"),
        "cfssl": package_version("golang-cfssl"),
        "PostgreSQL, pgbench, libpq": package_version("postgresql-15"),
        "PgBouncer": package_version("pgbouncer"),
        "hyperfine": package_version("hyperfine"),
    }
