"""The bare WSGI server: an application that answers every request with the bytes of one tile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

BODY = bytes(range(256)) * 32


def application(_: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answer."""
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(BODY)))])
    return [BODY]
