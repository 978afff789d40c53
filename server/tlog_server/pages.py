"""Pages about what the ledger holds: the ledger, a partition, one entry, the last entries as they come.

They are made here and can be read without scripts. What a reader need not believe, the scripts check in the browser.
"""

from __future__ import annotations

import json
import time
from typing import Any

from flask import Response

from tlog._strict import MAX_TREE_SIZE, parse_decimal
from tlog.checkpoint import Checkpoint
from tlog.entry import Entry
from tlog.errors import FormatError, NotFoundError
from tlog.index.table import row_of_entry
from tlog.partition import Partition
from tlog.report.overview import growth
from tlog.report.sentence import sentence
from tlog.report.vouching import vouching
from tlog.status import partition_status, status_of
from tlog_server.access import may
from tlog_server.asking import ledger, parameters, partition
from tlog_server.drawing import bars_of, growth_of
from tlog_server.indexes import index_of
from tlog_server.network import vouching_picture
from tlog_server.problems import RefusedError
from tlog_server.rendering import page, page_blueprint

LISTED = 100
"""Partitions of one page of the ledger."""

MAX_COUNTED = 50_000
"""Entries of which the overview counts how many there are of each day; that takes some microseconds each."""

LAST = 50
"""Entries that the live page begins with."""

pages = page_blueprint("pages")


@pages.get("/")
def ledger_page() -> Response:
    """The partitions that the caller may read, each at a glance."""
    asked = parameters("after")
    names = [name for name in readable() if name > asked.get("after", "")]
    status = status_of(ledger(), names[:LISTED])
    after = names[LISTED - 1] if len(names) > LISTED else None
    return page("ledger.html", here="ledger", status=status, after=after)


@pages.get("/<name>")
def moved(name: str) -> Response:
    """The page of a partition lies one slash further."""
    parameters()
    response = Response(status=308)
    response.headers["Location"] = f"/{partition(name).name}/"
    return response


@pages.get("/<name>/")
def partition_page(name: str) -> Response:
    """A partition at a glance: whose log it is, how much there is, what is signed, who vouches for it."""
    parameters()
    found = partition(name)
    status = status_of(ledger(), [name])
    seen = status.partitions[0] if status.partitions else partition_status(found)
    checkpoint = published(found)
    return page(
        "partition.html",
        partition=found,
        here="overview",
        seen=seen,
        is_kept=status.is_kept,
        checkpoint=checkpoint,
        growth=growth_of(growth(found)),
        bars=bars_of(index_of(found).counts(top=1)) if 0 < seen.indexed <= MAX_COUNTED else None,
        vouching=seen.vouching,
    )


@pages.get("/witnesses")
def witnesses_page() -> Response:
    """Who vouches for a log beside its own key: each witness, what it cosigned last, and the quorum."""
    found = asked_partition(parameters("partition"))
    if found is None:
        return choice("witnesses", "Witnesses")
    policy = ledger().witness_policy()
    vouched = None if policy is None else vouching(found, policy)
    drawn = None if vouched is None else vouching_picture(found.origin, vouched)
    return page(
        "witnesses.html", partition=found, here="witnesses", vouching=vouched, picture=drawn, now_s=int(time.time())
    )


@pages.get("/<name>/events/<index>")
def entry_page(name: str, index: str) -> Response:
    """One entry: what it says, its exact bytes, and what proves it."""
    parameters()
    found = partition(name)
    entry = _entry(found, index)
    place = entry.seq
    checkpoint = published(found)
    size = 0 if checkpoint is None else checkpoint.tree_size
    return page(
        "entry.html",
        partition=found,
        here="entry",
        entry=entry,
        facts=_facts(entry),
        sentence=sentence(entry.data),
        pretty=_pretty(entry.data),
        line=entry.raw.decode(),
        proof=found.prove(place, size) if place < size else None,
        size=size,
        is_last=place + 1 >= found.size,
    )


@pages.get("/live")
def live_page() -> Response:
    """The last entries, and with scripts those that come."""
    asked = parameters("partition")
    found = asked_partition(asked)
    if found is None:
        return choice("live", "Live")
    size = found.size
    entries = list(found.entries(max(size - LAST, 0), size))
    rows = [row_of_entry(entry) for entry in reversed(entries)]
    return page("live.html", partition=found, here="live", rows=rows, size=size)


def readable() -> list[str]:
    """Return the names of the partitions that the caller may read."""
    return [name for name in ledger().partitions() if may("read", name)]


def asked_partition(asked: Any) -> Partition | None:
    """Return the partition that the parameter `partition` names, None where there is none. Raises: RefusedError."""
    return partition(asked["partition"]) if asked.get("partition") else None


def choice(path: str, title: str) -> Response:
    """Return a page that asks which partition is meant."""
    return page("choice.html", path=path, title=title, names=readable()[:LISTED])


def published(found: Partition) -> Checkpoint | None:
    """Return the published checkpoint, its signature checked; None where there is none."""
    try:
        return found.checkpoint()
    except NotFoundError:
        return None


def _entry(found: Partition, index: str) -> Entry:
    """Return the entry that a path names. Raises: RefusedError where there is none; damage is no such case."""
    try:
        place = parse_decimal(index, "index", MAX_TREE_SIZE)
    except FormatError as err:
        raise RefusedError(404, f"index: {err.reason}", field="index") from err
    try:
        return found.entry(place)
    except NotFoundError as err:
        detail = f"The log has {found.size:,} entries, and none with index {place:,}; indexes begin at 0."
        raise RefusedError(404, detail, field="index") from err


def _facts(entry: Entry) -> list[tuple[str, str, str]]:
    """Return what stands beside the sentence: name, value, and whose word it is."""
    data = entry.data if isinstance(entry.data, dict) else {}
    values = (
        ("Time stated", data.get("time"), "by who submitted it"),
        ("Written by", entry.meta.get("writer"), "the log knew them by their token"),
        *((name.capitalize(), data.get(name), "") for name in ("category", "severity", "message")),
    )
    return [(name, value, note) for name, value, note in values if isinstance(value, str) and value]


def _pretty(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2)
