#!/usr/bin/python3
"""The PgBouncer tutorial, from plaintext to verified, with the real programs.

PostgreSQL stands for a database at Amazon RDS: it takes connections over TLS only, its certificate
comes from an authority that is not ours, and its users have a bundle of the provider's roots.
PgBouncer stands in front of it, and `pki` secures the way from the client to PgBouncer.

    PKI=build/pki tests/e2e/tutorial.py
"""

import atexit
import contextlib
import os
import secrets
import shlex
import signal
import unittest
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from servers import (
    Capture,
    DidNotStart,
    Outcome,
    PgBouncer,
    Postgres,
    as_root,
    give_to_postgres,
    program,
    psql,
    run,
    run_in_terminal,
    temporary_directory,
    wait_until,
)

# With hostaddr, any host name leads to this machine without a line in /etc/hosts.
CONNECTION = {
    "hostaddr": "127.0.0.1",
    "user": "app",
    "password": "secret",
    "dbname": "ssltest",
    "sslmode": "verify-full",
}

TLS_DATA = b"\x17\x03\x03"  # how a TLS record with encrypted data in it begins


def query(*statements: str, **connection: str | int | Path) -> Outcome:
    options = ["--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
    commands = [f"--command={statement}" for statement in statements]
    return run(psql(*options, *commands, **{**CONNECTION, **connection}))


# --- The database, as its provider runs it --------------------------------------------------------


@dataclass(frozen=True)
class Rds:
    host = "ssltest.c0ffee.eu-west.rds.example.test"

    server: Postgres
    bundle: Path
    bundle_without_eu_west: Path

    def query(self, *statements: str, **changes: str | Path) -> Outcome:
        """Past PgBouncer."""
        connection = {"host": self.host, "port": self.server.port, "sslrootcert": self.bundle}
        return query(*statements, **{**connection, **changes})


@contextlib.contextmanager
def amazon_rds(directory: Path) -> Iterator[Rds]:
    ap_east, eu_west, us_west = (
        make_certificate(directory / f"{region}.pem", f"RDS {region} root")
        for region in ("ap-east", "eu-west", "us-west")
    )
    certificate = make_certificate(
        directory / "server.pem",
        Rds.host,
        *("-CA", str(eu_west), "-CAkey", str(key_of(eu_west)), "-extensions", "usr_cert"),
        # psql comes by name; PgBouncer knows no hostaddr and comes by address.
        *("-addext", f"subjectAltName=DNS:{Rds.host},IP:127.0.0.1"),
    )
    give_to_postgres(key_of(certificate))
    server = Postgres(
        directory / "postgres",
        superuser="master",
        password=CONNECTION["password"],
        access_rules="hostssl all all 127.0.0.1/32 scram-sha-256\n",
        settings={
            "ssl": "on",
            "ssl_cert_file": str(certificate),
            "ssl_key_file": str(key_of(certificate)),
        },
    )
    rds = Rds(
        server,
        bundle=concatenate(directory / "bundle.pem", ap_east, eu_west, us_west),
        bundle_without_eu_west=concatenate(directory / "others.pem", ap_east, us_west),
    )
    with server:
        rds.query(
            "CREATE ROLE {user} LOGIN PASSWORD '{password}'".format(**CONNECTION),
            "CREATE DATABASE {dbname}".format(**CONNECTION),
            "\\connect {dbname}".format(**CONNECTION),
            "CREATE EXTENSION sslinfo",
            user="master",
            dbname="postgres",
        ).or_fail()
        yield rds


def make_certificate(certificate: Path, name: str, *options: str) -> Path:
    """A root, unless the options say otherwise; its key is beside it."""
    openssl = [program("openssl"), "req", "-x509", "-nodes", "-subj", f"/CN={name}"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    files = ["-keyout", str(key_of(certificate)), "-out", str(certificate)]
    run([*openssl, *key, *files, *options]).or_fail()
    return certificate


def key_of(certificate: Path) -> Path:
    return certificate.with_suffix(".key")


def concatenate(target: Path, *sources: Path) -> Path:
    target.write_text("".join(source.read_text() for source in sources))
    return target


# --- The tutorial ---------------------------------------------------------------------------------


def setUpModule() -> None:
    global pki, workspace, rds
    # unittest skips the clean-ups when it is interrupted. Asked for twice, they still run once.
    atexit.register(unittest.doModuleCleanups)
    os.umask(0o022)  # the user postgres reads files that the tests write
    pki = os.path.abspath(os.environ["PKI"])
    workspace = unittest.enterModuleContext(temporary_directory())
    rds = unittest.enterModuleContext(amazon_rds(workspace))


class TutorialTest(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = workspace / self.id()
        self.directory.mkdir()

    def issue(self, *arguments: str) -> None:
        run([pki, *arguments], self.directory).or_fail()

    @contextlib.contextmanager
    def pgbouncer(self, *settings: str) -> Iterator[PgBouncer]:
        """PgBouncer in front of the database, with these lines at the end of its ini file."""
        bouncer = PgBouncer(
            self.directory / "pgbouncer",
            databases={"ssltest": f"host=127.0.0.1 port={rds.server.port}"},
            users={CONNECTION["user"]: CONNECTION["password"]},
            settings=[
                "server_tls_sslmode = verify-full",
                f"server_tls_ca_file = {rds.bundle}",
                *settings,
            ],
        )
        with rds.server.log_shown_on_failure(), bouncer:
            yield bouncer

    def secured_pgbouncer(
        self, name: str = "bouncerhost", sslmode: str = "require"
    ) -> AbstractContextManager[PgBouncer]:
        """PgBouncer with the certificate that was issued into the directory `name`."""
        key = self.directory / name / "key.pem"
        give_to_postgres(key)
        return self.pgbouncer(
            f"client_tls_sslmode = {sslmode}",
            f"client_tls_key_file = {key}",
            f"client_tls_cert_file = {self.directory / name / 'cert.pem'}",
            f"client_tls_ca_file = {self.directory / 'minica.pem'}",
        )

    def query_through(
        self, bouncer: PgBouncer, statement: str = "SELECT 'here'", **changes: str | Path
    ) -> Outcome:
        return query(statement, **{**self.connection(bouncer), **changes})

    def connection(self, bouncer: PgBouncer) -> dict[str, str | int | Path]:
        root = self.directory / "minica.pem"
        return {"host": "bouncerhost", "port": bouncer.port, "sslrootcert": root}

    def assert_answers(self, outcome: Outcome, answer: str) -> None:
        self.assertEqual((outcome.status, outcome.output), (0, f"{answer}\n"), outcome)

    def assert_refused(self, outcome: Outcome, reason: str) -> None:
        self.assertNotEqual(outcome.status, 0, outcome)
        self.assertIn(reason, outcome.output, outcome)

    def assert_encrypted(self, packets: bytes, secret: str) -> None:
        self.assertTrue(TLS_DATA in packets, "the wire carried no TLS at all")
        self.assertFalse(secret.encode() in packets, "the wire carried the query in plaintext")


class ClientToDatabase(TutorialTest):
    """Without PgBouncer: what the database insists on."""

    def test_plaintext_is_refused(self) -> None:
        with rds.server.log_shown_on_failure():
            outcome = rds.query("SELECT 'here'", sslmode="disable")
            self.assert_refused(outcome, 'no pg_hba.conf entry for host "127.0.0.1"')
            self.assert_refused(outcome, "no encryption")

    def test_verify_full_connects_and_the_database_knows_it_is_tls(self) -> None:
        with rds.server.log_shown_on_failure():
            self.assert_answers(rds.query("SELECT ssl_is_used()"), "t")

    def test_the_roots_of_other_regions_do_not_verify_it(self) -> None:
        with rds.server.log_shown_on_failure():
            outcome = rds.query("SELECT 'here'", sslrootcert=rds.bundle_without_eu_west)
            self.assert_refused(outcome, "certificate verify failed")


class PgBouncerToDatabase(TutorialTest):
    """server_tls_*: the hop that the provider's certificate protects."""

    def test_it_is_encrypted_whatever_the_client_does(self) -> None:
        secret = secrets.token_hex()
        with (
            self.pgbouncer() as bouncer,
            Capture(self.directory / "capture", rds.server.port) as capture,
        ):
            statement = f"SELECT ssl_is_used(), '{secret}'"
            outcome = self.query_through(bouncer, statement, sslmode="disable")
            self.assert_answers(outcome, f"t|{secret}")
            self.assert_encrypted(capture.packets(), secret)

    def test_the_roots_of_other_regions_do_not_verify_it(self) -> None:
        wrong_roots = f"server_tls_ca_file = {rds.bundle_without_eu_west}"
        # PgBouncer tells the reason to its log alone, and lets the client wait.
        with self.pgbouncer(wrong_roots, "query_wait_timeout = 1") as bouncer:
            outcome = self.query_through(bouncer, sslmode="disable")
            self.assertNotEqual(outcome.status, 0, outcome)
            reason = "certificate verify failed"
            wait_until(lambda: reason in bouncer.log(), f"PgBouncer logs: {reason}")


class ClientToPgBouncer(TutorialTest):
    """client_tls_*: the hop that our certificate protects."""

    def setUp(self) -> None:
        super().setUp()
        self.issue("--domains", "bouncerhost")

    def test_before_it_anyone_on_the_way_reads_the_query(self) -> None:
        secret = secrets.token_hex()
        with (
            self.pgbouncer() as bouncer,
            Capture(self.directory / "capture", bouncer.port) as capture,
        ):
            # libpq's own default: TLS if the server has it.
            outcome = self.query_through(bouncer, f"SELECT '{secret}'", sslmode="prefer")
            self.assert_answers(outcome, secret)
            self.assertTrue(secret.encode() in capture.packets(), "the wire hid the query")

    def test_after_it_nobody_on_the_way_reads_the_query(self) -> None:
        secret = secrets.token_hex()
        with (
            self.secured_pgbouncer() as bouncer,
            Capture(self.directory / "capture", bouncer.port) as capture,
        ):
            self.assert_answers(self.query_through(bouncer, f"SELECT '{secret}'"), secret)
            self.assert_encrypted(capture.packets(), secret)

    def test_psql_says_that_its_connection_is_tls(self) -> None:
        with self.secured_pgbouncer() as bouncer:
            command = psql(**{**CONNECTION, **self.connection(bouncer)})
            session = run_in_terminal(command, typed="\\q\n").or_fail()
            self.assertIn("\nSSL connection (protocol: ", session.output, session)

    def test_sslmode_disable_is_refused(self) -> None:
        with self.secured_pgbouncer() as bouncer:
            self.assert_refused(self.query_through(bouncer, sslmode="disable"), "SSL required")

    def test_another_host_name_is_refused(self) -> None:
        with self.secured_pgbouncer() as bouncer:
            self.assert_refused(
                self.query_through(bouncer, host="otherhost"),
                'server certificate for "bouncerhost" does not match host name "otherhost"',
            )

    def test_another_root_is_refused(self) -> None:
        self.issue("--domains", "elsewhere", "--ca-cert", "other.pem", "--ca-key", "other-key.pem")
        with self.secured_pgbouncer() as bouncer:
            outcome = self.query_through(bouncer, sslrootcert=self.directory / "other.pem")
            self.assert_refused(outcome, "certificate verify failed")


class OtherCertificates(TutorialTest):
    """What else can be asked for in place of `--domains bouncerhost`."""

    def assert_key_type_connects(self, key_type: str, description: str) -> None:
        self.issue("--domains", "bouncerhost", "--key-type", key_type)
        certificate = str(self.directory / "bouncerhost" / "cert.pem")
        text = run([program("openssl"), "x509", "-in", certificate, "-noout", "-text"]).or_fail()
        self.assertIn(description, text.output)
        with self.secured_pgbouncer() as bouncer:
            self.assert_answers(self.query_through(bouncer), "here")

    def test_rsa_2048(self) -> None:
        self.assert_key_type_connects("rsa2048", "Public-Key: (2048 bit)")

    def test_p_384(self) -> None:
        self.assert_key_type_connects("p384", "NIST CURVE: P-384")

    def test_ed25519(self) -> None:
        self.assert_key_type_connects("ed25519", "ED25519 Public-Key")

    def test_ip_address(self) -> None:
        self.issue("--ip-addresses", "127.0.0.1")
        with self.secured_pgbouncer("127.0.0.1") as bouncer:
            self.assert_answers(self.query_through(bouncer, host="127.0.0.1"), "here")
            self.assert_refused(
                self.query_through(bouncer, host="127.0.0.2", hostaddr="127.0.0.1"),
                'does not match host name "127.0.0.2"',
            )

    def test_wildcard_stands_for_one_label(self) -> None:
        self.issue("--domains", "*.db.example.test")
        with self.secured_pgbouncer("_.db.example.test") as bouncer:
            self.assert_answers(self.query_through(bouncer, host="a.db.example.test"), "here")
            self.assert_refused(
                self.query_through(bouncer, host="a.b.db.example.test"),
                'does not match host name "a.b.db.example.test"',
            )


class Instructions(TutorialTest):
    """What people paste."""

    def test_what_the_terminal_says_works_as_pasted(self) -> None:
        # A name that shells, libpq and ini files each read in their own way.
        directory = self.directory / "it's a dir"
        directory.mkdir()
        said = run_in_terminal([pki, "--domains", "bouncerhost"], directory=directory)
        lines = said.or_fail().output.splitlines()
        ini_lines = [line for line in lines if line.startswith("  client_tls_")]
        names = [line.split()[0] for line in ini_lines]
        wanted = ["sslmode", "key_file", "cert_file", "ca_file"]
        self.assertEqual(names, [f"client_tls_{name}" for name in wanted], said)
        [chown] = [shlex.split(line) for line in lines if line.startswith("  sudo chown ")]
        [psql_line] = [shlex.split(line) for line in lines if line.startswith("  psql ")]

        run(as_root(*chown[1:])).or_fail()
        with self.pgbouncer(*ini_lines) as bouncer:
            conninfo = psql_line[1]
            conninfo = conninfo.replace("port=6432", f"port={bouncer.port} hostaddr=127.0.0.1")
            conninfo = conninfo.replace("user=USER", "user=app password=secret")
            conninfo = conninfo.replace("dbname=DB", "dbname=ssltest")
            session = run_in_terminal([program("psql"), conninfo], typed="\\q\n").or_fail()
            self.assertIn("\nSSL connection (protocol: ", session.output, session)

    def test_a_comment_after_a_value_stops_pgbouncer(self) -> None:
        # The tutorial has one in this line: the reason why the program prints none.
        self.issue("--domains", "bouncerhost")
        with self.assertRaises(DidNotStart) as refusal:
            with self.secured_pgbouncer(sslmode="require # not verify-full"):
                pass
        self.assertIn('invalid value "require # not verify-full"', str(refusal.exception))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    unittest.main()
