#!/usr/bin/python3
"""The judge of Python: a handshake in memory, strict as the default context of 3.13 is."""

import ssl
import sys


def judge(root, certificate, key, name):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(root)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
    ]
    while ends:
        end = ends.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            ends.append(end)
        except ssl.SSLError as error:
            return error
    return "accepted"


for line in sys.stdin:
    print(judge(*line.rstrip("\n").split("\t")))
