"""Sealing: complete segments are compressed, and read from the frames from then on.

A segment is sealed when the published tree covers it, and only after its subtree root was found in that tree and its
frames were read back. Source: docs/formats.md, "Sealed segment".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tlog.entry import ChainHead, check_chain, parse_entry
from tlog.errors import CorruptLedgerError, NotFoundError
from tlog.integrate import Progress
from tlog.reader import TileReader
from tlog.storage.disk import Files
from tlog.storage.layout import PartitionPaths
from tlog.storage.sealed import ManifestBuilder, compress_frame, derive_manifest
from tlog.storage.segments import SegmentReader
from tlog.tree import Node

SEALED_MODE = 0o444


@dataclass(frozen=True, slots=True)
class SealReport:
    """What was sealed. segments: how many. size_before, size_after: their bytes, plain and compressed."""

    segments: int
    size_before: int
    size_after: int


def seal(
    files: Files, paths: PartitionPaths, segments: SegmentReader, tree: TileReader, progress: Progress | None = None
) -> SealReport:
    """Compress every plain segment that the published tree covers, and remove the plain file.

    tree: of the published checkpoint. progress: told how many entries are done. Memory: one frame.
    Raises: CorruptLedgerError where a segment is not what was signed; it stays as it is then. StorageError.
    """
    count = before = after = 0
    for first in segments.firsts():
        plain = paths.plain(first)
        if first + segments.segment_entries > tree.tree_size or not files.exists(plain):
            continue
        before += files.size(plain)
        _seal_segment(files, paths, segments, tree, first)
        after += files.size(paths.sealed(first))
        count += 1
        if progress is not None:
            progress(first + segments.segment_entries)
    return SealReport(count, before, after)


def _seal_segment(files: Files, paths: PartitionPaths, segments: SegmentReader, tree: TileReader, first: int) -> None:
    builder = ManifestBuilder(first)
    stop = first + segments.segment_entries
    place = f"entries {first} to {stop - 1} ({paths.plain(first)})"

    def frames() -> Iterator[bytes]:
        head: ChainHead | None = None
        for lines in segments.chunks(first, stop):
            if head is None:
                entry = parse_entry(lines[0])
                head = ChainHead(first, entry.prev_hash.hex().encode(), entry.ts.encode())
            head = check_chain(head, paths.name.encode(), lines, str(paths.plain(first)))
            frame = compress_frame(lines)
            builder.add(frame, lines)
            yield frame
        level = segments.segment_entries.bit_length() - 1
        (signed,) = tree.read_nodes([Node(level, first >> level)])
        if builder.finish().root_hash != signed:
            raise CorruptLedgerError("the segment is not what was signed", place=place, expected=signed.hex())

    files.replace_stream(paths.sealed(first), frames(), SEALED_MODE)
    manifest = builder.finish()
    if derive_manifest(files, paths.sealed(first), first) != manifest:
        raise CorruptLedgerError("the compressed segment does not read back", place=place)
    files.replace(paths.manifest(first), manifest.encode())
    with contextlib.suppress(NotFoundError):  # another process sealed it at the same time, with the same bytes
        files.disk.unlink(paths.plain(first))
    files.disk.sync_dir(paths.segments)
