"""A witness of 10,000 logs over HTTP: how many checkpoints a second it cosigns, and whether it keeps its memory.

Every measurement moves every log forward by one step, with bench/go/addcheckpoint, which makes all requests before the
clock starts and verifies all cosignatures after it has stopped. Server and load share the cores.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

from bench import rss
from bench.harness import Bar, Bench, Row, Sample
from bench.servers import bare_wsgi
from bench.witness_servers import litewitness, missing_litewitness, tlog_witness
from tlog_server.party_running import THREADS

NAME = "Witness over HTTP"

LOGS = 10_000
QUICK_LOGS = 1_000
CONNECTIONS = 64

OFFERED = 500
"""Requests a second that are sent whatever the answers do, to see how long one takes where there is room."""

MIN_RATE = 1000.0
MAX_GROWTH = 1.05
"""Resident memory after the last step by that after the first one, in which every log was met."""


class Found(NamedTuple):
    """What bench/go/addcheckpoint found. Times in milliseconds. load: its processor time by the time that passed."""

    rate: float
    p50: float
    p99: float
    max: float
    load: float


class Logs:
    """All logs, and how far they are at one server."""

    def __init__(self, bench: Bench, address: str, vkey: str | None = None) -> None:
        """vkey: of the witness, by which all its answers are verified; None where there is no cosignature."""
        self._bench = bench
        self._options = [f"-logs={_count(bench)}", f"-connections={CONNECTIONS}", f"-address={address}"]
        self._options += [] if vkey is None else [f"-witness={vkey}"]
        self._steps = 0
        self.found: list[Found] = []

    def step(self, offered: int = 0) -> float:
        """Have each log take a step; return the requests a second. offered: so many are sent, 0: as many as it takes.

        Raises: AssertionError where one was refused, or an answer is no cosignature of what was asked for.
        """
        options = [*self._options, f"-step={self._steps}", f"-rate={offered}"]
        report: dict[str, Any] = self._bench.go.run("addcheckpoint", *options)
        if report["refused"] or report["unverified"] or report["requests"] != _count(self._bench):
            raise AssertionError(f"step {self._steps}: {report}")
        self._steps += 1
        load = report["processor_seconds"] / report["seconds"]
        times = report["p50"], report["p99"], report["max"]
        self.found.append(Found(report["requests"] / report["seconds"], *times, load))
        return self.found[-1].rate


def run(bench: Bench) -> Iterator[Row]:
    """Measure cosigning, its latency, and memory. Where there is no go, say so and measure nothing."""
    if bench.go.missing is not None:
        bench.say(f"  not measured: {bench.go.missing}")
        return
    reason = missing_litewitness(bench.go)
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(bench.scratch())
        vkeys = _vkeys(bench)
        ours = stack.enter_context(tlog_witness(path / "ours", vkeys))
        started = rss.resident_below(ours.pid)
        logs = {"ours": Logs(bench, ours.address, ours.vkey)}
        logs["bare"] = Logs(bench, stack.enter_context(bare_wsgi(workers=1, threads=THREADS)))
        if reason is None:
            theirs = stack.enter_context(litewitness(bench.go, path / "theirs", vkeys))
            logs["theirs"] = Logs(bench, theirs.address, theirs.vkey)
        for each in logs.values():
            each.step()
            each.found.clear()
        met = rss.resident_below(ours.pid)
        bench.alternate({name: each.step for name, each in logs.items()})
        yield from _rates(bench, logs, reason)
        logs["ours"].step(OFFERED)
        yield _latency(logs["ours"].found[-1])
        yield _memory(started, met, rss.resident_below(ours.pid))


def _rates(bench: Bench, logs: dict[str, Logs], reason: str | None) -> Iterator[Row]:
    """Yield the requests a second, beside those of the references."""
    what = f"add-checkpoint, one by each of {_count(bench):,} logs, {CONNECTIONS} connections"
    found = {name: each.found for name, each in logs.items()}
    ours = Sample(tuple(one.rate for one in found["ours"]))
    load = max(one.load for one in found["ours"])
    detail = f"{_times(found['ours'])}; the load takes {load:.0%} of one core; reference {_times(found['bare'])}"
    bare = Sample(tuple(one.rate for one in found["bare"]))
    yield Row(NAME, what, "/s", ours, "the bare WSGI server", bare, (Bar("value", "≥", MIN_RATE),), detail)
    if reason is not None:
        yield Row(NAME, what, "/s", ours, f"litewitness: {reason}")
        return
    theirs = Sample(tuple(one.rate for one in found["theirs"]))
    yield Row(NAME, what, "/s", ours, "litewitness", theirs, detail=f"in Go; reference {_times(found['theirs'])}")


def _latency(found: Found) -> Row:
    return Row(
        NAME, f"the same, {OFFERED} a second offered: p99 latency", " ms", Sample((found.p99,)), detail=_times([found])
    )


def _memory(started: int, met: int, end: int) -> Row:
    figures = [Sample((size / 2**20,)) for size in (end, met)]
    what = "resident memory of the witness after all steps"
    detail = f"{started / 2**20:.1f} MiB when it had started"
    bars = (Bar("ratio", "≤", MAX_GROWTH),)
    return Row(NAME, what, " MiB", figures[0], "after the first step of each log", figures[1], bars, detail)


def _vkeys(bench: Bench) -> list[str]:
    command = [str(bench.go.path("addcheckpoint")), f"-logs={_count(bench)}", "-vkeys"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def _count(bench: Bench) -> int:
    return QUICK_LOGS if bench.scale.name == "quick" else LOGS


def _times(runs: list[Found]) -> str:
    """Say the worst of each percentile of the rounds."""
    figures = {"p50": max(run.p50 for run in runs), "p99": max(run.p99 for run in runs)}
    figures["max"] = max(run.max for run in runs)
    return ", ".join(f"{name} {value:.3g}" for name, value in figures.items()) + " ms"
