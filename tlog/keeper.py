"""The keeper: what a ledger that is served needs done all the time, by one process of many.

Each process has a keeper, a thread. The one that holds the keeper's lock leads: it publishes the partitions that grew,
new ones too, and keeps their indexes up to date. When its process ends, in whatever way, another one takes over. What
keeps a partition from being published is logged once, told to all processes (`tlog.keeping.notice`), and tried again;
the other partitions go on. Whether the lock works or not, a checkpoint is signed under its key's lock, so two leaders
would do no harm.

Each keeper, leading or not, opens the write ends of its own process again after a failed write.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tlog.checkpoint import Checkpoint
from tlog.errors import CommitUnknownError, CorruptLedgerError, Error, NotFoundError, PolicyError, StorageError
from tlog.keeping.indexing import Indexing
from tlog.keeping.notice import LOCK_NAME, is_led, read_notice, write_notice
from tlog.ledger import Ledger
from tlog.partition import Partition
from tlog.report.shown import visible

PUBLISH_INTERVAL_S = 1.0
LOOK_S = 0.25
"""How often a keeper looks whether it may lead, and whether a write end needs to be opened again."""

RETRY_S = 1.0
"""When what failed because of the storage is tried again."""

RETRY_CORRUPT_S = 30.0
"""When a partition that was found damaged is tried again: somebody may have restored it."""

END_S = 2.0
"""How long a keeper that does not lead waits, at its end, for the publication of what its process appended."""

POLL_S = 0.02
"""How often `wait_published` looks."""

_log = logging.getLogger("tlog.keeper")


class NotPublishedError(StorageError):
    """No checkpoint that covers an entry was published in time; the entry is durable all the same."""


@dataclass(slots=True)
class _Failure:
    """Why a partition could not be published, and the monotonic time from which it is tried again.

    is_cosigning: whether witnesses were missing, and nothing else.
    """

    reason: str
    retry_at: float
    is_cosigning: bool


class Keeper:
    """Publishes and indexes what grows in a ledger, while no other process of the ledger does."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        publish_interval_s: float = PUBLISH_INTERVAL_S,
        indexes: bool = True,
        on_look: Callable[[], None] = lambda: None,
    ) -> None:
        """ledger: stays the caller's. publish_interval_s: between two checkpoints of a partition that grows.

        indexes: whether to keep the indexes too. on_look: called every LOOK_S by the thread, for who counts.
        """
        self._ledger = ledger
        self._files = ledger.files
        self._interval_s = publish_interval_s
        self._indexing = Indexing(ledger) if indexes else None
        self._on_look = on_look
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock_fd: int | None = None
        self._round_at = 0.0
        self._published: dict[str, int] = {}
        self._failures: dict[str, _Failure] = {}
        self._missing: dict[str, dict[str, str]] = {}
        self._trouble: str | None = None

    @property
    def is_leader(self) -> bool:
        """Whether this is the keeper that leads."""
        return self._lock_fd is not None

    @property
    def is_running(self) -> bool:
        """Whether the thread was started and not stopped."""
        return self._thread is not None and not self._stop.is_set()

    @property
    def trouble(self) -> str | None:
        """What keeps this keeper from its work, whichever the partition; None while nothing does."""
        return self._trouble

    def start(self) -> None:
        """Start the thread, in the process that is to have it: a thread does not survive a fork."""
        if self._thread is not None:
            raise AssertionError("a keeper is started once")
        self._thread = threading.Thread(target=self._run, name="tlog-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; one that leads publishes once more, so that what was acknowledged is published."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def wait_published(self, partition: Partition, seq: int, timeout_s: float) -> Checkpoint:
        """Return a published checkpoint that covers entry `seq`, as soon as there is one.

        It may be asked in every process, of a keeper that was not started too. timeout_s: how long to wait.
        Raises: NotPublishedError where there is none in time, which says why as far as that is known;
        VerificationError, StorageError.
        """
        end = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(NotFoundError):
                checkpoint = partition.checkpoint()
                if checkpoint.tree_size > seq:
                    return checkpoint
            left = end - time.monotonic()
            if left <= 0:
                reason = self._reason(partition.name)
                raise NotPublishedError(
                    f"entry {seq} of {partition.name} is durable, and not published after {timeout_s:g} s: {reason}"
                )
            time.sleep(min(POLL_S, left))

    def _reason(self, name: str) -> str:
        if not is_led(self._files, self._ledger.path):
            return "no process publishes here now"
        notice = read_notice(self._files, self._ledger.path)
        if notice is not None and name in notice.publishing:
            return notice.publishing[name]
        return f"the log publishes every {self._interval_s:g} s; wait longer"

    # The thread

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S if self._round_at else 0):
            try:
                self._look()
            except Error as err:
                self._say(f"{type(err).__name__}: {err}")
            except Exception:  # noqa: BLE001 - the outermost loop: a defect in one round must not end all publishing
                _log.exception("keeper_failed defect")
                self._stop.wait(RETRY_S)
        self._end()

    def _look(self) -> None:
        self._round_at = self._round_at or time.monotonic()
        self._on_look()
        self._reopen_write_ends()
        if self._lead():
            if time.monotonic() < self._round_at:
                return
            self._round_at = max(self._round_at + self._interval_s, time.monotonic())
            self._round()
        self._say(None)

    def _end(self) -> None:
        """Publish once more. Whoever leads may have looked for the last time before the last append of this process."""
        try:
            end = time.monotonic() + END_S
            while not self._take_lock() and self._is_behind() and time.monotonic() < end:
                time.sleep(POLL_S)
            if self._lock_fd is not None:
                self._round()
        except Error as err:
            self._say(f"{type(err).__name__}: {err}")
        finally:
            self._give_up()

    def _take_lock(self) -> bool:
        """Return whether this keeper has the lock, after trying to take it. Raises: StorageError."""
        path = self._ledger.path / LOCK_NAME
        if self._lock_fd is None:
            fd = self._files.disk.open(path, os.O_RDWR | os.O_CREAT)
            if not self._files.disk.try_lock(fd, path):
                self._files.disk.close(fd)
                return False
            self._lock_fd = fd
            self._published.clear()
        return True

    def _is_behind(self) -> bool:
        """Whether a partition that this process used has entries that are not published. Raises: StorageError."""
        for partition in self._ledger.opened():
            if partition.exists:
                published = 0
                with contextlib.suppress(NotFoundError):
                    published = partition.checkpoint().tree_size
                if published < partition.size:
                    return True
        return False

    def _lead(self) -> bool:
        """Return whether this keeper leads, after trying to. Raises: StorageError."""
        if self._lock_fd is None:
            if not self._take_lock():
                return False
            _log.info("keeper_leads process=%d", os.getpid())
            if self._indexing is not None:
                self._indexing.start()
        # Removed, so that another process can take a new one?
        if self._lock_fd is not None and not os.fstat(self._lock_fd).st_nlink:
            self._give_up()
            return False
        return True

    def _give_up(self) -> None:
        if self._lock_fd is None:
            return
        if self._indexing is not None:
            self._indexing.stop()
        self._files.disk.unlock(self._lock_fd)  # a child that was forked meanwhile holds the file open
        self._files.disk.close(self._lock_fd)
        self._lock_fd = None

    def _round(self) -> None:
        """Publish what grew and say what could not be published. Raises: StorageError."""
        now = time.monotonic()
        names = self._ledger.partitions()
        for name in names:
            failure = self._failures.get(name)
            if failure is None or now >= failure.retry_at or self._stop.is_set():
                self._publish(self._ledger.partition(name))
        for known in (self._failures, self._missing):
            for name in known.keys() - set(names):
                known.pop(name, None)
        indexing = {} if self._indexing is None else self._indexing.troubles
        failures = self._failures
        write_notice(
            self._files,
            self._ledger.path,
            {name: found.reason for name, found in failures.items()},
            indexing,
            blocked=sum(not found.is_cosigning for found in failures.values()),
            missing=self._missing,
        )

    def _publish(self, partition: Partition) -> None:
        name = partition.name
        try:
            if self._published.get(name) != partition.size:
                self._published[name] = partition.publish().tree_size
        except Error as err:
            self._fail(partition, err)
        else:
            if self._failures.pop(name, None) is not None:
                _log.warning("publish_recovered partition=%s", name)
        self._see_witnesses(partition)

    def _see_witnesses(self, partition: Partition) -> None:
        """Log which witnesses did not cosign the last time, once, and which do again, quorum or not."""
        name = partition.name
        missing = {seen.name: seen.trouble for seen in partition.witnesses() if seen.trouble is not None}
        before = self._missing.pop(name, {})
        if missing:
            self._missing[name] = missing
        for witness in sorted(missing.keys() - before.keys()):
            _log.warning("witness_missing partition=%s witness=%s error=%s", name, visible(witness), missing[witness])
        for witness in sorted(before.keys() - missing.keys()):
            _log.warning("witness_back partition=%s witness=%s", name, visible(witness))

    def _fail(self, partition: Partition, err: Error) -> None:
        reason = f"{type(err).__name__}: {err}"
        if isinstance(err, NotFoundError) and partition.exists and not self._files.exists(partition.paths.private_key):
            reason += "; bring the key, or serve read-only"
        known = self._failures.get(partition.name)
        if known is None or known.reason != reason:
            _log.error("publish_failed partition=%s error=%s", partition.name, reason)
        wait_s = RETRY_CORRUPT_S if isinstance(err, CorruptLedgerError) else RETRY_S
        self._failures[partition.name] = _Failure(reason, time.monotonic() + wait_s, isinstance(err, PolicyError))

    def _reopen_write_ends(self) -> None:
        """Open write ends again that failed, so that this process can append as soon as its storage is well."""
        for partition in self._ledger.opened():
            if partition.poison is None or not partition.exists:  # opening it would create another one
                continue
            with contextlib.suppress(CommitUnknownError):  # the failure that is known already
                partition.close()
            try:
                partition.reopen()
            except Error as err:
                _log.error("reopen_failed partition=%s error=%s: %s", partition.name, type(err).__name__, err)
            else:
                _log.warning("reopened partition=%s", partition.name)

    def _say(self, trouble: str | None) -> None:
        """Log what keeps the keeper from working, once, and that it works again."""
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble is None:
                _log.warning("keeper_recovered")
            else:
                _log.error("keeper_failed error=%s", trouble)
