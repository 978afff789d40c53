"""Following the log: entries into the index, in order, up to the last durable one.

The chain of all that is indexed is checked on the way, and the index keeps the hash of the last entry. So whether the
log is still the one that was indexed is known from one entry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from tlog.entry import ChainHead, check_chain, parse_entry
from tlog.errors import Error
from tlog.index.fields import Document, documents
from tlog.index.store import Batch, IndexMismatchError, Position, Store
from tlog.integrate import Progress
from tlog.partition import FOLLOW_INTERVAL_S, Partition

BATCH_ENTRIES = 16_384
BATCH_SIZE = 16 << 20
"""Entries, and characters of their terms, of one transaction."""


def require_same_log(partition: Partition, position: Position) -> ChainHead:
    """Return the chain's head at an index's position.

    Raises: IndexMismatchError where the log is shorter, or has another entry there: it was restored from a backup or
    replaced. Cost: one entry.
    """
    if position.size == 0:
        return ChainHead()
    remedy = f"'tlog index rebuild {partition.name}' makes the index anew"
    size = partition.size
    if size < position.size:
        raise IndexMismatchError(
            f"the index covers {position.size} entries, the log has {size}: it was rolled back or replaced; {remedy}"
        )
    last = parse_entry(partition.segments.line(position.size - 1))
    if last.hash.hex().encode() != position.hash:
        raise IndexMismatchError(
            f"the log has another entry than the one that was indexed: it was rolled back or replaced; {remedy}",
            place=f"entry {position.size - 1}",
            seq=position.size - 1,
            expected=position.hash.decode(),
            found=last.hash.hex(),
        )
    return ChainHead(position.size, position.hash, last.ts.encode())


def catch_up(
    partition: Partition, store: Store, progress: Progress | None = None, step: Callable[[], None] | None = None
) -> int:
    """Index all entries that are durable now and return how many of them this call added.

    Other processes may do the same at the same time: each batch is added by one of them. progress: told how many
    entries are indexed. step: called after each 256 entries at most; it may wait, so that other threads come forward.
    Raises: IndexMismatchError, CorruptLedgerError naming the first bad entry, StorageError.
    Cost: about 15 microseconds an entry on two cores. Memory: two batches, usually 20 MB each, at most some 100 MB.
    """
    stop, added = partition.size, 0
    while True:
        position = store.position()
        head = require_same_log(partition, position)
        if position.size >= stop:
            return added
        done = _add_all(store, _batches(partition, head, stop, step), progress)
        added += done
        if position.size + done >= stop:
            return added


def documents_from(partition: Partition, start: int, stop: int | None = None) -> Iterator[Document]:
    """Yield the documents of the entries [start, stop), to the last durable one unless given, chain checked."""
    head = ChainHead()
    if start:
        before = parse_entry(partition.segments.line(start - 1))
        head = ChainHead(start, before.hash.hex().encode(), before.ts.encode())
    for _, found in _chunks(partition, head, partition.size if stop is None else stop):
        yield from found


class Follower:
    """A thread that keeps an index up to date. error: what kept it from doing so at its last try, None if nothing."""

    def __init__(self, partition: Partition, store: Store, interval_s: float = FOLLOW_INTERVAL_S) -> None:
        """store: used by nobody else. interval_s: how often to look for new entries."""
        self.error: Error | None = None
        self._partition = partition
        self._store = store
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tlog-index-{partition.name}", daemon=True)
        self._thread.start()

    @property
    def lag(self) -> int:
        """How many durable entries are not indexed yet. Raises: StorageError."""
        return max(self._partition.size - self._store.position().size, 0)

    def stop(self) -> None:
        """End the thread after the batch that it is at."""
        self._stop.set()
        self._thread.join()
        self._store.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._step()
                self.error = None
            except Error as err:  # whoever asks for the lag sees it; an outage may pass
                self.error = err
            self._stop.wait(self._interval_s)

    def _step(self) -> None:
        if self._partition.exists and self.lag:
            catch_up(self._partition, self._store, self._stop_early)

    def _stop_early(self, _: int) -> None:
        if self._stop.is_set():
            raise _Stopped


class _Stopped(Error):  # noqa: N818 - no error
    """The follower was told to stop in the middle of much work."""


def _add_all(store: Store, batches: Iterator[Batch], progress: Progress | None) -> int:
    """Add batches, each while the next one is made; return how many entries were added before another was first."""
    added = 0
    waiting: tuple[Batch, Future[bool]] | None = None
    with ThreadPoolExecutor(1, "tlog-index") as pool:
        for batch in batches:
            if waiting is not None and not waiting[1].result():
                return added
            added += _reported(waiting, progress)
            waiting = (batch, pool.submit(store.add, batch))
        if waiting is not None and waiting[1].result():
            added += _reported(waiting, progress)
    return added


def _reported(waiting: tuple[Batch, Future[bool]] | None, progress: Progress | None) -> int:
    if waiting is None:
        return 0
    if progress is not None:
        progress(waiting[0].after.size)
    return len(waiting[0].documents)


def _batches(partition: Partition, head: ChainHead, stop: int, step: Callable[[], None] | None) -> Iterator[Batch]:
    before = Position(head.seq, head.hash if head.seq else b"")
    gathered: list[Document] = []
    size = 0
    for reached, some in _chunks(partition, head, stop):
        gathered += some
        size += sum(len(document.terms) for document in some)
        if len(gathered) >= BATCH_ENTRIES or size >= BATCH_SIZE or reached.seq == stop:
            after = Position(reached.seq, reached.hash)
            yield Batch(before, after, gathered)
            before, gathered, size = after, [], 0
        if step is not None:
            step()


def _chunks(partition: Partition, head: ChainHead, stop: int) -> Iterator[tuple[ChainHead, list[Document]]]:
    """Yield the documents of the entries from `head` on, at most 256 at once, with the chain's head after them."""
    name = partition.name.encode()
    for lines in partition.segments.chunks(head.seq, stop):
        first = head.seq
        head = check_chain(head, name, lines)
        yield head, documents(first, partition.name, lines)
