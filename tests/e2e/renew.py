#!/usr/bin/python3
"""pki renew: certificates that end soon are replaced where they lie, and the servers load them.

Files first: what changes and what does not, for directories of ours and of minica's. Then the
command and the confirmation that follow, with a real PgBouncer and a real PostgreSQL, while clients
connect all the time.

    PKI=build/pki tests/e2e/renew.py
"""

import contextlib
import json
import os
import pwd
import shlex
import signal
import stat
import subprocess
import threading
import unittest
from pathlib import Path

import servers
import support
from minica_compat import MINICA_LEAF, key_type, minica_root, usages
from servers import (
    PgBouncer,
    Postgres,
    as_postgres,
    as_root,
    psql,
    run,
    temporary_directory,
    wait_until,
)
from support import (
    HOST,
    Certificate,
    certify,
    fresh,
    from_now,
    give_away,
    make_key,
    openssl,
    place,
    program,
    public_key,
    snapshot,
    traditional,
    unprivileged,
)

only_root = unittest.skipIf(os.geteuid() != 0, "only root can give files away")

SERVER = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=DNS:bouncerhost
"""


def shows(path: Path) -> tuple:
    """Owner and mode."""
    status = path.lstat()
    return status.st_uid, status.st_gid, oct(stat.S_IMODE(status.st_mode))


def age(directory: Path, leaf="bouncerhost", *, left: float = 10, extensions=SERVER):
    """Gives a leaf of ours the certificate that it would have had it been made long ago."""
    pair = [(directory / name).read_bytes() for name in ("minica.pem", "minica-key.pem")]
    key = directory / leaf / "key.pem"
    made = certify(
        key.read_bytes(),
        extensions,
        issuer=tuple(pair),
        subject=leaf,
        start=from_now(left - 760),
        end=from_now(left),
    )
    (directory / leaf / "cert.pem").write_bytes(made)


class Case(support.Case):
    def with_leaf(self, *more: str, left: float = 10) -> Path:
        """A new directory with a root, and a leaf that has so many days left."""
        directory = fresh()
        self.assertEqual(self.pki(directory, *HOST, *more).returncode, 0)
        age(directory, left=left)
        return directory

    def renew(self, directory: Path, *arguments: str, status: int = 0, **how) -> str:
        done = self.pki(directory, "renew", *arguments, **how)
        self.assertEqual((done.returncode, done.stdout), (status, b""), done.stderr)
        text = done.stderr.decode()
        for line in text.splitlines():
            self.assertRegex(line, r"\Apki: [\x20-\x7e]+\Z")
        return text

    def assert_pair(self, directory: Path, leaf="bouncerhost") -> Certificate:
        """That verifies, and is in the ledger."""
        certificate = Certificate(directory / leaf / "cert.pem")
        self.assertEqual(certificate.key, public_key((directory / leaf / "key.pem").read_bytes()))
        openssl("verify -CAfile", directory / "minica.pem", directory / leaf / "cert.pem")
        serial = certificate.serial.hex().upper()
        self.assertIn(f"\t{serial}\t", (directory / "minica-index.txt").read_text())
        return certificate


# --- Files ----------------------------------------------------------------------------------------


class Files(Case):
    def test_it_is_renewed_once(self):
        for name in ("bouncerhost", "bouncerhost/", "--all"):
            with self.subTest(name):
                directory = self.with_leaf()
                old = Certificate(directory / "bouncerhost/cert.pem")
                said = self.renew(directory, name)
                self.assertIn("bouncerhost: renewed, valid until 2", said)
                new = self.assert_pair(directory)
                self.assertNotEqual(new.key, old.key)
                self.assertEqual((new.names, new.common_name), (old.names, old.common_name))
                start, end = new.validity
                old_start, old_end = old.validity
                self.assertEqual(end - start, old_end - old_start)
                before = snapshot(directory)
                self.assertIn("unchanged", self.renew(directory, name))
                self.assertEqual(self.renew(directory, name, "--quiet"), "")
                self.assertEqual(snapshot(directory), before)

    def test_the_main_job_says_how(self):
        directory = self.with_leaf()
        done = self.pki(directory, *HOST)
        self.assertEqual(done.returncode, 3)
        self.assertIn(b"; pki renew bouncerhost makes a new one", done.stderr)
        self.renew(directory, "bouncerhost")
        self.assert_unchanged(directory, *HOST, leaf="bouncerhost")

    def test_expired(self):
        directory = self.with_leaf(left=-3)
        self.renew(directory, "--all")
        self.assert_pair(directory)

    def test_the_window(self):
        for left, arguments, renewed in (
            (29, (), True),
            (31, (), False),
            (59, ("--before", "60d"), True),
            (59, ("--before", "60"), True),
            (61, ("--before", "60d"), False),
            (10, ("--before", "5d"), False),
        ):
            with self.subTest(left=left, arguments=arguments):
                directory = self.with_leaf(left=left)
                self.assertEqual("renewed" in self.renew(directory, "--all", *arguments), renewed)

    def test_reuse_key(self):
        directory = self.with_leaf()
        key = (directory / "bouncerhost/key.pem").read_bytes()
        self.renew(directory, "bouncerhost", "--reuse-key")
        self.assertEqual((directory / "bouncerhost/key.pem").read_bytes(), key)
        self.assert_pair(directory)

    @only_root
    def test_owners_and_modes_stay(self):
        postgres = pwd.getpwnam("postgres")
        for owner, mode, key_mode, certificate_mode in (
            (("--owner", "postgres"), 0o755, 0o600, 0o644),
            (("--owner", ":postgres"), 0o755, 0o640, 0o644),
            (("--owner", "postgres:postgres"), 0o2750, 0o400, 0o640),
            ((), 0o700, 0o600, 0o600),  # minica's
        ):
            for umask in (0, 0o077):
                with self.subTest(owner, umask=umask):
                    directory = self.with_leaf(*owner)
                    leaf = directory / "bouncerhost"
                    (leaf / "key.pem").chmod(key_mode)
                    (leaf / "cert.pem").chmod(certificate_mode)
                    (leaf / "dh.pem").write_text("not ours\n")
                    os.chown(leaf / "dh.pem", postgres.pw_uid, 12345)
                    leaf.chmod(mode)
                    paths = [leaf, *leaf.iterdir()]
                    before = {path: shows(path) for path in paths}
                    self.renew(directory, "--all", umask=umask)
                    self.assert_pair(directory)
                    self.assertEqual({path: shows(path) for path in paths}, before)
                    self.assertEqual(sorted(leaf.iterdir()), sorted(paths[1:]))

    def test_an_ordinary_user(self):
        directory = self.with_leaf()
        give_away(directory)
        self.renew(directory, "--all", **unprivileged())
        self.assert_pair(directory)

    @only_root
    def test_an_ordinary_user_cannot_renew_for_another(self):
        directory = self.with_leaf("--owner", "postgres")
        for path in (directory, *directory.glob("minica*")):
            os.chown(path, unprivileged()["user"], unprivileged()["group"])
        before = snapshot(directory)
        said = self.renew(directory, "--all", status=1, **unprivileged())
        self.assert_one_line(said.encode())
        self.assertIn("bouncerhost/key.pem", said)
        after = snapshot(directory)
        for name in ("bouncerhost", "bouncerhost/key.pem", "bouncerhost/cert.pem"):
            self.assertEqual(after[name], before[name])
        self.assertEqual(after.keys(), before.keys())

    def test_one_failure_among_several(self):
        directory = self.with_leaf()
        for name in ("a", "b", "z"):
            self.pki(directory, "--domains", name)
            age(directory, name, extensions=SERVER.replace("bouncerhost", name))
        (directory / "b/key.pem").unlink()
        said = self.renew(directory, "--all", status=1)
        self.assertIn("b/key.pem is missing", said)
        self.assertEqual(said.count("renewed"), 3)
        for name in ("a", "bouncerhost", "z"):
            self.assert_pair(directory, name)

    def test_exports_are_made_anew(self):
        directory = self.with_leaf()
        leaf = directory / "bouncerhost"
        password = directory / "password"
        password.write_text("secret\n")
        for kind in ("pk8", "der", "fullchain"):
            self.pki(directory, "export", "bouncerhost", "--format", kind)
        self.pki(
            directory, "export", "bouncerhost", "--format", "p12", "--password-file", password
        )
        (leaf / "key.p12").chmod(0o640)
        self.renew(directory, "--all", "--password-file", str(password))
        made = self.assert_pair(directory)
        certificate = (leaf / "cert.pem").read_bytes()
        openssl("pkey -inform DER -noout -in", leaf / "key.pk8")
        self.assertEqual(
            openssl("pkey -inform DER -pubout -outform DER -in", leaf / "key.pk8"), made.key
        )
        self.assertEqual(
            openssl("x509 -inform DER -in", leaf / "cert.der"), openssl("x509", stdin=certificate)
        )
        self.assertEqual(
            (leaf / "fullchain.pem").read_bytes(),
            certificate + (directory / "minica.pem").read_bytes(),
        )
        inside = openssl(
            "pkcs12 -nodes -nokeys -clcerts -passin", f"file:{password}", "-in", leaf / "key.p12"
        )
        self.assertEqual(openssl("x509", stdin=inside), openssl("x509", stdin=certificate))
        self.assertEqual(shows(leaf / "key.p12")[2], "0o640")
        # What is asked for again is there.
        for kind in ("pk8", "der", "fullchain"):
            done = self.pki(directory, "export", "bouncerhost", "--format", kind)
            self.assertEqual((done.returncode, b"unchanged" in done.stderr), (0, True))

    def test_a_p12_without_its_password(self):
        directory = self.with_leaf()
        password = directory / "password"
        password.write_text("secret\n")
        self.pki(
            directory, "export", "bouncerhost", "--format", "p12", "--password-file", password
        )
        before = (directory / "bouncerhost/key.p12").read_bytes()
        said = self.renew(directory, "--all", "--quiet", status=3)
        self.assertRegex(said, "bouncerhost/key.p12 .*; move it away, .*pki export")
        self.assert_pair(directory)
        self.assertEqual((directory / "bouncerhost/key.p12").read_bytes(), before)
        password.write_text("")
        before = snapshot(directory)
        said = self.renew(directory, "--all", "--password-file", str(password), status=1)
        self.assertIn("the password is empty", said)
        self.assertEqual(snapshot(directory), before)

    def test_certificates_of_minica(self):
        """Versions 1.0 (RSA) and 1.1 (P-384), with keys in every form."""
        for kind, leaf_kind in (("rsa2048", "rsa2048"), ("p384", "p384"), ("p384", "rsa2048")):
            for form in (lambda key: key, traditional):
                with self.subTest(kind, leaf=leaf_kind, form=form.__name__):
                    directory = fresh()
                    root = minica_root(kind)
                    place(directory, *root)
                    leaf = directory / "bouncerhost"
                    leaf.mkdir(0o700)
                    key = make_key(leaf_kind)
                    old = certify(
                        key,
                        MINICA_LEAF + "subjectAltName=DNS:bouncerhost,DNS:b,IP:10.0.0.5\n",
                        issuer=root,
                        subject="bouncerhost",
                        start=from_now(-755),
                        end=from_now(5),
                    )
                    place(leaf, old, form(key), names=("cert.pem", "key.pem"))
                    (leaf / "cert.pem").chmod(0o600)
                    self.renew(directory, "--all")
                    new = self.assert_pair(directory)
                    self.assertEqual(new.names, ["DNS:bouncerhost", "DNS:b", "IP:10.0.0.5"])
                    self.assertEqual(usages(new), {"server", "client"})
                    self.assertEqual(
                        key_type(new), {"rsa2048": "RSA 2048", "p384": "P-384"}[leaf_kind]
                    )
                    self.assertEqual(
                        [shows(path)[2] for path in (leaf, leaf / "cert.pem", leaf / "key.pem")],
                        ["0o700", "0o600", "0o600"],
                    )

    def test_a_database_user(self):
        directory = fresh()
        self.pki(directory, "--user", "app_user", "--days", "1")
        self.renew(directory, "app_user", "--before", "1d")
        new = Certificate(directory / "app_user/cert.pem")
        self.assertEqual((new.common_name, usages(new)), ("app_user", {"client"}))

    def test_a_wildcard(self):
        directory = fresh()
        self.pki(directory, "--domains", "*.db.test", "--days", "1")
        self.assertIn("renewed", self.renew(directory, "*.db.test", "--before", "1d"))

    def test_nothing_there(self):
        directory = support.with_root()
        self.assertIn("no certificates of minica.pem", self.renew(directory, "--all"))
        empty = fresh()
        self.assert_refused(empty, "renew", "--all", says=["there is no root minica.pem"])

    def test_refused(self):
        directory = self.with_leaf()
        (directory / "link").symlink_to("bouncerhost")
        (directory / "empty").mkdir()
        for name, says in (
            ("nowhere", "nowhere is not there"),
            ("link", "link is a link"),
            ("empty", "empty holds no certificate of minica.pem"),
            ("minica.pem", "minica.pem is no directory"),
            ("../x", '"../x" is no name'),
            (str(directory / "bouncerhost"), "say with --out where it is"),
        ):
            with self.subTest(name):
                self.assert_refused(directory, "renew", name, says=[says])

    def test_wrong_usage(self):
        directory = self.with_leaf()
        for arguments in (
            (),
            ("--all", "bouncerhost"),
            ("--all", "--before", "soon"),
            ("--all", "--exec", ""),
            ("--all", "--confirm", "a:b"),
            ("--all", "--confirm", ""),
            ("--all", "--timeout", "0"),
            ("--all", "--password-file", "a", "--password-fd", "3"),
        ):
            with self.subTest(arguments):
                self.assert_refused(directory, "renew", *arguments, status=2, advice=False)

    def test_json(self):
        directory = self.with_leaf()
        self.pki(directory, "--domains", "young")
        self.pki(directory, "export", "bouncerhost", "--format", "pk8")
        old = Certificate(directory / "bouncerhost/cert.pem").serial.hex().upper()
        done = self.pki(directory, "renew", "--all", "--json", "--quiet")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        leaf, young = json.loads(done.stdout)
        self.assertEqual((leaf["name"], leaf["status"]), ("bouncerhost", "renewed"))
        self.assertEqual(leaf["replaced_serial"], old)
        made = Certificate(directory / "bouncerhost/cert.pem")
        self.assertEqual(leaf["serial"], made.serial.hex().upper())
        self.assertEqual(leaf["exports"], [str(directory / "bouncerhost/key.pk8")])
        self.assertEqual((young["name"], young["status"]), ("young", "unchanged"))

    def test_json_when_one_fails(self):
        directory = self.with_leaf()
        (directory / "bouncerhost/key.pem").unlink()
        done = self.pki(directory, "renew", "--all", "--json")
        self.assertEqual(done.returncode, 1)
        (leaf,) = json.loads(done.stdout)
        self.assertEqual(leaf["status"], "failed")
        self.assertIn("key.pem is missing", leaf["error"])

    def test_at_a_terminal_it_says_what_comes_next(self):
        directory = self.with_leaf()
        shown = servers.run_in_terminal([program(), "renew", "--all"], directory=directory)
        self.assertIn("sudo systemctl reload pgbouncer", shown.output)
        self.assertIn("pki check bouncerhost", shown.output)
        shown = servers.run_in_terminal([program(), "renew", "--all"], directory=directory)
        self.assertNotIn("reload", shown.output)


def in_own_mounts(script: str) -> list[str]:
    return as_root("unshare", "--mount", "sh", "-ec", script)


@unittest.skipIf(
    subprocess.run(in_own_mounts("mount -t tmpfs none /mnt"), capture_output=True).returncode != 0,
    "not allowed to mount",
)
class Mounts(Case):
    """Where directories cannot be exchanged their files are, one by one."""

    def renew_in_mounts(self, directory: Path, before: str) -> str:
        """Returns what is left in the leaf afterwards."""
        pki = shlex.quote(str(program()))
        script = f"""cd {directory}
            cp -a bouncerhost saved
            {before}
            {pki} renew --all --verbose --out ${{out:-.}} 2>&1
            cp -a bouncerhost/. result
            ls -A bouncerhost > left
        """
        (directory / "result").mkdir()
        outcome = run(in_own_mounts(script)).or_fail()
        self.assertIn("exchanged file by file", outcome.output)
        certificate = Certificate(directory / "result/cert.pem")
        self.assertEqual(certificate.key, public_key((directory / "result/key.pem").read_bytes()))
        self.assertNotEqual(
            certificate.serial, Certificate(directory / "saved/cert.pem").serial, outcome
        )
        return (directory / "left").read_text()

    def test_a_leaf_that_is_a_mount_point(self):
        directory = self.with_leaf()
        left = self.renew_in_mounts(
            directory,
            "mount -t tmpfs none bouncerhost; cp -a saved/. bouncerhost; echo > bouncerhost/mine",
        )
        self.assertEqual(left, "cert.pem\nkey.pem\nmine\n")

    def test_one_directory_with_two_names(self):
        directory = self.with_leaf()
        (directory / "again").mkdir()
        pki = shlex.quote(str(program()))
        mount = f"cd {directory}; mount --bind bouncerhost again"
        outcome = run(in_own_mounts(f"{mount}; {pki} renew --all 2>&1"))
        self.assertEqual(outcome.status, 1, outcome)
        self.assertIn("bouncerhost is the same directory as again", outcome.output)
        self.assert_pair(directory)

    def test_a_directory_that_is_read_only_around_it(self):
        directory = self.with_leaf()
        (directory / "leaves").mkdir()
        left = self.renew_in_mounts(
            directory,
            """mv bouncerhost there
            mkdir leaves/bouncerhost
            ln -s there bouncerhost
            mount --bind leaves leaves
            mount -o remount,ro,bind leaves
            mount --bind there leaves/bouncerhost
            out=leaves""",
        )
        self.assertEqual(left, "cert.pem\nkey.pem\n")


# --- What follows ---------------------------------------------------------------------------------


class Commands(Case):
    MARK = "bouncerhost/.reload-due"

    def test_once_with_the_names(self):
        directory = self.with_leaf()
        for name in ("a", "young"):
            self.pki(directory, "--domains", name)
        age(directory, "a", extensions=SERVER.replace("bouncerhost", "a"))
        command = 'echo "$PKI_RENEWED" >> ran'
        self.renew(directory, "--all", "--exec", command)
        self.assertEqual((directory / "ran").read_text(), "a bouncerhost\n")
        self.renew(directory, "--all", "--exec", command)
        self.assertEqual((directory / "ran").read_text(), "a bouncerhost\n")
        self.assertFalse((directory / self.MARK).exists())

    def test_the_new_files_are_there_by_then_and_the_locks_are_free(self):
        directory = self.with_leaf()
        old = (directory / "bouncerhost/cert.pem").read_bytes()
        self.renew(
            directory,
            "--all",
            "--exec",
            f"cp bouncerhost/cert.pem seen && {program()} renew --all",
            timeout=20,
        )
        seen = (directory / "seen").read_bytes()
        self.assertNotEqual(seen, old)
        self.assertEqual(seen, (directory / "bouncerhost/cert.pem").read_bytes())

    def test_no_descriptor_and_nothing_to_read(self):
        directory = self.with_leaf()
        secret = os.open(directory / "minica-key.pem", os.O_RDONLY)
        self.renew(
            directory,
            "--all",
            "--exec",
            "ls /proc/$$/fd > fds; readlink /proc/$$/fd/0 >> fds; umask >> fds",
            pass_fds=(secret,),
            stdin=subprocess.PIPE,
            umask=0o027,
        )
        os.close(secret)
        # 10 is the shell's own, for what it redirects.
        self.assertLessEqual(
            set((directory / "fds").read_text().split()), {"0", "1", "2", "10", "/dev/null", "0027"}
        )

    def test_what_it_prints_is_not_our_result(self):
        directory = self.with_leaf()
        done = self.pki(directory, "renew", "--all", "--json", "--exec", "echo hello")
        json.loads(done.stdout)
        self.assertIn(b"hello\n", done.stderr)

    def test_it_is_repeated_until_it_succeeds(self):
        directory = self.with_leaf()
        said = self.renew(directory, "--all", "--exec", "exit 3", status=1)
        self.assertRegex(said, 'the command "exit 3" ended with status 3; .*run this again')
        new = self.assert_pair(directory)
        self.assertTrue((directory / self.MARK).exists())
        # Nothing is due now; but a renewal that was not followed is not forgotten.
        self.assertIn("warning: bouncerhost: ", self.renew(directory, "--all"))
        self.renew(directory, "--all", "--exec", "kill -9 $$", status=1)
        self.renew(directory, "bouncerhost", "--exec", 'echo "$PKI_RENEWED" > ran')
        self.assertEqual((directory / "ran").read_text(), "bouncerhost\n")
        self.assertEqual(Certificate(directory / "bouncerhost/cert.pem").serial, new.serial)
        self.assertFalse((directory / self.MARK).exists())
        self.renew(directory, "--all", "--exec", "exit 3")

    def test_it_is_run_for_those_that_were_asked_for(self):
        directory = self.with_leaf()
        self.pki(directory, "--domains", "a")
        age(directory, "a", extensions=SERVER.replace("bouncerhost", "a"))
        self.renew(directory, "a", "--exec", "false", status=1)
        self.renew(directory, "bouncerhost", "--exec", 'echo "$PKI_RENEWED" > ran')
        self.assertEqual((directory / "ran").read_text(), "bouncerhost\n")
        self.assertTrue((directory / "a/.reload-due").exists())

    def test_a_revocation_list_that_is_due(self):
        directory = self.with_leaf(left=100)
        command = ("renew", "--all", "--exec", 'echo "<$PKI_RENEWED>" >> ran')
        self.pki(directory, "crl", "--days", "2")
        self.pki(directory, *command)
        self.assertFalse((directory / "ran").exists())
        # As that will be after a while.
        (directory / "config").write_text(
            "[ca]\ndefault_ca=this\n[this]\ndatabase=minica-index.txt\ncertificate=minica.pem\n"
            "private_key=minica-key.pem\ndefault_md=sha256\n"
        )
        dates = ["-crl_lastupdate", from_now(-2), "-crl_nextupdate", from_now(1)]
        made = ["-config", "config", "-out", "minica-crl.pem"]
        openssl("ca -gencrl", *dates, *made, directory=directory)
        old = (directory / "minica-crl.pem").read_bytes()
        failed = self.pki(directory, "renew", "--all", "--exec", "false")
        self.assertEqual(failed.returncode, 1)
        self.assertIn(b"pki: minica-crl.pem: made anew, lasts until ", failed.stderr)
        self.assertNotEqual((directory / "minica-crl.pem").read_bytes(), old)
        self.assertIn("warning: minica-crl.pem: ", self.renew(directory, "--all"))
        for _ in range(2):
            self.assertEqual(self.pki(directory, *command).returncode, 0)
        self.assertEqual((directory / "ran").read_text(), "<>\n")
        # What names no list at all is said, and holds nothing up.
        (directory / "minica-crl.pem").write_text("damaged\n")
        age(directory)
        said = self.renew(directory, "--all", status=1)
        self.assertIn("minica-crl.pem", said)
        self.assertIn("bouncerhost: renewed", said)

    def test_it_runs_where_another_leaf_fails(self):
        directory = self.with_leaf()
        self.pki(directory, "--domains", "a")
        (directory / "a/cert.pem").write_text("damaged\n")
        self.renew(directory, "--all", "--exec", 'echo "$PKI_RENEWED" > ran', status=1)
        self.assertEqual((directory / "ran").read_text(), "bouncerhost\n")


# --- Servers --------------------------------------------------------------------------------------

ROLE, PASSWORD, DATABASE = "app", "secret", "postgres"


def log_in(directory: Path, port: int):
    command = psql(
        "--tuples-only",
        "--no-align",
        "--command=SELECT current_user",
        host=HOST[1],
        hostaddr="127.0.0.1",
        port=port,
        user=ROLE,
        password=PASSWORD,
        dbname=DATABASE,
        sslmode="verify-full",
        sslrootcert=directory / "minica.pem",
    )
    return run(command)


def served(port: int) -> bytes:
    """The serial number of the certificate that is served there."""
    shown = subprocess.run(
        ["openssl", "s_client", "-starttls", "postgres", "-connect", f"127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    text = openssl("x509 -noout -serial", stdin=shown.stdout).decode()
    return bytes.fromhex(text.strip().partition("=")[2])


class Clients:
    """Connect all the time, while the `with` statement lasts."""

    def __init__(self, directory: Path, port: int) -> None:
        self._arguments = directory, port
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]
        self.connected = 0
        self.failed: list = []

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._done.is_set():
            outcome = log_in(*self._arguments)
            if (outcome.status, outcome.output) == (0, f"{ROLE}\n"):
                self.connected += 1
            else:
                self.failed.append(outcome)


class Services(Case):
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

    def setUp(self) -> None:
        self.directory = self.enterContext(temporary_directory())

    def issue(self, *arguments: str) -> None:
        run(as_root(str(program()), *HOST, *arguments), self.directory).or_fail()

    def renew(self, *arguments: str):
        """With a window in which every certificate is."""
        command = [str(program()), "renew", "--all", "--before", "9999", *arguments]
        return run(as_root(*command), self.directory)

    def assert_confirmed(self, port: int, *arguments: str) -> None:
        before = served(port)
        self.renew("--quiet", "--confirm", f"127.0.0.1:{port}", *arguments).or_fail()
        now = Certificate(self.directory / "bouncerhost/cert.pem").serial
        self.assertNotEqual(before, now)
        self.assertEqual(served(port), now)

    @contextlib.contextmanager
    def pgbouncer(self, command=as_postgres()):
        config = run([str(program()), "config", "pgbouncer", HOST[1]], self.directory).or_fail()
        bouncer = PgBouncer(
            self.directory / "pgbouncer",
            {DATABASE: f"host=127.0.0.1 port={self.database.port}"},
            {ROLE: PASSWORD},
            config.output.splitlines(),
        )
        with bouncer:
            yield bouncer

    def reload(self, server: servers.Daemon) -> str:
        return f"kill -HUP {server._process.pid}"

    def test_pgbouncer_while_clients_connect(self):
        self.issue("--owner", "postgres")
        with self.pgbouncer() as bouncer, Clients(self.directory, bouncer.port) as clients:
            for number in range(20):
                more = ("--reuse-key",) if number % 5 == 4 else ()
                self.assert_confirmed(bouncer.port, "--exec", self.reload(bouncer), *more)
            wait_until(lambda: clients.connected > 20, "clients connect")
        self.assertEqual(clients.failed, [])
        self.assertNotIn("TLS configuration could not be reloaded", bouncer.log())

    def test_postgresql(self):
        self.issue("--owner", ":postgres")
        config = run([str(program()), "config", "postgres", HOST[1]], self.directory).or_fail()
        (self.directory / "tls.conf").write_text(config.output)
        (self.directory / "postgresql.conf").write_text(f"include '{self.directory}/tls.conf'\n")
        server = Postgres(
            self.directory / "postgres",
            superuser=ROLE,
            password=PASSWORD,
            access_rules="hostssl all all all scram-sha-256\n",
            settings={"config_file": str(self.directory / "postgresql.conf")},
        )
        with server, Clients(self.directory, server.port) as clients:
            for _ in range(3):
                self.assert_confirmed(server.port, "--exec", self.reload(server))
        self.assertEqual(clients.failed, [])

    def test_a_reload_that_is_forgotten(self):
        self.issue("--owner", "postgres")
        with self.pgbouncer() as bouncer:
            target = ("--confirm", f"127.0.0.1:{bouncer.port}", "--timeout", "1")
            refused = self.renew("--exec", "true", *target)
            self.assertEqual(refused.status, 3, refused)
            self.assertIn("serves a certificate that is not on the disk", refused.output)
            mark = self.directory / "bouncerhost/.reload-due"
            self.assertTrue(mark.exists())
            # Nothing is due any more, and it is still not served.
            again = ("renew", "--all", *target)
            self.assertEqual(run(as_root(str(program()), *again), self.directory).status, 3)
            mended = (*again, "--exec", self.reload(bouncer))
            run(as_root(str(program()), *mended), self.directory).or_fail()
            self.assertFalse(mark.exists())
            self.assertEqual(
                served(bouncer.port), Certificate(self.directory / "bouncerhost/cert.pem").serial
            )

    def test_a_reload_that_says_success_and_fails(self):
        """PgBouncer before 1.25, where somebody has taken the key from it."""
        self.issue("--owner", "postgres")
        with self.pgbouncer() as bouncer:
            before = served(bouncer.port)
            run(as_root("chown", "root", f"{self.directory}/bouncerhost/key.pem")).or_fail()
            refused = self.renew(
                "--exec",
                self.reload(bouncer),
                "--confirm",
                f"127.0.0.1:{bouncer.port}",
                "--timeout",
                "2",
            )
            self.assertEqual(refused.status, 3, refused)
            self.assertIn("PgBouncer before 1.25", refused.output)
            self.assertEqual(served(bouncer.port), before)
            self.assertIn("TLS configuration could not be reloaded", bouncer.log())

    def test_a_server_that_does_not_answer(self):
        self.issue()
        port = servers.reserve_port()
        outcome = self.renew("--confirm", f"127.0.0.1:{port}", "--timeout", "1")
        self.assertEqual(outcome.status, 1, outcome)
        self.assertIn("cannot confirm what 127.0.0.1 port", outcome.output)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    unittest.main()
