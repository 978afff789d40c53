"""Which ids writers gave to their events, and in which entries they are: a table in SQLite, derived from the log.

An entry's `meta` holds the writer and the id; the table says where to look for them. It is made from the entries, up to
its position, in order, and can be deleted at any time. What it says of an id is compared with the entry by whoever asks
(`tlog.intake.intake`); that it does not know an id counts only where its position is the end of the log.

One process at a time uses it, under the lock of the intake. Where the log is not the one that the table was made from,
because it was restored from a backup, or the file is damaged, the table is made anew.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import orjson

from tlog.entry import parse_entry
from tlog.errors import BackpressureError, Error, StorageError
from tlog.group import Committed
from tlog.partition import Partition

SCHEMA_VERSION = 1
BATCH_ENTRIES = 1 << 16
"""Entries that are read between two transactions."""

CATCH_UP_S = 2.0
"""How long one call of `catch_up` takes at most; the next one goes on where it ended."""

CACHE_KIB = 16 << 10

_SCHEMA = (
    "CREATE TABLE state (number INTEGER PRIMARY KEY, size INTEGER, hash TEXT, origin TEXT)",
    "CREATE TABLE ids (writer TEXT, id TEXT, seq INTEGER, PRIMARY KEY (writer, id)) WITHOUT ROWID",
)
# The first entry that has an id counts: who appends under the intake's lock gives no id twice.
_INSERT = "INSERT OR IGNORE INTO ids SELECT value->>0, value->>1, value->>2 FROM json_each(?)"
_FIND = "SELECT id, seq FROM ids WHERE writer = ?1 AND id IN (SELECT value FROM json_each(?2))"

_META = b'"meta":{'
_ID_KEY = b'"id":'
_TEXT = rb'("(?:[^"\\]|\\.)*")'
_OURS = re.compile(rb'"meta":\{(?:"writer":%b,)?"id":%b\},"data":' % (_TEXT, _TEXT))
"""Meta as the intake writes it; in another shape it is parsed as JSON."""


class Key(NamedTuple):
    """What an id is unique for. writer: "" for none. id: 1 to 256 characters."""

    writer: str
    id: str


Row = tuple[str, str, int]
"""Writer, id, and the seq of the entry that has it."""


class _Position(NamedTuple):
    """How far the table has come. size: entries that are in it. hash: of the last one in hex, "" without one."""

    size: int = 0
    hash: str = ""


class IdTable:
    """The ids of one partition. One thread of one process uses it at a time."""

    def __init__(self, partition: Partition) -> None:
        """The file is made at the first use."""
        self.path = partition.paths.ledger / "index" / f"{partition.name}.ids"
        self._partition = partition
        self._open: tuple[int, sqlite3.Connection] | None = None
        self._known: _Position | None = None
        self._is_damaged = False

    def catch_up(self, stop: int, time_limit_s: float = CATCH_UP_S) -> None:
        """Take in the entries up to `stop`, which are durable.

        Raises: BackpressureError where there are more than can be read in `time_limit_s`: call it again;
        CorruptLedgerError, StorageError. Cost: 0.3 microseconds an entry without id, 6 with.
        """
        end = time.monotonic() + time_limit_s
        position = self._same_log(stop)
        while position.size < stop:
            position = self._take(position, min(stop, position.size + BATCH_ENTRIES))
            if position.size < stop and time.monotonic() >= end:
                text = f"the table of ids is being made, {position.size:,} of {stop:,} entries are done; try again"
                raise BackpressureError(text, 1.0)

    def find(self, keys: Iterable[Key]) -> dict[Key, int]:
        """Return the seq of each of these ids that the table knows. Cost: a query for each writer."""
        found: dict[Key, int] = {}
        with self._connected() as db:
            for writer, some in groupby(sorted(keys), lambda key: key.writer):
                names = orjson.dumps([key.id for key in some]).decode()
                found.update((Key(writer, name), seq) for name, seq in db.execute(_FIND, (writer, names)))
        return found

    def add(self, rows: Sequence[Row], commit: Committed) -> None:
        """Take in entries that were appended, if the table's position is in front of them. rows: their ids."""
        if self._known is not None and self._known.size == commit.first_seq:
            after = _Position(commit.first_seq + len(commit.hashes), commit.hashes[-1].decode())
            self._store(rows, self._known, after)

    def reset(self) -> None:
        """Forget all; `catch_up` makes the table anew."""
        self._known = None
        self._is_damaged = False
        self.close()
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).unlink()

    def close(self) -> None:
        """Release the file; using the table opens it again."""
        opened, self._open = self._open, None
        if opened is not None and opened[0] == os.getpid():
            opened[1].close()

    def _same_log(self, size: int) -> _Position:
        """Return the position, of a table that is made of this log up to there."""
        try:
            if self._is_damaged:
                self.reset()
            with self._connected() as db:
                position = self._position(db)
        except _DamagedError:
            self.reset()
            with self._connected() as db:
                position = self._position(db)
        if position != self._known and not self._is_of_this_log(position, size):
            self.reset()
            return self._same_log(size)
        self._known = position
        return position

    def _is_of_this_log(self, position: _Position, size: int) -> bool:
        if position.size == 0 or position.size > size:
            return position == _Position()
        try:
            last = parse_entry(self._partition.segments.line(position.size - 1))
        except StorageError:
            raise
        except Error:  # damaged: whoever reads it will say so
            return False
        return last.hash.hex() == position.hash

    def _take(self, position: _Position, stop: int) -> _Position:
        rows: list[Row] = []
        first, line = position.size, b""
        for lines in self._partition.segments.chunks(position.size, stop):
            rows += _rows_of(self._partition.name, first, lines)
            first, line = first + len(lines), lines[-1]
        after = _Position(stop, parse_entry(line).hash.hex())
        self._store(rows, position, after)
        return after

    def _store(self, rows: Sequence[Row], before: _Position, after: _Position) -> None:
        with self._connected() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                if self._position(db) != before:
                    raise AssertionError("somebody uses the table of ids without the intake's lock")
                if rows:
                    db.execute(_INSERT, (orjson.dumps(rows).decode(),))
                db.execute("UPDATE state SET size = ?, hash = ?", after)
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
        self._known = after

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._open is None or self._open[0] != os.getpid():  # a forked child must not use its parent's
                self._open = (os.getpid(), self._connect())
            yield self._open[1]
        except _DamagedError:
            self._is_damaged = True
            raise
        except sqlite3.Error as err:
            self._known = None
            text = str(err)
            if isinstance(err, sqlite3.OperationalError) and any(word in text for word in _OUTAGES):
                raise StorageError(f"{self.path}: {text}") from err
            self._is_damaged = True
            raise _DamagedError(f"{self.path}: {text}") from err

    def _connect(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(exist_ok=True)
        except OSError as err:
            raise StorageError(f"{self.path.parent}: {err.strerror}") from err
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # a power loss may cost the last rows, which are read again
            self._require_schema(db)
        except BaseException:
            db.close()
            raise
        return db

    def _require_schema(self, db: sqlite3.Connection) -> None:
        """Make the tables where there are none. Raises: _DamagedError where they are others."""
        origin = self._partition.origin
        if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            db.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute("INSERT INTO state VALUES (1, 0, '', ?)", (origin,))
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.execute("COMMIT")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION or db.execute("SELECT origin FROM state").fetchall() != [(origin,)]:
            raise _DamagedError(f"{self.path}: is the table of another log or version")

    def _position(self, db: sqlite3.Connection) -> _Position:
        size, chain = db.execute("SELECT size, hash FROM state").fetchone() or (None, None)
        if type(size) is not int or size < 0 or type(chain) is not str:
            raise _DamagedError(f"{self.path}: does not say how far it has come")
        return _Position(size, chain)


_OUTAGES = ("unable to open", "readonly", "disk", "locked", "busy")


class _DamagedError(StorageError):
    """The file is no table of ids."""


def _rows_of(partition: str, first: int, lines: Sequence[bytes]) -> Iterator[Row]:
    """Yield the ids in lines that follow each other. Only lines that have one are parsed."""
    fixed = len(f'{{"seq":,"ts":"2026-11-21T09:00:00.000000Z","partition":"{partition}","prev_hash":"",') + 64
    for seq, line in enumerate(lines, first):
        start = fixed + len(str(seq))
        if not line.startswith(_META, start) or line.find(_ID_KEY, start) < 0:
            continue
        match = _OURS.match(line, start)
        if match is not None:
            yield orjson.loads(match[1] or b'""'), orjson.loads(match[2]), seq
            continue
        meta = parse_entry(line).meta
        writer, name = meta.get("writer", ""), meta.get("id")
        if type(writer) is str and type(name) is str:
            yield writer, name, seq
