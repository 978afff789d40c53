"""The one seam between tlog and the file system.

Every file operation of the write path and every read of a ledger goes through a `Disk`, so that tests can record them,
make them fail, and replay what a power loss leaves. A path that is a symbolic link, a FIFO, a device or a directory
where a file belongs is refused: somebody else chose where it leads.

The rules of durability, from fsync(2) and from what others learned the hard way:
* data is durable after `sync` of the file, a name after `sync_dir` of its directory;
* after a failed `sync` the page cache may still show what never reached the disk, so the caller must stop, not retry;
* a file that others may read is written beside its place, synced, renamed into place, and then the name is synced.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tlog.errors import ConflictError, FormatError, NotFoundError, StorageError

TEMPORARY_SUFFIX = ".tmp"
SYNC_THREADS = 8
"""Files of one batch that are synced at once: the file system then commits many of them with one write."""

MAX_PARTS = 1024
"""Buffers of one write; the limit of Linux."""

FilePath = str | Path

MAX_KNOWN_DIRS = 4096
"""Directories that are remembered to be durable."""

_READ = os.O_RDONLY
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # opening a FIFO must not wait for its other end


class Disk:
    """The real file system. Methods raise NotFoundError or StorageError naming the file; tests subclass it."""

    def open(self, path: FilePath, flags: int, mode: int = 0o644) -> int:
        """Return a file descriptor of a regular file. Raises: FormatError where the path is anything else."""
        try:
            fd = os.open(path, flags | _SAFE, mode)
        except OSError as err:
            if err.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise FormatError(str(path), "is no regular file; a ledger holds no links, pipes or devices") from err
            raise _named_error(path, err) from err
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FormatError(str(path), "is no regular file; a ledger holds no links, pipes or devices")
        return fd

    def close(self, fd: int) -> None:
        """Close a file descriptor."""
        os.close(fd)

    def write(self, fd: int, data: bytes, path: Path) -> None:
        """Write all of `data` at the descriptor's position."""
        with _named(path):
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]

    def write_at(self, fd: int, data: bytes, offset: int, path: Path) -> None:
        """Write all of `data` at `offset`."""
        with _named(path):
            view = memoryview(data)
            while view:
                count = os.pwrite(fd, view, offset)
                view, offset = view[count:], offset + count

    def write_many_at(self, fd: int, parts: Sequence[bytes], offset: int, path: Path) -> None:
        """Write all of `parts`, one after another, at `offset`, with as few calls as the system allows."""
        with _named(path):
            for start in range(0, len(parts), MAX_PARTS):
                some = parts[start : start + MAX_PARTS]
                size = sum(map(len, some))
                if os.pwritev(fd, some, offset) < size:  # a full disk or a signal: let the simple loop find out which
                    self.write_at(fd, b"".join(some), offset, path)
                offset += size

    def read_at(self, fd: int, size: int, offset: int, path: FilePath) -> bytes:
        """Return up to `size` bytes from `offset`, fewer only at the end of the file."""
        try:
            data = os.pread(fd, size, offset)
            while 0 < len(data) < size:
                part = os.pread(fd, size - len(data), offset + len(data))
                if not part:
                    break
                data += part
        except OSError as err:
            raise _named_error(path, err) from err
        return data

    def size(self, fd: int) -> int:
        """Return the file's size in bytes."""
        return os.fstat(fd).st_size

    def sync(self, fd: int, path: Path) -> None:
        """Return when the file's bytes and size are durable."""
        with _named(path):
            os.fdatasync(fd)

    def truncate(self, fd: int, size: int, path: Path) -> None:
        """Cut the file to `size` bytes."""
        with _named(path):
            os.ftruncate(fd, size)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its final name, replacing what bore it."""
        with _named(target):
            source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name. Raises: ConflictError where that is taken."""
        with _named(target):
            target.hardlink_to(source)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        with _named(path):
            path.unlink()

    def remove_dir(self, path: Path) -> None:
        """Remove an empty directory."""
        with _named(path):
            path.rmdir()

    def set_mode(self, path: Path, mode: int) -> None:
        """Change a file's permissions."""
        with _named(path):
            path.chmod(mode, follow_symlinks=False) if os.chmod in os.supports_follow_symlinks else path.chmod(mode)

    def make_dir(self, path: Path, mode: int = 0o755) -> None:
        """Create a directory; it is durable after `sync_dir` of its parent. Raises: ConflictError where it exists."""
        with _named(path):
            path.mkdir(mode)

    def sync_dir(self, path: Path) -> None:
        """Return when the names in a directory are durable."""
        with _named(path):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def list_dir(self, path: Path) -> list[str]:
        """Return the names in a directory, sorted; none where it does not exist."""
        with _named(path):
            try:
                return sorted(entry.name for entry in os.scandir(path))
            except FileNotFoundError:
                return []

    def lock(self, fd: int, path: Path) -> None:
        """Wait for the exclusive lock on an open file; it ends with the process or with `unlock`."""
        with _named(path):
            fcntl.flock(fd, fcntl.LOCK_EX)

    def try_lock(self, fd: int, path: Path) -> bool:
        """Take the exclusive lock on an open file if nobody holds it; return whether it was taken."""
        with _named(path):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def unlock(self, fd: int) -> None:
        """Release the lock."""
        fcntl.flock(fd, fcntl.LOCK_UN)


class Files:
    """Whole-file operations, composed of a `Disk`'s."""

    def __init__(self, disk: Disk | None = None, top: Path | None = None) -> None:
        """disk: the file system; the real one unless given. top: the directory below which all was made by tlog."""
        self.disk = disk if disk is not None else Disk()
        self._top = top
        self._durable: set[Path] = set()

    def exists(self, path: FilePath) -> bool:
        """Whether something is at `path`, be it a dangling link."""
        return os.path.lexists(path)

    def size(self, path: FilePath) -> int:
        """Return the size of what is at `path`, 0 where nothing is."""
        try:
            return os.lstat(path).st_size
        except FileNotFoundError:
            return 0
        except OSError as err:
            raise _named_error(path, err) from err

    def modified_at(self, path: FilePath) -> float:
        """Return when what is at `path` was last changed, in POSIX seconds. Raises: NotFoundError."""
        try:
            return os.lstat(path).st_mtime
        except OSError as err:
            raise _named_error(path, err) from err

    def read(self, path: FilePath, limit: int) -> bytes:
        """Return a file's bytes. Raises: NotFoundError, FormatError where it has more than `limit` bytes."""
        fd = self.disk.open(path, _READ)
        try:
            data = self.disk.read_at(fd, limit + 1, 0, path)
        finally:
            self.disk.close(fd)
        if len(data) > limit:
            raise FormatError(str(path), f"is larger than the {limit:,} bytes that such a file may have")
        return data

    @contextlib.contextmanager
    def opened(self, path: Path, flags: int = _READ) -> Iterator[int]:
        """Open a file for a `with` block, for reading unless `flags` say otherwise."""
        fd = self.disk.open(path, flags)
        try:
            yield fd
        finally:
            self.disk.close(fd)

    def ensure_dir(self, path: Path, mode: int = 0o755) -> None:
        """Create a directory and its missing parents, durably. Cost: nothing where that was done before.

        Below `top`, a directory that another process made may not be durable yet: that one may have died before it was.
        """
        if path.is_dir() and (path in self._durable or self._top is None or self._top not in path.parents):
            return
        self.ensure_dir(path.parent)
        with contextlib.suppress(ConflictError):  # another thread or process was first
            self.disk.make_dir(path, mode)
        self.disk.sync_dir(path.parent)
        if len(self._durable) >= MAX_KNOWN_DIRS:
            self._durable.clear()
        self._durable.add(path)

    def create(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Create a file durably and all at once. Raises: ConflictError where the name is taken; one creator wins."""
        self.ensure_dir(path.parent)
        temporary = _temporary(path)
        self._write_new(temporary, (data,), mode)
        try:
            self.disk.link(temporary, path)
        except ConflictError as err:
            raise ConflictError(f"{path}: exists already") from err
        finally:
            self.disk.unlink(temporary)
        self.disk.sync_dir(path.parent)

    def replace(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Put `data` in place of a file: durable on return, old or new at any instant before."""
        self.replace_stream(path, (data,), mode)

    def replace_stream(self, path: Path, parts: Iterable[bytes], mode: int = 0o644) -> None:
        """Like `replace`, for data that comes in parts."""
        self.ensure_dir(path.parent)
        temporary = _temporary(path)
        self._write_new(temporary, parts, mode)
        self.disk.rename(temporary, path)
        self.disk.sync_dir(path.parent)

    def replace_many(self, files: Sequence[tuple[Path, bytes]], mode: int = 0o644) -> None:
        """Like `replace`, for many files with one wait: all are written, then all synced, then all renamed."""
        for parent in {path.parent for path, _ in files}:
            self.ensure_dir(parent)
        opened: list[tuple[int, Path]] = []
        try:
            for path, data in files:
                temporary = _temporary(path)
                fd = self.disk.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
                opened.append((fd, temporary))
                self.disk.write(fd, data, temporary)
            self._sync_all(opened)
        finally:
            for fd, _ in opened:
                self.disk.close(fd)
        for (path, _), (_, temporary) in zip(files, opened, strict=True):
            self.disk.rename(temporary, path)
        for parent in {path.parent for path, _ in files}:
            self.disk.sync_dir(parent)

    def append(self, path: Path, data: bytes) -> None:
        """Add `data` to the end of a file, durably; create it where there is none."""
        is_new = not self.exists(path)
        with self.opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as fd:
            self.disk.write(fd, data, path)
            self.disk.sync(fd, path)
        if is_new:
            self.disk.sync_dir(path.parent)

    def _write_new(self, path: Path, parts: Iterable[bytes], mode: int) -> None:
        if self.exists(path):  # left by a crash of a process with the same number; it may be read-only
            self.disk.unlink(path)
        fd = self.disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            for part in parts:
                self.disk.write(fd, part, path)
            self.disk.sync(fd, path)
        finally:
            self.disk.close(fd)

    def _sync_all(self, opened: Iterable[tuple[int, Path]]) -> None:
        work = list(opened)
        if len(work) == 1:
            self.disk.sync(*work[0])
            return
        with ThreadPoolExecutor(SYNC_THREADS, "tlog-sync") as pool:
            for _ in pool.map(lambda item: self.disk.sync(*item), work):
                pass


def _temporary(path: Path) -> Path:
    """Return a name beside `path` that no other process or thread writes to at the same time."""
    return path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{TEMPORARY_SUFFIX}")


@contextlib.contextmanager
def _named(path: FilePath) -> Iterator[None]:
    """Turn an OSError into the package's own error, with the path in it."""
    try:
        yield
    except OSError as err:
        raise _named_error(path, err) from err


def _named_error(path: FilePath, err: OSError) -> StorageError:
    kinds: dict[int | None, type[StorageError]] = {errno.ENOENT: NotFoundError, errno.EEXIST: ConflictError}
    return kinds.get(err.errno, StorageError)(f"{path}: {err.strerror}")
