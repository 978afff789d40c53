"""Bodies of many events, taken apart while they arrive."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlog.errors import FormatError
from tlog.intake.streams import (
    MAX_PACKED_SIZE,
    MAX_TEXT_SIZE,
    READ_SIZE,
    array_items,
    msgpack_items,
    ndjson_items,
    one_line,
)
from tlog.jsontext import check_json, parse_json

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n")])


def pieces_of(body: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Cut a body into pieces of these sizes, over and over; without any, into one."""
    sizes = itertools.cycle(cuts) if any(cuts) else iter([len(body)])
    start = 0
    while start < len(body):
        size = next(sizes)
        yield body[start : start + size]
        start += size


CUTS = st.lists(st.integers(0, 40), max_size=5)


@given(st.lists(VALUES), SEPARATORS, st.sampled_from([None, 1]), CUTS)
def test_items_of_arrays(values: list[Any], separators: tuple[str, str], indent: int | None, cuts: list[int]) -> None:
    """Whatever the pieces and the white space, the items are those of json.loads, each on one line."""
    body = json.dumps(values, separators=separators, indent=indent).encode()
    items = list(array_items(pieces_of(body, cuts)))
    assert [json.loads(item) for item in items] == json.loads(body)
    assert not any(b"\n" in item or b"\r" in item for item in items)
    if separators == (",", ":") and indent is None:
        assert b"[" + b",".join(items) + b"]" == body


ALPHABET = st.text(st.sampled_from(list('[]{},:"\\ \n\tu0a1-.e')), max_size=14).map(str.encode)


@given(ALPHABET | ALPHABET.map(lambda text: b"[" + text + b"]"), CUTS)
@example(b"[1}2]", [])
@example(b"[1,]", [])
@example(b"[,]", [])
@example(b"[]]", [])
@example(b"[1][2]", [])
@example(b'["a\n"]', [])
@example(b'["]","\\"]', [1])
@example(b"[[1}]", [])
@example(b"[\x0b]", [])
@example(b"[1,\x0c]", [])
def test_arrays_are_what_json_loads_takes(body: bytes, cuts: list[int]) -> None:
    """Items that are each good JSON come of a good array only, and every good array gives its items."""
    try:
        expected = json.loads(body)
    except ValueError:
        expected = None
    try:
        found = [parse_json(check_json(item)) for item in array_items(pieces_of(body, cuts))]
    except FormatError:
        found = None
    if type(expected) is not list:
        assert found is None, expected
    elif found is not None:
        assert found == expected
    else:
        with pytest.raises(FormatError):
            parse_json(body)


@given(VALUES, st.sampled_from([None, 2]))
def test_one_line(value: Any, indent: int | None) -> None:
    """JSON text means the same on one line; a line break inside a string is no JSON before and after."""
    text = json.dumps(value, indent=indent).encode()
    assert json.loads(one_line(text)) == json.loads(text)
    assert b"\n" not in one_line(text)
    assert b"\n" in one_line(b'{\n"a": "b\nc"\r\n}')


@given(st.lists(VALUES), st.sampled_from([b"\n", b"\r\n", b"\n\n \n"]), st.booleans(), CUTS)
def test_lines(values: list[Any], end: bytes, is_ended: bool, cuts: list[int]) -> None:
    """Lines come whole, empty ones are left out, and the last needs no end."""
    texts = [json.dumps(value).encode() for value in values]
    body = end.join(texts) + (end if is_ended else b"")
    assert [line.strip() for line in ndjson_items(pieces_of(body, cuts))] == texts


def test_blanks_are_those_of_json() -> None:
    """A line of what only other programs call white space is not left out."""
    assert list(ndjson_items([b"\x0b\n1\n\x0c"])) == [b"\x0b", b"1", b"\x0c"]


@given(st.lists(VALUES), CUTS)
def test_values(values: list[Any], cuts: list[int]) -> None:
    """A stream of msgpack gives its values, whatever the pieces."""
    body = b"".join(msgpack.packb(value) for value in values)
    assert list(msgpack_items(pieces_of(body, cuts))) == values


@given(st.binary(max_size=40), CUTS)
@example(b"\xc1", [])
@example(b"\xdd\xff\xff\xff\xff", [])
@example(b"\x81\x01\x02", [])
@example(b"\x91" * 2000, [7])
@example(b"\xa2\xc3\x28", [])
@example(b"\xd4\x7f\x00", [])
def test_any_bytes_as_msgpack(body: bytes, cuts: list[int]) -> None:
    """Bytes are values, or FormatError; never anything else, and never something behind what is no msgpack."""
    try:
        found = list(msgpack_items(pieces_of(body, cuts)))
    except FormatError:
        return
    assert len(found) <= len(body)
    unpacker = msgpack.Unpacker(strict_map_key=True)
    unpacker.feed(body)
    assert repr(list(unpacker)) == repr(found)


def test_a_key_twice_in_a_map() -> None:
    """Which value counts is what readers disagree on."""
    with pytest.raises(FormatError, match=r"key 'a'.*twice"):
        list(msgpack_items([b"\x82\xa1a\x01\xa1a\x02"]))


@pytest.mark.parametrize(
    "body",
    [b"[", b"[1", b"[1,", b'["a', b'["a\\', b"[{", b"", b"{}", b"1", b"[1] x", b"[1],", b"[[1]", b"\xef\xbb\xbf[]"],
)
def test_what_is_no_array(body: bytes) -> None:
    """An array that ends early, goes on, or is none."""
    with pytest.raises(FormatError):
        list(array_items([body]))


def test_a_comma_too_many() -> None:
    """An empty place in an array is said to be one."""
    for body in (b"[1,]", b"[,1]", b"[1, ,2]"):
        with pytest.raises(FormatError, match="comma"):
            list(array_items([body]))


def endless(start: bytes, more: bytes) -> Iterator[bytes]:
    """A body that does not end, in small pieces; the test ends with it if nobody stops reading."""
    yield start
    for _ in range(2 * MAX_PACKED_SIZE // len(more)):
        yield more


@pytest.mark.parametrize(
    ("split", "start", "more"),
    [
        (ndjson_items, b"1\n", b"x" * 100),
        (array_items, b"[1,", b"1" * 100),
        (array_items, b"[1,", b" " * 10 + b"[" * 90),
        (array_items, b'[1,"', b"\\u0000" * 20),
        (msgpack_items, b"\x01\xdb\x7f\xff\xff\xff", b"x" * 100),
        (msgpack_items, b"\x01\xdd\x7f\xff\xff\xff", b"\xc0" * 100),
    ],
)
def test_events_without_end(split: Any, start: bytes, more: bytes) -> None:
    """An event that does not end is refused when it is too long; the one before it came at once or is lost with it."""
    found: list[Any] = []
    with pytest.raises(FormatError, match="bytes"):
        found.extend(split(endless(start, more)))


@pytest.mark.parametrize(
    ("split", "body"),
    [
        (msgpack_items, b"\xdc\xff\xff" * 900),
        (msgpack_items, b"\xde\xff\xff\xa1a" * 900),
        (array_items, b"[" * 60_000),
        (array_items, b'["' + b'\\"' * (MAX_TEXT_SIZE // 3)),
        (ndjson_items, b"[" * MAX_TEXT_SIZE),
    ],
)
def test_memory_of_hostile_bodies(split: Any, body: bytes) -> None:
    """What claims to be large, or is nested deeply, takes no more memory than a few times its bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            list(map(check_json, split([body])))
        assert tracemalloc.get_traced_memory()[1] < 16 * MAX_TEXT_SIZE
    finally:
        tracemalloc.stop()


def test_memory_is_flat() -> None:
    """A body of half a megabyte in small events takes the memory of one piece."""
    piece = b",".join([b'{"a": [1, 2, "x"]}'] * 500)
    body = itertools.chain([b"["], itertools.islice(itertools.cycle([piece, b","]), 101), [b"]"])
    tracemalloc.start()
    try:
        assert sum(1 for _ in array_items(body)) == 500 * 51
        assert tracemalloc.get_traced_memory()[1] < 8 * READ_SIZE
    finally:
        tracemalloc.stop()
