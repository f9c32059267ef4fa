"""What a power cut could still take away: a model of the disk, fed with the log of `inject`.

A file's bytes, mode and owner are on the disk once it is fsynced after the last change to them; a
name is once its directory is. The model knows which are not, and finds fault with a program that
publishes or reports what is not there to stay.
"""

import os
import stat

CHANGES_CONTENTS = {"write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate", "fallocate"}
RENAMES = {"renameat", "renameat2"}
SYNCS = {"fsync", "fdatasync", "syncfs"}
# Calls that change a file system too, and that the program has no use for today. A new one has to
# be taught to the model first.
UNKNOWN = {
    "sendfile", "copy_file_range", "open", "openat2", "creat", "truncate", "chmod", "fchmodat",
    "chown", "fchownat", "mkdir", "mknod", "mknodat", "link", "symlink",
    "symlinkat", "rename", "unlink", "rmdir", "chdir", "fchdir", "dup", "dup2", "dup3",
}


RENAME_EXCHANGE = 2


def is_staged(name):
    return name.startswith(".") and name.endswith((".new", ".ready"))


def is_decided(name):
    """What is in it will be published: one by one, by the next run if need be."""
    return name == ".renewal.ready"


def holds_key(name):
    return "key" in name


def as_it_counts(log):
    """The lines of a log in the order in which calls took effect. They were written when the calls
    returned; but what other threads did meanwhile a sync does not vouch for."""
    lines = []
    for line in log.splitlines():
        number, call, *_ = line.split("\t")
        at = len(lines)
        if call in SYNCS:
            later = (i for i, one in enumerate(lines) if int(one.split("\t")[0]) > int(number))
            at = next(later, at)
        lines.insert(at, line)
    return lines


class Node:
    """A file or a directory."""

    def __init__(self, is_directory):
        self.children = {} if is_directory else None
        self.unsynced = set()  # "contents", "mode" or "owner" of its own, and names in it

    def walk(self, path=""):
        """All files and directories below it, and itself."""
        yield path, self
        for name, child in (self.children or {}).items():
            yield from child.walk(os.path.join(path, name))


class Disk:
    def __init__(self, root, ledger):
        """`root` is an existing directory, taken to be on the disk as it is."""
        self.root_path = str(root)
        self.ledger = ledger
        self.root = self._load(self.root_path)

    def _load(self, path):
        node = Node(stat.S_ISDIR(os.lstat(path).st_mode))
        if node.children is not None:
            for name in os.listdir(path):
                node.children[name] = self._load(os.path.join(path, name))
        return node

    def unsynced(self):
        """What is not on the disk."""
        found = []
        for path, node in self.root.walk():
            for what in sorted(node.unsynced):
                if what in (node.children or ()):
                    found.append(f"the name {os.path.join(path, what)} is not on the disk")
                else:
                    found.append(f"the {what} of {path} is not on the disk")
        return found

    def replay(self, log):
        """Follows a process, with all its threads, through its calls; returns what it did too early
        or too openly."""
        self.descriptors = {}
        self.overtaken = set()  # descriptors whose close is logged after they were opened anew
        self.faults = []
        self.exchanged = []  # directories and names in them
        for line in as_it_counts(log):
            number, call, *arguments = line.split("\t")
            end = arguments.index("=")
            arguments, result = arguments[:end], arguments[end + 1]
            if call in UNKNOWN:
                raise NotImplementedError(f"the model does not know {call}: {line}")
            if result == "?" or int(result) < 0:
                continue
            if call == "openat":
                self._open(number, *arguments, int(result))
            elif call == "close":
                if arguments[0] in self.overtaken:
                    self.overtaken.remove(arguments[0])
                else:
                    self.descriptors.pop(arguments[0], None)
            elif call == "mkdirat":
                self._add(*arguments[:2], Node(is_directory=True))
            elif call == "unlinkat":
                self._unlink(number, *arguments[:2])
            elif call == "linkat":
                directory, name = self._find(*arguments[:2])
                self._add(*arguments[2:4], directory.children[name])
            elif call in RENAMES:
                flags = int(arguments[4], 16) if call == "renameat2" else 0
                self._rename(number, *arguments[:4], flags & RENAME_EXCHANGE)
            elif (node := self.descriptors.get(arguments[0] if arguments else None)) is not None:
                if call in CHANGES_CONTENTS:
                    node.unsynced.add("contents")
                elif call == "fchmod":
                    self._change_mode(number, node, arguments[1])
                elif call == "fchown":
                    node.unsynced.add("owner")
                elif call in ("fsync", "fdatasync"):
                    node.unsynced.clear()
                elif call == "syncfs":
                    for _, any_node in self.root.walk():
                        any_node.unsynced.clear()
        return self.faults

    def look_again(self):
        """After a kill, which found other threads within calls: these may have taken effect."""
        self._compare(self.root, self.root_path)

    def _compare(self, node, path):
        there = set(os.listdir(path))
        for gone in node.children.keys() - there:
            del node.children[gone]
            node.unsynced.discard(gone)
        for name in there - node.children.keys():
            node.children[name] = self._load(os.path.join(path, name))
            node.unsynced.add(name)
            if any(map(is_staged, os.path.join(path, name).split("/"))):  # else it was renamed
                for _, part in node.children[name].walk():
                    part.unsynced |= {"contents", *(part.children or ())}
        for name, child in node.children.items():
            if child.children is not None:
                self._compare(child, os.path.join(path, name))

    def _fault(self, number, what):
        self.faults.append(f"call {number}: {what}")

    def _find(self, descriptor, path):
        """The directory that a path leads to, and the last name; None for what is elsewhere."""
        node = self.root if descriptor == "cwd" else self.descriptors.get(descriptor)
        if path.startswith("/"):
            if not path.startswith(self.root_path + "/"):
                return None, path
            node, path = self.root, os.path.relpath(path, self.root_path)
        *parents, name = path.split("/")
        for parent in parents:
            node = node.children[parent]
        return node, name

    def _add(self, descriptor, path, node):
        directory, name = self._find(descriptor, path)
        directory.children[name] = node
        directory.unsynced.add(name)

    def _open(self, number, descriptor, path, flags, mode, opened):
        flags, mode = int(flags, 16), int(mode, 8)
        directory, name = self._find(descriptor, path)
        if directory is None:
            return
        if flags & os.O_CREAT:
            if not flags & os.O_EXCL:
                self._fault(number, f"{name} may have been somebody else's: no O_EXCL")
            if holds_key(name) and mode & ~0o600:
                self._fault(number, f"{name} is made with mode {mode:o}")
            self._add(descriptor, path, Node(is_directory=False))
        node = directory if name == "." else directory.children[name]
        if flags & os.O_TRUNC:
            node.unsynced.add("contents")
        if str(opened) in self.descriptors:
            self.overtaken.add(str(opened))
        self.descriptors[str(opened)] = node

    def _unlink(self, number, descriptor, path):
        directory, name = self._find(descriptor, path)
        del directory.children[name]
        for exchanged, new_name in self.exchanged:
            if new_name in exchanged.unsynced:
                self._fault(number, f"{name} is removed before {new_name} is on the disk")
        # That it is gone need not last: what comes back is staged, and cleared again.
        directory.unsynced.discard(name)

    def _rename(self, number, old_descriptor, old_path, new_descriptor, new_path, is_exchange):
        old_directory, old_name = self._find(old_descriptor, old_path)
        new_directory, new_name = self._find(new_descriptor, new_path)
        node = old_directory.children[old_name]
        for path, part in node.walk(new_name):
            for what in part.unsynced:
                self._fault(number, f"{path} is published before its {what} is on the disk")
        if node.children is None:
            self._demand_staged_files(number, new_name, old_directory)
        self._demand_ledger(number, new_name)
        if is_exchange:
            self._add(old_descriptor, old_path, new_directory.children[new_name])
            self.exchanged.append((new_directory, new_name))
        else:
            del old_directory.children[old_name]
            old_directory.unsynced.discard(old_name)
        self._add(new_descriptor, new_path, node)

    def _demand_staged_files(self, number, new_name, old_directory):
        """Of files that are renamed one by one the others must be there to be found."""
        for _, directory in self.root.walk():
            for name, child in (directory.children or {}).items():
                waits = child.children is None or child is old_directory
                if is_staged(name) and waits and (child.unsynced or name in directory.unsynced):
                    self._fault(number, f"{new_name} is published before {name} is on the disk")

    def _demand_ledger(self, number, new_name):
        directory, name = self._find("cwd", self.ledger)
        ledger = directory.children.get(name)
        if ledger is None or ledger.unsynced or name in directory.unsynced:
            self._fault(number, f"{new_name} is published before the ledger is on the disk")

    def _change_mode(self, number, node, mode):
        names = {os.path.basename(path) for path, other in self.root.walk() if other is node}
        if any(map(holds_key, names)) and int(mode, 8) & ~0o600:
            self._fault(number, f"a key's mode becomes {mode}")
        node.unsynced.add("mode")
