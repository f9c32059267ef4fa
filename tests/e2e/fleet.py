#!/usr/bin/python3
"""Fleets: certificates for all hosts of a file, and for all its database users, in one run.

Each leaf is judged by openssl(1) and by a reader of our own; what a killed run leaves is judged as
it lies there, and then the run is repeated.

    PKI=build/pki tests/e2e/fleet.py

Runs as root or as any user; as root also with an owner.
"""

import fcntl
import ipaddress
import json
import os
import pty
import pwd
import random
import re
import select
import signal
import stat
import struct
import subprocess
import termios
import time
import unittest
from pathlib import Path

from support import (
    FIT,
    Case,
    Certificate,
    certify,
    der_of,
    fresh,
    from_now,
    make_key,
    make_root,
    openssl,
    place,
    program,
    public_key,
    snapshot,
    unprivileged,
    with_root,
)

MOST_MEMORY = 48 << 20

SERVER = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:a
authorityKeyIdentifier=keyid
subjectKeyIdentifier=hash
"""


def line_for(number: int) -> str:
    """Hosts of all kinds: one name and several, addresses behind them, and wildcards."""
    name = f"host{number}.fleet.test"
    address = ipaddress.IPv4Address("10.0.0.0") + number
    return (
        name,
        f"{name},h{number}  {address}",
        f"\t{name}\t{address},fd00::{number:x}  # a comment\r",
        f"*.wild{number}.test",
    )[number % 4]


def directory_of(line: str) -> str:
    return line.split("#")[0].split()[0].split(",")[0].replace("*", "_")


def write_hosts(directory: Path, count: int) -> list[str]:
    """hosts.txt; returns the names of the directories that are to come."""
    lines = [line_for(number) for number in range(count)]
    (directory / "hosts.txt").write_text("# all of them\n\n" + "\n".join(lines) + "\n", newline="")
    return [directory_of(line) for line in lines]


class FleetCase(Case):
    def assert_pair(self, leaf: Path) -> Certificate:
        """The key belongs to the certificate. Both end in the public point of a P-256 key."""
        made = Certificate(leaf / "cert.pem")
        self.assertEqual(der_of((leaf / "key.pem").read_bytes())[-65:], made.key[-65:])
        self.assertEqual(made.key[-65], 4)
        self.assertEqual(stat.S_IMODE((leaf / "key.pem").lstat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE((leaf / "cert.pem").lstat().st_mode), 0o644)
        self.assertEqual(sorted(os.listdir(leaf)), ["cert.pem", "key.pem"])
        return made

    def assert_fleet(self, directory: Path, leaves: list[str], purpose="sslserver"):
        """Every leaf is whole, verifies, and stands in the ledger; nothing else is there."""
        ledger = (directory / "minica-index.txt").read_text()
        for leaf in leaves:
            made = self.assert_pair(directory / leaf)
            self.assertIn(f"\t{made.serial.hex().upper()}\tunknown\t", ledger)
        certificates = [f"{leaf}/cert.pem" for leaf in leaves]
        openssl(
            f"verify -x509_strict -purpose {purpose} -CAfile minica.pem",
            *certificates,
            directory=directory,
        )
        for leaf in leaves[:: max(1, len(leaves) // 20)]:
            made = Certificate(directory / leaf / "cert.pem")
            self.assertEqual(public_key((directory / leaf / "key.pem").read_bytes()), made.key)
        ours = {"minica.pem", "minica-key.pem", "minica-index.txt", *leaves}
        self.assertEqual(set(os.listdir(directory)) - {"hosts.txt", "users.txt"}, ours)
        serials = [line.split("\t")[3] for line in ledger.splitlines()]
        self.assertEqual(len(serials), len(set(serials)))

    def assert_errors(self, directory: Path, *arguments, lines: list[str], **how):
        """Each of them on stderr, with something after it; and nothing is created or changed."""
        before = snapshot(directory)
        run = self.pki(directory, *arguments, **how)
        self.assertEqual(snapshot(directory), before)
        self.assertEqual((run.returncode, run.stdout), (1, b""), run.stderr)
        said = run.stderr.decode().splitlines()
        self.assertEqual(len(said), len(lines), run.stderr)
        for line, expected in zip(said, lines, strict=True):
            self.assertRegex(line, r"\Apki: [\x20-\x7e]+\Z")
            self.assertIn(expected, line)


class Hosts(FleetCase):
    def test_a_thousand(self):
        directory = fresh()
        leaves = write_hosts(directory, 1000)
        run = self.pki(directory, "--hosts", "hosts.txt")
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, b"", b""))
        self.assert_fleet(directory, leaves)
        self.assertEqual(
            Certificate(directory / leaves[1] / "cert.pem").names,
            ["DNS:host1.fleet.test", "DNS:h1", "IP:10.0.0.1"],
        )
        self.assertEqual(
            Certificate(directory / leaves[2] / "cert.pem").names,
            ["DNS:host2.fleet.test", "IP:10.0.0.2", "IP:fd00::2"],
        )
        self.assertEqual(Certificate(directory / "_.wild3.test/cert.pem").names, ["DNS:*.wild3.test"])

        before = snapshot(directory)
        run = self.pki(directory, "--hosts", "hosts.txt")
        self.assertEqual((run.returncode, run.stdout), (0, b""))
        self.assertRegex(run.stderr, rb"\Apki: 0 issued, 1,000 unchanged in [\d.]+ s\n\Z")
        self.assertEqual(snapshot(directory), before)

        # Some are new, and some are gone.
        for gone in leaves[10:20]:
            for name in ("cert.pem", "key.pem"):
                (directory / gone / name).unlink()
            (directory / gone).rmdir()
        with open(directory / "hosts.txt", "a", encoding="ascii") as file:
            file.write("late.fleet.test\n")
        run = self.pki(directory, "--hosts", "hosts.txt", "--json", "--jobs", "3")
        self.assertEqual((run.returncode, run.stderr), (0, b""))
        documents = [json.loads(line) for line in run.stdout.splitlines()]
        self.assertEqual(len(documents), 1001)
        issued = [one["name"] for one in documents if one["status"] == "issued"]
        self.assertEqual(issued, [*leaves[10:20], "late.fleet.test"])
        self.assert_fleet(directory, [*leaves, "late.fleet.test"])

    def test_each_as_if_it_were_alone(self):
        """The files and the JSON documents are those of single runs."""
        together, alone = (with_root(make_root(number=3)) for _ in range(2))
        count = 24  # twenty and more are made in a way of their own: see prepare_openssl_for()
        leaves = write_hosts(together, count)
        options = ("--key-type", "p384", "--days", "90", "--profile", "peer")
        run = self.pki(together, "--hosts", "hosts.txt", "--json", *options)
        for line, document in zip(range(count), run.stdout.splitlines(), strict=True):
            columns = line_for(line).split("#")[0].split()
            single = self.pki(
                alone, "--json", *options, "--domains", columns[0],
                *(("--ip-addresses", columns[1]) if len(columns) > 1 else ()),
            )  # fmt: skip
            a, b = json.loads(document), json.loads(single.stdout)
            self.assertEqual(list(a), list(b))
            differ = {"serial", "sha256_fingerprint", "not_before", "not_after"}
            for name in set(a) - differ:
                self.assertEqual(
                    json.dumps(a[name]).replace(str(together), str(alone)), json.dumps(b[name])
                )
        for leaf in leaves:
            shapes = [
                [(path.name, oct(path.lstat().st_mode)) for path in sorted((home / leaf).iterdir())]
                + [oct((home / leaf).lstat().st_mode)]
                for home in (together, alone)
            ]
            self.assertEqual(shapes[0], shapes[1])
            made = Certificate(together / leaf / "cert.pem")
            self.assertEqual((made.validity[1] - made.validity[0]).days, 89)

    def test_every_kind_of_key(self):
        for root in ("ecdsa", "rsa"):
            for leaf in ("p256", "p384", "rsa2048", "ed25519"):
                directory = fresh()
                names = [f"h{number}.fleet.test" for number in range(21)]
                (directory / "hosts.txt").write_text("\n".join(names))
                options = ("--hosts", "hosts.txt", "--ca-alg", root, "--key-type", leaf)
                run = self.pki(directory, *options)
                self.assertEqual((run.returncode, run.stdout, run.stderr), (0, b"", b""))
                for name in names:
                    made = Certificate(directory / name / "cert.pem")
                    self.assertEqual(
                        public_key((directory / name / "key.pem").read_bytes()), made.key
                    )
                openssl(
                    "verify -x509_strict -purpose sslserver -CAfile minica.pem",
                    *(f"{name}/cert.pem" for name in names),
                    directory=directory,
                )
                before = snapshot(directory)
                run = self.pki(directory, *options, "--json")
                self.assertEqual(run.returncode, 0, run.stderr)
                found = [json.loads(line)["status"] for line in run.stdout.splitlines()]
                self.assertEqual(found, ["unchanged"] * len(names))
                self.assertEqual(snapshot(directory), before)

    def test_standard_input_and_pipes(self):
        directory = fresh()
        run = self.pki(directory, "--hosts", "-", stdin=None, input=b"a\nb 10.0.0.1\n")
        self.assertEqual((run.returncode, run.stderr), (0, b""))
        self.assert_fleet(directory, ["a", "b"])
        os.mkfifo(directory / "pipe")
        with subprocess.Popen(["sh", "-c", "printf 'a\\nc' > pipe"], cwd=directory):
            run = self.pki(directory, "--hosts=pipe")
        self.assertEqual((run.returncode, run.stderr), (0, b""))
        (directory / "pipe").unlink()
        self.assert_fleet(directory, ["a", "b", "c"])
        self.assert_errors(
            directory, "--hosts", "-", stdin=None, input=b"a\nd,\n", lines=["standard input:2: "]
        )

    def test_every_error_and_nothing_made(self):
        directory = fresh()
        text = (
            b"good.test 10.0.0.1\n"
            b"# a comment\n"
            b"bad_name\n"
            b"x.test 10.0.0.256\r\n"
            b"\n"
            b"a,,b\n"
            b"nul\x00.test\n"
            b"GOOD.test.\n"
            b"a b c\n"
            b"10.0.0.9,named.test\n"
            b"\xc3\xbcmlaut.test\n" + b"long,"[:5] * 20000 + b"\n"
            b"esc\x1b[2J\n"
            b"../up\n"
            b"last.test"
        )
        (directory / "hosts.txt").write_bytes(text)
        places = [
            ("3", "'_' is not allowed"), ("4", "10.0.0.256"), ("6", "empty domain name"),
            ("7", "\\\\x00"), ("8", "also that of line 1"), ("9", "3 columns"),
            ("10", "invalid IP address"), ("11", "not ASCII"), ("12", "65536 at most"),
            ("13", "\\\\x1b"), ("14", "invalid domain name"),
        ]  # fmt: skip
        expected = [f"hosts.txt:{line}: " for line, _ in places]
        self.assert_errors(directory, "--hosts", "hosts.txt", lines=expected)
        run = self.pki(directory, "--hosts", "hosts.txt")
        for said, (_, what) in zip(run.stderr.decode().splitlines(), places, strict=True):
            self.assertIn(what.replace("\\\\", "\\"), said)
        run = self.pki(directory, "--hosts", "hosts.txt", "--json", "--quiet")
        self.assertEqual((run.stdout, len(run.stderr.splitlines())), (b"", len(places)))

    def test_files_that_are_none(self):
        directory = fresh()
        (directory / "directory").mkdir()
        with open(directory / "large", "wb") as file:
            file.truncate((64 << 20) + 1)
        for name, says in (
            ("nowhere", "No such file"), ("directory", "Is a directory"), ("large", "64 MiB"),
            ("/dev/zero", "64 MiB"),
        ):  # fmt: skip
            with self.subTest(name):
                self.assert_refused(directory, "--hosts", name, says=[name, says])
        self.assert_refused(directory, "--hosts", "", status=2, says=["--hosts"])
        for name in ("/dev/null", "comments"):
            (directory / "comments").write_text("# nothing\n\n")
            run = self.pki(directory, "--hosts", name)
            self.assertEqual(run.returncode, 0)
            self.assertIn(b"0 issued, 0 unchanged", run.stderr)
        self.assertEqual(sorted(os.listdir(directory)), ["comments", "directory", "large"])

    def test_what_is_there_and_differs(self):
        directory = fresh()
        (directory / "hosts.txt").write_text("a\nb\nc\n")
        self.assertEqual(self.pki(directory, "--hosts", "hosts.txt").returncode, 0)
        (directory / "c/key.pem").unlink()
        (directory / "hosts.txt").write_text("new1\na,also\n\n# b is gone\nc\nnew2\nminica.pem\n")
        self.assert_errors(
            directory,
            "--hosts",
            "hosts.txt",
            lines=[
                "hosts.txt:2: a/cert.pem is there and differs: names a there, a,also asked for",
                "hosts.txt:5: c/key.pem is missing",
                'hosts.txt:7: the name "minica.pem" is taken',
            ],
        )

    def test_what_the_root_does_not_allow(self):
        """With a root that is constrained every line is tried before the first is made."""
        constrained = make_root(
            number=6, extensions=FIT + "nameConstraints=critical,permitted;DNS:inside.test\n"
        )
        for jobs in ("1", "2"):
            directory = with_root(constrained)
            lines = [f"h{number}.inside.test" for number in range(30)]
            lines[17] = "h17.outside.test"
            lines[29] = "elsewhere.test"
            (directory / "hosts.txt").write_text("\n".join(lines))
            self.assert_errors(
                directory, "--hosts", "hosts.txt", "--jobs", jobs,
                lines=["hosts.txt:18: ", "hosts.txt:30: "],
            )  # fmt: skip
            (directory / "hosts.txt").write_text("\n".join(lines[:17]))
            self.assertEqual(self.pki(directory, "--hosts", "hosts.txt").returncode, 0)

    def test_expiring(self):
        root = make_root(number=9, start=from_now(-60))
        directory = with_root(root)
        (directory / "a").mkdir()
        key = make_key("p256", 9)
        life = {"start": from_now(-50), "end": from_now(10)}
        soon = certify(key, SERVER, issuer=root, subject="a", **life)
        place(directory / "a", soon, key, ("cert.pem", "key.pem"))
        (directory / "hosts.txt").write_text("a\nb\n")
        for issued, unchanged in ((1, 0), (0, 1)):
            run = self.pki(directory, "--hosts", "hosts.txt", "--json")
            self.assertEqual(run.returncode, 3)
            said = run.stderr.decode().splitlines()
            self.assertRegex(said[0], r"\Apki: a/cert\.pem expires on .*; pki renew a makes a new one")
            documents = [json.loads(line) for line in run.stdout.splitlines()]
            self.assertEqual(documents[0]["status"], "expiring")
            self.assertEqual(len(said), 1 + unchanged)
            if unchanged:
                self.assertRegex(said[1], rf"{issued} issued, {unchanged} unchanged, 1 expiring in")
        self.assertEqual((directory / "a/cert.pem").read_bytes(), soon)

    def test_a_warning_is_told_once(self):
        directory = with_root()
        (directory / "minica-key.pem").chmod(0o644)
        leaves = write_hosts(directory, 40)
        run = self.pki(directory, "--hosts", "hosts.txt")
        self.assertEqual(run.returncode, 0)
        self.assertEqual(run.stderr.count(b"can be read by others"), 1)
        self.assertEqual(len(os.listdir(directory)), len(leaves) + 4)

    @unittest.skipIf(os.environ.get("SANITIZED"), "a sanitizer takes memory of its own")
    def test_memory_stays_flat(self):
        directory = with_root()
        write_hosts(directory, 6000)
        for attempt in ("made", "unchanged"):
            with subprocess.Popen(
                [program(), "--hosts", "hosts.txt", "--quiet"], cwd=directory
            ) as run:
                _, status, usage = os.wait4(run.pid, 0)
                run.returncode = os.waitstatus_to_exitcode(status)
            self.assertEqual(run.returncode, 0)
            self.assertLess(usage.ru_maxrss * 1024, MOST_MEMORY, attempt)


class Users(FleetCase):
    def test_users(self):
        directory = fresh()
        (directory / "users.txt").write_text("# roles\nalice\n  bob\t# two\nAlice\napp-user@x\n")
        run = self.pki(directory, "--users", "users.txt", "--json")
        self.assertEqual((run.returncode, run.stderr), (0, b""))
        roles = ["alice", "bob", "Alice", "app-user@x"]
        documents = [json.loads(line) for line in run.stdout.splitlines()]
        self.assertEqual([one["common_name"] for one in documents], roles)
        self.assertEqual([one["names"] for one in documents], [[]] * 4)
        self.assert_fleet(directory, roles, purpose="sslclient")
        (directory / "users.txt").write_text("alice\nbob carol\n-x\nalice\n")
        self.assert_errors(
            directory,
            "--users",
            "users.txt",
            lines=["users.txt:2: 2 words", "users.txt:3: invalid role", "users.txt:4: the first"],
        )

    def test_one_kind_at_a_time(self):
        directory = fresh()
        (directory / "names.txt").write_text("a\n")
        for other in (("--domains", "b"), ("--ip-addresses", "::1"), ("--user", "u"),
                      ("--users", "names.txt")):  # fmt: skip
            self.assert_refused(
                directory, "--hosts", "names.txt", *other, status=2, says=["do not go together"]
            )
        self.assert_refused(
            directory, "--users", "names.txt", "--profile", "server", status=2, says=["--profile"]
        )

    def test_directories_that_are_there(self):
        """Provisioning makes them; more of them than are open at a time."""
        directory = fresh()
        leaves = write_hosts(directory, 120)
        for leaf in leaves[::2]:
            (directory / leaf).mkdir()
        self.assertEqual(self.pki(directory, "--hosts", "hosts.txt").returncode, 0)
        self.assert_fleet(directory, leaves)

    def test_two_names_of_one_directory(self):
        for count in (0, 60):
            directory = fresh()
            (directory / "a").mkdir()
            (directory / "b").symlink_to("a")
            others = [f"h{number}" for number in range(count)]
            (directory / "hosts.txt").write_text("\n".join(["a", *others, "b"]) + "\n")
            self.assert_errors(
                directory, "--hosts", "hosts.txt",
                lines=[f"hosts.txt:{count + 2}: its directory is a link to that of another"],
            )  # fmt: skip

    def test_a_directory_that_cannot_be_written_to(self):
        directory = fresh()
        directory.chmod(0o777)
        (directory / "hosts.txt").write_text("a\nb\nc\n")
        (directory / "b").mkdir()
        (directory / "b").chmod(0o555)
        self.assert_errors(
            directory, "--hosts", "hosts.txt", lines=["hosts.txt:2: cannot write to b; change"],
            **unprivileged(),
        )  # fmt: skip

    def test_a_wrong_file_with_lines_and_lines(self):
        directory = fresh()
        (directory / "hosts.txt").write_text("_\n" * 1_000_000)
        run = self.pki(directory, "--hosts", "hosts.txt")
        said = run.stderr.decode().splitlines()
        self.assertEqual((run.returncode, len(said)), (1, 10_001))
        self.assertIn("too many errors", said[-1])

    def test_a_directory_that_gives_its_group(self):
        directory = fresh()
        if os.geteuid() == 0:
            os.chown(directory, -1, 54321)
        directory.chmod(0o2755)
        (directory / "hosts.txt").write_text("a\nb\n")
        self.assertEqual(self.pki(directory, "--domains", "single").returncode, 0)
        self.assertEqual(self.pki(directory, "--hosts", "hosts.txt").returncode, 0)
        single = (directory / "single").stat()
        for leaf in ("a", "b"):
            made = (directory / leaf).stat()
            self.assertEqual((made.st_gid, made.st_mode), (single.st_gid, single.st_mode))
            self.assertEqual((directory / leaf / "key.pem").stat().st_gid,
                             (directory / "single" / "key.pem").stat().st_gid)  # fmt: skip

    @unittest.skipIf(os.geteuid() != 0, "only root gives files away")
    def test_only_the_directories_are_its_own(self):
        """No more must be open to whoever makes them than where they go."""
        directory = fresh()
        (directory / "ca").mkdir()
        (directory / "out").mkdir()
        (directory / "hosts.txt").write_text("a\nb\n")
        user = unprivileged()
        for path in ("ca", "out/a", "out/b"):
            (directory / path).mkdir(exist_ok=True)
            os.chown(directory / path, user["user"], user["group"])
        run = self.pki(
            directory, "--hosts", "hosts.txt", "--out", "out", "--ca-cert", "ca/minica.pem",
            "--ca-key", "ca/minica-key.pem", **user,
        )  # fmt: skip
        self.assertEqual((run.returncode, run.stderr), (0, b""))
        self.assert_pair(directory / "out" / "a")

    @unittest.skipIf(os.geteuid() != 0, "only root gives files away")
    def test_owner(self):
        directory = fresh()
        (directory / "users.txt").write_text("alice\nbob\n")
        run = self.pki(directory, "--users", "users.txt", "--owner", "nobody")
        self.assertEqual((run.returncode, run.stderr), (0, b""))
        nobody = pwd.getpwnam("nobody").pw_uid
        for path in ("alice", "alice/key.pem", "alice/cert.pem", "bob", "bob/key.pem"):
            self.assertEqual((directory / path).lstat().st_uid, nobody, path)
        self.assertEqual(directory.stat().st_uid, 0)
        self.assert_fleet(directory, ["alice", "bob"], purpose="sslclient")


class Interrupted(FleetCase):
    def assert_sound(self, directory: Path) -> int:
        """What may be seen at any instant: whole leaves that the ledger knows. How many."""
        path = directory / "minica-index.txt"
        ledger = path.read_text() if path.exists() else ""
        leaves = [
            entry.name
            for entry in os.scandir(directory)
            if entry.is_dir() and not entry.name.startswith(".")
        ]
        for leaf in leaves:
            made = self.assert_pair(directory / leaf)
            self.assertIn(f"\t{made.serial.hex().upper()}\tunknown\t", ledger)
        return len(leaves)

    def test_killed_and_run_again(self):
        dice = random.Random(4)
        counts = []
        for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            directory = fresh()
            leaves = write_hosts(directory, 3000)
            with subprocess.Popen(
                [program(), "--hosts", "hosts.txt"], cwd=directory, stderr=subprocess.PIPE
            ) as run:
                while run.poll() is None and len(os.listdir(directory)) < 10:
                    time.sleep(0.002)
                time.sleep(dice.uniform(0, 0.2))
                run.send_signal(how)
                run.wait()
            counts.append(self.assert_sound(directory))
            again = self.pki(directory, "--hosts", "hosts.txt")
            self.assertEqual((again.returncode, again.stdout), (0, b""), again.stderr)
            self.assert_fleet(directory, leaves)
        self.assertTrue(any(0 < count < 3000 for count in counts), counts)

    def test_the_next_run_is_for_one_host(self):
        directory = fresh()
        write_hosts(directory, 2000)
        with subprocess.Popen([program(), "--hosts", "hosts.txt"], cwd=directory) as run:
            while run.poll() is None and not (directory / ".pki.new").exists():
                time.sleep(0.001)
            time.sleep(0.05)
            run.kill()
        self.assertTrue((directory / ".pki.new").exists(), "it was too fast for this test")
        count = self.assert_sound(directory)
        self.assertEqual(self.pki(directory, "--domains", "single.test").returncode, 0)
        self.assertFalse((directory / ".pki.new").exists())
        self.assertEqual(self.assert_sound(directory), count + 1)

    def test_two_at_once(self):
        """With the same file, and none is in the other's way."""
        directory = fresh()
        leaves = write_hosts(directory, 500)
        runs = [
            subprocess.Popen(
                [program(), "--hosts", "hosts.txt"], cwd=directory, stderr=subprocess.PIPE
            )
            for _ in range(3)
        ]
        said = [run.communicate(timeout=120)[1] for run in runs]
        self.assertEqual([run.returncode for run in runs], [0, 0, 0], said)
        self.assertEqual(sum(b"500 unchanged" in line for line in said), 2)
        self.assert_fleet(directory, leaves)
        self.assertEqual((directory / "minica-index.txt").read_text().count("\n"), 501)


class Terminal(FleetCase):
    def run_on_terminal(self, directory: Path, *arguments) -> tuple[int, str]:
        """Exit status, and what appeared. stdout is a pipe, stderr a terminal."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        shown = b""
        with subprocess.Popen(
            [program(), *arguments],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        ) as run:
            os.close(theirs)
            while select.select([ours], [], [], 60)[0]:
                try:
                    part = os.read(ours, 65536)
                except OSError:  # the other side is closed
                    break
                if not part:
                    break
                shown += part
        os.close(ours)
        return run.returncode, shown.decode()

    def test_bar_and_summary(self):
        directory = fresh()
        write_hosts(directory, 1500)
        status, shown = self.run_on_terminal(directory, "--hosts", "hosts.txt")
        self.assertEqual(status, 0)
        bars = re.findall(r"\r\x1b\[K\[([# ]{40})\] ([\d,]+) of 1,500", shown)
        self.assertGreater(len(bars), 1)
        done = [int(number.replace(",", "")) for _, number in bars]
        self.assertEqual(done, sorted(done))
        for bar, number in zip(bars, done, strict=True):
            self.assertEqual(bar[0].count("#"), number * 40 // 1500)
        # What stays on the screen is one line.
        self.assertRegex(shown, r"\r\x1b\[Kpki: 1,500 issued, 0 unchanged in \d+\.\d s\r\n\Z")
        self.assertEqual(shown.count("\n"), 1)

    def test_messages_are_not_in_the_bar(self):
        directory = fresh()
        (directory / "hosts.txt").write_text("a\nb\n")
        self.run_on_terminal(directory, "--hosts", "hosts.txt")
        (directory / "hosts.txt").write_text("a,c\nb\n")
        status, shown = self.run_on_terminal(directory, "--hosts", "hosts.txt")
        self.assertEqual(status, 1)
        self.assertRegex(shown, r"\r\x1b\[Kpki: hosts\.txt:1: .*differs.*\r\n")
        self.assertTrue(shown.endswith("\r\x1b[K"), shown)

    def test_none_where_it_is_not_wanted(self):
        directory = fresh()
        (directory / "hosts.txt").write_text("a\nb\n")
        self.assertEqual(
            self.run_on_terminal(directory, "--hosts", "hosts.txt", "--quiet"), (0, "")
        )
        _, shown = self.run_on_terminal(directory, "--hosts", "hosts.txt", "--verbose")
        self.assertNotIn("[#", shown)
        self.assertIn("a: unchanged", shown)


if __name__ == "__main__":
    unittest.main()
