"""What an entry is asked about."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.index.model import DATA
from tlog.index.fields import FIRST_TIME, LAST_TIME, MAX_PATH, Fields, document, format_time, parse_time, words

NS = 10**9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", NS),
        ("1970-01-01T00:00:01", NS),
        ("1970-01-01T00:01Z", 60 * NS),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T19:00:00.5-05:00", NS // 2),
        ("2026-11-21T09:00:00.000000Z", 1_795_251_600 * NS),
        ("2026-11-21T09:00:00.123456789Z", 1_795_251_600 * NS + 123_456_789),
        ("1972-06-30T23:59:60Z", 78_796_800 * NS),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2026-11-21T09:00:00.1234567890Z", None),
        ("2026-11-21T09:00:00.Z", None),
        ("2026-11-21T09:00:00.\u0665Z", None),
        ("2026-11-21T09:00:00.1_0Z", None),
        ("2026-11-21T09:00:61Z", None),
        ("2026-02-30", None),
        ("2026-11-21 09:00:00Z", None),
        ("2026-11-21T24:00:00Z", None),
        ("2026-11-21T09:00:00+25:00", None),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:60Z", None),
        ("0000-01-01", None),
        ("", None),
        ("\u0665026-01-01", None),
        (5, None),
        (None, None),
    ],
)
def test_times(text: object, expected: int | None) -> None:
    """RFC 3339 times are read to the nanosecond; what is none, or does not fit into 64 bits, is no time."""
    assert parse_time(text) == expected


@given(st.integers(FIRST_TIME, LAST_TIME))
def test_times_round_trip(value: int) -> None:
    """Every time that there is can be written and read."""
    assert parse_time(format_time(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Failed password, for ROOT.", "failed password for root"),
        ("user_id=7 10.0.0.1", "user_id 7 10 0 0 1"),
        ("\u00c9t\u00e9 e\u0301te\u0301 STRASSE stra\u00dfe", "\u00e9t\u00e9 \u00e9t\u00e9 strasse strasse"),
        ("\u65e5\u672c\u8a9e test", "\u65e5 \u672c \u8a9e test"),
        ("\uff26\uff35\uff2c\uff2c", "full"),
        ("!?", ""),
    ],
)
def test_words(text: str, expected: str) -> None:
    """Words have one case and one spelling; ideographs are words each."""
    assert " ".join(words(text).split()) == expected


def test_fields_of_an_event() -> None:
    """Named fields are strings at the top; paths lead below the event's data, through lists too."""
    data = {
        "actor": "alice",
        "target": 7,
        "time": "2026-01-01T00:00:00Z",
        "message": "one two",
        "error": {"message": "three"},
        "data": {"a": [{"b": 1}, {"b": [True, "x"]}], "a.b": None},
    }
    fields = Fields.of(3, "2026-11-21T09:00:00.000000Z", data)
    assert (fields.values("actor"), fields.values("target"), fields.values("id")) == (["alice"], [], [])
    assert sorted(fields.values("data.a.b")) == ["1", "null", "true", "x"]
    assert fields.values("data.a") == []
    assert list(fields.phrases()) == [" one two ", " three ", " x "]
    assert format_time(fields.time) == "2026-01-01T00:00:00Z"
    made = document(fields)
    assert made.values == (None, None, "alice", None, None, None)
    assert {"=ualice", ".a.b=1", ".a.b=true", ".a.b=x", ".a.b=null", "one", "two", "three", "x"} <= set(
        made.terms.split()
    )


@given(DATA)
def test_any_json_is_read(data: object) -> None:
    """Whatever an entry holds, it has a document, whose terms are without spaces, capitals and quotes."""
    made = document(Fields.of(0, "2026-11-21T09:00:00.000000Z", data))
    assert made.terms.split(" ")[0] == "="
    assert not set(made.terms) & set("ABCDEFGHIJKLMNOPQRSTUVWXYZ\"'\0\t\n")


def test_large_and_deep_entries_are_read_quickly() -> None:
    """64 KiB of anything make a document of bounded size in a fraction of a second, and deep data is left out."""
    deep: object = "bottom"
    for _ in range(500):
        deep = {"a": deep}
    hostile: list[object] = [
        {"data": deep},
        deep,
        {"actor": "x" * 65_000},
        {"data": {"k" * MAX_PATH: list(range(12_000))}},
        {"data": {"k" * 30_000: {str(n): {} for n in range(4000)}}},
        {"data": ["\U0001f600"] * 8000},
        ["A"] * 20_000,
        {"message": "a " * 32_000},
    ]
    for data in hostile:
        started = time.perf_counter()
        made = document(Fields.of(0, "2026-11-21T09:00:00.000000Z", data))
        assert time.perf_counter() - started < 0.5
        assert len(made.terms) < 4_000_000
        assert "bottom" not in made.terms
