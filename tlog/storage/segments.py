"""Reading entries from segment files, plain and compressed: one by seq, or many in order.

What is read is unverified: the callers check hashes. A segment holds `segment_entries` consecutive entries and is named
after the first, so the file of an entry follows from its seq. Source: docs/formats.md, "Segment".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tlog.bundle import MAX_ENTRY_SIZE
from tlog.errors import CorruptLedgerError, NotFoundError
from tlog.storage.disk import Files
from tlog.storage.layout import PLAIN_SUFFIX, PartitionPaths, parse_segment_name
from tlog.storage.lines import LineFile, last_line
from tlog.storage.plain import PlainSegments, seq_of
from tlog.storage.sealed import read_frames, read_manifest
from tlog.tile import TILE_WIDTH

READ_SIZE = 1 << 20


class SegmentReader:
    """The segments of one partition, for reading."""

    def __init__(self, files: Files, paths: PartitionPaths, segment_entries: int) -> None:
        """segment_entries: entries a segment, a power of two from 2^8 to 2^16."""
        self._files = files
        self._paths = paths
        self.segment_entries = segment_entries
        self._plain = PlainSegments(files, segment_entries)

    def firsts(self) -> list[int]:
        """Return the first seq of each segment, ascending. Raises: CorruptLedgerError where one is missing."""
        found = set()
        for name in self._files.disk.list_dir(self._paths.segments):
            parsed = parse_segment_name(name)
            if parsed is not None and parsed[1].startswith(PLAIN_SUFFIX):
                found.add(parsed[0])
        firsts = sorted(found)
        for number, first in enumerate(firsts):
            if first != number * self.segment_entries:
                raise CorruptLedgerError(
                    "a segment is missing, or was made with another number of entries a segment",
                    place=str(self._paths.segments),
                    seq=number * self.segment_entries,
                    expected=f"{number * self.segment_entries:020d}",
                    found=f"{first:020d}",
                )
        return firsts

    def count(self) -> int:
        """Return the number of entries up to the last complete line. Raises: CorruptLedgerError. Cost: two reads."""
        firsts = self.firsts()
        if not firsts:
            return 0
        first = firsts[-1]
        path, plain_first = self.locate(first)
        if plain_first is None:
            return first + self.segment_entries
        with self._files.opened(path) as fd:
            last = last_line(LineFile(self._files.disk, fd, path, seq_of))
        return first if last is None else last.number + 1

    def locate(self, seq: int) -> tuple[Path, int | None]:
        """Return the file that should hold an entry and its first seq if it is plain, or None if it is compressed."""
        first = seq - seq % self.segment_entries
        plain = self._paths.plain(first)
        if self._files.exists(plain) or not self._files.exists(self._paths.sealed(first)):
            return plain, first
        return self._paths.sealed(first), None

    def line(self, seq: int) -> bytes:
        """Return the line of an entry, without newline.

        Raises: NotFoundError where there is none, CorruptLedgerError where the file is damaged there.
        Cost: two or three reads of 16 KiB, or one frame where the segment is compressed.
        """
        path, first = self.locate(seq)
        if first is not None:
            try:
                return self._plain.find(path, first, seq).text
            except NotFoundError:
                if self._files.exists(path) or not self._files.exists(self._paths.sealed(first)):
                    raise  # else it was sealed a moment ago
        return next(self._compressed(seq, seq + 1))[seq % TILE_WIDTH]

    def end_of(self, seq: int) -> int:
        """Return the offset behind the line of an entry in its plain segment. Raises: as `line`."""
        path, first = self.locate(seq)
        if first is None:
            raise NotFoundError(f"entry {seq}: its segment is compressed")
        line = self._plain.find(path, first, seq)
        return line.offset + len(line.text) + 1

    def close(self) -> None:
        """Close the files that were kept open."""
        self._plain.close()

    def chunks(self, start: int, stop: int) -> Iterator[list[bytes]]:
        """Yield the lines of the entries [start, stop), without newlines, in lists that end where a tile ends.

        The lists are of at most 256 lines, in order and without gaps in position; seq is not checked.
        Raises: NotFoundError where the segments end before `stop`, CorruptLedgerError.
        Memory: about 1 MiB and the entries of one list.
        """
        while start < stop:
            path, first = self.locate(start)
            end = min(start - start % self.segment_entries + self.segment_entries, stop)
            source = self._compressed(start, end) if first is None else self._lines(path, first, start, end)
            position = start - start % TILE_WIDTH
            for lines in source:
                yield lines[max(start - position, 0) : end - position]
                position += TILE_WIDTH
            start = end

    def _lines(self, path: Path, first: int, start: int, end: int) -> Iterator[list[bytes]]:
        """Yield the lines of [start, end) in lists that begin and end where tiles do; the last may be shorter."""
        position = start - start % TILE_WIDTH
        with contextlib.ExitStack() as stack:
            try:
                offset = self._plain.find(path, first, position).offset if position > first else 0
                fd = stack.enter_context(self._files.opened(path))
            except NotFoundError:
                if self._files.exists(path) or not self._files.exists(self._paths.sealed(first)):
                    raise  # else it was sealed a moment ago
                yield from self._compressed(start, end)
                return
            lines: list[bytes] = []
            taken, rest = 0, b""
            while position < end:
                wanted = min(TILE_WIDTH, end - position)
                while len(lines) - taken < wanted:
                    part = self._files.disk.read_at(fd, READ_SIZE, offset, path)
                    here = position + len(lines) - taken
                    if not part:
                        yield lines[taken:]  # so that whoever checks them finds what is wrong before the end
                        raise NotFoundError(f"entry {here}: {path} ends before it")
                    offset += len(part)
                    fresh = (rest + part).split(b"\n")
                    rest = fresh.pop()
                    if len(rest) > MAX_ENTRY_SIZE:
                        where = f"entry {here + len(fresh)} ({path})"
                        raise CorruptLedgerError("the line is longer than an entry may be", place=where)
                    lines, taken = lines[taken:] + fresh, 0
                yield lines[taken : taken + wanted]
                taken, position = taken + wanted, position + wanted

    def _compressed(self, start: int, stop: int) -> Iterator[list[bytes]]:
        first = start - start % self.segment_entries
        manifest = read_manifest(self._files, self._paths.manifest(first))
        path = self._paths.sealed(first)
        if manifest.first != first or manifest.count != self.segment_entries:
            raise CorruptLedgerError("the manifest is of another segment", place=str(self._paths.manifest(first)))
        return read_frames(self._files, path, manifest, start, stop)
