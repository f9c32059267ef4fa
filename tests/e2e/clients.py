#!/usr/bin/python3
"""Drivers, as they are installed, connect with what `pki config` prints.

One PostgreSQL and one PgBouncer in front of it, with certificates for `dbhost` and `bouncerhost`,
serve every client. web_user has a password, app_user a certificate. Each client connects as both,
through PgBouncer and directly, verify-full, and refuses a server that goes by another name or comes
from another root. It says so in a line of its own.

The clients are programs in clients/. Each is installed by its ordinary means, in the version that a
file there names, and kept in XDG_CACHE_HOME for the next run. They use the host names as printed:
nss_wrapper resolves them from a file of ours, in place of /etc/hosts.

    PKI=build/pki tests/e2e/clients.py
"""

import atexit
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from servers import (
    Outcome,
    PgBouncer,
    Postgres,
    as_root,
    program,
    psql,
    run,
    temporary_directory,
)

SOURCES = Path(__file__).resolve().parent / "clients"
DATABASE = "app"
PASSWORD = "secret"

# Who is at the other end: the role, and the name in the certificate that it showed.
QUERY = (
    "SELECT concat_ws(' ', session_user, client_dn) AS answer"
    " FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()"
)


# --- Servers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """One that clients connect to, and what QUERY answers there, by role."""

    title: str
    host: str
    port: int
    answers: dict[str, str]


def issue_certificates() -> None:
    def issue(*arguments: str) -> None:
        run([pki, *arguments], workspace).or_fail()

    issue("--user", "app_user")
    issue("export", "app_user", "--format", "pk8")
    password = workspace / "p12.password"
    password.write_text(PASSWORD)
    issue("export", "app_user", "--format", "p12", "--password-file", str(password))
    # For its root.
    issue("--user", "elsewhere", "--ca-cert", "other.pem", "--ca-key", "other-key.pem")
    # PgBouncer itself comes to the database by address.
    for names in (["bouncerhost"], ["dbhost", "--ip-addresses", "127.0.0.1"]):
        command = [pki, "--domains", *names, "--owner", "postgres"]
        run(as_root(*command), workspace).or_fail()


def start_postgres() -> Postgres:
    postgres = Postgres(
        workspace / "postgres",
        superuser="postgres",
        password=PASSWORD,
        access_rules="hostssl all app_user all cert\nhostssl all all all scram-sha-256\n",
        settings={
            "ssl": "on",
            "ssl_cert_file": str(workspace / "dbhost" / "cert.pem"),
            "ssl_key_file": str(workspace / "dbhost" / "key.pem"),
            "ssl_ca_file": str(root),
        },
    )
    unittest.enterModuleContext(postgres)
    statements = [
        "CREATE ROLE app_user LOGIN",
        f"CREATE ROLE web_user LOGIN PASSWORD '{PASSWORD}'",
        f"CREATE ROLE pooler LOGIN PASSWORD '{PASSWORD}'",
        f"CREATE DATABASE {DATABASE}",
    ]
    connection = {"host": "127.0.0.1", "port": postgres.port, "user": "postgres"}
    commands = [f"--command={statement}" for statement in statements]
    run(psql(*commands, **connection, password=PASSWORD, dbname="postgres")).or_fail()
    return postgres


def start_pgbouncer(postgres: Postgres) -> PgBouncer:
    """Its clients' roles are its own affair: to the database it is `pooler`."""
    tls = workspace / "tls.ini"
    tls.write_text(run([pki, "config", "pgbouncer", "bouncerhost"], workspace).or_fail().output)
    access_rules = workspace / "pgbouncer_hba.conf"
    # PgBouncer 1.18 does not know `all` as an address.
    access_rules.write_text(
        "hostssl all app_user 0.0.0.0/0 cert\nhostssl all all 0.0.0.0/0 scram-sha-256\n"
    )
    database = f"host=127.0.0.1 port={postgres.port} user=pooler password={PASSWORD}"
    return unittest.enterModuleContext(
        PgBouncer(
            workspace / "pgbouncer",
            databases={DATABASE: database},
            users={"app_user": "", "web_user": PASSWORD},
            settings=[
                f"%include {tls}",
                "auth_type = hba",
                f"auth_hba_file = {access_rules}",
                "server_tls_sslmode = verify-full",
                f"server_tls_ca_file = {root}",
            ],
        )
    )


def setUpModule() -> None:
    global pki, workspace, root, hosts, daemons, servers
    # unittest skips the clean-ups when it is interrupted. Asked for twice, they still run once.
    atexit.register(unittest.doModuleCleanups)
    os.umask(0o022)  # the user postgres reads files that the tests write
    pki = os.path.abspath(os.environ["PKI"])
    workspace = unittest.enterModuleContext(temporary_directory())
    root = workspace / "minica.pem"
    hosts = workspace / "hosts"
    hosts.write_text("127.0.0.1 bouncerhost dbhost otherhost\n")
    issue_certificates()
    postgres = start_postgres()
    pgbouncer = start_pgbouncer(postgres)
    daemons = [postgres, pgbouncer]
    direct = {"web_user": "web_user", "app_user": "app_user /CN=app_user"}
    servers = [
        Server("PgBouncer", "bouncerhost", pgbouncer.port, dict.fromkeys(direct, "pooler")),
        Server("PostgreSQL", "dbhost", postgres.port, direct),
    ]


# --- Installing -----------------------------------------------------------------------------------


def tool(name: str) -> str:
    """The full path of what the caller's PATH has: compilers are not always Debian's."""
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is not installed; scripts/test installs what tests need")
    return path


def build(directory: Path, *command: str | Path) -> None:
    """In the environment of whoever runs the tests, which says where to get packages from."""
    environment = {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "1"}
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
    )
    Outcome([str(word) for word in command], done.returncode, done.stdout).or_fail()


def installed(source: Path, install: Callable[[Path], None]) -> Path:
    """A copy of `source` that `install` completed, now or in an earlier run."""
    digest = hashlib.sha256()
    for file in sorted(file for file in source.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(source)}\0".encode() + file.read_bytes() + b"\0")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = caches / "pki-tests"
    cache.mkdir(parents=True, exist_ok=True)
    complete = cache / f"{source.name}-{digest.hexdigest()[:16]}"
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                copy = Path(scratch) / source.name
                shutil.copytree(source, copy)
                install(copy)
                copy.rename(complete)
    return complete


# --- What every client is asked -------------------------------------------------------------------


class Client:
    """A program that connects as it is told, then prints what QUERY answers, or why it cannot."""

    name: str  # with {} for the version
    kind: str  # of `pki config`
    wrong_name: str  # its own words for a refusal
    wrong_root: str
    source = ""  # its directory in clients/, unless Debian has the program
    pin: tuple[str, str]  # a file there, and the text in it that the version follows

    @staticmethod
    def install(directory: Path) -> None:
        """By its ordinary means, in a copy of the source."""
        raise NotImplementedError

    def command(self, printed: Path) -> Sequence[str | Path]:
        """The client with the configuration in the file `printed`; QUERY comes last."""
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        file, before = cls.pin
        text = (SOURCES / cls.source / file).read_text()
        return re.search(re.escape(before) + r"([\d.]+)", text)[1]

    @classmethod
    def setUpClass(cls) -> None:
        if cls.source:
            cls.home = installed(SOURCES / cls.source, cls.install)

    def test_client(self) -> None:
        with contextlib.ExitStack() as logs:
            for daemon in daemons:
                logs.enter_context(daemon.log_shown_on_failure())
            for server in servers:
                self.assert_connects(server, "web_user", PGPASSWORD=PASSWORD)
                self.assert_connects(server, "app_user")
                self.assert_refuses(server, self.wrong_name, server.host, "otherhost")
                other = workspace / "other.pem"
                self.assert_refuses(server, self.wrong_root, str(root), str(other))
        titles = " and ".join(server.title for server in servers)
        print(
            f"{self.name.format(self.version())}: {titles}, with password and with certificate;"
            " another name and another root refused",
            file=sys.stderr,
        )

    def assert_connects(self, server: Server, role: str, **environment: str) -> None:
        outcome = self.connect(self.printed(server, role), environment)
        answer = server.answers[role]
        self.assertEqual((outcome.status, outcome.output), (0, f"{answer}\n"), outcome)

    def assert_refuses(self, server: Server, reason: str, right: str, wrong: str) -> None:
        """For this reason alone: nothing else in the configuration differs."""
        printed = self.printed(server, "web_user")
        self.assertIn(right, printed)
        outcome = self.connect(printed.replace(right, wrong), {"PGPASSWORD": PASSWORD})
        self.assertNotEqual(outcome.status, 0, outcome)
        self.assertIn(reason, outcome.output, outcome)

    def printed(self, server: Server, role: str) -> str:
        config = [pki, "config", self.kind, server.host, "--user", role, "--dbname", DATABASE]
        return run([*config, "--port", str(server.port)], workspace).or_fail().output

    def connect(self, printed: str, environment: dict[str, str]) -> Outcome:
        with tempfile.TemporaryDirectory(dir=workspace) as scratch:
            file = Path(scratch) / "printed"
            file.write_text(printed)
            environment = {
                "LD_PRELOAD": "libnss_wrapper.so",
                "NSS_WRAPPER_HOSTS": str(hosts),
                "GODEBUG": "netdns=cgo",  # else Go reads /etc/hosts by itself
                **environment,
            }
            variables = [f"{name}={value}" for name, value in environment.items()]
            return run(["env", *variables, *map(str, self.command(file)), QUERY])


# --- Clients --------------------------------------------------------------------------------------


class Libpq(Client):
    wrong_name = 'does not match host name "otherhost"'
    wrong_root = "certificate verify failed"


def with_variables(printed: Path, *command: str | Path) -> Sequence[str | Path]:
    """A command in a shell that has read what `pki config libpq-env` prints."""
    return ["sh", "-c", '. "$0" && exec "$@"', printed, *command]


class Psql(Libpq):
    options = "--no-psqlrc --no-password --tuples-only --no-align --command"

    @classmethod
    def version(cls) -> str:
        return run([program("psql"), "--version"]).or_fail().output.split()[2]


class PsqlWithUrl(Psql, unittest.TestCase):
    name = "psql {} with a URL"
    kind = "psql"
    line = 0

    def command(self, printed: Path) -> Sequence[str | Path]:
        line = printed.read_text().splitlines()[self.line]
        return ["sh", "-c", f'{line} {self.options} "$0"']


class PsqlWithConninfo(PsqlWithUrl):
    name = "psql {} with a connection string"
    line = 1


class PsqlWithVariables(Psql, unittest.TestCase):
    name = "psql {} with environment variables"
    kind = "libpq-env"

    def command(self, printed: Path) -> Sequence[str | Path]:
        return with_variables(printed, "psql", *self.options.split())


class Psycopg(Libpq, unittest.TestCase):
    name = "psycopg {}"
    kind = "libpq-env"
    source = "psycopg"
    pin = ("requirements.txt", "psycopg[binary]==")

    @staticmethod
    def install(directory: Path) -> None:
        build(directory, sys.executable, "-m", "venv", "venv")
        pip = ["venv/bin/python", "-m", "pip", "--disable-pip-version-check", "install"]
        build(directory, *pip, "--only-binary", ":all:", "--requirement", "requirements.txt")

    def command(self, printed: Path) -> Sequence[str | Path]:
        return with_variables(printed, self.home / "venv/bin/python", self.home / "client.py")


class Rails(Libpq, unittest.TestCase):
    """Active Record is the part of Rails that reads database.yml."""

    name = "Rails (Active Record {})"
    kind = "rails"
    ruby = "/usr/bin/ruby"  # no other one finds Debian's packages

    @classmethod
    def version(cls) -> str:
        show = ["-r", "active_record", "-e", "print ActiveRecord.version"]
        return run([cls.ruby, *show]).or_fail().output

    def command(self, printed: Path) -> Sequence[str | Path]:
        return [self.ruby, SOURCES / "rails" / "client.rb", printed]


class NodePostgres(Client, unittest.TestCase):
    name = "node-postgres {}"
    kind = "node"
    source = "node-postgres"
    pin = ("package.json", '"pg": "')
    wrong_name = "Host: otherhost. is not in the cert's altnames: DNS:"
    wrong_root = "self-signed certificate in certificate chain"

    @staticmethod
    def install(directory: Path) -> None:
        build(directory, tool("npm"), "ci", "--no-audit", "--no-fund")

    def command(self, printed: Path) -> Sequence[str | Path]:
        return [tool("node"), self.home / "client.js", printed]


class Pgjdbc(Client, unittest.TestCase):
    name = "pgjdbc {}"
    kind = "jdbc"
    source = "pgjdbc"
    pin = ("pom.xml", "<pgjdbc.version>")
    wrong_name = "The hostname otherhost could not be verified"
    wrong_root = "unable to find valid certification path"

    @staticmethod
    def install(directory: Path) -> None:
        copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
        build(directory, tool("mvn"), "-q", "-B", copy, "-DoutputDirectory=lib")
        build(directory, tool("javac"), "-d", "lib", "Client.java", "Verify.java")

    def command(self, printed: Path) -> Sequence[str | Path]:
        lib = self.home / "lib"
        # A short life: no time for the optimizing compiler.
        return [tool("java"), "-XX:TieredStopAtLevel=1", "-cp", f"{lib}:{lib}/*", "Client", printed]


class PgjdbcWithPkcs12(Pgjdbc):
    name = "pgjdbc {} with PKCS #12"

    def printed(self, server: Server, role: str) -> str:
        url = super().printed(server, role).strip()
        return url.replace("key.pk8", "key.p12") + f"&sslpassword={PASSWORD}"


class Pgx(Client, unittest.TestCase):
    name = "pgx {}"
    kind = "go"
    source = "pgx"
    pin = ("go.mod", "github.com/jackc/pgx/v5 v")
    wrong_name = "not otherhost"
    wrong_root = "x509: certificate signed by unknown authority"

    @staticmethod
    def install(directory: Path) -> None:
        build(directory, tool("go"), "build", "-o", "verify/verify", "./verify")

    def command(self, printed: Path) -> Sequence[str | Path]:
        """What is printed is a part of the source."""
        module = printed.with_name("module")
        shutil.copytree(self.home, module)
        template = (module / "connect.go.in").read_text()
        (module / "connect.go").write_text(template.replace("PRINTED", printed.read_text()))
        build(module, tool("go"), "build", "-o", "client", ".")
        return [module / "client"]


class TokioPostgres(Client, unittest.TestCase):
    name = "tokio-postgres {} with rustls"
    kind = "libpq-env"
    source = "tokio-postgres"
    pin = ("Cargo.toml", 'tokio-postgres = "=')
    wrong_name = 'certificate not valid for name "otherhost"'
    wrong_root = "invalid peer certificate: UnknownIssuer"

    @staticmethod
    def install(directory: Path) -> None:
        with tempfile.TemporaryDirectory() as target:
            cargo = [tool("cargo"), "install", "--quiet", "--debug", "--target-dir", target]
            build(directory, *cargo, "--path", ".", "--root", ".")

    def command(self, printed: Path) -> Sequence[str | Path]:
        return with_variables(printed, self.home / "bin" / "client")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    unittest.main()
