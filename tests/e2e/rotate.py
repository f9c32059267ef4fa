#!/usr/bin/python3
"""pki rotate: a new root, while the old one is still trusted.

Each step is judged by openssl and certtool, with the old root alone, with what minica.pem holds, and
with the new root alone. What servers and clients make of it is tested in rotation_under_load.py.
"""

import json
import re
import shutil
import subprocess
import unittest
from pathlib import Path

import servers
import support
from support import certify, fresh, from_now, make_key, make_root, openssl


class Case(support.Case):
    def setUp(self):
        self.directory = fresh()

    def run_pki(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess:
        run = self.pki(self.directory, *arguments)
        self.assertEqual(run.returncode, status, run.stderr)
        return run

    def rotate(self, step: str, *options: str, status: int = 0) -> dict:
        return json.loads(self.run_pki("rotate", step, "--json", *options, status=status).stdout)

    def read(self, name: str) -> bytes:
        return (self.directory / name).read_bytes()

    def certificates(self, name: str) -> list[bytes]:
        pattern = b"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n"
        return re.findall(pattern, self.read(name), re.S)

    def verifies(self, leaf: str, root: str) -> bool:
        """As a client does that is sent all of the leaf's file."""
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver",
                   "-CAfile", root, "-untrusted", f"{leaf}/cert.pem", f"{leaf}/cert.pem"]
        told = subprocess.run(command, cwd=self.directory, capture_output=True, check=False)
        chain = self.directory / "chain.pem"
        chain.write_bytes(self.read(f"{leaf}/cert.pem"))
        gnutls = subprocess.run(
            ["certtool", "--verify", "--load-ca-certificate", root, "--infile", chain,
             "--verify-hostname", leaf],
            cwd=self.directory, capture_output=True, check=False,
        )
        self.assertEqual(told.returncode == 0, gnutls.returncode == 0, (told, gnutls))
        return told.returncode == 0

    def assert_verifies(self, leaf: str, **expected: bool):
        found = {root: self.verifies(leaf, f"{root}.pem") for root in expected}
        self.assertEqual(found, expected)


class Steps(Case):
    def setUp(self):
        super().setUp()
        self.run_pki("--domains", "a.test")
        self.run_pki("--domains", "b.test", "--key-type", "rsa2048")
        shutil.copy(self.directory / "minica.pem", self.directory / "old.pem")
        self.old_key = self.read("minica-key.pem")

    def begin(self, *options: str) -> dict:
        told = self.rotate("begin", *options)
        (self.directory / "new.pem").write_bytes(self.certificates("minica.pem")[0])
        return told

    def test_all_of_it(self):
        told = self.begin()
        self.assertTrue(told["under_way"] and told["cross_certificate"])
        self.assertEqual([s["name"] for s in told["stragglers"]], ["a.test", "b.test"])
        self.assertEqual(self.certificates("minica.pem")[1:], [self.read("old.pem")])
        certificate, key = (Path(path) for path in told["kept"])
        self.assertEqual(certificate.read_bytes(), self.read("old.pem"))
        self.assertEqual(key.read_bytes(), self.old_key)
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        self.assertEqual((self.directory / "minica-key.pem").stat().st_mode & 0o777, 0o600)
        self.assert_verifies("a.test", old=True, minica=True, new=False)

        # A new one verifies with either, and what is there is still taken for what it is.
        self.run_pki("--domains", "c.test")
        self.assert_verifies("c.test", old=True, minica=True, new=True)
        before = support.snapshot(self.directory)
        run = self.run_pki("--domains", "a.test")
        self.assertIn(b"unchanged", run.stderr)
        self.assertEqual(self.rotate("begin")["root"], told["root"])
        self.assertEqual(support.snapshot(self.directory), before)

        refused = self.rotate("finish", status=3)
        self.assertEqual([s["name"] for s in refused["stragglers"]], ["a.test", "b.test"])
        self.assertEqual(support.snapshot(self.directory), before)

        renewed = json.loads(self.run_pki("renew", "--all", "--json").stdout)
        self.assertEqual({r["name"]: r["status"] for r in renewed},
                         {"a.test": "renewed", "b.test": "renewed", "c.test": "unchanged"})
        for leaf in ("a.test", "b.test", "c.test"):
            self.assert_verifies(leaf, old=True, minica=True, new=True)
            self.assertEqual(self.certificates(f"{leaf}/cert.pem")[1:], [self.read("minica-cross.pem")])
        self.assertEqual(self.rotate("status")["stragglers"], [])

        done = self.rotate("finish")
        self.assertFalse(done["under_way"])
        self.assertEqual(self.certificates("minica.pem"), [self.read("new.pem")])
        self.assertFalse((self.directory / "minica-cross.pem").exists())
        self.assertEqual(key.read_bytes(), self.old_key)  # destroying it is left to its owner
        self.assert_verifies("a.test", minica=True, new=True)
        self.run_pki("--domains", "d.test")
        self.assertEqual(len(self.certificates("d.test/cert.pem")), 1)
        self.assertEqual(self.rotate("finish")["under_way"], False)
        # And once more.
        self.rotate("begin")
        self.run_pki("renew", "--all")
        self.rotate("finish")
        listed = json.loads(self.run_pki("list", "--json").stdout)
        self.assertEqual({c["status"] for c in listed["certificates"]}, {"valid"})

    def test_who_is_on_the_old_root(self):
        self.run_pki("--domains", "gone.test")
        self.run_pki("--user", "app")
        shutil.rmtree(self.directory / "gone.test")
        self.begin()
        self.run_pki("renew", "--all")
        (straggler,) = self.rotate("finish", status=3)["stragglers"]
        self.assertEqual((straggler["name"], straggler["on_disk"]), ("gone.test", False))
        self.run_pki("revoke", straggler["serial"])
        self.rotate("finish")

    def test_of_a_ledger_that_cannot_be_read(self):
        self.begin()
        self.run_pki("renew", "--all")
        with (self.directory / "minica-index.txt").open("a") as ledger:
            ledger.write("nonsense\n")
        self.assert_refused(self.directory, "rotate", "finish", says=["minica-index.txt"])

    def test_the_key(self):
        for options, kind in (([], "prime256v1"), (["--ca-alg", "p384"], "secp384r1")):
            self.begin(*options)
            shown = openssl("x509 -noout -text -in", self.directory / "minica.pem").decode()
            self.assertIn(kind, shown)
            self.run_pki("renew", "--all")
            self.rotate("finish")

    def test_revocation_lists(self):
        """Both roots have one, so that a verifier who wants one of each CA finds them."""
        self.run_pki("--user", "app")
        self.run_pki("revoke", "app")
        shutil.rmtree(self.directory / "app")
        self.begin()

        def issuers() -> list[bytes]:
            lists = re.findall(b"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----\n",
                               self.read("minica-crl.pem"), re.S)
            return [openssl("crl -noout -issuer", stdin=pem).strip() for pem in lists]

        new, old = (openssl("x509 -noout -subject -in", self.directory / name).strip()
                    .replace(b"subject", b"issuer") for name in ("new.pem", "old.pem"))
        self.assertEqual(issuers(), [new, old])
        self.run_pki("renew", "--all")
        command = ["openssl", "verify", "-crl_check_all", "-CRLfile", "minica-crl.pem"]
        for root in ("old.pem", "minica.pem"):
            told = subprocess.run(
                [*command, "-CAfile", root, "-untrusted", "a.test/cert.pem", "a.test/cert.pem"],
                cwd=self.directory, capture_output=True, check=False)
            self.assertEqual(told.returncode, 0, told)
        self.run_pki("revoke", "b.test")
        self.assertEqual(issuers(), [new, old])
        self.run_pki("crl")
        self.assertEqual(issuers(), [new, old])
        self.rotate("finish")
        self.assertEqual(issuers(), [new])

    def test_exports(self):
        self.run_pki("export", "a.test", "--format", "fullchain")
        self.begin()
        self.run_pki("renew", "--all")
        self.assertIn(self.certificates("a.test/cert.pem")[0], self.read("a.test/fullchain.pem"))
        self.run_pki("export", "b.test", "--format", "fullchain")
        self.run_pki("check", "a.test/", "b.test/")

    def test_what_is_in_the_way(self):
        kept = self.rotate("status")
        self.assertFalse(kept["under_way"])
        serial = openssl("x509 -noout -serial -in", self.directory / "minica.pem").decode()
        name = f"minica-{serial.partition('=')[2].strip()[:6].lower()}.pem"
        (self.directory / name).write_text("the operator's\n")
        self.assert_refused(self.directory, "rotate", "begin", says=[name])
        (self.directory / name).unlink()
        with (self.directory / "minica.pem").open("ab") as bundle:
            bundle.write(make_root("p256", 9)[0])
        self.assert_refused(self.directory, "rotate", "begin", says=["more than the root"])

    def test_at_a_terminal(self):
        for arguments, words in (
            (["rotate", "status"], "pki rotate begin"), (["rotate", "begin"], "pki renew --all"),
            (["renew", "--all"], ""), (["rotate", "status"], "pki rotate finish"),
            (["rotate", "finish"], "can be destroyed"),
        ):
            shown = servers.run_in_terminal([str(support.program()), *arguments],
                                            directory=self.directory)
            self.assertEqual(shown.status, 0, shown)
            self.assertIn(words, shown.output)


class Others(Case):
    def test_a_root_that_may_sign_leaves_alone(self):
        """minica's: its clients need the new file first."""
        minica = ("basicConstraints=critical,CA:TRUE,pathlen:0\n"
                  "keyUsage=critical,digitalSignature,keyCertSign\n"
                  "extendedKeyUsage=serverAuth,clientAuth\nsubjectKeyIdentifier=hash\n")
        root = make_root("p384", 3, minica, subject="minica root ca 0a0b0c", end=from_now(9999))
        support.place(self.directory, *root)
        key = make_key("rsa2048", 3)
        (self.directory / "a.test").mkdir()
        leaf = certify(key, "subjectAltName=DNS:a.test\nextendedKeyUsage=serverAuth,clientAuth\n"
                       "keyUsage=critical,digitalSignature,keyEncipherment\n"
                       "basicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid\n",
                       issuer=root, subject="a.test", end=from_now(600))
        support.place(self.directory / "a.test", leaf, key, ("cert.pem", "key.pem"))
        shutil.copy(self.directory / "minica.pem", self.directory / "old.pem")
        self.run_pki("--domains", "gone.test")
        shutil.rmtree(self.directory / "gone.test")
        self.assert_refused(self.directory, "rotate", "begin", says=["--no-cross"])
        told = self.rotate("begin", "--no-cross")
        self.assertFalse(told["cross_certificate"])
        self.assertEqual([s["name"] for s in told["stragglers"]], ["a.test", "gone.test"])
        self.run_pki("renew", "--all")
        self.assert_verifies("a.test", old=False, minica=True)
        # It may sign no revocation list, and what is gone can be revoked all the same.
        (gone,) = self.rotate("finish", status=3)["stragglers"]
        self.run_pki("revoke", gone["serial"])
        self.assertEqual(self.read("minica-crl.pem").count(b"BEGIN X509 CRL"), 1)
        self.rotate("finish")
        self.assert_verifies("a.test", minica=True)

    def test_wrong_usage(self):
        for arguments in (["rotate"], ["rotate", "on"], ["rotate", "begin", "x"],
                          ["rotate", "finish", "--no-cross"], ["rotate", "status", "--ca-alg", "rsa"]):
            self.assert_refused(self.directory, *arguments, status=2)
        self.assert_refused(self.directory, "rotate", "begin", says=["minica.pem"])
        self.assert_refused(self.directory, "rotate", "status", says=["minica.pem"])


if __name__ == "__main__":
    unittest.main()
