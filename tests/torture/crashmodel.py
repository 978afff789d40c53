"""What a power loss leaves of the operations that a `RecordingDisk` noted.

`Model` replays the notes, and after each of them knows what is durable and what is not. `Model.states` builds the trees
of files that a power loss permits then.

The model is that of POSIX with what ext4 and xfs add and with nothing more kind than that:

* A file's bytes and size are durable after `sync` of that file. Until then each sector of 512 bytes that was written
  holds its old content (zeros where it had none) or what any of the writes since the last sync left there, each sector
  for itself: data reaches the disk in no order, neither among itself nor relative to names. A sector is written whole.
* The size is the old one, the new one, or ends at any sector between: so files are missing their end, filled with
  zeros, half written, or have holes.
* Cuts (`truncate`, O_TRUNC) of one file are in order with each other and with the writes that follow them: what was
  written into blocks that a cut made free is not there without the cut.
* A name is durable after `sync_dir` of its directory. Until then each creation, renaming and removal has happened or
  not, independently of the others, except that what was done to one name is in order. A renaming is atomic: the old
  name and the new one change together. A file or directory that cannot be reached by durable names is lost with all
  that is in it, however often it was synced.
* A mode is durable with the file's next sync, or is not.
* After a `sync` that failed, what it should have made durable stays visible and is never written again by a later
  sync, unless it is written anew (Linux marks the pages clean; LESSONS 2.2). Names behave as if the failed `sync_dir`
  had not been called.

`states` cannot build every combination. It builds: all and nothing of data, with all and nothing of names; everything
torn in each of five ways; each single file and each single name that differs from all the others, both ways; and a
sample of random combinations from a fixed seed. Equal trees are built once.
"""

from __future__ import annotations

import hashlib
import random
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.torture.faultdisk import Operation

SECTOR_SIZE = 512
TORN = ("zero", "short", "head", "tail", "random")
"""Ways in which unsynced writes may be on disk, besides all and none of them."""

Tree = dict[str, tuple[bytes, int] | None]
"""Files, as content and mode, and directories, as None, by their path; parents come before children."""


class _Change(NamedTuple):
    """A write of `data` at `offset`, or where that is None, a cut to `offset`."""

    offset: int
    data: bytes | None


def _sectors(change: _Change) -> range:
    end = change.offset + len(change.data or b"")
    return range(change.offset // SECTOR_SIZE, -(-end // SECTOR_SIZE))


def _resize(data: bytearray, size: int) -> None:
    del data[size:]
    data.extend(bytes(size - len(data)))


def _apply(data: bytearray, change: _Change) -> None:
    if change.data is None:
        _resize(data, change.offset)
    else:
        end = change.offset + len(change.data)
        _resize(data, max(len(data), end))
        data[change.offset : end] = change.data


class _File:
    """A file: what is on disk, what the page cache shows, and the changes since the last sync."""

    def __init__(self, content: bytes, mode: int) -> None:
        self.durable = content
        self.durable_mode = self.mode = mode
        self._cached = content
        self.changes: list[_Change] = []

    def change(self, change: _Change) -> None:
        self.changes.append(change)

    def sync(self) -> None:
        disk, cache = bytearray(self.durable), bytearray(self._cached)
        dirty: set[int] = set()
        for change in self.changes:
            _apply(cache, change)
            if change.data is None:
                _resize(disk, min(change.offset, len(disk)))
                dirty = {sector for sector in dirty if sector * SECTOR_SIZE < change.offset}
            else:
                dirty.update(_sectors(change))
        _resize(disk, len(cache))
        for sector in dirty:
            part = slice(sector * SECTOR_SIZE, (sector + 1) * SECTOR_SIZE)
            disk[part] = cache[part]
        self.durable, self._cached, self.changes = bytes(disk), bytes(cache), []
        self.durable_mode = self.mode

    def lose(self) -> None:
        """A sync failed: what is in the cache will not be written."""
        cache = bytearray(self._cached)
        for change in self.changes:
            _apply(cache, change)
        self._cached, self.changes = bytes(cache), []

    def content(self, how: str, rng: random.Random) -> bytes:
        """Return what may be on disk. how: "all" or "none" of the changes, or one of TORN."""
        changes = self.changes
        if how == "random" and changes:
            cuts = [number for number, change in enumerate(changes) if change.data is None]
            changes = changes[: rng.choice([*cuts, len(changes)])]
        if how == "none" or not changes:
            return self.durable
        disk, cache = bytearray(self.durable), bytearray(self._cached)
        versions: dict[int, list[bytes]] = {}
        for change in changes:
            _apply(cache, change)
            if change.data is None:
                _resize(disk, min(change.offset, len(disk)))
                versions = {n: old for n, old in versions.items() if n * SECTOR_SIZE < change.offset}
                continue
            for sector in _sectors(change):
                part = bytes(cache[sector * SECTOR_SIZE : (sector + 1) * SECTOR_SIZE])
                versions.setdefault(sector, []).append(part)
        return self._torn(disk, len(cache), versions, how, rng)

    def _torn(
        self, disk: bytearray, size: int, versions: dict[int, list[bytes]], how: str, rng: random.Random
    ) -> bytes:
        order, old_size = sorted(versions), len(disk)
        half = len(order) // 2
        chosen = {"all": order, "zero": [], "short": order[:half], "head": order[:half], "tail": order[half:]}.get(how)
        if chosen is None:
            chosen = [sector for sector in order if rng.random() < 0.5]
        end = size
        if how == "short":
            end = order[half] * SECTOR_SIZE if order else size
        elif how == "random" and rng.random() < 0.5:
            end = rng.choice([old_size, *(sector * SECTOR_SIZE for sector in order)])
        _resize(disk, size)
        for sector in chosen:
            part = versions[sector][-1] if how != "random" else rng.choice(versions[sector])
            disk[sector * SECTOR_SIZE : sector * SECTOR_SIZE + len(part)] = part
        _resize(disk, min(size, max(end, min(old_size, size))))
        return bytes(disk)


class _Directory:
    """A directory: its durable names, those that are visible, and the changes since the last sync."""

    def __init__(self) -> None:
        self.durable: dict[str, int] = {}
        self.names: dict[str, int] = {}
        self.changes: list[dict[str, int | None]] = []

    def change(self, change: dict[str, int | None]) -> None:
        self.changes.append(change)
        self.names = _renamed(self.names, [change])

    def sync(self) -> None:
        self.durable, self.changes = dict(self.names), []

    def depends(self, later: int, earlier: int) -> bool:
        """Whether a change cannot have happened without an earlier one: both are of one name."""
        return earlier < later and bool(self.changes[earlier].keys() & self.changes[later].keys())


def _renamed(names: dict[str, int], changes: Sequence[dict[str, int | None]]) -> dict[str, int]:
    slots: dict[str, int | None] = {**names}
    for change in changes:
        slots.update(change)
    return {name: node for name, node in slots.items() if node is not None}


@dataclass(frozen=True)
class State:
    """A tree of files that a power loss may leave. label: how it was chosen."""

    label: str
    tree: Tree

    def digest(self) -> bytes:
        """Return 32 bytes that are equal for equal trees only."""
        return hashlib.sha256(repr(sorted(self.tree.items())).encode()).digest()

    def build(self, root: Path) -> None:
        """Write the tree below an empty directory."""
        for path, content in self.tree.items():
            if content is None:
                (root / path).mkdir()
            else:
                (root / path).write_bytes(content[0])
                (root / path).chmod(content[1])


def read_tree(root: Path) -> Tree:
    """Return the tree below a directory."""
    tree: Tree = {}
    for path in sorted(root.rglob("*")):
        is_dir = path.is_dir()
        tree[str(path.relative_to(root))] = None if is_dir else (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return tree


_NameOp = tuple[int, int]  # directory, number of its change


class Model:
    """What is durable and what is not, after the operations that were applied."""

    def __init__(self, tree: Tree) -> None:
        """tree: all of it durable."""
        self._nodes: dict[int, _File | _Directory] = {0: _Directory()}
        for path, content in tree.items():
            node = _Directory() if content is None else _File(*content)
            parent, name = self._parent(path)
            parent.change({name: self._add(node)})
        for node in self._nodes.values():
            node.sync()

    def apply(self, operation: Operation) -> None:
        """Take note of one operation."""
        kind, path = operation.kind, operation.path
        if kind in ("create", "mkdir"):
            node = _Directory() if kind == "mkdir" else _File(b"", operation.number)
            parent, name = self._parent(path)
            parent.change({name: self._add(node)})
        elif kind == "rename":
            parent, name = self._parent(path)
            other, target = self._parent(operation.target)
            if parent is not other:
                raise AssertionError("the model knows no renaming across directories")
            parent.change({name: None, target: parent.names[name]})
        elif kind == "link":
            parent, name = self._parent(path)
            other, target = self._parent(operation.target)
            other.change({target: parent.names[name]})
        elif kind == "unlink":
            parent, name = self._parent(path)
            parent.change({name: None})
        elif kind in ("sync", "sync_dir"):
            self._node(path).sync()
        elif kind != "failed sync_dir":
            self._apply_to_file(operation)

    def _apply_to_file(self, operation: Operation) -> None:
        file = self._node(operation.path)
        if not isinstance(file, _File):
            raise TypeError(f"{operation.path} is a directory")
        if operation.kind == "write":
            file.change(_Change(operation.number, operation.data))
        elif operation.kind == "truncate":
            file.change(_Change(operation.number, None))
        elif operation.kind == "mode":
            file.mode = operation.number
        elif operation.kind == "failed sync":
            file.lose()
        else:
            raise AssertionError(f"{operation.kind} is not in the model")

    def states(self, rng: random.Random, samples: int, *, singles: bool) -> Iterator[State]:
        """Yield what a power loss may leave now. samples: random ones. singles: also each file and name for itself."""
        files = [number for number, node in self._nodes.items() if isinstance(node, _File) and _is_unsynced(node)]
        names = self._name_ops()
        everything = frozenset(names)

        def state(label: str, how: Callable[[int], str], done: frozenset[_NameOp]) -> State:
            return State(label, self._tree(how, done, rng))

        for how in ("all", "none"):
            for label, done in (("all", everything), ("no", frozenset[_NameOp]())):
                yield state(f"{how} data, {label} names", lambda _, how=how: how, done)  # type: ignore[misc]
        for how in TORN:
            yield state(f"{how} data, all names", lambda _, how=how: how, everything)  # type: ignore[misc]
        if singles:
            for file in files:
                for how in ("none", *TORN):
                    pick = _but_one(file, how, "all")
                    yield state(f"{how} of one file, all of the others", pick, everything)
                yield state("all of one file, none of the others", _but_one(file, "all", "none"), everything)
            for name in names:
                yield state("all names but one", lambda _: "all", self._without(name, names))
                yield state("no name but one", lambda _: "all", self._only(name, names))
        for _ in range(samples if files or names else 0):
            hows = {file: rng.choice(("all", "none", *TORN, "random")) for file in files}
            done = frozenset(name for name in names if rng.random() < 0.5)
            done = frozenset(name for name in done if self._only(name, names) <= done)
            yield state("random", lambda number, hows=hows: hows[number], done)  # type: ignore[misc]

    def _name_ops(self) -> list[_NameOp]:
        return [
            (number, change)
            for number, node in self._nodes.items()
            if isinstance(node, _Directory)
            for change in range(len(node.changes))
        ]

    def _without(self, name: _NameOp, names: Sequence[_NameOp]) -> frozenset[_NameOp]:
        """Return all changes of names but one and those that cannot be without it."""
        return frozenset(other for other in names if name not in self._only(other, names))

    def _only(self, name: _NameOp, names: Sequence[_NameOp]) -> frozenset[_NameOp]:
        """Return one change of a name and those that it cannot be without."""
        directory = self._nodes[name[0]]
        if not isinstance(directory, _Directory):
            raise TypeError("names are in directories")
        needed = {name}
        for other in sorted(names, reverse=True):
            if other[0] == name[0] and any(directory.depends(later, other[1]) for _, later in needed):
                needed.add(other)
        return frozenset(needed)

    def _tree(self, how: Callable[[int], str], done: frozenset[_NameOp], rng: random.Random) -> Tree:
        tree: Tree = {}

        def walk(number: int, prefix: str) -> None:
            node = self._nodes[number]
            if isinstance(node, _File):
                raise TypeError("a file holds no names")
            changes = [change for at, change in enumerate(node.changes) if (number, at) in done]
            for name, child_number in sorted(_renamed(node.durable, changes).items()):
                child = self._nodes[child_number]
                if isinstance(child, _Directory):
                    tree[prefix + name] = None
                    walk(child_number, f"{prefix}{name}/")
                    continue
                chosen = how(child_number) if _is_unsynced(child) else "all"
                mode = child.durable_mode if chosen == "none" else child.mode
                tree[prefix + name] = child.content(chosen, rng), mode

        walk(0, "")
        return tree

    def _add(self, node: _File | _Directory) -> int:
        self._nodes[len(self._nodes)] = node
        return len(self._nodes) - 1

    def _node(self, path: str) -> _File | _Directory:
        node = self._nodes[0]
        for name in Path(path).parts:
            if not isinstance(node, _Directory):
                raise TypeError(f"{path} leads through a file")
            node = self._nodes[node.names[name]]
        return node

    def _parent(self, path: str) -> tuple[_Directory, str]:
        node = self._node(str(Path(path).parent))
        if not isinstance(node, _Directory):
            raise TypeError(f"{path} leads through a file")
        return node, Path(path).name


def _is_unsynced(file: _File) -> bool:
    return bool(file.changes) or file.mode != file.durable_mode


def _but_one(one: int, how: str, others: str) -> Callable[[int], str]:
    return lambda number: how if number == one else others
