"""What the fault tests run `pki` on, how they run it, and what must hold afterwards."""

import base64
import contextlib
import datetime
import itertools
import os
import pathlib
import re
import secrets
import shutil
import stat
import subprocess
import tempfile
import threading
from dataclasses import dataclass, replace
from typing import Callable

import disk

TIMEOUT = 60  # seconds; nothing here takes more than a few, unless it hangs
NOBODY = 65534

_name = f"pki-fault-{secrets.token_hex(8)}"
# In memory, where there is such a place: what is fsynced when does not depend on it.
WORK = pathlib.Path(
    "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir(), _name)
# Copies, so that another user can reach them; elsewhere, for in some containers nothing may be run
# from /dev/shm.
PROGRAMS = pathlib.Path(tempfile.gettempdir(), _name + "-programs")
PKI, INJECT, VERIFY = (PROGRAMS / name for name in ("pki", "inject", "verify"))

_numbers = itertools.count()


def begin():
    for directory in (WORK, PROGRAMS):
        directory.mkdir()
        directory.chmod(0o755)
    for copy in (PKI, INJECT, VERIFY):
        shutil.copy(os.environ[copy.name.upper()], copy)


def end():
    Verifier.close_all()
    for directory in (WORK, PROGRAMS):
        shutil.rmtree(directory)


def new_directory():
    directory = WORK / str(next(_numbers))
    directory.mkdir()
    return directory


def ordinary_user():
    """A user without privileges whom we can become; None if we cannot become another."""
    if os.geteuid() == 0:
        with tempfile.TemporaryDirectory(dir=WORK) as directory, contextlib.suppress(OSError):
            os.chown(directory, NOBODY, NOBODY)  # not in a user namespace without that user
            return NOBODY
    return None


def identity(user):
    """Arguments to subprocess that make it run as that user."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


class Verifier:
    """Asks a verify process, one for each thread."""

    _local = threading.local()
    _all = []

    @classmethod
    def ask(cls, *paths):
        if not hasattr(cls._local, "process"):
            cls._local.process = subprocess.Popen(
                [VERIFY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            cls._all.append(cls._local.process)
        process = cls._local.process
        print(*paths, sep="\t", file=process.stdin, flush=True)
        answer = process.stdout.readline().rstrip("\n")
        return [] if answer == "ok" else answer.split("; ")

    @classmethod
    def close_all(cls):
        for process in cls._all:
            process.communicate()


def snapshot(directory):
    """All there is to know of every file, but for the time of its last reading."""
    found = {}
    for path in [directory, *directory.rglob("*")]:
        status = path.lstat()
        contents = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[path] = {"itself": (status.st_ino, status.st_mode, status.st_uid, status.st_gid),
                       "times": (status.st_mtime_ns, status.st_ctime_ns), "contents": contents}
    return found


def shape(files):
    """A snapshot without what differs from run to run: keys, serial numbers, times, inodes."""
    root = min(files)
    return frozenset((path.relative_to(root), file["itself"][1], len(file["contents"] or ""))
                     for path, file in files.items())


@dataclass
class Run:
    status: int
    stderr: str
    rules: tuple = ()
    log: str = ""
    has_several: bool = False

    def has_one_line(self):
        return (self.stderr.startswith("pki: ") and self.stderr.endswith("\n")
                and self.stderr.count("\n") == 1)

    def is_explained(self):
        """One line, or where several certificates are looked at a line for each."""
        lines = self.stderr.splitlines()
        return bool(lines) and all(line.startswith("pki: ") for line in lines) and (
            len(lines) == 1 or self.has_several)

    def calls(self):
        return [line.split("\t") for line in self.log.splitlines()]

    def hit(self):
        """The calls that something was done to."""
        names = [f"rule {number}" for number, _ in enumerate(self.rules, 1)]
        return [call for call in self.calls() if call[-1] in names]


@dataclass(frozen=True)
class Scenario:
    """What is there, and what is asked for."""

    name: str
    prepare: Callable[[pathlib.Path], None] = lambda directory: None
    arguments: tuple = ("--domains", "bouncerhost")
    certificate: str = "minica.pem"
    key: str = "minica-key.pem"
    ledger: str = "minica-index.txt"
    leaf: str = "bouncerhost"
    more_leaves: tuple = ()
    umask: int = 0  # masks nothing: a mode that is too wide shows
    user: int | None = None
    # What verify may say here: a root that another program made is in no ledger.
    tolerated: tuple = ()
    # Rules for inject in every run.
    always: tuple = ()
    # What may be exchanged for something else of the same owner and mode, and what may get links.
    replaced: tuple = ()
    linked: tuple = ()

    def set_up(self, directory):
        """Copies what `prepare` made once."""
        template = WORK / ("template of " + self.name)
        with _template_lock:
            if not template.exists():
                template.mkdir()
                self.prepare(template)
                if self.user is not None:
                    for path in (template, *template.rglob("*")):
                        os.chown(path, self.user, self.user)
        shutil.copytree(template, directory, symlinks=True, dirs_exist_ok=True)
        for path in (template, *template.rglob("*")):
            owner = path.lstat()
            os.chown(directory / path.relative_to(template), owner.st_uid, owner.st_gid)

    def run(self, directory, *rules):
        """Under inject, with these rules."""
        log = directory.with_suffix(".log")
        log.touch()
        if self.user is not None:
            os.chown(log, self.user, self.user)
        # The last rule lets a tracer without privileges read paths: see inject.cpp.
        run = self.run_untraced(
            directory,
            (INJECT, "--log", log, *rules, *self.always, "1+:prctl:fail=0", "--", PKI))
        run.rules = rules
        run.log = log.read_text()
        log.unlink()
        return run

    def run_untraced(self, directory, command=(PKI,), **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL} | options
        done = subprocess.run([*command, *self.arguments], cwd=directory, umask=self.umask,
                              stderr=subprocess.PIPE, text=True, timeout=TIMEOUT,
                              **identity(self.user), **options)
        return Run(done.returncode, done.stderr, has_several="renew" in self.arguments)

    def broken(self, directory):
        """What must never be, at any instant."""
        leaves = (directory / self.leaf).parent
        found = Verifier.ask(directory / self.certificate, directory / self.key,
                             directory / self.ledger, leaves)
        leaf = directory / self.leaf
        if (leaf / "key.pk8").exists() and (leaf / "key.pem").exists():
            if base64.b64encode((leaf / "key.pk8").read_bytes()) != body_of(leaf / "key.pem"):
                found.append(f"{leaf.name}/key.pk8 is not that of key.pem")
        if (leaf / ".renewal.ready").exists():
            # One by one: what is there already and what waits there is the pair.
            found = [fault for fault in found if not fault.startswith(f"{leaf.name}/key.p")]
            key, certificate = (
                leaf / ".renewal.ready" / name if (leaf / ".renewal.ready" / name).exists()
                else leaf / name for name in ("key.pem", "cert.pem"))
            if not is_pair(certificate, key):
                found.append("what is ready does not match what is there")
        return [fault for fault in found if fault not in self.tolerated]

    def incomplete(self, directory):
        """What must not be after a success: something missing, or left over."""
        faults = []
        expected = {self.certificate: 0o644, self.key: 0o600, self.ledger: 0o644}
        for leaf in (self.leaf, *self.more_leaves):
            expected |= {f"{leaf}/cert.pem": 0o644, f"{leaf}/key.pem": 0o600}
        for name, mode in expected.items():
            path = directory / name
            if not path.exists():
                faults.append(f"{name} is missing")
            elif stat.S_IMODE(path.stat().st_mode) != mode:
                faults.append(f"{name} has mode {stat.S_IMODE(path.stat().st_mode):o}")
        ledger = directory / self.ledger
        if ledger.exists() and not ledger.read_bytes().endswith(b"\n"):
            faults.append("the ledger's last line is torn")
        for path in (*directory.rglob(".*.new"), *directory.rglob(".*.ready"),
                     *directory.rglob(".reload-due")):
            faults.append(f"{path.relative_to(directory)} is left over")
        return faults

    def touched(self, before, after):
        """What was there before and is not as it was. Lines may be added to the ledger, and a torn
        one taken off; what a killed run had staged is the program's own."""
        faults = []
        root = min(before)
        for path, old in before.items():
            name = path.relative_to(root)
            if any(disk.is_staged(part) for part in name.parts):
                continue
            new = after.get(path)
            if str(name) in self.replaced:
                if new is None or new["itself"][1:] != old["itself"][1:]:
                    faults.append(f"{name} is gone, or has another mode or owner")
                continue
            if str(name) in self.linked and new is not None:
                new = new | {"times": (new["times"][0], old["times"][1])}
            if new is None or new["itself"] != old["itself"]:
                faults.append(f"{name} is gone, another file, or has another mode or owner")
            elif str(name) == self.ledger:
                whole_lines = old["contents"][:old["contents"].rfind(b"\n") + 1]
                if not new["contents"].startswith(whole_lines):
                    faults.append("lines of the ledger are gone")
            elif old["contents"] is not None and new != old:
                faults.append(f"{name} was changed")
        return faults


def der_of(pem):
    return base64.b64decode(b"".join(pem.read_bytes().splitlines()[1:-1]))


@dataclass(frozen=True)
class Revocation(Scenario):
    """Of the leaf that is there. Its line in the ledger changes, and no other."""

    arguments: tuple = ("revoke", "bouncerhost", "--reason", "keyCompromise")
    list: str = "minica-crl.pem"

    def serial(self, directory):
        """What stands behind the version of the leaf's certificate."""
        certificate = der_of(directory / self.leaf / "cert.pem")
        return re.search(rb"\xa0\x03\x02\x01\x02\x02\x10(.{16})", certificate, re.S)[1]

    def incomplete(self, directory):
        faults = super().incomplete(directory)
        serial = self.serial(directory)
        revoked = re.compile(rf"^R\t\d+Z\t\d+Z,keyCompromise\t{serial.hex()}\t", re.I | re.M)
        if not revoked.search((directory / self.ledger).read_text()):
            faults.append("it is not revoked in the ledger")
        path = directory / self.list
        if not path.exists() or stat.S_IMODE(path.stat().st_mode) != 0o644:
            return [*faults, "there is no list, or not with its mode"]
        if b"\x02\x10" + serial not in der_of(path):
            faults.append("it is not on the list")
        return faults

    def touched(self, before, after):
        root = min(before)
        ours = {root / self.ledger, root / self.list}
        rest = {path: old for path, old in before.items() if path not in ours}
        faults = super().touched(rest, after)
        for path in ours & before.keys():
            old, new = before[path], after.get(path)
            # Replaced as a whole: another inode.
            if new is None or new["itself"][1:] != old["itself"][1:]:
                faults.append(f"{path.name} is gone, or has another mode or owner")
        if not faults and root / self.ledger in before:
            faults += self.changed_lines(*(
                files[root / self.ledger]["contents"] for files in (before, after)))
        return faults

    @staticmethod
    def changed_lines(old, new):
        """Lines may become revoked and may be added, and a torn one may go."""
        old, new = old[:old.rfind(b"\n") + 1].split(b"\n"), new.split(b"\n")
        for line, now in zip(old[:-1], new):
            fields, changed = line.split(b"\t"), now.split(b"\t")
            if line != now and not (
                    changed[0] == b"R" and fields[2] == b"" and
                    [changed[i] for i in (1, 3, 4, 5)] == [fields[i] for i in (1, 3, 4, 5)]):
                return [f"a line of the ledger was {line!r}, and is {now!r}"]
        return ["lines of the ledger are gone"] if len(new) < len(old) else []


_template_lock = threading.RLock()

FIRST_RUN = Scenario("a first run")
IN_THREE_DIRECTORIES = Scenario(
    "root and leaf in three directories",
    lambda directory: make_directories(directory, "a", "b", "c"),
    arguments=("--ca-cert", "a/ca.pem", "--ca-key", "b/key.pem", "--out", "c",
               "--domains", "bouncerhost"),
    certificate="a/ca.pem", key="b/key.pem", ledger="a/ca-index.txt", leaf="c/bouncerhost",
    umask=0o077)


# Two groups, by two threads.
FLEET = Scenario(
    "a fleet", lambda directory: write_hosts(directory, "a.test", "b.test", "c", "d", "e.test"),
    arguments=("--hosts", "hosts.txt", "--jobs", "2"), leaf="a.test",
    more_leaves=("b.test", "c", "d", "e.test"))


def write_hosts(directory, *lines):
    (directory / "hosts.txt").write_text("\n".join(lines) + "\n")


def fleet_elsewhere(directory):
    IN_THREE_DIRECTORIES.prepare(directory)
    FLEET.prepare(directory)


def fleet_of_all_kinds(directory):
    """On an existing root: some are there, one gets into a provisioned directory, some are new."""
    with_root(directory)
    write_hosts(directory, "bouncerhost", "b.test")
    FLEET.run_untraced(directory)
    (directory / "bouncerhost/cert.pem").unlink()
    (directory / "bouncerhost/key.pem").unlink()
    (directory / "bouncerhost/keep.txt").write_text("the operator's\n")
    FLEET.prepare(directory)
    with open(directory / "hosts.txt", "a", encoding="ascii") as hosts:
        hosts.write("bouncerhost\nf.test 10.0.0.1\n")


def make_directories(directory, *names):
    for name in names:
        (directory / name).mkdir()


def satisfied(scenario=FIRST_RUN):
    def prepare(directory):
        scenario.prepare(directory)
        scenario.run_untraced(directory)
    return prepare


def with_root(directory):
    satisfied()(directory)
    shutil.rmtree(directory / "bouncerhost")


def provisioned(directory):
    leaf = directory / "bouncerhost"
    leaf.mkdir()
    leaf.chmod(0o750)
    (leaf / "keep.txt").write_text("the operator's\n")
    if (user := ordinary_user()) is not None:
        os.chown(leaf, user, user)


def body_of(pem):
    """The base64 in a PEM file, in one piece."""
    return b"".join(pem.read_bytes().splitlines()[1:-1])


def is_pair(certificate, key):
    def public_key(*command):
        return subprocess.run(["openssl", *command], capture_output=True, check=True).stdout
    return (public_key("x509", "-in", certificate, "-noout", "-pubkey")
            == public_key("pkey", "-in", key, "-pubout"))


AUTHORITY = """
[ca]
default_ca = this
[this]
certificate = minica.pem
private_key = minica-key.pem
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
[any]
commonName = supplied
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:bouncerhost
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[req]
distinguished_name = none
[none]
"""


def expiring(directory):
    """A leaf that has ten days left, as OpenSSL made it, an export, and a file of the operator's."""
    FIRST_RUN.run_untraced(directory)
    leaf = directory / "bouncerhost"
    (directory / "index").touch()
    (directory / "config").write_text(AUTHORITY)
    date = [(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days))
            .strftime("%Y%m%d%H%M%SZ") for days in (-750, 10)]
    for command in (
            ("req", "-new", "-config", "config", "-key", leaf / "key.pem", "-subj",
             "/CN=bouncerhost", "-out", "request"),
            ("ca", "-batch", "-notext", "-create_serial", "-config", "config", "-in", "request",
             "-extensions", "leaf", "-startdate", date[0], "-enddate", date[1], "-out",
             "certificate")):
        subprocess.run(["openssl", *command], cwd=directory, check=True, capture_output=True)
    (leaf / "cert.pem").write_bytes((directory / "certificate").read_bytes())
    with open(directory / "minica-index.txt", "a", encoding="ascii") as ledger:
        ledger.write((directory / "index").read_text())
    for path in directory.iterdir():
        if path.is_file() and not path.name.startswith("minica"):
            path.unlink()
    (leaf / "key.pk8").write_bytes(base64.b64decode(body_of(leaf / "key.pem")))
    (leaf / "key.pk8").chmod(0o600)
    (leaf / "keep.txt").write_text("the operator's\n")
    (leaf / "link").symlink_to("keep.txt")


def expiring_beside_a_directory(directory):
    expiring(directory)
    (directory / "bouncerhost/conf.d").mkdir()
    (directory / "bouncerhost/conf.d/keep.txt").write_text("the operator's\n")


def with_torn_ledger(directory):
    """A long one, too."""
    with_root(directory)
    with open(directory / "minica-index.txt", "a", encoding="ascii") as ledger:
        for serial in range(1500):
            ledger.write(f"V\t281224044736Z\t\t{serial:032X}\tunknown\t/CN=somebody\n")
        ledger.write("V\t281224044736Z\t\t5BDA8598")


def with_unended_ledger(directory):
    with_root(directory)
    ledger = directory / "minica-index.txt"
    os.truncate(ledger, ledger.stat().st_size - 1)


def with_foreign_root(directory):
    satisfied(IN_THREE_DIRECTORIES)(directory)
    shutil.rmtree(directory / "c/bouncerhost")
    (directory / "a/ca-index.txt").unlink()


def with_two_leaves(directory):
    satisfied()(directory)
    replace(FIRST_RUN, arguments=("--user", "app_user")).run_untraced(directory)


def with_list_and_torn_ledger(directory):
    """The ledger is longer than what is read and written at once."""
    with_two_leaves(directory)
    replace(FIRST_RUN, arguments=("revoke", "app_user")).run_untraced(directory)
    with open(directory / "minica-index.txt", "a", encoding="ascii") as ledger:
        for serial in range(2000):
            ledger.write(f"V\t281224044736Z\t\t{serial + 16:032X}\tunknown\t/CN=somebody\n")
        ledger.write("V\t281224044736Z\t\t5BDA8598")


def with_foreign_leaf(directory):
    """In no ledger, as minica's are."""
    satisfied(IN_THREE_DIRECTORIES)(directory)
    (directory / "a/ca-index.txt").unlink()


def with_half_a_root(directory):
    """Killed when the root's certificate had its name, and its key had not."""
    IN_THREE_DIRECTORIES.prepare(directory)
    IN_THREE_DIRECTORIES.run(directory, "1:renameat2:kill-after")


def with_half_a_leaf(directory):
    with_root(directory)
    provisioned(directory)
    FIRST_RUN.run(directory, "1:renameat2:kill-after")
