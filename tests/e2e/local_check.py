#!/usr/bin/python3
"""The checks of what is on the disk, against those who read it.

Whether a user can read a file is told by a process of his that tries. What pgbouncer.ini may say is
told by PgBouncer, which starts with it or does not; and what it then says, by its console.

    LOCAL_CHECK_TABLE=build/dev/tests/local_check_table tests/e2e/local_check.py

Runs as root or as any user who may sudo.
"""

import contextlib
import grp
import json
import os
import pwd
import shlex
import shutil
import subprocess
import time
import unittest
from pathlib import Path
from typing import NamedTuple

import servers
from servers import (
    Daemon,
    DidNotStart,
    as_postgres,
    as_root,
    psql,
    reserve_port,
    run,
    temporary_directory,
)
from support import FIT, certify, fresh, from_now, make_key, make_root, openssl, place, scratch

SERVER = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:bouncerhost,IP:192.0.2.1
authorityKeyIdentifier=keyid
subjectKeyIdentifier=hash
"""
CLIENT = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth
authorityKeyIdentifier=keyid
subjectKeyIdentifier=hash
"""
YEAR = from_now(365)


def setUpModule() -> None:
    os.umask(0o022)
    for name in ("pgbouncer", "psql", "setpriv", "setfacl"):
        if shutil.which(name, path=servers.PROGRAM_PATH) is None:
            raise FileNotFoundError(
                f"{name} is not installed: apt-get install pgbouncer postgresql-client acl"
            )
    global table
    table = shutil.copy(os.environ["LOCAL_CHECK_TABLE"], scratch() / "local_check_table")


# --- Readers --------------------------------------------------------------------------------------


class Reader(NamedTuple):
    user: int
    group: int
    groups: tuple[int, ...] = ()

    @property
    def argument(self) -> str:
        return f"{self.user}:{self.group}:{','.join(map(str, self.groups))}"

    def run(self, *command: str) -> list[str]:
        groups = [f"--groups={','.join(map(str, self.groups))}"] if self.groups else []
        return as_root(
            *("setpriv", f"--reuid={self.user}", f"--regid={self.group}"),
            *(groups or ["--clear-groups"]),
            *("--", *command),
        )


def reader_named(name: str) -> Reader:
    entry = pwd.getpwnam(name)
    return Reader(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


ROOT = Reader(0, 0)
POSTGRES = reader_named("postgres")
NOBODY = reader_named("nobody")
SSL_CERT = grp.getgrnam("ssl-cert").gr_gid  # postgres is in it
STRANGER = Reader(54321, 54321)
MEMBER = Reader(54322, 54322, (54320, SSL_CERT, 54319))
READERS = (ROOT, POSTGRES, NOBODY, STRANGER, MEMBER)


def ask(requests: list[tuple[str, ...]], command: list[str] | None = None) -> list[dict]:
    """The answers to requests, by root unless a command says otherwise."""
    done = subprocess.run(
        command or as_root(str(table)),
        input="".join("\t".join(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        timeout=servers.PATIENCE,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{table}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(
    kind: str, path: Path | str, roots: Path | str = "", reader: Reader | None = None
) -> dict:
    argument = reader.argument if reader else ""
    now = str(int(time.time()))
    return ask([(kind, str(path), str(roots), argument, now)])[0]


def problems(report: dict, *levels: str) -> list[str]:
    return sorted(
        f["id"] for f in report["findings"] if f["level"] in (levels or ("problem", "unknown"))
    )


# --- Access ---------------------------------------------------------------------------------------

TRY_TO_READ = """
import sys
for path in sys.stdin.read().split("\\0")[:-1]:
    try:
        open(path, "rb").close()
        print("granted")
    except IsADirectoryError:
        print("directory")
    except (FileNotFoundError, NotADirectoryError):
        print("absent")
    except OSError:  # PermissionError; too many links
        print("denied")
"""


def try_to_read(reader: Reader, paths: list[str]) -> list[str]:
    done = subprocess.run(
        reader.run("/usr/bin/python3", "-I", "-c", TRY_TO_READ),
        input="".join(path + "\0" for path in paths),
        capture_output=True,
        text=True,
        timeout=servers.PATIENCE,
        cwd="/",
        check=True,
    )
    return done.stdout.split()


class Tree:
    """Directories, each with a file that is hard to read, and the paths to them."""

    def __init__(self, top: Path):
        self.top = top
        self.paths: list[str] = []
        self._commands: list[list[str]] = []
        self._count = 0

    def add(
        self,
        file: tuple[int, str],
        *directories: tuple[int, str],
        acl: str = "",
        directory_acl: str = "",
        name: str = "key.pem",
    ) -> Path:
        """A file with this mode and owner, below directories with theirs."""
        self._count += 1
        at = self.top / f"{self._count}"
        at.mkdir()
        made = []
        for number, (mode, owner) in enumerate(directories):
            at = at / f"d{number}"
            at.mkdir()
            made.append((at, mode, owner, directory_acl))
        path = at / name
        path.write_text("a key\n")
        made.append((path, *file, acl))
        for made_path, mode, owner, entries in reversed(made):
            self.later("chown", owner, str(made_path))
            self.later("chmod", f"{mode:04o}", str(made_path))
            for entry in entries.split():
                self.later("setfacl", "-n", "-m", entry, str(made_path))
        self.paths.append(str(path))
        return path

    def link(self, target: str, directory: Path | None = None, owner: str = "") -> str:
        self._count += 1
        path = (directory or self.top) / f"link{self._count}"
        path.symlink_to(target)
        if owner:
            self.later("chown", "-h", owner, str(path))
        self.paths.append(str(path))
        return str(path)

    def later(self, *command: str) -> None:
        self._commands.append([*command])

    def settle(self) -> None:
        script = "\n".join(shlex.join(command) for command in self._commands)
        run(as_root("sh", "-euc", script)).or_fail()


FILE_MODES = (0, 0o400, 0o600, 0o640, 0o040, 0o004, 0o604, 0o440, 0o444, 0o660, 0o200, 0o111)
DIRECTORY_MODES = (0, 0o100, 0o700, 0o711, 0o710, 0o755, 0o750, 0o744, 0o644, 0o070, 0o001, 0o600)
OWNERS = ("root:root", "postgres:postgres", "root:postgres", "nobody:ssl-cert", "54321:54321")


def fill(tree: Tree) -> None:
    for owner in OWNERS:
        for mode in FILE_MODES:
            tree.add((mode, owner))
        for mode in DIRECTORY_MODES:
            tree.add((0o644, "root:root"), (mode, owner))
            tree.add((0o640, "root:ssl-cert"), (0o711, "root:root"), (mode, owner))
    user, group = POSTGRES.user, POSTGRES.group
    for entries in (
        f"u:{user}:r", f"u:{user}:-", f"u:{user}:w", f"u:{user}:r m::-", f"u:{user}:r m::w",
        f"g:{group}:r", f"g:{group}:-", f"g:{group}:r g:{SSL_CERT}:-", f"g:{SSL_CERT}:r",
        f"g:{group}:- g:{SSL_CERT}:-", f"u:{STRANGER.user}:r g:{SSL_CERT}:r m::r",
        f"u:{STRANGER.user}:r g:{SSL_CERT}:r m::-", f"u:{user}:- g:{group}:r",
    ):  # fmt: skip
        for mode in (0o600, 0o640, 0o644, 0o604):
            for owner in ("root:root", "root:postgres", "postgres:postgres"):
                tree.add((mode, owner), acl=entries)
    for entries in (f"u:{user}:x", f"u:{user}:r", f"g:{SSL_CERT}:x", f"u:{user}:x m::r"):
        for mode in (0o700, 0o711, 0o750):
            tree.add((0o644, "root:root"), (mode, "root:root"), directory_acl=entries)

    open_file = tree.add((0o644, "root:root"), (0o755, "root:root"))
    closed = tree.add((0o644, "root:root"), (0o700, "root:root"))
    through = tree.add((0o644, "root:root"), (0o700, "postgres:postgres"), (0o755, "root:root"))
    for path in (open_file, closed, through):
        tree.link(str(path))
        tree.link(os.path.relpath(path, tree.top))
        tree.link(f"{path}/")
        tree.paths.append(f"{tree.link(str(path.parent))}/{path.name}")
        tree.paths.append(f"{path.parent}/../{path.parent.name}/./{path.name}")
        tree.paths.append(f"{path}/")
        tree.paths.append(f"{path}/..")
        tree.paths.append(f"{path.parent}/missing")
        tree.paths.append(f"{path}/below")
        tree.link(str(path.parent / "missing"))
    loop = tree.top / "loop"
    loop.symlink_to("loop")
    tree.paths.append(str(loop))
    for length in (39, 40, 41):
        at = str(open_file)
        for _ in range(length):
            at = tree.link(at)
    # proc(5), protected_symlinks
    for mode in (0o1777, 0o777, 0o1775):
        for owner in ("root:root", "postgres:postgres"):
            shared = tree.add((0o644, "root:root"), (mode, owner)).parent
            for link_owner in ("root", "postgres", "nobody"):
                tree.link(str(open_file), shared, link_owner)
                middle = tree.link(str(open_file.parent), shared, link_owner)
                tree.paths.append(f"{middle}/{open_file.name}")
    tree.paths.append(f"//{open_file}//")
    tree.paths.append(f"{tree.top}//{open_file.relative_to(tree.top)}")


class Access(unittest.TestCase):
    maxDiff = 4000

    def test_as_the_kernel_decides(self):
        with temporary_directory() as top:
            tree = Tree(top)
            fill(tree)
            tree.settle()
            for reader in READERS:
                with self.subTest(reader=reader):
                    kernel = try_to_read(reader, tree.paths)
                    ours = ask([("access", path, reader.argument) for path in tree.paths])
                    self.assertGreater(kernel.count("granted"), 20)
                    differing = [
                        (path, said, answer)
                        for path, said, answer in zip(tree.paths, kernel, ours, strict=True)
                        # That a directory is no file is told when it is read.
                        if answer["outcome"] != said.replace("directory", "granted")
                    ]
                    self.assertEqual(differing, [])
                    if reader != ROOT:
                        self.assertGreater(kernel.count("denied"), 100)

    def test_a_process_judges_for_itself(self):
        with temporary_directory() as top:
            tree = Tree(top)
            fill(tree)
            tree.settle()
            for reader in (POSTGRES, STRANGER, MEMBER):
                kernel = try_to_read(reader, tree.paths)
                requests = [("access", path, "") for path in tree.paths]
                ours = ask(requests, reader.run(str(table)))
                for path, said, answer in zip(tree.paths, kernel, ours, strict=True):
                    with self.subTest(reader=reader, path=path):
                        self.assertEqual(answer["outcome"], said.replace("directory", "granted"))

    def test_the_remedy_is_one(self):
        """What is said to do is done, until it is enough: then the file can be read."""
        with temporary_directory() as top:
            tree = Tree(top)
            fill(tree)
            tree.settle()
            mended = 0
            for reader in (POSTGRES, STRANGER, MEMBER):
                for path in tree.paths[:: 3 if reader == POSTGRES else 17]:
                    answer = {"grant": "none yet"}
                    for _ in range(6):
                        (answer,) = ask([("access", path, reader.argument)])
                        if answer["outcome"] != "denied" or not answer["grant"]:
                            break
                        run(as_root(*answer["grant"].split(), answer["at"])).or_fail()
                        mended += 1
                    if answer["outcome"] == "granted":
                        with self.subTest(reader=reader, path=path):
                            self.assertIn(try_to_read(reader, [path]), (["granted"], ["directory"]))
                    else:
                        self.assertFalse(answer["grant"], answer)
            self.assertGreater(mended, 50)

    def test_the_component_is_named(self):
        with temporary_directory() as top:
            tree = Tree(top)
            path = tree.add((0o600, "root:root"), (0o755, "root:root"), (0o700, "root:root"))
            tree.settle()
            (answer,) = ask([("access", str(path), STRANGER.argument)])
            self.assertEqual(answer["at"], str(path.parent))
            self.assertEqual(answer["why"], "its mode is 0700, its owner root:root")
            self.assertEqual(answer["grant"], "chmod o+x")
            run(as_root("chmod", "o+x", str(path.parent))).or_fail()
            (answer,) = ask([("access", str(path), STRANGER.argument)])
            self.assertEqual((answer["at"], answer["grant"]), (str(path), "chmod o+r"))

    def test_what_whoever_runs_it_cannot_see_cannot_be_told(self):
        with temporary_directory() as top:
            tree = Tree(top)
            path = tree.add((0o644, "root:root"), (0o700, "postgres:postgres"))
            tree.settle()
            (answer,) = ask([("access", str(path), POSTGRES.argument)], NOBODY.run(str(table)))
            self.assertEqual(answer["outcome"], "unknown")


# --- A leaf's directory ---------------------------------------------------------------------------


class Leaf(unittest.TestCase):
    def setUp(self):
        self.directory = fresh()
        self.root = make_root()
        place(self.directory, *self.root)
        self.roots = self.directory / "minica.pem"
        self.leaf = self.directory / "bouncerhost"
        self.leaf.mkdir()
        self.key = make_key("p256", 1)
        self.write(self.certificate(), self.key)

    def certificate(self, extensions=SERVER, **more) -> bytes:
        more = {"issuer": self.root, "subject": "bouncerhost", "end": YEAR} | more
        return certify(self.key, extensions, **more)

    def write(self, certificate: bytes, key: bytes, mode=0o600):
        place(self.leaf, certificate, key, ("cert.pem", "key.pem"))
        (self.leaf / "key.pem").chmod(mode)

    def assert_finds(self, *expected: str, reader=None, roots=None) -> dict:
        report = check("leaf", self.leaf, roots or self.roots, reader)
        self.assertEqual(problems(report), sorted(expected), report)
        for finding in report["findings"]:
            self.assertTrue(finding["what"] and finding["remedy"], finding)
            self.assertRegex(finding["what"] + finding["remedy"], r"\A[\x20-\x7e]+\Z")
        return report

    def test_all_is_well(self):
        report = self.assert_finds()
        self.assertEqual(report["findings"], [])
        facts = dict(report["facts"])
        self.assertEqual(facts["names"], "bouncerhost, 192.0.2.1")
        self.assertEqual(facts["kind"], "server")
        self.assertEqual(facts["key type"], "P-256")
        self.assertRegex(facts["valid"], r"\Auntil \d{4}-\d\d-\d\dT.*Z, 36[45] days left\Z")
        told = openssl("x509 -noout -serial -fingerprint -sha256 -in", self.leaf / "cert.pem")
        self.assertIn(f"serial={facts['serial']}", told.decode())
        self.assertIn(f"Fingerprint={facts['fingerprint']}", told.decode())
        owner = pwd.getpwuid(os.geteuid()).pw_name
        self.assertRegex(facts["key file"], rf"\A0600 {owner}:")

    def test_inspected(self):
        self.write(self.certificate(end=from_now(-0.1)), self.key)
        self.assert_finds("expired")
        self.write(self.certificate(CLIENT), self.key)
        report = self.assert_finds()
        self.assertEqual(dict(report["facts"])["kind"], "client")
        self.write(self.certificate(issuer=make_root(number=5, subject="another")), self.key)
        self.assert_finds("missing-intermediate")

    def test_kinds_that_are_not_usual(self):
        """The program has OpenSSL read those with more of its algorithms than the usual ones."""
        for kind, expected in (
            ("p521", []), ("rsa2048", []), ("rsa-pss", []), ("ed25519", ["no-channel-binding"]),
            ("ed448", ["no-channel-binding"]),
        ):  # fmt: skip
            for leaf in ("p256", kind):
                with self.subTest(root=kind, leaf=leaf):
                    self.root, self.key = make_root(kind, 7), make_key(leaf, 8)
                    place(self.directory, *self.root)
                    self.write(self.certificate(), self.key)
                    self.assert_finds(*expected)

    def test_pair(self):
        self.write(self.certificate(), make_key("p256", 2))
        self.assert_finds("pair-mismatch")
        self.write(self.root[0] + self.certificate(), self.key)
        report = check("leaf", self.leaf, self.roots)
        self.assertIn("pair-mismatch", problems(report))
        self.assertIn("the order is wrong", json.dumps(report))

    def test_halves(self):
        """A key that was damaged between its halves."""
        other = make_key("p256", 2)
        scalars = [openssl("ec -no_public -outform DER", stdin=key) for key in (self.key, other)]
        der = openssl("pkey -outform DER", stdin=self.key)
        halves = [scalar[scalar.index(b"\x04\x20") + 2 :][:32] for scalar in scalars]
        self.assertIn(halves[0], der)
        mixed = der.replace(halves[0], halves[1])
        block = subprocess.run(
            ["openssl", "base64"], input=mixed, capture_output=True, check=True
        ).stdout
        pem = b"-----BEGIN PRIVATE KEY-----\n" + block + b"-----END PRIVATE KEY-----\n"
        self.write(self.certificate(), pem)
        self.assert_finds("damaged-file")

    def test_contents(self):
        encrypted = openssl("pkey -aes256 -passout pass:x", stdin=self.key)
        for certificate, key, expected in (
            (self.certificate(), encrypted, "encrypted-key"),
            (self.certificate(), b"no key\n", "damaged-file"),
            (self.certificate(), self.certificate(), "damaged-file"),
            (b"\x00\xff" * 100, self.key, "damaged-file"),
            (self.certificate()[:300], self.key, "damaged-file"),
            (self.certificate() + self.root[0][:300], self.key, "damaged-file"),
            (self.certificate() + self.key, self.key, "key-in-certificate-file"),
        ):
            with self.subTest(expected=expected, key=key[:40]):
                self.write(certificate, key)
                self.assert_finds(expected)

    def test_modes(self):
        for mode, expected in (
            (0o600, []), (0o400, []), (0o644, ["key-exposed"]), (0o604, ["key-exposed"]),
            (0o660, ["key-exposed"]), (0o601, ["key-exposed"]), (0o666, ["key-exposed"]),
        ):  # fmt: skip
            with self.subTest(mode=f"{mode:04o}"):
                self.write(self.certificate(), self.key, mode)
                self.assert_finds(*expected)

    def test_a_group_reads_the_key(self):
        """PostgreSQL and libpq take it from root alone, PgBouncer from anybody."""
        for extensions, owner, expected in (
            (SERVER, "root:postgres", []),
            (SERVER, "postgres:postgres", [("note", "key-mode")]),
            (CLIENT, "root:postgres", []),
            (CLIENT, "postgres:postgres", [("problem", "key-mode")]),
        ):
            with self.subTest(extensions=extensions[-60:], owner=owner):
                self.write(self.certificate(extensions), self.key, 0o640)
                run(as_root("chown", owner, str(self.leaf / "key.pem"))).or_fail()
                report = check("leaf", self.leaf, self.roots, POSTGRES)
                found = [(f["level"], f["id"]) for f in report["findings"]]
                self.assertEqual(found, expected, report)
                run(as_root("rm", str(self.leaf / "key.pem"))).or_fail()

    def test_unreadable(self):
        report = self.assert_finds("unreadable", reader=STRANGER)
        (finding,) = report["findings"]
        self.assertIn(f"cannot read {self.leaf}/key.pem", finding["what"])
        self.assertIn("chown", finding["remedy"])
        self.leaf.chmod(0o700)
        report = self.assert_finds("unreadable", "unreadable", reader=STRANGER)
        self.assertIn(f"cannot pass {self.leaf}:", report["findings"][0]["what"])
        self.assertEqual(report["findings"][0]["remedy"], f"chmod o+x {self.leaf}")
        # Whoever may not read it himself is told so once.
        report = ask(
            [("leaf", str(self.leaf), str(self.roots), "", str(int(time.time())))],
            STRANGER.run(str(table)),
        )[0]
        self.assertEqual(problems(report), ["unreadable", "unreadable"])

    def test_files(self):
        (self.leaf / "key.pem").unlink()
        self.assert_finds("missing-file")
        (self.leaf / "key.pem").mkdir()
        self.assert_finds("not-read")
        (self.leaf / "key.pem").rmdir()
        os.mkfifo(self.leaf / "key.pem")
        self.assert_finds("not-read")
        (self.leaf / "key.pem").unlink()
        (self.leaf / "data").write_bytes(self.key)
        (self.leaf / "data").chmod(0o600)
        (self.leaf / "key.pem").symlink_to("data")
        self.assert_finds()
        (self.leaf / "data").write_bytes(b"x" * (2 << 20))
        self.assert_finds("not-read")

    def test_directory(self):
        self.leaf.chmod(0o777)
        self.assert_finds("directory-writable")
        report = check("leaf", self.directory / "nowhere", self.roots)
        self.assertEqual(problems(report), ["missing-file", "missing-file"])

    def test_roots(self):
        self.assert_finds("not-verified", roots=self.directory / "nowhere.pem")
        self.roots.chmod(0o600)  # which the service need not read
        self.assert_finds("unreadable", reader=STRANGER)
        self.root = make_root(end=from_now(20))
        place(self.directory, *self.root)
        self.write(self.certificate(end=from_now(10)), self.key)
        self.assert_finds("expires-soon", "root-expires-soon")
        self.root = make_root(start=from_now(-20), end=from_now(-1))
        place(self.directory, *self.root)
        self.write(self.certificate(), self.key)
        self.assert_finds("issuer-expired")


# --- pgbouncer.ini --------------------------------------------------------------------------------


class Bouncer(Daemon):
    """PgBouncer with a given file: it is ready when it says so, whatever it listens to."""

    def __init__(self, ini: Path, directory: Path):
        self._directory = directory
        super().__init__(as_postgres(servers.program("pgbouncer"), str(ini)), ini.parent / "log")

    def is_ready(self) -> bool:
        return "process up" in self.log()


MAIN = """[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
admin_users = admin
"""
TLS = """client_tls_sslmode = require
client_tls_key_file = {dir}/key.pem
client_tls_cert_file = {dir}/cert.pem
client_tls_ca_file = {dir}/root.pem
"""
FULL = MAIN + TLS


def values(setting: str, *texts: str, base: str = FULL) -> list[tuple[str, dict[str, str]]]:
    return [(f"{base}{setting} = {text}\n", {}) for text in texts]


def databases(*lines: str) -> list[tuple[str, dict[str, str]]]:
    return [(f"{FULL}[databases]\n{line}\n", {}) for line in lines]


def nested(depth: int) -> dict[str, str]:
    files = {f"{n}.ini": f"%include {{dir}}/{n + 1}.ini\n" for n in range(1, depth)}
    return files | {f"{depth}.ini": ";\n"}


PREFER = FULL + "server_tls_sslmode = prefer\n"
VERIFY = FULL.replace("require", "verify-full")

# Texts of pgbouncer.ini and of what they include. Which of them it takes is for PgBouncer to say.
INIS: list[tuple[str, dict[str, str]]] = [
    (MAIN, {}),
    (FULL, {}),
    *values("client_tls_sslmode", "disable", "allow", "prefer", "REQUIRE", "verify-ca",
            "Verify-Full", "", "disabled", "on", "'require'", '"require"',
            "require # not verify-full",
            "require ; not verify-full", "require#", "require\t# no", "verify_full", "nope"),
    *values("server_tls_sslmode", "disable", "allow", "prefer", "REQUIRE", "verify-ca",
            "verify-full", "", "bogus", "require # for now"),
    *values("client_tls_protocols", "", "secure", "all", "default", "legacy", "tlsv1", "tlsv1.0",
            "tlsv1.3", "TLSv1.2", "tlsv1.2,tlsv1.3", "tlsv1.2, tlsv1.3", "tlsv1.2:tlsv1.3",
            "!tlsv1.0", "!all", "all,!tlsv1.1", "tlsv1.2 , tlsv1.3", "tlsv1.2+", "ssl3", "secure,",
            ",secure", "secure # tls", "!", "all,,secure", "!!all", "secure\t,all", "tlsv1.4"),
    *values("client_tls_dheparams", "", "none", "auto", "legacy", "AUTO", "2048", "/dh.pem",
            "auto #"),
    *values("client_tls_ecdhcurve", "", "none", "auto", "prime256v1", "secp384r1", "secp256k1",
            "1.2.840.10045.3.1.7", "brainpoolP256r1", "SM2", "prime192v1", "Oakley-EC2N-3",
            "P-256", "X25519", "x25519", "rsaEncryption", "nosuch", "SECP384R1", "RSA", "auto ; x"),
    *values("client_tls_ciphers", "", "default", "secure", "fast", "normal", "compat", "legacy",
            "all", "insecure", "FAST", "HIGH", "HIGH:nosuch", "@SECLEVEL=1:ALL", "kRSA", "PSK",
            "ECDHE-ECDSA-AES128-GCM-SHA256", "nosuch", "!ALL", "TLS_AES_256_GCM_SHA384",
            "@SECLEVEL=0", "HIGH # strong", "nosuch # x"),
    *values("server_tls_protocols", "secure", "tlsv1.2+", "bogus", base=PREFER),
    *values("server_tls_ciphers", "HIGH", "nosuch", base=PREFER),
    *values("server_tls_protocols", "bogus"),  # of no use without server_tls_sslmode, in 1.18
    *values("client_tls_protocols", "bogus", base=MAIN),
    *values("client_tls_ecdhcurve", "nosuch", base=MAIN),
    # Files.
    *values("client_tls_key_file", "", "/nowhere/key.pem", "{dir}/other-key.pem", "{dir}/cert.pem",
            "{dir}/key.pem # the key", "{dir}/encrypted.pem", "{dir}/cert-key.pem", "{dir}",
            "{dir}/closed.pem", "~/key.pem", '"{dir}/key.pem"'),
    *values("client_tls_cert_file", "", "/nowhere/cert.pem", "{dir}/key.pem", "{dir}/root.pem",
            "{dir}/chain.pem", "{dir}/reversed.pem", "{dir}/torn-chain.pem", "{dir}/key-cert.pem",
            "{dir}/closed.pem", "{dir}/empty"),
    *values("client_tls_ca_file", "", "/nowhere/root.pem", "{dir}/cert.pem", "{dir}/two.pem",
            "{dir}/torn.pem", "{dir}/bad-der.pem", "{dir}/bad-base64.pem", "{dir}/key.pem",
            "{dir}/empty", "{dir}/root-key.pem", "{dir}/closed.pem", "{dir}/root.pem # root"),
    *values("client_tls_ca_file", "", "/nowhere/root.pem", base=VERIFY),
    *values("client_tls_ca_file", "", base=FULL.replace("require", "verify-ca")),
    *values("client_tls_key_file", "/nowhere/key.pem", base=MAIN),
    # Looked for when the first server is connected to, and not before.
    *values("server_tls_ca_file", "/nowhere/root.pem", base=PREFER),
    *values("server_tls_key_file", "/nowhere/key.pem", base=PREFER),
    *values("auth_type", "cert"),
    *values("auth_type", "cert", base=VERIFY),
    *values("auth_type", "cert", base=MAIN),
    (VERIFY + "auth_type = cert\nclient_tls_ca_file =\n", {}),
    # Names.
    *[(f"{FULL}{line}\n", {}) for line in (
        "client_tls_cafile = x", "Client_tls_ca_file = x", "server_tls_ecdhcurve = auto",
        "client_tls_sslmode require", "client tls sslmode = require", "= x", "sslmode = require",
        "client_tls_sslmode\n= require", "// a comment", "-- a comment", "# a comment",
        "   ; a comment", "\t# a comment", "client_tls_sslmode=require", "client_tls_sslmode",
        "client_tls_sslmode =require", "client_tls_sslmode\t=\trequire\t", "ü = 1",
        "client_tls_sslmode = nope\nclient_tls_sslmode = require",
        "client_tls_sslmode = require\nclient_tls_sslmode = nope")],
    # Sections.
    ("[databases]\n", {}),
    ("", {}),
    ("x = 1\n" + FULL, {}),
    *[(f"{FULL}{line}\n", {}) for line in (
        "[nosuch]", "[Databases]", "[ databases ]", "[users]", "[databases", "[databases] # yes",
        "[databases]]", "[databases] a = host=x", "[]", "[users]\nalice = pool_mode=session")],
    (MAIN.replace("\n", " ", 1), {}),
    (FULL + "[databases]\n" + MAIN, {}),
    (FULL + MAIN + "client_tls_sslmode = require\n", {}),
    (MAIN + "client_tls_sslmode = require\n[databases]\n" + FULL, {}),
    # Inclusions.
    (FULL + "%include {dir}/1.ini\n", {"1.ini": "client_tls_sslmode = nope\n"}),
    (MAIN + "%include {dir}/1.ini\n", {"1.ini": TLS}),
    (FULL + "%include {dir}/1.ini\nb = host=y\n", {"1.ini": "[databases]\na = host=x\n"}),
    (FULL + "%include {dir}/1.ini\nclient_tls_sslmode = require\n", {"1.ini": "[databases]\n"}),
    (FULL + "%include {dir}/1.ini\n", {"1.ini": MAIN}),
    ("%include {dir}/1.ini\n", {"1.ini": FULL}),
    (FULL + "%include {dir}/nowhere.ini\n", {}),
    (FULL + "%include {dir}/1.ini # more\n", {"1.ini": ";\n"}),
    (FULL + '%include "{dir}/1.ini"\n', {"1.ini": ";\n"}),
    (FULL + "  %include\t{dir}/1.ini  \n", {"1.ini": ";\n"}),
    (FULL + "%INCLUDE {dir}/1.ini\n", {"1.ini": ";\n"}),
    (FULL + "%include\n", {}),
    (FULL + "%include {dir}\n", {}),
    (FULL + "%include {dir}/pgbouncer.ini\n", {}),
    (FULL + "%include {dir}/1.ini\n", nested(10)),
    (FULL + "%include {dir}/1.ini\n", nested(11)),
    (FULL + "%include {dir}/empty\n", {}),
    # Bytes.
    (FULL.replace("\n", "\r\n"), {}),
    (FULL.replace("\n", "\r\n") + "client_tls_sslmode = \r\n", {}),
    ("\ufeff" + FULL, {}),
    (FULL + "server_tls_sslmode = require", {}),
    (FULL + "\0server_tls_sslmode = bogus\n", {}),
    (FULL + "\v\fserver_tls_sslmode = prefer\f\n", {}),
    (FULL + "server_tls_sslmode =\vprefer\n", {}),
    # Databases.
    *databases("a =", "a = host=x", "a = host = x", "a = host=x\tport=5", "a = host='x y'",
               "a = host='x", "a = host=''", "a = host='it''s'", "a = sslmode=require", "a = host",
               "a = host=x sslmode=verify-full", "a = host=x sslrootcert=/x", "a = host=x # main",
               "a = host=x ; main", "a = host=x,y port=1", "a = host=x #", "a = =x",
               "a.b-c = host=x",
               "* = host=x", "* = host=x sslmode=require", "* = host='x",
               '"a b" = host=x', "a = dbname=f host=127.0.0.1 port=5 user=x password=y"),
]  # fmt: skip

# What is said of the files that PgBouncer reads when it starts, and does not start without.
FATAL_FOR_FILES = {"missing-file", "unreadable", "not-read", "damaged-file", "encrypted-key",
                   "pair-mismatch"}  # fmt: skip


def says_refused(report: dict) -> bool:
    for finding in report["findings"]:
        what = finding["what"]
        if finding["level"] != "problem":
            continue
        if "PgBouncer refuses" in what or "PgBouncer does not start" in what:
            return True
        if what.startswith("client_tls_") and finding["id"] in FATAL_FOR_FILES:
            return True
        # A directory is as good as an empty file to it, here.
        if ": the included " in what and finding["id"] in FATAL_FOR_FILES - {"not-read"}:
            return True
    return False


def write_material(directory: Path) -> None:
    """Certificates and keys, whole and damaged, that the user postgres can read."""
    root, root_key = make_root()
    key, other = make_key("p256", 1), make_key("p256", 2)
    certificate = certify(key, SERVER, issuer=(root, root_key), subject="bouncerhost", end=YEAR)
    empty_block = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    for name, contents in {
        "root.pem": root,
        "root-key.pem": root + root_key,
        "key.pem": key,
        "other-key.pem": other,
        "cert.pem": certificate,
        "encrypted.pem": openssl("pkey -aes256 -passout pass:x", stdin=key),
        "cert-key.pem": certificate + key,
        "key-cert.pem": key + certificate,
        "chain.pem": certificate + root,
        "reversed.pem": root + certificate,
        "torn-chain.pem": certificate + root[:300],
        "two.pem": root + make_root(number=3, subject="another")[0],
        "torn.pem": root + root[:300],
        "bad-der.pem": root + empty_block,
        "bad-base64.pem": root + root.replace(b"MII", b"M!I", 1).replace(b"MIIB", b"M!IB", 1),
        "empty": b"",
        "closed.pem": certificate + key,
    }.items():
        (directory / name).write_bytes(contents)
        (directory / name).chmod(0o600 if name == "closed.pem" else 0o644)


class Ini(unittest.TestCase):
    maxDiff = 6000

    @contextlib.contextmanager
    def placed(self, text: str, files: dict[str, str]):
        """The file and what it includes, in a directory with certificates and keys."""
        with temporary_directory() as directory:
            write_material(directory)
            port = reserve_port()
            for name, contents in ({"pgbouncer.ini": text} | files).items():
                contents = contents.replace("{dir}", str(directory)).replace("{port}", str(port))
                (directory / name).write_bytes(contents.encode())
            yield directory / "pgbouncer.ini", port

    def test_what_pgbouncer_refuses(self):
        taken = 0
        for text, files in INIS:
            with self.subTest(ini=text.replace(FULL, "FULL:"), files=files):
                with self.placed(text, files) as (ini, _):
                    report = check("ini", ini, ini.parent / "root.pem", POSTGRES)
                    try:
                        with Bouncer(ini, ini.parent):
                            is_refused = False
                    except DidNotStart as failure:
                        is_refused, report["log"] = True, str(failure)
                    self.assertEqual(says_refused(report), is_refused, report)
                    taken += not is_refused
        self.assertGreater(taken, len(INIS) // 3)
        self.assertLess(taken, len(INIS) * 2 // 3)

    def assert_finds(self, text: str, *expected: str, files=None, reader=POSTGRES) -> dict:
        """Just these, of any level."""
        with self.placed(text, files or {}) as (ini, _):
            report = check("ini", ini, ini.parent / "root.pem", reader)
        # Keys that are open to all are the price of one directory for all tests.
        found = [f["id"] for f in report["findings"] if f["id"] != "key-exposed"]
        self.assertEqual(sorted(found), sorted(expected), report)
        return report

    def test_findings(self):
        local = "\n[databases]\na = host=127.0.0.1\nb =\nc = host=/run/postgresql\n"
        remote = "\n[databases]\na = host=db.example.com\n"
        anywhere = FULL.replace("127.0.0.1", "*")
        for text, *expected in (
            (FULL,),
            (MAIN, "plaintext-clients"),
            (anywhere + "client_tls_sslmode = allow\n", "plaintext-clients"),
            (anywhere + "client_tls_sslmode = prefer\n", "plaintext-clients"),
            (FULL.replace("127.0.0.1", "") + "client_tls_sslmode = disable\n",),
            (FULL + "client_tls_ca_file =\n", "client-ca-unset"),
            (FULL + "client_tls_ca_file =\nclient_tls_sslmode = verify-ca\n",
             "client-ca-unset", "clients-need-certificates"),
            (FULL + "client_tls_sslmode = verify-full\n", "clients-need-certificates"),
            (VERIFY + "auth_type = cert\n",),
            (VERIFY + "auth_type = hba\n",),
            (FULL + "client_tls_protocols = all\n", "old-protocols"),
            (FULL + "client_tls_protocols = all,!all\n", "no-protocol"),
            (FULL + "server_tls_key_file = {dir}/key.pem\n", "files-unset"),
            (FULL + "client_tls13_ciphers = x\n", "ini-newer"),
            (FULL + "[peers]\n1 = host=x\n", "ini-newer"),
            (FULL + "listen_backlog = 12 # clients\n", "ini-comment"),
            (FULL + "[databases]\n[pgbouncer]\n" + TLS, "ini-reset"),
            (FULL + "user = nobody\n", "other-user"),  # a reader was named
            (FULL + local, "server-tls-local"),
            (FULL + remote, "server-tls-plaintext"),
            (FULL + "[databases]\n* = sslmode=require\n", "ini-database", "server-tls-local"),
            (FULL + "server_tls_sslmode = disable" + remote, "server-tls-plaintext"),
            (FULL + "server_tls_sslmode = allow" + remote, "server-tls-plaintext"),
            (FULL + "server_tls_sslmode = prefer" + remote, "server-tls-plaintext"),
            (FULL + "server_tls_sslmode = require" + remote, "server-unverified"),
            (FULL + "server_tls_sslmode = verify-ca" + remote, "server-name-unchecked"),
            (FULL + "server_tls_sslmode = verify-full" + remote, "server-ca-unset"),
            (FULL + "server_tls_sslmode = verify-full\n"
             "server_tls_ca_file = {dir}/root.pem" + remote,),
            (FULL + "server_tls_sslmode = verify-full\nserver_tls_ca_file = {dir}/root.pem\n"
             "[databases]\na = host=192.0.2.7\n", "server-host-address"),
            (FULL + "server_tls_sslmode = verify-full\nserver_tls_ca_file = /nowhere" + remote,
             "missing-file"),
            (FULL + "client_tls_ca_file = {dir}/two.pem\n",),
            (FULL + "client_tls_key_file = {dir}/other-key.pem\n", "pair-mismatch"),
            (FULL + "%include {dir}/nowhere.ini\nserver_tls_sslmode = require" + remote,
             "missing-file"),
        ):  # fmt: skip
            with self.subTest(ini=text.replace(FULL, "FULL:")):
                self.assert_finds(text, *expected)

    def test_levels(self):
        for text, finding, level in (
            (MAIN, "plaintext-clients", "note"),
            (MAIN.replace("127.0.0.1", "*"), "plaintext-clients", "problem"),
            (MAIN.replace("127.0.0.1", "::1, 192.0.2.1"), "plaintext-clients", "problem"),
            (FULL + "client_tls_ca_file =\n", "client-ca-unset", "note"),
            (VERIFY + "client_tls_ca_file =\n", "client-ca-unset", "problem"),
        ):
            with self.subTest(ini=text):
                with self.placed(text, {}) as (ini, _):
                    report = check("ini", ini, "", POSTGRES)
                found = [f["level"] for f in report["findings"] if f["id"] == finding]
                self.assertEqual(found, [level], report)

    def test_roots_in_their_dates(self):
        for ends, expected in (
            ([400], []),
            ([-1], ["problem"]),
            ([5], ["problem"]),
            ([-1, 400, 400], ["note"]),
        ):
            with self.subTest(ends=ends), self.placed(
                FULL + "client_tls_ca_file = {dir}/roots.pem\n", {}
            ) as (ini, _):
                roots = [
                    make_root(number=n, subject=f"r{n}", start=from_now(-9), end=from_now(end))[0]
                    for n, end in enumerate(ends)
                ]
                (ini.parent / "roots.pem").write_bytes(b"".join(roots))
                report = check("ini", ini, "", POSTGRES)
                found = [f["level"] for f in report["findings"] if f["id"].startswith("root-exp")]
                self.assertEqual(found, expected, report)

    def test_certificates_are_inspected(self):
        with self.placed(FULL, {}) as (ini, _):
            root = make_root()
            old = certify(make_key("p256", 1), SERVER, issuer=root, start=from_now(-9),
                          subject="bouncerhost", end=from_now(-1))  # fmt: skip
            (ini.parent / "cert.pem").write_bytes(old)
            report = check("ini", ini, ini.parent / "root.pem", POSTGRES)
            (expired,) = [f for f in report["findings"] if f["id"] == "expired"]
            self.assertIn(f"client_tls_cert_file {ini.parent}/cert.pem: ", expired["what"])

    def test_places(self):
        """Every setting is stated with the file and line that it is from, the last one of them."""
        files = {"1.ini": "; more\nclient_tls_sslmode = verify-full\n"}
        with self.placed(FULL + "\n%include {dir}/1.ini\n", files) as (ini, _):
            facts = dict(check("ini", ini, "", POSTGRES)["facts"])
            lines = ini.read_text().splitlines()
            at = lines.index("client_tls_sslmode = require") + 2
            self.assertEqual(
                facts["client_tls_key_file"], f"{ini.parent}/key.pem ({ini}:{at})"
            )
            self.assertEqual(facts["client_tls_sslmode"], f"verify-full ({ini.parent}/1.ini:2)")

    def test_settings_as_pgbouncer_has_them(self):
        """Its console shows what counted."""
        reset = MAIN.replace("[pgbouncer]\n", "")
        for text, files in (
            (FULL, {}),
            (FULL + "client_tls_sslmode = allow\nserver_tls_sslmode = Verify-CA\n", {}),
            (FULL + "[pgbouncer]\n" + reset, {}),
            (FULL + "[databases]\n[pgbouncer]\n" + reset + TLS.replace("require", "prefer"), {}),
            (FULL + "%include {dir}/1.ini\n" + reset + "server_tls_sslmode = prefer\n",
             {"1.ini": "client_tls_sslmode = allow\n[pgbouncer]\n"}),
            (FULL + "%include {dir}/1.ini\nclient_tls_dheparams = none\n",
             {"1.ini": "client_tls_sslmode = allow\nclient_tls_ciphers =   HIGH:!aNULL  \n"}),
        ):  # fmt: skip
            with self.subTest(ini=text, files=files), self.placed(text, files) as (ini, port):
                facts = dict(check("ini", ini, "", POSTGRES)["facts"])
                with Bouncer(ini, ini.parent):
                    shown = run(
                        psql("--tuples-only", "--no-align", "--command", "show config",
                             host="127.0.0.1", port=port, user="admin", dbname="pgbouncer",
                             sslmode="prefer", channel_binding="disable")
                    ).or_fail()  # fmt: skip
                config = dict(line.split("|")[:2] for line in shown.output.splitlines())
                defaults = {"not set": ("disable",)}
                for name, value in facts.items():
                    if name.endswith(" certificate") or name == "files are read by":
                        continue
                    wanted = value.partition(" (")[0]
                    expected = defaults.get(wanted, (wanted.lower(),))
                    self.assertIn(config[name].lower(), expected, (name, config))
                for name, value in config.items():
                    if "_tls_" in name and value not in ("", "auto", "fast", "secure", "disable"):
                        self.assertIn(name, facts)

    def test_readers(self):
        closed = FULL.replace("key.pem", "closed.pem")
        report = self.assert_finds(closed, "unreadable")
        self.assertIn("cannot read ", json.dumps(report))
        self.assert_finds(closed, "other-user", reader=ROOT)
        with self.placed(FULL + "user = nobody\n", {}) as (ini, _):
            report = check("ini", ini, "")
            self.assertIn(["files are read by", "nobody"], report["facts"])
            self.assertNotIn("other-user", problems(report, "note"))
            report = check("ini", ini, "", POSTGRES)
        (finding,) = [f for f in report["findings"] if f["id"] == "other-user"]
        self.assertEqual(finding["remedy"], "check for that user: --as nobody")
        self.assertEqual(finding["level"], "note")

    def test_exposed_key(self):
        with self.placed(FULL, {}) as (ini, _):
            report = check("ini", ini, "", POSTGRES)
            self.assertIn("key-exposed", problems(report))
            (ini.parent / "key.pem").chmod(0o640)
            run(as_root("chgrp", "postgres", str(ini.parent / "key.pem"))).or_fail()
            self.assertEqual(check("ini", ini, "", POSTGRES)["findings"], [])

    def test_inclusions_without_end(self):
        """PgBouncer would read these files for ever."""
        many = {f"{n}.ini": f"%include {{dir}}/{n + 1}.ini\n" * 100 for n in range(1, 10)}
        report = self.assert_finds(
            FULL + "%include {dir}/1.ini\n", "ini-include", files=many | {"10.ini": ";\n"}
        )
        self.assertEqual(problems(report, "unknown"), ["ini-include"])

    def test_hostile_bytes(self):
        for text in (
            "[pgbouncer]\n\x1b[31m = 1\n",
            "[pgbouncer]\nclient_tls_sslmode = \x1b]0;x\x07\n",
            "[\x1b[31m]\n",
            "[pgbouncer]\nclient_tls_key_file = \x1b[31m\nclient_tls_cert_file = \x01\n"
            "client_tls_sslmode = require\n",
            "[pgbouncer]\n%include \x1b[31m\n",
            "[databases]\n\x7f = \x1b[31m\n",
            "[databases]\na = host=\x1b[31m\n[pgbouncer]\n",
            "[pgbouncer]\nuser = \x1b[31m\nlisten_port = \x01 # \x1b[31m\n",
            "%" * 5000,
            "[" * 5000,
            "=" * 5000,
        ):
            with self.subTest(text=text[:60]), self.placed(text, {}) as (ini, _):
                report = check("ini", ini, "")
                self.assertRegex(json.dumps(report["findings"]), r"\A[\x20-\x7e]*\Z")
                for finding in report["findings"]:
                    self.assertNotRegex(finding["what"] + finding["remedy"], r"[\x00-\x1f\x7f]")
                for name, value in report["facts"]:
                    self.assertNotRegex(name + value, r"[\x00-\x1f\x7f]")


# --- Bundles --------------------------------------------------------------------------------------


class Bundle(unittest.TestCase):
    """Made like the one of Amazon RDS: a root for each region and algorithm."""

    KINDS = {"rsa2048": "RSA 2048", "rsa4096": "RSA 4096", "p384": "P-384"}

    def roots(self) -> dict[str, tuple[bytes, str]]:
        made = {}
        for region, days in (("eu-central-1", 365 * 35), ("us-east-1", 365 * 95)):
            for kind, text in self.KINDS.items():
                subject = f"Test RDS {region} Root CA {text.replace(' ', '').replace('-', '')} G1"
                made[subject] = (
                    make_root(kind, subject=subject, end=from_now(days))[0],
                    text,
                )
        return made

    def bundle(self, *parts: bytes) -> Path:
        path = fresh() / "global-bundle.pem"
        path.write_bytes(b"".join(parts))
        return path

    def assert_finds(self, path: Path, *expected: str, roots="") -> dict:
        report = check("bundle", path, roots)
        found = sorted(f["id"] for f in report["findings"])
        self.assertEqual(found, sorted(expected), report)
        return report

    def test_facts(self):
        roots = self.roots()
        report = self.assert_finds(self.bundle(*(pem for pem, _ in roots.values())))
        self.assertEqual([name for name, _ in report["facts"]], [f"/CN={name}" for name in roots])
        for (_, value), (pem, kind) in zip(report["facts"], roots.values(), strict=True):
            end = openssl("x509 -noout -enddate -dateopt iso_8601", stdin=pem).decode().strip()
            end = end.partition("=")[2].replace(" ", "T")
            self.assertRegex(value, rf"\A{kind}, until {end}, \d+ days left\Z")

    def test_dates(self):
        good = make_root("p384", subject="good")[0]
        old = make_root(number=1, subject="old \x1b one", start=from_now(-9), end=from_now(-3))[0]
        soon = make_root(number=2, subject="soon", end=from_now(29.5))[0]
        later = make_root(number=3, subject="later", start=from_now(2))[0]
        report = self.assert_finds(
            self.bundle(good, old, soon, later),
            *("root-expired", "root-expires-soon", "root-not-yet-valid"),
        )
        said = {f["id"]: f["what"] for f in report["findings"]}
        self.assertIn("/CN=old \\x1B one", said["root-expired"])
        self.assertIn('"/CN=soon" expires in 29 days', said["root-expires-soon"])
        self.assertEqual(set(problems(report, "problem")), set(said))
        self.assertIn(", 3 days ago", dict(report["facts"])["/CN=old \\x1B one"])

    def test_contents(self):
        root, key = make_root()
        other = make_root(number=1, subject="other")[0]
        leaf = certify(make_key("p256", 2), SERVER, issuer=(root, key), subject="h", end=YEAR)
        between = certify(make_key("p256", 3), FIT, issuer=(root, key), subject="between")
        damaged = root.replace(b"\nMII", b"\nM!I", 1)
        self.assertNotEqual(damaged, root)
        for parts, expected in (
            ((b"Amazon's\n", root, b"\n# two\n", other), []),
            ((root.replace(b"\n", b"\r\n"), other), []),
            ((root, other, root), ["bundle-duplicate"]),
            ((root, leaf), ["bundle-leaf"]),
            ((root, between), ["bundle-intermediate"]),
            ((root, damaged, other), ["damaged-file"]),
            ((root, root[:200]), ["damaged-file"]),
            ((root[:200], other), ["damaged-file"]),
            ((root[:200], b"\n", damaged), ["damaged-file", "damaged-file"]),
            ((b"",), ["damaged-file"]),
            ((key,), ["damaged-file", "key-in-certificate-file"]),
            ((root, key), ["key-in-certificate-file"]),
            ((os.urandom(5000),), ["damaged-file"]),
        ):
            with self.subTest(parts=[part[:40] for part in parts]):
                path = self.bundle(*parts)
                self.assert_finds(path, *expected)
                # OpenSSL refuses all of a file that has a damaged block.
                judge = run(["openssl", "verify", "-CAfile", str(path), str(self.bundle(root))])
                if "damaged-file" in expected:
                    self.assertNotEqual(judge.status, 0, judge)
                else:
                    self.assertEqual(judge.status, 0, judge)

    def test_a_leaf_with_its_intermediates(self):
        root = make_root()
        between_key = make_key("p256", 3)
        between = certify(between_key, FIT, issuer=root, subject="between")
        leaf = certify(
            make_key("p256", 2), SERVER, issuer=(between, between_key), subject="h", end=YEAR
        )
        roots = self.bundle(root[0])
        self.assert_finds(self.bundle(leaf, between), roots=roots)
        self.assert_finds(self.bundle(leaf), "missing-intermediate", roots=roots)
        soon = certify(make_key("p256", 2), SERVER, issuer=root, subject="h", end=from_now(3))
        self.assert_finds(self.bundle(soon), "expires-soon", roots=roots)

    def test_unreadable(self):
        path = self.bundle(make_root()[0])
        path.chmod(0o600)
        report = check("bundle", path, "", STRANGER)
        self.assertEqual(problems(report), ["unreadable"])
        self.assertEqual(report["findings"][0]["remedy"], f"chmod o+r {path}")
        self.assertEqual(len(report["facts"]), 1)
        self.assertEqual(problems(check("bundle", path.parent / "no.pem")), ["missing-file"])


if __name__ == "__main__":
    unittest.main()
