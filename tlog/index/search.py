"""Searching: the index says where, the log says what.

Every hit is the entry as the log has it, and is compared with what the index says of it: where the two differ, the
search ends with an IndexMismatchError, and not with an answer that is partly right. What the index leaves out is not
seen that way, so every answer says how many entries the index covers, and `Index.check` compares all.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from tlog._strict import MAX_TREE_SIZE, parse_decimal, require_int
from tlog.entry import Entry
from tlog.errors import FormatError
from tlog.index.counts import Counts, count_all
from tlog.index.fields import ROW_FIELDS, Fields, document
from tlog.index.indexer import Follower, catch_up, documents_from, require_same_log
from tlog.index.query import Query, check_fields
from tlog.index.sqlite import SqliteStore
from tlog.index.store import MAX_ROWS, IndexMismatchError, Row, Store
from tlog.integrate import Progress
from tlog.partition import Partition
from tlog.tlogproof import Proof

P = ParamSpec("P")
T = TypeVar("T")

PAGE = 50
"""Hits of a page unless told otherwise."""

MAX_FACETS = 1000
"""Values of one field that are counted."""

MAX_CURSOR = 80
"""Characters of a cursor."""

_CURSOR = re.compile(r"([no])(0|[1-9][0-9]{0,18}):([0-9a-f]{16})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What an answer is about. indexed: entries that were searched, from 0 on. entries: those of the partition."""

    indexed: int
    entries: int

    @property
    def lag(self) -> int:
        """How many entries are not indexed yet."""
        return max(self.entries - self.indexed, 0)

    def __str__(self) -> str:
        return f"index covers 0..{self.indexed} of {self.entries} entries"


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that matches, read from the log. time: nanoseconds since 1970. values: by name, those of ROW_FIELDS."""

    entry: Entry
    time: int
    values: dict[str, str | None]
    _partition: Partition

    def prove(self) -> Proof:
        """Return the proof that the entry is in the log. Raises: as `Partition.prove`."""
        return self._partition.prove(self.entry.seq)


@dataclass(frozen=True, slots=True)
class Page:
    """Some hits, by seq. cursor: what to give as `after` for the page that follows, None after the last one."""

    hits: tuple[Hit, ...]
    cursor: str | None
    coverage: Coverage
    _partition: Partition

    def prove(self) -> list[Proof]:
        """Return a proof for each hit, all under one checkpoint. Raises: as `Partition.prove_many`."""
        return self._partition.prove_many([hit.entry.seq for hit in self.hits])


@dataclass(frozen=True, slots=True)
class Facets:
    """How many matching entries have each value of a field. counts: the most frequent first, None for no value."""

    field: str
    counts: tuple[tuple[str | None, int], ...]
    coverage: Coverage


def index_path(partition: Partition) -> Path:
    """Return the path of a partition's index, below the ledger."""
    return partition.paths.ledger / "index" / f"{partition.name}.sqlite"


def sqlite_store(partition: Partition) -> Store:
    """Return the index in SQLite of a partition; the file is made when entries are added."""
    return SqliteStore(index_path(partition), partition.name, partition.origin)


def _limited(method: Callable[Concatenate[Index, P], T]) -> Callable[Concatenate[Index, P], T]:
    """Let a method take no longer than its index is allowed to."""

    @functools.wraps(method)
    def within(self: Index, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._store.limited(self._time_limit_s):
            return method(self, *args, **kwargs)

    return within


class Index:
    """The index of one partition. It may be used from several threads.

    Methods raise IndexDamagedError where the index cannot be read, IndexMismatchError where it contradicts the log;
    `rebuild` is the remedy for both.
    """

    def __init__(
        self,
        partition: Partition,
        open_store: Callable[[Partition], Store] = sqlite_store,
        *,
        time_limit_s: float | None = None,
    ) -> None:
        """open_store: opens the database, `index/<partition>.sqlite` in the ledger unless given.

        time_limit_s: how long one search or count may take; it ends with an IndexBusyError then. No limit unless given.
        """
        self.partition = partition
        self._time_limit_s = time_limit_s
        self._open_store = open_store
        self._store = open_store(partition)

    def catch_up(self, progress: Progress | None = None) -> int:
        """Index all entries that are durable now; return how many were added. See `tlog.index.indexer.catch_up`."""
        return catch_up(self.partition, self._store, progress)

    def follow(self) -> Follower:
        """Start a thread that indexes entries as they become durable, with a connection of its own; see `Follower`."""
        return Follower(self.partition, self._open_store(self.partition))

    def coverage(self) -> Coverage:
        """Return how far the index has come. Raises: IndexMismatchError where the log is not the one indexed."""
        position = self._store.position()
        require_same_log(self.partition, position)
        return Coverage(position.size, self.partition.size)

    @_limited
    def search(
        self, query: Query | str, *, limit: int = PAGE, after: str | None = None, oldest_first: bool = False
    ) -> Page:
        """Return a page of entries that match, the newest first unless told otherwise.

        limit: hits at most, 1 to 1,000. after: the cursor of the page before, of the same query in the same order. A
        cursor stays valid: entries that are appended meanwhile move nothing.
        Raises: FormatError naming the query's character or the cursor. Cost: about a millisecond, and 20 microseconds a
        hit; more where values are frequent and seldom meet.
        """
        query = Query.parse(query) if isinstance(query, str) else query
        require_int(limit, "limit", 1, MAX_ROWS)
        coverage = self.coverage()
        start, stop = 0, coverage.indexed
        if after is not None:
            seq = _decode_cursor(after, self._digest(query), oldest_first=oldest_first)
            start, stop = (seq + 1, stop) if oldest_first else (0, min(seq, stop))
        rows = self._store.search(query, start, stop, limit + 1, oldest_first=oldest_first)
        hits = tuple(self._hit(query, row) for row in rows[:limit])
        cursor = None
        if len(rows) > limit:
            cursor = _encode_cursor(hits[-1].entry.seq, self._digest(query), oldest_first=oldest_first)
        return Page(hits, cursor, coverage, self.partition)

    def pages(self, query: Query | str, *, oldest_first: bool = False) -> Iterator[Page]:
        """Yield all pages of a query, of 1,000 hits each."""
        after: str | None = None
        while True:
            page = self.search(query, limit=MAX_ROWS, after=after, oldest_first=oldest_first)
            yield page
            after = page.cursor
            if after is None:
                return

    @_limited
    def first(self, query: Query | str, start: int = 0) -> Hit | None:
        """Return the first hit at position `start` or behind it, None where there is none. Raises: FormatError."""
        query = Query.parse(query) if isinstance(query, str) else query
        stop = self.coverage().indexed
        rows = self._store.search(query, require_int(start, "start"), stop, 1, oldest_first=True)
        return self._hit(query, rows[0]) if rows else None

    @_limited
    def count(self, query: Query | str) -> int:
        """Return how many indexed entries match. It is the index's word; `search` compares each hit with the log."""
        query = Query.parse(query) if isinstance(query, str) else query
        return self._store.count(query, self.coverage().indexed)

    @_limited
    def facets(self, query: Query | str, field: str, limit: int = 20) -> Facets:
        """Count the values of a field among the entries that match.

        field: category, action, actor, target, outcome or severity. limit: values at most, 1 to 1,000.
        The counts are the index's word. Raises: FormatError.
        """
        query = Query.parse(query) if isinstance(query, str) else query
        check_fields([field], ROW_FIELDS)
        require_int(limit, "limit", 1, MAX_FACETS)
        coverage = self.coverage()
        return Facets(field, tuple(self._store.facets(query, field, coverage.indexed, limit)), coverage)

    @_limited
    def counts(self, query: Query | str = "", *, top: int = 20) -> Counts:
        """Count the entries that match by day and by field, all among the same entries.

        top: values of each field that are listed, 1 to 1,000. The counts are the index's word. Raises: FormatError.
        """
        query = Query.parse(query) if isinstance(query, str) else query
        require_int(top, "top", 1, MAX_FACETS)
        return count_all(self._store, query, self.coverage().indexed, top)

    def check(self, progress: Progress | None = None) -> Coverage:
        """Compare the whole index with the log, row by row and term by term; return what was compared.

        progress: told how many rows are compared. Raises: IndexMismatchError naming the first difference.
        Cost: about 40 microseconds an entry.
        """
        coverage = self.coverage()
        rows = self._store.rows(0, MAX_TREE_SIZE)
        for found in documents_from(self.partition, 0, coverage.indexed):
            row = next(rows, None)
            expected = Row(found.seq, found.time, found.values)
            if row != expected:
                raise self._mismatch(expected, row)
            if progress is not None and found.seq % 1024 == 0:
                progress(found.seq)
        extra = next(rows, None)
        if extra is not None and extra.seq >= self.partition.size:
            raise self._mismatch(None, extra)
        self._store.check(lambda seq: documents_from(self.partition, seq))
        return coverage

    def rebuild(self, progress: Progress | None = None) -> Coverage:
        """Make the index anew from the entries; the old one is used until then, and replaced all at once."""
        self._store.replace(lambda store: _fill(self.partition, store, progress))
        return self.coverage()

    def close(self) -> None:
        """Release the database."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hit(self, query: Query, row: Row) -> Hit:
        """Read the entry that a row is about, and compare the two. Raises: IndexMismatchError."""
        entry = self.partition.entry(row.seq)
        fields = Fields.of_entry(entry)
        made = document(fields)
        expected = Row(made.seq, made.time, made.values)
        if row != expected or not query.matches(fields):
            raise self._mismatch(expected, row)
        values = {name: next(iter(fields.values(name)), None) for name in ROW_FIELDS}
        return Hit(entry, row.time, values, self.partition)

    def _mismatch(self, expected: Row | None, found: Row | None) -> IndexMismatchError:
        named = expected or found
        if named is None:
            raise AssertionError("a row that is nowhere differs from nothing")
        what = "finds the entry by what it does not hold" if expected == found else "does not say what the log says"
        return IndexMismatchError(
            f"the index {what}; 'tlog index rebuild {self.partition.name}' makes it anew",
            place=f"entry {named.seq}",
            seq=named.seq,
            expected=None if expected == found else _shown(expected),
            found=None if expected == found else _shown(found),
        )

    def _digest(self, query: Query) -> str:
        return sha256(f"{self.partition.origin}\n{query.format()}".encode()).hexdigest()[:16]


def _fill(partition: Partition, store: Store, progress: Progress | None) -> None:
    if partition.size:  # raises where there is no such partition
        catch_up(partition, store, progress)


def _shown(row: Row | None) -> str:
    if row is None:
        return "no row"
    return f"{row.seq} {row.time} {' '.join('-' if value is None else repr(value) for value in row.values)}"


def _encode_cursor(seq: int, digest: str, *, oldest_first: bool) -> str:
    text = f"{'o' if oldest_first else 'n'}{seq}:{digest}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str, digest: str, *, oldest_first: bool) -> int:
    """Return the seq in a cursor. Raises: FormatError where it is none, or one of another query or order."""
    match = None
    if len(cursor) <= MAX_CURSOR:
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode("ascii")
            match = _CURSOR.fullmatch(text)
        except (ValueError, binascii.Error):
            match = None
    if match is None:
        raise FormatError("cursor", f"{cursor[:40]!r} is none; give the one that came with the page before, or none")
    seq = parse_decimal(match[2], "cursor", MAX_TREE_SIZE)
    if _encode_cursor(seq, match[3], oldest_first=match[1] == "o") != cursor:
        raise FormatError("cursor", "is not spelled as it was given out")
    if match[3] != digest or (match[1] == "o") != oldest_first:
        raise FormatError("cursor", "is of another query or order; begin again without it")
    return seq
