"""What mutation testing found untested in trees, tiles and proofs.

The very edges of the numbers, which argument an error names, and what only the upper layers call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.test_reader import PYRAMID, TREE, Source
from tlog.errors import FormatError, ProofError
from tlog.hashing import split_hashes
from tlog.proof import (
    plan_consistency,
    plan_inclusion,
    root_from_inclusion,
    roots_from_consistency,
    verify_consistency,
    verify_inclusion,
)
from tlog.reader import TileCache, TileReader, tile_rows
from tlog.tile import Tile, edge_tiles
from tlog.tilebuilder import TileBuilder
from tlog.tree import Node, Range, range_nodes

ROOT = bytes(32)
OTHER = b"\x01" * 32
LARGEST = 2**64 - 1

REFUSED: dict[str, tuple[Callable[[], object], str, str]] = {
    "plan_inclusion, size 0": (lambda: plan_inclusion(0, 0), "tree size", "0 is outside 1 to"),
    "plan_inclusion, no number": (lambda: plan_inclusion(0, True), "tree size", "bool given"),
    "plan_inclusion, index = size": (lambda: plan_inclusion(5, 5), "leaf index", "5 is outside 0 to 4"),
    "plan_inclusion, index = size + 1": (lambda: plan_inclusion(6, 5), "leaf index", "6 is outside 0 to 4"),
    "plan_consistency, new size": (lambda: plan_consistency(0, -1), "new tree size", "-1 is outside 0 to"),
    "plan_consistency, old > new": (lambda: plan_consistency(6, 5), "old tree size", "6 is outside 0 to 5"),
    "root, size 0": (lambda: root_from_inclusion(ROOT, 0, 0, ()), "tree size", "0 is outside 1 to"),
    "root, size 2^64": (lambda: root_from_inclusion(ROOT, 0, 2**64, ()), "tree size", f"outside 1 to {LARGEST}"),
    "root, index = size": (lambda: verify_inclusion(ROOT, 5, 5, ROOT, ()), "leaf index", "5 is outside 0 to 4"),
    "roots, new size": (lambda: roots_from_consistency(1, 1, ROOT, ()), "new tree size", "1 is outside 2 to"),
    "roots, old = new": (lambda: roots_from_consistency(4, 4, ROOT, ()), "old tree size", "4 is outside 1 to 3"),
    "roots, old = new + 1": (lambda: roots_from_consistency(5, 4, ROOT, ()), "old tree size", "5 is outside 1 to 3"),
    "verify, new size": (lambda: verify_consistency(0, 0, ROOT, ROOT, ()), "new tree size", "0 is outside 1 to"),
    "verify, old > new": (lambda: verify_consistency(5, 4, ROOT, ROOT, ()), "old tree size", "5 is outside 1 to 4"),
}


@pytest.mark.parametrize(("call", "what", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_numbers_are_named(call: Callable[[], object], what: str, reason: str) -> None:
    """The error names the argument that is out of range, and its range."""
    with pytest.raises(FormatError) as caught:
        call()
    assert caught.value.what == what
    assert reason in caught.value.reason


def test_empty_trees_need_no_proof() -> None:
    """Between two empty trees, and from the empty one to any, there is nothing to prove."""
    assert plan_consistency(0, 0) == plan_consistency(0, 7) == []


def test_consistency_error_names_the_root_that_is_wrong() -> None:
    """The error of a consistency proof says whether it misses the old root or the new one."""
    old, new = roots_from_consistency(3, 5, ROOT, (ROOT, OTHER, ROOT, OTHER))
    for roots, named in (
        ((OTHER, new), "does not lead to the old root"),
        ((old, OTHER), "does not lead to the new root"),
    ):
        with pytest.raises(ProofError, match=named):
            verify_consistency(3, 5, *roots, (ROOT, OTHER, ROOT, OTHER))


@pytest.mark.parametrize("size", [1, 256, 300, 66_311])
def test_reader_returns_many_proofs_and_the_edge(size: int) -> None:
    """Proofs in one batch are the naive ones, and so are the partial tiles; the tiles are read once for all of them."""
    source = Source()
    reader = TileReader(source, size, TREE.root(size))
    indexes = sorted({0, size - 1, size // 2, min(255, size - 1), size - 1})
    assert reader.inclusion_proofs([]) == []
    assert reader.inclusion_proofs(indexes) == [tuple(TREE.path(index, 0, size)) for index in indexes]
    assert len(source.read) == len(set(source.read))
    edge = {tile: split_hashes(PYRAMID.tile(*tile)) for tile in edge_tiles(size)}
    assert list(reader.edge().items()) == list(edge.items())


def test_reader_refuses_one_bad_index_of_many() -> None:
    """One leaf index that the tree has not spoils the batch, before any tile is read."""
    source = Source()
    with pytest.raises(FormatError, match="leaf index: 300 is outside 0 to 299"):
        TileReader(source, 300, TREE.root(300)).inclusion_proofs([0, 300])
    assert not source.read


def test_builder_takes_whole_tiles_by_their_roots() -> None:
    """A builder that is given only the roots of full tiles makes the tiles above them, and the same root hash."""
    builder, roots = TileBuilder(), PYRAMID.rows[8]
    above = [(number + 1, builder.add_tile(root)) for number, root in enumerate(roots[:258])]
    assert [(count, completed) for count, completed in above if completed] == [
        (256, [(Tile(1, 0), split_hashes(PYRAMID.tile(1, 0, 256)))])
    ]
    assert builder.tree_size == 258 * 256
    assert builder.root() == TREE.root(258 * 256)
    builder.add(PYRAMID.rows[0][258 * 256 : 258 * 256 + 3])
    assert builder.root() == TREE.root(258 * 256 + 3)


def test_builder_takes_no_whole_tile_within_another() -> None:
    """A tile's root fits only where a tile begins."""
    builder = TileBuilder()
    builder.add(PYRAMID.rows[0][:1])
    with pytest.raises(AssertionError, match="bad tree math"):
        builder.add_tile(PYRAMID.rows[8][0])


def test_readers_share_a_cache() -> None:
    """What one reader has authenticated another one with the same cache does not read again."""
    cache, first, second = TileCache(), Source(), Source()
    TileReader(first, 600, TREE.root(600), cache).leaf_hashes(0)
    TileReader(second, 600, TREE.root(600), cache).leaf_hashes(0)
    assert Tile(0, 0) in first.read
    assert Tile(0, 0) not in second.read


def test_the_empty_tree_is_not_read() -> None:
    """A reader of the empty tree has nothing to ask for."""
    source = Source()
    reader = TileReader(source, 0, TREE.root(0))
    assert (reader.edge(), reader.read_nodes([]), source.calls) == ({}, [], 0)


@pytest.mark.parametrize("size", [301, 2**200])
def test_no_root_of_a_larger_tree(size: int) -> None:
    """A reader knows no root of a tree that is larger than its own."""
    with pytest.raises(FormatError) as caught:
        TileReader(Source(), 300, TREE.root(300)).root_at(size)
    assert caught.value.what == "tree size"


@pytest.mark.parametrize("node", [Node(-1, 0), Node(0, -1), Node(-1, -1), Node(8, 1), Node(0, 300)])
def test_nodes_outside_the_tree_are_named(node: Node) -> None:
    """A node that the tree has not is refused as such, before a tile is looked for."""
    with pytest.raises(FormatError) as caught:
        TileReader(Source(), 300, TREE.root(300)).read_nodes([Node(0, 0), node])
    assert caught.value.what == "node"


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("call", [1, 2])
def test_a_source_that_returns_another_number_of_tiles(by: int, call: int) -> None:
    """A source that breaks its contract is a bug, and is not answered around: not for the edge, not for the rest."""

    class Miscounting(Source):
        """Returns a tile too many or too few, once."""

        def read_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
            """Return tiles."""
            found = super().read_tiles(tiles)
            return found if self.calls != call else found[:by] if by < 0 else found * 2

    with pytest.raises(ValueError, match=r"zip\(\)"):
        TileReader(Miscounting(), 66_311, TREE.root(66_311)).leaf_hashes(0)


def test_rows_end_with_the_last_parent() -> None:
    """The rows over some hashes are those that have a node, and no empty one."""
    hashes = PYRAMID.rows[0][:5]
    assert [len(row) for row in tile_rows(hashes)] == [5, 2, 1]
    assert tile_rows(hashes[:1]) == [hashes[:1]]


def test_all_small_ranges() -> None:
    """A range that begins at a multiple of the largest power of two in it is cut into nodes; any other is refused."""
    for start in range(40):
        for end in range(start + 1, start + 40):
            if start % (1 << (end - start).bit_length() - 1):
                with pytest.raises(AssertionError, match="no subtree"):
                    range_nodes(Range(start, end))
            else:
                spans = [(index << level, (index + 1) << level) for level, index in range_nodes(Range(start, end))]
                assert [start, *(stop for _, stop in spans)] == [*(begin for begin, _ in spans), end]
