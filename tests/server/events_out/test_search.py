"""Events by query, by id, and counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

import tlog
from tests.index.model import counted, matching
from tests.ledgers import NAME, QuickDisk, create, flip
from tests.server.conftest import granted
from tests.server.events_out.conftest import ENTRIES, Ask, elsewhere
from tlog.index import sqlite
from tlog.index.fields import ROW_FIELDS, Fields, format_time
from tlog.index.query import Query
from tlog.index.search import Index
from tlog_server import indexes
from tlog_server.app import create_app

COVERAGE = {"indexed": ENTRIES, "entries": ENTRIES + 1}


@pytest.mark.parametrize(
    ("parameters", "query"),
    [
        ({}, ""),
        ({"q": "actor=alice|bob outcome!=success"}, "actor=alice|bob outcome!=success"),
        ({"actor": "alice", "outcome": "failure"}, "actor=alice outcome=failure"),
        ({"text": "failed password"}, 'text="failed password"'),
        ({"action": "log*", "since": "2026-01-03", "until": "2026-01-09T00:00:00Z"},
         "action=log* since=2026-01-03 until=2026-01-09"),
        ({"q": "actor=alice", "target": "*", "category": "security|user", "severity": "warning"},
         "actor=alice target=* category=security|user severity=warning"),
        ({"correlation_id": "*"}, "correlation_id=*"),
    ],
)  # fmt: skip
def test_what_matches_is_found(users: tlog.Partition, ask: Ask, parameters: dict[str, str], query: str) -> None:
    """Each way of asking finds what the model finds, page by page, in both orders, with the events as sent."""
    expected = matching(list(users.entries(0, ENTRIES)), Query.parse(query))
    for order, wanted in (("newest", expected[::-1]), ("oldest", expected)):
        found: list[Any] = []
        after: dict[str, str] = {}
        while True:
            page = ask("events", partition=NAME, order=order, limit=37, **parameters, **after)
            assert page["coverage"] == COVERAGE
            found += page["events"]
            if page["cursor"] is None:
                break
            after = {"after": page["cursor"]}
        assert [event["index"] for event in found] == wanted
        for event in found:
            entry = users.entry(event["index"])
            assert event == {"index": entry.seq, "ts": entry.ts, "data": entry.data, "meta": entry.meta}


def test_a_page_is_fifty_unless_told_otherwise(ask: Ask) -> None:
    """The limit is 1 to 1,000."""
    assert len(ask("events", partition=NAME)["events"]) == 50
    assert len(ask("events", partition=NAME, limit=1)["events"]) == 1
    assert len(ask("events", partition=NAME, limit=1000)["events"]) == ENTRIES


def test_numbers_and_order_of_keys_stay(tmp_path: Path) -> None:
    """The event's own text is given out byte for byte: no reader's rounding comes between."""
    text = b'{"z":1.0,"a":1e5,"n":9007199254740993,"s":"\\u00e9\xe2\x80\xa8"}'
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append_json(text, meta={"writer": "w"})
    with Index(partition) as index:
        index.catch_up()
    answer = create_app(tmp_path / "l").test_client().get(f"/api/v1/events?partition={NAME}")
    assert b'"data":' + text + b',"meta":{"writer":"w"}}' in answer.data


@pytest.mark.parametrize(
    ("path", "parameters", "status", "field"),
    [
        ("events", {}, 400, "partition"),
        ("events", {"partition": "none"}, 404, "partition"),
        ("events", {"partition": "../x"}, 404, "partition"),
        ("events", {"partition": NAME, "colour": "red"}, 400, "query"),
        ("events", {"partition": NAME, "id": "x"}, 400, "query"),
        ("events", {"partition": NAME, "q": "colour=red"}, 400, "q"),
        ("events", {"partition": NAME, "q": "actor"}, 400, "q"),
        ("events", {"partition": NAME, "actor": ""}, 400, "actor"),
        ("events", {"partition": NAME, "since": "yesterday"}, 400, "since"),
        ("events", {"partition": NAME, "q": "since=2026-01-01", "since": "2026-01-01"}, 400, "since"),
        ("events", {"partition": NAME, "text": "..."}, 400, "text"),
        ("events", {"partition": NAME, "order": "random"}, 400, "order"),
        ("events", {"partition": NAME, "limit": "0"}, 400, "limit"),
        ("events", {"partition": NAME, "limit": "1001"}, 400, "limit"),
        ("events", {"partition": NAME, "limit": "+5"}, 400, "limit"),
        ("events", {"partition": NAME, "limit": "9" * 400}, 400, "limit"),
        ("events", {"partition": NAME, "after": "x"}, 400, "after"),
        ("events", {"partition": NAME, "q": "actor=" + "|".join("a" * 300)}, 400, "q"),
        ("events/none", {"partition": NAME}, 404, "id"),
        ("events/x", {}, 400, "partition"),
        ("facets", {"partition": NAME}, 400, "field"),
        ("facets", {"partition": NAME, "field": "id"}, 400, "field"),
        ("facets", {"partition": NAME, "field": "actor", "limit": "1001"}, 400, "limit"),
        ("counts", {"partition": NAME, "field": "actor"}, 400, "query"),
        ("counts", {"partition": NAME, "q": '"'}, 400, "q"),
        ("partitions", {"partition": NAME}, 400, "query"),
    ],
)  # fmt: skip
def test_what_is_refused(ask: Ask, path: str, parameters: dict[str, str], status: int, field: str) -> None:
    """Unknown, missing and wrong parameters are named, with a remedy; nothing is guessed."""
    problem = ask(path, status, **parameters)
    assert set(problem) == {"type", "title", "status", "detail", "field", "request_id"}
    assert (problem["status"], problem["field"]) == (status, field)


def test_a_cursor_of_another_query(ask: Ask) -> None:
    """A cursor counts for its own query and order only."""
    cursor = ask("events", partition=NAME, limit=5)["cursor"]
    ask("events", partition=NAME, limit=7, after=cursor)
    for other in ({"actor": "alice"}, {"order": "oldest"}):
        assert ask("events", 400, partition=NAME, after=cursor, **other)["field"] == "after"


def test_by_id(users: tlog.Partition, ask: Ask) -> None:
    """The first event with an id, with the way to its proof."""
    entry = users.entry(17)  # and there is another one with this id
    event = ask("events/id-17", partition=NAME)
    assert event.pop("proof") == f"/{NAME}/proof/inclusion?index={entry.seq}"
    assert event == {"index": entry.seq, "ts": entry.ts, "data": entry.data, "meta": entry.meta}


def test_what_was_just_appended_is_found_by_id(ask: Ask) -> None:
    """An event that no index covers yet is found by its id, not by a query, whose answer says what it covers."""
    event = ask("events/new", partition=NAME)
    assert (event["index"], event["meta"]) == (ENTRIES, {"writer": "web-1", "id": "k"})
    page = ask("events", partition=NAME, actor="zoe")
    assert (page["events"], page["coverage"]) == ([], COVERAGE)


def test_ids_with_slashes_and_other_letters(tmp_path: Path) -> None:
    """An id stands in the path in the one spelling that URLs have for it."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    ids = ["a/b", "é x", "100%", "a?b#c", "stream"]
    partition.append_many({"id": text} for text in ids)
    with Index(partition) as index:
        index.catch_up()
    client = create_app(tmp_path / "l").test_client()
    for seq, path in enumerate(["a/b", "%C3%A9%20x", "100%25", "a%3Fb%23c"]):
        answer = client.get(f"/api/v1/events/{path}?partition={NAME}")
        assert answer.get_json()["index"] == seq
    assert client.get(f"/api/v1/events?partition={NAME}&q=id%3Dstream").get_json()["events"][0]["index"] == 4


@pytest.mark.parametrize("query", ["", "actor=alice|bob", "text=password", "since=2026-01-05", "actor=nobody"])
def test_counting(users: tlog.Partition, ask: Ask, query: str) -> None:
    """Facets and counts are those of the model."""
    entries, parsed = list(users.entries(0, ENTRIES)), Query.parse(query)
    for field in ROW_FIELDS:
        answer = ask("facets", partition=NAME, field=field, q=query, limit=1000)
        assert {item["value"]: item["count"] for item in answer["values"]} == counted(entries, parsed, field)
        assert (answer["field"], answer["coverage"]) == (field, COVERAGE)
    answer = ask("counts", partition=NAME, q=query, limit=2)
    seqs = matching(entries, parsed)
    days = Counter(format_time(Fields.of_entry(entries[seq]).time)[:10] for seq in seqs)
    assert {item["day"]: item["count"] for item in answer["days"]} == days
    assert (answer["entries"], answer["earlier"], answer["coverage"]) == (len(seqs), 0, COVERAGE)
    actors = answer["fields"]["actor"]
    assert len(actors["values"]) <= 2
    assert actors["others"] + sum(item["count"] for item in actors["values"]) == len(seqs)


def test_partitions(users: tlog.Partition, tmp_path: Path, ask: Ask) -> None:
    """Everybody sees public partitions; private ones are there for tokens that may read them."""
    shown = ask("partitions")
    assert shown["origin"] == "audit.example.com"
    # Other tests may have made verifications, and so the system partition.
    own = [partition for partition in shown["partitions"] if partition["partition"] == NAME]
    assert own == [{"partition": NAME, "origin": users.origin, "is_public": True}]
    ledger = elsewhere(users, tmp_path)
    token = granted(ledger, "read", partitions=[NAME])
    with (ledger / "tlog.toml").open("a") as config:
        config.write('\n[access]\nprivate = ["*"]\n')
    client = create_app(ledger).test_client()
    assert client.get("/api/v1/partitions").get_json()["partitions"] == []
    bearer = {"Authorization": f"Bearer {token}"}
    shown = client.get("/api/v1/partitions", headers=bearer).get_json()["partitions"]
    assert shown == [{"partition": NAME, "origin": users.origin, "is_public": False}]
    for path in ("events", "events/new", "facets", "counts", "events/stream"):
        assert client.get(f"/api/v1/{path}?partition={NAME}").status_code == 401
    assert client.get(f"/api/v1/events?partition={NAME}", headers=bearer).status_code == 200


def test_an_entry_that_was_changed_behind_the_index(users: tlog.Partition, tmp_path: Path) -> None:
    """A page with an entry that is not what was indexed is not given out, nor the part of it that is good."""
    ledger = elsewhere(users, tmp_path)
    with tlog.Ledger.open(ledger) as opened:
        flip(opened.partition(NAME).paths.plain(256), 8 * 400)
    client = create_app(ledger).test_client()
    answer = client.get(f"/api/v1/events?partition={NAME}")
    assert (answer.status_code, str(tmp_path) in answer.text) == (500, False)
    assert client.get(f"/api/v1/events?partition={NAME}&order=oldest").status_code == 200


def test_what_takes_too_long(users: tlog.Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that takes longer than is allowed is answered 503, with the time to come back; others are not."""
    monkeypatch.setattr(indexes, "TIME_LIMIT_S", 0)
    monkeypatch.setattr(sqlite, "STEPS", 1)
    client = create_app(users.paths.ledger).test_client()
    for path in ("events?", "facets?field=actor&", "counts?", "events/x?"):
        answer = client.get(f"/api/v1/{path}partition={NAME}")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "longer" in answer.get_json(force=True)["detail"]
    monkeypatch.undo()
    client = create_app(users.paths.ledger).test_client()
    assert client.get(f"/api/v1/events?partition={NAME}").status_code == 200


def test_other_methods_and_types(ask: Ask, client: FlaskClient) -> None:
    """HEAD is answered as GET without its body; other media types are not to be had."""
    url = f"/api/v1/events?partition={NAME}&limit=3"
    head, get = client.head(url), client.get(url)
    assert (head.data, head.headers["Content-Length"]) == (b"", str(len(get.data)))
    assert json.loads(get.data) == ask("events", partition=NAME, limit=3)
    assert client.get(url, headers={"Accept": "text/html"}).status_code == 406
    assert client.delete(url).status_code == 405
    small = client.get(url, headers={"Accept-Encoding": "gzip"})
    assert small.headers["Content-Encoding"] == "gzip"
