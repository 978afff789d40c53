"""Merkle trees by the words of RFC 6962 section 2.1, slow and plain: the oracle for the fast code.

Nothing here uses the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from hashlib import sha256

EMPTY = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return MTH({d0}) = SHA-256(0x00 || d0)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def split(count: int) -> int:
    """Return k, the largest power of two smaller than `count` > 1."""
    k = 1
    while k * 2 < count:
        k *= 2
    return k


class NaiveTree:
    """MTH, PATH and PROOF over leaves D that a function gives. Hashes of ranges are remembered."""

    def __init__(self, leaf: Callable[[int], bytes], opened: Collection[int] | None = None) -> None:
        """leaf: returns the leaf hash at an index.

        opened: None for a real tree. Otherwise a tree too large to compute: a perfect subtree in which none of these
        leaves lies has a made-up hash of its own, all others are computed from their halves.
        """
        self._leaf = leaf
        self._opened = opened
        self._known: dict[tuple[int, int], bytes] = {}

    def mth(self, start: int, end: int) -> bytes:
        """Return MTH(D[start:end])."""
        if start == end:
            return EMPTY
        known = self._known.get((start, end))
        if known is None:
            known = self._known[start, end] = self._mth(start, end)
        return known

    def _mth(self, start: int, end: int) -> bytes:
        width = end - start
        is_perfect = width & (width - 1) == 0 and start % width == 0
        if self._opened is not None and is_perfect and not any(start <= index < end for index in self._opened):
            return sha256(f"made up {start} {end}".encode()).digest()
        if width == 1:
            return self._leaf(start)
        k = split(width)
        return node_hash(self.mth(start, start + k), self.mth(start + k, end))

    def root(self, size: int) -> bytes:
        """Return MTH(D[size])."""
        return self.mth(0, size)

    def path(self, m: int, start: int, end: int) -> list[bytes]:
        """Return PATH(m, D[start:end]), m counted from `start`. Source: RFC 6962 section 2.1.1."""
        n = end - start
        if n == 1:
            return []
        k = split(n)
        if m < k:
            return [*self.path(m, start, start + k), self.mth(start + k, end)]
        return [*self.path(m - k, start + k, end), self.mth(start, start + k)]

    def proof(self, m: int, n: int) -> list[bytes]:
        """Return PROOF(m, D[n]), 0 < m <= n. Source: RFC 6962 section 2.1.2."""
        return self.subproof(m, 0, n, whole=True)

    def subproof(self, m: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        """Return SUBPROOF(m, D[start:end], whole)."""
        n = end - start
        if m == n:
            return [] if whole else [self.mth(start, end)]
        k = split(n)
        if m <= k:
            return [*self.subproof(m, start, start + k, whole=whole), self.mth(start + k, end)]
        return [*self.subproof(m - k, start + k, end, whole=False), self.mth(start, start + k)]


def numbered_leaf(index: int) -> bytes:
    """Return the leaf hash of the leaf data `leaf <index>`."""
    return leaf_hash(b"leaf %d" % index)


class Pyramid:
    """All perfect subtrees over the first leaves of `numbered_leaf`: rows[h][i] = MTH(D[i*2^h:(i+1)*2^h])."""

    def __init__(self, size: int) -> None:
        self.rows = [[numbered_leaf(index) for index in range(size)]]
        while len(row := self.rows[-1]) > 1:
            self.rows.append([node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return the bytes of a tile: `width` hashes, each of a perfect subtree of 256^level leaves."""
        row = self.rows[8 * level]
        found = row[256 * index : 256 * index + width]
        if len(found) != width:
            raise AssertionError("the pyramid is smaller than the tile asked for")
        return b"".join(found)

    def tree(self) -> NaiveTree:
        """Return the naive tree over the same leaves; perfect subtrees are looked up."""
        return _PyramidTree(self)


class _PyramidTree(NaiveTree):
    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__(numbered_leaf)
        self._rows = pyramid.rows

    def _mth(self, start: int, end: int) -> bytes:
        width = end - start
        if width & (width - 1) == 0 and start % width == 0:
            return self._rows[width.bit_length() - 1][start // width]
        return super()._mth(start, end)
