"""What is posted to /v1/logs of OTLP/HTTP, as events; and the answers.

Source: OTLP specification 1.x, "OTLP/HTTP"; opentelemetry-proto, collector/logs/v1/logs_service.proto.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import orjson

from tlog.errors import FormatError, TooLargeError
from tlog.events import MAX_ID_LENGTH, Event
from tlog.jsontext import encode_json
from tlog.mapping.documents import Document
from tlog.mapping.otel import from_otel, split_otel
from tlog.mapping.otelvalues import from_attributes, string_of

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

MAX_RECORDS = 1 << 14
"""Log records of one request."""

MAX_EXPANDED_SIZE = 1 << 26
"""Bytes of all resources and scopes of a request, each counted for every record that keeps it: as entries have them."""

_IDS = ("traceId", "spanId")


def read_logs(body: bytes, media_type: str) -> list[Document]:
    """Return the log records of a request, each as a LogsData in OTLP/JSON that holds it alone.

    media_type: PROTOBUF or JSON. Raises: FormatError where the body is none; TooLargeError where it holds more than
    MAX_RECORDS, or would become more than MAX_EXPANDED_SIZE.
    Memory: some 100 times the body for protobuf that is made to be large, usually 10 times.
    """
    document = _from_protobuf(body) if media_type == PROTOBUF else _from_json(body)
    if type(document) is not dict:
        raise FormatError("otel", "is no object with resourceLogs")
    _require_few(sum(1 for _ in _records(document)))
    records = split_otel(document)
    _require_small(document)
    return records


def event_of(record: Document) -> tuple[Event, str | None]:
    """Return the event for one record of `read_logs`, and its id where its sender gave it one (`log.record.uid`).

    Raises: FormatError naming the field that is wrong.
    """
    event = from_otel(record)
    attributes = record["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].get("attributes")
    uid = string_of(from_attributes(attributes).get("log.record.uid"))
    return event, uid if uid and len(uid) <= MAX_ID_LENGTH else None


def format_success(rejected: int, message: str, media_type: str) -> bytes:
    """Return the body of an ExportLogsServiceResponse. rejected: log records that were refused. message: why."""
    if media_type == JSON:
        partial = {"partialSuccess": {"rejectedLogRecords": str(rejected), "errorMessage": message}}
        return json.dumps(partial if rejected else {}).encode()
    if not rejected:
        return b""
    inner = b"\x08" + _varint(rejected) + _field(2, message.encode())
    return _field(1, inner)


def format_status(message: str, media_type: str) -> bytes:
    """Return the body of a google.rpc.Status, which every refusal has."""
    return json.dumps({"message": message}).encode() if media_type == JSON else _field(2, message.encode())


def _from_json(body: bytes) -> Any:
    """Return what the text spells; what an entry may not hold is found later, in the one record that holds it."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as err:
        raise FormatError("otel", f"is not valid JSON: {err.msg} at character {err.pos}") from err


def _from_protobuf(body: bytes) -> Document:
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = ExportLogsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as err:
        raise FormatError("body", "is no ExportLogsServiceRequest in protobuf") from err
    _require_few(sum(len(scope.log_records) for resource in request.resource_logs for scope in resource.scope_logs))
    try:
        document: Document = MessageToDict(request, use_integers_for_enums=True)
    except (ValueError, RecursionError) as err:
        raise FormatError("otel", "holds what JSON does not: a number that is none, or too many levels") from err
    for record in _records(document):
        for name in _IDS:
            if name in record:  # bytes are base64 in JSON, but these two are hexadecimal
                record[name] = base64.b64decode(record[name]).hex()
    return document


def _records(document: Any) -> Iterator[Any]:
    """Yield the log records of a LogsData; of what is none, what can be found."""
    for resource_logs in _list(document, "resourceLogs"):
        for scope_logs in _list(resource_logs, "scopeLogs"):
            yield from _list(scope_logs, "logRecords")


def _list(holder: Any, name: str) -> list[Any]:
    items = holder.get(name) if type(holder) is dict else None
    return items if type(items) is list else []


def _require_few(count: int) -> None:
    if count > MAX_RECORDS:
        raise TooLargeError(
            "otel", f"{count:,} log records given where {MAX_RECORDS:,} are allowed; send less at a time"
        )


def _require_small(document: Document) -> None:
    """Refuse a request in which a few bytes, shared by many records, would become many entries of them."""
    size = 0
    for resource_logs in _list(document, "resourceLogs"):
        shared = len(encode_json({**resource_logs, "scopeLogs": []}, "otel"))
        for scope_logs in _list(resource_logs, "scopeLogs"):
            records = len(_list(scope_logs, "logRecords"))
            size += records * (shared + len(encode_json({**scope_logs, "logRecords": []}, "otel")))
    if size > MAX_EXPANDED_SIZE:
        raise TooLargeError(
            "otel", f"each record keeps its resource and scope, {size:,} bytes of them in all; send less at a time"
        )


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
