"""What it takes to reach witnesses, and others who speak over HTTP; `tlog.witnessing.web` does it for real."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Reply(NamedTuple):
    """An answer over HTTP. content_type: without parameters, in lowercase."""

    status: int
    content_type: str
    body: bytes


class Transport(Protocol):
    """How witnesses are reached. It follows no redirects."""

    def send(self, url: str, body: bytes | None, *, limit: int, timeout_s: float) -> Reply:
        """Send a POST with `body`, or a GET without, and return the answer, of at most `limit` bytes.

        Raises: StorageError where there is no answer within the time.
        """
