"""The query indexes of a process: each is opened once and shared by all threads."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict

from flask import current_app

from tlog.index.search import Index
from tlog.partition import Partition

TIME_LIMIT_S = 5.0
"""How long one search or count may take, waiting for other threads' included; then the answer is 503."""

MAX_OPEN = 8
"""Indexes that are kept open, each with up to 32 MiB of pages in memory."""

_EXTENSION = "tlog_indexes"


class Indexes:
    """The indexes of the partitions that were asked about last. All are closed when the process ends."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._open: OrderedDict[str, Index] = OrderedDict()
        weakref.finalize(self, _close, self._open)

    def of(self, partition: Partition) -> Index:
        """Return the index of a partition. It may be closed while it is used, and opens itself again."""
        surplus = None
        with self._mutex:
            found = self._open.get(partition.name)
            if found is None:
                found = self._open[partition.name] = Index(partition, time_limit_s=TIME_LIMIT_S)
                surplus = self._open.popitem(last=False)[1] if len(self._open) > MAX_OPEN else None
            self._open.move_to_end(partition.name)
        if surplus is not None:
            surplus.close()
        return found


def index_of(partition: Partition) -> Index:
    """Return the index of a partition of the application's ledger; the caller does not close it."""
    indexes: Indexes | None = current_app.extensions.get(_EXTENSION)
    if indexes is None:
        indexes = current_app.extensions.setdefault(_EXTENSION, Indexes())  # of several threads, one is first
    return indexes.of(partition)


def _close(opened: OrderedDict[str, Index]) -> None:
    for index in opened.values():
        index.close()
