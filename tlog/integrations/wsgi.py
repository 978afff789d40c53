"""WSGI middleware: one event for each request. Source: PEP 3333."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tlog.context import correlated
from tlog.integrations.exchange import ANONYMOUS, HEADER, Exchange, Recorder, describe
from tlog.recording.background import BackgroundWriter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


def remote_user(environ: WSGIEnvironment) -> str:
    """Return the user that the server or another middleware has authenticated, `anonymous` where there is none."""
    return environ.get("REMOTE_USER") or ANONYMOUS


class TlogMiddleware:
    """Wraps a WSGI application and writes an event for each request, when its response was sent to the end.

        app.wsgi_app = TlogMiddleware(app.wsgi_app, writer)

    writer: where the events go; a request waits for room in it as its settings say. actor: returns who made a request,
    from its environ, when the response was sent; REMOTE_USER unless given. header: of the request, which has the
    correlation id; None makes one in any case. category: of the events. What the application raises is recorded and
    raised again.
    """

    def __init__(
        self,
        app: WSGIApplication,
        writer: BackgroundWriter,
        *,
        actor: Callable[[WSGIEnvironment], Any] = remote_user,
        header: str | None = HEADER,
        category: str = "service",
    ) -> None:
        self._app = app
        self._recorder = Recorder(writer, category)
        self._actor = actor
        self._header = None if header is None else "HTTP_" + header.upper().replace("-", "_")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request."""
        exchange = Exchange(_request(environ), None if self._header is None else environ.get(self._header))

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None, /
        ) -> Callable[[bytes], object]:
            exchange.status = int(status[:3]) if status[:3].isdigit() else None
            write = start_response(status, headers, exc_info)

            def counted(data: bytes) -> object:
                exchange.size += len(data)
                return write(data)

            return counted

        try:
            with correlated(exchange.correlation_id):
                body = self._app(environ, start)
        except BaseException as err:
            exchange.error = err
            self._record(exchange, environ)
            raise
        return _Body(body, exchange, lambda: self._record(exchange, environ))

    def _record(self, exchange: Exchange, environ: WSGIEnvironment) -> None:
        text = self._recorder.text(exchange, lambda: self._actor(environ))
        if text is not None:
            self._recorder.put(text)


class _Body:
    """A response's body on its way to the server, which closes it at its end, or when the client has gone."""

    def __init__(self, body: Iterable[bytes], exchange: Exchange, record: Callable[[], None]) -> None:
        self._body = body
        self._parts = iter(body)
        self._exchange = exchange
        self._record = record
        self._is_ended = False
        self._problem: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            with correlated(self._exchange.correlation_id):
                part = next(self._parts)
        except StopIteration:
            self._exchange.is_complete = True
            self._end()  # test clients often don't close
            raise
        except BaseException as err:
            self._exchange.error = err
            raise
        self._exchange.size += len(part)
        return part

    def close(self) -> None:
        """Close the application's body, and record the request. Raises: what the application raises."""
        self._end()
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem

    def _end(self) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        self._exchange.end()
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                with correlated(self._exchange.correlation_id):
                    close()
        except BaseException as err:  # noqa: BLE001 - it is raised when the server closes the response
            self._problem = err
            self._exchange.error = self._exchange.error or err
        self._record()


def _request(environ: WSGIEnvironment) -> dict[str, Any]:
    # PEP 3333 has text of bytes in these: Latin-1 stands for whatever was sent.
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return describe(
        method=environ.get("REQUEST_METHOD", "GET"),
        path=path.encode("latin-1", "replace").decode("utf-8", "backslashreplace"),
        scheme=environ.get("wsgi.url_scheme", "http"),
        client=environ.get("REMOTE_ADDR"),
        query=environ.get("QUERY_STRING", ""),
        protocol=environ.get("SERVER_PROTOCOL"),
    )
