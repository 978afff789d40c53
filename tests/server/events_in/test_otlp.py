"""POST /v1/logs: what OpenTelemetry's own exporter sends, to a real server, and what others might."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

import tlog
from tests.ledgers import NAME, ORIGIN
from tests.server.conftest import granted
from tests.server.events_in.conftest import Server
from tests.server.running.server import running

URL = f"/v1/logs?partition={NAME}"
JSON, PROTOBUF = "application/json", "application/x-protobuf"


def logs(*records: dict[str, Any]) -> dict[str, Any]:
    """Log records of one resource and scope, in OTLP/JSON."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": {}, "logRecords": list(records)}]}]}


def record(number: int, **fields: Any) -> dict[str, Any]:
    """A log record."""
    return {"timeUnixNano": str(1_795_251_600_000_000_000 + number), "body": {"stringValue": f"n{number}"}, **fields}


def uid(text: str) -> dict[str, Any]:
    """The attribute by which a sender names a record."""
    return {"attributes": [{"key": "log.record.uid", "value": {"stringValue": text}}]}


def encoded(document: dict[str, Any], kind: str) -> bytes:
    """A request in one of its encodings. Ids of traces must not be in it: they are spelled differently."""
    if kind == JSON:
        return json.dumps(document).encode()
    message: bytes = json_format.ParseDict(document, ExportLogsServiceRequest()).SerializeToString()
    return message


MANY = logs(*[{}] * 20_000)
SHARED = {"resourceLogs": [{"schemaUrl": "x" * 60_000, "scopeLogs": [{"logRecords": [{}] * 2000}]}]}


def response_of(body: bytes, kind: str) -> ExportLogsServiceResponse:
    """The answer as OpenTelemetry's own messages have it."""
    response = ExportLogsServiceResponse()
    if kind == JSON:
        json_format.Parse(body, response)
    else:
        response.ParseFromString(body)
    return response


def test_the_exporter(tmp_path: Path) -> None:
    """What the SDK's exporter sends to a running server is in the log, with who sent it, resource and trace."""
    tlog.Ledger.create(tmp_path / "ledger", origin=ORIGIN).close()
    token = granted(tmp_path / "ledger", "append", writer="collector")
    with running(tmp_path / "ledger", "--workers", "1") as server:
        exporter = OTLPLogExporter(
            endpoint=server.url + URL, headers={"Authorization": f"Bearer {token}"}, compression=Compression.Gzip
        )
        provider = LoggerProvider(Resource({"service.name": "shop"}), shutdown_on_exit=False)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        logger = provider.get_logger("orders", "1.2")
        for number in range(300):
            logger.emit(
                LogRecord(
                    timestamp=1_795_251_600_000_000_000 + number,
                    severity_number=SeverityNumber.WARN,
                    event_name="order.cancelled",
                    body={"order": number, "lines": [1, 2.5, None, "é"]},
                    attributes={"user.name": "alice", "bytes": b"\0\xff"},
                )
            )
        provider.shutdown()
        assert server.end() == 0
    with tlog.Ledger.open(tmp_path / "ledger") as ledger:
        entries = list(ledger.partition(NAME).entries())
    events = [tlog.Event.from_data(entry.data) for entry in entries]
    assert {entry.meta["writer"] for entry in entries} == {"collector"}
    assert [event.time for event in events][:2] == ["2026-11-21T09:00:00.000000Z", "2026-11-21T09:00:00.000000001Z"]
    assert len(events) == 300
    assert {(event.action, event.actor, event.severity) for event in events} == {
        ("order.cancelled", "alice", "warning")
    }
    kept = events[7].data["otel"]["resourceLogs"][0]
    assert kept["scopeLogs"][0]["scope"] == {"name": "orders", "version": "1.2"}
    attributes = {pair["key"]: pair["value"] for pair in kept["scopeLogs"][0]["logRecords"][0]["attributes"]}
    assert attributes["bytes"] == {"bytesValue": "AP8="}
    assert "shop" in json.dumps(kept["resource"])


@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
def test_both_encodings(server: Server, kind: str) -> None:
    """JSON and protobuf give the same events; the answer is empty in the encoding of the request."""
    body = encoded(logs(record(1), record(2)), kind)
    answer = server.post(URL, gzip.compress(body), Content_Type=kind, Content_Encoding="gzip")
    assert (answer.status_code, answer.content_type) == (200, kind)
    assert response_of(answer.data, kind) == ExportLogsServiceResponse()
    assert [data["message"] for data in server.data()] == ["n1", "n2"]
    empty = server.post(URL, encoded({}, kind), Content_Type=kind)
    assert (empty.status_code, response_of(empty.data, kind)) == (200, ExportLogsServiceResponse())


def test_ids_of_traces(server: Server) -> None:
    """Protobuf has them as bytes, the event as hexadecimal text, as OTLP/JSON has them."""
    request = ExportLogsServiceRequest()
    found = request.resource_logs.add().scope_logs.add().log_records.add()
    found.trace_id, found.span_id = bytes(range(16)), bytes(range(8))
    assert server.post(URL, request.SerializeToString(), Content_Type=PROTOBUF).status_code == 200
    event = tlog.Event.from_data(server.data()[0])
    assert event.correlation_id == bytes(range(16)).hex()
    assert event.data["otel"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["spanId"] == bytes(range(8)).hex()


@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
def test_partial_success(server: Server, kind: str) -> None:
    """Records that cannot be taken are counted, with the reason of the first; the others are in the log."""
    records = [
        record(0, **uid("a")), record(1, body={"stringValue": "x" * 70_000}), record(2), record(3, **uid("a")),
        record(4, body={"stringValue": "\0"}),
    ]  # fmt: skip
    answer = server.post(URL, encoded(logs(*records), kind), Content_Type=kind)
    partial = response_of(answer.data, kind).partial_success
    assert (answer.status_code, partial.rejected_log_records) == (200, 3)
    assert "fit into one entry" in partial.error_message
    assert [data["message"] for data in server.data()] == ["n0", "n2"]


def test_records_that_have_ids_are_taken_once(server: Server) -> None:
    """A request that is sent again adds only those records that have no id; without one, nobody can tell."""
    body = encoded(logs(record(0, **uid("a")), record(1)), JSON)
    for _ in range(2):
        assert server.post(URL, body).json == {}
    assert [data["message"] for data in server.data()] == ["n0", "n1", "n1"]
    assert server.partition.entry(0).meta == {"writer": "tester", "id": "a"}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"\xff", PROTOBUF, 400), (b"{", JSON, 400), (b"[]", JSON, 400), (b'{"resourceLogs":1}', JSON, 400),
        (b"{}", "text/plain", 415), (b"\x0a\x04\x12\x02" + b"\x12\x00", PROTOBUF, 200),
        (encoded(MANY, JSON), JSON, 413), (encoded(MANY, PROTOBUF), PROTOBUF, 413), (encoded(SHARED, JSON), JSON, 413),
        (b" " * (5 << 20), JSON, 413),
    ],
)  # fmt: skip
def test_requests_that_are_refused(server: Server, body: bytes, kind: str, status: int) -> None:
    """What cannot be decoded is 400, what is too much 413, each with a Status in the encoding of the request."""
    answer = server.post(URL, body, Content_Type=kind)
    assert answer.status_code == status
    if status >= 400:
        status_type = JSON if kind == JSON else PROTOBUF
        assert answer.content_type == status_type
        message = answer.get_json()["message"] if kind == JSON else Status.FromString(answer.data).message
        assert len(message) > 20
        assert not server.partition.exists


def test_who_may_not(server: Server) -> None:
    """Without a token that may append, nothing is taken, and the answer is a Status too."""
    answer = server.post(URL, b"", Content_Type=PROTOBUF, Authorization="")
    assert (answer.status_code, answer.content_type) == (401, PROTOBUF)
    assert "Bearer" in Status.FromString(answer.data).message
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert server.post("/v1/logs", b"{}").get_json()["message"].startswith("partition")
