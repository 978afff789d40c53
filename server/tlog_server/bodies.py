"""The body of a request: bounded in bytes as sent and as unpacked, and in time; what is left of it does no harm.

Content codings are taken off piece by piece, so that a small body that unpacks into a huge one is refused when it gets
there, not when it is in memory. Source: RFC 9110 sections 8.4 (codings), 15.5.9 (408), 15.5.14 (413), 15.5.16 (415);
RFC 9112 section 9.6 (what is left unread); RFC 1952 (gzip); RFC 8878 and RFC 9659 (zstd, and its window).
"""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import zstandard
from flask import Flask, Response, g, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from tlog_server.asking import settings
from tlog_server.problems import RefusedError

PIECE = 1 << 16
"""Bytes that are read at a time."""

MIN_RATE = 1 << 16
"""Bytes a second; a body that comes more slowly takes from the time that `body_timeout_s` gives."""

MAX_RATIO = 256
RATIO_SLACK = 4 << 20
"""A body may unpack to MAX_RATIO times its size and this much; text that is worth logging does not come near it."""

MAX_WINDOW = 8 << 20
DRAIN_BYTES = 1 << 20
DRAIN_S = 2.0
"""How much of a body that nobody wants is read, and how long, so that its connection can be used again."""

_ZSTD_STEP = 256  # a block of 4 bytes unpacks to 128 KiB, so 256 bytes unpack to 8 MiB at most
_BEGUN, _READ, _BROKEN = range(3)  # states of a body
_CODINGS = ("identity", "gzip", "zstd")


class _Unpacker(Protocol):
    """Takes a content coding off."""

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece of the coded body stands for, bounded pieces of it."""
        ...

    def is_complete(self) -> bool:
        """Whether the coded body may end here."""
        ...


def install(app: Flask) -> None:
    """Make an application read, or give up, what its handlers left unread."""
    app.after_request(_finish)


def read_body(max_bytes: int) -> bytes:
    """Return the request's body without its content coding. Raises: as `stream_body`. Memory: that of the body."""
    return b"".join(stream_body(max_bytes))


def stream_body(max_bytes: int) -> Iterator[bytes]:
    """Yield the request's body without its content coding, in pieces of at most 8 MiB that are not empty.

    max_bytes: at most so many, as sent and as unpacked. A request without a body has none of them.
    Raises: RefusedError, 413 where there are more, or it unpacks to more than MAX_RATIO times its size; 415 for a
    coding other than gzip, zstd and identity; 400 where it ends early or is damaged; 408 where it comes too slowly.
    """
    unpacker = _unpacker()
    if unpacker is None:
        yield from _pieces(max_bytes)
        return
    packed = unpacked = 0
    for piece in _pieces(max_bytes):
        packed += len(piece)
        for part in unpacker.unpack(piece):
            unpacked += len(part)
            if unpacked > max_bytes:
                raise _too_large(max_bytes, "without its content coding")
            if unpacked > MAX_RATIO * packed + RATIO_SLACK:
                detail = f"The body unpacks to more than {MAX_RATIO} times its size, as no log does."
                raise RefusedError(413, detail, field="Content-Encoding")
            yield part
    if not unpacker.is_complete():
        raise _damaged("ends early")


def _pieces(max_bytes: int) -> Iterator[bytes]:
    """Yield the body as it was sent, all of it or an error."""
    length = request.content_length
    if length is not None and length > max_bytes:
        raise _too_large(max_bytes, "long")
    count, waited_s, limit_s = 0, 0.0, settings().body_timeout_s
    while True:
        room_s = min(limit_s, limit_s + count / MIN_RATE - waited_s)
        start = time.monotonic()
        piece = _read(PIECE, room_s)
        waited_s += time.monotonic() - start
        count += len(piece)
        if count > max_bytes:
            raise _too_large(max_bytes, "long")
        if not piece:
            break
        yield piece
    if length is not None and count < length:
        raise RefusedError(400, f"The body ends after {count} of {length} bytes.")


def _read(size: int, room_s: float) -> bytes:
    """Return up to `size` bytes of the body, none at its end. room_s: seconds that it may take to get them."""
    g.body = _BROKEN  # until it was read without an error
    if room_s <= 0:
        raise _late()
    end = time.monotonic() + room_s
    try:
        with _until(end):
            piece = request.stream.read(size)
    except ClientDisconnected as err:  # of werkzeug, under servers that do not know where a body ends
        raise RefusedError(400, "The body ends before all of its bytes came.") from err
    except ParseException as err:
        raise RefusedError(400, "The body's chunks are not as HTTP has them.") from err
    except OSError as err:
        if isinstance(err, TimeoutError) or time.monotonic() >= end:
            raise _late() from err
        raise RefusedError(400, "The body ends before all of its bytes came.") from err
    g.body = _BEGUN if piece else _READ
    return piece


@contextlib.contextmanager
def _until(end: float) -> Iterator[None]:
    """Let the client's socket receive until this time of the monotonic clock, where it is one that counts time."""
    sock: Any = request.environ.get("gunicorn.socket")
    if not hasattr(sock, "header_by"):
        yield
        return
    sock.header_by = end
    try:
        yield
    finally:
        sock.header_by = None
        sock.setblocking(True)


def _finish(response: Response) -> Response:
    """Read what is left of a small body; a connection with more than that before its next request is closed."""
    if (request.content_length or "HTTP_TRANSFER_ENCODING" in request.environ) and not _is_read():
        _close_connection(response)
    return response


def _is_read() -> bool:
    """Whether the body was read to its end, or is now, if there is little left of it."""
    state = g.get("body", _BEGUN)
    if state != _BEGUN:
        return bool(state == _READ)
    count, end = 0, time.monotonic() + DRAIN_S
    try:
        while count <= DRAIN_BYTES:
            piece = _read(PIECE, end - time.monotonic())
            if not piece:
                return True
            count += len(piece)
    except RefusedError:
        pass
    return False


def _close_connection(response: Response) -> None:
    response.headers["Connection"] = "close"
    sock = request.environ.get("gunicorn.socket")
    force_close: Callable[[], None] | None = getattr(getattr(sock, "request", None), "force_close", None)
    if force_close is not None:
        force_close()


def _unpacker() -> _Unpacker | None:
    """Return what takes the body's content coding off, None where there is none. Raises: RefusedError."""
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding == "identity":
        return None
    if coding in ("gzip", "x-gzip"):
        return _Gzip()
    if coding == "zstd":
        return _Zstd()
    raise RefusedError(
        415,
        f"The body's content coding must be one of {', '.join(_CODINGS)}.",
        field="Content-Encoding",
        headers=[("Accept-Encoding", ", ".join(_CODINGS))],
    )


class _Gzip:
    """Members of gzip, one after another."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._is_between = False

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece stands for."""
        while piece:  # output that is not given yet comes with the next piece: a member ends with 8 bytes of its own
            if self._is_between:
                self._member, self._is_between = zlib.decompressobj(wbits=31), False
            try:
                part = self._member.decompress(piece, PIECE)
            except zlib.error as err:
                raise _damaged("is no gzip") from err
            self._is_between = self._member.eof
            piece = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if part:
                yield part

    def is_complete(self) -> bool:
        """Whether a member has just ended."""
        return self._is_between


class _Zstd:
    """Frames of zstd, one after another."""

    def __init__(self) -> None:
        self._context = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._frame = self._context.decompressobj()
        self._is_between = False

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece stands for."""
        for start in range(0, len(piece), _ZSTD_STEP):
            step = piece[start : start + _ZSTD_STEP]
            while step:
                if self._is_between:
                    self._frame, self._is_between = self._context.decompressobj(), False
                try:
                    part = self._frame.decompress(step)
                except zstandard.ZstdError as err:
                    raise _damaged("is no zstd, or needs a window over 8 MiB") from err
                self._is_between = self._frame.eof
                step = self._frame.unused_data if self._frame.eof else b""
                if part:
                    yield part

    def is_complete(self) -> bool:
        """Whether a frame has just ended."""
        return self._is_between


def _late() -> RefusedError:
    return RefusedError(408, "The body comes too slowly; send it faster, or in smaller ones.")


def _too_large(max_bytes: int, how: str) -> RefusedError:
    return RefusedError(413, f"The body is more than {max_bytes} bytes {how}; send less at a time.")


def _damaged(reason: str) -> RefusedError:
    return RefusedError(400, f"The body {reason}, so its content coding cannot be taken off.", field="Content-Encoding")
