"""JSON values as AnyValue of OTLP/JSON, and back. Source: opentelemetry-proto, common/v1/common.proto."""

from __future__ import annotations

import re
from typing import Any

MAX_DEPTH = 24
"""A level of JSON is three or four messages, and readers of protobuf take 100 of them."""

_KINDS = {str: "stringValue", bool: "boolValue", float: "doubleValue"}
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)


def to_any_value(value: Any) -> dict[str, Any] | None:
    """Return the AnyValue for a JSON value; None where it has integers over 63 bits or is nested over 24 deep."""
    try:
        return _write(value, 0)
    except ValueError:
        return None


def from_any_value(value: Any) -> Any:
    """Return the JSON value that `to_any_value` wrote as this AnyValue; None where it wrote no such thing."""
    try:
        return _read(value)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def string_of(value: Any) -> str | None:
    """Return the text of an AnyValue that is a string, else None."""
    text = value.get("stringValue") if type(value) is dict else None
    return text if type(text) is str else None


def to_attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return AnyValues by key as a list of KeyValue."""
    return [{"key": key, "value": value} for key, value in values.items()]


def from_attributes(items: Any) -> dict[str, Any]:
    """Return AnyValues by key out of a list of KeyValue; of two with one key the first, and nothing of what is none."""
    found: dict[str, Any] = {}
    for item in items if type(items) is list else []:
        if type(item) is dict and type(item.get("key")) is str:
            found.setdefault(item["key"], item.get("value"))
    return found


def _write(value: Any, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise ValueError("deep")
    if value is None:
        return {}
    if type(value) is int:
        if not -(2**63) <= value < 2**63:
            raise ValueError("large")
        return {"intValue": str(value)}
    if type(value) is list:
        return {"arrayValue": _values([_write(item, depth + 1) for item in value])}
    if type(value) is dict:
        pairs = [_key(key) | {"value": _write(item, depth + 1)} for key, item in value.items()]
        return {"kvlistValue": _values(pairs)}
    return {_KINDS[type(value)]: value}


# What protobuf leaves out (no values, an empty key) is left out here, too: a document comes back from it unchanged.


def _values(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"values": items} if items else {}


def _key(key: str) -> dict[str, Any]:
    return {"key": key} if key else {}


def _read(value: Any) -> Any:
    if type(value) is not dict:
        raise ValueError("not an object")
    if not value:
        return None
    ((kind, content),) = value.items()
    if kind == "arrayValue":
        return [_read(item) for item in content.get("values", [])]
    if kind == "kvlistValue":
        return {item.get("key", ""): _read(item["value"]) for item in content.get("values", [])}
    if kind == "intValue" and _INTEGER.fullmatch(content):
        return int(content)
    if _KINDS.get(type(content)) != kind:
        raise ValueError(kind)
    return content
