"""The most memory that a process needs, at two sizes: it shall not grow with the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bench.harness import Bar, Bench, Row, Sample
from bench.ledgers import Built, child

NAME = "Peak memory"

MAX_MB = 150.0
MAX_GROWTH = 1.25
"""What counts as flat, for ten times as many entries."""

FILLED = 1_000_000
"""Entries from which on all buffers are full; what smaller ledgers need says nothing about growth."""


def run(bench: Bench) -> Iterator[Row]:
    """Measure append, verify and export, each in a process of its own, once: memory varies little."""
    small, large = (bench.ledgers.plain(size) for size in bench.scale.sizes[-2:])
    actions: dict[str, Callable[[Built], dict[str, Any]]] = {
        "append": lambda built: built.report,
        "verify": lambda built: child("verify", str(built.path)),
        "export": lambda built: _export(bench, built),
    }
    bars: tuple[Bar, ...] = (Bar("value", "≤", MAX_MB),)
    if small.size >= FILLED:
        bars += (Bar("ratio", "≤", MAX_GROWTH),)
    for verb, measure in actions.items():
        bench.say(f"  memory of {verb}")
        reports = [measure(built) for built in (small, large)]
        before, after = (Sample((_megabytes(report),)) for report in reports)
        detail = f"largest worker {reports[1]['worker_peak'] / 1e6:.0f} MB" if reports[1]["worker_peak"] else ""
        what = f"`{verb}`, {large.size:,} entries"
        yield Row(NAME, what, " MB", after, f"at {small.size:,} entries", before, bars, detail)


def _megabytes(report: dict[str, Any]) -> float:
    """Return what the largest process needed, be it the one that was called or a worker of its."""
    return float(max(report["peak"], report["worker_peak"]) / 1e6)


def _export(bench: Bench, built: Built) -> dict[str, Any]:
    with bench.scratch() as path:
        return child("export", str(built.path), str(path / "site"))
