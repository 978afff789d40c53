from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.recording import starlette_app
from tests.recording.programs import NAME, ORIGIN, check, events_of, partition_at
from tests.recording.servers import free_port, serving
from tests.recording.test_background import GatedDisk, on_disk
from tlog.events import Event
from tlog.integrations.asgi import TlogMiddleware, scope_user
from tlog.recording.background import BackgroundWriter

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette would rather have another client than httpx
    from starlette.testclient import TestClient


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[BackgroundWriter]:
    """A writer into a new ledger."""
    made = BackgroundWriter.at(tmp_path, NAME, origin=ORIGIN)
    yield made
    assert made.close(20)


def written(writer: BackgroundWriter, root: Path) -> list[Event]:
    """The events that were written."""
    assert writer.flush(20)
    return events_of(partition_at(root))


def test_a_starlette_application(writer: BackgroundWriter, tmp_path: Path) -> None:
    """Request, actor, status, latency to the end of the stream, correlation id; websockets are passed through."""
    with TestClient(starlette_app.create_app(writer), raise_server_exceptions=False) as client:
        shown = client.get("/orders/7?card=4111&bare", headers={"X-Request-ID": "request-7", "X-User": "alice"})
        assert shown.text == "request-7"
        assert client.get("/orders/7?status=404", headers={"X-Request-ID": "\x01"}).status_code == 404
        assert client.get("/stream").text == "012"
        assert client.get("/crash").status_code == 500
        with client.websocket_connect("/echo") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == "hello"
    first, missing, streamed, crashed = written(writer, tmp_path)
    assert (first.actor, first.method, first.target, first.outcome) == ("alice", "GET", "/orders/7", "success")
    assert first.correlation_id == "request-7"
    assert (first.data["http"]["query"], first.data["http"]["status"]) == (["card"], 200)
    assert (missing.actor, missing.outcome, missing.severity) == ("anonymous", "failure", "warning")
    assert streamed.latency_ms is not None
    assert streamed.latency_ms >= 60
    assert streamed.data["http"]["response_bytes"] == 3
    assert crashed.error is not None
    assert (crashed.error.type, crashed.outcome, crashed.severity) == ("KeyError", "failure", "error")
    text = b"".join(entry.raw for entry in partition_at(tmp_path).entries())
    assert b"4111" not in text
    assert b"bare" not in text


def scope(**more: Any) -> dict[str, Any]:
    """A scope as a server makes it."""
    return {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b""} | more


async def receive() -> dict[str, Any]:
    """No message is ever asked for."""
    raise AssertionError


async def send(_message: Any) -> None:
    """Take any message."""


async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def test_the_event_loop_never_waits_for_the_log(tmp_path: Path) -> None:
    """While the queue is full a request waits in a thread, and the loop serves others; when there is room it ends."""
    disk = GatedDisk()
    partition = on_disk(tmp_path, disk)
    writer = BackgroundWriter(lambda: partition, capacity=1)
    app = TlogMiddleware(hello, writer)

    async def scenario() -> float:
        writer.put("fills the queue")
        waiting = asyncio.create_task(app(scope(), receive, send))
        start, longest = time.monotonic(), 0.0
        for _ in range(20):
            await asyncio.sleep(0.005)
            longest, start = max(longest, time.monotonic() - start), time.monotonic()
        assert not waiting.done()
        threading.Timer(0.01, disk.gate.set).start()
        await asyncio.wait_for(waiting, 20)
        return longest

    assert asyncio.run(scenario()) < 0.3
    assert writer.close(20)
    assert partition_at(tmp_path).size == 2


def test_a_full_queue_that_drops(tmp_path: Path) -> None:
    """Where the writer is to drop, the request goes on at once, and the event is counted."""
    disk = GatedDisk()
    partition = on_disk(tmp_path, disk)
    writer = BackgroundWriter(lambda: partition, capacity=1, when_full="drop")
    writer.put("fills the queue")
    asyncio.run(asyncio.wait_for(TlogMiddleware(hello, writer)(scope(), receive, send), 5))
    assert writer.counters.dropped == 1
    disk.gate.set()
    assert writer.close(20)


def test_cancelled_and_silent_applications(writer: BackgroundWriter, tmp_path: Path) -> None:
    """A request that is cancelled is a failure; an application that sends no response leaves the outcome unknown."""

    async def endless(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.sleep(60)

    async def silent(_scope: Any, _receive: Any, _send: Any) -> None:
        pass

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(TlogMiddleware(endless, writer)(scope(), receive, send), 0.05)
        await TlogMiddleware(silent, writer, actor=lambda _scope: 1 / 0)(scope(), receive, send)

    asyncio.run(scenario())
    cancelled, silent_event = written(writer, tmp_path)
    assert cancelled.error is not None
    assert cancelled.error.type.endswith("CancelledError")
    assert (silent_event.outcome, silent_event.actor) == ("unknown", "unknown")
    assert silent_event.data["http"]["complete"] is False


def test_users_of_scopes() -> None:
    """Whatever an authentication middleware puts into the scope has a name."""

    class User:
        is_authenticated = True
        username = "erin"

    class Nobody:
        is_authenticated = False

    class Unnamed:
        @property
        def username(self) -> str:
            raise NotImplementedError

        def __str__(self) -> str:
            return "unnamed"

    users = [None, "dave", User(), Nobody(), Unnamed()]
    assert [scope_user({"user": user}) for user in users] == ["anonymous", "dave", "erin", "anonymous", "unnamed"]


def test_a_real_server(tmp_path: Path) -> None:
    """Behind uvicorn, requests over a socket are all recorded, also those of the moment before it ends."""
    root, port = tmp_path / "ledger", free_port()
    command = ["uvicorn", "--factory", f"--port={port}", "tests.recording.starlette_app:from_environment"]
    with serving(command, port, root) as address, httpx.Client() as client:
        for number in range(20):
            assert client.get(f"{address}/orders/{number}", headers={"X-Request-ID": f"r{number}"}).text == f"r{number}"
    partition = partition_at(root)
    check(partition)
    assert [event.target for event in events_of(partition)] == [f"/orders/{number}" for number in range(20)]
