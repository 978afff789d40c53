"""Many threads that append to one partition, each waiting until its entries are durable."""

from __future__ import annotations

import collections
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

import tlog
from bench.events import cycled
from bench.harness import Bar, Bench, Row, Sample, latencies, percentile
from bench.ledgers import ORIGIN, PARTITION

NAME = "Threads"

THREADS = (1, 8, 64, 500)
JUDGED = 64
"""The number of threads that the bars are for."""

WINDOW = 16
"""Entries that a thread has on their way with `submit` before it waits for the oldest."""

HANDLER_RATE = 7400.0
"""Messages a second that a hash-chained logging handler with 500 threads publishes as its figure."""

MAX_P99_MS = 20.0
BARS = {"submit": 150_000.0, "append": 40_000.0}

Worker = Callable[[Iterator[Any], float, list[float]], None]
"""Appends events until a time, and notes how long each took from the call to durable, in seconds."""


def run(bench: Bench) -> Iterator[Row]:
    """Measure both ways with each number of threads."""
    for way, threads in itertools.product(("submit", "append"), THREADS):
        taken: dict[str, list[float]] = {"ours": [], "naive": []}
        sample = bench.alternate(
            {
                "ours": partial(_ours, bench, way, threads, taken["ours"]),
                "naive": partial(_naive, bench, threads, taken["naive"]),
            }
        )
        text = f"`{way}`" if way == "append" else f"`submit`, {WINDOW} on their way a thread"
        what = f"{text}, {threads} thread{'s' if threads > 1 else ''}"
        bars = (Bar("value", "≥", BARS[way]),) if threads == JUDGED else ()
        detail = f"{latencies(taken['ours'])}; reference {latencies(taken['naive'])}"
        yield Row(NAME, what, "/s", sample["ours"], "one fsync an entry", sample["naive"], bars, detail)
        if threads == JUDGED:
            p99 = Sample((percentile(taken["ours"], 0.99) * 1e3,))
            theirs = Sample((percentile(taken["naive"], 0.99) * 1e3,))
            bars = (Bar("value", "≤", MAX_P99_MS),)
            yield Row(NAME, f"{what}: p99 latency", " ms", p99, "one fsync an entry", theirs, bars)
        if threads == max(THREADS) and way == "append":
            published = Sample((HANDLER_RATE,))
            yield Row(NAME, what, "/s", sample["ours"], "a hash-chained handler, as published", published)


def _ours(bench: Bench, way: str, threads: int, taken: list[float]) -> float:
    with bench.scratch() as path, tlog.Ledger.create(path / "ledger", origin=ORIGIN) as ledger:
        partition = ledger.partition(PARTITION)
        partition.append(bench.pool[0])
        worker = _appender(partition) if way == "append" else _submitter(partition)
        done, rate = _in_threads(bench, worker, threads, taken)
        if partition.size != done + 1:
            raise AssertionError(f"{done + 1} receipts, {partition.size} entries")
        return rate


def _appender(partition: tlog.Partition) -> Worker:
    def work(source: Iterator[Any], until: float, taken: list[float]) -> None:
        clock, append = time.perf_counter, partition.append
        start = clock()
        while start < until:
            append(next(source))
            now = clock()
            taken.append(now - start)
            start = now

    return work


def _submitter(partition: tlog.Partition) -> Worker:
    def work(source: Iterator[Any], until: float, taken: list[float]) -> None:
        clock, submit = time.perf_counter, partition.submit
        waiting: collections.deque[tuple[float, tlog.PendingReceipt]] = collections.deque()
        while waiting or clock() < until:
            while len(waiting) < WINDOW and (now := clock()) < until:
                waiting.append((now, submit(next(source))))
            start, receipt = waiting.popleft()
            receipt.result()
            taken.append(clock() - start)

    return work


def _naive(bench: Bench, threads: int, taken: list[float]) -> float:
    """Return how many entries a second are chained and written when each has a sync of its own."""
    with bench.scratch() as path:
        log = _NaiveLog(path / "log.jsonl")
        try:
            return _in_threads(bench, log.work, threads, taken)[1]
        finally:
            log.close()


class _NaiveLog:
    """A hash-chained log with a lock, which syncs after every entry."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        self._mutex = threading.Lock()
        self._last = b""

    def work(self, source: Iterator[Any], until: float, taken: list[float]) -> None:
        clock = time.perf_counter
        start = clock()
        while start < until:
            text = orjson.dumps(next(source))
            with self._mutex:
                self._last = sha256(self._last + text).hexdigest().encode()
                os.write(self._fd, b'%b,"hash":"%b"\n' % (text, self._last))
                os.fdatasync(self._fd)
            now = clock()
            taken.append(now - start)
            start = now

    def close(self) -> None:
        os.close(self._fd)


def _in_threads(bench: Bench, worker: Worker, threads: int, taken: list[float]) -> tuple[int, float]:
    """Return how many entries all threads got done together, and how many that is a second.

    taken: gets what each entry took.
    """
    begin = threading.Barrier(threads + 1)

    def body(number: int) -> tuple[list[float], float]:
        mine: list[float] = []
        source = cycled(bench.pool, 1 << 62, number * 37)
        next(source)
        begin.wait()
        worker(source, time.perf_counter() + bench.scale.seconds, mine)
        return mine, time.perf_counter()

    with ThreadPoolExecutor(threads) as pool:
        workers = [pool.submit(body, number) for number in range(threads)]
        begin.wait()
        start = time.perf_counter()
        results = [thread.result() for thread in workers]
    done = sum(len(mine) for mine, _ in results)
    taken.extend(itertools.chain.from_iterable(mine for mine, _ in results))
    return done, done / (max(end for _, end in results) - start)
