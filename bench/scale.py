"""The long run: one partition of 10^8 small events, sampled every 10^6.

    python -m bench.scale [--entries N] [--work DIR] [--csv FILE] [--keep]

Appends a million events, publishes, and writes one line: rate, memory, latency of random proofs. A run that was
interrupted goes on where it stopped when it is started with the same `--work`. At the end everything is verified, the
ledger is deleted (unless `--keep`) and a line of JSON tells the totals. 10^8 entries need about 30 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import tlog
from bench.harness import percentile
from bench.ledgers import ORIGIN, ROOT
from bench.rss import resident, worker_resident

PARTITION = "s"

STEP = 1_000_000
PROOFS = 500
"""Random proofs of a sample, after a tenth as many that are not counted."""

ENTRY_BYTES = 310
"""What an entry takes on the disk at most: its line, its tiles, and the blocks that both do not fill."""

MAX_BYTES = 40 * 10**9
RESERVE = 5 * 10**9
"""What a run may take of the disk, and what it leaves free."""

FIELDS = ("entries", "rate", "append_s", "publish_s", "rss_mb", "worker_mb", "proof_p50_ms", "proof_p99_ms")


def main() -> None:
    """Run, or go on with a run."""
    arguments = _parser().parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    ledger_path: Path = arguments.work / "scale-ledger"
    is_new = not ledger_path.exists()
    _check(arguments, ledger_path, is_new=is_new)
    with (
        tlog.Ledger.create(ledger_path, origin=ORIGIN) if is_new else tlog.Ledger.open(ledger_path) as ledger,
        arguments.csv.open("w" if is_new else "a", encoding="utf-8", newline="") as file,
    ):
        partition = ledger.partition(PARTITION)
        writer = csv.DictWriter(file, FIELDS)
        if is_new:
            writer.writeheader()
            partition.create()
        else:
            partition.publish()
        _fill(partition, arguments.entries, writer, file)
        start = time.perf_counter()
        report = partition.verify()
        seconds = time.perf_counter() - start
    total = {"entries": report.entries, "verify_s": seconds, "verify_rate": report.entries / seconds}
    print(json.dumps(total | {"disk_gb": _disk_bytes(ledger_path) / 1e9}))
    if not arguments.keep:
        shutil.rmtree(ledger_path)


def small_events(start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Yield small events, about 50 bytes of JSON each."""
    return ({"user": f"u{number * 7919 % 100_003}", "action": "read", "n": number} for number in range(start, stop))


def _fill(partition: tlog.Partition, entries: int, writer: csv.DictWriter[str], file: IO[str]) -> None:
    """Append up to so many entries, step by step, and write down a sample of each."""
    size = partition.size
    while size < entries:
        sample = _grow(partition, size, min(size - size % STEP + STEP, entries))
        size = sample["entries"]
        writer.writerow({name: round(value, 4) for name, value in sample.items()})
        file.flush()
        print(" ".join(f"{name} {value:,.6g}" for name, value in sample.items()), file=sys.stderr)


def _grow(partition: tlog.Partition, size: int, target: int) -> dict[str, Any]:
    """Append and publish up to `target` entries; return one sample."""
    start = time.perf_counter()
    partition.append_many(small_events(size, target))
    appended = time.perf_counter()
    checkpoint = partition.publish()
    published = time.perf_counter()
    if checkpoint.tree_size != target:
        raise AssertionError(f"{checkpoint.tree_size} entries are published, not {target}: somebody else appends")
    taken = _proof_latencies(partition, target)
    return {
        "entries": target,
        "rate": (target - size) / (published - start),
        "append_s": appended - start,
        "publish_s": published - appended,
        "rss_mb": resident() / 1e6,
        "worker_mb": worker_resident() / 1e6,
        "proof_p50_ms": percentile(taken, 0.5) * 1e3,
        "proof_p99_ms": percentile(taken, 0.99) * 1e3,
    }


def _proof_latencies(partition: tlog.Partition, size: int) -> list[float]:
    """Return how long random proofs took, in seconds."""
    chosen = random.Random(size)
    taken = []
    for _ in range(PROOFS + PROOFS // 10):
        seq = chosen.randrange(size)
        start = time.perf_counter()
        partition.prove(seq)
        taken.append(time.perf_counter() - start)
    return taken[PROOFS // 10 :]


def _check(arguments: argparse.Namespace, ledger_path: Path, *, is_new: bool) -> None:
    """End the program where the disk is too small, or a record of another run is in the way."""
    needed = arguments.entries * ENTRY_BYTES
    if needed > MAX_BYTES:
        sys.exit(f"scale: {arguments.entries:,} entries need {needed / 1e9:.0f} GB, more than {MAX_BYTES / 1e9:.0f} GB")
    free = shutil.disk_usage(arguments.work).free + (0 if is_new else _disk_bytes(ledger_path))
    if free < needed + RESERVE:
        sys.exit(
            f"scale: {needed / 1e9:.1f} GB and {RESERVE / 1e9:.0f} GB in reserve are needed, {free / 1e9:.1f} are free"
        )
    if is_new and arguments.csv.exists():
        sys.exit(f"scale: {arguments.csv} is the record of another run; move it away")


def _disk_bytes(path: Path) -> int:
    """Return what the files below a directory take of the disk; files that vanish meanwhile don't count."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(Path(directory) / name).st_blocks * 512
    return total


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--entries", type=int, default=10**8, metavar="N")
    parser.add_argument("--work", type=Path, default=ROOT / "build", metavar="DIR", help="where the ledger lies")
    parser.add_argument("--csv", type=Path, default=ROOT / "build" / "performance-scale.csv", metavar="FILE")
    parser.add_argument("--keep", action="store_true", help="leave the ledger on the disk")
    return parser


if __name__ == "__main__":
    main()
