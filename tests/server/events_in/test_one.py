"""POST /api/v1/events: one event."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

import tlog
from tests.ledgers import NAME
from tests.server.conftest import granted
from tests.server.events_in.conftest import URL, Server
from tlog.keeper import Keeper
from tlog.mapping.cloudevents import from_cloudevents, to_cloudevents
from tlog_server.app import create_app
from tlog_server.settings import Settings


def test_an_event(server: Server) -> None:
    """An event gets its place; the entry holds its bytes and who was authenticated; the answer says where it is."""
    first = server.post(URL, b' {"action": "login", "n": 1.0}\n')
    assert (first.status_code, first.headers["Location"]) == (201, f"/{NAME}/entry/0")
    assert first.headers["Cache-Control"] == "no-store"
    assert "X-Request-ID" in first.headers
    entry = server.partition.entry(0)
    assert first.json == {
        "partition": NAME, "index": 0, "chain_hash": entry.hash.hex(), "state": "durable"
    }  # fmt: skip
    assert entry.raw_data == b'{"action": "login", "n": 1.0}'
    assert entry.meta == {"writer": "tester"}
    again = server.post(URL, b' {"action": "login", "n": 1.0}\n')
    assert again.json is not None
    assert again.json["index"] == 1
    assert server.app.test_client().get(first.headers["Location"]).status_code == 404  # nothing is published yet
    server.partition.publish()
    assert server.app.test_client().get(first.headers["Location"]).data == entry.raw


@pytest.mark.parametrize(
    ("header", "body"), [("K-1", b'{"n":1}'), ("K-1", b'{"id":"other","n":1}'), (None, b'{"id":"a b","n":1}')]
)
def test_a_retry(server: Server, header: str | None, body: bytes) -> None:
    """The same event with the same key or id of its own is stored once; the retry gets the first answer, with 200."""
    headers = {} if header is None else {"Idempotency_Key": header}
    first, other, again = server.post(URL, body, **headers), server.post(URL, b"0"), server.post(URL, body, **headers)
    assert (first.status_code, other.status_code, again.status_code) == (201, 201, 200)
    assert first.data == again.data
    assert again.headers["Location"] == first.headers["Location"]
    assert server.partition.size == 2
    assert server.partition.entry(0).meta == {"writer": "tester", "id": header or "a b"}
    changed = server.post(URL, body.replace(b"1}", b"2}"), **headers)
    assert (changed.status_code, changed.content_type) == (422, "application/problem+json")
    assert "entry 0" in changed.text
    assert server.partition.size == 2


def test_writers_have_their_own_ids(server: Server) -> None:
    """The same id of another writer is another event."""
    token = granted(server.partition.paths.ledger, writer="other")
    body = b'{"id":"1"}'
    assert [server.post(URL, body).status_code, server.post(URL, body, token=token).status_code] == [201, 201]
    assert [entry.meta["writer"] for entry in server.partition.entries()] == ["tester", "other"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "JSON"), (b"{", 400, "JSON"), (b'{"a":NaN}', 400, "JSON"), (b"1 2", 400, "JSON"),
        (b'{"a":1,"a":2}', 400, "twice"), (b'{"a":"\\u0000"}', 400, "NUL"), (b'"\xff"', 400, "JSON"),
        (b'{"a":"\\ud800"}', 400, "JSON"), (b"[" * 200 + b"]" * 200, 400, "nested"), (b"[" * 60_000, 400, "JSON"),
        (b'{"n":18446744073709551616}', 400, "64 bits"), (b'"' + b"x" * 65_500 + b'"', 413, "fit into one entry"),
        (b'"' + b"x" * (1 << 17) + b'"', 413, "more than"), (b'{"id":"' + b"x" * 257 + b'"}', 400, "256"),
        (b'{"a":"line\nbreak"}', 400, "line break"), (b"9" * 60_000, 400, "JSON"),
    ],
)  # fmt: skip
def test_events_that_are_refused(server: Server, body: bytes, status: int, said: str) -> None:
    """What every reader does not read alike, and what is too large, is refused with the reason; nothing is written."""
    answer = server.post(URL, body)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert said in answer.text
    assert not server.partition.exists


def test_what_json_has_not_to_be_one_line(server: Server) -> None:
    """JSON with line breaks between its tokens is an event like others; an empty id is none."""
    text = json.dumps({"id": "", "a": [1, {"b": "x\ny"}]}, indent=2).encode()
    assert server.post(URL, text).status_code == server.post(URL, text).status_code == 201
    assert server.data() == [json.loads(text)] * 2


@pytest.mark.parametrize(
    ("url", "headers", "status", "field"),
    [
        ("/api/v1/events", {}, 400, "partition"), ("/api/v1/events?partition=A", {}, 400, "partition"),
        ("/api/v1/events?partition=static", {}, 400, "partition"), (f"{URL}&x=1", {}, 400, "query"),
        ("/api/v1/events?partition=tlog-system", {}, 403, "partition"),
        (f"{URL}&wait=soon", {}, 400, "wait"), (f"{URL}&wait=witnessed", {}, 400, "wait"),
        (f"{URL}&wait=published&timeout=61", {}, 400, "timeout"), (f"{URL}&timeout=-1", {}, 400, "timeout"),
        (URL, {"Authorization": ""}, 401, "Authorization"), (URL, {"Authorization": "Bearer x"}, 401, "Authorization"),
        (URL, {"Content_Type": "text/plain"}, 415, "Content-Type"),
        (URL, {"Content_Type": "application/json; charset=latin-1"}, 415, "Content-Type"),
        (URL, {"Content_Type": "application/x-www-form-urlencoded"}, 415, "Content-Type"),
        (URL, {"Idempotency_Key": ""}, 400, "Idempotency-Key"),
        (URL, {"Idempotency_Key": "a b"}, 400, "Idempotency-Key"),
        (URL, {"Idempotency_Key": "x" * 257}, 400, "Idempotency-Key"),
        (URL, {"Idempotency_Key": "é"}, 400, "Idempotency-Key"),
        (URL, {"Content_Encoding": "br"}, 415, "Content-Encoding"),
    ],
)  # fmt: skip
def test_requests_that_are_refused(server: Server, url: str, headers: dict[str, str], status: int, field: str) -> None:
    """What is wrong with a request is said, and where; nothing is written."""
    answer = server.post(url, b"1", **headers)
    assert (answer.status_code, answer.get_json(force=True).get("field")) == (status, field)
    assert not server.partition.exists


def test_who_may_not(server: Server) -> None:
    """A token for another partition or verb appends nothing."""
    ledger = server.partition.paths.ledger
    for token in (granted(ledger, "append", partitions=["other"]), granted(ledger, "read")):
        assert server.post(URL, b"1", token=token).status_code == 403
    assert not server.partition.exists


def test_a_server_that_only_reads(server: Server) -> None:
    """A server that is told to read only takes nothing."""
    app = create_app(server.partition.paths.ledger, Settings(is_read_only=True))
    answer = server._replace(app=app).post(URL, b"1")
    assert answer.status_code == 403
    assert not server.partition.exists


@pytest.mark.parametrize("state", ["published", "integrated"])
def test_waiting_for_a_checkpoint(server: Server, state: str) -> None:
    """The answer comes with a checkpoint that covers the event; who waits in vain is told that it is durable."""
    late = server.post(f"{URL}&wait={state}&timeout=0", b'{"id":"1"}')
    assert late.status_code == 202
    assert late.json is not None
    assert (late.json["state"], late.json["index"], "checkpoint" in late.json) == ("durable", 0, False)
    keeper = Keeper(server.app.config["TLOG_LEDGER"], publish_interval_s=0.05, indexes=False)
    keeper.start()
    try:
        early = server.post(f"{URL}&wait={state}", b'{"id":"2"}')
        again = server.post(f"{URL}&wait={state}", b'{"id":"1"}')
    finally:
        keeper.stop()
    assert (early.status_code, again.status_code) == (201, 200)
    for answer, index in ((early, 1), (again, 0)):
        assert answer.json is not None
        assert (answer.json["state"], answer.json["index"]) == ("published", index)
        checkpoint = tlog.Checkpoint.parse(answer.json["checkpoint"].encode())
        assert checkpoint.tree_size > index
        policy = tlog.Policy.for_log(server.partition.vkey)
        assert tlog.verify_checkpoint(answer.json["checkpoint"].encode(), policy=policy).checkpoint == checkpoint


EVENT = CloudEvent(
    {
        "id": "A 234",
        "source": "/mycontext/ü%41",
        "type": "com.example.someevent",
        "specversion": "1.0",
        "time": datetime(2026, 11, 21, 9, tzinfo=UTC),
        "subject": 'said "yes", € 😀',
        "datacontenttype": "application/json",
        "comexampleextension": "100%",
    },
    {"appinfo": [1, 2.5, None], "text": "é"},
)


@pytest.mark.parametrize("convert", [to_structured_event, to_binary_event])
def test_cloudevents_by_the_sdk(server: Server, convert: Any) -> None:
    """What the SDK sends, in both modes, is kept whole, and a retry in either mode is the same event."""
    message = convert(EVENT)
    headers = {name.replace("-", "_"): value for name, value in message.headers.items()}
    first, again = server.post(URL, message.body, **headers), server.post(URL, message.body, **headers)
    assert (first.status_code, again.status_code) == (201, 200)
    stored = tlog.Event.from_data(server.data()[0])
    document = to_cloudevents(stored)
    assert document == {**EVENT.get_attributes(), "time": "2026-11-21T09:00:00Z", "data": EVENT.get_data()}
    assert server.partition.entry(0).meta["id"] == "/mycontext/ü%41 A 234"
    other = server.post(URL, json.dumps({**document, "data": 1}).encode(), Content_Type="application/cloudevents+json")
    assert other.status_code == 422


def test_cloudevents_that_are_no_json(server: Server) -> None:
    """Text is kept as text, bytes as base64, and an event without data has none."""
    head = {"ce_specversion": "1.0", "ce_type": "t", "ce_source": "s"}
    bodies = [
        (b"caf\xc3\xa9", "text/plain; charset=utf-8"),
        (b"\xff\0", "image/png"),
        (b"\xff", "text/plain; charset=latin1"),
    ]
    for number, (body, kind) in enumerate(bodies):
        assert server.post(URL, body, ce_id=str(number), Content_Type=kind, **head).status_code == 201
    documents = [to_cloudevents(tlog.Event.from_data(data)) for data in server.data()]
    assert [document.get("data") for document in documents] == ["café", None, None]
    assert [document.get("data_base64") for document in documents] == [None, "/wA=", "/w=="]
    assert from_cloudevents(documents[0]) == tlog.Event.from_data(server.data()[0])


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"ce_specversion": "1.0"}, "cloudevents.id"),
        ({"ce_specversion": "0.3", "ce_id": "1"}, "cloudevents.specversion"),
        ({"ce_specversion": "1.0", "ce_id": "%C0%A0"}, "ce-id"),
        ({"ce_specversion": "1.0", "ce_datacontenttype": "text/plain"}, "ce-datacontenttype"),
        ({"Content_Type": "application/cloudevents+json"}, "cloudevents"),
        ({"Content_Type": "application/cloudevents+avro"}, "Content-Type"),
    ],
)  # fmt: skip
def test_cloudevents_that_are_refused(server: Server, headers: dict[str, str], field: str) -> None:
    """An attribute that is missing or wrong is named."""
    answer = server.post(URL, b"1", **headers)
    assert answer.status_code in {400, 415}
    assert answer.get_json(force=True)["field"] == field


def test_many_threads_send_the_same(server: Server) -> None:
    """Of sixteen at once that send one event, one is told 201, and all the same place."""
    answers: list[Any] = []
    start = threading.Barrier(16)

    def send() -> None:
        start.wait()
        answers.append(server.post(URL, b'{"id":"one"}'))

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert len({answer.data for answer in answers}) == 1
    assert server.partition.size == 1


def test_the_first_event_creates_its_partition(server: Server, tmp_path: Path) -> None:
    """Who may append everywhere may begin a partition."""
    assert server.post("/api/v1/events?partition=fresh", b"1").status_code == 201
    with tlog.Ledger.open(tmp_path / "ledger") as ledger:
        assert ledger.partition("fresh").size == 1
