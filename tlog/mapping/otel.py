"""Audit events as OpenTelemetry log records in OTLP/JSON, and back.

Source: OpenTelemetry logs data model; OTLP specification, "JSON Protobuf Encoding"; semantic conventions for
`log.record.uid`, `user.name`, `exception.*` and `gen_ai.*`; docs/events.md, "OpenTelemetry".
"""

from __future__ import annotations

import re
from typing import Any

from tlog.errors import FormatError
from tlog.events import MAX_ID_LENGTH, Event
from tlog.jsontext import encode_json
from tlog.mapping.documents import (
    Document,
    Form,
    Row,
    first_name,
    from_document,
    get,
    is_name,
    present,
    read_rows,
    to_document,
    write_rows,
)
from tlog.mapping.otelvalues import from_any_value, from_attributes, string_of, to_any_value, to_attributes
from tlog.mapping.times import from_nanoseconds, to_nanoseconds
from tlog.mapping.words import OTEL_SEVERITY, severity_of_number, severity_of_text

_CONTAINER = "tlog.event"
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_DIGITS = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)


def to_otel(event: Event) -> Document:
    """Return the event as a log record in OTLP/JSON; `from_otel` gives the same event back."""
    return to_document(_FORM, event)


def from_otel(document: object) -> Event:
    """Return the event for a log record in OTLP/JSON; `to_otel` gives the same document back.

    document: a LogRecord, or a LogsData (what is posted to /v1/logs) that holds exactly one; see `split_otel`. One that
    tlog did not write is kept whole in `data.otel`. Raises: FormatError naming the field that is wrong.
    """
    return from_document(_FORM, document)


def split_otel(document: object) -> list[Document]:
    """Return, for each log record in a LogsData, a LogsData with it alone, its resource and scope; in their order.

    Their lists `resourceLogs`, one behind the other, are a LogsData again that means the same.
    Raises: FormatError naming the list that is none.
    """
    return [
        {"resourceLogs": [{**resource_logs, "scopeLogs": [{**scope_logs, "logRecords": [record]}]}]}
        for resource_logs in _objects(document, "resourceLogs")
        for scope_logs in _objects(resource_logs, "scopeLogs")
        for record in _objects(scope_logs, "logRecords")
    ]


def _objects(holder: Any, name: str) -> list[Document]:
    items = holder.get(name, []) if type(holder) is dict else None
    if type(items) is not list or not all(type(item) is dict for item in items):
        raise FormatError(f"otel, {name}", "is no list of objects")
    return items


def _write_time(time: str) -> str | None:
    count = to_nanoseconds(time)
    return str(count) if 0 < count < 2**64 else None  # 0 means unknown, and the field is unsigned


def _read_time(count: Any) -> str | None:
    text = str(count) if type(count) is int else count
    is_count = type(text) is str and _DIGITS.fullmatch(text) is not None
    return from_nanoseconds(int(text)) if is_count else None


def _write_trace(text: str) -> str | None:
    return text if _TRACE_ID.fullmatch(text) else None


def _attribute(field: str, name: str) -> Row:
    return Row(field, ("attributes", name), to_any_value, from_any_value)


_ROWS = (
    Row("time", ("timeUnixNano",), _write_time, _read_time),
    Row("severity", ("severityText",)),
    Row("action", ("eventName",)),
    Row("message", ("body",), to_any_value, from_any_value),
    Row("correlation_id", ("traceId",), _write_trace),
    _attribute("id", "log.record.uid"),
    _attribute("actor", "user.name"),
    _attribute("error.type", "exception.type"),
    _attribute("error.message", "exception.message"),
    _attribute("error.stack", "exception.stacktrace"),
    _attribute("provider", "gen_ai.provider.name"),
    _attribute("model", "gen_ai.request.model"),
    *(
        _attribute(field, f"tlog.{field}")
        for field in (
            "category", "target", "outcome", "correlation_id", "data", "started", "ended", "latency_ms", "method",
            "input", "output", "usage", "policy_decisions", "labels",
        )
    ),
)  # fmt: skip


def _write(event: Event) -> Document:
    record = write_rows(_ROWS, event, ("attributes", _CONTAINER))
    if event.severity is not None:
        record["severityNumber"] = OTEL_SEVERITY[event.severity]
    rest = record["attributes"].get(_CONTAINER)
    if rest is not None:
        text = rest if type(rest) is str else encode_json(rest).decode()
        record["attributes"][_CONTAINER] = {"stringValue": text}
    return {**record, "attributes": to_attributes(record["attributes"])}


def _read(document: Document) -> Document:
    attributes = from_attributes(document.get("attributes"))
    attributes[_CONTAINER] = string_of(attributes.get(_CONTAINER))
    return read_rows(_ROWS, {**document, "attributes": attributes}, ("attributes", _CONTAINER))


def _adopt(document: Document) -> Document:
    resource: Any = None
    record = document
    if "resourceLogs" in document:
        parts = split_otel(document)
        if len(parts) != 1:
            raise FormatError("otel", f"{len(parts)} log records given where one is needed; split_otel gives each one")
        resource = parts[0]["resourceLogs"][0].get("resource")
        record = parts[0]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    if type(record.get("attributes", [])) is not list:
        raise FormatError("otel.attributes", "is no list of keys and values")
    found = {name: string_of(value) for name, value in from_attributes(record.get("attributes")).items()}
    found |= {f"resource {name}": string_of(v) for name, v in from_attributes(get(resource, ["attributes"])).items()}
    uid, trace = found.get("log.record.uid"), record.get("traceId")
    trace = trace.lower() if type(trace) is str else ""
    return present(
        {
            "id": uid if uid and len(uid) <= MAX_ID_LENGTH else None,
            "time": _read_time(record.get("timeUnixNano")) or _read_time(record.get("observedTimeUnixNano")),
            "action": first_name({**found, **record}, [("eventName",), ("event.name",)], "log"),
            "actor": first_name(found, [(name,) for name in _ACTORS], "unknown"),
            "outcome": "unknown",
            "severity": severity_of_number(record.get("severityNumber"))
            or severity_of_text(record.get("severityText")),
            "correlation_id": trace if _TRACE_ID.fullmatch(trace) else None,
            "message": string_of(record.get("body")),
            "error": _error(found),
            "model": _name(found.get("gen_ai.request.model")),
            "provider": _name(found.get("gen_ai.provider.name")),
        }
    )


_ACTORS = ("user.name", "user.id", "enduser.id", "user.email", "resource service.name")


def _name(text: str | None) -> str | None:
    return text if is_name(text) else None


def _error(found: dict[str, str | None]) -> Document | None:
    kind, message = found.get("exception.type"), found.get("exception.message")
    if kind is None and message is None:
        return None
    return present({"type": kind or "", "message": message or "", "stack": found.get("exception.stacktrace")})


_FORM = Form("otel", _write, _read, _adopt)
