#!/usr/bin/python3
"""What a script written for jsha/minica finds: its command line, its files, its roots.

minica itself is not needed: its roots and leaves are made here with openssl(1), field by field as
minica (commit c5ce70c) makes them. Where pki differs on purpose the test says so and why.

    PKI=build/pki tests/e2e/minica_compat.py
"""

import datetime
import os
import re
import stat
import unittest
from pathlib import Path

from support import (
    HOST,
    OID_AUTHORITY_KEY_IDENTIFIER,
    OID_BASIC_CONSTRAINTS,
    OID_EXTENDED_KEY_USAGE,
    OID_KEY_USAGE,
    OID_SUBJECT_KEY_IDENTIFIER,
    Case,
    Certificate,
    certify,
    der_values,
    fresh,
    from_now,
    make_key,
    make_root,
    openssl,
    place,
    snapshot,
    spellings,
    traditional,
    with_root,
)

ECDSA_WITH_SHA256 = bytes.fromhex("2a8648ce3d040302")
ECDSA_WITH_SHA384 = bytes.fromhex("2a8648ce3d040303")
RSA_WITH_SHA256 = bytes.fromhex("2a864886f70d01010b")

P256, P384, RSA_2048, ED25519 = "P-256", "P-384", "RSA 2048", "Ed25519"

UTC_TIME, GENERALIZED_TIME = 0x17, 0x18


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.lstat().st_mode))


def key_type(certificate: Certificate) -> str:
    text = openssl("pkey -pubin -inform DER -text -noout", stdin=certificate.key)
    if b"ED25519" in text:
        return ED25519
    curve = re.search(rb"NIST CURVE: (\S+)", text)
    if curve:
        return curve[1].decode()
    return "RSA " + re.search(rb"\((\d+) bit\)", text)[1].decode()


def years_later(start: datetime.datetime, years: int) -> datetime.datetime:
    try:
        return start.replace(year=start.year + years)
    except ValueError:  # 29 February
        return start.replace(year=start.year + years, day=28)


def key_identifier(certificate: Certificate, oid: bytes) -> bytes:
    """The 20 bytes at the end of both extensions."""
    return certificate.extensions[oid][1][-20:]


def usages(certificate: Certificate) -> set[str]:
    known = {"2b06010505070301": "server", "2b06010505070302": "client"}
    (sequence,) = der_values(certificate.extensions[OID_EXTENDED_KEY_USAGE][1])
    return {known[oid.hex()] for _, oid, _ in der_values(sequence[1])}


# --- The profile of minica's certificates ---------------------------------------------------------

MINICA_ROOT = """basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,digitalSignature,keyCertSign
extendedKeyUsage=serverAuth,clientAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid:always
"""

MINICA_LEAF = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=serverAuth,clientAuth
subjectKeyIdentifier=none
authorityKeyIdentifier=keyid:always
subjectAltName=DNS:bouncerhost
"""


def minica_root(kind: str) -> tuple[bytes, bytes]:
    """For a hundred years, with a serial number of 63 bits that gives its name."""
    key = make_key(kind)
    serial = "2f3c1a5be0917d44"
    return certify(
        key,
        MINICA_ROOT,
        subject=f"minica root ca {serial[:6]}",
        serial=serial,
        end=from_now(36525),
        digest="sha384" if kind == "p384" else "sha256",
    ), key


def minica_leaf(root: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    key = make_key("p384", 2)
    return certify(
        key, MINICA_LEAF, issuer=root, subject="bouncerhost", digest="sha384", end=from_now(760)
    ), key


# --- The command line -----------------------------------------------------------------------------


class CommandLine(Case):
    def test_spellings(self):
        """Of every option with a value: all of Go's spellings mean the same."""
        for option, value in (
            ("domains", b"a.test"),
            ("ip-addresses", b"192.0.2.1"),
            ("ca-cert", b"root.pem"),
            ("ca-key", b"root-key.pem"),
            ("ca-alg", b"ecdsa"),
            ("key-type", b"p256"),
            ("days", b"30"),
            ("out", b"below"),
        ):
            directory = with_root()
            place(directory, *make_root(), ("root.pem", "root-key.pem"))
            (directory / "below").mkdir()
            rest = [] if option in ("domains", "ip-addresses") else ["--domains", "a.test"]
            leaf = {"ip-addresses": "192.0.2.1", "out": "below/a.test"}.get(option, "a.test")
            first, *others = spellings(option, value)
            with self.subTest(arguments=first):
                run = self.pki(directory, *first, *rest)
                self.assertEqual((run.returncode, run.stdout, run.stderr), (0, b"", b""))
                self.assertTrue((directory / leaf / "cert.pem").exists())
            for arguments in others:
                with self.subTest(arguments=arguments):
                    self.assert_unchanged(directory, *arguments, *rest, leaf=leaf)
                    self.assert_unchanged(directory, *rest, *arguments, leaf=leaf)

    def test_subcommand(self):
        """The first bare word; minica has none, and prints its usage for one."""
        directory = with_root()
        self.assert_issued(directory, "issue", "--domains", "a.test", names=["DNS:a.test"])
        self.assert_unchanged(directory, "--domains", "a.test", leaf="a.test")

    def test_nothing_asked_for(self):
        """Usage on stderr and status 1, and no root made."""
        directory = fresh()
        for arguments in (
            [],
            ["-"],
            ["--"],
            ["--", "--domains", "a"],
            ["-domains", ""],
            ["--domains="],
            ["--domains", "", "--ip-addresses", ""],
            ["--ip-addresses="],
            ["--quiet"],
            ["--ca-alg", "rsa"],
            ["--quiet", "word"],
            ["-", "--domains", "a"],
            ["issue"],
            ["issue", "--", "--domains", "a"],
        ):
            with self.subTest(arguments=arguments):
                before = snapshot(directory)
                run = self.pki(directory, *arguments)
                self.assertEqual((run.returncode, run.stdout), (1, b""))
                self.assertTrue(run.stderr.startswith(b"Usage"), run.stderr)
                self.assertEqual(snapshot(directory), before)

    def test_help(self):
        """On stdout, so that it can be piped to a pager (minica: stderr); status 0 as with Go."""
        directory = fresh()
        for arguments in (
            ["-h"],
            ["--h"],
            ["-help"],
            ["--help"],
            ["--domains", "a", "--help"],
            ["--help", "--domains", "../x"],
        ):
            with self.subTest(arguments=arguments):
                run = self.pki(directory, *arguments)
                self.assertEqual((run.returncode, run.stderr), (0, b""))
                self.assertTrue(run.stdout.startswith(b"Usage"))
                self.assertIn(b"--ip-addresses", run.stdout)
                self.assertEqual(os.listdir(directory), [])

    def test_first_mistake_wins(self):
        """minica's order: usage, then no names, then values; only one is reported."""
        directory = fresh()
        for arguments, status, says in (
            (["--bogus"], 2, "--bogus"),
            (["--domains", "../x", "--bogus"], 2, "--bogus"),
            (["--domains", "../x", "word"], 2, '"word"'),
            (["--domains", "../x", "--ip-addresses", "1.2.3"], 1, "--domains"),
            (["--domains", "a", "--ca-alg", "dsa", "--ip-addresses", "1"], 1, "--ca-alg"),
        ):
            with self.subTest(arguments=arguments):
                self.assert_refused(directory, *arguments, status=status, says=[says], advice=False)

    def test_a_repeated_file_counts_once(self):
        """The last one, as in minica; lists of names add up instead (bad_input.py)."""
        directory = with_root()
        right = {"--ca-cert": "minica.pem", "--ca-key": "minica-key.pem", "--out": "."}
        for option, value in right.items():
            with self.subTest(option):
                arguments = (option, "missing/x", option, value, "--domains", f"a{option}.test")
                self.assert_issued(directory, *arguments, names=[f"DNS:a{option}.test"])
        with self.subTest("--ca-alg"):
            arguments = ("--ca-alg", "rsa", "--ca-alg", "ecdsa", "--domains", "b.test")
            made = self.assert_issued(directory, *arguments, names=["DNS:b.test"])
            self.assertEqual(key_type(made), P256)


# --- The files ------------------------------------------------------------------------------------


class Files(Case):
    def test_defaults(self):
        """The same names; certificates are public here, since servers run as users of their own."""
        for umask in (0, 0o022, 0o077):
            with self.subTest(umask=oct(umask)):
                directory = fresh()
                self.assert_issued(directory, *HOST, umask=umask)
                modes = {
                    str(path.relative_to(directory)): mode(path) for path in directory.rglob("*")
                }
                keys = ("minica-key.pem", "bouncerhost/key.pem")
                certificates = ("minica.pem", "bouncerhost/cert.pem")
                expected = {"bouncerhost": "0o755", "minica-index.txt": "0o644"}
                expected |= dict.fromkeys(keys, "0o600") | dict.fromkeys(certificates, "0o644")
                self.assertEqual(modes, expected)
                for names, label in ((keys, "PRIVATE KEY"), (certificates, "CERTIFICATE")):
                    begin, end = f"-----BEGIN {label}-----\n", f"-----END {label}-----\n"
                    for name in names:
                        text = (directory / name).read_text()
                        self.assertRegex(text, rf"\A{begin}([^-]{{1,64}}\n)+{end}\Z")

    def test_directory_names(self):
        """The first domain, else the first address, wherever on the command line they stand."""
        directory = with_root()
        for arguments, leaf, names in (
            (["--domains", "a.test,b.test"], "a.test", ["DNS:a.test", "DNS:b.test"]),
            (["--ip-addresses", "192.0.2.1,::1"], "192.0.2.1", ["IP:192.0.2.1", "IP:::1"]),
            (["--ip-addresses", "::1"], "::1", ["IP:::1"]),
            (
                ["--ip-addresses", "192.0.2.2", "--domains", "c.test"],
                "c.test",
                ["DNS:c.test", "IP:192.0.2.2"],
            ),
            (["--domains", "*.d.test"], "_.d.test", ["DNS:*.d.test"]),
            (["--domains", "A.Example.COM"], "A.Example.COM", ["DNS:A.Example.COM"]),
        ):
            with self.subTest(arguments=arguments):
                self.assert_issued(directory, *arguments, leaf=leaf, names=names)

    def test_other_places(self):
        """The root's files follow their options, the leaf the working directory or --out."""
        directory = fresh()
        for name in ("public", "secret", "leaves", "work"):
            (directory / name).mkdir()
        public, secret = directory / "public" / "db.pem", directory / "secret" / "db-key.pem"
        arguments = ("--ca-cert", "../public/db.pem", "--ca-key", secret, "--domains", "a.test")
        there = {"names": ["DNS:a.test"], "trust": public}
        work = directory / "work"
        self.assert_issued(work, *arguments, **there)
        self.assert_issued(work, *arguments, "--out", "../leaves", leaf="../leaves/a.test", **there)
        made = [path.relative_to(directory) for path in directory.rglob("*") if path.is_file()]
        self.assertEqual(
            sorted(map(str, made)),
            [
                "leaves/a.test/cert.pem",
                "leaves/a.test/key.pem",
                "public/db-index.txt",
                "public/db.pem",
                "secret/db-key.pem",
                "work/a.test/cert.pem",
                "work/a.test/key.pem",
            ],
        )

    def test_missing_parents_are_not_made(self):
        directory = fresh()
        for option in ("--ca-cert", "--ca-key", "--out"):
            with self.subTest(option):
                self.assert_refused(
                    directory, "--domains", "a.test", option, "missing/x", says=["missing"]
                )

    def test_half_a_root(self):
        for there, missing in (("minica.pem", "minica-key.pem"), ("minica-key.pem", "minica.pem")):
            with self.subTest(there=there):
                directory = with_root()
                (directory / missing).unlink()
                self.assert_refused(
                    directory, "--domains", "a.test", says=[f"{missing} is missing", there]
                )

    def test_an_existing_directory(self):
        """minica fills a directory that is there and keeps its mode; so does pki."""
        directory = with_root()
        (directory / "a.test").mkdir()
        (directory / "a.test").chmod(0o711)
        self.assert_issued(directory, "--domains", "a.test", names=["DNS:a.test"])
        self.assertEqual(mode(directory / "a.test"), "0o711")

    def test_what_minica_left_halfway(self):
        """It writes a key before it finds that it cannot write the certificate."""
        directory = with_root()
        (directory / "a.test").mkdir()
        (directory / "a.test" / "key.pem").write_bytes(make_key("p256", 2))
        self.assert_refused(directory, "--domains", "a.test", says=["a.test/cert.pem"])
        with self.subTest("a file for a directory"):
            (directory / "b.test").touch()
            self.assert_refused(directory, "--domains", "b.test", says=["b.test"])


# --- Reruns ---------------------------------------------------------------------------------------


class Reruns(Case):
    def test_satisfied(self):
        """minica fails ("file exists"); a provisioning script may run pki at every boot."""
        directory = fresh()
        first = ("--domains", "a.test,b.test", "--ip-addresses", "192.0.2.1")
        self.assertEqual(self.pki(directory, *first).returncode, 0)
        for arguments in (
            first,
            (*first, "--key-type", "p256"),
            (*first, "--ca-alg", "ecdsa"),
            ("--domains", "a.test,B.TEST.", "--ip-addresses", "::ffff:192.0.2.1"),
            ("--domains", "a.test,b.test,a.test", "--ip-addresses", "192.0.2.1"),
        ):
            with self.subTest(arguments=arguments):
                self.assert_unchanged(directory, *arguments, leaf="a.test")

    def test_differs(self):
        """Nothing is overwritten: status 1, and the difference is named."""
        directory = with_root()
        asked = ("--domains", "a.test,b.test")
        self.assertEqual(self.pki(directory, *asked, "--days", "90").returncode, 0)
        for arguments, says in (
            (("--domains", "a.test"), "names"),
            (("--domains", "a.test,c.test"), "c.test"),
            ((*asked, "--ip-addresses", "192.0.2.1"), "192.0.2.1"),
            ((*asked, "--key-type", "p384"), "p384"),
            ((*asked, "--ca-alg", "rsa"), "rsa2048"),
            ((*asked, "--days", "91"), "91 days"),
        ):
            with self.subTest(arguments=arguments):
                self.assert_refused(directory, *arguments, says=["a.test/cert.pem", says])
        with self.subTest("another root"):
            place(directory, *make_root(number=2, subject="another"))
            self.assert_refused(directory, *asked, says=["a.test/cert.pem", "root"])
        with self.subTest("another root of the same name"):
            place(directory, *make_root(number=2))
            self.assert_refused(directory, *asked, says=["a.test/cert.pem", "root"])

    def test_minica_leaf(self):
        """It has clientAuth, too, with which PgBouncer may take a host for a user of its name."""
        root = minica_root("p384")
        directory = with_root(root)
        (directory / "bouncerhost").mkdir(0o700)
        place(directory / "bouncerhost", *minica_leaf(root), ("cert.pem", "key.pem"))
        self.assert_refused(directory, *HOST, says=["bouncerhost/cert.pem", "usage", "client"])

    def test_expiring(self):
        """A third of its lifetime, at most 30 days, before the end: status 3, nothing changed."""
        root = make_root(start=from_now(-400))
        extensions = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
authorityKeyIdentifier=keyid
subjectAltName=DNS:bouncerhost
"""
        for start, end, status, says in (
            (-300, 31, 0, "unchanged"),
            (-300, 29, 3, "expires"),
            (-300, 0.01, 3, "expires"),
            (-300, -0.01, 3, "expired"),
            (-300, -200, 3, "expired"),
            (-5, 4, 0, "unchanged"),
            (-7, 2, 3, "expires"),
            (-0.5, 0.5, 0, "unchanged"),
        ):
            with self.subTest(start=start, end=end):
                key = make_key("p256", 3)
                certificate = certify(
                    key,
                    extensions,
                    issuer=root,
                    subject="bouncerhost",
                    start=from_now(start),
                    end=from_now(end),
                )
                directory = with_root(root)
                (directory / "bouncerhost").mkdir()
                place(directory / "bouncerhost", certificate, key, ("cert.pem", "key.pem"))
                before = snapshot(directory)
                run = self.pki(directory, *HOST)
                self.assertEqual(run.returncode, status, run.stderr)
                self.assert_one_line(run.stderr)
                self.assertIn(says, run.stderr.decode())
                self.assertIn("bouncerhost", run.stderr.decode())
                self.assertEqual(snapshot(directory), before)


# --- Algorithms and certificates ------------------------------------------------------------------


class Algorithms(Case):
    def test_ca_alg(self):
        """In any case, for a new root and its leaf; ECDSA means P-256 here, the fastest."""
        for spelling, kind, signature in (
            ("RSA", RSA_2048, RSA_WITH_SHA256),
            ("rsa", RSA_2048, RSA_WITH_SHA256),
            ("Rsa", RSA_2048, RSA_WITH_SHA256),
            ("ECDSA", P256, ECDSA_WITH_SHA256),
            ("ecdsa", P256, ECDSA_WITH_SHA256),
            ("EcDsA", P256, ECDSA_WITH_SHA256),
            ("p384", P384, ECDSA_WITH_SHA384),
            (None, P256, ECDSA_WITH_SHA256),
        ):
            with self.subTest(spelling):
                directory = fresh()
                option = ("--ca-alg", spelling) if spelling else ()
                made = self.assert_issued(
                    directory, *option, "--domains", "a.test", names=["DNS:a.test"]
                )
                root = Certificate(directory / "minica.pem")
                self.assertEqual((key_type(root), key_type(made)), (kind, kind))
                self.assertEqual((root.signature_oid, made.signature_oid), (signature, signature))

    def test_under_an_existing_root(self):
        """The options choose the leaf's key; the root's key alone decides the signature."""
        for root_kind, signature in (
            ("rsa2048", RSA_WITH_SHA256),
            ("p384", ECDSA_WITH_SHA384),
            ("p256", ECDSA_WITH_SHA256),
        ):
            directory = with_root(make_root(root_kind))
            for arguments, kind in (
                ((), P256),
                (("--ca-alg", "ecdsa"), P256),
                (("--ca-alg", "RSA"), RSA_2048),
                (("--key-type", "p384"), P384),
                (("--key-type", "ed25519"), ED25519),
                (("--ca-alg", "rsa", "--key-type", "p256"), P256),
            ):
                with self.subTest(root=root_kind, arguments=arguments):
                    host = "-".join(("a", *arguments)).replace("--", "") + ".test"
                    made = self.assert_issued(
                        directory, *arguments, "--domains", host, names=[f"DNS:{host}"]
                    )
                    self.assertEqual((key_type(made), made.signature_oid), (kind, signature))

    def test_roots_of_minica(self):
        """Both algorithms, and every form in which their keys are found, used as they are."""

        def relabelled(key: bytes) -> bytes:
            # minica reads this label, too, which nothing else writes.
            return traditional(key).replace(b"EC PRIVATE KEY", b"ECDSA PRIVATE KEY")

        forms = [
            ("p384", "PKCS#8", bytes),
            ("p384", "SEC1", traditional),
            ("p384", "ECDSA PRIVATE KEY", relabelled),
            ("rsa2048", "PKCS#8", bytes),
            ("rsa2048", "PKCS#1", traditional),
        ]
        for kind, form, convert in forms:
            with self.subTest(kind=kind, form=form):
                certificate, key = minica_root(kind)
                directory = with_root((certificate, convert(key)))
                before = snapshot(directory)
                made = self.assert_issued(directory, *HOST)
                after = snapshot(directory)
                for name in ("minica.pem", "minica-key.pem"):
                    self.assertEqual(after[name], before[name])

                root = Certificate(directory / "minica.pem")
                self.assertEqual(
                    key_identifier(root, OID_AUTHORITY_KEY_IDENTIFIER),
                    key_identifier(root, OID_SUBJECT_KEY_IDENTIFIER),
                    "no minica root",
                )
                self.assertEqual(
                    key_identifier(made, OID_AUTHORITY_KEY_IDENTIFIER),
                    key_identifier(root, OID_SUBJECT_KEY_IDENTIFIER),
                )
                self.assertEqual(made.issuer, root.subject)
                self.assertEqual(
                    made.signature_oid, ECDSA_WITH_SHA384 if kind == "p384" else RSA_WITH_SHA256
                )
                leaf = directory / "bouncerhost" / "cert.pem"
                openssl("verify -x509_strict -CAfile", directory / "minica.pem", leaf)

    def test_keys_that_minica_refuses(self):
        root = minica_root("p384")
        for what, key, says in (
            ("no PEM", b"no PEM", "PEM"),
            ("another type", openssl("pkey -pubout", stdin=root[1]), "private key"),
            (
                "no PKCS#8",
                root[1].replace(b"BEGIN PRIVATE KEY-----\nM", b"BEGIN PRIVATE KEY-----\nA"),
                "damaged",
            ),
            ("an unknown algorithm", make_key("ed25519"), "match"),
            ("another key", make_key("p384", 5), "match"),
        ):
            with self.subTest(what):
                directory = with_root((root[0], key))
                self.assert_refused(directory, *HOST, says=["minica-key.pem", says])
        with self.subTest("no certificate"):
            directory = with_root((root[1], root[1]))
            self.assert_refused(directory, *HOST, says=["minica.pem", "certificate"])


class Certificates(Case):
    def test_root(self):
        directory = fresh()
        self.assertEqual(self.pki(directory, "--domains", "a.test").returncode, 0)
        root = Certificate(directory / "minica.pem")
        self.assertEqual(root.common_name, f"minica root ca {root.serial[:3].hex()}")
        self.assertEqual(root.issuer, root.subject)
        start, end = root.validity
        self.assertEqual(end + datetime.timedelta(seconds=1), years_later(start, 100))
        # No pathlen and no usages: it may have an issuing CA under it, sign CRLs, and anchor
        # client certificates, which minica's cannot.
        self.assertEqual(
            root.extensions[OID_BASIC_CONSTRAINTS], (True, bytes.fromhex("30030101ff"))
        )
        self.assertEqual(root.extensions[OID_KEY_USAGE], (True, bytes.fromhex("03020106")))
        self.assertNotIn(OID_EXTENDED_KEY_USAGE, root.extensions)
        self.assertIn(OID_SUBJECT_KEY_IDENTIFIER, root.extensions)

    def test_leaf(self):
        """Two calendar years and 30 days; serverAuth alone; keyEncipherment for RSA alone."""
        directory = with_root()
        for kind, key_usage in (
            ("p256", "03020780"),
            ("rsa2048", "030205a0"),
            ("ed25519", "03020780"),
        ):
            with self.subTest(kind):
                host = f"{kind}.test"
                made = self.assert_issued(
                    directory, "--domains", host, "--key-type", kind, names=[f"DNS:{host}"]
                )
                start, end = made.validity
                self.assertEqual(
                    end + datetime.timedelta(seconds=1),
                    years_later(start, 2) + datetime.timedelta(days=30),
                )
                self.assertEqual(made.extensions[OID_BASIC_CONSTRAINTS], (True, b"\x30\0"))
                self.assertEqual(made.extensions[OID_KEY_USAGE], (True, bytes.fromhex(key_usage)))
                self.assertEqual(usages(made), {"server"})
                root = Certificate(directory / "minica.pem")
                self.assertEqual(
                    key_identifier(made, OID_AUTHORITY_KEY_IDENTIFIER),
                    key_identifier(root, OID_SUBJECT_KEY_IDENTIFIER),
                )
                self.assertIn(OID_SUBJECT_KEY_IDENTIFIER, made.extensions)
                # A little in the past: the clocks of hosts at their first boot lag.
                now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
                self.assertLess(start, now - datetime.timedelta(seconds=30))
                self.assertGreater(start, now - datetime.timedelta(hours=1))

    def test_serial_numbers(self):
        """16 octets of which all but two bits are random; minica's 63 bits are below the 64 that
        trusted CAs must have."""
        seen = set()
        for _ in range(20):
            directory = fresh()
            self.assertEqual(self.pki(directory, "--domains", "a.test").returncode, 0)
            for name in ("minica.pem", "a.test/cert.pem"):
                serial = Certificate(directory / name).serial
                self.assertEqual((len(serial), serial[0] >> 6), (16, 0b01))
                seen.add(serial)
        self.assertEqual(len(seen), 40)
        # That one of the bits is the same in forty draws has a chance of 126 in 2 to the 39.
        numbers = [int.from_bytes(serial, "big") for serial in seen]
        for bit in range(126):
            self.assertEqual({number >> bit & 1 for number in numbers}, {0, 1}, f"bit {bit}")

    def test_times(self):
        """UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5)."""
        directory = fresh()
        today = datetime.date.today()
        for year, tag in ((2049, UTC_TIME), (2050, GENERALIZED_TIME), (2080, GENERALIZED_TIME)):
            with self.subTest(year=year):
                days = (datetime.date(year, 7, 1) - today).days
                host = f"until-{year}.test"
                made = self.assert_issued(
                    directory, "--domains", host, "--days", str(days), names=[f"DNS:{host}"]
                )
                self.assertEqual([tag for tag, _ in made.times], [UTC_TIME, tag])
                start, end = made.validity
                self.assertEqual(end.year, year)
                self.assertEqual(end - start, datetime.timedelta(days=days, seconds=-1))
                for _, text in made.times:
                    self.assertRegex(text, r"\A\d{12,14}Z\Z")
        root = Certificate(directory / "minica.pem")
        self.assertEqual([tag for tag, _ in root.times], [UTC_TIME, GENERALIZED_TIME])


if __name__ == "__main__":
    unittest.main()
