"""Single entries, read at random."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import tlog
from bench.harness import Bar, Bench, Row, latencies
from bench.ledgers import PARTITION, Built

NAME = "Random entries"


def run(bench: Bench) -> Iterator[Row]:
    """Measure plain and compressed segments alternately."""
    plain, sealed = bench.ledgers.plain(bench.scale.largest), bench.ledgers.sealed(bench.scale.sealed)
    taken: dict[str, list[float]] = {"plain": [], "compressed": []}
    sample = bench.alternate(
        {
            "plain": lambda: _rate(bench, plain, taken["plain"]),
            "compressed": lambda: _rate(bench, sealed, taken["compressed"]),
        }
    )
    for kind, built, limit in (("plain", plain, 50_000), ("compressed", sealed, 5000)):
        what = f"`entry`, {kind} segments, {built.size:,} entries"
        bars = (Bar("value", "≥", limit),)
        yield Row(NAME, what, "/s", sample[kind], bars=bars, detail=latencies(taken[kind]))


def _rate(bench: Bench, built: Built, taken: list[float]) -> float:
    chosen = random.Random(len(taken))
    mine: list[float] = []
    with tlog.Ledger.open(built.path) as ledger:
        entry = ledger.partition(PARTITION).entry
        begin = start = time.perf_counter()
        while start - begin < bench.scale.seconds:
            entry(chosen.randrange(built.size))
            now = time.perf_counter()
            mine.append(now - start)
            start = now
    taken.extend(mine)
    return len(mine) / (start - begin)
