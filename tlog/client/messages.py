"""Requests and answers as httpx has them, the same for both clients."""

from __future__ import annotations

import httpx

from tlog.client.answers import decoded, too_long
from tlog.client.steps import Answer, Failure, Request


def as_httpx(request: Request, timeout_s: float) -> httpx.Request:
    """Return a request of httpx that goes to a transport as it is: no cookies, redirects, or defaults."""
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)
    return httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        content=request.body or None,
        extensions={"timeout": timeouts},
    )


def check_size(raw: bytearray, request: Request) -> None:
    """Check what has come of a body. Raises: FormatError where it is more than it may be."""
    if len(raw) > request.limit:
        raise too_long(request.limit)


def answer_of(response: httpx.Response, raw: bytearray, request: Request) -> Answer:
    """Return an answer whose body has come. Raises: FormatError where its content coding cannot be taken off."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    body = decoded(bytes(raw), headers.get("content-encoding", ""), request.limit)
    return Answer(response.status_code, headers, body)


def failure_of(error: httpx.TransportError, timeout_s: float) -> Failure:
    """Return what an error of a transport means."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return Failure(f"cannot connect ({error})", was_sent=False)
    if isinstance(error, httpx.TimeoutException):
        return Failure(f"no whole answer within {timeout_s:.1f} s", was_sent=True)
    return Failure(f"the connection broke ({error})", was_sent=True)
