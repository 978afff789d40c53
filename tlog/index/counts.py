"""Counting all that a query matches: by day and by field, over the same entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tlog.index.query import Query
from tlog.index.store import Store

COUNTED = ("category", "action", "actor", "outcome", "severity")
"""The fields whose values are counted."""

MAX_DAYS = 1000
"""Days that are listed, the last ones on which there were any entries; those before are counted together."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Values:
    """How often a field has which value.

    counts: the most frequent first; None stands for the entries without the field. A value of more than 128 characters
    is cut and ends with a hash. others: entries with values that are not listed.
    """

    counts: tuple[tuple[str | None, int], ...]
    others: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of the entries [0, indexed) a query matches. It is the index's word; `Index.check` compares all of it.

    entries: all that match. days: ISO dates (UTC) in order with the number of entries, at most 1,000, none with 0; the
    time is the event's own where it states one. earlier: entries before those days. fields: by name, those of COUNTED.
    """

    indexed: int
    entries: int
    days: tuple[tuple[str, int], ...]
    earlier: int
    fields: Mapping[str, Values]


def count_all(store: Store, query: Query, indexed: int, limit: int) -> Counts:
    """Count what a query matches among the first `indexed` entries. limit: values of a field that are listed."""
    entries = store.count(query, indexed)
    days = [(_date(day), number) for day, number in store.days(query, indexed, MAX_DAYS)]
    fields = {}
    for field in COUNTED:
        counts = tuple(store.facets(query, field, indexed, limit))
        fields[field] = Values(counts, entries - sum(number for _, number in counts))
    return Counts(indexed, entries, tuple(days), entries - sum(number for _, number in days), fields)


def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).date().isoformat()
