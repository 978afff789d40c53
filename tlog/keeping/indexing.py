"""Keeping the indexes of a ledger's partitions up to date, in a thread that lets others come first."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from tlog.errors import Error
from tlog.ledger import Ledger
from tlog.partition import FOLLOW_INTERVAL_S, Partition

if TYPE_CHECKING:
    from tlog.index.store import Store

RETRY_S = 10.0
"""When an index that could not be kept is tried again."""

MAX_OPEN = 32
"""Indexes that are held open."""

MAX_PAUSE_S = 0.02

MANY_PER_S = 10_000
BUSY_FACTOR = 6
"""Where a partition grows by more entries a second than that, indexing pauses longer, and catches up afterwards."""

_log = logging.getLogger("tlog.keeper")


class _Stopped(Error):  # noqa: N818 - no error
    """The thread was told to stop in the middle of much work."""


class Indexing:
    """A thread that indexes what is durable. It may be started again after it was stopped."""

    def __init__(self, ledger: Ledger, interval_s: float = FOLLOW_INTERVAL_S) -> None:
        """interval_s: how often to look for new entries."""
        self._ledger = ledger
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._stores: dict[str, Store] = {}
        self._failures: dict[str, tuple[str, float]] = {}
        self._indexed: dict[str, int] = {}
        self._stepped_at = 0.0
        self._stepped_size = 0

    @property
    def troubles(self) -> dict[str, str]:
        """Why an index is not kept, by partition."""
        return {name: reason for name, (reason, _) in self._failures.copy().items()}

    def start(self) -> None:
        """Start the thread."""
        self._stop.clear()
        self._indexed.clear()
        self._thread = threading.Thread(target=self._run, name="tlog-keeper-index", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the batch that it is at."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self._round()
                except Error as err:  # the keeper says what is wrong with the ledger as a whole
                    _log.debug("index_round_failed error=%s", err)
                except Exception:  # noqa: BLE001 - the outermost loop: a defect must not end all indexing
                    _log.exception("indexing_failed defect")
                    self._stop.wait(RETRY_S)
                self._stop.wait(self._interval_s)
        finally:
            while self._stores:
                self._stores.popitem()[1].close()

    def _round(self) -> None:
        names = self._ledger.partitions()
        for name in names:
            if self._stop.is_set():
                return
            if time.monotonic() >= self._failures.get(name, ("", 0.0))[1]:
                self._index(name)
        for name in self._failures.keys() - set(names):
            del self._failures[name]

    def _index(self, name: str) -> None:
        # SQLite is loaded in this thread, where nobody waits for it.
        from tlog.index.indexer import catch_up
        from tlog.index.search import sqlite_store

        partition = self._ledger.partition(name)
        try:
            size = partition.size
            if self._indexed.get(name) == size:
                return
            if name not in self._stores:
                while len(self._stores) >= MAX_OPEN:
                    self._stores.pop(next(iter(self._stores))).close()
                self._stores[name] = sqlite_store(partition)
            self._stepped_at, self._stepped_size = time.monotonic(), size
            catch_up(partition, self._stores[name], step=lambda: self._step(partition))
            self._indexed[name] = size
        except _Stopped:
            return
        except Error as err:
            reason = f"{type(err).__name__}: {err}"
            if self._failures.get(name, ("", 0.0))[0] != reason:
                _log.error("index_failed partition=%s error=%s", name, reason)
            self._failures[name] = (reason, time.monotonic() + RETRY_S)
        else:
            if self._failures.pop(name, None) is not None:
                _log.warning("index_recovered partition=%s", name)

    def _step(self, partition: Partition) -> None:
        """Wait for as long as the last entries took, so that requests get half of the interpreter's time at least.

        While much is appended, wait several times as long: who appends waits for an answer, and nobody for the index.
        """
        took, size = time.monotonic() - self._stepped_at, partition.size
        factor = BUSY_FACTOR if size - self._stepped_size > MANY_PER_S * took else 1
        if self._stop.wait(min(took, MAX_PAUSE_S) * factor):
            raise _Stopped
        self._stepped_at, self._stepped_size = time.monotonic(), size
