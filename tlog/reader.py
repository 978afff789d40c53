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
from tlog.errors import TileMismatchError
from tlog.hashing import EMPTY_ROOT, HASH_SIZE, parent_row, split_hashes
from tlog.proof import build, plan_consistency, plan_inclusion, plan_nodes
from tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile, edge_tiles, place_of, tile_at
from tlog.tree import Node, Range, fold, range_nodes

DEFAULT_CACHE_TILES = 512
"""Tiles kept in memory, about 37 KiB each."""

Rows = list[list[bytes]]
"""The nodes of a tile: row 0 its own hashes, each further row the parents; a full tile's last row is its root."""


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
        self._edge: dict[Tile, Rows] | None = None

    def read_nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        """Return the hashes of `nodes`, every one authenticated.

        Raises: TileMismatchError naming the first tile that is not under the root hash, FormatError for a node that the
        tree has not, and what the source raises. Cost: one call of the source, and 255 SHA-256 calls for each full tile
        that was not in the cache.
        """
        places = [place_of(node, self.tree_size) for node in nodes]
        rows = self._read([place.tile for place in places])
        return [rows[place.tile][place.row][place.position] for place in places]

    def inclusion_proof(self, leaf_index: int) -> tuple[bytes, ...]:
        """Return the inclusion proof of a leaf. Raises: FormatError, and as `read_nodes`."""
        plan = plan_inclusion(leaf_index, self.tree_size)
        return build(plan, self.read_nodes(plan_nodes(plan)))

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
        return {tile: rows[0] for tile, rows in self._authenticated_edge().items()}

    def read_tile(self, tile: Tile) -> list[bytes]:
        """Return the hashes of a tile of this tree, authenticated. Raises: as `read_nodes`."""
        return self._read([tile])[tile][0]

    def leaf_hashes(self, tile_index: int) -> list[bytes]:
        """Return the leaf hashes of the level 0 tile at `tile_index`. Raises: as `read_nodes`."""
        return self.read_tile(tile_at(0, tile_index, self.tree_size))

    def _read(self, tiles: Iterable[Tile]) -> dict[Tile, Rows]:
        """Return the authenticated rows of `tiles` and of all tiles above them."""
        edge = self._authenticated_edge()
        wanted = self._with_parents(tiles)
        rows = dict(edge)
        missing = []
        for tile in wanted:
            cached = self._cache.get(tile)
            if cached is None:
                missing.append(tile)
            else:
                rows[tile] = cached
        fresh = dict(zip(missing, self._fetch(missing), strict=True))
        rows.update(fresh)
        for tile in wanted:
            parent = tile_at(tile.level + 1, tile.index // TILE_WIDTH, self.tree_size)
            expected = rows[parent][0][tile.index % TILE_WIDTH]
            if rows[tile][TILE_HEIGHT][0] != expected and tile not in fresh:
                fresh[tile] = rows[tile] = self._fetch([tile])[0]
            found = rows[tile][TILE_HEIGHT][0]
            if found != expected:
                raise TileMismatchError(
                    "the tile is not the one under the checkpoint",
                    tile=tile.path,
                    expected=expected.hex(),
                    found=found.hex(),
                )
        for tile in fresh:
            self._cache.put(tile, rows[tile])
        return rows

    def _with_parents(self, tiles: Iterable[Tile]) -> list[Tile]:
        """Return the full tiles among `tiles` and above them, from the highest level down, each once."""
        found = set()
        for tile in tiles:
            while tile.width == TILE_WIDTH and tile not in found:
                found.add(tile)
                tile = tile_at(tile.level + 1, tile.index // TILE_WIDTH, self.tree_size)  # noqa: PLW2901
        return sorted(found, key=lambda tile: (-tile.level, tile.index))

    def _authenticated_edge(self) -> dict[Tile, Rows]:
        if self._edge is None:
            tiles = edge_tiles(self.tree_size)
            edge = dict(zip(tiles, self._fetch(tiles), strict=True))
            hashes = [
                rows[node.level][node.index]
                for tile, rows in edge.items()
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
            self._edge = edge
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
