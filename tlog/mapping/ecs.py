"""Audit events in the Elastic Common Schema, and back.

Source: ECS 9.4 field reference and the values it allows for event.kind, event.category and event.type; docs/events.md,
"Elastic Common Schema".
"""

from __future__ import annotations

from typing import Any

from tlog.errors import FormatError
from tlog.events import MAX_ID_LENGTH, OUTCOMES, Event
from tlog.mapping.documents import (
    Document,
    Form,
    Row,
    first_name,
    from_document,
    get,
    is_name,
    present,
    put,
    read_rows,
    to_document,
    write_rows,
)
from tlog.mapping.times import from_nanoseconds, utc_time
from tlog.mapping.words import activity_of, severity_of_text

SCHEMA_VERSION = "9.4.0"

_CONTAINER = ("tlog",)
_MAX_DEPTH = 32
"""Of fields that are looked at; the schema's own are some seven deep."""
_TYPES = {
    "logon": "start",
    "logoff": "end",
    "create": "creation",
    "update": "change",
    "delete": "deletion",
    "read": "access",
}


def to_ecs(event: Event) -> Document:
    """Return the event as a document of the Elastic Common Schema, fields nested; `from_ecs` gives the event back."""
    return to_document(_FORM, event)


def from_ecs(document: object) -> Event:
    """Return the event for a document of the Elastic Common Schema; `to_ecs` gives the same document back.

    Fields may be nested or have dots in their names. A document that tlog did not write is kept whole in `data.ecs`.
    Raises: FormatError where `@timestamp` is missing or no time.
    """
    return from_document(_FORM, document)


def _write_category(name: str) -> str:
    return f"tlog.{name}"


def _read_category(dataset: Any) -> str | None:
    name = dataset.removeprefix("tlog.") if type(dataset) is str else dataset
    return None if name == dataset else name


def _write_duration(milliseconds: float) -> int | None:
    return round(milliseconds * 10**6) if milliseconds < 2**63 / 10**6 else None  # a signed long


def _read_duration(nanoseconds: Any) -> float | None:
    if type(nanoseconds) is not int:
        return None
    return nanoseconds / 10**6 if nanoseconds % 10**6 else nanoseconds // 10**6


def _write_labels(labels: dict[str, str]) -> dict[str, str] | None:
    # A dot in a key would be read as one more level, and of an empty object nothing is indexed.
    return labels if labels and not any("." in key or not key for key in labels) else None


_ROWS = (
    Row("time", ("@timestamp",)),
    Row("id", ("event", "id")),
    Row("action", ("event", "action")),
    Row("outcome", ("event", "outcome")),
    Row("category", ("event", "dataset"), _write_category, _read_category),
    Row("started", ("event", "start")),
    Row("ended", ("event", "end")),
    Row("latency_ms", ("event", "duration"), _write_duration, _read_duration),
    Row("actor", ("user", "name")),
    Row("target", ("entity", "target", "name")),
    Row("severity", ("log", "level")),
    Row("correlation_id", ("trace", "id")),
    Row("message", ("message",)),
    Row("error.type", ("error", "type")),
    Row("error.message", ("error", "message")),
    Row("error.stack", ("error", "stack_trace")),
    Row("provider", ("gen_ai", "provider", "name")),
    Row("model", ("gen_ai", "request", "model")),
    Row("labels", ("labels",), _write_labels),
)


def _write(event: Event) -> Document:
    document = write_rows(_ROWS, event, _CONTAINER)
    put(document, ("ecs", "version"), SCHEMA_VERSION)
    put(document, ("event", "kind"), "event")
    put(document, ("event", "module"), "tlog")
    activity = activity_of(event.action)
    kind = _TYPES.get(activity or "", "info")
    if activity in {"logon", "logoff"}:
        put(document, ("event", "category"), ["authentication"])
    elif event.category == "config":
        put(document, ("event", "category"), ["configuration"])
    elif event.category == "user":
        put(document, ("event", "category"), ["iam"])
        kind = "info" if kind == "access" else kind  # which is not expected for this category
    put(document, ("event", "type"), [kind])
    return document


def _read(document: Document) -> Document:
    return read_rows(_ROWS, document, _CONTAINER)


def _adopt(document: Document) -> Document:
    nested = _expanded(document)
    uid, outcome = get(nested, ["event", "id"]), get(nested, ["event", "outcome"])
    message, group = nested.get("message"), get(nested, ["trace", "id"])
    duration = _read_duration(get(nested, ["event", "duration"]))
    return present(
        {
            "id": uid if is_name(uid) and len(uid) <= MAX_ID_LENGTH else None,
            "time": _time(nested.get("@timestamp")),
            "action": first_name(nested, _ACTIONS, "event"),
            "actor": first_name(nested, _ACTORS, "unknown"),
            "target": first_name(nested, _TARGETS, "") or None,
            "outcome": outcome if outcome in OUTCOMES else "unknown",
            "severity": severity_of_text(get(nested, ["log", "level"])),
            "correlation_id": group if is_name(group) else None,
            "message": message if type(message) is str else None,
            "error": _error(nested.get("error")),
            "started": utc_time(get(nested, ["event", "start"])),
            "ended": utc_time(get(nested, ["event", "end"])),
            "latency_ms": duration if duration is not None and duration >= 0 else None,
        }
    )


_ACTIONS = (("event", "action"), ("event", "code"), ("rule", "name"))
_ACTORS = (
    ("user", "name"), ("user", "id"), ("user", "email"), ("client", "user", "name"), ("source", "user", "name"),
    ("source", "ip"), ("service", "name"), ("host", "name"), ("agent", "name"),
)  # fmt: skip
_TARGETS = (
    ("entity", "target", "name"), ("user", "target", "name"), ("service", "target", "name"), ("url", "full"),
    ("url", "original"), ("file", "path"), ("destination", "domain"), ("destination", "ip"),
)  # fmt: skip


def _time(value: Any) -> str:
    """The event's time for a field of type date: RFC 3339, or milliseconds since 1970."""
    time = from_nanoseconds(value * 10**6) if type(value) is int else utc_time(value)
    if time is None:
        shown = "nothing" if value is None else repr(value)[:80]
        raise FormatError("ecs.@timestamp", f"{shown} given where a time such as 2026-11-21T09:00:00Z is needed")
    return time


def _error(value: Any) -> Document | None:
    if type(value) is not dict:
        return None
    texts = {name: text for name, text in value.items() if type(text) is str}
    if "type" not in texts and "message" not in texts:
        return None
    return present(
        {"type": texts.get("type", ""), "message": texts.get("message", ""), "stack": texts.get("stack_trace")}
    )


def _expanded(document: Document, depth: int = 0) -> Document:
    """The document with `{"a.b": 1}` as `{"a": {"b": 1}}`; where a field is given twice, the first one counts."""
    found: Document = {}
    for name, value in document.items():
        path = name.split(".")
        if depth + len(path) <= _MAX_DEPTH:
            inner: Any = _expanded(value, depth + len(path)) if type(value) is dict else value
            for key in reversed(path):
                inner = {key: inner}
            _merge(found, inner)
    return found


def _merge(into: Document, more: Document) -> None:
    for key, value in more.items():
        if type(into.get(key)) is dict and type(value) is dict:
            _merge(into[key], value)
        else:
            into.setdefault(key, value)


_FORM = Form("ecs", _write, _read, _adopt)
