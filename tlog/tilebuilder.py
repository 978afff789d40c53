"""Growing a tree tile by tile: leaf hashes in, completed tiles, partial tiles and the root hash out.

Source: c2sp.org/tlog-tiles; RFC 6962 section 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tlog.hashing import EMPTY_ROOT, perfect_root
from tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile, edge_tiles
from tlog.tree import Range, fold, range_nodes

TileHashes = tuple[Tile, list[bytes]]


class TileBuilder:
    """The partial tiles of a tree that grows; everything to their left is done. Memory: at most 255 hashes a level."""

    def __init__(self, tree_size: int = 0, edge: Mapping[Tile, Sequence[bytes]] | None = None) -> None:
        """tree_size: of the tree to go on from. edge: the hashes of its `edge_tiles`, authenticated."""
        self._rows: list[list[bytes]] = []
        self.tree_size = tree_size
        for tile in edge_tiles(tree_size):
            if edge is None or len(edge[tile]) != tile.width:
                raise AssertionError("bad tree math: the edge does not belong to the tree size")
            self._row(tile.level).extend(edge[tile])

    def add(self, leaf_hashes: Sequence[bytes]) -> list[TileHashes]:
        """Add leaves on the right, no more than complete the current level 0 tile; return the tiles they completed.

        Cost: 255 SHA-256 calls for each tile completed, none otherwise.
        """
        row = self._row(0)
        if len(row) + len(leaf_hashes) > TILE_WIDTH:
            raise AssertionError("bad tree math: more leaves than the tile has room for")
        row.extend(leaf_hashes)
        self.tree_size += len(leaf_hashes)
        return self._complete(0)

    def add_tile(self, root: bytes) -> list[TileHashes]:
        """Add a full level 0 tile by its root hash alone; return the tiles above it that it completed.

        The tree must end where a tile ends. Cost: one SHA-256 call, amortised.
        """
        if self.tree_size % TILE_WIDTH:
            raise AssertionError("bad tree math: the tree does not end where a tile begins")
        self.tree_size += TILE_WIDTH
        self._row(1).append(root)
        return self._complete(1)

    def _complete(self, level: int) -> list[TileHashes]:
        """Hash full rows from `level` upwards into the row above; return them as tiles."""
        completed = []
        count = self.tree_size >> TILE_HEIGHT * level
        while len(row := self._row(level)) == TILE_WIDTH:
            count //= TILE_WIDTH
            completed.append((Tile(level, count - 1), row))
            self._rows[level] = []
            level += 1
            self._row(level).append(perfect_root(row))
        return completed

    def partial_tiles(self) -> list[TileHashes]:
        """Return the partial tiles of the tree as it stands, from the highest level down."""
        return [(tile, list(self._rows[tile.level])) for tile in edge_tiles(self.tree_size)]

    def root(self) -> bytes:
        """Return the root hash of the tree as it stands. Cost: under 256 SHA-256 calls a level."""
        hashes = [
            perfect_root(row[node.index << node.level : (node.index + 1) << node.level])
            for row in reversed(self._rows)
            for node in range_nodes(Range(0, len(row)))
        ]
        return fold(hashes) if hashes else EMPTY_ROOT

    def _row(self, level: int) -> list[bytes]:
        while len(self._rows) <= level:
            self._rows.append([])
        return self._rows[level]
