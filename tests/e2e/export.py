#!/usr/bin/python3
"""`pki export`: other forms of a pair, judged by the programs that want them; and `pki config`'s
usage.

What an export is good for is told by openssl(1), by Java 17 and by psql, which finds ~/.postgresql
by itself and logs in with what it finds there. A refused export must change nothing at all.

    PKI=build/pki tests/e2e/export.py

Runs as root or as any user who may sudo (the PostgreSQL server runs as the user postgres). Only
root can give files away, and only root's exports for others are tested then.
"""

import contextlib
import functools
import os
import pwd
import shutil
import signal
import stat
import subprocess
import unittest
from collections.abc import Iterator
from pathlib import Path

import servers
from servers import Postgres, give_to_postgres, psql, temporary_directory
from support import (
    Case,
    der_of,
    fresh,
    give_away,
    make_key,
    openssl,
    program,
    public_key,
    snapshot,
    unprivileged,
)

PASSWORD = "correct horse \u00e9 battery"

# What each format makes, in the order in which it is published.
FORMATS = {
    "pk8": ["key.pk8"],
    "p12": ["key.p12"],
    "der": ["cert.der"],
    "fullchain": ["fullchain.pem"],
    "libpq": ["root.crt", "postgresql.crt", "postgresql.key"],
}
KEY_FORMATS = [form for form in FORMATS if form not in ("der", "fullchain")]
SECRETS = {"key.pk8", "key.p12", "postgresql.key"}

KEY_TYPES = ("p256", "p384", "rsa2048", "ed25519")


def setUpModule() -> None:
    os.umask(0o022)
    # Now, and not in the middle: a judge that is missing must not make a test pass or be skipped.
    for name in ("openssl", "keytool", "java", "strace", "psql", "postgres"):
        if shutil.which(name, path=servers.PROGRAM_PATH) is None:
            raise FileNotFoundError(
                f"{name} is not installed: apt-get install "
                "openssl openjdk-17-jdk-headless strace postgresql"
            )


def without_times(directory: Path) -> dict:
    """A snapshot in which a file that came and went leaves no trace."""
    return {
        path: (mode, user, links, contents)
        for path, (mode, user, links, _, _, contents) in snapshot(directory).items()
    }


def is_there(path: Path) -> bool:
    return os.path.lexists(path)


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.lstat().st_mode))


class Export(Case):
    def issued(self, *options: str) -> Path:
        """A directory with the pair of the database user app_user, and a password for a p12."""
        directory = fresh()
        run = self.pki(directory, "--user", "app_user", *options)
        self.assertEqual(run.returncode, 0, run.stderr)
        (directory / "password").write_text(PASSWORD + "\n")
        return directory

    def command(self, form: str, *options: str | Path) -> list:
        """For app_user; libpq goes beside the others, for not every test is about HOME."""
        command = ["export", "app_user", "--format", form, *options]
        if form == "p12" and not {"--password-file", "--password-fd"} & set(options):
            command += ["--password-file", "password"]
        if form == "libpq" and "--to" not in options:
            command += ["--to", "app_user"]
        return command

    def export(self, directory: Path, form: str, *options: str | Path, **how) -> None:
        run = self.pki(directory, *self.command(form, *options), **how)
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, b"", b""))

    def assert_export_refused(self, directory: Path, form: str, *options, **how) -> None:
        self.assert_refused(directory, *self.command(form, *options), **how)


# --- What the forms are good for ------------------------------------------------------------------

# For the file of a password, and then for every `key.p12 key.pk8 algorithm`, says what Java finds
# under the alias `user`; it signs with both keys, and verifies with the certificate.
JAVA = """
import java.io.*;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.*;
import java.util.*;

class Judge {
  public static void main(String[] arguments) throws Exception {
    String password = Files.readString(Path.of(arguments[0])).strip();
    for (int at = 1; at < arguments.length; at += 3) {
      KeyStore store = KeyStore.getInstance("PKCS12");
      try (var in = new FileInputStream(arguments[at])) {
        store.load(in, password.toCharArray());
      }
      var key = (PrivateKey) store.getKey("user", password.toCharArray());
      var chain = store.getCertificateChain("user");
      for (int i = 0; i < chain.length; ++i) {
        chain[i].verify(chain[Math.min(i + 1, chain.length - 1)].getPublicKey());
      }
      byte[] der = Files.readAllBytes(Path.of(arguments[at + 1]));
      var loose = KeyFactory.getInstance(arguments[at + 2])
          .generatePrivate(new PKCS8EncodedKeySpec(der));
      var leaf = (X509Certificate) chain[0];
      var algorithm = Map.of("EC", "SHA256withECDSA", "RSA", "SHA256withRSA", "EdDSA", "EdDSA");
      var signature = java.security.Signature.getInstance(algorithm.get(arguments[at + 2]));
      for (PrivateKey signer : new PrivateKey[] {key, loose}) {
        signature.initSign(signer);
        signature.update(der);
        byte[] made = signature.sign();
        signature.initVerify(leaf.getPublicKey());
        signature.update(der);
        if (!signature.verify(made)) throw new SignatureException("the pair does not match");
      }
      System.out.println(Collections.list(store.aliases()) + " " + chain.length + " "
          + leaf.getSubjectX500Principal());
    }
  }
}
"""


class Forms(Export):
    def test_openssl_reads_every_form(self):
        for key_type in KEY_TYPES:
            with self.subTest(key_type=key_type):
                directory = self.issued("--key-type", key_type)
                for form in FORMATS:
                    self.export(directory, form)
                leaf = directory / "app_user"
                root = directory / "minica.pem"
                key = (leaf / "key.pem").read_bytes()
                certificate = (leaf / "cert.pem").read_bytes()

                pk8 = (leaf / "key.pk8").read_bytes()
                self.assertEqual(
                    openssl("pkey -inform DER -pubout -outform DER", stdin=pk8), public_key(key)
                )
                # pgjdbc wants PrivateKeyInfo, not the older SEC1 and PKCS#1.
                self.assertEqual(pk8, der_of(key))
                openssl("x509 -inform DER -noout -in", leaf / "cert.der")
                self.assertEqual((leaf / "cert.der").read_bytes(), der_of(certificate))

                self.assertEqual(
                    (leaf / "fullchain.pem").read_bytes(), certificate + root.read_bytes()
                )
                openssl("verify -purpose sslclient -CAfile", root, leaf / "fullchain.pem")

                for name, source in (
                    ("postgresql.key", leaf / "key.pem"),
                    ("postgresql.crt", leaf / "cert.pem"),
                    ("root.crt", root),
                ):
                    self.assertEqual((leaf / name).read_bytes(), source.read_bytes(), name)

                p12 = ("pkcs12 -nodes -passin file:password -in", leaf / "key.p12")
                held = openssl(*p12, directory=directory)
                self.assertIn(b"friendlyName: user\n", held)
                self.assertEqual(held.count(b"BEGIN CERTIFICATE"), 2, "the root is not in it")
                self.assertEqual(
                    openssl("pkey", stdin=openssl(*p12, "-nocerts", directory=directory)), key
                )
                self.assertIn(certificate, openssl(*p12, "-nokeys", directory=directory))
                (directory / "password").write_text("another\n")
                with self.assertRaisesRegex(AssertionError, "invalid password"):
                    openssl(*p12, directory=directory)

    def test_java_reads_p12_and_pk8(self):
        judge = fresh() / "Judge.java"
        judge.write_text(JAVA)
        algorithms = {"p256": "EC", "p384": "EC", "rsa2048": "RSA", "ed25519": "EdDSA"}
        arguments = []
        for key_type in KEY_TYPES:
            directory = self.issued("--key-type", key_type)
            # keytool reads its password file in the platform's encoding.
            (directory / "password").write_text("an ASCII password\n")
            self.export(directory, "p12")
            self.export(directory, "pk8")
            leaf = directory / "app_user"
            arguments += [leaf / "key.p12", leaf / "key.pk8", algorithms[key_type]]
            password = directory / "password"
        done = subprocess.run(
            ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", judge, password, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.stdout, "[user] 2 CN=app_user\n" * len(KEY_TYPES), done.stderr)

        listing = subprocess.run(
            [
                "keytool",
                "-J-Duser.language=en",
                "-list",
                "-v",
                "-storetype",
                "PKCS12",
                "-keystore",
                arguments[0],
                "-storepass:file",
                password,
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        for line in (
            "Alias name: user",
            "Entry type: PrivateKeyEntry",
            "Certificate chain length: 2",
        ):
            self.assertIn(line, listing.stdout, listing.stderr)


class Libpq(Export):
    """psql is told nothing about files: it finds them in its home directory."""

    @contextlib.contextmanager
    def postgres(self, directory: Path) -> Iterator[Postgres]:
        """Lets in whoever has a certificate of the root in `directory`."""
        run = self.pki(directory, "--domains", "dbhost")
        self.assertEqual(run.returncode, 0, run.stderr)
        give_to_postgres(directory / "dbhost" / "key.pem")
        with temporary_directory() as place:
            server = Postgres(
                place / "postgres",
                superuser="app_user",
                password="unused",
                access_rules="hostssl all all all cert\n",
                settings={
                    "ssl": "on",
                    "ssl_cert_file": str(directory / "dbhost" / "cert.pem"),
                    "ssl_key_file": str(directory / "dbhost" / "key.pem"),
                    "ssl_ca_file": str(directory / "minica.pem"),
                },
            )
            with server:
                yield server

    def log_in(self, server: Postgres, home: Path, **who) -> str:
        command = psql(
            "--tuples-only",
            "--no-align",
            "--command=SELECT current_user",
            host="dbhost",
            hostaddr="127.0.0.1",
            port=server.port,
            user="app_user",
            dbname="postgres",
            sslmode="verify-full",
        )
        return subprocess.run(
            command,
            env=servers.ENVIRONMENT | {"HOME": str(home)},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=servers.PATIENCE,
            **who,
        ).stdout

    def test_psql_finds_it_in_its_home(self):
        directory, home = self.issued(), fresh()
        command = ["export", "app_user", "--format", "libpq"]
        run = self.pki(directory, *command, env={"HOME": str(home)})
        self.assertEqual((run.returncode, run.stderr), (0, b""))
        self.assertEqual(sorted(os.listdir(home / ".postgresql")), sorted(FORMATS["libpq"]))
        self.assertEqual(mode(home / ".postgresql"), "0o700")
        with self.postgres(directory) as server:
            self.assertEqual(self.log_in(server, home), "app_user\n")
            self.assertIn(
                '"/nonexistent/.postgresql/root.crt" does not exist',
                self.log_in(server, Path("/nonexistent")),
            )
            if os.geteuid() == 0:
                # The command of the manual: root makes it for a service's user, who uses it.
                service = fresh()
                self.export(
                    directory, "libpq", "--to", service / ".postgresql", "--owner", "nobody"
                )
                self.assertEqual(self.log_in(server, service, **unprivileged()), "app_user\n")

    def test_no_home(self):
        for environment in ({}, {"HOME": ""}):
            with self.subTest(environment=environment):
                self.assert_refused(
                    self.issued(),
                    "export",
                    "app_user",
                    "--format",
                    "libpq",
                    env=environment,
                    says=["HOME", "--to"],
                    status=2,
                )


# --- Whose the files are --------------------------------------------------------------------------


class Modes(Export):
    def test_mode_of_the_key(self):
        """As key.pem, whatever the umask; but never wider than 0640, and never executable."""
        for there, made in (
            (0o600, "0o600"),
            (0o640, "0o640"),
            (0o400, "0o400"),
            (0o440, "0o440"),
            (0o644, "0o640"),
            (0o700, "0o600"),
        ):
            for umask in (0, 0o077):
                with self.subTest(mode=oct(there), umask=oct(umask)):
                    directory = self.issued()
                    leaf = directory / "app_user"
                    (leaf / "key.pem").chmod(there)
                    for form, names in FORMATS.items():
                        self.export(directory, form, umask=umask)
                        for name in names:
                            self.assertEqual(
                                mode(leaf / name), made if name in SECRETS else "0o644", name
                            )

    @unittest.skipIf(os.geteuid() != 0, "only root can give files away")
    def test_owner(self):
        postgres = pwd.getpwnam("postgres")
        everything = [name for names in FORMATS.values() for name in names]
        for issued_for, exported_for, owner, key_mode in (
            ([], [], (0, 0), "0o600"),
            (["--owner", "postgres"], [], (postgres.pw_uid, 0), "0o600"),
            (["--owner", "root:postgres"], [], (0, postgres.pw_gid), "0o640"),
            ([], ["--owner", "nobody"], (65534, 0), "0o600"),
            ([], ["--owner", ":postgres"], (0, postgres.pw_gid), "0o640"),
            (["--owner", "root:postgres"], ["--owner", "nobody"], (65534, 0), "0o600"),
            (["--owner", "postgres"], ["--owner", "root:postgres"], (0, postgres.pw_gid), "0o640"),
        ):
            with self.subTest(issued_for=issued_for, exported_for=exported_for):
                directory = self.issued(*issued_for)
                for form in FORMATS:
                    self.export(directory, form, *exported_for, "--to", "made")
                for name in everything:
                    status = (directory / "made" / name).stat()
                    self.assertEqual((status.st_uid, status.st_gid), owner, name)
                    self.assertEqual(
                        mode(directory / "made" / name),
                        key_mode if name in SECRETS else "0o644",
                        name,
                    )
                # A directory that its owner cannot enter would be of no use.
                self.assertEqual((directory / "made").stat().st_uid, owner[0])

    def test_target_directory(self):
        for umask in (0, 0o077):
            with self.subTest("made", umask=oct(umask)):
                directory = self.issued()
                self.export(directory, "der", "--to", "made", umask=umask)
                self.assertEqual(mode(directory / "made"), "0o700")
        with self.subTest("there"):
            directory = self.issued()
            (directory / "there").mkdir(0o751)
            (directory / "there" / "somebody's").touch()
            self.export(directory, "pk8", "--to", "there/")
            self.assertEqual(mode(directory / "there"), "0o751")
            self.assertEqual(sorted(os.listdir(directory / "there")), ["key.pk8", "somebody's"])
        with self.subTest("in a directory that is not there"):
            self.assert_export_refused(directory, "der", "--to", "missing/made", says=["missing"])
        with self.subTest("a file"):
            self.assert_export_refused(directory, "der", "--to", "password", says=["password"])

    @unittest.skipIf(os.geteuid() != 0, "only root has keys that others cannot read")
    def test_without_the_right(self):
        directory = self.issued()
        with self.subTest("to read the key"):
            (directory / "open").mkdir()
            (directory / "open").chmod(0o777)
            for form in KEY_FORMATS:
                self.assert_export_refused(
                    directory,
                    form,
                    "--to",
                    "open",
                    **unprivileged(),
                    says=["key.pem", "Permission denied"],
                )
        shutil.rmtree(directory / "open")
        give_away(directory)
        for form in FORMATS:
            for to in ("app_user", "made"):
                with self.subTest("to give it away", form=form, to=to):
                    before = without_times(directory)
                    command = self.command(form, "--owner", "root", "--to", to)
                    run = self.pki(directory, *command, **unprivileged())
                    self.assertEqual((run.returncode, run.stdout), (1, b""))
                    self.assert_one_line(run.stderr)
                    self.assertIn(b"not permitted", run.stderr)
                    self.assertEqual(without_times(directory), before)


# --- Passwords ------------------------------------------------------------------------------------


class Passwords(Export):
    def opens(self, directory: Path, password: bytes) -> bool:
        (directory / "tried").write_bytes(password + b"\n")
        with contextlib.suppress(AssertionError):
            openssl("pkcs12 -noout -passin file:tried -in app_user/key.p12", directory=directory)
            return True
        return False

    def with_password_on(self, descriptor: int, contents: bytes) -> dict:
        """How to run a child that can read `contents` from a pipe, its descriptor `descriptor`."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        os.write(writer, contents)
        os.close(writer)
        if descriptor == 0:
            return {"stdin": reader}
        return {
            "preexec_fn": lambda: os.dup2(reader, descriptor, inheritable=True),
            "close_fds": False,
        }

    def test_from_a_file(self):
        for contents, password in (
            (b"plain", b"plain"),
            (b"newline\n", b"newline"),
            (b"from Windows\r\n", b"from Windows"),
            (b" spaces stay ", b" spaces stay "),
            (PASSWORD.encode(), PASSWORD.encode()),
        ):
            with self.subTest(contents=contents):
                directory = self.issued()
                (directory / "password").write_bytes(contents)
                self.export(directory, "p12")
                self.assertTrue(self.opens(directory, password))
                self.assertFalse(self.opens(directory, b"not " + password))

    def test_from_a_descriptor(self):
        for descriptor in (0, 3, 9):
            with self.subTest(descriptor=descriptor):
                directory = self.issued()
                self.export(
                    directory,
                    "p12",
                    "--password-fd",
                    str(descriptor),
                    **self.with_password_on(descriptor, b"through a pipe\n"),
                )
                self.assertTrue(self.opens(directory, b"through a pipe"))

    def test_refused(self):
        directory = self.issued()
        (directory / "directory").mkdir()
        os.mkfifo(directory / "fifo")
        for name, contents in (("empty", b""), ("newline", b"\n"), ("nul", b"a\0b\n")):
            (directory / name).write_bytes(contents)
            with self.subTest(name):
                self.assert_export_refused(
                    directory, "p12", "--password-file", name, says=["password"]
                )
        for name in ("missing", "directory", "fifo"):
            with self.subTest(name):
                self.assert_export_refused(directory, "p12", "--password-file", name, says=[name])
        for contents in (b"", b"\n", b"a\0b", b"x" * 4097):
            with self.subTest("descriptor", contents=contents[:3]):
                self.assert_export_refused(
                    directory,
                    "p12",
                    "--password-fd",
                    "0",
                    says=["password"],
                    **self.with_password_on(0, contents),
                )
        with self.subTest("closed descriptor"):
            self.assert_export_refused(directory, "p12", "--password-fd", "9", says=["9"])

    def test_wrong_usage(self):
        directory = self.issued()
        p12 = ("export", "app_user", "--format", "p12")
        for what, arguments in (
            ("none", p12),
            ("two", (*p12, "--password-file", "password", "--password-fd", "0")),
            ("no number", (*p12, "--password-fd", "zero")),
            ("negative", (*p12, "--password-fd=-1")),
            # argv and the environment can be read by others: there is no such option.
            ("on the command line", (*p12, "--password", "secret")),
            ("in the environment", (*p12, "--password-env", "HOME")),
            *(
                (
                    f"for {form}",
                    ("export", "app_user", "--format", form, "--password-file", "password"),
                )
                for form in FORMATS
                if form != "p12"
            ),
        ):
            with self.subTest(what):
                self.assert_refused(directory, *arguments, status=2, says=["password"])


# --- What is there already ------------------------------------------------------------------------


def obstacles():
    """What may be in the way of a file: how to put it there, so that `elsewhere` lies behind it."""

    def link(path: Path, elsewhere: Path):
        path.symlink_to(elsewhere)

    def dangling_link(path: Path, elsewhere: Path):
        path.symlink_to(elsewhere.parent / "missing")

    def hard_link(path: Path, elsewhere: Path):
        path.hardlink_to(elsewhere)

    def directory(path: Path, elsewhere: Path):
        path.mkdir()

    def fifo(path: Path, elsewhere: Path):
        os.mkfifo(path)

    return link, dangling_link, hard_link, directory, fifo


class InTheWay(Export):
    def test_the_same_is_unchanged(self):
        for form, names in FORMATS.items():
            with self.subTest(form):
                directory = self.issued()
                self.export(directory, form)
                before = snapshot(directory)
                run = self.pki(directory, *self.command(form))
                self.assertEqual((run.returncode, run.stdout), (0, b""), run.stderr)
                self.assertEqual(
                    run.stderr.decode().splitlines(),
                    [f"pki: app_user/{name}: unchanged" for name in names],
                )
                self.assertEqual(snapshot(directory), before)

    def test_another_is_never_replaced(self):
        for form, names in FORMATS.items():
            for name in names:
                for contents in (b"", b"somebody's\n"):
                    with self.subTest(name, contents=contents):
                        directory = self.issued()
                        (directory / "app_user" / name).write_bytes(contents)
                        self.assert_export_refused(directory, form, says=[name, "differs"])

    def test_another_p12(self):
        directory = self.issued()
        self.export(directory, "p12")
        with self.subTest("another password"):
            (directory / "password").write_text("another\n")
            self.assert_export_refused(directory, "p12", says=["key.p12", "differs"])
        with self.subTest("another user's"):
            run = self.pki(directory, "--user", "other")
            self.assertEqual(run.returncode, 0, run.stderr)
            (directory / "password").write_text(PASSWORD)
            shutil.copy(directory / "app_user" / "key.p12", directory / "other" / "key.p12")
            self.assert_refused(
                directory,
                "export",
                "other",
                "--format",
                "p12",
                "--password-file",
                "password",
                says=["key.p12", "differs"],
            )

    def test_nothing_is_followed(self):
        """Whoever may write the directory could else have another file shown or replaced."""
        for form, names in FORMATS.items():
            for name in names:
                for obstacle in obstacles():
                    with self.subTest(name, obstacle=obstacle.__name__):
                        directory = self.issued()
                        (directory / "elsewhere").write_bytes(b"somebody's\n")
                        obstacle(directory / "app_user" / name, directory / "elsewhere")
                        self.assert_export_refused(directory, form, says=[name], timeout=5)

    def test_planted_temporary_names(self):
        """They may be cleared away, or stop it; what lies behind them is never written."""
        for form, names in FORMATS.items():
            for name in names:
                for obstacle in obstacles():
                    with self.subTest(name, obstacle=obstacle.__name__):
                        directory = self.issued()
                        elsewhere = directory / "elsewhere"
                        elsewhere.write_bytes(b"somebody's\n")
                        obstacle(directory / "app_user" / f".{name}.new", elsewhere)
                        run = self.pki(directory, *self.command(form), timeout=5)
                        self.assertEqual(elsewhere.read_bytes(), b"somebody's\n")
                        if run.returncode == 0:
                            leftovers = [path.name for path in (directory / "app_user").glob(".*")]
                            self.assertEqual(leftovers, [])
                        else:
                            self.assertEqual(run.returncode, 1)
                            self.assert_one_line(run.stderr)
                            self.assertFalse(is_there(directory / "app_user" / name))

    def test_killed(self):
        """Whenever it dies, files are whole or absent, and the next run has nothing in its way."""
        for form, names in FORMATS.items():
            for call, times in (("fsync", len(names) + 1), ("renameat2", len(names))):
                for time in range(1, times + 1):
                    with self.subTest(form, call=call, time=time):
                        directory = self.issued()
                        killer = [
                            "strace",
                            "-f",
                            "-o",
                            "/dev/null",
                            "-e",
                            f"trace={call}",
                            "-e",
                            f"inject={call}:signal=KILL:when={time}",
                            program(),
                        ]
                        died = subprocess.run(
                            [*killer, *self.command(form)],
                            cwd=directory,
                            capture_output=True,
                            timeout=60,
                        )
                        self.assertEqual(died.returncode, -signal.SIGKILL, died.stderr)
                        leaf = directory / "app_user"
                        for name in names:
                            if is_there(leaf / name):
                                self.assertGreater((leaf / name).stat().st_size, 0)
                        run = self.pki(directory, *self.command(form))
                        self.assertEqual(run.returncode, 0, run.stderr)
                        self.assertEqual(
                            sorted(os.listdir(leaf)), sorted([*names, "cert.pem", "key.pem"])
                        )

    def test_leftovers(self):
        for form, names in FORMATS.items():
            with self.subTest(form):
                directory = self.issued()
                for name in names:
                    (directory / "app_user" / f".{name}.new").write_bytes(b"half")
                self.export(directory, form)
                self.assertEqual(
                    sorted(os.listdir(directory / "app_user")),
                    sorted([*names, "cert.pem", "key.pem"]),
                )


# --- What it is made of ---------------------------------------------------------------------------


class Sources(Export):
    def test_pair(self):
        def mismatch(leaf: Path):
            (leaf / "key.pem").write_bytes(make_key("p256", 1))

        def no_key(leaf: Path):
            (leaf / "key.pem").unlink()

        def no_certificate(leaf: Path):
            (leaf / "cert.pem").unlink()

        def no_root(leaf: Path):
            (leaf.parent / "minica.pem").unlink()

        def damaged_key(leaf: Path):
            (leaf / "key.pem").write_bytes((leaf / "key.pem").read_bytes()[:100])

        def damaged_certificate(leaf: Path):
            (leaf / "cert.pem").write_bytes(b"not PEM\n")

        for damage, says in (
            (mismatch, ["app_user/key.pem", "match", "app_user/cert.pem"]),
            (no_key, ["app_user/key.pem"]),
            (no_certificate, ["app_user/cert.pem"]),
            (no_root, ["minica.pem"]),
            (damaged_key, ["app_user/key.pem"]),
            (damaged_certificate, ["app_user/cert.pem"]),
        ):
            directory = self.issued()
            damage(directory / "app_user")
            # What holds no key does not ask for one.
            of_the_key = damage in (mismatch, no_key, damaged_key)
            for form in KEY_FORMATS if of_the_key else FORMATS:
                with self.subTest(damage.__name__, form=form):
                    self.assert_export_refused(directory, form, says=says)
                    self.assert_export_refused(directory, form, "--to", "made", says=says)

    def test_root_of_another(self):
        """A chain that does not verify is none; root.crt, though, is to verify another's."""
        directory = self.issued()
        (directory / "elsewhere").mkdir()
        run = self.pki(directory / "elsewhere", "--user", "app_user")
        self.assertEqual(run.returncode, 0, run.stderr)
        for form in ("p12", "fullchain"):
            with self.subTest(form):
                self.assert_export_refused(
                    directory,
                    form,
                    "--ca-cert",
                    "elsewhere/minica.pem",
                    says=["elsewhere/minica.pem"],
                )

    @unittest.skipIf(os.geteuid() != 0, "only root can be made to give away what is root's")
    def test_links_of_the_service(self):
        """With --owner the directory is the service's: nothing in it may lead root elsewhere."""
        directory = self.issued("--owner", "nobody")
        leaf = directory / "app_user"
        for name, target in [("cert.pem", "minica.pem"), ("key.pem", "minica-key.pem")]:
            (leaf / name).unlink()
            (leaf / name).symlink_to(directory / target)
        for form in FORMATS:
            with self.subTest("links to the root", form=form):
                self.assert_export_refused(directory, form, says=["is a link"])
        for name, target in [("cert.pem", "minica.pem"), ("key.pem", "minica-key.pem")]:
            (leaf / name).unlink()
            shutil.copyfile(directory / target, leaf / name)
        for form in FORMATS:
            with self.subTest("the root itself", form=form):
                self.assert_export_refused(directory, form, says=["CA certificate"])

    @unittest.skipIf(os.geteuid() != 0, "only root can be made to write where others may not")
    def test_link_in_place_of_the_target(self):
        directory = self.issued("--owner", "nobody")
        (directory / "root's").mkdir(0o700)
        (directory / ".postgresql").symlink_to("root's")
        for form in FORMATS:
            with self.subTest(form):
                self.assert_export_refused(directory, form, "--to", ".postgresql", says=["links"])

    def test_only_certificates_are_copied(self):
        """Whatever else stands in cert.pem, a key for one, does not get into a file for all."""
        directory = self.issued()
        leaf = directory / "app_user"
        certificate = (leaf / "cert.pem").read_bytes()
        key = (leaf / "key.pem").read_bytes()
        (leaf / "cert.pem").write_bytes(b"a note\n" + key + certificate.rstrip(b"\n"))
        for form in ("fullchain", "libpq"):
            self.export(directory, form)
        root = (directory / "minica.pem").read_bytes()
        self.assertEqual((leaf / "fullchain.pem").read_bytes(), certificate + root)
        self.assertEqual((leaf / "postgresql.crt").read_bytes(), certificate)

    def test_names(self):
        directory = self.issued()
        for name in (b"missing", b"minica.pem", b"no\x1b[31mthere", b"new\nline", b"\xff\xfe"):
            with self.subTest(name):
                self.assert_refused(directory, "export", name, "--format", "der", says=["cannot"])

    def test_wrong_usage(self):
        directory = self.issued()
        for arguments in (
            ["export"],
            ["export", "--format", "der"],
            ["export", "app_user", "other", "--format", "der"],
            ["export", "app_user"],
            ["export", "app_user", "--format", ""],
            ["export", "app_user", "--format"],
            ["export", "app_user", "--format", "pkcs12"],
            ["export", "app_user", "--format", "DER"],
            ["export", "app_user", "--format", "der,pk8"],
            ["export", "app_user", "--format", "\x1b[31m\n"],
            ["export", "app_user", "--format", "der", "--to", ""],
            ["export", "app_user", "--format", "der", "--owner", "root:"],
            ["export", "app_user", "--format", "der", "--domains", "a.test"],
        ):
            with self.subTest(arguments=arguments):
                self.assert_refused(directory, *arguments, status=2)


class Config(Export):
    @functools.cached_property
    def directory(self) -> Path:
        directory = self.issued()
        run = self.pki(directory, "--domains", "bouncerhost")
        self.assertEqual(run.returncode, 0, run.stderr)
        return directory

    def test_wrong_usage(self):
        servers_kinds = ("pgbouncer", "postgres")
        clients = ("psql", "libpq-env", "jdbc", "rails", "node", "go")
        mistakes = [
            [],
            ["psql"],
            ["psql", "bouncerhost", "more"],
            *([kind, "bouncerhost"] for kind in ("", "mysql", "PSQL", "\x1b[31m", "psql\n")),
            *(
                [kind, "bouncerhost", option, "1"]
                for kind in servers_kinds
                for option in ("--user", "--dbname", "--port")
            ),
            *(
                [kind, "bouncerhost", "--server-ca", "minica.pem"]
                for kind in ("postgres", *clients)
            ),
            *([kind, "bouncerhost", "--require-client-cert"] for kind in clients),
            *(["psql", "bouncerhost", "--port", port] for port in ("0", "65536", "-1", "x", "")),
            ["psql", "bouncerhost", "--format", "der"],
        ]
        for arguments in mistakes:
            with self.subTest(arguments=arguments):
                self.assert_refused(self.directory, "config", *arguments, status=2)

    def test_refused(self):
        for what, arguments, says in (
            ("missing", ["psql", "missing"], ["missing"]),
            ("escaped", ["psql", "no\x1bthere"], ["no\\x1bthere"]),
            ("a user's", ["psql", "app_user"], ["app_user/cert.pem", "no server"]),
            ("a user's", ["pgbouncer", "app_user"], ["app_user/cert.pem", "no server"]),
            (
                "a host's",
                ["psql", "bouncerhost", "--user", "bouncerhost"],
                ["bouncerhost/cert.pem", "no client"],
            ),
            ("no role", ["psql", "bouncerhost", "--user", "../app_user"], ["../app_user"]),
        ):
            with self.subTest(what, arguments=arguments):
                self.assert_refused(self.directory, "config", *arguments, says=says)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    unittest.main()
