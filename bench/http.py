"""The server over HTTP, asked by wrk, with server and load on the same cores."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import tlog
from bench.harness import Bar, Bench, Row, Sample
from bench.ledgers import ORIGIN, PARTITION
from bench.servers import Found, Load, ask, bare_wsgi, missing_wrk, tessera_posix, tlog_serve
from tlog.access import Tokens
from tlog.tile import Bundle, Tile

NAME = "Server over HTTP"

WRITERS = 32
READERS = 8
TESSERA_WRITERS = 512
"""Tessera's server waits a second, or for 256 entries, so it is asked by as many as serve it best."""

BATCH = 1000
BATCH_WRITERS = 4
BODIES = 256
TILES = 256
TILE_READERS = 16

SETTLE_S = 0.3

MIN_POSTS = 1500.0
MAX_POST_P99_MS = 100.0
MIN_BATCHED = 100_000.0
MIN_TILES = 0.5
MAX_READ_P99_MS = 200.0

EVENTS = f"/api/v1/events?partition={PARTITION}"
BATCHES = f"/api/v1/events:batch?partition={PARTITION}"

Runs = dict[str, list[Found]]


class Reference(NamedTuple):
    """Tessera's server. address: None where it cannot be had. missing: why."""

    address: str | None
    missing: str

    def name(self, how: str) -> str:
        """Say what it is, or why it is missing."""
        return f"Tessera, {how}" if self.address is not None else f"Tessera: {self.missing}"


def run(bench: Bench) -> Iterator[Row]:
    """Measure writing, reading, and both at once. Where wrk is missing, say so and measure nothing."""
    reason = missing_wrk()
    if reason is not None:
        bench.say(f"  not measured: {reason}")
        return
    reason = bench.go.build_posix()
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(bench.scratch())
        address = stack.enter_context(tessera_posix(bench.go, path / "tessera")) if reason is None else None
        tessera = Reference(address, reason or "")
        yield from _write(bench, path, tessera)
        yield from _read(bench, tessera)


def _write(bench: Bench, path: Path, tessera: Reference) -> Iterator[Row]:
    """Measure single events, batches, and reading while events are written."""
    token = _new_ledger(path / "ledger")
    plain = [{name: value for name, value in event.items() if name != "id"} for event in bench.pool]
    lines = [json.dumps(event).encode() for event in plain]
    single = Load(WRITERS, [EVENTS], lines[:BODIES], "application/json", token, kind="numbered")
    keyed = replace(single, kind="keyed")
    batch = [b"\n".join(lines[start : start + BATCH]) for start in range(0, BATCH * 8, BATCH)]
    batched = Load(BATCH_WRITERS, [BATCHES], batch, "application/x-ndjson", token)
    with tlog_serve(path / "ledger") as ours:
        yield from _single(bench, path, ours, single, tessera)
        found = _rounds(bench, {"keys": partial(_append, bench, path / "ledger", ours, keyed, 1)})
        what = f"POST one event with a key of its own, {WRITERS} connections"
        yield Row(NAME, what, "/s", _rates(found["keys"]), detail=_latencies(found["keys"]))
        found = _rounds(bench, {"batch": partial(_append, bench, path / "ledger", ours, batched, BATCH)})
        what = f"POST batches of {BATCH:,} events, {BATCH_WRITERS} connections: entries"
        bars = (Bar("value", "≥", MIN_BATCHED),)
        detail = f"NDJSON; {_latencies(found['batch'])}"
        yield Row(NAME, what, "/s", _rates(found["batch"], BATCH), bars=bars, detail=detail)
        yield from _read_while_writing(bench, path, ours, single)


def _single(bench: Bench, path: Path, ours: str, load: Load, tessera: Reference) -> Iterator[Row]:
    sides = {"ours": partial(_append, bench, path / "ledger", ours, load, 1)}
    if tessera.address is not None:
        add = Load(TESSERA_WRITERS, ["/add"], load.bodies, kind="numbered")
        sides["theirs"] = partial(_ask, bench, tessera.address, add)
    found = _rounds(bench, sides)
    what = f"POST one event, durable, {WRITERS} connections"
    theirs = found.get("theirs")
    name = tessera.name(f"{TESSERA_WRITERS} connections")
    yield Row(
        NAME,
        what,
        "/s",
        _rates(found["ours"]),
        name,
        None if theirs is None else _rates(theirs),
        (Bar("value", "≥", MIN_POSTS),),
        _latencies(found["ours"]) + ("" if theirs is None else f"; reference {_latencies(theirs)}"),
    )
    bars = (Bar("value", "≤", MAX_POST_P99_MS),)
    other = None if theirs is None else Sample(tuple(run.p99 for run in theirs))
    yield Row(NAME, f"{what}: p99", " ms", Sample(tuple(run.p99 for run in found["ours"])), name, other, bars)


def _read_while_writing(bench: Bench, path: Path, ours: str, writing: Load) -> Iterator[Row]:
    """Have as many writers as before write all the time, and others read what they wrote and proofs."""
    paths = [f"/{PARTITION}/{place.path}" for place in (Tile(0, 0), Tile(0, 1), Bundle(0), Bundle(1))]
    paths += [f"/{PARTITION}/checkpoint", f"/{PARTITION}/entry/5", f"/{PARTITION}/proof/inclusion?index=77"]
    reading = Load(READERS, paths)

    def both() -> Found:
        with ThreadPoolExecutor(1) as thread:
            writes = thread.submit(_append, bench, path / "ledger", ours, writing, 1)
            reads = _ask(bench, ours, reading)
            written.append(writes.result())
        return reads

    written: list[Found] = []
    found = _rounds(bench, {"reads": both})["reads"]
    what = f"reads, {READERS} connections, while {WRITERS} write: p99"
    detail = f"{_rates(found).median:,.0f}/s read, {_latencies(found)}; {_rates(written).median:,.0f}/s written"
    bars = (Bar("value", "≤", MAX_READ_P99_MS),)
    yield Row(NAME, what, " ms", Sample(tuple(run.p99 for run in found)), bars=bars, detail=detail)


def _read(bench: Bench, tessera: Reference) -> Iterator[Row]:
    """Measure tiles, from us, from the bare WSGI server, and from Tessera's."""
    built = bench.ledgers.plain(bench.scale.sizes[0])
    tiles = [f"/{PARTITION}/{Tile(0, index).path}" for index in range(min(TILES, built.size // 256))]
    with tlog_serve(built.path, "--read-only") as ours, bare_wsgi() as bare:
        sides = {
            "ours": partial(_ask, bench, ours, Load(TILE_READERS, tiles)),
            "bare": partial(_ask, bench, bare, Load(TILE_READERS, ["/"])),
        }
        if tessera.address is not None:
            sides["theirs"] = partial(_ask, bench, tessera.address, Load(TILE_READERS, [f"/{Tile(0, 0).path}"]))
        found = _rounds(bench, sides)
    what = f"GET a tile of 8,192 bytes, {len(tiles)} of them in turn, {TILE_READERS} connections"
    detail = f"{_latencies(found['ours'])}; reference {_latencies(found['bare'])}"
    bars = (Bar("ratio", "≥", MIN_TILES),)
    yield Row(NAME, what, "/s", _rates(found["ours"]), "the bare WSGI server", _rates(found["bare"]), bars, detail)
    theirs = None if tessera.address is None else _rates(found["theirs"])
    name = tessera.name("one tile")
    yield Row(NAME, what, "/s", _rates(found["ours"]), name, theirs, detail="a file server in Go")


def _new_ledger(path: Path) -> str:
    """Create a ledger; return a token that may append."""
    with tlog.Ledger.create(path, origin=ORIGIN) as ledger:
        ledger.partition(PARTITION).create()
        return Tokens(ledger).create("bench", ["append"], [PARTITION])[0]


def _append(bench: Bench, ledger: Path, address: str, load: Load, entries: int) -> Found:
    """Have events appended; whatever was acknowledged must be there. entries: in each request."""
    before = _settled(ledger)
    found = _ask(bench, address, load)
    grown = _settled(ledger) - before
    # Of each connection one more request may have been under way when wrk stopped to listen.
    if not 0 <= grown - found.requests * entries <= load.connections * entries:
        raise AssertionError(f"{found.requests * entries} entries were acknowledged, {grown} are there")
    return found


def _settled(ledger: Path) -> int:
    """Return the number of entries, when the requests that wrk gave up are done."""
    with tlog.Ledger.open(ledger) as opened:
        partition = opened.partition(PARTITION)
        size = -1
        while size != partition.size:
            size = partition.size
            time.sleep(SETTLE_S)
        return size


def _ask(bench: Bench, address: str, load: Load) -> Found:
    with bench.scratch() as work:
        return ask(work, address, load, bench.scale.seconds)


def _rounds(bench: Bench, sides: Mapping[str, Any]) -> Runs:
    """Measure the sides alternately; return all that was found, by side."""
    found: Runs = {name: [] for name in sides}

    def side(name: str) -> float:
        found[name].append(sides[name]())
        return found[name][-1].rate

    bench.alternate({name: partial(side, name) for name in sides})
    return found


def _rates(runs: list[Found], entries: int = 1) -> Sample:
    return Sample(tuple(found.rate * entries for found in runs))


def _latencies(runs: list[Found]) -> str:
    """Say the worst of each percentile of the rounds."""
    figures = {"p50": max(run.p50 for run in runs), "p99": max(run.p99 for run in runs)}
    figures["max"] = max(run.max for run in runs)
    return ", ".join(f"{name} {value:.3g}" for name, value in figures.items()) + " ms"
