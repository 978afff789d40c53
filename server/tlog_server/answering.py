"""Answers: entity tags, conditional requests, one byte range, and content codings by negotiation.

Source: RFC 9110, sections 8.8.3 (ETag), 12.5.3 (Accept-Encoding), 13 (conditional requests) and 14 (range requests).
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable
from typing import NamedTuple

import zstandard
from flask import Response, request

from tlog_server.problems import RefusedError

IMMUTABLE = "public, max-age=31536000, immutable"
NO_STORE = "no-store"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"

ZSTD_LEVEL = 3
GZIP_LEVEL = 6
MAX_CODINGS = 16

_CODING = re.compile(
    r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;\s*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*)?", re.ASCII
)
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))", re.ASCII)


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, GZIP_LEVEL, mtime=0)


CODINGS: dict[str, Callable[[bytes], bytes]] = {"zstd": _zstd, "gzip": _gzip}
"""The content codings, the best first; the same bytes come out at every time, so that entity tags stay."""


class Span(NamedTuple):
    """A half-open range of bytes."""

    start: int
    stop: int


def answer(body: bytes, content_type: str, cache_control: str, *, vary: str = "", compress: bool = False) -> Response:
    """Return the answer that has these bytes, or says that the client has them, or has the part that was asked for.

    compress: whether a content coding may be negotiated. A byte range is one of the bytes without coding.
    """
    environ = request.environ
    coding = _negotiated(is_plain_wanted="HTTP_RANGE" in environ) if compress else None
    tag = hashlib.sha256(body).hexdigest()[:32]
    etag = f'"{tag}"' if coding is None else f'"{tag}-{coding}"'
    headers = [("Content-Type", content_type), ("Cache-Control", cache_control), ("Accept-Ranges", "bytes")]
    names = [name for name in (vary, "Accept-Encoding" if compress else "") if name]
    if names:
        headers.append(("Vary", ", ".join(names)))
    headers.append(("ETag", etag))
    if "HTTP_IF_NONE_MATCH" in environ and request.if_none_match.contains_weak(etag[1:-1]):
        return Response(status=304, headers=headers[1:])
    status = 200
    if coding is not None:
        headers.append(("Content-Encoding", coding))
        body = CODINGS[coding](body)
    elif "HTTP_RANGE" in environ:
        span = _span(len(body), etag)
        if span is not None:
            status = 206
            headers.append(("Content-Range", f"bytes {span.start}-{span.stop - 1}/{len(body)}"))
            body = body[span.start : span.stop]
    return Response(body, status, headers)


def _span(size: int, etag: str) -> Span | None:
    """Return the range that was asked for, None where the whole is the answer. Raises: RefusedError.

    Several ranges, other units and what is no range at all are passed over, as RFC 9110 section 14.2 has it.
    """
    match = _RANGE.fullmatch(request.headers.get("Range", "")) if request.method == "GET" else None
    if match is None or ("If-Range" in request.headers and request.headers["If-Range"] != etag):
        return None
    if match[3] is not None:
        span = Span(max(size - int(match[3]), 0), size)
    else:
        if match[2] and int(match[2]) < int(match[1]):
            return None
        span = Span(int(match[1]), min(int(match[2]) + 1, size) if match[2] else size)
    if span.start >= span.stop:
        detail = f"The range is outside the {size} bytes of this resource."
        raise RefusedError(416, detail, field="Range", headers=[("Content-Range", f"bytes */{size}")])
    return span


def _negotiated(*, is_plain_wanted: bool) -> str | None:
    """Return the content coding that the client likes best, None for none. Raises: RefusedError."""
    header = request.headers.get("Accept-Encoding")
    if header is None:
        return None
    weights: dict[str, float] = {}
    for part in header.split(",")[:MAX_CODINGS]:
        match = _CODING.fullmatch(part)
        if match is not None:
            name = match[1].lower()
            weights["gzip" if name == "x-gzip" else name] = 1.0 if match[2] is None else float(match[2])
    others = weights.get("*")
    # Without a word about it, no coding is acceptable, and less liked than any coding that is named.
    plain = weights.get("identity", 0.0001 if others is None else others)
    if is_plain_wanted and plain > 0:
        return None
    best = max(CODINGS, key=lambda name: weights.get(name, others or 0.0))  # the first of equals
    if weights.get(best, others or 0.0) > 0 and weights.get(best, others or 0.0) >= plain:
        return best
    if plain > 0:
        return None
    raise RefusedError(406, "This resource comes in zstd, in gzip, or without content coding.", field="Accept-Encoding")
