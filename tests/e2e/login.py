#!/usr/bin/python3
"""check_login() and read_conninfo(): libpq logs in to real servers, and to some that are not.

One PostgreSQL and several PgBouncers before it, so that each hop is encrypted, plaintext or a Unix
socket; and servers of this file that record what they are told, say nothing, or say what they
should not.

    LOGIN_TABLE=build/dev/tests/login_table PKI=build/dev/pki tests/e2e/login.py

Runs as root or as any user who may sudo.
"""

import atexit
import concurrent.futures
import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import servers
from servers import (
    ENVIRONMENT,
    PgBouncer,
    Postgres,
    as_root,
    give_to_postgres,
    psql,
    quoted,
    reserve_port,
    run,
    temporary_directory,
)
from support import program

SUPERUSER, PASSWORD = "super", "s3cret-word"
DATABASE = "postgres"

TABLE = os.environ.get("LOGIN_TABLE", "")

# What shall not happen is awaited this long, in seconds.
SHORT = 2


def setUpModule() -> None:
    # unittest skips the clean-ups when it is interrupted. Asked for twice, they still run once.
    atexit.register(unittest.doModuleCleanups)
    os.umask(0o022)
    if not os.access(TABLE, os.X_OK):
        raise FileNotFoundError("LOGIN_TABLE does not name the program login_table")
    for name in ("psql", "postgres", "pgbouncer", "openssl"):
        if shutil.which(name, path=servers.PROGRAM_PATH) is None:
            raise FileNotFoundError(
                f"{name} is not installed: apt-get install openssl postgresql pgbouncer"
            )
    global stage
    stage = Stage(unittest.enterModuleContext(temporary_directory()))


# --- The servers ----------------------------------------------------------------------------------

ROLES = {"app": "scram-sha-256", "by_md5": "md5", "by_trust": "trust", "by_cert": "cert"}


class QuietPgBouncer(PgBouncer):
    """One that pg_isready cannot ask, for want of a certificate."""

    def is_ready(self) -> bool:
        return "process up" in self.log()


class Stage:
    def __init__(self, top: Path) -> None:
        self.top = top
        self.root = top / "minica.pem"
        self.other_root = top / "other.pem"
        other = ["--ca-cert", "other.pem", "--ca-key", "other-key.pem", "--out", "other"]
        (top / "other").mkdir()
        (top / "fake").mkdir()
        here = ["--domains", "localhost", "--ip-addresses", "127.0.0.1"]
        self.issue("--user", ",".join(ROLES))
        self.issue(*here, "--out", "fake")  # with a key that this file may read
        self.issue(*here, *other)
        self.issue("--domains", "elsewhere.test")
        run(as_root(program(), *here, "--owner", "postgres"), top).or_fail()
        self.postgres = self.start_postgres()
        direct = f"host=127.0.0.1 port={self.postgres.port}"
        by_socket = f"host={self.sockets} port={self.postgres.port} dbname={DATABASE}"
        self.databases = {"by_socket": by_socket, "*": direct}
        verifying = [f"server_tls_ca_file = {self.root}", "server_tls_sslmode = verify-full"]
        self.encrypted = self.start_pgbouncer("encrypted", self.tls(), verifying)
        self.plaintext = self.start_pgbouncer(
            "plaintext", self.tls(), ["server_tls_sslmode = disable"]
        )

    def issue(self, *arguments: str) -> None:
        run([program(), *arguments], self.top).or_fail()

    def start_postgres(self) -> Postgres:
        self.sockets = self.top / "sockets"
        self.sockets.mkdir()
        give_to_postgres(self.sockets)
        access = ["local all all trust", "host all super 127.0.0.1/32 trust"]
        access += [f"hostssl all {role} 127.0.0.1/32 {how}" for role, how in ROLES.items()]
        access += [f"hostnossl all {role} 127.0.0.1/32 trust" for role in ROLES]
        postgres = Postgres(
            self.top / "postgres",
            SUPERUSER,
            PASSWORD,
            "\n".join(access) + "\n",
            {
                "ssl": "on",
                "ssl_cert_file": str(self.top / "localhost" / "cert.pem"),
                "ssl_key_file": str(self.top / "localhost" / "key.pem"),
                "ssl_ca_file": str(self.root),
                "unix_socket_directories": str(self.sockets),
            },
        )
        unittest.enterModuleContext(postgres)
        for role, how in ROLES.items():
            encryption = "md5" if how == "md5" else "scram-sha-256"
            statement = f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"
            self.execute(postgres, f"SET password_encryption = '{encryption}'", statement)
        return postgres

    def execute(self, postgres: Postgres, *statements: str, dbname: str = DATABASE) -> None:
        options = [f"--command={statement}" for statement in statements]
        address = {"host": "127.0.0.1", "port": postgres.port, "sslmode": "disable"}
        run(psql(*options, user=SUPERUSER, dbname=dbname, **address)).or_fail()

    def tls(self, leaf: str = "localhost", mode: str = "require") -> list[str]:
        return [
            f"client_tls_sslmode = {mode}",
            f"client_tls_key_file = {self.top / leaf / 'key.pem'}",
            f"client_tls_cert_file = {self.top / leaf / 'cert.pem'}",
            f"client_tls_ca_file = {self.root}",
        ]

    def start_pgbouncer(
        self, name: str, *settings: list[str], kind: type[PgBouncer] = PgBouncer
    ) -> PgBouncer:
        lines = [line for part in settings for line in part]
        users = dict.fromkeys([*ROLES, "admin"], PASSWORD)
        admin = ["admin_users = admin"]
        return unittest.enterModuleContext(
            kind(self.top / name, self.databases, users, [*admin, *lines])
        )


# --- Asking ---------------------------------------------------------------------------------------


class Finding(NamedTuple):
    level: str
    id: str
    what: str
    remedy: str


class Shown:
    """What login_table printed."""

    def __init__(self, output: str) -> None:
        self.output = output
        self.facts: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.complaint: Finding | None = None
        self.values: dict[str, str] = {}
        self.error: tuple[str, str] | None = None
        for line in output.splitlines():
            kind, *fields = line.split("\t")
            if kind == "fact":
                self.facts[fields[0]] = fields[1]
            elif kind == "finding" and fields[1] == "unverified-string":
                self.complaint = Finding(*fields)  # of the string, for whoever takes it as it is
            elif kind == "finding":
                self.findings.append(Finding(*fields))
            elif kind == "error":
                self.error = (fields[0], fields[1])
            else:
                self.values[kind] = fields[0]

    @property
    def ids(self) -> list[str]:
        return [finding.id for finding in self.findings]


class Case(unittest.TestCase):
    maxDiff = None

    def ask(self, arguments: list[str], conninfo: str, environment: dict[str, str]) -> Shown:
        done = subprocess.run(
            [TABLE, *arguments],
            input=conninfo + "\n",
            env=ENVIRONMENT | environment,
            cwd=stage.top,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=servers.PATIENCE,
            check=False,
            text=True,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        # Whatever servers say: lines of ours, that do nothing to a terminal, and tell no secret.
        self.assertRegex(done.stdout, r"\A(?:[a-z]+\t[\t\x20-\x7e]*\n)+\Z")
        self.assertNotIn(PASSWORD, done.stdout)
        return Shown(done.stdout)

    def target(self, conninfo: str, **environment: str) -> Shown:
        return self.ask(["target"], conninfo, environment)

    def login(
        self,
        conninfo: str,
        root: Path | None = None,
        seconds: float = 20,
        address: tuple[str, ...] = (),
        password: str | None = PASSWORD,
        **environment: str,
    ) -> Shown:
        if password is not None:
            environment["PGPASSWORD"] = password
        arguments = ["login", str(root or stage.root), str(int(seconds * 1000)), *address]
        return self.ask(arguments, conninfo, environment)

    def assert_error(self, shown: Shown, *parts: str) -> None:
        assert shown.error is not None, shown.output
        what, hint = shown.error
        for part in parts:
            self.assertIn(part, what)
        self.assertTrue(hint)
        for text in (what, hint):
            self.assertFalse(text.endswith("."), text)

    def assert_found(self, shown: Shown, level: str, identifier: str, *parts: str) -> None:
        self.assertEqual(
            [(finding.level, finding.id) for finding in shown.findings],
            [(level, identifier)],
            shown.output,
        )
        (finding,) = shown.findings
        for part in parts:
            self.assertIn(part, finding.what)
        self.assertTrue(finding.remedy)

    def assert_in(self, shown: Shown, user: str = "app") -> None:
        """The login worked, and the first hop was verified."""
        self.assertEqual(shown.facts.get("user"), user, shown.output)
        self.assertEqual(shown.facts["first hop"], "TLSv1.3, TLS_AES_256_GCM_SHA384, verified")
        self.assertRegex(shown.facts["server version"], r"\A15\.\d+")


def to(server, user: str = "app", dbname: str = DATABASE, **more: str | Path) -> str:
    settings = {"host": "localhost", "port": server.port, "user": user, "dbname": dbname, **more}
    return " ".join(f"{name}={quoted(value)}" for name, value in settings.items())


# --- Connection strings ---------------------------------------------------------------------------


class Targets(Case):
    def assert_target(self, shown: Shown, **expected: str) -> None:
        self.assertIsNone(shown.error)
        self.assertEqual(shown.values, {**dict.fromkeys(shown.values, ""), **expected})

    def test_both_forms(self):
        for conninfo in (
            "postgresql://app@bouncerhost:6432/db?sslrootcert=/r.pem&sslcert=c&sslkey=k",
            "postgres://app@/db?host=bouncerhost&port=6432&sslrootcert=/r.pem&sslcert=c&sslkey=k",
            "host=bouncerhost port=6432 sslrootcert=/r.pem sslcert=c sslkey='k' password=''",
        ):
            with self.subTest(conninfo):
                self.assert_target(
                    self.target(conninfo),
                    host="bouncerhost",
                    port="6432",
                    root="/r.pem",
                    certificate="c",
                    key="k",
                )
        self.assert_target(self.target("postgresql://[::1]/db"), host="::1", port="5432")
        self.assert_target(self.target("host=h port="), host="h", port="5432")
        self.assert_target(
            self.target("host=h hostaddr=127.0.0.1"), host="h", address="127.0.0.1", port="5432"
        )

    def test_environment_and_services(self):
        self.assert_target(
            self.target("user=app", PGHOST="h", PGPORT="7", PGSSLROOTCERT="/e.pem", PGSSLCERT="/c"),
            host="h",
            port="7",
            root="/e.pem",
            certificate="/c",
        )
        self.assert_target(self.target("host=h", PGHOST="e", PGPORT="7"), host="h", port="7")
        services = stage.top / "services.conf"
        services.write_text(f"[one]\nhost=s\nport=8\nsslkey=/k\npassword={PASSWORD}\n")
        expected = {"host": "s", "port": "8", "key": "/k"}
        where = {"PGSERVICEFILE": str(services)}
        self.assert_target(self.target("service=one", **where), **expected)
        self.assert_target(self.target("postgresql://?service=one", **where), **expected)
        self.assert_target(self.target("user=app", PGSERVICE="one", **where), **expected)
        self.assert_target(self.target("service=one port=9", **where), **(expected | {"port": "9"}))
        self.assert_error(self.target("service=two", **where), "two")

    def test_secrets_do_not_belong_there(self):
        for conninfo in (
            f"postgresql://app:{PASSWORD}@h/db",
            f"postgresql://app@h/db?password={PASSWORD}",
            f"host=h password='{PASSWORD}'",
            f"host=h sslpassword={PASSWORD}",
        ):
            with self.subTest(conninfo):
                shown = self.target(conninfo)
                self.assert_error(shown, "holds a secret", "password")
                self.assertIn("PGPASSWORD", shown.error[1])
                self.assertIn("command line", shown.error[1])
                self.assertEqual(self.login(conninfo).error, shown.error)

    def test_what_cannot_be_read(self):
        for conninfo in (
            "bouncerhost",
            f"{PASSWORD} is=no option=here",
            f"host=h password=first {PASSWORD}",
            f"host=h password='{PASSWORD}",
            f"host=h password=%% {PASSWORD}=x",
            f"postgresql://app:{PASSWORD}@[h/db",
            f"postgresql://app:{PASSWORD}%zz@h/db",
            f"postgresql://app@h/db?password={PASSWORD}=x",
            "postgresql://app@h/db?no_such_option=1",
        ):
            with self.subTest(conninfo):
                shown = self.target(conninfo)
                self.assert_error(shown, "connection string")
        for port in ("0", "65536", "-1", "x", "1x", " "):
            with self.subTest(port):
                self.assert_error(self.target(f"host=h port='{port}'"), "port", f'"{port}"')

    def test_what_has_no_tls_or_no_name(self):
        self.assert_error(self.target("user=app"), "no host", "Unix socket")
        self.assert_error(self.target("host=/run/postgresql"), "Unix socket", "no TLS")
        self.assert_error(self.target("host=@abstract"), "Unix socket")
        self.assert_error(self.target("postgresql://%2Frun/db"), "Unix socket")
        self.assert_error(self.target("user=app", PGHOST="/run"), "Unix socket")
        self.assert_error(self.target("host=a,b"), "several hosts", '"a,b"')
        self.assert_error(self.target("postgresql://a:1,b:2/db"), "several hosts")
        self.assert_error(self.target("host=h,/run/postgresql"), "several hosts")
        self.assert_error(self.target("hostaddr=127.0.0.1"), "hostaddr")


# --- Hops -----------------------------------------------------------------------------------------


class Hops(Case):
    def test_direct(self):
        shown = self.login(to(stage.postgres))
        self.assert_in(shown)
        self.assertEqual(shown.facts["second hop"], "none: this is the database")
        self.assertEqual(shown.findings, [])
        self.assertEqual(shown.values["target"], f"login at localhost:{stage.postgres.port}")

    def test_encrypted(self):
        shown = self.login(to(stage.encrypted))
        self.assert_in(shown)
        self.assertEqual(shown.facts["second hop"], "TLSv1.3, TLS_AES_256_GCM_SHA384")
        self.assert_found(shown, "note", "server-verification-unknown", str(stage.encrypted.port))
        self.assertIn("pki check /etc/pgbouncer/pgbouncer.ini", shown.findings[0].remedy)

    def test_plaintext(self):
        shown = self.login(to(stage.plaintext))
        self.assert_in(shown)
        self.assertEqual(shown.facts["second hop"], "plaintext")
        self.assert_found(shown, "problem", "server-plaintext", str(stage.plaintext.port))

    def test_unix_socket(self):
        for pgbouncer in (stage.encrypted, stage.plaintext):
            shown = self.login(to(pgbouncer, dbname="by_socket"))
            self.assert_in(shown)
            self.assertEqual(shown.facts["second hop"], "a Unix socket, which leaves no machine")
            self.assertEqual(shown.findings, [])

    def test_first_hop_plaintext(self):
        pgbouncer = stage.start_pgbouncer("no-tls")
        shown = self.login(to(pgbouncer))
        self.assert_found(shown, "problem", "login-no-tls", "does not support SSL")
        self.assertEqual(shown.facts, {})

    def test_remedy(self):
        """What is said to be done about plaintext is what does away with it."""
        pgbouncer = stage.start_pgbouncer("mended", stage.tls(), ["server_tls_sslmode = disable"])
        shown = self.login(to(pgbouncer))
        self.assert_found(shown, "problem", "server-plaintext")
        self.assertRegex(shown.findings[0].remedy, "verify-full.*server_tls_ca_file.*RECONNECT")
        ini = stage.top / "mended" / "pgbouncer.ini"
        lines = f"server_tls_sslmode = verify-full\nserver_tls_ca_file = {stage.root}"
        ini.write_text(ini.read_text().replace("server_tls_sslmode = disable", lines))
        admin = to(pgbouncer, "admin", "pgbouncer", sslmode="require", password=PASSWORD)
        command = [servers.program("psql"), "--no-psqlrc", admin, "-c", "RELOAD", "-c", "RECONNECT"]
        run(command).or_fail()
        self.assert_found(self.login(to(pgbouncer)), "note", "server-verification-unknown")

    def test_command(self):
        """The psql command that is shown shows the same."""
        url = f"postgresql://app@localhost:{stage.encrypted.port}/{DATABASE}"
        for conninfo in (to(stage.encrypted), url, url + "?sslmode=disable"):
            shown = self.login(conninfo)
            command = shlex.split(shown.values["command"])
            done = subprocess.run(
                [servers.program("psql"), "--no-psqlrc", "-At", *command[1:]],
                env=ENVIRONMENT | {"PGPASSWORD": PASSWORD},
                capture_output=True,
                text=True,
                timeout=servers.PATIENCE,
                check=False,
            )
            self.assertEqual(done.stdout, "t|TLSv1.3|TLS_AES_256_GCM_SHA384\n", done.stderr)

    def test_address(self):
        """One that is known already takes the place of the name, which is still verified."""
        conninfo = to(stage.postgres, host="elsewhere.test")
        shown = self.login(conninfo, address=("127.0.0.1",))
        self.assert_found(shown, "problem", "login-verification", "elsewhere.test")
        shown = self.login(to(stage.postgres, hostaddr="127.0.0.9"), address=("127.0.0.1",))
        self.assert_in(shown)

    def test_other_sources(self):
        """Where pg_stat_ssl is closed or gone, the extension sslinfo tells."""
        for name in ("closed", "open"):
            stage.execute(stage.postgres, f"CREATE DATABASE {name}")
            revoke = "REVOKE SELECT ON pg_stat_ssl FROM PUBLIC"
            stage.execute(stage.postgres, revoke, dbname=name)
        stage.execute(stage.postgres, "CREATE EXTENSION sslinfo", dbname="open")
        shown = self.login(to(stage.postgres, dbname="closed"))
        self.assert_found(shown, "unknown", "second-hop-unknown", "denied for view pg_stat_ssl")
        self.assertEqual(list(shown.facts), ["first hop"])
        for server, second in (
            (stage.postgres, "none: this is the database"),
            (stage.encrypted, "TLSv1.3, TLS_AES_256_GCM_SHA384"),
            (stage.plaintext, "plaintext"),
        ):
            shown = self.login(to(server, dbname="open"))
            self.assert_in(shown)
            self.assertEqual(shown.facts["second hop"], second)

    def test_console(self):
        shown = self.login(to(stage.encrypted, "admin", "pgbouncer"))
        self.assert_found(shown, "unknown", "second-hop-unknown")

    def test_database_out_of_reach(self):
        """PgBouncer does not verify the database: its clients wait, and then are told little."""
        settings = [f"server_tls_ca_file = {stage.other_root}", "server_tls_sslmode = verify-full"]
        pgbouncer = stage.start_pgbouncer("distrusting", stage.tls(), settings)
        shown = self.login(to(pgbouncer), seconds=2)
        self.assertEqual([finding.level for finding in shown.findings], ["unknown"])
        self.assertIn(shown.ids, (["login-timeout"], ["login-failed"]))
        self.assertIn("log", shown.findings[0].remedy)


# --- Ways to log in -------------------------------------------------------------------------------


class Logins(Case):
    def test_methods(self):
        for server in (stage.postgres, stage.encrypted):
            for user in ("app", "by_md5", "by_trust"):
                # PgBouncer asks them all for the password, and PostgreSQL only some.
                with self.subTest(user, port=server.port):
                    self.assert_in(self.login(to(server, user)), user)
        self.assert_in(self.login(to(stage.postgres, "by_trust"), password=None), "by_trust")

    def test_password_by_passfile(self):
        passfile = stage.top / "passfile"
        passfile.write_text(f"localhost:{stage.postgres.port}:*:app:{PASSWORD}\n")
        passfile.chmod(0o600)
        conninfo = to(stage.postgres)
        self.assert_in(self.login(conninfo, password=None, PGPASSFILE=str(passfile)))
        self.assert_in(self.login(f"{conninfo} passfile={passfile}", password=None))
        home = stage.top / "home"
        home.mkdir()
        shutil.copy(passfile, home / ".pgpass")
        self.assert_in(self.login(conninfo, password=None, HOME=str(home)))

    def test_password_by_service(self):
        services = stage.top / "pg_service.conf"
        services.write_text(
            f"[mine]\nhost=localhost\nport={stage.postgres.port}\nuser=app\n"
            f"dbname={DATABASE}\npassword={PASSWORD}\nsslmode=disable\n"
        )
        where = {"PGSERVICEFILE": str(services)}
        self.assert_in(self.login("service=mine", password=None, **where))
        self.assert_in(self.login("application_name=x", password=None, PGSERVICE="mine", **where))

    def test_refused(self):
        for server in (stage.postgres, stage.encrypted):
            shown = self.login(to(server), password=None)
            self.assert_found(shown, "unknown", "login-no-password", "no password supplied")
            for wrong in ("wrong", PASSWORD[:-1]):
                shown = self.login(to(server), password=wrong)
                self.assert_found(shown, "unknown", "login-failed", "authentication failed")
                self.assertNotIn(wrong, shown.output.replace("password", ""))
            self.assert_found(
                self.login(to(server, dbname="no such")), "unknown", "login-failed", "no such"
            )

    def test_certificate(self):
        identity = stage.top / "by_cert"
        shown = {"sslcert": identity / "cert.pem", "sslkey": identity / "key.pem"}
        self.assert_in(self.login(to(stage.postgres, "by_cert", **shown), password=None), "by_cert")
        by_cert = stage.start_pgbouncer(
            "by-cert", stage.tls(mode="verify-full"), ["auth_type = cert"], kind=QuietPgBouncer
        )
        self.assert_in(self.login(to(by_cert, "by_cert", **shown), password=None), "by_cert")
        for server in (stage.postgres, by_cert):
            refused = self.login(to(server, "by_cert"), password=None)
            self.assert_found(refused, "unknown", "login-failed", "certificate")
        missing = to(stage.postgres, "by_cert", sslcert=identity / "cert.pem", sslkey="/no/key.pem")
        self.assert_found(self.login(missing), "unknown", "login-tls", "/no/key.pem")

    def test_encrypted_key(self):
        """Nobody is asked for its password, and a service may tell it."""
        identity = stage.top / "by_cert"
        key = stage.top / "encrypted-key.pem"
        encrypt = f"openssl pkcs8 -topk8 -in {identity}/key.pem -out {key} -passout pass:{PASSWORD}"
        run(shlex.split(encrypt)).or_fail()
        key.chmod(0o600)
        conninfo = to(stage.postgres, "by_cert", sslcert=identity / "cert.pem", sslkey=key)
        self.assert_found(self.login(conninfo), "unknown", "login-tls", str(key))
        services = stage.top / "key_service.conf"
        services.write_text(f"[mine]\nsslpassword={PASSWORD}\n")
        shown = self.login(f"{conninfo} service=mine", PGSERVICEFILE=str(services))
        self.assert_in(shown, "by_cert")


# --- Servers that are none ------------------------------------------------------------------------

SSL_REQUEST = struct.pack("!II", 8, 80877103)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def authentication(code: int) -> bytes:
    return message(b"R", struct.pack("!I", code))


def error(text: bytes, severity: bytes = b"ERROR", kind: bytes = b"E") -> bytes:
    return message(kind, b"S%b\0V%b\0CXX000\0M%b\0\0" % (severity, severity, text))


def parameter(name: bytes, value: bytes) -> bytes:
    return message(b"S", name + b"\0" + value + b"\0")


def row(*values: bytes) -> bytes:
    description = b"".join(b"c\0" + struct.pack("!IHIhiH", 0, 0, 25, -1, -1, 0) for _ in values)
    data = b"".join(struct.pack("!I", len(value)) + value for value in values)
    count = struct.pack("!H", len(values))
    return message(b"T", count + description) + message(b"D", count + data)


COMPLETE = message(b"C", b"SELECT 1\0")
READY = message(b"Z", b"I")
LOGGED_IN = (
    authentication(0)
    + parameter(b"server_version", b"15.0")
    + parameter(b"client_encoding", b"UTF8")
    + message(b"K", struct.pack("!II", 4711, 1))
    + READY
)


class Fake:
    """A server that takes one connection after the other, each as `serve` does, and keeps what it
    was told: on the wire, and within TLS."""

    def __init__(
        self,
        serve: Callable[["Fake", socket.socket], None],
        leaf: str = "fake/localhost",
    ) -> None:
        self.port = reserve_port()
        self.on_wire = b""
        self.in_tls = b""
        self.connections = 0
        self._serve = serve
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        directory = stage.top / leaf
        self._context.load_cert_chain(directory / "cert.pem", directory / "key.pem")

    def __enter__(self) -> "Fake":
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # accept() returns
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with connection:
                    # The client ends the connection whenever it has seen enough.
                    with contextlib.suppress(OSError):
                        self._serve(self, connection)

    # What `serve` is made of.

    def request(self, connection: socket.socket) -> None:
        """Reads an SSLRequest, or whatever comes in its place."""
        self.on_wire += connection.recv(8)

    def encrypt(self, connection: socket.socket) -> ssl.SSLSocket:
        self.request(connection)
        connection.sendall(b"S")
        return self._context.wrap_socket(connection, server_side=True)

    def hear(self, connection: socket.socket) -> bytes:
        heard = connection.recv(65536)
        if isinstance(connection, ssl.SSLSocket):
            self.in_tls += heard
        else:
            self.on_wire += heard
        return heard

    def hear_all(self, connection: socket.socket) -> None:
        while self.hear(connection):
            pass


class Unverified(Case):
    """No secret goes to a server that is not verified, nor anything else that is not needed."""

    def ask_for_password(self, fake: Fake, connection: socket.socket) -> None:
        with fake.encrypt(connection) as encrypted:
            fake.hear(encrypted)
            encrypted.sendall(authentication(3))
            fake.hear_all(encrypted)

    def test_the_recorder_records(self):
        """The same server with the right certificate is told all: so the others were not."""
        with Fake(self.ask_for_password) as fake:
            self.login(to(fake), seconds=SHORT)
        self.assertEqual(fake.on_wire, SSL_REQUEST)
        self.assertIn(b"user\0app\0", fake.in_tls)
        self.assertIn(PASSWORD.encode() + b"\0", fake.in_tls)

    # Each of them asks for less than verification, in its own way.
    WISHES = (
        ("sslmode=disable", {}),
        ("sslmode=allow gssencmode=prefer", {}),
        ("sslmode=require sslrootcert=other.pem", {}),
        ("sslmode=verify-ca sslrootcert=other.pem", {}),
        ("sslrootcert=other.pem", {"PGSSLMODE": "require"}),
        ("", {"PGSSLMODE": "disable", "PGSSLROOTCERT": "other.pem", "PGREQUIRESSL": "0"}),
        ("service=lax", {"PGSERVICEFILE": "lax.conf"}),
        ("", {"PGSERVICEFILE": "lax.conf", "PGSERVICE": "lax"}),
    )

    def wishes(self) -> Iterator[tuple[str, dict[str, str]]]:
        (stage.top / "lax.conf").write_text("[lax]\nsslmode=disable\nsslrootcert=other.pem\n")
        for wish, environment in self.WISHES:
            with self.subTest(wish, **environment):
                yield wish, environment

    def test_another_root(self):
        for wish, environment in self.wishes():
            with Fake(self.ask_for_password, "other/localhost") as fake:
                shown = self.login(f"{to(fake)} {wish}", **environment)
            self.assert_found(shown, "problem", "login-verification", "certificate verify failed")
            self.assertRegex(
                shown.findings[0].remedy,
                f"pki check localhost:{fake.port} .*no password was sent",
            )
            self.assertEqual((fake.on_wire, fake.in_tls), (SSL_REQUEST, b""))
            self.assertEqual(fake.connections, 1)

    def test_another_name(self):
        for wish, environment in self.wishes():
            with Fake(self.ask_for_password, "elsewhere.test") as fake:
                wish = wish.replace("other.pem", "minica.pem")
                shown = self.login(f"{to(fake)} {wish}", **environment)
            self.assert_found(shown, "problem", "login-verification", "elsewhere.test")
            self.assertEqual((fake.on_wire, fake.in_tls), (SSL_REQUEST, b""))
            self.assertEqual(fake.connections, 1)

    def test_without_tls(self):
        def refuse(fake: Fake, connection: socket.socket) -> None:
            fake.request(connection)
            connection.sendall(b"N")
            fake.hear_all(connection)

        for wish, environment in self.wishes():
            with Fake(refuse) as fake:
                shown = self.login(f"{to(fake)} {wish}", **environment)
            self.assert_found(shown, "problem", "login-no-tls")
            self.assertEqual(fake.on_wire, SSL_REQUEST)
            self.assertEqual(fake.connections, 1)

    def test_no_postgresql(self):
        for said in (
            b"SSH-2.0-OpenSSH_9.2p1\r\n",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"S" + error(b"injected"),
            b"G",
            error(b"\x1b[31mtoo many\nclients \xff", b"FATAL"),
            b"Ecould not fork\n\0",
            b"E\xff\xff\xff\xff",
            b"",
        ):

            def answer(fake: Fake, connection: socket.socket, said=said) -> None:
                fake.request(connection)
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                fake.hear_all(connection)

            with self.subTest(said), Fake(answer) as fake:
                shown = self.login(to(fake))
            self.assertEqual([finding.level for finding in shown.findings], ["unknown"])
            self.assertIn(shown.ids, (["login-tls"], ["login-no-connection"]))
            self.assertTrue(fake.on_wire.startswith(SSL_REQUEST))
            self.assertNotIn(b"app", fake.on_wire)

    def test_root_that_is_not_there(self):
        for root in ("no.pem", "localhost/cert.pem"):
            with Fake(self.ask_for_password) as fake:
                shown = self.login(to(fake), root=stage.top / root)
            self.assertEqual(len(shown.findings), 1, shown.output)
            self.assertIn(shown.ids[0], ("login-tls", "login-verification"))
            self.assertEqual(fake.in_tls, b"")


class Silence(Case):
    """A server that stops to answer, at whatever step, is given up in time."""

    def assert_given_up(self, server, step: str) -> None:
        start = time.monotonic()
        shown = self.login(to(server), seconds=SHORT)
        taken = time.monotonic() - start
        self.assert_found(shown, "unknown", "login-timeout", step, f"within {SHORT} seconds")
        self.assertGreater(taken, 0.9 * SHORT)
        self.assertLess(taken, 10 * SHORT)  # the steps before it may take as long, each

    def test_connection(self):
        """A full queue of connections: the kernel answers no more."""

        class Full(NamedTuple):
            port: int

        with socket.socket() as listener, contextlib.ExitStack() as waiting:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(4):
                client = waiting.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
            time.sleep(0.1)
            self.assert_given_up(Full(listener.getsockname()[1]), "connection")

    def test_greeting(self):
        with Fake(lambda fake, connection: fake.hear_all(connection)) as fake:
            self.assert_given_up(fake, "TLS handshake")

    def test_handshake(self):
        def serve(fake: Fake, connection: socket.socket) -> None:
            fake.request(connection)
            connection.sendall(b"S")
            fake.hear_all(connection)

        with Fake(serve) as fake:
            self.assert_given_up(fake, "TLS handshake")

    def logged_in(self, *said: bytes, then: Callable[[socket.socket], None] | None = None):
        """Serves the start of a session: one of `said` for each thing that is heard."""

        def serve(fake: Fake, connection: socket.socket) -> None:
            with fake.encrypt(connection) as encrypted:
                for part in said:
                    fake.hear(encrypted)
                    encrypted.sendall(part)
                if then is not None:
                    then(encrypted)
                fake.hear_all(encrypted)

        return serve

    def test_steps_within_tls(self):
        unfinished = LOGGED_IN.removesuffix(READY)
        cases = [
            ((), "login"),
            ((b"R",), "login"),
            ((authentication(3), b""), "login"),
            ((message(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"), b""), "login"),
            ((authentication(0),), "login"),
            ((unfinished,), "login"),
            ((LOGGED_IN, b""), "answer to a query"),
            ((LOGGED_IN, b"T\0\0"), "answer to a query"),
            ((LOGGED_IN, row(*[b"t"] * 7)), "answer to a query"),
            ((LOGGED_IN, row(*[b"t"] * 7) + COMPLETE), "answer to a query"),
            ((LOGGED_IN, error(b"no") + READY, b""), "answer to a query"),
        ]

        def check(said: tuple[bytes, ...], step: str) -> None:
            with Fake(self.logged_in(*said)) as fake:
                self.assert_given_up(fake, step)

        # All at once, for each takes its time.
        with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
            for said, done in [(said, pool.submit(check, said, step)) for said, step in cases]:
                with self.subTest(said=said):
                    done.result()

    def test_chatter(self):
        """Bytes that lead nowhere are as good as none, be they few or many."""

        def chatter(said: bytes, pause: float) -> Callable[[socket.socket], None]:
            def talk(connection: socket.socket) -> None:
                while True:
                    connection.sendall(said)
                    time.sleep(pause)

            return talk

        notice = error(b"\x1b[31mhello", b"NOTICE", b"N")
        for said, forever, step in (
            ((authentication(0),), parameter(b"a", b"b"), "login"),
            ((authentication(0),), notice, "login"),
            ((LOGGED_IN, b""), notice, "answer to a query"),
            ((LOGGED_IN, b""), row(b"1") + COMPLETE, "answer to a query"),
        ):
            for talk in (chatter(forever, 0.1), chatter(forever * 1000, 0)):
                with self.subTest(forever), Fake(self.logged_in(*said, then=talk)) as fake:
                    self.assert_given_up(fake, step)

    def test_lies(self):
        """What a verified server says is text, whatever it is."""
        escape = b"\x1b[31m\nfact\tuser\troot\xff"
        answer = row(b"1", b"f", b"t", escape, escape, escape, escape) + COMPLETE + READY
        with Fake(self.logged_in(LOGGED_IN, answer)) as fake:
            shown = self.login(to(fake))
        self.assertEqual(shown.facts["user"], "?[31m fact user root?")
        self.assert_found(shown, "note", "server-verification-unknown")
        refusal = error(escape) + READY
        with Fake(self.logged_in(LOGGED_IN, refusal, refusal)) as fake:
            shown = self.login(to(fake))
        self.assert_found(shown, "unknown", "second-hop-unknown", "?[31m fact user root?")
        for answers in (
            [row(b"t") + COMPLETE + READY] * 2,  # too few columns
            [message(b"I", b"") + READY] * 2,  # an empty query's answer
            [message(b"C", b"SELECT 0\0") + READY] * 2,
            [message(b"G", b"\0\0\0")],  # COPY
            [message(b"W", b"\0\0\0")],
            [b"\xff\xff\xff\xff\xff\xff"],
            [b"D\x7f\xff\xff\xff"],
            [b"T\0\0\0\x06\xff\xff"],
        ):
            with self.subTest(answers), Fake(self.logged_in(LOGGED_IN, *answers)) as fake:
                shown = self.login(to(fake), seconds=SHORT)
                self.assertIn(shown.ids, (["second-hop-unknown"], ["login-timeout"]))

    def test_end_of_connection(self):
        def serve(fake: Fake, connection: socket.socket) -> None:
            with fake.encrypt(connection) as encrypted:
                fake.hear(encrypted)
                encrypted.sendall(LOGGED_IN)
                fake.hear(encrypted)

        with Fake(serve) as fake:
            self.assert_found(self.login(to(fake)), "unknown", "second-hop-unknown")
        nobody = reserve_port()
        shown = self.login(f"host=127.0.0.1 port={nobody} user=app")
        self.assert_found(shown, "unknown", "login-no-connection", str(nobody), "refused")


class NoLibpq(Case):
    def test_absent(self):
        """In a tree that holds the program and what it is linked with, and no libpq."""
        tree = stage.top / "tree"
        libraries = re.findall(r"(/\S+) \(0x", run(["ldd", TABLE]).or_fail().output)
        self.assertNotIn("libpq", "".join(libraries))
        for path in libraries:
            place = tree / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
        shutil.copy(TABLE, tree / "login_table")
        for arguments in (["target"], ["login", "/minica.pem", "1000"]):
            done = subprocess.run(
                as_root("chroot", str(tree), "/login_table", *arguments),
                input="host=localhost\n",
                env=ENVIRONMENT,
                capture_output=True,
                timeout=servers.PATIENCE,
                check=False,
                text=True,
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            shown = Shown(done.stdout)
            self.assert_error(shown, "libpq is not installed", "No such file")
            self.assertEqual(shown.error[1], "apt-get install libpq5")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    unittest.main()
