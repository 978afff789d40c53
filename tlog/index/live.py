"""The live end of the log: entries that no index has seen yet, found and followed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tlog.entry import Entry
from tlog.errors import CorruptLedgerError
from tlog.index.fields import Fields
from tlog.index.query import Query
from tlog.index.search import Index
from tlog.partition import FOLLOW_INTERVAL_S, Partition

MAX_BEHIND = 4096
"""Entries behind the index's end that are read for a question."""


def find_first(index: Index, query: Query) -> Entry | None:
    """Return the first entry that matches, also one that is durable and not indexed yet; None where there is none.

    Raises: as `Index.first` and `Partition.entries`. Cost: as `Index.first`; where the index finds nothing, about 10
    microseconds for each of at most 4,096 entries behind its end: what lies further behind is not found.
    """
    start = index.coverage().indexed
    hit = index.first(query)
    if hit is not None:
        return hit.entry
    behind = index.partition.entries(start, start + MAX_BEHIND)
    return next((entry for entry in behind if query.matches(Fields.of_entry(entry))), None)


def follow_query(
    partition: Partition, query: Query, start: int, *, stop: Callable[[], bool], beat_s: float
) -> Iterator[Entry | None]:
    """Yield the entries that match from the seq `start` on, as they become durable, and None every `beat_s` seconds.

    stop: asked before each entry and ten times a second; the iteration ends when it says yes.
    No index is asked, so nothing is missed that an index has not seen yet. Hash and link of every entry are checked.
    Raises: CorruptLedgerError, VerificationError, StorageError. Memory: 1 MiB, however slowly the values are taken.
    Cost: about 15 microseconds an entry that does not match.
    """
    seq, previous = start, b""
    beat = time.monotonic() + beat_s
    while True:
        for entry in partition.entries(seq):
            if stop():
                return
            if previous not in (b"", entry.prev_hash):
                raise CorruptLedgerError("the entry does not follow the one before it", place=f"entry {seq}", seq=seq)
            seq, previous = entry.seq + 1, entry.hash
            if query.matches(Fields.of_entry(entry)):
                yield entry
            if time.monotonic() >= beat:
                yield None
                beat = time.monotonic() + beat_s
        if stop():
            return
        if time.monotonic() >= beat:
            yield None
            beat = time.monotonic() + beat_s
        time.sleep(FOLLOW_INTERVAL_S)
