"""Throw-away PostgreSQL and PgBouncer servers, and the means to use and to watch them.

Every server listens on 127.0.0.1 alone, on a port of its own, runs as the user postgres, and is
gone at the end of its `with` statement. Nothing is read from the environment or the home directory
of whoever runs the tests, and tests may run side by side.
"""

import contextlib
import os
import pty
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAM_PATH = "/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# libpq reads PG* variables and ~/.postgresql; neither exists here. C, because tests read messages.
ENVIRONMENT = {"PATH": PROGRAM_PATH, "HOME": "/nonexistent", "LC_ALL": "C", "TERM": "dumb"}

PATIENCE = 60  # seconds: far more than anything here takes on a slow machine, but not for ever


def program(name: str) -> str:
    """The full path of a program, for sudo's own search path has no /usr/lib/postgresql."""
    path = shutil.which(name, path=PROGRAM_PATH)
    if path is None:
        raise FileNotFoundError(
            f"{name} is not installed: apt-get install postgresql pgbouncer tcpdump openssl"
        )
    return path


# --- Commands -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a finished command has to say, as the person who typed it would see it."""

    command: list[str]
    status: int
    output: str

    def __str__(self) -> str:
        return f"\n$ {shlex.join(self.command)}\n{self.output}(exit status {self.status})"

    def or_fail(self) -> "Outcome":
        if self.status != 0:
            raise AssertionError(self)
        return self


def run(command: list[str], directory: Path = Path("/")) -> Outcome:
    finished = subprocess.run(
        command,
        cwd=directory,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    return Outcome(command, finished.returncode, finished.stdout)


def run_in_terminal(command: list[str], typed: str = "", directory: Path = Path("/")) -> Outcome:
    """Like run(), at a terminal: programs say more to a person than to a pipe."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=ENVIRONMENT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        os.write(ours, typed.encode())
        output = bytearray()
        # Linux reports the end of a terminal, the last program on it gone, as an error.
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 65536):
                output += chunk
        status = process.wait()
    finally:
        watchdog.cancel()
        os.close(ours)
    return Outcome(command, status, output.decode().replace("\r\n", "\n"))


def as_root(*command: str) -> list[str]:
    return [*command] if os.geteuid() == 0 else ["sudo", "-n", "--", *command]


def as_postgres(*command: str) -> list[str]:
    """Either way the process that starts here is the one to signal: setpriv turns into the
    command, and sudo hands signals on to it."""
    if os.geteuid() == 0:
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
    else:
        user = ["sudo", "-n", "-u", "postgres", "--"]
    return [*user, *command]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE} seconds in vain: {what}")
        time.sleep(0.02)


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory that the user postgres can reach, and may own parts of."""
    directory = tempfile.mkdtemp(prefix="pki-e2e-")
    try:
        os.chmod(directory, 0o755)
        yield Path(directory)
    finally:
        # Again if need be: an initdb that was interrupted leaves a child that writes a little more.
        removal = as_root("rm", "-rf", directory)
        wait_until(lambda: run(removal).status == 0, f"{directory} is removed")


def give_to_postgres(path: Path) -> None:
    run(as_root("chown", "postgres", str(path))).or_fail()


# --- Servers --------------------------------------------------------------------------------------


def reserve_port() -> int:
    """A TCP port on 127.0.0.1 that the kernel gives to nobody else while this process lives.

    It is bound but not listened on. With SO_REUSEADDR on both sides, a server that asks for this
    very port gets it, while neither bind(0) nor connect() anywhere on the machine is handed it.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.bind(("127.0.0.1", 0))
    port = reservation.getsockname()[1]
    reservation.detach()  # stays open until this process ends
    return port


class DidNotStart(Exception):
    """A server gave up; the message is its log."""


class Daemon:
    """A program that runs as long as a `with` statement. An exception that leaves the statement
    takes the program's log along, so that whoever reads a failed test sees it."""

    stop_signal = "TERM"

    def __init__(self, command: list[str], log_file: Path) -> None:
        self._command = command
        self._log_file = log_file

    def is_ready(self) -> bool:
        raise NotImplementedError

    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    @contextlib.contextmanager
    def log_shown_on_failure(self) -> Iterator[None]:
        """For a server that outlives the test: what it logged from here on."""
        already_logged = len(self.log())
        try:
            yield
        except BaseException as failure:
            self._add_log(failure, already_logged)
            raise

    def signal(self, name: str) -> None:
        run(as_root("sh", "-c", f"kill -{name} {self._process.pid}")).or_fail()

    def __enter__(self):
        with open(self._log_file, "wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd="/",
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the test, which then stops its servers in order. And sudo hands on
                # no signal that comes from its own process group.
                process_group=0,
            )
        try:
            wait_until(lambda: self._has_ended() or self.is_ready(), "the server is ready")
        except BaseException as failure:
            self.__exit__(type(failure), failure, failure.__traceback__)
            raise
        if self._has_ended():
            raise DidNotStart(f"{shlex.join(self._command)}\n{self.log()}")
        return self

    def __exit__(self, kind, failure, traceback) -> None:
        if not self._has_ended():
            self.signal(self.stop_signal)
            self._process.wait(PATIENCE)
        if failure is not None:
            self._add_log(failure)

    def _has_ended(self) -> bool:
        return self._process.poll() is not None

    def _add_log(self, failure: BaseException, start: int = 0) -> None:
        failure.add_note(f"\n--- {self._log_file} ---\n{self.log()[start:]}")


def accepts_connections(port: int) -> bool:
    return run([program("pg_isready"), "--host=127.0.0.1", f"--port={port}"]).status == 0


class Postgres(Daemon):
    """A new cluster with one superuser, who has a password."""

    stop_signal = "QUIT"  # at once: nobody needs a checkpoint of what is thrown away

    def __init__(
        self,
        directory: Path,
        superuser: str,
        password: str,
        access_rules: str,
        settings: Mapping[str, str],
    ) -> None:
        """access_rules are the lines of pg_hba.conf."""
        directory.mkdir()
        self.port = reserve_port()
        self._superuser = superuser
        self._password_file = directory / "password"
        self._password_file.write_text(password)
        self._data = directory / "data"
        access_file = directory / "pg_hba.conf"
        access_file.write_text(access_rules)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "hba_file": str(access_file),
            "fsync": "off",
            **settings,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        super().__init__(
            as_postgres(program("postgres"), "-D", str(self._data), *options),
            directory / "postgres.log",
        )

    def is_ready(self) -> bool:
        return accepts_connections(self.port)

    def __enter__(self):
        run(as_root("install", "-d", "-o", "postgres", "-m", "0700", str(self._data))).or_fail()
        run(
            as_postgres(
                program("initdb"),
                f"--pgdata={self._data}",
                f"--username={self._superuser}",
                f"--pwfile={self._password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-sync",
            )
        ).or_fail()
        return super().__enter__()


class PgBouncer(Daemon):
    """Clients and servers both log in with the passwords in `users`."""

    def __init__(
        self,
        directory: Path,
        databases: Mapping[str, str],
        users: Mapping[str, str],
        settings: Iterable[str],
    ) -> None:
        """settings are lines for the [pgbouncer] section, taken as they are."""
        directory.mkdir()
        self.port = reserve_port()
        users_file = directory / "userlist.txt"
        users_file.write_text("".join(f'"{user}" "{users[user]}"\n' for user in users))
        lines = [
            "[databases]",
            *(f"{name} = {connection}" for name, connection in databases.items()),
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = scram-sha-256",
            f"auth_file = {users_file}",
            *settings,
        ]
        ini_file = directory / "pgbouncer.ini"
        ini_file.write_text("\n".join(lines) + "\n")
        super().__init__(
            as_postgres(program("pgbouncer"), str(ini_file)), directory / "pgbouncer.log"
        )

    def is_ready(self) -> bool:
        return accepts_connections(self.port)


# --- Clients and onlookers ------------------------------------------------------------------------


def psql(*options: str, **connection: str | int | Path) -> list[str]:
    """The command line of psql, with libpq's connection parameters given by name."""
    conninfo = " ".join(f"{name}={quoted(value)}" for name, value in connection.items())
    return [program("psql"), "--no-psqlrc", "--no-readline", "--no-password", *options, conninfo]


def quoted(value: str | int | Path) -> str:
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


class Capture(Daemon):
    """Every packet to and from a port on 127.0.0.1.

    tcpdump starts late and writes late, so nothing is concluded from what is not there before a
    datagram that was sent for the purpose is: packets are captured in order.
    """

    def __init__(self, directory: Path, port: int) -> None:
        directory.mkdir()
        self._port = port
        self._file = directory / "capture.pcap"
        tcpdump = [program("tcpdump"), "-i", "lo", "-U", "--immediate-mode", "-Z", "root"]
        super().__init__(
            as_root(*tcpdump, "-w", str(self._file), f"port {port}"), directory / "tcpdump.log"
        )

    def is_ready(self) -> bool:
        return self._has_seen(b"ready?")

    def packets(self) -> bytes:
        """All that was on the wire before this call."""
        marker = secrets.token_hex().encode()
        wait_until(lambda: self._has_seen(marker), "the capture is complete")
        return self._file.read_bytes()

    def _has_seen(self, marker: bytes) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(marker, ("127.0.0.1", self._port))
        return self._file.exists() and marker in self._file.read_bytes()
