from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import tlog
from tests.ledgers import ORIGIN, FaultyDisk, QuickDisk
from tlog.context import correlated
from tlog.index.store import IndexMismatchError
from tlog.recording.auditlog import Stats
from tlog.recording.capture import host, process_user
from tlog.recording.questions import severity
from tlog.storage.disk import Disk


def make(root: Path, disk: Disk | None = None, **options: Any) -> tlog.AuditLog:
    """Return a new log; without a disk of the test's own, nothing waits for the platters."""
    ledger = tlog.Ledger.create(root / "ledger", origin=ORIGIN, segment_entries=256, disk=disk or QuickDisk())
    return tlog.AuditLog(ledger.partition("audit"), **options)


def event_of(trail: tlog.AuditLog, seq: int = -1) -> tlog.Event:
    """Return the event of one entry, which must be a valid one."""
    return tlog.Event.from_data(trail.partition.entry(seq % trail.partition.size).data)


def messages(entries: list[tlog.Entry]) -> list[str]:
    """Return the messages of entries."""
    return [entry.data["message"] for entry in entries]


def test_the_first_run_creates_the_ledger_and_the_next_one_opens_it(tmp_path: Path) -> None:
    """With an origin the ledger is created; later it is opened with the same origin, or without one."""
    path = tmp_path / "audit"
    for count, origin in enumerate((ORIGIN, ORIGIN, None)):
        with tlog.AuditLog.open(path, origin=origin) as trail:
            assert trail.info("started").seq == count
    with tlog.AuditLog(path) as trail:
        assert trail.partition.origin == f"{ORIGIN}/audit"
        assert trail.partition.verify().entries == 3


@pytest.mark.parametrize(
    ("origin", "error", "message"),
    [
        (None, tlog.NotFoundError, r"audit: there is no ledger; give origin="),
        ("https://x.example", tlog.FormatError, r"origin 'https://x.example': leave out the scheme"),
        ("two words", tlog.FormatError, r"origin 'two words': use a URL without scheme"),
    ],
)
def test_a_missing_or_bad_origin(tmp_path: Path, origin: str | None, error: type[tlog.Error], message: str) -> None:
    """The error says what to give, and nothing is created."""
    with pytest.raises(error, match=message):
        tlog.AuditLog.open(tmp_path / "audit", origin=origin)
    assert list(tmp_path.iterdir()) == []


def test_another_origin_or_name(tmp_path: Path) -> None:
    """A ledger is not opened under another origin, nor a partition under a name that is none, nor for no actor."""
    tlog.AuditLog.open(tmp_path, origin=ORIGIN).close()
    with pytest.raises(tlog.ConflictError, match=r"origin is 'audit\.example\.com', not 'b\.example'"):
        tlog.AuditLog.open(tmp_path, origin="b.example")
    with pytest.raises(tlog.FormatError, match="partition name"):
        tlog.AuditLog.open(tmp_path, "No Name")
    with pytest.raises(tlog.FormatError, match=r"data\.actor"):
        tlog.AuditLog.open(tmp_path, actor="")


@pytest.mark.parametrize(
    ("name", "category", "level"),
    [
        ("info", "service", "info"),
        ("warn", "service", "warning"),
        ("error", "service", "error"),
        ("critical", "service", "critical"),
        ("audit", "audit", "info"),
        ("security", "security", "info"),
        ("revenue", "revenue", "info"),
        ("system", "system", "info"),
    ],
)
def test_each_method(tmp_path: Path, name: str, category: str, level: str) -> None:
    """Each appends one event with its category and severity, host, process, user; the receipt is that of the entry."""
    with make(tmp_path) as trail:
        receipt = getattr(trail, name)("said", {"n": 1})
        entry, event = trail.partition.entry(0), event_of(trail)
        assert receipt == tlog.Receipt(0, entry.hash)
        assert (event.category, event.severity, event.message) == (category, level, "said")
        assert (event.actor, event.action, event.outcome) == (process_user(), "log", "unknown")
        assert event.data == {"n": 1, "log": {"host": host(), "process": os.getpid()}}
        assert event.correlation_id is None
        assert event.error is None


def test_fields_of_an_event_are_taken_as_they_are(tmp_path: Path) -> None:
    """What is given as a field is that field; None is absent; a category's method takes a level."""
    with make(tmp_path, actor="billing") as trail, correlated("request-7"):
        trail.revenue("paid", actor="alice", action="order.pay", target="order/7", outcome="success", level="NOTICE")
        event = event_of(trail)
        assert (event.actor, event.action, event.target, event.outcome) == ("alice", "order.pay", "order/7", "success")
        assert (event.severity, event.correlation_id) == ("notice", "request-7")
        trail.info("again", actor=None, target=None, correlation_id="other", labels={"a": "b"})
        event = event_of(trail)
        assert (event.actor, event.target, event.correlation_id, event.labels) == ("billing", None, "other", {"a": "b"})


def fail(message: str = "lost") -> Exception:
    """Return an exception that was raised."""
    try:
        raise LookupError(message)
    except LookupError as err:
        return err


@pytest.mark.parametrize("way", ["error", "exc_info", "true", "tuple"])
def test_exceptions_are_recorded(tmp_path: Path, way: str) -> None:
    """An exception, however it is given, is the event's error, and makes it a failure."""
    with make(tmp_path) as trail:
        try:
            raise LookupError("lost")
        except LookupError as err:
            given: dict[str, Any] = {"exc_info": {"exc_info": err, "true": True, "tuple": sys.exc_info()}.get(way)}
            trail.error("no answer", **({"error": err} if way == "error" else given))
        event = event_of(trail)
        assert event.outcome == "failure"
        assert event.error is not None
        assert (event.error.type, event.error.message) == ("LookupError", "lost")
        assert "test_auditlog.py" in (event.error.stack or "")


def test_an_error_that_is_given_as_fields(tmp_path: Path) -> None:
    """A mapping is taken as it is; exc_info without an exception is none; an outcome that is given stays."""
    with make(tmp_path) as trail:
        trail.error("no answer", error={"type": "Timeout", "message": "5 s"}, outcome="unknown")
        event = event_of(trail)
        assert event.outcome == "unknown"
        assert event.error is not None
        assert (event.error.type, event.error.message, event.error.stack) == ("Timeout", "5 s", None)
        trail.error("no exception", exc_info=True)
        assert event_of(trail).error is None


@pytest.mark.parametrize("message", ["\0 and \ud800", "x" * 200_000])
def test_an_exception_of_any_text_is_recorded(tmp_path: Path, message: str) -> None:
    """What exceptions say is no reason to lose the event: it is escaped, or cut, and the event says so."""
    with make(tmp_path) as trail:
        trail.error("failed", {"n": 1}, error=fail(message))
        event = event_of(trail)
        assert event.error is not None
        assert event.error.type == "LookupError"
        assert event.data["n"] == 1
        assert "error.message" in str(event.data["log"]["notes"])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda trail: trail.info(7), tlog.FormatError, r"data\.message: 7 given where text is needed"),
        (lambda trail: trail.info("x", ["a"]), tlog.FormatError, r"metadata: list given where a mapping"),
        (lambda trail: trail.info("x", {"log": 1}), tlog.FormatError, r"metadata\.log: .* another name"),
        (lambda trail: trail.info("x", {"n": float("nan")}), tlog.FormatError, r"data\.data\.n: nan"),
        (lambda trail: trail.info("x", {1: 2}), tlog.FormatError, r"data\.data"),
        (lambda trail: trail.info("x", {"t": "y" * 70_000}), tlog.FormatError, r"65,?535"),
        (
            lambda trail: trail.info("x", {"t": "y" * 70_000}, error=fail()),
            tlog.FormatError,
            r"data: 70,\d+ bytes given where 65,\d+ fit",
        ),
        (
            lambda trail: trail.info("x", outcome="ok"),
            tlog.FormatError,
            r"data\.outcome: 'ok' given where one of success",
        ),
        (lambda trail: trail.info("x", actor=""), tlog.FormatError, r"data\.actor: '' given"),
        (
            lambda trail: trail.info("x", category="nonsense"),
            tlog.FormatError,
            r"data\.category: 'nonsense' is no category",
        ),
        (
            lambda trail: trail.audit("x", level="loud"),
            tlog.FormatError,
            r"level: 'loud' is none; there are debug, info",
        ),
        (lambda trail: trail.log(True, "x"), tlog.FormatError, r"level: True is none"),
        (lambda trail: trail.info("x", colour="red"), TypeError, r"'colour' is no field .* put it into metadata"),
        (lambda trail: trail.info("x", data={}), TypeError, r"'data' is no field"),
        (lambda trail: trail.recording(""), tlog.FormatError, r"data\.action: '' given"),
        (lambda trail: trail.recording("x", category="none"), tlog.FormatError, r"data\.category"),
        (lambda trail: trail.recording("x", labels={"a": 1}), tlog.FormatError, r"data\.labels\.a: 1 given"),
        (lambda trail: trail.recording("x", outcome="ok"), tlog.FormatError, r"data\.outcome: 'ok' given"),
        (lambda trail: trail.recording("x", id=5), tlog.FormatError, r"data\.id: 5 given"),
        (lambda trail: trail.recording("x", correlation_id="y" * 1025), tlog.FormatError, r"data\.correlation_id"),
        (lambda trail: trail.recording("x", metadata={"log": 1}), tlog.FormatError, r"metadata\.log"),
        (lambda trail: trail.recording("x", colour="red"), TypeError, r"colour"),
        (lambda trail: trail.recorded("x", target=""), tlog.FormatError, r"data\.target"),
        (lambda trail: trail.recorded("x", arguments="b")(fail), ValueError, r"'b' is no parameter of fail\(message"),
        (lambda trail: trail.read(0), ValueError, r"limit"),
        (lambda trail: trail.read(level="loud"), tlog.FormatError, r"level"),
        (
            lambda trail: trail.read(start="yesterday"),
            tlog.FormatError,
            r"start: 'yesterday' is no time; give 2026-01-31",
        ),
        (lambda trail: trail.read(end=datetime(2026, 1, 1)), tlog.FormatError, r"end: .* with time zone"),  # noqa: DTZ001
        (lambda trail: trail.search("actor="), tlog.FormatError, r"query, character 7"),
        (lambda trail: trail.search('"open'), tlog.FormatError, r"text"),
    ],
)
def test_bad_input_is_refused(
    tmp_path: Path, call: Callable[[tlog.AuditLog], object], error: type[Exception], message: str
) -> None:
    """The error names field, value and remedy, and nothing is written."""
    with make(tmp_path) as trail:
        trail.info("first")
        with pytest.raises(error, match=message):
            call(trail)
        assert trail.partition.size == 1


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("emergency", "emergency"), ("WARNING", "warning"), ("warn", "warning"), ("Fatal", "critical"),
        (logging.DEBUG, "debug"), (0, "debug"), (logging.INFO, "info"), (25, "notice"), (logging.WARNING, "warning"),
        (logging.ERROR, "error"), (logging.CRITICAL, "critical"), (60, "alert"), (70, "emergency"),
        (10**6, "emergency"),
    ],
)  # fmt: skip
def test_levels(level: str | int, expected: str) -> None:
    """Levels are severities, or what logging calls them, by name or number."""
    assert severity(level) == expected


def test_read(tmp_path: Path) -> None:
    """The newest entries come first, as the log has them; levels are lower bounds, times a half-open range."""
    with make(tmp_path) as trail:
        assert trail.read() == []
        for number, level in enumerate(["debug", "info", "warning", "error", "critical"]):
            trail.log(level, f"m{number}", time=f"2026-01-0{number + 1}T00:00:00Z")
        entries = trail.read()
        assert messages(entries) == ["m4", "m3", "m2", "m1", "m0"]
        assert entries == list(trail.partition.entries())[::-1]
        assert messages(trail.read(2)) == ["m4", "m3"]
        assert messages(trail.read(level="warning")) == ["m4", "m3", "m2"]
        assert messages(trail.read(level=logging.ERROR, limit=1)) == ["m4"]
        assert messages(trail.read(start="2026-01-02", end="2026-01-04")) == ["m2", "m1"]
        noon = datetime(2026, 1, 4, 2, tzinfo=timezone(timedelta(hours=2)))
        assert messages(trail.read(start=noon)) == ["m4", "m3"]
        assert messages(trail.read(end=noon.astimezone(UTC), level="info")) == ["m2", "m1"]


def test_read_more_than_a_page_of_the_index(tmp_path: Path) -> None:
    """A filtered read goes on from page to page until it has what was asked for."""
    with make(tmp_path) as trail:
        trail.partition.append_many({"severity": "error" if n % 2 else "info", "message": f"m{n}"} for n in range(2400))
        found = messages(trail.read(1100, level="error"))
        assert found == [f"m{n}" for n in range(2399, 199, -2)]
        assert len(trail.read(5000, level="error")) == 1200


def test_search(tmp_path: Path) -> None:
    """Words, words in a row and the query language find entries; the answer says what was searched."""
    with make(tmp_path) as trail:
        assert trail.search("anything").hits == ()
        trail.security("failed password for alice", {"ip": "10.0.0.1"}, actor="alice", outcome="failure", level="warn")
        trail.security("password changed", {"old": "failed twice"}, actor="alice", outcome="success")
        trail.info("bob left", actor="bob")

        def found(*args: Any, **options: Any) -> list[int]:
            page = trail.search(*args, **options)
            assert str(page.coverage) == "index covers 0..3 of 3 entries"
            assert all(hit.entry == trail.partition.entry(hit.entry.seq) for hit in page.hits)
            return [hit.entry.seq for hit in page.hits]

        assert found("") == [2, 1, 0]
        assert found("password FAILED") == [1, 0]
        assert found('"failed password"') == [0]
        assert found("pass*") == [1, 0]
        assert found("password", level="warning") == [0]
        assert found("actor=alice outcome!=success data.ip=10.0.0.1") == [0]
        assert found(tlog.Query.parse("actor=bob")) == [2]
        page = trail.search("password", limit=1)
        assert [hit.entry.seq for hit in trail.search("password", limit=1, after=page.cursor).hits] == [0]


def test_an_index_that_lies_is_found_out(tmp_path: Path) -> None:
    """What the index says is compared with the log, by reading as by searching; a deleted index is made again."""
    with make(tmp_path) as trail:
        trail.error("first")
        assert messages(trail.read(level="error")) == ["first"]
        path = tmp_path / "ledger" / "index" / "audit.sqlite"
        with sqlite3.connect(path) as db:
            db.execute("UPDATE entry SET severity = 'critical'")
        db.close()
        with pytest.raises(IndexMismatchError, match=r"tlog index rebuild audit"):
            trail.read(level="error")
        trail.close()
        for file in path.parent.iterdir():
            file.unlink()
        assert messages(trail.read(level="error")) == ["first"]


def test_stats(tmp_path: Path) -> None:
    """Entries, bytes, levels, first and last time, and what was verified last."""
    with make(tmp_path) as trail:
        assert trail.stats() == Stats(0, 0, {}, None, None, None)
        trail.info("a")
        trail.error("b")
        trail.info("c")
        trail.partition.append(["no event"])
        stats = trail.stats()
        lines = trail.partition.paths.plain(0).read_bytes()
        assert (stats.entries, stats.size) == (4, len(lines))
        assert list(stats.levels.items()) == [("info", 2), ("error", 1), (None, 1)]
        assert (stats.oldest, stats.newest) == (trail.partition.entry(0).ts, trail.partition.entry(3).ts)
        assert stats.verified is None
        checkpoint = trail.publish()
        trail.verify()
        assert trail.stats().verified == checkpoint


def test_publish_and_prove(tmp_path: Path) -> None:
    """An event is proved, and the proof verified with the key alone."""
    with make(tmp_path) as trail:
        receipt = trail.audit("deleted", actor="alice", target="report/7")
        trail.publish()
        policy = tlog.Policy.for_log(str(trail.partition.vkey))
        assert tlog.verify_proof(str(trail.prove(receipt.seq)), policy=policy).entry.data["target"] == "report/7"


def test_threads(tmp_path: Path) -> None:
    """Many threads record and read at once; every event is there once, and each thread's are in its order."""
    with make(tmp_path) as trail:

        def work(thread: int) -> None:
            for number in range(20):
                with trail.recording("work", actor=f"t{thread}"):
                    trail.info(f"{thread}.{number}", actor=f"t{thread}")
            found = trail.read(40, level="info")
            assert len(found) == 40

        failures: list[BaseException] = []

        def guarded(thread: int) -> None:
            try:
                work(thread)
            except BaseException as err:  # noqa: BLE001 - told to the test
                failures.append(err)

        threads = [threading.Thread(target=guarded, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        events = [tlog.Event.from_data(entry.data) for entry in trail.partition.entries()]
        for thread_number in range(16):
            mine = [event for event in events if event.actor == f"t{thread_number}"]
            said = [event for event in mine if event.action == "log"]
            assert [event.message for event in said] == [f"{thread_number}.{n}" for n in range(20)]
            calls = [event.correlation_id for event in mine if event.action == "work"]
            assert calls == [event.correlation_id for event in said]
            assert len(set(calls)) == 20
        trail.publish()
        assert trail.verify().entries == 16 * 40


@pytest.mark.parametrize("mode", ["not done", "half done", "done"])
def test_a_disk_that_fails_once(tmp_path: Path, mode: str) -> None:
    """A write that fails is tried again, the event is there once, and recording goes on with the right receipts."""
    disk = FaultyDisk(None, mode)
    with make(tmp_path, disk) as trail:
        trail.info("before")
        disk.fail_at = len(disk.log)
        receipts = [trail.info("during"), trail.info("after")]
        assert messages(trail.read())[::-1] == ["before", "during", "after"]
        assert [(entry.seq, entry.hash) for entry in trail.partition.entries(1)] == [(r.seq, r.hash) for r in receipts]
