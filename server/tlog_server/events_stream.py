"""Events as they become durable: server-sent events, which browsers read with EventSource.

A stream has a thread of its own as long as it lasts, so there are few at a time. It ends when the process is told to
end, and at the first heartbeat at which the sender may not read any more; clients come back by themselves, and say with
`Last-Event-ID` where they were. Source: html.spec.whatwg.org, "Server-sent events".
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from flask import Blueprint, Response, copy_current_request_context, current_app, g, request

from tlog.errors import Error
from tlog.index.live import follow_query
from tlog.index.query import Query
from tlog.partition import Partition
from tlog_server.access import require
from tlog_server.answering import NO_STORE
from tlog_server.asking import accepted, number, parameters, settings, stopping
from tlog_server.events_out import asked_partition, asked_query, event_json
from tlog_server.metrics import counts
from tlog_server.problems import RETRY_AFTER_S, RefusedError

EVENT_STREAM = "text/event-stream"
HEARTBEAT_S = 15.0
"""Seconds between two comments, and between two looks at whether the sender may still read."""

LAST_EVENT_ID = "Last-Event-ID"

_EXTENSION = "tlog_streams"

events_stream = Blueprint("events_stream", __name__)

_log = logging.getLogger("tlog.server")


class Streams:
    """Counts the streams of a process."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._count = 0

    def begin(self, most: int) -> bool:
        """Count one more, unless there are `most`; return whether it was counted."""
        with self._mutex:
            is_room = self._count < most
            self._count += is_room
            return is_room

    def end(self) -> None:
        """Count one less."""
        with self._mutex:
            self._count -= 1


@events_stream.get("/api/v1/events/stream")
def stream() -> Response:
    """The events that match from a position on, without end."""
    asked = parameters("partition", "q", "start")
    accepted(EVENT_STREAM)
    found = asked_partition(asked)
    query = asked_query(asked)
    start = _start(found, asked)
    response = Response(content_type=EVENT_STREAM)
    response.headers["Cache-Control"] = NO_STORE
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep events back until it has a buffer full of them
    if request.method == "HEAD":
        return response
    streams: Streams = current_app.extensions.setdefault(_EXTENSION, Streams())
    if not streams.begin(settings().max_streams):
        detail = f"This process has {settings().max_streams} streams, and no more; ask again later, or for /events."
        raise RefusedError(503, detail, headers=[("Retry-After", str(RETRY_AFTER_S))])
    response.call_on_close(streams.end)
    counts().stream(1)
    response.call_on_close(partial(counts().stream, -1))
    may_go_on = copy_current_request_context(_may_go_on)
    response.response = _messages(
        found, query, start, stop=stopping(), may_go_on=lambda: may_go_on(found.name), request_id=g.request_id
    )
    return response


def _start(found: Partition, asked: Mapping[str, str]) -> int:
    """Return the first position that is sent: behind the last event that was seen, as asked, or the next one."""
    start = number(asked["start"], "start") if "start" in asked else None
    if LAST_EVENT_ID in request.headers:
        return number(request.headers[LAST_EVENT_ID], LAST_EVENT_ID) + 1
    return found.size if start is None else start


def _messages(
    found: Partition,
    query: Query,
    start: int,
    *,
    stop: threading.Event,
    may_go_on: Callable[[], bool],
    request_id: str,
) -> Iterator[bytes]:
    """Yield the stream; what it needs to know of the request is given, since that is over."""
    yield b": from %d\n\n" % start  # so that the header is sent at once
    try:
        for entry in follow_query(found, query, start, stop=stop.is_set, beat_s=HEARTBEAT_S):
            if entry is not None:
                yield b"id: %d\nevent: entry\ndata: %b\n\n" % (entry.seq, event_json(entry))
            elif may_go_on():
                yield b": %d\n\n" % found.size
            else:
                return
    except Error as err:  # the header is sent: all that can be done is to end, and say why in the log
        _log.error("stream_failed request_id=%s error=%s: %s", request_id, type(err).__name__, err)


def _may_go_on(partition: str) -> bool:
    """Whether the sender may still read; a token may have been revoked meanwhile."""
    g.pop("caller", None)  # what was found out then
    try:
        require("read", partition)
    except RefusedError:
        return False
    return True
