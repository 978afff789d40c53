"""A query as SQL: one FTS5 expression for all terms, ranges for time and seq, and nothing of the user's as syntax."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from tlog.index.fields import EVERY, FIRST_TIME, LAST_TIME, term
from tlog.index.query import Condition, Query

SPAN = 1024
"""Entries whose earliest and latest time are kept together, so that a range of time is a range of seq."""


def source_of(db: sqlite3.Connection, query: Query, start: int, stop: int) -> tuple[str, list[Any]]:
    """Return what follows FROM for a query within a range of seq, and the values in it."""
    wheres: list[str] = []
    values: list[Any] = []
    expression = _expression(query)
    if expression:
        wheres.append("terms MATCH ?")
        values.append(expression)
    key = key_of(query)
    for condition in query.conditions:
        if condition.field == "seq":
            wheres.append(
                f"{key} {'NOT ' if condition.is_negated else ''}IN ({', '.join('?' * len(condition.values))})"
            )
            values += [int(value.text) for value in condition.values]
    if query.since is not None or query.until is not None:
        low = FIRST_TIME if query.since is None else query.since
        high = LAST_TIME if query.until is None else query.until - 1
        spans = "SELECT min(number), max(number) FROM span WHERE high >= ? AND low <= ?"
        first, last = db.execute(spans, (low, high)).fetchone()
        start, stop = (0, 0) if first is None else (max(start, first * SPAN), min(stop, (last + 1) * SPAN))
        wheres.append("e.time >= ? AND e.time <= ?")
        values += [low, high]
    wheres.append(f"{key} >= ? AND {key} < ?")
    values += [start, stop]
    tables = "terms CROSS JOIN entry e ON e.seq = terms.rowid" if expression else "entry e"
    return f"{tables} WHERE {' AND '.join(wheres)}", values


def key_of(query: Query) -> str:
    """Return the column by which the rows of a query come in order without being sorted."""
    return "terms.rowid" if _expression(query) else "e.seq"


def _expression(query: Query) -> str:
    """Return the FTS5 expression of a query's conditions on terms, empty where it has none."""
    wanted: list[str] = []
    unwanted: list[str] = []
    for condition in query.conditions:
        if condition.field != "seq":
            (unwanted if condition.is_negated else wanted).append(f"({' OR '.join(_alternatives(condition))})")
    if not wanted and not unwanted:
        return ""
    found = " AND ".join(wanted) or quoted(EVERY)
    return f"({found}) NOT ({' OR '.join(unwanted)})" if unwanted else found


def _alternatives(condition: Condition) -> Iterator[str]:
    if condition.field == "text":
        texts = condition.phrases
    else:
        texts = [term(condition.field, value.text, is_prefix=value.is_prefix) for value in condition.values]
    for text, value in zip(texts, condition.values, strict=True):
        yield quoted(text) + " *" * value.is_prefix


def quoted(text: str) -> str:
    """Return terms as an FTS5 string: none of them holds a quote, but what is quoted is no syntax whatever it holds."""
    return '"' + text.replace('"', '""') + '"'
