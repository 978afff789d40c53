"""POST /api/v1/events:batch: many events, taken in while they arrive."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tlog
from tests.ledgers import NAME
from tests.server.events_in.conftest import BATCH_URL, Server
from tlog.keeper import Keeper
from tlog.mapping.cloudevents import to_cloudevents

NDJSON, ARRAY, MSGPACK = "application/x-ndjson", "application/json", "application/msgpack"
CLOUDEVENTS = "application/cloudevents-batch+json"


def body_of(kind: str, values: list[Any]) -> bytes:
    """Values in one of the forms that a batch has."""
    if kind == NDJSON:
        return b"".join(json.dumps(value).encode() + b"\n" for value in values)
    if kind == ARRAY:
        return json.dumps(values, indent=1).encode()
    return b"".join(msgpack.packb(value) for value in values)


@pytest.mark.parametrize("kind", [NDJSON, ARRAY, MSGPACK])
@pytest.mark.parametrize("count", [0, 1, 2100])
def test_a_batch(server: Server, kind: str, count: int) -> None:
    """All of a batch is there, in its order; the answer says where."""
    values = [{"n": number, "text": "é"} for number in range(count)]
    server.post("/api/v1/events?partition=" + NAME, b"0")
    answer = server.post(BATCH_URL, body_of(kind, values), Content_Type=kind)
    assert (answer.status_code, answer.content_type) == (201, "application/json")
    last = server.partition.entry(count)
    assert answer.json == {
        "partition": NAME,
        "count": count,
        "start": 1 if count else 0,
        "stop": count + 1 if count else 0,
        "chain_hash": last.hash.hex() if count else "",
        "repeated": 0,
        "state": "durable",
    }
    assert server.data()[1:] == values
    assert {json.dumps(entry.meta) for entry in server.partition.entries()} == {'{"writer": "tester"}'}


def test_lines_are_kept(server: Server) -> None:
    """NDJSON is kept byte for byte, whatever its line ends."""
    lines = [b'{"a": 1.0, "b":"\\u00e9"}', b"[1 ,2]", b'"x"']
    assert server.post(BATCH_URL, b"\r\n".join(lines), Content_Type=NDJSON).status_code == 201
    assert [entry.raw_data for entry in server.partition.entries()] == lines


@pytest.mark.parametrize("kind", [NDJSON, ARRAY, MSGPACK])
@pytest.mark.parametrize("bad", [0, 130, 2099])
def test_an_item_is_refused(server: Server, kind: str, bad: int) -> None:
    """The answer says which item was refused, why, and where those before it are; it and those after it are nowhere."""
    values: list[Any] = [{"n": number} for number in range(2100)]
    values[bad] = {"n": "\0"}
    answer = server.post(BATCH_URL, body_of(kind, values), Content_Type=kind)
    problem = answer.get_json(force=True)
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert f"item {bad}, data" in problem["detail"]
    assert "NUL" in problem["detail"]
    assert {name: problem[name] for name in ("item", "count", "start", "stop")} == {
        "item": bad, "count": bad, "start": 0, "stop": bad
    }  # fmt: skip
    assert server.data() == values[:bad]


@pytest.mark.parametrize("kind", [NDJSON, ARRAY, MSGPACK])
def test_a_batch_again(server: Server, kind: str) -> None:
    """A batch with a key, sent again, gets the first answer; items of their own ids keep them."""
    values = [{"n": number, **({"id": f"own-{number}"} if number % 3 == 0 else {})} for number in range(2100)]
    body = body_of(kind, values)
    first = server.post(BATCH_URL, body, Content_Type=kind, Idempotency_Key="K")
    again = server.post(BATCH_URL, body, Content_Type=kind, Idempotency_Key="K")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json is not None
    assert again.json == first.json | {"repeated": 2100}
    assert server.data() == values
    assert [server.partition.entry(number).meta["id"] for number in (3, 4)] == ["own-3", "K/4"]
    more = server.post(BATCH_URL, body_of(kind, [*values, {"n": "more"}]), Content_Type=kind, Idempotency_Key="K")
    assert more.json == {
        "partition": NAME, "count": 2101, "start": 0, "stop": 2101, "repeated": 2100, "state": "durable",
        "chain_hash": server.partition.entry(2100).hash.hex(),
    }  # fmt: skip
    other = server.post(BATCH_URL, body_of(kind, [*values[:10], 1]), Content_Type=kind, Idempotency_Key="K")
    problem = other.get_json(force=True)
    assert (other.status_code, problem["item"], problem["count"], problem["stop"]) == (422, 10, 10, 10)
    assert server.partition.size == 2101


def test_one_id_twice_in_a_batch(server: Server) -> None:
    """The second of two equal events with one id is a repetition; with other data it is refused."""
    body = body_of(NDJSON, [{"id": "1", "n": 1}, {"id": "1", "n": 1}, {"id": "2"}, {"id": "1", "n": 2}, {"id": "3"}])
    answer = server.post(BATCH_URL, body, Content_Type=NDJSON)
    assert (answer.status_code, answer.get_json(force=True)["item"]) == (422, 3)
    assert "entry 0" in answer.text
    assert [data["id"] for data in server.data()] == ["1", "2"]


def test_cloudevents(server: Server) -> None:
    """A batch of CloudEvents is kept whole, each event known by source and id."""
    documents = [
        {"specversion": "1.0", "id": "1", "source": source, "type": "t", "data": {"n": [1]}} for source in ("/a", "/b")
    ]
    body = json.dumps(documents).encode()
    assert server.post(BATCH_URL, body, Content_Type=CLOUDEVENTS).status_code == 201
    assert server.post(BATCH_URL, body, Content_Type=CLOUDEVENTS).status_code == 200
    assert [to_cloudevents(tlog.Event.from_data(data)) for data in server.data()] == documents
    bad = json.dumps([{**documents[0], "id": "2"}, {**documents[0], "id": "3", "type": 5}]).encode()
    problem = server.post(BATCH_URL, bad, Content_Type=CLOUDEVENTS).get_json(force=True)
    assert (problem["field"], problem["item"], problem["start"], problem["stop"]) == ("cloudevents.type", 1, 2, 3)


@pytest.mark.parametrize(
    ("kind", "body", "status", "item"),
    [
        (ARRAY, b"{}", 400, 0), (ARRAY, b"", 400, 0), (ARRAY, b"[1,2", 400, 1), (ARRAY, b"[1,2]]", 400, 2),
        (ARRAY, b"[1,,2]", 400, 1), (MSGPACK, b"\x01\xc1", 400, 1), (MSGPACK, b"\x01\xc4\x01a", 400, 1),
        (MSGPACK, b"\x01\xd4\x01a", 400, 1), (MSGPACK, b"\x01\xcb\x7f\xf8\0\0\0\0\0\0", 400, 1),
        (MSGPACK, b"\x01\x81\x01\x01", 400, 1), (MSGPACK, b"\x01\x92\x01", 400, 1), (MSGPACK, b"\x01\xa1\xff", 400, 1),
        (MSGPACK, b"\x01\xd7\xff\0\0\0\0\0\0\0\0", 400, 1), (MSGPACK, b"\x01\x81\xa1a\xc4\0", 400, 1),
        (NDJSON, b'1\n"' + b"x" * 66_000 + b'"\n3', 413, 1), (NDJSON, b"1\n" + b"2" * (1 << 20), 413, 1),
        (NDJSON, b'1\n{"id":"' + b"x" * 300 + b'"}', 400, 1), (CLOUDEVENTS, b"[1]", 400, 0),
    ],
)  # fmt: skip
def test_bodies_that_end_badly(server: Server, kind: str, body: bytes, status: int, item: int) -> None:
    """What cannot be read ends the batch there; what came before it is durable, and said to be."""
    answer = server.post(BATCH_URL, body, Content_Type=kind)
    problem = answer.get_json(force=True)
    assert (answer.status_code, problem["item"], problem["count"]) == (status, item, item)
    assert server.data() == [1, 2][:item]


def test_a_body_that_is_cut(server: Server) -> None:
    """Where the body itself fails, by its coding or its size, the answer says what of it is durable."""
    body = gzip.compress(body_of(NDJSON, [{"n": number} for number in range(20_000)]))
    answer = server.post(BATCH_URL, body[:-10], Content_Type=NDJSON, Content_Encoding="gzip")
    problem = answer.get_json(force=True)
    assert (answer.status_code, problem["field"]) == (400, "Content-Encoding")
    assert 0 < problem["count"] == problem["stop"] == server.partition.size <= 20_000
    assert server.data() == [{"n": number} for number in range(problem["count"])]


def test_keys_and_types(server: Server) -> None:
    """A key leaves room for the item's number, and the media type is one that is known."""
    assert server.post(BATCH_URL, b"1", Content_Type=NDJSON, Idempotency_Key="x" * 236).status_code == 400
    assert server.post(BATCH_URL, b"1", Content_Type=NDJSON, Idempotency_Key="x" * 235).status_code == 201
    assert server.post(BATCH_URL, b"1", Content_Type="text/plain").status_code == 415
    assert server.post(BATCH_URL, b"1", Content_Type=NDJSON, Authorization="").status_code == 401


def test_waiting(server: Server) -> None:
    """A batch can wait for a checkpoint over all of it."""
    late = server.post(f"{BATCH_URL}&wait=published&timeout=0", b"1\n2\n", Content_Type=NDJSON)
    assert late.status_code == 202
    assert late.json is not None
    assert (late.json["state"], late.json["count"]) == ("durable", 2)
    keeper = Keeper(server.app.config["TLOG_LEDGER"], publish_interval_s=0.05, indexes=False)
    keeper.start()
    try:
        answer = server.post(f"{BATCH_URL}&wait=published", b"3\n4\n", Content_Type=NDJSON)
    finally:
        keeper.stop()
    assert answer.json is not None
    assert (answer.status_code, answer.json["state"]) == (201, "published")
    assert tlog.Checkpoint.parse(answer.json["checkpoint"].encode()).tree_size >= 4


LINES = st.lists(
    st.one_of(st.integers(0, 9).map(str), st.sampled_from(["{", "", '{"id":"a"}', '{"id":"b"}'])), max_size=6
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, key=st.sampled_from([None, "k"]))
def test_any_batch_says_what_it_did(server: Server, lines: list[str], key: str | None) -> None:
    """Whatever the batch: what the answer says was written is what is there more than before."""
    before = server.partition.size if server.partition.exists else 0
    headers = {} if key is None else {"Idempotency_Key": key}
    answer = server.post(BATCH_URL, "\n".join(lines).encode(), Content_Type=NDJSON, **headers)
    fields = answer.get_json(force=True)
    after = server.partition.size if server.partition.exists else 0
    assert answer.status_code in {200, 201, 400, 422}
    sent = [line for line in lines if line]
    assert fields["count"] == (fields["item"] if answer.status_code >= 400 else len(sent))
    written = [entry.raw_data.decode() for entry in server.partition.entries(before)] if after else []
    assert len(written) == fields["count"] - fields.get("repeated", fields["count"] - len(written))
    rest = iter(sent[: fields["count"]])
    assert all(line in rest for line in written), "what was written is what was sent, in its order"
    ids = [entry.meta.get("id") for entry in server.partition.entries()] if after else []
    named = [name for name in ids if name is not None]
    assert len(named) == len(set(named))
