"""What an entry is asked about: its fields, its time, its words, read from any JSON leniently.

An entry may hold any JSON value. A named field counts where `data` is an object and the field is a string; a path
leads to every string, number, bool and null below the event's own `data`; words come from every other string. What is
of another form is passed over and never an error.

The index keeps, of each entry, a row (`Document.values`) and a list of terms (`Document.terms`). A term is a field with
its value, such as `=ualice` or `.ip=10.0.0.1`, or a word; no word begins like a field. Terms are compared exactly, so
the index gives the same answers as `tlog.index.query.Query.matches`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from tlog.entry import Entry, parse_entry
from tlog.errors import FormatError
from tlog.jsontext import MAX_NESTING

ROW_FIELDS = ("category", "action", "actor", "target", "outcome", "severity")
"""The fields whose values the index keeps, so that they can be counted."""

FIELDS = (*ROW_FIELDS, "correlation_id", "id")
"""The named fields: strings at the top of an event."""

PATH_PREFIX = "data."
"""What a path in a query begins with. The rest is a path below the event's own `data`."""

MAX_PATH = 256
"""Characters of a path. What lies deeper has no path and is found by its words only."""

MAX_KEPT_PATH = 64
"""Characters of a path that is kept as it is; of a longer one a hash is kept."""

MAX_VALUE = 128
"""Characters of a value that are kept as they are; a longer one is kept as so many and a hash."""

EVERY = "="
"""The term that every entry has."""

TERM_PUNCTUATION = "!#$%&()*+,-./:;<=>?@[\\]^_`{|}~"
"""What stands in terms besides letters, digits and all that is not ASCII. Words have the underscore only."""

_BREAK = "|"
"""Stands before a string that no path's term stands before, so that no phrase goes on from one string to another."""

_KEYS = dict(zip(FIELDS, ("=c", "=a", "=u", "=t", "=o", "=s", "=r", "=i"), strict=True))
_OWN = {**_KEYS, "time": "", "started": "", "ended": ""}
"""Strings at the top of an event whose words are not looked for: conditions name them, or they are times."""

_NO_VALUES: tuple[str | None, ...] = (None,) * len(ROW_FIELDS)

_UNSAFE = re.compile("[A-Z\0-\x20\"'~\x7f]")
_UNSAFE_IN_PATH = re.compile("[A-Z\0-\x20\"'~\x7f=]")
_CUT = "~~"

_ASCII_WORDS = {code: chr(code).lower() if chr(code).isalnum() or chr(code) == "_" else " " for code in range(128)}
# Ideographs and kana are written without spaces: each is a word, and a run of them is found as a phrase.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+")

_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?)?",
    re.ASCII,
)
MAX_TIME = 40
"""Characters of a time."""

NS = 10**9
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the zone is written by hand
_EPOCH_DAY = _EPOCH.toordinal()

FIRST_TIME, LAST_TIME = -(2**63) + 1, 2**63 - 1
"""Times that are times: 64 bits of nanoseconds, the years 1678 to 2261 and parts of those beside them."""


class Document(NamedTuple):
    """What the index keeps of an entry.

    time: nanoseconds since 1970, UTC. values: of ROW_FIELDS, None where there is none. terms: all terms, separated by
    spaces.
    """

    seq: int
    time: int
    values: tuple[str | None, ...]
    terms: str


@dataclass(frozen=True, slots=True)
class Fields:
    """An entry as queries see it. seq: its position. time: nanoseconds since 1970, UTC. data: its JSON value."""

    seq: int
    time: int
    data: Any

    @classmethod
    def of(cls, seq: int, ts: str, data: Any) -> Fields:
        """Return the fields of an entry. ts: when it was sequenced, its time where the event states none."""
        time = parse_time(data.get("time")) if isinstance(data, dict) else None
        return cls(seq, (parse_time(ts) or 0) if time is None else time, data)

    @classmethod
    def of_entry(cls, entry: Entry) -> Fields:
        """Return the fields of an entry, none but its time where its JSON is damaged."""
        return cls.of(entry.seq, entry.ts, _lenient(entry))

    def values(self, field: str) -> list[str]:
        """Return the values of a field or path; a number, bool or null below a path is its JSON text."""
        if field.startswith(PATH_PREFIX):
            below = self.data.get("data") if isinstance(self.data, dict) else None
            path = field.removeprefix(PATH_PREFIX)
            return [text for found, text in _leaves("", below, 0) if found == path]
        value = self.data.get(field) if isinstance(self.data, dict) else None
        return [value] if isinstance(value, str) else []

    def phrases(self) -> Iterator[str]:
        """Yield the words of each string that is searched, a space before and after every word."""
        data = self.data
        if isinstance(data, dict):
            data = [value for name, value in data.items() if not (name in _OWN and isinstance(value, str))]
        for text in _strings(data, 0):
            yield f" {' '.join(words(text).split())} "


def parse_time(value: Any) -> int | None:
    """Return the nanoseconds since 1970 of an RFC 3339 time, None for anything else and before 1678 or after 2261.

    A date alone is its midnight; without offset it is UTC. Seconds and up to nine digits of their fraction may follow.
    """
    if not isinstance(value, str) or not value.isascii() or len(value) > MAX_TIME:
        return None
    digits = value[20:-1]
    if value[19:20] == "." and value[-1] == "Z" and digits.isdigit():  # many events share a second
        second = _parse_time(value[:19])
        time = None if second is None or len(digits) > 9 else second + int(digits.ljust(9, "0"))
    else:
        time = _parse_time(value)
    return time if time is not None and FIRST_TIME <= time <= LAST_TIME else None


def format_time(time: int) -> str:
    """Return a time as RFC 3339 in UTC, with no more digits than it needs."""
    seconds, rest = divmod(time, NS)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()}{fraction}Z"


def words(text: str) -> str:
    """Return the words of a text in one case, with spaces between them; there may be several.

    A word is a run of letters, digits and underscores; ideographs and kana are a word each.
    """
    if text.isascii():
        return text.translate(_ASCII_WORDS)
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def term(field: str, value: str, *, is_prefix: bool = False) -> str:
    """Return the term of a named field or a path with a value; of a prefix, what such terms begin with."""
    key = _KEYS[field] if field in _KEYS else _path_key(field.removeprefix(PATH_PREFIX))
    return key + (_safe(value) if is_prefix else _value_term(value))


def kept_value(value: str) -> str:
    """Return a value as a row keeps it: cut, with a hash, where it is long."""
    if len(value) > MAX_VALUE:
        value = value[:MAX_VALUE] + _CUT + sha256(value.encode()).hexdigest()[:16]
    return value.replace("\0", "\ufffd")


def document(fields: Fields) -> Document:
    """Return what the index keeps of an entry."""
    return _document(fields.seq, fields.time, fields.data)


def documents(first: int, partition: str, lines: Sequence[bytes]) -> list[Document]:
    """Return the documents of lines in a row, whose chain was checked.

    first: seq of the first line. Cost: about 8 microseconds for an event of 300 bytes.
    """
    fixed = len('{"seq":,"ts":"","partition":"","prev_hash":"",') + 27 + len(partition) + 64
    found = []
    for seq, line in enumerate(lines, first):
        digits = len(str(seq))
        start = fixed + digits
        if line.startswith(b'"data":', start):
            try:
                data = orjson.loads(line[start + 7 : -75])
            except orjson.JSONDecodeError:
                data = None
        else:
            data = _lenient(parse_entry(line))
        time = parse_time(data.get("time")) if type(data) is dict else None
        if time is None:
            time = parse_time(line[14 + digits : 41 + digits].decode()) or 0
        found.append(_document(seq, time, data))
    return found


def _document(seq: int, time: int, data: Any) -> Document:
    if type(data) is not dict:
        out = [EVERY]
        _add_words(out, data)
        return Document(seq, time, _NO_VALUES, " ".join(out))
    named: list[str] = [EVERY]
    out = []
    for name, value in data.items():
        if type(value) is str:
            key = _OWN.get(name)
            if key:
                named.append(key + value)
            elif name == "data":
                _add_paths(out, "", value, 0)
            elif key is None:
                out += (_BREAK, words(value))
        elif name == "data":
            _add_paths(out, "", value, 0)
        else:
            _add_words(out, value)
    text = "".join(named)
    if (len(text) > MAX_VALUE and max(map(len, named)) > MAX_VALUE) or _UNSAFE.search(text):
        named = [EVERY, *(made[:2] + _value_term(made[2:]) for made in named[1:])]
    values = tuple(map(data.get, ROW_FIELDS))
    if not {str}.issuperset(map(type, values)) or len(text) > MAX_VALUE or "\0" in text:
        values = tuple(kept_value(value) if type(value) is str else None for value in values)
    return Document(seq, time, values, " ".join(named + out))


def _lenient(entry: Entry) -> Any:
    """Return the value of an entry's data, None where it cannot be read."""
    try:
        return orjson.loads(entry.raw_data)
    except (FormatError, orjson.JSONDecodeError):
        return None


def _add_paths(out: list[str], path: str, value: Any, depth: int) -> None:
    """Add the terms of everything below the event's `data`, each string's words behind its term."""
    kind = type(value)
    if kind is dict:
        if depth < MAX_NESTING:
            for key, item in value.items():
                below = f"{path}.{key}" if path else key
                if type(item) is str and 0 < len(below) <= MAX_PATH:
                    out += (_path_key(below) + _value_term(item), words(item))
                else:
                    _add_paths(out, below, item, depth + 1)
    elif kind is list:
        if depth < MAX_NESTING:
            for item in value:
                _add_paths(out, path, item, depth + 1)
    elif kind is str:
        out.append(_path_key(path) + _value_term(value) if 0 < len(path) <= MAX_PATH else _BREAK)
        out.append(words(value))
    elif 0 < len(path) <= MAX_PATH:
        out.append(_path_key(path) + _value_term(_scalar(value)))


def _add_words(out: list[str], value: Any) -> None:
    for text in _strings(value, 0):
        out.append(_BREAK)
        out.append(words(text))


def _leaves(path: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    """Yield path and text of everything below `value` that has a path of its own."""
    if isinstance(value, dict | list):
        if depth < MAX_NESTING:
            items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
            for key, item in items:
                below = path if key is None else f"{path}.{key}" if path else key
                yield from _leaves(below, item, depth + 1)
    elif 0 < len(path) <= MAX_PATH:
        yield path, value if isinstance(value, str) else _scalar(value)


def _strings(value: Any, depth: int) -> Iterator[str]:
    """Yield every string in a value, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list) and depth < MAX_NESTING:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item, depth + 1)


def _scalar(value: Any) -> str:
    return orjson.dumps(value).decode()


def _value_term(value: str) -> str:
    if len(value) > MAX_VALUE:
        return _safe(value[:MAX_VALUE]) + _CUT + sha256(value.encode()).hexdigest()[:16]
    return _safe(value) if _UNSAFE.search(value) else value


@lru_cache(maxsize=4096)
def _safe(value: str) -> str:
    """Return a value with all that a tokenizer would fold or split at written as ~xx."""
    return _UNSAFE.sub(_escaped, value)


@lru_cache(maxsize=4096)
def _path_key(path: str) -> str:
    if len(path) > MAX_KEPT_PATH:  # a long path may stand before thousands of values
        return f".{_CUT}{sha256(path.encode()).hexdigest()[:16]}="
    return f".{_UNSAFE_IN_PATH.sub(_escaped, path)}="


def _escaped(match: re.Match[str]) -> str:
    return f"~{ord(match[0]):02x}"


@lru_cache(maxsize=4096)
def _parse_time(text: str) -> int | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    date, clock, seconds, fraction, offset = match.groups()
    try:
        # Through the number of the day: not every time of the years 1 and 9999 is one in UTC that datetime can hold.
        local = datetime.fromisoformat(f"{date}T{clock or '00:00'}")
        zone = None if offset is None or offset == "Z" else datetime.fromisoformat(f"{date}T00:00{offset}").utcoffset()
    except ValueError:
        return None
    whole = int(seconds or 0)
    if whole > 60:  # 60 is a leap second
        return None
    whole += (local.toordinal() - _EPOCH_DAY) * 86_400 + local.hour * 3600 + local.minute * 60
    if zone is not None:
        whole -= round(zone.total_seconds())
    return whole * NS + (int(fraction.ljust(9, "0")) if fraction else 0)
