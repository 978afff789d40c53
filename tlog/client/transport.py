"""Connections on which nothing lasts longer than its deadline, however slowly the other side sends.

The timeouts of httpx are for each read; a server that sends a byte now and then keeps to them for ever. So what is
below httpx, httpcore, gets a network of ours, whose reads and writes end at the deadline of the request.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

MAX_CONNECTIONS = 32
KEPT_CONNECTIONS = 8
KEPT_S = 5.0

_PIECE = 1 << 14
"""Bytes that are written at a time."""

_deadline: ContextVar[float] = ContextVar("tlog_client_deadline")


@contextlib.contextmanager
def until(timeout_s: float) -> Iterator[None]:
    """Let what the block does on connections of `DeadlineTransport` end after so many seconds."""
    token = _deadline.set(time.monotonic() + timeout_s)
    try:
        yield
    finally:
        _deadline.reset(token)


class DeadlineTransport(httpx.BaseTransport):
    """HTTP/1.1 over TCP and TLS, no proxies, certificates checked against the system's authorities."""

    def __init__(self, base: str) -> None:
        """base: the URL of the server that is talked to."""
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(base),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_S,
            network_backend=_Network(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer, its body not read yet. Raises: httpx.TransportError."""
        url = request.url
        with _as_httpx():
            response = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response.stream))

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def _tls(base: str) -> ssl.SSLContext:
    """Return what checks a server's certificate; reading the system's authorities takes 20 ms, so only where needed."""
    if base.startswith("https:"):
        return ssl.create_default_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # knows no authority


def async_transport(base: str) -> httpx.AsyncBaseTransport:
    """Return the same for tasks, whose deadlines are those of the cancel scopes that they stand in."""
    return httpx.AsyncHTTPTransport(
        verify=_tls(base),
        trust_env=False,
        limits=httpx.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=KEPT_CONNECTIONS, keepalive_expiry=KEPT_S
        ),
    )


class _Body(httpx.SyncByteStream):
    """The body of an answer, as it comes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._stream

    def close(self) -> None:
        """Release the connection."""
        self._stream.close()


class _Stream(httpcore.NetworkStream):
    """A connection that keeps to the deadline of whoever uses it."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come, at the deadline at the latest."""
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all, as long as the deadline has not come."""
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Return the connection with TLS on it."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection says of itself."""
        return self._stream.get_extra_info(info)


class _Network(httpcore.NetworkBackend):
    """TCP, with streams that keep to the deadline."""

    def __init__(self) -> None:
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect, at the deadline at the latest."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._network.connect_tcp(host, port, left, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        """Do nothing for a while."""
        self._network.sleep(seconds)


def _left(timeout: float | None, late: type[Exception]) -> float:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise late("the deadline of the request has come")
    return left if timeout is None else min(timeout, left)


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Make httpcore's errors those of httpx."""
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout) as err:
        raise httpx.ConnectError(str(err)) from err
    except httpcore.TimeoutException as err:
        raise httpx.ReadTimeout(str(err)) from err
    except (httpcore.NetworkError, httpcore.ProtocolError) as err:
        raise httpx.ReadError(str(err)) from err
