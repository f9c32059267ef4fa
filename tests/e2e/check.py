#!/usr/bin/python3
"""pki check against real servers: PgBouncer and PostgreSQL, and sockets that send what neither would.

For each finding there is a server that provokes it.
"""

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import unittest
from pathlib import Path

import servers
import support
from support import certify, from_now, make_key, make_root

SAN = "subjectAltName=DNS:localhost,IP:127.0.0.1\n"
AKI = "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
USAGE = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
SERVER = AKI + USAGE + "extendedKeyUsage=serverAuth\n"
YEAR = from_now(365)

# A label is 63 characters at most: the resolver says so without asking anybody.
NO_HOST = "x" * 64


class Case(support.Case):
    def check(self, directory: Path, target: str, *options: str) -> tuple[int, list[dict]]:
        run = self.pki(directory, "check", target, "--json", "--timeout", "5", *options)
        self.assertEqual(run.stderr, b"")
        return run.returncode, json.loads(run.stdout)

    def assert_finds(self, directory: Path, target: str, *expected: str, status=3, options=()):
        """Just these problems and unknowns; notes are not counted."""
        found_status, reports = self.check(directory, target, *options)
        self.assertEqual(len(reports), 1, reports)
        findings = reports[0]["findings"]
        ids = sorted(f["id"] for f in findings if f["level"] != "note")
        self.assertEqual((found_status, ids), (status, sorted(expected)), reports)
        for finding in findings:
            self.assertTrue(finding["what"] and finding["remedy"], finding)
        return reports[0]


# --- Sockets --------------------------------------------------------------------------------------


class Listener:
    """Answers each connection with `serve`, until the end of the `with` statement."""

    def __init__(self, serve):
        self._serve = serve
        self.received = b""

    def __enter__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                connection.settimeout(20)
                with connection, contextlib.suppress(OSError):
                    self._serve(connection)


SSL_REQUEST = bytes.fromhex("0000000804d2162f")
REFUSAL = b"SFATAL\0C08P01\0MSSL required\0\0"
REFUSAL = b"E" + (len(REFUSAL) + 4).to_bytes(4, "big") + REFUSAL


def bytes_after_request(answer: bytes):
    """A server that says `answer` to whatever comes."""

    def serve(connection):
        connection.recv(64)
        connection.sendall(answer)
        connection.recv(4096)

    return serve


@contextlib.contextmanager
def tls_server(
    chain: bytes,
    key: bytes,
    configure=lambda context: None,
    refusal: bytes = REFUSAL,
    shut_down: bool = True,
    then=lambda session: session.recv(1),
):
    """Speaks PostgreSQL's protocol up to the end of a TLS handshake, and then does `then`; refuses
    clients without TLS."""
    directory = support.fresh()
    (directory / "chain").write_bytes(chain)
    (directory / "key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(directory / "chain", directory / "key")
    configure(context)

    def serve(connection):
        if connection.recv(8) != SSL_REQUEST:
            connection.sendall(refusal)
            return
        connection.sendall(b"S")
        with context.wrap_socket(connection, server_side=True) as session:
            then(session)
            if shut_down:
                session.unwrap()

    with Listener(serve) as listener:
        yield listener.target


class Sockets(Case):
    def setUp(self):
        self.directory = support.with_root()

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        self.assert_finds(self.directory, f"127.0.0.1:{port}", "unreachable", status=1)

    def test_a_name_that_nobody_has(self):
        self.assert_finds(self.directory, NO_HOST, "unreachable", status=1)

    def test_what_is_no_postgresql(self):
        banner = b"SSH-2.0-OpenSSH_9.2\r\n"
        for answer, finding in {
            banner: "not-postgres",
            b"HTTP/1.1 400 Bad Request\r\n\r\n": "not-postgres",
            b"\x15\x03\x01\x00\x02\x02\x46": "not-postgres",
            b"": "closed",
        }.items():
            serve = bytes_after_request(answer) if answer else lambda connection: None
            with self.subTest(answer), Listener(serve) as server:
                self.assert_finds(self.directory, server.target, finding, status=1)

    def test_an_error_is_nobodys_word(self):
        text = b"SFATAL\0C53300\0M\x1b[31mtoo many\nclients\0\0"
        error = b"E" + (len(text) + 4).to_bytes(4, "big") + text
        with Listener(bytes_after_request(error)) as server:
            report = self.assert_finds(self.directory, server.target, "server-error", status=1)
        self.assertNotIn("\x1b", json.dumps(report, ensure_ascii=False))

    def test_bytes_before_tls(self):
        with Listener(bytes_after_request(b"SE\0\0\0\5!")) as server:
            self.assert_finds(self.directory, server.target, "injected-bytes")

    def test_silence_ends_in_time(self):
        def silent(connection):
            connection.recv(64)
            connection.recv(64)

        with Listener(silent) as server:
            self.assert_finds(
                self.directory, server.target, "timed-out", status=1, options=["--timeout", "1"]
            )

    def test_silence_within_the_handshake(self):
        def stalls(connection):
            connection.recv(8)
            connection.sendall(b"S")
            while connection.recv(4096):
                pass

        with Listener(stalls) as server:
            self.assert_finds(
                self.directory, server.target, "timed-out", status=1, options=["--timeout", "1"]
            )

    def test_noise_instead_of_a_handshake(self):
        def noise(connection):
            connection.recv(8)
            connection.sendall(b"S")
            connection.recv(4096)
            connection.sendall(b"\x16\x03\x03\xff\xff" + b"\xa5" * 70000)

        with Listener(noise) as server:
            self.assert_finds(
                self.directory, server.target, "handshake-failed", "server-error"
            )

    def test_messages_within_the_handshake_that_never_end(self):
        """HelloRequests, which OpenSSL passes over by itself."""
        flood = bytes.fromhex("1603033ffc") + bytes(0x3FFC)

        def serve(connection):
            connection.recv(64)
            connection.sendall(b"S")
            connection.recv(4096)
            while True:
                connection.sendall(flood * 16)

        self.assertEqual(self.pki(self.directory, "--domains", "localhost").returncode, 0)
        with Listener(serve) as server:
            self.assert_ends_in_time(server.target)
            self.assert_ends_in_time(
                server.target, "renew", "--all", "--before", "1000d", "--confirm", server.target
            )

    def test_messages_after_the_handshake_that_never_end(self):
        """A client certificate is asked for, and then come tickets."""

        def ask(context):
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(self.directory / "minica.pem")
            context.num_tickets = 10_000_000

        leaf, key = make_leaf()
        with tls_server(leaf, key, ask) as target:
            self.assert_ends_in_time(target)

    def assert_ends_in_time(self, target, *command):
        command = command or ("check", target, "--no-plaintext-probe")
        started = time.monotonic()
        self.pki(self.directory, *command, "--timeout", "2")
        taken = time.monotonic() - started
        self.assertGreater(taken, 1.5)  # otherwise there was an end
        self.assertLess(taken, 10)

    def test_bytes_that_never_end(self):
        """A byte now and then, each in time: within a handshake, and within a message."""

        def drips(start: bytes, drop: bytes):
            def serve(connection):
                if connection.recv(64) == SSL_REQUEST:
                    connection.sendall(start)
                    while True:
                        time.sleep(0.2)
                        connection.sendall(drop)

            return serve

        handshake = drips(b"S", b"\x16\x03\x03\x00\x01\x02")
        message = drips(b"E\x00\x00\x70\x00", b"S")
        for serve in (handshake, message):
            with self.subTest(serve), Listener(serve) as server:
                begin = time.monotonic()
                status, (report,) = self.check(self.directory, server.target, "--timeout", "1")
                self.assertLess(time.monotonic() - begin, 8)
                self.assertIn(status, (1, 3), report)
                self.assertTrue(report["findings"])

    def test_an_answer_without_tls_that_nobody_understands(self):
        """It is no refusal."""
        root = make_root()
        key = make_key("p256", 5)
        leaf = certify(key, SERVER + SAN, issuer=root, end=YEAR)
        with tls_server(leaf, key, refusal=b"\x00" * 8) as target:
            report = self.assert_finds(self.directory, target, "server-error", status=1)
        self.assertEqual(report["facts"]["without TLS"], "cannot be told")

    def test_an_old_protocol(self):
        def old(context):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1

        root = make_root()
        leaf = certify(make_key("p256", 5), SERVER + SAN, issuer=root, end=YEAR)
        with tls_server(leaf, make_key("p256", 5), old) as target:
            self.assert_finds(self.directory, target, "old-protocol")

    def test_all_that_a_server_without_tls_gets_to_see(self):
        seen = []

        def record(connection):
            seen.append(connection.recv(4096))
            connection.sendall(b"N" if seen[-1] == SSL_REQUEST else REFUSAL)

        with Listener(record) as server:
            self.assert_finds(self.directory, server.target, "plaintext")
        self.assertEqual(seen, [SSL_REQUEST])


def make_leaf(extensions=SERVER + SAN, kind="p256", **more) -> tuple[bytes, bytes]:
    """For localhost and 127.0.0.1, by a root in with_root()'s directory."""
    key = make_key(kind, 7)
    more = {"issuer": make_root(), "subject": "localhost", "end": YEAR} | more
    return certify(key, extensions, **more), key


class Certificates(Case):
    """A certificate with one fault each."""

    def judge(self, chain, key, *findings, root=None, host="127.0.0.1", options=()):
        directory = support.with_root(root)
        with tls_server(chain, key) as target:
            status = 3 if findings else 0
            port = target.rpartition(":")[2]
            return self.assert_finds(
                directory, f"{host}:{port}", *findings, status=status, options=options
            )

    def leaf(self, *arguments, **more):
        return make_leaf(*arguments, **more)

    def test_a_good_one(self):
        report = self.judge(*self.leaf())
        self.assertEqual(report["facts"]["protocol"], "TLSv1.3")
        self.assertIn("refused", report["facts"]["without TLS"])
        self.assertIn("sslmode=verify-full", report["command"])

    def test_dates(self):
        self.judge(*self.leaf(start=from_now(-20), end=from_now(-1)), "expired")
        self.judge(*self.leaf(end=from_now(12)), "expires-soon")
        self.judge(*self.leaf(end=from_now(12)), options=["--warn-days", "10"])
        self.judge(*self.leaf(start=from_now(2)), "not-yet-valid")
        self.judge(*self.leaf(end=from_now(830)), "over-825-days")

    def test_names(self):
        other = self.judge(
            *self.leaf(SERVER + "subjectAltName=DNS:bouncer1,DNS:other,IP:127.0.0.1\n"),
            "name-mismatch",
            options=["--name", "bouncer2"],
        )
        self.assertIn('nearest of its 3 names is "bouncer1"', other["findings"][0]["what"])
        self.judge(*self.leaf(SERVER + "subjectAltName=DNS:localhost\n"), "no-ip-san")
        self.judge(*self.leaf(SERVER + "subjectAltName=IP:127.0.0.2\n"), "name-mismatch")
        self.judge(*self.leaf(SERVER), "cn-only", options=["--name", "localhost"])
        self.judge(*self.leaf(), options=["--name", "LOCALHOST"])

    def test_usages_and_forms(self):
        self.judge(*self.leaf(AKI + USAGE + "extendedKeyUsage=clientAuth\n" + SAN), "wrong-usage")
        ca = AKI + "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,digitalSignature\n"
        self.judge(*self.leaf(ca + SAN), "ca-as-leaf")
        no_aki = "authorityKeyIdentifier=none\n" + USAGE + "extendedKeyUsage=serverAuth\n"
        self.judge(*self.leaf(no_aki + SAN), "no-aki")

    def test_version_1(self):
        self.judge(
            *self.leaf(extensions=""), "not-v3", "cn-only", options=["--name", "localhost"]
        )

    def test_strength(self):
        self.judge(*self.leaf(kind="rsa1024"), "weak-key")
        self.judge(*self.leaf(digest="sha1"), "weak-signature")
        edwards = make_root("ed25519")
        self.judge(
            *self.leaf(issuer=edwards, digest="null"), "no-channel-binding", root=edwards
        )

    def test_roots(self):
        older = make_root("p256", 1, subject="minica root ca 123456")
        self.judge(*self.leaf(issuer=older), "older-root")
        namesake = make_root("p256", 2)
        self.judge(*self.leaf(issuer=namesake), "older-root")
        stranger = make_root("p256", 3, subject="a stranger")
        leaf, key = self.leaf(issuer=stranger)
        self.judge(leaf, key, "missing-intermediate")
        self.judge(leaf + stranger[0], key, "unknown-root")
        alone = make_key("p256", 8)
        own = certify(alone, USAGE + SAN, subject="localhost", end=YEAR)
        self.judge(own, alone, "self-signed")

    def test_a_bundle_of_roots(self):
        leaf, key = self.leaf()
        directory = support.fresh()
        bundle = make_root("p256", 6, subject="another")[0] + make_root()[0]
        (directory / "bundle.pem").write_bytes(bundle)
        with tls_server(leaf, key) as target:
            self.assert_finds(
                directory, target, status=0, options=["--ca-cert", "bundle.pem"]
            )

    def test_faults_above_the_certificate(self):
        key = make_key("p256", 9)
        ca = AKI + support.FIT

        def above(*findings, extensions=ca, host="127.0.0.1", **more):
            more = {"issuer": make_root(), "subject": "an intermediate", "end": YEAR} | more
            middle = certify(key, extensions, **more)
            leaf, leaf_key = self.leaf(issuer=(middle, key))
            self.judge(leaf + middle, leaf_key, *findings)

        above("issuer-expired", start=from_now(-20), end=from_now(-1))
        above("issuer-not-ca", "issuer-usage", extensions=AKI + USAGE)
        above("name-constraints", extensions=ca + "nameConstraints=permitted;DNS:example.org\n")
        above("issuer-usage", extensions=ca + "extendedKeyUsage=clientAuth\n")

    def test_a_forged_signature(self):
        leaf, key = self.leaf()
        der = bytearray(support.der_of(leaf))
        der[-1] ^= 1
        forged = support.openssl("x509 -inform DER", stdin=bytes(der))
        self.judge(forged, key, "bad-signature")

    def test_a_serial_number_that_is_too_long(self):
        leaf, key = self.leaf(serial="40" + "00" * 20)
        self.judge(leaf, key, "damaged-certificate")

    def test_an_extension_that_nobody_knows(self):
        unknown = SERVER + SAN + "1.3.6.1.4.1.55555.1=critical,ASN1:UTF8String:x\n"
        self.judge(*self.leaf(unknown), "does-not-verify")

    def test_notes(self):
        both = AKI + USAGE + "extendedKeyUsage=serverAuth,clientAuth\n" + SAN
        report = self.judge(*self.leaf(both))
        self.assertEqual([f["id"] for f in report["findings"]], ["also-client"])

    def test_client_certificates_that_are_asked_for(self):
        """Whether they are required is not guessed from how the connection ends."""
        directory = support.with_root()

        def ask(context):
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(directory / "minica.pem")

        leaf, key = self.leaf()
        for shut_down in (True, False):
            with self.subTest(shut_down), tls_server(leaf, key, ask, shut_down=shut_down) as target:
                report = self.assert_finds(directory, target, status=0)
                self.assertEqual(
                    report["facts"]["client certificate"], "asked for, not required"
                )

    def test_intermediates(self):
        key = make_key("p256", 9)
        middle = certify(
            key, AKI + support.FIT, issuer=make_root(), subject="an intermediate", end=YEAR
        )
        leaf, leaf_key = self.leaf(issuer=(middle, key))
        self.judge(leaf + middle, leaf_key)
        self.judge(leaf, leaf_key, "missing-intermediate")
        self.judge(leaf + make_root("p256", 4)[0] + middle, leaf_key, "chain-order")


# --- PgBouncer and PostgreSQL ---------------------------------------------------------------------


class Bouncer(servers.PgBouncer):
    """Ready when it listens: pg_isready has no certificate to show."""

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False


class ServersCase(Case):
    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.directory = stack.enter_context(servers.temporary_directory())
        self.stack = stack

    def issue(self, *arguments):
        run = self.pki(self.directory, "--domains", "localhost", "--ip-addresses", "127.0.0.1",
                       "--owner", "postgres", *arguments)
        self.assertEqual(run.returncode, 0, run.stderr)

    def bouncer(self, name: str, *settings: str, directory="localhost") -> Bouncer:
        files = self.directory / directory
        tls = [
            f"client_tls_key_file = {files}/key.pem",
            f"client_tls_cert_file = {files}/cert.pem",
            f"client_tls_ca_file = {self.directory}/minica.pem",
        ]
        return Bouncer(
            self.directory / name, {"db": "host=127.0.0.1 port=1"}, {"user": "secret"},
            [*(tls if settings else []), *settings],
        )


class Servers(ServersCase):
    def test_pgbouncer_on_its_way_to_tls(self):
        self.issue()
        with self.bouncer("plain") as bouncer:
            self.assert_finds(self.directory, f"127.0.0.1:{bouncer.port}", "plaintext")
        with self.bouncer("half", "client_tls_sslmode = prefer") as bouncer:
            self.assert_finds(self.directory, f"127.0.0.1:{bouncer.port}", "plaintext-accepted")
            self.assert_finds(
                self.directory, f"127.0.0.1:{bouncer.port}", status=0,
                options=["--no-plaintext-probe"],
            )
        with self.bouncer("done", "client_tls_sslmode = require") as bouncer:
            report = self.assert_finds(self.directory, f"127.0.0.1:{bouncer.port}", status=0)
            self.assertIn("asked for", report["facts"]["client certificate"])
            self.assertIn("refused", report["facts"]["without TLS"])
            self.assert_finds(
                self.directory, f"127.0.0.1:{bouncer.port}", "no-direct-tls", options=["--direct"]
            )

    def test_pgbouncer_that_wants_certificates(self):
        self.issue()
        for protocols in ("tlsv1.3", "tlsv1.2"):
            with self.subTest(protocols), self.bouncer(
                protocols, "client_tls_sslmode = verify-full", f"client_tls_protocols = {protocols}"
            ) as bouncer:
                _, (report,) = self.check(self.directory, f"127.0.0.1:{bouncer.port}")
                self.assertEqual(report["facts"]["client certificate"], "required")
                self.assertIn("valid until", report["facts"])
                self.assertIn(
                    "client-certificate-required", [f["id"] for f in report["findings"]], report
                )

    def test_a_file_that_was_renewed_and_not_loaded(self):
        self.issue()
        with self.bouncer("stale", "client_tls_sslmode = require") as bouncer:
            target = f"localhost:{bouncer.port}"
            self.assert_all(target, set())
            shutil.move(self.directory / "localhost", self.directory / "old")
            self.issue()
            self.assert_all(target, {"not-reloaded"})
            bouncer.signal("HUP")
            servers.wait_until(
                lambda: self.problems(target) == set(), "the new certificate is served"
            )

    def problems(self, target):
        """Of 127.0.0.1: localhost may be ::1 too, where nobody listens."""
        _, reports = self.check(self.directory, target)
        (report,) = [r for r in reports if r["facts"]["address"] == "127.0.0.1"]
        return {f["id"] for f in report["findings"] if f["level"] == "problem"}

    def assert_all(self, target, expected):
        self.assertEqual(self.problems(target), expected)

    def test_postgresql(self):
        self.issue()
        files = self.directory / "localhost"
        tls = {"ssl": "on", "ssl_cert_file": f"{files}/cert.pem", "ssl_key_file": f"{files}/key.pem"}
        for name, rules, settings, findings in (
            ("off", "host all all 127.0.0.1/32 scram-sha-256\n", {}, ["plaintext"]),
            ("both", "host all all 127.0.0.1/32 scram-sha-256\n", tls, ["plaintext-accepted"]),
            ("trust", "host all all 127.0.0.1/32 trust\n", tls, ["plaintext-accepted"]),
            ("only", "hostssl all all 127.0.0.1/32 scram-sha-256\n", tls, []),
            ("reject", "hostnossl all all all reject\nhostssl all all all md5\n", tls, []),
        ):
            with self.subTest(name), servers.Postgres(
                self.directory / name, "admin", "secret", rules, settings
            ) as postgres:
                self.assert_finds(
                    self.directory, f"127.0.0.1:{postgres.port}", *findings,
                    status=3 if findings else 0,
                )


    def test_postgresql_that_takes_everybodys_certificates(self):
        self.issue()
        files = self.directory / "localhost"
        authorities = self.directory / "authorities"
        authorities.write_bytes(
            b"".join(make_root("p256", 20, subject=f"authority {n}")[0] for n in range(25))
        )
        settings = {
            "ssl": "on",
            "ssl_cert_file": f"{files}/cert.pem",
            "ssl_key_file": f"{files}/key.pem",
            "ssl_ca_file": str(authorities),
        }
        rules = "hostssl all all 127.0.0.1/32 scram-sha-256\n"
        with servers.Postgres(
            self.directory / "many", "admin", "secret", rules, settings
        ) as postgres:
            report = self.assert_finds(
                self.directory, f"127.0.0.1:{postgres.port}", "many-authorities"
            )
            self.assertIn("not required", report["facts"]["client certificate"])


class CommandLine(Case):
    def test_wrong_usage(self):
        directory = support.with_root()
        for arguments in ([], [""], ["a:b"], ["a:0"], ["a:65536"], ["[::1"], ["[::1]x"], ["[]:1"],
                          ["a b"], ["a\x1bb"], ["x" * 254], ["host", "--name", "a/b"], ["host", "--timeout", "0"], ["host", "--warn-days", "x"]):
            with self.subTest(arguments):
                self.assert_refused(directory, "check", *arguments, status=2)

    def test_a_root_that_is_not_there(self):
        self.assert_refused(support.fresh(), "check", "localhost", says=["minica.pem"])

    def test_quiet_has_a_line_for_each_finding(self):
        directory = support.with_root()
        run = self.pki(directory, "check", NO_HOST, "--quiet")
        self.assertEqual((run.returncode, run.stdout), (1, b""))
        self.assert_one_line(run.stderr)

    def test_colours_are_for_terminals(self):
        directory = support.with_root()
        command = [support.program(), "check", NO_HOST]
        self.assertNotIn(b"\x1b", subprocess.run(command, cwd=directory, capture_output=True,
                                                 check=False).stdout)
        shown = servers.run_in_terminal(command, directory=directory)
        self.assertIn("\x1b[33munknown\x1b[0m", shown.output)
        plain = servers.run_in_terminal(["env", "NO_COLOR=1", *command], directory=directory)
        self.assertNotIn("\x1b", plain.output)


if __name__ == "__main__":
    unittest.main()
