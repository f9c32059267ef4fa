"""Connects as each line of stdin says, a host, a port and a file of roots between tabs, and answers
with a line: what the server or libpq has to say to that. Every host is 127.0.0.1.

The argument is the libpq to load, one of these versions:

    verify.py LIBPQ FIRST LAST
"""

import ctypes
import sys

libpq = ctypes.CDLL(sys.argv[1])
libpq.PQconnectdb.restype = ctypes.c_void_p
libpq.PQerrorMessage.restype = ctypes.c_char_p
for function in (libpq.PQerrorMessage, libpq.PQfinish):
    function.argtypes = [ctypes.c_void_p]

version = libpq.PQlibVersion() // 10000
if not int(sys.argv[2]) <= version <= int(sys.argv[3]):
    sys.exit(f"{sys.argv[1]} is libpq {version}")

for line in sys.stdin:
    host, port, roots = line.rstrip("\n").split("\t")
    settings = {
        "host": host,
        "hostaddr": "127.0.0.1",
        "port": port,
        "user": "somebody",
        "dbname": "anything",
        "sslmode": "verify-full",
        "sslrootcert": roots,
        "gssencmode": "disable",
    }
    conninfo = " ".join(f"{name}='{value}'" for name, value in settings.items())
    connection = libpq.PQconnectdb(conninfo.encode())
    print(" ".join(libpq.PQerrorMessage(connection).decode().split()), flush=True)
    libpq.PQfinish(connection)
