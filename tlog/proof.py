"""Inclusion and consistency proofs: plan the nodes, read them once, fold; and verify from index and sizes alone.

Building a proof takes three steps that never mix: `plan_*` says which ranges of leaves the proof's hashes stand for,
`plan_nodes` which stored nodes those are (to be read in one batch), `build` folds what was read and insists that
nothing is left over. Verifying takes no plan from anybody: the path follows from the leaf index and the tree sizes.

Source: RFC 6962 sections 2.1.1 and 2.1.2, RFC 9162 sections 2.1.3 and 2.1.4.
"""

from __future__ import annotations

from collections.abc import Sequence

from tlog._strict import MAX_UINT64, require_int
from tlog.errors import ProofError
from tlog.hashing import HASH_SIZE, node_hash
from tlog.tree import Node, Range, fold, range_nodes, split_point


def plan_inclusion(leaf_index: int, tree_size: int) -> list[Range]:
    """Return the ranges whose subtree hashes make up the inclusion proof, from the leaf's sibling to the root's child.

    leaf_index: zero-based, 0 <= leaf_index < tree_size. Cost: at most 64 ranges.
    Raises: FormatError for other numbers. Source: RFC 6962 section 2.1.1 (PATH).
    """
    require_int(tree_size, "tree size", 1)
    require_int(leaf_index, "leaf index", 0, tree_size - 1)
    plan = []
    start, end = 0, tree_size
    while end - start > 1:
        middle = start + split_point(end - start)
        if leaf_index < middle:
            plan.append(Range(middle, end))
            end = middle
        else:
            plan.append(Range(start, middle))
            start = middle
    plan.reverse()
    return plan


def plan_consistency(old_size: int, new_size: int) -> list[Range]:
    """Return the ranges whose subtree hashes make up the consistency proof between two tree sizes, in proof order.

    0 <= old_size <= new_size; empty where old_size is 0 or both are equal. Cost: at most 65 ranges.
    Raises: FormatError for other numbers. Source: RFC 6962 section 2.1.2 (PROOF, SUBPROOF).
    """
    require_int(new_size, "new tree size", 0)
    require_int(old_size, "old tree size", 0, new_size)
    if old_size in (0, new_size):
        return []
    plan = []
    start, end = 0, new_size
    while old_size != end:
        middle = start + split_point(end - start)
        if old_size <= middle:
            plan.append(Range(middle, end))
            end = middle
        else:
            plan.append(Range(start, middle))
            start = middle
    if start:  # the old tree is not itself a node of the new one, so its last part must be given
        plan.append(Range(start, end))
    plan.reverse()
    return plan


def plan_nodes(plan: Sequence[Range]) -> list[Node]:
    """Return the stored nodes that a plan needs, in the order in which `build` takes their hashes."""
    return [node for span in plan for node in range_nodes(span)]


def build(plan: Sequence[Range], node_hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the hashes of the proof planned, from the hashes of `plan_nodes(plan)` in that order."""
    proof = []
    taken = 0
    for span in plan:
        count = (span.end - span.start).bit_count()  # a range has one maximal subtree for each one bit of its width
        proof.append(fold(node_hashes[taken : taken + count]))
        taken += count
    if taken != len(node_hashes):
        raise AssertionError("bad tree math: the plan left node hashes over")
    return tuple(proof)


def root_from_inclusion(leaf_hash: bytes, leaf_index: int, tree_size: int, hashes: Sequence[bytes]) -> bytes:
    """Return the root hash of the tree of `tree_size` leaves in which the proof puts `leaf_hash` at `leaf_index`.

    The root proves nothing until it is compared with a signed one; `verify_inclusion` does both.
    Cost: one SHA-256 call a hash. Raises: FormatError, ProofError.
    """
    require_int(tree_size, "tree size", 1, MAX_UINT64)
    require_int(leaf_index, "leaf index", 0, tree_size - 1)
    inner, border = _inner_border(leaf_index, tree_size)
    _check_hashes(hashes, inner + border)
    _check_hashes((leaf_hash,), 1)
    return _chain_right(_chain_inner(leaf_hash, hashes[:inner], leaf_index), hashes[inner:])


def verify_inclusion(
    leaf_hash: bytes, leaf_index: int, tree_size: int, root_hash: bytes, hashes: Sequence[bytes]
) -> None:
    """Check that `leaf_hash` is the leaf at `leaf_index` of the tree of `tree_size` leaves with `root_hash`.

    leaf_hash, root_hash: 32 bytes. leaf_index: zero-based, < tree_size <= 2^64 - 1. hashes: the proof, at most 64.
    Raises: FormatError where an argument is not of its type or range; ProofError where the proof does not lead there.
    Cost: one SHA-256 call a hash. Source: RFC 9162 section 2.1.3.2.
    """
    computed = root_from_inclusion(leaf_hash, leaf_index, tree_size, hashes)
    if computed != root_hash:
        raise ProofError(
            f"the inclusion proof of leaf {leaf_index} does not lead to the root of size {tree_size}",
            expected=root_hash.hex(),
            found=computed.hex(),
        )


def roots_from_consistency(
    old_size: int, new_size: int, old_root: bytes, hashes: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the root hashes of the old and the new tree that the proof leads to, 1 <= old_size < new_size.

    old_root: the expected old root; where the old tree is a perfect subtree, the proof leaves its hash out and starts
    from this one. The roots prove nothing until they are compared with signed ones.
    Raises: FormatError, ProofError. Cost: two SHA-256 calls a hash. Source: RFC 9162 section 2.1.4.2.
    """
    require_int(new_size, "new tree size", 2, MAX_UINT64)
    require_int(old_size, "old tree size", 1, new_size - 1)
    _check_hashes((old_root,), 1)
    inner, border = _inner_border(old_size - 1, new_size)
    shift = (old_size & -old_size).bit_length() - 1
    inner -= shift
    given = 0 if old_size == 1 << shift else 1
    _check_hashes(hashes, given + inner + border)
    seed = hashes[0] if given else old_root
    path = hashes[given:]
    turns = (old_size - 1) >> shift
    old = _chain_right(_chain_inner_right(seed, path[:inner], turns), path[inner:])
    return old, _chain_right(_chain_inner(seed, path[:inner], turns), path[inner:])


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, hashes: Sequence[bytes]) -> None:
    """Check that the tree (old_size, old_root) is a prefix of the tree (new_size, new_root).

    1 <= old_size <= new_size <= 2^64 - 1: an empty tree is a prefix of all, and proves nothing, so it is refused.
    Raises: FormatError, ProofError. Cost: two SHA-256 calls a hash. Source: RFC 9162 section 2.1.4.2.
    """
    require_int(new_size, "new tree size", 1, MAX_UINT64)
    require_int(old_size, "old tree size", 1, new_size)
    _check_hashes((old_root, new_root), 2)
    if old_size == new_size:
        _check_hashes(hashes, 0)
        if old_root != new_root:
            raise ProofError(f"two root hashes at tree size {old_size}", expected=old_root.hex(), found=new_root.hex())
        return
    computed_old, computed_new = roots_from_consistency(old_size, new_size, old_root, hashes)
    for what, root, computed in (("old", old_root, computed_old), ("new", new_root, computed_new)):
        if computed != root:
            raise ProofError(
                f"the consistency proof from {old_size} to {new_size} does not lead to the {what} root",
                expected=root.hex(),
                found=computed.hex(),
            )


def _inner_border(leaf_index: int, tree_size: int) -> tuple[int, int]:
    """Return how many path steps lie below and above the point where the leaf's path joins the tree's right edge."""
    inner = (leaf_index ^ (tree_size - 1)).bit_length()
    return inner, (leaf_index >> inner).bit_count()


def _chain_inner(result: bytes, hashes: Sequence[bytes], index: int) -> bytes:
    for level, sibling in enumerate(hashes):
        result = node_hash(sibling, result) if index >> level & 1 else node_hash(result, sibling)
    return result


def _chain_inner_right(result: bytes, hashes: Sequence[bytes], index: int) -> bytes:
    for level, sibling in enumerate(hashes):
        if index >> level & 1:
            result = node_hash(sibling, result)
    return result


def _chain_right(result: bytes, hashes: Sequence[bytes]) -> bytes:
    for sibling in hashes:
        result = node_hash(sibling, result)
    return result


def _check_hashes(hashes: Sequence[bytes], count: int) -> None:
    if len(hashes) != count:
        raise ProofError("the proof has the wrong number of hashes", expected=str(count), found=str(len(hashes)))
    for number, value in enumerate(hashes):
        if len(value) != HASH_SIZE:
            raise ProofError(f"hash {number} of the proof is not 32 bytes")
