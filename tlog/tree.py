"""The shape of RFC 6962 Merkle trees: which perfect subtrees make up a range of leaves, and how they fold.

A `Node` at level h and index i is the root of the perfect subtree over the leaves [i * 2^h, (i + 1) * 2^h); level 0
are the leaf hashes. Every hash that a proof needs is a fold of such nodes, and only such nodes are ever stored.

Source: RFC 6962 section 2.1, RFC 9162 section 2.1.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tlog.hashing import EMPTY_ROOT, node_hash


class Node(NamedTuple):
    """The root of a perfect subtree. level: 0 <= level < 64, 0 are leaves. index: zero-based within the level."""

    level: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no node needs


class Range(NamedTuple):
    """The leaves [start, end), 0 <= start < end."""

    start: int
    end: int


def split_point(width: int) -> int:
    """Return how many of `width` >= 2 leaves lie left of the root: the largest power of two below."""
    return 1 << (width - 1).bit_length() - 1


def range_nodes(span: Range) -> list[Node]:
    """Return the perfect subtrees that make up the leaves [start, end), left to right, each as large as it can be.

    The range must be one that occurs in a tree: start is a multiple of the largest power of two <= end - start.
    Cost: at most 64 nodes.
    """
    start, end = span
    width = end - start
    if width > 0 and width & (width - 1) == start & (width - 1) == 0:  # a perfect subtree, as most are
        return [Node(width.bit_length() - 1, start // width)]
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start & ((1 << level) - 1):
            raise AssertionError(f"bad tree math: {span} is no subtree")
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return nodes


def edge_nodes(tree_size: int) -> list[Node]:
    """Return the nodes of the right edge of a tree of `tree_size` leaves, left to right; none for size 0."""
    return range_nodes(Range(0, tree_size))


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the hash of the subtree whose maximal perfect subtrees, left to right, have these hashes (at least one).

    Cost: one SHA-256 call less than there are hashes.
    """
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


class RightEdge:
    """The right edge (compact range) of a growing tree: its size and at most 64 hashes, enough to append and to root.

    Source: RFC 9162 section 2.1.2 (verifying a tree root given the entries).
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        """size: number of leaves. hashes: those of `edge_nodes(size)`, in that order."""
        self._size = size
        self._hashes = list(hashes)
        if len(self._hashes) != size.bit_count():
            raise AssertionError("bad tree math: a right edge has one hash for each one bit of its size")

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The hashes of `edge_nodes(size)`."""
        return tuple(self._hashes)

    def append(self, subtree_hash: bytes, level: int = 0) -> None:
        """Add the perfect subtree of 2^level leaves on the right; the size must be a multiple of 2^level.

        Cost: amortised one SHA-256 call.
        """
        if self._size & ((1 << level) - 1):
            raise AssertionError("bad tree math: subtree does not fit the right edge")
        carry = self._size >> level
        while carry & 1:
            subtree_hash = node_hash(self._hashes.pop(), subtree_hash)
            carry >>= 1
        self._hashes.append(subtree_hash)
        self._size += 1 << level

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        """Add leaves on the right."""
        for leaf in leaf_hashes:
            self.append(leaf)

    def root(self) -> bytes:
        """Return the root hash: SHA-256 of nothing for size 0. Cost: at most 63 SHA-256 calls."""
        return fold(self._hashes) if self._hashes else EMPTY_ROOT
