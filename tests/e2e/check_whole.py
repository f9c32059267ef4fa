#!/usr/bin/python3
"""pki check as an operator uses it: the tutorial from plaintext to verified TLS on every hop, told by
nothing but pki check; client certificates; and what stands on the disk.

What each part of it finds, and in which words, is tested in check.py, login.py and local_check.py.
"""

import contextlib
import json
import os
import pwd
import ssl
import time
import unittest
from pathlib import Path

import check
import servers
import support
from servers import PgBouncer, Postgres, as_root, run

PASSWORD = "a secret of the tests"


class Case(check.ServersCase):
    def look(self, *arguments: str, **environment: str) -> tuple[int, list[dict]]:
        """The exit status and the reports; nothing on stderr, and no secret anywhere."""
        variables = [f"{name}={value}" for name, value in environment.items()]
        done = run(
            ["env", *variables, str(support.program()), "check", "--json", "--timeout", "10", *arguments],
            self.directory,
        )
        self.assertNotIn(PASSWORD, done.output)
        return done.status, json.loads(done.output)

    def ids(self, reports: list[dict], *levels: str) -> list[str]:
        levels = levels or ("problem", "unknown")
        return sorted(f["id"] for r in reports for f in r["findings"] if f["level"] in levels)

    def postgres(self, rules: str, name: str = "postgres", **settings: str) -> Postgres:
        files = self.directory / "localhost"
        tls = {
            "ssl": "on",
            "ssl_cert_file": f"{files}/cert.pem",
            "ssl_key_file": f"{files}/key.pem",
            "ssl_ca_file": f"{self.directory}/minica.pem",
        }
        return self.stack.enter_context(
            Postgres(self.directory / name, "app", PASSWORD, rules, tls | settings)
        )


class Tutorial(Case):
    def test_each_step(self):
        """Before, half-way, after: by exit statuses and findings alone."""
        self.issue()
        database = self.postgres("host all all 127.0.0.1/32 scram-sha-256\n")
        client_tls = [
            "client_tls_sslmode = require",
            f"client_tls_key_file = {self.directory}/localhost/key.pem",
            f"client_tls_cert_file = {self.directory}/localhost/cert.pem",
            f"client_tls_ca_file = {self.directory}/minica.pem",
        ]
        server_tls = [
            "server_tls_sslmode = verify-full",
            f"server_tls_ca_file = {self.directory}/minica.pem",
        ]
        for name, settings, findings, note in (
            ("before", ["server_tls_sslmode = disable"], ["plaintext"], "login-not-tried"),
            ("half-way", [*client_tls, "server_tls_sslmode = disable"], ["server-plaintext"], ""),
            ("after", [*client_tls, *server_tls], [], "server-verification-unknown"),
        ):
            with self.subTest(name), PgBouncer(
                self.directory / name,
                {"shop": f"host=127.0.0.1 port={database.port} dbname=postgres"},
                {"app": PASSWORD},
                settings,
            ) as bouncer:
                target = f"host=localhost hostaddr=127.0.0.1 port={bouncer.port} user=app dbname=shop"
                status, reports = self.look(target, PGPASSWORD=PASSWORD)
                self.assertEqual(self.ids(reports), findings, reports)
                self.assertEqual(status, 3 if findings else 0)
                if note:
                    self.assertIn(note, self.ids(reports, "note"))
                if name != "before":
                    probe, login = reports
                    self.assertIn("TLSv1.3", login["facts"]["first hop"])
                    self.assertTrue(all(v["accepts"] for v in probe["verdicts"]), probe)
                    second = "plaintext" if findings else "TLSv1.3"
                    self.assertIn(second, login["facts"]["second hop"])

    def test_a_connection_string_that_does_not_verify(self):
        self.issue()
        database = self.postgres("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        for more, environment, level in (
            ("&sslmode=require", {}, "problem"),
            ("", {"PGSSLMODE": "disable"}, "problem"),
            ("", {}, "note"),
            ("&sslmode=verify-full", {"PGSSLMODE": "disable"}, None),
        ):
            target = f"postgresql://app@localhost:{database.port}/postgres?hostaddr=127.0.0.1{more}"
            status, reports = self.look(target, PGPASSWORD=PASSWORD, **environment)
            self.assertEqual(status, 3 if level == "problem" else 0, reports)
            found = [f["level"] for r in reports for f in r["findings"]
                     if f["id"] == "unverified-string"]
            self.assertEqual(found, [level] if level else [])
            self.assertEqual(reports[1]["facts"]["second hop"], "none: this is the database")

    def test_passwords_go_to_verified_servers_alone(self):
        """A server with a certificate of another root is told nothing at all."""
        heard = []

        def listen(connection):
            with contextlib.suppress(ssl.SSLError, OSError):
                heard.append(connection.recv(100))

        leaf, key = check.make_leaf(issuer=support.make_root("p256", 77))
        self.issue()
        with check.tls_server(leaf, key, then=listen) as target:
            port = target.rpartition(":")[2]
            status, reports = self.look(
                f"host=localhost hostaddr=127.0.0.1 port={port} user=app dbname=x",
                PGPASSWORD=PASSWORD,
            )
        self.assertEqual(status, 3)
        self.assertIn("login-not-tried", self.ids(reports, "note"))
        self.assertEqual([bytes for bytes in heard if bytes], [])


class Identities(Case):
    def setUp(self):
        super().setUp()
        self.issue()
        for role in ("app", "stranger"):
            arguments = ["--user", role]
            if role == "stranger":
                (self.directory / "other").mkdir()
                arguments += ["--out", "other", "--ca-cert", "other.pem", "--ca-key", "ok.pem"]
            self.assertEqual(self.pki(self.directory, *arguments).returncode, 0)

    def test_a_certificate_is_taken_or_refused(self):
        for protocol in ("TLSv1.3", "TLSv1.2"):
            with self.subTest(protocol):
                database = self.postgres(
                    "hostssl all all 127.0.0.1/32 cert\n", protocol,
                    ssl_max_protocol_version=protocol,
                )
                target = f"127.0.0.1:{database.port}"
                status, (report,) = self.look(target, "--cert", "app/cert.pem")
                self.assertEqual((status, self.ids([report])), (0, []))
                self.assertEqual(report["facts"]["client certificate"], "asked for, and taken")
                status, (report,) = self.look(target, "--cert", "other/stranger/cert.pem")
                self.assertEqual(status, 3)
                self.assertEqual(self.ids([report]), ["client-certificate-refused"])
                self.assertEqual(report["facts"]["client certificate"], "refused")

    def test_strangers_are_shown_none(self):
        """What the server gets to see, of either protocol."""
        shown = []
        root = support.make_root("p256", 77)
        leaf, key = check.make_leaf(issuer=root)
        (self.directory / "both.pem").write_bytes(
            (self.directory / "minica.pem").read_bytes() + root[0]
        )
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):

            def ask(context, version=version):
                context.maximum_version = version
                context.verify_mode = ssl.CERT_OPTIONAL
                context.load_verify_locations(self.directory / "minica.pem")

            def then(connection):
                with contextlib.suppress(OSError):
                    connection.recv(1)
                shown.append(connection.getpeercert(True) is not None)

            for roots, expected in (("minica.pem", False), ("both.pem", True)):
                shown.clear()
                with check.tls_server(leaf, key, ask, then=then) as target:
                    _, (report,) = self.look(
                        target, "--cert", "app/cert.pem", "--ca-cert", roots, "--no-plaintext-probe"
                    )
                self.assertEqual(shown, [expected], report)
                self.assertEqual(
                    "client-certificate-not-shown" in self.ids([report], "note"), not expected
                )

    def test_files_that_do_not_fit(self):
        for arguments, words in (
            (["--cert", "app/cert.pem", "--key", "other/stranger/key.pem"], ["not the key of"]),
            (["--cert", "app/nothing.pem"], ["app/nothing.pem"]),
            (["--cert", "app/cert.pem", "--key", "minica.pem"], ["minica.pem"]),
        ):
            self.assert_refused(self.directory, "check", "127.0.0.1:1", *arguments, says=words)
        self.assert_refused(self.directory, "check", "127.0.0.1:1", "--key", "x", status=2)

    def test_an_expired_one(self):
        key = support.make_key("p256", 5)
        expired = support.certify(
            key, check.AKI + check.USAGE + "extendedKeyUsage=clientAuth\n",
            issuer=support.make_root(), subject="late",
            start=support.from_now(-20), end=support.from_now(-1),
        )
        (self.directory / "late.pem").write_bytes(expired)
        (self.directory / "late-key.pem").write_bytes(key)
        leaf, leaf_key = check.make_leaf()
        (self.directory / "root.pem").write_bytes(support.make_root()[0])
        with check.tls_server(leaf, leaf_key) as target:
            status, (report,) = self.look(
                target, "--cert", "late.pem", "--key", "late-key.pem", "--ca-cert", "root.pem",
                "--no-plaintext-probe",
            )
        self.assertEqual((status, self.ids([report])), (3, ["expired"]))
        self.assertIn("late.pem: ", report["findings"][0]["what"])


    def test_a_login_with_it(self):
        """By --cert, and by the connection string's own settings."""
        database = self.postgres("hostssl all all 127.0.0.1/32 cert\n")
        role = run(servers.psql("-c", "CREATE ROLE late LOGIN", host="127.0.0.1", user="app",
                                port=database.port, dbname="postgres", sslmode="require",
                                sslcert=self.directory / "app/cert.pem",
                                sslkey=self.directory / "app/key.pem"))
        role.or_fail()
        string = f"host=localhost hostaddr=127.0.0.1 port={database.port} user=app dbname=postgres"
        files = f" sslcert={self.directory}/app/cert.pem sslkey={self.directory}/app/key.pem"
        for arguments in ([string, "--cert", "app"], [string + files]):
            status, reports = self.look(*arguments)
            self.assertEqual((status, self.ids(reports)), (0, []), reports)
            probe, login = reports
            self.assertEqual(probe["facts"]["client certificate"], "asked for, and taken")
            self.assertEqual(login["facts"]["user"], "app")
            self.assertIn("app/key.pem", login["command"])
            self.assertEqual(probe["command"], "")
        status, reports = self.look(string)
        self.assertEqual(status, 1)
        self.assertEqual(self.ids(reports), ["login-failed"])


class Several(Case):
    def test_what_is_wrong_with_one_is_not_with_others(self):
        self.issue()
        status, reports = self.look(
            "host=localhost hostaddr=127.0.0.1 port=1 sslrootcert=nowhere.pem",
            "host=localhost hostaddr=127.0.0.1 port=1",
            "localhost/",
        )
        self.assertEqual(status, 1)
        self.assertEqual([len(r["findings"]) > 0 for r in reports], [True, True, False], reports)
        self.assertIn("nowhere.pem", reports[0]["findings"][0]["what"])

    def test_without_threads(self):
        """A system that gives no more of them: one after the other, then."""
        self.issue()
        self.directory.chmod(0o755)
        # No such limit holds for root.
        nobody = ["setpriv", "--reuid=54331", "--regid=54331", "--clear-groups"]
        done = run(
            [*(nobody if os.geteuid() == 0 else []), "prlimit", "--nproc=1",
             str(support.program()), "check", "--json", *["127.0.0.1:1"] * 40],
            self.directory,
        )
        self.assertEqual(len(json.loads(done.output)), 40)

    def test_at_the_same_time_and_in_order(self):
        """Two silent servers cost one timeout, not two."""
        self.issue()

        def never_answer(connection):
            connection.recv(1000)
            connection.recv(1)

        with check.Listener(never_answer) as one, check.Listener(never_answer) as other:
            started = time.monotonic()
            done = run(
                [str(support.program()), "check", "--json", "--timeout", "2", one.target, other.target,
                 "localhost/"],
                self.directory,
            )
            took = time.monotonic() - started
        reports = json.loads(done.output)
        self.assertEqual(
            [r["target"] for r in reports], [one.target, other.target, "localhost/"]
        )
        self.assertLess(took, 3.9)


class OnTheDisk(Case):
    def test_a_leaf_and_who_reads_it(self):
        run([str(support.program()), "--domains", "bouncerhost"], self.directory).or_fail()
        status, (report,) = self.look("bouncerhost/")
        self.assertEqual((status, report["findings"]), (0, []), report)
        status, reports = self.look("bouncerhost/", "--as", "nobody")
        self.assertEqual(status, 3)
        self.assertIn("unreadable", self.ids(reports))
        status, _ = self.look("bouncerhost/", "--as", str(pwd.getpwnam("nobody").pw_uid))
        self.assertEqual(status, 3)
        # Its root is the one beside it, wherever one is, and however it is called.
        leaf = self.directory / "bouncerhost"
        for directory, name in (
            (Path("/"), str(leaf)), (Path("/"), f"{leaf}/"), (leaf, "."), (leaf, "./"),
            (leaf, "../bouncerhost/"), (leaf, "cert.pem"), (self.directory, "bouncerhost/."),
            (self.directory, "./bouncerhost"),
        ):
            with self.subTest(name):
                done = run([str(support.program()), "check", name], directory)
                self.assertEqual(done.status, 0, done)
        # Without one, the rest is judged.
        (self.directory / "minica.pem").rename(self.directory / "root.pem")
        status, reports = self.look("bouncerhost/")
        self.assertEqual((status, self.ids(reports)), (1, ["not-verified"]))
        self.assertEqual(self.look("bouncerhost/", "--ca-cert", "root.pem")[0], 0)

    def test_a_directory_that_is_gone(self):
        gone = self.directory / "gone"
        gone.mkdir()
        done = run(["sh", "-c", 'cd "$1" && rmdir "$1" && exec "$2" check x/', "sh", str(gone),
                    str(support.program())])
        self.assertEqual(done.status, 1, done)
        self.assertIn("access-unknown", done.output)

    def test_pgbouncer_ini(self):
        self.issue()
        with self.bouncer("good", "client_tls_sslmode = require"):
            ini = self.directory / "good" / "pgbouncer.ini"
            done = run(as_root(str(support.program()), "check", "--json", "--as", "postgres", str(ini)),
                       self.directory)
            (report,) = json.loads(done.output)
            self.assertEqual((done.status, self.ids([report])), (0, []), report)
        broken = self.directory / "broken.ini"
        broken.write_text(ini.read_text() + "client_tls_sslmode = require # for now\n")
        done = run(as_root(str(support.program()), "check", "--json", "--as", "postgres", str(broken)),
                   self.directory)
        self.assertEqual(done.status, 3)
        self.assertIn("ini-comment", self.ids(json.loads(done.output)))

    def test_its_user_is_the_reader(self):
        run([str(support.program()), "--domains", "localhost"], self.directory).or_fail()
        ini = self.directory / "pgbouncer.ini"
        text = (
            "[pgbouncer]\nlisten_addr = *\nclient_tls_sslmode = require\n"
            f"client_tls_key_file = {self.directory}/localhost/key.pem\n"
            f"client_tls_cert_file = {self.directory}/localhost/cert.pem\n"
            f"client_tls_ca_file = {self.directory}/minica.pem\n"
        )
        ini.write_text(text + "user = nobody\n")
        status, (report,) = self.look(str(ini))
        self.assertEqual(report["facts"]["files are read by"], "nobody")
        self.assertIn("unreadable", self.ids([report]))
        self.assertNotIn("not verified", report["facts"]["client_tls certificate"])
        ini.write_text(text + "auth_file = /nonexistent/userlist.txt\n")
        status, (report,) = self.look(str(ini))
        self.assertEqual((status, self.ids([report])), (3, ["missing-file"]))

    def test_no_secret_of_an_ini_is_shown(self):
        ini = self.directory / "pgbouncer.ini"
        ini.write_text(
            "[databases]\nmy db = host=10.0.0.1 password=hushhush dbname=x\n"
            "d = host=10.0.0.1 password=hushhush # or is it\n"
            "[pgbouncer]\nlisten_addr = *\nauth_query = hushhush # x\nx = hushhush # y\n"
        )
        for options in ([], ["--json"], ["--quiet"]):
            done = run([str(support.program()), "check", str(ini), *options], self.directory)
            self.assertEqual(done.status, 3, done)
            self.assertNotIn("hushhush", done.output)

    def test_an_ini_without_an_end(self):
        ini = self.directory / "pgbouncer.ini"
        ini.write_text("a\n" * 500_000)
        started = time.monotonic()
        _, (report,) = self.look(str(ini))
        self.assertLess(time.monotonic() - started, 10)
        self.assertLess(len(report["findings"]), 110)

    def test_bundles(self):
        (self.directory / "global-bundle.pem").write_bytes(
            support.make_root("p256", 1, subject="one", end=support.from_now(400))[0]
            + support.make_root("rsa2048", 2, subject="two", end=support.from_now(12))[0]
            + support.make_root("p256", 3, subject="one", end=support.from_now(800))[0]
        )
        status, (report,) = self.look("global-bundle.pem")
        self.assertEqual((status, self.ids([report])), (3, ["root-expires-soon"]))
        self.assertEqual(list(report["facts"]), ["/CN=one", "/CN=two", "/CN=one (2)"])
        self.assertEqual(self.look("global-bundle.pem", "--warn-days", "10")[0], 0)

    def test_options_that_do_not_apply(self):
        self.issue()
        for arguments in (
            ["localhost", "--as", "postgres"],
            ["localhost/", "--name", "x"],
            ["localhost/", "--cert", "x"],
            ["host=a user=b", "--name", "x"],
        ):
            self.assert_refused(self.directory, "check", *arguments, status=2)
        self.assert_refused(
            self.directory, "check", "localhost/", "--as", "nobody-at-all", says=["nobody-at-all"]
        )
        for string in ("postgresql://app:hushhush@h/db", "Postgresql://app:hushhush@h/db",
                       "app:hushhush@localhost", "postgres:/app:hushhush@h"):
            with self.subTest(string):
                refused = self.assert_refused(self.directory, "check", string)
                self.assertNotIn(b"hushhush", refused.stdout + refused.stderr)
        (self.directory / "k=v").mkdir()
        self.assertIn("missing-file", self.ids(self.look("./k=v/")[1]))
        self.assert_refused(
            self.directory, "check", "host=h sslrootcert=system", says=["--ca-cert"]
        )

    def test_pipes_are_not_waited_for(self):
        self.issue()
        os.mkfifo(self.directory / "pipe")
        for name in ("sslcert", "sslcrl", "sslrootcert", "sslkey"):
            self.assert_refused(
                self.directory, "check", f"host=h {name}={self.directory}/pipe", says=[name]
            )


if __name__ == "__main__":
    unittest.main()
