"""Reading tree nodes out of tiles, each tile authenticated against a checkpoint's root hash before it is used.

Where the tiles come from (files, HTTP, a mirror) is the `TileSource`'s business, and nothing it returns is believed:

* the partial tiles hold the whole right edge, so together they must fold to the root hash;
* a full tile must hash to the entry that its parent tile has for it, and the parent is authenticated first.

So every tile is compared with a hash of its own; no tile is trusted because its neighbours were.
Source: c2sp.org/tlog-tiles; golang.org/issue/80744 for what happens otherwise.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol

from tlog._strict import require_int
from tlog.errors import FormatError, TileMismatchError
from tlog.hashing import EMPTY_ROOT, HASH_SIZE, parent_row, split_hashes
from tlog.proof import build, plan_consistency, plan_inclusion, plan_nodes
from tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile, edge_tiles, tile_at
from tlog.tree import Node, Range, fold, range_nodes

DEFAULT_CACHE_TILES = 512
"""Tiles kept in memory, about 37 KiB each."""

Rows = list[list[bytes]]
"""The nodes of a tile: row 0 its own hashes, each further row the parents; a full tile's last row is its root."""

Place = tuple[int, int]
"""A tile's level and index; in one tree these tell its width."""


class TileSource(Protocol):
    """Whatever returns tiles."""

    def read_tiles(self, tiles: Sequence[Tile]) -> Sequence[bytes]:
        """Return the unverified bytes of each tile, in order; asked once for all the tiles that an answer needs.

        Raises: NotFoundError where a tile is missing, other children of StorageError where it cannot be read.
        """


class TileCache:
    """The most recently used full tiles with their inner nodes, shared by the readers of one log.

    What is in it hashes up to its own root, and a reader compares that root again at every use, so one cache serves all
    checkpoints of a log.
    """

    def __init__(self, capacity: int = DEFAULT_CACHE_TILES) -> None:
        """capacity: number of tiles, at least 1."""
        self._capacity = capacity
        self._rows: OrderedDict[tuple[int, int], Rows] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tile: Tile) -> Rows | None:
        """Return the rows of a full tile, or None."""
        key = (tile.level, tile.index)
        with self._lock:
            rows = self._rows.get(key)
            if rows is not None:
                self._rows.move_to_end(key)
            return rows

    def put(self, tile: Tile, rows: Rows) -> None:
        """Keep the rows of an authenticated full tile."""
        with self._lock:
            self._rows[tile.level, tile.index] = rows
            self._rows.move_to_end((tile.level, tile.index))
            while len(self._rows) > self._capacity:
                self._rows.popitem(last=False)


class TileReader:
    """The nodes of one tree, known by its size and root hash. Safe to use from several threads."""

    def __init__(self, source: TileSource, tree_size: int, root_hash: bytes, cache: TileCache | None = None) -> None:
        """source: where tiles come from. tree_size, root_hash: of a verified checkpoint. cache: shared, or None."""
        self._source = source
        self.tree_size = tree_size
        self.root_hash = root_hash
        self._cache = cache if cache is not None else TileCache()
        self._edge: dict[Place, Rows] | None = None

    def read_nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        """Return the hashes of `nodes`, every one authenticated.

        Raises: TileMismatchError naming the first tile that is not under the root hash, FormatError for a node that the
        tree has not, and what the source raises. Cost: one call of the source, and 255 SHA-256 calls for each full tile
        that was not in the cache.
        """
        return self._pick(nodes, self._read(self._tiles_of(nodes)))

    def inclusion_proof(self, leaf_index: int) -> tuple[bytes, ...]:
        """Return the inclusion proof of a leaf. Raises: FormatError, and as `read_nodes`."""
        plan = plan_inclusion(leaf_index, self.tree_size)
        return build(plan, self.read_nodes(plan_nodes(plan)))

    def inclusion_proofs(self, leaf_indexes: Sequence[int]) -> list[tuple[bytes, ...]]:
        """Return the inclusion proof of each leaf, from one batch of tiles. Raises: FormatError, as `read_nodes`."""
        plans = [plan_inclusion(leaf_index, self.tree_size) for leaf_index in leaf_indexes]
        nodes = [plan_nodes(plan) for plan in plans]
        rows = self._read(self._tiles_of([node for some in nodes for node in some]))
        return [build(plan, self._pick(some, rows)) for plan, some in zip(plans, nodes, strict=True)]

    def consistency_proof(self, old_size: int) -> tuple[bytes, ...]:
        """Return the consistency proof from a smaller or equal tree size. Raises: FormatError, and as `read_nodes`."""
        plan = plan_consistency(old_size, self.tree_size)
        return build(plan, self.read_nodes(plan_nodes(plan)))

    def root_at(self, tree_size: int) -> bytes:
        """Return the root hash that the tree had at a smaller or equal size. Raises: FormatError, as `read_nodes`."""
        nodes = range_nodes(Range(0, require_int(tree_size, "tree size", 0, self.tree_size)))
        return fold(self.read_nodes(nodes)) if nodes else EMPTY_ROOT

    def edge(self) -> dict[Tile, list[bytes]]:
        """Return the hashes of the partial tiles, highest level first. Raises: as `read_nodes`."""
        edge = self._authenticated_edge()
        return {tile: edge[tile.level, tile.index][0] for tile in edge_tiles(self.tree_size)}

    def read_tile(self, tile: Tile) -> list[bytes]:
        """Return the hashes of a tile of this tree, authenticated. Raises: as `read_nodes`."""
        return self._read([tile])[tile.level, tile.index][0]

    def leaf_hashes(self, tile_index: int) -> list[bytes]:
        """Return the leaf hashes of the level 0 tile at `tile_index`. Raises: as `read_nodes`."""
        return self.read_tile(tile_at(0, tile_index, self.tree_size))

    def _tiles_of(self, nodes: Sequence[Node]) -> set[Tile]:
        """Return the tiles that hold `nodes`. Raises: FormatError for a node that the tree has not."""
        size = self.tree_size
        for level, index in nodes:
            if level < 0 or index < 0 or (index + 1) << level > size:
                raise FormatError("node", f"a tree of size {size} has none at level {level}, index {index}")
        places = {(level // TILE_HEIGHT, index >> TILE_HEIGHT - level % TILE_HEIGHT) for level, index in nodes}
        return {tile_at(level, index, self.tree_size) for level, index in places}

    def _pick(self, nodes: Sequence[Node], rows: dict[Place, Rows]) -> list[bytes]:
        """Return the hashes of `nodes` from the tiles that hold them."""
        picked = []
        for level, index in nodes:
            tile_level, row = divmod(level, TILE_HEIGHT)
            height = TILE_HEIGHT - row
            picked.append(rows[tile_level, index >> height][row][index & ((1 << height) - 1)])
        return picked

    def _read(self, tiles: Iterable[Tile]) -> dict[Place, Rows]:
        """Return the authenticated rows of `tiles` and of all tiles above them."""
        rows = dict(self._authenticated_edge())
        wanted = self._with_parents(tiles)
        missing = []
        for tile in wanted:
            cached = self._cache.get(tile)
            if cached is None:
                missing.append(tile)
            else:
                rows[tile.level, tile.index] = cached
        fresh = dict(zip(missing, self._fetch(missing), strict=True))
        for tile, found in fresh.items():
            rows[tile.level, tile.index] = found
        for tile in wanted:
            level, index, _ = tile
            expected = rows[level + 1, index // TILE_WIDTH][0][index % TILE_WIDTH]
            if rows[level, index][TILE_HEIGHT][0] != expected and tile not in fresh:
                fresh[tile] = rows[level, index] = self._fetch([tile])[0]
            root = rows[level, index][TILE_HEIGHT][0]
            if root != expected:
                raise TileMismatchError(
                    "the tile is not the one under the checkpoint",
                    tile=tile.path,
                    expected=expected.hex(),
                    found=root.hex(),
                )
        for tile, found in fresh.items():
            self._cache.put(tile, found)
        return rows

    def _with_parents(self, tiles: Iterable[Tile]) -> list[Tile]:
        """Return the full tiles among `tiles` and above them, from the highest level down, each once."""
        found = set()
        for tile in tiles:
            while tile.width == TILE_WIDTH and tile not in found:
                found.add(tile)
                tile = tile_at(tile.level + 1, tile.index // TILE_WIDTH, self.tree_size)  # noqa: PLW2901
        return sorted(found, key=lambda tile: (-tile.level, tile.index))

    def _authenticated_edge(self) -> dict[Place, Rows]:
        if self._edge is None:
            tiles = edge_tiles(self.tree_size)
            fetched = self._fetch(tiles)
            hashes = [
                rows[node.level][node.index]
                for tile, rows in zip(tiles, fetched, strict=True)
                for node in range_nodes(Range(0, tile.width))
            ]
            found = fold(hashes) if hashes else EMPTY_ROOT
            if found != self.root_hash:
                raise TileMismatchError(
                    "the partial tiles do not fold to the checkpoint's root hash",
                    tile=" and ".join(tile.path for tile in tiles) or "the empty tree",
                    expected=self.root_hash.hex(),
                    found=found.hex(),
                )
            self._edge = {(tile.level, tile.index): rows for tile, rows in zip(tiles, fetched, strict=True)}
        return self._edge

    def _fetch(self, tiles: Sequence[Tile]) -> list[Rows]:
        """Return the rows of tiles from the source: of the right size, not yet authenticated."""
        fetched = []
        for tile, raw in zip(tiles, self._source.read_tiles(tiles) if tiles else (), strict=True):
            if len(raw) != tile.width * HASH_SIZE:
                raise TileMismatchError(
                    "the tile has the wrong size",
                    tile=tile.path,
                    expected=f"{tile.width * HASH_SIZE} bytes",
                    found=f"{len(raw)} bytes",
                )
            fetched.append(tile_rows(split_hashes(raw)))
        return fetched


def tile_rows(hashes: list[bytes]) -> Rows:
    """Return the rows over 1 to 256 hashes; a row holds the complete parents. Cost: at most 255 SHA-256 calls."""
    rows = [hashes]
    while len(row := rows[-1]) > 1:
        rows.append(parent_row(row[: len(row) & ~1]))
    return rows
