"""What a client remembers of a log: the checkpoint that it verified last, and evidence where the log contradicted it.

The file never goes back to a smaller tree, whatever clients use it at once, and a replacement is durable before it
counts. It is the client's only defence against a log that begins anew, so nothing here repairs or drops it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from tlog.errors import FormatError, InconsistentLogError, StorageError
from tlog.note import MAX_NOTE_SIZE
from tlog.tlogproof import ConsistencyProof

MAX_EVIDENCE = 64
"""Contradictions of one log that are kept; more of them prove nothing more."""


class Memory(Protocol):
    """Where the last verified checkpoint of one log is kept, as a signed note."""

    def read(self) -> bytes | None:
        """Return the note that is kept, None where none was kept yet. Raises: FormatError, StorageError."""

    def advance(self, known: bytes | None, new: bytes) -> bool:
        """Keep `new` if the note kept is still `known`; return whether it was. Raises: FormatError, StorageError."""

    def accuse(self, error: InconsistentLogError, proof: ConsistencyProof) -> Path | None:
        """Keep evidence that the log has contradicted itself; return where, None where nothing is kept on disk."""


class OwnMemory:
    """Remembers for as long as the client lives."""

    def __init__(self) -> None:
        self._note: bytes | None = None
        self._mutex = threading.Lock()

    def read(self) -> bytes | None:
        """Return the note that is kept."""
        return self._note

    def advance(self, known: bytes | None, new: bytes) -> bool:
        """Keep `new` if the note kept is still `known`."""
        with self._mutex:
            if self._note != known:
                return False
            self._note = new
            return True

    def accuse(self, error: InconsistentLogError, proof: ConsistencyProof) -> Path | None:  # noqa: ARG002
        """Keep nothing: the error has both notes."""
        return None


class FileMemory:
    """Remembers in a directory, which may be shared by any number of clients and logs.

    `<partition>-<hash of the origin>.checkpoint` is the signed note. Evidence lies beside it, in a directory each, as
    `old.checkpoint`, `new.checkpoint` and `growth.proof`: what `tlog-verify --consistency` takes.
    """

    def __init__(self, directory: Path, origin: str) -> None:
        """directory: made, with its parents, when something is first kept."""
        self._directory = directory
        self._stem = f"{origin.rpartition('/')[2]}-{sha256(origin.encode()).hexdigest()[:16]}"
        self.path = directory / f"{self._stem}.checkpoint"

    def read(self) -> bytes | None:
        """Return the note that is kept. Raises: FormatError where the file is too large, StorageError."""
        with _named(self.path):
            try:
                fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                return None
            with os.fdopen(fd, "rb") as file:
                note = file.read(MAX_NOTE_SIZE + 1)
        if not 0 < len(note) <= MAX_NOTE_SIZE:
            raise FormatError(str(self.path), f"has {len(note)} bytes, which no checkpoint has; {REMEDY}")
        return note

    def advance(self, known: bytes | None, new: bytes) -> bool:
        """Keep `new` if the note kept is still `known`; durable on return."""
        with _named(self.path), self._locked():
            if self.read() != known:
                return False
            if known != new:
                _replace(self.path, new)
            return True

    def accuse(self, error: InconsistentLogError, proof: ConsistencyProof) -> Path | None:
        """Keep both notes and the proof between them, durably, each contradiction once."""
        name = sha256(error.old_note + error.new_note).hexdigest()[:16]
        place = self._directory / f"{self._stem}.evidence-{name}"
        files = {"old.checkpoint": error.old_note, "new.checkpoint": error.new_note, "growth.proof": proof.format()}
        with _named(place), self._locked():
            others = [path for path in self._directory.glob(f"{self._stem}.evidence-*") if path != place]
            if len(others) >= MAX_EVIDENCE:
                return others[0]
            place.mkdir(mode=0o700, exist_ok=True)
            for file, content in files.items():
                _replace(place / file, content)
            _sync_dir(self._directory)
        return place

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._directory / f"{self._stem}.lock"
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


REMEDY = (
    "it was altered: put back a copy that was kept elsewhere, or remove it to begin anew, and what the log changed up "
    "to now will not show"
)
"""What to do about a file that holds something else than it was given."""


def _replace(path: Path, content: bytes) -> None:
    """Put `content` in place of a file: durable on return, old or new at any instant before."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_dir(path.parent)


def _sync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Make an error of the system a StorageError that names the file."""
    try:
        yield
    except OSError as err:
        raise StorageError(f"{path}: {os.strerror(err.errno or errno.EIO)}") from err
