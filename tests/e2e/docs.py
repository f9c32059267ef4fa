#!/usr/bin/python3
"""What is written about pki agrees with what it does.

--help, the manual page and the three completions name the same commands, options and values, and
these are the ones that the program has. The manual page documents the JSON documents member by
member, and is free of faults. What README.md, the manual and the pages in docs/ tell a reader to
type exists.

    PKI=build/pki tests/e2e/docs.py
"""

import functools
import json
import os
import re
import subprocess
import tempfile
import unittest
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
PKI = Path(os.environ.get("PKI") or TREE / "build" / "pki").resolve()


def run(
    *command: str | Path, cwd: str | Path = TREE, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


# --- The program ----------------------------------------------------------------------------------


def commands() -> set[str]:
    """The commands that the program has: each is a source file of its own."""
    return {path.stem for path in (TREE / "src/cli/commands").glob("*.cpp")}


@functools.cache
def help_of(*command: str) -> str:
    shown = run(PKI, *command, "--help")
    assert shown.returncode == 0, shown
    return shown.stdout


def options_in_help(*command: str) -> dict[str, str]:
    """--option: what help says about it, in one line."""
    entries = re.findall(r"^  (--\S+) (.*(?:\n {10,}.*)*)", help_of(*command), re.M)
    return {option: " ".join(text.split()) for option, text in entries}


def all_options() -> set[str]:
    return {option for command in commands() for option in options_in_help(command)}


@dataclass(frozen=True)
class Choice:
    """An option, or an operand, that takes one of a few words."""

    name: str  # as help has it
    command: str
    arguments: str  # with which the program comes to judge VALUE, and then makes nothing
    accepted: str  # what it says after that, if it takes VALUE
    perhaps: str  # what somebody could add next, and forget elsewhere

    @property
    def is_option(self) -> bool:
        return self.name.startswith("--")


KEYS = """
    ecdsa p224 p256 p384 p521 secp256k1 rsa rsa1024 rsa2048 rsa3072 rsa4096 rsa8192 rsapss dsa
    eddsa ed25519 ed448 mldsa44 mldsa65 mldsa87
"""
CHOICES = [
    Choice("--ca-alg", "issue", "--ca-alg VALUE --domains ..", "--domains:", KEYS),
    Choice("--key-type", "issue", "--key-type VALUE --domains ..", "--domains:", KEYS),
    Choice(
        "--profile",
        "issue",
        "--profile VALUE --domains ..",
        "--domains:",
        "ca clients dual kdc ocsp peers root servers signing timestamp user web",
    ),
    Choice(
        "--kind",
        "list",
        "list --kind VALUE --ca-cert no/root.pem",
        "cannot open directory",
        "all any ca clients leaf other peers root servers user",
    ),
    Choice(
        "--sort",
        "list",
        "list --sort VALUE --ca-cert no/root.pem",
        "cannot open directory",
        "date days end kind names none reverse serial status",
    ),
    Choice(
        "--format",
        "export",
        "export no/directory --format VALUE",
        "cannot open directory|a p12 needs a password",
        "bundle chain crl jks jwk pem pfx pk1 pkcs1 pkcs12 pkcs8 sec1 ssh",
    ),
    Choice(
        "--reason",
        "revoke",
        "revoke no/name --ca-cert no/root.pem --reason VALUE",
        "cannot open directory",
        "AACompromise certificateHold key-compromise lost privilegeWithdrawn removeFromCRL",
    ),
    Choice(
        "STEP",
        "rotate",
        "rotate VALUE --ca-cert no/root.pem",
        "cannot open directory",
        "abort commit end next start stop",
    ),
    Choice(
        "KIND",
        "config",
        "config VALUE no/directory",
        "cannot open directory",
        "asyncpg django libpq mysql npgsql odbc odyssey pgcat php psycopg python ruby rust url",
    ),
]


def choice(name: str) -> Choice:
    [found] = [one for one in CHOICES if one.name == name]
    return found


def refusal(one: Choice, value: str) -> str | None:
    """What the program has against a value; None if it takes it."""
    arguments = [value if word == "VALUE" else word for word in one.arguments.split()]
    message = run(PKI, *arguments).stderr.removeprefix("pki: ")
    if re.match(one.accepted, message):
        return None
    assert re.match(f"{one.name}:" if one.is_option else f"unknown {one.name.lower()}", message), message
    return message


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[\w-]+", text))


def listed_in_message(one: Choice) -> set[str]:
    listed = re.search(r"; use (.*)", refusal(one, "?"))
    assert listed, "no list of values"
    return words_of(listed[1]) - {"or"}


@functools.cache
def values(one: Choice | str) -> frozenset[str]:
    """The values that the program takes, of all that it or anybody else knows."""
    if isinstance(one, str):
        return values(choice(one))
    known = {*one.perhaps.split(), *listed_in_message(one)}
    return frozenset(value for value in known if refusal(one, value) is None)


# --- The manual page ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mdoc:
    """A piece of text in mdoc(7)."""

    text: str

    @classmethod
    def read(cls, path: Path) -> "Mdoc":
        text = re.sub(r'^\.\\".*\n', "", path.read_text(), flags=re.M)
        for escape, meaning in {r"\-": "-", r"\(aq": "'", r"\&": "", r"\e": "\\"}.items():
            text = text.replace(escape, meaning)
        return cls(text)

    def section(self, title: str) -> "Mdoc":
        """What stands under a heading, up to the next one of any kind."""
        found = re.search(rf"^\.S[hs] {title}\n(.*?)(?=^\.S[hs] |\Z)", self.text, re.M | re.S)
        assert found, f"no section {title}"
        return Mdoc(found[1])

    def items(self) -> "list[tuple[Mdoc, Mdoc]]":
        """Head and body of each entry of its lists."""
        found = re.findall(r"^\.It ([^\n]+)\n(.*?)(?=^\.It |^\.El)", self.text, re.M | re.S)
        return [(Mdoc(f".{head}"), Mdoc(body)) for head, body in found]

    def words(self, macro: str) -> list[str]:
        """The first argument of each line that begins with a macro."""
        return re.findall(rf"^\.{macro} (\S+)", self.text, re.M)

    def flags(self) -> list[str]:
        """Every option that is marked up as one, in order."""
        lines = re.findall(r"^\..*\bFl\b.*", self.text, re.M)
        return [f"-{flag}" for line in lines for flag in re.findall(r" (-[a-z][a-z-]*)", line)]

    def displays(self) -> str:
        return "\n".join(re.findall(r"^\.Bd .*?\n(.*?)^\.Ed", self.text, re.M | re.S))


MANUAL = Mdoc.read(TREE / "man/pki.1")


# --- The completions ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Completion:
    """How a shell's completion lists what it offers. Each pattern has one group: names or one."""

    path: str
    commands: str
    of_command: str  # the part of the text that is about COMMAND
    options: str  # in that part
    values: str  # of OPTION
    operands: str  # of OPERAND
    common: tuple[str, ...] = ()  # options of every command that stand elsewhere

    def read(self) -> str:
        text = re.sub(r"^\s*#.*\n", "", (TREE / self.path).read_text(), flags=re.M)
        return text.replace("\\\n", "")

    def find(self, pattern: str, text: str | None = None) -> set[str]:
        found = re.findall(pattern, self.read() if text is None else text)
        return {word for words in found for word in words.split()}

    def options_of(self, command: str) -> set[str]:
        parts = re.findall(self.of_command.replace("COMMAND", command), self.read(), re.M | re.S)
        assert parts, f"{self.path} has no part about {command}"
        return with_dashes(self.find(self.options, "\n".join(parts))) | {*self.common}

    def values_of(self, one: Choice) -> set[str]:
        if not one.is_option:
            return self.find(self.operands.replace("OPERAND", one.name))
        return self.find(self.values.replace("OPTION", one.name.removeprefix("--")))


COMPLETIONS = [
    Completion(
        path="completions/pki.bash",
        commands=r"commands='(.*?)'",
        of_command=r"^ {16}COMMAND\)$(.*?)^ {20};;$",
        options=r"words\+=' (.*?)'",
        values=r"--OPTION\)\s+words='(.*?)'",
        operands=r"(?i)OPERANDs='(.*?)'",
        common=("--help", "--version"),
    ),
    Completion(
        path="completions/_pki",
        commands=r"'(\w+):.*?'",
        of_command=r"^_pki_COMMAND\(\) \{$(.*?)^\}$",
        options=r"(--[\w-]+)=?\[",
        values=r"--OPTION=\[.*?\]:.*?:\((.*?)\)",
        operands=r"(?i)':OPERAND:\((.*?)\)'",
        common=("--json", "--quiet", "--verbose", "--help", "--version"),
    ),
    Completion(
        path="completions/pki.fish",
        commands=r"complete .*-n __pki_has_no_words -a (\w+)",
        of_command=r"^(complete -c pki -n '__pki_command_is [a-z ]*\bCOMMAND\b[^\n]*)$",
        options=r" -l (\S+)",
        values=r"complete .*?-l OPTION .*?-a '(.*?)'",
        operands=r"(?i)complete .*-d OPERAND +-a '(.*?)'",
        common=("--help", "--version"),
    ),
]


def with_dashes(names: Iterable[str]) -> set[str]:
    return {"--" + name.removeprefix("--") for name in names}


# --- Other texts ----------------------------------------------------------------------------------

PAGES = {
    path: (TREE / path).read_text()
    for path in ["README.md", "docs/server.md", "docs/database-user.md", "docs/drivers.md"]
}


def command_lines(text: str) -> Iterator[str]:
    """What follows the word pki in each command, be it behind a prompt, a path or sudo."""
    words = "|".join(commands())
    for line in re.sub(r"\\\n", "", text).splitlines():
        for command in re.split(r"[|;&]+", line):
            # "cd pki", say, is none: a command follows, or options.
            found = re.search(rf"(?:^|[\s/(])pki(\s+(?:-|(?:{words})\b).*)", command)
            if found:
                yield found[1]


def faults(command_line: str) -> list[str]:
    """What is in a command line, without the word pki, that the program does not know."""
    words = command_line.split()
    command = words.pop(0) if words[0] in commands() else "issue"
    unknown = options_in(command_line) - set(options_in_help(command))
    for one in CHOICES:
        if one.command != command:
            continue
        given = re.findall(rf"(?:^|\s)-?{one.name}[ =]([\w-]+)", command_line)
        if not one.is_option and words and not words[0].startswith("-"):
            given = words[:1]
        # KIND, TYPE: a word in capitals stands for any.
        unknown |= {value for value in given if not value.isupper()} - values(one)
    return sorted(unknown)


def options_in(command_line: str) -> set[str]:
    """Options of more than one letter, with one dash or two."""
    return with_dashes(
        found.removeprefix("-") for found in re.findall(r"(?<!\S)--?([a-z][\w-]+)", command_line)
    )


def code_in(markdown: str) -> tuple[list[str], list[str]]:
    """The blocks, fenced or indented, and the spans."""
    block = re.compile(r"^( *)```(?s:.*?)^\1```$|(?:^ {4}.*\n)+", re.M)
    blocks = [found[0] for found in block.finditer(markdown)]
    return blocks, re.findall(r"`([^`\n]+)`", block.sub("", markdown))


# --- The tests ------------------------------------------------------------------------------------


class Commands(unittest.TestCase):
    def test_help_names_them(self):
        usage = re.search(r"^Usage: pki (.*)", help_of(), re.M)[1]
        listed = re.search(r"^Commands.*:\n((?: .*\n)+)", help_of(), re.M)
        named = re.findall(r"[a-z]+", usage)
        named += re.findall(r"^  (\S+)", listed[1], re.M) if listed else []
        self.assertEqual(set(named), commands())

    def test_the_manual_names_them(self):
        described = [head.words("Cm") for head, _ in MANUAL.section("COMMANDS").items()]
        self.assertEqual(sorted(described), sorted([command] for command in commands()))
        synopsis = re.findall(r"\bCm (\w+)", MANUAL.section("SYNOPSIS").text)
        self.assertEqual(set(synopsis), commands())

    def test_completions_name_them(self):
        for completion in COMPLETIONS:
            with self.subTest(completion.path):
                self.assertEqual(completion.find(completion.commands), commands())


class Options(unittest.TestCase):
    def test_the_synopsis_names_them(self):
        common = {"--help", "--version"}
        lines = re.split(r"^\.Nm\n", MANUAL.section("SYNOPSIS").text, flags=re.M)[1:]
        *uses, last = map(Mdoc, lines)
        self.assertEqual(set(last.flags()), common)
        self.assertEqual(len(uses), len(commands()))
        for use in uses:
            [command] = re.findall(r"\bCm (\w+)", use.text)
            with self.subTest(command):
                self.assertEqual(set(use.flags()), set(options_in_help(command)) - common)

    def test_the_manual_describes_them(self):
        described = [head.flags() for head, _ in MANUAL.section("OPTIONS").items()]
        self.assertEqual(sorted(described), sorted([option] for option in all_options()))

    def test_the_manual_names_no_others(self):
        self.assertLessEqual(set(MANUAL.flags()), all_options())
        written_out = re.findall(r"(?<![\w-])--[a-z][\w-]*", MANUAL.text)
        self.assertLessEqual(set(written_out), all_options())

    def test_completions_name_them(self):
        for completion in COMPLETIONS:
            for command in commands():
                with self.subTest(completion.path, command=command):
                    found = completion.options_of(command)
                    self.assertEqual(found, set(options_in_help(command)))


class Values(unittest.TestCase):
    """Of the options and operands that take one of a few words."""

    def test_all_are_checked(self):
        """Those that have a message with a list of words are in CHOICES."""
        sources = [path.read_text() for path in (TREE / "src/cli").rglob("*.cpp")]
        unknown = {what for text in sources for what in re.findall(r"unknown (\w+) {}", text)}
        of_choices = {re.search(r"unknown (\w+)", refusal(one, "?"))[1] for one in CHOICES}
        self.assertEqual(unknown - {"command", "option"}, of_choices)

    def test_messages_list_them(self):
        for one in CHOICES:
            with self.subTest(one.name):
                self.assertEqual(listed_in_message(one), values(one))

    def test_help_lists_them(self):
        for one in CHOICES:
            with self.subTest(one.name):
                if one.is_option:
                    text = options_in_help(one.command)[one.name]
                else:
                    text = help_of(one.command).partition("\nExamples:")[0]
                words = words_of(text)
                self.assertEqual(words & {*one.perhaps.split(), *values(one)}, values(one))

    def test_the_manual_lists_them(self):
        for one in CHOICES:
            with self.subTest(one.name):
                if one.name in self.LISTS:
                    items = MANUAL.section(self.LISTS[one.name]).items()
                    listed = [word for head, _ in items for word in head.words("Cm")]
                else:
                    items = MANUAL.section("OPTIONS").items()
                    [text] = [body.text for head, body in items if head.flags() == [one.name]]
                    listed = Mdoc(text.partition("\nOne of\n")[2]).words("Cm")
                self.assertEqual(sorted(listed), sorted(values(one)))

    LISTS = {
        "KIND": "Kinds of configuration",
        "STEP": "Rotating the root",
        "--format": "Formats",
    }

    def test_completions_list_them(self):
        for completion in COMPLETIONS:
            for one in CHOICES:
                with self.subTest(completion.path, name=one.name):
                    self.assertEqual(completion.values_of(one), values(one))


class ExportedFiles(unittest.TestCase):
    def test_the_manual_names_them(self):
        """Those that each format makes, in FILES and where the format is described."""
        described = {
            head.words("Cm")[0]: body for head, body in MANUAL.section("Formats").items()
        }
        in_files = re.findall(r"^\.Pa \S+/(\S+)", MANUAL.section("FILES").text, re.M)
        with tempfile.TemporaryDirectory() as directory:
            run(PKI, "--domains", "host", cwd=directory)
            (Path(directory) / "password").write_text("a password")
            for one in sorted(values("--format")):
                command = ["export", "host", "--format", one, "--json", "--to", one]
                command += ["--password-file", "password"] if one == "p12" else []
                made = json.loads(run(PKI, *command, cwd=directory).stdout)["made"]
                names = [Path(path).name for path in made]
                with self.subTest(one):
                    self.assertEqual(sorted(described[one].words("Pa")), sorted(names))
                    self.assertLessEqual(set(names), set(in_files))


class Json(unittest.TestCase):
    KINDS = {str: "String:", bool: "Boolean:", list: "Array of strings:", dict: "Object:"}

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def json(self, *arguments: str) -> object:
        return json.loads(run(PKI, *arguments, "--json", cwd=self.directory).stdout)

    def describes(self, section: str, printed: object) -> dict[str, Mdoc]:
        """The members, as the section has them, if it has all of them in their order."""
        items = MANUAL.section(section).items()
        members = {head.words("Va")[0]: body for head, body in items}
        self.assertIsInstance(printed, dict)
        flat = dict(self.flatten(printed))
        self.assertEqual(list(members), list(flat))
        for name, value in flat.items():
            self.assertTrue(members[name].text.startswith(self.KINDS[type(value)]), name)
        return members

    def test_issue(self):
        for status in ["issued", "unchanged"]:
            with self.subTest(status):
                printed = self.json("--domains", "host")
                members = self.describes("JSON", printed)
                self.assertEqual(printed["status"], status)
                self.assertIn(status, members["status"].words("Cm"))

    def test_issue_for_users(self):
        for users in ["first", "first,second"]:
            printed = self.json("--user", users)
            self.assertIsInstance(printed, list)
            self.assertEqual([one["common_name"] for one in printed], users.split(","))
            for one in printed:
                self.describes("JSON", one)

    def test_list(self):
        self.json("--domains", "host")
        printed = self.json("list")
        members = {
            head.words("Va")[0]: body.text for head, body in MANUAL.section("JSON of list").items()
        }
        of_each = {name for name in members if name.startswith("certificates[].")}
        self.assertEqual([name for name in members if name not in of_each], list(printed))
        for one in printed["certificates"]:
            self.assertEqual(
                [name for name in members if name in of_each],
                [f"certificates[].{name}" for name in one],
            )
            for name, value in one.items():
                kind = "Number:" if type(value) is int else self.KINDS[type(value)]
                self.assertTrue(members[f"certificates[].{name}"].startswith(kind), name)

    def test_config(self):
        self.json("--domains", "host")
        for kind in sorted(values("KIND")):
            printed = self.json("config", kind, "host")
            self.describes("JSON of config", printed)
            self.assertEqual(printed["kind"], kind)
            plain = run(PKI, "config", kind, "host", cwd=self.directory).stdout
            self.assertEqual(printed["text"], plain)

    def test_renew(self):
        self.json("--domains", "host", "--days", "2")
        for before, status in [("1d", "unchanged"), ("2d", "renewed")]:
            [printed] = self.json("renew", "host", "--before", before)
            members = self.describes("JSON of renew", printed)
            self.assertEqual(printed["status"], status)
            self.assertIn(status, members["status"].words("Cm"))

    def test_export(self):
        self.json("--domains", "host")
        export = ["export", "host", "--format", "der"]
        for member, other in [("made", "unchanged"), ("unchanged", "made")]:
            printed = self.json(*export)
            self.describes("JSON of export", printed)
            made = str(Path(self.directory).resolve() / "host/cert.der")
            self.assertEqual((printed[member], printed[other]), ([made], []))

    def test_revoke(self):
        self.json("--user", "user")
        for status in ["revoked", "unchanged"]:
            printed = self.json("revoke", "user")
            members = self.describes("JSON of revoke", printed)
            self.assertEqual(printed["status"], status)
            self.assertIn(status, members["status"].words("Cm"))

    def test_crl(self):
        self.json("--user", "user")
        self.describes("JSON of crl", self.json("crl"))

    @classmethod
    def flatten(cls, value: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
        for name, member in value.items():
            yield prefix + name, member
            if isinstance(member, dict):
                yield from cls.flatten(member, f"{prefix}{name}.")


class ExitStatuses(unittest.TestCase):
    def test_help_and_the_manual_agree(self):
        [line] = re.findall(r"^Exit status: (.*)", help_of(), re.M)
        in_help = re.findall(r"(?:^|, )(\d) \w+", line)
        in_manual = [head.text[1:] for head, _ in MANUAL.section("EXIT STATUS").items()]
        self.assertEqual(in_help, in_manual)

    def test_they_are_what_the_manual_says(self):
        with tempfile.TemporaryDirectory() as directory:
            for status, arguments in [
                (0, ["--domains", "host"]),
                (0, ["--domains", "host"]),
                (1, ["--domains", "host,other"]),
                (1, ["--domains", ".."]),
                (1, ["--domains", "new", "--ca-alg", "ed25519"]),
                (1, []),
                (2, ["nothing"]),
                (2, ["--nothing"]),
                (2, ["--domains"]),
                (2, ["--domains", "new", "--days", "0"]),
                (2, ["--domains", "new", "more"]),
                (2, ["--domains", "new", "--profile", "both"]),
                (2, ["--domains", "new", "--user", "app"]),
                (2, ["--user", "app", "--profile", "server"]),
                (1, ["--user", "-app"]),
                (1, ["--user", "app", "--owner", "no.such.user"]),
                (0, ["--user", "app"]),
                (0, ["config", "psql", "host"]),
                (1, ["config", "psql", "app"]),
                (1, ["config", "psql", "nobody"]),
                (2, ["config", "psql"]),
                (2, ["config", "nothing", "host"]),
                (0, ["renew", "--all"]),
                (0, ["renew", "host", "app"]),
                (1, ["renew", "nobody"]),
                (2, ["renew"]),
                (2, ["renew", "--all", "host"]),
                (2, ["renew", "--all", "--before", "soon"]),
                (2, ["config", "psql", "host", "--server-ca", "minica.pem"]),
                (2, ["config", "postgres", "host", "--port", "5432"]),
                (0, ["list"]),
                (0, ["list", "--expiring", "30d"]),
                (3, ["list", "--expiring", "800d"]),
                (1, ["list", "--ca-cert", "nothing"]),
                (2, ["list", "host"]),
                (2, ["list", "--expiring", "soon"]),
                (0, ["export", "host", "--format", "der"]),
                (0, ["export", "host", "--format", "der"]),
                (1, ["export", "nobody", "--format", "der"]),
                (2, ["export", "host"]),
                (2, ["export", "host", "--format", "nothing"]),
                (2, ["export", "host", "--format", "p12"]),
                (2, ["export", "host", "--format", "pk8", "--password-fd", "0"]),
                (1, ["export", "host", "--format", "p12", "--password-file", "nothing"]),
                (0, ["revoke", "app", "--reason", "superseded"]),
                (0, ["revoke", "app"]),
                (1, ["revoke", "app", "--reason", "keyCompromise"]),
                (1, ["revoke", "nobody"]),
                (1, ["revoke", "abcd"]),
                (2, ["revoke"]),
                (2, ["revoke", "app", "--reason", "nothing"]),
                (0, ["crl"]),
                (2, ["crl", "--days", "0"]),
                (2, ["crl", "more"]),
            ]:
                with self.subTest(arguments):
                    self.assertEqual(run(PKI, *arguments, cwd=directory).returncode, status)


class WhatReadersType(unittest.TestCase):
    """What is there to be pasted, in the manual, in help, in README.md and in docs/."""

    def test_it_exists(self):
        for text in [MANUAL.displays(), *map(help_of, sorted(commands()))]:
            lines = list(command_lines(text))
            self.assertTrue(lines)
            for line in lines:
                with self.subTest(line):
                    self.assertEqual(faults(line), [])

    def test_it_exists_in_the_pages(self):
        for path, text in PAGES.items():
            blocks, spans = code_in(text)
            lines = [line for code in blocks + spans for line in command_lines(code)]
            self.assertTrue(lines, path)
            for line in lines:
                with self.subTest(path, line=line):
                    self.assertEqual(faults(line), [])
            for span in spans:
                if span.startswith("--"):
                    with self.subTest(path, span=span):
                        self.assertLessEqual(options_in(span), all_options())

    def test_links_lead_to_files(self):
        for path, text in PAGES.items():
            for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
                with self.subTest(path, link=link):
                    self.assertTrue((TREE / path).parent.joinpath(link).exists())

    def test_settings_have_no_comments_behind_them(self):
        """PgBouncer takes a comment behind a value for a part of it, and does not start."""
        for text in [MANUAL.text, PAGES["README.md"], PAGES["docs/server.md"]]:
            lines = re.findall(r"^\s*(?:client|server)_tls_\w+\s*=.*", text, re.M)
            self.assertTrue(lines)
            for line in lines:
                self.assertNotRegex(line, "[;#]")


class ManualPage(unittest.TestCase):
    """It is free of faults, for both families of formatters."""

    def test_mandoc_finds_nothing(self):
        lint = run("mandoc", "-T", "lint", "-W", "warning", "man/pki.1")
        self.assertEqual((lint.returncode, lint.stdout, lint.stderr), (0, "", ""))

    def test_groff_finds_nothing(self):
        # As lintian does it.
        shown = run(
            *["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", "man/pki.1"],
            MANROFFSEQ="",
            MANWIDTH="80",
        )
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertIn("minica-index.txt", run("man", "-l", "man/pki.1", MANWIDTH="80").stdout)


if __name__ == "__main__":
    unittest.main()
