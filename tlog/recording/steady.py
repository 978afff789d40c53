"""Appending through failures: after a failed write the partition is opened again, and nothing is appended twice.

A write that failed may have been stored nevertheless, all of it or its first part. So before anything of it is written
again, the entries since then are read and what is there already is left out. Texts are compared whole: events carry an
id and a time, so equal texts are the same event.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tlog.errors import CommitUnknownError, ConflictError, Error, FormatError, NotFoundError, RefusedItemError
from tlog.ledger import Ledger
from tlog.partition import Partition
from tlog.receipt import Receipt
from tlog.recording import lifecycle

OpenPartition = Callable[[], Partition]
"""Returns a partition that nobody else uses; called once in each process that appends."""


_NEEDED_MODULES = (
    "cryptography.exceptions",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.serialization",
)
"""What the first append would import. A child that is forked while another thread imports waits for it for ever."""


def opener(ledger: str | Path, partition: str, *, origin: str | None = None) -> OpenPartition:
    """Return what opens a partition in each process anew, having tried it once.

    ledger: its directory. origin: creates the ledger with this origin prefix if there is none; a ledger that exists
    must have it. Raises: NotFoundError where there is no ledger and no origin was given; ConflictError where the ledger
    has another origin; FormatError.
    """
    path = Path(ledger).absolute()

    def open_partition() -> Partition:
        return _open_ledger(path, origin).partition(partition)

    open_partition()
    return open_partition


def _open_ledger(path: Path, origin: str | None) -> Ledger:
    try:
        ledger = Ledger.open(path)
    except NotFoundError:
        if origin is None:
            raise
        with contextlib.suppress(ConflictError):  # another process was first
            return Ledger.create(path, origin=origin)
        ledger = Ledger.open(path)
    if origin not in (None, ledger.config.origin):
        raise ConflictError(f"{path}: the ledger's origin is {ledger.config.origin!r}, not {origin!r}; leave it out")
    return ledger


class SteadyAppender:
    """Appends JSON texts to a partition, each at most once, as far as that can be known.

    `append` may be called by many threads at once, `append_many` by one at a time. A forked child starts afresh.
    """

    def __init__(self, open_partition: OpenPartition) -> None:
        """The partition is opened when it is first needed, in each process anew."""
        self._open_partition = open_partition
        for name in _NEEDED_MODULES:
            importlib.import_module(name)
        self.forget()
        lifecycle.forget_after_fork(self)

    def forget(self) -> None:
        """Start afresh in a forked child, which shares nothing with its parent, its partition lock least of all."""
        partition = getattr(self, "_partition", None)
        if partition is not None:
            with contextlib.suppress(OSError, Error):  # the parent may have been closing it
                partition.forget()
        self._mutex = threading.Lock()
        self._partition: Partition | None = None
        self._failures = 0
        self._recovered = 0
        self._seen = 0
        self._doubtful: int | None = None

    @property
    def partition(self) -> Partition:
        """The partition, ready to append. Raises: what opening it, or opening it again, raises."""
        with self._mutex:
            if self._partition is None:
                partition = self._open_partition()
                self._seen = _size(partition)
                self._partition = partition
            if self._recovered != self._failures:
                with contextlib.suppress(CommitUnknownError):  # the failure that is known already
                    self._partition.close()
                self._partition.reopen()
                self._recovered = self._failures
            return self._partition

    def append(self, text: bytes) -> Receipt:
        """Append one event; durable on return. A write that failed is tried once more if the event is not there.

        text: its JSON. Raises: as `Partition.append_json`, and then it is unknown whether the event was stored.
        """
        partition, failures, since = self.partition, self._failures, self._seen
        try:
            receipt = partition.append_json(text)
        except CommitUnknownError:
            self._note_failure(failures)
            partition, failures = self.partition, self._failures
            for entry in partition.entries(since):
                if entry.raw_data == text:
                    return Receipt(entry.seq, entry.hash)
            try:
                receipt = partition.append_json(text)
            except CommitUnknownError:
                self._note_failure(failures)
                raise
        self._seen = receipt.seq + 1  # of many threads any: a lower bound of what is durable is all that is needed
        return receipt

    def append_many(self, texts: list[bytes]) -> FormatError | None:
        """Append events; what is durable, or was refused, is removed from `texts`, in this call or in a later one.

        Return the error of an event that was refused, and then those behind it are still in `texts`; None where all are
        durable. Raises: as `Partition.append_many_json`; call it again with what is left, and nothing is stored twice.
        """
        partition, failures = self.partition, self._failures
        if self._doubtful is not None:
            _remove_stored(texts, partition, self._doubtful)
            self._doubtful = None
        since = _size(partition)
        try:
            partition.append_many_json(texts)
        except RefusedItemError as err:
            del texts[: err.appended + 1]
            return err
        except BaseException:
            self._doubtful = since
            self._note_failure(failures)
            raise
        texts.clear()
        return None

    def close(self) -> None:
        """Release the files; appending opens them again."""
        with self._mutex:
            partition, self._partition = self._partition, None
            self._recovered = self._failures
        if partition is not None:
            partition.close()

    def _note_failure(self, failures: int) -> None:
        """Have the partition opened again, once for all threads that saw the same failure. failures: seen before it."""
        with self._mutex:
            if self._failures == failures:
                self._failures += 1


def _size(partition: Partition) -> int:
    return partition.size if partition.exists else 0


def _remove_stored(texts: list[bytes], partition: Partition, since: int) -> None:
    """Remove from `texts` what the entries from `since` on hold. Memory: as `texts`."""
    wanted, found = set(texts), Counter[bytes]()
    for entry in partition.entries(since):
        if entry.raw_data in wanted:
            found[entry.raw_data] += 1
    kept = []
    for text in texts:
        if found[text]:
            found[text] -= 1
        else:
            kept.append(text)
    texts[:] = kept
