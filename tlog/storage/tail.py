"""The growing end of a partition: the durable mark, recovery after a crash, and appending lines.

The durable mark is the content of the `lock` file: how many entries are durable, and where the last of them ends. It is
written after each sync and never synced itself. So after a process died it is exact, and after a power loss it may be
older than the truth, never newer. It is a lower bound: damage below it is damage, and what lies beyond it was either
never acknowledged or is complete, and then it is adopted. The mark is derived: without it, recovery reads the last
segment and finds the end by the chain.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tlog.bundle import MAX_ENTRY_SIZE
from tlog.entry import Block, ChainHead, Encoded, check_chain, parse_entry
from tlog.errors import (
    CorruptLedgerError,
    Error,
    FormatError,
    NotFoundError,
    StorageError,
    VerificationError,
)
from tlog.storage.disk import Disk, Files
from tlog.storage.layout import PartitionPaths
from tlog.storage.segments import READ_SIZE, SegmentReader

SECTOR_SIZE = 512
"""What a disk writes whole: a hole that a power loss leaves begins and ends at a multiple of it."""

_MARK = re.compile(rb"([0-9]{20}) ([0-9]{20}) ([0-9]{20}) ([0-9a-f]{16})\n")
_log = logging.getLogger("tlog.storage")


class DurableMark(NamedTuple):
    """seq: number of durable entries. first: first seq of the segment they end in. offset: where they end in it."""

    seq: int
    first: int
    offset: int

    def encode(self) -> bytes:
        """Return the 80 bytes of the mark; its last field is a checksum."""
        text = b"%020d %020d %020d" % self
        return b"%b %b\n" % (text, sha256(text).hexdigest()[:16].encode())

    @classmethod
    def decode(cls, raw: bytes) -> DurableMark | None:
        """Return the mark that `raw` spells, or None: a mark half-written or lost is no mark."""
        match = _MARK.fullmatch(raw)
        if match is None:
            return None
        mark = cls(int(match[1]), int(match[2]), int(match[3]))
        return mark if mark.encode() == raw else None


MARK_SIZE = len(DurableMark(0, 0, 0).encode())


def read_mark(files: Files, paths: PartitionPaths) -> DurableMark | None:
    """Return the durable mark of a partition, or None where it has none."""
    if not files.exists(paths.lock):
        return None
    try:
        return DurableMark.decode(files.read(paths.lock, MARK_SIZE))
    except FormatError:
        return None


def durable_count(files: Files, paths: PartitionPaths, segments: SegmentReader, signed_size: int) -> tuple[int, int]:
    """Return how many entries there are to examine, and how many were acknowledged as far as anybody here knows.

    What lies beyond a valid durable mark was never acknowledged: a write under way, or what a crash left of one.
    signed_size: a mark below it is out of date. Raises: CorruptLedgerError.
    """
    mark = read_mark(files, paths)
    if mark is None or mark.seq < signed_size:
        return segments.count(), 0
    try:
        return min(segments.count(), mark.seq), mark.seq
    except CorruptLedgerError:  # at the very end; what is wrong below the mark will be found on the way there
        return mark.seq, mark.seq


@dataclass(frozen=True, slots=True)
class Tail:
    """Where a partition ends. head: its chain. mark: the same as a durable mark."""

    head: ChainHead
    mark: DurableMark


def recover(files: Files, paths: PartitionPaths, segment_entries: int, signed_size: int = 0) -> Tail:
    """Find the end of a partition, cut off what was never acknowledged, and make the rest durable.

    The caller holds the lock. signed_size: entries that were signed for; they were durable before, and are not read.
    Cost: one SHA-256 call for each other entry of the last segment. Memory: about 2 MiB.
    Raises: CorruptLedgerError naming the first bad entry where acknowledged bytes are damaged; nothing is changed then.
    """
    mark = read_mark(files, paths)
    with contextlib.closing(SegmentReader(files, paths, segment_entries)) as reader:
        firsts = reader.firsts()
        first = firsts[-1] if firsts else 0
        path = paths.plain(first)
        if not firsts:
            tail = Tail(ChainHead(), DurableMark(0, 0, 0))
        elif not files.exists(path):  # compressed, so complete
            head = _head_before(reader, first + segment_entries)
            tail = Tail(head, DurableMark(head.seq, head.seq, 0))
        else:
            try:
                tail = _recover_segment(
                    files,
                    path,
                    start=_start(reader, first, min(signed_size, first + segment_entries)),
                    full=first + segment_entries,
                    mark=mark,
                    partition=paths.name,
                )
            except NotFoundError:
                if files.exists(path):
                    raise
                return recover(files, paths, segment_entries, signed_size)  # another process has sealed it meanwhile
    if mark is not None and mark.seq > tail.head.seq:
        _log.warning(
            "%s: entries %d to %d were acknowledged and are gone; a kept checkpoint tells whether they were published",
            paths.root,
            tail.head.seq,
            mark.seq - 1,
        )
    return tail


def _head_before(reader: SegmentReader, seq: int) -> ChainHead:
    """Return the chain's head in front of the entry `seq`, from the bytes of the entry before it."""
    if seq == 0:
        return ChainHead()
    try:
        entry = parse_entry(reader.line(seq - 1))
    except Error as err:
        if isinstance(err, StorageError) and not isinstance(err, NotFoundError):
            raise
        raise CorruptLedgerError(f"the entry cannot be read ({err})", place=f"entry {seq - 1}", seq=seq - 1) from err
    return ChainHead(seq, entry.hash.hex().encode(), entry.ts.encode())


def _start(reader: SegmentReader, first: int, seq: int) -> tuple[int, ChainHead, int]:
    """Return the first seq of a segment, and where to begin in it: the head in front of `seq`, and the offset there.

    Where `seq` cannot be found, that is the beginning, and reading from there will tell why.
    """
    if seq > first:
        with contextlib.suppress(FormatError, NotFoundError, VerificationError):
            return first, _head_before(reader, seq), reader.end_of(seq - 1)
    return first, _head_before(reader, first), 0


def _recover_segment(
    files: Files,
    path: Path,
    *,
    start: tuple[int, ChainHead, int],
    full: int,
    mark: DurableMark | None,
    partition: str,
) -> Tail:
    """Recover the last segment, a plain one. start: from `_start`. full: the seq at which it is complete."""
    first, head, end = start
    # Where the mark is in a later segment, this one was complete before that began.
    durable = 0 if mark is None or mark.first < first else mark.offset if mark.first == first else _WHOLE_FILE
    with files.opened(path) as fd:
        segment = _OpenSegment(files.disk, fd, path, files.disk.size(fd))
        head, end, problem = segment.walk(head, partition.encode(), end)
        if head.seq > full:
            raise CorruptLedgerError("the segment holds too many entries", place=str(path), seq=full)
        # A file that is shorter than what was acknowledged was cut: where the cut is, nothing is left to damage.
        intact = 0 if segment.size < durable < _WHOLE_FILE else durable
        if problem is not None and (end < intact or not segment.is_torn_at(end)):
            raise problem
    complete = head.seq == full
    if end < segment.size or end > durable:
        files.disk.set_mode(path, 0o644)  # a complete one is read-only
        with files.opened(path, os.O_RDWR) as fd:
            segment._replace(fd=fd).settle(min(durable, end), end)
        if complete:
            files.disk.set_mode(path, 0o444)
    return Tail(head, DurableMark(head.seq, head.seq, 0) if complete else DurableMark(head.seq, first, end))


_WHOLE_FILE = 1 << 63


class _OpenSegment(NamedTuple):
    """An open segment file with its size."""

    disk: Disk
    fd: int
    path: Path
    size: int

    def walk(self, head: ChainHead, partition: bytes, end: int) -> tuple[ChainHead, int, CorruptLedgerError | None]:
        """Follow the chain from `head`, at the offset `end`; return its head, its end, and what is wrong there."""
        offset, rest = end, b""
        while True:
            part = self.disk.read_at(self.fd, READ_SIZE, offset, self.path)
            offset += len(part)
            lines = (rest + part).split(b"\n")
            rest = lines.pop()
            try:
                head = check_chain(head, partition, lines, str(self.path))
            except CorruptLedgerError as err:
                if err.seq is None:
                    raise AssertionError("check_chain names the bad entry") from err
                good = lines[: err.seq - head.seq]
                end += sum(map(len, good)) + len(good)
                return check_chain(head, partition, good, str(self.path)), end, err
            end += sum(map(len, lines)) + len(lines)
            if not part or len(rest) > MAX_ENTRY_SIZE:
                break
        if not rest:
            return head, end, None
        place = f"entry {head.seq} ({self.path})"
        return head, end, CorruptLedgerError("the line has no end", place=place, seq=head.seq)

    def is_torn_at(self, end: int) -> bool:
        """Whether the bytes from `end` on are what a crash leaves of a write that nobody waited for.

        That is: without a newline, or with a hole of zeros that begins and ends where sectors or the file do.
        """
        window = self.disk.read_at(self.fd, MAX_ENTRY_SIZE + SECTOR_SIZE + 1, end, self.path)
        newline = window.find(b"\n")
        if newline < 0 and len(window) == self.size - end <= MAX_ENTRY_SIZE:
            return True
        hole = window.find(b"\0")
        if hole < 0 or (0 <= newline < hole):
            return False
        start = end + hole
        stop = min(start - start % SECTOR_SIZE + SECTOR_SIZE, self.size) - end
        return (start % SECTOR_SIZE == 0 or hole == 0) and not window[hole:stop].strip(b"\0")

    def settle(self, durable: int, end: int) -> None:
        """Cut the segment to `end` and make the bytes between `durable` and `end` durable.

        They are written again first: after a failed sync the page cache may hold them as clean although no disk does.
        """
        if end < self.size:
            lost = self.size - end
            _log.warning("%s: removed %d bytes after byte %d that were never acknowledged", self.path, lost, end)
            self.disk.truncate(self.fd, end, self.path)
        for offset in range(durable, end, READ_SIZE):
            part = self.disk.read_at(self.fd, min(READ_SIZE, end - offset), offset, self.path)
            self.disk.write_at(self.fd, part, offset, self.path)
        self.disk.sync(self.fd, self.path)


class SegmentAppender:
    """Adds lines to the end of a partition; used by whoever holds its lock."""

    def __init__(self, files: Files, paths: PartitionPaths, segment_entries: int, tail: Tail) -> None:
        """tail: where the partition ends."""
        self._files = files
        self._paths = paths
        self._segment_entries = segment_entries
        self._fd: int | None = None
        self.head = tail.head
        self.mark = tail.mark

    def append(self, encoded: Encoded) -> None:
        """Add encoded entries and return when they are durable.

        Cost: one write and one sync, and the same again for each segment that is completed.
        Raises: StorageError; what is on disk is unknown then and the appender must not be used again.
        """
        blocks: list[Block] = []
        seq = self.mark.seq
        for block in encoded.blocks:
            blocks.append(block)
            seq += block.entries
            if seq == self.mark.first + self._segment_entries:
                self._write(blocks)
                blocks = []
        if blocks:
            self._write(blocks)
        self.head = encoded.head

    def close(self) -> None:
        """Close the segment file."""
        if self._fd is not None:
            self._files.disk.close(self._fd)
            self._fd = None

    def _write(self, blocks: list[Block]) -> None:
        disk, path = self._files.disk, self._paths.plain(self.mark.first)
        if self._fd is None:
            is_new = self.mark.offset == 0
            self._files.ensure_dir(path.parent)
            self._fd = disk.open(path, os.O_RDWR | os.O_CREAT)
            if disk.size(self._fd) != self.mark.offset:
                raise CorruptLedgerError("the segment does not end where its mark says", place=str(path))
            if is_new:
                disk.sync_dir(path.parent)
        texts = [block.text for block in blocks]
        disk.write_many_at(self._fd, texts, self.mark.offset, path)
        disk.sync(self._fd, path)
        count, size = sum(block.entries for block in blocks), sum(map(len, texts))
        self.mark = DurableMark(self.mark.seq + count, self.mark.first, self.mark.offset + size)
        if self.mark.seq == self.mark.first + self._segment_entries:
            self.close()
            disk.set_mode(path, 0o444)
            self.mark = DurableMark(self.mark.seq, self.mark.seq, 0)
