"""Small ledgers for tests: made, copied, looked at, and put on disks that fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests import naive
from tlog import Ledger, Partition
from tlog.errors import StorageError
from tlog.storage.disk import Disk

ORIGIN = "audit.example.com"
NAME = "users"
SEGMENT_ENTRIES = 256


class StepClock:
    """A clock that moves a millisecond a look, unless told otherwise."""

    def __init__(self, now_ns: int = 1_795_251_600_000_000_000) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        """Return the time and move on."""
        self.now_ns += 1_000_000
        return self.now_ns


def create(path: Path, *, disk: Disk | None = None, clock: Callable[[], int] | None = None) -> Partition:
    """Create a ledger of small segments and return its partition, which is not created yet."""
    return Ledger.create(
        path, origin=ORIGIN, segment_entries=SEGMENT_ENTRIES, disk=disk, clock=clock or StepClock()
    ).partition(NAME)


def opened(path: Path, *, disk: Disk | None = None, clock: Callable[[], int] | None = None) -> Partition:
    """Open a ledger anew, as another process would, and return its partition."""
    return Ledger.open(path, disk=disk, clock=clock or StepClock()).partition(NAME)


def copied(source: Path, target: Path) -> Path:
    """Copy a closed ledger, replacing what is at `target`; return `target`."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
    return target


def make_ledger(path: Path, publish_at: Iterable[int], *, more: int = 0) -> Path:
    """Create a closed ledger with a checkpoint at each of these sizes, and `more` entries after them; return `path`."""
    partition = create(path)
    for size in publish_at:
        start = partition.size if partition.exists else 0
        partition.append_many({"event": number} for number in range(start, size))
        partition.publish()
    start = partition.size if partition.exists else 0
    partition.append_many({"event": number} for number in range(start, start + more))
    partition.close()
    return path


def files_of(root: Path, *, times: bool = False) -> dict[str, object]:
    """Return each file below `root` with its bytes and mode, and where asked for with its times and inode."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            stat = path.stat()
            seen: tuple[object, ...] = (path.read_bytes(), stat.st_mode)
            found[str(path.relative_to(root))] = (*seen, stat.st_mtime_ns, stat.st_ino) if times else seen
    return found


def lines_of(partition: Partition) -> list[bytes]:
    """Return the lines that the plain segment files hold, complete or not."""
    segments = sorted(partition.paths.segments.glob("*.jsonl"))
    return [line for path in segments for line in path.read_bytes().split(b"\n") if line]


def tree_of(lines: Sequence[bytes]) -> naive.NaiveTree:
    """Return the naive tree over lines."""
    return naive.NaiveTree(lambda index: naive.leaf_hash(lines[index]))


def make_writable(path: Path) -> Path:
    """Let a sealed file be written by the test; return `path`."""
    path.chmod(0o644)
    return path


def flip(path: Path, bit: int) -> None:
    """Flip one bit of a file."""
    raw = bytearray(path.read_bytes())
    raw[bit // 8] ^= 1 << bit % 8
    make_writable(path).write_bytes(raw)


class FaultyDisk(Disk):
    """A disk whose n-th changing operation fails with EIO: not done at all, half done, or done and yet reported."""

    def __init__(self, fail_at: int | None = None, mode: str = "not done") -> None:
        """fail_at: number of the operation that fails, counted from 0. mode: "not done", "half done" or "done"."""
        self.fail_at = fail_at
        self.mode = mode
        self.log: list[str] = []

    def _step(self, name: str, path: Path, action: Callable[[], None], half: Callable[[], None] | None = None) -> None:
        number = len(self.log)
        self.log.append(f"{name} {path.name}")
        if number == self.fail_at:
            if self.mode == "done":
                action()
            elif self.mode == "half done" and half is not None:
                half()
            raise StorageError(f"{path}: Input/output error, injected into {name}")
        action()

    def write(self, fd: int, data: bytes, path: Path) -> None:
        """Write, or fail."""
        write = super().write
        self._step("write", path, lambda: write(fd, data, path), lambda: write(fd, data[: len(data) // 2], path))

    def write_at(self, fd: int, data: bytes, offset: int, path: Path) -> None:
        """Write, or fail."""
        write = super().write_at
        self._step(
            "write_at",
            path,
            lambda: write(fd, data, offset, path),
            lambda: write(fd, data[: len(data) // 2], offset, path),
        )

    def write_many_at(self, fd: int, parts: Sequence[bytes], offset: int, path: Path) -> None:
        """Write, or fail."""
        write, data = super().write_at, b"".join(parts)
        self._step(
            "write_many_at",
            path,
            lambda: write(fd, data, offset, path),
            lambda: write(fd, data[: len(data) // 2], offset, path),
        )

    def sync(self, fd: int, path: Path) -> None:  # noqa: ARG002 - the seam has it
        """Sync, or fail. Tests do not survive a power loss anyway, so nothing is really synced."""
        self._step("sync", path, lambda: None)

    def truncate(self, fd: int, size: int, path: Path) -> None:
        """Truncate, or fail."""
        truncate = super().truncate
        self._step("truncate", path, lambda: truncate(fd, size, path))

    def rename(self, source: Path, target: Path) -> None:
        """Rename, or fail."""
        rename = super().rename
        self._step("rename", target, lambda: rename(source, target))

    def unlink(self, path: Path) -> None:
        """Unlink, or fail."""
        unlink = super().unlink
        self._step("unlink", path, lambda: unlink(path))

    def make_dir(self, path: Path, mode: int = 0o755) -> None:
        """Make a directory, or fail."""
        make_dir = super().make_dir
        self._step("make_dir", path, lambda: make_dir(path, mode))

    def sync_dir(self, path: Path) -> None:
        """Sync a directory, or fail."""
        self._step("sync_dir", path, lambda: None)

    def set_mode(self, path: Path, mode: int) -> None:
        """Change a mode, or fail."""
        set_mode = super().set_mode
        self._step("set_mode", path, lambda: set_mode(path, mode))


class QuickDisk(Disk):
    """The real file system without waiting for the platters, where a test is about something else."""

    def sync(self, fd: int, path: Path) -> None:
        """Do nothing."""

    def sync_dir(self, path: Path) -> None:
        """Do nothing."""


def is_root() -> bool:
    """Whether modes do not keep us out."""
    return os.geteuid() == 0
