"""The worker process: gunicorn's threads, with a bound on what waits for them and a limit on what clients may hold.

gunicorn lets requests queue without end, so that under overload each one is answered late. Here a request that would
wait behind many others, or has waited for long, is refused at once with 503 and `Retry-After`: those that are taken are
answered soon, whatever is offered. The refusing threads also answer whether the process is well.

A connection gets a thread when it has sent something, and loses it when it stalls: gunicorn would wait for ever.
"""

from __future__ import annotations

import errno
import json
import secrets
import select
import selectors
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn import util
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from tlog_server.asking import METRICS, SETTINGS, STOPPING
from tlog_server.envelope import SECURITY_HEADERS
from tlog_server.problems import PROBLEM_TYPE

MAX_WAIT_S = 1.0
"""How long a request may wait for a thread; when it has waited longer, it is refused instead of answered."""

RETRY_AFTER_S = 1
HEADER_TIMEOUT_S = 10.0
"""How long the header of a request may take to arrive."""

STALL_TIMEOUT_S = 10.0
"""How long a client may send nothing of a body, or take nothing of an answer."""

REFUSE_TIMEOUT_S = 0.5
"""How long a thread that refuses may be held up by one client."""

LINGER_MS = 2
"""How long a thread waits for the next request of a connection, while no other connection waits for a thread."""

REFUSING_THREADS = 2
ANSWERED_ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})
"""What is answered under overload too: who watches must not take a busy process for a dead one."""


class TimedSocket(socket.socket):
    """A client's socket on which no call waits for ever.

    Before the header is complete, its end is at `header_by` on the monotonic clock, and a client that is late is taken
    for one that went away. Later, a client that stalls makes reading raise TimeoutError.
    """

    header_by: float | None = None
    request: Any = None
    """gunicorn's request, of which an application that leaves a body unread says that it is the last one."""

    def setblocking(self, flag: bool, /) -> None:
        """Let calls wait for a limited time instead of for ever, or not at all."""
        self.settimeout(STALL_TIMEOUT_S if flag else 0.0)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive some bytes. Raises: ConnectionResetError where the header is late, TimeoutError in a body."""
        if self.header_by is None:
            return super().recv(size, flags)
        left = self.header_by - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self.settimeout(left)
            return super().recv(size, flags)
        except TimeoutError as err:
            raise ConnectionResetError(errno.ECONNRESET, "the request's header is late") from err

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all bytes. Raises: ConnectionResetError where the client takes none for too long."""
        try:
            super().sendall(data, flags)
        except TimeoutError as err:
            raise ConnectionResetError(errno.ECONNRESET, "the client takes no answer") from err


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no annotations
    """A worker process of the server."""

    wsgi: Any = None
    """The application; None until it is loaded, which may be after a signal."""

    def init_process(self) -> None:
        """Start the threads, load the application and serve."""
        self._waiting: dict[Any, float] = {}
        self._refusing = ThreadPoolExecutor(REFUSING_THREADS, "tlog-refuse")
        super().init_process()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to end: streams end, requests that are under way are answered."""
        if self.wsgi is not None:
            self._config[STOPPING].set()
        super().handle_exit(sig, frame)

    def accept(self, listener: Any) -> None:
        """Accept a connection, which gets a thread when there is something to read."""
        try:
            accepted, address = listener.accept()
        except OSError as err:
            if err.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        conn = TConn(self.cfg, TimedSocket(fileno=accepted.detach()), address, listener.getsockname())
        conn.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def enqueue_req(self, conn: Any) -> None:
        """Hand a connection with a request to a thread: one that answers, or one that refuses."""
        if len(self._waiting) < self._config[SETTINGS].max_waiting:
            self._waiting[conn] = time.monotonic()
            super().enqueue_req(conn)
        else:
            self._refusing.submit(self._refuse, conn).add_done_callback(partial(self._refused, conn))

    def handle(self, conn: Any) -> Any:
        """Answer a request, in a thread; refuse it if it waited for too long."""
        now = time.monotonic()
        if now - self._waiting.pop(conn, now) > MAX_WAIT_S:
            return self._refuse(conn)
        conn.sock.header_by = now + HEADER_TIMEOUT_S
        result = super().handle(conn)
        while result is True and self.alive and not self._waiting and _is_readable(conn.sock):
            conn.sock.header_by = time.monotonic() + HEADER_TIMEOUT_S
            result = super().handle(conn)
        return result

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request whose header is complete."""
        conn.sock.header_by = None
        conn.sock.request = req
        conn.sock.setblocking(True)
        return super().handle_request(req, conn)

    @property
    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.wsgi.config
        return config

    def _refused(self, conn: Any, done: Future[bool]) -> None:
        self.method_queue.defer(self.finish_request, conn, done)

    def _refuse(self, conn: Any) -> bool:
        """Answer 503 to a request and return whether the connection can be used again."""
        try:
            conn.sock.header_by = time.monotonic() + REFUSE_TIMEOUT_S
            conn.sock.setblocking(True)
            conn.init()
            req = next(conn.parser)
            if not req:
                return False
            if req.path in ANSWERED_ALWAYS:
                return bool(self._keepalive_after(conn, self.handle_request(req, conn)))
            self._config[METRICS].refused("overload")
            is_kept = self.alive and not req.should_close()
            util.write(conn.sock, refusal(req.method, is_kept=is_kept))
            conn.sock.header_by = time.monotonic() + REFUSE_TIMEOUT_S
            return is_kept and bool(conn.parser.finish_body(deadline=conn.sock.header_by))
        except (StopIteration, OSError, ParseException):  # who sends no good request now gets no answer either
            return False


def _is_readable(sock: socket.socket) -> bool:
    """Whether a client sends its next request within LINGER_MS: then no other thread needs to be told of it."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(LINGER_MS))


def refusal(method: str, *, is_kept: bool) -> bytes:
    """Return the whole answer to a request that is refused. is_kept: whether the connection is kept."""
    request_id = secrets.token_hex(8)
    status = HTTPStatus.SERVICE_UNAVAILABLE
    fields = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": "More is asked than can be answered now; ask again later.",
        "request_id": request_id,
    }
    body = json.dumps(fields).encode() + b"\n"
    headers = {
        "Connection": "keep-alive" if is_kept else "close",
        "Content-Type": PROBLEM_TYPE,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Retry-After": str(RETRY_AFTER_S),
        "X-Request-ID": request_id,
        **SECURITY_HEADERS,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    start = f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n".encode()
    return start if method == "HEAD" else start + body
