"""Reaching witnesses over HTTP: no redirects, no proxies from the environment, a deadline, a bounded answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

from tlog.client.transport import DeadlineTransport, until
from tlog.errors import StorageError
from tlog.witnessing.transport import Reply


class WebTransport:
    """See `tlog.witnessing.transport.Transport`. It may be used from several threads."""

    def __init__(self) -> None:
        self._http = httpx.Client(transport=DeadlineTransport("https:"), follow_redirects=False, trust_env=False)

    def send(
        self,
        url: str,
        body: bytes | None,
        *,
        limit: int,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """See `Transport`. What is longer than `limit`, or comes in a content coding, is refused.

        headers: of the body; that it is plain text unless given.
        """
        sent = {} if body is None else dict(headers or {"Content-Type": "text/plain"})
        try:
            request = self._http.build_request(
                "GET" if body is None else "POST",
                url,
                content=body,
                headers={"Accept-Encoding": "identity", **sent},
            )
            with until(timeout_s):
                response = self._http.send(request, stream=True)
                try:
                    return Reply(response.status_code, _media_type(response), _read(response, limit))
                finally:
                    response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as err:
            raise StorageError(f"it cannot be reached ({str(err) or type(err).__name__})") from err

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _media_type(response: httpx.Response) -> str:
    text: str = response.headers.get("content-type", "")
    return text.partition(";")[0].strip().lower()


def _read(response: httpx.Response, limit: int) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise StorageError("its answer has a content coding that was not asked for")
    parts, size = [], 0
    for part in response.iter_raw():
        size += len(part)
        if size > limit:
            raise StorageError(f"its answer is longer than {limit} bytes")
        parts.append(part)
    return b"".join(parts)
