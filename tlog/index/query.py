r"""Queries as values: what is asked of entries, read from one line of text and written as one.

    actor=alice action=login* outcome!=success since=2026-01-01 text="failed password" data.ip=10.0.0.1|10.0.0.2

All conditions must hold. A condition is a field, `=` or `!=`, and one or more values with `|` between them, any of
which will do. `*` behind a value means all that begins with it. A value that holds spaces, quotes, `|` or `*` stands in
double quotes, in which `\"` and `\\` are a quote and a backslash. There are no other patterns, so that every query
is answered from the index. Source: docs/query.md, "The language".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tlog._strict import MAX_TREE_SIZE, parse_decimal
from tlog.errors import FormatError
from tlog.index.fields import (
    FIELDS,
    MAX_PATH,
    MAX_VALUE,
    PATH_PREFIX,
    Fields,
    format_time,
    parse_time,
    words,
)

MAX_QUERY = 8192
"""Characters of a query."""

MAX_CONDITIONS = 64
MAX_VALUES = 256
"""Values of all conditions together."""

MAX_WORDS = 64
"""Words of one phrase."""

_SPACE = " \t\r\n"
_BARE = re.compile(r'[^ \t\r\n"|*]+')
_BARE_WITH_SPACES = re.compile(r'[^"|*]+')
_ITEM = re.compile(r'([^ \t\r\n"=!|]+)(!?=)')
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_TIMES = ("since", "until")


@dataclass(frozen=True, slots=True)
class Value:
    """What a field is compared with. is_prefix: whether all that begins with `text` is meant."""

    text: str
    is_prefix: bool = False

    def format(self) -> str:
        """Return the value as a query has it, in quotes where it needs them."""
        shown = self.text
        if _BARE.fullmatch(shown) is None and not (self.is_prefix and not shown):
            shown = '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return shown + "*" * self.is_prefix


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. field: one of FIELDS, `seq`, `text` or a path that begins with `data.`. values: any will do.

    is_negated: whether the condition holds for all entries for which it otherwise would not, also those without the
    field. Raises: FormatError naming the field, for what no entry can be asked about.
    """

    field: str
    values: tuple[Value, ...]
    is_negated: bool = False

    def __post_init__(self) -> None:
        _check_field(self.field)
        if not self.values:
            raise FormatError(self.field, 'has no value; an empty one is written as ""')
        for value in self.values:
            _check_value(self.field, value)

    @property
    def phrases(self) -> list[str]:
        """The words of each value, with one space between them."""
        return [" ".join(words(value.text).split()) for value in self.values]

    def matches(self, fields: Fields) -> bool:
        """Whether the condition holds for an entry."""
        return self._is_found(fields) != self.is_negated

    def format(self) -> str:
        """Return the condition as a query has it."""
        operator = "!=" if self.is_negated else "="
        return self.field + operator + "|".join(value.format() for value in self.values)

    def _is_found(self, fields: Fields) -> bool:
        if self.field == "text":
            ends = ["" if value.is_prefix else " " for value in self.values]
            wanted = [f" {phrase}{end}" for phrase, end in zip(self.phrases, ends, strict=True)]
            return any(phrase in text for text in fields.phrases() for phrase in wanted)
        if self.field == "seq":
            return any(int(value.text) == fields.seq for value in self.values)
        found = fields.values(self.field)
        return any(
            text.startswith(value.text) if value.is_prefix else text == value.text
            for value in self.values
            for text in found
        )


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked. conditions: all must hold. since, until: nanoseconds since 1970, UTC; the range is half-open.

    An empty query matches every entry. Raises: FormatError where there are too many conditions or values.
    """

    conditions: tuple[Condition, ...] = ()
    since: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        if len(self.conditions) > MAX_CONDITIONS:
            raise FormatError("query", f"{len(self.conditions):,} conditions; ask for at most {MAX_CONDITIONS} at once")
        count = sum(len(condition.values) for condition in self.conditions)
        if count > MAX_VALUES:
            raise FormatError("query", f"{count:,} values; ask for at most {MAX_VALUES} at once")

    @classmethod
    def parse(cls, text: str) -> Query:
        """Return the query that a line of text spells.

        Raises: FormatError naming the character, counted from 1, at which the text is no query, and the remedy.
        """
        return _Parser(text).query()

    def format(self) -> str:
        """Return the query as text; `parse` of it gives the same query."""
        times = [("since", self.since), ("until", self.until)]
        parts = [condition.format() for condition in self.conditions]
        return " ".join([*parts, *(f"{name}={format_time(time)}" for name, time in times if time is not None)])

    def with_option(self, name: str, text: str) -> Query:
        """Return the query with one more condition, as a command's option gives it: `text` may hold spaces.

        name: a field, a path, `text`, `since` or `until`. Raises: FormatError naming it.
        """
        parser = _Parser(text, spaces=True)
        try:
            values = parser.values(name)
            if parser.next():
                raise parser.error('a value that holds " or * stands in double quotes')
        except FormatError as err:
            raise FormatError(name, f"{err.what.removeprefix('query, ')}: {err.reason}") from err
        return self.with_condition(name, values)

    def with_condition(self, name: str, values: tuple[Value, ...], *, is_negated: bool = False) -> Query:
        """Return the query with one more condition, or with the time that `since` or `until` gives it.

        Raises: FormatError naming the field.
        """
        if name not in _TIMES:
            return replace(self, conditions=(*self.conditions, Condition(name, values, is_negated)))
        time = parse_time(values[0].text)
        if time is None or len(values) > 1 or values[0].is_prefix:
            shown = "|".join(value.format() for value in values)[:40]
            raise FormatError(name, f"{shown!r} is no time; write 2026-01-31 or 2026-01-31T09:30:00Z")
        if is_negated:
            raise FormatError(name, "takes = only")
        if (self.since if name == "since" else self.until) is not None:
            raise FormatError(name, "stands twice; leave one out")
        return replace(self, since=time) if name == "since" else replace(self, until=time)

    def matches(self, fields: Fields) -> bool:
        """Whether an entry is what is asked for; the same as the index finds."""
        return (
            (self.since is None or fields.time >= self.since)
            and (self.until is None or fields.time < self.until)
            and all(condition.matches(fields) for condition in self.conditions)
        )


class _Parser:
    """Reads a query from left to right."""

    def __init__(self, text: str, *, spaces: bool = False) -> None:
        """spaces: whether spaces are part of a value that is not in quotes."""
        if len(text) > MAX_QUERY:
            raise FormatError("query", f"{len(text):,} characters where at most {MAX_QUERY:,} are allowed")
        self._text = text
        self._at = 0
        self._bare = _BARE_WITH_SPACES if spaces else _BARE

    def next(self) -> str:
        """Return the character that is read next, "" at the end."""
        return self._text[self._at : self._at + 1]

    def query(self) -> Query:
        """Return the query that the whole text is."""
        query = Query()
        self._skip()
        while self.next():
            start = self._at
            match = _ITEM.match(self._text, self._at)
            if match is None:
                raise self.error("a condition such as actor=alice is expected here")
            self._at = match.end()
            values = self.values(match[1])
            try:
                query = query.with_condition(match[1], values, is_negated=match[2] == "!=")
            except FormatError as err:
                raise FormatError(f"query, character {start + 1}, {err.what}", err.reason) from err
            if self.next() and self.next() not in _SPACE:
                raise self.error('a space is expected here; a value that holds " or * stands in double quotes')
            self._skip()
        return query

    def values(self, name: str) -> tuple[Value, ...]:
        """Read values up to one behind which no `|` stands."""
        found = [self._value(name)]
        while self.next() == "|":
            self._at += 1
            found.append(self._value(name))
        return tuple(found)

    def error(self, reason: str) -> FormatError:
        """Return the error that names where the parser stands."""
        shown = self._text[self._at : self._at + 20]
        return FormatError(f"query, character {self._at + 1}", f"{reason}; found {shown!r}" if shown else reason)

    def _value(self, name: str) -> Value:
        if self.next() == '"':
            match = _QUOTED.match(self._text, self._at)
            if match is None:
                raise self.error('the quoted value does not end, or has a \\ that stands before neither " nor \\')
            text = re.sub(r'\\(["\\])', r"\1", match[1])
        else:
            match = self._bare.match(self._text, self._at)
            if match is None and self.next() != "*":
                raise self.error(f'{name} has no value here; an empty one is written as ""')
            text = "" if match is None else match[0]
        self._at = self._at if match is None else match.end()
        if self.next() != "*":
            return Value(text)
        self._at += 1
        if self.next() and self.next() not in _SPACE + "|":
            raise self.error("* stands only at the end of a value; a value that holds it stands in double quotes")
        return Value(text, is_prefix=True)

    def _skip(self) -> None:
        while self.next() and self.next() in _SPACE:
            self._at += 1


def check_fields(names: Iterable[str], allowed: tuple[str, ...]) -> None:
    """Check that entries can be counted by these fields. Raises: FormatError."""
    for name in names:
        if name not in allowed:
            raise FormatError("facets", f"{name[:40]!r} cannot be counted; there are {', '.join(allowed)}")


def _check_field(name: str) -> None:
    if name.startswith(PATH_PREFIX):
        path = name.removeprefix(PATH_PREFIX)
        if not path or len(path) > MAX_PATH:
            raise FormatError(name[:40], f"a path below data has 1 to {MAX_PATH} characters")
        if re.search(r'[ \t\r\n"=!|]', path):
            raise FormatError(name[:40], 'a path holds no spaces, ", =, ! and |')
        _check_text(name, path)
    elif name not in (*FIELDS, "seq", "text"):
        known = ", ".join((*FIELDS, "seq", "text", *_TIMES))
        raise FormatError(name[:40], f"is no field; there are {known} and paths such as data.ip")


def _check_value(name: str, value: Value) -> None:
    _check_text(name, value.text)
    if name == "seq":
        if value.is_prefix:
            raise FormatError(name, "is a number, which has no beginning; leave out *")
        parse_decimal(value.text, name, MAX_TREE_SIZE)
    elif name == "text":
        count = len(words(value.text).split())
        if not 0 < count <= MAX_WORDS:
            shown = value.text[:40]
            raise FormatError(name, f"{shown!r} holds {count} words; give 1 to {MAX_WORDS}, of letters and digits")
        if value.is_prefix and not words(value.text[-1]).strip():
            raise FormatError(name, "* stands behind a word; leave out what is between")
    elif value.is_prefix and len(value.text) > MAX_VALUE:
        raise FormatError(name, f"{len(value.text)} characters before *; give at most {MAX_VALUE}, or the whole value")


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise FormatError(name[:40], f"has a lone surrogate at character {err.start}, which is not Unicode") from err
