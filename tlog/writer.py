"""The write end of a partition in one process: appending one, later, or many."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tlog._heap import keep_freed_memory
from tlog.entry import largest_payload, too_large
from tlog.errors import FormatError, RefusedItemError
from tlog.group import ClosedError, Committed, Group, GroupCommit
from tlog.receipt import BulkReceipt, PendingReceipt, Receipt, committed_part, receipt_of
from tlog.sequencer import Sequencer
from tlog.workers import Ahead

BULK_ENTRIES = 8192
BULK_BYTES = 1 << 22
"""What `append_many` hands over at once, whichever is reached first; two such chunks are in memory."""

STEP_ENTRIES = 256
"""Items that are taken from the caller's iterable and encoded together."""

Encode = Callable[[Sequence[Any]], tuple[list[bytes], FormatError | None]]
"""Returns the payloads of items up to the first bad one, and that one's error."""

_ANY_SEQ = 10**19 - 1

_Chunk = tuple[Group, int, int]


class Writer:
    """A sequencer and the groups in front of it. It belongs to one process: locks do not survive a fork."""

    def __init__(self, sequencer: Sequencer, partition: str) -> None:
        self._sequencer = sequencer
        self._groups = GroupCommit(sequencer.commit)
        self._partition = partition
        self._safe_size = largest_payload(partition, _ANY_SEQ)
        self._idle = threading.Condition()
        self._bulks = 0
        self._closed = False

    @property
    def ahead(self) -> Ahead:
        """What is examined already while entries are appended."""
        return self._sequencer.ahead

    @property
    def clock_held(self) -> int:
        """How often the clock stood before the last entry's time, which was used again then."""
        return self._sequencer.clock_held

    @property
    def poison(self) -> BaseException | None:
        """See `Sequencer.poison`."""
        return self._sequencer.poison

    def append(self, payload: bytes) -> Receipt:
        """Append one entry; durable on return."""
        self._check_size(payload)
        return receipt_of(*self._groups.append((payload,), len(payload)))

    def submit(self, payload: bytes) -> PendingReceipt:
        """Append one entry without waiting."""
        self._check_size(payload)
        return PendingReceipt(self._groups, *self._groups.submit((payload,), len(payload)))

    def append_group(self, payloads: Sequence[bytes]) -> list[Committed]:
        """Append entries; all durable on return. Return their commits in order, of which there is nearly always one.

        payloads: each of at most `tlog.entry.largest_payload` bytes for the largest seq there can be.
        """
        group, index = self._groups.append(payloads, sum(map(len, payloads)))
        if len(group.results) == 1:
            return [committed_part(group.results[0], index, len(payloads))]
        return [committed_part(result, 0, 1) for result in group.results[index : index + len(payloads)]]

    def append_many(self, items: Iterable[Any], encode: Encode) -> BulkReceipt:
        """Append many entries; all durable on return. While one chunk is written, the next is encoded.

        Raises: RefusedItemError where `encode` refuses an item; any other error that taking an item raises. In both
        cases what came before is made durable first.
        """
        keep_freed_memory()
        with self._idle:
            if self._closed:
                raise ClosedError("the write end was closed")
            self._bulks += 1
        try:
            return self._append_many(iter(items), encode)
        finally:
            with self._idle:
                self._bulks -= 1
                self._idle.notify_all()

    def _append_many(self, source: Iterator[Any], encode: Encode) -> BulkReceipt:
        bulk = _Bulk(self._groups)
        first = self._sequencer.last_seq
        problem: BaseException | None = None
        is_done = False
        taken = 0
        while not is_done:
            chunk, is_done, problem = self._take(source, encode, first + taken)
            taken += len(chunk)
            if chunk:
                bulk.write(chunk, is_last=is_done)
        receipt = bulk.finish()
        if isinstance(problem, FormatError):
            raise RefusedItemError(receipt.count, receipt.count, problem) from problem
        if problem is not None:
            raise problem
        return receipt

    def durable_size(self) -> int:
        """Return the number of durable entries, whoever wrote them."""
        return self._sequencer.durable_head().seq

    def forget(self) -> None:
        """Give the files up in a forked child."""
        self._sequencer.forget()

    def close(self) -> None:
        """Wait for every `append_many`, write what was submitted, and release the files."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: not self._bulks)
        try:
            self._groups.close()
        finally:  # the last group may have failed
            self._sequencer.close()

    def _take(self, source: Iterator[Any], encode: Encode, seq: int) -> tuple[list[bytes], bool, BaseException | None]:
        """Return the next chunk, whether it is the last, and what ended it if that was not the end of the items.

        seq: of the chunk's first entry, as far as can be known before it is written.
        """
        chunk: list[bytes] = []
        size = 0
        while len(chunk) < BULK_ENTRIES and size < BULK_BYTES:
            items: list[Any] = []
            problem: BaseException | None = None
            try:
                items.extend(itertools.islice(source, STEP_ENTRIES))
            except BaseException as err:  # noqa: BLE001 - the caller's iterable may raise anything; it is raised again
                problem = err
            payloads, refused = encode(items)
            if payloads and max(map(len, payloads)) > self._safe_size:
                payloads, refused = self._cut_at_large(payloads, refused, seq + len(chunk))
            chunk += payloads
            size += sum(map(len, payloads))
            problem = refused or problem
            if problem is not None or len(items) < STEP_ENTRIES:
                return chunk, True, problem
        return chunk, False, None

    def _cut_at_large(
        self, payloads: list[bytes], refused: FormatError | None, seq: int
    ) -> tuple[list[bytes], FormatError | None]:
        """Return the payloads before the first that does not fit into an entry, and the error of that one."""
        for number, payload in enumerate(payloads):
            try:
                self._check_size(payload, seq + number)
            except FormatError as err:
                return payloads[:number], err
        return payloads, refused

    def _check_size(self, payload: bytes, seq: int = 0) -> None:
        if len(payload) > self._safe_size:
            room = largest_payload(self._partition, max(seq, self._sequencer.last_seq))
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

    def write(self, chunk: list[bytes], *, is_last: bool) -> None:
        # While the last chunk is written there is nothing else to do: this thread may as well lead.
        write = self._groups.append if is_last else self._groups.submit
        self._waiting.append((*write(chunk, sum(map(len, chunk))), len(chunk)))
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
        if len(group.results) > 1:  # an entry that another process's entries left no room for was refused
            self._refuse(group, index, count)
        self._last = receipt_of(group, index + count - 1)
        self._first = self._first or receipt_of(group, index)
        self._count += count

    def _refuse(self, group: Group, index: int, count: int) -> None:
        for number in range(count):
            try:
                receipt_of(group, index + number)
            except FormatError as err:
                raise RefusedItemError(self._count + number, self._count + number, err) from err
