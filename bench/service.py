"""What the kind of key costs a server: new verify-full connections through a real PgBouncer.

One PgBouncer for each kind, all in front of one PostgreSQL, on this machine. pgbench -C makes a new
connection for every `SELECT 1`. PgBouncer has one thread and pgbench takes its share of the same
cores, so the CPU time that PgBouncer spends on a connection tells more than how many there were.
"""

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measure import HERE, HOST, Bench, Row, in_turns, run, say

sys.path.append(str(HERE.parent / "tests" / "e2e"))
import servers  # noqa: E402

SUPERUSER = "postgres"
PASSWORD = "secret"
DATABASE = "postgres"

# How the client says who it is. PgBouncer takes SCRAM where its list of users has a SCRAM secret.
LOGINS = {"md5": "md5, as in Debian's pgbouncer.ini", "scram-sha-256": "scram-sha-256"}

OURS = "pki: P-256"
MINICA = "minica: P-384"
NONE = "no TLS"


@dataclass(frozen=True)
class Server:
    pgbouncer: servers.PgBouncer
    connection: str  # libpq's words for how to reach and to verify it
    process: Path  # of PgBouncer, in /proc


def make_certificates(bench: Bench, directory: Path) -> Mapping[str, Path | None]:
    """Kinds of key, each a directory with minica.pem and bouncerhost/ in it."""
    commands = {
        OURS: [bench.pki],
        MINICA: [bench.minicas[bench.minica]],
        "pki: RSA 2048": [bench.pki, "--key-type=rsa2048"],
        "pki: RSA 3072": [bench.pki, "--key-type=rsa3072"],
    }
    made: dict[str, Path | None] = {NONE: None}
    for kind, command in commands.items():
        made[kind] = directory / f"certificate-{len(made)}"
        made[kind].mkdir()
        run([*command, "-domains", HOST], made[kind])
        leaf = made[kind] / HOST
        for path in (leaf, leaf / "cert.pem", leaf / "key.pem"):
            servers.give_to_postgres(path)
    return made


def database(directory: Path) -> servers.Postgres:
    return servers.Postgres(
        directory / "postgres",
        superuser=SUPERUSER,
        password=PASSWORD,
        access_rules="host all all 127.0.0.1/32 trust\n",
        settings={"max_connections": "200"},
    )


def query(port: int, statement: str) -> str:
    psql = servers.psql(
        "--tuples-only",
        "--no-align",
        f"--command={statement}",
        host="127.0.0.1",
        port=port,
        user=SUPERUSER,
        dbname=DATABASE,
    )
    return servers.run(psql).or_fail().output.strip()


def make_users(port: int) -> Mapping[str, str]:
    """One for each way to log in, under its name; their secrets as PgBouncer's list has them."""
    users = {}
    for login in LOGINS:
        query(
            port,
            f"SET password_encryption = '{login}'; "
            f"CREATE ROLE \"{login}\" LOGIN PASSWORD '{PASSWORD}'",
        )
        users[login] = query(port, f"SELECT rolpassword FROM pg_authid WHERE rolname = '{login}'")
    return users


@contextlib.contextmanager
def pgbouncer(
    directory: Path, certificate: Path | None, port: int, users: Mapping[str, str]
) -> Iterator[Server]:
    state = directory.with_name(directory.name + "-state")
    state.mkdir()
    servers.give_to_postgres(state)
    settings = [
        "auth_type = md5",
        "pool_mode = transaction",
        "max_client_conn = 200",
        "log_connections = 0",
        "log_disconnections = 0",
        f"pidfile = {state / 'pid'}",
    ]
    connection = f"host={HOST} hostaddr=127.0.0.1 dbname={DATABASE} password={PASSWORD}"
    if certificate is None:
        connection += " sslmode=disable"
    else:
        settings += [
            "client_tls_sslmode = require",
            f"client_tls_key_file = {certificate / HOST / 'key.pem'}",
            f"client_tls_cert_file = {certificate / HOST / 'cert.pem'}",
        ]
        connection += f" sslmode=verify-full sslrootcert={certificate / 'minica.pem'}"
    upstream = f"host=127.0.0.1 port={port} dbname={DATABASE}"
    with servers.PgBouncer(directory, {DATABASE: upstream}, users, settings) as server:
        # Not the process that we started: that may be sudo.
        pid = servers.run(servers.as_root("cat", str(state / "pid"))).or_fail().output.strip()
        yield Server(server, f"{connection} port={server.port}", Path("/proc", pid))


def cpu_time(process: Path) -> float:
    """Of a process so far, in seconds: see proc(5)."""
    # The name, in brackets, may hold spaces.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connect(server: Server, login: str, seconds: int, script: Path) -> Mapping[str, float]:
    """New connections, one after the other, from eight clients for so many seconds."""
    pgbench = [servers.program("pgbench"), "--no-vacuum", "--connect", f"--file={script}"]
    pgbench += ["--client=8", "--jobs=2", f"--time={seconds}"]
    before, start = cpu_time(server.process), time.perf_counter()
    output = servers.run([*pgbench, f"{server.connection} user={login}"]).or_fail().output
    cpu, wall = cpu_time(server.process) - before, time.perf_counter() - start
    made = int(re.search(r"transactions actually processed: (\d+)", output)[1])
    rate = float(re.search(r"tps = ([\d.]+) \(including reconnection", output)[1])
    failed = re.search(r"failed transactions: (\d+)", output)
    if failed and failed[1] != "0":
        raise RuntimeError(f"connections failed:\n{output}")
    return {"rate": rate, "cpu": cpu / made, "busy": cpu / wall}


def measure(bench: Bench) -> Mapping[str, Mapping[str, Row]]:
    rounds, seconds = (2, 1) if bench.quick else (9, 4)
    results = {}
    with servers.temporary_directory() as directory, contextlib.ExitStack() as stack:
        # Copies, for the user postgres may not be able to reach where they are.
        script = directory / "select.sql"
        script.write_text("SELECT 1;\n")
        certificates = make_certificates(bench, directory)
        postgres = stack.enter_context(database(directory))
        users = make_users(postgres.port)
        all_of_them = {}
        for kind, certificate in certificates.items():
            place = directory / f"pgbouncer-{len(all_of_them)}"
            all_of_them[kind] = stack.enter_context(
                pgbouncer(place, certificate, postgres.port, users)
            )
        for login in LOGINS:
            say(f"new connections through PgBouncer, {login}")
            results[login] = in_turns(
                rounds,
                {
                    kind: partial(connect, server, login, seconds, script)
                    for kind, server in all_of_them.items()
                },
            )
    return results
