from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import naive
from tlog.hashing import split_hashes
from tlog.tile import Tile, edge_tiles, new_tiles
from tlog.tilebuilder import TileBuilder

SIZE = 66_400
PYRAMID = naive.Pyramid(SIZE)
TREE = PYRAMID.tree()
LEAVES = PYRAMID.rows[0]


def stored(tile: Tile) -> list[bytes]:
    """Return the hashes that a tile must have."""
    return split_hashes(PYRAMID.tile(*tile))


def grow(builder: TileBuilder, stop: int) -> dict[Tile, list[bytes]]:
    """Add leaves up to `stop`, as many at once as the tile has room for; return the completed tiles."""
    found: dict[Tile, list[bytes]] = {}
    while builder.tree_size < stop:
        start = builder.tree_size
        found |= dict(builder.add(LEAVES[start : min(start - start % 256 + 256, stop)]))
    return found


def test_growing_to_many_right_edge_tiles() -> None:
    """At 66,311 leaves, three levels deep, every tile completed on the way and the edge are the naive ones."""
    builder = TileBuilder()
    tiles = grow(builder, 66_311) | dict(builder.partial_tiles())
    assert set(tiles) == set(new_tiles(0, 66_311))
    assert all(hashes == stored(tile) for tile, hashes in tiles.items())
    assert builder.root() == TREE.root(66_311)


def test_all_small_sizes() -> None:
    """Leaf by leaf to 600, partial tiles and root are the naive ones at every size."""
    builder = TileBuilder()
    for size in range(601):
        assert builder.root() == TREE.root(size)
        assert builder.partial_tiles() == [(tile, stored(tile)) for tile in edge_tiles(size)]
        assert builder.add(LEAVES[size : size + 1]) == (
            [(Tile(0, size // 256), stored(Tile(0, size // 256)))] if size % 256 == 255 else []
        )


@given(st.integers(0, 66_000), st.integers(0, 900))
def test_going_on_from_any_size(size: int, more: int) -> None:
    """A builder that starts at the edge of a tree goes on as one that never stopped."""
    stop = min(size + more, SIZE)
    edge = {tile: stored(tile) for tile in edge_tiles(size)}
    builder = TileBuilder(size, edge)
    assert builder.root() == TREE.root(size)
    tiles = grow(builder, stop) | dict(builder.partial_tiles())
    assert builder.root() == TREE.root(stop)
    assert set(new_tiles(size, stop)) <= set(tiles)
    assert all(hashes == stored(tile) for tile, hashes in tiles.items())
    assert edge == {tile: stored(tile) for tile in edge_tiles(size)}


def test_completing_level_one_and_two_at_once() -> None:
    """The leaf that makes 65,536 completes a level 0 and a level 1 tile and starts level 2."""
    builder = TileBuilder(65_535, {tile: stored(tile) for tile in edge_tiles(65_535)})
    completed = builder.add(LEAVES[65_535:65_536])
    assert [tile for tile, _ in completed] == [Tile(0, 255), Tile(1, 0)]
    assert builder.partial_tiles() == [(Tile(2, 0, 1), [TREE.root(65_536)])]


def test_misuse_is_a_broken_invariant() -> None:
    """More leaves than a tile has room for, or an edge of another size, never make a tree."""
    with pytest.raises(AssertionError, match="room"):
        TileBuilder().add(LEAVES[:257])
    builder = TileBuilder()
    builder.add(LEAVES[:200])
    with pytest.raises(AssertionError, match="room"):
        builder.add(LEAVES[200:257])
    with pytest.raises(AssertionError, match="edge"):
        TileBuilder(3, {Tile(0, 0, 3): LEAVES[:2]})
    with pytest.raises(AssertionError, match="edge"):
        TileBuilder(3)
