"""The page for searching, and the files in which its hits are taken away."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from flask import Response

from tlog.errors import FormatError
from tlog.index.counts import Counts
from tlog.index.fields import FIELDS
from tlog.index.query import Query, Value
from tlog.index.store import IndexBusyError
from tlog.index.table import csv_of, jsonl_of, row_of
from tlog.partition import Partition
from tlog_server.answering import NO_STORE
from tlog_server.asking import parameters
from tlog_server.drawing import bars_of
from tlog_server.indexes import index_of
from tlog_server.pages import asked_partition, choice
from tlog_server.problems import RefusedError
from tlog_server.rendering import page, page_blueprint

CONDITIONS = (*FIELDS, "since", "until", "text")
"""Parameters that are one condition each, beside the query `q`."""

TOP = 8
"""Values of a field that are listed beside the hits."""

MAX_EXPORT = 100_000
"""Hits of one file."""

FORMS = {"jsonl": "application/jsonl; charset=utf-8", "csv": "text/csv; charset=utf-8; header=present"}

search_pages = page_blueprint("search_pages")


@search_pages.get("/search")
def search_page() -> Response:
    """Entries by their fields, times and words; the URL is the search."""
    asked = parameters("partition", "q", *CONDITIONS, "order", "after")
    found = asked_partition(asked)
    if found is None:
        return choice("search", "Search")
    values = {"partition": found, "here": "search", "asked": asked, "trouble": ""}
    try:
        query = query_of(asked)
        hits = index_of(found).search(query, after=asked.get("after") or None, oldest_first=_is_oldest_first(asked))
    except FormatError as err:
        response = page("search.html", **{**values, "trouble": str(err), "hits": None})
        response.status_code = 400
        return response
    counts = _counts(found, query)
    return page(
        "search.html",
        **values,
        hits=hits,
        rows=[row_of(hit) for hit in hits.hits],
        counts=counts,
        bars=None if counts is None else bars_of(counts),
        facets=[] if counts is None else _facets(found, query, counts, asked),
        query=query.format(),
        link=_link_of(found, query, asked),
        is_exported=counts is not None and counts.entries <= MAX_EXPORT,
        most=MAX_EXPORT,
    )


@search_pages.get("/search/export")
def export() -> Response:
    """All hits as one file; its name says how many entries were searched."""
    asked = parameters("partition", "q", *CONDITIONS, "order", "format")
    found = asked_partition(asked)
    form = asked.get("format", "jsonl")
    if found is None or form not in FORMS:
        raise RefusedError(400, "Give partition=NAME and format=jsonl or format=csv.", field="format")
    try:
        query, oldest_first = query_of(asked), _is_oldest_first(asked)
    except FormatError as err:
        raise RefusedError(400, f"{err.what}: {err.reason}", field="q") from err
    index = index_of(found)
    coverage, count = index.coverage(), index.count(query)
    if count > MAX_EXPORT:
        detail = f"{count:,} entries match, more than the {MAX_EXPORT:,} of one file; narrow the search."
        raise RefusedError(400, detail, field="q")
    hits = index.pages(query, oldest_first=oldest_first)
    parts = jsonl_of(hits) if form == "jsonl" else csv_of(hits)
    first = next(parts)  # what is wrong with the index is an answer of its own, not a file that breaks off
    response = Response(chain([first], parts), content_type=FORMS[form])
    name = f"{found.name}-searched-0-to-{coverage.indexed}-of-{coverage.entries}.{form}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = NO_STORE
    return response


def query_of(asked: Mapping[str, str]) -> Query:
    """Return what is asked: `q`, and each condition of its own; an empty one asks nothing. Raises: FormatError.

    A `q` without any condition is what people type who never saw the language: words to look for.
    """
    text = asked.get("q", "").strip()
    query = Query.parse(text) if "=" in text or not text else Query().with_option("text", text)
    for name in CONDITIONS:
        if asked.get(name):
            query = query.with_option(name, asked[name])
    return query


def _counts(found: Partition, query: Query) -> Counts | None:
    """Return what is counted beside the hits, None where so many match that counting takes too long."""
    try:
        return index_of(found).counts(query, top=TOP)
    except IndexBusyError:
        return None


def _is_oldest_first(asked: Mapping[str, str]) -> bool:
    order = asked.get("order") or "newest"
    if order not in ("newest", "oldest"):
        raise FormatError("order", "it is newest or oldest")
    return order == "oldest"


def _link_of(found: Partition, query: Query, asked: Mapping[str, str]) -> dict[str, str | None]:
    return {"partition": found.name, "q": query.format(), "order": asked.get("order")}


def _facets(found: Partition, query: Query, counts: Counts, asked: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return for each field its values with their counts, and the search that each leads to."""
    facets = []
    for field, values in counts.fields.items():
        rows = [(text, count, _narrowed(found, query, field, text, asked)) for text, count in values.counts]
        if any(text is not None for text, _, _ in rows):
            facets.append({"field": field, "rows": rows, "others": values.others})
    return facets


def _narrowed(
    found: Partition, query: Query, field: str, text: str | None, asked: Mapping[str, str]
) -> dict[str, str | None] | None:
    """Return the parameters of the search for one value too; None for no value, and for those kept with a hash."""
    if text is None or len(text) > 128 or any(condition.field == field for condition in query.conditions):
        return None
    try:
        return _link_of(found, query.with_condition(field, (Value(text),)), asked)
    except FormatError:
        return None
