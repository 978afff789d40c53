"""How a partition grew, for a picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tlog._strict import require_int
from tlog.partition import Partition

MAX_POINTS = 1000


class Point(NamedTuple):
    """size: entries that the log had at a time. ts: the time, by the log's clock, ISO 8601."""

    size: int
    ts: str


def growth(partition: Partition, points: int = 49) -> tuple[Point, ...]:
    """Return sizes that are spread evenly from 1 to that of now, with the time at which the log had reached each.

    points: at most so many, 2 to 1,000. Raises: NotFoundError, FormatError, CorruptLedgerError. Cost: an entry a point.
    """
    require_int(points, "points", 2, MAX_POINTS)
    size = partition.size
    sizes: Sequence[int] = sorted({1 + (size - 1) * step // (points - 1) for step in range(points)}) if size else ()
    return tuple(Point(number, partition.entry(number - 1).ts) for number in sizes)
