"""Integration: sequenced entries become leaves of the tree, from the bytes that are on disk.

Two computations, and neither takes anything from the other's memory. `Integration.to` reads the segments back, checks
the chain, and makes tiles. `Integration.again` folds leaf hashes onto the right edge that was signed before: those that
the writer of the entries noted before it wrote them, or where it noted none, those of the segments read once more. A
log may sign only where both find one root: one flipped bit in memory has ended a public log.
"""

from __future__ import annotations

from collections.abc import Callable

from tlog._heap import keep_freed_memory
from tlog.checkpoint import Checkpoint
from tlog.entry import ChainHead, check_chain, parse_entry
from tlog.errors import CorruptLedgerError, Error, NotFoundError, StorageError
from tlog.hashing import leaf_hash, leaf_hashes, perfect_root
from tlog.reader import TileReader, TileSource
from tlog.storage.disk import Files
from tlog.storage.layout import PartitionPaths
from tlog.storage.segments import SegmentReader
from tlog.storage.tiles import TileFiles
from tlog.stretch import HASH_ONLY, STRETCH_ENTRIES, WRITE_TILES, Stretch, stretch_of, whole_stretches
from tlog.tile import TILE_HEIGHT, TILE_WIDTH
from tlog.tilebuilder import TileBuilder, TileHashes
from tlog.tree import RightEdge, edge_nodes
from tlog.workers import Ahead, examine_all

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
        if isinstance(err, StorageError) and not isinstance(err, NotFoundError):
            raise
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
        if isinstance(err, StorageError) and not isinstance(err, NotFoundError):
            raise
        raise CorruptLedgerError(f"the last signed entry cannot be read ({err})", place=place, seq=size - 1) from err
    return ChainHead(size, entry.hash.hex().encode(), entry.ts.encode())


class Integration:
    """One run of integration over one partition: from the tree that was signed last to a larger one."""

    def __init__(
        self,
        files: Files,
        paths: PartitionPaths,
        segments: SegmentReader,
        signed: Checkpoint,
        *,
        ahead: Ahead | None = None,
        progress: Progress | None = None,
    ) -> None:
        """signed: the checkpoint to go on from, verified. progress: told how many entries are integrated.

        ahead: where stretches may have been examined already.

        Raises: CorruptLedgerError where tiles or the last entry are not those of the signed tree.
        """
        keep_freed_memory()
        self._files = files
        self._paths = paths
        self._segments = segments
        self._ahead = ahead
        self._progress = progress
        self._tiles = TileFiles(files, paths.root)
        self._signed = signed
        self._builder = signed_edge(self._tiles, signed)
        self._reader = TileReader(self._tiles, signed.tree_size, signed.root_hash)
        self._head = chain_head(segments, self._reader)
        self._batch: list[TileHashes] = []
        self._noted: dict[int, list[bytes]] = {}  # by first seq: roots of tiles from the writer's leaf hashes

    def to(self, stop: int) -> bytes:
        """Integrate the entries before `stop`, store the tiles of that tree, and return its root hash.

        Raises: CorruptLedgerError naming the first bad entry, StorageError.
        Cost: two SHA-256 calls an entry and one a node. Memory: 8 MiB of tiles and the entries of one.
        """
        size = self._builder.tree_size
        if stop == size:  # the tiles of this tree are there
            return self._builder.root()
        start, end = whole_stretches(size, stop)
        self._one_by_one(start)
        stretches = [self._stretch(first, WRITE_TILES) for first in range(start, end, STRETCH_ENTRIES)]
        for stretch, examined in zip(stretches, examine_all(self._files, stretches, self._ahead), strict=True):
            if examined is None or not examined.follows(self._head):
                self._one_by_one(stretch.stop)
                continue
            if examined.again:
                self._noted[stretch.start] = examined.again
            for root in examined.roots:
                self._add(self._builder.add_tile(root))
            self._head = ChainHead(stretch.stop, examined.after, examined.last_ts)
            self._tell()
        self._one_by_one(stop)
        self._batch += self._builder.partial_tiles()
        self._write()
        return self._builder.root()

    def again(self, stop: int) -> bytes:
        """Return the root hash of the tree of `stop` entries, recomputed from the bytes on disk.

        It starts from the right edge that was signed and takes nothing from the first computation. Where the writer of
        the entries noted their leaf hashes, the first computation found the same on disk, and this one takes the
        writer's.
        Cost: one SHA-256 call an entry and one a node, and one more read of the bytes; nothing for noted stretches.
        """
        size = self._signed.tree_size
        edge = RightEdge(size, self._reader.read_nodes(edge_nodes(size)))
        start, end = whole_stretches(size, stop)
        self._extend(edge, start)
        firsts = range(start, end, STRETCH_ENTRIES)
        unknown = [self._stretch(first, HASH_ONLY) for first in firsts if first not in self._noted]
        examined = examine_all(self._files, unknown)
        for first in firsts:
            if first in self._noted:
                roots = self._noted[first]
            else:
                found = next(examined)
                roots = [] if found is None else found.roots
            for root in roots:
                edge.append(root, TILE_HEIGHT)
            self._extend(edge, first + STRETCH_ENTRIES)
        self._extend(edge, stop)
        return edge.root()

    def _one_by_one(self, stop: int) -> None:
        for lines in self._segments.chunks(self._builder.tree_size, stop):
            where = str(self._segments.locate(self._builder.tree_size)[0])
            self._head = check_chain(self._head, self._paths.name.encode(), lines, where)
            self._add(self._builder.add(leaf_hashes(lines)))
            self._tell()

    def _extend(self, edge: RightEdge, stop: int) -> None:
        for lines in self._segments.chunks(edge.size, stop):
            hashes = leaf_hashes(lines)
            if len(hashes) == TILE_WIDTH:
                edge.append(perfect_root(hashes), TILE_HEIGHT)
            else:
                edge.extend(hashes)

    def _stretch(self, first: int, mode: str) -> Stretch:
        entries = self._segments.segment_entries
        return stretch_of(self._paths, entries, first, mode)

    def _add(self, completed: list[TileHashes]) -> None:
        self._batch += completed
        if len(self._batch) >= TILE_BATCH:
            self._write()

    def _write(self) -> None:
        self._tiles.write_tiles([(tile, b"".join(hashes)) for tile, hashes in self._batch])
        self._batch = []

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._builder.tree_size - self._signed.tree_size)
