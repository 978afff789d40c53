"""Taking bodies of many events apart while they arrive: NDJSON, a JSON array, a stream of msgpack values.

Each takes the body in pieces of any size and yields events as soon as they are complete; no more than the largest event
is kept. JSON stays text, which whoever takes the events in checks; here only its ends are found.

Source: RFC 8259 (JSON), github.com/ndjson/ndjson-spec (1.0.0), github.com/msgpack/msgpack (spec.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgpack

from tlog.bundle import MAX_ENTRY_SIZE
from tlog.errors import FormatError, TooLargeError

MAX_TEXT_SIZE = 4 * MAX_ENTRY_SIZE
"""Bytes of one event as JSON text, white space included; what is left without that must fit an entry."""

MAX_PACKED_SIZE = 5 * MAX_ENTRY_SIZE
"""Bytes of one event as msgpack: a number that takes 9 bytes there may take two in JSON."""

READ_SIZE = 1 << 14
"""An event that is not complete yet is looked at again when at least so many bytes more have come, or a half more."""

_BLANKS = b" \t\r\n"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_SPACE = re.compile(rb"[ \t\r\n]*+")
_TO_BRACKET = re.compile(rb'(?:[^{}\[\]"]++|%b)*+' % _STRING, re.DOTALL)
_TO_BRACKET_OR_COMMA = re.compile(rb'(?:[^{}\[\],"]++|%b)*+' % _STRING, re.DOTALL)
_STRING_OR_BREAK = re.compile(rb"%b|[\r\n]+" % _STRING, re.DOTALL)


def ndjson_items(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of NDJSON, without their ends and without empty lines. The last line needs no newline.

    Raises: FormatError where a line is too long. Cost: 0.1 microseconds a line.
    """
    rest: list[bytes] = []
    size = 0
    for piece in pieces:
        before, newline, behind = piece.rpartition(b"\n")
        if newline:
            for line in b"".join((*rest, before)).split(b"\n"):
                if line.strip(_BLANKS):
                    yield _bounded(line)
            rest, size = [], 0
        rest.append(behind)
        size += len(behind)
        if size > MAX_TEXT_SIZE:
            raise _too_long(MAX_TEXT_SIZE)
    last = b"".join(rest)
    if last.strip(_BLANKS):
        yield last


def array_items(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the items of one JSON array, each as text on one line.

    That an item is JSON is for whoever takes it to check; then the whole is an array, and these are its items.
    Raises: FormatError where the text is no array, or an item is too long. Cost: 0.3 microseconds a bracket.
    """
    window = _Window(pieces)
    if window.next_byte() != b"[":
        raise FormatError("body", "does not begin with [, as a JSON array does")
    window.skip()
    if window.next_byte() == b"]":
        window.skip()
    else:
        while True:
            text = window.item()
            if not text.strip(_BLANKS):
                raise FormatError("body", "has a comma too many in its array")
            yield one_line(text)
            end = window.skip()
            if end == b"]":
                break
            if end != b",":
                raise FormatError("body", "has a } that closes nothing")
    if window.next_byte():
        raise FormatError("body", "goes on behind the end of its array")


def one_line(text: bytes) -> bytes:
    """Return JSON text with spaces for the line breaks between its tokens; in strings they stay, and are no JSON."""
    if b"\n" not in text and b"\r" not in text:
        return text
    return _STRING_OR_BREAK.sub(lambda match: match[0] if match[0][:1] == b'"' else b" ", text)


def msgpack_items(pieces: Iterable[bytes]) -> Iterator[Any]:
    """Yield the values of a stream of msgpack. What JSON does not have is left for whoever takes them to refuse.

    Raises: FormatError where the bytes are no msgpack or end in the middle of a value, a map has a key twice or one
    that is no text, or a value is too long.
    """
    # A value's end is found before anything of it is made: an array may claim more items than there is memory.
    finder = msgpack.Unpacker(max_buffer_size=4 * MAX_PACKED_SIZE)
    window, base = bytearray(), 0
    for piece in pieces:
        for offset in range(0, len(piece), MAX_PACKED_SIZE):
            part = piece[offset : offset + MAX_PACKED_SIZE]
            finder.feed(part)
            window += part
            start = 0
            while _finds_end(finder):
                end = finder.tell() - base
                yield _unpacked(bytes(window[start:end]))
                start = end
            del window[:start]
            base += start
            if len(window) > MAX_PACKED_SIZE:
                raise _too_long(MAX_PACKED_SIZE)
    if window:
        raise FormatError("body", "ends in the middle of a value")


def _finds_end(finder: msgpack.Unpacker) -> bool:
    try:
        finder.skip()
    except msgpack.OutOfData:
        return False
    except (ValueError, msgpack.UnpackException) as err:
        raise FormatError("body", f"is no msgpack ({_said(err)})") from err
    return True


def _unpacked(packed: bytes) -> Any:
    if len(packed) > MAX_PACKED_SIZE:
        raise _too_long(MAX_PACKED_SIZE)
    try:
        return msgpack.unpackb(packed, object_pairs_hook=_object)
    except FormatError:
        raise
    except (ValueError, msgpack.UnpackException) as err:
        raise FormatError("data", f"is no msgpack with text as keys ({_said(err)})") from err


def _object(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise FormatError(f"data, key {str(twice)[:80]!r}", "stands twice in one map; readers disagree on which")
    return found


def _said(err: Exception) -> str:
    return str(err)[:80] or type(err).__name__


def _bounded(text: bytes) -> bytes:
    if len(text) > MAX_TEXT_SIZE:
        raise _too_long(MAX_TEXT_SIZE)
    return text


def _too_long(limit: int) -> TooLargeError:
    return TooLargeError("data", f"has more than {limit:,} bytes, and an entry has at most {MAX_ENTRY_SIZE:,}")


class _Window:
    """The part of a JSON text that is looked at: from what was not taken yet to what came last."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._text = b""
        self._start = 0

    def next_byte(self) -> bytes:
        """Return the next byte that is no white space, and go before it; b"" at the end."""
        while True:
            match = _SPACE.match(self._text, self._start)
            self._start = len(self._text) if match is None else match.end()
            if self._start < len(self._text) or not self._fill():
                return self._text[self._start : self._start + 1]

    def skip(self) -> bytes:
        """Return the next byte, and go behind it."""
        self._start += 1
        return self._text[self._start - 1 : self._start]

    def item(self) -> bytes:
        """Return the text up to the comma or bracket that ends an item, and go before that. Raises: FormatError."""
        position, depth = self._start, 0
        while True:
            match = (_TO_BRACKET if depth else _TO_BRACKET_OR_COMMA).match(self._text, position)
            position = position if match is None else match.end()
            if position - self._start > MAX_TEXT_SIZE:
                raise _too_long(MAX_TEXT_SIZE)
            byte = self._text[position : position + 1]
            if byte in {b"", b'"'}:  # a quote that ends nothing: the rest of the string has not come yet
                position -= self._start
                if not self._fill():
                    raise FormatError("body", "ends in the middle of its array")
            elif byte in {b"{", b"["}:
                position, depth = position + 1, depth + 1
            elif depth:
                position, depth = position + 1, depth - 1
            else:
                text, self._start = self._text[self._start : position], position
                return text

    def _fill(self) -> bool:
        """Add what comes next, dropping what was taken; return False at the end. Raises: FormatError."""
        kept = self._text[self._start :]
        parts, more = [kept], 0
        for piece in self._pieces:
            parts.append(piece)
            more += len(piece)
            if more >= max(READ_SIZE, len(kept) // 2):
                break
        if len(kept) > MAX_TEXT_SIZE:
            raise _too_long(MAX_TEXT_SIZE)
        self._text, self._start = b"".join(parts), 0
        return more > 0
