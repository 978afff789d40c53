"""What is around every request: its id, the security headers, counts, the access log, and answers that stay the same.

It works below Flask, where headers are a plain list. A static resource of a public partition never changes, so its
answer is kept in memory, as any cache on the way may keep it (RFC 9111), and the next one who asks plainly gets it
without Flask, which takes longer than all the rest.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from tlog_server.answering import IMMUTABLE
from tlog_server.logs import log_request
from tlog_server.metrics import Metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What every answer carries, errors too, unless its handler gave that header another value."""

REQUEST_ID = "tlog.request_id"
ROUTE = "tlog.route"
CALLER = "tlog.caller"
"""Names in a request's environment: its id, the template of its route, and the name of who sent it."""

MAX_KEPT_BYTES = 32 << 20
MAX_ANSWER_BYTES = 1 << 20
"""Bytes of answers that a process keeps, and of one of them."""

MAX_CODINGS_LENGTH = 64

_PAIRS = tuple(SECURITY_HEADERS.items())
_NOT_PLAIN = frozenset(
    {
        "CONTENT_LENGTH", "HTTP_AUTHORIZATION", "HTTP_IF_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH",
        "HTTP_IF_RANGE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_RANGE", "HTTP_TRANSFER_ENCODING",
    }
)  # fmt: skip

_Headers = list[tuple[str, str]]
_Key = tuple[str, str]


class _Kept(NamedTuple):
    """An answer that stays the same: what the application gave, and the template of its route."""

    headers: _Headers
    body: bytes
    route: str | None


class Envelope:
    """A WSGI application around another one."""

    def __init__(self, app: WSGIApplication, metrics: Metrics, *, has_log: bool, keeps: bool) -> None:
        """has_log: whether requests are logged. keeps: whether answers are kept, which nobody counts by client then."""
        self._app = app
        self._metrics = metrics
        self._has_log = has_log
        self._keeps = keeps
        self._kept: dict[_Key, _Kept] = {}
        self._room = MAX_KEPT_BYTES

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        begun_at = time.perf_counter()
        environ[REQUEST_ID] = request_id = secrets.token_hex(8)
        key = _key_of(environ) if self._keeps else None
        kept = None if key is None else self._kept.get(key)
        answered: list[tuple[str, _Headers]] = []

        def start(status: str, headers: _Headers, *rest: Any) -> Any:
            answered.append((status, headers))
            names = {name for name, _ in headers}
            sent = [*headers, ("X-Request-ID", request_id), *(pair for pair in _PAIRS if pair[0] not in names)]
            duration_s = time.perf_counter() - begun_at
            method, route, code = environ["REQUEST_METHOD"], environ.get(ROUTE), int(status[:3])
            self._metrics.answered(route, method, code, duration_s)
            if self._has_log:
                sender = environ.get(CALLER)
                log_request(request_id, method=method, route=route, status=code, duration_s=duration_s, caller=sender)
            return start_response(status, sent, *rest)

        if kept is not None:
            environ[ROUTE] = kept.route
            start("200 OK", kept.headers)
            return [kept.body]
        parts = self._app(environ, start)
        if key is not None and answered and _is_kept(*answered[0]):
            return [self._keep(key, answered[0][1], parts, environ.get(ROUTE))]
        return parts

    def _keep(self, key: _Key, headers: _Headers, parts: Iterable[bytes], route: str | None) -> bytes:
        """Return the body, and keep the answer where it is not too large; where all is full, begin anew."""
        try:
            body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        if len(body) <= MAX_ANSWER_BYTES:
            self._room -= len(body) + 1024
            if self._room < 0:
                self._kept.clear()
                self._room = MAX_KEPT_BYTES
            self._kept[key] = _Kept(headers, body, route)
        return body


def _key_of(environ: WSGIEnvironment) -> _Key | None:
    """Return what a plain request asks for: its path and the codings that it likes; None for any other request."""
    path = environ["PATH_INFO"]
    if (
        environ["REQUEST_METHOD"] != "GET"
        or environ.get("RAW_URI") != path
        or environ.get("QUERY_STRING")
        or environ.get("SCRIPT_NAME")
        or not _NOT_PLAIN.isdisjoint(environ)
    ):
        return None
    codings = environ.get("HTTP_ACCEPT_ENCODING", "")
    return (path, codings) if len(codings) <= MAX_CODINGS_LENGTH else None


def _is_kept(status: str, headers: _Headers) -> bool:
    """Whether an answer is the same for everybody who asks plainly, and always."""
    found = dict(headers)
    return (
        status == "200 OK"
        and found.get("Cache-Control") == IMMUTABLE
        and found.get("Vary", "Accept-Encoding") == "Accept-Encoding"
    )
