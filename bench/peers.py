"""Bulk append once more, against the logs that others wrote and against a plain database.

Each gets the same events. The Python peers and SQLite get them as Python values, as we do, and encode them with orjson.
Tessera gets lines of JSON that lie in memory when its clock starts. What each leaves out compared with us is said in
its row.
"""

from __future__ import annotations

import importlib
import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench import bulk
from bench.events import cycled
from bench.harness import Bar, Bench, Row, Side
from bench.ledgers import ORIGIN

NAME = "Bulk append against others"

INSERT_BATCH = 1000
TESSERA_BATCHES = (256, 1024, 4096, 16_384, 65_536)
"""Batch sizes of which the fastest is taken."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A reference. side: its measurement, or why it is missing. detail: what it is and what it leaves out."""

    name: str
    side: Side | str
    detail: str
    bars: tuple[Bar, ...] = ()


def run(bench: Bench) -> Iterator[Row]:
    """Measure all that are here alternately, and say which are not."""
    count = bench.scale.bulk
    peers = _peers(bench, count)
    sides: dict[str, Side] = {"ours": lambda: bulk.ours(bench, count)}
    sides |= {peer.name: peer.side for peer in peers if not isinstance(peer.side, str)}
    sample = bench.alternate(sides)
    for peer in peers:
        detail = peer.side if isinstance(peer.side, str) else peer.detail
        what = f"the same, {count:,} entries"
        yield Row(NAME, what, "/s", sample["ours"], peer.name, sample.get(peer.name), peer.bars, detail)


def _peers(bench: Bench, count: int) -> list[Peer]:
    tessera, batch = _tessera(bench, count)
    ahead = (Bar("ratio", ">", 1.0),)
    return [
        Peer(
            "Tessera",
            tessera,
            f"POSIX driver in process, in Go, batches of {batch:,}; no chain",
            (Bar("ratio", "≥", 5.0),),
        ),
        Peer(
            "pymerkle",
            _pymerkle(bench, count),
            "`SqliteTree.append_entries`; no chain, signature or tiles",
            ahead,
        ),
        Peer("tlog-scales", _tlog_scales(bench, count), "one commit; no chain, not crash-safe", ahead),
        Peer(
            "SQLite",
            lambda: _sqlite(bench, count),
            f"INSERT in batches of {INSERT_BATCH:,}, WAL, synchronous FULL; no hash at all",
        ),
    ]


def _tessera(bench: Bench, count: int) -> tuple[Side | str, int]:
    """Return Tessera's side with the fastest batch size, or why there is none."""
    if bench.go.missing is not None:
        return bench.go.missing, 0
    entries = bench.work / "entries.jsonl"
    with entries.open("wb") as file:
        for data in cycled(bench.pool, count):
            file.write(orjson.dumps(data) + b"\n")

    def side(batch: int) -> float:
        with bench.scratch() as path:
            options = {"entries": str(entries), "dir": str(path / "log"), "batch": str(batch)}
            report = bench.go.run("tessera", *itertools.chain(*((f"-{name}", text) for name, text in options.items())))
        if report["entries"] != count:
            raise AssertionError(f"Tessera has {report['entries']} entries, not {count}")
        return float(count / report["seconds"])

    rates = {batch: side(batch) for batch in TESSERA_BATCHES if batch <= count or batch == TESSERA_BATCHES[0]}
    best = max(rates, key=lambda batch: rates[batch])
    bench.say(f"    Tessera's batches: {', '.join(f'{batch}: {rate:,.0f}/s' for batch, rate in rates.items())}")
    return lambda: side(best), best


def _pymerkle(bench: Bench, count: int) -> Side | str:
    pymerkle = _module("pymerkle")
    if isinstance(pymerkle, str):
        return pymerkle

    def append(path: Path) -> int:
        with pymerkle.SqliteTree(str(path / "tree.db")) as tree:
            size: int = tree.append_entries(map(orjson.dumps, cycled(bench.pool, count)))
        return size

    return lambda: _timed(bench, count, append)


def _tlog_scales(bench: Bench, count: int) -> Side | str:
    writer, signing = _module("tlog_scales.writer"), _module("tlog_scales.signing")
    if isinstance(writer, str) or isinstance(signing, str):
        return f"{writer}"
    signer = signing.PlainEd25519Signer(ORIGIN, bytes(range(32)))

    def append(path: Path) -> int:
        log = writer.TilesWriter.create(path / "log", ORIGIN)
        for data in cycled(bench.pool, count):
            log.add_leaf(orjson.dumps(data))
        log.commit([signer])
        size: int = log.size
        return size

    return lambda: _timed(bench, count, append)


def _sqlite(bench: Bench, count: int) -> float:
    def append(path: Path) -> int:
        database = sqlite3.connect(path / "log.db", isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE entry (seq INTEGER PRIMARY KEY, data BLOB NOT NULL)")
        source = ((orjson.dumps(data),) for data in cycled(bench.pool, count))
        while batch := list(itertools.islice(source, INSERT_BATCH)):
            database.execute("BEGIN")
            database.executemany("INSERT INTO entry (data) VALUES (?)", batch)
            database.execute("COMMIT")
        size: int = database.execute("SELECT count(*) FROM entry").fetchone()[0]
        database.close()
        return size

    return _timed(bench, count, append)


def _timed(bench: Bench, count: int, append: Callable[[Path], int]) -> float:
    """Return how many entries a second `append` takes into an empty directory; it returns how many it took."""
    with bench.scratch() as path:
        start = time.perf_counter()
        size = append(path)
        elapsed = time.perf_counter() - start
    if size != count:
        raise AssertionError(f"{size} entries are stored, not {count}")
    return count / elapsed


def _module(name: str) -> Any:
    """Return a peer's module, or why it is not here."""
    try:
        return importlib.import_module(name)
    except ImportError as err:
        return f"not to be had here: {err}"
