from __future__ import annotations

import enum
import json
import math
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlog.errors import Error, FormatError
from tlog.jsontext import check_json, encode_json, encode_json_many, parse_json

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(characters), inner, max_size=5)
)


def nested(depth: int, leaf: Any = None) -> Any:
    """Return a value of `depth` containers around a leaf."""
    for number in range(depth):
        leaf = [leaf] if number % 2 else {"k": leaf}
    return leaf


class Text(str):
    """A subclass that orjson must not flatten unasked."""

    __slots__ = ()


class Number(int):
    """As Text."""


class Mapping(dict[str, Any]):
    """As Text."""


@dataclass
class Point:
    """What orjson would write as an object, if it were let."""

    x: int = 1


class Color(enum.Enum):
    """An Enum stands as its value."""

    RED = "red"
    NOTHING = (float("nan"),)
    CUT = "a\0b"
    HUGE = (2**64,)


ID = uuid.UUID("12345678-1234-5678-1234-567812345678")

# value, where the error says it is, and what it says about it
REFUSED: dict[str, tuple[Any, str, str]] = {
    "NaN": (float("nan"), "data", "nan is not JSON; use null"),
    "infinity": ({"a": [1, float("inf")]}, "data.a[1]", "inf is not JSON"),
    "minus infinity": ({"a": {"b": -math.inf}}, "data.a.b", "-inf is not JSON"),
    "NaN beside None": ([None, None, math.nan], "data[2]", "nan is not JSON"),
    "2^64": ({"n": 2**64}, "data.n", "65 bits is outside 64 bits; use a string"),
    "-2^63 - 1": ([-(2**63) - 1], "data[0]", "64 bits is outside 64 bits"),
    "10^6 digits": ([[10**6000]], "data[0][0]", "outside 64 bits"),
    "int key": ({"a": {1: 2}}, "data.a, key 1", "is a int; use a plain string as key"),
    "None key": ({None: 2}, "data, key None", "is a NoneType"),
    "bool key": ({True: 2}, "data, key True", "is a bool"),
    "bytes key": ({b"k": 2}, "data, key b'k'", "is a bytes"),
    "str subclass as key": ({Text("k"): 2}, "data, key 'k'", "is a Text"),
    "UUID key": ({ID: 1}, "data, key UUID", "is a UUID"),
    "NUL": ({"a": "x\0y"}, "data.a", "NUL character"),
    "NUL in a key": ({"a\0": 1}, "data, key 'a\\x00'", "NUL character"),
    "lone surrogate": ({"a": ["ok", "bad \ud800"]}, "data.a[1]", "lone surrogate at character 4"),
    "lone low surrogate": ("\udfff", "data", "lone surrogate at character 0"),
    "surrogate in a key": ({"\ud800": 1}, "data, key", "lone surrogate"),
    "129 levels": (nested(129), "data", "nested deeper than 128 levels; flatten it"),
    "100,000 levels": (nested(100_000), "data", "nested deeper than 128 levels"),
    "bytes": ({"a": b"raw"}, "data.a", "is a bytes; use a string"),
    "set": ({"a": {1}}, "data.a", "is a set"),
    "Decimal": ([Decimal(1)], "data[0]", "is a Decimal"),
    "datetime": ({"at": datetime(2026, 1, 1, tzinfo=UTC)}, "data.at", "is a datetime"),
    "dataclass": ({"p": Point()}, "data.p", "is a Point"),
    "object": (object(), "data", "is a object"),
    "dict subclass": ({"m": OrderedDict(a=1)}, "data.m", "is a OrderedDict; convert it to a plain dict"),
    "other dict subclass": (Mapping(a=1), "data", "is a Mapping; convert it to a plain dict"),
    "str subclass": ({"s": Text("x")}, "data.s", "is a Text"),
    "int subclass": ({"n": Number(7)}, "data.n", "is a Number"),
    "generator": ((n for n in range(3)), "data", "is a generator"),
}


@pytest.mark.parametrize(("value", "place", "reason"), REFUSED.values(), ids=REFUSED)
def test_refusals(value: Any, place: str, reason: str) -> None:
    """What JSON cannot carry unaltered is refused, with the field's place, what is wrong and what to do."""
    with pytest.raises(FormatError) as caught:
        encode_json(value)
    assert caught.value.what.startswith(place)
    assert reason in caught.value.reason
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("value", "place", "reason"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("position", [0, 31, 32, 70])
def test_refusals_among_many(value: Any, place: str, reason: str, position: int) -> None:
    """Among many values the same one is refused with the same error, and those before it are given back."""
    good: list[Any] = [{"n": number} for number in range(position)]
    texts, error = encode_json_many([*good, value, {"after": 1}], b"<")
    assert texts == [b"<" + encode_json(item) for item in good]
    assert error is not None
    assert error.what.startswith(place)
    assert reason in error.reason


@given(st.lists(values, max_size=80))
def test_many_is_one_by_one(items: list[Any]) -> None:
    """Many values are written as each of them is."""
    assert encode_json_many(items, b'"data":') == ([b'"data":' + encode_json(item) for item in items], None)


def test_what_may_look_wrong_and_is_not() -> None:
    """null, the text null, an escaped backslash before u0000, 128 levels, the largest integers: all accepted."""
    deep = nested(128)
    for value in (None, [None], "null", {"null": "x"}, "\\u0000", deep, [2**64 - 1, -(2**63)], -0.0, "\x7f\u2028"):
        text = encode_json(value)
        assert parse_json(text) == value
        assert json.loads(text) == value
    assert encode_json(-0.0) == b"-0.0"
    assert encode_json({"id": ID, "color": Color.RED}) == b'{"id":"12345678-1234-5678-1234-567812345678","color":"red"}'
    assert encode_json((1, (2,))) == b"[1,[2]]"


@pytest.mark.parametrize("color", [Color.NOTHING, Color.CUT, Color.HUGE])
def test_values_inside_an_enum_are_looked_at(color: Color) -> None:
    """An Enum member whose value JSON cannot carry is refused, not written as null."""
    with pytest.raises(FormatError, match=r"data\.colors"):
        encode_json({"colors": [color]})


@given(values)
def test_round_trip(value: Any) -> None:
    """Any JSON value comes back equal from every reader, keys in the writer's order."""
    text = encode_json(value)
    assert json.loads(text) == value
    assert json.dumps(parse_json(text)) == json.dumps(value)
    assert check_json(text) == text


@given(values, st.sampled_from([None, 1]), st.booleans())
def test_raw_text_is_kept(value: Any, gap: int | None, ascii_only: bool) -> None:
    """S11: any spelling of a value on one line is kept byte for byte, only white space around it goes."""
    separators = (" ,  ", "\t: ") if gap else (",", ":")
    text = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    assert check_json(text) == text
    assert check_json(b" \t\n" + text + b"\r\n ") == text
    assert check_json(text.decode()) == text
    assert parse_json(text) == value


@pytest.mark.parametrize(
    "text",
    [b"1.0", b"1e-7", b"1.23e20", b"-0", b"-0.0", b"9007199254740993", b"1E5", b"1e+5", b'"\\u00e9"', b'"\\/"',
     b'{"b":1,"a":2}', b'[ 1 , 2 ]', b'"\\ud83d\\ude00"', b"18446744073709551615", b"-9223372036854775808", b"0.10"],
)  # fmt: skip
def test_spellings_that_languages_disagree_on(text: bytes) -> None:
    """S11: numbers and strings that a load and dump would respell are stored as they were given."""
    assert check_json(text) == text


REFUSED_TEXT: dict[str, tuple[bytes, str]] = {
    "duplicate key": (b'{"a":1,"b":{"x":1,"x":2}}', "stands twice in one object"),
    "duplicate key, equal values": (b'{"a":1,"a":1}', "stands twice"),
    "duplicate key, other spelling": (b'{"a":1,"\\u0061":1}', "stands twice"),
    "duplicate key, and quotes that stand for it": (b'{"a":1, "a":1, "x":"\\u0022\\u0022"}', "stands twice"),
    "integer beyond 64 bits": (b'{"a":18446744073709551616}', "outside 64 bits; write it as a string"),
    "negative beyond 64 bits": (b"[-9223372036854775809]", "outside 64 bits"),
    "integer of 5,000 digits": (b"[" + b"9" * 5000 + b"]", "number is infinity"),
    "integer of 300 digits": (b"[" + b"9" * 300 + b"]", "outside 64 bits"),
    "NaN": (b"[NaN]", "is not valid JSON"),
    "Infinity": (b"[-Infinity]", "is not valid JSON"),
    "infinite number": (b"[1e999]", "JSON"),
    "NUL escape": (b'{"a":"\\u0000"}', "NUL character"),
    "NUL escape in a key": (b'{"\\u0000":1}', "NUL character"),
    "NUL byte": (b'"\0"', "is not valid JSON"),
    "lone surrogate": (b'"\\ud800"', "is not valid JSON"),
    "surrogates in the wrong order": (b'"\\ude00\\ud83d"', "is not valid JSON"),
    "encoded surrogate": (b'"\xed\xa0\x80"', "is not valid JSON"),
    "invalid UTF-8": (b'"\xff"', "is not valid JSON"),
    "overlong UTF-8": (b'"\xc0\xaf"', "is not valid JSON"),
    "byte order mark": (b"\xef\xbb\xbf1", "is not valid JSON"),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "is not valid JSON"),
    "129 levels": (b"[" * 129 + b"]" * 129, "nested deeper than 128"),
    "100,000 levels": (b"[" * 100_000 + b"]" * 100_000, "JSON"),
    "100,000 open brackets": (b'{"a":' * 100_000, "is not valid JSON"),
    "line break between tokens": (b'{"a":1,\n"b":2}', "on one line"),
    "carriage return between tokens": (b"[1,\r2]", "on one line"),
    "control character": (b'"\x01"', "is not valid JSON"),
    "nothing": (b"", "is not valid JSON"),
    "only white space": (b" \n", "is not valid JSON"),
    "two values": (b"1 2", "is not valid JSON"),
    "comment": (b"1 // one", "is not valid JSON"),
    "trailing comma": (b"[1,]", "is not valid JSON"),
    "single quotes": (b"{'a':1}", "is not valid JSON"),
    "leading zero": (b"01", "is not valid JSON"),
    "plus": (b"+1", "is not valid JSON"),
    "non-string key": (b"{1:2}", "is not valid JSON"),
    "other white space": (b"\x0b1", "is not valid JSON"),
    "no-break space": ("\u00a01".encode(), "is not valid JSON"),
    "looks like two fields": (b'1,"data":2', "is not valid JSON"),
    "closes the entry": (b'1,"hash":"00"}', "is not valid JSON"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED_TEXT.values(), ids=REFUSED_TEXT)
def test_refused_texts(text: bytes, reason: str) -> None:
    """Raw text that is not JSON, or that readers take for different values, is refused quickly with the reason."""
    start = time.perf_counter()
    with pytest.raises(FormatError, match=reason) as caught:
        check_json(text, "data")
    assert caught.value.what.startswith("data")
    assert len(str(caught.value)) < 500
    assert time.perf_counter() - start < 0.5


def test_lone_surrogate_in_given_text() -> None:
    """Text given as str with a lone surrogate is refused with its place."""
    with pytest.raises(FormatError, match="lone surrogate at character 2"):
        check_json('"a\ud800"')


def test_the_duplicate_key_is_named() -> None:
    """The error says which key stands twice."""
    with pytest.raises(FormatError, match="data, key 'amount'"):
        check_json(b'{"amount":1,"amount":2}')


_KEYS = st.sampled_from(["a", "b", "A", 'a"', "\\", "\u00e9", ""])
_NUMBERS = st.sampled_from([0, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**18, 10**19 - 1, 10**25])
_TREES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.floats(allow_nan=False, allow_infinity=False) | _KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.lists(st.tuples(_KEYS, inner), max_size=4).map(tuple),
    max_leaves=12,
)
"""Values of JSON in which an object is a tuple of pairs, so that a key may stand in it twice."""


def _written(tree: Any, gap: str, ascii_only: bool) -> str:
    if isinstance(tree, tuple):
        pairs = (
            f"{_written(key, gap, ascii_only)}{gap}:{gap}{_written(value, gap, ascii_only)}" for key, value in tree
        )
        return f"{{{gap}{f'{gap},{gap}'.join(pairs)}}}"
    if isinstance(tree, list):
        return f"[{f'{gap},'.join(_written(item, gap, ascii_only) for item in tree)}]"
    return json.dumps(tree, ensure_ascii=ascii_only)


def _is_ambiguous(tree: Any) -> bool:
    if isinstance(tree, tuple):
        keys = [key for key, _ in tree]
        return len(keys) != len(set(keys)) or any(_is_ambiguous(value) for _, value in tree)
    if isinstance(tree, list):
        return any(map(_is_ambiguous, tree))
    return type(tree) is int and not -(2**63) <= tree < 2**64


@given(_TREES, st.sampled_from(["", " ", "\t "]), st.booleans())
def test_ambiguous_texts_are_refused_however_they_are_spaced(tree: Any, gap: str, ascii_only: bool) -> None:
    """Refused are the texts with a key that stands twice or an integer of over 64 bits, and no others."""
    text = _written(tree, gap, ascii_only).encode()
    try:
        parse_json(text)
        is_refused = False
    except FormatError as err:
        is_refused = "stands twice" in err.reason or "outside 64 bits" in err.reason
    assert is_refused == _is_ambiguous(tree)


@given(st.binary() | st.text(alphabet='{}[]",:0123456789.eE+-truefalsn\\u \n').map(str.encode))
def test_arbitrary_bytes(raw: bytes) -> None:
    """Arbitrary bytes are refused with our error, or are JSON that Python's own parser reads the same."""
    try:
        text = check_json(raw)
    except Error:
        return
    assert text == raw.strip(b" \t\r\n")
    assert json.loads(text) == parse_json(text)
    assert b"\n" not in text
