"""Log records of OpenTelemetry, by OTLP/HTTP. Source: OTLP specification, "OTLP/HTTP"; docs/events-api.md.

Answers and errors are what that specification wants: messages of protobuf, or these as JSON.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from flask import Blueprint, Response, request

from tlog.errors import Error, FormatError
from tlog.intake.batch import take_each
from tlog.intake.items import Item, Maker
from tlog.mapping.documents import Document
from tlog.mapping.otlp import JSON, PROTOBUF, event_of, format_status, format_success, read_logs
from tlog_server.answering import NO_STORE
from tlog_server.asking import parameters, reads_body, settings
from tlog_server.bodies import read_body
from tlog_server.metrics import counts
from tlog_server.problems import RefusedError, refusal_of_failure
from tlog_server.taking import refusal_of_event, target

MAX_BODY_SIZE = 1 << 22
"""Bytes of a body, unless events may be larger; the limit of gRPC, by which exporters go."""

otlp = Blueprint("otlp", __name__)

_parsing = threading.Semaphore(1)  # a body that is made to be large takes some 100 times its size: one at a time


@otlp.post("/v1/logs")
@reads_body
def logs() -> Response:
    """Log records, each an event. Those that cannot be taken are counted in the answer, and the others are durable."""
    asked = parameters("partition")
    intake, writer = target(asked)
    if request.mimetype not in {PROTOBUF, JSON}:
        raise RefusedError(415, f"Send the logs as {PROTOBUF} or {JSON}.", field="Content-Type")
    body = read_body(max(MAX_BODY_SIZE, settings().max_event_bytes))
    with _parsing:
        try:
            records = read_logs(body, request.mimetype)
        except FormatError as err:
            raise refusal_of_event(err) from err
        items = list(_items(intake.maker(writer), records))
    _, errors = take_each(intake, writer, items)
    counts().appended(intake.partition, len(items) - len(errors), len(body))
    message = f"{errors[0].what}: {errors[0].reason}" if errors else ""
    return _answer(format_success(len(errors), message, _answer_type()), 200)


def _items(maker: Maker, records: list[Document]) -> Iterator[Item | FormatError]:
    for record in records:
        try:
            yield maker.of_event(*event_of(record))
        except FormatError as err:
            yield err


@otlp.errorhandler(RefusedError)
def refused(refusal: RefusedError) -> Response:
    """A refusal as google.rpc.Status."""
    detail = refusal.detail if refusal.field is None else f"{refusal.field}: {refusal.detail}"
    response = _answer(format_status(detail, _answer_type()), refusal.status)
    response.headers.extend(refusal.headers)
    return response


@otlp.errorhandler(Error)
def failed(error: Error) -> Response:
    """A failure of the library likewise."""
    return refused(refusal_of_failure(error))


def _answer_type() -> str:
    return JSON if request.mimetype == JSON else PROTOBUF


def _answer(body: bytes, status: int) -> Response:
    response = Response(body, status, content_type=_answer_type())
    response.headers["Cache-Control"] = NO_STORE
    return response
