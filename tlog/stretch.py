"""One stretch of a partition, read back from the disk: its chain, its leaf hashes, its level 0 tiles.

This is the work that a log does for every entry after it was written, whoever asks: integration, the second computation
of the root before signing, and the audit. A stretch needs no state from the one before it, so stretches are examined in
parallel, in processes that share nothing (`tlog.workers`), and put together by their ends.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from tlog._heap import keep_freed_memory
from tlog.entry import ChainHead, check_chain, parse_entry
from tlog.errors import CorruptLedgerError, Error, FormatError
from tlog.hashing import leaf_hashes, perfect_root
from tlog.storage.disk import Files
from tlog.storage.layout import PartitionPaths
from tlog.storage.segments import SegmentReader
from tlog.storage.tiles import TileFiles
from tlog.tile import TILE_WIDTH, Tile

HASH_ONLY, CHECK_CHAIN, WRITE_TILES, COMPARE_TILES = "hash", "chain", "write", "compare"
"""Leaves and nodes are hashed in all modes, the chain is checked in all but the first; tiles are stored or compared."""

STRETCH_ENTRIES = 1 << 16
"""Entries of a stretch: as many as a segment usually has, and a perfect subtree."""


class Stretch(NamedTuple):
    """What to examine: the entries [start, stop) of a partition, both multiples of 256. mode: one of the above."""

    ledger: str
    keys: str
    partition: str
    segment_entries: int
    start: int
    stop: int
    mode: str


class Examined(NamedTuple):
    """What a stretch holds.

    roots: of its level 0 tiles. before, after: chain hash in hex on both sides; first_ts, last_ts: of its first and
    last entry; all four empty where the chain was not checked. wrong: indexes of level 0 tiles whose files are missing
    or differ.
    """

    roots: list[bytes]
    before: bytes
    after: bytes
    first_ts: bytes
    last_ts: bytes
    wrong: list[int]

    def follows(self, head: ChainHead) -> bool:
        """Whether the chain of this stretch goes on where `head` stands."""
        return self.before == head.hash and self.first_ts >= head.ts


def stretch_of(paths: PartitionPaths, segment_entries: int, start: int, stop: int, mode: str) -> Stretch:
    """Return the description of a stretch, of plain values that can be sent to another process."""
    return Stretch(str(paths.ledger), str(paths.keys), paths.name, segment_entries, start, stop, mode)


def whole_stretches(start: int, stop: int) -> tuple[int, int]:
    """Return where the whole stretches within [start, stop) begin and end; `start` twice where there are less than two.

    Fewer are not worth sending to another process.
    """
    first, last = -(-start // STRETCH_ENTRIES) * STRETCH_ENTRIES, stop - stop % STRETCH_ENTRIES
    return (first, last) if last - first >= 2 * STRETCH_ENTRIES else (start, start)


def examine(stretch: Stretch, files: Files | None = None) -> Examined:
    """Read a stretch and return what it holds. files: the file system, the real one unless given.

    Raises: CorruptLedgerError naming the first bad entry; StorageError.
    Cost: two SHA-256 calls an entry, one less without the chain, and one a node. Memory: 2 MiB.
    """
    keep_freed_memory()
    files = Files() if files is None else files
    paths = PartitionPaths(Path(stretch.ledger), Path(stretch.keys), stretch.partition)
    with contextlib.closing(SegmentReader(files, paths, stretch.segment_entries)) as segments:
        return _examine(stretch, segments, TileFiles(files, paths.root))


def _examine(stretch: Stretch, segments: SegmentReader, tiles: TileFiles) -> Examined:
    where = str(segments.locate(stretch.start)[0])
    roots: list[bytes] = []
    wrong: list[int] = []
    made: list[tuple[Tile, bytes]] = []
    first = head = None
    for lines in segments.chunks(stretch.start, stretch.stop):
        if stretch.mode != HASH_ONLY:
            if head is None:
                first = head = _head_in_front_of(lines[0], stretch.start, where)
            head = check_chain(head, stretch.partition.encode(), lines, where)
        if len(lines) < TILE_WIDTH:
            continue  # the segment ends here, which is what `chunks` raises next
        leaves = leaf_hashes(lines)
        roots.append(perfect_root(leaves))
        tile = Tile(0, stretch.start // TILE_WIDTH + len(roots) - 1)
        if stretch.mode == WRITE_TILES:
            made.append((tile, b"".join(leaves)))
        elif stretch.mode == COMPARE_TILES and not _is_stored(tiles, tile, b"".join(leaves)):
            wrong.append(tile.index)
    tiles.write_tiles(made)
    if first is None or head is None:
        return Examined(roots, b"", b"", b"", b"", wrong)
    return Examined(roots, first.hash, head.hash, first.ts, head.ts, wrong)


def _head_in_front_of(line: bytes, seq: int, where: str) -> ChainHead:
    """Return the chain's head that a line claims to follow; whoever joins stretches compares it."""
    try:
        entry = parse_entry(line)
    except Error as err:
        if isinstance(err, FormatError):
            raise CorruptLedgerError(
                f"the line is not an entry ({err})", place=f"entry {seq} ({where})", seq=seq
            ) from err
        place = f"entry {seq} ({where})"
        raise CorruptLedgerError("the entry's hash is not the hash of its bytes", place=place, seq=seq) from err
    return ChainHead(seq, entry.prev_hash.hex().encode(), entry.ts.encode())


def _is_stored(tiles: TileFiles, tile: Tile, raw: bytes) -> bool:
    try:
        return tiles.read_tiles([tile]) == [raw]
    except Error:
        return False
