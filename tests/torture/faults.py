"""A disk on which one call fails, and what must hold when each call of the write path fails in each way.

Each call fails before it is done, or when it is done but reports a failure, and writes also when they are half done.
After a failed append the reads that recovery needs fail as well. See LESSONS R6.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import tlog
from tests.torture.examine import NAME, ORIGIN, SEGMENT_ENTRIES, Told, examine
from tests.torture.faultdisk import UserDisk
from tests.torture.powerloss import event, workspace
from tlog.storage.disk import FilePath, _named

T = TypeVar("T")

BEFORE, AFTER, HALF = "before it is done", "when it is done", "when half is done"
READS = ("open", "read_at", "list_dir")
WRITES = ("write", "write_at", "write_many_at")
NEEDS_SPACE = (*WRITES, "create", "sync", "rename", "link", "make_dir", "sync_dir", "truncate")


class Fault(NamedTuple):
    """The call that fails, by number, its error number, and how far it gets."""

    at: int
    error: int
    when: str


class FaultyDisk(UserDisk):
    """The real file system, with one call that fails, and reads that fail while `is_unreadable`."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault
        self.calls: list[tuple[str, Path]] = []
        self.failed: tuple[str, Path] | None = None
        self.is_unreadable = False
        self._mutex = threading.RLock()

    def _call(self, name: str, path: FilePath, action: Callable[[], T], half: Callable[[], object] | None = None) -> T:
        with self._mutex, _named(path):
            if self.is_unreadable and name in READS:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            number = len(self.calls)
            self.calls.append((name, Path(path)))
            if self.fault is None or number != self.fault.at:
                return action()
            if self.fault.when == HALF and half is not None:
                half()
            if self.fault.when == AFTER:
                done = action()  # where that fails of itself, nothing is injected
                if isinstance(done, int):  # an open file
                    os.close(done)
            self.failed = name, Path(path)
            raise OSError(self.fault.error, os.strerror(self.fault.error))

    def open(self, path: FilePath, flags: int, mode: int = 0o644) -> int:
        """Open, or create."""
        name = "create" if flags & os.O_CREAT and not os.path.lexists(path) else "open"
        return self._call(name, path, lambda: UserDisk.open(self, path, flags, mode))

    def write(self, fd: int, data: bytes, path: Path) -> None:
        """Write, or write half."""
        half = data[: len(data) // 2]
        self._call(
            "write", path, lambda: UserDisk.write(self, fd, data, path), lambda: UserDisk.write(self, fd, half, path)
        )

    def write_at(self, fd: int, data: bytes, offset: int, path: Path) -> None:
        """Write, or write half."""
        half = data[: len(data) // 2]
        self._call("write_at", path, lambda: _pwrite(fd, data, offset), lambda: _pwrite(fd, half, offset))

    def write_many_at(self, fd: int, parts: Sequence[bytes], offset: int, path: Path) -> None:
        """Write, or write half."""
        data = b"".join(parts)
        half = data[: len(data) // 2]
        self._call("write_many_at", path, lambda: _pwrite(fd, data, offset), lambda: _pwrite(fd, half, offset))

    def read_at(self, fd: int, size: int, offset: int, path: FilePath) -> bytes:
        """Read."""
        return self._call("read_at", path, lambda: UserDisk.read_at(self, fd, size, offset, path))

    def sync(self, fd: int, path: Path) -> None:  # noqa: ARG002 - a real sync takes long and tells nothing
        """Sync, without asking the disk."""
        self._call("sync", path, lambda: None)

    def truncate(self, fd: int, size: int, path: Path) -> None:
        """Cut."""
        self._call("truncate", path, lambda: UserDisk.truncate(self, fd, size, path))

    def rename(self, source: Path, target: Path) -> None:
        """Rename."""
        self._call("rename", target, lambda: UserDisk.rename(self, source, target))

    def link(self, source: Path, target: Path) -> None:
        """Link."""
        self._call("link", target, lambda: UserDisk.link(self, source, target))

    def unlink(self, path: Path) -> None:
        """Remove."""
        self._call("unlink", path, lambda: UserDisk.unlink(self, path))

    def remove_dir(self, path: Path) -> None:
        """Remove."""
        self._call("remove_dir", path, lambda: UserDisk.remove_dir(self, path))

    def set_mode(self, path: Path, mode: int) -> None:
        """Change permissions."""
        self._call("set_mode", path, lambda: UserDisk.set_mode(self, path, mode))

    def make_dir(self, path: Path, mode: int = 0o755) -> None:
        """Create."""
        self._call("make_dir", path, lambda: UserDisk.make_dir(self, path, mode))

    def sync_dir(self, path: Path) -> None:
        """Sync, without asking the disk."""
        self._call("sync_dir", path, lambda: None)

    def list_dir(self, path: Path) -> list[str]:
        """List."""
        return self._call("list_dir", path, lambda: UserDisk.list_dir(self, path))

    def lock(self, fd: int, path: Path) -> None:
        """Lock."""
        self._call("lock", path, lambda: UserDisk.lock(self, fd, path))


def _pwrite(fd: int, data: bytes, offset: int) -> None:
    if os.pwrite(fd, data, offset) != len(data):
        raise AssertionError("the test's own disk is full")


class Run:
    """One run of the scenario with one fault."""

    def __init__(self, root: Path, told: Told, fault: Fault | None) -> None:
        self.path = root / "ledger"
        self.disk = FaultyDisk(fault)
        self.told = Told(told.created, dict(told.entries), list(told.checkpoints))
        self.swallowed = False
        self._ledger: tlog.Ledger | None = None
        self._numbers = itertools.count(1000)

    def steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the steps of the scenario with their kinds; a step that failed is done again."""
        yield "open", self._open
        yield "append", lambda: self._append(10)  # completes a segment
        yield "append", lambda: self._append(1)
        yield "publish", self._publish
        yield "append", lambda: self._append(2)
        yield "seal", lambda: _ignore(self._partition.seal())
        yield "publish", self._publish

    def run(self) -> None:
        """Do all steps; where one fails, check how, and do it again."""
        for kind, step in self.steps():
            before = self.disk.failed
            statements = self._statements()
            try:
                step()
                if self.disk.failed != before:
                    self.swallowed = True
            except tlog.Error as err:
                self._check_error(kind, err)
                if kind == "append":
                    assert self._statements() == statements, "an append that failed has signed something"
                    self._check_poisoned(err)
                step()
        if self._ledger is not None:
            self._ledger.close()
        examine(self.path, self.told)

    @property
    def _partition(self) -> tlog.Partition:
        if self._ledger is None:
            raise AssertionError("the first step opens the ledger")
        return self._ledger.partition(NAME)

    def _open(self) -> None:
        try:
            self._ledger = tlog.Ledger.open(self.path, disk=self.disk)
        except tlog.NotFoundError:
            assert not self.told.created, "the ledger is gone"
            self._ledger = tlog.Ledger.create(self.path, origin=ORIGIN, segment_entries=SEGMENT_ENTRIES, disk=self.disk)
        self.told.created = True

    def _append(self, count: int) -> None:
        bulk = self._partition.append_many([event(next(self._numbers)) for _ in range(count)])
        assert bulk.count == count
        self.told.entries[bulk.stop - 1] = bulk.hash

    def _publish(self) -> None:
        checkpoint = self._partition.publish()
        known = {old.tree_size: old.root_hash for old in self.told.checkpoints}
        assert known.get(checkpoint.tree_size, checkpoint.root_hash) == checkpoint.root_hash, "signed twice"
        self.told.checkpoints.append(checkpoint)

    def _check_error(self, kind: str, err: tlog.Error) -> None:
        assert self.disk.failed is not None, f"{kind} fails without a fault: {err}"
        name, path = self.disk.failed
        shown = path.name.removesuffix(".tmp")
        assert shown in str(err), f"the error of {name} does not name {shown}: {err}"
        expected = (tlog.StorageError, tlog.CommitUnknownError) if kind == "append" else tlog.StorageError
        assert isinstance(err, expected), f"{kind} raises {type(err).__name__}: {err}"

    def _check_poisoned(self, err: tlog.Error) -> None:
        """After a failed append nothing is appended or signed until the ledger was opened again."""
        statements, partition = self._statements(), self._partition
        calls: tuple[Callable[[], object], ...] = (
            lambda: partition.append({"n": 0}),
            lambda: partition.submit({"n": 0}).result(),
            lambda: partition.append_many([{"n": 0}]),
            partition.publish,
        )
        if isinstance(err, tlog.CommitUnknownError):
            for call in calls:
                _expect(tlog.CommitUnknownError, call)
            self.disk.is_unreadable = True
            for call in (partition.reopen, *calls):
                _expect(tlog.Error, call)
            self.disk.is_unreadable = False
            assert self._statements() == statements, "something was signed while the writer was poisoned"
            partition.reopen()

    def _statements(self) -> list[bytes | None]:
        root = self.path / "partitions" / NAME
        paths = self.path / "keys" / f"{NAME}.signed", root / "checkpoint", root / "checkpoints.jsonl"
        return [path.read_bytes() if path.exists() else None for path in paths]


def _expect(kind: type[tlog.Error], call: Callable[[], object]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{call} raises no {kind.__name__}")


def _ignore(_: object) -> None:
    """Drop a result."""


@dataclass
class Injector:
    """Runs the scenario with each fault, and counts them."""

    faults: int = 0
    by_call: Counter[str] = field(default_factory=Counter)
    swallowed: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def inject(self, *, first: bool, every: int = 1, offset: int = 0) -> None:
        """Inject faults. first: into a ledger that does not exist yet. every, offset: take one of so many faults."""
        with workspace() as work, _base(work, first=first) as (base, told):
            for fault in list(self._plan(work, base, told))[offset::every]:
                run = self._start(work, base, told, fault)
                label = f"{fault.when}, {errno.errorcode[fault.error]}"
                try:
                    run.run()
                except (AssertionError, tlog.Error, OSError) as err:
                    self.failures.append(f"{run.disk.failed} {label}: {type(err).__name__}: {err}")
                if run.disk.failed is not None:
                    self.faults += 1
                    self.by_call[run.disk.failed[0]] += 1
                    self.swallowed[run.disk.failed[0]] += run.swallowed

    def _plan(self, work: Path, base: Path, told: Told) -> Iterator[Fault]:
        clean = self._start(work, base, told, None)
        clean.run()
        for at, (name, _) in enumerate(clean.disk.calls):
            whens = (
                (BEFORE,) if name in (*READS, "lock") else (BEFORE, AFTER, HALF) if name in WRITES else (BEFORE, AFTER)
            )
            for when in whens:
                yield Fault(at, errno.EIO, when)
                if name in NEEDS_SPACE:
                    yield Fault(at, errno.ENOSPC, when)

    def _start(self, work: Path, base: Path, told: Told, fault: Fault | None) -> Run:
        root = work / "run"
        if root.exists():
            shutil.rmtree(root)
        shutil.copytree(base, root)
        return Run(root, told, fault)


@contextmanager
def _base(work: Path, *, first: bool) -> Iterator[tuple[Path, Told]]:
    """Yield a directory to start from, and what was told of it."""
    base, told = work / "base", Told(created=False)
    base.mkdir()
    if not first:
        with tlog.Ledger.create(base / "ledger", origin=ORIGIN, segment_entries=SEGMENT_ENTRIES) as ledger:
            partition = ledger.partition(NAME)
            bulk = partition.append_many(event(n) for n in range(250))
            told = Told(True, {bulk.stop - 1: bulk.hash}, [partition.publish()])
    yield base, told
