"""Sequencing: entries get their seq and are durable, in one chain, whatever number of processes append.

A commit holds the partition's lock. What other processes appended since the last one is caught up on through the
durable mark, and what a process left behind that died in the middle of a write is recovered. After a failed write or
sync the sequencer is poisoned: nobody knows what is on disk until the partition is opened again.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from tlog.entry import ChainHead, encode_lines, parse_entry
from tlog.errors import CommitUnknownError, CorruptLedgerError, Error
from tlog.group import ClosedError, Committed
from tlog.storage.disk import Files
from tlog.storage.layout import PartitionPaths
from tlog.storage.segments import SegmentReader
from tlog.storage.tail import MARK_SIZE, DurableMark, SegmentAppender, Tail, recover
from tlog.workers import Ahead

T = TypeVar("T")

Clock = Callable[[], int]
"""Returns POSIX time in nanoseconds."""


def format_ts(time_ns: int) -> bytes:
    """Return a time as the 27 bytes of `ts`: UTC, ISO 8601, microseconds."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return b"%b.%06dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), rest // 1000)


class Sequencer:
    """The write end of one partition in this process. It may be used from several threads."""

    def __init__(
        self,
        files: Files,
        paths: PartitionPaths,
        segment_entries: int,
        minimum_size: int,
        ahead: Ahead,
        *,
        clock: Clock = time.time_ns,
    ) -> None:
        """Open the partition for appending and recover from a crash.

        minimum_size: the number of entries that were signed for; fewer in the files means that entries are gone.
        ahead: told the leaf hashes of what is written in bulk.
        Raises: CorruptLedgerError, StorageError. Cost: as `tlog.storage.tail.recover`.
        """
        self._files = files
        self._paths = paths
        self._segment_entries = segment_entries
        self.ahead = ahead
        self._clock = clock
        self._poison: BaseException | None = None
        self._mutex = threading.Lock()
        self._closed = False
        self.clock_held = 0
        self._fd = files.disk.open(paths.lock, os.O_RDWR | os.O_CREAT)
        try:
            self._appender = self._locked(lambda: self._recover(minimum_size))
        except BaseException:
            files.disk.close(self._fd)
            raise

    def commit(self, payloads: Sequence[bytes]) -> Committed:
        """Append one group and return what became of it when it is durable.

        Raises: FormatError where a payload does not fit into an entry, and nothing is written then; CorruptLedgerError;
        CommitUnknownError where a write failed, and at every call after that.
        """
        return self._locked(lambda: self._commit(payloads))

    @property
    def last_seq(self) -> int:
        """The number of entries when this process last looked."""
        return self._appender.head.seq

    @property
    def poison(self) -> BaseException | None:
        """What failed, so that nothing is appended until the partition is opened again; None while all is well."""
        return self._poison

    def durable_head(self) -> ChainHead:
        """Return the chain's head after all that is durable, whoever wrote it. Raises: as `commit`."""
        return self._locked(lambda: self._caught_up().head)

    def forget(self) -> None:
        """Give the files up in a forked child: with the lock's descriptor it would keep a dead parent's lock alive."""
        self._appender.close()
        self._files.disk.close(self._fd)

    def close(self) -> None:
        """Release the files."""
        with self._mutex:
            self._closed = True
            self._appender.close()
            self._files.disk.close(self._fd)

    def _commit(self, payloads: Sequence[bytes]) -> Committed:
        appender = self._caught_up()
        head = appender.head
        ts = format_ts(self._clock())
        if ts < head.ts:
            ts = head.ts
            self.clock_held += 1
        is_bulk = self.ahead.is_worthwhile(head.seq, len(payloads))
        encoded = encode_lines(head, self._paths.name.encode(), ts, payloads, with_leaves=is_bulk)
        try:
            appender.append(encoded)
            self._write_mark(appender.mark)
        except BaseException as err:
            self._poison = err
            if not isinstance(err, Error):  # an interrupt stays what it is
                raise
            raise CommitUnknownError(f"{err}; whether the entries are stored is unknown until it is reopened") from err
        if is_bulk:
            self.ahead.note(head.seq, encoded.leaves)
        return Committed(head.seq, encoded.hashes)

    def _locked(self, action: Callable[[], T]) -> T:
        with self._mutex:  # threads of this process share the descriptor, and with it the lock
            if self._closed:
                raise ClosedError("the write end was closed")
            if self._poison is not None:
                raise CommitUnknownError(f"{self._poison}; open the partition again to recover") from self._poison
            self._files.disk.lock(self._fd, self._paths.lock)
            try:
                if not os.fstat(self._fd).st_nlink:
                    raise CommitUnknownError(f"{self._paths.lock}: was removed; open the partition again")
                return action()
            finally:
                self._files.disk.unlock(self._fd)

    def _caught_up(self) -> SegmentAppender:
        """Return the appender at the end of what is durable now."""
        mark = DurableMark.decode(self._files.disk.read_at(self._fd, MARK_SIZE, 0, self._paths.lock))
        if mark != self._appender.mark or not self._ends_at(mark):
            self._appender.close()
            try:
                tail = self._tail_at(mark) if mark is not None and self._ends_at(mark) else None
                if tail is None:
                    tail = recover(self._files, self._paths, self._segment_entries)
                    self._write_mark(tail.mark)
                if tail.head.seq < self._appender.head.seq:
                    raise CorruptLedgerError(
                        "entries that this process saw are gone", place=f"entry {tail.head.seq}", seq=tail.head.seq
                    )
            except Error as err:
                self._poison = err
                raise
            self._appender = SegmentAppender(self._files, self._paths, self._segment_entries, tail)
        return self._appender

    def _ends_at(self, mark: DurableMark | None) -> bool:
        """Whether the segment that the mark names ends where it says: a process that died in a write left more."""
        return mark is not None and self._files.size(self._paths.plain(mark.first)) == mark.offset

    def _tail_at(self, mark: DurableMark) -> Tail | None:
        """Return the tail that another process left at `mark`, from its last entry; None if they don't agree."""
        if mark.seq == 0:
            return Tail(ChainHead(), mark)
        try:
            with contextlib.closing(SegmentReader(self._files, self._paths, self._segment_entries)) as reader:
                entry = parse_entry(reader.line(mark.seq - 1))
        except Error:
            return None
        return Tail(ChainHead(mark.seq, entry.hash.hex().encode(), entry.ts.encode()), mark)

    def _recover(self, minimum_size: int) -> SegmentAppender:
        tail = recover(self._files, self._paths, self._segment_entries, minimum_size)
        if tail.head.seq < minimum_size:
            raise CorruptLedgerError(
                f"{minimum_size} entries were signed, {tail.head.seq} are here: the data was rolled back or cut; "
                "restore the missing segments, and 'tlog fsck' shows whether they fit",
                place=f"entry {tail.head.seq} ({self._paths.segments})",
                seq=tail.head.seq,
            )
        self._write_mark(tail.mark)
        return SegmentAppender(self._files, self._paths, self._segment_entries, tail)

    def _write_mark(self, mark: DurableMark) -> None:
        disk = self._files.disk
        if disk.size(self._fd) > MARK_SIZE:
            disk.truncate(self._fd, MARK_SIZE, self._paths.lock)
        disk.write_at(self._fd, mark.encode(), 0, self._paths.lock)
