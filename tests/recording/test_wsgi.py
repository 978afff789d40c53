from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.recording import flask_app
from tests.recording.programs import NAME, ORIGIN, check, events_of, partition_at
from tests.recording.servers import free_port, serving
from tlog.context import correlation_id
from tlog.events import Event
from tlog.integrations.wsgi import TlogMiddleware
from tlog.recording.background import BackgroundWriter
from tlog.recording.handler import TlogHandler


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


def call(app: Any, body: Callable[[Iterable[bytes]], object] = list, **environ: Any) -> Any:
    """Call a WSGI application as a server does; return what `body` makes of the response."""
    parts = app({"REQUEST_METHOD": "GET", "PATH_INFO": "/x", **environ}, lambda *_: lambda _data: None)
    try:
        return body(parts)
    finally:
        parts.close()


def test_a_flask_application(writer: BackgroundWriter, tmp_path: Path) -> None:
    """Request, actor, status, latency and correlation id are recorded; neither bodies nor what the query says."""
    app = flask_app.create_app(str(tmp_path), writer)
    log = logging.getLogger(f"orders.{tmp_path.name}")
    log.setLevel(logging.INFO)
    handler = TlogHandler(tmp_path, NAME, synchronous=True)
    log.addHandler(handler)
    client = app.test_client()
    url = "/orders/7?card=4111-1111&bare-secret&a=1"
    headers = {"X-Request-ID": "request-7", "Authorization": "Bearer s3cret"}
    assert client.get(url, headers=headers).text == "order 7"
    assert client.post("/login", data={"user": "mallory", "password": "hunter2"}, buffered=True).status_code == 403
    assert client.get("/stream", headers={"X-Request-ID": "no\tid"}).text == "012"
    assert client.get("/crash", buffered=True).status_code == 500
    log.removeHandler(handler)
    handler.close()
    everything = {event.action: event for event in written(writer, tmp_path)}
    requests = [event for event in written(writer, tmp_path) if event.action == "http.request"]
    logged = [event for event in written(writer, tmp_path) if event.action == "log"]
    shown, denied, streamed, crashed = requests
    assert set(everything) == {"log", "http.request"}
    assert (shown.actor, shown.method, shown.target, shown.outcome) == ("anonymous", "GET", "/orders/7", "success")
    assert shown.data["http"] == {
        "scheme": "http", "protocol": "HTTP/1.1", "client": "127.0.0.1", "query": ["card", "a"], "status": 200,
        "response_bytes": 7,
    }  # fmt: skip
    assert shown.correlation_id == "request-7"
    assert (denied.actor, denied.outcome, denied.severity) == ("mallory", "failure", "warning")
    assert streamed.data["http"]["response_bytes"] == 3
    assert streamed.correlation_id is not None
    assert len(streamed.correlation_id) == 32
    assert (crashed.outcome, crashed.severity, crashed.data["http"]["status"]) == ("failure", "error", 500)
    for event in requests:
        assert event.latency_ms is not None
        assert event.started is not None
        assert event.ended is not None
        assert event.started <= event.ended
    # What the application logs meanwhile, in the view and while its body is sent, has the request's id.
    assert [event.correlation_id for event in logged[:4]] == ["request-7", *[streamed.correlation_id] * 3]
    text = b"".join(entry.raw for entry in partition_at(tmp_path).entries())
    for secret in (b"4111", b"bare-secret", b"s3cret", b"hunter2"):
        assert secret not in text


def test_exceptions_are_recorded_and_raised_again(writer: BackgroundWriter, tmp_path: Path) -> None:
    """Before the response, in the middle of its body, and when it is closed."""

    def before(_environ: Any, _start: Any) -> Iterable[bytes]:
        raise KeyError("before")

    def within(_environ: Any, start: Any) -> Iterable[bytes]:
        start("200 OK", [])
        yield b"x"
        raise KeyError("within")

    class Closing(list[bytes]):
        def close(self) -> None:
            raise KeyError("closing")

    def closing(_environ: Any, start: Any) -> Iterable[bytes]:
        start("200 OK", [])
        return Closing([b"x"])

    for app in (before, within, closing):
        with pytest.raises(KeyError, match=app.__name__):
            call(TlogMiddleware(app, writer))
    events = written(writer, tmp_path)
    assert [event.error.message for event in events if event.error] == ["'before'", "'within'", "'closing'"]
    assert {event.outcome for event in events} == {"failure"}
    assert [event.data["http"].get("status") for event in events] == [None, 200, 200]


def test_a_client_that_goes_away(writer: BackgroundWriter, tmp_path: Path) -> None:
    """A response that was closed before its end is recorded as incomplete, once."""

    def app(_environ: Any, start: Any) -> Iterable[bytes]:
        write = start("200 OK", [])
        write(b"ab")
        yield b"c"
        yield b"never"

    call(TlogMiddleware(app, writer), lambda body: next(iter(body)))
    (event,) = written(writer, tmp_path)
    assert (event.outcome, event.data["http"]["complete"], event.data["http"]["response_bytes"]) == (
        "unknown",
        False,
        3,
    )


def test_the_actor_comes_from_the_applications_function(writer: BackgroundWriter, tmp_path: Path) -> None:
    """A function that fails is noted and does not disturb the request; the id's header can be chosen, or none."""

    def app(_environ: Any, start: Any) -> Iterable[bytes]:
        start("204 No Content", [])
        return [correlation_id().encode()]  # type: ignore[union-attr]

    named = TlogMiddleware(app, writer, actor=lambda environ: environ["x.user"], header="X-Trace", category="user")
    assert call(named, list, HTTP_X_TRACE="trace-1", **{"x.user": "carol"}) == [b"trace-1"]
    assert call(named, HTTP_X_TRACE="x" * 129) != [b"x" * 129]
    assert call(TlogMiddleware(app, writer, header=None), HTTP_X_REQUEST_ID="mine") != [b"mine"]
    first, second, _ = written(writer, tmp_path)
    assert (first.actor, first.category, first.correlation_id) == ("carol", "user", "trace-1")
    assert (second.actor, second.data["log"]["actor_error"]) == ("unknown", "'x.user'")
    assert correlation_id() is None


def test_a_pre_fork_server(tmp_path: Path) -> None:
    """gunicorn loads the application, logs, and forks two workers: all requests and messages are there, once."""  # noqa: D403
    root, port = tmp_path / "ledger", free_port()
    command = ["gunicorn", "--workers=2", "--threads=4", "--preload", f"--bind=127.0.0.1:{port}", "--log-level=warning"]
    with serving([*command, "tests.recording.flask_app:from_environment()"], port, root) as address:

        def fetch(number: int) -> str:
            return client.get(f"{address}/orders/{number}", headers={"X-Request-ID": f"r{number}"}).headers["X-Process"]

        count, workers = 0, set[str]()
        limits = httpx.Limits(max_keepalive_connections=0)
        with ThreadPoolExecutor(8) as pool, httpx.Client(limits=limits) as client:
            while len(workers) < 2 and count < 1000:
                workers |= set(pool.map(fetch, range(count, count + 40)))
                count += 40
    partition = partition_at(root)
    check(partition)
    events = events_of(partition)
    requests = [event for event in events if event.action == "http.request"]
    messages = [event for event in events if event.action == "log"]
    assert sorted(event.target or "" for event in requests) == sorted(f"/orders/{number}" for number in range(count))
    assert sorted(event.message or "" for event in messages) == sorted(
        ["loaded", *(f"showing {n}" for n in range(count))]
    )
    ids = {event.target: event.correlation_id for event in requests}
    assert ids == {f"/orders/{number}": f"r{number}" for number in range(count)}
    assert workers < {str(event.data["log"]["process"]) for event in messages}
    assert len(workers) == 2
