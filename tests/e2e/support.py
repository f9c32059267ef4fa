"""What the tests that run the program on files share: directories of their own, keys and certificates
of other makers, a reader of certificates, and the judges of a run.
"""

import atexit
import base64
import contextlib
import datetime
import functools
import ipaddress
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]

@functools.cache
def scratch() -> Path:
    """A directory for everything that the tests make, open to any user who runs the program."""
    path = Path(tempfile.mkdtemp(prefix="pki-test-"))
    path.chmod(0o755)
    atexit.register(shutil.rmtree, path)
    return path


def fresh() -> Path:
    """A new empty directory."""
    path = Path(tempfile.mkdtemp(dir=scratch()))
    path.chmod(0o755)
    return path


@functools.cache
def program() -> str:
    """A copy of the program where every user can run it: a build tree may be closed to `nobody`."""
    original = os.environ.get("PKI") or TREE / "build" / "pki"
    return shutil.copy(original, scratch() / "pki")


def unprivileged() -> dict:
    """How to run a child that the permissions of files bind."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def give_away(directory: Path):
    """Makes what is in `directory` that of the user of unprivileged()."""
    owner = unprivileged()
    if owner:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, owner["user"], owner["group"])


def snapshot(directory: Path) -> dict:
    """All that can be seen of a tree: kinds, modes, sizes, times, targets of links and bytes."""

    def look(path: Path):
        status = path.lstat()
        contents = None
        if stat.S_ISLNK(status.st_mode):
            contents = os.readlink(path)
        elif stat.S_ISREG(status.st_mode) and status.st_size <= 4 << 20:
            with contextlib.suppress(PermissionError):  # a test of what cannot be read
                contents = path.read_bytes()
        return (
            oct(status.st_mode),
            status.st_uid,
            status.st_nlink,
            status.st_size,
            status.st_mtime_ns,
            contents,
        )

    return {
        str(path.relative_to(directory)): look(path) for path in (directory, *directory.rglob("*"))
    }


def quoted(value: bytes) -> str:
    """`value` as a message must quote it; of a long one the beginning."""
    plain = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
    characters = [
        plain.get(chr(byte)) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}")
        for byte in value
    ]
    return '"' + "".join(characters[:200]) + ('"' if len(value) <= 200 else "")


# --- Keys and certificates of other makers --------------------------------------------------------


def openssl(command: str, *arguments, stdin: bytes = b"", directory: Path | None = None) -> bytes:
    """openssl(1) with `command`, split at its spaces, and `arguments`, as they are."""
    done = subprocess.run(
        ["openssl", *command.split(), *arguments],
        input=stdin,
        capture_output=True,
        cwd=directory,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"openssl {command}: {done.stderr.decode()}")
    return done.stdout


@functools.cache
def make_key(kind: str, _number: int = 0) -> bytes:
    """A key as PKCS#8 in PEM: "p256", "rsa2048" and the like; another for every number."""
    if kind in ("ed25519", "ed448", "rsa-pss"):
        return openssl(f"genpkey -algorithm {kind.upper()}")
    if kind.startswith("rsa"):
        return openssl(f"genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{kind[3:]}")
    curve = {"p256": "P-256", "p384": "P-384", "p521": "P-521"}[kind]
    return openssl(f"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{curve}")


def traditional(key: bytes) -> bytes:
    """SEC1 or PKCS#1."""
    return openssl("pkey -traditional", stdin=key)


@functools.cache
def public_key(key: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a private key, in DER."""
    return openssl("pkey -pubout -outform DER", stdin=key)


def from_now(days: float) -> str:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return then.strftime("%Y%m%d%H%M%SZ")


FIT = """basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
"""


# What openssl-ca(1) wants to know, in a directory of its own.
AUTHORITY = """
[req]
distinguished_name = name
[name]
[ca]
default_ca = this
[this]
database = index
serial = serial
new_certs_dir = .
policy = any
[any]
commonName = supplied
"""


@functools.cache
def certify(
    key: bytes,
    extensions: str,
    *,
    issuer: tuple[bytes, bytes] | None = None,
    subject: str = "a root",
    start: str = "",
    end: str = "",
    digest: str = "sha256",
    serial: str = "",
) -> bytes:
    """A certificate for `key`, in PEM, signed by itself or by the pair `issuer`.

    `extensions` are lines of an x509v3_config(5) section; without any, OpenSSL 3.0 makes a v1
    certificate (a later one may make a v3 certificate that has none).
    """
    work = fresh()
    (work / "config").write_text(AUTHORITY)
    (work / "index").touch()
    (work / "serial").write_text(serial or f"40{secrets.token_hex(7)}")
    (work / "extensions").write_text(extensions)
    (work / "key").write_bytes(key)
    signer = "-selfsign -keyfile key"
    if issuer is not None:
        (work / "issuer").write_bytes(issuer[0])
        (work / "issuer-key").write_bytes(issuer[1])
        signer = "-cert issuer -keyfile issuer-key"
    openssl("req -new -config config -key key -out request -subj", f"/CN={subject}", directory=work)
    openssl(
        f"ca -batch -notext -config config {signer} -md {digest} -in request -out made "
        f"-startdate {start or from_now(-1)} -enddate {end or from_now(10 * 365)} "
        + ("-extfile extensions" if extensions else ""),
        directory=work,
    )
    return (work / "made").read_bytes()


def make_root(kind="p256", number=0, extensions=FIT, **more) -> tuple[bytes, bytes]:
    """A root's two files: its certificate and its key."""
    key = make_key(kind, number)
    return certify(key, extensions, **more), key


def place(directory: Path, certificate: bytes, key: bytes, names=("minica.pem", "minica-key.pem")):
    for name, contents, mode in zip(names, (certificate, key), (0o644, 0o600), strict=True):
        (directory / name).write_bytes(contents)
        (directory / name).chmod(mode)


def with_root(pair: tuple[bytes, bytes] | None = None) -> Path:
    """A new directory with a root in it."""
    directory = fresh()
    place(directory, *(pair or make_root()))
    return directory


# --- Reading certificates -------------------------------------------------------------------------


def der_of(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


def der_values(data: bytes):
    """The values that stand one after the other in DER: (tag, contents, whole encoding) of each."""
    at = 0
    while at < len(data):
        start = at
        tag, length = data[at], data[at + 1]
        at += 2
        if length >= 0x80:
            count = length - 0x80
            length = int.from_bytes(data[at : at + count], "big")
            at += count
        at += length
        yield tag, data[at - length : at], data[start:at]


OID_COMMON_NAME = bytes.fromhex("550403")
OID_SUBJECT_KEY_IDENTIFIER = bytes.fromhex("551d0e")
OID_KEY_USAGE = bytes.fromhex("551d0f")
OID_SUBJECT_ALT_NAME = bytes.fromhex("551d11")
OID_BASIC_CONSTRAINTS = bytes.fromhex("551d13")
OID_AUTHORITY_KEY_IDENTIFIER = bytes.fromhex("551d23")
OID_EXTENDED_KEY_USAGE = bytes.fromhex("551d25")


class Certificate:
    """The fields of an X.509 v3 certificate (RFC 5280 4.1), read without the library under test."""

    def __init__(self, path: Path):
        _, certificate, _ = next(der_values(der_of(path.read_bytes())))
        (_, body, _), (_, algorithm, _), _ = der_values(certificate)
        self.signature_oid = next(der_values(algorithm))[1]
        fields = list(der_values(body))
        _, serial, _, issuer, validity, subject, key, extensions = fields
        self.serial: bytes = serial[1]
        self.issuer: bytes = issuer[2]
        self.subject: bytes = subject[2]
        self.key: bytes = key[2]
        self.times = [(tag, text.decode()) for tag, text, _ in der_values(validity[1])]
        self.extensions: dict[bytes, tuple[bool, bytes]] = {}
        ((_, listed, _),) = der_values(extensions[1])
        for _, extension, _ in der_values(listed):
            (_, oid, _), *critical, (_, value, _) = der_values(extension)
            self.extensions[oid] = (bool(critical), value)

    @property
    def common_name(self) -> str:
        for _, relative_name, _ in der_values(next(der_values(self.subject))[1]):
            for _, attribute, _ in der_values(relative_name):
                (_, oid, _), (_, value, _) = der_values(attribute)
                if oid == OID_COMMON_NAME:
                    return value.decode()
        return ""

    @property
    def names(self) -> list[str]:
        """The subject alternative names in their order: "DNS:..." and "IP:..."."""
        (sequence,) = der_values(self.extensions[OID_SUBJECT_ALT_NAME][1])
        return [
            f"DNS:{value.decode()}" if tag == 0x82 else f"IP:{ipaddress.ip_address(value)}"
            for tag, value, _ in der_values(sequence[1])
        ]

    @property
    def validity(self) -> tuple[datetime.datetime, datetime.datetime]:
        """Both ends, which the certificate's life includes."""
        formats = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}  # UTCTime, GeneralizedTime
        start, end = (datetime.datetime.strptime(text, formats[tag]) for tag, text in self.times)
        return start, end


# --- The judges -----------------------------------------------------------------------------------


HOST = ("--domains", "bouncerhost")


class Case(unittest.TestCase):
    """Runs the program in a directory and judges what came of it."""

    maxDiff = 2000

    def pki(self, directory: Path, *arguments, **how) -> subprocess.CompletedProcess:
        how = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "timeout": 60,
            "check": False,
        } | how
        return subprocess.run([program(), *arguments], cwd=directory, **how)

    def assert_one_line(self, text: bytes):
        """A message: one line of ours, that does nothing to a terminal."""
        self.assertRegex(text, rb"\Apki: [\x20-\x7e]+\n\Z")

    def assert_refused(self, directory: Path, *arguments, says=(), status=1, advice=True, **how):
        """Nothing is created or changed, and one line names the culprit.

        What the message says must come with what to do about it (`advice`), unless it is a broken
        rule that says so itself.
        """
        before = snapshot(directory)
        run = self.pki(directory, *arguments, **how)
        self.assertEqual(snapshot(directory), before, "something was changed")
        self.assertEqual((run.returncode, run.stdout), (status, b""), run.stderr)
        self.assert_one_line(run.stderr)
        for part in says:
            self.assertIn(part, run.stderr.decode())
        if advice:
            self.assertRegex(run.stderr.decode(), "; [a-z0-9]", "no advice")
        return run

    def assert_issued(
        self,
        directory: Path,
        *arguments,
        names=("DNS:bouncerhost",),
        leaf=None,
        warns=(),
        trust=None,
        **how,
    ) -> Certificate:
        """A usable pair with just these names, said with just these warnings.

        It is in the directory `leaf`, else in one that is named after the first name, and verifies
        under `trust`, else under minica.pem.
        """
        plain = [name.partition(":")[2] for name in names]
        leaf = leaf or plain[0].replace("*", "_")
        run = self.pki(directory, *arguments, **how)
        self.assertEqual((run.returncode, run.stdout), (0, b""), run.stderr)
        lines = run.stderr.decode().splitlines()
        self.assertEqual(len(lines), len(warns), run.stderr)
        for line, part in zip(lines, warns, strict=True):
            self.assertRegex(line, r"\Apki: warning: [\x20-\x7e]+\Z")
            self.assertIn(part, line)

        key, certificate = directory / leaf / "key.pem", directory / leaf / "cert.pem"
        made = Certificate(certificate)
        self.assertEqual(made.names, list(names))
        self.assertEqual(made.common_name, next((n for n in plain if len(n) <= 64), ""))
        # RFC 5280 4.2.1.6: a critical SAN if and only if the subject is empty.
        self.assertEqual(made.extensions[OID_SUBJECT_ALT_NAME][0], made.common_name == "")
        self.assertEqual(public_key(key.read_bytes()), made.key, "the pair does not match")
        self.assertEqual(oct(key.lstat().st_mode), oct(stat.S_IFREG | 0o600))
        trust = trust or directory / "minica.pem"
        openssl("verify -purpose sslserver -CAfile", trust, certificate)
        return made

    def assert_unchanged(self, directory: Path, *arguments, leaf: str):
        """The request is satisfied by what is there."""
        before = snapshot(directory)
        run = self.pki(directory, *arguments)
        self.assertEqual((run.returncode, run.stdout), (0, b""), run.stderr)
        self.assertIn(f"pki: {leaf}: unchanged, ", run.stderr.decode())
        self.assertEqual(snapshot(directory), before)

    def assert_whole(self, directory: Path, leaf="bouncerhost"):
        """Of a pair both files are there, and belong together, or none is."""
        for certificate, key in (
            ("minica.pem", "minica-key.pem"),
            (f"{leaf}/cert.pem", f"{leaf}/key.pem"),
        ):
            there = [(directory / name).exists() for name in (certificate, key)]
            self.assertEqual(there[0], there[1], f"only one of {certificate} and {key}")
            if all(there):
                self.assertEqual(
                    Certificate(directory / certificate).key,
                    public_key((directory / key).read_bytes()),
                )

    def assert_works_or_fails_cleanly(self, directory: Path, *arguments, leaf="bouncerhost", **how):
        """Either is right in a starved process; nothing is half made, and the next run works."""
        run = self.pki(directory, *arguments, **how)
        self.assert_whole(directory, leaf)
        if run.returncode == 0:
            self.assertTrue((directory / leaf / "cert.pem").exists())
        else:
            self.assertEqual(run.returncode, 1, run.stderr)
            self.assert_one_line(run.stderr)
        self.assertEqual(self.pki(directory, *arguments).returncode, 0)
        self.assert_whole(directory, leaf)


def spellings(option: str, value: bytes) -> list[list[bytes]]:
    """Go's flag package takes all of these, and so do scripts written for minica."""
    name = option.encode()
    return [
        [b"-" + name, value],
        [b"--" + name, value],
        [b"-" + name + b"=" + value],
        [b"--" + name + b"=" + value],
    ]
