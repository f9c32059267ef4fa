#!/usr/bin/python3
"""Bad input and bad state: what pki refuses, what it accepts, and what it leaves behind.

Runs the program itself on every name in tests/data/names.txt, on wrong command lines, on damaged
and unfit roots, on links and other things in its way, and in starved processes. A refusal must
change nothing at all; an acceptance is judged by what the certificate holds and by openssl(1), not
by what the program says.

    PKI=build/pki tests/e2e/bad_input.py

Runs as root or as any user. As root, what needs a user whom permissions bind runs as `nobody`; only
root can make a device.
"""

import fcntl
import functools
import os
import pty
import re
import resource
import select
import shutil
import socket
import ssl
import stat
import termios
import typing
import unittest
from pathlib import Path

from support import (
    FIT,
    HOST,
    Case,
    der_of,
    fresh,
    from_now,
    give_away,
    make_key,
    make_root,
    openssl,
    place,
    program,
    quoted,
    snapshot,
    spellings,
    traditional,
    unprivileged,
    with_root,
)

TREE = Path(__file__).resolve().parents[2]

# --- Names ----------------------------------------------------------------------------------------


def unescape(text: str) -> bytes:
    """VALUE and EXPECTATION of names.txt."""
    out = b""
    rest = text
    while rest:
        match = re.match(r"\\x([0-9a-f]{2})|\\([nrt\\])|([^\\{}])(?:\{(\d+)\})?", rest)
        if match is None:
            raise ValueError(f"names.txt: cannot read {text!r}")
        byte, escape, character, count = match.groups()
        if byte:
            out += bytes.fromhex(byte)
        elif escape:
            out += {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}[escape]
        else:
            out += character.encode() * (int(count) if count else 1)
        rest = rest[match.end() :]
    return out


class NameCase(typing.NamedTuple):
    option: str
    is_list: bool
    verdict: str
    value: bytes
    expectation: str


OPTIONS = {"domain": "domains", "domains": "domains", "ip": "ip-addresses", "ips": "ip-addresses"}


@functools.cache
def name_cases() -> list[NameCase]:
    """names.txt, without what cannot be an argument of a program."""
    cases = []
    for line in (TREE / "tests" / "data" / "names.txt").read_text("ascii").splitlines():
        if not line or line.startswith("#"):
            continue
        kind, verdict, value, expectation = line.split(maxsplit=3)
        if expectation == "=":
            expectation = value
        case = NameCase(
            option=OPTIONS[kind],
            is_list=kind.endswith("s"),
            verdict=verdict,
            value=unescape(value),
            expectation=unescape(expectation).decode(),
        )
        if b"\0" not in case.value:
            cases.append(case)
    return cases


class Names(Case):
    def test_refused(self):
        directory = fresh()
        good = {"domains": b"good.test", "ip-addresses": b"192.0.2.1"}
        for case in name_cases():
            if case.verdict != "refuse":
                continue
            option, value = case.option, case.value
            says = [f"--{option}", case.expectation]
            if value and not case.is_list:
                says.append(quoted(value))
            # An empty value alone asks for nothing: see minica_compat.py.
            ways = spellings(option, value) if value else []
            # Behind a good name, too: a program that makes as it reads would have begun.
            ways.append([f"--{option}", good[option] + b"," + value])
            ways.append([f"--{option}", good[option], f"--{option}", value])
            for arguments in ways:
                with self.subTest(arguments=arguments):
                    self.assert_refused(directory, *arguments, says=says, advice=False)

    def test_accepted(self):
        for case in name_cases():
            if case.verdict == "refuse":
                continue
            stored, warns = case.expectation, []
            if case.verdict == "warn":
                stored, warns = case.value.decode(), [case.expectation]
            prefix = "DNS:" if case.option == "domains" else "IP:"
            names = [prefix + name for name in stored.split(",")]
            leaf = stored.split(",")[0].replace("*", "_")
            made = [leaf, "minica.pem", "minica-key.pem", "minica-index.txt"]
            directory = with_root()
            first, *others = spellings(case.option, case.value)
            with self.subTest(arguments=first):
                self.assert_issued(directory, *first, names=names, leaf=leaf, warns=warns)
                self.assertEqual(sorted(os.listdir(directory)), sorted(made))
            for arguments in others:
                with self.subTest(arguments=arguments):
                    self.assert_unchanged(directory, *arguments, leaf=leaf)

    def test_repeated_options_add_up(self):
        domains = ("--domains", "a.test,b.test", "-domains=c.test,A.TEST")
        addresses = ("--ip-addresses", "192.0.2.1", "-ip-addresses=192.0.2.2,::ffff:192.0.2.1")
        names = ["DNS:a.test", "DNS:b.test", "DNS:c.test", "IP:192.0.2.1", "IP:192.0.2.2"]
        self.assert_issued(with_root(), *domains, *addresses, names=names)

    def test_long_first_names(self):
        """A common name has at most 64 characters: the first name that fits, or none."""
        for length in (64, 65, 66, 128, 252, 253):
            start = "x" * (2 - length % 2)
            long_name = start + ".y" * ((length - len(start)) // 2)
            self.assertEqual(len(long_name), length)
            for more in ([], ["b" * 63 + ".c"], ["short.test"], [long_name[:-1] + "z"]):
                domains = ("--domains", ",".join([long_name, *more]))
                names = [f"DNS:{name}" for name in (long_name, *more)]
                with self.subTest(length=length, more=more):
                    self.assert_issued(with_root(), *domains, names=names)
        with self.subTest("the address behind it fits"):
            arguments = ("--domains", long_name, "--ip-addresses", "192.0.2.1")
            names = [f"DNS:{long_name}", "IP:192.0.2.1"]
            self.assert_issued(with_root(), *arguments, names=names)

    def test_many_names(self):
        # One argument may have 128 KiB, so the option comes in several.
        for count, warns in ((2000, []), (10_000, ["100 K"])):
            names = [f"host{number:05}.example.test" for number in range(count)]
            arguments = [
                f"--domains={','.join(names[at : at + 1000])}" for at in range(0, count, 1000)
            ]
            with self.subTest(count=count):
                directory = with_root()
                self.assert_issued(
                    directory, *arguments, names=[f"DNS:{name}" for name in names], warns=warns
                )
                self.assert_unchanged(directory, *arguments, leaf=names[0])

    def test_names_of_the_roots_files(self):
        """A leaf's directory must not take the name of a file that is there or comes later."""
        default = ["minica.pem", "minica-key.pem", "minica-index.txt", "minica-crl.pem"]
        db = ("--ca-cert", "db.ca", "--ca-key", "db.secret")
        cases = [
            *[(("--domains", name), name) for name in (*default, "MINICA.PEM")],
            (("--domains", "minica.pem."), "minica.pem"),
            *[
                ((*db, "--domains", name), name)
                for name in ("db.ca", "db.secret", "db-index.txt", "db-crl.pem")
            ],
            (("--ca-cert", "192.0.2.1", "--ip-addresses", "192.0.2.1"), "192.0.2.1"),
            (("--ca-key", "_.foo.test", "--domains", "*.foo.test"), "_.foo.test"),
        ]
        for arguments, name in cases:
            with self.subTest(arguments=arguments):
                self.assert_refused(fresh(), *arguments, says=[f'"{name}"'])
        for name in default:
            with self.subTest(name=name, root="is there"):
                self.assert_refused(with_root(), "--domains", name, says=[f'"{name}"'])


# --- Options --------------------------------------------------------------------------------------

WITH_VALUE = ("domains", "ip-addresses", "ca-cert", "ca-key", "ca-alg", "key-type", "days", "out")

# Behind `--domains bouncerhost`: the arguments, the exit status, what the message contains.
WRONG_OPTIONS = [
    # Not understood.
    (["--bogus"], 2, ["--bogus"]),
    (["-bogus=1"], 2, ["bogus"]),
    (["--Domains", "b.test"], 2, ["--Domains"]),
    (["--domain", "b.test"], 2, ["--domain"]),  # no guessing at abbreviations
    (["--\x1b[31m"], 2, ["\\x1b[31m"]),
    (["--b\ngus"], 2, ["b\\ngus"]),
    (["---domains"], 2, ["---domains"]),
    (["--=x"], 2, ["--=x"]),
    (["-=x"], 2, ["-=x"]),
    *[([f"--{option}"], 2, [f"--{option}", "value"]) for option in WITH_VALUE],
    (["--quiet=perhaps"], 2, ["--quiet", '"perhaps"']),
    # Arguments that belong to nothing: most often names with spaces between them.
    (["b.test"], 2, ['"b.test"', "comma"]),
    ([""], 2, ['""', "comma"]),
    (["-"], 2, ['"-"', "comma"]),
    (["--", "b.test"], 2, ['"b.test"', "comma"]),
    (["--", "--domains", "b.test"], 2, ['"--domains"']),
    (["b\x1b[31m\n"], 2, ['"b\\x1b[31m\\n"']),
    (["b.test", "--domains", "c.test"], 2, ['"b.test"', "comma"]),
    # Files.
    (["--ca-cert", ""], 2, ["--ca-cert", "empty"]),
    (["--ca-key", ""], 2, ["--ca-key", "empty"]),
    (["--out", ""], 2, ["--out", "empty"]),
    (["--ca-cert", "same.pem", "--ca-key", "same.pem"], 2, ["--ca-cert", "--ca-key"]),
    (["--ca-cert", "same.pem", "--ca-key", "./same.pem"], 2, ["--ca-cert", "--ca-key"]),
    (["--ca-key", "minica.pem"], 2, ["--ca-cert", "--ca-key"]),
    (["--ca-cert", "minica-key.pem"], 2, ["--ca-cert", "--ca-key"]),
    (["--ca-cert", "db.pem", "--ca-key", "db-index.txt"], 1, ["db-index.txt"]),
    (["--ca-cert", "db.pem", "--ca-key", "db-crl.pem"], 1, ["db-crl.pem"]),
    (["--ca-cert", "."], 1, ['"."']),
    (["--ca-cert", "directory/"], 1, ['"directory/"']),
    (["--ca-key", ".."], 1, ['".."']),
    (["--ca-cert", "missing/ca.pem"], 1, ['"missing"']),
    (["--ca-key", "missing/key.pem"], 1, ['"missing"']),
    (["--ca-cert", "missing/ca.pem", "--ca-key", "missing/key.pem"], 1, ['"missing"']),
    (["--ca-cert", "file/ca.pem"], 1, ['"file"']),
    (["--ca-cert", "mis\x1b[31m\n/ca.pem"], 1, ['"mis\\x1b[31m\\n"']),
    (["--out", "missing"], 1, ['"missing"']),
    (["--out", "file"], 1, ['"file"']),
    (["--out", "mis\x1b[31m\n"], 1, ['"mis\\x1b[31m\\n"']),
    # Values. As with minica, an unknown algorithm is no wrong usage.
    *[
        (["--ca-alg", value], 1, ["--ca-alg", quoted(value.encode())])
        for value in ("", "dsa", "rsa ", "ecdsa,rsa", "r\x1b[31msa\n")
    ],
    (["--ca-alg", "ed25519"], 1, ["--ca-alg", "SCRAM"]),
    *[(["--key-type", value], 2, ["--key-type"]) for value in ("", "dsa", "p521", "rsa1024")],
    (["--key-type", "p\x1b[31m\n"], 2, ["--key-type", '"p\\x1b[31m\\n"']),
    *[
        (["--days", value], 2, ["--days"])
        for value in ("", " 5", "5 ", "5d", "ten", "0", "-1", "+5", "1.5", "1e3", "0x10")
    ],
    *[
        (["--days", value], 2, ["--days"])
        for value in ("36526", "2147483648", "18446744073709551617", "9" * 1000)
    ],
    (["--days", "5\x1b[31m\n"], 2, ["--days", '"5\\x1b[31m\\n"']),
]


class Options(Case):
    def test_refused(self):
        directory = fresh()
        (directory / "directory").mkdir()
        (directory / "file").touch()
        for arguments, status, says in WRONG_OPTIONS:
            with self.subTest(arguments=arguments):
                self.assert_refused(directory, *HOST, *arguments, status=status, says=says)

    def test_unknown_subcommands(self):
        directory = fresh()
        for word in ("frobnicate", "Issue", "a.test", "is\x1b[31msue\n"):
            with self.subTest(word=word):
                self.assert_refused(
                    directory, word, "--domains", "a.test", status=2, says=[quoted(word.encode())]
                )

    def test_one_file_under_two_paths(self):
        """That both options mean one file shows only on the disk; nothing may be made of it."""
        directory = fresh()
        (directory / "real").mkdir()
        (directory / "alias").symlink_to("real")
        for certificate, key in (("real/x.pem", "alias/x.pem"), ("x.pem", directory / "x.pem")):
            with self.subTest(certificate=certificate):
                self.assert_refused(
                    directory,
                    *HOST,
                    "--ca-cert",
                    certificate,
                    "--ca-key",
                    key,
                    says=["x.pem", "--ca-cert", "--ca-key"],
                )

    def test_file_names_with_control_bytes(self):
        """The operator may have such a file; a message about it must not carry its bytes."""
        evil = "e\x1b[31m\nvil.pem"
        escaped = "e\\x1b[31m\\nvil.pem"
        for names in ((evil, "key.pem"), ("root.pem", evil)):
            with self.subTest(damaged=names):
                directory = fresh()
                certificate, key = make_root()
                pair = (b"garbage", key) if names[0] == evil else (certificate, b"")
                place(directory, *pair, names)
                files = ("--ca-cert", names[0], "--ca-key", names[1])
                self.assert_refused(directory, *HOST, *files, says=[escaped])
        with self.subTest("only one of the pair"):
            directory = fresh()
            (directory / evil).write_bytes(make_root()[0])
            self.assert_refused(directory, *HOST, "--ca-cert", evil, says=[escaped])
        with self.subTest("in the note of a rerun"):
            directory = with_root()
            (directory / evil).mkdir()
            arguments = (*HOST, "--out", evil)
            self.assertEqual(self.pki(directory, *arguments).returncode, 0)
            rerun = self.pki(directory, *arguments)
            self.assertEqual(rerun.returncode, 0)
            self.assert_one_line(rerun.stderr)


# --- The root's files -----------------------------------------------------------------------------

# What happened to a file, what it does to the bytes of a file, and how the message says it.
DAMAGED = [
    ("empty", lambda pem: b"", "PEM"),
    ("garbage", lambda pem: b"\x1b[31m\xff\0garbage\n" * 9, "PEM"),
    ("DER", der_of, "PEM"),
    ("truncated", lambda pem: pem[: len(pem) // 2], "PEM"),
    ("last line lost", lambda pem: pem[: pem.index(b"-----END")], "PEM"),
    ("not base64", lambda pem: pem.replace(b"\n", b"\n\x01*", 1), "PEM"),
    ("a line lost", lambda pem: b"\n".join(pem.split(b"\n")[:2] + pem.split(b"\n")[3:]), "damaged"),
    ("more than 1 MiB", lambda pem: pem + b"\n" * (1 << 20), "1 MiB"),
]

SIGNS_NOT = FIT.replace("keyCertSign,cRLSign", "cRLSign,digitalSignature")
NO_CONSTRAINTS = FIT.replace("basicConstraints=critical,CA:TRUE\n", "")
NO_IDENTIFIER = FIT.replace("hash", "none")  # without a word openssl adds one

# Roots under which no leaf could verify: the part that is odd, how to make it, what is asked for,
# and what the message says.
UNFIT = [
    ("expired", {"start": from_now(-20), "end": from_now(-10)}, HOST, "expired"),
    ("not yet valid", {"start": from_now(10)}, HOST, "not valid before"),
    ("CA:FALSE", {"extensions": FIT.replace("TRUE", "FALSE")}, HOST, "CA"),
    ("no basicConstraints", {"extensions": NO_CONSTRAINTS}, HOST, "basicConstraints"),
    ("v1", {"extensions": ""}, HOST, "v3"),
    ("no keyCertSign", {"extensions": SIGNS_NOT}, HOST, "key usage"),
    ("clientAuth only", {"extensions": FIT + "extendedKeyUsage=clientAuth"}, HOST, "purpose"),
    (
        "unknown critical extension",
        {"extensions": FIT + "1.2.3.4=critical,DER:0500"},
        HOST,
        "critical extension",
    ),
    (
        "the name is excluded",
        {"extensions": FIT + "nameConstraints=critical,excluded;DNS:bouncerhost"},
        HOST,
        "subtree",
    ),
    (
        "another name is permitted",
        {"extensions": FIT + "nameConstraints=critical,permitted;DNS:example.test"},
        HOST,
        "subtree",
    ),
    (
        "the second name is excluded",
        {"extensions": FIT + "nameConstraints=critical,excluded;DNS:example.test"},
        ("--domains", "bouncerhost,www.example.test"),
        "subtree",
    ),
    (
        "the address is excluded",
        {"extensions": FIT + "nameConstraints=critical,excluded;IP:192.0.2.0/255.255.255.0"},
        (*HOST, "--ip-addresses", "192.0.2.1"),
        "subtree",
    ),
    ("RSA 1024", {"kind": "rsa1024"}, HOST, "RSA 1024"),
    # Its signatures have no digest of their own, which libpq needs for SCRAM's channel binding.
    ("Ed25519", {"kind": "ed25519", "digest": "default"}, HOST, "SCRAM"),
]


class Roots(Case):
    def test_damaged(self):
        for number, file in enumerate(("minica.pem", "minica-key.pem")):
            for state, damage, says in DAMAGED:
                with self.subTest(file=file, state=state):
                    directory = with_root()
                    (directory / file).write_bytes(damage(make_root()[number]))
                    self.assert_refused(directory, *HOST, says=[file, says])
            with self.subTest(file=file, state="1 TiB, without taking its room"):
                directory = with_root()
                os.truncate(directory / file, 1 << 40)
                self.assert_refused(directory, *HOST, says=[file, "1 MiB"], timeout=1)

    def test_mixed_up(self):
        other = make_root(number=2)
        for state, pair, says in (
            ("swapped", make_root()[::-1], "minica"),
            ("mismatched", (make_root()[0], other[1]), "match"),
            ("mismatched kinds", (make_root()[0], make_key("rsa2048")), "match"),
            ("a bundle with another's first", (other[0] + make_root()[0], make_root()[1]), "match"),
            ("two certificates", (make_root()[0],) * 2, "minica-key.pem"),
            ("two keys", (make_root()[1],) * 2, "minica.pem"),
        ):
            with self.subTest(state):
                self.assert_refused(with_root(pair), *HOST, says=["minica", says])

    def test_no_regular_files(self):
        """Neither may be waited for nor read without end: a second is more than enough."""

        def bind(path: Path):
            # A socket's address has 108 bytes at most: bind it from where it is.
            here = os.open(".", os.O_RDONLY)
            os.chdir(path.parent)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path.name)
            os.fchdir(here)
            os.close(here)

        kinds = [("directory", Path.mkdir), ("FIFO", os.mkfifo), ("socket", bind)]
        kinds += [
            (f"link to {target}", lambda path, to=target: path.symlink_to(to))
            for target in ("/dev/null", "/dev/zero", "/dev/tty", ".", "missing")
        ]
        kinds.append(("link to itself", lambda path: path.symlink_to(path.name)))
        if os.geteuid() == 0:
            kinds.append(
                ("device", lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)))
            )
        for file in ("minica.pem", "minica-key.pem"):
            for kind, make in kinds:
                with self.subTest(file=file, kind=kind):
                    directory = with_root()
                    (directory / file).unlink()
                    try:
                        make(directory / file)
                    except PermissionError as error:  # root in a container may make no devices
                        self.skipTest(f"{kind}: {error}")
                    self.assert_refused(directory, *HOST, says=[file], timeout=1)

    def test_unreadable(self):
        for file in ("minica.pem", "minica-key.pem"):
            with self.subTest(file):
                directory = with_root()
                (directory / file).chmod(0)
                give_away(directory)
                self.assert_refused(
                    directory, *HOST, says=[file, "Permission denied"], **unprivileged()
                )
        with self.subTest("a directory that may not be written"):
            directory = with_root()
            give_away(directory)
            directory.chmod(0o555)
            self.addCleanup(directory.chmod, 0o755)
            self.assert_refused(directory, *HOST, says=["Permission denied"], **unprivileged())

    def test_unfit(self):
        for state, profile, arguments, says in UNFIT:
            with self.subTest(state):
                directory = with_root(make_root(**profile))
                self.assert_refused(directory, *arguments, says=["minica.pem", says])
        with self.subTest("signed by another"):
            intermediate = make_root(number=2, issuer=make_root(), subject="an intermediate")
            self.assert_refused(with_root(intermediate), *HOST, says=["minica.pem", "self-signed"])
        with self.subTest("damaged signature"):
            certificate, key = make_root()
            der = bytearray(der_of(certificate))
            der[-1] ^= 1
            damaged = ssl.DER_cert_to_PEM_cert(bytes(der)).encode()
            self.assert_refused(with_root((damaged, key)), *HOST, says=["minica.pem", "signature"])

    def test_fit(self):
        """Neighbours of the unfit: what they restrict leaves room for what is asked for."""
        for state, extensions in (
            ("pathlen", FIT.replace("TRUE", "TRUE,pathlen:0")),
            ("serverAuth", FIT + "extendedKeyUsage=serverAuth"),
            ("both usages", FIT + "extendedKeyUsage=serverAuth,clientAuth"),
            ("unknown extension", FIT + "1.2.3.4=DER:0500"),
            ("permitted", FIT + "nameConstraints=critical,permitted;DNS:example.test"),
            (
                "excluded",
                FIT + "nameConstraints=critical,excluded;DNS:internal.test,"
                "excluded;IP:192.0.2.0/255.255.255.0",
            ),
        ):
            with self.subTest(state):
                self.assert_issued(
                    with_root(make_root(extensions=extensions)),
                    "--domains",
                    "www.example.test",
                    names=["DNS:www.example.test"],
                )

    def test_old_roots(self):
        """minica 1.0.0's lacked what strict verifiers demand today: others still accept them."""
        no_usage = FIT.replace("keyUsage=critical,keyCertSign,cRLSign\n", "")
        for missing, extensions in (
            ("key identifier", NO_IDENTIFIER),
            ("usage", no_usage),
            ("both", no_usage.replace("hash", "none")),
        ):
            with self.subTest(missing):
                directory = with_root(make_root(extensions=extensions))
                self.assert_issued(directory, *HOST, warns=["Python 3.13"])

    def test_forms_of_pem(self):
        """What other tools and people write; the files stay as they are."""
        certificate, key = make_root()
        other, other_key = make_root("rsa2048")
        mark = b"\xef\xbb\xbf"
        sec1, pkcs1 = traditional(key), traditional(other_key)
        parameters = openssl("ecparam -name prime256v1")
        text = openssl("x509 -text", stdin=certificate)

        def crlf(pem):
            return pem.replace(b"\n", b"\r\n")

        for form, pair in (
            ("PKCS#8 EC", (certificate, key)),
            ("PKCS#8 RSA", (other, other_key)),
            ("SEC1", (certificate, sec1)),
            ("PKCS#1", (other, pkcs1)),
            ("EC PARAMETERS", (certificate, parameters + sec1)),
            ("CRLF", (crlf(certificate), crlf(key))),
            ("CRLF, SEC1 and parameters", (crlf(certificate), crlf(parameters + sec1))),
            ("text before", (text, b"Bag Attributes\n    friendlyName: x\n" + key)),
            ("text behind", (certificate + b"the end", key + b"the end\n")),
            ("no newline at the end", (certificate.rstrip(), key.rstrip())),
            ("bundle", (certificate + other, key)),
            ("byte order mark", (mark + certificate, mark + key)),
            ("byte order mark and CRLF", (mark + crlf(certificate), mark + crlf(key))),
            ("both in both files", (certificate + key, key + certificate)),
            ("1 MiB", (certificate.ljust(1 << 20, b"\n"), key.ljust(1 << 20, b"\n"))),
        ):
            with self.subTest(form):
                directory = with_root(pair)
                before = {name: entry for name, entry in snapshot(directory).items() if name != "."}
                trust = fresh() / "trust.pem"  # openssl reads some of these forms, not all
                trust.write_bytes(other if pair[0] == other else certificate)
                self.assert_issued(directory, *HOST, trust=trust)
                self.assertLessEqual(before.items(), snapshot(directory).items())

    def test_encrypted_keys(self):
        """Never a prompt, though a terminal is there to ask on."""
        certificate, key = make_root()
        encrypt = "pkey -aes256 -passout pass:secret"
        for form, encrypted in (
            ("PKCS#8", openssl(encrypt, stdin=key)),
            ("SEC1", openssl(f"{encrypt} -traditional", stdin=key)),
        ):
            self.assertIn(b"ENCRYPTED", encrypted)
            with self.subTest(form):
                terminal, ours = pty.openpty()
                # Its controlling terminal, too: OpenSSL would ask on /dev/tty.
                self.assert_refused(
                    with_root((certificate, encrypted)),
                    *HOST,
                    stdin=ours,
                    timeout=2,
                    says=["minica-key.pem", "encrypted", "decrypt"],
                    start_new_session=True,
                    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                )
                asked, _, _ = select.select([terminal], [], [], 0)
                self.assertFalse(asked, "something was written to the terminal")
                os.close(ours)
                os.close(terminal)

    def test_one_of_the_pair(self):
        certificate, key = make_root()
        for there, missing in (("minica.pem", "minica-key.pem"), ("minica-key.pem", "minica.pem")):
            with self.subTest(there=there):
                directory = with_root()
                (directory / missing).unlink()
                self.assert_refused(directory, *HOST, says=[there, f"{missing} is missing"])
            # What a run leaves that is killed between the two renames (store/writer.h).
            pending = f".{missing}.new"
            with self.subTest(there=there, pending="its other half"):
                directory = with_root()
                (directory / missing).rename(directory / pending)
                self.assert_issued(directory, *HOST)
                for name, contents in (("minica.pem", certificate), ("minica-key.pem", key)):
                    self.assertEqual((directory / name).read_bytes(), contents)
                self.assertFalse((directory / pending).exists())
            own, other = (
                pair[missing == "minica-key.pem"]
                for pair in ((certificate, key), make_root(number=2))
            )
            for what, contents in (("another's", other), ("half", own[:99]), ("nothing", b"")):
                with self.subTest(there=there, pending=what):
                    directory = with_root()
                    (directory / missing).unlink()
                    (directory / pending).write_bytes(contents)
                    self.assert_refused(directory, *HOST, says=[there, missing])
            with self.subTest(there=there, pending="a link to its other half"):
                directory = with_root()
                (directory / missing).rename(directory / "elsewhere")
                (directory / pending).symlink_to("elsewhere")
                self.assert_refused(directory, *HOST, says=[there, missing])

    def test_ends_before_the_leaf(self):
        end = from_now(100)
        directory = with_root(make_root(end=end))
        made = self.assert_issued(directory, *HOST, warns=["root"])
        self.assertEqual(made.validity[1].strftime("%Y%m%d%H%M%SZ"), end)
        with self.subTest("asked for by --days"):
            arguments = ("--domains", "a.test", "--days", "101")
            made = self.assert_issued(directory, *arguments, names=["DNS:a.test"], warns=["root"])
            self.assertEqual(made.validity[1].strftime("%Y%m%d%H%M%SZ"), end)
        with self.subTest("ends in time"):
            arguments = ("--domains", "b.test", "--days", "99")
            self.assert_issued(directory, *arguments, names=["DNS:b.test"])

    def test_key_open_to_others(self):
        """Through a link, too: whoever writes what it points to writes the key."""

        def plain(directory, mode):
            (directory / "minica-key.pem").chmod(mode)

        def linked(directory, mode):
            (directory / "minica-key.pem").rename(directory / "elsewhere")
            (directory / "minica-key.pem").symlink_to("elsewhere")
            (directory / "elsewhere").chmod(mode)

        for prepare in (plain, linked):
            for mode in (0o644, 0o604, 0o444):
                with self.subTest(prepare.__name__, mode=oct(mode)):
                    directory = with_root()
                    prepare(directory, mode)
                    self.assert_issued(directory, *HOST, warns=["minica-key.pem"])
                    key = directory / "minica-key.pem"
                    self.assertEqual(oct(stat.S_IMODE(key.stat().st_mode)), oct(mode))
            for mode in (0o666, 0o602, 0o620, 0o660, 0o777):
                with self.subTest(prepare.__name__, mode=oct(mode)):
                    directory = with_root()
                    prepare(directory, mode)
                    self.assert_refused(directory, *HOST, says=["minica-key.pem", "others"])
        for mode in (0o600, 0o400, 0o700):
            with self.subTest(mode=oct(mode)):
                directory = with_root()
                plain(directory, mode)
                self.assert_issued(directory, *HOST)


# --- What lies where a leaf goes ------------------------------------------------------------------


def obstacles():
    """What may lie in the way: its name, and how to put it there.

    `elsewhere` is a directory that holds the real file, or what a link must not be followed to.
    """

    def link(path: Path, elsewhere: Path):
        path.symlink_to(elsewhere / path.name)

    def dangling_link(path: Path, elsewhere: Path):
        path.symlink_to(elsewhere / "missing")

    def hard_link(path: Path, elsewhere: Path):
        path.hardlink_to(elsewhere / path.name)

    def link_to_directory(path: Path, elsewhere: Path):
        path.symlink_to(elsewhere)

    def directory(path: Path, elsewhere: Path):
        path.mkdir()
        (path / "somebody's").write_bytes(b"file")

    def fifo(path: Path, elsewhere: Path):
        os.mkfifo(path)

    return (link, dangling_link, hard_link, link_to_directory, directory, fifo)


class Leaves(Case):
    def test_files_that_are_no_plain_files(self):
        """Whoever may write the directory could else have another file replaced or shown."""
        issued = with_root()
        self.assertEqual(self.pki(issued, *HOST).returncode, 0)
        pair = {
            name: (issued / "bouncerhost" / name).read_bytes() for name in ("cert.pem", "key.pem")
        }
        for name, other in (("key.pem", "cert.pem"), ("cert.pem", "key.pem")):
            for obstacle in obstacles():
                for other_is_there in (True, False):
                    with self.subTest(obstacle.__name__, name=name, other_is_there=other_is_there):
                        directory = fresh()
                        shutil.copytree(issued, directory, dirs_exist_ok=True)
                        leaf, elsewhere = directory / "bouncerhost", directory / "elsewhere"
                        elsewhere.mkdir()
                        (elsewhere / name).write_bytes(pair[name])
                        (leaf / name).unlink()
                        if not other_is_there:
                            (leaf / other).unlink()
                        obstacle(leaf / name, elsewhere)
                        self.assert_refused(directory, *HOST, says=[f"bouncerhost/{name}"])

    def test_half_a_pair(self):
        for there, missing in (("key.pem", "cert.pem"), ("cert.pem", "key.pem")):
            with self.subTest(there=there):
                directory = with_root()
                self.assertEqual(self.pki(directory, *HOST).returncode, 0)
                (directory / "bouncerhost" / missing).unlink()
                self.assert_refused(
                    directory, *HOST, says=[f"bouncerhost/{missing}", f"bouncerhost/{there}"]
                )

    def test_damaged_pairs(self):
        issued = with_root()
        self.assertEqual(self.pki(issued, *HOST).returncode, 0)
        for name in ("cert.pem", "key.pem"):
            for state, damage, _ in DAMAGED:
                with self.subTest(name=name, state=state):
                    directory = fresh()
                    shutil.copytree(issued, directory, dirs_exist_ok=True)
                    file = directory / "bouncerhost" / name
                    file.write_bytes(damage(file.read_bytes()))
                    self.assert_refused(directory, *HOST, says=[f"bouncerhost/{name}"])
        with self.subTest("mismatched"):
            directory = fresh()
            shutil.copytree(issued, directory, dirs_exist_ok=True)
            (directory / "bouncerhost" / "key.pem").write_bytes(make_key("p256", 3))
            self.assert_refused(directory, *HOST, says=["bouncerhost/key.pem", "match"])
        with self.subTest("its root is gone"):
            directory = fresh()
            shutil.copytree(issued / "bouncerhost", directory / "bouncerhost")
            self.assert_refused(directory, *HOST, says=["minica.pem"])

    def test_what_the_directory_may_be(self):
        def plain_file(path: Path):
            path.write_bytes(b"somebody's")

        def link_to_file(path: Path):
            (path.parent / "file").write_bytes(b"somebody's")
            path.symlink_to("file")

        def dangling_link(path: Path):
            path.symlink_to("missing")

        def link_to_itself(path: Path):
            path.symlink_to(path.name)

        for make in (plain_file, link_to_file, dangling_link, link_to_itself, os.mkfifo):
            for directory in (fresh(), with_root()):
                with self.subTest(make.__name__, there=os.listdir(directory)):
                    make(directory / "bouncerhost")
                    self.assert_refused(directory, *HOST, says=["bouncerhost"])

        def empty_directory(path: Path):
            path.mkdir(0o700)

        def with_other_files(path: Path):
            path.mkdir(0o750)
            (path / "dhparam.pem").write_bytes(b"somebody's")

        def link_to_directory(path: Path):
            (path.parent / "elsewhere").mkdir(0o711)
            path.symlink_to("elsewhere")

        for make in (empty_directory, with_other_files, link_to_directory):
            with self.subTest(make.__name__):
                directory = with_root()
                make(directory / "bouncerhost")
                kind = (directory / "bouncerhost").lstat().st_mode
                target = (directory / "bouncerhost").stat().st_mode
                others = {
                    name: (directory / "bouncerhost" / name).read_bytes()
                    for name in os.listdir(directory / "bouncerhost")
                }
                self.assert_issued(directory, *HOST)
                self.assertEqual((directory / "bouncerhost").lstat().st_mode, kind)
                self.assertEqual((directory / "bouncerhost").stat().st_mode, target)
                self.assertEqual(
                    sorted(os.listdir(directory / "bouncerhost")),
                    sorted(["cert.pem", "key.pem", *others]),
                )
                for name, contents in others.items():
                    self.assertEqual((directory / "bouncerhost" / name).read_bytes(), contents)

    def test_planted_temporary_names(self):
        """Names that the program is known to use (store/writer.h), planted by somebody else.

        It may clear them away or stop; what lies behind them it never writes.
        """
        for name in (
            ".pki.new",
            ".minica.pem.new",
            ".minica-key.pem.new",
            "minica-index.txt",
            "bouncerhost/.cert.pem.new",
            "bouncerhost/.key.pem.new",
        ):
            for obstacle in obstacles():
                if (name, obstacle.__name__) == ("minica-index.txt", "hard_link"):
                    continue  # somebody's backup of it, as `cp -al` makes them
                with self.subTest(obstacle.__name__, name=name):
                    directory, elsewhere = fresh(), fresh()
                    (elsewhere / Path(name).name).write_bytes(b"somebody's")
                    if "/" in name:
                        (directory / "bouncerhost").mkdir()
                    obstacle(directory / name, elsewhere)
                    # Not its times and its count of links, which removing a hard link changes.
                    before = {path: entry[-1] for path, entry in snapshot(elsewhere).items()}
                    run = self.pki(directory, *HOST, timeout=2)
                    self.assertEqual(
                        {path: entry[-1] for path, entry in snapshot(elsewhere).items()}, before
                    )
                    self.assert_whole(directory)
                    if run.returncode != 0:
                        self.assertEqual(run.returncode, 1)
                        self.assert_one_line(run.stderr)
                        self.assertIn(Path(name).name, run.stderr.decode())
                        self.assertFalse((directory / "minica.pem").exists())
                        self.assertFalse((directory / "bouncerhost" / "cert.pem").exists())


# --- Starved and odd processes --------------------------------------------------------------------


def limit(kind: int, value: int):
    return lambda: resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


class Processes(Case):
    def test_file_size_limit(self):
        for size in (0, 1, 100, 200, 240, 300, 500, 600, 700, 1000, 4096):
            with self.subTest(size=size):
                self.assert_works_or_fails_cleanly(
                    fresh(), *HOST, preexec_fn=limit(resource.RLIMIT_FSIZE, size)
                )

    def test_few_descriptors(self):
        # Four are what the dynamic loader needs to start a program at all.
        for count in range(4, 13):
            for prepare in (
                lambda directory: None,
                lambda directory: (directory / "bouncerhost").mkdir(),
            ):
                with self.subTest(count=count):
                    directory = fresh()
                    prepare(directory)
                    self.assert_works_or_fails_cleanly(
                        directory, *HOST, preexec_fn=limit(resource.RLIMIT_NOFILE, count)
                    )

    def test_closed_descriptors(self):
        """A file that got descriptor 1 or 2 would be written to like a terminal."""
        for closed in ((0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)):
            for arguments in ((), ("--json", "--verbose")):
                with self.subTest(closed=closed, arguments=arguments):
                    directory = fresh()
                    run = self.pki(
                        directory,
                        *HOST,
                        *arguments,
                        preexec_fn=lambda fds=closed: [os.close(fd) for fd in fds],
                    )
                    self.assertEqual(run.returncode, 0)
                    self.assert_whole(directory)
                    self.assert_unchanged(directory, *HOST, leaf="bouncerhost")
                    lines = (directory / "minica-index.txt").read_text().splitlines()
                    self.assertEqual([line.count("\t") for line in lines], [5, 5])

    def test_closed_pipe(self):
        """Whoever reads the messages may be gone; the files are what counts."""
        reader, writer = os.pipe()
        os.close(reader)
        directory = with_root()
        (directory / "minica-key.pem").chmod(0o644)  # so that there is something to say
        run = self.pki(directory, *HOST, stderr=writer)
        os.close(writer)
        self.assertEqual(run.returncode, 0)
        self.assert_whole(directory)

    def test_environment(self):
        work = fresh()
        (work / "garbage.cnf").write_bytes(b"\xff[[[ = \0 garbage\n")
        (work / "module.cnf").write_text(
            "openssl_conf = a\n[a]\nproviders = b\nengines = b\n[b]\nbad = c\n[c]\nactivate = 1\n"
            f"module = {work}/bad.so\ndynamic_path = {work}/bad.so\ninit = 1\n"
        )
        os.mkfifo(work / "fifo.cnf")  # to read it would be to wait for ever
        environments = [{}, {"PATH": "", "HOME": "", "LANG": "\x1b[31m", "LC_ALL": "xx_XX"}]
        for name in ("garbage.cnf", "module.cnf", "fifo.cnf", "missing", "", "/dev/zero"):
            environments.append({"OPENSSL_CONF": str(work / name)})
        environments.append({"OPENSSL_MODULES": str(work), "OPENSSL_ENGINES": str(work)})
        for environment in environments:
            with self.subTest(environment=environment):
                self.assert_issued(with_root(), *HOST, env=environment, timeout=2)

    def test_deleted_working_directory(self):
        gone = fresh() / "gone"
        gone.mkdir()
        run = self.pki(gone, *HOST, preexec_fn=gone.rmdir)
        self.assertEqual((run.returncode, run.stdout), (1, b""))
        self.assert_one_line(run.stderr)
        with self.subTest("all paths are absolute"):
            directory = fresh()
            gone.mkdir()
            root = ("--ca-cert", directory / "minica.pem", "--ca-key", directory / "minica-key.pem")
            run = self.pki(gone, *HOST, *root, "--out", directory, preexec_fn=gone.rmdir)
            self.assertEqual((run.returncode, run.stderr), (0, b""))
            self.assert_whole(directory)
            self.assert_unchanged(directory, *HOST, leaf="bouncerhost")


if __name__ == "__main__":
    unittest.main()
