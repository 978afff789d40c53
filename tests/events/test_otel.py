"""OpenTelemetry: the project's own messages, numbers and names."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from opentelemetry._logs import SeverityNumber
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, log_attributes, user_attributes
from opentelemetry.semconv.attributes import exception_attributes

from tests.events.strategies import events
from tests.events.test_mapping import FULL, documents
from tlog.errors import FormatError
from tlog.events import Event
from tlog.mapping.documents import is_same
from tlog.mapping.otel import from_otel, split_otel, to_otel
from tlog.mapping.otelvalues import MAX_DEPTH, from_any_value, to_any_value
from tlog.mapping.words import OTEL_SEVERITY, severity_of_number

IDS = ("traceId", "spanId")


def to_message(document: Any, message: Any) -> Any:
    """The protobuf message for OTLP/JSON, whose ids are hex where protobuf's own JSON has base64."""
    return json_format.ParseDict(_ids(document, lambda text: b64encode(bytes.fromhex(text)).decode()), message)


def to_json(message: Any) -> dict[str, Any]:
    """OTLP/JSON for a protobuf message."""
    found = json_format.MessageToDict(message, use_integers_for_enums=True)
    document: dict[str, Any] = _ids(found, lambda text: b64decode(text).hex())
    return document


def _ids(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {k: change(v) if k in IDS else _ids(v, change) for k, v in value.items()}
    return [_ids(item, change) for item in value] if isinstance(value, list) else value


def test_the_messages_have_the_same_values() -> None:
    """A written record is, as a protobuf message, what the table says."""
    record = to_message(to_otel(FULL), LogRecord())
    assert record.time_unix_nano == 1795251600123456000
    assert record.severity_number == SeverityNumber.WARN.value
    assert (record.severity_text, record.event_name) == ("warning", "document.update")
    assert record.body.string_value == FULL.message
    assert record.trace_id.hex() == FULL.correlation_id
    values = {pair.key: pair.value for pair in record.attributes}
    assert values["log.record.uid"].string_value == "e-1"
    assert values["exception.stacktrace"].string_value == "line 1\nline 2"
    assert values["tlog.latency_ms"].double_value == 123.456
    assert [pair.key for pair in values["tlog.data"].kvlist_value.values] == ["page", "ratio", "tags"]
    assert values["tlog.data"].kvlist_value.values[0].value.int_value == 3


@settings(max_examples=120, deadline=None)
@given(event=events)
def test_every_event_survives_protobuf(event: Event) -> None:
    """Through the binary form of the project's own messages and back, the event is the identical one."""
    message = to_message({"resourceLogs": [{"scopeLogs": [{"logRecords": [to_otel(event)]}]}]}, LogsData())
    again = LogsData.FromString(message.SerializeToString())
    record = again.resource_logs[0].scope_logs[0].log_records[0]
    assert is_same(from_otel(to_json(record)).to_data(), event.to_data())


@pytest.mark.parametrize("name", [name for name, _ in documents("otel")])
def test_examples_are_records_of_the_project(name: str) -> None:
    """The documents in testdata parse as the project's messages, without unknown fields."""
    document = dict(documents("otel"))[name]
    assert to_message(document, LogsData() if "resourceLogs" in document else LogRecord()).ByteSize() > 10


def test_names_are_those_of_the_semantic_conventions() -> None:
    """The attributes that are not tlog's own are called as the conventions call them."""
    keys = [item["key"] for item in to_otel(FULL)["attributes"] if not item["key"].startswith("tlog.")]
    assert keys == [
        log_attributes.LOG_RECORD_UID,
        user_attributes.USER_NAME,
        exception_attributes.EXCEPTION_TYPE,
        exception_attributes.EXCEPTION_MESSAGE,
        exception_attributes.EXCEPTION_STACKTRACE,
        gen_ai_attributes.GEN_AI_PROVIDER_NAME,
        gen_ai_attributes.GEN_AI_REQUEST_MODEL,
    ]


def test_severity_numbers() -> None:
    """The numbers are OpenTelemetry's for the levels of syslog, and every number of theirs means a level here."""
    names = ["DEBUG", "INFO", "INFO2", "WARN", "ERROR", "ERROR2", "ERROR3", "FATAL"]
    assert list(OTEL_SEVERITY.values()) == [SeverityNumber[name].value for name in names]
    for number in SeverityNumber:
        name = severity_of_number(number.value)
        assert (name is None) == (number.value == 0)
        if number.value in OTEL_SEVERITY.values():
            assert name is not None
            assert OTEL_SEVERITY[name] == number.value
    found = [severity_of_number(number) for number in (1, 5, 8, 9, 12, 16, 20, 24, 25, 0, True)]
    assert found == ["debug"] * 3 + ["info", "notice", "warning", "alert", "emergency", None, None, None]


@pytest.mark.parametrize(
    "time", ["1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2554-07-21T23:34:34Z", "9999-12-31T23:59:59Z"]
)
def test_times_that_the_record_cannot_hold(time: str) -> None:
    """The field is unsigned and has 64 bits, and 0 means unknown: such times stand in tlog's own attribute."""
    event = Event(actor="a", action="b", outcome="success", time=time)
    record = to_otel(event)
    assert "timeUnixNano" not in record
    assert json.loads({i["key"]: i["value"] for i in record["attributes"]}["tlog.event"]["stringValue"])["time"] == time
    assert from_otel(record) == event


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, [[2**64 - 1]], {"a": 2**63}])
def test_integers_that_anyvalue_cannot_hold(value: Any) -> None:
    """They stand in the JSON text of tlog's own attribute."""
    assert to_any_value(value) is None
    if value != -(2**63) - 1:
        event = Event(actor="a", action="b", outcome="success", data=value)
        assert "tlog.data" not in {item["key"] for item in to_otel(event)["attributes"]}
        assert from_otel(to_otel(event)) == event


def test_nesting_that_protobuf_takes() -> None:
    """The deepest value that is written as AnyValue is read by protobuf, inside of a whole request."""
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = {"a": value}
    written = to_any_value(value)
    assert written is not None
    assert to_any_value({"a": value}) is None
    record = {"attributes": [{"key": "a", "value": written}]}
    request = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    message = to_message(request, LogsData())
    assert to_json(LogsData.FromString(message.SerializeToString())) == request
    assert from_any_value(written) == value


def test_a_request_is_split_and_joined() -> None:
    """Each record of a request comes with its resource and scope, and their lists make a request again."""
    request = {
        "resourceLogs": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": name}}]},
                "scopeLogs": [{"scope": {"name": "s"}, "logRecords": [{"eventName": f"{name}{n}"} for n in range(2)]}],
            }
            for name in ("a", "b")
        ]
        + [{"resource": {}}]
    }
    parts = split_otel(request)
    events = [from_otel(part) for part in parts]
    assert [(event.actor, event.action) for event in events] == [("a", "a0"), ("a", "a1"), ("b", "b0"), ("b", "b1")]
    joined = {"resourceLogs": [logs for event in events for logs in to_otel(event)["resourceLogs"]]}
    assert split_otel(joined) == parts
    assert split_otel({}) == []


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"resourceLogs": []}, "otel"),
        ({"resourceLogs": [{"scopeLogs": [{"logRecords": [{}, {}]}]}]}, "otel"),
        ({"resourceLogs": {}}, "otel, resourceLogs"),
        ({"resourceLogs": [1]}, "otel, resourceLogs"),
        ({"resourceLogs": [{"scopeLogs": "x"}]}, "otel, scopeLogs"),
        ({"resourceLogs": [{"scopeLogs": [{"logRecords": None}]}]}, "otel, logRecords"),
        ({"attributes": {}}, "otel.attributes"),
    ],
)
def test_what_is_no_record_is_refused(document: dict[str, Any], named: str) -> None:
    """The error names the list."""
    with pytest.raises(FormatError) as caught:
        from_otel(document)
    assert caught.value.what == named
