"""Audit events in the Open Cybersecurity Schema Framework, as API Activity or Authentication, and back.

An event whose action ends in a word such as login or logout is Authentication (class 3002), any other API Activity
(class 6003). Source: OCSF schema 1.6.0, classes api_activity and authentication; docs/events.md, "OCSF".
"""

from __future__ import annotations

from typing import Any

from tlog.errors import FormatError
from tlog.events import MAX_ID_LENGTH, Event
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
from tlog.mapping.times import from_nanoseconds, to_nanoseconds, utc_time
from tlog.mapping.words import activity_of

SCHEMA_VERSION = "1.6.0"
API_ACTIVITY = 6003
AUTHENTICATION = 3002

_CONTAINER = ("unmapped", "tlog")
_UNKNOWN = "unknown"

_CLASSES = {
    API_ACTIVITY: (6, "Application Activity", "API Activity"),
    AUTHENTICATION: (3, "Identity & Access Management", "Authentication"),
}
_ACTIVITIES = {
    "create": (API_ACTIVITY, 1, "Create"),
    "read": (API_ACTIVITY, 2, "Read"),
    "update": (API_ACTIVITY, 3, "Update"),
    "delete": (API_ACTIVITY, 4, "Delete"),
    "logon": (AUTHENTICATION, 1, "Logon"),
    "logoff": (AUTHENTICATION, 2, "Logoff"),
}
_STATUS = {"unknown": 0, "success": 1, "failure": 2}
_STATUS_CAPTION = ("Unknown", "Success", "Failure")
_SEVERITY = {
    None: 0, "debug": 1, "info": 1, "notice": 2, "warning": 3, "error": 4, "critical": 5, "alert": 6, "emergency": 6,
}  # fmt: skip
_SEVERITY_CAPTION = ("Unknown", "Informational", "Low", "Medium", "High", "Critical", "Fatal")
_SEVERITY_OF = {1: "info", 2: "notice", 3: "warning", 4: "error", 5: "critical", 6: "emergency"}


def to_ocsf(event: Event) -> Document:
    """Return the event as an OCSF event of class 6003 or 3002; `from_ocsf` gives the same event back."""
    return to_document(_FORM, event)


def from_ocsf(document: object) -> Event:
    """Return the event for an OCSF event of class 6003 or 3002; `to_ocsf` gives the same document back.

    One that tlog did not write is kept whole in `data.ocsf`. Raises: FormatError naming the attribute that is wrong.
    """
    return from_document(_FORM, document)


def _status_of(number: Any) -> str | None:
    return next((name for name, value in _STATUS.items() if type(number) is int and number == value), None)


def _first_resource(resources: Any) -> Any:
    return get(resources[0], ["name"]) if type(resources) is list and resources else None


_COMMON = (
    Row("id", ("metadata", "uid")),
    Row("time", ("metadata", "original_time")),
    Row("category", ("metadata", "log_name")),
    Row("severity", ("metadata", "log_level")),
    Row("correlation_id", ("metadata", "correlation_uid")),
    Row("outcome", ("status_id",), _STATUS.get, _status_of),
    Row("message", ("message",)),
    Row("error.type", ("status_code",)),
    Row("error.message", ("status_detail",)),
)
_ROWS = {
    API_ACTIVITY: (
        *_COMMON,
        Row("action", ("api", "operation")),
        Row("actor", ("actor", "user", "name")),
        Row("target", ("resources",), lambda name: [{"name": name}], _first_resource),
    ),
    AUTHENTICATION: (
        *_COMMON,
        Row("action", ("metadata", "event_code")),
        Row("actor", ("user", "name")),
        Row("target", ("service", "name")),
    ),
}


def _write(event: Event) -> Document:
    kind, activity, name = _ACTIVITIES.get(activity_of(event.action) or "", (API_ACTIVITY, 99, event.action))
    category, category_name, class_name = _CLASSES[kind]
    status, severity = _STATUS[event.outcome], _SEVERITY[event.severity]
    document = {
        "class_uid": kind,
        "class_name": class_name,
        "category_uid": category,
        "category_name": category_name,
        "activity_id": activity,
        "activity_name": name,
        "type_uid": kind * 100 + activity,
        "severity_id": severity,
        "severity": _SEVERITY_CAPTION[severity],
        "status": _STATUS_CAPTION[status],
        "time": to_nanoseconds(event.time) // 10**6,
        **write_rows(_ROWS[kind], event, _CONTAINER),
    }
    put(document, ("metadata", "version"), SCHEMA_VERSION)
    put(document, ("metadata", "product"), {"name": "tlog", "vendor_name": "tlog"})
    if kind == API_ACTIVITY:
        document["src_endpoint"] = {"name": _UNKNOWN}  # required, and events don't tell
    elif event.target is None:
        document["dst_endpoint"] = {"name": _UNKNOWN}  # this or a service is required
    return document


def _read(document: Document) -> Document:
    kind = document.get("class_uid")
    return read_rows(_ROWS[kind], document, _CONTAINER) if type(kind) is int and kind in _ROWS else {}


def _adopt(document: Document) -> Document:
    kind = document.get("class_uid")
    if type(kind) is not int or kind not in _CLASSES:
        shown = repr(kind)[:80]
        raise FormatError(
            "ocsf.class_uid", f"{shown} given where 6003 (API Activity) or 3002 (Authentication) is needed"
        )
    milliseconds = document.get("time")
    if type(milliseconds) is not int:
        raise FormatError("ocsf.time", f"{type(milliseconds).__name__} given where milliseconds since 1970 are needed")
    # Some published examples have microseconds here. What is no time gives way to the other places that have one.
    time = (
        from_nanoseconds(milliseconds * 10**6)
        or utc_time(document.get("time_dt"))
        or utc_time(get(document, ["metadata", "original_time"]))
    )
    uid, group = get(document, ["metadata", "uid"]), get(document, ["metadata", "correlation_uid"])
    target = first_name({"resource": _first_resource(document.get("resources")), **document}, _TARGETS, "")
    message, severity = document.get("message"), document.get("severity_id")
    return present(
        {
            "id": uid if is_name(uid) and len(uid) <= MAX_ID_LENGTH else None,
            "time": time,
            "action": first_name(document, _ACTIONS, _CLASSES[kind][2]),
            "actor": first_name(document, _ACTORS[kind], _UNKNOWN),
            "target": target or None,
            "outcome": _status_of(document.get("status_id")) or "unknown",
            "severity": _SEVERITY_OF.get(severity) if type(severity) is int else None,
            "correlation_id": group if is_name(group) else None,
            "message": message if type(message) is str else None,
        }
    )


_ACTIONS = (("api", "operation"), ("metadata", "event_code"), ("activity_name",))
_TARGETS = (("resource",), ("service", "name"), ("dst_endpoint", "hostname"), ("dst_endpoint", "name"))
_ACTOR = (
    ("actor", "user", "name"), ("actor", "user", "uid"), ("actor", "app_name"), ("actor", "invoked_by"),
    ("actor", "session", "issuer"),
)  # fmt: skip
_USER = (("user", "name"), ("user", "uid"))
_ACTORS = {API_ACTIVITY: (*_ACTOR, *_USER), AUTHENTICATION: (*_USER, *_ACTOR)}


_FORM = Form("ocsf", _write, _read, _adopt)
