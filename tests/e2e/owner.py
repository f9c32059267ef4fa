#!/usr/bin/python3
"""`--owner`: files that a service can use as they are, and nobody else ever could.

The files of every form of the option are looked at, and the system calls that made them: no key
may be open to others than it is for, not for a moment. Then PgBouncer, with the configuration that
Debian installs, and PostgreSQL start with nothing but what pki made and printed.

    PKI=build/pki tests/e2e/owner.py

Only root can give files away: another user, who may sudo, sees only the servers tested, and what is
refused to him.
"""

import atexit
import contextlib
import grp
import os
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import servers
from servers import (
    Daemon,
    DidNotStart,
    Outcome,
    Postgres,
    accepts_connections,
    as_postgres,
    as_root,
    give_to_postgres,
    psql,
    reserve_port,
    run,
    temporary_directory,
    wait_until,
)
from support import HOST, Case, fresh, give_away, program, snapshot, unprivileged, with_root

DEBIAN_INI = Path("/etc/pgbouncer/pgbouncer.ini")

only_root = unittest.skipIf(os.geteuid() != 0, "only root can give files away")


def setUpModule() -> None:
    # unittest skips the clean-ups when it is interrupted. Asked for twice, they still run once.
    atexit.register(unittest.doModuleCleanups)
    os.umask(0o022)
    for name in ("pgbouncer", "postgres", "psql", "strace"):
        if shutil.which(name, path=servers.PROGRAM_PATH) is None:
            raise FileNotFoundError(
                f"{name} is not installed: apt-get install pgbouncer postgresql strace"
            )


class Look(NamedTuple):
    """What ls -l says of a file."""

    user: int
    group: int
    mode: str

    @classmethod
    def at(cls, path: Path) -> "Look":
        status = path.lstat()
        return cls(status.st_uid, status.st_gid, f"{stat.S_IMODE(status.st_mode):04o}")


def without_times(directory: Path) -> dict:
    """A snapshot in which a file that came and went leaves no trace."""
    return {
        path: (mode, user, links, contents)
        for path, (mode, user, links, _, _, contents) in snapshot(directory).items()
    }


# --- Files ----------------------------------------------------------------------------------------


class Form(NamedTuple):
    """An owner as it is written, and whose the key is then; a directory and a certificate alike."""

    text: str
    user: int
    group: int
    key_mode: str


def forms() -> list[Form]:
    postgres, nobody = pwd.getpwnam("postgres"), pwd.getpwnam("nobody")
    group = grp.getgrnam("postgres").gr_gid
    return [
        Form("postgres", postgres.pw_uid, 0, "0600"),
        Form("postgres:postgres", postgres.pw_uid, group, "0600"),
        Form("nobody:postgres", nobody.pw_uid, group, "0600"),
        Form("postgres:root", postgres.pw_uid, 0, "0600"),
        Form(":postgres", 0, group, "0640"),
        Form("root:postgres", 0, group, "0640"),
        Form("root", 0, 0, "0600"),
        Form(f"{postgres.pw_uid}", postgres.pw_uid, 0, "0600"),
        Form(f"{postgres.pw_uid}:{group}", postgres.pw_uid, group, "0600"),
        Form(f"postgres:{group}", postgres.pw_uid, group, "0600"),
        Form(f":{group}", 0, group, "0640"),
        Form(f"0:{group}", 0, group, "0640"),
        Form("54321:12345", 54321, 12345, "0600"),  # of a container, unknown to this machine
        Form(":12345", 0, 12345, "0640"),
    ]


@only_root
class Files(Case):
    def issue(self, directory: Path, *arguments, **how) -> None:
        run = self.pki(directory, *arguments, **how)
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, b"", b""))

    def test_forms(self):
        for form in forms():
            for request, leaf in ((HOST, "bouncerhost"), (("--user", "app_user"), "app_user")):
                for umask in (0, 0o022, 0o077):
                    with self.subTest(form.text, leaf=leaf, umask=oct(umask)):
                        directory = fresh()
                        self.issue(directory, *request, "--owner", form.text, umask=umask)
                        of = (form.user, form.group)
                        self.assertEqual(
                            {path.name: Look.at(path) for path in directory.rglob("*")},
                            {
                                leaf: Look(*of, "0755"),
                                "cert.pem": Look(*of, "0644"),
                                "key.pem": Look(*of, form.key_mode),
                                # The root is its maker's, whoever the leaf is for.
                                "minica.pem": Look(0, 0, "0644"),
                                "minica-key.pem": Look(0, 0, "0600"),
                                "minica-index.txt": Look(0, 0, "0644"),
                            },
                        )

    def test_who_can_read_it(self):
        directory = fresh()
        self.issue(directory, *HOST, "--owner", ":postgres")
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
        for who, name, can in (
            (as_nobody, "minica.pem", True),
            (as_nobody, "bouncerhost/cert.pem", True),
            (as_nobody, "bouncerhost/key.pem", False),
            (as_postgres(), "bouncerhost/key.pem", True),
            (as_postgres(), "minica-key.pem", False),
        ):
            with self.subTest(name, who=who):
                outcome = run([*who, "cat", str(directory / name)])
                self.assertEqual(outcome.status == 0, can, outcome)

    def test_directory_that_is_there_keeps_its_owner_and_mode(self):
        for form in forms():
            with self.subTest(form.text):
                directory = fresh()
                leaf = directory / "bouncerhost"
                leaf.mkdir()
                leaf.chmod(0o711)
                os.chown(leaf, 4321, 1234)
                self.issue(directory, *HOST, "--owner", form.text)
                self.assertEqual(Look.at(leaf), Look(4321, 1234, "0711"))
                of = (form.user, form.group)
                self.assertEqual(Look.at(leaf / "cert.pem"), Look(*of, "0644"))
                self.assertEqual(Look.at(leaf / "key.pem"), Look(*of, form.key_mode))

    def test_several_users(self):
        directory = fresh()
        self.issue(directory, "--user", "a,b", "--owner", "postgres")
        for leaf in ("a", "b"):
            key = Look.at(directory / leaf / "key.pem")
            self.assertEqual(key, Look(pwd.getpwnam("postgres").pw_uid, 0, "0600"))

    def test_again(self):
        postgres = pwd.getpwnam("postgres")
        for first, again in (
            ("postgres", "postgres"),
            ("postgres", f"{postgres.pw_uid}"),
            ("postgres", None),
            ("postgres:postgres", "postgres"),
            (":postgres", "root:postgres"),
            (":postgres", None),
            (None, "root"),
        ):
            with self.subTest(first=first, again=again):
                directory = fresh()
                self.issue(directory, *HOST, *(["--owner", first] if first else []))
                self.assert_unchanged(
                    directory, *HOST, *(["--owner", again] if again else []), leaf="bouncerhost"
                )

    def test_again_for_another(self):
        """The key's file is what differs, and how; who wants it must say so by moving it away."""
        postgres = pwd.getpwnam("postgres")
        user, group = str(postgres.pw_uid), str(postgres.pw_gid)
        for first, again, says in (
            (None, "postgres", ["user 0", user]),
            ("postgres", "root", [f"user {user}", "not 0"]),
            ("postgres", "nobody", [f"user {user}", "not 65534"]),
            ("postgres", "postgres:postgres", ["group 0", group]),
            ("postgres", ":postgres", ["group 0", group]),
            (":postgres", "postgres", ["user 0", user]),
            (":postgres", "root", ["mode 0640", "not 0600"]),
        ):
            with self.subTest(first=first, again=again):
                directory = fresh()
                self.issue(directory, *HOST, *(["--owner", first] if first else []))
                self.assert_refused(
                    directory, *HOST, "--owner", again, says=["bouncerhost/cert.pem", *says]
                )
        with self.subTest("a mode that was changed"):
            directory = fresh()
            self.issue(directory, *HOST, "--owner", "postgres")
            (directory / "bouncerhost" / "key.pem").chmod(0o640)
            self.assert_refused(
                directory, *HOST, "--owner", "postgres", says=["mode 0640", "not 0600"]
            )


class Refused(Case):
    def test_unknown(self):
        for owner, says in (
            ("nosuchuser", 'user "nosuchuser"'),
            ("nosuchuser:postgres", 'user "nosuchuser"'),
            ("postgres:nosuchgroup", 'group "nosuchgroup"'),
            (":nosuchgroup", 'group "nosuchgroup"'),
            ("a:b:c", 'user "a"'),
            ("root:postgres:", 'group "postgres:"'),
            ("-1", 'user "-1"'),
            ("root:-1", 'group "-1"'),
            ("4294967295", 'user "4294967295"'),  # chown(2) takes it for "leave it as it is"
            (":4294967295", 'group "4294967295"'),
            ("4294967296", 'user "4294967296"'),  # would be root
            ("0x0", 'user "0x0"'),
            (" root", 'user " root"'),
            ("root ", 'user "root "'),
            ("root\n", 'user "root\\n"'),
            ("\x1b[31m", 'user "\\x1b[31m"'),
            ("*", 'user "*"'),
        ):
            with self.subTest(owner):
                for request in (HOST, ("--user", "app_user")):
                    self.assert_refused(
                        fresh(), *request, f"--owner={owner}", says=["--owner", says]
                    )

    def test_wrong_usage(self):
        for owner in ("", ":", "root:", "postgres:", "nosuchuser:"):
            with self.subTest(owner):
                # A user who is not there is wrong as well, and either is worth saying.
                status = 1 if owner.startswith("nosuchuser") else 2
                self.assert_refused(
                    fresh(), *HOST, f"--owner={owner}", says=["--owner"], status=status
                )

    def test_without_the_right(self):
        """One line, and nothing is left: no root either."""

        def empty(directory: Path):
            pass

        def with_directory(directory: Path):
            (directory / "bouncerhost").mkdir()
            (directory / "app_user").mkdir()

        requests = (HOST, ("--user", "app_user"), ("--user", "app_user,other"))
        for make in (fresh, with_root):
            for prepare in (empty, with_directory):
                for owner in ("root", "root:root", ":root", "root:postgres", "postgres"):
                    for request in requests:
                        with self.subTest(
                            owner, make=make.__name__, prepare=prepare.__name__, request=request
                        ):
                            directory = make()
                            prepare(directory)
                            give_away(directory)
                            before = without_times(directory)
                            run = self.pki(directory, *request, "--owner", owner, **unprivileged())
                            self.assertEqual((run.returncode, run.stdout), (1, b""), run.stderr)
                            self.assert_one_line(run.stderr)
                            self.assertIn(b"not permitted", run.stderr)
                            self.assertEqual(without_times(directory), before)

    def test_one_may_own_it_oneself(self):
        user = unprivileged().get("user", os.geteuid())
        group = unprivileged().get("group", os.getegid())
        for owner, mode, warned in (
            (f"{user}", "0600", False),
            (f"{user}:{group}", "0600", False),
            (pwd.getpwuid(user).pw_name, "0600", False),
            # PostgreSQL and libpq take such a key from root only.
            (f":{group}", "0640", True),
        ):
            with self.subTest(owner):
                directory = fresh()
                give_away(directory)
                run = self.pki(directory, *HOST, "--owner", owner, **unprivileged())
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertEqual(run.stderr != b"", warned, run.stderr)
                self.assertEqual(
                    Look.at(directory / "bouncerhost" / "key.pem"), Look(user, group, mode)
                )


# --- System calls ---------------------------------------------------------------------------------


class Call(NamedTuple):
    name: str
    arguments: str
    result: int


def trace(command: list, directory: Path) -> list[Call]:
    log = fresh() / "trace"
    calls = "openat,mkdirat,fchown,fchmod,chown,fchownat,chmod,fchmodat,rename,renameat,renameat2"
    subprocess.run(
        ["strace", "-f", "-o", log, "-e", f"trace={calls}", *command],
        cwd=directory,
        check=True,
        capture_output=True,
        timeout=60,
    )
    # Every line must be understood: one that is not could hide what is looked for.
    line = re.compile(r"\d+ +(?:\+\+\+ exited with 0 \+\+\+|(\w+)\((.*)\) += (-?\d+).*)")
    matches = [line.fullmatch(text) for text in log.read_text().splitlines()]
    return [Call(m[1], m[2], int(m[3])) for m in matches if m[1] is not None]


@only_root
class SystemCalls(Case):
    """A key that is wider for a moment can be opened in that moment, and read for ever."""

    def judge(self, calls: list[Call], key: str, final: int) -> None:
        """The key called `key` is made for nobody but its maker, given away, then widened to its
        `final` mode; all that before a file gets its name, and nothing of the kind after."""
        (made,) = (
            at
            for at, call in enumerate(calls)
            if call.name == "openat"
            and f'"{key}"' in call.arguments
            and "O_CREAT" in call.arguments
        )
        self.assertRegex(calls[made].arguments, r"O_CREAT\|O_EXCL.*, 0600\Z")
        first_rename = next(at for at, call in enumerate(calls) if call.name.startswith("rename"))
        descriptor = str(calls[made].result)
        changes = [
            (call.name, call.arguments.partition(", ")[2])
            for call in calls[made:first_rename]
            if call.arguments.split(",")[0] == descriptor and call.name in ("fchown", "fchmod")
        ]
        self.assertEqual([name for name, _ in changes[:1]], ["fchown"])
        self.assertEqual(changes[1:], [("fchmod", f"0{final:o}")] if final != 0o600 else [])
        allowed = {"openat", "renameat2"}
        self.assertLessEqual({call.name for call in calls[first_rename:]}, allowed)
        # By descriptor alone: a name can be exchanged between two calls.
        self.assertLessEqual(
            {call.name for call in calls}, allowed | {"mkdirat", "fchown", "fchmod"}
        )

    def test_issue(self):
        for form in forms():
            for there in (False, True):
                with self.subTest(form.text, there=there):
                    directory = with_root()
                    if there:
                        (directory / "bouncerhost").mkdir()
                    calls = trace([program(), *HOST, "--owner", form.text], directory)
                    self.judge(calls, ".key.pem.new" if there else "key.pem", int(form.key_mode, 8))

    def test_export(self):
        for form in forms():
            for kind, key in (("pk8", "key.pk8"), ("libpq", "postgresql.key")):
                with self.subTest(form.text, kind=kind):
                    directory = fresh()
                    self.assertEqual(self.pki(directory, "--user", "app_user").returncode, 0)
                    command = [
                        program(),
                        "export",
                        "app_user",
                        "--format",
                        kind,
                        "--to",
                        ".",
                        "--owner",
                        form.text,
                    ]
                    self.judge(trace(command, directory), f".{key}.new", int(form.key_mode, 8))


# --- Services -------------------------------------------------------------------------------------

ROLE, PASSWORD, DATABASE = "app", "secret", "postgres"


def issue_as_root(directory: Path, *arguments: str) -> None:
    run(as_root(str(program()), *arguments), directory).or_fail()


def printed(directory: Path, *arguments: str) -> str:
    """What pki prints for anybody, who need not be able to read the key."""
    return run([str(program()), "config", *arguments], directory).or_fail().output


def log_in(directory: Path, port: int, host: str = HOST[1]) -> Outcome:
    command = psql(
        "--tuples-only",
        "--no-align",
        "--command=SELECT current_user",
        host=host,
        hostaddr="127.0.0.1",
        port=port,
        user=ROLE,
        password=PASSWORD,
        dbname=DATABASE,
        sslmode="verify-full",
        sslrootcert=directory / "minica.pem",
    )
    return run(command)


class DebianPgBouncer(Daemon):
    """With the configuration that Debian installs.

    Changed are its port and its paths, for another may run on this machine; added are a database, a
    user and, as the last line, an %include.
    """

    def __init__(self, directory: Path, included: Path, database: str, command: list[str]) -> None:
        directory.mkdir()
        self.port = reserve_port()
        self._run = directory / "run"
        self._run.mkdir()
        give_to_postgres(self._run)
        users = directory / "userlist.txt"
        users.write_text(f'"{ROLE}" "{PASSWORD}"\n')
        ini = run(as_root("cat", str(DEBIAN_INI))).or_fail().output
        for pattern, line in (
            (r"\[databases\]", f"[databases]\n{DATABASE} = {database}"),
            (r"listen_port = .*", f"listen_port = {self.port}"),
            (r"unix_socket_dir = .*", f"unix_socket_dir = {self._run}"),
            (r"pidfile = .*", f"pidfile = {self._run / 'pid'}"),
            (r"logfile = .*", f"logfile = {self._run / 'log'}"),
            (r"auth_file = .*", f"auth_file = {users}"),
        ):
            ini, count = re.subn(f"(?m)^{pattern}$", line, ini)
            if count != 1:
                raise AssertionError(f"{DEBIAN_INI} has {count} lines like {pattern!r}")
        (directory / "pgbouncer.ini").write_text(f"{ini}\n%include {included}\n")
        super().__init__([*command, str(directory / "pgbouncer.ini")], directory / "pgbouncer.log")

    def is_ready(self) -> bool:
        return accepts_connections(self.port)

    def reload_by_console(self) -> None:
        """Done when this returns. The console is open to the user that PgBouncer runs as."""
        console = psql(
            "--command=RELOAD", host=self._run, port=self.port, user="pgbouncer", dbname="pgbouncer"
        )
        run(as_postgres(*console)).or_fail()

    def reload_by_signal(self) -> None:
        """As `systemctl reload` does."""
        before = self.log().count("got SIGHUP")
        self.signal("HUP")
        wait_until(lambda: self.log().count("got SIGHUP") > before, "PgBouncer gets SIGHUP")
        self.reload_by_console()  # not before it is done with the signal


# How Debian's service starts it, and how many scripts do: as root, which PgBouncer gives up after
# it has read the key, and so cannot read it again.
STARTS = {
    "as postgres": as_postgres(servers.program("pgbouncer")),
    "as root, with -u": as_root(servers.program("pgbouncer"), "-u", "postgres"),
}

NOT_RELOADED = "TLS configuration could not be reloaded"


class PgBouncerStarts(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        directory = cls.enterClassContext(temporary_directory())
        cls.database = Postgres(
            directory / "postgres",
            superuser=ROLE,
            password=PASSWORD,
            access_rules="host all all 127.0.0.1/32 scram-sha-256\n",
            settings={},
        )
        cls.enterClassContext(cls.database)

    @contextlib.contextmanager
    def pgbouncer(self, directory: Path, command: list[str]) -> Iterator[DebianPgBouncer]:
        included = directory / "tls.ini"
        included.write_text(printed(directory, "pgbouncer", "bouncerhost"))
        database = f"host=127.0.0.1 port={self.database.port}"
        with DebianPgBouncer(directory / "pgbouncer", included, database, command) as bouncer:
            yield bouncer

    def assert_serves(self, directory: Path, bouncer: DebianPgBouncer, host=HOST[1]) -> None:
        outcome = log_in(directory, bouncer.port, host)
        self.assertEqual((outcome.status, outcome.output), (0, f"{ROLE}\n"), outcome)

    def test_it_starts_reloads_and_serves(self) -> None:
        for owner in ("postgres", ":postgres", "root:postgres"):
            for start, command in STARTS.items():
                with self.subTest(owner, start=start), temporary_directory() as directory:
                    issue_as_root(directory, *HOST, "--owner", owner)
                    with self.pgbouncer(directory, command) as bouncer:
                        self.assert_serves(directory, bouncer)
                        for reload in (bouncer.reload_by_console, bouncer.reload_by_signal):
                            reload()
                            self.assertNotIn(NOT_RELOADED, bouncer.log())
                            self.assert_serves(directory, bouncer)
                        # And what it serves after a reload is what is there by then.
                        leaf = directory / "bouncerhost"
                        run(as_root("mv", str(leaf), str(directory / "old"))).or_fail()
                        issue_as_root(
                            directory, "--domains", "bouncerhost,newname", "--owner", owner
                        )
                        self.assertNotEqual(log_in(directory, bouncer.port, "newname").status, 0)
                        bouncer.reload_by_console()
                        self.assertNotIn(NOT_RELOADED, bouncer.log())
                        self.assert_serves(directory, bouncer, "newname")

    def test_without_owner_it_does_not(self) -> None:
        """What --owner is for; and that the test above would see it."""
        with temporary_directory() as directory:
            issue_as_root(directory, *HOST)
            with self.assertRaisesRegex(DidNotStart, "failed to load private key"):
                with self.pgbouncer(directory, STARTS["as postgres"]):
                    pass
        with temporary_directory() as directory:
            issue_as_root(directory, *HOST)
            with self.pgbouncer(directory, STARTS["as root, with -u"]) as bouncer:
                self.assert_serves(directory, bouncer)
                bouncer.reload_by_console()
                self.assertIn(NOT_RELOADED, bouncer.log())


class PostgresStarts(unittest.TestCase):
    HOST = ("--domains", "dbhost")

    def server(self, directory: Path) -> Postgres:
        (directory / "tls.conf").write_text(printed(directory, "postgres", "dbhost"))
        (directory / "postgresql.conf").write_text(f"include '{directory / 'tls.conf'}'\n")
        return Postgres(
            directory / "postgres",
            superuser=ROLE,
            password=PASSWORD,
            access_rules="hostssl all all all scram-sha-256\n",
            settings={"config_file": str(directory / "postgresql.conf")},
        )

    def assert_serves(self, directory: Path, server: Postgres) -> None:
        outcome = log_in(directory, server.port, "dbhost")
        self.assertEqual((outcome.status, outcome.output), (0, f"{ROLE}\n"), outcome)

    def test_it_starts_reloads_and_serves(self) -> None:
        for owner in ("postgres", "postgres:postgres", "root:postgres", ":postgres"):
            with self.subTest(owner), temporary_directory() as directory:
                issue_as_root(directory, *self.HOST, "--owner", owner)
                with self.server(directory) as server:
                    self.assert_serves(directory, server)
                    server.signal("HUP")
                    wait_until(lambda: "received SIGHUP" in server.log(), "it gets SIGHUP")
                    self.assert_serves(directory, server)  # not before it is done with the signal
                    self.assertNotIn("SSL configuration was not reloaded", server.log())

    def test_what_it_refuses(self) -> None:
        """The reason for the modes that --owner gives."""
        for owner, change, reason in (
            ("postgres:postgres", "chmod 0640", "has group or world access"),
            ("root:postgres", "chmod 0644", "has group or world access"),
            ("nobody", "", "must be owned by the database user or root"),
            ("root", "", "Permission denied"),
        ):
            with self.subTest(owner, change=change), temporary_directory() as directory:
                issue_as_root(directory, *self.HOST, "--owner", owner)
                if change:
                    key = directory / "dbhost" / "key.pem"
                    run(as_root(*shlex.split(change), str(key))).or_fail()
                with self.assertRaisesRegex(DidNotStart, reason):
                    with self.server(directory):
                        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    unittest.main()
