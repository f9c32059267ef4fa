#!/usr/bin/python3
"""The layers of docs/design.md, enforced: who may include what, and who may touch the world.

A file includes only its own layer and those below it. The libraries and system calls that belong to
one layer are named here, with the files that may use them.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Lowest first. A public header belongs to the layer of the source file that implements it.
LAYERS = ["base", "x509", "store", "postgres", "cli"]
PUBLIC = {
    "error": "base", "handle": "base", "secret": "base",
    "names": "x509", "key": "x509", "certificate": "x509", "profile": "x509", "issuer": "x509",
    "pkcs12": "x509", "crl": "x509", "inspection": "x509",
    "file": "base", "reader": "base", "report": "base",
    "ca": "store", "export": "store", "leaf": "store", "listing": "store", "revocation": "store", "rotation": "store",
    "snippets": "postgres", "local_check": "postgres", "login": "postgres", "probe": "postgres",
}

# What is included or called -> the layers, or the one file, that may.
RESERVED = [
    (r'#include <(cxxopts\.hpp|spdlog/|nlohmann/|iostream)', ["cli"]),
    (r'#include <openssl/ssl\.h>', ["postgres"]),
    (r'#include <sys/socket\.h>', ["postgres"]),
    (r'#include <openssl/err\.h>', ["base/openssl.cpp"]),
    (r'#include <(fcntl\.h|sys/stat\.h|sys/file\.h|sys/xattr\.h|fstream)',
     ["store", "cli/main.cpp", "cli/shell.cpp"]),
    (r'\b(std::)?getenv\(|\benviron\b', ["cli"]),
    (r'system_clock::now|\btime\(nullptr|clock_gettime|X509_gmtime_adj|X509_time_adj', ["cli"]),
    (r'std::(cout|cerr|clog)\b', ["cli/main.cpp"]),
]


def layer_of(path):
    parts = path.relative_to(ROOT).parts
    if parts[0] == "include":
        return PUBLIC.get(path.stem)
    return parts[1]


def included_layer(name):
    directory, _, file = name.rpartition("/")
    if directory == "pki":
        return PUBLIC.get(file.removesuffix(".h"))
    return directory.split("/")[0]


def faults_in(path):
    layer = layer_of(path)
    name = path.relative_to(ROOT)
    if layer not in LAYERS:
        yield f"{name}: belongs to no layer: name it in {pathlib.Path(__file__).name}"
        return
    own = "/".join(name.parts[1:])
    for number, line in enumerate(path.read_text().splitlines(), 1):
        include = re.match(r'#include "([^"]+)"', line)
        if include:
            other = included_layer(include[1])
            if other not in LAYERS or LAYERS.index(other) > LAYERS.index(layer):
                yield f"{name}:{number}: {layer} must not include {include[1]} ({other})"
        for pattern, allowed in RESERVED:
            if re.search(pattern, line) and layer not in allowed and own not in allowed:
                yield f"{name}:{number}: only {', '.join(allowed)} may use this: {line.strip()}"


def main():
    sources = [path for top in ("src", "include") for path in sorted((ROOT / top).rglob("*"))
               if path.suffix in (".cpp", ".h")]
    faults = [fault for path in sources for fault in faults_in(path)]
    print("\n".join(faults) or f"{len(sources)} files keep to their layers")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
