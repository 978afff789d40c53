"""Events that are read: found by the query index, read from the log, counted.

Nothing here is a proof. Every event is read from the log and compared with the index, and every answer says how much of
the log the index covers; what an answer leaves out, only a proof or a reader of the whole log can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request

from tlog.entry import Entry
from tlog.errors import FormatError
from tlog.index.counts import Values
from tlog.index.fields import ROW_FIELDS
from tlog.index.live import find_first
from tlog.index.query import Query, Value
from tlog.index.search import MAX_FACETS, PAGE, Coverage
from tlog.index.store import MAX_ROWS
from tlog.jsontext import encode_json
from tlog.partition import Partition
from tlog_server.access import is_public, may
from tlog_server.answering import NO_STORE, answer
from tlog_server.asking import accepted, ledger, number, parameters, parsing, partition
from tlog_server.indexes import index_of
from tlog_server.problems import RefusedError

JSON = "application/json"
CONDITIONS = (*ROW_FIELDS, "correlation_id", "since", "until", "text")
"""Parameters that are one condition each, beside the query `q`."""

ORDERS = ("newest", "oldest")
TOP = 20
"""Values of a field that are counted, unless told otherwise."""

events_out = Blueprint("events_out", __name__)


@events_out.get("/api/v1/events")
def search() -> Response:
    """A page of the events that match, the newest first unless asked otherwise."""
    asked = parameters("partition", "q", *CONDITIONS, "order", "limit", "after")
    accepted(JSON)
    found = asked_partition(asked)
    query = asked_query(asked)
    order = asked.get("order", ORDERS[0])
    if order not in ORDERS:
        raise RefusedError(400, f"The order is {' or '.join(ORDERS)}.", field="order")
    limit = _limit(asked, PAGE, MAX_ROWS)
    try:
        page = index_of(found).search(query, limit=limit, after=asked.get("after"), oldest_first=order == ORDERS[1])
    except FormatError as err:
        if err.what != "cursor":  # an entry is damaged
            raise
        raise RefusedError(400, f"after: {err.reason}", field="after") from err
    events = b",".join(event_json(hit.entry) for hit in page.hits)
    rest = encode_json({"cursor": page.cursor, "coverage": _coverage(page.coverage)})
    return answer(b'{"events":[' + events + b"]," + rest[1:] + b"\n", JSON, NO_STORE, compress=True)


@events_out.get("/api/v1/events/<path:event_id>")
def event(event_id: str) -> Response:
    """The first event whose own `id` this is, also where it is so new that no index covers it."""
    asked = parameters("partition")
    accepted(JSON)
    found = asked_partition(asked)
    with parsing("id"):
        query = Query().with_condition("id", (Value(event_id),))
    index = index_of(found)
    entry = find_first(index, query)
    if entry is None:
        raise RefusedError(404, f"No event with this id was found: {index.coverage()}.", field="id")
    proof = encode_json({"proof": f"{request.script_root}/{found.name}/proof/inclusion?index={entry.seq}"})
    return answer(event_json(entry)[:-1] + b"," + proof[1:] + b"\n", JSON, NO_STORE)


@events_out.get("/api/v1/facets")
def facets() -> Response:
    """How many of the events that match have which value of a field. It is the index's word."""
    asked = parameters("partition", "field", "q", *CONDITIONS, "limit")
    accepted(JSON)
    found = asked_partition(asked)
    query = asked_query(asked)
    field = asked.get("field", "")
    if field not in ROW_FIELDS:
        raise RefusedError(400, f"Say which field to count: one of {', '.join(ROW_FIELDS)}.", field="field")
    counted = index_of(found).facets(query, field, _limit(asked, TOP, MAX_FACETS))
    values = [{"value": value, "count": count} for value, count in counted.counts]
    return _json({"field": field, "values": values, "coverage": _coverage(counted.coverage)})


@events_out.get("/api/v1/counts")
def counts() -> Response:
    """How many events match, by day and by field, all among the same entries. It is the index's word."""
    asked = parameters("partition", "q", *CONDITIONS, "limit")
    accepted(JSON)
    found = asked_partition(asked)
    counted = index_of(found).counts(asked_query(asked), top=_limit(asked, TOP, MAX_FACETS))
    return _json(
        {
            "entries": counted.entries,
            "days": [{"day": day, "count": count} for day, count in counted.days],
            "earlier": counted.earlier,
            "fields": {name: _values(values) for name, values in counted.fields.items()},
            "coverage": {"indexed": counted.indexed, "entries": max(found.size, counted.indexed)},
        }
    )


@events_out.get("/api/v1/partitions")
def partitions() -> Response:
    """The partitions that the sender may read."""
    parameters()
    accepted(JSON)
    names = [name for name in ledger().partitions() if may("read", name)]
    shown = [
        {"partition": name, "origin": ledger().partition(name).origin, "is_public": is_public(name)} for name in names
    ]
    return _json({"origin": ledger().config.origin, "partitions": shown})


def asked_partition(asked: Mapping[str, str]) -> Partition:
    """Return the partition that the parameter names, for reading. Raises: RefusedError."""
    if "partition" not in asked:
        raise RefusedError(400, "The parameter partition is missing: its name.", field="partition")
    return partition(asked["partition"])


def asked_query(asked: Mapping[str, str]) -> Query:
    """Return what is asked by `q` and by the conditions of their own. Raises: RefusedError naming the parameter."""
    with parsing("q"):
        query = Query.parse(asked.get("q", ""))
    for name in CONDITIONS:
        if name in asked:
            with parsing(name):
                query = query.with_option(name, asked[name])
    return query


def event_json(entry: Entry) -> bytes:
    """Return an event as the interface shows it, its `data` byte for byte as it was sent.

    Raises: FormatError where that is no JSON, which only a changed file can bring about.
    """
    entry.data  # noqa: B018 - checked where it is first read
    head = f'{{"index":{entry.seq},"ts":"{entry.ts}","data":'
    return head.encode() + entry.raw_data + b',"meta":' + encode_json(entry.meta) + b"}"


def _limit(asked: Mapping[str, str], usual: int, most: int) -> int:
    limit = number(asked["limit"], "limit") if "limit" in asked else usual
    if not 1 <= limit <= most:
        raise RefusedError(400, f"The limit is 1 to {most:,}.", field="limit")
    return limit


def _coverage(coverage: Coverage) -> dict[str, int]:
    return {"indexed": coverage.indexed, "entries": coverage.entries}


def _values(values: Values) -> dict[str, Any]:
    return {"values": [{"value": value, "count": count} for value, count in values.counts], "others": values.others}


def _json(fields: Mapping[str, Any]) -> Response:
    return answer(encode_json(dict(fields)) + b"\n", JSON, NO_STORE, compress=True)
