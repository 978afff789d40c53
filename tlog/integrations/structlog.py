"""A structlog processor that writes every event into a partition, and passes it on as it was."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import MutableMapping
from typing import Any

from tlog.context import correlation_id
from tlog.events import uuid7
from tlog.recording import capture
from tlog.recording.background import BackgroundWriter
from tlog.recording.handler import EXCLUDED

SEVERITIES = {
    "notset": "debug", "debug": "debug", "info": "info", "msg": "info", "log": "info", "notice": "notice",
    "warn": "warning", "warning": "warning", "error": "error", "err": "error", "exception": "error",
    "fatal": "critical", "critical": "critical", "alert": "alert", "emergency": "emergency",
}  # fmt: skip
"""The severity for a level or, where an event has none, the method that was called."""

_TAKEN = frozenset(
    {
        "event",
        "level",
        "logger",
        "timestamp",
        "exc_info",
        "exception",
        "stack",
        "stack_info",
        "_record",
        "_from_structlog",
    }
)

EventDict = MutableMapping[str, Any]


class TlogProcessor:
    """Writes events; put it before the renderer. Never raises: what goes wrong is told to the writer's `on_error`.

    writer: see `tlog.BackgroundWriter`. category, actor: of events that name none; the actor is the process's user
    unless given. Fields are treated as those of a log record, see docs/logging.md, "What is recorded".
    """

    def __init__(self, writer: BackgroundWriter, *, category: str = "system", actor: str | None = None) -> None:
        self._writer = writer
        self._category = category
        self._actor = capture.process_user() if actor is None else actor
        self._host = capture.host()
        self._serially = capture.Serially()

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> EventDict:
        """Write an event and return it unchanged."""
        name = event_dict.get("logger") or getattr(logger, "name", None)
        if not isinstance(name, str) or name.partition(".")[0] not in EXCLUDED:
            self._serially.do(self._keep, (name, method_name, dict(event_dict)))
        return event_dict

    def _keep(self, call: tuple[Any, str, dict[str, Any]]) -> None:
        try:
            self._writer.put_json(capture.fit(self._event(*call)))
        except Exception as err:  # noqa: BLE001 - an application does not fail because its log does
            self._writer.report(err)

    def _event(self, logger: Any, method_name: str, fields: dict[str, Any]) -> capture.Fields:
        error = _error(fields)
        level = fields.get("level", method_name)
        ours: capture.Fields = {
            "id": uuid7(),
            "time": capture.rfc3339(time.time()),
            "category": self._category,
            "action": "log",
            "actor": self._actor,
            "outcome": "unknown" if error is None else "failure",
            "severity": SEVERITIES.get(level.lower(), "info") if isinstance(level, str) else "info",
            "message": capture.text_of(fields.get("event", "")),
        }
        correlation = correlation_id()
        if correlation is not None:
            ours["correlation_id"] = correlation
        if error is not None:
            ours["error"] = error
        log: capture.Fields = {"thread": threading.current_thread().name, "process": os.getpid(), "host": self._host}
        if isinstance(logger, str):
            log = {"logger": logger} | log
        if fields.get("stack"):
            log["stack"] = capture.text_of(fields["stack"])
        given = [(name, value) for name, value in fields.items() if name not in _TAKEN]
        return capture.compose(ours, given, log)


def _error(fields: dict[str, Any]) -> capture.Fields | None:
    """Return what an event says about an exception: as an object, or as text where a processor made text of it."""
    given = fields.get("exc_info")
    if given is True:
        given = sys.exc_info()
    elif isinstance(given, BaseException):
        given = (type(given), given, given.__traceback__)
    if isinstance(given, tuple) and len(given) == 3 and given[0] is not None:
        return capture.error_of(*given)
    text = fields.get("exception")
    return capture.error_of_text(text) if isinstance(text, str) and text else None
