"""The handler for `logging`, in the background and synchronous, beside the standard library's FileHandler."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import tlog
from bench.harness import Bench, Row
from bench.ledgers import ORIGIN, PARTITION

NAME = "Logging handler"

THREADS = (1, 8, 500)

WAYS = {"in the background, durable at the end": False, "synchronous, each durable on return": True}

Handler = Callable[[Path], logging.Handler]


def run(bench: Bench) -> Iterator[Row]:
    """Measure both ways with each number of threads, until the last message is where the handler wants it."""
    for (way, synchronous), threads in itertools.product(WAYS.items(), THREADS):
        count = max(int(bench.scale.seconds * (3000 if synchronous else 8000)) // threads, 2)
        sample = bench.alternate(
            {
                "ours": partial(_measure, bench, threads, count, partial(_ours, synchronous)),
                "file": partial(_measure, bench, threads, count, _file),
            }
        )
        what = f"{way}, {threads} thread{'s' if threads > 1 else ''}"
        detail = f"{threads * count:,} messages a run"
        yield Row(NAME, what, "/s", sample["ours"], "`FileHandler`, never synced", sample["file"], (), detail)


def _ours(synchronous: bool, directory: Path) -> logging.Handler:
    return tlog.TlogHandler(directory / "ledger", PARTITION, origin=ORIGIN, synchronous=synchronous)


def _file(directory: Path) -> logging.Handler:
    handler = logging.FileHandler(directory / "file.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(threadName)s %(message)s"))
    return handler


def _measure(bench: Bench, threads: int, count: int, make: Handler) -> float:
    """Return messages a second, of all threads together."""
    with bench.scratch() as directory:
        handler = make(directory)
        log = logging.getLogger("bench.handler")
        log.setLevel(logging.INFO)
        log.propagate = False
        log.addHandler(handler)
        log.info("first")
        handler.flush()
        begin = threading.Barrier(threads + 1)

        def work(thread: int) -> None:
            actor = {"actor": f"user-{thread}", "action": "bench.message"}
            begin.wait()
            for number in range(count):
                log.info("message %d of %d", number, thread, extra=actor)

        with ThreadPoolExecutor(threads) as pool:
            for thread in range(threads):
                pool.submit(work, thread)
            begin.wait()
            start = time.perf_counter()
        handler.flush()
        taken = time.perf_counter() - start
        log.removeHandler(handler)
        handler.close()
        _require_all(directory, threads * count + 1)
    return threads * count / taken


def _require_all(directory: Path, count: int) -> None:
    """Whoever loses messages is not fast."""
    if (directory / "ledger").exists():
        with tlog.Ledger.open(directory / "ledger") as ledger:
            found = ledger.partition(PARTITION).size
        if found != count:
            raise AssertionError(f"{count} messages, {found} entries")
