#!/usr/bin/python3
"""pki-renew.service and pki-renew.timer, as they are installed.

systemd-analyze judges them. Then, where a process may have namespaces of its own, a systemd runs in
them that knows these units and a PgBouncer's alone, and they do what README.md says.

    BUILD=build PKI=build/pki tests/e2e/systemd_units.py
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import servers
from renew import age, served, shows
from servers import give_to_postgres, reserve_port, run, temporary_directory, wait_until
from support import Certificate, program

TREE = Path(__file__).resolve().parents[2]

# Of 100, where 0 is best. Root in the host's own directories, with sockets, cannot have much less.
EXPOSURE = 25


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.prefix = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="pki-systemd-")))
        command = ["cmake", "--install", os.path.abspath(os.environ["BUILD"]), "--prefix", str(cls.prefix)]
        run(command).or_fail()
        cls.units = [
            str(cls.prefix / "lib/systemd/system" / name)
            for name in ("pki-renew.service", "pki-renew.timer")
        ]

    def test_the_program_is_the_installed_one(self):
        service = Path(self.units[0]).read_text()
        self.assertIn(f"\nExecStart={self.prefix}/bin/pki renew --all $PKI_RENEW_OPTIONS\n", service)
        self.assertNotIn("@", re.sub(r"@(system-service|privileged|chown)", "", service))

    def test_verify(self):
        environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{Path(self.units[0]).parent}:"}
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *self.units],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        ours = [line for line in done.stderr.splitlines() if "pki-renew" in line]
        self.assertEqual((done.returncode, ours), (0, []), done.stderr)

    def test_exposure(self):
        command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}"]
        run([*command, self.units[0]]).or_fail()

    def test_the_timer_fires_every_day(self):
        self.assertIn("\nOnCalendar=daily\n", Path(self.units[1]).read_text())
        shown = run(["systemd-analyze", "calendar", "--iterations=2", "daily"]).or_fail()
        self.assertIn("*-*-* 00:00:00", shown.output)


# --- A systemd of our own -------------------------------------------------------------------------

BOOT = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/postgresql
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
for place in /etc/pgbouncer /etc/default; do
    mount --bind "$1$place" "$place"
done
export container=pki-test SYSTEMD_UNIT_PATH="$1/units"
exec /lib/systemd/systemd --system --unit=test.target --log-target=console
"""

# In a control group of its own, which is then the root of those that it sees.
ENTER = """
mount --make-rprivate /
mount -t cgroup2 cgroup2 /mnt
mkdir /mnt/$1
echo $$ > /mnt/$1/cgroup.procs
umount /mnt
exec unshare --mount --uts --ipc --cgroup --pid --fork --mount-proc --kill-child sh -ec "$3" sh "$2"
"""

LEAVE = """
mount --make-rprivate /
mount -t cgroup2 cgroup2 /mnt
find /mnt/$1 -depth -type d -exec rmdir {} +
"""

DUMMIES = ("sysinit", "basic", "shutdown", "network", "timers", "test")

PGBOUNCER = """
[Unit]
DefaultDependencies=no
[Service]
Type=notify
User=postgres
ExecStart=/usr/sbin/pgbouncer /etc/pgbouncer/pgbouncer.ini
ExecReload=/bin/kill -HUP $MAINPID
KillSignal=SIGINT
"""


class Systemd:
    """Process 1 of a world that ends with the `with` statement."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._group = f"pki-test-{os.getpid()}"
        self._log = directory / "systemd.log"
        units = directory / "units"
        for name in DUMMIES:
            (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        (units / "pgbouncer.service").write_text(PGBOUNCER)

    def __enter__(self) -> "Systemd":
        with open(self._log, "wb") as log:
            script = ["sh", "-ec", ENTER, "sh", self._group, str(self._directory), BOOT]
            self._process = subprocess.Popen(
                ["unshare", "--mount", *script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(lambda: self._has_ended() or self._is_up(), "systemd is up")
        except TimeoutError:
            self.__exit__()
            raise
        if self._has_ended():
            raise unittest.SkipTest(f"no systemd of one's own: {self._log.read_text()}")
        return self

    def __exit__(self, *_) -> None:
        if not self._has_ended():
            self._process.kill()  # and with it, by --kill-child, all the others
            self._process.wait(servers.PATIENCE)
        leave = ["unshare", "--mount", "sh", "-ec", LEAVE, "sh", self._group]
        with contextlib.suppress(TimeoutError):  # until the last process is gone from its group
            wait_until(lambda: run(leave).status == 0, "its control group is removed")

    def _has_ended(self) -> bool:
        return self._process.poll() is not None

    def _process_1(self) -> str:
        """The child of unshare."""
        pid = self._process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()

    def _is_up(self) -> bool:
        return self._process_1() != "" and self.run("systemctl", "is-system-running").status == 0

    def run(self, *command: str) -> servers.Outcome:
        return run(["nsenter", "--all", f"--target={self._process_1()}", "--", *command])


class Service(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can start a systemd of its own")
        cls.directory = cls.enterClassContext(temporary_directory())
        for place in ("etc/pgbouncer/tls", "etc/default", "units"):
            (cls.directory / place).mkdir(parents=True)
        cls.tls = cls.directory / "etc/pgbouncer/tls"
        cls.leaf = cls.tls / "bouncerhost"
        run([str(program()), "--domains", "bouncerhost"], cls.tls).or_fail()
        for path in (cls.leaf, *cls.leaf.iterdir()):
            give_to_postgres(path)
        cls.port = reserve_port()
        cls.options = f"--exec 'systemctl reload pgbouncer' --confirm 127.0.0.1:{cls.port}"
        lines = [
            "[databases]",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {cls.port}",
            "unix_socket_dir =",
            "client_tls_sslmode = require",
            "client_tls_key_file = /etc/pgbouncer/tls/bouncerhost/key.pem",
            "client_tls_cert_file = /etc/pgbouncer/tls/bouncerhost/cert.pem",
            "client_tls_ca_file = /etc/pgbouncer/tls/minica.pem",
        ]
        (cls.tls.parent / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        prefix = cls.directory / "prefix"
        run(["cmake", "--install", os.path.abspath(os.environ["BUILD"]), "--prefix", str(prefix)]).or_fail()
        for unit in (prefix / "lib/systemd/system").iterdir():
            # /tmp, where all this is, is another one for the service.
            text = unit.read_text().replace(f"{prefix}/bin/pki", "/etc/pgbouncer/pki")
            (cls.directory / "units" / unit.name).write_text(text)
        shutil.copy(prefix / "bin/pki", cls.directory / "etc/pgbouncer/pki")
        cls.systemd = cls.enterClassContext(Systemd(cls.directory))
        cls.systemd.run("systemctl", "start", "pgbouncer").or_fail()

    def start(self, options: str | None) -> tuple[bool, int]:
        """Returns how pki-renew.service ended, and what it wrote."""
        defaults = self.directory / "etc/default/pki-renew"
        defaults.unlink(missing_ok=True)
        if options is not None:
            defaults.write_text(f"PKI_RENEW_OPTIONS={options}\n")
        started = self.systemd.run("systemctl", "start", "pki-renew.service")
        status = self.systemd.run(
            "systemctl", "show", "--property=ExecMainStatus", "--value", "pki-renew.service"
        )
        self.systemd.run("systemctl", "reset-failed", "pki-renew.service")
        return started.status == 0, int(status.output)

    def make_due(self) -> bytes:
        age(self.tls)
        give_to_postgres(self.leaf / "cert.pem")
        self.systemd.run("systemctl", "reload", "pgbouncer").or_fail()
        old = Certificate(self.leaf / "cert.pem").serial
        wait_until(lambda: served(self.port) == old, "PgBouncer serves what is due")
        return old

    def serial(self) -> bytes:
        return Certificate(self.leaf / "cert.pem").serial

    def test_it_renews_and_reloads(self):
        for mode in (0o755, 0o2750):
            with self.subTest(oct(mode)):
                shutil.chown(self.leaf, group="postgres")
                self.leaf.chmod(mode)
                old = self.make_due()
                paths = [self.leaf, *self.leaf.iterdir()]
                before = [shows(path) for path in paths]
                self.assertEqual(self.start(self.options), (True, 0))
                self.assertNotEqual(self.serial(), old)
                self.assertEqual(served(self.port), self.serial())
                self.assertEqual([shows(path) for path in paths], before)
        self.assertEqual(self.start(self.options), (True, 0))  # nothing is due

    def test_it_needs_no_options(self):
        old = self.make_due()
        self.assertEqual(self.start(None), (True, 0))
        self.assertNotEqual(self.serial(), old)
        self.assertEqual(served(self.port), old)

    def test_a_failure_is_one_of_the_service(self):
        self.make_due()
        self.assertEqual(self.start("--exec 'exit 4'"), (False, 1))
        self.assertEqual(self.start("--exec 'true'"), (True, 0))

    def test_it_cannot_do_much_else(self):
        for command in (
            "touch /usr/there",
            "touch /etc/there",
            "touch /root/there",
            "touch /etc/pgbouncer/there",
            "mount -t tmpfs none /mnt",
            "setpriv --reuid=nobody true",
            "mknod /etc/pgbouncer/tls/disk b 8 0",
        ):
            with self.subTest(command):
                self.make_due()
                self.assertEqual(self.start(f"--exec '{command}'"), (False, 1))
                self.assertEqual(self.start("--exec 'touch /etc/pgbouncer/tls/there'"), (True, 0))

    def test_the_timer_starts_it(self):
        old = self.make_due()
        self.systemd.run("systemctl", "start", "pki-renew.timer").or_fail()
        listed = self.systemd.run("systemctl", "list-timers", "--all").or_fail()
        self.assertRegex(listed.output, r"(?m)left.*pki-renew\.timer +pki-renew\.service$")
        self.systemd.run("systemctl", "stop", "pki-renew.timer").or_fail()
        self.assertEqual(self.serial(), old)


if __name__ == "__main__":
    unittest.main()
