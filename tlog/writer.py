"""The write end of a partition in one process: appending one, later, or many."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator

from tlog.entry import largest_payload, too_large
from tlog.errors import FormatError, RefusedItemError
from tlog.group import Group, GroupCommit
from tlog.receipt import BulkReceipt, PendingReceipt, Receipt, receipt_of
from tlog.sequencer import Sequencer

BULK_ENTRIES = 4096
BULK_BYTES = 1 << 22
"""What `append_many` hands over at once, whichever is reached first; two such chunks are in memory."""

_ANY_SEQ = 10**19 - 1

_Chunk = tuple[Group, int, int]


class Writer:
    """A sequencer and the groups in front of it. It belongs to one process: locks do not survive a fork."""

    def __init__(self, sequencer: Sequencer, partition: str) -> None:
        self._sequencer = sequencer
        self._groups = GroupCommit(sequencer.commit)
        self._partition = partition
        self._safe_size = largest_payload(partition, _ANY_SEQ)
        self.pid = os.getpid()

    @property
    def clock_held(self) -> int:
        """How often the clock stood before the last entry's time, which was used again then."""
        return self._sequencer.clock_held

    def append(self, payload: bytes) -> Receipt:
        """Append one entry; durable on return."""
        self._check_size(payload)
        return receipt_of(*self._groups.append((payload,)))

    def submit(self, payload: bytes) -> PendingReceipt:
        """Append one entry without waiting."""
        self._check_size(payload)
        return PendingReceipt(self._groups, *self._groups.submit((payload,)))

    def append_many(self, payloads: Iterable[bytes]) -> BulkReceipt:
        """Append many entries; all durable on return. While one chunk is written, the next is taken from `payloads`.

        Raises: RefusedItemError where taking a payload raises FormatError; any other error that taking one raises.
        In both cases what came before is made durable first.
        """
        bulk = _Bulk(self._groups)
        source = iter(payloads)
        problem: BaseException | None = None
        while problem is None:
            chunk, problem = self._take(source)
            if chunk:
                bulk.submit(chunk)
        receipt = bulk.finish()
        if isinstance(problem, FormatError):
            raise RefusedItemError(receipt.count, receipt.count, problem) from problem
        if not isinstance(problem, StopIteration):
            raise problem
        return receipt

    def durable_size(self) -> int:
        """Return the number of durable entries, whoever wrote them."""
        return self._sequencer.durable_head().seq

    def close(self) -> None:
        """Write what was submitted and release the files."""
        self._groups.close()
        self._sequencer.close()

    def _take(self, source: Iterator[bytes]) -> tuple[list[bytes], BaseException | None]:
        """Return the next chunk, and what ended it if that was not its size."""
        chunk: list[bytes] = []
        size = 0
        try:
            while len(chunk) < BULK_ENTRIES and size < BULK_BYTES:
                payload = next(source)
                if len(payload) > self._safe_size:
                    self._check_size(payload)
                chunk.append(payload)
                size += len(payload)
        except BaseException as err:  # noqa: BLE001 - the caller's iterable may raise anything, and it is raised again
            return chunk, err
        return chunk, None

    def _check_size(self, payload: bytes) -> None:
        if len(payload) > self._safe_size:
            room = largest_payload(self._partition, self._sequencer.last_seq)
            if len(payload) > room:
                raise too_large(len(payload), room)


class _Bulk:
    """The chunks of one `append_many`: at most two are on their way, and what became of the others is summed up."""

    def __init__(self, groups: GroupCommit) -> None:
        self._groups = groups
        self._waiting: deque[_Chunk] = deque()
        self._count = 0
        self._first: Receipt | None = None
        self._last: Receipt | None = None

    def submit(self, chunk: list[bytes]) -> None:
        self._waiting.append((*self._groups.submit(chunk), len(chunk)))
        if len(self._waiting) > 1:
            self._settle()

    def finish(self) -> BulkReceipt:
        while self._waiting:
            self._settle()
        if self._first is None or self._last is None:
            return BulkReceipt(0, 0, 0, b"")
        return BulkReceipt(self._count, self._first.seq, self._last.seq + 1, self._last.hash)

    def _settle(self) -> None:
        group, index, count = self._waiting.popleft()
        self._groups.wait(group)
        self._last = receipt_of(group, index + count - 1)
        self._first = self._first or receipt_of(group, index)
        self._count += count
