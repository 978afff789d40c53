"""Events made of whatever applications hand to a logging call or a middleware: nothing that can be kept is lost.

Here bad input is no reason to refuse, because the event happened. Values that JSON cannot carry become their repr, what
is too large for an entry is cut, and what does not fit its field of the envelope goes to `data`. Each of these leaves a
note in `data.log.notes`. Everything that comes out is a valid `tlog.events.Event` in its stored form.
"""

from __future__ import annotations

import functools
import math
import os
import pwd
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from tlog.entry import largest_payload
from tlog.errors import FormatError
from tlog.events import MAX_ID_LENGTH, MAX_NAME_LENGTH, Event
from tlog.jsontext import MAX_INTEGER, MIN_INTEGER, encode_json

MAX_NOTES = 20
MAX_DEPTH = 64
"""How deep values are followed; the envelope around them, and the limit of 128 levels, leave room for more."""

MAX_NODES = 20_000
"""Values of one event that are looked at: what refers to itself in many places has no end."""

STEPS = ((65_536, 10_000), (8192, 1000), (2048, 200), (512, 50), (128, 20))
"""Characters of a text and items of a list or object that are left, tried one after another until the event fits."""

ROOM = largest_payload("p" * 64, 10**19 - 1) - len(b'"data":')
"""Bytes of JSON text that fit into every entry of every partition."""

T = TypeVar("T")

_NAMES = Event.__struct_fields__
_TYPES = {field.name: field.type for field in msgspec.structs.fields(Event)}
_TEXTS = dict.fromkeys(
    ("category", "action", "actor", "target", "correlation_id", "method", "provider", "model"), MAX_NAME_LENGTH
) | {"id": MAX_ID_LENGTH}
_TIMES = frozenset({"time", "started", "ended"})
_FREE = frozenset({"input", "output"})
_STRICT = ("usage", "policy_decisions", "labels")
_ROOM_OF_STRICT = 2048

Fields = dict[str, Any]


def compose(ours: Fields, given: Iterable[tuple[str, Any]], log: Fields) -> Fields:
    """Return the stored form of an event, ready for `fit`.

    ours: valid fields of the envelope, `actor`, `action` and `outcome` among them. given: names and values from the
    application, which take the place of ours where they fit, and go to `data` otherwise; None is absent. log: what is
    known about the record itself, kept as `data.log`; it gets `notes`.
    """
    event, data, notes = dict(ours), dict[str, Any](), list[str]()
    for name, value in given:
        if name == "data" and type(value) is dict:
            data.update(value)
        elif name == "data" or name not in _TYPES:
            data[name if type(name) is str else str(name)] = value
        elif value is not None:
            fitting = _fitting(name, value, notes)
            if fitting is None:
                data[name] = value
                notes.append(f"{name}: does not fit that field of an event; see data.{name}")
            else:
                event[name] = fitting
    if "log" in data:
        data["log_"] = data.pop("log")
        notes.append("log: see data.log_")
    if notes:
        log["notes"] = notes[:MAX_NOTES]
    data["log"] = log
    event["data"] = data
    return {name: event[name] for name in _NAMES if name in event}


def fit(event: Fields) -> bytes:
    """Return an event as JSON text that fits into an entry of any partition.

    event: from `compose`. Cost: one orjson call, unless something must be changed.
    """
    try:
        text = encode_json(event)
        if len(text) <= ROOM:
            return text
    except FormatError:
        pass
    for longest, items in STEPS:
        cleaned = _Cleaner(longest, items).event(event)
        text = encode_json(cleaned)
        if len(text) <= ROOM:
            return text
    small = {name: value for name, value in cleaned.items() if name not in (*_FREE, *_STRICT, "data", "error")}
    return encode_json(small | {"data": {"log": {"notes": ["data, error, input and output did not fit an entry"]}}})


class Serially(threading.local):
    """Does one thing after another in each thread, also where doing one leads to the next.

    A value that is shown by its own code may log, and so may a destructor that runs meanwhile. What is asked for while
    something is done is done after it; what is asked for while that is done is not, or there might be no end.
    """

    _level = 0
    _later: list[Any]

    def do(self, action: Callable[[T], None], item: T) -> int:
        """Do something with an item, and then with those that came meanwhile; return how many were given up."""
        if self._level:
            if self._level == 1:
                self._later.append(item)
            return self._level - 1
        self._level, self._later = 1, []
        try:
            action(item)
            self._level = 2
            for later in self._later:
                action(later)
        finally:
            self._level = 0
        return 0


def rfc3339(seconds: float) -> str:
    """Return POSIX time as events have it: UTC with microseconds."""
    whole, micros = divmod(int(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micros:06d}Z"


def error_of(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None, stack: str | None = None
) -> Fields:
    """Return an event's `error` for an exception. stack: its trace as text, if it is not to be made here."""
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if stack is None:
        try:
            stack = "".join(traceback.format_exception(kind, error, trace)).rstrip("\n")
        except Exception:  # noqa: BLE001 - exceptions of the application may be unprintable
            stack = "".join(traceback.format_tb(trace))
    return {"type": name, "message": text_of(error), "stack": stack}


def error_of_text(text: str) -> Fields:
    """Return an event's `error` for a trace that somebody made text of before."""
    last = text.rstrip().rpartition("\n")[2]
    return {"type": last.partition(":")[0], "message": last, "stack": text}


def text_of(value: object) -> str:
    """Return str(value), or what can be said about a value whose own code fails."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - this is the application's code, and may raise anything
        return f"<{type(value).__name__} that cannot be shown>"


def process_user() -> str:
    """Return the name of the user that this process runs as, or `uid:N` where the system has no name for it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid:{os.geteuid()}"


def host() -> str:
    """Return the name of this machine."""
    return socket.gethostname() or "unknown"


@functools.lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _fitting(name: str, value: Any, notes: list[str]) -> Any:
    """Return a value in the form that its field of the envelope has, None if it has none."""
    limit = _TEXTS.get(name)
    if limit is not None:
        if isinstance(value, (int, UUID)) and type(value) is not bool:
            value = text_of(value)
        if not isinstance(value, str) or not value:
            return None
        text = _clean(str(value))
        if len(text) > limit:
            notes.append(f"{name}: cut from {len(text):,} to {limit:,} characters")
        elif text != value:
            notes.append(f"{name}: characters that JSON cannot carry are escaped")
        return text[:limit]
    if name in _FREE:
        return value
    try:
        encode_json(value)
        if name in _TIMES:
            Event(actor="a", action="a", outcome="unknown", **{name: value})
        else:
            msgspec.convert(value, _TYPES[name])
    except (FormatError, msgspec.ValidationError):
        return None
    return value


def _clean(text: str) -> str:
    """Return a text without NUL and lone surrogates, these two escaped."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


class _Cleaner:
    """Makes a value one that JSON can carry, of limited size, and notes what it changed."""

    def __init__(self, longest: int, items: int) -> None:
        self._longest = longest
        self._items = items
        self._nodes = 0
        self._notes: list[str] = []

    def event(self, event: Fields) -> Fields:
        cleaned: Fields = dict.fromkeys(event)
        for name, value in event.items():
            if name in _TEXTS or name in _TIMES:
                cleaned[name] = value
            elif name in _STRICT and len(encode_json(value)) > _ROOM_OF_STRICT:
                del cleaned[name]
                self._note(name, "left out, too large for an entry")
            elif name != "data" and name not in _FREE:
                cleaned[name] = self.value(value, name, 0)
        # What may have no end comes last: looking for it is limited.
        data = dict(event["data"])
        log = self.value(data.pop("log"), "log", 0)
        for name in _FREE & event.keys():
            cleaned[name] = self.value(event[name], name, 0)
        cleaned["data"] = {**self.value(data, "data", 0), "log": log}
        log["notes"] = [*log.get("notes", ()), *self._notes][:MAX_NOTES]
        return cleaned

    def value(self, value: Any, path: str, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            self._note(path, "left out, too deep or one of too many")
            return "[left out]"
        if isinstance(value, str):
            return self._text(str.__str__(value), path)
        if isinstance(value, (dict, list, tuple)):
            try:
                return self._object(value, path, depth) if isinstance(value, dict) else self._list(value, path, depth)
            except RuntimeError:  # another thread changes it
                self._note(path, "left out, it was changed meanwhile")
                return "[left out]"
        return self._scalar(value, path)

    def _scalar(self, value: Any, path: str) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and MIN_INTEGER <= value <= MAX_INTEGER:
            return int(value)
        if isinstance(value, float) and math.isfinite(value):
            return float(value)
        return str(value) if isinstance(value, UUID) else self._shown(value, path)

    def _object(self, value: dict[Any, Any], path: str, depth: int) -> Fields:
        result: Fields = {}
        for number, (key, item) in enumerate(value.items()):
            if number >= self._items:
                result["..."] = f"[{len(value) - number:,} more cut]"
                self._note(path, f"cut to {number:,} of {len(value):,} fields")
                break
            name = key if type(key) is str else text_of(key)
            result[self._text(name, f"{path}, a key")] = self.value(item, f"{path}.{name[:80]}", depth + 1)
        return result

    def _list(self, value: list[Any] | tuple[Any, ...], path: str, depth: int) -> list[Any]:
        result = [self.value(item, f"{path}[{n}]", depth + 1) for n, item in enumerate(value[: self._items])]
        if len(value) > self._items:
            result.append(f"[{len(value) - self._items:,} more cut]")
            self._note(path, f"cut to {self._items:,} of {len(value):,} items")
        return result

    def _text(self, text: str, path: str) -> str:
        if len(text) > self._longest:
            self._note(path, f"cut to {self._longest:,} of {len(text):,} characters")
            text = f"{text[: self._longest]} [cut: {len(text) - self._longest:,} more characters]"
        cleaned = _clean(text)
        if cleaned != text:
            self._note(path, "characters that JSON cannot carry are escaped")
        return cleaned

    def _shown(self, value: object, path: str) -> str:
        try:
            shown = repr(value)
        except Exception:  # noqa: BLE001 - this is the application's code, and may raise anything
            shown = f"<{type(value).__name__} that cannot be shown>"
        self._note(path, f"a {type(value).__name__}, as its repr")
        return self._text(shown, path)

    def _note(self, path: str, text: str) -> None:
        if len(self._notes) < MAX_NOTES:
            self._notes.append(f"{_clean(path[:200])}: {text}")
