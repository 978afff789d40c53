"""Searching a log over HTTP: the server's index says where, and each hit is fetched, verified and compared.

What the server leaves out is not seen that way; nor does a refusal prove that there is nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tlog._strict import require_int
from tlog.client.address import Address
from tlog.client.answers import json_object, number_in, refusal
from tlog.client.exchange import Pacing, exchange
from tlog.client.reading import Reading
from tlog.client.steps import Flow
from tlog.client.trees import Trees
from tlog.entry import Entry
from tlog.errors import FormatError, NotFoundError, VerificationError
from tlog.index.fields import Fields
from tlog.index.query import Query, Value

PAGE = 50
MAX_PAGE = 1000

EVENT_ROOM = 1 << 17
"""Bytes of an answer for each event: the largest entry's data and meta, and as much for the way it is written."""

_CURSOR = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """Some entries that match, each verified. unpublished: indexes that the server named, and no checkpoint covers yet.

    cursor: what to give as `after` for the page that follows, None after the last one. indexed, known: how many entries
    the server says its index covers, and the partition has. What the server left out cannot be seen.
    """

    entries: tuple[Entry, ...]
    unpublished: tuple[int, ...]
    cursor: str | None
    indexed: int
    known: int


class Searching:
    """The questions that the server's index answers; each is a flow."""

    def __init__(self, trees: Trees, reading: Reading, address: Address, pacing: Pacing) -> None:
        self._trees = trees
        self._reading = reading
        self._address = address
        self._pacing = pacing

    def search(
        self, query: Query | str, limit: int = PAGE, after: str | None = None, *, oldest_first: bool = False
    ) -> Flow[Found]:
        """See `Client.search`."""
        asked = query if isinstance(query, Query) else Query.parse(query)
        require_int(limit, "limit", 1, MAX_PAGE)
        if after is not None and _CURSOR.fullmatch(after) is None:
            raise FormatError("after", "is not a cursor that a search has returned")
        order = "oldest" if oldest_first else "newest"
        fields = {"partition": self._address.partition, "q": asked.format(), "order": order, "limit": str(limit)}
        if not fields["q"]:
            del fields["q"]
        if after is not None:
            fields["after"] = after
        answer = yield from self._answer(fields, limit)
        seqs = _indexes(answer, limit, oldest_first=oldest_first)
        cursor = answer.get("cursor")
        if cursor is not None and (not isinstance(cursor, str) or _CURSOR.fullmatch(cursor) is None):
            raise FormatError("answer, cursor", "is no cursor")
        coverage = answer.get("coverage")
        if type(coverage) is not dict:
            raise FormatError("answer, coverage", "is missing")
        entries, unpublished = yield from self._verified(asked, seqs)
        indexed, known = (number_in(coverage, name, "answer, coverage") for name in ("indexed", "entries"))
        return Found(entries, unpublished, cursor, indexed, known)

    def get(self, event_id: str) -> Flow[Entry]:
        """See `Client.get`."""
        query = Query().with_condition("id", (Value(event_id),))
        found = yield from self.search(query, 1, oldest_first=True)
        if found.entries:
            return found.entries[0]
        if found.unpublished:
            message = f"event {event_id[:80]!r}: the server says it is entry {found.unpublished[0]}, not published yet"
            raise NotFoundError(message)
        message = f"event {event_id[:80]!r}: the server finds none; its index covers {found.indexed} entries"
        raise NotFoundError(message)

    def _answer(self, fields: dict[str, str], limit: int) -> Flow[dict[str, Any]]:
        target = f"/api/v1/events?{urlencode(fields)}"
        room = EVENT_ROOM * (limit + 1)
        headers = (("Accept", "application/json"),)
        request = self._address.request("GET", target, limit=room, headers=headers, is_large=True)
        answer = yield from exchange(request, self._pacing)
        if answer.status != 200:
            raise refusal(request, answer)
        return json_object(answer, "answer")

    def _verified(self, query: Query, seqs: list[int]) -> Flow[tuple[tuple[Entry, ...], tuple[int, ...]]]:
        """Return the entries at `seqs`, verified and compared with the query, and what is not published yet."""
        if not seqs:
            return (), ()
        tree = yield from self._trees.latest(max(seqs))
        published = [seq for seq in seqs if seq < tree.size]
        entries = yield from self._reading.chosen(tree, published)
        for entry in entries:
            if not query.matches(Fields.of_entry(entry)):
                message = "the server gave this entry as one that it was not asked for"
                raise VerificationError(message, place=f"entry {entry.seq}", seq=entry.seq)
        return tuple(entries), tuple(seq for seq in seqs if seq >= tree.size)


def _indexes(answer: dict[str, Any], limit: int, *, oldest_first: bool) -> list[int]:
    """Return the indexes of the events in an answer, which must be in the order asked for, each once."""
    events = answer.get("events")
    if type(events) is not list or len(events) > limit:
        raise FormatError("answer, events", f"is no list of at most {limit} events")
    seqs = [number_in(event if type(event) is dict else {}, "index", "answer, event") for event in events]
    if seqs != sorted(set(seqs), reverse=not oldest_first):
        raise FormatError("answer, events", "are not in the order that was asked for, each once")
    return seqs
