"""Appending to a server that runs: each event once, whatever happens on the way, and a log that is held to its word."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tlog
from tests.client.clients import MakeClient
from tests.client.conftest import Live
from tests.client.lying import CuttingProxy, LyingServer, Said, refused
from tests.client.made import chained, write_site
from tests.ledgers import NAME
from tests.statements import LOG_VKEY
from tlog.client.exchange import Pacing
from tlog.client.receipts import SentBulkReceipt, SentReceipt
from tlog.client.writing import BATCH_EVENTS, BATCH_SIZE
from tlog.entry import parse_entry
from tlog.events import uuid7

PATIENT = Pacing(timeout_s=60.0, attempt_timeout_s=10.0, poll_s=0.1)


@pytest.fixture
def writer(live: Live, make: MakeClient, tmp_path: Path) -> Any:
    """A client that may append."""
    return make(live.url, vkey=live.vkey, token=live.token, state=tmp_path / "state", pacing=PATIENT)


def stored(live: Live, start: int = 0) -> list[tlog.Entry]:
    """Return what the ledger has."""
    with tlog.Ledger.open(live.ledger) as ledger:
        return list(ledger.partition(NAME).entries(start))


def test_one_event_from_beginning_to_end(live: Live, writer: Any) -> None:
    """Appended, acknowledged, published, verified, found, proved, and who wrote it is inside what is signed."""
    receipt = writer.append({"actor": "alice", "action": "login"})
    assert (receipt.state, receipt.is_repeated) == ("durable", False)
    verified = writer.verify_receipt(receipt)
    assert verified.entry.raw == writer.entry(receipt.seq).raw == stored(live)[receipt.seq].raw
    assert verified.entry.data == {"actor": "alice", "action": "login"}
    assert verified.entry.meta == {"writer": "writer-1", "id": receipt.key}
    assert verified.checkpoint.tree_size > receipt.seq
    proof = tlog.verify_proof(writer.prove(receipt.seq), policy=tlog.Policy.for_log(live.vkey))
    assert proof.entry.hash == receipt.hash
    assert next(islice(writer.follow(receipt.seq), 1)).hash == receipt.hash
    found = writer.search("actor=alice action=login", limit=1)
    assert [entry.seq for entry in found.entries] == [receipt.seq]
    assert writer.get("first").seq == 0
    assert NAME in json.dumps(writer.status())


@pytest.mark.parametrize(
    "data", [None, 0, -1.5, "text", [], {}, {"ä": "☃ \u0001"}, [[1, {"a": [True, None]}]], 2**64 - 1]
)
def test_any_json_value(writer: Any, data: Any) -> None:
    """What is sent is stored byte for byte."""
    receipt = writer.append(data, wait="published")
    assert receipt.state == "published"
    assert writer.verify_receipt(receipt).entry.data == data


def test_the_same_event_twice(live: Live, writer: Any) -> None:
    """The same id and data give the first answer again; other data is refused; nothing is stored either way."""
    name = uuid7()
    first = writer.append({"n": 1}, id=name)
    again = writer.append({"n": 1}, id=name)
    assert (again.seq, again.hash, again.is_repeated) == (first.seq, first.hash, True)
    error = refused(lambda: writer.append({"n": 2}, id=name), tlog.RequestRefusedError)
    assert isinstance(error, tlog.RequestRefusedError)
    assert error.status == 422
    for own in (uuid7(), f"ünï {uuid7()}"):
        event = {"id": own, "n": 1}
        first = writer.append(event)
        assert first.key == own
        assert writer.append(event).is_repeated
        assert writer.verify_receipt(first).entry.meta["id"] == own
        assert writer.get(own).seq == first.seq
    assert not writer.append({"n": 1}).is_repeated
    assert writer.append(0).seq == len(stored(live)) - 1


def test_many_events(live: Live, writer: Any) -> None:
    """In batches, in order, once; sent again under the same id they are there already; the receipt can be verified."""
    events = [{"n": number, "text": "x" * (number % 7)} for number in range(2 * BATCH_EVENTS + 5)]
    name = uuid7()
    receipt = writer.append_many(events, id=name)
    assert (receipt.count, receipt.stop - receipt.start, receipt.repeated) == (len(events), len(events), 0)
    assert [entry.data for entry in stored(live, receipt.start)] == events
    writer.verify_appended(receipt, events)
    again = writer.append_many(iter(events), id=name)
    assert again == SentBulkReceipt(receipt.count, receipt.start, receipt.stop, receipt.hash, receipt.count)
    writer.verify_appended(again, (event for event in events))
    assert len(stored(live)) == receipt.stop
    for wrong in (events[:-1], [*events, 1], [*events[:-1], 1], [1, *events[1:]]):
        for one in (receipt, again):
            refused(lambda wrong=wrong, one=one: writer.verify_appended(one, wrong), tlog.VerificationError)  # type: ignore[misc]
    refused(lambda: writer.verify_appended(receipt, events[::-1]), tlog.VerificationError)
    assert writer.append_many([]) == SentBulkReceipt(0, 0, 0, b"", 0)
    writer.verify_appended(writer.append_many([]), [])


def test_a_refused_event_among_many(live: Live, writer: Any) -> None:
    """What this side or the server refuses is named by its number; what stands before it is durable, and no more."""
    start = len(stored(live))
    with pytest.raises(tlog.RefusedItemError, match=r"item 3, data: nan is not JSON.*the 3 items") as mine:
        writer.append_many([0, 1, 2, float("nan"), 4])
    assert (mine.value.index, mine.value.appended) == (3, 3)
    writer.append({"id": "taken", "n": 1}, id=f"taken-{start}")
    events = [{"n": number} for number in range(1500)]
    events[1200] = {"id": f"taken-{start}", "n": 2}  # type: ignore[dict-item]
    with pytest.raises(tlog.RefusedItemError, match=r"item 1200, .*other data.*the 1200 items") as theirs:
        writer.append_many(events)
    assert (theirs.value.index, theirs.value.appended) == (1200, 1200)
    assert str(theirs.value).count("items before it") == 1
    assert [entry.data for entry in stored(live, start + 4)] == events[:1200]
    rest = writer.append_many(events[1201:])
    assert [entry.data for entry in stored(live, rest.start)] == events[1201:]


def test_what_is_refused_before_it_is_sent(writer: Any) -> None:
    """Data that is no JSON, ids that no header can carry, one event instead of many, and what is too large."""
    for action in (
        lambda: writer.append(float("nan")), lambda: writer.append({1: 2}), lambda: writer.append("x" * 70_000),
        lambda: writer.append(1, id=""), lambda: writer.append(1, id="a b"), lambda: writer.append(1, id="x" * 257),
        lambda: writer.append_many([1], id="x" * 201), lambda: writer.append_many([1], id="ä"),
        lambda: writer.append_many({"a": 1}), lambda: writer.append_many("text"),
    ):  # fmt: skip
        refused(action, tlog.FormatError)


def test_who_may_append(live: Live, make: MakeClient) -> None:
    """Without a token, with a wrong one, and to another partition than it is for: refused at the first attempt."""
    for token, status in ((None, 401), ("tlog_none_none", 401)):
        error = refused(lambda token=token: make(live.url, vkey=live.vkey, token=token).append(1))  # type: ignore[misc]
        assert isinstance(error, tlog.RequestRefusedError)
        assert error.status == status
    other = str(tlog.SigningKey.generate("audit.example.com/others").verifier_key)
    error = refused(lambda: make(live.url, vkey=other, token=live.token).append(1), tlog.RequestRefusedError)
    assert isinstance(error, tlog.RequestRefusedError)
    assert error.status == 403


def test_an_asynchronous_source(live: Live) -> None:
    """The asynchronous client takes events from an asynchronous iterable."""

    async def events() -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    async def main() -> None:
        async with tlog.AsyncClient(live.url, vkey=live.vkey, token=live.token, pacing=PATIENT) as client:
            receipt = await client.append_many(events())
            await client.verify_appended(receipt, events())
            assert [entry.data async for entry in client.entries(receipt.start, receipt.stop)] == [0, 1, 2]
            gathered = await asyncio.gather(*(client.append({"n": number}) for number in range(20)))
            assert len({receipt.seq for receipt in gathered}) == 20

    asyncio.run(main())


@pytest.mark.parametrize("seed", [1])
def test_each_event_once_however_often_the_connection_breaks(
    live: Live, make: MakeClient, tmp_path: Path, seed: int
) -> None:
    """Connections die before and after the server has seen the request: every event is there once, in order."""
    run, start = f"storm-{uuid7()}", len(stored(live))
    sent: dict[str, list[dict[str, Any]]] = {}
    errors: list[BaseException] = []
    with CuttingProxy("127.0.0.1", live.port, share=0.5, seed=seed) as proxy:
        clients = [make(proxy.url, vkey=live.vkey, token=live.token, pacing=PATIENT) for _ in range(3)]

        def write(number: int, client: Any) -> None:
            try:
                events = [{"run": run, "thread": number, "n": n} for n in range(30)]
                sent[f"{number}"] = events
                for event in events[:8]:
                    client.append(event)
                receipt = client.append_many(events[8:])
                client.verify_appended(receipt, events[8:])
            except BaseException as err:  # noqa: BLE001 - the test's thread must tell
                errors.append(err)

        threads = [threading.Thread(target=write, args=pair) for pair in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert all(proxy.cut.values()), proxy.cut
    found = [
        entry.data for entry in stored(live, start) if isinstance(entry.data, dict) and entry.data.get("run") == run
    ]
    assert Counter(json.dumps(data) for data in found).most_common(1)[0][1] == 1
    for number, events in sent.items():
        assert [data for data in found if data["thread"] == int(number)] == events
    with tlog.Ledger.open(live.ledger) as ledger:
        assert ledger.partition(NAME).verify().entries >= start + 90
    assert not list(tmp_path.glob("*.evidence-*"))


def test_going_on_after_a_lost_batch(live: Live, make: MakeClient) -> None:
    """Where all answers are lost, the error's key makes the same call go on where it was; every event is there once."""
    impatient = Pacing(timeout_s=1.0, attempt_timeout_s=1.0)
    events = [{"run": uuid7(), "n": number} for number in range(1500)]
    start = len(stored(live))
    with CuttingProxy("127.0.0.1", live.port, share=1.0, seed=3) as proxy:
        client = make(proxy.url, vkey=live.vkey, token=live.token, pacing=impatient)
        error = refused(lambda: client.append_many(events), tlog.OutcomeUnknownError)
        assert isinstance(error, tlog.OutcomeUnknownError)
        single = refused(lambda: client.append({"n": 1}), tlog.OutcomeUnknownError)
        assert isinstance(single, tlog.OutcomeUnknownError)
    client = make(live.url, vkey=live.vkey, token=live.token, pacing=PATIENT)
    assert client.append_many(events, id=error.key).repeated > 0
    assert client.append({"n": 1}, id=single.key).is_repeated
    assert Counter(entry.raw_data for entry in stored(live, start)).most_common(1)[0][1] == 1
    assert [entry.data for entry in stored(live, start) if entry.data in events] == events


def test_when_nobody_answers(make: MakeClient, server: LyingServer) -> None:
    """The error has the key to append again with, where the event may be there; otherwise it says that it is not."""
    quick = Pacing(timeout_s=0.2, attempt_timeout_s=0.2)
    client = make(server.url, vkey=LOG_VKEY, token="t", pacing=quick)  # noqa: S106
    good = {"partition": NAME, "index": 1, "chain_hash": "0" * 64, "state": "durable"}
    for said in (
        Said(b"", 503), Said(b"", 502), Said(b"", 500), Said(b"", 201), Said(b"{}", 201), Said(b"x" * (3 << 20), 201),
        Said(json.dumps({**good, "partition": "others"}).encode(), 201), Said(b"", 200, {"Content-Encoding": "gzip"}),
        Said(json.dumps({**good, "chain_hash": "0" * 63}).encode(), 201),
        Said(json.dumps({**good, "index": -1}).encode(), 201),
        Said(json.dumps({**good, "state": "fine"}).encode(), 201),
    ):  # fmt: skip
        server.lie = lambda _, said=said: said  # type: ignore[misc]
        for action in (lambda: client.append(1, id="key-1"), lambda: client.append_many([1], id="key-1")):
            error = refused(action, tlog.OutcomeUnknownError)
            assert isinstance(error, tlog.OutcomeUnknownError)
            assert error.key == "key-1"
    server.lie = lambda _: Said(b"", 429, {"Retry-After": "60"})
    patient = make(server.url, vkey=LOG_VKEY, token="t", pacing=Pacing(timeout_s=30, attempt_timeout_s=30))  # noqa: S106
    error = refused(lambda: patient.append(1), tlog.UnavailableError)
    assert isinstance(error, tlog.UnavailableError)
    assert not error.is_unknown
    assert {headers["idempotency-key"] for headers in server.headers if "batch" in str(headers)} <= {"key-1", "key-1/0"}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 40_000), max_size=90),
    answers=st.randoms(use_true_random=False),
)
def test_batches_keep_order_and_size(sizes: list[int], answers: Any) -> None:
    """Whatever the sizes of events: batches have at most 1,000 and 1 MiB, in order; equal events, equal batches."""
    with tlog.Client("http://127.0.0.1:1", vkey=LOG_VKEY, token="t", transport=Acknowledging()) as client:  # noqa: S106
        transport = client._transport
        assert isinstance(transport, Acknowledging)
        events = ["x" * size for size in sizes] + [0] * answers.choice([0, 999, 1000, 1001, 2500])
        assert client.append_many(events, id="k").count == len(events)
        first, transport.bodies = transport.bodies, []
        client.append_many(iter(events), id="k")
        assert transport.bodies == first
    assert [json.loads(line) for _, body in first for line in body.splitlines()] == events
    assert [key for key, _ in first] == [f"k/{number}" for number in range(len(first))]
    for _, body in first:
        count = body.count(b"\n") + 1
        assert count <= BATCH_EVENTS
        assert len(body) - count + 1 <= BATCH_SIZE or count == 1


class Acknowledging(httpx.BaseTransport):
    """A server that has everything, and remembers what it got."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Say that all is durable."""
        body = request.read()
        self.bodies.append((request.headers["Idempotency-Key"], body))
        count = body.count(b"\n") + 1
        fields = {"partition": NAME, "count": count, "start": 5, "stop": 5 + count, "repeated": 0}
        return httpx.Response(201, json={**fields, "chain_hash": "0" * 64, "state": "durable"})


def test_a_log_that_acknowledged_something_else(make: MakeClient, server: LyingServer, tmp_path: Path) -> None:
    """A receipt whose entry is another one, has other data, or never comes: verifying it says so."""
    lines = chained([], 20, "event")
    entry = parse_entry(lines[7])
    server.root = write_site(tmp_path / "site", lines)
    client = make(server.url, vkey=LOG_VKEY)
    good = SentReceipt(7, entry.hash, entry.raw_data, "key", "durable", is_repeated=False)
    assert client.verify_receipt(good).entry.raw == lines[7]
    for changed in ({"seq": 8}, {"hash": bytes(32)}, {"sent": b"8"}, {"sent": entry.raw_data + b" "}):
        wrong = SentReceipt(**{**{name: getattr(good, name) for name in SentReceipt.__slots__}, **changed})
        error = refused(lambda wrong=wrong: client.verify_receipt(wrong), tlog.VerificationError)  # type: ignore[misc]
        assert isinstance(error, tlog.VerificationError)
        assert error.seq == wrong.seq
    never = SentReceipt(20, entry.hash, entry.raw_data, "key", "durable", is_repeated=False)
    error = refused(lambda: client.verify_receipt(never, timeout_s=0.2), tlog.UnavailableError)
    assert "published 20 entries, not 21" in str(error)
    events = [{"event": seq} for seq in range(3, 8)]
    bulk = SentBulkReceipt(5, 3, 8, entry.hash, 0)
    client.verify_appended(bulk, events)
    for count, start, stop, chain_hash in ((5, 4, 8, entry.hash), (5, 3, 7, entry.hash), (5, 3, 8, bytes(32))):
        wrong_bulk = SentBulkReceipt(count, start, stop, chain_hash, 0)
        refused(lambda wrong=wrong_bulk: client.verify_appended(wrong, events), tlog.VerificationError)  # type: ignore[misc]
