#!/usr/bin/python3
"""`pki --user`, `--profile` and `pki config`: database users log in by certificate, for real.

One PostgreSQL and three PgBouncers run with nothing but what pki made and printed: PostgreSQL with
`hostssl ... cert`, PgBouncer with `auth_type = cert`, with an hba file, and on its way to a
PostgreSQL that it verifies. Everything is in a directory whose name shells, libpq and the servers'
files each read in their own way.

    PKI=build/pki tests/e2e/client_certificates.py

Runs as root or as any user who may sudo.
"""

import atexit
import json
import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import unittest
from pathlib import Path
from typing import NamedTuple

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
)
from support import (
    FIT,
    OID_COMMON_NAME,
    OID_EXTENDED_KEY_USAGE,
    OID_SUBJECT_ALT_NAME,
    Case,
    Certificate,
    der_values,
    fresh,
    make_root,
    openssl,
    program,
    public_key,
    quoted,
    with_root,
)

# What PostgreSQL allows and a directory can be called. Every one of them logs in, below.
ROLES = [
    "app_user",
    "_app",
    "a",
    "1st",
    "App_User",
    "APP",
    "app.user",
    "a..b",
    "app.",
    "app-user",
    "app@corp.example",
    "app$1",
    "app+x",
    "r" * 63,
]


def setUpModule() -> None:
    # unittest skips the clean-ups when it is interrupted. Asked for twice, they still run once.
    atexit.register(unittest.doModuleCleanups)
    os.umask(0o022)
    for name in ("openssl", "psql", "postgres", "pgbouncer"):
        if shutil.which(name, path=servers.PROGRAM_PATH) is None:
            raise FileNotFoundError(
                f"{name} is not installed: apt-get install openssl postgresql pgbouncer"
            )
    global PKI, stage
    PKI = [str(program())]
    # Not a backslash: see Paths.
    stage = Stage('it\'s a "dir" ; # $HOME %41 = \u00e9')


# --- Certificates ---------------------------------------------------------------------------------

SERVER_AUTH = bytes.fromhex("2b06010505070301")
CLIENT_AUTH = bytes.fromhex("2b06010505070302")


def usages(certificate: Certificate) -> list[bytes]:
    (sequence,) = der_values(certificate.extensions[OID_EXTENDED_KEY_USAGE][1])
    return [oid for _, oid, _ in der_values(sequence[1])]


def subject(certificate: Certificate) -> list[tuple[bytes, bytes]]:
    """Every attribute of the subject and its value."""
    (sequence,) = der_values(certificate.subject)
    attributes = []
    for _, relative_name, _ in der_values(sequence[1]):
        for _, attribute, _ in der_values(relative_name):
            (_, oid, _), (_, value, _) = der_values(attribute)
            attributes.append((oid, value))
    return attributes


class Users(Case):
    def assert_client(self, directory: Path, role: str, trust: Path | None = None) -> None:
        """A client certificate whose subject is the role and nothing else."""
        path = directory / role / "cert.pem"
        made = Certificate(path)
        self.assertEqual(subject(made), [(OID_COMMON_NAME, role.encode())])
        # PgBouncer would match these with the role, too.
        self.assertNotIn(OID_SUBJECT_ALT_NAME, made.extensions)
        self.assertEqual(usages(made), [CLIENT_AUTH])
        key = directory / role / "key.pem"
        self.assertEqual(public_key(key.read_bytes()), made.key)
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        trust = trust or directory / "minica.pem"
        openssl("verify -x509_strict -purpose sslclient -CAfile", trust, path)
        with self.assertRaisesRegex(AssertionError, "openssl verify"):
            openssl("verify -purpose sslserver -CAfile", trust, path)

    def issue(self, directory: Path, *arguments) -> None:
        run = self.pki(directory, *arguments)
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, b"", b""))

    def test_roles(self):
        for role in ROLES:
            with self.subTest(role):
                directory = fresh()
                self.issue(directory, "--user", role)
                self.assert_client(directory, role)
                self.assert_unchanged(directory, "--user", role, leaf=role)

    def test_no_roles(self):
        for value in (
            *(
                b".",
                b"..",
                b"...",
                b".app",
                b"-app",
                b"--",
                b"../app",
                b"/app",
                b"a/b",
                b"a/",
                b"/",
            ),
            *(b" ", b" app", b"app ", b"a b", b"'app'", b"a'b", b'"app"', b'a"b', b"a`b", b"a\\b"),
            *(b"a\nb", b"app\n", b"a\tb", b"a\rb", b"\x1b[31m", b"a\x7f", b"a\x01b"),
            *(b"a:b", b"a;b", b"a=b", b"a*b", b"*", b"a?b", b"a%b", b"a|b", b"a&b", b"a#b", b"a~b"),
            *(b"(a)", b"[a]", b"{a}", b"<a>", b"a!", b"a^b", b"$a", b"@a", b"+a", b"$(id)"),
            *("\u00fcser".encode(), "app\u00fc".encode(), "\u202eapp".encode(), b"app\xff"),
            *(b"r" * 64, b"r" * 300),
        ):
            with self.subTest(value):
                self.assert_refused(fresh(), "--user", value, says=["--user", quoted(value)])
                self.assert_refused(with_root(), "--user", b"app," + value, says=[quoted(value)])

    def test_lists(self):
        for arguments, roles in (
            (["--user", "a,b"], ["a", "b"]),
            (["--user", "a", "--user", "b"], ["a", "b"]),
            (["-user=a,b", "--user=c"], ["a", "b", "c"]),
            (["--user", "app,App"], ["app", "App"]),  # a role's case counts, unlike a host's
        ):
            with self.subTest(arguments=arguments):
                directory = fresh()
                self.issue(directory, *arguments)
                for role in roles:
                    self.assert_client(directory, role)
        for value in ("a,", ",a", "a,,b", ",", "a, b"):
            with self.subTest(value):
                self.assert_refused(fresh(), "--user", value, says=["--user"])
        with self.subTest("twice"):
            directory = fresh()
            self.issue(directory, "--user", "a,a")
            self.assert_client(directory, "a")

    def test_one_of_a_list_is_refused(self):
        """Then none is made: half of what was asked for is nobody's wish."""
        for request, says in (
            (("--user", "a,b", "--days", "50"), ["b/cert.pem", "differs"]),
            (("--user", "a,minica.pem"), ["minica.pem"]),
        ):
            with self.subTest(request=request):
                directory = with_root()
                self.issue(directory, "--user", "b", "--days", "40")
                self.assert_refused(directory, *request, says=says)

    def test_taken_names(self):
        for name in (
            "minica.pem",
            "minica-key.pem",
            "minica-index.txt",
            "minica-crl.pem",
            "Minica.PEM",
        ):
            with self.subTest(name):
                self.assert_refused(fresh(), "--user", name, says=[quoted(name.encode())])
        with self.subTest("a host's directory"):
            directory = with_root()
            self.issue(directory, "--domains", "app")
            self.assert_refused(directory, "--user", "app", says=["app/cert.pem", "differs"])
        with self.subTest("a user's directory"):
            directory = with_root()
            self.issue(directory, "--user", "app")
            self.assert_refused(directory, "--domains", "app", says=["app/cert.pem", "differs"])

    def test_wrong_usage(self):
        for arguments in (
            ["--user", "app", "--domains", "a.test"],
            ["--user", "app", "--ip-addresses", "192.0.2.1"],
            ["--user", "app", "--profile", "server"],
            ["--user", "app", "--profile", "peer"],
            ["--user", "app", "--profile", ""],
            ["--user", "app", "--profile", "user"],
            ["--user"],
            ["--user", "app", "other"],
        ):
            with self.subTest(arguments=arguments):
                self.assert_refused(fresh(), *arguments, status=2)

    def test_profiles(self):
        for profile, expected in (
            (None, [SERVER_AUTH]),
            ("server", [SERVER_AUTH]),
            ("client", [CLIENT_AUTH]),
            ("peer", [SERVER_AUTH, CLIENT_AUTH]),
        ):
            with self.subTest(profile=profile):
                directory = fresh()
                options = ["--profile", profile] if profile else []
                self.issue(directory, "--domains", "a.test", *options)
                made = Certificate(directory / "a.test" / "cert.pem")
                self.assertEqual((usages(made), made.names), (expected, ["DNS:a.test"]))
                self.assert_unchanged(directory, "--domains", "a.test", *options, leaf="a.test")
                other = "server" if profile in ("client", "peer") else "client"
                self.assert_refused(
                    directory, "--domains", "a.test", "--profile", other, says=["usage", other]
                )
        for profile in ("", "root", "Server", "server,client", "\x1b[31m"):
            with self.subTest(profile=profile):
                self.assert_refused(
                    fresh(),
                    "--domains",
                    "a.test",
                    f"--profile={profile}",
                    says=["--profile"],
                    status=2,
                )
        with self.subTest("--user with the profile it has"):
            directory = fresh()
            self.issue(directory, "--user", "app_user", "--profile", "client")
            self.assert_client(directory, "app_user")

    def test_name_constrained_root(self):
        """OpenSSL takes a common name for a host name if it looks like one and there is no SAN."""
        root = make_root(extensions=FIT + "nameConstraints=critical,permitted;DNS:corp.example\n")
        for role in ("app_user", "app", "app.corp.example"):
            with self.subTest(role):
                directory = with_root(root)
                run = self.pki(directory, "--user", role)
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertRegex(
                    run.stderr,
                    rb"\Apki: warning: minica\.pem has name constraints"
                    rb"[\x20-\x7e]*\n\Z",
                )
                self.assertIn(role, run.stderr.decode())
                self.assert_client(directory, role)
        for role in ("app.user", "app.corp.example.test"):
            with self.subTest(role):
                self.assert_refused(with_root(root), "--user", role, says=["minica.pem", "subtree"])
        with self.subTest("one of a list"):
            self.assert_refused(with_root(root), "--user", "app,app.user", says=["app.user"])

    def test_json(self):
        directory = fresh()
        run = self.pki(directory, "--json", "--user", "app_user,other")
        self.assertEqual((run.returncode, run.stderr), (0, b""))
        documents = json.loads(run.stdout)
        self.assertEqual([document["name"] for document in documents], ["app_user", "other"])
        for document in documents:
            path = directory / document["name"] / "cert.pem"
            self.assertEqual(document["certificate"], str(path))
            self.assertEqual(document["key"], str(path.with_name("key.pem")))
            self.assertEqual((document["common_name"], document["names"]), (document["name"], []))
            shown = openssl("x509 -noout -serial -fingerprint -sha256 -in", path).decode()
            self.assertIn(f"serial={document['serial']}\n", shown)
            self.assertIn(f"={document['sha256_fingerprint']}\n", shown)
            end = Certificate(path).validity[1].strftime("%Y-%m-%dT%H:%M:%SZ")
            self.assertEqual(document["not_after"], end)
        # One user or several: whoever reads it need not ask.
        one = json.loads(self.pki(directory, "--json", "--user", "app_user").stdout)
        self.assertEqual([document["status"] for document in one], ["unchanged"])


# --- Logging in -----------------------------------------------------------------------------------

SUPERUSER, PASSWORD = "super", "secret"

BY_PASSWORD = "by_password"  # has a password, and no certificate
NEWCOMER = "newcomer"  # whose certificate is not made until a test does

LOGINS = [*ROLES, "alice", BY_PASSWORD, NEWCOMER]

# What only PgBouncer may do is to log in to this database with a password.
POOLED = "pooled"


class QuietPgBouncer(PgBouncer):
    """One that pg_isready cannot ask, for want of a certificate."""

    def is_ready(self) -> bool:
        return "process up" in self.log()


class Stage:
    """The servers, and the directory with all certificates."""

    def __init__(self, name: str) -> None:
        top = unittest.enterModuleContext(temporary_directory())
        self.directory = top / name
        self.directory.mkdir()
        (self.directory / "other").mkdir()
        (self.directory / "hosts").mkdir()
        self.issue("--user", ",".join([*ROLES, "alice"]))
        # As the servers' own, but their keys are not the service's: psql must be able to read them.
        for host in ("app", "alice"):
            self.issue("--domains", host, "--out", "hosts")
        self.issue(
            "--user",
            "app_user",
            "--out",
            "other",
            "--ca-cert",
            "other.pem",
            "--ca-key",
            "other-key.pem",
        )
        for host in (
            ["--domains", "bouncerhost"],
            ["--domains", "dbhost", "--ip-addresses", "127.0.0.1"],
        ):
            run(as_root(*PKI, *host, "--owner", "postgres"), self.directory).or_fail()

        self.postgres = self.start_postgres(top)
        pooled = f"host=127.0.0.1 port={self.postgres.port}"
        users = dict.fromkeys(LOGINS, PASSWORD)

        def pgbouncer(kind: type[PgBouncer], name: str, *options: str, settings=()) -> PgBouncer:
            included = top / f"{name}.ini"
            included.write_text(self.config("pgbouncer", "bouncerhost", *options))
            server = kind(top / name, {POOLED: pooled}, users, [*settings, f"%include {included}"])
            return unittest.enterModuleContext(server)

        hba = top / "pg_hba.conf"
        hba.write_text(
            f"hostssl all {BY_PASSWORD} 127.0.0.1/32 scram-sha-256\n"
            "hostssl all all 127.0.0.1/32 cert\n"
        )
        self.by_type = pgbouncer(QuietPgBouncer, "cert", "--require-client-cert")
        self.by_hba = pgbouncer(
            PgBouncer, "hba", settings=["auth_type = hba", f"auth_hba_file = {hba}"]
        )
        self.verifying = pgbouncer(
            QuietPgBouncer,
            "verifying",
            "--require-client-cert",
            "--server-ca",
            str(self.directory / "minica.pem"),
        )

    def start_postgres(self, top: Path) -> Postgres:
        """With what is printed for it: settings to include, and a line for pg_hba.conf."""
        printed = self.config("postgres", "dbhost", "--require-client-cert")
        (top / "tls.conf").write_text(printed)
        (top / "postgresql.conf").write_text(f"include '{top / 'tls.conf'}'\n")
        (rule,) = (line[2:] for line in printed.splitlines() if line.startswith("# hostssl"))
        server = Postgres(
            top / "postgres",
            SUPERUSER,
            PASSWORD,
            access_rules=f"host all {SUPERUSER} 127.0.0.1/32 scram-sha-256\n"
            f"host {POOLED} all 127.0.0.1/32 scram-sha-256\n{rule}\n",
            settings={"config_file": str(top / "postgresql.conf")},
        )
        unittest.enterModuleContext(server)
        statements = [f"CREATE DATABASE {POOLED}"] + [
            f"CREATE ROLE \"{role}\" LOGIN PASSWORD '{PASSWORD}'" for role in LOGINS
        ]
        command = psql(
            *("--quiet", "--set=ON_ERROR_STOP=1"),
            *(f"--command={text}" for text in statements),
            host="127.0.0.1",
            port=server.port,
            user=SUPERUSER,
            password=PASSWORD,
            dbname="postgres",
        )
        run(command).or_fail()
        return server

    def issue(self, *arguments: str) -> None:
        run([*PKI, *arguments], self.directory).or_fail()

    def config(self, *arguments: str) -> str:
        return run([*PKI, "config", *arguments], self.directory).or_fail().output

    def servers(self) -> dict[str, tuple[int, str, str]]:
        """Port, host name and database of each server that asks for certificates."""
        return {
            "PostgreSQL": (self.postgres.port, "dbhost", "postgres"),
            "PgBouncer, auth_type = cert": (self.by_type.port, "bouncerhost", POOLED),
            "PgBouncer, auth_type = hba": (self.by_hba.port, "bouncerhost", POOLED),
            "PgBouncer that verifies": (self.verifying.port, "bouncerhost", POOLED),
        }

    def login(self, server: str, user: str, identity: str | None, **more) -> list[str]:
        """The command that asks `server` who one is, with the pair in the directory `identity`."""
        port, host, database = self.servers()[server]
        files = {}
        if identity is not None:
            leaf = self.directory / identity
            files = {"sslcert": leaf / "cert.pem", "sslkey": leaf / "key.pem"}
        return psql(
            *("--tuples-only", "--no-align", "--command=SELECT current_user"),
            host=host,
            hostaddr="127.0.0.1",
            port=port,
            user=user,
            dbname=database,
            sslmode="verify-full",
            sslrootcert=self.directory / "minica.pem",
            **files,
            **more,
        )

    def log_in(self, server: str, user: str, identity: str | None, **more) -> Outcome:
        return run(self.login(server, user, identity, **more))


class Refusal(NamedTuple):
    what: str
    identity: str | None
    user: str
    postgres: str
    by_type: str
    by_hba: str

    def message(self, server: str) -> str:
        return {"PostgreSQL": self.postgres, "PgBouncer, auth_type = hba": self.by_hba}.get(
            server, self.by_type
        )


def refusals() -> list[Refusal]:
    def everywhere(what: str, identity: str, user: str, message: str) -> Refusal:
        return Refusal(what, identity, user, message, message, message)

    unsupported = "SSL error: sslv3 alert unsupported certificate"
    mismatch = "FATAL:  certificate authentication failed"
    return [
        Refusal(
            "another user", "app_user", "alice", f'{mismatch} for user "alice"', mismatch, mismatch
        ),
        Refusal(
            "a role that differs in a dot",
            "app.user",
            "app_user",
            f'{mismatch} for user "app_user"',
            mismatch,
            mismatch,
        ),
        everywhere("a server's certificate", "hosts/app", "app_user", unsupported),
        # PgBouncer matches any name in a certificate with the role.
        everywhere("the certificate of a host called alice", "hosts/alice", "alice", unsupported),
        everywhere(
            "another root's", "other/app_user", "app_user", "SSL error: tlsv1 alert unknown ca"
        ),
        Refusal(
            "none",
            None,
            "app_user",
            "FATAL:  connection requires a valid client certificate",
            "SSL error: sslv3 alert handshake failure",
            mismatch,
        ),
    ]


class LogIn(unittest.TestCase):
    def assert_in(self, outcome: Outcome, user: str) -> None:
        self.assertEqual((outcome.status, outcome.output), (0, f"{user}\n"), outcome)

    def test_every_role_logs_in_without_a_password(self) -> None:
        for server in stage.servers():
            for role in ROLES:
                with self.subTest(server, role=role):
                    self.assert_in(stage.log_in(server, role, role), role)

    def test_refused(self) -> None:
        for server in stage.servers():
            for refusal in refusals():
                with self.subTest(server, what=refusal.what):
                    # In TLS 1.3 the client is through with the handshake before the server refuses
                    # its certificate, and may or may not come to read why.
                    for version in ("TLSv1.3", "TLSv1.2"):
                        outcome = stage.log_in(
                            server,
                            refusal.user,
                            refusal.identity,
                            ssl_max_protocol_version=version,
                            ssl_min_protocol_version=version,
                        )
                        self.assertNotEqual(outcome.status, 0, outcome)
                        self.assertIn("failed: ", outcome.output)
                    self.assertIn(f"failed: {refusal.message(server)}\n", outcome.output)

    def test_pgbouncer_names_the_reason_in_its_log(self) -> None:
        stage.log_in("PgBouncer, auth_type = cert", "alice", "app_user")
        self.assertIn("TLS certificate name mismatch", stage.by_type.log())

    def test_verified_way_to_the_database(self) -> None:
        """--server-ca: with another root the database is refused."""
        included = stage.config(
            "pgbouncer", "bouncerhost", "--server-ca", str(stage.directory / "other.pem")
        )
        with temporary_directory() as top:
            (top / "tls.ini").write_text(included)
            database = f"host=127.0.0.1 port={stage.postgres.port}"
            settings = [f"%include {top / 'tls.ini'}", "query_wait_timeout = 1"]
            with PgBouncer(
                top / "pgbouncer", {POOLED: database}, {BY_PASSWORD: PASSWORD}, settings
            ) as server:
                command = psql(
                    "--command=SELECT 1",
                    host="bouncerhost",
                    hostaddr="127.0.0.1",
                    port=server.port,
                    user=BY_PASSWORD,
                    password=PASSWORD,
                    dbname=POOLED,
                    sslmode="verify-full",
                    sslrootcert=stage.directory / "minica.pem",
                )
                self.assertNotEqual(run(command).status, 0)
                servers.wait_until(
                    lambda: "certificate verify failed" in server.log(),
                    "PgBouncer logs why it does not trust the database",
                )


# --- What is pasted -------------------------------------------------------------------------------


def shell(script: str, *arguments: str, **variables: str) -> Outcome:
    """What a shell makes of it. With PGHOSTADDR, any host name leads to this machine."""
    command = ["sh", "-eu", "-c", script, "sh", *arguments]
    done = subprocess.run(
        command,
        env=servers.ENVIRONMENT | {"PGHOSTADDR": "127.0.0.1"} | variables,
        cwd="/",
        input="SELECT 'in as ' || current_user;\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=servers.PATIENCE,
    )
    return Outcome(command, done.returncode, done.stdout)


class Pasted(unittest.TestCase):
    def assert_in(self, outcome: Outcome, user: str) -> None:
        self.assertEqual(outcome.status, 0, outcome)
        self.assertIn(f"in as {user}\n", outcome.output)

    def check_kinds(self, role: str, **variables: str) -> None:
        for server, (port, host, database) in stage.servers().items():
            if role == BY_PASSWORD and server != "PgBouncer, auth_type = hba":
                continue
            target = (host, "--port", str(port), "--dbname", database)
            with self.subTest("psql", server=server, role=role):
                lines = stage.config("psql", *target, "--user", role).splitlines()
                self.assertEqual(len(lines), 2, "a URL and a conninfo string")
                for line in lines:
                    self.assert_in(shell(line, **variables), role)
            with self.subTest("libpq-env", server=server, role=role):
                file = stage.directory / f"env of {role}"
                file.write_text(stage.config("libpq-env", *target, "--user", role))
                self.assert_in(shell('. "$1"; exec psql', str(file), **variables), role)

    def test_psql_and_libpq_env(self) -> None:
        for role in ROLES:
            self.check_kinds(role)
        # Without a certificate there, none is named.
        self.check_kinds(BY_PASSWORD, PGPASSWORD=PASSWORD)

    def test_key_of_a_service(self) -> None:
        """--owner: the user that the service runs as logs in, and psql has nothing to complain."""
        service = pwd.getpwnam("nobody")
        issue = [*PKI, "--user", "app_user", "--owner", "nobody", "--out", "hosts"]
        run(as_root(*issue), stage.directory).or_fail()
        ids = (f"--reuid={service.pw_uid}", f"--regid={service.pw_gid}", "--clear-groups")
        for server in stage.servers():
            with self.subTest(server):
                command = stage.login(server, "app_user", "hosts/app_user")
                outcome = run(as_root("setpriv", *ids, "--", *command))
                self.assertEqual((outcome.status, outcome.output), (0, "app_user\n"), outcome)

    def test_what_the_terminal_says(self) -> None:
        said = run_in_terminal([*PKI, "--user", NEWCOMER], directory=stage.directory)
        (line,) = (
            line for line in said.or_fail().output.splitlines() if line.startswith("  psql ")
        )
        psql_line = shlex.split(line)
        for server, (port, host, database) in stage.servers().items():
            with self.subTest(server):
                conninfo = psql_line[1]
                for placeholder, value in (
                    ("host=HOST", f"host={host}"),
                    ("port=6432", f"port={port}"),
                    ("dbname=DB", f"dbname={database}"),
                ):
                    self.assertIn(placeholder, conninfo)
                    conninfo = conninfo.replace(placeholder, value)
                self.assert_in(shell('exec psql "$1"', conninfo), NEWCOMER)


class Paths(Case):
    """Names of directories that only some of the readers could take: they work or are refused."""

    def test_backslash(self) -> None:
        """An escape character in postgresql.conf and in conninfo, and in pgbouncer.ini none."""
        with temporary_directory() as top:
            directory = top / r"back\slash \n \\ '\''"
            directory.mkdir()
            run(
                as_root(*PKI, "--domains", "dbhost,bouncerhost", "--owner", "postgres"),
                directory,
            ).or_fail()

            def config(*arguments: str) -> str:
                return run([*PKI, "config", *arguments], directory).or_fail().output

            (top / "tls.ini").write_text(config("pgbouncer", "dbhost"))
            (top / "tls.conf").write_text(config("postgres", "dbhost"))
            (top / "postgresql.conf").write_text(f"include '{top / 'tls.conf'}'\n")
            with self.subTest("pgbouncer"):
                bouncer = PgBouncer(top / "pgbouncer", {}, {}, [f"%include {top / 'tls.ini'}"])
                with bouncer:
                    pass
            with self.subTest("postgres, psql and libpq-env"):
                server = Postgres(
                    top / "postgres",
                    SUPERUSER,
                    PASSWORD,
                    access_rules="hostssl all all all scram-sha-256\n",
                    settings={"config_file": str(top / "postgresql.conf")},
                )
                with server:
                    target = (
                        "dbhost",
                        "--port",
                        str(server.port),
                        "--dbname",
                        "postgres",
                        "--user",
                        SUPERUSER,
                    )
                    (top / "env").write_text(config("libpq-env", *target))
                    for script in (
                        *config("psql", *target).splitlines(),
                        f". {top / 'env'}; exec psql",
                    ):
                        outcome = shell(script, PGPASSWORD=PASSWORD)
                        self.assertIn(f"in as {SUPERUSER}\n", outcome.output, outcome)

    def test_control_bytes(self) -> None:
        """A line of its own in pgbouncer.ini would be a setting: no file can hold such a path."""
        kinds = ("pgbouncer", "postgres", "psql", "libpq-env", "jdbc", "rails", "node", "go")
        for name in ("new\nadmin_users = app", "cr\rcr", "esc\x1b[31m", "tab\ttab"):
            directory = fresh() / name
            directory.mkdir()
            self.assertEqual(self.pki(directory, "--domains", "bouncerhost").returncode, 0)
            for kind in kinds:
                with self.subTest(name, kind=kind):
                    self.assert_refused(directory, "config", kind, "bouncerhost")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    unittest.main()
