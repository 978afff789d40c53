"""A bounded queue of events, and the thread that appends them to a partition in batches.

Callers hand over JSON text and go on. What they handed over is written in its order, each event once, also after the
disk has failed for a while: the thread keeps what is not durable, opens the partition again and tries again. Where the
queue is full, callers wait, unless they asked for events to be dropped; what is dropped is counted, and the log itself
gets an event that says how many are missing.

A forked child begins with an empty queue and a thread of its own; what the parent had accepted is written by the parent
alone. When the interpreter ends, all that was accepted is written, for a limited time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from tlog.errors import FormatError
from tlog.events import Event
from tlog.jsontext import encode_json
from tlog.recording import lifecycle
from tlog.recording.lifecycle import EXIT_TIMEOUT_S
from tlog.recording.steady import OpenPartition, SteadyAppender, opener

CAPACITY, MAX_WAITING_BYTES = 10_000, 1 << 26
"""Events, and bytes of their JSON text, that are accepted and not durable yet, at which callers wait."""

BATCH_EVENTS, BATCH_BYTES = 4096, 1 << 21  # what is written and synced at once, whichever is reached first
FIRST_DELAY_S, LONGEST_DELAY_S = 0.05, 5.0  # how long after a failed write the next is tried; doubled each time
POLL_S = 0.5  # how often a caller that waits for room looks whether the process ends

WhenFull = Literal["block", "drop"]
OnError = Callable[[Exception], None]


@dataclass(frozen=True, slots=True)
class Counters:
    """What became of events: accepted = written + failed + waiting, and dropped for want of room.

    failed: the log refused them, e.g. as too large. waiting: in the queue, or being written.
    """

    accepted: int
    written: int
    dropped: int
    failed: int

    @property
    def waiting(self) -> int:
        """Events that are not durable yet."""
        return self.accepted - self.written - self.failed


class _Here(threading.local):
    """What the present thread is doing: whether it is inside of the writer, and whether it is the writer's own."""

    inside = False
    writes = False


class BackgroundWriter:
    """Writes events into a partition from a thread of its own. It may be used from any number of threads.

    open_partition: see `steady`. capacity: events that may wait. when_full: "block" lets callers wait for room,
    "drop" drops the event. timeout_s: seconds that callers wait at most before the event is dropped, None for ever.
    publish_every_s: publishes after events were written, at most this often, and at `close`; None never does.
    on_error: told of failed writes (once until one succeeds), refused events and publications that failed, by the
    writer's thread; one line on standard error unless given. Raises: FormatError.
    """

    def __init__(
        self,
        open_partition: OpenPartition,
        *,
        capacity: int = CAPACITY,
        when_full: WhenFull = "block",
        timeout_s: float | None = None,
        publish_every_s: float | None = None,
        on_error: OnError | None = None,
    ) -> None:
        _check(capacity, when_full, timeout_s, publish_every_s)
        self.when_full = when_full
        self._capacity = capacity
        self._timeout_s = 0.0 if when_full == "drop" else timeout_s
        self._publish_every_s = publish_every_s
        self._on_error = on_error or (lambda error: lifecycle.say(str(error)))
        self._appender = SteadyAppender(open_partition)
        self.forget()
        lifecycle.forget_after_fork(self)
        lifecycle.flush_at_exit(self)

    @classmethod
    def at(cls, ledger: str | Path, partition: str, *, origin: str | None = None, **options: Any) -> Self:
        """Return a writer into a partition of a ledger; see `steady.opener`. options: those of the class."""
        return cls(opener(ledger, partition, origin=origin), **options)

    def forget(self) -> None:
        """Begin afresh in a forked child: nothing accepted, no thread, and locks that nobody holds."""
        self._mutex = threading.Lock()
        self._alone = threading.Lock()
        self._changed = threading.Condition(self._mutex)  # for who waits for room, or for events to be durable
        self._work = threading.Condition(self._mutex)  # for the writer's thread
        self._here = _Here()
        self._thread: threading.Thread | None = None
        self._is_idle = False
        self._is_closing = False
        self._queue: deque[bytes] = deque()
        self._nested: deque[bytes | None] = deque()
        self._waiting_bytes = 0
        self._accepted = self._written = self._dropped = self._failed = self._told_dropped = 0
        self._publish_at: float | None = None
        self._last_wait = float("inf")
        self.last_error: Exception | None = None

    @property
    def counters(self) -> Counters:
        """What became of the events up to now, in this process. Never waits."""
        written, failed = self._written, self._failed  # read first: waiting is never negative
        return Counters(self._accepted, written, self._dropped, failed)

    def put(self, event: Any) -> bool:
        """Hand over an event; return whether it was accepted, which it is not where there is no room for it.

        event: an Event or any JSON value; later changes to it have no effect. Raises: FormatError.
        """
        return self.put_json(encode_json(event.to_data() if isinstance(event, Event) else event))

    def put_json(self, text: bytes) -> bool:
        """Like `put`, for the JSON text of one event, on one line. Cost: some microseconds while there is room."""
        return self._put(text, self._timeout_s, counts=True)

    def offer_json(self, text: bytes) -> bool:
        """Like `put_json`, without ever waiting; an event that is not accepted is not counted as dropped."""
        return self._put(text, 0.0, counts=False)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all events that were accepted before are durable or refused; False after `timeout_s` seconds."""
        if self._here.inside or self._here.writes:
            return False
        deadline = lifecycle.deadline(timeout_s)
        with self._entered():
            self._absorb()
            target = self._accepted
            while self._written + self._failed < target:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
        return True

    def close(self, timeout_s: float = EXIT_TIMEOUT_S) -> bool:
        """Write all events, end the thread and release the files; False if that takes longer than `timeout_s` seconds.

        The thread goes on then until all is written. What is put meanwhile, or later, is written as well.
        """
        if self._here.inside or self._here.writes:
            return False
        deadline = lifecycle.deadline(timeout_s)
        with self._entered():
            thread, accepted = self._thread, self._accepted
            self._is_closing = thread is not None
            self._work.notify()
        is_durable = self.flush(timeout_s)
        while thread is not None and thread.is_alive() and self._accepted == accepted:
            thread.join(min(max(deadline - time.monotonic(), 0.0), 0.05))
            if time.monotonic() >= deadline:
                return not thread.is_alive()
        return is_durable

    def report(self, error: Exception) -> None:
        """Tell `on_error`, whatever that does."""
        with contextlib.suppress(Exception):
            self._on_error(error)

    def _put(self, text: bytes, wait_s: float | None, *, counts: bool) -> bool:
        here = self._here
        if here.inside or here.writes:
            # A destructor or signal handler interrupted this thread in here, or the writer logs, which would never end.
            self._nested.append(None if here.writes else text)
            return not here.writes
        if sys.is_finalizing():  # the writer's thread is gone, perhaps with locks
            self._dropped += counts
            return False
        here.inside = True
        try:
            with self._mutex:
                if self._is_full(text) and not self._wait_for_room(text, wait_s):
                    self._dropped += counts
                    return False
                self._accept(text)
        finally:
            here.inside = False
        if self._nested or self._thread is None or lifecycle.is_ending():
            self._finish_put()
        return True

    def _finish_put(self) -> None:
        """Do what putting an event rarely needs."""
        with self._entered():
            self._absorb()
            batch = self._batch() if self._thread is None else []
        if batch:
            self._write_here(batch)
        elif lifecycle.is_ending():  # the thread ends when this one does
            self.flush()

    def _write_here(self, batch: list[bytes]) -> None:
        """Write in a caller's thread where there can be no new one. Raises: what writing raises."""
        failure: Exception | None = None
        self._here.writes = True
        try:
            with self._alone:
                while batch and failure is None:
                    failure = self._attempt(batch)[1]
                self._failed += len(batch)
        finally:
            self._here.writes = False
        if failure is not None:
            raise failure

    def _accept(self, text: bytes) -> None:
        self._queue.append(text)
        self._waiting_bytes += len(text)
        self._accepted += 1
        if self._thread is None:
            self._start()
        elif self._is_idle:
            self._is_idle = False
            self._work.notify()

    def _is_full(self, text: bytes) -> bool:
        waiting = self._accepted - self._written - self._failed
        return waiting >= self._capacity or (waiting > 0 and self._waiting_bytes + len(text) > MAX_WAITING_BYTES)

    def _wait_for_room(self, text: bytes, wait_s: float | None) -> bool:
        deadline = lifecycle.deadline(wait_s)
        while self._is_full(text):
            now = time.monotonic()
            if self._last_wait == float("inf") and not threading.main_thread().is_alive():
                self._last_wait = now + EXIT_TIMEOUT_S  # who waits for ever would keep the interpreter from ending
            left = min(deadline, self._last_wait) - now
            if left <= 0:
                return False
            self._changed.wait(min(left, POLL_S))
        return True

    def _start(self) -> None:
        lifecycle.watch_multiprocessing()
        thread = threading.Thread(target=self._run, name="tlog-background", daemon=True)
        self._is_closing = self._is_idle = False
        with contextlib.suppress(RuntimeError):  # the interpreter ends, or there are too many
            thread.start()
            self._thread = thread

    @contextlib.contextmanager
    def _entered(self) -> Iterator[None]:
        """Hold the mutex; what interrupts this thread meanwhile, and logs, must not wait for it."""
        here = self._here
        here.inside = True
        try:
            with self._mutex:
                yield
                self._absorb()
        finally:
            here.inside = False

    def _absorb(self) -> None:
        """Accept what was put by code that interrupted a thread inside of here, whether there is room or not."""
        while self._nested:
            text = self._nested.popleft()
            if text is None:  # telling the log of these would make more of them
                self._dropped += 1
                self._told_dropped += 1
            else:
                self._accept(text)

    # In the writer's own thread

    def _run(self) -> None:
        self._here.writes = True
        batch: list[bytes] = []
        try:
            while (taken := self._take()) is not None:
                batch = taken
                self._write(batch)
                self._publish(time.monotonic())
        except BaseException:  # no memory, for example: the next event starts another thread
            self._queue.extendleft(reversed(batch))
            self._thread = None
            raise

    def _take(self) -> list[bytes] | None:
        """Wait for events and return the next batch, empty where it is time to publish; None to end the thread."""
        with self._entered():
            self._absorb()
            self._tell_dropped()
            if not self._queue and not self._is_closing:
                self._is_idle = True
                self._work.wait(None if self._publish_at is None else max(self._publish_at - time.monotonic(), 0.0))
                self._is_idle = False
                self._absorb()
            if self._queue or not self._is_closing:
                return self._batch()
        with contextlib.suppress(Exception):  # told already
            self._publish(float("inf"))
            self._appender.close()
        with self._entered():
            if not self._queue:
                self._thread = None
                return None
            return self._batch()

    def _batch(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while self._queue and len(batch) < BATCH_EVENTS and size < BATCH_BYTES:
            batch.append(self._queue.popleft())
            size += len(batch[-1])
        return batch

    def _write(self, batch: list[bytes]) -> None:
        """Write a batch, however long that takes."""
        if batch and self._publish_every_s is not None and self._publish_at is None:
            self._publish_at = time.monotonic() + self._publish_every_s
        delay, is_told = FIRST_DELAY_S, False
        while batch:
            refused, failure = self._attempt(batch)
            problem = refused or (None if is_told else failure)
            if problem is not None:
                self.report(problem)
            is_told = failure is not None
            if failure is not None:
                self._pause(delay)
                delay = min(2 * delay, LONGEST_DELAY_S)

    def _attempt(self, batch: list[bytes]) -> tuple[FormatError | None, Exception | None]:
        """Try to write a batch, and count what is durable or refused, which is removed from it."""
        count, size = len(batch), sum(map(len, batch))
        refused: FormatError | None = None
        failure: Exception | None = None
        try:
            refused = self._appender.append_many(batch)
        except Exception as err:  # noqa: BLE001 - the thread must survive whatever the disk does
            failure = err
        with self._entered():
            self._written += count - len(batch) - (refused is not None)
            self._failed += refused is not None
            self._waiting_bytes -= size - sum(map(len, batch))
            self.last_error = failure or refused or self.last_error
            self._changed.notify_all()
        return refused, failure

    def _pause(self, delay_s: float) -> None:
        """Wait before a failed write is tried again; `close` cuts it short, once."""
        if self._is_closing:
            time.sleep(delay_s)
            return
        with self._entered():
            self._work.wait(delay_s)

    def _publish(self, now: float) -> None:
        """Publish if there is something to publish and it is time."""
        if self._publish_at is None or now < self._publish_at or lifecycle.is_ending():
            return
        try:
            self._appender.partition.publish()
            self._publish_at = None
        except Exception as err:  # noqa: BLE001 - as in _write
            self._publish_at = time.monotonic() + (self._publish_every_s or 0.0)
            self.last_error = err
            self.report(err)

    def _tell_dropped(self) -> None:
        """Let the log say that events are missing in it."""
        count = self._dropped - self._told_dropped
        if count:
            self._told_dropped = self._dropped
            event = Event(
                category="audit", action="log.dropped", actor="tlog", outcome="failure", severity="error",
                message=f"{count:,} events were dropped before this one", data={"count": count, "process": os.getpid()},
            )  # fmt: skip
            self._accept(encode_json(event.to_data()))


def _check(capacity: Any, when_full: Any, timeout_s: Any, publish_every_s: Any) -> None:
    if type(capacity) is not int or capacity < 1:
        raise FormatError("capacity", f"{capacity!r} given where a whole number of at least 1 is needed")
    if when_full not in get_args(WhenFull):
        raise FormatError("when_full", f"{when_full!r} given where 'block' or 'drop' is needed")
    for name, value in (("timeout_s", timeout_s), ("publish_every_s", publish_every_s)):
        if value is not None and (type(value) not in (int, float) or not 0 < value <= threading.TIMEOUT_MAX):
            raise FormatError(name, f"{value!r} given where a number of seconds above 0, or None, is needed")
