"""A server under three times the load that it can take, for ten minutes, and an audit of all that it acknowledged.

Run it by hand: `python -m bench.soak [SECONDS]`. The load comes from this process, over connections that each send at
their pace whatever the server does, and it shares the cores with the server. Ends with 1 where a claim does not hold:
memory is flat but for the index's cache, what was acknowledged is there and published, refusals say when to come back.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import tlog
from bench.harness import percentile
from bench.ledgers import ORIGIN, PARTITION
from bench.machine import examine
from bench.servers import tlog_serve
from tlog.access import Tokens
from tlog.index.sqlite import CACHE_KIB

DEFAULT_S = 600.0
WARM_UP_S = 10.0
REPORT_S = 30.0
CALM_CONNECTIONS = 32
CONNECTIONS = 192
TIMES = 3.0
MAX_P99_S = 2.0
MAX_GROWTH = CACHE_KIB << 10
"""Bytes by which the server's memory may grow after the first quarter: the pages of the index that are kept."""

MAX_DELAY_S = 5.0

Stored = dict[int, tuple[int, int]]


@dataclass(slots=True)
class Counts:
    """What became of the requests of one stretch of time."""

    offered: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    unsaid: int = 0
    seconds: list[float] = field(default_factory=list)


class Load:
    """Connections that append, and what was acknowledged to them: connection and number, by index."""

    def __init__(self, address: str, token: str) -> None:
        self._host, _, port = address.partition(":")
        self._port = int(port)
        self._head = (
            f"POST /api/v1/events?partition={PARTITION} HTTP/1.1\r\nHost: {address}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: "
        )
        self.stored: Stored = {}
        self.counts = Counts()
        self._next = 0

    async def run(self, connections: int, seconds: float, rate: float | None) -> None:
        """Send for some seconds. rate: requests a second of all connections; as fast as answers come unless given."""
        end = time.monotonic() + seconds
        pause = None if rate is None else connections / rate
        await asyncio.gather(*(self._connection(end, pause) for _ in range(connections)))

    async def _connection(self, end: float, pause: float | None) -> None:
        self._next += 1
        name, number, due = self._next, 0, time.monotonic()
        reader, writer = await asyncio.open_connection(self._host, self._port)
        while time.monotonic() < end:
            number += 1
            self.counts.offered += 1
            sent_at = time.monotonic()
            writer.write(self._request(name, number))
            status, index, retry_after = await _answer(reader)
            if status == 201:
                self.stored[index] = (name, number)
                self.counts.seconds.append(time.monotonic() - sent_at)
            else:
                self.counts.refused[status] += 1
                self.counts.unsaid += not retry_after
            if pause is not None:
                due += pause
                late = time.monotonic() - due
                self.counts.offered += max(int(late / pause), 0)  # what would have been sent while it waited
                due += max(int(late / pause), 0) * pause
                await asyncio.sleep(max(-late, 0))
        writer.close()
        await writer.wait_closed()

    def _request(self, name: int, number: int) -> bytes:
        body = f'{{"actor":"user-{name}","action":"order.paid","connection":{name},"number":{number}}}'
        return f"{self._head}{len(body)}\r\n\r\n{body}".encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, int, bool]:
    """Return status, index where there is one, and whether it is said when to come back."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:"))
    body = await reader.readexactly(length)
    status = int(lines[0].split()[1])
    index = int(body.split(b'"index":', 1)[1].split(b",", 1)[0]) if status == 201 else -1
    return status, index, any(line.lower().startswith(b"retry-after:") for line in lines)


def main() -> int:
    """Measure; return the exit code."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_S
    with tempfile.TemporaryDirectory(prefix="tlog-soak-") as work:
        print(examine(Path(work)).format(), flush=True)
        path = Path(work) / "ledger"
        with tlog.Ledger.create(path, origin=ORIGIN) as ledger:
            ledger.partition(PARTITION).create()
            token, _ = Tokens(ledger).create("soak", ["append"], [PARTITION])
        with tlog_serve(path) as address, tlog.Ledger.open(path) as ledger:
            load = Load(address, token)
            asyncio.run(load.run(CALM_CONNECTIONS, WARM_UP_S, None))
            capacity = len(load.counts.seconds) / WARM_UP_S
            print(f"it takes {capacity:,.0f}/s from {CALM_CONNECTIONS} connections; offered is {TIMES:g} times that")
            problems = _overload(load, capacity * TIMES, seconds, ledger.partition(PARTITION), _only_child())
        with tlog.Ledger.open(path) as ledger:
            problems += _audit(load.stored, ledger.partition(PARTITION))
    for problem in problems:
        print(f"NOT MET: {problem}")
    return 1 if problems else 0


def _overload(load: Load, rate: float, seconds: float, partition: tlog.Partition, pid: int) -> list[str]:
    """Offer more than can be taken, and say every REPORT_S seconds how it goes; return what did not hold."""
    problems: list[str] = []
    sizes: list[int] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        load.counts = Counts()
        span = min(REPORT_S, max(end - time.monotonic(), 1.0))
        asyncio.run(load.run(CONNECTIONS, span, rate))
        promised, asked_at = max(load.stored), time.monotonic()
        while partition.checkpoint().tree_size <= promised and time.monotonic() - asked_at < MAX_DELAY_S:
            time.sleep(0.05)
        delay = time.monotonic() - asked_at
        counts, p99 = load.counts, percentile(load.counts.seconds, 0.99)
        sizes.append(_memory_of(pid))
        refused = sum(counts.refused.values())
        print(
            f"  offered {counts.offered / span:,.0f}/s, taken {len(counts.seconds) / span:,.0f}/s, refused "
            f"{refused / span:,.0f}/s; p99 {p99 * 1000:.0f} ms; published {delay:.1f} s later; "
            f"memory {sizes[-1] / 2**20:,.0f} MiB",
            flush=True,
        )
        if set(counts.refused) - {503} or counts.unsaid:
            problems.append(f"refused with {dict(counts.refused)}, {counts.unsaid} of them without Retry-After")
        if p99 > MAX_P99_S:
            problems.append(f"p99 is {p99:.2f} s")
        if delay >= MAX_DELAY_S:
            problems.append(f"what was acknowledged is not published after {MAX_DELAY_S:g} s")
    later = sizes[len(sizes) // 4 :]
    if max(later) > later[0] + MAX_GROWTH:
        problems.append(f"memory grew from {later[0] / 2**20:,.0f} to {max(later) / 2**20:,.0f} MiB")
    return problems


def _audit(stored: Stored, partition: tlog.Partition) -> list[str]:
    """Compare all that was acknowledged with the log, and verify that; return what is wrong."""
    missing = dict(stored)
    extra = 0
    for entry in partition.entries():
        expected = missing.pop(entry.seq, None)
        found = entry.data["connection"], entry.data["number"]
        if expected is None:
            extra += 1
        elif expected != found:
            return [f"entry {entry.seq} is {found}, acknowledged was {expected}"]
    report = partition.verify()
    published = partition.checkpoint().tree_size
    print(f"audited: {len(stored):,} acknowledged entries of {report.entries:,}, {published:,} published, {extra} more")
    return [f"{len(missing)} acknowledged entries are not there"] if missing else []


def _only_child() -> int:
    """Return the number of the one process that this one has started: the server."""
    (found,) = map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split())
    return found


def _memory_of(pid: int) -> int:
    """Return the memory of a process and its children in bytes, what they share counted once."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    total = 0
    for process in (pid, *children):
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    return total


if __name__ == "__main__":
    sys.exit(main())
