"""What a database must do to hold the index of a partition.

The index says where to look, and nothing else: whoever searches reads the entries from the log. A store keeps, for each
entry, a row and its terms (`tlog.index.fields.Document`), and how far it has come, all of a batch in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from tlog.errors import StorageError, VerificationError
from tlog.index.fields import Document
from tlog.index.query import Query

MAX_ROWS = 1000
"""Rows of one answer."""


class IndexMismatchError(VerificationError):
    """Index and log contradict each other. The log is what counts; the index is made anew."""


class IndexDamagedError(StorageError):
    """The index cannot be read, or was made by another version of this program."""


class IndexBusyError(StorageError):
    """The answer would take longer than whoever asks is willing to wait."""


class Position(NamedTuple):
    """How far an index has come. size: entries in it. hash: chain hash of the last one in hex, empty without one."""

    size: int = 0
    hash: bytes = b""


class Batch(NamedTuple):
    """Entries to be added. before, after: the position they follow and the one they lead to. documents: one each."""

    before: Position
    after: Position
    documents: Sequence[Document]


class Row(NamedTuple):
    """What an index says about an entry. time and values are those of its document."""

    seq: int
    time: int
    values: tuple[str | None, ...]


class Store(Protocol):
    """One partition's index in some database. It may be used from several threads.

    All methods raise IndexDamagedError where the database holds no index that this version can read, StorageError where
    it cannot be reached.
    """

    def limited(self, seconds: float | None) -> AbstractContextManager[None]:
        """Limit what this thread asks within the block: all of it together takes no longer; None for no limit.

        What takes longer ends with an IndexBusyError, soon after the time is over.
        """
        ...

    def position(self) -> Position:
        """Return how far the index has come."""
        ...

    def add(self, batch: Batch) -> bool:
        """Add entries and move the position, all at once; return False where another process was first.

        It MUST compare the position with `batch.before` in the same transaction, and change nothing if they differ.
        """
        ...

    def search(self, query: Query, start: int, stop: int, limit: int, *, oldest_first: bool) -> list[Row]:
        """Return up to `limit` rows with start <= seq < stop that the query matches, by seq, the newest first.

        It MUST find exactly what `Query.matches` holds for.
        """
        ...

    def count(self, query: Query, stop: int) -> int:
        """Return how many entries with seq < stop the query matches."""
        ...

    def facets(self, query: Query, field: str, stop: int, limit: int) -> list[tuple[str | None, int]]:
        """Return values of a field of ROW_FIELDS and how many matching entries have each, the most frequent first."""
        ...

    def days(self, query: Query, stop: int, limit: int) -> list[tuple[int, int]]:
        """Return days since 1970 with the number of matching entries with seq < stop: the last `limit`, in order."""
        ...

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """Yield all rows with start <= seq < stop by seq."""
        ...

    def check(self, expected: Callable[[int], Iterator[Document]]) -> None:
        """Compare all terms with those of the entries. expected: yields the documents of the log from a seq on.

        Raises: IndexMismatchError naming the first entry whose terms are not found, or the index as a whole where it
        has terms that no entry has.
        """
        ...

    def replace(self, fill: Callable[[Store], None]) -> None:
        """Put another index in place of this one, all at once. fill: called with an empty store, to be filled."""
        ...

    def close(self) -> None:
        """Release what is open; using the store opens it again."""
        ...
