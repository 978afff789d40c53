"""The language of queries."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tlog
from tests.index.model import QUERIES
from tlog.errors import FormatError
from tlog.index.fields import Fields
from tlog.index.query import MAX_CONDITIONS, MAX_VALUES, Condition, Query, Value

TS = "2026-11-21T09:00:00.000000Z"


def test_the_example() -> None:
    """The example of the issue means what it says."""
    query = Query.parse('actor=alice action=login* since=2026-01-01 text="failed password"')
    assert query.conditions == (
        Condition("actor", (Value("alice"),)),
        Condition("action", (Value("login", is_prefix=True),)),
        Condition("text", (Value("failed password"),)),
    )
    assert query.format() == 'actor=alice action=login* text="failed password" since=2026-01-01T00:00:00Z'
    event = {"actor": "alice", "action": "login.web", "message": "Failed password!", "time": "2026-01-01T00:00:00Z"}
    assert query.matches(Fields.of(0, TS, event))
    for name, other in (
        ("actor", "Alice"),
        ("action", "log"),
        ("message", "failed the password"),
        ("time", "2025-12-31"),
    ):
        assert not query.matches(Fields.of(0, TS, event | {name: other}))


@given(QUERIES)
def test_round_trip(query: Query) -> None:
    """What a query is written as is read as the same query."""
    assert Query.parse(query.format()) == query


@given(st.text(max_size=40) | st.text('ab=!"*|\\ ', max_size=20))
def test_any_text_is_a_query_or_an_error(text: str) -> None:
    """No text makes the parser fail in another way, and errors name a character within the text, or just behind it."""
    try:
        query = Query.parse(text)
    except FormatError as err:
        place = err.what.split(",")[1].split()
        assert place[0] == "character"
        assert 1 <= int(place[1]) <= len(text) + 1
    else:
        assert Query.parse(query.format()) == query


@pytest.mark.parametrize(
    ("text", "what", "reason"),
    [
        ("actor", "query, character 1", "a condition such as actor=alice"),
        ("actor=a  b", "query, character 10", "a condition such as actor=alice"),
        ("actor=", "query, character 7", 'actor has no value here; an empty one is written as ""'),
        ("actor=a|", "query, character 9", "actor has no value here"),
        ('actor="a', "query, character 7", "the quoted value does not end"),
        ('actor="a\\n"', "query, character 7", "the quoted value does not end"),
        ('actor="a"b', "query, character 10", "a space is expected here"),
        ("actor=a*b", "query, character 9", "* stands only at the end"),
        ("outcome=x actr=a", "query, character 11, actr", "is no field; there are category, action"),
        ("data.=a", "query, character 1, data.", "has 1 to 256 characters"),
        (f"data.{'p' * 257}=a", "query, character 1, data.", "has 1 to 256 characters"),
        ("since=yesterday", "query, character 1, since", "is no time; write 2026-01-31"),
        ("since=2026-01-01|2026-01-02", "query, character 1, since", "is no time"),
        ("since=2026*", "query, character 1, since", "is no time"),
        ("until!=2026-01-01", "query, character 1, until", "takes = only"),
        ("since=2026-01-01 since=2026-01-02", "query, character 18, since", "stands twice"),
        ("seq=1*", "query, character 1, seq", "is a number"),
        ("seq=+1", "query, character 1, seq", "is not a decimal number"),
        ("seq=9223372036854775808", "query, character 1, seq", "is larger than"),
        ("text=a !?", "query, character 8", "a condition such as"),
        ("text=?", "query, character 1, text", "holds 0 words"),
        ("text=a.*", "query, character 1, text", "* stands behind a word"),
        (f"actor={'a' * 129}*", "query, character 1, actor", "at most 128"),
        ("actor=\ud800", "query, character 1, actor", "lone surrogate"),
        ("data.\ud800=1", "query, character 1, data.", "lone surrogate"),
    ],
)
def test_errors_name_place_and_remedy(text: str, what: str, reason: str) -> None:
    """An error says where the text is wrong, and what would be right."""
    with pytest.raises(FormatError) as caught:
        Query.parse(text)
    assert caught.value.what.startswith(what)
    assert reason in caught.value.reason


def test_options_take_spaces() -> None:
    """A command's option is one value, or several with `|`, in which spaces need no quotes."""
    assert Query().with_option("text", "failed password").format() == 'text="failed password"'
    assert Query().with_option("actor", 'a b|"c*"|d*').format() == 'actor="a b"|"c*"|d*'
    assert Query().with_option("since", "2026-01-01").since is not None
    for name, text in (
        ("actor", 'a"b'),
        ("actor", ""),
        ("actor", "a*b"),
        ("since", "x"),
        ("nosuch", "a"),
        ("data.", "a"),
    ):
        with pytest.raises(FormatError) as caught:
            Query().with_option(name, text)
        assert caught.value.what == name


@pytest.mark.parametrize(
    "text",
    [
        " ".join(["actor=a"] * (MAX_CONDITIONS + 1)),
        "actor=" + "|".join(["a"] * (MAX_VALUES + 1)),
        " ".join(["actor=a"] * 10_000),
        "actor=" + "a" * 100_000,
        'actor="' + "\\\\" * 4000,
        'text="' + "a " * 65 + '"',
        "|" * 8192,
    ],
)
def test_queries_are_bounded(text: str) -> None:
    """Queries of many conditions, values, words or characters are refused, quickly."""
    started = time.perf_counter()
    with pytest.raises(FormatError):
        Query.parse(text)
    assert time.perf_counter() - started < 0.1


def test_public_names() -> None:
    """The package gives out queries and indexes."""
    assert tlog.Query is Query
    assert tlog.Index.__module__ == "tlog.index.search"
