#!/usr/bin/python3
"""What is written about pki agrees with what it does.

--help, the manual page and the three completions name the same commands, options and values, and
these are the ones that the program has. The manual page documents the JSON document member by
member, and is free of faults. What README.md and the manual tell a reader to type exists.

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


def refusal(option: str, value: str) -> str | None:
    """What the program has against a value of an option; None if it takes it."""
    # Names are looked at last, and this one is wrong: nothing is made.
    message = run(PKI, option, value, "--domains", "..").stderr.removeprefix("pki: ")
    if message.startswith("--domains:"):
        return None
    assert message.startswith(f"{option}:"), message
    return message


# What somebody could add to the program next, and forget elsewhere.
PERHAPS_VALUES = """
    ecdsa p224 p256 p384 p521 secp256k1 rsa rsa1024 rsa2048 rsa3072 rsa4096 rsa8192 rsapss dsa
    eddsa ed25519 ed448 mldsa44 mldsa65 mldsa87
""".split()


@functools.cache
def values(option: str) -> frozenset[str]:
    """The values that the program takes for an option, of all that it or anybody else knows."""
    listed = re.search(r"; use (.*)", refusal(option, "?"))
    assert listed, "no list of values"
    known = {*PERHAPS_VALUES, *re.findall(r"\w+", listed[1])} - {"or"}
    return frozenset(value for value in known if refusal(option, value) is None)


OPTIONS_WITH_VALUES = ["--ca-alg", "--key-type"]


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
    options: str
    values: str  # of OPTION

    def find(self, pattern: str) -> set[str]:
        text = re.sub(r"^\s*#.*\n", "", (TREE / self.path).read_text(), flags=re.M)
        text = text.replace("\\\n", "")
        return {word for found in re.findall(pattern, text) for word in found.split()}

    def values_of(self, option: str) -> set[str]:
        return self.find(self.values.replace("OPTION", option.removeprefix("--")))


COMPLETIONS = [
    Completion(
        path="completions/pki.bash",
        commands=r"commands='(.*?)'",
        options=r"words\+='(.*?)'",
        values=r"--OPTION\)\s+words='(.*?)'",
    ),
    Completion(
        path="completions/_pki",
        commands=r"'(\w+):.*?'",
        options=r"(--[\w-]+)=?\[",
        values=r"--OPTION=\[.*?\]:.*?:\((.*?)\)",
    ),
    Completion(
        path="completions/pki.fish",
        commands=r"complete .*-n __pki_has_no_words -a (\w+)",
        options=r"complete .*?-l (\S+)",
        values=r"complete .*?-l OPTION .*?-a '(.*?)'",
    ),
]


def with_dashes(names: Iterable[str]) -> set[str]:
    return {"--" + name.removeprefix("--") for name in names}


# --- Other texts ----------------------------------------------------------------------------------

README = (TREE / "README.md").read_text()


def command_lines(text: str) -> Iterator[str]:
    """What follows the word pki in each command, be it behind a prompt, a path or sudo."""
    for line in re.sub(r"\\\n", "", text).splitlines():
        for command in re.split(r"[|;&]+", line):
            # The last pki is the one that options follow: "cd pki", say, is none.
            found = re.search(r"(?:^|[\s/])pki((?:\s+[a-z]+)?\s+-.*)", command)
            if found:
                yield found[1]


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
        listed = re.search(r"^Commands:\n((?: .*\n)+)", help_of(), re.M)
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
        self.assertEqual(set(MANUAL.section("SYNOPSIS").flags()), all_options())

    def test_the_manual_describes_them(self):
        described = [head.flags() for head, _ in MANUAL.section("OPTIONS").items()]
        self.assertEqual(sorted(described), sorted([option] for option in all_options()))

    def test_the_manual_names_no_others(self):
        self.assertLessEqual(set(MANUAL.flags()), all_options())
        written_out = re.findall(r"(?<![\w-])--[a-z][\w-]*", MANUAL.text)
        self.assertLessEqual(set(written_out), all_options())

    def test_completions_name_them(self):
        for completion in COMPLETIONS:
            with self.subTest(completion.path):
                found = with_dashes(completion.find(completion.options))
                self.assertEqual(found, all_options())


class Values(unittest.TestCase):
    """Of the options that take one of a few words."""

    def test_messages_list_them(self):
        for option in OPTIONS_WITH_VALUES:
            with self.subTest(option):
                listed = re.search(r"; use (.*)", refusal(option, "?"))[1]
                self.assertEqual(set(re.findall(r"\w+", listed)) - {"or"}, values(option))

    def test_help_lists_them(self):
        for option in OPTIONS_WITH_VALUES:
            with self.subTest(option):
                words = set(re.findall(r"\w+", options_in_help()[option]))
                self.assertEqual(words & {*PERHAPS_VALUES, *values(option)}, values(option))

    def test_the_manual_lists_them(self):
        for option in OPTIONS_WITH_VALUES:
            with self.subTest(option):
                items = MANUAL.section("OPTIONS").items()
                [text] = [body.text for head, body in items if head.flags() == [option]]
                listed = Mdoc(text.partition("\nOne of\n")[2]).words("Cm")
                self.assertEqual(sorted(listed), sorted(values(option)))

    def test_completions_list_them(self):
        for completion in COMPLETIONS:
            for option in OPTIONS_WITH_VALUES:
                with self.subTest(completion.path, option=option):
                    self.assertEqual(completion.values_of(option), values(option))


class Json(unittest.TestCase):
    KINDS = {str: "String:", bool: "Boolean:", list: "Array of strings:", dict: "Object:"}

    def test_the_manual_describes_each_member(self):
        items = MANUAL.section("JSON").items()
        members = {head.words("Va")[0]: body for head, body in items}
        with tempfile.TemporaryDirectory() as directory:
            for status in ["issued", "unchanged"]:
                with self.subTest(status):
                    printed = json.loads(
                        run(PKI, "--domains", "host", "--json", cwd=directory).stdout
                    )
                    flat = dict(self.flatten(printed))
                    self.assertEqual(list(members), list(flat))
                    for name, value in flat.items():
                        self.assertTrue(members[name].text.startswith(self.KINDS[type(value)]))
                    self.assertEqual(printed["status"], status)
                    self.assertIn(status, members["status"].words("Cm"))

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
            ]:
                with self.subTest(arguments):
                    self.assertEqual(run(PKI, *arguments, cwd=directory).returncode, status)


class WhatReadersType(unittest.TestCase):
    """What is there to be pasted, in the manual, in help and in README.md."""

    def test_options_exist(self):
        for text in [MANUAL.displays(), help_of()]:
            lines = list(command_lines(text))
            self.assertTrue(lines)
            for line in lines:
                with self.subTest(line):
                    self.assertLessEqual(options_in(line), all_options())

    def test_options_exist_in_the_readme(self):
        blocks, spans = code_in(README)
        for code in blocks + spans:
            for line in command_lines(code):
                with self.subTest(line):
                    self.assertLessEqual(options_in(line), all_options())
        for span in spans:
            if span.startswith("--"):
                with self.subTest(span):
                    self.assertLessEqual(options_in(span), all_options())

    def test_settings_have_no_comments_behind_them(self):
        """PgBouncer takes a comment behind a value for a part of it, and does not start."""
        for text in [MANUAL.text, README]:
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
