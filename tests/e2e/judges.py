#!/usr/bin/python3
"""Third parties judge what pki issues.

The certificates are a matrix of roots, key types and forms of names. Nine judges, the verifiers of
as many programs and libraries, get every one of them with names that it is good for, names that it
is not good for, and roots that did not sign it. A judge is a program in judges/. It reads cases
from its standard input, each a line of four fields with tabs between: the files of root,
certificate and key, and the name. For each it writes a line: `accepted`, or its own words for a
refusal. A refusal counts when the words tell the reason expected here.

    PKI=build/pki tests/e2e/judges.py
"""

import dataclasses
import ipaddress
import os
import re
import secrets
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

PKI = os.path.abspath(os.environ.get("PKI", "build/pki"))
JUDGES = Path(__file__).resolve().parent / "judges"

# C, because the test reads messages; the compiler of Go that is here, and no other.
ENVIRONMENT = {**os.environ, "LC_ALL": "C", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


def run(*command, **options) -> str:
    """The standard output of a command that has to succeed."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT, **options
    )
    if done.returncode != 0:
        raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


# --- What is issued -------------------------------------------------------------------------------

# Roots that pki makes, by the options that ask for them.
OWN_ROOTS = {
    "own p256": [],
    "own p384": ["--ca-alg", "p384"],
    "own rsa2048": ["--ca-alg", "rsa"],
}

EC_P384 = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]
RSA_2048 = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]

# Roots as minica makes them, by the openssl command for the key, and the days that they live.
# minica writes PKCS#8, and reads the older forms as well.
MINICA_ROOTS = {
    "minica P-384": (EC_P384, 36500),
    "minica RSA": (RSA_2048, 36500),
    "minica P-384 SEC1": (["ecparam", "-name", "secp384r1", "-genkey", "-noout"], 36500),
    "minica RSA PKCS#1": (["genrsa", "-traditional"], 36500),
    "short-lived": (EC_P384, 30),  # ends before its leaf would
}

IMPOSTOR = "impostor"  # another key under the name and the key identifier of "own p256"

ROOTS = [*OWN_ROOTS, *MINICA_ROOTS]
KEY_TYPES = ["p256", "p384", "rsa2048", "rsa3072", "rsa4096", "ed25519"]


@dataclasses.dataclass(frozen=True, eq=False)
class Leaf:
    """A certificate to ask for, names that it is good for, and names that it is not good for."""

    root: str
    options: list[str]
    right: list[str]
    wrong: list[str]


def in_full(address: str) -> str:
    """The longest spelling of an IPv6 address."""
    return ipaddress.IPv6Address(address).exploded


MATRIX = [
    Leaf(
        root,
        ["--domains", f"{key}.corp.example", "--ip-addresses", "10.0.0.5", "--key-type", key],
        [f"{key}.corp.example", "10.0.0.5"],
        ["other.corp.example", "10.0.0.6"],
    )
    for root in [*OWN_ROOTS, "minica P-384", "minica RSA"]
    for key in KEY_TYPES
]

LABEL_63 = "l" + 61 * "o" + "g"
LONG_IPV6 = "2001:db8:85a3::8a2e:370:7334"

NAME_FORMS = [
    Leaf("own p256", options, right, wrong)
    for options, right, wrong in [
        (
            ["--domains", "bouncerhost"],
            ["bouncerhost", "BOUNCERHOST"],
            ["bouncer", "bouncerhosts", "bouncerhost.corp.example", "10.0.0.5"],
        ),
        (
            ["--domains", "db.corp.example"],
            ["db.corp.example"],
            ["db", "corp.example", "xdb.corp.example", "a.db.corp.example", "db.corp.example.test"],
        ),
        (
            ["--domains", "DB.Corp.Example"],
            ["DB.Corp.Example", "db.corp.example"],
            ["corp.example"],
        ),
        (
            ["--domains", "absolute.corp.example."],
            ["absolute.corp.example"],
            ["corp.example"],
        ),
        (
            ["--domains", "3com.example,xn--mnchen-3ya.example"],
            ["3com.example", "xn--mnchen-3ya.example"],
            ["com.example", "mnchen.example"],
        ),
        (
            ["--domains", "*.corp.example"],
            ["a.corp.example", "xn--mnchen-3ya.corp.example"],
            ["corp.example", "acorp.example", "a.b.corp.example"],
        ),
        (
            ["--domains", "*.test"],
            ["a.test"],
            ["test", "a.b.test"],
        ),
        (
            ["--ip-addresses", "10.0.0.5"],
            ["10.0.0.5"],
            ["10.0.0.6", "110.0.0.5", "bouncerhost"],
        ),
        (
            ["--ip-addresses", "::ffff:10.0.0.5"],
            ["10.0.0.5"],
            ["10.0.0.6"],
        ),
        (
            ["--ip-addresses", "::1"],
            ["::1", in_full("::1")],
            ["::2", "localhost"],
        ),
        (
            ["--ip-addresses", LONG_IPV6],
            [LONG_IPV6, in_full(LONG_IPV6)],
            ["2001:db8:85a3::8a2e:370:7335"],
        ),
        (
            ["--domains", "bouncerhost,*.pool.example", "--ip-addresses", f"10.0.0.5,{LONG_IPV6}"],
            ["bouncerhost", "a.pool.example", "10.0.0.5", LONG_IPV6, in_full(LONG_IPV6)],
            ["pool.example", "a.corp.example", "10.0.0.6", "::1"],
        ),
        (
            ["--domains", LABEL_63],
            [LABEL_63],
            [LABEL_63[:-1], LABEL_63[:-1] + "x"],
        ),
        (
            ["--domains", "db.corp.example", "--days", "1"],
            ["db.corp.example"],
            ["corp.example"],
        ),
    ]
]

NAME_64 = "db." + 53 * "x" + ".example"
NAME_65 = "db." + 54 * "x" + ".example"
NAME_253 = ".".join([LABEL_63, LABEL_63, LABEL_63, 53 * "x", "example"])

# Names about as long as the 64 characters of a common name, and the common name that has to come of
# them. Without one the subject is empty, and the subjectAltName critical.
LONG_NAMES = {
    Leaf("own p256", ["--domains", ",".join(names)], names, [names[0][:-1], names[0][1:]]): common
    for names, common in [
        ([NAME_64], NAME_64),
        ([NAME_65, "bouncerhost"], "bouncerhost"),
        ([NAME_65], None),
        ([NAME_253], None),
    ]
}

OTHER_ROOTS = [
    Leaf(root, ["--domains", "db.corp.example"], ["db.corp.example"], ["corp.example"])
    for root in ["minica P-384 SEC1", "minica RSA PKCS#1", "short-lived"]
]

LEAVES = [*MATRIX, *NAME_FORMS, *LONG_NAMES, *OTHER_ROOTS]


def make_minica_root(
    directory: Path, key_command: list[str], days: int, subject: str, key_identifier: str = "hash"
) -> None:
    key = directory / "minica-key.pem"
    run("openssl", *key_command, "-out", key)
    extensions = {
        "basicConstraints": "critical,CA:TRUE,pathlen:0",
        "keyUsage": "critical,digitalSignature,keyCertSign",
        "extendedKeyUsage": "serverAuth,clientAuth",
        "subjectKeyIdentifier": key_identifier,
        "authorityKeyIdentifier": "keyid:always",
    }
    request = ["openssl", "req", "-x509", "-new", "-config", "/dev/null", "-key", key]
    request += ["-out", directory / "minica.pem", "-subj", subject, "-days", str(days)]
    for name, value in extensions.items():
        request += ["-addext", f"{name}={value}"]
    run(*request)


# --- What is asked --------------------------------------------------------------------------------


class Case(NamedTuple):
    """A name asked of a leaf under a root, and the verdict that is right."""

    leaf: Leaf
    root: str
    name: str
    verdict: str  # accepted, wrong_name, stranger (the root) or impostor (the root)


def cases() -> Iterator[Case]:
    for leaf in LEAVES:
        for name in leaf.right:
            yield Case(leaf, leaf.root, name, "accepted")
        for name in leaf.wrong:
            yield Case(leaf, leaf.root, name, "wrong_name")
        yield Case(leaf, ROOTS[ROOTS.index(leaf.root) - 1], leaf.right[0], "stranger")
        if leaf in MATRIX and leaf.root == "own p256":
            yield Case(leaf, IMPOSTOR, leaf.right[0], "impostor")


CASES = list(cases())


class Limit(NamedTuple):
    """Cases of which judges, those of Debian 12, say otherwise, whoever issued; and their words."""

    judges: tuple[str, ...]
    applies: Callable[[Case], bool]
    words: str
    why: str


def is_ed25519(case: Case) -> bool:
    return "ed25519" in case.leaf.options


def is_right_address(case: Case, *versions: int) -> bool:
    try:
        return case.verdict == "accepted" and ipaddress.ip_address(case.name).version in versions
    except ValueError:
        return False


LIMITS = [
    Limit(
        ("OpenSSL", "GnuTLS", "Python", "NSS", "Botan"),
        lambda case: case.name == "a.test" and case.verdict == "accepted",
        "(?i)mismatch|does not match",
        "a wildcard has to stand before two labels or more; pki warns of *.test",
    ),
    Limit(
        ("NSS",),
        is_ed25519,
        "SSL_ERROR_NO_CYPHER_OVERLAP",
        "NSS 3.87 has no Ed25519 signatures in TLS",
    ),
    Limit(
        ("mbedTLS",),
        is_ed25519,
        "only RSA and EC are supported",
        "mbedTLS 2.28 has no Ed25519",
    ),
    Limit(
        ("mbedTLS",),
        lambda case: is_right_address(case, 4, 6),
        "does not match with the expected CN",
        "mbedTLS 2.28 reads no iPAddress, and no common name beside a subjectAltName",
    ),
    Limit(
        ("Botan",),
        lambda case: is_right_address(case, 6) and case.name != case.leaf.right[0],
        "does not match provided name",
        "Botan 2 reads no IPv6 iPAddress; where no dNSName is, the text of the common name counts",
    ),
    Limit(
        ("wolfSSL",),
        lambda case: is_right_address(case, 6) and case.name != in_full(case.name),
        "peer ip address mismatch",
        "wolfSSL 5.5 compares the text of an address with the iPAddress, spelled in full",
    ),
]


# --- Tests ----------------------------------------------------------------------------------------


class Judges(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.directory = Path(temporary.name)
        cls.issued: dict[Leaf, Path] = {}  # where key.pem and cert.pem are
        with ThreadPoolExecutor() as pool:
            list(pool.map(cls.issue_under, ROOTS))
        cls.make_impostor()

    @classmethod
    def issue_under(cls, root: str) -> None:
        directory = cls.directory / root
        directory.mkdir()
        if root in MINICA_ROOTS:
            subject = f"/CN=minica root ca {secrets.token_hex(3)}"
            make_minica_root(directory, *MINICA_ROOTS[root], subject)
        for number, leaf in enumerate(leaf for leaf in LEAVES if leaf.root == root):
            out = directory / str(number)
            out.mkdir()
            run(PKI, *OWN_ROOTS.get(root, []), *leaf.options, "--out", out, cwd=directory)
            [cls.issued[leaf]] = out.iterdir()

    @classmethod
    def make_impostor(cls) -> None:
        directory = cls.directory / IMPOSTOR
        directory.mkdir()
        original = cls.fields(cls.root("own p256"), "-subject", "-ext", "subjectKeyIdentifier")
        subject = "/" + re.search("CN=.*", original)[0]
        key_identifier = re.search("(..:)+..", original)[0]
        make_minica_root(directory, EC_P384, 36500, subject, key_identifier)

    @classmethod
    def root(cls, root: str) -> Path:
        return cls.directory / root / "minica.pem"

    @staticmethod
    def fields(certificate: Path, *fields: str) -> str:
        command = ["openssl", "x509", "-in", certificate, "-noout", "-nameopt", "RFC2253"]
        return run(*command, *fields)

    def test_common_name(self):
        for leaf, common in LONG_NAMES.items():
            with self.subTest(leaf.options):
                certificate = self.issued[leaf] / "cert.pem"
                subject, names, *_ = self.fields(
                    certificate, "-subject", "-ext", "subjectAltName"
                ).splitlines()
                self.assertEqual(subject, f"subject=CN={common}" if common else "subject=")
                self.assertEqual(names.endswith("critical"), not common)

    def test_end(self):
        [leaf] = [leaf for leaf in LEAVES if leaf.root == "short-lived"]
        self.assertEqual(
            self.fields(self.issued[leaf] / "cert.pem", "-enddate"),
            self.fields(self.root("short-lived"), "-enddate"),
        )

    def test_keys(self):
        """Every key is in PKCS#8, and other programs find in it the certificate's public key."""
        for leaf in MATRIX:
            key = self.issued[leaf] / "key.pem"
            public = self.fields(self.issued[leaf] / "cert.pem", "-pubkey")
            with self.subTest(leaf.options, root=leaf.root):
                self.assertRegex(key.read_text(), "^-----BEGIN PRIVATE KEY-----\n")
                for tool in [
                    ("openssl", "pkey", "-pubout", "-in"),
                    ("certtool", "--no-text", "--pubkey-info", "--load-privkey"),
                    ("botan", "pkcs8", "--pub-out"),
                ]:
                    self.assertEqual(run(*tool, key).strip(), public.strip(), tool)

    def assert_judged(self, judge: str, command: list, **reasons: str) -> None:
        """Has a judge judge all cases; its reasons, by verdict, are regular expressions."""
        verdicts = run(
            *command,
            input="".join(
                f"{self.root(case.root)}\t{self.issued[case.leaf]}/cert.pem"
                f"\t{self.issued[case.leaf]}/key.pem\t{case.name}\n"
                for case in CASES
            ),
        ).splitlines()
        self.assertEqual(len(verdicts), len(CASES))
        limits = [limit for limit in LIMITS if judge in limit.judges]
        for case, words in zip(CASES, verdicts):
            expected = [limit.words for limit in limits if limit.applies(case)]
            expected.append(reasons.get(case.verdict, "^accepted$"))
            with self.subTest(
                issued=" ".join([case.leaf.root, *case.leaf.options]),
                root=case.root,
                name=case.name,
                verdict=case.verdict,
            ):
                self.assertRegex(words, expected[0])

    def test_openssl(self):
        self.assert_judged(
            "OpenSSL",
            ["sh", JUDGES / "openssl.sh"],
            wrong_name="hostname mismatch|IP address mismatch",
            stranger="unable to get local issuer certificate",
            impostor="certificate signature failure",
        )

    def test_gnutls(self):
        self.assert_judged(
            "GnuTLS",
            ["sh", JUDGES / "gnutls.sh"],
            wrong_name="name in the certificate does not match the expected",
            stranger="certificate issuer is unknown",
            impostor="signature in the certificate is invalid",
        )

    def test_go(self):
        program = self.directory / "go"
        run("go", "build", "-o", program, JUDGES / "go.go")
        self.assert_judged(
            "Go",
            [program],
            wrong_name="valid for .*, not |not valid for any names|doesn't contain any IP SANs",
            stranger="signed by unknown authority$",
            impostor="signed by unknown authority .*verification failure",
        )

    def test_python(self):
        self.assert_judged(
            "Python",
            [sys.executable, JUDGES / "python.py"],
            wrong_name="Hostname mismatch|IP address mismatch",
            stranger="unable to get local issuer certificate",
            impostor="certificate signature failure",
        )

    def test_java(self):
        self.assert_judged(
            "Java",
            # The run is too short for the optimising compiler to be worth its time.
            ["java", "-XX:TieredStopAtLevel=1", JUDGES / "Java.java"],
            wrong_name="No (subject alternative .*|name )matching",
            stranger="unable to find valid certification path",
            impostor="signature check failed",
        )

    def test_wolfssl(self):
        program = self.directory / "wolfssl"
        run("cc", "-o", program, JUDGES / "wolfssl.c", "-lwolfssl")
        self.assert_judged(
            "wolfSSL",
            [program],
            wrong_name="peer subject name mismatch|peer ip address mismatch",
            stranger="certificate verify failed",
            impostor="ASN sig error, confirm failure",
        )

    def test_mbedtls(self):
        program = self.directory / "mbedtls"
        run("cc", "-o", program, JUDGES / "mbedtls.c", "-lmbedx509", "-lmbedcrypto")
        self.assert_judged(
            "mbedTLS",
            [program],
            wrong_name="^The certificate Common Name .* does not match with the expected CN $",
            stranger="not correctly signed by the trusted CA",
            impostor="not correctly signed by the trusted CA",
        )

    def test_nss(self):
        self.assert_judged(
            "NSS",
            [sys.executable, JUDGES / "nss.py"],
            wrong_name="SSL_ERROR_BAD_CERT_DOMAIN",
            stranger="SEC_ERROR_UNKNOWN_ISSUER",
            impostor="SEC_ERROR_BAD_SIGNATURE",
        )

    def test_botan(self):
        self.assert_judged(
            "Botan",
            [sys.executable, JUDGES / "botan.py"],
            wrong_name="does not match provided name",
            stranger="issuer not found",
            impostor="Signature error",
        )


if __name__ == "__main__":
    unittest.main()
