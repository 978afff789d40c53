"""SHA-256 hashing of Merkle trees, one hash and in bulk.

Source: RFC 6962 section 2.1, RFC 9162 section 2.1.1. A leaf hash is SHA-256(0x00 || leaf data), an interior node is
SHA-256(0x01 || left || right); the two prefixes keep a leaf from ever passing for a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()

_LEAF_PREFIX = b"\x00"
_NODE_PREFIX = b"\x01"


def leaf_hash(leaf_data: bytes) -> bytes:
    """Return the 32-byte leaf hash of `leaf_data`."""
    return sha256(_LEAF_PREFIX + leaf_data).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """Return the leaf hash of each of `leaves`, in order. Cost: one SHA-256 call a leaf."""
    prefix, sha = _LEAF_PREFIX, sha256
    return [sha(prefix + leaf).digest() for leaf in leaves]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash of the interior node over two 32-byte hashes."""
    return sha256(_NODE_PREFIX + left + right).digest()


def parent_row(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the hashes one level up over an even number of sibling hashes."""
    if len(hashes) % 2:
        raise AssertionError("bad tree math: an odd number of siblings")
    prefix, sha, row = _NODE_PREFIX, sha256, iter(hashes)
    return [sha(prefix + left + right).digest() for left, right in zip(row, row, strict=True)]


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root of the perfect subtree over 2^k hashes, 2^k >= 1. Cost: 2^k - 1 SHA-256 calls."""
    row = list(hashes)
    while len(row) > 1:
        row = parent_row(row)
    return row[0]


def split_hashes(packed: bytes) -> list[bytes]:
    """Return the 32-byte hashes that stand one after another in `packed`, as in a tile."""
    return [packed[i : i + HASH_SIZE] for i in range(0, len(packed), HASH_SIZE)]
