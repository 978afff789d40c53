"""The static resources of a log, as tlog-tiles has them, made from the partition's own files one at a time.

What the published checkpoint implies is given out, and nothing else: full tiles and bundles of its tree, and the
partial ones of every tree that was signed and is not larger. Each was checked under that checkpoint on the way, so a
log that finds its files damaged says so instead of giving them out. `tlog.export` writes the same bytes as files.
Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import time

from tlog.bundle import encode_bundle
from tlog.checkpoint import Checkpoint
from tlog.errors import BackpressureError, CorruptLedgerError, NotFoundError
from tlog.hashing import leaf_hash
from tlog.keys import VerifierKey
from tlog.prover import Prover
from tlog.reader import TileReader
from tlog.storage.checkpoints import CheckpointFiles
from tlog.storage.segments import SegmentReader
from tlog.storage.tiles import TileFiles
from tlog.tile import TILE_HEIGHT, TILE_WIDTH, Bundle, Tile, tile_at

SEARCH_LIMIT_S = 2.0
"""How long tiles are read for one leaf hash, unless told otherwise: some 20 million entries."""


class Site:
    """The static resources of one partition. Get it from `Partition.site`. It may be used from several threads."""

    def __init__(self, prover: Prover, checkpoints: CheckpointFiles, segments: SegmentReader, tiles: TileFiles) -> None:
        self._prover = prover
        self._checkpoints = checkpoints
        self._segments = segments
        self._tiles = tiles

    def checkpoint(self) -> Checkpoint:
        """Return the published checkpoint, its signature checked. Raises: NotFoundError, VerificationError."""
        return self._prover.published()[0]

    def read(self, place: Tile | Bundle) -> bytes:
        """Return the bytes of a tile or an entry bundle.

        Raises: NotFoundError where the published checkpoint implies none of this place and width; CorruptLedgerError,
        TileMismatchError where the files do not bear it out; StorageError.
        Cost: a tile, mostly from memory, or up to 256 entries and a SHA-256 call for each.
        """
        _, tree = self._prover.published()
        if not self._is_implied(place, tree.tree_size):
            raise NotFoundError(f"{place.path}: the published checkpoint does not imply it")
        try:
            return self._tile(place, tree) if isinstance(place, Tile) else self._bundle(place, tree)
        except NotFoundError as err:
            raise CorruptLedgerError(f"a file of the published tree is missing ({err})", place=place.path) from err

    def find_leaf(self, leaf_hash: bytes, time_limit_s: float = SEARCH_LIMIT_S) -> int | None:
        """Return the index of the last entry of the published tree with this leaf hash, None where there is none.

        leaf_hash: 32 bytes. There is no index of them: the level 0 tiles are read, from the right.
        Raises: BackpressureError where that takes longer than `time_limit_s`; NotFoundError where nothing is published;
        TileMismatchError, StorageError. Cost: a read of 8 kB for 256 entries, some 20 microseconds.
        """
        _, tree = self._prover.published()
        end = time.monotonic() + time_limit_s
        for index in reversed(range(-(-tree.tree_size // TILE_WIDTH))):
            (raw,) = self._tiles.read_tiles([tile_at(0, index, tree.tree_size)])
            place = raw.rfind(leaf_hash)
            while place >= 0 and place % len(leaf_hash):
                place = raw.rfind(leaf_hash, 0, place + len(leaf_hash) - 1)
            if place >= 0 and tree.leaf_hashes(index)[place // len(leaf_hash)] == leaf_hash:
                return index * TILE_WIDTH + place // len(leaf_hash)
            if time.monotonic() > end:
                raise BackpressureError(
                    f"the last {tree.tree_size - index * TILE_WIDTH:,} entries do not have this leaf hash, and looking "
                    "further takes too long; ask by index or id",
                    60.0,
                )
        return None

    def _is_implied(self, place: Tile | Bundle, tree_size: int) -> bool:
        """Whether a signed tree, at most as large as the published one, has exactly this tile or bundle."""
        height = TILE_HEIGHT * place.level if isinstance(place, Tile) else 0
        width = place.index * TILE_WIDTH + place.width
        if tree_size >> height < width:
            return False
        if place.width == TILE_WIDTH or tree_size >> height == width:
            return True
        # The published tree is larger, so what is found is not larger than the published one.
        signed = self._checkpoints.at_least(width << height)
        return signed is not None and signed.tree_size >> height == width

    def _tile(self, place: Tile, tree: TileReader) -> bytes:
        whole = tree.read_tile(tile_at(place.level, place.index, tree.tree_size))
        return b"".join(whole[: place.width])

    def _bundle(self, place: Bundle, tree: TileReader) -> bytes:
        start = place.index * TILE_WIDTH
        lines = next(self._segments.chunks(start, start + place.width))
        if len(lines) != place.width:
            raise CorruptLedgerError("entries are missing", place=place.path, seq=start + len(lines))
        leaves = tree.leaf_hashes(place.index)[: place.width]
        for seq, (line, expected) in enumerate(zip(lines, leaves, strict=True), start):
            if leaf_hash(line) != expected:
                raise CorruptLedgerError(
                    "the entry is not the one in the tree",
                    place=f"entry {seq} ({self._segments.locate(seq)[0]})",
                    seq=seq,
                    expected=expected.hex(),
                    found=leaf_hash(line).hex(),
                )
        return encode_bundle(lines)


def vkey_file(vkey: VerifierKey) -> bytes:
    """Return the bytes of a site's file `vkey`."""
    return f"{vkey}\n".encode()
