"""The full audit of a partition, against bare hashing of the same bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import tlog
from bench.harness import Bar, Bench, Row
from bench.ledgers import PARTITION

NAME = "Verify"

SAMPLE = 1 << 13
PASSES = 16
"""Entries of which the references hash the bytes, and how often: few enough for the processor's cache."""

TAIL = len(',"hash":""}') + 64
"""What of a line is not part of what its chain hash covers."""

READ_SIZE = 1 << 20


def run(bench: Bench) -> Iterator[Row]:
    """Measure all three alternately."""
    built = bench.ledgers.plain(bench.scale.largest)
    lines = _lines(built.path)
    sample = bench.alternate(
        {
            "ours": lambda: _verify(built.path),
            "three hashes": lambda: _three_hashes(lines),
            "one stream": lambda: _one_stream(lines),
        }
    )
    what = f"`verify`, {built.size:,} entries, {len(os.sched_getaffinity(0))} cores"
    ours, bars = sample["ours"], (Bar("value", "≥", 1_000_000),)
    detail = "chain, leaves and nodes, the bytes in memory"
    yield Row(NAME, what, "/s", ours, "SHA-256 alone, one core", sample["three hashes"], bars, detail)
    yield Row(NAME, what, "/s", ours, "SHA-256, one pass", sample["one stream"], (), "the segments as one stream")


def _verify(path: Path) -> float:
    """Return how many entries a second we verify."""
    with tlog.Ledger.open(path) as ledger:
        start = time.perf_counter()
        report = ledger.partition(PARTITION).verify()
        return report.entries / (time.perf_counter() - start)


def _three_hashes(lines: list[bytes]) -> float:
    """Return of how many entries a second one core hashes what has to be hashed: body, leaf and a node."""
    leaves = [(line[:-TAIL], b"\0" + line) for line in lines]
    sha, node = sha256, bytes(65)
    start = time.perf_counter()
    for _ in range(PASSES):
        for body, leaf in leaves:
            sha(body).digest()
            sha(leaf).digest()
            sha(node).digest()
    return PASSES * len(lines) / (time.perf_counter() - start)


def _one_stream(lines: list[bytes]) -> float:
    """Return of how many entries a second one core hashes the bytes once, in one stream."""
    data = memoryview(b"\n".join(lines))
    start = time.perf_counter()
    digest = sha256()
    for _ in range(PASSES):
        for offset in range(0, len(data), READ_SIZE):
            digest.update(data[offset : offset + READ_SIZE])
    digest.digest()
    return PASSES * len(lines) / (time.perf_counter() - start)


def _lines(path: Path) -> list[bytes]:
    """Return the first entries' lines."""
    with tlog.Ledger.open(path) as ledger:
        return [entry.raw for entry in ledger.partition(PARTITION).entries(0, SAMPLE)]
