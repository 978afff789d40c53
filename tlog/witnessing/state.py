"""A witness's memory: which logs it knows, and the latest checkpoint of each that it cosigned.

It is one SQLite file, and beside the key a record of how often it was written. A state that was lost, or put back from
a backup, has the wrong number, and is refused: a witness that forgets may cosign two trees, so it needs a new key then.
Source: c2sp.org/tlog-witness, section "add-checkpoint"; sqlite.org/wal.html, sqlite.org/pragma.html (synchronous).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from tlog.errors import ConflictError, CorruptLedgerError, FormatError, StorageError
from tlog.evidence import Evidence
from tlog.hashing import EMPTY_ROOT
from tlog.storage.disk import Files
from tlog.witnessing.request import origin_hash

SCHEMA_VERSION = 1
ID_SIZE = 16
RECORD_SIZE = ID_SIZE + 8

MAX_EVIDENCE = 16
"""Pieces that are kept of one log; the first ones say all."""

_SCHEMA = """
CREATE TABLE state (id BLOB NOT NULL, written INTEGER NOT NULL);
CREATE TABLE log (origin TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, vkeys TEXT NOT NULL, size INTEGER NOT NULL,
  root BLOB NOT NULL, note BLOB, time INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE evidence (number INTEGER PRIMARY KEY, origin TEXT NOT NULL, time INTEGER NOT NULL,
  file BLOB NOT NULL UNIQUE);
"""


class Seen(NamedTuple):
    """What was cosigned of a log. size 0 and note None: nothing yet. time: of the latest cosignature, POSIX seconds."""

    vkeys: tuple[str, ...]
    size: int
    root: bytes
    note: bytes | None
    time: int


class Listed(NamedTuple):
    """A log in a list. name: SHA-256 of the origin in hex. size, time_s: cosigned last; time_s is 0 for nothing yet."""

    origin: str
    name: str
    size: int
    time_s: int


class Tree(NamedTuple):
    """The latest tree of a log that was cosigned, and the log's keys. size, time: as in `Seen`."""

    vkeys: tuple[str, ...]
    size: int
    root: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Step:
    """A log's way from its latest tree to a newer checkpoint. note: with the log's signatures and the cosignatures."""

    origin: str
    start: Tree
    size: int
    root: bytes
    note: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Evidence that a witness keeps. time: when it came, POSIX seconds. evidence: as `tlog-verify` judges it."""

    origin: str
    time: int
    evidence: Evidence


@dataclass(slots=True)
class _Batch:
    steps: list[Step] = field(default_factory=list)
    taken: Sequence[bool] | None = None
    error: BaseException | None = None


class WitnessState:
    """The state of one witness, held by one process. It may be used from several threads.

    Nobody else writes it, so where each log stands is in memory too: some 600 bytes a log, the checkpoints are not.
    """

    def __init__(self, path: Path, record: Path) -> None:
        """Open the state and hold it. path: of the database. record: of the count beside the key.

        Raises: NotFoundError, CorruptLedgerError where the state is missing or older than the record says;
        ConflictError where another process holds it; StorageError.
        """
        self._path = path
        self._record_path = record
        self._mutex = threading.Lock()
        self._turn = threading.Lock()
        self._next = _Batch()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._poison: BaseException | None = None
        self._fd = _hold(record)
        try:
            self._db = self._connect()
            self._id, self._written = self._require_whole()
            self._convicted = {origin for (origin,) in self._db.execute("SELECT DISTINCT origin FROM evidence")}
            rows = self._db.execute("SELECT origin, vkeys, size, root, time FROM log")
            self._trees = {origin: Tree(tuple(vkeys.split("\n")), *rest) for origin, vkeys, *rest in rows}
        except BaseException:
            self._close_files()
            raise

    @classmethod
    def create(cls, path: Path, record: Path) -> None:
        """Make an empty state. Raises: ConflictError where there is one, or a record of one; StorageError."""
        files = Files()
        identity = secrets.token_bytes(ID_SIZE)
        if files.exists(path) or files.exists(record):
            raise ConflictError(f"{path}: there is a witness's state already, or the record of one")
        with _storage_errors(path), contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.executescript(_SCHEMA)
            db.execute("INSERT INTO state VALUES (?, 0)", (identity,))
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            db.commit()
        files.disk.sync_dir(path.parent)
        files.create(record, identity + bytes(8))

    def add_log(self, origin: str, vkeys: Sequence[str]) -> None:
        """Know a log by these keys, in place of those known before; what was seen of it stays."""
        with self._turn:
            with self._transaction():
                self._db.execute(
                    "INSERT INTO log VALUES (?, ?, ?, 0, ?, NULL, 0) ON CONFLICT DO UPDATE SET vkeys = excluded.vkeys",
                    (origin, origin_hash(origin), "\n".join(vkeys), EMPTY_ROOT),
                )
            before = self._trees.get(origin, Tree((), 0, EMPTY_ROOT, 0))
            self._trees[origin] = before._replace(vkeys=tuple(vkeys))

    def origins(self) -> list[str]:
        """Return the origins of the logs that are known, sorted."""
        return [origin for (origin,) in self._reader().execute("SELECT origin FROM log ORDER BY origin")]

    @property
    def is_sound(self) -> bool:
        """Whether no write has failed; after one nothing is written until the state is opened again."""
        return self._poison is None

    def count(self) -> int:
        """Return how many logs are known."""
        with _storage_errors(self._path):
            (found,) = self._reader().execute("SELECT count(*) FROM log").fetchone()
        return int(found)

    def listed(self, after: str, limit: int) -> list[Listed]:
        """Return the first logs whose origins come after `after`, at most `limit`, in the order of their origins."""
        query = "SELECT origin, hash, size, time FROM log WHERE origin > ? ORDER BY origin LIMIT ?"
        with _storage_errors(self._path):
            return [Listed(*row) for row in self._reader().execute(query, (after, limit))]

    def tree(self, origin: str) -> Tree | None:
        """Return where a log stands, None where the log is not known. Cost: none, it is in memory.

        Raises: StorageError where a write failed: nobody knows what is on disk then, so nobody is told a size.
        """
        self._require_sound()
        return self._trees.get(origin)

    def seen(self, origin: str) -> Seen | None:
        """Return all that is known of a log, None where the log is not known. Cost: one row, some 20 microseconds."""
        return self._find("origin", origin)

    def seen_by_hash(self, hash_hex: str) -> Seen | None:
        """Like `seen`, by the SHA-256 of the origin in lowercase hex."""
        return self._find("hash", hash_hex)

    def advance(self, step: Step) -> bool:
        """Remember a newer checkpoint durably, unless what was seen has changed meanwhile: False then.

        All threads that call at the same time share one transaction. Raises: StorageError; afterwards nothing can be
        written until the state is opened again, since nobody knows what is on disk.
        """
        with self._mutex:
            batch, index = self._next, len(self._next.steps)
            batch.steps.append(step)
        with self._turn:
            if batch.taken is None and batch.error is None:
                with self._mutex:
                    self._next = _Batch()
                try:
                    batch.taken = self._commit(batch.steps)
                except BaseException as err:
                    batch.error = err
                    raise
        if batch.taken is None:
            raise StorageError(f"{self._path}: the checkpoint could not be stored ({batch.error})") from batch.error
        return batch.taken[index]

    def keep(self, kept: Kept) -> None:
        """Keep evidence, unless it is known or there is enough of this log: then nothing is written."""
        file = kept.evidence.format()
        with self._turn:
            with _storage_errors(self._path):
                query = "SELECT file FROM evidence WHERE origin = ?"
                files = [known for (known,) in self._db.execute(query, (kept.origin,))]
            if file not in files and len(files) < MAX_EVIDENCE:
                with self._transaction():
                    values = (kept.origin, kept.time, file)
                    self._db.execute("INSERT INTO evidence (origin, time, file) VALUES (?, ?, ?)", values)
        self._convicted.add(kept.origin)

    def is_convicted(self, origin: str) -> bool:
        """Whether there is evidence of this log's misbehaviour. Cost: none, it is in memory."""
        return origin in self._convicted

    def kept(self) -> list[Kept]:
        """Return all evidence that was kept, the oldest first."""
        query = "SELECT origin, time, file FROM evidence ORDER BY number"
        with _storage_errors(self._path):
            return [Kept(origin, when, Evidence.parse(file)) for origin, when, file in self._reader().execute(query)]

    def close(self) -> None:
        """Release the files; it may be called twice."""
        with self._turn:
            if self._fd >= 0:
                self._close_files()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find(self, column: Literal["origin", "hash"], value: str) -> Seen | None:
        query = f"SELECT vkeys, size, root, note, time FROM log WHERE {column} = ?"  # noqa: S608 - one of two names
        with _storage_errors(self._path):
            row = self._reader().execute(query, (value,)).fetchone()
        return None if row is None else Seen(tuple(row[0].split("\n")), *row[1:])

    def _commit(self, steps: Sequence[Step]) -> list[bool]:
        """Take each step whose start is still what is stored."""
        with self._transaction():
            taken = [
                self._db.execute(
                    "UPDATE log SET size = ?, root = ?, note = ?, time = ? WHERE origin = ? AND size = ? AND root = ?",
                    (step.size, step.root, step.note, step.time, step.origin, step.start.size, step.start.root),
                ).rowcount
                == 1
                for step in steps
            ]
        for step, is_taken in zip(steps, taken, strict=True):
            if is_taken:
                vkeys = self._trees[step.origin].vkeys
                self._trees[step.origin] = Tree(vkeys, step.size, step.root, step.time)
        return taken

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Make a block one durable transaction, and count it in the record beside the key."""
        self._require_sound()
        try:
            with _storage_errors(self._path):
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("UPDATE state SET written = ?", (self._written + 1,))
                self._db.execute("COMMIT")
                self._written += 1
                # After the commit: a record that is behind the state is what a crash leaves, one ahead is a rollback.
                os.pwrite(self._fd, self._written.to_bytes(8, "big"), ID_SIZE)
                os.fdatasync(self._fd)
        except BaseException as err:
            self._poison = err
            raise

    def _require_sound(self) -> None:
        if not self.is_sound:
            raise StorageError(f"{self._path}: a write failed before; start the witness again") from self._poison

    def _require_whole(self) -> tuple[bytes, int]:
        """Return identity and count of the state. Raises: CorruptLedgerError where it is not the latest one."""
        with _storage_errors(self._path):
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                raise FormatError(str(self._path), f"is of version {version}, not {SCHEMA_VERSION}")
            identity, written = self._db.execute("SELECT id, written FROM state").fetchone()
        record = os.pread(self._fd, RECORD_SIZE + 1, 0)
        known = int.from_bytes(record[ID_SIZE:], "big")
        if len(record) != RECORD_SIZE or record[:ID_SIZE] != identity or known > written:
            raise CorruptLedgerError(
                "the witness's state is not the latest one: it was put back from a backup, or replaced. A witness that "
                "forgets what it cosigned may cosign a fork, so this key must not sign again: make a new one with "
                "'tlog-witness init', and tell those who trust the old one",
                place=str(self._path),
                expected=f"at least {known} writes",
                found=f"{written} writes" if record[:ID_SIZE] == identity else "another state",
            )
        return identity, written

    def _connect(self) -> sqlite3.Connection:
        if not Files().exists(self._path):
            raise CorruptLedgerError(
                "the witness's state is gone, and its key is here: this key must not sign again; make a new one with "
                "'tlog-witness init', and tell those who trust the old one",
                place=str(self._path),
            )
        with _storage_errors(self._path):
            db = sqlite3.connect(
                f"file:{self._path}?mode=rw", uri=True, isolation_level=None, check_same_thread=False, timeout=10
            )
            db.execute("PRAGMA synchronous=FULL")
            self._connections.append(db)
        return db

    def _reader(self) -> sqlite3.Connection:
        """Return this thread's own connection: readers do not wait for a commit."""
        found: sqlite3.Connection | None = getattr(self._local, "db", None)
        if found is None:
            with self._mutex:
                found = self._local.db = self._connect()
        return found

    def _close_files(self) -> None:
        for db in self._connections:
            db.close()
        self._connections.clear()
        os.close(self._fd)
        self._fd = -1


def _hold(record: Path) -> int:
    """Return the record's descriptor, locked. Raises: NotFoundError, ConflictError."""
    fd = Files().disk.open(record, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        os.close(fd)
        raise ConflictError(f"{record}: another process runs this witness") from err
    return fd


@contextlib.contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as err:
        raise StorageError(f"{path}: {err}") from err
