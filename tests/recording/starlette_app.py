"""A Starlette application that records its requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tlog.context import correlation_id
from tlog.integrations.asgi import TlogMiddleware
from tlog.recording.background import BackgroundWriter


class HeaderUser(AuthenticationBackend):
    """Believes a header; for tests."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """Return who the header says it is."""
        name = conn.headers.get("x-user")
        return None if name is None else (AuthCredentials(), SimpleUser(name))


async def show(request: Request) -> PlainTextResponse:
    """Answer with the correlation id that the application sees."""
    return PlainTextResponse(correlation_id() or "", status_code=int(request.query_params.get("status", "200")))


async def stream(_request: Request) -> StreamingResponse:
    """Take 60 ms for the body."""

    async def parts() -> AsyncIterator[bytes]:
        for number in range(3):
            await asyncio.sleep(0.02)
            yield b"%d" % number

    return StreamingResponse(parts())


async def crash(_request: Request) -> PlainTextResponse:
    """Fail."""
    raise KeyError("crash")


async def echo(websocket: WebSocket) -> None:
    """Send back one message."""
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


def create_app(writer: BackgroundWriter, **options: Any) -> Starlette:
    """Return the application."""
    routes = [Route("/orders/{name}", show), Route("/stream", stream), Route("/crash", crash)]
    middleware = [
        Middleware(TlogMiddleware, writer=writer, **options),
        Middleware(AuthenticationMiddleware, backend=HeaderUser()),
    ]
    return Starlette(routes=[*routes, WebSocketRoute("/echo", echo)], middleware=middleware)


def from_environment() -> Starlette:
    """Return the application that a server process runs."""
    return create_app(BackgroundWriter.at(os.environ["TLOG_TEST_ROOT"], "web", origin="audit.example.com"))
