#!/usr/bin/python3
"""The completions, each asked in its own shell.

bash and zsh run in a pseudo terminal, where the tests type a command line and a TAB and read what
appears. fish tells by its `complete -C`. What is to be offered comes from `pki COMMAND --help` and
from the values that the program takes, not from a list in here.

    PKI=build/pki tests/e2e/completions.py
"""

import fcntl
import grp
import os
import pwd
import re
import select
import shlex
import shutil
import struct
import subprocess
import tempfile
import termios
import time
import unittest
from pathlib import Path

from docs import CHOICES, PKI, TREE, commands, help_of, options_in_help, values

COMPLETIONS = TREE / "completions"

NAMES = {"bouncerhost", "app_user", "_.db.example.org"}  # of directories with a certificate
DIRECTORIES = {"certs", "sub directory"} | NAMES
NAMES_IN_CERTS = {"other.host"}
FILES = {"root.pem", "root-key.pem", "spare root.pem"}

KEY_TYPES = set(values("--key-type"))

PATIENCE = 20  # seconds; all of it takes one or two


# --- Shells ---------------------------------------------------------------------------------------


class Sandbox:
    """A home directory of its own, and a working directory with files to complete."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pki-completions-")
        self.home = Path(self._temporary.name).resolve()
        self.work = self.home / "work"
        for name in DIRECTORIES:
            (self.work / name).mkdir(parents=True)
        for name in FILES | {f"{name}/cert.pem" for name in NAMES}:
            (self.work / name).touch()
        for name in NAMES_IN_CERTS:
            (self.work / "certs" / name).mkdir()
            (self.work / "certs" / name / "cert.pem").touch()
        # fish loads completions only for what it finds.
        (self.home / "bin").mkdir()
        (self.home / "bin/pki").symlink_to(PKI)
        self.environment = {
            "PATH": f"{self.home}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "ZDOTDIR": str(self.home),
            "BASH_COMPLETION_USER_DIR": str(self.home),
            "INPUTRC": "/dev/null",
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
        }

    def close(self) -> None:
        self._temporary.cleanup()


class Terminal:
    """An interactive shell in a pseudo terminal.

    Its startup file must make the prompt PROMPT, and let the keys REPORT print the line that is
    being edited between <LINE> and </LINE>, and clear it.
    """

    PROMPT = "READY> "
    REPORT = "\x18\x05"  # ^X^E

    def __init__(self, command: list[str], sandbox: Sandbox) -> None:
        self._terminal, theirs = os.openpty()
        # Wide and high: no line is wrapped, and no list has pages.
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 1000, 1000, 0, 0))
        self._shell = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=sandbox.work,
            env=sandbox.environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        try:
            self._read_to(self.PROMPT)
        except AssertionError:
            self.close()
            raise

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._terminal)

    def complete(self, line: str) -> tuple[str, str]:
        """Types the line and a TAB. What appears, and the line after that."""
        os.write(self._terminal, f"{line}\t{self.REPORT}".encode())
        shown = self._read_to("<LINE>")
        edited = self._read_to("</LINE>")
        self._read_to(self.PROMPT)
        return shown.replace("\r", ""), edited

    def _read_to(self, mark: str) -> str:
        """What appears up to a mark, which is passed over."""
        seen = b""
        end = time.monotonic() + PATIENCE
        while not seen.endswith(mark.encode()):
            ready, _, _ = select.select([self._terminal], [], [], max(0, end - time.monotonic()))
            try:
                byte = os.read(self._terminal, 1) if ready else b""
            except OSError:  # what Linux says when the other end is closed
                byte = b""
            if not byte:
                raise AssertionError(f"no {mark!r}, but {seen!r}")
            seen += byte
        return seen.decode().removesuffix(mark)


# --- What every shell must do ---------------------------------------------------------------------


class Cases:
    """Mixed into a TestCase, which says how to ask: choices(line) is the set of words that are
    offered for the last word of the line, without what precedes its '='."""

    separators = (" ", "=")
    path_separators = (" ", "=")

    def choices(self, line: str) -> set[str]:
        raise NotImplementedError

    def offers(self, line: str, expected: set[str]) -> None:
        with self.subTest(line):
            self.assertEqual(self.choices(line), expected)

    def test_options(self):
        self.offers("pki --", set(options_in_help()))
        for command in commands():
            self.offers(f"pki {command} --", set(options_in_help(command)))
        self.offers("pki issue --d", {"--days", "--domains"})
        self.offers("pki --domains host --q", {"--quiet"})

    def test_commands(self):
        self.offers("pki i", {command for command in commands() if command.startswith("i")})
        self.assertLessEqual(commands(), self.choices("pki "))
        self.offers("pki --json i", set())
        self.offers("pki issue i", set())

    def test_values(self):
        for choice in CHOICES:
            if not choice.is_option:
                continue
            if choice.command == "issue":
                ways = ["pki", "pki issue", "pki issue --domains=host --days 9"]
            else:
                ways = [f"pki {choice.command} --json"]
                if f"{choice.command} OPTION..." not in help_of(choice.command):  # it has operands
                    ways.append(f"pki {choice.command} NAME")
            all_values = set(values(choice))
            start = max(all_values)[:2]
            for separator in self.separators:
                for way in ways:
                    self.offers(f"{way} {choice.name}{separator}", all_values)
                self.offers(
                    f"{ways[-1]} {choice.name}{separator}{start}",
                    {value for value in all_values if value.startswith(start)},
                )

    def test_kinds(self):
        [kind] = [choice for choice in CHOICES if choice.name == "KIND"]
        for way in ["pki config ", "pki config --json --out=certs --user postgres "]:
            self.assertEqual(self.choices(way) - set(options_in_help("config")), set(values(kind)))
            self.offers(f"{way}r", {"rails"})

    def test_steps(self):
        [step] = [choice for choice in CHOICES if choice.name == "STEP"]
        for way in ["pki rotate ", "pki rotate --json --out=certs "]:
            self.assertEqual(self.choices(way) - set(options_in_help("rotate")), set(values(step)))
        self.offers("pki rotate begin f", set())

    def test_names(self):
        options = {one for name in ("config", "export", "revoke") for one in options_in_help(name)}
        for way in [
            "pki config psql ",
            "pki config --user app_user node ",
            "pki config go --port=5432 ",
            "pki export ",
            "pki export --format pk8 --json ",
            "pki revoke ",
            "pki revoke --all --reason superseded ",
        ]:
            self.assertEqual(self.choices(way) - options, NAMES)
            self.offers(f"{way}a", {"app_user"})
        for out in ["--out certs", "--out=certs", "--out=certs/"]:
            self.offers(f"pki export {out} o", NAMES_IN_CERTS)
            self.offers(f"pki config jdbc {out} o", NAMES_IN_CERTS)
        self.offers("pki export app_user b", set())
        self.offers("pki revoke app_user b", set())
        self.offers("pki crl b", set())
        self.offers("pki config psql bouncerhost a", set())

    def offers_owners(self, line: str, expected: set[str]) -> None:
        """Some shells offer USER:GROUP, some the group alone."""
        with self.subTest(line):
            found = {word.rpartition(":")[2] for word in self.choices(line)}
            self.assertEqual(found, expected)

    def test_owners(self):
        users = {entry.pw_name for entry in pwd.getpwall()}
        groups = {entry.gr_name for entry in grp.getgrall()}
        for command in ["", "issue ", "export --format der "]:
            for separator in self.separators:
                option = f"pki {command}--owner{separator}"
                self.offers_owners(option, users)
                self.offers_owners(f"{option}roo", {"root"})
                for user in ["root", "", "4711"]:
                    self.offers_owners(f"{option}{user}:", groups)
                    self.offers_owners(f"{option}{user}:roo", {"root"})

    def test_files(self):
        for command, option in [
            ("", "--ca-cert"),
            ("", "--ca-key"),
            ("issue", "--ca-cert"),
            ("config", "--ca-cert"),
            ("list", "--ca-cert"),
            ("config psql", "--server-ca"),
            ("export", "--password-file"),
            ("export NAME", "--ca-cert"),
        ]:
            for separator in self.path_separators:
                line = f"pki {command} {option}{separator}"
                self.offers(line, FILES | DIRECTORIES)
                self.offers(f"{line}ro", {"root.pem", "root-key.pem"})
                self.offers(f"{line}sp", {"spare root.pem"})

    def test_directories(self):
        for option in ["--out", "issue --out", "list --out", "config psql --out", "export --to", "export n --out"]:
            for separator in self.path_separators:
                self.offers(f"pki {option}{separator}", DIRECTORIES)
                self.offers(f"pki {option}{separator}c", {"certs"})

    def test_nothing(self):
        for option in [
            "--domains",
            "--ip-addresses",
            "--days",
            "list --expiring",
            "--user",
            "config --user",
            "config --dbname",
            "config psql --port",
            "export --password-fd",
        ]:
            for separator in self.separators:
                self.offers(f"pki {option}{separator}", set())
                self.offers(f"pki {option}{separator}r", set())
        self.offers("pki --domains=host,r", set())
        self.offers("pki --json=", set())


class TerminalCases(Cases):
    @classmethod
    def setUpClass(cls):
        sandbox = Sandbox()
        cls.addClassCleanup(sandbox.close)
        cls.terminal = Terminal(cls.prepare(sandbox), sandbox)
        cls.addClassCleanup(cls.terminal.close)

    @classmethod
    def prepare(cls, sandbox: Sandbox) -> list[str]:
        """Writes the startup file. The command that starts the shell."""
        raise NotImplementedError

    def listed(self, shown: str) -> list[str]:
        """The choices, as the shell lists them if there are several."""
        raise NotImplementedError

    def choices(self, line: str) -> set[str]:
        shown, edited = self.terminal.complete(line)
        words = self.listed(shown)
        if not words and edited != line:
            words = [shlex.split(edited)[-1]]  # there was one, and it was taken
        return {word.rpartition("=")[2].rstrip("/") for word in words}

    def test_what_is_inserted(self):
        for line, either in [
            ("pki --dom", {"pki --domains ", "pki --domains="}),
            ("pki i", {"pki issue "}),
            ("pki --key-type=e", {"pki --key-type=ed25519 "}),
            ("pki config pg", {"pki config pgbouncer "}),
            ("pki export app", {"pki export app_user "}),
            ("pki --owner roo", {"pki --owner root "}),
            ("pki --owner root:roo", {"pki --owner root:root "}),
            ("pki --owner=:roo", {"pki --owner=:root "}),
            ("pki --ca-cert 'sp", {"pki --ca-cert 'spare root.pem' "}),
        ]:
            self.inserts(line, either)
        for separator in self.path_separators:
            option = f"pki --ca-cert{separator}"
            self.inserts(option + "sp", {option + r"spare\ root.pem "})
            option = f"pki --out{separator}"
            self.inserts(option + "c", {option + "certs/"})

    def inserts(self, line: str, either: set[str]) -> None:
        with self.subTest(line):
            self.assertIn(self.terminal.complete(line)[1], either)

    def test_redirection(self):
        self.offers("pki --json > ro", {"root.pem", "root-key.pem"})
        self.offers("pki --json 2>ro", {"root.pem", "root-key.pem"})


# --- The shells -----------------------------------------------------------------------------------


class Bash(TerminalCases, unittest.TestCase):
    """With the completion in its startup file, and nothing else."""

    load = f". {shlex.quote(str(COMPLETIONS / 'pki.bash'))}"
    startup = """
        PS1='READY> '
        bind 'set bell-style none'
        bind 'set completion-display-width 0'
        bind 'set completion-query-items 0'
        bind 'set enable-bracketed-paste off'
        bind 'set page-completions off'
        bind 'set show-all-if-ambiguous on'
        report() {
            printf '<LINE>%s</LINE>\\n' "$READLINE_LINE"
            READLINE_LINE= READLINE_POINT=0
        }
        bind -x '"\\C-x\\C-e": report'
        """

    @classmethod
    def prepare(cls, sandbox):
        startup_file = sandbox.home / "bashrc"
        startup_file.write_text(cls.load + cls.startup)
        return ["bash", "--noprofile", "--rcfile", str(startup_file), "-i"]

    def listed(self, shown):
        # The line that was typed, the choices, and the line again.
        return shown.split("\n")[1:-2]

    def test_one_dash(self):
        for separator in self.separators:
            self.offers(f"pki -key-type{separator}", KEY_TYPES)
        for separator in self.path_separators:
            self.offers(f"pki -out{separator}", DIRECTORIES)
            self.offers(f"pki export -out{separator}certs o", NAMES_IN_CERTS)
            self.offers(f"pki config -port{separator}5432 r", {"rails"})
            self.offers_owners(f"pki export -owner{separator}root:roo", {"root"})

    def test_addresses_with_colons(self):
        for address in ["fe80:", "fe80::", "fe80::r"]:
            self.offers(f"pki --ip-addresses {address}", set())
            self.offers(f"pki --ip-addresses={address}", set())


class BashWithBashCompletion(Bash):
    """Found and loaded by the bash-completion package, under the name that it is installed by."""

    load = ". /usr/share/bash-completion/bash_completion"

    @classmethod
    def prepare(cls, sandbox):
        if not Path(cls.load.split()[1]).exists():
            raise FileNotFoundError("bash-completion is not installed")
        (sandbox.home / "completions").mkdir()
        shutil.copy(COMPLETIONS / "pki.bash", sandbox.home / "completions/pki")
        return super().prepare(sandbox)

    def test_behind_sudo(self):
        self.offers("sudo pki --d", {"--days", "--domains"})
        for separator in self.separators:
            self.offers(f"sudo pki --key-type{separator}", KEY_TYPES)
            self.offers(f"sudo pki --out{separator}", DIRECTORIES)
            self.offers_owners(f"sudo pki --owner{separator}root:roo", {"root"})
        self.offers("sudo pki config r", {"rails"})
        self.offers("sudo pki config psql a", {"app_user"})


class BashWithoutEqualsSign(Bash):
    """Where '=' was taken out of COMP_WORDBREAKS. readline then finds no path behind one."""

    load = Bash.load + "; COMP_WORDBREAKS=${COMP_WORDBREAKS//=}"
    path_separators = (" ",)

    def test_no_paths(self):
        for option in ["--ca-cert", "--ca-key", "--out"]:
            self.offers(f"pki {option}=", set())
            self.offers(f"pki {option}=r", set())


class Zsh(TerminalCases, unittest.TestCase):
    startup = f"""
        fpath=({shlex.quote(str(COMPLETIONS))} $fpath)
        autoload -Uz compinit
        compinit -D -u
        zmodload zsh/complist
        PS1='READY> '
        unset zle_bracketed_paste
        setopt no_always_last_prompt no_auto_menu no_beep no_list_ambiguous no_prompt_sp
        zstyle ':completion:*' verbose no
        zstyle ':completion:*:default' list-colors {{no,fi,di}}='<CHOICE>' {{lc,rc}}= ec='</CHOICE>'
        report() {{
            zle -I
            print -r -- "<LINE>$BUFFER</LINE>"
            BUFFER=
        }}
        zle -N report
        bindkey '^X^E' report
        """

    @classmethod
    def prepare(cls, sandbox):
        (sandbox.home / ".zshrc").write_text(cls.startup)
        return ["zsh", "-d", "-i"]

    def listed(self, shown):
        return [shlex.split(word)[0] for word in re.findall("<CHOICE>(.*?)</CHOICE>", shown)]


class Fish(Cases, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox = Sandbox()
        cls.addClassCleanup(cls.sandbox.close)

    def choices(self, line):
        ask = "set fish_complete_path $argv[1] $fish_complete_path; complete -C $argv[2]"
        asked = subprocess.run(
            ["fish", "--no-config", "-c", ask, COMPLETIONS, line],
            cwd=self.sandbox.work,
            env=self.sandbox.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((asked.returncode, asked.stderr), (0, ""))
        words = [choice.partition("\t")[0] for choice in asked.stdout.splitlines()]
        return {word.rpartition("=")[2].rstrip("/") for word in words}


if __name__ == "__main__":
    unittest.main()
