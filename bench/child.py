"""What is measured in a process of its own, for its memory or because the process must be new.

    python -m bench.child build PATH SIZE [--seal]      append, publish
    python -m bench.child verify PATH
    python -m bench.child export PATH DIRECTORY
    python -m bench.child open PATH                     open, append one entry

Prints a report as one line of JSON: `seconds`; `peak`, bytes of memory that the process needed at most; `worker_peak`,
the same of its largest child process, 0 where it had none.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable

import tlog
from bench.events import event, events
from bench.ledgers import ORIGIN, PARTITION
from bench.rss import peak, worker_peak


def build(path: str, size: str, seal: str = "") -> Callable[[], None]:
    """Create a ledger and fill one partition."""

    def action() -> None:
        with tlog.Ledger.create(path, origin=ORIGIN) as ledger:
            partition = ledger.partition(PARTITION)
            partition.append_many(events(0, int(size)))
            partition.publish()
            if seal:
                partition.seal()

    return action


def verify(path: str) -> Callable[[], None]:
    """Verify the partition."""
    partition = tlog.Ledger.open(path).partition(PARTITION)
    return lambda: void(partition.verify())


def export(path: str, directory: str) -> Callable[[], None]:
    """Export the partition."""
    partition = tlog.Ledger.open(path).partition(PARTITION)
    return lambda: void(partition.export(directory))


def open_and_append(path: str) -> Callable[[], None]:
    """Open the ledger and append one durable entry. What the library imports on the way counts."""
    data = event(0)
    open_ledger = tlog.Ledger.open
    return lambda: void(open_ledger(path).partition(PARTITION).append(data))


def void(_: object) -> None:
    """Drop a result."""


ACTIONS: dict[str, Callable[..., Callable[[], None]]] = {
    "build": build,
    "verify": verify,
    "export": export,
    "open": open_and_append,
}


def main() -> None:
    """Do what the command line says and print the report."""
    logging.disable(logging.WARNING)  # that a torn line was removed is what `open` is about
    action = ACTIONS[sys.argv[1]](*sys.argv[2:])
    start = time.perf_counter()
    action()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak": peak(), "worker_peak": worker_peak()}))


if __name__ == "__main__":
    main()
