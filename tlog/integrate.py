"""Integration: sequenced entries become leaves of the tree, from the bytes that are on disk.

Two passes over the same entries, and neither takes anything from the other's memory. `integrate` reads the segment
back, checks the chain, and makes tiles; `recompute_root` reads it again and folds leaf hashes onto the right edge that
was signed before. A log may sign only where both find one root: one flipped bit in memory has ended a public log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tlog._heap import keep_freed_memory
from tlog.checkpoint import Checkpoint
from tlog.entry import ChainHead, check_chain, parse_entry
from tlog.errors import CorruptLedgerError, Error
from tlog.hashing import leaf_hash, leaf_hashes, perfect_root
from tlog.reader import TileReader, TileSource
from tlog.storage.segments import SegmentReader
from tlog.storage.tiles import TileFiles
from tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile
from tlog.tilebuilder import TileBuilder, TileHashes
from tlog.tree import RightEdge, edge_nodes

TILE_BATCH = 1024
"""Tiles that are written with one wait: 8 MiB."""

Progress = Callable[[int], None]
"""Told how many entries are done."""


def signed_edge(source: TileSource, signed: Checkpoint) -> TileBuilder:
    """Return the builder at the tree that was signed, its edge authenticated under the signed root hash.

    Raises: CorruptLedgerError naming the tiles that are not what was signed.
    """
    try:
        edge = TileReader(source, signed.tree_size, signed.root_hash).edge()
    except Error as err:
        raise CorruptLedgerError(
            f"the tiles are not those of the signed tree of size {signed.tree_size} ({err}); 'tlog fsck' examines and "
            "'tlog fsck --repair' rebuilds tiles from the segments",
            place=getattr(err, "tile", None),
        ) from err
    return TileBuilder(signed.tree_size, edge)


def chain_head(segments: SegmentReader, reader: TileReader) -> ChainHead:
    """Return the chain's head after the last entry of a signed tree, that entry compared with its leaf in the tree.

    Raises: CorruptLedgerError naming the entry.
    """
    size = reader.tree_size
    if size == 0:
        return ChainHead()
    place = f"entry {size - 1} ({segments.locate(size - 1)[0]})"
    try:
        line = segments.line(size - 1)
        expected, found = reader.leaf_hashes((size - 1) // TILE_WIDTH)[-1], leaf_hash(line)
        if expected != found:
            raise CorruptLedgerError(
                "the entry is not the one that was signed",
                place=place,
                seq=size - 1,
                expected=expected.hex(),
                found=found.hex(),
            )
        entry = parse_entry(line)
    except CorruptLedgerError:
        raise
    except Error as err:
        raise CorruptLedgerError(f"the last signed entry cannot be read ({err})", place=place, seq=size - 1) from err
    return ChainHead(size, entry.hash.hex().encode(), entry.ts.encode())


def integrate(
    segments: SegmentReader,
    tiles: TileFiles,
    builder: TileBuilder,
    *,
    head: ChainHead,
    partition: str,
    stop: int,
    progress: Progress | None = None,
) -> ChainHead:
    """Add the entries from `builder.tree_size` to `stop` to the tree and store its tiles; return the chain's head.

    Raises: CorruptLedgerError naming the first bad entry, StorageError. Cost: two SHA-256 calls an entry, one a
    node. Memory: 8 MiB of tiles and the entries of one.
    """
    keep_freed_memory()
    start = builder.tree_size
    batch: list[TileHashes] = []
    for lines in segments.chunks(start, stop):
        where = str(segments.locate(builder.tree_size)[0])
        head = check_chain(head, partition.encode(), lines, where)
        batch += builder.add(leaf_hashes(lines))
        if len(batch) >= TILE_BATCH:
            _write(tiles, batch)
            batch = []
        if progress is not None:
            progress(builder.tree_size - start)
    _write(tiles, batch + builder.partial_tiles())
    return head


def recompute_root(segments: SegmentReader, signed: Sequence[bytes], size: int, stop: int) -> bytes:
    """Return the root hash of the tree of `stop` entries, recomputed from the bytes on disk.

    signed: the hashes of the right edge of the signed tree of `size` entries. Cost: one SHA-256 call an entry and one a
    node, and one more read of the bytes.
    """
    edge = RightEdge(size, signed)
    for lines in segments.chunks(size, stop):
        hashes = leaf_hashes(lines)
        if len(hashes) == TILE_WIDTH:
            edge.append(perfect_root(hashes), TILE_HEIGHT)
        else:
            edge.extend(hashes)
    return edge.root()


def edge_hashes(reader: TileReader) -> list[bytes]:
    """Return the hashes of a tree's right edge."""
    return reader.read_nodes(edge_nodes(reader.tree_size))


def _write(tiles: TileFiles, batch: Sequence[tuple[Tile, Sequence[bytes]]]) -> None:
    tiles.write_tiles([(tile, b"".join(hashes)) for tile, hashes in batch])
