"""Subtrees of a log's tree, and the proof that a tree holds one: the pieces that a mirror checks one at a time.

A subtree [start, end) begins at a multiple of the smallest power of two that is not less than its width, so its nodes
are nodes of every tree that holds it, but for the right edge. With start 0 the proofs here are those of `tlog.proof`.
Source: draft-ietf-plants-merkle-tree-certs-03 sections 4.1 and 4.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlog._strict import MAX_UINT64, require_int
from tlog.errors import FormatError, ProofError
from tlog.hashing import HASH_SIZE, node_hash
from tlog.tree import Range, split_point


def check_subtree(start: int, end: int, tree_size: int) -> None:
    """Check that [start, end) is a subtree, not empty, of a tree of `tree_size` leaves. Raises: FormatError."""
    require_int(tree_size, "tree size", 1, MAX_UINT64)
    require_int(end, "subtree end", 1, tree_size)
    require_int(start, "subtree start", 0, end - 1)
    ceiling = 1 << (end - start - 1).bit_length()
    if start % ceiling:
        raise FormatError("subtree", f"{end - start} leaves begin at a multiple of {ceiling}, not at {start}")


def plan_subtree_consistency(start: int, end: int, tree_size: int) -> list[Range]:
    """Return the ranges whose hashes prove that a tree holds the subtree [start, end), in the proof's order.

    Raises: FormatError. Cost: at most 64 ranges. Source: section 4.4.1 of the draft.
    """
    check_subtree(start, end, tree_size)
    return list(_plan(start, end, Range(0, tree_size), is_known=True))


def root_from_subtree(start: int, end: int, tree_size: int, subtree_root: bytes, hashes: Sequence[bytes]) -> bytes:
    """Return the root hash of the tree to which the proof leads, 32 bytes, having found the subtree's in it.

    subtree_root: of [start, end). hashes: the proof, at most 64. The root proves nothing until it is compared with a
    signed one. Raises: FormatError; ProofError where the proof has too many or too few hashes, or leads to another
    subtree. Cost: two SHA-256 calls a hash. Source: section 4.4.3 of the draft.
    """
    plan = plan_subtree_consistency(start, end, tree_size)
    if len(plan) != len(hashes):
        raise ProofError(f"the subtree's proof has {len(hashes)} hashes, where {len(plan)} lead to the root")
    if any(len(value) != HASH_SIZE for value in (subtree_root, *hashes)):
        raise FormatError("subtree proof", f"a hash is not {HASH_SIZE} bytes")
    found, root = _fold(start, end, tree_size, (subtree_root, iter(hashes)), is_known=True)
    if found != subtree_root:
        raise ProofError(
            f"the proof does not lead to the subtree [{start}, {end})", expected=subtree_root.hex(), found=found.hex()
        )
    return root


def verify_subtree(
    span: tuple[int, int], tree_size: int, subtree_root: bytes, root_hash: bytes, hashes: Sequence[bytes]
) -> None:
    """Check that the subtree `span` with `subtree_root` is in the tree of `tree_size` leaves with `root_hash`.

    Raises: FormatError, ProofError. Cost: two SHA-256 calls a hash.
    """
    root = root_from_subtree(*span, tree_size, subtree_root, hashes)
    if root != root_hash:
        raise ProofError(
            f"the proof of the subtree [{span[0]}, {span[1]}) does not lead to the root of size {tree_size}",
            expected=root_hash.hex(),
            found=root.hex(),
        )


def _plan(start: int, end: int, within: Range, *, is_known: bool) -> Iterator[Range]:
    """Yield SUBTREE_SUBPROOF of the draft. start, end: from the tree's first leaf. is_known: its argument b."""
    if (start, end) == (within.start, within.end):
        if not is_known:
            yield within
        return
    middle = within.start + split_point(within.end - within.start)
    left, right = Range(within.start, middle), Range(middle, within.end)
    if end <= middle:
        yield from _plan(start, end, left, is_known=is_known)
        yield right
    elif middle <= start:
        yield from _plan(start, end, right, is_known=is_known)
        yield left
    else:
        yield from _plan(middle, end, right, is_known=False)
        yield left


def _fold(
    start: int, end: int, size: int, given: tuple[bytes, Iterator[bytes]], *, is_known: bool
) -> tuple[bytes, bytes]:
    """Return the roots of the subtree and of the tree, from the proof's hashes in their order."""
    subtree_root, hashes = given
    if (start, end) == (0, size):
        found = subtree_root if is_known else next(hashes)
        return found, found
    middle = split_point(size)
    if end <= middle:
        found, root = _fold(start, end, middle, given, is_known=is_known)
        return found, node_hash(root, next(hashes))
    if middle <= start:
        found, root = _fold(start - middle, end - middle, size - middle, given, is_known=is_known)
        return found, node_hash(next(hashes), root)
    found, root = _fold(0, end - middle, size - middle, given, is_known=False)
    left = next(hashes)
    return node_hash(left, found), node_hash(left, root)
