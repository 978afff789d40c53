"""A disk that records what the library does to it.

`RecordingDisk` does every operation on the real file system and notes it; `tests.torture.crashmodel` says what a power
loss leaves of the operations.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from tlog.errors import StorageError
from tlog.storage.disk import Disk, FilePath

T = TypeVar("T")


class Operation(NamedTuple):
    """One change of the file system. number: an offset, size or mode. target: of a renaming."""

    kind: str
    path: str
    data: bytes = b""
    number: int = 0
    target: str = ""


class KilledError(BaseException):
    """The process is dead; what it still does to its files does not happen."""


class UserDisk(Disk):
    """The real file system as an ordinary user sees it: root may write to read-only files, the library must not try."""

    def open(self, path: FilePath, flags: int, mode: int = 0o644) -> int:
        """Open a file unless its owner could not."""
        writes = flags & (os.O_WRONLY | os.O_RDWR)
        if writes and os.path.lexists(path) and not os.lstat(path).st_mode & stat.S_IWUSR:
            raise StorageError(f"{path}: {os.strerror(errno.EACCES)}")
        return super().open(path, flags, mode)


class RecordingDisk(UserDisk):
    """The real file system, with a record of all changes below one directory.

    kill_at: at that number of operations the process dies. fail_sync_at: that operation is a `sync` that fails.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.operations: list[Operation] = []
        self.kill_at: int | None = None
        self.fail_sync_at: int | None = None
        self._mutex = threading.RLock()

    def _perform(self, operation: Operation, action: Callable[[], T]) -> T:
        with self._mutex:
            self._die_if_due()
            result = action()
            self.operations.append(operation)
            return result

    def _die_if_due(self) -> None:
        if self.kill_at is not None and len(self.operations) >= self.kill_at:
            raise KilledError

    def _name(self, path: FilePath) -> str:
        return str(Path(path).relative_to(self.root))

    def open(self, path: FilePath, flags: int, mode: int = 0o644) -> int:
        """Record what opening changes."""
        with self._mutex:
            self._die_if_due()
            exists = os.path.lexists(path)
            if not exists and flags & os.O_CREAT:
                opened = Operation("create", self._name(path), number=mode)
            elif exists and flags & os.O_TRUNC:
                opened = Operation("truncate", self._name(path))
            else:
                return super().open(path, flags, mode)
            return self._perform(opened, lambda: UserDisk.open(self, path, flags, mode))

    def write(self, fd: int, data: bytes, path: Path) -> None:
        """Record a write at the descriptor's position."""
        with self._mutex:
            is_append = _flags(fd) & os.O_APPEND
            offset = os.fstat(fd).st_size if is_append else os.lseek(fd, 0, os.SEEK_CUR)
            done = Operation("write", self._name(path), bytes(data), offset)
            self._perform(done, lambda: Disk.write(self, fd, data, path))

    def write_at(self, fd: int, data: bytes, offset: int, path: Path) -> None:
        """Record a write."""
        done = Operation("write", self._name(path), bytes(data), offset)
        self._perform(done, lambda: Disk.write_at(self, fd, data, offset, path))

    def write_many_at(self, fd: int, parts: Sequence[bytes], offset: int, path: Path) -> None:
        """Record a write of many parts as one."""
        self.write_at(fd, b"".join(parts), offset, path)

    def sync(self, fd: int, path: Path) -> None:  # noqa: ARG002 - the model syncs, not the disk
        """Record a sync, or a failed one."""
        with self._mutex:
            if len(self.operations) == self.fail_sync_at:
                self._perform(Operation("failed sync", self._name(path)), lambda: None)
                raise StorageError(f"{path}: {os.strerror(errno.EIO)}")
            self._perform(Operation("sync", self._name(path)), lambda: None)

    def truncate(self, fd: int, size: int, path: Path) -> None:
        """Record a cut."""
        done = Operation("truncate", self._name(path), number=size)
        self._perform(done, lambda: Disk.truncate(self, fd, size, path))

    def rename(self, source: Path, target: Path) -> None:
        """Record a renaming."""
        done = Operation("rename", self._name(source), target=self._name(target))
        self._perform(done, lambda: Disk.rename(self, source, target))

    def link(self, source: Path, target: Path) -> None:
        """Record a second name."""
        done = Operation("link", self._name(source), target=self._name(target))
        self._perform(done, lambda: Disk.link(self, source, target))

    def unlink(self, path: Path) -> None:
        """Record a removal."""
        self._perform(Operation("unlink", self._name(path)), lambda: Disk.unlink(self, path))

    def remove_dir(self, path: Path) -> None:
        """Record the removal of a directory."""
        self._perform(Operation("unlink", self._name(path)), lambda: Disk.remove_dir(self, path))

    def set_mode(self, path: Path, mode: int) -> None:
        """Record a change of permissions."""
        self._perform(Operation("mode", self._name(path), number=mode), lambda: Disk.set_mode(self, path, mode))

    def make_dir(self, path: Path, mode: int = 0o755) -> None:
        """Record a new directory."""
        self._perform(Operation("mkdir", self._name(path)), lambda: Disk.make_dir(self, path, mode))

    def sync_dir(self, path: Path) -> None:
        """Record a directory's sync, or a failed one."""
        with self._mutex:
            if len(self.operations) == self.fail_sync_at:
                self._perform(Operation("failed sync_dir", self._name(path)), lambda: None)
                raise StorageError(f"{path}: {os.strerror(errno.EIO)}")
            self._perform(Operation("sync_dir", self._name(path)), lambda: None)


def _flags(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_GETFL)
