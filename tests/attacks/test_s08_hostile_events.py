"""S8, Rekor and cosign: memory that the sender decides about, crashes on malformed entries.

By every way into the library, and over HTTP into a server whose memory is watched. More about bodies and connections:
tests/server/access/test_bodies.py and test_serve.py. The addresses of witnesses are tested with the witness network.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgpack
import pytest
import zstandard

from tests.attacks.bounds import refused
from tests.incidents.programs import run
from tests.ledgers import QuickDisk, create, files_of
from tests.server.access.conftest import bearing
from tests.server.access.test_serve import serving
from tests.server.conftest import granted
from tlog import Ledger, Partition
from tlog.errors import FormatError, RefusedItemError

DEEP = 100_000


def nested(kind: Callable[[Any], Any]) -> Any:
    """Return a value nested 100,000 deep."""
    value: Any = 0
    for _ in range(DEEP):
        value = kind(value)
    return value


TEXTS = {
    "deep list": b"[" * DEEP + b"]" * DEEP,
    "deep object": b'{"a":' * (DEEP // 10) + b"1" + b"}" * (DEEP // 10),
    "just too deep": b"[" * 129 + b"]" * 129,
    "unclosed": b"[" * 60_000,
    "10^6 digits": b"1" * 1_000_000,
    "60,000 digits": b"-" + b"1" * 60_000,
    "65 bits": b"18446744073709551616",
    "NaN": b"NaN",
    "Infinity": b"[1,Infinity]",
    "-Infinity": b'{"a":-Infinity}',
    "lone surrogate": b'"\\ud800"',
    "lone surrogate in UTF-8": b'"\xed\xa0\x80"',
    "duplicate keys": b'{"a":1,"b":2,"a":3}',
    "duplicate keys, spelt differently": b'{"a":1,"\\u0061":2}',
    "NUL escaped": b'"a\\u0000b"',
    "NUL": b'"a\0b"',
    "not UTF-8": b'"\xff"',
    "two values": b"1 2",
    "nothing": b"",
    "a line break": b"[1,\n2]",
    "a field behind it": b'1,"hash":"0"',
    "the end of the line": b"1}",
    "too large": b'"' + b"x" * 65_535 + b'"',
}


def loop() -> list[Any]:
    """Return a list that holds itself."""
    value: list[Any] = []
    value.append(value)
    return value


VALUES: dict[str, Callable[[], Any]] = {
    "deep list": lambda: nested(lambda value: [value]),
    "deep object": lambda: nested(lambda value: {"a": value}),
    "10^6 digits": lambda: 10**1_000_000,
    "65 bits": lambda: 2**64,
    "NaN": lambda: {"a": float("nan")},
    "Infinity": lambda: [float("inf")],
    "lone surrogate": lambda: {"a": ["\ud800"]},
    "lone surrogate in a key": lambda: {"\udfff": 1},
    "NUL": lambda: "a\0b",
    "a number as key": lambda: {1: 2},
    "bytes": lambda: b"bytes",
    "a set": lambda: {1, 2},
    "too large": lambda: "x" * 65_535,
    "far too large": lambda: "x" * 1_000_000,
    "an endless list": loop,
}


@pytest.fixture(scope="module")
def partition(tmp_path_factory: pytest.TempPathFactory) -> Partition:
    """A partition whose entries must stay as they are; what is set up once for bulk appends is set up."""
    created = create(tmp_path_factory.mktemp("s08") / "l", disk=QuickDisk())
    created.append_many(["first", "second"])
    return created


@pytest.mark.parametrize("name", TEXTS)
def test_s08_hostile_texts(partition: Partition, name: str) -> None:
    """Each text is refused by every way in, with bounded memory and a message that fits a line; nothing is written."""
    text = TEXTS[name]
    before = files_of(partition.paths.root)
    for call in (
        lambda: partition.append_json(text),
        lambda: partition.append_many_json([text]),
        lambda: partition.append_many_json(iter([text])),
    ):
        refused(call, FormatError)
    assert files_of(partition.paths.root) == before


@pytest.mark.parametrize("name", VALUES)
def test_s08_hostile_values(partition: Partition, name: str) -> None:
    """Each value is refused by every way in, as data and as meta; nothing is written."""
    value = VALUES[name]()
    before = files_of(partition.paths.root)
    for call in (
        lambda: partition.append(value),
        lambda: partition.append({"nested": [value]}),
        lambda: partition.append(1, meta={"writer": value}),
        lambda: partition.submit(value),
        lambda: partition.append_many([value]),
        lambda: partition.append_many({"n": value} for _ in range(2)),
    ):
        refused(call, FormatError, 48 << 20)
    assert files_of(partition.paths.root) == before


def test_s08_a_hostile_item_among_many(tmp_path: Path) -> None:
    """One bad item in a stream: what stands before it is durable, and the error says how much that is."""
    partition = create(tmp_path, disk=QuickDisk())
    for text in TEXTS.values():
        size = partition.size if partition.exists else 0
        with pytest.raises(RefusedItemError) as caught:
            partition.append_many_json([b"1", b"2", text, b"3"])
        assert (caught.value.index, caught.value.appended, partition.size) == (2, 2, size + 2)
    assert partition.verify().entries == 2 * len(TEXTS)


DEEP_TUPLES = """
import sys, tlog
partition = tlog.Ledger.create(sys.argv[1], origin="audit.example.com").partition("users")
refused = 0
for depth in (129, 300, 1000, 5000, 100_000):
    value = 0
    for level in range(depth):
        value = [value] if level % int(sys.argv[2]) == 0 else (value,)
    for call in (partition.append, partition.submit, lambda value: partition.append_many([1, value])):
        try:
            call(value)
        except tlog.FormatError as err:
            refused += "nested deeper than 128" in str(err)
print(refused)
"""


@pytest.mark.parametrize("turns", [2, 1_000_000], ids=["tuples and lists", "tuples"])
def test_s08_deep_tuples(tmp_path: Path, turns: int) -> None:
    """Tuples are refused at the same depth as lists; orjson itself has no limit for them and damages its memory."""
    assert run(DEEP_TUPLES, tmp_path, turns) == "15\n"


MANY = """
import json, resource, sys, tlog
partition = tlog.Ledger.create(sys.argv[1], origin="audit.example.com").partition("users")
partition.append(0)
peaks = []
for count in (20_000, 100_000):
    stop = partition.append_many_json(b"1" for _ in range(count)).stop
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(json.dumps({"stop": stop, "peaks": peaks}))
"""


def test_s08_many_tiny_events_in_bounded_memory(tmp_path: Path) -> None:
    """A hundred thousand one-byte events in one call need little more memory than a fifth of them."""
    report = json.loads(run(MANY, tmp_path))
    assert report["stop"] == 120_001
    small, large = report["peaks"]
    assert large < small + 16_000  # KiB; their entries are 22,000


EVENTS, BATCH, LOGS = "/api/v1/events", "/api/v1/events:batch", "/v1/logs"
ALLOWED_GROWTH = 96 << 20
"""Bytes that a process of the server may grow by, whatever it is sent."""


class Attacked(NamedTuple):
    """A server. size: tells how many entries its partition has. peak: tells the most memory that its process had."""

    client: httpx.Client
    size: Callable[[], int]
    peak: Callable[[], int]

    def post(self, path: str, body: Any, media_type: str = "application/json", **headers: str) -> httpx.Response:
        """Send a body."""
        return self.client.post(
            f"{path}?partition=users", content=body, headers={"Content-Type": media_type, **headers}
        )


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """A real server of one process; at the end that process is the same, and has not grown."""
    ledger = tmp_path_factory.mktemp("attacked") / "ledger"
    partition = Ledger.create(ledger, origin="audit.example.com").partition("users")  # segments of the usual size
    partition.append("first")
    token = granted(ledger)
    with (
        serving(ledger) as (url, process),
        httpx.Client(base_url=url, headers=bearing(token), trust_env=False, timeout=60) as client,
    ):

        def peak() -> int:
            (worker,) = Path(f"/proc/{process}/task/{process}/children").read_text().split()
            status = Path(f"/proc/{worker}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) << 10

        found = Attacked(client, lambda: partition.size, peak)
        for path, media_type in (
            (EVENTS, "application/json"),
            (BATCH, "application/x-ndjson"),
            (LOGS, "application/json"),
        ):
            assert found.post(path, b"{}", media_type).status_code < 300
        before = peak()
        yield found
        assert client.get("/healthz").status_code == 200
        assert peak() - before < ALLOWED_GROWTH, f"{before >> 20} MiB, then {peak() >> 20} MiB"


@pytest.mark.parametrize("name", TEXTS)
def test_s08_hostile_bodies(attacked: Attacked, name: str) -> None:
    """Each hostile text is refused as an event, in a batch, and as logs; what stood before it in a batch stays."""
    text, size = TEXTS[name], attacked.size()
    if name != "a line break":  # of which one event may have as many as it likes
        answer = attacked.post(EVENTS, text)
        assert 400 <= answer.status_code < 500, answer.text
        assert len(answer.content) < 1500
    assert attacked.post(LOGS, text).status_code < 500, "fields that OTLP does not have are passed over"
    assert attacked.size() == size
    line = text.replace(b"\n", b" ") if name != "a line break" else b"{"
    body = b"1\n2\n" + (line or b"{") + b"\n3\n"
    for media_type, whole in (("application/x-ndjson", body), ("application/json", b"[1,2," + (line or b"}") + b",3]")):
        answer = attacked.post(BATCH, whole, media_type)
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["count"] in {2, 3}, "some of these begin with a good number"
        assert attacked.size() == size + answer.json()["count"]
        size = attacked.size()


def test_s08_bodies_over_the_limit(attacked: Attacked) -> None:
    """What is larger than an event may be is refused, with and without its length, and before all of it is sent."""
    size = attacked.size()
    large = b'"' + b"x" * (1 << 20) + b'"'
    assert attacked.post(EVENTS, large).status_code == 413
    assert attacked.post(EVENTS, iter([large])).status_code == 413
    assert attacked.post(LOGS, iter([b" " * (8 << 20)])).status_code == 413
    assert attacked.post(BATCH, iter([b"1\n", large, b"\n"]), "application/x-ndjson").status_code in {400, 413}
    assert attacked.size() == size + 1


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_s08_bombs(attacked: Attacked, coding: str) -> None:
    """A body that unpacks to tens of megabytes is refused early, in each way in."""
    size = attacked.size()
    blank = b"[1," + b" " * (40 << 20) + b"2]"
    bomb = gzip.compress(blank, 1) if coding == "gzip" else zstandard.ZstdCompressor().compress(blank)
    for path in (EVENTS, BATCH, LOGS):
        answer = attacked.post(path, bomb, **{"Content-Encoding": coding})
        assert answer.status_code in {400, 413}, answer.text
    assert attacked.size() <= size + 1
    lines = b"1\n" + b"\n" * (40 << 20)
    packed = zstandard.ZstdCompressor().compress(lines) if coding == "zstd" else gzip.compress(lines, 9)
    assert attacked.post(BATCH, packed, "application/x-ndjson", **{"Content-Encoding": coding}).status_code in {
        400,
        413,
    }


def test_s08_hostile_msgpack(attacked: Attacked) -> None:
    """Sizes that msgpack announces are not believed, and what JSON cannot say is refused."""
    size = attacked.size()
    good: bytes = msgpack.packb(1)
    for bad in (
        b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc1",
        b"\x91" * DEEP, b"\xca\x7f\xc0\x00\x00", b"\xc4\x01x", b"\xd4\x01x", b"\xa1\xff", b"\xa1\x00",
        b"\x82\xa1a\x01\xa1a\x02", b"\x81\x01\x02", b"\xdd\x00\x10\x00\x00" + b"\xc0" * (1 << 20),
    ):  # fmt: skip
        answer = attacked.post(BATCH, good + bad, "application/msgpack")
        assert 400 <= answer.status_code < 500, (bad[:20], answer.text)
        assert attacked.size() == (size := size + 1)


def test_s08_many_tiny_events_over_http(attacked: Attacked) -> None:
    """A batch of tiny events is taken in while it arrives; when a segment was filled once, more need no more memory."""
    peaks = []
    for count in (70_000, 140_000):
        size = attacked.size()
        pieces = (b"1\n" * 10_000 for _ in range(count // 10_000))
        answer = attacked.post(BATCH, pieces, "application/x-ndjson")
        assert (answer.status_code, answer.json()["count"]) == (201, count)
        assert attacked.size() == size + count
        peaks.append(attacked.peak())
    assert peaks[1] - peaks[0] < 16 << 20
