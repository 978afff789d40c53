"""How often one may ask: requests a second of one token, or of one address where no token came.

Each process counts for itself, in memory, by the generic cell rate algorithm: one number a key, the time at which all
that was asked is paid for. A bound of keys is kept, those that asked last. What the server itself failed to answer
costs nothing: who asks again after a 5xx must not be refused for it. Source: docs/access.md, "Limits"; RFC 6585 section
4 (429); ITU-T I.371 annex A (the algorithm).
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, current_app, g, request

from tlog_server.access import caller, client_address
from tlog_server.problems import RefusedError

MAX_KEYS = 16_384
"""Tokens, and addresses, that are remembered; about 200 bytes each."""

BURST_S = 2.0
"""Seconds' worth of requests that may come at once."""

UNLIMITED = frozenset({"health.healthz", "health.readyz"})
"""Endpoints that are always answered: who watches over the process asks them."""

_EXTENSION = "tlog_limits"


class Limiter:
    """Allows each key `rate` requests a second, and BURST_S seconds' worth of them at once. For any number of threads.

    rate: more than 0. max_keys: keys that are remembered; of more, the one that asked longest ago is forgotten.
    """

    def __init__(self, rate: float, *, max_keys: int = MAX_KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate
        self._burst = max(BURST_S, self._interval)
        self._max_keys = max_keys
        self._clock = clock
        self._paid_at: OrderedDict[str, float] = OrderedDict()
        self._mutex = threading.Lock()

    @property
    def remembered(self) -> int:
        """How many keys are remembered."""
        return len(self._paid_at)

    def take(self, key: str) -> float:
        """Count a request of a key and return 0.0; or, where there were too many, the seconds until the next may come.

        A request that is refused is not counted.
        """
        now = self._clock()
        with self._mutex:
            paid_at = max(self._paid_at.get(key, now), now) + self._interval
            wait = paid_at - now - self._burst
            if wait > 1e-9:
                return wait
            self._paid_at[key] = paid_at
            self._paid_at.move_to_end(key)
            if len(self._paid_at) > self._max_keys:
                self._paid_at.popitem(last=False)
        return 0.0

    def give_back(self, key: str) -> None:
        """Take back a request that was counted."""
        with self._mutex:
            if key in self._paid_at:
                self._paid_at[key] -= self._interval


def install(app: Flask, *, token_rate: float, address_rate: float) -> None:
    """Make an application refuse what comes too often. token_rate, address_rate: requests a second, 0: any number."""
    limiters = tuple(Limiter(rate) if rate else None for rate in (token_rate, address_rate))
    if any(limiters):
        app.extensions[_EXTENSION] = limiters
        app.before_request(_count)
        app.after_request(_settle)


def _count() -> None:
    """Count the request. Raises: RefusedError 429."""
    if request.endpoint in UNLIMITED:
        return
    by_token, by_address = current_app.extensions[_EXTENSION]
    try:
        token = caller().token
    except RefusedError:  # a token that does not count is no token; the address pays for trying
        token = None
    limiter, key = (by_address, network_of(client_address())) if token is None else (by_token, token.id)
    if limiter is None:
        return
    wait = limiter.take(key)
    if wait:
        whose = "this address" if token is None else "this token"
        detail = f"More requests came from {whose} than the log takes; ask again after {math.ceil(wait)} s."
        raise RefusedError(429, detail, headers=[("Retry-After", str(math.ceil(wait)))])
    g.counted = (limiter, key)


def _settle(response: Response) -> Response:
    counted = g.pop("counted", None)
    if counted is not None and response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        limiter, key = counted
        limiter.give_back(key)
    return response


def network_of(address: str) -> str:
    """Return what is counted as one address: an IPv4 address, or the /64 of an IPv6 one, all of which one host has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed.packed[:8] + bytes(8), 64)))
    return str(parsed)
