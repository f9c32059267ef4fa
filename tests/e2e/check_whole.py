#!/usr/bin/python3
"""pki check as an operator uses it: the tutorial from plaintext to verified TLS on every hop, told by
nothing but pki check; client certificates; and what stands on the disk.

What each part of it finds, and in which words, is tested in check.py, login.py and local_check.py.
"""

import contextlib
import json
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
            ["env", *variables, support.program(), "check", "--json", "--timeout", "10", *arguments],
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
        for mode, findings in (("require", ["unverified-string"]), ("verify-full", [])):
            target = f"postgresql://app@localhost:{database.port}/postgres?hostaddr=127.0.0.1"
            status, reports = self.look(f"{target}&sslmode={mode}", PGPASSWORD=PASSWORD)
            self.assertEqual((status, self.ids(reports)), (3 if findings else 0, findings), reports)
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


class Several(Case):
    def test_at_the_same_time_and_in_order(self):
        """Two silent servers cost one timeout, not two."""
        self.issue()

        def never_answer(connection):
            connection.recv(1000)
            connection.recv(1)

        with check.Listener(never_answer) as one, check.Listener(never_answer) as other:
            started = time.monotonic()
            done = run(
                [support.program(), "check", "--json", "--timeout", "2", one.target, other.target,
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
        run([support.program(), "--domains", "bouncerhost"], self.directory).or_fail()
        status, (report,) = self.look("bouncerhost/")
        self.assertEqual((status, report["findings"]), (0, []), report)
        status, reports = self.look("bouncerhost/", "--as", "nobody")
        self.assertEqual(status, 3)
        self.assertIn("unreadable", self.ids(reports))
        status, _ = self.look("bouncerhost/", "--as", str(pwd.getpwnam("nobody").pw_uid))
        self.assertEqual(status, 3)
        # From another directory its root is the one beside it.
        done = run([support.program(), "check", str(self.directory / "bouncerhost")], Path("/"))
        self.assertEqual(done.status, 0, done)

    def test_pgbouncer_ini(self):
        self.issue()
        with self.bouncer("good", "client_tls_sslmode = require"):
            ini = self.directory / "good" / "pgbouncer.ini"
            done = run(as_root(support.program(), "check", "--json", "--as", "postgres", str(ini)),
                       self.directory)
            (report,) = json.loads(done.output)
            self.assertEqual((done.status, self.ids([report])), (0, []), report)
        broken = self.directory / "broken.ini"
        broken.write_text(ini.read_text() + "client_tls_sslmode = require # for now\n")
        done = run(as_root(support.program(), "check", "--json", "--as", "postgres", str(broken)),
                   self.directory)
        self.assertEqual(done.status, 3)
        self.assertIn("ini-comment", self.ids(json.loads(done.output)))

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
        self.assert_refused(
            self.directory, "check", f"postgresql://app:{PASSWORD.replace(' ', '')}@h/db",
            says=["secret"],
        )


if __name__ == "__main__":
    unittest.main()
