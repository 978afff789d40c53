"""Entries and queries made at random, and the answers of a model that reads every entry."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from hypothesis import strategies as st

from tlog.entry import Entry
from tlog.index.fields import FIELDS, PATH_PREFIX, ROW_FIELDS, Fields, kept_value
from tlog.index.query import Condition, Query, Value

HOSTILE = (
    "",
    "a",
    "A",
    "alice",
    "Alice Smith",
    "alice.smith@example.com",
    "session.login",
    "session.logout",
    "50%",
    "a_b",
    "a*b",
    "a?[b]",
    "~41",
    "=",
    "|",
    'say "hi"',
    "it's",
    "\\",
    "a\\b",
    "'; DROP TABLE entry; --",
    '" OR terms MATCH "x',
    "NEAR(a b)",
    "^a",
    "col:a",
    "-a",
    "a AND b NOT c",
    "tab\tand\nline",
    "\x01\x1f\x7f",
    "\u00e9t\u00e9",
    "e\u0301te\u0301",
    "\u0130stanbul",
    "stra\u00dfe",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8",
    "\U0001f600 ok",
    "\U00020000\U00020001",
    "\U0010ffff",
    "\ue000",
    "x" * 128,
    "x" * 129,
    "x" * 200,
    "X y" * 60,
    "failed password for root from 10.0.0.1",
    "password failed",
    "true",
    "null",
    "1",
    "1.0",
)
"""Values that have broken somebody's search, and such as begin or continue each other."""

PATHS = ("ip", "a", "a.b", "a.b.c", "A", "sp~ace", "\u00e9", "a=b", "p" * 256, "p" * 257)
TIMES = (
    "2026-01-01T00:00:00Z",
    "2026-06-01T12:00:00.123456789Z",
    "2026-06-01T12:00:00.1Z",
    "no time",
    "2026-13-01T00:00:00Z",
)

TEXTS = st.sampled_from(HOSTILE) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6
)
SCALARS = (
    TEXTS
    | st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
KEYS = st.sampled_from([*PATHS, "b", "c", "", *FIELDS, "message", "data", "time"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FIELDS, TEXTS | SCALARS),
        "time": st.sampled_from(TIMES),
        "message": TEXTS,
        "error": st.fixed_dictionaries({"type": TEXTS, "message": TEXTS}),
        "data": JSON,
    },
)
DATA = EVENTS | JSON

_PATH_OK = st.sampled_from([path for path in PATHS if len(path) <= 256 and not set(path) & set(' "=!|')])
_NAMES = st.sampled_from(FIELDS) | _PATH_OK.map(lambda path: PATH_PREFIX + path)


def _is_asked(text: str) -> bool:
    """Whether words can be looked for: `text` must hold one, and end with one where `*` stands behind it."""
    try:
        Condition("text", (Value(text, is_prefix=True),))
    except ValueError:
        return False
    return True


_VALUES = st.lists(
    st.builds(Value, TEXTS) | st.builds(Value, TEXTS.filter(lambda text: len(text) <= 128), st.just(True)),
    min_size=1,
    max_size=3,
).map(tuple)
_WORDS = st.lists(st.builds(Value, TEXTS.filter(_is_asked), st.booleans()), min_size=1, max_size=2).map(tuple)
_SEQS = st.lists(st.integers(0, 40).map(lambda seq: Value(str(seq))), min_size=1, max_size=3).map(tuple)
CONDITIONS = (
    st.builds(Condition, _NAMES, _VALUES, st.booleans())
    | st.builds(Condition, st.just("text"), _WORDS, st.booleans())
    | st.builds(Condition, st.just("seq"), _SEQS, st.booleans())
)
_BOUNDS = st.none() | st.sampled_from([parsed for time in TIMES if (parsed := Fields.of(0, time, None).time)]).flatmap(
    lambda time: st.sampled_from([time - 1, time, time + 1])
)
QUERIES = st.builds(Query, st.lists(CONDITIONS, max_size=3).map(tuple), _BOUNDS, _BOUNDS)


def events(count: int, seed: int = 1) -> list[Any]:
    """Return events of which many have values in common."""
    rng = random.Random(seed)
    return [
        {
            "actor": rng.choice(["alice", "bob", "carol"]),
            "action": rng.choice(["login", "logout", "delete"]),
            "outcome": rng.choice(["success", "failure"]),
            "time": f"2026-01-{1 + number % 28:02d}T00:00:00Z",
            "message": " ".join(rng.choices(["failed", "password", "for", "root"], k=3)),
            "data": {"ip": f"10.0.0.{rng.randrange(5)}", "n": number},
        }
        for number in range(count)
    ]


def matching(entries: list[Entry], query: Query) -> list[int]:
    """Return the seqs of the entries that match, by looking at each."""
    return [entry.seq for entry in entries if query.matches(Fields.of_entry(entry))]


def counted(entries: list[Entry], query: Query, field: str) -> dict[str | None, int]:
    """Return how many matching entries have each value of a field that the index keeps."""
    assert field in ROW_FIELDS
    found: Counter[str | None] = Counter()
    for entry in entries:
        fields = Fields.of_entry(entry)
        if query.matches(fields):
            found[next(map(kept_value, fields.values(field)), None)] += 1
    return dict(found)
