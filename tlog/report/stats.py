"""Statistics of a partition: how much there is, where it lies, what is signed, and what its events say.

What events say is counted by the query index, which is brought up to date first and is not compared with the log here
(`tlog.index.search.Index.check` does that). Everything else is read from the partition's own files.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from tlog.errors import NotFoundError, StorageError
from tlog.index.counts import Counts
from tlog.index.search import Coverage, Index, index_path
from tlog.integrate import Progress
from tlog.partition import Partition
from tlog.sequencer import Clock
from tlog.storage.layout import SEALED_SUFFIX

TOP = 10
"""Values of each field that are listed unless told otherwise."""

UNITS = ("day", "week", "month", "year", "decade")
MAX_DECADES = 60
"""Decades from 1678 to 2262, which is what times are."""

_STEPS = {"day": 1, "week": 7, "month": 31, "year": 366, "decade": 3653}
"""Days after the first one of a span that lie in the span that follows."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes on disk. segments: all of them. compressed: of these, in compressed ones. index: the database with its log.

    tiles: hash tiles. checkpoints: the published one and the record of all.
    """

    segments: int
    compressed: int
    tiles: int
    checkpoints: int
    index: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of a partition.

    entries: durable ones. oldest, newest: when the first and the last were sequenced, by the log's clock, None where
    there are none. published: entries that the published checkpoint covers, None where there is none. published_age_s:
    seconds since the file of the published checkpoint was written; a checkpoint itself states no time. counts: what the
    events say, of the first `counts.indexed` entries. coverage: how much that is of the partition.
    """

    partition: str
    origin: str
    entries: int
    oldest: str | None
    newest: str | None
    published: int | None
    published_age_s: float | None
    sizes: Sizes
    counts: Counts
    coverage: Coverage

    @property
    def unpublished(self) -> int:
        """The entries that no published checkpoint covers."""
        return max(self.entries - (self.published or 0), 0)


def statistics(
    partition: Partition, *, top: int = TOP, progress: Progress | None = None, clock: Clock = time.time_ns
) -> Statistics:
    """Return the statistics of a partition; its index is brought up to date first.

    top: values of each field that are listed, 1 to 1,000. progress: told how many entries are indexed. clock:
    nanoseconds since 1970. Raises: NotFoundError, IndexMismatchError, IndexDamagedError, CorruptLedgerError,
    VerificationError where the published checkpoint is not signed by the partition's key, StorageError.
    Cost: about 3 microseconds an entry once the index is up to date, and one look at each file. Memory: flat.
    """
    with Index(partition) as index:
        if partition.size:
            index.catch_up(progress)
        coverage = index.coverage()
        counts = index.counts(top=top)
    entries = coverage.entries
    published = None
    try:
        published = partition.checkpoint().tree_size
    except NotFoundError:
        if not partition.exists:
            raise
    written = _written_at(partition.paths.checkpoint)
    return Statistics(
        partition=partition.name,
        origin=partition.origin,
        entries=entries,
        oldest=partition.entry(0).ts if entries else None,
        newest=partition.entry(entries - 1).ts if entries else None,
        published=published,
        published_age_s=None if published is None or written is None else max(clock() / 1e9 - written, 0.0),
        sizes=sizes(partition),
        counts=counts,
        coverage=coverage,
    )


def sizes(partition: Partition) -> Sizes:
    """Return the bytes that a partition's files and its index take. Raises: StorageError. Memory: flat."""
    paths, database = partition.paths, index_path(partition)
    segments = compressed = 0
    for name, size in _files(paths.segments):
        segments += size
        compressed += size if name.endswith(SEALED_SUFFIX) else 0
    return Sizes(
        segments=segments,
        compressed=compressed,
        tiles=sum(size for _, size in _files(paths.root / "tile")),
        checkpoints=partition.files.size(paths.checkpoint) + partition.files.size(paths.checkpoints),
        index=sum(partition.files.size(database.with_name(database.name + end)) for end in ("", "-wal", "-shm")),
    )


class Span(NamedTuple):
    """Days in a row, counted together. first: the first one. name: how the span is called. entries: how many."""

    first: date
    name: str
    entries: int


class Spans(NamedTuple):
    """A time line. unit: what each span is: day, week (from Monday), month, year or decade."""

    unit: str
    spans: tuple[Span, ...]


def time_line(days: Iterable[tuple[str, int]], limit: int) -> Spans:
    """Return all days from the first to the last, those without entries too, in spans of equal kind.

    days: ISO dates in order, each with a count, as in `Counts.days`. limit: spans are days where these are not more,
    otherwise weeks, months or years; decades where even the years are more, at most 60.
    """
    counts = {date.fromisoformat(day): number for day, number in days}
    if not counts:
        return Spans("day", ())
    unit = next(unit for unit in UNITS if unit == UNITS[-1] or len(_firsts(unit, counts, limit)) <= limit)
    totals = dict.fromkeys(_firsts(unit, counts, max(limit, MAX_DECADES)), 0)
    for day, number in counts.items():
        totals[_first_of(unit, day)] += number
    return Spans(unit, tuple(Span(first, _name_of(unit, first), number) for first, number in totals.items()))


def _firsts(unit: str, counts: Iterable[date], limit: int) -> list[date]:
    """Return the first days of the spans from one day to another; of more than `limit`, the first limit + 1."""
    last = max(counts)
    found = [_first_of(unit, min(counts))]
    while len(found) <= limit:
        following = _first_of(unit, found[-1] + timedelta(days=_STEPS[unit]))
        if following > last:
            break
        found.append(following)
    return found


def _first_of(unit: str, day: date) -> date:
    if unit == "week":
        return day - timedelta(days=day.weekday())
    if unit == "month":
        return day.replace(day=1)
    if unit == "year":
        return day.replace(month=1, day=1)
    if unit == "decade":
        return day.replace(year=day.year - day.year % 10, month=1, day=1)
    return day


def _name_of(unit: str, first: date) -> str:
    text = first.isoformat()
    return {"week": f"week of {text}", "month": text[:7], "year": text[:4], "decade": f"{text[:4]}s"}.get(unit, text)


def _files(directory: Path) -> Iterator[tuple[str, int]]:
    """Yield name and bytes of each file below a directory; none where it does not exist. Links are not followed."""
    waiting = [str(directory)]
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(path) as items:
                for item in items:
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(item.path)
                        continue
                    with contextlib.suppress(FileNotFoundError):  # a partial tile that was replaced a moment ago
                        yield item.name, item.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
        except OSError as err:
            raise StorageError(f"{path}: {err.strerror}") from err


def _written_at(path: Path) -> float | None:
    """Return when a file was written, in POSIX seconds, None where there is none."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return None
    except OSError as err:
        raise StorageError(f"{path}: {err.strerror}") from err
