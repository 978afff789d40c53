"""Events that are sent: one, or a batch that is taken in while it arrives. Source: docs/events-api.md.

Whatever the answer, what it says is durable is durable. An event that was sent with an id can be sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Blueprint, Response, request

from tlog.checkpoint import Checkpoint
from tlog.errors import Error, FormatError, RefusedItemError, ReusedIdError
from tlog.events import Event
from tlog.intake.batch import Batch
from tlog.intake.intake import BatchReceipt
from tlog.intake.items import Item, Maker
from tlog.intake.streams import array_items, msgpack_items, ndjson_items, one_line
from tlog.jsontext import encode_json, parse_json
from tlog.mapping.cloudevents import from_cloudevents
from tlog.mapping.cloudeventshttp import from_binary_mode, identity
from tlog_server.answering import NO_STORE
from tlog_server.asking import parameters, reads_body, settings
from tlog_server.bodies import read_body, stream_body
from tlog_server.metrics import counts
from tlog_server.problems import RefusedError, refusal_of_failure
from tlog_server.taking import asked_wait, idempotency_key, refusal_of_event, target, waited

JSON = "application/json"
NDJSON = "application/x-ndjson"
MSGPACK = "application/msgpack"
CLOUDEVENT = "application/cloudevents+json"
CLOUDEVENTS = "application/cloudevents-batch+json"

events_in = Blueprint("events_in", __name__)


@events_in.post("/api/v1/events")
@reads_body
def append_one() -> Response:
    """One event: any JSON value, or a CloudEvent in structured or binary mode."""
    asked = parameters("partition", "wait", "timeout")
    wait = asked_wait(asked)
    intake, writer = target(asked)
    key = idempotency_key()
    item = _item(intake.maker(writer), key)
    try:
        accepted = intake.accept_item(writer, item)
    except ReusedIdError as err:
        raise refusal_of_event(err) from err
    counts().appended(intake.partition, int(accepted.is_first), request.content_length or 0)
    checkpoint = waited(intake.partition, accepted.seq, wait)
    fields: dict[str, object] = {
        "partition": intake.partition.name,
        "index": accepted.seq,
        "chain_hash": accepted.hash.hex(),
    }
    status = 202 if checkpoint is None and wait.state != "durable" else 201 if accepted.is_first else 200
    response = _answer(fields, status, checkpoint)
    response.headers["Location"] = f"/{intake.partition.name}/entry/{accepted.seq}"
    return response


@events_in.post("/api/v1/events:batch")
@reads_body
def append_batch() -> Response:
    """Many events: NDJSON, a JSON array, a stream of msgpack values, or a batch of CloudEvents."""
    asked = parameters("partition", "wait", "timeout")
    wait = asked_wait(asked)
    intake, writer = target(asked)
    key = idempotency_key()
    add = _BATCHES.get(_media_type(*_BATCHES))
    if add is None:
        raise AssertionError("the media type was checked")
    try:
        batch = Batch(intake, writer=writer, batch_id=key)
    except FormatError as err:
        raise RefusedError(400, f"{err.what}: {err.reason}", field="Idempotency-Key") from err
    body = stream_body(settings().max_batch_bytes)
    try:
        add(batch, body)
    except RefusedItemError as err:
        refusal = refusal_of_event(err.cause)
        refusal.detail = f"item {err.index}, {refusal.detail}; the {err.appended} items before it are durable"
        refusal.more = {"item": err.index, **_written(batch.receipt)}
        raise refusal from err
    except (Error, RefusedError) as err:
        refusal = refusal_of_failure(err) if isinstance(err, Error) else err
        refusal.more = _written(batch.receipt)
        raise refusal from err
    receipt = batch.receipt
    counts().appended(intake.partition, receipt.count - receipt.repeated, request.content_length or 0)
    checkpoint = waited(intake.partition, receipt.stop - 1, wait) if receipt.count else None
    fields: dict[str, object] = {
        "partition": intake.partition.name,
        **_written(receipt),
        "chain_hash": receipt.hash.hex(),
        "repeated": receipt.repeated,
    }
    is_late = checkpoint is None and wait.state != "durable" and receipt.count
    return _answer(fields, 202 if is_late else 200 if 0 < receipt.repeated == receipt.count else 201, checkpoint)


def _item(maker: Maker, key: str | None) -> Item:
    """Return the event of the request. Raises: RefusedError."""
    is_binary = "ce-specversion" in request.headers and not request.mimetype.startswith("application/cloudevents")
    media_type = "" if is_binary else _media_type(JSON, CLOUDEVENT)
    body = read_body(settings().max_event_bytes)
    try:
        if media_type == JSON:
            return maker.of_text(one_line(body), key)
        document = _document(body, media_type)
        return maker.of_event(from_cloudevents(document), key or identity(document))
    except FormatError as err:
        raise refusal_of_event(err) from err


def _document(body: bytes, media_type: str) -> Any:
    if media_type == CLOUDEVENT:
        return parse_json(body.strip(b" \t\r\n"), "cloudevents")
    return from_binary_mode(request.headers.items(), request.headers.get("Content-Type", ""), body)


def _cloudevent_pairs(pieces: Iterable[bytes]) -> Iterator[tuple[Event, str | None]]:
    for text in array_items(pieces):
        document = parse_json(text.strip(b" \t"), "cloudevents")
        yield from_cloudevents(document), identity(document)


_BATCHES: dict[str, Callable[[Batch, Iterable[bytes]], BatchReceipt]] = {
    NDJSON: lambda batch, pieces: batch.add_json(ndjson_items(pieces)),
    JSON: lambda batch, pieces: batch.add_json(array_items(pieces)),
    MSGPACK: lambda batch, pieces: batch.add(msgpack_items(pieces)),
    CLOUDEVENTS: lambda batch, pieces: batch.add_events(_cloudevent_pairs(pieces)),
}


def _media_type(*allowed: str) -> str:
    """Return the body's media type. Raises: RefusedError."""
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype not in allowed or charset != "utf-8":
        detail = f"Send the body as {' or '.join(allowed)}, in UTF-8, and say so in Content-Type."
        headers = [("Accept-Post", ", ".join(allowed))]
        raise RefusedError(415, detail, field="Content-Type", headers=headers)
    return request.mimetype


def _written(receipt: BatchReceipt) -> dict[str, object]:
    return {"count": receipt.count, "start": receipt.start, "stop": receipt.stop}


def _answer(fields: dict[str, object], status: int, checkpoint: Checkpoint | None) -> Response:
    fields["state"] = "durable" if checkpoint is None else "published"
    if checkpoint is not None:
        fields["checkpoint"] = str(checkpoint)
    response = Response(encode_json(fields) + b"\n", status, content_type=JSON)
    response.headers["Cache-Control"] = NO_STORE
    return response
