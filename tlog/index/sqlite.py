"""The index in SQLite: a table of rows, and one full-text index (FTS5) of all terms, fields as well as words.

A condition on a field is a search for the term `=ualice`, so that any number of conditions, alternatives and negations
is one expression which FTS5 answers by merging sorted lists of positions; a page of results ends the merge early. The
tokenizer splits at spaces only and folds nothing that a term holds: what a word is, is decided in `tlog.index.fields`.

The file is in WAL mode: searching and adding go on at the same time, in any number of processes. FTS5 keeps no copy of
the terms; its `content` is a view that computes them from the log, and only `check` reads it.
Source: sqlite.org/fts5.html, sqlite.org/wal.html.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import orjson

from tlog.errors import StorageError
from tlog.index.fields import NS, ROW_FIELDS, TERM_PUNCTUATION, Document
from tlog.index.query import Query
from tlog.index.sql import SPAN, key_of, quoted, source_of
from tlog.index.store import Batch, IndexBusyError, IndexDamagedError, IndexMismatchError, Position, Row, Store
from tlog.storage.disk import TEMPORARY_SUFFIX

SCHEMA_VERSION = 1
"""Of tables and terms. An index of another version is not read but made anew."""

WAIT_S = 60.0
"""How long to wait for another process that writes."""

CACHE_KIB = 32 << 10
HASH_SIZE = 16 << 20
"""Bytes of terms that FTS5 gathers before it writes them; larger means fewer merges."""

MERGE_AT = 8
"""Runs of terms of one size that FTS5 merges into one."""

CHECKED_AT_ONCE = 32
"""Terms that are looked up with one expression when an entry is checked."""

STEPS = 20_000
"""Steps of SQLite between two looks at the clock, some 0.1 s where lists of positions are merged."""

DAY = 86_400 * NS

_COLUMNS = ", ".join(ROW_FIELDS)
_SCHEMA: Final = {
    "state": "CREATE TABLE state (id INTEGER PRIMARY KEY, size INTEGER, hash TEXT, origin TEXT, words TEXT)",
    "entry": f"CREATE TABLE entry (seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, {_COLUMNS})",
    "span": "CREATE TABLE span (number INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL)",
    "content": "CREATE VIEW content AS SELECT seq, tlog_terms(seq) AS text FROM entry",
    "terms": "CREATE VIRTUAL TABLE terms USING fts5(text, content='content', content_rowid='seq', columnsize=0, "
    f"""tokenize="ascii tokenchars '{TERM_PUNCTUATION}'")""",
}
_SHADOWS = {"terms_config", "terms_data", "terms_idx"}
_Identity = tuple[int, int, int]
_UNICODE = f"Unicode {unicodedata.unidata_version}"
"""What decides which characters make a word, and so belongs to the version."""

_PARTS = ", ".join(f"value->>{number}" for number in range(1 + len(ROW_FIELDS)))
_INSERT_ROWS = f"INSERT INTO entry SELECT ?1 + key, {_PARTS} FROM json_each(?2)"  # noqa: S608
_INSERT_TERMS = "INSERT INTO terms (rowid, text) SELECT ?1 + key, value FROM json_each(?2)"
_INSERT_SPAN = (
    "INSERT INTO span VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET low = min(low, excluded.low), "
    "high = max(high, excluded.high)"
)


class SqliteStore:
    """The index of one partition in one file. It may be used from several threads, and after a fork."""

    def __init__(self, path: Path, partition: str, origin: str) -> None:
        """path: of the file, made at the first use. partition: named in errors. origin: of the log."""
        self.path = path
        self._partition = partition
        self._origin = origin
        self._mutex = threading.RLock()
        self._open: tuple[_Identity, sqlite3.Connection] | None = None
        self._limits = threading.local()

    @contextlib.contextmanager
    def limited(self, seconds: float | None) -> Iterator[None]:
        """See `Store`. Waiting for other threads counts."""
        self._limits.deadline = None if seconds is None else time.monotonic() + seconds
        try:
            yield
        finally:
            self._limits.deadline = None

    def position(self) -> Position:
        """See `Store`. Where there is no file yet, none is made."""
        if not self.path.exists():
            return Position()
        with self._connected() as db:
            return self._position(db)

    def add(self, batch: Batch) -> bool:
        """See `Store`. Cost: about 12 microseconds an entry, with the interpreter free for other threads."""
        documents = batch.documents
        # As JSON, a batch is two statements, during which other threads run; a call for each row lets them wait.
        rows = orjson.dumps([(document.time, *document.values) for document in documents]).decode()
        terms = orjson.dumps([document.terms for document in documents]).decode()
        spans = []
        for number, members in groupby(documents, lambda document: document.seq // SPAN):
            times = [document.time for document in members]
            spans.append((number, min(times), max(times)))
        with self._connected() as db, _transaction(db):
            if self._position(db) != batch.before:
                return False
            db.execute(_INSERT_ROWS, (batch.before.size, rows))
            db.execute(_INSERT_TERMS, (batch.before.size, terms))
            db.executemany(_INSERT_SPAN, spans)
            db.execute("UPDATE state SET size = ?, hash = ?", (batch.after.size, batch.after.hash.decode()))
        return True

    def search(self, query: Query, start: int, stop: int, limit: int, *, oldest_first: bool) -> list[Row]:
        """See `Store`."""
        with self._connected() as db:
            source, values = source_of(db, query, start, stop)
            order = "ASC" if oldest_first else "DESC"
            sql = f"SELECT e.seq, e.time, {_COLUMNS} FROM {source} ORDER BY {key_of(query)} {order} LIMIT ?"  # noqa: S608
            return [_row(found) for found in db.execute(sql, (*values, limit))]

    def count(self, query: Query, stop: int) -> int:
        """See `Store`. Cost: linear in the shortest list of positions, about 30 ms for 10^6 entries."""
        with self._connected() as db:
            source, values = source_of(db, query, 0, stop)
            return int(db.execute(f"SELECT count(*) FROM {source}", values).fetchone()[0])  # noqa: S608

    def facets(self, query: Query, field: str, stop: int, limit: int) -> list[tuple[str | None, int]]:
        """See `Store`. Cost: linear in the number of matches, about a second for 10^6."""
        if field not in ROW_FIELDS:
            raise ValueError(f"{field} is not in the rows")
        with self._connected() as db:
            source, values = source_of(db, query, 0, stop)
            sql = f"SELECT {field}, count(*) FROM {source} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"  # noqa: S608
            return [(value, int(number)) for value, number in db.execute(sql, (*values, limit))]

    def days(self, query: Query, stop: int, limit: int) -> list[tuple[int, int]]:
        """See `Store`. Cost: as `facets`."""
        with self._connected() as db:
            source, values = source_of(db, query, 0, stop)
            day = f"e.time / {DAY} - (e.time % {DAY} < 0)"  # SQLite rounds towards 1970
            sql = f"SELECT {day}, count(*) FROM {source} GROUP BY 1 ORDER BY 1 DESC LIMIT ?"  # noqa: S608
            return [(number, count) for number, count in db.execute(sql, (*values, limit))][::-1]

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """See `Store`. Memory: 1,024 rows."""
        while start < stop:
            with self._connected() as db:
                sql = "SELECT * FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?"
                some = [_row(found) for found in db.execute(sql, (start, stop, SPAN))]
            yield from some
            if len(some) < SPAN:
                return
            start = some[-1].seq + 1

    def check(self, expected: Callable[[int], Iterator[Document]]) -> None:
        """See `Store`. Cost: about 20 microseconds an entry; during that time nothing can be added."""
        with self._connected() as db:
            self._check_spans(db)
            feed = _Feed(expected)
            db.create_function("tlog_terms", 1, feed.terms)
            try:
                db.execute("INSERT INTO terms (terms, rank) VALUES ('integrity-check', 1)")
            except sqlite3.DatabaseError as err:
                if feed.error is not None:
                    raise feed.error from err
                if isinstance(err, sqlite3.OperationalError):
                    raise
            else:
                return
            self._find_missing_terms(db, expected(0))
        raise IndexMismatchError(f"the index has terms that the entries do not have; {self._remedy}")

    def replace(self, fill: Callable[[Store], None]) -> None:
        """See `Store`. The new index is made in a file beside this one, and copied into it in one transaction."""
        with self._locked():
            other = self.path.with_name(f"{self.path.name}{TEMPORARY_SUFFIX}")
            _unlink(other)  # left by a process that was killed
            fresh = SqliteStore(other, self._partition, self._origin)
            try:
                fill(fresh)
                with fresh._connected() as source:
                    self._replace_with(source)
            finally:
                fresh.close()
                _unlink(other)

    def close(self) -> None:
        """See `Store`."""
        with self._mutex:
            opened, self._open = self._open, None
            if opened is not None and opened[0][0] == os.getpid():
                opened[1].close()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time make the index anew."""
        path = self.path.with_name(f"{self.path.name}.lock")
        try:
            path.parent.mkdir(exist_ok=True)
            lock = path.open("ab")
        except OSError as err:
            raise StorageError(f"{path}: {err.strerror}") from err
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _replace_with(self, source: sqlite3.Connection) -> None:
        try:
            with self._connected() as db:
                source.backup(db)
        except IndexDamagedError:
            self.close()
            _unlink(self.path)
            with self._connected() as db:
                source.backup(db)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Give out the connection, which one thread uses at a time, and name the file in its errors."""
        deadline: float | None = getattr(self._limits, "deadline", None)
        if not self._mutex.acquire(timeout=-1 if deadline is None else max(deadline - time.monotonic(), 0)):
            raise self._busy()
        try:
            # A forked child must not use its parent's, and a file that was deleted and made anew is another one.
            if self._open is None or self._open[0] != self._identity():
                self.close()
                opened = self._connect()
                self._open = (self._identity(), opened)
            db = self._open[1]
            db.set_progress_handler(None if deadline is None else lambda: time.monotonic() > deadline, STEPS)
            yield db
        except sqlite3.Error as err:
            raise self._explained(err) from err
        finally:
            self._mutex.release()

    def _identity(self) -> _Identity:
        """Return what the connection belongs to: this process, and the file that is there now."""
        try:
            found = self.path.stat()
        except OSError:  # connecting tells
            return os.getpid(), 0, 0
        return os.getpid(), found.st_dev, found.st_ino

    def _connect(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(exist_ok=True)
        except OSError as err:
            raise StorageError(f"{self.path.parent}: {err.strerror}") from err
        db = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            db.execute("PRAGMA synchronous = NORMAL")  # a power loss may cost the last batches, which are indexed again
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                db.execute("PRAGMA journal_mode = WAL")
                with _transaction(db):
                    self._create(db)
            self._require_schema(db)
        except BaseException:
            db.close()
            raise
        return db

    def _create(self, db: sqlite3.Connection) -> None:
        """Make the tables, unless another process did, or the file is somebody else's."""
        if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            return
        for statement in _SCHEMA.values():
            db.execute(statement)
        db.execute("INSERT INTO terms (terms, rank) VALUES ('hashsize', ?)", (HASH_SIZE,))
        db.execute("INSERT INTO terms (terms, rank) VALUES ('automerge', ?)", (MERGE_AT,))
        db.execute("INSERT INTO state VALUES (1, 0, '', ?, ?)", (self._origin, _UNICODE))
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _require_schema(self, db: sqlite3.Connection) -> None:
        """Check that the file is an index that this version made. Raises: IndexDamagedError."""
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise self._damaged(f"it is of version {version}, this is version {SCHEMA_VERSION}")
        found = dict(db.execute("SELECT name, sql FROM sqlite_schema"))
        if set(found) != {*_SCHEMA, *_SHADOWS} or any(found[name] != sql for name, sql in _SCHEMA.items()):
            raise self._damaged("its tables are not those of an index")
        origin, unicode = db.execute("SELECT origin, words FROM state").fetchone() or ("", "")
        if origin != self._origin:
            raise self._damaged(f"it is of the log {str(origin)[:80]!r}, not {self._origin!r}")
        if unicode != _UNICODE:
            raise self._damaged(f"its words are those of {str(unicode)[:20]}, this Python has {_UNICODE}")

    def _position(self, db: sqlite3.Connection) -> Position:
        size, chain = db.execute("SELECT size, hash FROM state").fetchone() or (None, None)
        if type(size) is not int or size < 0 or type(chain) is not str or not chain.isascii():
            raise self._damaged("it does not say how far it has come")
        return Position(size, chain.encode())

    def _check_spans(self, db: sqlite3.Connection) -> None:
        wrong = db.execute(
            f"SELECT n FROM (SELECT seq / {SPAN} AS n, min(time) AS first, max(time) AS last FROM entry GROUP BY 1) "  # noqa: S608
            "LEFT JOIN span ON number = n WHERE low IS NOT first OR high IS NOT last LIMIT 1"
        ).fetchone()
        if wrong is not None:
            raise IndexMismatchError(f"the index has wrong times for a range of entries; {self._remedy}")

    def _find_missing_terms(self, db: sqlite3.Connection, documents: Iterator[Document]) -> None:
        """Find the first entry whose terms are not in their places. Raises: IndexMismatchError."""
        size = self._position(db).size
        for document in documents:
            if document.seq >= size:
                return
            terms = document.terms.split()
            for start in range(0, len(terms), CHECKED_AT_ONCE):
                phrase = quoted(" ".join(terms[start : start + CHECKED_AT_ONCE]))
                sql = "SELECT 1 FROM terms WHERE terms MATCH ? AND rowid = ?"
                if db.execute(sql, (phrase, document.seq)).fetchone() is None:
                    raise IndexMismatchError(
                        f"the index does not have all terms of the entry; {self._remedy}",
                        place=f"entry {document.seq}",
                        seq=document.seq,
                    )

    @property
    def _remedy(self) -> str:
        return f"'tlog index rebuild {self._partition}' makes it anew"

    def _damaged(self, reason: str) -> IndexDamagedError:
        return IndexDamagedError(f"{self.path}: {reason}; {self._remedy}")

    def _busy(self) -> IndexBusyError:
        return IndexBusyError(f"{self.path}: the answer takes longer than is allowed; ask for less, or later")

    def _explained(self, err: sqlite3.Error) -> StorageError:
        text = str(err)
        if text == "interrupted":
            return self._busy()
        if "locked" in text or "busy" in text:
            return StorageError(f"{self.path}: another process has been writing to it for {WAIT_S:.0f} s; try again")
        if isinstance(err, sqlite3.OperationalError) and (
            "unable to open" in text or "readonly" in text or "disk" in text
        ):
            return StorageError(f"{self.path}: {text}")
        return self._damaged(f"the index is damaged ({text})")


class _Feed:
    """Gives the terms of entries to SQLite, which asks for them in order."""

    def __init__(self, expected: Callable[[int], Iterator[Document]]) -> None:
        self._expected = expected
        self._documents: Iterator[Document] | None = None
        self._next = 0
        self.error: Exception | None = None

    def terms(self, seq: int) -> str:
        try:
            if self._documents is None or seq != self._next:
                self._documents = self._expected(seq)
            self._next = seq + 1
            document = next(self._documents, None)
        except Exception as err:
            self.error = err
            raise
        return "" if document is None else document.terms


def _row(found: tuple[Any, ...]) -> Row:
    return Row(found[0], found[1], tuple(found[2:]))


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Write in one transaction; it is the only one that writes, whatever processes there are."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _unlink(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()
