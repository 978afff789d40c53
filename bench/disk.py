"""Bytes on disk: what an entry costs beyond its event, and what sealing saves."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import zstandard

from bench.events import events
from bench.events import mean_size as mean_event_size
from bench.harness import Bar, Bench, Row, Sample
from bench.ledgers import PARTITION

NAME = "Disk"

GZIP_LEVEL = 6
GZIP_WINDOW = 31
"""zlib's way to ask for the gzip format."""

READ_SIZE = 1 << 20
MEASURED_EVENTS = 16_384


def run(bench: Bench) -> Iterator[Row]:
    """Weigh a sealed ledger, what its segments were before, and what gzip makes of them."""
    built = bench.ledgers.sealed(bench.scale.sealed)
    root = built.path / "partitions" / PARTITION
    count = built.size
    compressed = sorted((root / "segments").glob("*.zst"))
    plain = zipped = 0
    for path in compressed:
        size, packed = _gzip(_unpacked(path))
        plain, zipped = plain + size, zipped + packed
    sealed = sum(path.stat().st_size for path in (root / "segments").iterdir())
    tiles = sum(path.stat().st_size for path in (root / "tile").rglob("*") if path.is_file())
    event = mean_event_size(list(events(0, min(count, MEASURED_EVENTS))))
    plain_entry, sealed_entry, tile_entry = plain / count, sealed / count, tiles / count
    yield _row(
        "plain segment and tiles, beyond the event's JSON",
        plain_entry + tile_entry - event,
        detail=f"event {event:.0f}, line {plain_entry:.0f}, tiles {tile_entry:.1f} bytes an entry",
    )
    yield _row("plain segment", plain_entry, "the event's JSON", event)
    yield _row(
        "compressed segment with its manifest",
        sealed_entry,
        "gzip -6 of the same JSONL",
        zipped / count,
        bars=(Bar("ratio", "≤", 1.0),),
        detail=f"{plain / sealed:.2f} times smaller than plain; gzip {plain / zipped:.2f} times, only as a whole",
    )


def _row(what: str, ours: float, reference: str = "", theirs: float | None = None, **fields: Any) -> Row:
    sample = None if theirs is None else Sample((theirs,))
    return Row(NAME, what, " bytes", Sample((ours,)), reference, sample, **fields)


def _unpacked(path: Path) -> Iterator[bytes]:
    """Yield the bytes that a compressed segment holds."""
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        while part := reader.read(READ_SIZE):
            yield part


def _gzip(parts: Iterable[bytes]) -> tuple[int, int]:
    """Return the size of the bytes, and of what gzip makes of them."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW)
    plain = packed = 0
    for part in parts:
        plain, packed = plain + len(part), packed + len(packer.compress(part))
    return plain, packed + len(packer.flush())
