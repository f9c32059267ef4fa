#!/usr/bin/python3
"""Every certificate is renewed twenty times, and then the root is replaced, while clients connect.

PgBouncer and PostgreSQL verify each other and their clients, with what pki made and printed. Four
loads of new connections never stop meanwhile: of clients that have only the root of the beginning,
of clients that follow the bundle, and of clients that log in with a certificate, to either server.
Not one connection may fail, for whatever reason. And no step is taken before clients of every kind
have come since the last one.

    PKI=build/pki tests/e2e/rotation_under_load.py

Runs as root or as any user who may sudo.
"""

import os
import re
import shutil
import signal
import subprocess
import unittest
from collections import Counter
from pathlib import Path

import servers
from servers import (
    Outcome,
    PgBouncer,
    Postgres,
    as_root,
    psql,
    run,
    temporary_directory,
    wait_until,
)
from support import program

SUPERUSER, PASSWORD, DATABASE = "super", "secret", "postgres"

# One role for each kind of client: the logs tell them apart.
OLD_ROOT = "old_root"  # hears of no other root than that of the beginning
BUNDLE = "bundle"  # is given minica.pem anew when it has changed
BY_CERTIFICATE = "by_certificate"  # the same, and logs in to PgBouncer by certificate
DIRECT = "direct"  # logs in to PostgreSQL by certificate, with the old root as long as that lives
ROLES = (OLD_ROOT, BUNDLE, BY_CERTIFICATE, DIRECT)
CERTIFIED = (BY_CERTIFICATE, DIRECT)
POOLED = (OLD_ROOT, BUNDLE, BY_CERTIFICATE)

HOSTS = ("bouncerhost", "dbhost")
LEAVES = (*HOSTS, *CERTIFIED)

RENEWALS = 20
THREADS = 2  # of each kind
# Of each kind, from one step to the next. A few of them were under way at the step.
CONNECTIONS_PER_STEP = 8


class Load:
    """pgbench, which makes a new connection for every transaction, until it is stopped.

    The first failure ends a thread of it, with a message.
    """

    def __init__(self, script: Path, output: Path, conninfo: str) -> None:
        self._output = output
        options = ["--connect", "--no-vacuum", f"--client={THREADS}", f"--jobs={THREADS}"]
        command = [servers.program("pgbench"), *options, "--time=9999", f"--file={script}"]
        with open(output, "wb") as log:
            self._process = subprocess.Popen(
                [*command, conninfo],
                cwd="/",
                env=servers.ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def check(self) -> None:
        output = self._output.read_text()
        if "error:" in output or self._process.poll():
            raise AssertionError(output)

    def stop(self) -> int:
        """Returns how many connections it made, none of which failed."""
        # The signal that --time has it end with, report and all.
        self._process.send_signal(signal.SIGALRM)
        wait_until(lambda: self._process.poll() is not None, f"{self._output} is complete")
        self.check()
        report = self._output.read_text()
        return int(re.search(r"transactions actually processed: (\d+)", report)[1])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Tally:
    """How often each role is in a growing log, in lines of one kind."""

    def __init__(self, server: servers.Daemon, kind: str) -> None:
        """kind is a regular expression, with the role as its group."""
        self._log = open(server._log_file)
        self._kind = re.compile(kind)
        self._rest = ""
        self._count = Counter()

    def count(self) -> Counter:
        *lines, self._rest = (self._rest + self._log.read()).split("\n")
        self._count.update(found[1] for found in map(self._kind.search, lines) if found)
        return Counter(self._count)

    def close(self) -> None:
        self._log.close()


def certificates(path: Path) -> list[str]:
    """All that the file has."""
    return re.findall("-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----", path.read_text())


class RotationUnderLoad(unittest.TestCase):
    def setUp(self) -> None:
        self.top = self.enterContext(temporary_directory())
        self.directory = self.top / "tls"
        self.directory.mkdir()
        for request in (
            ("--domains", "bouncerhost"),
            ("--domains", "dbhost", "--ip-addresses", "127.0.0.1"),
        ):
            self.pki(*request, "--owner", "postgres")
        self.pki("--user", ",".join(CERTIFIED))

        self.script = self.top / "script.sql"
        self.script.write_text("SELECT 1;\n")
        self.bundle = self.top / "bundle.pem"
        self.old_root = self.top / "old-root.pem"
        shutil.copy(self.directory / "minica.pem", self.old_root)
        self.trusted = dict.fromkeys((OLD_ROOT, DIRECT), self.old_root)
        self.trusted |= dict.fromkeys((BUNDLE, BY_CERTIFICATE), self.bundle)

        self.postgres = self.start_postgres()
        self.pgbouncer = self.start_pgbouncer()
        self.loads: dict[str, Load] = {}
        self.connected = Counter()
        self.deployed = 0
        self.steps = 0
        self.at_pgbouncer = self.tally(self.pgbouncer, r"/(\w+)@\S+ closing because: client close")
        # Clients of its own, and PgBouncer in the name of the others.
        self.at_postgres = self.tally(
            self.postgres, r"connection authorized: user=(\w+) .*SSL enabled"
        )

    def tally(self, *arguments) -> Tally:
        tally = Tally(*arguments)
        self.addCleanup(tally.close)
        return tally

    def pki(self, *arguments: str, status: int = 0) -> str:
        outcome = run(as_root(str(program()), *arguments), self.directory)
        self.assertEqual(outcome.status, status, outcome)
        return outcome.output

    # --- Servers ----------------------------------------------------------------------------------

    def start_postgres(self) -> Postgres:
        (self.top / "tls.conf").write_text(
            self.pki("config", "postgres", "dbhost", "--require-client-cert")
        )
        (self.top / "postgresql.conf").write_text(f"include '{self.top}/tls.conf'\n")
        server = Postgres(
            self.top / "postgres",
            SUPERUSER,
            PASSWORD,
            access_rules=f"hostssl all {DIRECT} 127.0.0.1/32 cert\n"
            "hostssl all all 127.0.0.1/32 scram-sha-256\n",
            settings={
                "config_file": str(self.top / "postgresql.conf"),
                "log_connections": "on",
            },
        )
        self.enterContext(server)
        roles = [f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'" for role in ROLES]
        command = psql(
            *("--quiet", "--set=ON_ERROR_STOP=1"),
            *(f"--command={statement}" for statement in roles),
            host="127.0.0.1",
            port=server.port,
            user=SUPERUSER,
            password=PASSWORD,
            dbname=DATABASE,
        )
        run(command).or_fail()
        return server

    def start_pgbouncer(self) -> PgBouncer:
        bundle = str(self.directory / "minica.pem")
        rules = self.top / "pg_hba.conf"
        rules.write_text(
            f"hostssl all {BY_CERTIFICATE} 127.0.0.1/32 cert\n"
            "hostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        settings = [
            *self.pki("config", "pgbouncer", "bouncerhost", "--server-ca", bundle).splitlines(),
            "auth_type = hba",
            f"auth_hba_file = {rules}",
            # PgBouncer before 1.24 gives up all its connections to PostgreSQL at a RELOAD. It takes
            # a login that is under way then for one that PostgreSQL refused, and makes clients wait,
            # or refuses them, whatever the certificates are. With one connection for each role,
            # which is made after a step and before the next, no login is under way then.
            "default_pool_size = 1",
        ]
        databases = {DATABASE: f"host=127.0.0.1 port={self.postgres.port}"}
        server = PgBouncer(
            self.top / "pgbouncer", databases, dict.fromkeys(ROLES, PASSWORD), settings
        )
        return self.enterContext(server)

    def port(self, role: str) -> int:
        return (self.postgres if role == DIRECT else self.pgbouncer).port

    def reload(self) -> str:
        """As a command."""
        return f"kill -HUP {self.pgbouncer._process.pid} {self.postgres._process.pid}"

    # --- Clients ----------------------------------------------------------------------------------

    def conninfo(self, role: str, deployed: int | None = None) -> str:
        """With the certificate that came last, or with an earlier one."""
        pair = self.top / f"{role}-{deployed or self.deployed}"
        more = {"sslcert": pair / "cert.pem", "sslkey": pair / "key.pem"}
        return psql(
            host="dbhost" if role == DIRECT else "bouncerhost",
            hostaddr="127.0.0.1",
            port=self.port(role),
            user=role,
            password=PASSWORD,
            dbname=DATABASE,
            sslmode="verify-full",
            sslrootcert=self.trusted[role],
            **(more if role in CERTIFIED else {}),
        )[-1]

    def start(self, role: str) -> None:
        """Before it stops what there is of the kind."""
        output = self.top / f"{role}-{self.deployed}.log"
        load = Load(self.script, output, self.conninfo(role))
        self.addCleanup(load.kill)
        self.stop(role)
        self.loads[role] = load

    def stop(self, role: str) -> None:
        if role in self.loads:
            self.connected[role] += self.loads.pop(role).stop()

    def deploy(self) -> None:
        """Gives the clients what is there for them now.

        In copies: libpq opens the certificate and the key one after the other for each connection,
        and a renewal may come in between.
        """
        fresh = self.bundle.with_suffix(".new")
        shutil.copy(self.directory / "minica.pem", fresh)
        fresh.rename(self.bundle)
        self.deployed += 1
        for role in CERTIFIED:
            copy = str(self.top / f"{role}-{self.deployed}")
            run(as_root("cp", "-R", str(self.directory / role), copy)).or_fail()
            run(as_root("chown", "-R", str(os.getuid()), copy)).or_fail()
            self.start(role)

    def wait_for_clients(self) -> None:
        """Of all kinds that there are."""

        def sessions() -> Counter:
            return self.at_pgbouncer.count() | Counter({DIRECT: self.at_postgres.count()[DIRECT]})

        def all_have_come() -> bool:
            for load in self.loads.values():
                load.check()
            now = sessions()
            return all(now[role] - before[role] >= CONNECTIONS_PER_STEP for role in self.loads)

        before = sessions()
        wait_until(all_have_come, "clients of every kind connect")
        self.steps += 1

    # --- Steps ------------------------------------------------------------------------------------

    def renew(self) -> None:
        targets = [
            f"--confirm=127.0.0.1:{server.port}" for server in (self.pgbouncer, self.postgres)
        ]
        before = {leaf: (self.directory / leaf / "cert.pem").read_bytes() for leaf in LEAVES}
        self.pki("renew", "--all", "--before=1000d", f"--exec={self.reload()}", *targets)
        for leaf, contents in before.items():
            self.assertNotEqual((self.directory / leaf / "cert.pem").read_bytes(), contents)
        self.deploy()
        self.wait_for_clients()

    def rotate(self, step: str) -> None:
        self.pki("rotate", step)
        run(as_root("sh", "-c", self.reload())).or_fail()
        self.deploy()
        self.wait_for_clients()

    def roots(self) -> list[str]:
        return certificates(self.directory / "minica.pem")

    def test_no_connection_fails(self):
        try:
            self.renew_and_rotate()
        except BaseException as failure:
            for server in (self.pgbouncer, self.postgres):
                complaints = re.findall(r".*(?:WARNING|ERROR|FATAL|could not|HUP).*", server.log())
                failure.add_note("\n".join(["", *complaints[-20:]]))
            raise

    def renew_and_rotate(self) -> None:
        self.deploy()
        for role in (OLD_ROOT, BUNDLE):
            self.start(role)
        self.wait_for_clients()
        for _ in range(RENEWALS):
            self.renew()

        (old,) = self.roots()
        self.rotate("begin")
        new, *others = self.roots()
        self.assertEqual(others, [old])
        refused = self.pki("rotate", "finish", status=3)
        for leaf in LEAVES:
            self.assertIn(leaf, refused)
        self.assertEqual(self.roots(), [new, old])
        last_of_the_old_root = self.deployed
        self.renew()
        cross = certificates(self.directory / "minica-cross.pem")
        for leaf in LEAVES:
            self.assertEqual(certificates(self.directory / leaf / "cert.pem")[1:], cross)

        # From here on the old root need not be enough.
        self.stop(OLD_ROOT)
        self.trusted[DIRECT] = self.bundle
        self.deploy()
        self.rotate("finish")
        self.assertEqual(self.roots(), [new])
        self.renew()

        for role in ROLES:
            self.stop(role)
        self.assert_enough()
        for role in (BUNDLE, *CERTIFIED):
            self.log_in(self.conninfo(role)).or_fail()
        # The servers have heard of it: what hangs on the old root does not get in.
        for role in CERTIFIED:
            outcome = self.log_in(self.conninfo(role, last_of_the_old_root))
            self.assertIn("alert unknown ca", outcome.output)

    def log_in(self, conninfo: str) -> Outcome:
        *command, _ = psql("--command=SELECT 1")
        return run([*command, conninfo])

    def assert_enough(self) -> None:
        """Of connections; and the servers took all files."""
        for role in ROLES:
            self.assertGreaterEqual(self.connected[role], CONNECTIONS_PER_STEP * RENEWALS)
        for role in POOLED:
            self.assertGreaterEqual(self.at_postgres.count()[role], RENEWALS, "PgBouncer's own")
        # Nor has PgBouncer made a client wait because PostgreSQL could not be verified.
        for complaint in ("could not be reloaded", "TLS handshake error"):
            self.assertNotIn(complaint, self.pgbouncer.log())
        for complaint in ("was not reloaded", "could not accept SSL connection"):
            self.assertNotIn(complaint, self.postgres.log())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    unittest.main()
