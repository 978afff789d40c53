"""Bulk append, durable and published at the end, in one process: us and the floor."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import orjson

import tlog
from bench.events import cycled
from bench.harness import Bar, Bench, Row
from bench.ledgers import ORIGIN, PARTITION
from tlog.writer import BULK_ENTRIES

NAME = "Bulk append, durable and published"

STEP = 256
"""Events that the floor encodes and hashes together, few enough to stay in the processor's cache."""

NODE = bytes(65)
"""What an interior node of the tree hashes."""


def run(bench: Bench) -> Iterator[Row]:
    """Measure both alternately."""
    count = bench.scale.bulk
    sample = bench.alternate({"ours": lambda: ours(bench, count), "floor": lambda: floor(bench, count)})
    yield Row(
        NAME,
        f"`append_many`, then `publish`, {count:,} entries",
        "/s",
        sample["ours"],
        "the floor",
        sample["floor"],
        (Bar("ratio", "≥", 0.6), Bar("value", ">", 300_000)),
        f"floor: JSON, three hashes, one fsync each {BULK_ENTRIES:,} entries",
    )


def ours(bench: Bench, count: int) -> float:
    """Return how many entries a second we append and publish."""
    with bench.scratch() as path, tlog.Ledger.create(path / "ledger", origin=ORIGIN) as ledger:
        partition = ledger.partition(PARTITION)
        partition.create()
        start = time.perf_counter()
        receipt = partition.append_many(cycled(bench.pool, count))
        checkpoint = partition.publish()
        elapsed = time.perf_counter() - start
    if receipt.count != count or checkpoint.tree_size != count:
        raise AssertionError(f"{count} entries were appended, {checkpoint.tree_size} are published")
    return count / elapsed


def floor(bench: Bench, count: int) -> float:
    """Return how many entries a second can be encoded, hashed and written when nothing else is done.

    The same number of bytes as our lines, one SHA-256 over them for the chain, one for the leaf, one over a node;
    groups as large as ours, each written and synced by a second thread while the next is made, as ours are.
    """
    head = bytes(bench.overhead)
    with bench.scratch() as path:
        fd = os.open(path / "floor.jsonl", os.O_WRONLY | os.O_CREAT)
        with ThreadPoolExecutor(1) as writer:
            source = cycled(bench.pool, count)
            pending: Future[None] | None = None
            start = time.perf_counter()
            while lines := _group(head, source):
                if pending is not None:
                    pending.result()
                pending = writer.submit(_write, fd, lines)
            if pending is not None:
                pending.result()
            elapsed = time.perf_counter() - start
        os.close(fd)
    return count / elapsed


def _group(head: bytes, source: Iterator[dict[str, Any]]) -> list[bytes]:
    """Return the next group's lines, encoded and hashed."""
    dumps, sha, node = orjson.dumps, sha256, NODE
    group: list[bytes] = []
    while len(group) < BULK_ENTRIES:
        lines = [head + dumps(data) for data in itertools.islice(source, STEP)]
        if not lines:
            break
        for line in lines:
            sha(line).digest()
            sha(line).digest()
            sha(node).digest()
        group += lines
    return group


def _write(fd: int, lines: list[bytes]) -> None:
    data = memoryview(b"".join(lines))
    while data:
        data = data[os.write(fd, data) :]
    os.fdatasync(fd)
