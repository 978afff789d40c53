"""Audit events as CloudEvents 1.0 in the JSON format, and back.

Source: CloudEvents 1.0.2 (spec.md, formats/json-format.md) and the extensions authcontext, correlation and severity;
docs/events.md, "CloudEvents".
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

from tlog.errors import FormatError
from tlog.events import MAX_ID_LENGTH, Event
from tlog.mapping.documents import (
    Document,
    Form,
    Row,
    first_name,
    from_document,
    is_name,
    present,
    read_rows,
    to_document,
    write_rows,
)
from tlog.mapping.times import utc_time
from tlog.mapping.words import OTEL_SEVERITY, severity_of_number, severity_of_text

SOURCE = "/tlog"

_REQUIRED = ("id", "source", "type")
_NAME = re.compile(r"[a-z0-9]+", re.ASCII)
_PLANES = "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
_STRING = re.compile(f"[^\\x00-\\x1f\\x7f-\\x9f\\ufdd0-\\ufdef{_PLANES}]*")  # type String of the specification


def to_cloudevents(event: Event) -> Document:
    """Return the event as a CloudEvent in the JSON format; `from_cloudevents` gives the same event back."""
    return to_document(_FORM, event)


def from_cloudevents(document: object) -> Event:
    """Return the event for a CloudEvent in the JSON format; `to_cloudevents` gives the same document back.

    A CloudEvent that tlog did not write is kept whole in `data.cloudevents`. Without a time, the event's time is
    1970-01-01T00:00:00Z. Raises: FormatError naming the attribute that is missing or wrong.
    """
    return from_document(_FORM, document)


def _text(value: str) -> str:
    return value if _STRING.fullmatch(value) else quote(value)


def _category(source: Any) -> str | None:
    name = source.removeprefix(f"{SOURCE}/") if type(source) is str else source
    return None if name == source else unquote(name)


_ROWS = (
    Row("id", ("id",), _text),
    Row("category", ("source",), lambda name: f"{SOURCE}/{quote(name, safe='')}", _category),
    Row("action", ("type",), _text),
    Row("target", ("subject",), _text),
    Row("time", ("time",)),
    Row("actor", ("authid",), _text),
    Row("correlation_id", ("correlationid",), _text),
    Row("severity", ("severitytext",), str.upper, severity_of_text),
)


def _write(event: Event) -> Document:
    document: Document = {
        "specversion": "1.0",
        "source": SOURCE,
        "authtype": "unknown",
        "datacontenttype": "application/json",
    }
    if event.severity is not None:
        document["severitynumber"] = OTEL_SEVERITY[event.severity]
    return {**document, **write_rows(_ROWS, event, ("data",))}


def _read(document: Document) -> Document:
    return read_rows(_ROWS, document, ("data",))


def _adopt(document: Document) -> Document:
    if document.get("specversion") != "1.0":
        raise FormatError("cloudevents.specversion", "is not the text 1.0; only CloudEvents 1.0 are read")
    for name, value in document.items():
        if name in {"data", "data_base64"}:
            continue
        if _NAME.fullmatch(name) is None:
            raise FormatError(f"cloudevents, attribute {name[:80]!r}", "is no name; use only a-z and 0-9")
        if type(value) not in (str, int, bool, type(None)):
            raise FormatError(
                f"cloudevents.{name[:80]}",
                f"{type(value).__name__} given where text, a whole number or a bool is needed",
            )
    for name in _REQUIRED:
        if type(document.get(name)) is not str or not document[name]:
            raise FormatError(f"cloudevents.{name}", "is missing; CloudEvents 1.0 require text here")
    event_id, subject, group = document["id"], document.get("subject"), document.get("correlationid")
    return present(
        {
            "id": event_id if len(event_id) <= MAX_ID_LENGTH else None,
            "time": utc_time(document.get("time")),
            "action": first_name(document, [("type",)], "unknown"),
            "actor": first_name(document, [("authid",), ("source",)], "unknown"),
            "target": subject if is_name(subject) else None,
            "outcome": "unknown",
            "severity": severity_of_text(document.get("severitytext"))
            or severity_of_number(document.get("severitynumber")),
            "correlation_id": group if is_name(group) else None,
        }
    )


_FORM = Form("cloudevents", _write, _read, _adopt)
