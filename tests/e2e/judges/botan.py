#!/usr/bin/python3
"""The judge of Botan, by its C interface: `botan cert_verify` checks no name.

It does not read the key.
"""

import ctypes
import ctypes.util
import sys

botan = ctypes.CDLL(ctypes.util.find_library("botan-2"))
botan.botan_x509_cert_validation_status.restype = ctypes.c_char_p


def load(path):
    certificate = ctypes.c_void_p()
    if botan.botan_x509_cert_load_file(ctypes.byref(certificate), path.encode()) != 0:
        raise ValueError(f"Botan cannot load {path}")
    return certificate


def judge(root, certificate, _key, name):
    root, certificate = load(root), load(certificate)
    status = ctypes.c_int()
    botan.botan_x509_cert_verify(
        ctypes.byref(status),
        certificate,
        None,  # intermediates, and how many
        ctypes.c_size_t(0),
        (ctypes.c_void_p * 1)(root),  # roots, and how many
        ctypes.c_size_t(1),
        None,  # a directory of more roots
        ctypes.c_size_t(0),  # the strength asked for: the default
        name.encode(),
        ctypes.c_uint64(0),  # the time: now
    )
    botan.botan_x509_cert_destroy(certificate)
    botan.botan_x509_cert_destroy(root)
    words = botan.botan_x509_cert_validation_status(status).decode()
    return "accepted" if words == "Verified" else words


for line in sys.stdin:
    print(judge(*line.rstrip("\n").split("\t")))
