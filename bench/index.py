"""The query index: making it, a page of filtered and of full-text hits, beside grep and plain SQLite.

The entries are those of the other groups with a message of six to nine words. The plain table holds the same JSON in
one column, with indexes on actor and action, which is what people make of SQLite in an afternoon; grep reads the same
JSON line by line, the newest first, and stops after a page. A page is 50 hits. tlog reads each of its hits from the log
and compares it with the index, the references hand out what they have.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

import tlog
from bench import events
from bench.harness import Bar, Bench, Row, Sample, latencies, percentile
from bench.ledgers import ORIGIN, PARTITION
from tlog.index.search import PAGE, index_path

NAME = "Query index"

MIN_BUILD = 50_000
FIELDS_MS, TEXT_MS = 20.0, 50.0
ENTRIES = 1_000_000
"""Entries of a run; the figures that were asked for are for so many."""

QUERIES, SQLITE_QUERIES, GREP_QUERIES = 400, 40, 6
"""Pages of one measurement; who reads everything is asked less often."""

_ODD = 0x9E3779B97F4A7C15
_PROSE = (
    "failed password for user from remote host connection closed session opened by granted access to document denied "
    "policy violation detected backup finished token created expired refresh request timeout retry after error while "
    "reading record database"
)
_WORDS = _PROSE.split()


class Asked(NamedTuple):
    """One question in three languages. query: for tlog. where: for the plain table. parts: what a line must hold."""

    query: str
    where: str
    parts: tuple[str, ...]


def event(number: int) -> dict[str, Any]:
    """Return event `number` with a message."""
    bits = number * _ODD & (1 << 64) - 1
    bits = (bits ^ bits >> 29) * _ODD & (1 << 64) - 1
    message = " ".join(_WORDS[(bits >> 7 * place) % len(_WORDS)] for place in range(6 + number % 4))
    return events.event(number) | {"message": message}


def by_fields(rng: random.Random, count: int) -> Asked:
    """Return a question about fields: frequent and rare values, some that never meet, a path, a prefix, a time."""
    some = events.event(rng.randrange(count))
    actor, action, outcome, ip = some["actor"], some["action"], some["outcome"], some["data"]["ip"]
    kind = rng.randrange(6)
    if kind == 0:
        return _equal(actor=actor)
    if kind == 1:
        return _equal(action=action, outcome=outcome)
    if kind == 2:
        return _equal(actor=actor, action=action)
    if kind == 3:
        return _equal(category="config", action="session.login")
    if kind == 4:
        where = f"json_extract(data, '$.data.ip') = '{ip}'"
        return Asked(f"data.ip={ip}", where, (f'"ip":"{ip}"',))
    start = time.gmtime(events.START_S + rng.randrange(count) // 40)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", start)
    where = f"json_extract(data, '$.action') GLOB 'session.*' AND json_extract(data, '$.time') < '{since}'"
    return Asked(f"action=session.* until={since}", where, ('"action":"session.',))


def by_words(rng: random.Random, count: int) -> Asked:
    """Return a question about words: one, two or three in a row, some never in a row, and words of one actor."""
    first, second, third = rng.sample(_WORDS, 3)
    kind = rng.randrange(4)
    if kind == 3:
        actor = events.event(rng.randrange(count))["actor"]
        asked = _equal(actor=actor)
        return Asked(f"text={first} {asked.query}", f"data LIKE '%{first}%' AND {asked.where}", (*asked.parts, first))
    phrase = " ".join((first, second, third)[: kind + 1])
    return Asked(f'text="{phrase}"', f"data LIKE '%{phrase}%'", (phrase,))


def run(bench: Bench) -> Iterator[Row]:
    """Measure making the index, then pages of both kinds, then the bytes."""
    count = min(ENTRIES, bench.scale.largest)
    with bench.scratch() as work, tlog.Ledger.create(work / "ledger", origin=ORIGIN) as ledger:
        bench.say(f"  writing {count:,} entries")
        partition = ledger.partition(PARTITION)
        partition.append_many(map(event, range(count)))
        with (work / "events.jsonl").open("wb") as file:
            file.writelines(orjson.dumps(event(number)) + b"\n" for number in range(count))
        yield _build(bench, partition, work, count)
        with tlog.Index(partition) as index:
            yield from _pages(bench, index, work, "fields", make=by_fields, limit=FIELDS_MS)
            yield from _pages(bench, index, work, "words", make=by_words, limit=TEXT_MS)
        size, plain, events_size = (
            path.stat().st_size / count
            for path in (index_path(partition), work / "plain.sqlite", work / "events.jsonl")
        )
        detail = f"event {events_size:.0f} bytes"
        reference = Sample((plain,))
        yield Row(NAME, "bytes an event", " bytes", Sample((size,)), "plain SQLite table", reference, detail=detail)


def _build(bench: Bench, partition: tlog.Partition, work: Path, count: int) -> Row:
    def ours() -> float:
        shutil.rmtree(index_path(partition).parent, ignore_errors=True)
        with tlog.Index(partition) as index:
            start = time.perf_counter()
            index.catch_up()
            return count / (time.perf_counter() - start)

    samples = bench.alternate({"tlog": ours, "SQLite": lambda: count / _plain_table(work)})
    bars = (Bar("value", "≥", MIN_BUILD),)
    detail = "reads the log and checks its chain; the table only inserts"
    return Row(
        NAME,
        f"making it, {count:,} entries",
        "/s",
        samples["tlog"],
        "plain SQLite table",
        samples["SQLite"],
        bars,
        detail,
    )


def _plain_table(work: Path) -> float:
    """Make the plain table and return the seconds that it took."""
    path = work / "plain.sqlite"
    path.unlink(missing_ok=True)
    start = time.perf_counter()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY, data TEXT)")
    db.execute("CREATE INDEX actor ON event (json_extract(data, '$.actor'))")
    db.execute("CREATE INDEX action ON event (json_extract(data, '$.action'))")
    with (work / "events.jsonl").open(encoding="utf-8") as lines:
        db.execute("BEGIN")
        db.executemany("INSERT INTO event (data) VALUES (?)", ((line,) for line in lines))
        db.execute("COMMIT")
    db.close()
    return time.perf_counter() - start


def _pages(
    bench: Bench, index: tlog.Index, work: Path, what: str, *, make: Callable[[random.Random, int], Asked], limit: float
) -> Iterator[Row]:
    count = index.coverage().indexed
    rng = random.Random(what)
    asked = [make(rng, count) for _ in range(QUERIES)]
    taken: dict[str, list[float]] = {"tlog": [], "SQLite": [], "grep": []}

    def measure(name: str, some: Sequence[Asked], ask: Callable[[Asked], object]) -> float:
        mine = [_seconds(ask, one) for one in some]
        taken[name] += mine
        return 1e3 * percentile(mine, 0.99)

    with sqlite3.connect(work / "plain.sqlite") as db:
        samples = bench.alternate(
            {
                "tlog": lambda: measure("tlog", asked, lambda one: index.search(one.query)),
                "SQLite": lambda: measure("SQLite", asked[:SQLITE_QUERIES], lambda one: _ask_sqlite(db, one)),
                "grep": lambda: measure("grep", asked[:GREP_QUERIES], lambda one: _ask_grep(work, one)),
            }
        )
    db.close()
    bars = (Bar("value", "≤", limit),)
    title = f"a page by {what}, p99"
    reference = "json_extract, LIKE"
    yield Row(NAME, title, " ms", samples["tlog"], reference, samples["SQLite"], bars, latencies(taken["tlog"]))
    ours, theirs = (Sample((1e3 * percentile(taken[name], 0.5),)) for name in ("tlog", "grep"))
    yield Row(NAME, f"a page by {what}, median", " ms", ours, "tac and grep", theirs, detail=latencies(taken["grep"]))


def _seconds(ask: Callable[[Asked], object], one: Asked) -> float:
    start = time.perf_counter()
    ask(one)
    return time.perf_counter() - start


def _ask_sqlite(db: sqlite3.Connection, one: Asked) -> list[Any]:
    return db.execute(f"SELECT seq, data FROM event WHERE {one.where} ORDER BY seq DESC LIMIT {PAGE}").fetchall()  # noqa: S608


def _ask_grep(work: Path, one: Asked) -> None:
    """Let grep find the newest lines, in the C locale, in which it is quickest."""
    greps = " | ".join(f"grep -F '{part}'" for part in one.parts)
    command = f"tac events.jsonl | {greps} | head -n {PAGE} >/dev/null"
    subprocess.run(["sh", "-c", command], cwd=work, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, check=True)


def _equal(**values: str) -> Asked:
    """Return the question for fields that have these values."""
    return Asked(
        " ".join(f"{name}={value}" for name, value in values.items()),
        " AND ".join(f"json_extract(data, '$.{name}') = '{value}'" for name, value in values.items()),
        tuple(f'"{name}":"{value}"' for name, value in values.items()),
    )
