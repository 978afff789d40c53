"""What an audit log is asked, as queries: levels, words and times.

Levels are the severities of RFC 5424, which events have; those of `logging` are accepted for them.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import cast

from tlog.errors import FormatError
from tlog.events import SEVERITIES, Severity
from tlog.index.fields import parse_time
from tlog.index.query import Condition, Query, Value
from tlog.recording.handler import SEVERITIES as LEVELS

Level = str | int
"""A severity of RFC 5424 or a level of `logging`, by name in any case, or a level of `logging` as a number."""

_NAMES = {name: name for name in SEVERITIES} | {"warn": "warning", "fatal": "critical"}


def severity(level: Level) -> Severity:
    """Return the severity that a level is. Raises: FormatError naming the levels that there are."""
    found: str | None = None
    if isinstance(level, str):
        found = _NAMES.get(level.lower())
    elif type(level) is int:
        found = next((name for limit, name in LEVELS if level < limit), SEVERITIES[-1])
    if found is None:
        raise FormatError(
            "level", f"{repr(level)[:80]} is none; there are {', '.join(SEVERITIES)} and the numbers of logging"
        )
    return cast("Severity", found)


def at_least(level: Level) -> Condition:
    """Return the condition that an event has this severity or a more severe one. Raises: FormatError."""
    return Condition("severity", tuple(map(Value, SEVERITIES[SEVERITIES.index(severity(level)) :])))


def of_words(text: str) -> Query:
    """Return the query for entries that hold all of these words, `"several words"` in a row. Raises: FormatError."""
    query = Query()
    for word in re.findall(r'"[^"]*"\*?|[^\s"]+|"', text):
        query = query.with_option("text", word)
    return query


def nanoseconds(time: str | datetime | None, name: str) -> int | None:
    """Return a time as queries have it; None is none. name: of the argument, in errors. Raises: FormatError."""
    if time is None:
        return None
    text = time.isoformat() if isinstance(time, datetime) and time.utcoffset() is not None else time
    found = parse_time(text)
    if found is None:
        raise FormatError(
            name, f"{str(time)[:40]!r} is no time; give 2026-01-31, 2026-01-31T09:30:00Z or a datetime with time zone"
        )
    return found
