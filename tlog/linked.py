"""Entries in a row, each compared with the one before it."""

from __future__ import annotations

from collections.abc import Iterator

from tlog.entry import Entry, parse_entry
from tlog.errors import CorruptLedgerError
from tlog.storage.segments import SegmentReader


def linked(segments: SegmentReader, start: int, stop: int, previous: Entry | None = None) -> Iterator[Entry]:
    """Yield the entries [start, stop), which follow `previous` where that is given.

    Hash, seq and link to the entry before are checked. Raises: CorruptLedgerError. Memory: as `SegmentReader.chunks`.
    """
    for lines in segments.chunks(start, stop):
        for line in lines:
            entry = parse_entry(line)
            expected = start if previous is None else previous.seq + 1
            if entry.seq != expected or (previous is not None and entry.prev_hash != previous.hash):
                raise CorruptLedgerError(
                    "the entry does not follow the one before it", place=f"entry {expected}", seq=expected
                )
            yield entry
            previous = entry
