"""Times of other projects and of events: RFC 3339 with any offset, and counts since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,30}))?([Zz]|[+-]\d\d:?\d\d)", re.ASCII
)  # RFC 3339 section 5.6, and ISO 8601's shorter offset
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_time(text: Any) -> str | None:
    """Return an RFC 3339 time as events have it, in UTC, digits beyond nanoseconds cut off; None if it is none."""
    match = _TIME.fullmatch(text) if type(text) is str else None
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{match[1]}T{match[2]}{match[4].upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    fraction = f".{match[3][:9]}" if match[3] else ""
    return f"{moment.replace(tzinfo=None).isoformat()}{fraction}Z"


def to_nanoseconds(time: str) -> int:
    """Return the nanoseconds since 1970 of an event's time; negative before."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    seconds = (datetime.fromisoformat(f"{whole}+00:00") - _EPOCH) // timedelta(seconds=1)
    return seconds * 10**9 + int(fraction.ljust(9, "0"))


def from_nanoseconds(count: int) -> str | None:
    """Return an event's time, with microseconds or, where needed, nanoseconds; None outside the years 1 to 9999."""
    seconds, nanoseconds = divmod(count, 10**9)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None
    digits = f"{nanoseconds:09d}"
    fraction = digits[:6] if digits.endswith("000") else digits
    return f"{moment.replace(tzinfo=None).isoformat()}.{fraction}Z"
