"""What servers answer, taken apart with every size bounded: content codings, problem documents, JSON."""

from __future__ import annotations

import re
import zlib
from typing import Any

from tlog._strict import MAX_TREE_SIZE, require_int
from tlog.client.steps import Answer, Request
from tlog.errors import Error, FormatError, NotFoundError, RequestRefusedError
from tlog.jsontext import parse_json
from tlog.report.shown import cut, visible

PROBLEM_TYPE = "application/problem+json"
MAX_DETAIL = 500

MAX_WINDOW_SIZE = 1 << 23
"""Bytes of window that a zstd stream may ask for: what RFC 9659 allows for the coding `zstd`."""

_ZSTD_STEP = 256
"""Bytes that are decoded at once: at most 85 blocks, which is 11 MB where every one is a run of one byte."""

_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def decoded(raw: bytes, coding: str, limit: int) -> bytes:
    """Return a body without its content coding: none, gzip or zstd. Memory: `limit` bytes, and some MB for zstd.

    limit: bytes that may come out. Raises: FormatError, also for bytes behind the end.
    Source: RFC 9110 section 8.4, RFC 9659 (window size).
    """
    match coding.strip().lower():
        case "" | "identity":
            body = raw
        case "gzip" | "x-gzip":
            body = _gunzipped(raw, limit)
        case "zstd":
            body = _unzstd(raw, limit)
        case _:
            raise FormatError("answer", f"has the content coding {visible(coding)[:40]!r}, which nobody asked for")
    if len(body) > limit:
        raise too_long(limit)
    return body


def too_long(limit: int) -> FormatError:
    """Return the error for an answer of more than `limit` bytes."""
    return FormatError("answer", f"has more than the {limit:,} bytes that it may have")


def _gunzipped(raw: bytes, limit: int) -> bytes:
    decoder = zlib.decompressobj(wbits=31)
    try:
        body = decoder.decompress(raw, limit + 1)
    except zlib.error as err:
        raise FormatError("answer", f"is not gzip ({err})") from err
    if len(body) <= limit and (not decoder.eof or decoder.unused_data):
        raise FormatError("answer", "is cut off, or has bytes behind the end of its gzip stream")
    return body


def _unzstd(raw: bytes, limit: int) -> bytes:
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_SIZE).decompressobj()
    parts, size, at = [], 0, 0
    try:
        while size <= limit and at < len(raw) and not decoder.eof:
            part = decoder.decompress(raw[at : at + _ZSTD_STEP])
            parts.append(part)
            size += len(part)
            at += _ZSTD_STEP
    except (zstandard.ZstdError, MemoryError) as err:
        raise FormatError("answer", f"is not zstd that may be read ({err})") from err
    if size <= limit and (not decoder.eof or decoder.unused_data or at < len(raw)):
        raise FormatError("answer", "is cut off, or has bytes behind the end of its zstd frame")
    return b"".join(parts)


def retry_after(answer: Answer) -> float | None:
    """Return the seconds that an answer wants its client to wait, None where it says nothing or gives a date."""
    text = answer.headers.get("retry-after", "")
    return float(text) if _SECONDS.fullmatch(text) else None


def json_object(answer: Answer, what: str) -> dict[str, Any]:
    """Return the JSON object that an answer is. Raises: FormatError, also for a key that stands twice."""
    value = parse_json(answer.body, what)
    if type(value) is not dict:
        raise FormatError(what, f"is a {type(value).__name__} where an object is needed")
    return value


def number_in(fields: dict[str, Any], name: str, what: str) -> int:
    """Return the whole number, 0 to 2^63 - 1, that an object has under a name. Raises: FormatError."""
    return require_int(fields.get(name), f"{what}, {name}", 0, MAX_TREE_SIZE)


def problem_of(answer: Answer) -> dict[str, Any]:
    """Return the fields of a problem document, {} where the answer is none that can be read."""
    if answer.headers.get("content-type", "").partition(";")[0].strip() != PROBLEM_TYPE:
        return {}
    try:
        return json_object(answer, "problem")
    except FormatError:
        return {}


def refusal(request: Request, answer: Answer) -> Error:
    """Return the error for an answer that is not the one asked for: NotFoundError or RequestRefusedError."""
    path = request.url.split("/", 3)[-1].partition("?")[0]
    problem = problem_of(answer)
    detail = cut(visible(str(problem.get("detail", ""))), MAX_DETAIL)
    where = f"{request.method} /{path}"
    if 300 <= answer.status < 400:
        target = cut(visible(answer.headers.get("location", "")), MAX_DETAIL)
        detail = f"redirects are not followed; this one leads to {target!r}"
    if answer.status == 404:
        return NotFoundError(f"{where}: {detail or 'the server has no such resource'}")
    field = problem.get("field")
    return RequestRefusedError(
        f"{where}: the server answers {answer.status}" + (f": {detail}" if detail else ""),
        status=answer.status,
        detail=detail,
        field=visible(field)[:80] if isinstance(field, str) else None,
        request_id=visible(answer.headers.get("x-request-id", ""))[:80],
    )
