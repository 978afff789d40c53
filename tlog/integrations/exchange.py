"""What the WSGI and the ASGI middleware share: one event for each HTTP request.

Bodies, headers and the values of query strings are never recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

from tlog.context import accepted_correlation_id, correlation_id, new_correlation_id
from tlog.events import uuid7
from tlog.recording import capture
from tlog.recording.background import BackgroundWriter

ANONYMOUS = "anonymous"
HEADER = "X-Request-ID"
MAX_QUERY_NAMES = 50


class Exchange:
    """One request and its response, while they are under way.

    status: HTTP status, None before there is one. size: bytes of the body that were sent. is_complete: whether the
    response was sent to its end. error: what the application raised.
    """

    __slots__ = ("_began", "_ended", "_request", "correlation_id", "error", "is_complete", "size", "status")

    def __init__(self, request: capture.Fields, foreign_id: str | None) -> None:
        """request: valid envelope fields `method` and `target`, and `http` with what else is known."""
        self._request = request
        self._began = (time.time(), time.perf_counter())
        self._ended: float | None = None
        self.correlation_id = accepted_correlation_id(foreign_id) or correlation_id() or new_correlation_id()
        self.status: int | None = None
        self.size = 0
        self.is_complete = False
        self.error: BaseException | None = None

    def end(self) -> None:
        """Note that the response was sent, or given up, now; only the first call counts."""
        self._ended = self._ended or time.perf_counter()

    def event(self, actor: Callable[[], Any], category: str, log: capture.Fields) -> capture.Fields:
        """Return the event for `capture.fit`. actor: called now; what it raises is noted in the event."""
        self.end()
        started, began = self._began
        latency = max((self._ended or began) - began, 0.0)
        http = dict(self._request["http"])
        http |= {} if self.status is None else {"status": self.status}
        http |= {"response_bytes": self.size} | ({} if self.is_complete else {"complete": False})
        ours: capture.Fields = {
            "id": uuid7(),
            "time": capture.rfc3339(started),
            "category": category,
            "action": "http.request",
            "actor": ANONYMOUS,
            "outcome": self._outcome(),
            "severity": self._severity(),
            "correlation_id": self.correlation_id,
            "started": capture.rfc3339(started),
            "ended": capture.rfc3339(started + latency),
            "latency_ms": round(latency * 1000, 3),
        }
        if self.error is not None:
            ours["error"] = capture.error_of(type(self.error), self.error, self.error.__traceback__)
        given = [(name, self._request[name]) for name in ("method", "target")]
        try:
            given.append(("actor", actor()))
        except Exception as err:  # noqa: BLE001 - the application's function may raise anything
            ours["actor"] = "unknown"
            log = log | {"actor_error": capture.text_of(err)}
        return capture.compose(ours, [*given, ("http", http)], log)

    def _outcome(self) -> str:
        if self.error is not None or (self.status is not None and self.status >= 400):
            return "failure"
        return "success" if self.status is not None and self.is_complete else "unknown"

    def _severity(self) -> str:
        if self.error is not None or (self.status or 0) >= 500:
            return "error"
        return "warning" if (self.status or 0) >= 400 else "info"


class Recorder:
    """Makes events of exchanges and hands them to a writer. Never raises into the application."""

    def __init__(self, writer: BackgroundWriter, category: str) -> None:
        self.writer = writer
        self._category = category
        self._log: capture.Fields = {"host": capture.host()}

    def text(self, exchange: Exchange, actor: Callable[[], Any]) -> bytes | None:
        """Return the event of an exchange as JSON text, None where that fails, which is told to the writer."""
        try:
            return capture.fit(exchange.event(actor, self._category, dict(self._log)))
        except Exception as err:  # noqa: BLE001 - an application does not fail because its log does
            self.writer.report(err)
            return None

    def put(self, text: bytes) -> None:
        """Hand an event over, waiting for room as the writer's settings say."""
        try:
            self.writer.put_json(text)
        except Exception as err:  # noqa: BLE001 - as above
            self.writer.report(err)


def names_of_query(query: str) -> list[str]:
    """Return the names in a query string, each once; what has no `=` may be a value, and is left out."""
    names = dict.fromkeys(unquote_plus(part.partition("=")[0]) for part in query.split("&", 1000)[:1000] if "=" in part)
    return list(names)[:MAX_QUERY_NAMES]


def describe(
    *, method: str, path: str, scheme: str, client: str | None, query: str, protocol: str | None
) -> capture.Fields:
    """Return a request as `Exchange` wants it."""
    http: capture.Fields = {"scheme": scheme}
    http |= {"protocol": protocol} if protocol else {}
    http |= {"client": client} if client else {}
    names = names_of_query(query)
    http |= {"query": names} if names else {}
    return {"method": method, "target": path or "/", "http": http}
