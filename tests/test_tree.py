from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import naive
from tlog.hashing import EMPTY_ROOT, leaf_hash, leaf_hashes, node_hash, parent_row, perfect_root, split_hashes
from tlog.tree import Range, RightEdge, edge_nodes, fold, range_nodes

TREE = naive.NaiveTree(naive.numbered_leaf)

# The classic Certificate Transparency test leaves, and the roots of the trees over the first 1 to 8 of them.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_hasher_vectors() -> None:
    """The hashes of transparency-dev/merkle's and golang/mod's own tests come out."""
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == CT_ROOTS[0]
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    assert leaf_hash(b"hello world").hex() == "4eccf34608d31bac5c7becf6006df59005d828181056d092084e341e6bb005bd"


@pytest.mark.parametrize("size", range(1, 9))
def test_certificate_transparency_roots(size: int) -> None:
    """The published roots of the trees over the 8 test leaves come out, in both ways of computing them."""
    edge = RightEdge()
    edge.extend(leaf_hashes(CT_LEAVES[:size]))
    assert edge.root().hex() == CT_ROOTS[size - 1]
    assert fold(edge.hashes).hex() == CT_ROOTS[size - 1]
    assert naive.NaiveTree(lambda index: naive.leaf_hash(CT_LEAVES[index])).root(size).hex() == CT_ROOTS[size - 1]


def test_right_edge_of_all_small_sizes() -> None:
    """Growing leaf by leaf, the right edge has the naive root and the naive perfect subtrees at every size to 300."""
    edge = RightEdge()
    for size in range(301):
        assert edge.size == size
        assert edge.root() == TREE.root(size)
        nodes = edge_nodes(size)
        assert list(edge.hashes) == [TREE.mth(i << h, (i + 1) << h) for h, i in nodes]
        assert RightEdge(size, edge.hashes).root() == TREE.root(size)
        edge.append(naive.numbered_leaf(size))


@given(st.lists(st.integers(0, 6), max_size=40))
def test_right_edge_takes_perfect_subtrees(levels: list[int]) -> None:
    """Adding perfect subtrees wherever they fit gives the root that adding their leaves gives."""
    edge = RightEdge()
    for level in levels:
        size = edge.size
        if size & ((1 << level) - 1):
            with pytest.raises(AssertionError, match="bad tree math"):
                edge.append(b"", level)
        else:
            edge.append(TREE.mth(size, size + (1 << level)), level)
    assert edge.root() == TREE.root(edge.size)


def test_range_nodes_of_all_small_subtrees() -> None:
    """The nodes of a range are perfect, aligned, as large as can be, and cover it without gap or overlap."""
    for start in range(130):
        limit = start & -start if start else 300
        for end in range(start + 1, start + limit + 1):
            position = start
            nodes = range_nodes(Range(start, end))
            for level, index in nodes:
                assert index << level == position
                position += 1 << level
            assert position == end
            assert [level for level, _ in nodes] == sorted({level for level, _ in nodes}, reverse=True)


@given(st.integers(0, 2**64 - 1))
def test_edge_nodes_of_giants(size: int) -> None:
    """A tree has one edge node for each one bit of its size, largest first, ending where the tree ends."""
    nodes = edge_nodes(size)
    assert sum(1 << level for level, _ in nodes) == size
    assert len(nodes) == size.bit_count()
    assert all(index << level == size >> (level + 1) << (level + 1) for level, index in nodes)


def test_ranges_that_are_no_subtree() -> None:
    """A range that occurs in no tree is a broken invariant, and so is a right edge of the wrong length."""
    with pytest.raises(AssertionError, match="no subtree"):
        range_nodes(Range(3, 8))
    with pytest.raises(AssertionError, match="bad tree math"):
        RightEdge(3, [bytes(32)])
    with pytest.raises(AssertionError, match="odd number"):
        parent_row([bytes(32)] * 3)


@pytest.mark.parametrize("level", range(9))
def test_perfect_root(level: int) -> None:
    """The root over 2^k hashes is the naive one, and packed hashes come apart again."""
    hashes = [naive.numbered_leaf(index) for index in range(1 << level)]
    assert perfect_root(hashes) == TREE.mth(0, 1 << level)
    assert split_hashes(b"".join(hashes)) == hashes


def test_second_preimages() -> None:
    """S6: a leaf made of two hashes is no node, and a doubled last leaf makes another tree (CVE-2012-2459)."""
    a, b, c = (leaf_hash(data) for data in (b"a", b"b", b"c"))
    assert leaf_hash(a + b) != node_hash(a, b)
    three, four = RightEdge(), RightEdge()
    three.extend([a, b, c])
    four.extend([a, b, c, c])
    assert three.root() != four.root()
