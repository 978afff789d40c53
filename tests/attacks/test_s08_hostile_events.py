"""S8, Rekor and cosign: memory that the sender decides about, crashes on malformed entries.

Bodies with and without length, chunked, compressed bombs, and URLs that lead inside are tested with the server; the
addresses of witnesses with the witness network.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.bounds import refused
from tests.incidents.programs import run
from tests.ledgers import QuickDisk, create, files_of
from tlog import Partition
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
