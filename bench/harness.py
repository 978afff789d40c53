"""How things are measured: us and the references alternately in one run, medians, ratios, and what was asked for."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tlog
from bench import events
from bench.go_programs import GoPrograms
from bench.ledgers import ORIGIN, PARTITION, Ledgers

Side = Callable[[], float]
"""Measures one side once and returns the figure: entries a second, milliseconds, bytes."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. Counts are entries; seconds are those of one measurement; rounds is 3 or more."""

    name: Literal["quick", "bench", "full"]
    rounds: int
    bulk: int
    seconds: float
    processes: int
    sizes: tuple[int, ...]
    sealed: int

    @property
    def largest(self) -> int:
        """The largest ledger."""
        return self.sizes[-1]


SEGMENT = 1 << 16
QUICK = Scale("quick", 3, 20_000, 0.3, 40_000, (10_000, 80_000), SEGMENT)
BENCH = Scale("bench", 3, 400_000, 2.0, 200_000, (100_000, 1_000_000), 4 * SEGMENT)
FULL = Scale("full", 5, 1_000_000, 5.0, 500_000, (100_000, 1_000_000, 10_000_000), 16 * SEGMENT)


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one side, one a round."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure that is reported."""
        return statistics.median(self.runs)

    @property
    def spread(self) -> float:
        """Half of the distance between the smallest and the largest figure, as a share of the median."""
        return (max(self.runs) - min(self.runs)) / 2 / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Bar:
    """What was asked for: our figure, or its ratio to the reference's, is at least or at most `limit`."""

    on: Literal["value", "ratio"]
    sign: Literal["≥", "≤", ">"]
    limit: float

    def is_met(self, figure: float) -> bool:
        """Whether a value or a ratio passes."""
        return {"≥": figure >= self.limit, "≤": figure <= self.limit, ">": figure > self.limit}[self.sign]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    unit: what stands behind our figure, and the reference's. reference: its name, or why there is none. bars: empty
    where nothing was asked for. detail: further figures.
    """

    group: str
    what: str
    unit: str
    ours: Sample
    reference: str = ""
    theirs: Sample | None = None
    bars: tuple[Bar, ...] = ()
    detail: str = ""

    @property
    def ratio(self) -> float | None:
        """Our figure divided by the reference's."""
        return None if self.theirs is None or not self.theirs.median else self.ours.median / self.theirs.median

    @property
    def verdicts(self) -> tuple[str, ...]:
        """For each bar: pass, miss, or not judged, where the reference is missing."""
        figures = [self.ours.median if bar.on == "value" else self.ratio for bar in self.bars]
        return tuple(
            "not judged" if figure is None else "pass" if bar.is_met(figure) else "miss"
            for bar, figure in zip(self.bars, figures, strict=True)
        )


@dataclass(slots=True)
class Bench:
    """What the groups of rows share.

    work: a directory on the disk that is measured, emptied at the end. pool: the events that are appended. event_size:
    the mean size of their JSON in bytes. overhead: bytes that a line of ours has besides, newline included.
    """

    scale: Scale
    work: Path
    go: GoPrograms
    pool: list[dict[str, Any]] = field(default_factory=events.pool)
    ledgers: Ledgers = field(init=False)
    event_size: float = field(init=False)
    overhead: int = field(init=False)

    def __post_init__(self) -> None:
        self.ledgers = Ledgers(self.work / "ledgers", self.say)
        self.event_size = events.mean_size(self.pool)
        self.overhead = line_overhead(self.work, self.pool[0])
        # The test data is ours: the collector shall not look through it while somebody is measured.
        gc.collect()
        gc.freeze()

    def say(self, text: str) -> None:
        """Tell whoever waits what is being done."""
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def alternate(self, sides: Mapping[str, Side]) -> dict[str, Sample]:
        """Measure each side once a round, forwards and backwards in turn, and return the figures of each."""
        runs: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(self.scale.rounds):
            for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
                settle()
                runs[name].append(sides[name]())
        for name, figures in runs.items():
            self.say(f"    {name}: {', '.join(f'{figure:,.4g}' for figure in figures)}")
        return {name: Sample(tuple(figures)) for name, figures in runs.items()}

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make an empty directory for a `with` block.

        It is removed when everything is measured: ext4 creates files several times slower for minutes after many were
        removed, because it passes over their inodes one by one.
        """
        yield Path(tempfile.mkdtemp(prefix="scratch-", dir=self.work))


def line_overhead(work: Path, data: Any) -> int:
    """Return how many bytes the line of an event has more than its JSON, for a seq of six digits."""
    with tlog.Ledger.create(work / "one", origin=ORIGIN) as ledger:
        partition = ledger.partition(PARTITION)
        line = partition.entry(partition.append(data).seq).raw + b"\n"
    shutil.rmtree(work / "one")
    return len(line) + 5 - round(events.mean_size([data]))


def settle() -> None:
    """Let nobody pay for what was left behind: neither garbage nor dirty pages."""
    gc.collect()
    os.sync()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of them lies. values: not empty."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def latencies(seconds: Sequence[float]) -> str:
    """Say the median, the 99th percentile and the largest of some times, in milliseconds."""
    figures = {"p50": percentile(seconds, 0.5), "p99": percentile(seconds, 0.99), "max": max(seconds)}
    return (
        ", ".join(f"{name} {value * 1e3:{'.3g' if value < 0.1 else '.0f'}}" for name, value in figures.items()) + " ms"
    )
