"""The audit log of an application: one object to record, read, search, verify and prove with.

    log = AuditLog.open("audit", origin="audit.example.com")
    log.security("login failed", {"ip": "10.0.0.1"}, actor="alice", action="user.login", outcome="failure")
    with log.recording("report.export", actor="bob", target="report/7"):
        export()
    log.publish()

Every event is durable when its call returns. Source: docs/uses/web-app.md.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from tlog._strict import require_int
from tlog.audit import Report
from tlog.checkpoint import Checkpoint
from tlog.context import correlation_id
from tlog.entry import Entry
from tlog.errors import FormatError, NotFoundError
from tlog.events import SEVERITIES, Event
from tlog.index.query import Query
from tlog.index.search import PAGE, Coverage, Index, Page
from tlog.index.store import MAX_ROWS
from tlog.integrate import Progress
from tlog.jsontext import encode_json
from tlog.ledger import Ledger
from tlog.partition import Partition
from tlog.receipt import Receipt
from tlog.recording import capture, lifecycle
from tlog.recording.anchor import Anchor
from tlog.recording.calls import ExcInfo, Record, Recording, exception_of, recorded
from tlog.recording.questions import Level, at_least, nanoseconds, of_words, severity
from tlog.recording.steady import OpenPartition, SteadyAppender, opener
from tlog.report.stats import statistics
from tlog.tlogproof import Proof

PARTITION = "audit"
"""The partition that is used unless another one is named."""

MAX_READ = 100_000
"""Entries that one `read` returns."""

P = ParamSpec("P")
R = TypeVar("R")

_FIELDS = frozenset(Event.__struct_fields__) - {"data", "message", "error", "severity"}


@dataclass(frozen=True, slots=True)
class Stats:
    """What an audit log holds.

    entries: how many are durable. size: bytes of the files that hold them. levels: entries by severity, the least
    severe first, and None for those that have none, by the index. oldest, newest: when the first and the last one were
    sequenced, None where there are none. verified: the checkpoint that was verified last, None where none was.
    """

    entries: int
    size: int
    levels: Mapping[str | None, int]
    oldest: str | None
    newest: str | None
    verified: Checkpoint | None


class AuditLog:
    """Records the events of an application in one partition. It may be used by any number of threads, and after forks.

    where: the directory of a ledger, a partition, or what opens one in each process anew (`steady.opener`). name: of
    the partition, where a directory is given. actor: of events that name none, the process's user unless given.
    anchor: the file that keeps the checkpoint that was verified last, `verified/<partition>.checkpoint` in the ledger
    unless given. Raises: NotFoundError where there is no ledger (`open` creates one), FormatError.
    """

    def __init__(
        self,
        where: str | Path | Partition | OpenPartition,
        name: str = PARTITION,
        *,
        actor: str | None = None,
        anchor: str | Path | None = None,
    ) -> None:
        if isinstance(where, Partition):
            self._open_partition: OpenPartition = lambda: where
        else:
            self._open_partition = where if callable(where) else opener(where, name)
        self._actor = capture.process_user() if actor is None else actor
        self._host = capture.host()
        self._appender = SteadyAppender(self._open_partition)
        self.forget()
        paths = self.partition.paths
        self._vocabulary = Ledger.open(paths.ledger).config.vocabulary()
        kept = paths.ledger / "verified" / f"{paths.name}.checkpoint" if anchor is None else anchor
        self._anchor = Anchor(self.partition.files, Path(kept).absolute())
        Event(action="log", actor=self._actor, outcome="unknown")  # raises where the actor is none
        lifecycle.forget_after_fork(self)

    @classmethod
    def open(
        cls,
        path: str | Path,
        name: str = PARTITION,
        *,
        origin: str | None = None,
        actor: str | None = None,
        anchor: str | Path | None = None,
    ) -> Self:
        """Return the log in a ledger; the first time, create the ledger.

        origin: the ledger's origin prefix, such as audit.example.com; without one only a ledger that exists is opened.
        The other arguments are those of the class. Raises: NotFoundError where there is no ledger and no origin was
        given; ConflictError where the ledger has another origin; FormatError.
        """
        try:
            open_partition = opener(path, name, origin=origin)
        except NotFoundError as err:
            raise NotFoundError(
                f"{path}: there is no ledger; give origin='audit.example.com', with a name of your own, to create one"
            ) from err
        return cls(open_partition, actor=actor, anchor=anchor)

    def forget(self) -> None:
        """Open the log anew in a forked child."""
        self._mutex = threading.Lock()
        self._partition: Partition | None = None
        self._index: Index | None = None

    @property
    def partition(self) -> Partition:
        """The partition, for all else that can be done with one."""
        with self._mutex:
            if self._partition is None:
                self._partition = self._open_partition()
            return self._partition

    # Recording

    def info(self, message: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Receipt:
        """Record an event of severity info; see `log`."""
        return self.log("info", message, metadata, **fields)

    def warn(self, message: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Receipt:
        """Record an event of severity warning; see `log`."""
        return self.log("warning", message, metadata, **fields)

    def error(self, message: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Receipt:
        """Record an event of severity error; see `log`."""
        return self.log("error", message, metadata, **fields)

    def critical(self, message: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Receipt:
        """Record an event of severity critical; see `log`."""
        return self.log("critical", message, metadata, **fields)

    def audit(self, message: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Receipt:
        """Record an event of category audit, of severity info unless `level` says otherwise; see `log`."""
        return self.log(fields.pop("level", "info"), message, metadata, category="audit", **fields)

    def security(self, message: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Receipt:
        """Record an event of category security, of severity info unless `level` says otherwise; see `log`."""
        return self.log(fields.pop("level", "info"), message, metadata, category="security", **fields)

    def revenue(self, message: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Receipt:
        """Record an event of category revenue, of severity info unless `level` says otherwise; see `log`."""
        return self.log(fields.pop("level", "info"), message, metadata, category="revenue", **fields)

    def system(self, message: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Receipt:
        """Record an event of category system, of severity info unless `level` says otherwise; see `log`."""
        return self.log(fields.pop("level", "info"), message, metadata, category="system", **fields)

    def log(
        self,
        level: Level,
        message: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        error: BaseException | Mapping[str, str] | None = None,
        exc_info: ExcInfo = None,
        **fields: Any,
    ) -> Receipt:
        """Record one event and return its receipt when it is durable.

        level: becomes the event's severity. metadata: what is your own; it becomes the event's `data`, beside
        `data.log` with `host` and `process`. error: an exception, or an event's `error`; exc_info: the same as for
        `logging`. fields: of an event (`tlog.events.Event`), such as actor, action, target, outcome, category, labels.
        Unless given: actor is that of this log, action is "log", category is "service", outcome is failure with an
        error and unknown without, correlation_id is that of the present scope.

        Raises: FormatError naming what is wrong, and nothing is recorded; TypeError where an event has no such field;
        CommitUnknownError where the write failed twice, and it is unknown whether the event was stored; StorageError,
        CorruptLedgerError. The next call opens the partition again.
        Cost: one write and one sync, shared with all threads that record at the same time.
        """
        unknown = fields.keys() - _FIELDS
        if unknown:
            raise TypeError(f"{min(unknown)!r} is no field of an event that can be given here; put it into metadata")
        raised = exception_of(error, exc_info)
        given = {
            "actor": self._actor,
            "action": "log",
            "category": "service",
            "outcome": "unknown" if raised is None and error is None else "failure",
            "correlation_id": correlation_id(),
            "error": error if raised is None else None,
        } | {name: value for name, value in fields.items() if value is not None}
        event = Event(**given, severity=severity(level), message=message, data=self._data(metadata))
        self._vocabulary.check(event)
        text = encode_json(event.to_data())
        if raised is not None:
            if len(text) > capture.ROOM:
                raise FormatError("data", f"{len(text):,} bytes given where {capture.ROOM:,} fit beside an error")
            failure = capture.error_of(type(raised), raised, raised.__traceback__)
            text = capture.fit(event.to_data() | {"error": failure})
        return self._appender.append(text)

    def recording(
        self,
        action: str,
        *,
        actor: str | None = None,
        target: str | None = None,
        category: str = "service",
        metadata: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Recording:
        """Return a context manager that records what is done in its `with` block as one event, when the block ends.

        It gives the `calls.Record`, whose attributes may be set meanwhile. action, actor, target, category,
        metadata: as for `log`. fields: other attributes of the record, such as correlation_id, method, model, labels.
        The event has started, ended, latency_ms and outcome; an exception makes it a failure, with type, message and
        stack in `error`, and is raised again.

        Raises: FormatError naming what is wrong, before anything is done; TypeError for an unknown field. When the
        block ends, as `log`, but nothing is refused: the event says in `data.log.notes` what was changed.
        """
        log = self._data(metadata)["log"]
        record = Record(action=action, actor=self._actor if actor is None else actor, **fields)
        record.target, record.category, record.data = target, category, dict(metadata or {})
        self._vocabulary.check(record.checked())
        return Recording(record, self._appender.append, log)

    def recorded(
        self,
        action: str,
        *,
        actor: str | Callable[..., str] | None = None,
        target: str | Callable[..., str | None] | None = None,
        category: str = "service",
        arguments: Iterable[str] = (),
        **fields: Any,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator that records each call of a function, coroutine function or generator function.

        actor, target: text, or what returns it when called with the arguments of the call. arguments: names of those
        parameters whose values are recorded, as `input`; none unless given. category, fields: as for `recording`.
        Raises: ValueError where the function has no such parameter; FormatError as `recording`.
        """
        given = {"actor": actor, "target": target, "category": category, **fields}
        made = {name: value for name, value in given.items() if callable(value)}
        fixed: dict[str, Any] = {name: value for name, value in given.items() if name not in made}
        self.recording(action, **fixed)  # what would be refused at every call is refused now

        def start(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording:
            return self.recording(action, **fixed, **{name: make(*args, **kwargs) for name, make in made.items()})

        return recorded(start, (arguments,) if isinstance(arguments, str) else tuple(arguments))

    # Reading

    def read(
        self,
        limit: int = 100,
        level: Level | None = None,
        start: str | datetime | None = None,
        end: str | datetime | None = None,
    ) -> list[Entry]:
        """Return the newest entries, the newest first, as they stand in the log, each with its hash checked.

        limit: at most so many, 1 to 100,000. level: this severity or a more severe one. start, end: of the events'
        times, as text such as 2026-01-31 or 2026-01-31T09:30:00Z, or as a datetime with time zone; half-open. With
        level, start or end the index is brought up to date, and says where to look.
        Raises: FormatError; IndexMismatchError, CorruptLedgerError. Cost: about 20 microseconds an entry.
        """
        require_int(limit, "limit", 1, MAX_READ)
        conditions = () if level is None else (at_least(level),)
        query = Query(conditions, nanoseconds(start, "start"), nanoseconds(end, "end"))
        partition = self.partition
        if not partition.exists:
            return []
        if query == Query():
            size = partition.size
            return list(partition.entries(max(size - limit, 0), size))[::-1]
        index, found, after = self._caught_up(), list[Entry](), None
        while True:
            page = index.search(query, limit=min(limit - len(found), MAX_ROWS), after=after)
            found += [hit.entry for hit in page.hits]
            after = page.cursor
            if after is None or len(found) == limit:
                return found

    def search(
        self, query: Query | str, level: Level | None = None, limit: int = PAGE, *, after: str | None = None
    ) -> Page:
        """Return a page of entries that match, the newest first; it says how much of the log was searched.

        query: words, all of which an entry must hold, `"several words"` for words in a row; or, where it has a `=`, the
        language of docs/query.md. level: as for `read`. limit: hits at most, 1 to 1,000. after: the cursor of the page
        before. The index is brought up to date first, and every hit is read from the log and compared with it.
        Raises: FormatError; IndexMismatchError, CorruptLedgerError. Cost: as `Index.search`.
        """
        if isinstance(query, str):
            query = Query.parse(query) if "=" in query else of_words(query)
        if level is not None:
            query = Query((*query.conditions, at_least(level)), query.since, query.until)
        if not self.partition.exists:
            return Page((), None, Coverage(0, 0), self.partition)
        return self._caught_up().search(query, limit=limit, after=after)

    def stats(self) -> Stats:
        """Return what the log holds. Raises: as `search`. Cost: about a second for 10^6 entries."""
        partition, kept = self.partition, self._anchor.read()
        if not partition.exists or partition.size == 0:
            return Stats(0, 0, {}, None, None, kept)
        found = statistics(partition, top=MAX_ROWS)
        counts = dict(found.counts.fields["severity"].counts)
        levels = {name: counts[name] for name in (*SEVERITIES, None) if name in counts}
        return Stats(found.entries, found.sizes.segments, levels, found.oldest, found.newest, kept)

    # Verifying

    def publish(self) -> Checkpoint:
        """Sign and publish a checkpoint over all durable entries; from then on they can be proved.

        Raises: as `Partition.publish`.
        """
        return self._appender.partition.publish()

    def prove(self, seq: int) -> Proof:
        """Return the proof that an entry is in the published log. Raises: as `Partition.prove`."""
        return self.partition.prove(seq)

    def verify(self, *, progress: Progress | None = None) -> Report:
        """Check every entry and tile, against the checkpoint that was verified last, and keep the newer one.

        The first time nothing was kept, and the report is not anchored: a log that was made anew would not show.
        Raises: VerificationError naming the first bad place, what was kept stays then; FormatError where the kept file
        was altered; NotFoundError where nothing was recorded yet. Cost, progress: as `Partition.verify`.
        """
        kept = self._anchor.read()
        report = self.partition.verify(checkpoint=None if kept is None else kept.raw, progress=progress)
        if report.published is not None:
            self._anchor.advance(report.published)
        return report

    def close(self) -> None:
        """Release all files; using the log opens them again."""
        self._appender.close()
        with self._mutex:
            partition, self._partition = self._partition, None
            index, self._index = self._index, None
        if index is not None:
            index.close()
        if partition is not None:
            partition.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Helpers

    def _data(self, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
        given = {} if metadata is None else metadata
        if not isinstance(given, Mapping):
            raise FormatError("metadata", f"{type(given).__name__} given where a mapping of names to values is needed")
        if "log" in given:
            raise FormatError("metadata.log", "is where host and process are recorded; give it another name")
        return {**given, "log": {"host": self._host, "process": os.getpid()}}

    def _caught_up(self) -> Index:
        partition = self.partition
        with self._mutex:
            if self._index is None:
                self._index = Index(partition)
            index = self._index
        index.catch_up()
        return index
