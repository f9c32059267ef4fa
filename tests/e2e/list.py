#!/usr/bin/python3
"""pki list: what is on the disk and in the ledger, for people, scripts and Prometheus.

The ledgers are pki's own, openssl-ca(1)'s and hostile ones; the directories those of pki and, made
with openssl(1), of minica. Prometheus' node_exporter and its client library read the metrics.

    PKI=build/pki tests/e2e/list.py
"""

import contextlib
import fcntl
import functools
import json
import math
import os
import pty
import re
import secrets
import shutil
import socket
import subprocess
import termios
import time
import unittest
import urllib.request
from pathlib import Path

from minica_compat import minica_leaf, minica_root
from prometheus_client.parser import text_string_to_metric_families
from support import (
    AUTHORITY,
    FIT,
    Case,
    certify,
    fresh,
    from_now,
    give_away,
    make_key,
    make_root,
    openssl,
    place,
    program,
    snapshot,
    unprivileged,
    with_root,
)

SERVER = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
authorityKeyIdentifier=keyid
"""


@functools.cache
def old_root() -> tuple[bytes, bytes]:
    """A root under which certificates can have ended already."""
    return make_root(start=from_now(-800), end=from_now(36500), subject="old root")


def leaf(name: str, end: float, root=None, start: float = -700, extensions=SERVER) -> bytes:
    """A certificate that ends in so many days."""
    return certify(
        make_key("p256", 1),
        extensions + f"subjectAltName=DNS:{name}\n",
        issuer=root or old_root(),
        subject=name,
        start=from_now(start),
        end=from_now(end),
    )


def put(directory: Path, name: str | bytes, certificate: bytes):
    path = os.path.join(os.fsencode(directory), os.fsencode(name))
    os.mkdir(path)
    with open(os.path.join(path, b"cert.pem"), "wb") as file:
        file.write(certificate)


def serial_of(certificate: bytes) -> str:
    text = openssl("x509 -noout -serial", stdin=certificate).decode()
    return text.strip().removeprefix("serial=")


def line(certificate: bytes, status="V", revoked="") -> str:
    """Its line in the ledger."""
    end = openssl("x509 -noout -enddate -dateopt iso_8601", stdin=certificate).decode().strip()
    stamp = re.sub(r"\D", "", end.partition("=")[2])[2:] + "Z"
    name = openssl("x509 -noout -subject -nameopt multiline", stdin=certificate).decode()
    name = re.search(r"commonName += (.*)", name)[1]
    return f"{status}\t{stamp}\t{revoked}\t{serial_of(certificate)}\tunknown\t/CN={name}\n"


def ledger_line(name: str, days: float, serial: str = "") -> str:
    stamp = from_now(days)[2:]
    return f"V\t{stamp}\t\t{serial or secrets.token_hex(16).upper()}\tunknown\t/CN={name}\n"


class ListCase(Case):
    def listed(self, directory: Path, *arguments, status=0, warnings=0, **how) -> dict[str, dict]:
        """What --json says, by name."""
        document = self.document(directory, *arguments, status=status, warnings=warnings, **how)
        return {one["name"]: one for one in document["certificates"]}

    def document(self, directory: Path, *arguments, status=0, warnings=0, **how) -> dict:
        before = snapshot(directory)
        run = self.pki(directory, "list", "--json", *arguments, **how)
        self.assertEqual(snapshot(directory), before, "something was changed")
        self.assertEqual(run.returncode, status, run.stderr)
        lines = run.stderr.splitlines(keepends=True)
        self.assertEqual(len(lines), warnings, run.stderr)
        for text in lines:
            self.assertRegex(text, rb"\Apki: warning: [\x20-\x7e]+\n\Z")
        return json.loads(run.stdout)

    def statuses(self, directory: Path, *arguments, **how) -> dict[str, str]:
        return {
            name: one["status"] for name, one in self.listed(directory, *arguments, **how).items()
        }

    def table(self, directory: Path, *arguments) -> list[list[str]]:
        """The rows, split into their columns; the heading is the first one."""
        run = self.pki(directory, "list", *arguments)
        self.assertEqual(run.stderr, b"")
        return [re.split(r" {2,}", row) for row in run.stdout.decode().splitlines()]


class OurOwn(ListCase):
    """What pki has issued."""

    def setUp(self):
        self.directory = fresh()
        for arguments in (
            ["--domains", "bouncerhost,pooler.internal", "--ip-addresses", "10.0.0.5"],
            ["--user", "app_user"],
            ["--domains", "*.db.example.org", "--profile", "peer"],
            ["--domains", "short", "--days", "20"],
        ):
            self.assertEqual(self.pki(self.directory, *arguments).returncode, 0)

    def test_everything_is_told(self):
        listed = self.listed(self.directory)
        root, *leaves = listed.values()
        self.assertEqual((root["kind"], root["status"]), ("root", "valid"))
        self.assertRegex(root["name"], r"\Aminica root ca [0-9a-f]{6}\Z")
        self.assertEqual(root["certificate"], str(self.directory / "minica.pem"))
        self.assertEqual(
            [(one["name"], one["kind"], one["names"]) for one in leaves],
            [
                ("_.db.example.org", "peer", ["*.db.example.org"]),
                ("app_user", "client", []),
                ("bouncerhost", "server", ["bouncerhost", "pooler.internal", "10.0.0.5"]),
                ("short", "server", ["short"]),
            ],
        )
        for one in leaves:
            path = self.directory / one["name"] / "cert.pem"
            self.assertEqual(one["certificate"], str(path))
            self.assertEqual(one["serial"], serial_of(path.read_bytes()))
            self.assertEqual(one["status"], "valid")
            self.assertTrue(one["in_ledger"])
            left = (time_of(one["not_after"]) - time.time()) / 86400
            self.assertEqual(one["days_left"], math.floor(left))
            ends = openssl("x509 -noout -enddate -dateopt iso_8601", stdin=path.read_bytes())
            self.assertEqual(one["not_after"], ends.decode().strip()[9:].replace(" ", "T"))

    def test_the_table_says_the_same(self):
        heading, root, *rows = self.table(self.directory)
        self.assertEqual(
            heading, ["NAME", "KIND", "STATUS", "EXPIRES", "DAYS", "SERIAL", "NAMES"]
        )
        listed = self.listed(self.directory)
        self.assertEqual(root[:3], [next(iter(listed)), "root", "valid"])
        for row in rows:
            one = listed[row[0]]
            names = [", ".join(one["names"])] if one["names"] else []
            self.assertEqual(
                row[1:],
                [
                    one["kind"],
                    "valid",
                    one["not_after"][:10],
                    str(one["days_left"]),
                    one["serial"],
                    *names,
                ],
            )

    def test_where_the_files_are(self):
        below = self.directory / "below"
        below.mkdir()
        listed = self.listed(
            below, "--ca-cert", str(self.directory / "minica.pem"), "--out", str(self.directory)
        )
        self.assertEqual(listed, self.listed(self.directory))
        # None is in this directory.
        here = self.statuses(below, "--ca-cert", "../minica.pem")
        self.assertEqual(
            {name: status for name, status in here.items() if status != "valid"},
            dict.fromkeys(("_.db.example.org", "app_user", "bouncerhost", "short"), "missing"),
        )

    def test_filters(self):
        for arguments, names in (
            (["--kind", "server"], ["bouncerhost", "short"]),
            (["--kind", "client"], ["app_user"]),
            (["--kind", "peer"], ["_.db.example.org"]),
            (["--expiring", "19d"], []),
            (["--expiring", "20d"], ["short"]),
            (["--expiring", "20"], ["short"]),
            (["--expiring", "20d", "--kind", "client"], []),
            (["--expiring", "800d", "--kind", "client"], ["app_user"]),
        ):
            with self.subTest(arguments):
                found = "--expiring" in arguments and names != []
                listed = self.statuses(self.directory, *arguments, status=3 if found else 0)
                self.assertEqual(list(listed), names)
                if found:
                    self.assertEqual(set(listed.values()), {"expiring"})
        everything = self.listed(self.directory, "--expiring", "36525d", status=3)
        self.assertEqual(len(everything), 5, "the root ends too")

    def test_order(self):
        # Of those that end in the same second, the name decides.
        for order, key in (
            ("name", lambda one: one["name"]),
            ("expiry", lambda one: (one["not_after"], one["name"])),
        ):
            root, *leaves = self.listed(self.directory, "--sort", order).values()
            self.assertEqual(root["kind"], "root")
            self.assertEqual(leaves, sorted(leaves, key=key))
        self.assertEqual(leaves[0]["name"], "short")

    def test_quiet(self):
        """What ends, a line each on stderr; else nothing at all."""
        run = self.pki(self.directory, "list", "--quiet")
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, b"", b""))
        run = self.pki(self.directory, "list", "--quiet", "--expiring", "30d")
        self.assertEqual((run.returncode, run.stdout), (3, b""))
        self.assertRegex(
            run.stderr, rb"\Apki: short/cert\.pem expires on \S+; renew it: pki renew short\n\Z"
        )

    def test_a_directory_that_went_away(self):
        shutil.rmtree(self.directory / "bouncerhost")
        self.assertEqual(self.statuses(self.directory)["bouncerhost"], "missing")
        [row] = [row for row in self.table(self.directory) if row[0] == "bouncerhost"]
        self.assertEqual(row[1:3], ["-", "missing from disk"])
        found = self.listed(self.directory, "--expiring", "30d", status=3)
        self.assertEqual(list(found), ["short"])
        listed = self.statuses(self.directory, "--expiring", "800d", status=3)
        self.assertEqual(listed["bouncerhost"], "missing")
        # Issued again, and nothing is missing any more.
        self.assertEqual(self.pki(self.directory, "--domains", "bouncerhost").returncode, 0)
        self.assertNotIn("missing", self.statuses(self.directory).values())
        found = self.document(self.directory, "--all")["certificates"]
        statuses = [one["status"] for one in found if one["name"] == "bouncerhost"]
        self.assertEqual(statuses, ["valid", "superseded"])

    def test_moved_away_as_the_manual_says(self):
        (self.directory / "short").rename(self.directory / "short.old")
        self.assertEqual(self.pki(self.directory, "--domains", "short").returncode, 0)
        self.assertNotIn("short.old", self.statuses(self.directory))
        self.assertEqual(self.listed(self.directory, "--expiring", "30d"), {})
        self.assertEqual(self.statuses(self.directory, "--all")["short.old"], "superseded")

    def test_a_link_to_a_directory(self):
        """As issue follows it."""
        elsewhere = fresh()
        (self.directory / "bouncerhost").rename(elsewhere / "anything")
        (self.directory / "bouncerhost").symlink_to(elsewhere / "anything")
        (self.directory / "alias").symlink_to("short")
        listed = self.statuses(self.directory)
        self.assertEqual(listed["bouncerhost"], "valid")
        self.assertNotIn("alias", listed)

    def test_two_roots_in_one_file(self):
        """While one is replaced by the other."""
        bundle = self.directory / "minica.pem"
        bundle.write_bytes(old_root()[0] + bundle.read_bytes())
        put(self.directory, "older", leaf("older", 100))
        names = list(self.listed(self.directory))
        self.assertEqual(names[0], "old root")
        self.assertRegex(names[1], "minica root ca")
        self.assertIn("older", names)
        self.assertIn("short", names)


class Statuses(ListCase):
    def test_all_of_them(self):
        directory = with_root(old_root())
        certificates = {
            name: leaf(name, days)
            for name, days in {
                "valid": 31,
                "expiring": 29,
                "expired": -1,
                "revoked": 100,
                "unrecorded": 100,
                "missing": 100,
                "gone-and-over": -1,
                "withdrawn": 100,
                "replaced": 10,
            }.items()
        }
        for name in ("valid", "expiring", "expired", "revoked", "unrecorded"):
            put(directory, name, certificates[name])
        put(directory, "replaced", leaf("replaced", 300))
        ledger = "".join(
            line(certificate)
            for name, certificate in certificates.items()
            if name not in ("revoked", "unrecorded", "withdrawn")
        )
        ledger += line((directory / "replaced/cert.pem").read_bytes())
        for name in ("revoked", "withdrawn"):
            ledger += line(certificates[name], "R", "260101000000Z,keyCompromise")
        (directory / "minica-index.txt").write_text(ledger)

        expected = {
            "old root": "valid",
            "expired": "expired",
            "expiring": "expiring",
            "replaced": "valid",
            "revoked": "revoked",
            "unrecorded": "unrecorded",
            "valid": "valid",
            "missing": "missing",
            "withdrawn": "revoked",
        }
        self.assertEqual(self.statuses(directory), expected)
        revoked = self.listed(directory)["revoked"]
        self.assertEqual(revoked["revoked_at"], "2026-01-01T00:00:00Z")
        self.assertEqual(revoked["revocation_reason"], "keyCompromise")
        found = self.document(directory, "--all")["certificates"]
        self.assertEqual(
            [(one["name"], one["status"]) for one in found][len(expected) :],
            [("gone-and-over", "expired"), ("replaced", "superseded")],
        )
        # Of those that are in use.
        self.assertEqual(
            list(self.listed(directory, "--expiring", "30d", status=3)), ["expired", "expiring"]
        )
        self.assertEqual(list(self.listed(directory, "--expiring", "0d", status=3)), ["expired"])
        by_expiry = list(self.listed(directory, "--sort", "expiry"))
        self.assertEqual(by_expiry[:4], ["old root", "expired", "expiring", "valid"])
        self.assertEqual(by_expiry[-1], "replaced")
        in_table = {row[2] for row in self.table(directory)[1:]}
        self.assertEqual(
            in_table - {*expected.values()}, {"missing from disk", "not in the ledger"}
        )

    def test_the_root(self):
        directory = with_root(make_root(start=from_now(-100), end=from_now(20)))
        self.assertEqual(self.statuses(directory), {"a root": "expiring"})
        self.assertEqual(
            self.statuses(directory, "--expiring", "30d", status=3), {"a root": "expiring"}
        )
        directory = with_root(make_root(start=from_now(-100), end=from_now(-1)))
        self.assertEqual(
            self.statuses(directory, "--expiring", "0d", status=3), {"a root": "expired"}
        )

    def test_other_certificates(self):
        """Neither those of other roots nor CAs are leaves of this one; other usages may be."""
        directory = with_root(old_root())
        put(directory, "foreign", leaf("foreign", 100, make_root()))
        put(directory, "sub-ca", leaf("sub-ca", 100, extensions=FIT))
        for_code = SERVER.replace("serverAuth", "codeSigning")
        put(directory, "none", leaf("none", 100, extensions=for_code))
        put(directory, "any", leaf("any", 100, extensions="basicConstraints=CA:FALSE\n"))
        (directory / "empty").mkdir()
        (directory / "file").touch()
        listed = self.listed(directory)
        self.assertEqual(
            {name: one["kind"] for name, one in listed.items()},
            {"old root": "root", "none": "other", "any": "peer"},
        )


class FromMinica(ListCase):
    """A directory in which pki has never run."""

    def test_it_is_listed(self):
        for kind in ("p384", "rsa2048"):
            with self.subTest(kind):
                root = minica_root(kind)
                directory = with_root(root)
                (directory / "bouncerhost").mkdir(0o700)
                place(directory / "bouncerhost", *minica_leaf(root), ("cert.pem", "key.pem"))
                document = self.document(directory)
                self.assertEqual(document["ledger"], "")
                self.assertTrue(document["complete"])
                minica, bouncerhost = document["certificates"]
                self.assertEqual(minica["name"], "minica root ca 2f3c1a")
                self.assertEqual(minica["status"], "valid")
                # minica's are for clients too, until 2025.
                self.assertEqual(bouncerhost["kind"], "peer")
                self.assertEqual(bouncerhost["status"], "valid", "nothing is wrong with it")
                self.assertEqual(bouncerhost["names"], ["bouncerhost"])
                self.assertFalse(bouncerhost["in_ledger"])
                run = self.pki(directory, "list")
                self.assertEqual(run.stderr, b"")
                self.assertNotIn(b"ledger", run.stdout)

    def test_once_pki_has_issued_there(self):
        root = minica_root("p384")
        directory = with_root(root)
        (directory / "bouncerhost").mkdir(0o700)
        place(directory / "bouncerhost", *minica_leaf(root), ("cert.pem", "key.pem"))
        self.assertEqual(self.pki(directory, "--domains", "dbhost").returncode, 0)
        self.assertEqual(
            self.statuses(directory),
            {
                "minica root ca 2f3c1a": "valid",
                "bouncerhost": "unrecorded",
                "dbhost": "valid",
            },
        )


class FromOpenssl(ListCase):
    def test_its_database(self):
        """What openssl-ca(1) has written, revoked and marked as expired."""
        directory = with_root(old_root())
        (directory / "config").write_text(
            AUTHORITY.replace("= index", "= minica-index.txt")
        )
        (directory / "minica-index.txt").touch()
        (directory / "serial").write_text("4001")
        (directory / "leaf").write_text(SERVER)
        (directory / "key").write_bytes(make_key("p256", 1))

        def ca(arguments: str):
            openssl(
                "ca -batch -config config -cert minica.pem -keyfile minica-key.pem -md sha256 "
                + arguments,
                directory=directory,
            )

        for name, end in (("stays", 300), ("goes", 300), ("ended", -1)):
            openssl(
                f"req -new -config config -key key -out request -subj /CN={name}",
                directory=directory,
            )
            (directory / name).mkdir()
            ca(
                f"-notext -in request -out {name}/cert.pem -extfile leaf "
                f"-startdate {from_now(-30)} -enddate {from_now(end)}"
            )
        ca("-revoke goes/cert.pem -crl_reason superseded")
        ca("-updatedb")
        self.assertRegex((directory / "minica-index.txt").read_text(), "(?m)^E\t")
        listed = self.listed(directory)
        self.assertEqual(
            {name: one["status"] for name, one in listed.items()},
            {"old root": "valid", "ended": "expired", "goes": "revoked", "stays": "valid"},
        )
        self.assertEqual(listed["goes"]["revocation_reason"], "superseded")
        for one in list(listed.values())[1:]:
            self.assertTrue(one["in_ledger"])
        shutil.rmtree(directory / "goes")
        self.assertEqual(self.statuses(directory)["goes"], "revoked")


class Reading(ListCase):
    """It only reads, and only what it must."""

    def test_as_whoever_can_read_the_certificates(self):
        directory = fresh()
        give_away(directory)
        for arguments in (["--domains", "bouncerhost"], ["--user", "app"]):
            self.assertEqual(self.pki(directory, *arguments, **unprivileged()).returncode, 0)
        for key in directory.rglob("*key.pem"):
            key.chmod(0)
        for path in (directory, directory / "bouncerhost", directory / "app"):
            path.chmod(0o555)
        self.assertEqual(
            list(self.statuses(directory, **unprivileged()).values()), ["valid"] * 3
        )
        for key in directory.rglob("*key.pem"):
            key.unlink()
        self.assertEqual(
            list(self.statuses(directory, **unprivileged()).values()), ["valid"] * 3
        )

    def test_it_waits_for_nobody(self):
        directory = fresh()
        self.assertEqual(self.pki(directory, "--domains", "bouncerhost").returncode, 0)
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self.assertEqual(len(self.listed(directory, timeout=10)), 2)
        finally:
            os.close(descriptor)

    def test_no_system_call_changes_anything(self):
        directory = fresh()
        self.assertEqual(self.pki(directory, "--domains", "bouncerhost").returncode, 0)
        calls = fresh() / "calls"
        run = subprocess.run(
            ["strace", "-f", "-o", calls, program(), "list", "--all"],
            cwd=directory,
            capture_output=True,
            check=False,
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        text = calls.read_text()
        self.assertRegex(text, r'openat\(\d+, "cert\.pem", O_RDONLY')
        self.assertNotRegex(text, r'open\w*\([^)]*key\.pem')
        for forbidden in (
            "O_WRONLY", "O_RDWR", "O_CREAT", "flock", "rename", "unlink", "mkdir", "truncate",
            "fsync", "chmod", "chown", "connect",
        ):  # fmt: skip
            self.assertNotIn(forbidden, text)

    def test_what_cannot_be_read_is_told(self):
        directory = fresh()
        give_away(directory)
        for host in ("bouncerhost", "closed"):
            self.assertEqual(self.pki(directory, "--domains", host, **unprivileged()).returncode, 0)
        (directory / "closed").chmod(0)
        how = {**unprivileged(), "warnings": 1}
        document = self.document(directory, **how)
        self.assertFalse(document["complete"])
        self.assertRegex(document["warnings"][0], r"\Aclosed is passed over: .*Permission denied")
        # Whether that one ends soon cannot be told.
        self.assertEqual(self.listed(directory, "--expiring", "30d", status=1, **how), {})
        found = self.listed(directory, "--expiring", "800d", status=3, **how)
        self.assertEqual(found["closed"]["status"], "missing")
        (directory / "closed").chmod(0o755)

        (directory / "minica-index.txt").chmod(0)
        document = self.document(directory, **how)
        self.assertEqual(document["ledger"], "")
        self.assertEqual({one["status"] for one in document["certificates"]}, {"valid"})
        self.assert_one_line(
            self.pki(directory, "list", "--ca-cert", "nothing.pem", **unprivileged()).stderr
        )

    def test_the_root_must_be_there(self):
        for make in (lambda path: None, lambda path: path.write_text("nothing"), Path.mkdir):
            directory = fresh()
            make(directory / "minica.pem")
            self.assert_refused(directory, "list", says=["minica.pem"])
        self.assert_refused(
            with_root(), "list", "--out", "nowhere", says=["cannot open directory", "nowhere"]
        )

    def test_wrong_usage(self):
        directory = with_root()
        for arguments, says in (
            (["bouncerhost"], ["extra argument", "bouncerhost"]),
            (["--expiring"], ["--expiring needs a value"]),
            (["--expiring", "soon"], ["--expiring", '"soon"']),
            (["--expiring", "-1"], ["--expiring"]),
            (["--kind", "root"], ["--kind", "server, client or peer"]),
            (["--kind", ""], ["--kind"]),
            (["--sort", "size"], ["--sort", "name or expiry"]),
            (["--all", "--expiring", "30d"], ["--all", "--expiring"]),
            (["--all", "--prometheus"], ["--all", "--prometheus"]),
            (["--json", "--prometheus"], ["--json", "--prometheus"]),
            (["--ca-key", "minica-key.pem"], ["--ca-key"]),
        ):
            with self.subTest(arguments):
                self.assert_refused(directory, "list", *arguments, says=says, status=2)


HOSTILE_NAMES = [
    b"evil\x1b[2J\x1b]0;title\x07name",
    b"two\nlines",
    b"csi\x9b31m",
    b"utf8-\xc3\xa4",
    b'quote"back\\slash',
    b"{label=}",
    b"-dash",
    b" blank ",
    b"x" * 255,
]


class Hostile(ListCase):
    @staticmethod
    def directory() -> Path:
        directory = with_root(old_root())
        for number, name in enumerate(HOSTILE_NAMES):
            put(directory, name, leaf(f"host{number}", 100))
        return directory

    def test_names_of_directories(self):
        directory = self.directory()
        run = self.pki(directory, "list", "--all")
        self.assertEqual(run.returncode, 0)
        self.assertRegex(run.stdout, rb"\A[\x20-\x7e\n]+\Z")
        self.assertEqual(run.stdout.count(b"\n"), 2 + len(HOSTILE_NAMES))
        expected = {name.decode(errors="replace") for name in HOSTILE_NAMES}
        self.assertEqual(set(self.listed(directory)) - {"old root"}, expected)

    def test_on_a_terminal(self):
        shown = on_terminal(self.directory(), "list")
        plain = re.sub(rb"\x1b\[\d+m", b"", shown)  # our own colours
        self.assertRegex(plain, rb"\A[\x20-\x7e\r\n]+\Z")

    def test_names_in_certificates(self):
        directory = with_root(old_root())
        put(directory, "host", certify(
            make_key("p256", 1),
            SERVER + "subjectAltName=DNS:evil\x1b[2J.example,email:a@b.example,URI:x:y,DNS:z\n",
            issuer=old_root(), subject="host"))  # fmt: skip
        self.assertEqual(self.listed(directory)["host"]["names"], ["evil\x1b[2J.example", "z"])
        run = self.pki(directory, "list")
        self.assertRegex(run.stdout, rb"\A[\x20-\x7e\n]+\Z")

    def test_files_that_are_none(self):
        directory = with_root(old_root())
        put(directory, "good", leaf("good", 100))
        (directory / "fifo").mkdir()
        os.mkfifo(directory / "fifo/cert.pem")
        (directory / "device").mkdir()
        (directory / "device/cert.pem").symlink_to("/dev/zero")
        (directory / "large").mkdir()
        with (directory / "large/cert.pem").open("wb") as file:
            file.truncate(1 << 30)
        (directory / "loop").symlink_to("loop")
        certificate = leaf("broken", 100)
        for at in range(30, len(certificate), 97):
            put(directory, f"broken{at}", certificate[:at] + b"!" + certificate[at + 1 :])
        run = self.pki(directory, "list", "--json", timeout=20)
        self.assertEqual(run.returncode, 0, run.stderr)
        document = json.loads(run.stdout)
        self.assertEqual(
            [one["name"] for one in document["certificates"]], ["old root", "good"]
        )
        warned = " ".join(document["warnings"])
        for name in ("fifo", "device", "large", "loop", "broken30"):
            self.assertIn(f"{name} is passed over", warned)

    def test_ledgers(self):
        directory = with_root(old_root())
        good = leaf("good", 100)
        put(directory, "good", good)
        ledger = directory / "minica-index.txt"
        for contents, warnings in (
            (b"", 0),
            (b"\0" * 100, 1),
            (b"\n\n\n", 3),
            (b"V\t\t\t\t\t\n" * 1000, 11),
            (secrets.token_bytes(1 << 20), None),
            (b"V" * (1 << 22), 1),
            (b"\t" * (1 << 22) + b"\n", 1),
            (b"V\t301231000000Z\t\t0A\tunknown\t/CN=\x1b[2J\nV\t301231000000Z\t\t0B\tun", 1),
            (b"V\t301231000000Z\t\t0C\tunknown\t/CN=" + b"a" * 60_000 + b"\n", 0),
        ):
            ledger.write_bytes(contents)
            with self.subTest(contents[:40]):
                run = self.pki(directory, "list", "--all")
                self.assertEqual(run.returncode, 0)
                self.assertRegex(run.stdout, rb"\A[\x20-\x7e\n]+\Z")
                self.assertRegex(run.stderr, rb"\A(pki: warning: [\x20-\x7e]+\n)*\Z")
                if warnings is not None:
                    self.assertEqual(run.stderr.count(b"\n"), warnings, run.stderr)
                self.assertIn(b"\ngood ", run.stdout)
                # What can be read counts, whatever stands around it.
                ledger.write_bytes(contents + b"\n" + line(good).encode())
                run = self.pki(directory, "list", "--json")
                [found] = [
                    one for one in json.loads(run.stdout)["certificates"] if one["name"] == "good"
                ]
                self.assertTrue(found["in_ledger"])
        ledger.unlink()
        os.mkfifo(ledger)
        self.assertEqual(self.statuses(directory, warnings=1, timeout=10)["good"], "valid")


def on_terminal(directory: Path, *arguments, environment=None, columns=200) -> bytes:
    """What the program writes to a terminal."""
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    child = subprocess.Popen(
        [program(), *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, **(environment or {})},
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # what Linux says when the other end is closed
        while piece := os.read(terminal, 65536):
            shown += piece
    os.close(terminal)
    child.wait(timeout=20)
    return shown


class OnATerminal(ListCase):
    def test_the_bar_and_its_colour(self):
        directory = with_root(old_root())
        (directory / "minica-index.txt").touch()
        for name, days in (("full", 700), ("half", 350), ("little", 3), ("ended", -3)):
            put(directory, name, leaf(name, days, start=days - 700))
        shown = on_terminal(directory, "list").decode().replace("\r", "")
        for name, bar, colour in (
            ("full", r"={8}", 0),
            ("half", r"={4} {4}", 0),
            ("little", r"= {7}", 33),
            ("ended", r" {8}", 31),
        ):
            [row] = re.findall(rf"(?m)^{name} .*", shown)
            self.assertRegex(row, rf"\[{bar}\]")
            if colour:
                self.assertEqual(row.count(f"\x1b[{colour}m"), 2)
            self.assertEqual(row.count("\x1b[0m") * 2, row.count("\x1b["))
        self.assertIn("pki renew --all\n", shown)
        self.assertIn("Not in the ledger", shown)
        plain = on_terminal(directory, "list", environment={"NO_COLOR": "1"}).decode()
        self.assertNotIn("\x1b", plain)
        self.assertEqual(plain.replace("\r", ""), re.sub(r"\x1b\[\d+m", "", shown))

    def test_a_narrow_one(self):
        """No line is wrapped, but for names."""
        directory = fresh()
        self.assertEqual(self.pki(directory, "--domains", "bouncerhost").returncode, 0)
        shown = re.sub(rb"\x1b\[\d+m", b"", on_terminal(directory, "list", columns=82))
        rows = shown.decode().split("\r\n")
        self.assertLessEqual(max(map(len, rows)), 82)
        serial = serial_of((directory / "bouncerhost/cert.pem").read_bytes())
        self.assertIn(f"    {serial}  bouncerhost", rows)
        wide = re.sub(rb"\x1b\[\d+m", b"", on_terminal(directory, "list", columns=150)).decode()
        self.assertEqual(wide.split(), shown.decode().split())
        self.assertEqual(wide.count("\n") * 2, shown.count(b"\n"))

    def test_next_steps(self):
        directory = fresh()
        for host in ("stays", "goes"):
            self.assertEqual(self.pki(directory, "--domains", host).returncode, 0)
        self.assertNotIn(b"pki ", on_terminal(directory, "list"))
        shutil.rmtree(directory / "goes")
        self.assertIn(b"pki revoke SERIAL\r\n", on_terminal(directory, "list"))
        self.assertEqual(self.pki(directory, "--domains", "goes").returncode, 0)
        where = f"--ca-cert {directory}/minica.pem --out {directory}"
        shown = on_terminal(fresh(), "list", *where.split())
        self.assertIn(b"1 more is superseded or expired:", shown)
        self.assertIn(f"pki list --all {where}\r\n".encode(), shown)
        self.assertIn(b"nothing to list", on_terminal(directory, "list", "--expiring", "1d"))
        minica = with_root(minica_root("p384"))
        self.assertIn(b"There is no ledger yet", on_terminal(minica, "list"))

    def test_off_a_terminal_there_is_the_table_alone(self):
        directory = with_root(old_root())
        put(directory, "ended", leaf("ended", -3))
        run = self.pki(directory, "list")
        self.assertEqual(run.stdout.count(b"\n"), 3)
        self.assertNotIn(b"[", run.stdout)


METRICS = {
    "pki_certificate_expiry_timestamp_seconds",
    "pki_certificate_status",
    "pki_certificates",
    "pki_list_warnings",
}


class RevocationList(ListCase):
    def test_its_end_is_watched(self):
        directory = fresh()
        for arguments in (["--domains", "a.test"], ["crl", "--days", "20"]):
            self.assertEqual(self.pki(directory, *arguments).returncode, 0)
        run = self.pki(directory, "list")
        self.assertEqual(run.returncode, 0)
        self.assertRegex(run.stderr.decode(), r"minica-crl\.pem ends on .*pki crl")
        metrics = self.pki(directory, "list", "--prometheus").stdout.decode()
        [end] = re.findall(r"^pki_crl_next_update_timestamp_seconds (\d+)$", metrics, re.M)
        self.assertAlmostEqual(int(end), time.time() + 20 * 86400, delta=600)
        self.assertEqual(self.pki(directory, "crl", "--days", "400").returncode, 0)
        self.assertEqual(self.pki(directory, "list").stderr, b"")
        (directory / "minica-crl.pem").write_text("nonsense\n")
        self.assertIn(b"minica-crl.pem", self.pki(directory, "list").stderr)


class Prometheus(ListCase):
    def directory(self) -> Path:
        directory = Hostile.directory()
        (directory / "minica-index.txt").write_text(ledger_line("gone", 100))
        put(directory, "ended", leaf("ended", -1))
        put(directory, "copy", (directory / "ended/cert.pem").read_bytes())
        bundle = directory / "minica.pem"
        bundle.write_bytes(bundle.read_bytes() * 2)  # the same series twice would be refused
        return directory

    def metrics(self, directory: Path, *arguments, status=0) -> str:
        run = self.pki(directory, "list", "--prometheus", *arguments)
        self.assertEqual((run.returncode, run.stderr), (status, b""))
        return run.stdout.decode()

    def test_what_the_client_library_reads(self):
        directory = self.directory()
        families = list(text_string_to_metric_families(self.metrics(directory)))
        self.assertEqual([family.name for family in families], sorted(METRICS))
        for family in families:
            self.assertEqual(family.type, "gauge")
            self.assertNotEqual(family.documentation, "")
        expiry, status, count, warnings = (family.samples for family in families)
        listed = self.document(directory)["certificates"][1:]
        on_disk = {
            (one["name"], one["kind"], one["serial"]): one for one in listed if one["certificate"]
        }
        found = {tuple(sample.labels.values()): sample for sample in expiry}
        self.assertEqual(len(found), len(expiry))
        self.assertEqual(len(found), len(on_disk))
        for (name, kind, serial), one in on_disk.items():
            # What is no UTF-8, or does not print, is written as on a terminal.
            if not name.isprintable() or "\ufffd" in name:
                [name] = [label for label, _, of in found if of == serial]
                self.assertRegex(name, r'\A"[\x20-\x7e]*\\[\x20-\x7e]*"\Z')
            self.assertEqual(found[name, kind, serial].value, time_of(one["not_after"]))
        self.assertEqual({sample.value for sample in status}, {1})
        self.assertEqual(
            {sample.labels["serial"]: sample.labels["status"] for sample in status},
            {one["serial"]: one["status"] for one in on_disk.values()},
        )
        counts = {sample.labels["status"]: sample.value for sample in count}
        self.assertEqual(
            counts,
            {"valid": 0, "expiring": 0, "expired": 1, "revoked": 0, "missing": 1,
             "unrecorded": len(HOSTILE_NAMES)},
        )  # fmt: skip
        self.assertEqual([sample.value for sample in warnings], [0])

    def test_node_exporter_takes_it(self):
        directory = self.directory()
        textfiles = fresh()
        (textfiles / "pki.prom").write_text(self.metrics(directory))
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        exporter = subprocess.Popen(
            [
                "prometheus-node-exporter",
                f"--web.listen-address=127.0.0.1:{port}",
                "--collector.disable-defaults",
                "--collector.textfile",
                f"--collector.textfile.directory={textfiles}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            scraped = self.scrape(port)
        finally:
            exporter.kill()
            exporter.wait()
        families = {family.name: family for family in text_string_to_metric_families(scraped)}
        self.assertEqual(families["node_textfile_scrape_error"].samples[0].value, 0)
        for family in text_string_to_metric_families(self.metrics(directory)):
            self.assertEqual(families[family.name].documentation, family.documentation)

            def keys(samples):
                return sorted((sorted(s.labels.items()), s.value) for s in samples)

            self.assertEqual(keys(families[family.name].samples), keys(family.samples))

    def scrape(self, port: int) -> str:
        end = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    return answer.read().decode()
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def test_warnings_and_findings(self):
        directory = with_root(old_root())
        put(directory, "soon", leaf("soon", 5))
        (directory / "damaged").mkdir()
        (directory / "damaged/cert.pem").touch()
        run = self.pki(directory, "list", "--prometheus", "--expiring", "30d")
        self.assertEqual(run.returncode, 3)
        self.assertIn(b"\npki_list_warnings 1\n", run.stdout)
        self.assertIn(b'pki_certificates{status="expiring"} 1\n', run.stdout)


def time_of(text: str) -> int:
    return int(time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))) - time.timezone


class Speed(ListCase):
    """No measurement: bounds that a list which holds the ledger, or reads it often, would break."""

    LINES = 300_000

    def run_limited(self, directory: Path, *arguments) -> tuple[bytes, int]:
        """stdout, and the most memory that was in use, in KiB."""
        child = subprocess.Popen(
            [program(), "list", *arguments], cwd=directory, stdout=subprocess.PIPE
        )
        stdout = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stdout.close()
        self.assertEqual(child.returncode, 0)
        self.assertLess(usage.ru_utime, 10)
        return stdout, usage.ru_maxrss

    def test_memory_does_not_grow_with_the_ledger(self):
        directory = with_root(old_root())
        put(directory, "host0", leaf("host0", 100))
        ledger = directory / "minica-index.txt"
        _, small = self.run_limited(directory)
        with ledger.open("w") as file:
            for i in range(self.LINES):
                days = 300 if i > self.LINES // 2 else -30
                file.write(ledger_line(f"host{i % 100}", days, f"41{i:030X}"))
        self.assertGreater(ledger.stat().st_size, 16 << 20)
        stdout, large = self.run_limited(directory)
        self.assertEqual(stdout.count(b"\n"), 2 + 100)
        self.assertLess(large, small + 3000)
        stdout, large = self.run_limited(directory, "--all")
        self.assertEqual(stdout.count(b"\n"), 3 + self.LINES)
        self.assertLess(large, small + 3000)


if __name__ == "__main__":
    unittest.main()
