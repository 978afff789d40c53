"""Both clients behind one interface, so that every test holds for both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import tlog
from tlog.client.exchange import Pacing

QUICK = Pacing(timeout_s=2.0, attempt_timeout_s=1.0, poll_s=0.05)
"""Short waits, for servers of the test itself."""

IMPATIENT = Pacing(timeout_s=0.3, attempt_timeout_s=0.2, poll_s=0.05)
"""For servers that never answer."""

MakeClient = Callable[..., Any]
"""Makes a client, as `tlog.Client` does."""


class Awaited:
    """An AsyncClient whose answers are awaited by the caller's thread."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = tlog.AsyncClient(*args, **settings)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not inspect.iscoroutinefunction(found):
            return self._iterated(found) if name in ("entries", "follow") else found
        if name == "size":
            return self._runner.run(found())
        return lambda *args, **named: self._runner.run(found(*args, **named))

    def _iterated(self, found: Callable[..., AsyncIterator[Any]]) -> Callable[..., Iterator[Any]]:
        def iterate(*args: Any, **named: Any) -> Iterator[Any]:
            stop = named.pop("stop", None) if found.__name__ == "follow" else None
            items = found(*args, **named)
            while stop is None or not stop.is_set():
                try:
                    yield self._runner.run(_next(items))
                except StopAsyncIteration:
                    return

        return iterate

    def close(self) -> None:
        """Close the client and its event loop."""
        self._runner.run(self._client.aclose())
        self._runner.close()


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items)


KINDS: dict[str, Callable[..., Any]] = {"blocking": tlog.Client, "nonblocking": Awaited}
