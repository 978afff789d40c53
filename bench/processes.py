"""Four processes that append to one partition at once, against one that does the same."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Literal

import tlog
from bench.events import cycled, pool
from bench.harness import Bar, Bench, Row, Side
from bench.ledgers import ORIGIN, PARTITION

NAME = "Processes"

PROCESSES = 4
THREADS = 16
"""Threads of each process, for blocking appends."""

APPEND_SHARE = 0.25
"""Blocking appends, as a share of the entries that are appended in bulk: they take longer."""

TIMEOUT_S = 600.0

Way = Literal["append_many", "append"]
WAYS: tuple[Way, ...] = ("append_many", "append")


def run(bench: Bench) -> Iterator[Row]:
    """Measure both ways; the same number of entries in sum, whatever the number of processes."""
    for way in WAYS:
        count = int(bench.scale.processes * (APPEND_SHARE if way == "append" else 1))
        sides: dict[str, Side] = {
            f"{processes} processes": partial(_rate, bench, way, count, processes) for processes in (PROCESSES, 1)
        }
        sample = bench.alternate(sides)
        what = f"`{way}`, {THREADS} threads each" if way == "append" else f"`{way}`"
        yield Row(
            NAME,
            f"{PROCESSES} processes, {what}, {count:,} entries in sum",
            "/s",
            sample[f"{PROCESSES} processes"],
            "1 process",
            sample["1 processes"],
            (Bar("ratio", "≥", 1.0),),
        )


def _rate(bench: Bench, way: Way, count: int, processes: int) -> float:
    """Return how many entries a second the processes append together, from the first start to the last end."""
    context = multiprocessing.get_context("spawn")
    begin, times = context.Barrier(processes), context.SimpleQueue()
    share = count // processes
    with bench.scratch() as path:
        with tlog.Ledger.create(path / "ledger", origin=ORIGIN) as ledger:
            ledger.partition(PARTITION).create()
        started = [
            context.Process(target=_work, args=(path / "ledger", way, share, begin, times)) for _ in range(processes)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(TIMEOUT_S)
            if process.exitcode != 0:
                raise AssertionError(f"an appending process ended with status {process.exitcode}")
        spans: list[tuple[float, float]] = [times.get() for _ in started]
        with tlog.Ledger.open(path / "ledger") as ledger:
            size = ledger.partition(PARTITION).size
    # Each process has opened the partition with one entry before the clock started.
    if size != (share + 1) * processes:
        raise AssertionError(f"{size} entries are there, not {(share + 1) * processes}")
    return share * processes / (max(end for _, end in spans) - min(start for start, _ in spans))


def _work(path: Path, way: Way, count: int, begin: Barrier, times: SimpleQueue[tuple[float, float]]) -> None:
    """Append `count` entries and tell when it began and ended. The body of a process."""
    events = pool()
    with tlog.Ledger.open(path) as ledger:
        partition = ledger.partition(PARTITION)
        partition.append(events[0])
        begin.wait(TIMEOUT_S)
        # The monotonic clock is one for all processes of the machine.
        start = time.monotonic()
        if way == "append_many":
            partition.append_many(cycled(events, count))
        else:
            with ThreadPoolExecutor(THREADS) as threads:
                for _ in threads.map(partition.append, cycled(events, count)):
                    pass
        times.put((start, time.monotonic()))
