"""One stretch of a partition, read back from the disk: its chain, its leaf hashes, its level 0 tiles.

This is the work that a log does for every entry after it was written, whoever asks: integration, the second computation
of the root before signing, and the audit. A stretch needs no state from the one before it, so stretches are examined in
parallel, in processes that share nothing (`tlog.workers`), and put together by their ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tlog._heap import keep_freed_memory
from tlog.entry import ChainHead, Entry, check_chain, parse_entry
from tlog.errors import CorruptLedgerError, Error, FormatError
from tlog.hashing import HASH_SIZE, leaf_hashes, perfect_root, split_hashes
from tlog.storage.disk import Files
from tlog.storage.layout import PartitionPaths
from tlog.storage.segments import SegmentReader
from tlog.storage.tiles import TileFiles
from tlog.tile import TILE_WIDTH, Tile

HASH_ONLY, CHECK_CHAIN, WRITE_TILES, COMPARE_TILES = "hash", "chain", "write", "compare"
"""Leaves and nodes are hashed in all modes, the chain is checked in all but the first; tiles are stored or compared."""

STRETCH_ENTRIES = 1 << 14
"""Entries of a stretch: a perfect subtree, small enough that the last one of a bulk does not keep one core waiting."""


class Stretch(NamedTuple):
    """What to examine: the entries [start, stop) of a partition, both multiples of 256.

    mode: one of the above. leaves: the leaf hashes that the writer of the entries found before it wrote them, one after
    another; empty where they are not known.
    """

    ledger: str
    keys: str
    partition: str
    segment_entries: int
    start: int
    stop: int
    mode: str
    leaves: bytes = b""


class Examined(NamedTuple):
    """What a stretch holds.

    roots: of its level 0 tiles. before, after: chain hash in hex on both sides; first_ts, last_ts: of its first and
    last entry; all four empty where the chain was not checked. wrong: indexes of level 0 tiles whose files are missing
    or differ. again: the same as `roots`, computed from the writer's leaf hashes; empty where they were not given.
    """

    roots: list[bytes]
    before: bytes
    after: bytes
    first_ts: bytes
    last_ts: bytes
    wrong: list[int]
    again: list[bytes]

    def follows(self, head: ChainHead) -> bool:
        """Whether the chain of this stretch goes on where `head` stands."""
        return self.before == head.hash and self.first_ts >= head.ts


def stretch_of(paths: PartitionPaths, segment_entries: int, start: int, mode: str, *, leaves: bytes = b"") -> Stretch:
    """Return the description of the stretch at `start`, of plain values that can be sent to another process."""
    stop = start + STRETCH_ENTRIES
    return Stretch(str(paths.ledger), str(paths.keys), paths.name, segment_entries, start, stop, mode, leaves)


def whole_stretches(start: int, stop: int) -> tuple[int, int]:
    """Return where the whole stretches within [start, stop) begin and end; `start` twice where there are less than two.

    Fewer are not worth sending to another process.
    """
    first, last = -(-start // STRETCH_ENTRIES) * STRETCH_ENTRIES, stop - stop % STRETCH_ENTRIES
    return (first, last) if last - first >= 2 * STRETCH_ENTRIES else (start, start)


def examine(stretch: Stretch, files: Files | None = None) -> Examined:
    """Read a stretch and return what it holds. files: the file system, the real one unless given.

    Raises: CorruptLedgerError naming the first bad entry, or where what was read is not what the writer wrote;
    StorageError.
    Cost: two SHA-256 calls an entry and one a node; one call an entry and two a node where leaf hashes are given.
    Memory: 2 MiB.
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
            if stretch.leaves:
                head = _head_after(lines[-1], head.seq + len(lines), where)
            else:
                head = check_chain(head, stretch.partition.encode(), lines, where)
        if len(lines) < TILE_WIDTH:
            continue  # the segment ends here, which is what `chunks` raises next
        leaves = leaf_hashes(lines)
        roots.append(perfect_root(leaves))
        packed = b"".join(leaves)
        tile = Tile(0, stretch.start // TILE_WIDTH + len(roots) - 1)
        if stretch.leaves and packed != stretch.leaves[(len(roots) - 1) * len(packed) :][: len(packed)]:
            # Whoever asked finds the entry: where it is a flipped bit in memory, there is none.
            raise CorruptLedgerError("entries were read back that are not those that were written", place=where)
        if stretch.mode == WRITE_TILES:
            made.append((tile, packed))
        elif stretch.mode == COMPARE_TILES and not _is_stored(tiles, tile, packed):
            wrong.append(tile.index)
    tiles.write_tiles(made)
    again = [perfect_root(split_hashes(tile)) for tile in _tiles_of(stretch.leaves)]
    if first is None or head is None:
        return Examined(roots, b"", b"", b"", b"", wrong, again)
    return Examined(roots, first.hash, head.hash, first.ts, head.ts, wrong, again)


def _tiles_of(leaves: bytes) -> Iterator[bytes]:
    size = TILE_WIDTH * HASH_SIZE
    return (leaves[start : start + size] for start in range(0, len(leaves), size))


def _head_after(line: bytes, seq: int, where: str) -> ChainHead:
    """Return the chain's head after a line, of which only its own hash is checked."""
    entry = _entry_of(line, seq - 1, where)
    return ChainHead(seq, entry.hash.hex().encode(), entry.ts.encode())


def _head_in_front_of(line: bytes, seq: int, where: str) -> ChainHead:
    """Return the chain's head that a line claims to follow; whoever joins stretches compares it."""
    entry = _entry_of(line, seq, where)
    return ChainHead(seq, entry.prev_hash.hex().encode(), entry.ts.encode())


def _entry_of(line: bytes, seq: int, where: str) -> Entry:
    place = f"entry {seq} ({where})"
    try:
        return parse_entry(line)
    except FormatError as err:
        raise CorruptLedgerError(f"the line is not an entry ({err})", place=place, seq=seq) from err
    except Error as err:
        raise CorruptLedgerError("the entry's hash is not the hash of its bytes", place=place, seq=seq) from err


def _is_stored(tiles: TileFiles, tile: Tile, raw: bytes) -> bool:
    try:
        return tiles.read_tiles([tile]) == [raw]
    except Error:
        return False
