"""The correlation id of what is being done: one for each thread and each asynchronous task, kept in a contextvar.

Handler, middlewares and audit logger put it into every event that has none of its own, so that all that one request
led to is found by one query. Scopes nest: the id of the outer one is back when the inner one ends.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextvars import ContextVar

MAX_CORRELATION_ID = 1024
"""Characters of a correlation id, as the envelope of an event allows them."""

MAX_FOREIGN_ID = 128
"""Characters of a correlation id that somebody else chose."""

SEPARATOR = "/"
"""Stands between the id of a scope and what `nested` adds: a query for `ID*` finds the scope with all inside it."""

_FOREIGN = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{{0,{MAX_FOREIGN_ID - 1}}}")
_current: ContextVar[str | None] = ContextVar("tlog_correlation_id", default=None)


def correlation_id() -> str | None:
    """Return the correlation id of the innermost scope, None outside of all scopes. Cost: below a microsecond."""
    return _current.get()


def new_correlation_id() -> str:
    """Return 128 random bits as 32 hex digits."""
    return os.urandom(16).hex()


def accepted_correlation_id(text: str | None) -> str | None:
    """Return an id that came from outside, such as a request's header, if it may be recorded; else None.

    It may have 1 to 128 letters, digits and `._:/+=@-`, and begins with a letter or digit: whoever sends it can neither
    forge lines of other logs with it nor make entries large.
    """
    return text if text is not None and _FOREIGN.fullmatch(text) else None


@contextlib.contextmanager
def correlated(value: str | None = None) -> Iterator[str]:
    """Give everything in a `with` block one correlation id, and return it.

    value: 1 to 1,024 characters; unless given, the id of the scope around it, or a new one where there is none.
    Raises: ValueError.
    """
    if value is None:
        value = _current.get() or new_correlation_id()
    elif not 0 < len(value) <= MAX_CORRELATION_ID:
        raise ValueError(f"a correlation id has 1 to {MAX_CORRELATION_ID} characters, not {len(value)}")
    token = _current.set(value)
    try:
        yield value
    finally:
        _current.reset(token)


@contextlib.contextmanager
def nested(part: str | None = None) -> Iterator[str]:
    """Give a part of what is being done an id of its own below that of the scope around it, as in `4bf92f/charge`.

    part: its name, 8 hex digits unless given. Outside of all scopes this is a new id with the part behind it. Where the
    id would exceed 1,024 characters, the part shares the id of the scope around it.
    """
    outer = _current.get() or new_correlation_id()
    inner = f"{outer}{SEPARATOR}{part or os.urandom(4).hex()}"
    with correlated(inner if len(inner) <= MAX_CORRELATION_ID else outer) as value:
        yield value
