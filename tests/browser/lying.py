"""A server that lies: the real application behind a layer that alters what it answers, on a real port.

What it answers can be changed while it runs, so a browser that has seen the truth comes back to the same address and
meets a lie. Pages and scripts are the real ones unless the lie is about them: whoever controls these can show anything,
which is why there is an offline checker.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Answer(NamedTuple):
    """An answer: its status line and its body."""

    status: str
    body: bytes


Lie = Callable[[str, Answer], Answer]
"""What becomes of the answer to a path."""


def truth(_path: str, answer: Answer) -> Answer:
    """Nothing is altered."""
    return answer


class LyingServer:
    """A WSGI application around another one. app, lie: may be replaced at any time. url: where it is served."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self.lie: Lie = truth
        self.url = ""
        self.lies = 0

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer a request, or lie about it."""
        environ.pop("HTTP_ACCEPT_ENCODING", None)
        environ.pop("HTTP_IF_NONE_MATCH", None)
        parts, status, headers = run_wsgi_app(self.app, environ, buffered=True)
        told = Answer(status, b"".join(parts))
        answer = self.lie(environ["PATH_INFO"], told)
        self.lies += answer != told
        kept = [
            (name, value) for name, value in headers if name.lower() not in {"content-length", "etag", "cache-control"}
        ]
        start(answer.status, [*kept, ("Content-Length", str(len(answer.body))), ("Cache-Control", "no-store")])
        return [answer.body]


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing."""


@contextlib.contextmanager
def lying(app: WSGIApplication) -> Iterator[LyingServer]:
    """Serve an application on a free port, in threads of this process."""
    wrapper = LyingServer(app)
    server = make_server("127.0.0.1", 0, wrapper, threaded=True, request_handler=_Quiet)
    wrapper.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield wrapper
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def replaced(part: str, old: bytes, new: bytes) -> Lie:
    """A lie about every path that holds `part`: some bytes stand for others."""
    return lambda path, answer: Answer(answer.status, answer.body.replace(old, new)) if part in path else answer


def flipped(part: str, place: int) -> Lie:
    """A lie about every path that holds `part`: one bit is another."""

    def lie(path: str, answer: Answer) -> Answer:
        if part not in path:
            return answer
        body = bytearray(answer.body)
        body[place] ^= 1
        return Answer(answer.status, bytes(body))

    return lie


def instead(part: str, body: bytes, status: str = "200 OK") -> Lie:
    """A lie about every path that holds `part`: another answer."""
    return lambda path, answer: Answer(status, body) if part in path else answer
