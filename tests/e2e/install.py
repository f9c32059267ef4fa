#!/usr/bin/python3
"""The install rules: everything arrives, and a program builds against what was installed.

Environment: BUILD, the build directory to install from.
"""

import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="pki-install-")
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.home = pathlib.Path(cls.temporary.name)
        cls.prefix = cls.home / "prefix"
        run("cmake", "--install", os.environ["BUILD"], "--prefix", cls.prefix)

    def test_everything_is_installed(self):
        for path in ("bin/pki", "share/man/man1/pki.1", "share/bash-completion/completions/pki",
                     "share/zsh/site-functions/_pki", "share/fish/vendor_completions.d/pki.fish",
                     "lib/systemd/system/pki-renew.service", "lib/systemd/system/pki-renew.timer"):
            self.assertTrue((self.prefix / path).stat().st_size > 0, path)
        headers = {path.name for path in (self.prefix / "include/pki").iterdir()}
        self.assertEqual(headers, {path.name for path in (ROOT / "include/pki").iterdir()})
        self.assertRegex(run(self.prefix / "bin/pki", "--version"), r"^pki \d+\.\d+\.\d+\n$")

    def test_a_program_embeds_the_library(self):
        build = self.home / "embed"
        run("cmake", "-S", ROOT / "examples/embed", "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", build)
        out = run(build / "embed", self.home)
        self.assertIn("bouncerhost/cert.pem until ", out)
        self.assertIn("-----END CERTIFICATE-----", out)
        run("openssl", "verify", "-x509_strict", "-CAfile", self.home / "root.pem",
            self.home / "bouncerhost/cert.pem")


if __name__ == "__main__":
    unittest.main(verbosity=2)
