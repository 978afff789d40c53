"""The handler that writes log records into a partition, as events.

    {"class": "tlog.TlogHandler", "ledger": "audit", "partition": "web", "origin": "audit.example.com"}

is all that `logging.config.dictConfig` needs. What becomes of a record is in docs/logging.md, "What is recorded".
"""

from __future__ import annotations

import contextlib
import copy
import logging
import threading
from pathlib import Path

from tlog.context import correlation_id
from tlog.events import uuid7
from tlog.recording import capture, lifecycle
from tlog.recording.background import CAPACITY, BackgroundWriter, Counters, WhenFull
from tlog.recording.steady import SteadyAppender, opener

EXCLUDED = frozenset({"tlog", "httpx", "httpcore", "urllib3", "requests"})
"""Loggers, with all below them, that are not written: our own, and those of HTTP clients that carry events away."""

SEVERITIES = (
    (20, "debug"), (25, "info"), (30, "notice"), (40, "warning"), (50, "error"), (60, "critical"), (70, "alert"),
)  # fmt: skip
"""Levels below the number have the severity; what is not in the table is an emergency."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_FORMATTER = logging.Formatter()


class TlogHandler(logging.Handler):
    """Writes log records into a partition.

    ledger: directory of the ledger. partition: its name. origin: creates the ledger with this origin prefix if there is
    none. category, actor: of events that name none; the actor is the process's user unless given. synchronous: records
    are durable when the logging call returns; otherwise a thread writes them, see `tlog.BackgroundWriter` for
    capacity, when_full, timeout_s and publish_every_s. level: as for every handler.

    Raises: NotFoundError where there is no ledger and no origin, ConflictError where the ledger has another origin,
    FormatError. After that nothing is raised into the application: what goes wrong with a record goes to `handleError`.
    """

    def __init__(
        self,
        ledger: str | Path,
        partition: str,
        *,
        origin: str | None = None,
        category: str = "system",
        actor: str | None = None,
        synchronous: bool = False,
        capacity: int = CAPACITY,
        when_full: WhenFull = "block",
        timeout_s: float | None = None,
        publish_every_s: float | None = None,
        level: int | str = logging.NOTSET,
    ) -> None:
        super().__init__(level)
        open_partition = opener(ledger, partition, origin=origin)
        self._appender = SteadyAppender(open_partition) if synchronous else None
        self._writer = BackgroundWriter(
            open_partition,
            capacity=capacity,
            when_full=when_full,
            timeout_s=timeout_s,
            publish_every_s=publish_every_s,
            on_error=_tell,
        )
        self._category = category
        self._actor = capture.process_user() if actor is None else actor
        self._host = capture.host()
        self.forget()
        lifecycle.forget_after_fork(self)

    def forget(self) -> None:
        """Begin counting afresh in a forked child."""
        self._serially = capture.Serially()
        self._mutex = threading.RLock()
        self._written = self._failed = self._dropped = 0

    @property
    def writer(self) -> BackgroundWriter:
        """The background writer, which middlewares may share. A synchronous handler does not use it itself."""
        return self._writer

    @property
    def counters(self) -> Counters:
        """What became of the records in this process; see `tlog.recording.background.Counters`."""
        behind = self._writer.counters
        return Counters(
            behind.accepted + self._written + self._failed,
            behind.written + self._written,
            behind.dropped + self._dropped,
            behind.failed + self._failed,
        )

    def createLock(self) -> None:  # noqa: N802 - the name is that of logging
        """Have no lock: records of many threads are written together, and nobody waits for a lock that we hold."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a record unless a filter rejects it; return whether none does."""
        kept: object = self.filter(record)
        if isinstance(kept, logging.LogRecord):  # from Python 3.12 on
            record = kept
        if kept:
            self.emit(record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record. What is logged meanwhile by this thread is written afterwards, what that logs is dropped."""
        if str(record.name).partition(".")[0] in EXCLUDED:
            return
        given_up = self._serially.do(self._keep, record)
        if given_up:
            self._count(dropped=given_up)

    def flush(self) -> None:
        """Wait until what was logged before is durable, 10 seconds at most."""
        self._writer.flush(lifecycle.EXIT_TIMEOUT_S)

    def close(self) -> None:
        """Write all records and release the files, in 10 seconds; what takes longer is written in the background.

        A record that a thread still has in its hands may be handled afterwards; it is written as well.
        """
        with contextlib.suppress(Exception):  # told when it happened
            self._writer.close()
        if self._appender is not None:
            with contextlib.suppress(Exception):
                self._appender.close()
        super().close()

    def _keep(self, record: logging.LogRecord) -> None:
        try:
            text = capture.fit(self._event(record))
            if self._appender is None:
                self._writer.put_json(text)
            else:
                self._appender.append(text)
                self._count(written=1)
        except Exception:  # noqa: BLE001 - an application does not fail because its log does
            self._count(failed=1)
            with contextlib.suppress(Exception):
                self.handleError(record)

    def _count(self, *, written: int = 0, failed: int = 0, dropped: int = 0) -> None:
        with self._mutex:
            self._written += written
            self._failed += failed
            self._dropped += dropped

    def _event(self, record: logging.LogRecord) -> capture.Fields:
        """Return the event that a record becomes."""
        error = self._error(record)
        ours: capture.Fields = {
            "id": uuid7(),
            "time": capture.rfc3339(record.created),
            "category": self._category,
            "action": "log",
            "actor": self._actor,
            "outcome": "unknown" if error is None else "failure",
            "severity": _severity(record.levelno),
            "message": self._message(record),
        }
        correlation = correlation_id()
        if correlation is not None:
            ours["correlation_id"] = correlation
        if error is not None:
            ours["error"] = error
        log: capture.Fields = {
            "logger": record.name,
            "module": record.module,
            "function": record.funcName,
            "line": record.lineno,
            "thread": record.threadName,
            "process": record.process,
            "host": self._host,
        }
        if record.stack_info:
            log["stack"] = record.stack_info
        given = [(name, value) for name, value in vars(record).items() if name not in _OWN]
        return capture.compose(ours, given, log)

    def _message(self, record: logging.LogRecord) -> str:
        """Return the message, by the handler's formatter if it has one; trace and stack have fields of their own."""
        if self.formatter is None:
            return str(record.getMessage())
        if record.exc_info or record.exc_text or record.stack_info:
            record = copy.copy(record)
            record.exc_info = record.exc_text = record.stack_info = None
        return self.formatter.format(record)

    def _error(self, record: logging.LogRecord) -> capture.Fields | None:
        if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
            kind, error, trace = record.exc_info
            try:
                stack = (self.formatter or _FORMATTER).formatException(record.exc_info)
            except Exception:  # noqa: BLE001 - exceptions of the application may be unprintable
                stack = None
            return capture.error_of(kind, error, trace, stack)
        if record.exc_text:  # a QueueHandler has made text of it
            return capture.error_of_text(record.exc_text)
        return None


def _severity(level: int | None) -> str:
    number = level or 0  # records that came over a wire may lack it
    return next((name for limit, name in SEVERITIES if number < limit), "emergency")


def _tell(error: Exception) -> None:
    """Say on standard error what the writer's thread could not do, as `handleError` would."""
    if logging.raiseExceptions:
        lifecycle.say(str(error))
