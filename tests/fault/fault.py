#!/usr/bin/python3
"""Whatever is killed, full, limited or raced: the rules of docs/design.md, "On disk", hold.

Needs the paths of the three programs:

    PKI=build/pki INJECT=build/tests/inject VERIFY=build/tests/verify tests/fault/fault.py

Root sees everything. Where user namespaces are allowed any user does, but for what a second user
would see; elsewhere the full disk is skipped too.
"""

import base64
import collections
import concurrent.futures
import errno
import fcntl
import functools
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest
from dataclasses import replace

import disk
import scenario
from scenario import (FIRST_RUN, FLEET, IN_THREE_DIRECTORIES, PKI, TIMEOUT, Revocation,
                      Scenario)

WORKERS = max(2, min(4, os.cpu_count() or 2))

# The calls that are made to fail: all that have to do with files. Where there is no memory the C
# library gives up before the program is asked.
CALLS = ("openat,close,newfstatat,fstat,flock,read,pread64,write,writev,pwrite64,fsync,fdatasync,"
         "syncfs,ftruncate,fchmod,fchown,mkdirat,renameat,renameat2,unlinkat,getrandom,linkat,getdents64,"
         "faccessat2,fgetxattr,fremovexattr")
INTERRUPTIBLE = "openat,flock,read,pread64,write,writev,pwrite64,fsync,fdatasync,syncfs"
TRANSFERS = "read,pread64,write,pwrite64"
WRITES = "write,pwrite64"
CREATING = "openat,mkdirat,write,pwrite64,fsync,renameat,renameat2,linkat"  # what a full disk may refuse
TAKING_BACK = "unlinkat,ftruncate"  # what is called when something has failed


def setUpModule():
    scenario.begin()


def tearDownModule():
    scenario.end()


ON_A_ROOT = Scenario("a leaf on an existing root", scenario.with_root)
REVOCATION = Revocation("a revocation", scenario.with_two_leaves)
PROVISIONED = Scenario("a first run into a provisioned directory", scenario.provisioned)


_PAIR = ("bouncerhost/cert.pem", "bouncerhost/key.pem", "bouncerhost/key.pk8")
RENEWAL = Scenario("a renewal", scenario.expiring, ("renew", "--all"),
                   replaced=("bouncerhost", *_PAIR),
                   linked=("bouncerhost/keep.txt", "bouncerhost/link"))
RENEWAL_ONE_BY_ONE = replace(
    RENEWAL, name="a renewal beside a directory", prepare=scenario.expiring_beside_a_directory)


def scenarios():
    yield FIRST_RUN
    yield IN_THREE_DIRECTORIES
    yield PROVISIONED
    yield ON_A_ROOT
    yield replace(IN_THREE_DIRECTORIES, name="a leaf on another program's root",
                  prepare=scenario.with_foreign_root,
                  tolerated=("../a/ca.pem is not in the ledger",))
    yield Scenario("a torn ledger", scenario.with_torn_ledger)
    yield Scenario("a ledger without its last newline", scenario.with_unended_ledger)
    yield replace(IN_THREE_DIRECTORIES, name="half a root", prepare=scenario.with_half_a_root)
    yield Scenario("half a leaf in a provisioned directory", scenario.with_half_a_leaf)
    yield Scenario("a satisfied rerun", scenario.satisfied())
    yield RENEWAL
    yield RENEWAL_ONE_BY_ONE
    yield REVOCATION
    yield Revocation("a revocation in a long and torn ledger", scenario.with_list_and_torn_ledger)
    there = IN_THREE_DIRECTORIES
    yield Revocation(
        "a revocation of what another program made", scenario.with_foreign_leaf,
        arguments=("revoke", "bouncerhost", "--reason", "keyCompromise", *there.arguments[:-2]),
        certificate=there.certificate, key=there.key, ledger=there.ledger, leaf=there.leaf,
        list="a/ca-crl.pem",
        tolerated=("../a/ca.pem is not in the ledger", "bouncerhost/cert.pem is not in the ledger"))
    if os.geteuid() == 0:  # nobody else could look at what has no permissions yet
        yield Scenario("a first run of an ordinary user with umask 0777", umask=0o777,
                       user=scenario.ordinary_user())


def fleets():
    """Several threads, and their calls come in another order each time."""
    yield FLEET
    yield replace(
        IN_THREE_DIRECTORIES, name="a fleet in three directories", prepare=scenario.fleet_elsewhere,
        arguments=(*IN_THREE_DIRECTORIES.arguments[:-2], *FLEET.arguments),
        leaf="c/a.test", more_leaves=tuple(f"c/{leaf}" for leaf in FLEET.more_leaves))
    yield replace(FLEET, name="a fleet on a root, of which some are there",
                  prepare=scenario.fleet_of_all_kinds,
                  more_leaves=(*FLEET.more_leaves, "bouncerhost", "f.test"))
    # As with a file system on which syncfs(2) cannot be relied on.
    yield replace(FLEET, name="a fleet, each file by itself", always=("1+:uname:fail=EFAULT",))


class Case:
    """A scenario that is run again and again, and all that is wrong afterwards."""

    def __init__(self, at, directory=None):
        self.at = at
        self.directory = directory or scenario.new_directory()
        at.set_up(self.directory)
        self.before = scenario.snapshot(self.directory)
        self.model = disk.Disk(self.directory, at.ledger)
        self.faults = []

    def run(self, *rules):
        run = self.at.run(self.directory, *rules)
        if not rules and run.status != 0:
            self.faults.append(f"without a fault: exit status {run.status}, stderr {run.stderr!r}")
        self.faults += self.model.replay(run.log)
        if run.status == 128 + signal.SIGKILL:
            self.model.look_again()
        self.check(run)
        return run

    def check(self, run):
        """What holds after every run, whatever happened to it."""
        now = scenario.snapshot(self.directory)
        self.faults += dishonest(run) + self.at.broken(self.directory)
        self.faults += self.at.touched(self.before, now)
        if run.status == 0:
            self.faults += self.model.unsynced() + self.at.incomplete(self.directory)
        if run.status == 1:
            self.faults += not_taken_back(run, [
                path.relative_to(self.directory) for path in now
                if path not in self.before or now[path]["itself"] != self.before[path]["itself"]])

    def finish(self):
        """The next run puts everything right, and the one after it has nothing to do."""
        if self.run().status != 0:
            return
        before = scenario.snapshot(self.directory)
        again = self.at.run_untraced(self.directory)
        if again.status != 0 or "unchanged" not in again.stderr:
            self.faults.append(f"a rerun: exit status {again.status}, stderr {again.stderr!r}")
        if scenario.snapshot(self.directory) != before:
            self.faults.append("a rerun changed something")

    def state(self):
        return scenario.shape(scenario.snapshot(self.directory)), *self.model.unsynced()

    def end(self):
        shutil.rmtree(self.directory)
        return self.faults


def dishonest(run):
    """What is wrong with the way a run ended."""
    was_killed = run.status == 128 + signal.SIGKILL and any("kill" in rule for rule in run.rules)
    if run.status == 0 or was_killed:
        return []
    message_failed = any(call[1] in ("write", "writev") and call[2] == "2" for call in run.hit())
    if run.status == 1 and (run.is_explained() or message_failed):
        return []
    return [f"exit status {run.status}, stderr {run.stderr!r}"]


def not_taken_back(run, made):
    """What a run that failed has left staged. It may if it has published the other half, or if more
    than one call failed: the one that takes it back, for instance."""
    is_published = [not any(map(disk.is_staged, path.parts)) and not path.match("*-index.txt")
                    or disk.is_decided(path.name) for path in made]
    if len(run.hit()) > 1 or any(is_published):
        return []
    return [f"{path} is not taken back" for path in made if disk.is_staged(path.name)]


class Sweep(unittest.TestCase):
    """One fault after the other, everywhere. Each is a case:

    - a scenario is set up, and `pki` runs with the fault;
    - what must always hold does, the exit status is honest, what was there is untouched, and
      nothing was published or reported done before it was on the disk;
    - the same command without a fault succeeds and leaves everything complete and on the disk;
    - once more, and it says `unchanged` and changes nothing.
    """

    def sweep(self, what, rules_for, at_all=None, examination=None):
        """`rules_for` returns inject's rules for each case of a scenario, `examination` the
        function that examines a case. Faults that are alike are told once."""
        total = 0
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for at in at_all or scenarios():
                with self.subTest(at.name):
                    cases = list(rules_for(at))
                    total += len(cases)
                    found = collections.defaultdict(list)
                    examine = (examination or one_fault)(at)
                    for rules, faults in zip(cases, pool.map(examine, cases)):
                        for fault in dict.fromkeys(faults):
                            found[fault].append(" ".join(rules))
                    if found:
                        self.fail("\n" + "\n".join(
                            f"{fault}\n    {len(rules)} times, as with: {rules[0]}"
                            for fault, rules in found.items()))
        self.assertGreater(total, 0)
        print(f"{what}: {total} cases", file=sys.stderr)

    def test_no_fault(self):
        """The order of writes, fsyncs and renames, and the modes of keys: see disk.py."""
        umasks = [Scenario(f"a first run with umask {umask:o}, user {user}", umask=umask, user=user)
                  for user in {None, scenario.ordinary_user()} for umask in (0o022, 0o400, 0o777)]
        self.sweep("no fault", lambda at: [()], [*scenarios(), *fleets(), *umasks])

    def test_killed_at_every_call(self):
        def rules(at):
            for k in range(1, len(calls(at)) + 1):
                yield (f"{k}:any:kill-before",)
                yield (f"{k}:any:kill-after",)
        self.sweep("killed at every call", rules)

    def test_a_fleet_is_killed_at_every_call(self):
        def rules(at):
            called = calls(at)
            for k in range(beginning_of(called), len(called) + 1):
                yield (f"{k}:any:kill-after",)
            for k in numbers(called, "renameat2,syncfs,fsync"):  # one thread's: none is missed
                yield (f"{k}:renameat2,syncfs,fsync:kill-after",)
        self.sweep("a fleet is killed at every call", rules, fleets())

    def test_every_call_of_a_fleet_fails(self):
        def rules(at):
            called = calls(at)
            for k in numbers(called, CALLS):
                yield (f"{k}:{CALLS}:fail=EIO",)
                yield (f"{k}+:{CALLS}:fail=EIO",)
            for k in numbers(called, CREATING):
                yield (f"{k}:{CREATING}:fail=ENOSPC",)
                yield (f"{k}+:{CREATING}:fail=ENOSPC",)
        self.sweep("every call of a fleet fails", rules, fleets())

    def test_no_threads_for_a_fleet(self):
        self.sweep("no threads for a fleet", lambda at: [("1+:clone3:fail=EAGAIN",),
                                                         ("2:clone3:fail=EAGAIN",)],
                   fleets(), no_matter)

    def test_every_call_fails(self):
        def rules(at):
            called = calls(at)
            for names, error in ((CALLS, "ENOSPC"), (CALLS, "EIO"), ("openat", "EMFILE"),
                                 ("openat", "EACCES"), ("close", "EINTR")):
                for k in numbers(called, names):
                    yield (f"{k}:{names}:fail={error}",)
        self.sweep("every call fails", rules)

    def test_every_call_is_interrupted(self):
        """That is no failure: the program calls again."""
        def rules(at):
            for k in numbers(calls(at), INTERRUPTIBLE):
                yield (f"{k}:{INTERRUPTIBLE}:fail=EINTR",)
        self.sweep("every call is interrupted", rules, [*scenarios(), FLEET], no_matter)

    def test_every_transfer_is_short(self):
        def rules(at):
            ours = numbers(calls(at), TRANSFERS)
            yield (f"{ours[0]}+:{TRANSFERS}:short=1",)
            for k in ours:
                yield (f"{k}:{TRANSFERS}:short=1",)
                yield (f"{k}:{TRANSFERS}:short=100",)
        self.sweep("every transfer is short", rules)

    def test_the_disk_stays_broken(self):
        def rules(at):
            called = calls(at)
            for names, error in ((CALLS, "EIO"), (CREATING, "ENOSPC")):
                for k in numbers(called, names):
                    yield (f"{k}+:{names}:fail={error}",)
        self.sweep("the disk stays broken", rules)

    def test_torn_writes(self):
        """Every write is cut into pieces, and the K-th piece is the last."""
        def rules(at):
            pieces = f"1+:{WRITES}:short=11"
            for k in numbers(calls(at, pieces), WRITES):
                yield f"{k}:{WRITES}:kill-before", pieces
                yield f"{k}:{WRITES}:fail=ENOSPC", pieces
                yield f"{k}:{WRITES}:fail=ENOSPC", "1+:ftruncate:fail=EIO", pieces
        self.sweep("torn writes", rules, [FIRST_RUN, ON_A_ROOT, REVOCATION])

    def test_killed_while_taking_back(self):
        """A call fails, and then something happens to the calls that take back what was done."""
        def rules(at):
            for k in numbers(calls(at), CREATING):
                failure = f"{k}:{CREATING}:fail=ENOSPC"
                for taken in numbers(calls(at, failure), TAKING_BACK):
                    for how in ("kill-before", "kill-after", "fail=EIO"):
                        yield f"{taken}:{TAKING_BACK}:{how}", failure
        self.sweep("killed while taking back", rules)

    def test_killed_again_and_again(self):
        dice = random.Random(0)

        def rules(at):
            last = len(calls(at))
            for _ in range(10):  # its second half is where files are made
                yield [f"{dice.randint(last // 2, last)}:any:kill-after" for _ in range(6)]
        self.sweep("killed again and again", rules, [*scenarios(), *fleets()],
                   one_after_the_other)

    def test_next_run_is_for_another_name(self):
        def rules(at):
            for k in numbers(calls(at), CREATING):
                yield (f"{k}:{CREATING}:kill-after",)
        self.sweep("the next run is for another name", rules,
                   [FIRST_RUN, IN_THREE_DIRECTORIES, ON_A_ROOT], another_name)

    def test_no_renameat2(self):
        """A file system that knows no RENAME_NOREPLACE."""
        def rules(at):
            for error in ("EINVAL", "ENOSYS"):
                without = f"1+:renameat2:fail={error}"
                yield (without,)
                for k in numbers(calls(at, without), "renameat"):
                    for how in ("kill-before", "kill-after", "fail=EIO"):
                        yield f"{k}:renameat:{how}", without
        self.sweep("no renameat2", rules)


def calls(at, *rules):
    """The calls of a run with these rules."""
    directory = scenario.new_directory()
    at.set_up(directory)
    return at.run(directory, *rules).calls()


def numbers(called, names):
    """K for inject's rules: where the calls of these names stand among each other, from the
    beginning of main() on. What the dynamic loader fails at is nothing of ours."""
    beginning = beginning_of(called)
    ours = [int(call[0]) > beginning for call in called if call[1] in names.split(",")]
    return [k for k, is_ours in enumerate(ours, 1) if is_ours]


def beginning_of(called):
    return next(int(call[0]) for call in called if call[1] == "prctl")


def one_fault(at):
    """Examines a case as Sweep says."""
    tried = set()

    def examine(rules):
        case = Case(at)
        case.run(*rules)
        # From a state of a kind that was met before the next run would do what it did then.
        state = case.state()
        if state not in tried:
            tried.add(state)
            case.finish()
        return case.end()
    return examine


def no_matter(at):
    """The program succeeds in spite of it."""
    def examine(rules):
        case = Case(at)
        if case.run(*rules).status != 0:
            case.faults.append("failed")
        return case.end()
    return examine


def one_after_the_other(at):
    """Each rule is for a run of its own."""
    def examine(rules):
        case = Case(at)
        for rule in rules:
            case.run(rule)
        case.finish()
        return case.end()
    return examine


def another_name(at):
    """The run that puts things right is asked for something else."""
    other = replace(at, arguments=(*at.arguments[:-1], "other"),
                    leaf=os.path.join(os.path.dirname(at.leaf), "other"))

    def examine(rules):
        case = Case(at)
        case.run(*rules)
        case.at = other
        case.run()
        case.at = at
        case.finish()
        return case.end()
    return examine


class Listing(unittest.TestCase):
    """What only reads tells all there is, or that it could not, and changes nothing."""

    CALLS = CALLS + ",getdents64"
    COMMAND = ("1+:prctl:fail=0", "--", PKI, "list", "--all")

    def setUp(self):
        self.directory = scenario.new_directory()
        for host in ("gone", "bouncerhost", "dbhost"):
            subprocess.run([PKI, "--domains", host], cwd=self.directory, check=True)
        shutil.rmtree(self.directory / "gone")
        self.before = scenario.snapshot(self.directory)
        self.everything, self.calls = self.list()

    def list(self, *rules):
        log = self.directory.with_suffix(".log")
        run = subprocess.run([scenario.INJECT, "--log", log, *rules, *self.COMMAND],
                             cwd=self.directory, capture_output=True, text=True, timeout=TIMEOUT)
        run.rules = rules
        self.assertEqual(scenario.snapshot(self.directory), self.before, rules)
        return run, [line.split("\t") for line in log.read_text().splitlines()]

    def test_every_call_fails(self):
        self.assertEqual(self.everything.stdout.count("\n"), 5)
        total = 0
        for names, error in ((self.CALLS, "EIO"), (self.CALLS, "ENOMEM"), ("openat", "EACCES")):
            for k in numbers(self.calls, names):
                total += 1
                run, _ = self.list(f"{k}:{names}:fail={error}")
                with self.subTest(run.rules):
                    self.assertIn(run.returncode, (0, 1))
                    self.assertRegex(run.stderr, r"\A(pki: .*\n)*\Z")
                    if run.returncode == 1:
                        self.assertEqual(run.stderr.count("\n"), 1)
                    elif "warning" not in run.stderr:
                        self.assertEqual(run.stdout, self.everything.stdout)
        self.assertGreater(total, 60)

    def test_interruptions_and_short_reads_do_not_matter(self):
        for how in ("fail=EINTR", "short=1", "short=100"):
            names = "openat,read,pread64" if "EINTR" in how else TRANSFERS
            for k in numbers(self.calls, names):
                run, _ = self.list(f"{k}:{names}:{how}")
                with self.subTest(run.rules):
                    self.assertEqual((run.returncode, run.stderr), (0, ""))
                    self.assertEqual(run.stdout, self.everything.stdout)


class Rotation(unittest.TestCase):
    """Killed at any call, or with any call that fails, no key is lost, what was verified is, and the
    same step, run again, ends as it would have."""

    LEAF = "bouncerhost/cert.pem"

    @classmethod
    def setUpClass(cls):
        cls.before = scenario.new_directory()
        for arguments in (["--domains", "bouncerhost"], ["--user", "app"], ["revoke", "app"]):
            cls.pki(cls.before, *arguments)
        shutil.copy(cls.before / "minica.pem", cls.before / "old.pem")
        cls.old_key = (cls.before / "minica-key.pem").read_bytes()
        cls.begun = cls.copy(cls.before)
        cls.pki(cls.begun, "rotate", "begin")
        cls.pki(cls.begun, "renew", "--all")

    @staticmethod
    def copy(directory):
        new = scenario.new_directory()
        shutil.copytree(directory, new, symlinks=True, dirs_exist_ok=True)
        return new

    @staticmethod
    def pki(directory, *arguments):
        run = subprocess.run([PKI, *arguments], cwd=directory, capture_output=True, text=True,
                             timeout=TIMEOUT)
        if run.returncode != 0:
            raise AssertionError(f"{arguments}: {run}")
        return run.stdout

    @staticmethod
    def inject(directory, step, *rules):
        log = directory.with_suffix(".log")
        run = subprocess.run(
            [scenario.INJECT, "--log", log, *rules, "1+:prctl:fail=0", "--", PKI, "rotate", step],
            cwd=directory, capture_output=True, text=True, timeout=TIMEOUT)
        return run, [line.split("\t") for line in log.read_text().splitlines()]

    def examine(self, directory, what):
        def openssl(*arguments):
            return subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True)

        def public_key(kind, name):
            return openssl(kind, "-in", name, "-pubout" if kind == "pkey" else "-pubkey",
                           *([] if kind == "pkey" else ["-noout"])).stdout

        keys = [path.read_bytes() for path in directory.glob("minica*-key.pem")]
        self.assertIn(self.old_key, keys, what)
        for path in directory.glob(".*key.pem.new"):
            self.assertEqual(path.stat().st_mode & 0o077, 0, (what, path))
        verified = openssl("verify", "-CAfile", "minica.pem", "-untrusted", self.LEAF, self.LEAF)
        self.assertEqual(verified.returncode, 0, (what, verified))
        return public_key("x509", "minica.pem") == public_key("pkey", "minica-key.pem")

    def one(self, template, step, rule):
        directory = self.copy(template)
        run, _ = self.inject(directory, step, rule)
        self.assertIn(run.returncode, (0, 1, 128 + signal.SIGKILL, -signal.SIGKILL), (rule, run))
        self.examine(directory, rule)
        told = json.loads(self.pki(directory, "rotate", step, "--json"))
        self.assertTrue(self.examine(directory, f"{rule}, and run again"))
        self.assertEqual(told["under_way"], step == "begin", rule)
        self.assertEqual([s["name"] for s in told["stragglers"]],
                         ["bouncerhost"] if step == "begin" else [], rule)
        self.assertEqual((directory / "minica.pem").read_bytes().count(b"BEGIN"),
                         2 if step == "begin" else 1, rule)
        self.assertEqual((directory / "minica-crl.pem").read_bytes().count(b"BEGIN"),
                         2 if step == "begin" else 1, rule)
        self.assertEqual([path.name for path in directory.glob(".*.new")], [], rule)
        if step == "begin":
            self.pki(directory, "renew", "--all")
            self.pki(directory, "rotate", "finish")
        shutil.rmtree(directory)

    def test_each_step(self):
        total = 0
        for step, template in (("begin", self.before), ("finish", self.begun)):
            _, calls = self.inject(self.copy(template), step)
            rules = [f"{k}:any:kill-after" for k in range(1, len(calls) + 1)]
            rules += [f"{k}:{CALLS}:fail=EIO" for k in numbers(calls, CALLS)]
            total += len(rules)
            with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(functools.partial(self.one, template, step), rules))
        self.assertGreater(total, 300)
        print(f"rotations: {total} cases", file=sys.stderr)


class Inject(unittest.TestCase):
    """The sweeps are worth what their tool is worth."""

    def inject(self, *rules_and_command):
        directory = scenario.new_directory()
        log = directory.with_suffix(".log")
        status = subprocess.run([scenario.INJECT, "--log", log, *rules_and_command], cwd=directory,
                                stderr=subprocess.DEVNULL, timeout=TIMEOUT).returncode
        return directory, log, status

    def test_kill_before_has_no_effect(self):
        directory, _, status = self.inject("1:mkdir:kill-before", "--", "mkdir", "d")
        self.assertEqual((status, os.listdir(directory)), (137, []))

    def test_kill_after_has_its_effect(self):
        directory, _, status = self.inject("1:mkdir:kill-after", "--", "mkdir", "d")
        self.assertEqual((status, os.listdir(directory)), (137, ["d"]))

    def test_a_failed_call_is_not_made(self):
        directory, log, status = self.inject("1:mkdir:fail=ENOSPC", "--", "mkdir", "d")
        self.assertEqual((status, os.listdir(directory)), (1, []))
        self.assertIn(f"\td\t0777\t=\t-{errno.ENOSPC}\trule 1\n", log.read_text())

    def test_a_short_write_is_made(self):
        directory, log, _ = self.inject("1:write:short=2", "--", "sh", "-c", "echo abcdef > f")
        self.assertIn("\twrite\t1\t7\t=\t2\trule 1\n", log.read_text())
        self.assertEqual((directory / "f").read_text()[:2], "ab")

    def test_one_count_for_all_processes(self):
        command = ("--", "sh", "-c", "(mkdir a; mkdir b) & wait; mkdir c; mkdir d")
        directory, log, status = self.inject("3:mkdir:kill-before", *command)
        self.assertEqual((status, sorted(os.listdir(directory))), (137, ["a", "b"]))
        numbered = sorted(int(line.split("\t")[0]) for line in log.read_text().splitlines())
        self.assertEqual(numbered, list(range(1, len(numbered) + 1)))

    def test_mistakes_are_told(self):
        for mistake in ("1:any:maim", "x:any:kill-before", "1:no:fail=EIO", "1:write:fail=ENO"):
            with self.subTest(mistake):
                self.assertEqual(self.inject(mistake, "--", "true")[2], 125)


class Race(unittest.TestCase):
    """Runs that come at once end as if they had come one after the other."""

    def setUp(self):
        self.directory = scenario.new_directory()

    def start(self, command):
        run = subprocess.Popen([PKI, *command], cwd=self.directory, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for end in (run.stderr.close, run.wait, run.kill):  # called from the last to the first
            self.addCleanup(end)
        return run

    def start_at_once(self, commands, door="."):
        """All of them stand at the door, a directory that they lock, before it opens."""
        lock = os.open(self.directory / door, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = [self.start(command) for command in commands]
        time.sleep(0.1)
        os.close(lock)
        return started

    def wait(self, runs):
        """Returns what each of them wrote to stderr; all must succeed."""
        errors = [run.communicate(timeout=TIMEOUT)[1] for run in runs]
        self.assertEqual([run.returncode for run in runs], [0] * len(runs), errors)
        return errors

    def check(self, leaves, certificates=None, at=FIRST_RUN):
        """`certificates`: how many there are, the root included. So many lines has the ledger."""
        for leaf in leaves:
            self.assertEqual(replace(at, leaf=leaf).incomplete(self.directory), [])
        for directory in {os.path.dirname(leaf) for leaf in leaves}:
            at_one = replace(at, leaf=os.path.join(directory, "any"))
            self.assertEqual(at_one.broken(self.directory), [])
        if certificates is not None:
            ledger = (self.directory / at.ledger).read_text()
            self.assertEqual(ledger.count("\n"), certificates)

    def test_a_hundred_first_runs(self):
        hosts = [f"host{i}" for i in range(100)]
        runs = self.start_at_once(("--domains", host) for host in hosts)
        while any(run.poll() is None for run in runs):
            self.assertEqual(FIRST_RUN.broken(self.directory), [])
        self.wait(runs)
        self.check(hosts, certificates=101)

    def test_a_hundred_first_runs_for_one_name(self):
        errors = self.wait(self.start_at_once([("--domains", "bouncerhost")] * 100))
        self.assertEqual(sum("unchanged" in error for error in errors), 99)
        self.check(["bouncerhost"], certificates=2)

    def test_one_root_for_many_directories(self):
        outs = [f"out{i}" for i in range(4)]
        scenario.make_directories(self.directory, *outs)
        (self.directory / "link").symlink_to("out0")
        leaves = [(out, f"host{i}") for i in range(20) for out in outs]
        also_by_link = [("link", host) for out, host in leaves if out == "out0"]
        self.wait(self.start_at_once(("--out", out, "--domains", host)
                                     for out, host in leaves + also_by_link))
        self.check([f"{out}/{host}" for out, host in leaves], certificates=len(leaves) + 1)

    def test_fleets_and_single_hosts(self):
        hosts = [f"host{i}" for i in range(60)]
        scenario.write_hosts(self.directory, *hosts)
        fleet = ("--hosts", "hosts.txt", "--jobs", "2")
        runs = self.start_at_once([fleet, *(("--domains", host) for host in hosts[::2]), fleet])
        while any(run.poll() is None for run in runs):
            self.assertEqual(FIRST_RUN.broken(self.directory), [])
        self.wait(runs)
        self.check(hosts, certificates=61)

    def test_two_authorities_with_crossed_directories(self):
        """Each needs the locks that the other needs, and names them in the other order."""
        scenario.make_directories(self.directory, "x", "y")
        hosts = [f"host{i}" for i in range(40)]
        authorities = [replace(
            FIRST_RUN, certificate=f"{here}/{name}.pem", key=f"{there}/{name}-key.pem",
            ledger=f"{here}/{name}-index.txt", leaf=there)
            for name, here, there in (("first", "x", "y"), ("second", "y", "x"))]
        commands = [("--ca-cert", at.certificate, "--ca-key", at.key, "--out", at.leaf,
                     "--domains", host) for host in hosts for at in authorities]
        self.wait(self.start_at_once(commands, door="x"))
        for at in authorities:
            self.check([f"{at.leaf}/{host}" for host in hosts], len(hosts) + 1, at)

    def test_revocations_and_new_certificates(self):
        """Appends and replacements of the ledger: neither loses what the other wrote."""
        users = [f"user{i}" for i in range(30)]
        self.wait([self.start(("--user", ",".join(users)))])
        hosts = [f"host{i}" for i in range(30)]
        runs = self.start_at_once(
            command for host, user in zip(hosts, users)
            for command in (("--domains", host), ("revoke", user)))
        while any(run.poll() is None for run in runs):
            self.assertEqual(FIRST_RUN.broken(self.directory), [])
        self.wait(runs)
        self.check(hosts + users, certificates=61)
        lines = (self.directory / "minica-index.txt").read_text().splitlines()
        revoked = {line.split("\t")[3] for line in lines if line.startswith("R")}
        self.assertEqual(len(revoked), len(users))
        listed = subprocess.run(
            ["openssl", "crl", "-noout", "-text", "-in", self.directory / "minica-crl.pem"],
            capture_output=True, check=True, text=True).stdout
        self.assertEqual(set(re.findall("Serial Number: (.*)", listed)), revoked)

    def test_killed_in_the_crowd(self):
        hosts = [f"host{i}" for i in range(50)]
        dice = random.Random(0)
        for _ in range(5):
            self.directory = scenario.new_directory()
            runs = self.start_at_once(("--domains", host) for host in hosts)
            for victim in dice.sample(runs, 20):
                time.sleep(dice.uniform(0, 0.01))
                victim.kill()
            for run in runs:
                error = run.communicate(timeout=TIMEOUT)[1]
                self.assertIn(run.returncode, (0, -signal.SIGKILL), error)
            self.assertEqual(FIRST_RUN.broken(self.directory), [])
            self.wait(self.start_at_once(("--domains", host) for host in hosts))
            self.check(hosts)


class Renewal(unittest.TestCase):
    def setUp(self):
        self.directory = scenario.new_directory()

    def test_a_reader_sees_pairs_that_match(self):
        """And their exports, while certificates are renewed again and again."""
        RENEWAL.set_up(self.directory)
        leaf = self.directory / "bouncerhost"
        seen = set()
        done = threading.Event()

        def read():
            while not done.is_set():
                opened = os.open(leaf, os.O_DIRECTORY)
                try:
                    seen.add(tuple(read_in(opened, name) for name in
                                   ("cert.pem", "key.pem", "key.pk8", "keep.txt")))
                except FileNotFoundError:
                    pass  # it was exchanged since it was opened, and emptied
                os.close(opened)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for _ in range(50):
                run = replace(RENEWAL, arguments=("renew", "--all", "--before", "9999", "--quiet"),
                              ).run_untraced(self.directory)
                self.assertEqual((run.status, run.stderr), (0, ""))
        finally:
            done.set()
            reader.join()
        self.assertGreater(len(seen), 20)
        for number, (certificate, key, pk8, kept) in enumerate(seen):
            place = scenario.new_directory()
            (place / "cert.pem").write_bytes(certificate)
            (place / "key.pem").write_bytes(key)
            self.assertTrue(scenario.is_pair(place / "cert.pem", place / "key.pem"), number)
            self.assertEqual(base64.b64encode(pk8), scenario.body_of(place / "key.pem"))
            self.assertEqual(kept, b"the operator's\n")

    def test_the_command_runs_whatever_is_killed(self):
        """Once or, if it was killed before that was known, again; and then no more."""
        at = replace(RENEWAL, name="a renewal with a command", arguments=(
            "renew", "--all", "--exec", 'echo "$PKI_RENEWED" >> ran'))
        called = calls(at)
        first = next(int(call[0]) for call in called if call[1] == "linkat")
        self.assertGreater(len(called) - first, 100)
        for k in range(first, len(called) + 1, 2):
            with self.subTest(k=k):
                directory = scenario.new_directory()
                at.set_up(directory)
                at.run(directory, f"{k}:any:kill-after")
                self.assertEqual(at.run_untraced(directory).status, 0)
                ran = (directory / "ran").read_text()
                self.assertIn(ran, ("bouncerhost\n", "bouncerhost\nbouncerhost\n"))
                self.assertEqual(at.run_untraced(directory).status, 0)
                self.assertEqual((directory / "ran").read_text(), ran)
                self.assertEqual(at.incomplete(directory), [])


def read_in(directory, name):
    opened = os.open(name, os.O_RDONLY, dir_fd=directory)
    with open(opened, "rb") as file:
        return file.read()


class Surroundings(unittest.TestCase):
    """Where the program has to do without."""

    def survive(self, at, attempt, directory=None):
        """`attempt` runs the program under a limit and lifts it again. It succeeds, or fails with
        one line and nothing half made; then the next run succeeds. Returns the first's status."""
        case = Case(at, directory)
        run = attempt(at, case.directory)
        case.check(run)
        case.model = disk.Disk(case.directory, at.ledger)  # the run was not traced
        case.finish()
        self.assertEqual(case.faults, [])
        return run.status

    def assert_no_until_enough(self, statuses):
        """No with little, yes with more."""
        self.assertEqual(statuses, sorted(statuses, reverse=True))
        self.assertEqual({*statuses}, {0, 1})

    def test_file_size(self):
        for at in (FIRST_RUN, ON_A_ROOT, REVOCATION):
            with self.subTest(at.name):
                self.assert_no_until_enough([
                    self.survive(at, limited(resource.RLIMIT_FSIZE, size))
                    for size in range(0, 750, 15)])

    def test_descriptors(self):
        # With fewer the dynamic loader gives up.
        self.assert_no_until_enough([
            self.survive(FIRST_RUN, limited(resource.RLIMIT_NOFILE, most))
            for most in range(4, 20)])

    def test_full_disk(self):
        for at, most, most_files in ((FIRST_RUN, 48, 12), (PROVISIONED, 48, 12),
                                     (REVOCATION, 48, 12), (FLEET, 100, 28)):
            with self.subTest(at.name):
                self.assert_no_until_enough([
                    self.survive_on_full_disk(at, space=space) for space in range(0, most, 4)])
                self.assert_no_until_enough([
                    self.survive_on_full_disk(at, files=files) for files in range(0, most_files)])

    def survive_on_full_disk(self, at, space=100, files=100):
        """There is room for so many KiB, and so many files."""
        def attempt(at, directory):
            ballast = directory / "ballast"
            ballast.mkdir()
            free = os.statvfs(directory)
            for number in range(free.f_ffree - files):
                (ballast / str(number)).touch()
            (ballast / "0").write_bytes(bytes(free.f_bavail * free.f_bsize - space * 1024))
            run = at.run_untraced(directory)
            shutil.rmtree(ballast)
            return run

        directory = scenario.new_directory()
        mount = ("mount", "-t", "tmpfs", "-o", "size=200k,nr_inodes=200", "none", directory)
        if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("not allowed to mount")
        try:
            return self.survive(at, attempt, directory)
        finally:
            subprocess.run(["umount", directory], check=True)

    def test_closed_descriptors(self):
        for closed in ("<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
            with self.subTest(closed):
                shell = ("sh", "-c", f'exec "$0" "$@" {closed}', PKI)
                status = self.survive(FIRST_RUN, lambda at, directory:
                                      at.run_untraced(directory, shell))
                self.assertEqual(status, 0)

    def test_environment(self):
        garbage = scenario.new_directory() / "garbage"
        garbage.write_bytes(bytes(range(256)))
        fifo = garbage.with_name("fifo")
        os.mkfifo(fifo)
        for environment in ({}, {"OPENSSL_CONF": garbage}, {"OPENSSL_CONF": fifo},
                            {"OPENSSL_CONF": "/", "OPENSSL_MODULES": "/", "TZ": "\x1b", "HOME": "",
                             "LC_ALL": "nowhere", "TMPDIR": "/nowhere", "PATH": ""}):
            with self.subTest(environment):
                status = self.survive(FIRST_RUN, lambda at, directory:
                                      at.run_untraced(directory, env=environment))
                self.assertEqual(status, 0)

    def test_deleted_working_directory(self):
        gone = scenario.new_directory()
        there = scenario.new_directory()
        shell = ("sh", "-c", 'rmdir "$PWD" && exec "$0" "$@"', PKI)
        run = FIRST_RUN.run_untraced(gone, shell)
        self.assertEqual((run.status, run.has_one_line()), (1, True), run)
        gone.mkdir()
        at = replace(FIRST_RUN, arguments=(
            "--ca-cert", there / "minica.pem", "--ca-key", there / "minica-key.pem", "--out", there,
            "--domains", "bouncerhost"))
        self.assertEqual(at.run_untraced(gone, shell).status, 0)
        self.assertEqual(at.broken(there) + at.incomplete(there), [])

    def test_no_permission(self):
        user = scenario.ordinary_user()
        directory = scenario.new_directory()
        directory.chmod(0o555)
        before = scenario.snapshot(directory)
        if user is None and os.access(directory, os.W_OK):
            self.skipTest("allowed everything, and no other user can be had")
        run = replace(FIRST_RUN, user=user).run_untraced(directory)
        self.assertEqual((run.status, run.has_one_line()), (1, True), run)
        self.assertEqual(scenario.snapshot(directory), before)

    def test_nobody_listens(self):
        """What was asked for is done, but cannot be told."""
        def to_full(at, directory):
            with open("/dev/full", "w", encoding="ascii") as full:
                return at.run_untraced(directory, (PKI, "--json"), stdout=full)

        def to_closed_pipe(at, directory):
            reader, writer = os.pipe()
            os.close(reader)
            with open(writer, "w", encoding="ascii") as pipe:
                return at.run_untraced(directory, (PKI, "--json"), stdout=pipe)

        for attempt in (to_full, to_closed_pipe):
            with self.subTest(attempt.__name__):
                self.assertEqual(self.survive(FIRST_RUN, attempt), 1)


def limited(resource_type, most):
    def limit():
        resource.setrlimit(resource_type, (most, most))
    return lambda at, directory: at.run_untraced(directory, preexec_fn=limit)


class Planted(unittest.TestCase):
    """Links where the program is about to write lead it nowhere."""

    PLACES = (".pki.new", ".renewal.new", ".minica.pem.new", ".minica-key.pem.new", "minica-index.txt",
              ".minica-index.txt.new", ".minica-crl.pem.new",
              "minica.pem", "minica-key.pem", "bouncerhost", "bouncerhost/.key.pem.new",
              "bouncerhost/.cert.pem.new", "bouncerhost/key.pem", "bouncerhost/cert.pem")

    def setUp(self):
        self.victims = scenario.new_directory()
        (self.victims / "file").write_text("not yours\n")
        scenario.make_directories(self.victims, "directory")
        for name in ("cert.pem", "key.pem"):
            (self.victims / "directory" / name).write_text("not yours either\n")

    def check(self, at, directory):
        """Runs the program; the victims are untouched. Returns the run."""
        victims = scenario.snapshot(self.victims)
        run = at.run_untraced(directory)
        self.assertEqual(scenario.snapshot(self.victims), victims)
        self.assertTrue(run.status == 0 or run.status == 1 and run.has_one_line(), run)
        if run.status == 0:
            self.assertEqual(at.broken(directory) + at.incomplete(directory), [])
        return run

    def test_links(self):
        for place in self.PLACES:
            for victim in ("file", "directory", "directory/dangling"):
                with self.subTest(place, victim=victim):
                    directory = scenario.new_directory()
                    link = directory / place
                    link.parent.mkdir(exist_ok=True)
                    link.symlink_to(self.victims / victim)
                    run = self.check(FIRST_RUN, directory)
                    # A name of the program's own is cleared; any other is the operator's.
                    self.assertEqual(run.status, 0 if disk.is_staged(link.name) else 1, run)
                    self.assertEqual(link.is_symlink(), not disk.is_staged(link.name))

    def test_link_inside_the_staged_directory(self):
        directory = scenario.new_directory()
        scenario.make_directories(directory, ".pki.new")
        (directory / ".pki.new/key.pem").symlink_to(self.victims / "file")
        self.assertEqual(self.check(FIRST_RUN, directory).status, 0)

    def test_other_files_in_the_staged_directory(self):
        directory = scenario.new_directory()
        scenario.make_directories(directory, ".pki.new")
        (directory / ".pki.new/notes.txt").write_text("the operator's\n")
        self.assertEqual(self.check(FIRST_RUN, directory).status, 1)
        self.assertEqual((directory / ".pki.new/notes.txt").read_text(), "the operator's\n")

    def test_link_to_the_missing_key(self):
        """A pending key is believed if it matches, but not if it is a link."""
        directory = scenario.new_directory()
        scenario.with_root(directory)
        (directory / "minica-key.pem").rename(self.victims / "file")
        (directory / ".minica-key.pem.new").symlink_to(self.victims / "file")
        before = scenario.snapshot(directory)
        self.assertEqual(self.check(FIRST_RUN, directory).status, 1)
        self.assertEqual(scenario.snapshot(directory), before)


def enter_own_mounts():
    """Mounts vanish with the process, and nobody else sees them."""
    for how in (["--mount"], ["--mount", "--map-root-user"]):
        command = ["unshare", *how]
        if subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode == 0:
            os.execvp(command[0], [*command, sys.executable, *sys.argv, "--in-own-mounts"])


if __name__ == "__main__":
    if "--in-own-mounts" in sys.argv:
        sys.argv.remove("--in-own-mounts")
    else:
        enter_own_mounts()
    unittest.main(verbosity=2)
