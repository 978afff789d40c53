"""Hits as rows of a table, and as the files in which they are taken away: JSONL and CSV.

JSONL is the entries' lines, byte for byte as they are hashed. A row of the CSV has the fields that queries ask about.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from tlog.entry import Entry
from tlog.index.fields import ROW_FIELDS, Fields, format_time
from tlog.index.search import Hit, Page
from tlog.report.shown import visible

COLUMNS = ("seq", "time", *ROW_FIELDS, "message")
"""The columns of a table of hits."""


def row_of(hit: Hit) -> dict[str, Any]:
    """Return the cells of a hit by column; None for what the entry has not."""
    return {"seq": hit.entry.seq, "time": format_time(hit.time), **hit.values, "message": _message(hit.entry.data)}


def row_of_entry(entry: Entry) -> dict[str, Any]:
    """Return the cells of an entry by column, as `row_of` does of one that was found."""
    fields = Fields.of_entry(entry)
    values = {name: next(iter(fields.values(name)), None) for name in ROW_FIELDS}
    return {"seq": entry.seq, "time": format_time(fields.time), **values, "message": _message(fields.data)}


def _message(data: Any) -> Any:
    return data.get("message") if isinstance(data, dict) else None


def jsonl_of(pages: Iterable[Page]) -> Iterator[bytes]:
    """Yield the lines of the entries found, a page at a time."""
    for page in pages:
        yield b"".join(hit.entry.raw + b"\n" for hit in page.hits)


def csv_of(pages: Iterable[Page]) -> Iterator[bytes]:
    """Yield a table of the entries found as CSV (RFC 4180) in UTF-8 with a line of names, a page at a time."""
    yield format_csv([COLUMNS]).encode()
    for page in pages:
        rows = [row_of(hit) for hit in page.hits]
        yield format_csv([row[column] for column in COLUMNS] for row in rows).encode()


def format_csv(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows of values as CSV, each cell made so that no spreadsheet takes it for a formula."""
    text = io.StringIO()
    csv.writer(text).writerows([csv_cell(value) for value in row] for row in rows)
    return text.getvalue()


def csv_cell(value: Any) -> str:
    """Return a value as the text of a cell: an entry is written by strangers, and a spreadsheet obeys formulas."""
    text = "" if value is None else visible(str(value))
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
