#!/usr/bin/python3
"""`pki revoke` and `pki crl`: what PostgreSQL, libpq and PgBouncer make of them, what stock openssl
reads in the ledger, and what other programs say of the list.

    PKI=build/pki tests/e2e/revoke.py

Runs as root or as any user who may sudo.
"""

import atexit
import functools
import json
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import unittest
from pathlib import Path

import servers
from servers import (
    Outcome,
    PgBouncer,
    Postgres,
    as_root,
    psql,
    run,
    run_in_terminal,
    temporary_directory,
    wait_until,
)
from support import FIT, Case, fresh, make_root, openssl, program, unprivileged, with_root

JUDGES = Path(__file__).resolve().parent / "judges"
REASONS = (
    "keyCompromise",
    "CACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
)
OF_MINICA = FIT.replace("keyCertSign,cRLSign", "digitalSignature,keyCertSign")


def setUpModule() -> None:
    # unittest skips the clean-ups when it is interrupted. Asked for twice, they still run once.
    atexit.register(unittest.doModuleCleanups)
    os.umask(0o022)


def serial_of(certificate: Path) -> str:
    return openssl("x509 -noout -serial -in", certificate).decode().strip().removeprefix("serial=")


def ledger_lines(directory: Path, name: str = "minica-index.txt") -> list[list[str]]:
    return [line.split("\t") for line in (directory / name).read_text().splitlines()]


def entries(crl: Path) -> dict[str, tuple[str, str | None]]:
    """Serial number: when it was revoked, and why."""
    shown = openssl("crl -noout -text -in", crl).decode()
    found = {}
    for part in shown.split("    Serial Number: ")[1:]:
        date = re.search("Revocation Date: (.*)", part)[1]
        reason = re.search(r"Reason Code: \n\s+(.*)", part)
        found[part.split("\n")[0]] = (date, reason[1] if reason else None)
    return found


class Authority(Case):
    """A directory with a root, users and hosts."""

    def setUp(self):
        self.directory = fresh()
        self.list = self.directory / "minica-crl.pem"

    def issue(self, *arguments):
        done = self.pki(self.directory, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)

    def revoke(self, *arguments) -> subprocess.CompletedProcess:
        done = self.pki(self.directory, "revoke", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def serial(self, name: str) -> str:
        return serial_of(self.directory / name / "cert.pem")


# --- The program ----------------------------------------------------------------------------------


class CommandLine(Authority):
    def test_serial_numbers_in_every_spelling(self):
        for spell in (
            str,
            str.lower,
            lambda serial: "00" + serial,
            lambda serial: ":".join(re.findall("..", serial)),
            lambda serial: ":".join(re.findall("..", serial)).lower(),
        ):
            self.directory = fresh()
            self.issue("--user", "app_user")
            shutil.move(self.directory / "app_user", self.directory / "elsewhere")
            serial = serial_of(self.directory / "elsewhere/cert.pem")
            with self.subTest(spell(serial)):
                self.revoke(spell(serial))
                self.assertIn(serial, entries(self.directory / "minica-crl.pem"))

    def test_names_that_look_like_serial_numbers(self):
        self.issue("--domains", "cafe")
        self.revoke("cafe/")
        self.assertEqual(list(entries(self.list)), [self.serial("cafe")])
        self.assert_refused(self.directory, "revoke", "beef", says=["minica-index.txt", "BEEF"])

    def test_wildcards(self):
        self.issue("--domains", "*.corp.example")
        self.revoke("*.corp.example")
        self.assertEqual(list(entries(self.list)), [self.serial("_.corp.example")])

    def test_wrong_usage(self):
        self.issue("--user", "app_user")
        for arguments in (
            ["revoke"],
            ["revoke", "app_user", "more"],
            ["revoke", "app_user", "--reason"],
            ["revoke", "app_user", "--reason", ""],
            ["revoke", "app_user", "--reason", "lost"],
            ["revoke", "app_user", "--reason", "certificateHold"],
            ["revoke", "app_user", "--reason", "removeFromCRL"],
            ["revoke", "app_user", "--days", "3"],
            ["crl", "app_user"],
            ["crl", "--days", "0"],
            ["crl", "--days", "36526"],
            ["crl", "--days", "1d"],
        ):
            with self.subTest(arguments=arguments):
                self.assert_refused(self.directory, *arguments, status=2)

    def test_minica_root(self):
        """It may sign certificates and nothing else."""
        self.directory = with_root(make_root(extensions=OF_MINICA))
        self.issue("--user", "app_user")
        for arguments in (["revoke", "app_user"], ["crl"]):
            with self.subTest(arguments=arguments):
                self.assert_refused(
                    self.directory,
                    *arguments,
                    says=["minica.pem", "key usage", "auth_file", "pki rotate begin"],
                )

    def test_no_root(self):
        for arguments in (["revoke", "app_user"], ["crl"]):
            self.assert_refused(fresh(), *arguments, says=["minica.pem"])

    def test_root_without_key_usage(self):
        """It may do anything."""
        extensions = "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n"
        self.directory = with_root(make_root(extensions=extensions))
        self.issue("--user", "app_user")
        self.revoke("app_user")
        openssl("crl -noout -verify -CAfile", self.directory / "minica.pem", "-in",
                self.directory / "minica-crl.pem")

    def test_nothing_revoked_yet(self):
        """A list can be given to servers before there is anything on it."""
        self.issue("--user", "app_user")
        done = self.pki(self.directory, "crl")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
        self.assertEqual(entries(self.list), {})
        self.assertEqual(stat.S_IMODE(self.list.stat().st_mode), 0o644)

    def test_quiet_off_a_terminal(self):
        self.issue("--user", "app_user")
        first = self.revoke("app_user")
        self.assertEqual(first.stdout, b"")
        self.assert_one_line(first.stderr)
        self.assertIn(b"warning: PgBouncer", first.stderr)
        again = self.revoke("app_user")
        self.assertEqual(again.stdout, b"")
        self.assert_one_line(again.stderr)
        self.assertIn(b"unchanged", again.stderr)
        self.assertEqual(self.revoke("app_user", "--quiet").stderr, b"")

    def test_json(self):
        self.issue("--user", "app_user")
        for status, lines in (("revoked", 1), ("unchanged", 1)):
            done = self.revoke("app_user", "--reason", "superseded", "--json")
            document = json.loads(done.stdout)
            self.assertEqual(len(done.stderr.splitlines()), lines)
            self.assertEqual(document["status"], status)
            self.assertEqual(document["subject"], "/CN=app_user")
            self.assertEqual(document["serials"], [self.serial("app_user")])
            self.assertEqual((document["reason"], document["still_valid"]), ("superseded", []))
            self.assertEqual(document["list"]["path"], str(self.list))
            number = openssl("crl -noout -crlnumber -in", self.list).decode().strip()
            self.assertEqual(number, f"crlNumber=0x{int(document['list']['number']):X}")
        listed = json.loads(self.pki(self.directory, "crl", "--json", "--days", "9").stdout)
        dates = openssl("crl -noout -nextupdate -dateopt iso_8601 -in", self.list).decode()
        self.assertEqual(
            dates.strip().removeprefix("nextUpdate=").replace(" ", "T"), listed["next_update"]
        )

    def test_what_the_terminal_says(self):
        self.issue("--user", "app_user")
        command = [program(), "revoke", "app_user"]
        said = run_in_terminal(command, directory=self.directory).or_fail().output
        self.assertIn(f"  ssl_crl_file = '{self.list}'\n", said)
        self.assertIn(f"  sslcrl={self.list}\n", said)
        self.assertIn("PgBouncer", said)

    def test_a_revoked_host_gets_no_unchanged(self):
        self.issue("--domains", "bouncerhost")
        self.revoke("bouncerhost")
        self.assert_refused(
            self.directory, "--domains", "bouncerhost", says=["bouncerhost/cert.pem", "revoked"]
        )
        shutil.move(self.directory / "bouncerhost", self.directory / "bouncerhost.old")
        self.issue("--domains", "bouncerhost")

    def test_owner_and_mode_of_the_ledger_stay(self):
        self.issue("--user", "app_user")
        ledger = self.directory / "minica-index.txt"
        ledger.chmod(0o640)
        owner = unprivileged()
        if owner:
            os.chown(ledger, owner["user"], owner["group"])
        before = ledger.stat()
        self.revoke("app_user")
        after = ledger.stat()
        self.assertNotEqual(after.st_ino, before.st_ino)
        self.assertEqual(
            (after.st_mode, after.st_uid, after.st_gid),
            (before.st_mode, before.st_uid, before.st_gid),
        )

    def test_a_million_lines(self):
        """The ledger is larger than the memory that the program gets."""
        self.issue("--user", "app_user")
        ledger = self.directory / "minica-index.txt"
        with ledger.open("a", encoding="ascii") as file:
            file.writelines(
                f"V\t281224044736Z\t\t{number + 2**126:032X}\tunknown\t/CN=host{number}\n"
                for number in range(1_000_000)
            )
        before = ledger.read_bytes()
        memory = 48 << 20
        self.assertGreater(len(before), memory)
        done = self.pki(
            self.directory,
            *("revoke", "app_user"),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)),
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        head, line, rest = before.split(b"\n", 2)
        fields = line.split(b"\t")
        after = ledger.read_bytes()
        revoked = after.split(b"\n", 2)[1].split(b"\t")
        self.assertEqual(revoked[:2] + revoked[3:], [b"R", fields[1], *fields[3:]])
        self.assertTrue(after.startswith(head + b"\n") and after.endswith(b"\n" + rest))

    def test_torn_last_line(self):
        self.issue("--user", "app_user")
        ledger = self.directory / "minica-index.txt"
        with ledger.open("a", encoding="ascii") as file:
            file.write("V\t281224044736Z\t\t5BDA")
        self.revoke("app_user")
        lines = ledger_lines(self.directory)
        self.assertEqual([len(line) for line in lines], [6, 6])
        self.assertEqual([line[0] for line in lines], ["V", "R"])


# --- Stock openssl --------------------------------------------------------------------------------

AUTHORITY = """
[ca]
default_ca = this
[this]
certificate = minica.pem
private_key = minica-key.pem
database = INDEX
unique_subject = no
default_md = sha256
default_crl_days = 1
crlnumber = number
crl_extensions = extensions
policy = any
[any]
commonName = supplied
[extensions]
authorityKeyIdentifier = keyid
"""


class Openssl(Authority):
    """`openssl ca` and `openssl ocsp` with minica-index.txt as their database."""

    def ca(self, command: str, *arguments, index: str = "minica-index.txt") -> bytes:
        (self.directory / "config").write_text(AUTHORITY.replace("INDEX", index))
        (self.directory / "number").write_text("01\n")
        done = subprocess.run(
            ["openssl", "ca", "-config", "config", *command.split(), *arguments],
            cwd=self.directory,
            capture_output=True,
            check=False,
        )
        # -status fails for what is revoked or unknown, and says so all the same.
        if done.returncode != 0 and "-status" not in command:
            raise AssertionError(done.stderr.decode())
        return done.stdout + done.stderr

    def test_the_line_is_that_of_openssl(self):
        users = ["plain", *(reason.lower() for reason in REASONS), "unspecified"]
        self.issue("--user", ",".join([*users, "other"]))
        shutil.copy(self.directory / "minica-index.txt", self.directory / "theirs.txt")
        for user in users:
            reason = next((one for one in REASONS if one.lower() == user), None)
            ours = ["--reason", reason] if reason else []
            theirs = ["-crl_reason", reason] if reason else []
            if user == "unspecified":  # which the list has no word for: RFC 5280 5.3.1
                ours = ["--reason", "unspecified"]
            self.revoke(user, *ours)
            self.ca(
                "-revoke", self.directory / user / "cert.pem", *theirs, index="theirs.txt"
            )

        def without_seconds(name: str) -> str:
            text = (self.directory / name).read_text()
            return re.sub(r"(?m)(^R\t\d+Z\t)\d{12}Z", r"\1then", text)

        self.assertEqual(without_seconds("minica-index.txt"), without_seconds("theirs.txt"))

    def test_gencrl_makes_the_same_list(self):
        self.issue("--user", "a,b,c,d")
        self.revoke("a", "--reason", "keyCompromise")
        self.revoke("c")
        theirs = self.directory / "theirs.pem"
        self.ca("-gencrl -out theirs.pem")
        self.assertEqual(entries(theirs), entries(self.list))
        self.assertEqual(set(entries(self.list)), {self.serial("a"), self.serial("c")})

    def test_what_openssl_revoked_is_on_the_list(self):
        self.issue("--user", "a,b,c,d")
        for user, how in (
            ("a", "-crl_reason superseded"),
            ("b", "-crl_compromise 20260101000000Z"),
            ("c", "-crl_hold holdInstructionReject"),
        ):
            self.ca(f"-revoke {user}/cert.pem {how}")
        # What it makes of them is this root's list too, and is replaced.
        self.ca("-gencrl -out minica-crl.pem")
        self.revoke("d")
        reasons = {serial: reason for serial, (_, reason) in entries(self.list).items()}
        self.assertEqual(
            reasons,
            {
                self.serial("a"): "Superseded",
                self.serial("b"): "Key Compromise",
                self.serial("c"): "Certificate Hold",
                self.serial("d"): None,
            },
        )

    def test_status(self):
        self.issue("--user", "a,b")
        self.revoke("a")
        self.assertIn(b"=Revoked (R)", self.ca("-status", self.serial("a")))
        self.assertIn(b"=Valid (V)", self.ca("-status", self.serial("b")))

    def test_updatedb(self):
        """It writes E for what has expired, which can be revoked still."""
        self.issue("--user", "a")
        ledger = self.directory / "minica-index.txt"
        old = "V\t200101000000Z\t\t0A\tunknown\t/CN=old\n"
        ledger.write_text(ledger.read_text() + old)
        self.ca("-updatedb")
        self.assertIn("E\t200101000000Z\t\t0A\t", ledger.read_text())
        self.revoke("0a")
        self.assertIn(b"=Revoked (R)", self.ca("-status", "0A"))

    def test_ocsp_responder(self):
        """Answers from the ledger, without a list."""
        self.issue("--user", "a,b")
        self.revoke("a", "--reason", "keyCompromise")

        def ask(user: str) -> str:
            root = ("-CA", "minica.pem", "-rsigner", "minica.pem", "-rkey", "minica-key.pem")
            openssl("ocsp -no_nonce -issuer minica.pem -reqout query -cert", f"{user}/cert.pem",
                    directory=self.directory)
            openssl("ocsp -index minica-index.txt -reqin query -respout answer", *root,
                    directory=self.directory)
            return openssl("ocsp -no_nonce -respin answer -issuer minica.pem -CAfile minica.pem -cert",
                           f"{user}/cert.pem", directory=self.directory).decode()

        self.assertIn("a/cert.pem: revoked\n", ask("a"))
        self.assertIn("Reason: keyCompromise\n", ask("a"))
        self.assertIn("b/cert.pem: good\n", ask("b"))


# --- Judges of the list ---------------------------------------------------------------------------


class Judges(Authority):
    """Programs that verify a certificate with a list. Each has to tell the two apart."""

    def setUp(self):
        super().setUp()
        self.issue("--domains", "good")
        self.issue("--domains", "bad")
        self.revoke("bad", "--reason", "cessationOfOperation")

    def judge(self, *command) -> dict[str, str]:
        """What a command says to each; LEAF stands for the certificate."""
        words = {}
        for leaf in ("good", "bad"):
            done = subprocess.run(
                [f"{leaf}/cert.pem" if word == "LEAF" else word for word in command],
                cwd=self.directory,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
                env=os.environ | {"LC_ALL": "C", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"},
            )
            words[leaf] = done.stdout + done.stderr
        return words

    def test_openssl(self):
        shown = openssl("crl -noout -verify -CAfile minica.pem -in minica-crl.pem",
                        directory=self.directory)
        self.assertEqual(shown, b"")
        said = self.judge(
            *"openssl verify -x509_strict -crl_check_all -CAfile minica.pem".split(),
            *("-CRLfile", "minica-crl.pem", "LEAF"),
        )
        self.assertIn("good/cert.pem: OK", said["good"])
        self.assertIn("certificate revoked", said["bad"])

    def test_gnutls(self):
        said = self.judge(
            *"certtool --verify-crl --load-ca-certificate minica.pem".split(),
            *("--infile", "minica-crl.pem"),
        )
        self.assertIn("Verification output: Verified.", said["good"])
        said = self.judge(
            *"certtool --verify --load-ca-certificate minica.pem".split(),
            *("--load-crl", "minica-crl.pem", "--infile", "LEAF"),
        )
        self.assertIn("Chain verification output: Verified.", said["good"])
        self.assertIn("The certificate chain is revoked", said["bad"])

    def test_nss(self):
        openssl("crl -outform DER -out crl.der -in minica-crl.pem", directory=self.directory)
        (self.directory / "db").mkdir()
        for command in (
            "certutil -N -d db --empty-password",
            "certutil -A -d db -n root -t CT,C, -a -i minica.pem",
            "crlutil -I -d db -i crl.der",
        ):
            subprocess.run(command.split(), cwd=self.directory, check=True, capture_output=True)
        said = self.judge(*"vfychain -d db -a -u 1 LEAF".split())
        self.assertIn("Chain is good!", said["good"])
        self.assertIn("Peer's Certificate has been revoked", said["bad"])

    def test_java(self):
        said = self.judge("java", JUDGES / "Revocations.java", "minica.pem", "minica-crl.pem",
                          "LEAF")
        self.assertEqual(said["good"], "accepted\n")
        self.assertRegex(said["bad"], r"\AREVOKED: .*CESSATION_OF_OPERATION")

    def test_go(self):
        said = self.judge("go", "run", JUDGES / "revocations.go", "minica.pem", "minica-crl.pem",
                          "LEAF")
        self.assertEqual(said, {"good": "accepted\n", "bad": "revoked\n"})


# --- Servers --------------------------------------------------------------------------------------

SUPERUSER, PASSWORD = "super", "secret"
USERS = ["lost", "kept"]


class QuietPgBouncer(PgBouncer):
    """One that pg_isready cannot ask, for want of a certificate."""

    def is_ready(self) -> bool:
        return "process up" in self.log()


class Servers(Case):
    """A directory with a root whose list PostgreSQL reads, and users with certificates."""

    def setUp(self):
        self.directory = self.enterContext(temporary_directory())
        self.list = self.directory / "minica-crl.pem"
        for arguments in (["--user", ",".join(USERS)], ["crl"]):
            run([program(), *arguments], self.directory).or_fail()
        for host in (["dbhost", "--ip-addresses", "127.0.0.1"], ["bouncerhost"]):
            command = [program(), "--domains", *host, "--owner", "postgres"]
            run(as_root(*command), self.directory).or_fail()

    def config(self, *arguments: str) -> str:
        return run([program(), "config", *arguments], self.directory).or_fail().output

    def pki_here(self, *arguments: str) -> Outcome:
        return run([program(), *arguments], self.directory).or_fail()

    def start_postgres(self) -> Postgres:
        """With what is printed for it: the list is in it because it is there."""
        printed = self.config("postgres", "dbhost", "--require-client-cert")
        self.assertIn(f"ssl_crl_file = '{self.list}'\n", printed)
        (self.directory / "postgresql.conf").write_text(printed)
        (rule,) = (line[2:] for line in printed.splitlines() if line.startswith("# hostssl"))
        server = self.enterContext(
            Postgres(
                self.directory / "postgres",
                SUPERUSER,
                PASSWORD,
                access_rules=f"host all {SUPERUSER} 127.0.0.1/32 scram-sha-256\n"
                f"host pooled all 127.0.0.1/32 scram-sha-256\n{rule}\n",
                settings={"config_file": str(self.directory / "postgresql.conf")},
            )
        )
        statements = ["CREATE DATABASE pooled"] + [
            f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'" for role in USERS
        ]
        run(
            psql(
                *("--quiet", *(f"--command={text}" for text in statements)),
                host="127.0.0.1",
                port=server.port,
                user=SUPERUSER,
                password=PASSWORD,
                dbname="postgres",
            )
        ).or_fail()
        return server

    def reload(self, server: Postgres) -> None:
        already = server.log().count("reloading configuration files")
        server.signal("HUP")
        wait_until(
            lambda: server.log().count("reloading configuration files") > already, "reloaded"
        )
        # The postmaster loads the files after it has said so, and takes no connection before.

    def log_in(self, port: int, host: str, user: str, database: str = "postgres", **more):
        # With TLS 1.3 the client may not come to read why it is refused.
        return run(
            psql(
                *("--tuples-only", "--no-align", "--command=SELECT current_user"),
                host=host,
                hostaddr="127.0.0.1",
                port=port,
                user=user,
                dbname=database,
                sslmode="verify-full",
                sslrootcert=self.directory / "minica.pem",
                sslcert=self.directory / user / "cert.pem",
                sslkey=self.directory / user / "key.pem",
                ssl_max_protocol_version="TLSv1.2",
                **more,
            )
        )

    def assert_in(self, outcome: Outcome, user: str) -> None:
        self.assertEqual((outcome.status, outcome.output), (0, f"{user}\n"), outcome)

    def assert_out(self, outcome: Outcome, why: str) -> None:
        self.assertNotEqual(outcome.status, 0, outcome)
        self.assertIn(why, outcome.output)

    def make_expired_list(self) -> None:
        """By openssl, from the same ledger: pki makes none that has ended."""
        (self.directory / "config").write_text(
            AUTHORITY.replace("INDEX", "minica-index.txt")
        )
        (self.directory / "number").write_text("01\n")
        times = "-crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z"
        openssl(
            f"ca -config config -gencrl -out minica-crl.pem {times}", directory=self.directory
        )

    def test_postgres(self) -> None:
        server = self.start_postgres()
        log_in = functools.partial(self.log_in, server.port, "dbhost")
        for user in USERS:
            self.assert_in(log_in(user), user)
        self.pki_here("revoke", "lost", "--reason", "keyCompromise")
        with self.subTest("not before it is told to"):
            self.assert_in(log_in("lost"), "lost")
        self.reload(server)
        self.assert_out(log_in("lost"), "SSL error: sslv3 alert certificate revoked")
        self.assert_in(log_in("kept"), "kept")

        with self.subTest("a list that has ended"):
            self.make_expired_list()
            self.reload(server)
            for user in USERS:
                self.assert_out(log_in(user), "SSL error: sslv3 alert certificate expired")
            self.pki_here("crl")
            self.reload(server)
            self.assert_in(log_in("kept"), "kept")
            self.assert_out(log_in("lost"), "SSL error: sslv3 alert certificate revoked")

        with self.subTest("a new certificate for the same role"):
            shutil.move(self.directory / "lost", self.directory / "lost.old")
            self.pki_here("--user", "lost")
            self.assert_in(log_in("lost"), "lost")

    def test_libpq(self) -> None:
        server = self.start_postgres()
        log_in = functools.partial(
            self.log_in, server.port, "dbhost", "kept", sslcrl=self.list
        )
        self.assert_in(log_in(), "kept")
        self.pki_here("revoke", "dbhost")
        self.assert_out(log_in(), "SSL error: certificate verify failed")
        self.assert_in(self.log_in(server.port, "dbhost", "kept"), "kept")
        with self.subTest("a list that has ended"):
            self.make_expired_list()
            self.assert_out(log_in(), "SSL error: certificate verify failed")
        with self.subTest("a list that is not there is not missed"):
            self.list.unlink()
            self.assert_in(log_in(), "kept")

    def test_pgbouncer(self) -> None:
        """It reads no list, wherever it is put. What helps is its auth_file, and a restart."""
        database = self.start_postgres()
        included = self.directory / "tls.ini"
        together = self.directory / "root-and-list.pem"
        root = self.directory / "minica.pem"
        included.write_text(
            self.config(
                *("pgbouncer", "bouncerhost", "--require-client-cert", "--server-ca", str(root))
            ).replace(f"_tls_ca_file = {root}", f"_tls_ca_file = {together}")
        )
        self.assertEqual(included.read_text().count(f"_tls_ca_file = {together}"), 2)
        self.pki_here("revoke", "lost")
        self.pki_here("revoke", "dbhost")
        together.write_text(root.read_text() + self.list.read_text())

        def start(name: str, users: list[str]) -> PgBouncer:
            pooled = f"host=127.0.0.1 port={database.port}"  # a name of dbhost's
            return QuietPgBouncer(
                self.directory / name,
                {"pooled": pooled},
                dict.fromkeys(users, PASSWORD),
                [f"%include {included}"],
            )

        with start("first", USERS) as bouncer:
            outcome = self.log_in(bouncer.port, "bouncerhost", "lost", "pooled")
            self.assert_in(outcome, "lost")
        with start("second", ["kept"]) as bouncer:
            log_in = functools.partial(self.log_in, bouncer.port, "bouncerhost")
            self.assert_out(log_in("lost", "pooled"), "certificate authentication failed")
            self.assert_in(log_in("kept", "pooled"), "kept")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    unittest.main()
