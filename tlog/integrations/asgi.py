"""ASGI middleware: one event for each HTTP request. Source: the ASGI specification 3.0, "HTTP & WebSocket"."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tlog.context import correlated
from tlog.integrations.exchange import ANONYMOUS, HEADER, Exchange, Recorder, describe
from tlog.recording.background import BackgroundWriter

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def scope_user(scope: Scope) -> str:
    """Return the user that an authentication middleware put into the scope, `anonymous` where there is none."""
    user = scope.get("user")
    if user is None or getattr(user, "is_authenticated", True) is False:
        return ANONYMOUS
    for name in ("username", "display_name", "identity"):
        try:
            value = getattr(user, name, None)
        except NotImplementedError:  # Starlette's BaseUser has properties that are to be overridden
            continue
        if isinstance(value, str) and value:
            return value
    return str(user) or ANONYMOUS


class TlogMiddleware:
    """Wraps an ASGI application and writes an event for each HTTP request; other scopes are passed through.

        app = Starlette(..., middleware=[Middleware(TlogMiddleware, writer=writer)])

    writer: where the events go. The event loop is never held up: where the writer has no room and is to block, a thread
    waits in the loop's place, and only this request with it. actor: returns who made a request, from its scope, when
    the response was sent; see `scope_user`. header: of the request, which has the correlation id; None makes one in any
    case. category: of the events. What the application raises is recorded and raised again. Latency is measured to the
    end of the response; the event is written when the application has returned.
    """

    def __init__(
        self,
        app: App,
        writer: BackgroundWriter,
        *,
        actor: Callable[[Scope], Any] = scope_user,
        header: str | None = HEADER,
        category: str = "service",
    ) -> None:
        self._app = app
        self._recorder = Recorder(writer, category)
        self._actor = actor
        self._header = None if header is None else header.lower().encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or pass on what is none."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(_request(scope), self._foreign_id(scope))

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await send(message)
            if message["type"] == "http.response.body":
                exchange.size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    exchange.is_complete = True
                    exchange.end()

        try:
            with correlated(exchange.correlation_id):
                await self._app(scope, receive, watched)
        except BaseException as err:
            exchange.error = err
            raise
        finally:
            await self._record(exchange, scope)

    async def _record(self, exchange: Exchange, scope: Scope) -> None:
        text = self._recorder.text(exchange, lambda: self._actor(scope))
        writer = self._recorder.writer
        if text is None:
            return
        if writer.when_full == "drop":
            self._recorder.put(text)
        elif not writer.offer_json(text):
            await asyncio.to_thread(self._recorder.put, text)

    def _foreign_id(self, scope: Scope) -> str | None:
        if self._header is None:
            return None
        return next((value.decode("latin-1") for name, value in scope["headers"] if name == self._header), None)


def _request(scope: Scope) -> dict[str, Any]:
    client = scope.get("client")
    return describe(
        method=scope["method"],
        path=scope["path"],
        scheme=scope.get("scheme", "http"),
        client=client[0] if client else None,
        query=scope.get("query_string", b"").decode("latin-1"),
        protocol=f"HTTP/{scope['http_version']}" if "http_version" in scope else None,
    )
