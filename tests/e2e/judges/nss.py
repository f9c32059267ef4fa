#!/usr/bin/python3
"""The judge of NSS: its own TLS client, tstclnt, against a server with the case's certificate.

tstclnt connects to the loopback address, but asks for, and checks, the name that -a gives.
"""

import socket
import ssl
import subprocess
import sys
import tempfile


def new_database(directory, root):
    """A certificate database that trusts `root` to issue for servers, and nothing else."""
    database = "sql:" + tempfile.mkdtemp(dir=directory)
    subprocess.run(["certutil", "-N", "--empty-password", "-d", database], check=True)
    subprocess.run(
        ["certutil", "-A", "-n", "root", "-t", "C,,", "-a", "-i", root, "-d", database], check=True
    )
    return database


def judge(listener, database, certificate, key, name):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    host, port = listener.getsockname()
    client = subprocess.Popen(
        ["tstclnt", "-Q", "-h", host, "-p", str(port), "-a", name, "-d", database],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    connection, _ = listener.accept()
    with connection:
        try:
            server.wrap_socket(connection, server_side=True).close()
        except OSError:
            pass  # the client tells why
    _, words = client.communicate()
    return "accepted" if client.returncode == 0 else " ".join(words.split())


with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as listener:
    listener.settimeout(60)
    databases = {}
    for line in sys.stdin:
        root, *leaf = line.rstrip("\n").split("\t")
        if root not in databases:
            databases[root] = new_database(directory, root)
        print(judge(listener, databases[root], *leaf))
