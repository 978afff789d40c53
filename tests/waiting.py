"""Waiting for what happens in other threads and processes."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT_S = 30.0


def until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Return when `condition` holds. Raises: AssertionError after `limit_s` seconds."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not happen in time")
        time.sleep(0.01)
