"""JSON in and out, refusing what another reader might read as something else.

orjson does the work; this module refuses what orjson would alter without a word (NaN and infinities become null, an
integer over 64 bits in JSON text becomes a float, of two equal keys the last one wins) and what readers in other
languages are known to mistake (NUL, lone surrogates, deep nesting). Text that is accepted is kept byte for byte.

Source: RFC 8259; DESIGN's refusals are tested one by one in tests/test_jsontext.py.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

import orjson

from tlog.errors import FormatError

MAX_NESTING = 128
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1

_OPTIONS = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_ESCAPED_NUL = b"\\u0000"
_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19
_MANY = 1 << 16
_SCALARS = frozenset({str, int, bool, type(None)})
_CONTAINERS = frozenset({dict, list})


def encode_json(value: Any, what: str = "data") -> bytes:
    """Return `value` as JSON text in UTF-8 without insignificant white space, keys in the order given.

    value: None, bool, int within 64 bits, finite float, str, list, tuple, dict with str keys, nested at most 128 deep;
    a UUID stands as its string form and an Enum member as its value. what: names the value in errors.
    Raises: FormatError naming the field, for anything else. Cost: a walk over the value and one orjson call.
    """
    if not _are_plain((value,)):
        _refuse_value(value, what, 0)
    try:
        text = orjson.dumps(value, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError) as err:
        _refuse_value(value, what, 0)
        raise FormatError(what, f"cannot be written as JSON ({err})") from err
    if b"\\" in text and _ESCAPED_NUL in text:
        _refuse_value(value, what, 0)
    return text


def encode_json_many(values: Sequence[Any], prefix: bytes) -> tuple[list[bytes], FormatError | None]:
    """Return `prefix` and JSON text for each of `values` up to the first that is refused, and the error of that one.

    The same as `encode_json` on each. Cost: one orjson call a value; the looks at values and texts are shared by all.
    """
    # orjson hands out buffers of 1 KiB cut to size, and keeping many of them costs more than writing them: they are
    # copied into strings of their own at once.
    dumps, options = orjson.dumps, _OPTIONS
    types = _plain_types(values)
    if types is None:
        return _encode_one_by_one(values, prefix)
    try:
        texts = [prefix + dumps(value, None, options) for value in values]
    except (TypeError, ValueError, RecursionError):
        return _encode_one_by_one(values, prefix)
    # Of plain values, orjson alters only floats that are no numbers, and we refuse only NUL, which it escapes.
    text = b"".join(texts)
    if (float in types and b"null" in text) or (b"\\" in text and _ESCAPED_NUL in text):
        return _encode_one_by_one(values, prefix)
    return texts, None


def _encode_one_by_one(values: Sequence[Any], prefix: bytes) -> tuple[list[bytes], FormatError | None]:
    texts: list[bytes] = []
    try:
        texts.extend(prefix + encode_json(value) for value in values)
    except FormatError as err:
        return texts, err
    return texts, None


def parse_json(text: bytes, what: str = "data") -> Any:
    """Return the value of JSON text that every reader reads alike.

    Raises: FormatError for invalid JSON or UTF-8, duplicate keys, NaN and infinities, integers outside 64 bits, NUL,
    lone surrogates, and nesting over 128. Cost: two orjson calls where the text is as orjson would write it, or differs
    from that by white space and has no escapes; Python's parser otherwise, some ten times as much.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as err:
        raise FormatError(what, f"is not valid JSON: {err.msg} at character {err.pos}") from err
    if _may_be_deep(text) or _ESCAPED_NUL in text:
        _refuse_value(value, what, 0)
    if not _is_kept(text, orjson.dumps(value)):
        _parse_slowly(text, what)
    return value


def check_json(text: bytes | str, what: str = "data") -> bytes:
    """Return JSON text given by a submitter, checked like `parse_json`, without white space around it.

    The text must stand on one line, because an entry is one line. Raises: FormatError.
    """
    return read_json(text, what)[0]


def read_json(text: bytes | str, what: str = "data") -> tuple[bytes, Any]:
    """Return what `check_json` returns, and the value of the text."""
    if isinstance(text, str):
        try:
            text = text.encode()
        except UnicodeEncodeError as err:
            raise FormatError(what, f"has a lone surrogate at character {err.start}") from err
    text = text.strip(b" \t\r\n")
    if b"\n" in text or b"\r" in text:
        raise FormatError(what, "has line breaks between its tokens; write the JSON text on one line")
    return text, parse_json(text, what)


def _are_plain(values: Iterable[Any], room: int = MAX_NESTING) -> bool:
    """Whether `values` and all that is in them are of the types that JSON text has, no tuples, and not too deep.

    orjson has no limit for the nesting of tuples, also inside an Enum's member, and writes beyond its buffer where they
    are nested some 250 deep. So it gets to see what is not plain only after that was walked through.
    """
    for value in values:
        kind = type(value)
        if kind not in _SCALARS:
            if kind is dict:
                if not room or not _are_plain(value.values(), room - 1):
                    return False
            elif kind is list:
                if not room or not _are_plain(value, room - 1):
                    return False
            elif kind is not float or not math.isfinite(value):
                return False
    return True


def _plain_types(values: Sequence[Any]) -> set[type] | None:
    """Return the types of `values` and of all that is in them; None where it takes a closer look to allow them.

    They are those of `_are_plain`, nested no deeper than is allowed, and not so many that shared parts could make them
    unfold. One level of all values is looked at at a time: the garbage collector names the members of containers.
    """
    found: set[type] = set()
    level: Sequence[Any] = values
    for _ in range(MAX_NESTING + 1):
        types = set(map(type, level))
        found |= types
        containers = types - _SCALARS - {float}
        if not containers:
            return found
        if not containers <= _CONTAINERS or len(level) > _MANY:
            return None
        level = gc.get_referents(*level)
    return None


def _may_be_deep(text: bytes) -> bool:
    return len(text) > 2 * MAX_NESTING and text.count(b"[") + text.count(b"{") > MAX_NESTING


def _is_kept(text: bytes, written: bytes) -> bool:
    """Whether it can be seen that no key of `text` was lost and no integer changed. written: its value, by orjson.

    In a text without escapes each string has two quotes, and of two equal keys one string is lost. Integers outside 64
    bits have 19 digits at least.
    """
    if written == text:
        return True
    if b"\\" in text or text.count(b'"') != written.count(b'"'):
        return False
    return _LONG_NUMBER not in text.translate(_DIGITS_ALIKE)


def _parse_slowly(text: bytes, what: str) -> None:
    """Check what orjson does not tell: duplicate keys and integers that it read as floats."""

    def pairs(items: list[tuple[str, Any]]) -> None:
        seen = set()
        for key, _ in items:
            if key in seen:
                raise FormatError(f"{what}, key {key[:80]!r}", "stands twice in one object; readers disagree on which")
            seen.add(key)

    def integer(digits: str) -> int:
        # 64 bits are at most 20 digits and a sign: longer text is not worth converting.
        if len(digits) > 20 or not MIN_INTEGER <= int(digits) <= MAX_INTEGER:
            raise FormatError(what, f"the integer {digits[:40]} is outside 64 bits; write it as a string")
        return 0

    try:
        json.loads(text, object_pairs_hook=pairs, parse_int=integer)
    except (ValueError, RecursionError) as err:
        if isinstance(err, FormatError):
            raise
        raise FormatError(what, f"is not valid JSON: {err}") from err


def _refuse_value(value: Any, what: str, depth: int) -> None:
    """Raise FormatError at the first part of `value` that JSON text cannot carry unaltered; return if there is none."""
    if isinstance(value, Enum):  # written as its value
        _refuse_value(value.value, what, depth)
    elif isinstance(value, (dict, list, tuple)):
        if depth >= MAX_NESTING:
            raise FormatError(what[:200], f"is nested deeper than {MAX_NESTING} levels; flatten it or store it as text")
        _refuse_container(value, what, depth)
    elif isinstance(value, str):
        _refuse_string(value, what)
        if type(value) is not str:
            _refuse_type(value, what)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise FormatError(what, f"{value} is not JSON; use null or a string")
    elif isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise FormatError(what, f"an integer of {value.bit_length()} bits is outside 64 bits; use a string")
        if type(value) not in (int, bool):
            _refuse_type(value, what)
    elif value is not None:
        _refuse_type(value, what)


def _refuse_container(value: Any, what: str, depth: int) -> None:
    if type(value) not in (dict, list, tuple):
        raise FormatError(what, f"is a {type(value).__name__}; convert it to a plain {_plain(value)} first")
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                shown = repr(key)[:80]
                raise FormatError(f"{what}, key {shown}", f"is a {type(key).__name__}; use a plain string as key")
            _refuse_string(key, f"{what}, key {key[:80]!r}")
            _refuse_value(item, f"{what}.{key[:80]}", depth + 1)
    else:
        for number, item in enumerate(value):
            _refuse_value(item, f"{what}[{number}]", depth + 1)


def _refuse_string(value: str, what: str) -> None:
    if "\0" in value:
        raise FormatError(what, "holds a NUL character, which many readers cut text at; remove it")
    try:
        value.encode()
    except UnicodeEncodeError as err:
        raise FormatError(what, f"has a lone surrogate at character {err.start}, which is not valid Unicode") from err


def _refuse_type(value: Any, what: str) -> None:
    if isinstance(value, orjson.Fragment):
        raise FormatError(what, "is an orjson.Fragment, whose text nobody checked; use append_json for JSON text")
    try:
        orjson.dumps(value, option=_OPTIONS)  # UUID and Enum pass
    except TypeError as err:
        name = type(value).__name__
        raise FormatError(what, f"is a {name}; use a string, number, bool, None, list or dict") from err


def _plain(value: Any) -> str:
    return next(plain.__name__ for plain in (dict, list, tuple) if isinstance(value, plain))
