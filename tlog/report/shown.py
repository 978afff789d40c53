"""Text of strangers, made safe to look at: nothing in it reorders, hides or steers what stands beside it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# What Python calls printable, and yet is blank or changes the character before it.
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
_SUSPECT = re.compile(rf"[{_INVISIBLE}]|[^ -~]")
_HIDDEN = re.compile(f"[{_INVISIBLE}]")


def visible(text: str) -> str:
    r"""Return `text` with all that cannot be seen written as \n, \uXXXX or \UXXXXXXXX.

    That is: control characters and line breaks, what reorders text, every space but the plain one, characters without
    width, private and unassigned ones, and lone surrogates. Cost: linear.
    """
    return _SUSPECT.sub(_spelled, text)


def cut(text: str, limit: int) -> str:
    """Return `text`, cut to `limit` characters where it is longer, and then the words say so."""
    return text if len(text) <= limit else f"{text[:limit]}… [cut: {len(text):,} characters]"


def moment(time_s: int) -> str:
    """Return a time as people read it, in UTC. time_s: POSIX seconds, any number: a stranger may have stated it."""
    try:
        return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"second {time_s:,} since 1970"


def _spelled(match: re.Match[str]) -> str:
    found = match[0]
    if found.isprintable() and _HIDDEN.match(found) is None:
        return found
    if found == "\n":
        return "\\n"
    code = ord(found)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
