"""The published checkpoint, the record of every checkpoint ever signed, and the signer's own record.

The signer's record lies with the key, not with the data: data restored from an old backup meets a record that is ahead
of it. Its content is the text of the checkpoint (origin, size, root hash), unsigned.
Source: docs/formats.md, "Checkpoints" and "Signer's record".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import orjson

from tlog._strict import format_base64
from tlog.checkpoint import Checkpoint
from tlog.errors import CorruptLedgerError, Error, FormatError, NotFoundError, StorageError
from tlog.note import MAX_NOTE_SIZE
from tlog.storage.disk import Files
from tlog.storage.layout import PartitionPaths
from tlog.storage.lines import LineFile, Mark, find_line, last_line

READ_SIZE = 1 << 20
RECENT_SIZE = 1 << 15
MAX_RECORD_SIZE = 1024

_TREE_SIZE = re.compile(rb'\{"tree_size":(0|[1-9][0-9]{0,18}),')


def _tree_size_of(line: bytes) -> int | None:
    match = _TREE_SIZE.match(line)
    return None if match is None else int(match[1])


class CheckpointFiles:
    """The checkpoints of one partition. What is read is unverified."""

    def __init__(self, files: Files, paths: PartitionPaths, record: Path | None = None) -> None:
        """record: the file that has them all; `paths.checkpoints`, of those that were signed, unless given."""
        self._files = files
        self._paths = paths
        self._record = paths.checkpoints if record is None else record

    @property
    def cosigned(self) -> CheckpointFiles:
        """The same, with the record of those that the quorum of witnesses has cosigned."""
        return CheckpointFiles(self._files, self._paths, self._paths.cosigned)

    def published(self) -> Checkpoint | None:
        """Return the published checkpoint, or None before the first. Raises: FormatError."""
        raw = self.published_raw()
        if raw is None:
            return None
        try:
            return Checkpoint.parse(raw)
        except FormatError as err:
            raise FormatError(str(self._paths.checkpoint), str(err)) from err

    def published_raw(self) -> bytes | None:
        """Return the bytes of the published checkpoint, or None before the first."""
        try:
            return self._files.read(self._paths.checkpoint, MAX_NOTE_SIZE)
        except NotFoundError:
            return None

    def publish(self, checkpoint: Checkpoint) -> None:
        """Put a signed checkpoint in the place of the published one."""
        self._files.replace(self._paths.checkpoint, checkpoint.raw)

    def record(self, checkpoint: Checkpoint) -> None:
        """Make a signed checkpoint the last of the record, durably; what a crash left unfinished is removed first.

        Where it is the last already it is written again: whoever wrote it may have died before it was durable.
        """
        disk, path, line = self._files.disk, self._record, format_record(checkpoint)
        with self._files.opened(path, os.O_RDWR | os.O_CREAT) as fd:
            last = last_line(LineFile(disk, fd, path, _tree_size_of))
            end = 0 if last is None else last.offset + len(last.text) + 1
            if end < disk.size(fd):
                disk.truncate(fd, end, path)
            disk.write_at(fd, line, end if last is None or last.text + b"\n" != line else last.offset, path)
            disk.sync(fd, path)
        disk.sync_dir(path.parent)

    def last_recorded(self) -> Checkpoint | None:
        """Return the last checkpoint of the record, or None."""
        if not self._files.exists(self._record):
            return None
        with self._files.opened(self._record) as fd:
            last = last_line(LineFile(self._files.disk, fd, self._record, _tree_size_of))
        return None if last is None else self._parse(last.text, last.offset)

    def at_least(self, tree_size: int) -> Checkpoint | None:
        """Return the smallest recorded checkpoint with at least this tree size, or None. Cost: a few small reads."""
        path = self._record
        if not self._files.exists(path):
            return None
        with self._files.opened(path) as fd:
            file = LineFile(self._files.disk, fd, path, _tree_size_of)
            last = last_line(file)
            if last is None or tree_size > last.number:
                return None
            found = find_line(file, Mark(0, 0), Mark(last.number + 1, last.offset + len(last.text) + 1), tree_size)
        return None if found is None else self._parse(found.text, found.offset)

    def before(self, tree_size: int, limit: int) -> list[Checkpoint]:
        """Return the last recorded checkpoints that are smaller than `tree_size`, at most `limit`, the largest first.

        Cost: a few small reads, and those of what is returned. Raises: CorruptLedgerError.
        """
        path, found = self._record, list[Checkpoint]()
        if not self._files.exists(path):
            return found
        with self._files.opened(path) as fd:
            file = LineFile(self._files.disk, fd, path, _tree_size_of)
            last = last_line(file)
            if last is None:
                return found
            end = last.offset + len(last.text) + 1
            if tree_size <= last.number:
                line = find_line(file, Mark(0, 0), Mark(last.number + 1, end), tree_size)
                end = end if line is None else line.offset
            while end and len(found) < limit:
                lines = self._lines_before(fd, end)
                for text in reversed(lines[-(limit - len(found)) :]):
                    end -= len(text) + 1
                    found.append(self._parse(text, end))
        return found

    def _lines_before(self, fd: int, end: int) -> list[bytes]:
        """Return whole lines that end at `end`, in order, at least one."""
        size = RECENT_SIZE
        while True:
            start = max(end - size, 0)
            chunk = self._files.disk.read_at(fd, end - start, start, self._record)
            cut = 0 if start == 0 else chunk.find(b"\n", 0, -1) + 1
            if cut or start == 0:
                return chunk[cut:-1].split(b"\n")
            size *= 4

    def all(self) -> Iterator[Checkpoint]:
        """Yield every recorded checkpoint in order. Memory: one at a time. Raises: CorruptLedgerError."""
        path, offset, position, rest = self._record, 0, 0, b""
        if not self._files.exists(path):
            return
        with self._files.opened(path) as fd:
            last = last_line(LineFile(self._files.disk, fd, path, _tree_size_of))
            end = 0 if last is None else last.offset + len(last.text) + 1
            while part := self._files.disk.read_at(fd, min(READ_SIZE, end - offset), offset, path):
                offset += len(part)
                lines = (rest + part).split(b"\n")
                rest = lines.pop()
                for line in lines:
                    yield self._parse(line, position)
                    position += len(line) + 1

    def _parse(self, line: bytes, offset: int) -> Checkpoint:
        try:
            fields = orjson.loads(line)
            checkpoint = Checkpoint.parse(fields["note"].encode())
            if format_record(checkpoint) != line + b"\n":
                raise FormatError("record", "is not canonical")
        except (FormatError, orjson.JSONDecodeError, TypeError, KeyError, AttributeError, UnicodeEncodeError) as err:
            place = f"{self._record}, byte {offset}"
            raise CorruptLedgerError(f"the line is no record of a checkpoint ({err})", place=place) from err
        return checkpoint


def format_record(checkpoint: Checkpoint) -> bytes:
    """Return the line of the record for a signed checkpoint, with its newline."""
    fields = {
        "tree_size": checkpoint.tree_size,
        "root_hash": format_base64(checkpoint.root_hash),
        "note": checkpoint.raw.decode(),
    }
    return orjson.dumps(fields) + b"\n"


class SignerRecord:
    """The largest tree that a key has signed, kept beside the key."""

    def __init__(self, files: Files, paths: PartitionPaths) -> None:
        self._files = files
        self._path = paths.signed

    def read(self) -> Checkpoint | None:
        """Return what was signed last, or None where nothing was. Raises: CorruptLedgerError."""
        try:
            return Checkpoint.parse_text(self._files.read(self._path, MAX_RECORD_SIZE))
        except NotFoundError:
            return None
        except StorageError:
            raise
        except Error as err:
            raise CorruptLedgerError(f"the signer's record cannot be read ({err})", place=str(self._path)) from err

    def advance(self, checkpoint: Checkpoint) -> None:
        """Note durably what is about to be signed. The caller holds the key's lock and has compared it with `read`."""
        self._files.replace(self._path, checkpoint.text, mode=0o600)
