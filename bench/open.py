"""From opening a ledger in a new process to the first durable entry, after an orderly end and after a torn write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.harness import SEGMENT, Bar, Bench, Row
from bench.ledgers import PARTITION, child

NAME = "Open and recover"

MAX_MS = 100.0

TORN = b'{"seq":'
"""What a process leaves that died in the middle of a write."""

FULLEST = 2 * SEGMENT - 100
"""A size at which recovery has most to read: the last segment lacks a hundred entries."""


def run(bench: Bench) -> Iterator[Row]:
    """Measure each size; the reference is the smallest, since the time shall not grow with the log."""
    bars = (Bar("value", "≤", MAX_MS),)
    sizes = (*bench.scale.sizes, FULLEST)
    for verb, prepare in (("open", None), ("recover", _tear)):
        sides: dict[str, Callable[[], float]] = {f"{size:,}": partial(_measure, bench, size, prepare) for size in sizes}
        sample = bench.alternate(sides)
        first = f"{sizes[0]:,}"
        for size in sizes:
            name = f"{size:,}"
            what = f"{verb} at {name} entries" + (", the last segment all but full" if size == FULLEST else "")
            reference = "" if name == first else f"at {first} entries"
            theirs = None if name == first else sample[first]
            yield Row(NAME, what, " ms", sample[name], reference, theirs, bars)


def _measure(bench: Bench, size: int, prepare: Callable[[Path], None] | None) -> float:
    """Return the milliseconds that it takes."""
    built = bench.ledgers.plain(size)
    if prepare is not None:
        prepare(built.path)
    return float(child("open", str(built.path))["seconds"] * 1e3)


def _tear(path: Path) -> None:
    """Leave the beginning of a line at the end of the last segment."""
    last = max((path / "partitions" / PARTITION / "segments").iterdir())
    with last.open("ab") as file:
        file.write(TORN)
