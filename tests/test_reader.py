from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests import naive
from tlog.errors import FormatError, NotFoundError, TileMismatchError
from tlog.reader import TileCache, TileReader
from tlog.tile import Tile, new_tiles
from tlog.tree import Node

PYRAMID = naive.Pyramid(66_400)
TREE = PYRAMID.tree()

# 66,311 = 65,536 + 3 * 256 + 7: three partial tiles make its right edge; 65,536 and 256 have one, of one hash.
SIZES = [1, 2, 3, 7, 255, 256, 257, 300, 511, 512, 513, 775, 1_023, 4_095, 65_535, 65_536, 65_537, 66_311]


class Source:
    """Tiles of the pyramid, some altered; notes which were read."""

    def __init__(self) -> None:
        self.read: list[Tile] = []
        self.altered: dict[Tile, bytes] = {}
        self.calls = 0

    def read_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
        """Return tiles, altered where that was asked for."""
        self.calls += 1
        self.read += tiles
        return [self.altered.get(tile, PYRAMID.tile(*tile)) for tile in tiles]


Question = Callable[[TileReader], object]


def questions(size: int) -> dict[str, tuple[Question, object]]:
    """Return what is asked of a tree of `size`, each with the naive answer."""
    places = sorted({0, size // 2, size - 1, max(size - 2, 0), min(255, size - 1), min(256, size - 1), size * 2 // 3})
    found: dict[str, tuple[Question, object]] = {}
    for at in places:
        found[f"inclusion {at}"] = (
            lambda reader, at=at: reader.inclusion_proof(at),  # type: ignore[misc]
            tuple(TREE.path(at, 0, size)),
        )
        found[f"consistency {at + 1}"] = (
            lambda reader, at=at: reader.consistency_proof(at + 1),  # type: ignore[misc]
            tuple(TREE.proof(at + 1, size)),
        )
        found[f"root {at + 1}"] = (
            lambda reader, at=at: reader.root_at(at + 1),  # type: ignore[misc]
            TREE.root(at + 1),
        )
    found["leaf hashes"] = (lambda reader: reader.leaf_hashes(0), PYRAMID.rows[0][: min(256, size)])
    return found


@pytest.mark.parametrize("size", SIZES)
def test_answers_are_the_naive_ones(size: int) -> None:
    """Proofs, roots and tiles that the reader finds in authenticated tiles are those of the RFC."""
    cache = TileCache()
    for ask, expected in questions(size).values():
        source = Source()
        assert ask(TileReader(source, size, TREE.root(size), cache)) == expected
        assert source.calls <= 2  # the right edge, and all the rest in one batch


@pytest.mark.parametrize("size", SIZES)
def test_tampering_with_each_tile(size: int) -> None:
    """S3: whichever tile an answer reads, with any bit of it altered nothing is answered and nothing is kept.

    golang.org/issue/80744: where several right-edge hashes share a tile, a tile went unchecked.
    """
    rng = random.Random(size)
    root = TREE.root(size)
    for ask, expected in questions(size).values():
        source = Source()
        ask(TileReader(source, size, root))
        tiles = source.read
        assert tiles
        assert len(set(tiles)) == len(tiles)
        for tile in tiles:
            raw = PYRAMID.tile(*tile)
            for bit in {0, len(raw) * 8 - 1, rng.randrange(len(raw) * 8)}:
                source, cache = Source(), TileCache()
                source.altered[tile] = raw[: bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1 :]
                reader = TileReader(source, size, root, cache)
                with pytest.raises(TileMismatchError) as caught:
                    ask(reader)
                assert tile.path in caught.value.tile
                source.altered.clear()
                assert ask(reader) == expected
                assert ask(TileReader(source, size, root, cache)) == expected


@pytest.mark.parametrize("size", [7, 300, 65_537, 66_311])
def test_tiles_of_the_wrong_length(size: int) -> None:
    """A tile that is cut, empty, or has something behind it, is refused."""
    for ask, _ in questions(size).values():
        source = Source()
        ask(TileReader(source, size, TREE.root(size)))
        for tile in source.read:
            raw = PYRAMID.tile(*tile)
            for other in (b"", raw[:-1], raw[:-32], raw + bytes(32), raw + b"\0"):
                altered = Source()
                altered.altered[tile] = other
                with pytest.raises(TileMismatchError, match="wrong size"):
                    ask(TileReader(altered, size, TREE.root(size)))


@pytest.mark.parametrize("size", [256, 300, 66_311])
def test_exchanged_tiles(size: int) -> None:
    """A genuine tile at another tile's place is refused."""
    tiles = list(new_tiles(0, size))
    by_width: dict[int, list[Tile]] = {}
    for tile in tiles:
        by_width.setdefault(tile.width, []).append(tile)
    if 256 in by_width and len(by_width[256]) > 1:
        first, second = by_width[256][0], by_width[256][-1]
        source = Source()
        source.altered = {first: PYRAMID.tile(*second), second: PYRAMID.tile(*first)}
        with pytest.raises(TileMismatchError):
            TileReader(source, size, TREE.root(size)).inclusion_proof(0)
    source = Source()
    with pytest.raises(TileMismatchError):
        TileReader(source, size, TREE.root(size - 1)).inclusion_proof(0)


def test_altered_together_with_its_parent() -> None:
    """A tile that was altered consistently with its parents, up to but not including the root, is refused."""
    size = 300
    forged = b"".join([naive.leaf_hash(b"forged"), PYRAMID.tile(0, 0, 256)[32:]])
    row = [forged[i : i + 32] for i in range(0, len(forged), 32)]
    while len(row) > 1:
        row = [naive.node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    source = Source()
    source.altered = {Tile(0, 0): forged, Tile(1, 0, 1): row[0]}
    with pytest.raises(TileMismatchError, match="do not fold"):
        TileReader(source, size, TREE.root(size)).inclusion_proof(0)


def test_a_poisoned_cache_is_not_believed() -> None:
    """A cache that was filled under another root is compared again, and the tile is read anew."""
    other = naive.Pyramid(512)
    other.rows[0][0] = naive.leaf_hash(b"another log")
    cache = TileCache()
    rows = [[naive.leaf_hash(b"%d" % i) for i in range(256)]]
    while len(rows[-1]) > 1:
        rows.append([naive.node_hash(rows[-1][i], rows[-1][i + 1]) for i in range(0, len(rows[-1]), 2)])
    cache.put(Tile(0, 0), rows)
    reader = TileReader(Source(), 300, TREE.root(300), cache)
    assert reader.inclusion_proof(0) == tuple(TREE.path(0, 0, 300))


def test_one_cache_serves_several_sizes() -> None:
    """Readers of growing trees share full tiles, and each answers for its own tree."""
    cache = TileCache(4)
    for size in (255, 256, 300, 512, 775, 1_023, 65_536, 66_311):
        reader = TileReader(Source(), size, TREE.root(size), cache)
        for old in range(1, size, size // 7 + 1):
            assert reader.consistency_proof(old) == tuple(TREE.proof(old, size))
            assert reader.inclusion_proof(old) == tuple(TREE.path(old, 0, size))


def test_cached_tiles_are_not_read_again() -> None:
    """A full tile that was authenticated is served from memory."""
    source = Source()
    reader = TileReader(source, 66_311, TREE.root(66_311))
    reader.inclusion_proof(5)
    before = len(source.read)
    reader.inclusion_proof(9)
    assert len(source.read) == before


def test_the_cache_is_bounded() -> None:
    """The least recently used tiles are dropped."""
    cache = TileCache(2)
    for index in (0, 1, 0, 2):
        if cache.get(Tile(0, index)) is None:
            cache.put(Tile(0, index), [[bytes([index])]])
    assert cache.get(Tile(0, 0)) is not None
    assert cache.get(Tile(0, 1)) is None
    assert cache.get(Tile(0, 2)) is not None


def test_empty_tree() -> None:
    """The empty tree has one root hash and nothing to read."""
    source = Source()
    reader = TileReader(source, 0, naive.EMPTY)
    assert reader.root_at(0) == naive.EMPTY
    assert reader.edge() == {}
    assert source.read == []
    with pytest.raises(FormatError):
        reader.inclusion_proof(0)
    with pytest.raises(TileMismatchError):
        TileReader(source, 0, bytes(32)).edge()


@pytest.mark.parametrize("number", [-1, 301, 2**64, 2**200, True, 1.0, "1", None], ids=repr)
def test_hostile_numbers(number: Any) -> None:
    """S7: sizes and indexes outside the tree, or of another type, are refused."""
    reader = TileReader(Source(), 300, TREE.root(300))
    for ask in (reader.inclusion_proof, reader.consistency_proof, reader.root_at):
        with pytest.raises(FormatError):
            ask(number)


@pytest.mark.parametrize("node", [Node(0, 300), Node(0, -1), Node(1, 150), Node(8, 1), Node(9, 0), Node(64, 0)])
def test_nodes_that_the_tree_has_not(node: Node) -> None:
    """A node outside the tree, also left of it, is refused before anything is read for it."""
    source = Source()
    with pytest.raises(FormatError):
        TileReader(source, 300, TREE.root(300)).read_nodes([node])
    assert source.read == []


def test_missing_tiles() -> None:
    """What the source raises comes through: a tile that is not there is not an answer."""

    class Empty:
        def read_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
            raise NotFoundError(f"{tiles[0].path}: gone")

    with pytest.raises(NotFoundError, match="gone"):
        TileReader(Empty(), 300, TREE.root(300)).inclusion_proof(0)
