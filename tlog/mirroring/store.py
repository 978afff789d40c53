"""The copy of one log: a tlog-tiles site that grows by verified bundles, and is published when it is whole.

Bundles are stored as they come, once they are proved to belong to a tree that the log signed. The tiles over them, and
the checkpoint with the mirror's cosignature, follow when all entries of that tree are durable, in this order; so what
the checkpoint implies can be fetched at every moment, and no step goes back. Source: c2sp.org/tlog-mirror,
c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from tlog.bundle import MAX_ENTRY_SIZE, decode_bundle, encode_bundle
from tlog.checkpoint import Checkpoint
from tlog.errors import CorruptLedgerError, NotFoundError
from tlog.hashing import leaf_hashes
from tlog.note import MAX_NOTE_SIZE
from tlog.reader import TileReader
from tlog.storage.disk import Files
from tlog.storage.tiles import MAX_TILE_SIZE, TileFiles
from tlog.tile import TILE_WIDTH, Bundle, Tile
from tlog.tilebuilder import TileBuilder

TILE_BATCH = 256
"""Tiles that are written together."""

MAX_BUNDLE_SIZE = TILE_WIDTH * (MAX_ENTRY_SIZE + 2)


class MirrorStore:
    """The copy of one log. Threads may use it at once; one process at a time writes to it."""

    def __init__(self, files: Files, root: Path) -> None:
        """root: the directory that is served, `<origin hash>`."""
        self.root = root
        self._files = files
        self._tiles = TileFiles(files, root)
        self._mutex = threading.RLock()
        self._next: int | None = None

    def checkpoint(self) -> Checkpoint | None:
        """Return the mirror checkpoint, None before the first. It was verified before it was stored."""
        try:
            return Checkpoint.parse(self._files.read(self.root / "checkpoint", MAX_NOTE_SIZE))
        except NotFoundError:
            return None

    def next_entry(self) -> int:
        """Return the index of the first entry that is not here. Cost: once a process, a directory of bundles."""
        with self._mutex:
            if self._next is None:
                self._next = self._find_next()
            return self._next

    def entries(self, index: int, width: int) -> list[bytes]:
        """Return the first `width` entries of a bundle. Raises: NotFoundError, FormatError."""
        whole = self.root / Bundle(index).path
        if self._files.exists(whole):
            return decode_bundle(self._files.read(whole, MAX_BUNDLE_SIZE), TILE_WIDTH)[:width]
        for found in range(width, TILE_WIDTH):
            path = self.root / Bundle(index, found).path
            if self._files.exists(path):
                return decode_bundle(self._files.read(path, MAX_BUNDLE_SIZE), found)[:width]
        raise NotFoundError(f"{whole}: the first {width} entries of this bundle are not here")

    def put(self, index: int, entries: Sequence[bytes]) -> None:
        """Store the first entries of a bundle durably, which were proved to be of the log. What is there stays."""
        with self._mutex:
            size = index * TILE_WIDTH + len(entries)
            if size <= self.next_entry():
                return
            if index * TILE_WIDTH > self.next_entry():
                raise AssertionError("bundles are stored in their order")
            self._files.replace_many([(self.root / Bundle(index, len(entries)).path, encode_bundle(entries))])
            self._next = size

    def commit(self, checkpoint: Checkpoint) -> bool:
        """Make the tiles of a tree whose entries are all here, then its checkpoint the mirror's.

        checkpoint: signed by the log, consistent with the one before, with the mirror's cosignature. Returns False
        where the mirror's is as large already. Raises: CorruptLedgerError where the entries do not make the root.
        """
        with self._mutex:
            before = self.checkpoint()
            if before is not None and before.tree_size >= checkpoint.tree_size:
                return False
            builder = self._builder(before)
            batch: list[tuple[Tile, bytes]] = []
            while builder.tree_size < checkpoint.tree_size:
                index, offset = divmod(builder.tree_size, TILE_WIDTH)
                width = min(checkpoint.tree_size - index * TILE_WIDTH, TILE_WIDTH)
                hashes = leaf_hashes(self.entries(index, width)[offset:])
                batch += [(tile, b"".join(row)) for tile, row in builder.add(hashes)]
                if len(batch) >= TILE_BATCH:
                    self._tiles.write_tiles(batch)
                    batch = []
            if builder.root() != checkpoint.root_hash:
                raise CorruptLedgerError(
                    f"the mirrored entries do not make the tree of size {checkpoint.tree_size}",
                    place=str(self.root),
                    expected=checkpoint.root_hash.hex(),
                    found=builder.root().hex(),
                )
            batch += [(tile, b"".join(row)) for tile, row in builder.partial_tiles()]
            self._tiles.write_tiles(batch)
            self._store_partial_bundle(checkpoint.tree_size)
            self._files.replace(self.root / "checkpoint", checkpoint.raw)
            return True

    def read(self, place: Tile | Bundle) -> bytes:
        """Return the bytes of a tile or bundle that is here. Raises: NotFoundError."""
        limit = MAX_TILE_SIZE if isinstance(place, Tile) else MAX_BUNDLE_SIZE
        return self._files.read(self.root / place.path, limit)

    def reader(self) -> TileReader | None:
        """Return the reader of the mirrored tree, None before the first checkpoint."""
        checkpoint = self.checkpoint()
        return None if checkpoint is None else TileReader(self._tiles, checkpoint.tree_size, checkpoint.root_hash)

    def _builder(self, before: Checkpoint | None) -> TileBuilder:
        reader = None if before is None else TileReader(self._tiles, before.tree_size, before.root_hash)
        return TileBuilder() if reader is None else TileBuilder(reader.tree_size, reader.edge())

    def _store_partial_bundle(self, tree_size: int) -> None:
        """Have the bundle at the tree's right edge in exactly the width that its checkpoint implies."""
        index, width = divmod(tree_size, TILE_WIDTH)
        if width and not self._files.exists(self.root / Bundle(index, width).path):
            raw = encode_bundle(self.entries(index, width))
            self._files.replace_many([(self.root / Bundle(index, width).path, raw)])

    def _find_next(self) -> int:
        """Look where the bundles end: behind the mirror checkpoint, one by one."""
        checkpoint = self.checkpoint()
        size = 0 if checkpoint is None else checkpoint.tree_size
        index = size // TILE_WIDTH
        while self._files.exists(self.root / Bundle(index).path):
            index += 1
        for width in range(TILE_WIDTH - 1, 0, -1):
            if self._files.exists(self.root / Bundle(index, width).path):
                return max(size, index * TILE_WIDTH + width)
        return max(size, index * TILE_WIDTH)
