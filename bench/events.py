"""Audit events of about 300 bytes of JSON, as a web application and its operators make them; the same at every run.

Event n follows from n alone, so that any process can make any range of them. Identifiers, addresses and times are as
varied as in real life, because compression and caches notice; names and actions repeat as they do there.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

START_S = 1_795_251_600
"""POSIX time of event 0: 2026-11-21T09:00:00Z. One event every 25 milliseconds follows."""

POOL_EVENTS = 16_384
"""Events in `pool`: enough that they don't stay in the processor's small caches, few enough to fit into memory."""

_MASK = (1 << 64) - 1

_ACTIONS = (
    ("security", "session.login", "success", "info", "session"),
    ("security", "session.login", "failure", "warning", "session"),
    ("user", "profile.update", "success", "info", "account"),
    ("user", "document.read", "success", "info", "document"),
    ("user", "document.share", "success", "notice", "document"),
    ("config", "policy.change", "success", "notice", "policy"),
    ("security", "token.create", "success", "notice", "token"),
    ("system", "backup.finish", "success", "info", "backup"),
)
_NAMES = (
    "alice",
    "bob",
    "carol",
    "dave",
    "erin",
    "frank",
    "grace",
    "heidi",
    "ivan",
    "judy",
    "mallory",
    "niaj",
    "olivia",
)
_AGENTS = ("Firefox/128.0", "Chrome/126.0", "Safari/17.5", "curl/8.8.0", "python-httpx/0.28.1")


def event(number: int) -> dict[str, Any]:
    """Return event `number`, 0 or more. Cost: about 5 microseconds."""
    a, b = _mix(2 * number), _mix(2 * number + 1)
    category, action, outcome, severity, kind = _ACTIONS[a % 8 if a >> 62 else 3]
    seconds, rest = divmod(number * 25, 1000)
    time_ms = START_S * 1000 + number * 25
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(START_S + seconds))
    return {
        "id": f"{time_ms >> 16:08x}-{time_ms & 0xFFFF:04x}-7{a >> 4 & 0xFFF:03x}-8{a >> 16 & 0xFFF:03x}-{b >> 16:012x}",
        "time": f"{clock}.{rest:03d}{a >> 28 & 0x1FF:03d}Z",
        "category": category,
        "actor": f"{_NAMES[(a >> 40 & 0xFF) % len(_NAMES)]}.{a >> 48 & 0x3FF}",
        "action": action,
        "target": f"{kind}/{b & 0xFFFFFF:06x}",
        "outcome": outcome,
        "severity": severity,
        "correlation_id": f"{_mix(number >> 2):016x}",
        "data": {
            "ip": f"10.{b >> 24 & 31}.{b >> 30 & 255}.{b >> 38 & 255}",
            "agent": _AGENTS[(b >> 46 & 0xFF) % len(_AGENTS)],
        },
    }


def events(start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Yield the events [start, stop), each made when it is asked for."""
    return map(event, range(start, stop))


def pool() -> list[dict[str, Any]]:
    """Return the first POOL_EVENTS events, to be used again and again: making one costs more than logging it."""
    return list(events(0, POOL_EVENTS))


def cycled(some: list[dict[str, Any]], count: int, start: int = 0) -> Iterator[dict[str, Any]]:
    """Yield `count` events of the pool `some`, from position `start` on and from its beginning again."""
    start %= len(some)
    return itertools.islice(itertools.cycle(some), start, start + count)


def mean_size(some: list[dict[str, Any]]) -> float:
    """Return the mean size of the events as compact JSON, in bytes."""
    return sum(len(json.dumps(value, separators=(",", ":"))) for value in some) / len(some)


def _mix(number: int) -> int:
    """Return 64 bits that look random (splitmix64, Steele, Lea and Flood 2014)."""
    number = number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15 & _MASK
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31
