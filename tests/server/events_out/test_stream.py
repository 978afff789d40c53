"""Server-sent events: what is sent, from where on, to how many, and when it ends."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from werkzeug.test import TestResponse

import tlog
from tests.incidents.programs import run
from tests.ledgers import NAME, QuickDisk, create
from tests.server.conftest import granted
from tests.server.test_serve import serving
from tlog.access import Tokens
from tlog_server import events_stream
from tlog_server.app import create_app
from tlog_server.asking import STOPPING
from tlog_server.settings import Settings

URL = f"/api/v1/events/stream?partition={NAME}"
MOST = 2


@pytest.fixture
def partition(tmp_path: Path) -> tlog.Partition:
    """A partition of 20 events, of alice and bob in turn."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append_many({"actor": ("alice", "bob")[number % 2], "n": number} for number in range(20))
    return partition


@pytest.fixture
def app(partition: tlog.Partition) -> Flask:
    """The application, with at most two streams."""
    return create_app(partition.paths.ledger, Settings(max_streams=MOST))


@contextlib.contextmanager
def streamed(app: Flask, url: str = URL, **headers: str) -> Iterator[tuple[TestResponse, Iterator[dict[str, Any]]]]:
    """Ask for a stream; yield the answer and its messages, each as its fields, and close it."""
    with app.test_client() as client:
        answer = client.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
        try:
            yield answer, messages(answer.iter_encoded())
        finally:
            answer.close()


def messages(parts: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The messages of a stream by the rules of HTML: fields by name; a comment's field has an empty name."""
    text = ""
    for part in parts:
        text += part.decode()
        while "\n\n" in text:
            message, _, text = text.partition("\n\n")
            yield dict(line.split(": ", 1) for line in message.split("\n"))


def indexes(found: Iterator[dict[str, Any]], count: int) -> list[int]:
    """The positions of the next `count` events, each checked to be the one that its id says."""
    seen: list[int] = []
    while len(seen) < count:
        message = next(found)
        if "" not in message:
            assert message["event"] == "entry"
            event = json.loads(message["data"])
            assert set(event) == {"index", "ts", "data", "meta"}
            assert event["index"] == int(message["id"])
            seen.append(event["index"])
    return seen


def test_from_a_position_on(partition: tlog.Partition, app: Flask) -> None:
    """Events that are there, then those that come, each once and in order."""
    with streamed(app, f"{URL}&start=15") as (answer, found):
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-store", "no")
        assert answer.headers["X-Request-ID"]
        assert next(found) == {"": "from 15"}
        assert indexes(found, 5) == [15, 16, 17, 18, 19]
        more = threading.Thread(target=lambda: [partition.append({"n": number}) for number in range(20, 25)])
        more.start()
        assert indexes(found, 5) == [20, 21, 22, 23, 24]
        more.join()


def test_only_what_comes_unless_asked_otherwise(partition: tlog.Partition, app: Flask) -> None:
    """Without a position the stream begins behind the last event; with Last-Event-ID, behind that one."""
    with streamed(app) as (_, found):
        assert next(found) == {"": "from 20"}
        partition.append("next")
        assert indexes(found, 1) == [20]
    with streamed(app, f"{URL}&start=3", Last_Event_ID="17") as (_, found):
        assert indexes(found, 3) == [18, 19, 20]


def test_only_what_matches(partition: tlog.Partition, app: Flask) -> None:
    """A query filters what was there and what comes."""
    with streamed(app, f"{URL}&start=0&q=actor%3Dalice") as (_, found):
        assert indexes(found, 10) == list(range(0, 20, 2))
        partition.append_many([{"actor": "bob"}, {"actor": "alice"}])
        assert indexes(found, 1) == [21]


@pytest.mark.parametrize(
    ("url", "headers", "status", "field"),
    [
        ("/api/v1/events/stream", {}, 400, "partition"),
        ("/api/v1/events/stream?partition=none", {}, 404, "partition"),
        (f"{URL}&start=-1", {}, 400, "start"),
        (f"{URL}&q=colour%3Dred", {}, 400, "q"),
        (f"{URL}&actor=alice", {}, 400, "query"),
        (URL, {"Last_Event_ID": "x"}, 400, "Last-Event-ID"),
        (f"{URL}&start=x", {"Last_Event_ID": "3"}, 400, "start"),
        (URL, {"Last_Event_ID": str(2**63)}, 400, "Last-Event-ID"),
        (URL, {"Accept": "application/json"}, 406, "Accept"),
    ],
)
def test_what_is_refused(app: Flask, url: str, headers: dict[str, str], status: int, field: str) -> None:
    """What is wrong is told before the stream begins, and takes no place."""
    for _ in range(MOST + 1):
        with streamed(app, url, **headers) as (answer, _):
            assert (answer.status_code, answer.get_json(force=True)["field"]) == (status, field)


def test_there_are_few_at_a_time(app: Flask) -> None:
    """One stream more than is allowed is told when to come back; a place is free again when a stream is closed."""
    with streamed(app) as (_, first), streamed(app) as (_, second):
        assert next(first) == next(second)
        with streamed(app) as (answer, _):
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert "2 streams" in answer.get_json(force=True)["detail"]
        assert app.test_client().head(URL).status_code == 200
        assert app.test_client().get("/api/v1/partitions").status_code == 200
    for _ in range(2 * MOST):
        with streamed(app) as (answer, _):
            assert answer.status_code == 200


def test_a_revoked_token_ends_the_stream(partition: tlog.Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the next heartbeat, whether events flow or not; before that there are heartbeats."""
    monkeypatch.setattr(events_stream, "HEARTBEAT_S", 0.05)
    ledger = partition.paths.ledger
    with (ledger / "tlog.toml").open("a") as config:
        config.write(f'\n[access]\nprivate = ["{NAME}"]\n')
    app, text = create_app(ledger), granted(ledger, "read")
    with streamed(app) as (answer, _):
        assert answer.status_code == 401
    with streamed(app, URL, Authorization=f"Bearer {text}") as (_, found):
        assert [next(found) for _ in range(3)] == [{"": "from 20"}, {"": "20"}, {"": "20"}]
        with tlog.Ledger.open(ledger) as opened:
            Tokens(opened).revoke(text.split("_")[1])
        assert len(list(itertools.islice(found, 50))) <= 2
    with streamed(app, f"{URL}&start=0", Authorization=f"Bearer {text}") as (answer, _):
        assert answer.status_code == 401


def test_the_end_of_the_process_is_the_end_of_streams(app: Flask) -> None:
    """A stream that waits, and one in the middle of many events, end as soon as they are looked at."""
    with streamed(app) as (_, waiting), streamed(app, f"{URL}&start=0") as (_, flowing):
        next(waiting)
        assert indexes(flowing, 3) == [0, 1, 2]
        app.config[STOPPING].set()
        assert list(itertools.islice(waiting, 50)) == []
        assert list(itertools.islice(flowing, 50)) == []


def test_a_damaged_entry_ends_the_stream(
    partition: tlog.Partition, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """What is good before it is sent, what is bad is not, and the log says why."""
    path = partition.paths.plain(0)
    path.write_bytes(path.read_bytes().replace(b'"n":12', b'"n":13', 1))
    with streamed(app, f"{URL}&start=0") as (answer, found):
        assert [message["id"] for message in found if "id" in message] == [str(seq) for seq in range(12)]
        assert f"stream_failed request_id={answer.headers['X-Request-ID']}" in caplog.text


def test_a_slow_reader_costs_no_memory(tmp_path: Path) -> None:
    """Of 30 MB of events that wait to be sent, only some are in memory, however long the client takes."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append_many({"n": number, "text": "x" * 30_000} for number in range(1000))
    app = create_app(tmp_path / "l")
    tracemalloc.start()
    try:
        with streamed(app, f"{URL}&start=0") as (_, found):
            assert indexes(found, 10) == list(range(10))
            assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_under_gunicorn(partition: tlog.Partition, tmp_path: Path) -> None:
    """A real server: other processes' events arrive, other requests are answered, SIGTERM ends it with streams open."""
    partition.close()
    ledger = partition.paths.ledger
    append = "import sys, tlog; tlog.Ledger.open(sys.argv[1]).partition('users').append({'n': sys.argv[2]})"
    with serving(ledger) as (process, line):
        url = line.rstrip("\n").rpartition(" ")[2]
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client, contextlib.ExitStack() as open_streams:
            streams = [open_streams.enter_context(client.stream("GET", f"{URL}&start=18")) for _ in range(3)]
            assert [stream.status_code for stream in streams] == [200] * 3
            parts = [stream.iter_bytes() for stream in streams]
            found = [messages(part) for part in parts]
            assert [indexes(each, 2) for each in found] == [[18, 19]] * 3
            run(append, ledger, 20)
            assert [indexes(each, 1) for each in found] == [[20]] * 3
            assert client.get("/healthz").status_code == 200
            with client.stream("GET", URL, headers={"Last-Event-ID": "19"}) as again:
                assert indexes(messages(again.iter_bytes()), 1) == [20]
            process.send_signal(signal.SIGTERM)
            assert [list(each) for each in found] == [[]] * 3  # ended, and not broken off
        assert process.wait(30) == 0
    said = (tmp_path / "stderr").read_text()
    assert "Traceback" not in said
    assert "failed" not in said
