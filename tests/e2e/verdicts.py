#!/usr/bin/python3
"""Which clients take a certificate for a name: what we say of it, and what the clients do.

Every certificate here has a server that speaks PostgreSQL as far as the end of the TLS handshake,
and then refuses the login. Real clients connect to it, verify-full, by every name that is listed
with the certificate, and are judged by whether they come so far.

The clients are installed as for clients.py. One more is a libpq from before PostgreSQL 15, out of a
wheel; its OpenSSL gets the security level that Debian gives its own. PgBouncer finds the names in a
/etc/hosts of ours, in mounts of its own.

    VERDICTS=build/dev/tests/verdict_table tests/e2e/verdicts.py
"""

import atexit
import contextlib
import hashlib
import ipaddress
import os
import platform
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import unittest
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import clients
from servers import PATIENCE, PgBouncer, as_root, program, temporary_directory, wait_until
from support import FIT, certify, from_now, make_key, make_root

REFUSAL = "the client took the certificate"


# --- The certificates, and what clients call their servers ----------------------------------------


@dataclass(frozen=True)
class Case:
    """A server's chain, leaf first, the key, and what its clients trust."""

    title: str
    key: bytes
    chain: Sequence[bytes]
    roots: Sequence[bytes]
    hosts: Sequence[str]


LEAF = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
SERVER = LEAF + "extendedKeyUsage=serverAuth\n"
NAMED = SERVER + "subjectAltName=DNS:bouncerhost\n"
CA = FIT + "authorityKeyIdentifier=keyid\n"
UNKNOWN = "1.2.3.4=critical,DER:05:00\n"
HOST = ("bouncerhost",)


def cases_of_names(root: tuple[bytes, bytes]) -> Iterable[Case]:
    """The subject's common name, the alternative names, the hosts."""
    key = make_key("p256", 1)
    table = [
        (
            "bouncerhost",
            "DNS:bouncerhost",
            "bouncerhost BouncerHost bouncerhost. otherhost 127.0.0.1",
        ),
        ("BouncerHost", "DNS:BouncerHost", "bouncerhost"),
        ("bouncerhost", "DNS:dbhost", "bouncerhost dbhost"),
        ("bouncerhost", "DNS:one,DNS:dbhost,DNS:three", "dbhost three"),
        ("bouncerhost", "", "bouncerhost BOUNCERHOST otherhost"),
        ("bouncerhost", "email:dba@example.org", "bouncerhost"),
        ("bouncerhost", "URI:postgresql://bouncerhost", "bouncerhost"),
        ("127.0.0.1", "", "127.0.0.1 127.0.0.2"),
        ("127.0.0.1", "DNS:bouncerhost", "127.0.0.1 bouncerhost"),
        ("127.0.0.1", "IP:127.0.0.1", "127.0.0.1 127.0.0.2"),
        ("127.0.0.1", "IP:127.0.0.2", "127.0.0.1 127.0.0.2"),
        ("bouncerhost", "IP:127.0.0.1", "127.0.0.1 127.0.0.2 bouncerhost"),
        ("bouncerhost", "DNS:bouncerhost,IP:127.0.0.1", "127.0.0.1 bouncerhost"),
        ("bouncerhost", "DNS:127.0.0.1", "127.0.0.1"),
        ("bouncerhost", "DNS:localhost", "127.0.0.1 localhost"),
        ("localhost", "IP:127.0.0.1", "127.0.0.1"),
        ("bouncerhost", "IP:2001:db8::1", "2001:db8::1 2001:DB8:0:0:0:0:0:1 2001:db8::2"),
        ("2001:db8::1", "", "2001:db8::1 2001:DB8::1"),
        ("bouncerhost", "DNS:2001:db8::1", "2001:db8::1"),
        (
            "wild",
            "DNS:*.db.example",
            "a.db.example A.DB.Example a.db.example. db.example a.b.db.example",
        ),
        ("*.db.example", "", "a.db.example"),
        ("wild", "DNS:*.example", "db.example"),
        ("wild", "DNS:db*.pg.example", "db1.pg.example db.pg.example"),
        ("wild", "DNS:*db.pg.example", "mydb.pg.example db.pg.example"),
        ("wild", "DNS:a.*.example", "a.b.example"),
        ("wild", "DNS:*.*.example", "a.b.example"),
        ("wild", "DNS:*.0.0.1", "127.0.0.1"),
        ("dot", "DNS:bouncerhost.", "bouncerhost bouncerhost."),
        ("line", "DNS:db_host", "db_host"),
        ("line", "DNS:_db.example", "_db.example"),
        ("line", "DNS:-db.example,DNS:db-.example", "-db.example db-.example"),
        ("number", "DNS:db.7", "db.7"),
        (
            "nul",
            f"DER:{general_names(b'bouncerhost', b'bouncerhost%c.example' % 0)}",
            "bouncerhost",
        ),
        (
            "nul",
            f"DER:{general_names(b'bouncerhost%c.example' % 0, b'bouncerhost')}",
            "bouncerhost",
        ),
        ("nul", f"DER:{general_names(b'bouncerhost%c.example' % 0)}", "bouncerhost"),
        ("bouncerhost", f"DER:{general_names(b'')}", "bouncerhost"),
        ("bouncerhost", f"DER:{general_names(b' ')}", "bouncerhost"),
    ]
    for common_name, names, hosts in table:
        extensions = SERVER + (f"subjectAltName={names}\n" if names else "")
        leaf = certify(key, extensions, issuer=root, subject=common_name)
        yield Case(f"CN={common_name} {names}", key, [leaf], [root[0]], hosts.split())


def general_names(*names: bytes) -> str:
    """dNSNames in DER, in hexadecimal with colons, for those that no configuration can express."""
    encoded = b"".join(bytes([0x82, len(name)]) + name for name in names)
    return (bytes([0x30, len(encoded)]) + encoded).hex(":")


def cases_of_chains(root: tuple[bytes, bytes]) -> Iterable[Case]:
    key = make_key("p256", 1)
    intermediate_key = make_key("p256", 2)

    def leaf(
        extensions: str = NAMED, issuer: tuple[bytes, bytes] = root, key: bytes = key, **more: str
    ) -> bytes:
        return certify(key, extensions, issuer=issuer, subject="bouncerhost", **more)

    def authority(extensions: str = CA, key: bytes = intermediate_key, **more: str):
        return certify(key, extensions, issuer=root, subject="an authority", **more), key

    def case(title: str, *chain: bytes, trusts: Sequence[bytes] = (root[0],), key: bytes = key):
        return Case(title, key, chain, trusts, HOST)

    def rooted(title: str, **how) -> Case:
        other = make_root(**{"number": 3, "subject": "another root", **how})
        return case(title, leaf(issuer=other), trusts=[other[0]])

    good = authority()
    below = leaf(issuer=good)
    yield case("an intermediate", below, good[0])
    yield case("the root is sent, too", below, good[0], root[0])
    yield case("a chain in disorder", below, root[0], good[0])
    yield case("a missing intermediate", below)
    yield case("an intermediate is trusted, and sent", below, good[0], trusts=[good[0]])
    yield case("an intermediate is trusted, and not sent", below, trusts=[good[0]])
    yield case(
        "a missing intermediate that is trusted, as is the root", below, trusts=[root[0], good[0]]
    )
    yield case("another root", leaf(), trusts=[make_root(number=3, subject="another root")[0]])
    yield case("a root of the same name", leaf(), trusts=[make_root(number=3)[0]])
    yield case(
        "a root of the same name, and the right one",
        leaf(),
        trusts=[make_root(number=3)[0], root[0]],
    )

    yield case("an expired leaf", leaf(start=from_now(-9), end=from_now(-2)))
    yield case("a leaf of tomorrow", leaf(start=from_now(1)))
    expired = authority(start=from_now(-9), end=from_now(-2))
    yield case("an expired intermediate", leaf(issuer=expired), expired[0])
    yield rooted("an expired root", start=from_now(-9), end=from_now(-2))
    yield rooted("a root of tomorrow", start=from_now(1))
    yield case("3650 days", leaf(end=from_now(3650)))

    as_ca = NAMED.replace("CA:FALSE", "CA:TRUE").replace(
        "digitalSignature", "digitalSignature,keyCertSign"
    )
    yield case("a CA as leaf", leaf(as_ca))
    for title, extensions in (("a self-signed leaf", NAMED), ("a root as leaf", as_ca)):
        own = certify(key, extensions, subject="bouncerhost")
        yield case(f"{title}, trusted", own, trusts=[own])
        yield case(f"{title}, not trusted", own)
    yield case("the leaf is trusted, and no root", leaf(), trusts=[leaf()])
    yield case("version 1", leaf(""))
    yield case("version 3 without basicConstraints", leaf("subjectAltName=DNS:bouncerhost\n"))

    old = {"start": from_now(-9), "end": from_now(-2)}
    own = certify(key, NAMED, subject="bouncerhost", **old)
    for title, lone in (
        ("expired", leaf(**old)),
        ("expired and self-signed", own),
        ("for clients", leaf(NAMED.replace("serverAuth", "clientAuth"))),
        ("with an unknown critical extension", leaf(NAMED + UNKNOWN)),
    ):
        yield case(f"the leaf is trusted, and {title}", lone, trusts=[lone])

    for usages in (
        "clientAuth",
        "serverAuth,clientAuth",
        "anyExtendedKeyUsage",
        "codeSigning",
        "msSGC",
    ):
        extensions = NAMED.replace("serverAuth", usages)
        yield case(f"extendedKeyUsage {usages}", leaf(extensions))
    for usage in ("keyCertSign", "keyEncipherment", "keyAgreement", "nonRepudiation"):
        yield case(f"keyUsage {usage}", leaf(NAMED.replace("digitalSignature", usage)))
    yield case("a critical extension that nobody knows", leaf(NAMED + UNKNOWN))

    def below_authority(title: str, extensions: str, **how) -> Case:
        issuer = authority(extensions, **how)
        return case(title, leaf(issuer=issuer), issuer[0])

    yield below_authority("a leaf as intermediate", LEAF)
    yield below_authority("an intermediate without basicConstraints", "subjectKeyIdentifier=hash\n")
    yield below_authority("an intermediate that may not sign", CA.replace("keyCertSign,", ""))
    yield below_authority("an intermediate for clients", CA + "extendedKeyUsage=clientAuth\n")
    yield below_authority("an intermediate for servers", CA + "extendedKeyUsage=serverAuth\n")
    yield below_authority("a version 1 intermediate", "")
    constraint = "nameConstraints=critical,permitted;DNS:"
    yield below_authority("a constraint to other names", CA + f"{constraint}corp.example\n")
    yield below_authority("a constraint to this name", CA + f"{constraint}bouncerhost\n")

    yield rooted("a version 1 root", extensions="")
    yield rooted("a root without basicConstraints", extensions="subjectKeyIdentifier=hash\n")
    yield rooted("a root that is none", extensions=LEAF)
    yield rooted("a root that may not sign", extensions=FIT.replace("keyCertSign,", ""))
    yield rooted("a root for clients", extensions=FIT + "extendedKeyUsage=clientAuth\n")
    yield rooted(
        "a root with a constraint to other names", extensions=FIT + f"{constraint}corp.example\n"
    )
    short = make_root(
        number=3, subject="another root", extensions=FIT.replace("TRUE", "TRUE,pathlen:0")
    )
    too_low = certify(intermediate_key, CA, issuer=short, subject="an authority")
    yield case(
        "more intermediates than the root allows",
        leaf(issuer=(too_low, intermediate_key)),
        too_low,
        trusts=[short[0]],
    )
    short = authority(CA.replace("TRUE", "TRUE,pathlen:0"))
    lower_key = make_key("p256", 4)
    too_low = certify(lower_key, CA, issuer=short, subject="a lower authority")
    yield case(
        "more intermediates than the first allows",
        leaf(issuer=(too_low, lower_key)),
        too_low,
        short[0],
    )

    for kind in ("ed25519", "p384", "p521", "rsa1024", "rsa2048", "rsa3072"):
        yield case(f"a leaf with {kind}", leaf(key=make_key(kind)), key=make_key(kind))
        yield rooted(f"a root with {kind}", kind=kind)
        weak = authority(key=make_key(kind, 5))
        yield case(f"an intermediate with {kind}", leaf(issuer=weak), weak[0])
    rsa = make_root("rsa2048", subject="another root")
    for digest in ("sha1", "sha224", "sha512"):
        yield case(f"a leaf with {digest}", leaf(digest=digest))
        yield case(f"a leaf with {digest} by RSA", leaf(issuer=rsa, digest=digest), trusts=[rsa[0]])
        weak = authority(digest=digest)
        yield case(f"an intermediate with {digest}", leaf(issuer=weak), weak[0])
        yield rooted(f"a root with {digest}", digest=digest)


# --- The server -----------------------------------------------------------------------------------


class Server:
    """PostgreSQL as far as the end of the handshake; then any login is refused."""

    def __init__(self, chain: Path, key: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # What is too weak, clients are to find out.
        self._context.set_ciphers("DEFAULT@SECLEVEL=0")
        self._context.load_cert_chain(chain, key)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        """Clients that refuse the certificate leave in many ways."""
        connection.settimeout(PATIENCE)
        with connection:
            try:
                if connection.recv(8, socket.MSG_WAITALL) != struct.pack("!ii", 8, 80877103):
                    return
                connection.sendall(b"S")
                with self._context.wrap_socket(connection, server_side=True) as tls:
                    startup = tls.makefile("rb")
                    (size,) = struct.unpack("!i", startup.read(4))
                    startup.read(size - 4)
                    fields = f"SFATAL\0VFATAL\0C28000\0M{REFUSAL}\0\0".encode()
                    tls.sendall(b"E" + struct.pack("!i", 4 + len(fields)) + fields)
                    tls.unwrap()
            except (OSError, struct.error):
                pass


# --- The clients ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What a client is to connect to, and with what it verifies."""

    title: str
    host: str
    port: int
    roots: Path

    def __str__(self) -> str:
        return f"{self.host}\t{self.port}\t{self.roots}"


def ask(command: Sequence[str | Path], requests: Sequence[object], **environment: str) -> list[str]:
    """A line of answer for each line of request."""
    done = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C", **environment},
        input="".join(f"{request}\n" for request in requests),
        stdout=subprocess.PIPE,
        text=True,
        timeout=5 * PATIENCE,
        check=True,
    )
    answers = done.stdout.splitlines()
    if len(answers) != len(requests):
        raise AssertionError(f"{command}: {len(requests)} requests, {len(answers)} answers")
    return answers


def home(client: type[clients.Client]) -> Path:
    return clients.installed(clients.SOURCES / client.source, client.install)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def old_libpq() -> Path:
    """The last one that looks at no addresses in certificates."""

    def install(directory: Path) -> None:
        clients.build(directory, sys.executable, "-m", "venv", "venv")
        wheel = ["--only-binary", ":all:", "--python-version", "3.9", "--implementation", "cp"]
        machine = ["--platform", f"manylinux2014_{platform.machine()}", "--no-deps"]
        target = ["--target", "lib", "--requirement", "requirements.txt"]
        pip = ["venv/bin/python", "-m", "pip", "--disable-pip-version-check", "install"]
        clients.build(directory, *pip, *wheel, *machine, *target)

    home = clients.installed(clients.SOURCES / "libpq", install)
    [library] = (home / "lib" / "psycopg2_binary.libs").glob("libpq-*.so.*")
    return library


def ask_libpq(
    requests: list[Request], library: str | Path, first: int, last: int, **environment: str
) -> list[str]:
    """It must be of one of these versions."""
    script = clients.SOURCES / "libpq" / "verify.py"
    command = [sys.executable, script, library, str(first), str(last)]
    return ask(command, requests, **environment)


def ask_old_libpq(requests: list[Request]) -> list[str]:
    """A wheel's libraries do not find one another by themselves."""
    library = old_libpq()
    configuration = workspace / "openssl.cnf"
    configuration.write_text(
        "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n"
        "[tls]\nCipherString = DEFAULT@SECLEVEL=2\n"
    )
    environment = {"OPENSSL_CONF": str(configuration), "LD_LIBRARY_PATH": str(library.parent)}
    return ask_libpq(requests, library, 9, 14, **environment)


class PgBouncerInNamespace(PgBouncer):
    """One whose /etc/hosts is a file of ours: its resolver reads no other."""

    def __init__(self, directory: Path, hosts: Path, **how) -> None:
        super().__init__(directory, users={}, **how)
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
        unshare = ["unshare", "--mount", "sh", "-c", script, str(hosts), *user]
        ini_file = str(directory / "pgbouncer.ini")
        self._command = as_root(*unshare, program("pgbouncer"), ini_file)


def ask_pgbouncer(requests: list[Request]) -> list[str]:
    """One PgBouncer for each file of roots, which is a setting for all databases."""
    hosts = workspace / "hosts"
    hosts.write_text("".join(f"127.0.0.1 {host}\n" for host in {r.host for r in requests}))
    answers = {}
    with contextlib.ExitStack() as running:
        asked = []
        for roots in {request.roots: None for request in requests}:
            databases = {
                f"db{number}": f"host={request.host} port={request.port} user=somebody"
                for number, request in enumerate(requests)
                if request.roots == roots
            }
            pgbouncer = PgBouncerInNamespace(
                workspace / f"pgbouncer-{roots.stem}",
                hosts,
                databases=databases,
                settings=[
                    "auth_type = any",
                    "server_tls_sslmode = verify-full",
                    f"server_tls_ca_file = {roots}",
                    # After a refusal it may stay connected until this time is over.
                    "server_connect_timeout = 10",
                    "server_login_retry = 600",
                    "max_client_conn = 1000",
                ],
            )
            running.enter_context(pgbouncer)
            for database in databases:
                running.enter_context(log_in(pgbouncer.port, database))
            asked.append((pgbouncer, databases))
        for pgbouncer, databases in asked:
            wait_until(
                lambda bouncer=pgbouncer, wanted=databases.keys(): (
                    logged_answers(bouncer).keys() == wanted
                ),
                "PgBouncer has tried every database",
            )
            answers |= logged_answers(pgbouncer)
    return [answers[f"db{number}"] for number in range(len(requests))]


def log_in(port: int, database: str) -> socket.socket:
    parameters = f"user\0somebody\0database\0{database}\0\0".encode()
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(struct.pack("!ii", 8 + len(parameters), 3 << 16) + parameters)
    return connection


def logged_answers(pgbouncer: PgBouncer) -> dict[str, str]:
    """What came of its connections, by database. It hands on to its client what a server refuses a
    login with."""
    log = pgbouncer.log()
    ends = re.findall(r" S-\w+: (db\d+)/.* closing because: (.*) \(age", log)
    handed_on = re.findall(rf" C-\w+: (db\d+)/.* pooler error: ({REFUSAL})", log)
    return dict(ends) | dict(handed_on)


# --- The comparison -------------------------------------------------------------------------------


def setUpModule() -> None:
    global workspace, requests, verdicts
    atexit.register(unittest.doModuleCleanups)
    os.umask(0o022)  # the user postgres reads files that the tests write
    workspace = unittest.enterModuleContext(temporary_directory())
    root = make_root()
    requests = []
    questions = []
    for number, case in enumerate([*cases_of_names(root), *cases_of_chains(root)]):
        chain = workspace / f"{number}.pem"
        chain.write_bytes(b"".join(case.chain))
        key = workspace / f"{number}-key.pem"
        key.write_bytes(case.key)
        trusted = b"".join(case.roots)
        roots = workspace / f"roots-{hashlib.sha256(trusted).hexdigest()[:16]}.pem"
        roots.write_bytes(trusted)
        server = Server(chain, key)
        for host in case.hosts:
            requests.append(Request(case.title, host, server.port, roots))
            questions.append(f"{chain}\t{roots}\t{host}")
    answers = [answer.split("\t") for answer in ask([os.environ["VERDICTS"]], questions)]
    verdicts = [dict(zip(fields[::2], fields[1::2], strict=True)) for fields in answers]


# OpenSSL's words, where a client hands them on.
OPENSSL = "|".join(
    [
        "CA signature digest algorithm too weak",
        "CA certificate key too weak",
        "EE certificate key too weak",
        "certificate has expired",
        "certificate is not yet valid",
        "certificate signature failure",
        "invalid CA certificate",
        "key usage does not include certificate signing",
        "path length constraint exceeded",
        "permitted subtree violation",
        "self-signed certificate",
        "unable to get issuer certificate",
        "unable to verify the first certificate",
        "unhandled critical extension",
        "unsuitable certificate purpose",
    ]
)
LIBPQ = (
    "SSL error: certificate verify failed"
    '|server certificate for ".*" .*does not match host name'
    "|SSL certificate's name contains embedded null"
)


class Verdicts(unittest.TestCase):
    """For each kind of client: how it is asked, and with what words it takes no certificate."""

    def assert_agree(
        self,
        client: str,
        ask_client: Callable[[list[Request]], list[str]],
        refusal: str,
        reaches: Callable[[str], bool] = lambda host: True,
    ) -> None:
        cells = [cell for cell in zip(requests, verdicts, strict=True) if reaches(cell[0].host)]
        answers = ask_client([request for request, _ in cells])
        faults = []
        for (request, verdict), answer in zip(cells, answers, strict=True):
            took = REFUSAL in answer
            if not took:
                self.assertRegex(answer, refusal, request)
            reason = verdict[client]
            if took != (reason == ""):
                said = f"refuses: {reason}" if reason else "accepts"
                faults.append(f"{request.title}, {request.host}\n  we: {said}\n  it: {answer}")
        self.assertEqual(faults, [], "\n".join(["", *faults]))
        print(f"{client}: {len(cells)} verdicts are right", file=sys.stderr)

    def test_libpq(self) -> None:
        self.assert_agree("libpq 15 and later", lambda r: ask_libpq(r, "libpq.so.5", 15, 99), LIBPQ)

    def test_libpq_before_15(self) -> None:
        self.assert_agree("libpq before 15", ask_old_libpq, LIBPQ)

    def test_pgbouncer(self) -> None:
        """It goes to addresses by itself: of these, only to where the servers are."""

        def reaches(host: str) -> bool:
            return host == "127.0.0.1" or not is_address(host)

        refusal = r"\A(server conn crashed\?|connect timeout)\Z"
        self.assert_agree("PgBouncer", ask_pgbouncer, refusal, reaches)

    def test_pgx(self) -> None:
        command = [home(clients.Pgx) / "verify" / "verify"]
        refusal = "tls: failed to verify certificate: x509: |remote error: tls: handshake failure"
        refusal += "| x509: "  # before Go 1.20
        self.assert_agree("Go (pgx)", lambda r: ask(command, r), refusal)

    def test_tokio_postgres(self) -> None:
        command = [home(clients.TokioPostgres) / "bin" / "verify"]
        refusal = "invalid peer certificate: |invalid dns name|fatal alert: HandshakeFailure"
        self.assert_agree("rustls (tokio-postgres)", lambda r: ask(command, r), refusal)

    def test_pgjdbc(self) -> None:
        lib = home(clients.Pgjdbc) / "lib"
        java = [clients.tool("java"), "-XX:TieredStopAtLevel=1"]
        command = [*java, "-cp", f"{lib}:{lib}/*", "Verify"]
        refusal = r"\ASSL error: |\AThe hostname \S+ could not be verified"
        self.assert_agree("pgjdbc", lambda r: ask(command, r), refusal)

    def assert_node_agrees(self, client: str, package: str) -> None:
        # Node's own OpenSSL may be less strict than Debian's.
        node = [clients.tool("node"), "--tls-cipher-list=DEFAULT@SECLEVEL=2"]
        command = [*node, home(clients.NodePostgres) / "verify.js", package]
        refusal = rf"\AHostname/IP does not match certificate's altnames: |\A({OPENSSL})"
        self.assert_agree(client, lambda r: ask(command, r), refusal)

    def test_node_postgres(self) -> None:
        self.assert_node_agrees("node-postgres", "pg")

    def test_node_postgres_of_before(self) -> None:
        self.assert_node_agrees("node-postgres before 8.23.1", "pg-of-before")

    def test_no_other_client_is_judged(self) -> None:
        tested = [
            "libpq 15 and later",
            "libpq before 15",
            "PgBouncer",
            "Go (pgx)",
            "rustls (tokio-postgres)",
            "pgjdbc",
            "node-postgres",
            "node-postgres before 8.23.1",
        ]
        self.assertEqual(list(verdicts[0]), tested)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    unittest.main()
