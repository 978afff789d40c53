"""Bounds on what a refusal may cost: memory, time, hash calls."""

from __future__ import annotations

import contextlib
import faulthandler
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tlog.errors import Error

DEADLINE_S = 60
"""A hundred times what the slowest case takes. Who misses it hangs, and is ended with a traceback."""


@contextlib.contextmanager
def bounded(memory: int = 4 << 20) -> Iterator[None]:
    """Allow a `with` block so many bytes of memory at a time, and time that only a hang exceeds."""
    faulthandler.dump_traceback_later(DEADLINE_S, exit=True)
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        faulthandler.cancel_dump_traceback_later()
    assert peak <= memory, f"{peak:,} bytes where {memory:,} are allowed"


def refused(call: Callable[[], Any], kind: type[Error] = Error, memory: int = 4 << 20) -> str:
    """Check that a call is refused within bounds, with an error of tlog that is short enough to read; return it."""
    with bounded(memory), pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert 8 <= len(text) <= 600, text[:1000]
    assert text.isprintable(), text
    return text


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        self.calls += 1
        return self.function(*arguments)
