from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import naive
from tests.vectors import merkle_probes
from tlog.errors import Error, FormatError, ProofError
from tlog.proof import (
    build,
    plan_consistency,
    plan_inclusion,
    plan_nodes,
    root_from_inclusion,
    verify_consistency,
    verify_inclusion,
)
from tlog.tree import Node

TREE = naive.NaiveTree(naive.numbered_leaf)
INCLUSION, CONSISTENCY = list(merkle_probes("inclusion")), list(merkle_probes("consistency"))
HOSTILE_NUMBERS: list[Any] = [-1, True, False, 1.0, 0.5, "1", None, 2**64, 2**200, -(2**200), float("nan"), b"1"]


def read(tree: naive.NaiveTree, nodes: list[Node]) -> list[bytes]:
    """Return the nodes' hashes, as storage would."""
    return [tree.mth(index << level, (index + 1) << level) for level, index in nodes]


def inclusion_proof(tree: naive.NaiveTree, index: int, size: int) -> tuple[bytes, ...]:
    """Plan, read, build."""
    plan = plan_inclusion(index, size)
    return build(plan, read(tree, plan_nodes(plan)))


def consistency_proof(tree: naive.NaiveTree, old: int, new: int) -> tuple[bytes, ...]:
    """Plan, read, build."""
    plan = plan_consistency(old, new)
    return build(plan, read(tree, plan_nodes(plan)))


def test_inclusion_of_all_small_sizes() -> None:
    """For every leaf of every tree of up to 300 leaves the proof is the RFC's PATH, and verifies."""
    for size in range(1, 301):
        root = TREE.root(size)
        for index in range(size):
            proof = inclusion_proof(TREE, index, size)
            assert list(proof) == TREE.path(index, 0, size)
            verify_inclusion(naive.numbered_leaf(index), index, size, root, proof)


def test_consistency_of_all_small_sizes() -> None:
    """For all 0 < m <= n <= 300 the proof is the RFC's PROOF, and verifies; from size 0 there is nothing to prove."""
    for new in range(1, 301):
        root = TREE.root(new)
        assert plan_consistency(0, new) == []
        for old in range(1, new + 1):
            proof = consistency_proof(TREE, old, new)
            assert list(proof) == TREE.proof(old, new)
            verify_consistency(old, new, TREE.root(old), root, proof)


@st.composite
def giants(draw: st.DrawFn) -> tuple[int, int]:
    """Return 1 <= small <= large, the large one of any magnitude up to 2^63 - 1."""
    large = draw(st.integers(0, 62).flatmap(lambda bits: st.integers(1 << bits, (2 << bits) - 1)))
    small = draw(st.one_of(st.integers(1, large), st.integers(0, large.bit_length() - 1).map(lambda bit: 1 << bit)))
    return small, large


@given(giants())
def test_giant_trees(sizes: tuple[int, int]) -> None:
    """In trees of up to 2^63 leaves, too large to compute, proofs are the RFC's and verify."""
    old, new = sizes
    tree = naive.NaiveTree(naive.numbered_leaf, opened={old - 1})
    proof = inclusion_proof(tree, old - 1, new)
    assert list(proof) == tree.path(old - 1, 0, new)
    verify_inclusion(naive.numbered_leaf(old - 1), old - 1, new, tree.root(new), proof)
    proof = consistency_proof(tree, old, new)
    assert list(proof) == tree.proof(old, new)
    verify_consistency(old, new, tree.root(old), tree.root(new), proof)


@given(giants(), st.data())
def test_giant_trees_reject_other_numbers(sizes: tuple[int, int], data: st.DataObject) -> None:
    """A proof for one index and size proves no other index, and one between two sizes no other sizes."""
    old, new = sizes
    tree = naive.NaiveTree(naive.numbered_leaf, opened={old - 1})
    other = data.draw(st.integers(0, new - 1))
    proof = inclusion_proof(tree, old - 1, new)
    if other != old - 1:
        with pytest.raises(ProofError):
            verify_inclusion(naive.numbered_leaf(old - 1), other, new, tree.root(new), proof)
    proof = consistency_proof(tree, old, new)
    if other != old and other > 0:
        with pytest.raises(ProofError):
            verify_consistency(other, new, tree.root(old), tree.root(new), proof)


def test_rfc_example_shapes() -> None:
    """RFC 6962 section 2.1.3: the proofs in the tree of 7 leaves are the siblings that the text names."""
    mth = TREE.mth
    b, c, f, j = (mth(index, index + 1) for index in (1, 2, 5, 6))
    g, h, i, k, l_ = mth(0, 2), mth(2, 4), mth(4, 6), mth(0, 4), mth(4, 7)
    assert inclusion_proof(TREE, 0, 7) == (b, h, l_)
    assert inclusion_proof(TREE, 3, 7) == (c, g, l_)
    assert inclusion_proof(TREE, 4, 7) == (f, j, k)
    assert inclusion_proof(TREE, 6, 7) == (i, k)
    d = mth(3, 4)
    assert consistency_proof(TREE, 3, 7) == (c, d, g, l_)
    assert consistency_proof(TREE, 4, 7) == (l_,)
    assert consistency_proof(TREE, 6, 7) == (i, j, k)


def test_the_probes_are_complete() -> None:
    """All probes that testdata holds were found, so that none is silently passed over."""
    for probes, count, valid in ((INCLUSION, 53, 4), (CONSISTENCY, 43, 3)):
        assert len(probes) == count
        assert sum(not probe["wantErr"] for _, probe in probes) == valid


def decode(probe: dict[str, Any], *names: str) -> list[bytes]:
    """Return the base64 fields of a probe as bytes."""
    return [base64.b64decode(probe[name]) for name in names]


@pytest.mark.parametrize("probe", [probe for _, probe in INCLUSION], ids=[name for name, _ in INCLUSION])
def test_inclusion_probes(probe: dict[str, Any]) -> None:
    """transparency-dev/merkle: what that verifier accepts is accepted, and what it refuses is refused."""
    root, leaf = decode(probe, "root", "leafHash")
    proof = [base64.b64decode(text) for text in probe["proof"] or []]
    arguments = (leaf, probe["leafIdx"], probe["treeSize"], root, proof)
    if probe["wantErr"]:
        with pytest.raises((ProofError, FormatError)):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)


@pytest.mark.parametrize("probe", [probe for _, probe in CONSISTENCY], ids=[name for name, _ in CONSISTENCY])
def test_consistency_probes(probe: dict[str, Any]) -> None:
    """transparency-dev/merkle: what that verifier accepts is accepted, and what it refuses is refused."""
    root1, root2 = decode(probe, "root1", "root2")
    proof = [base64.b64decode(text) for text in probe["proof"] or []]
    arguments = (probe["size1"], probe["size2"], root1, root2, proof)
    if probe["wantErr"]:
        with pytest.raises((ProofError, FormatError)):
            verify_consistency(*arguments)
    else:
        verify_consistency(*arguments)


def flip(value: bytes, bit: int) -> bytes:
    """Return `value` with one bit changed."""
    return value[: bit // 8] + bytes([value[bit // 8] ^ 1 << bit % 8]) + value[bit // 8 + 1 :]


def altered(proof: tuple[bytes, ...], bit: int) -> list[tuple[bytes, ...]]:
    """Return the proof with each hash changed, dropped, doubled, exchanged with the next, and with one more hash."""
    found = [(*proof, bytes(32)), (bytes(32), *proof)]
    for i, value in enumerate(proof):
        head, tail = proof[:i], proof[i + 1 :]
        found += [(*head, flip(value, bit), *tail), (*head, *tail), (*head, value, value, *tail)]
        if tail:
            found.append((*head, tail[0], value, *tail[1:]))
    return found


def test_every_altered_consistency_proof_is_rejected() -> None:
    """S1 (CVE-2022-36111): for all m < n <= 64, no changed hash, root or size passes, in any single place."""
    for new in range(2, 65):
        for old in range(1, new):
            bit = (old * 37 + new * 101) % 256
            proof = consistency_proof(TREE, old, new)
            root1, root2 = TREE.root(old), TREE.root(new)
            verify_consistency(old, new, root1, root2, proof)
            bad: list[tuple[int, int, bytes, bytes, tuple[bytes, ...]]] = [
                (old, new, flip(root1, bit), root2, proof),
                (old, new, root1, flip(root2, bit), proof),
                (old, new, root2, root1, proof),
                (old - 1, new, root1, root2, proof),
                (old + 1, new, root1, root2, proof),
                *((old, new, root1, root2, other) for other in altered(proof, bit)),
            ]
            for arguments in bad:
                with pytest.raises((ProofError, FormatError)):
                    verify_consistency(*arguments)


def test_a_larger_new_size_with_the_same_proof() -> None:
    """Another new size passes only where the path from the old tree has the same shape, never with another root."""
    for new in range(2, 65):
        for old in range(1, new):
            proof = consistency_proof(TREE, old, new)
            for other in (new - 1, new + 1):
                if old <= other:
                    with pytest.raises((ProofError, FormatError)):
                        verify_consistency(old, other, TREE.root(old), TREE.root(other), proof)


def test_forked_log_with_equal_ends() -> None:
    """S1: a log that shares only its first and last leaf with what was signed can show no consistency proof."""
    forked = naive.NaiveTree(lambda i: naive.leaf_hash(b"forged") if 0 < i < 15 else naive.numbered_leaf(i))
    for old in range(2, 16):
        proof = tuple(forked.proof(old, 16))
        with pytest.raises(ProofError):
            verify_consistency(old, 16, TREE.root(old), forked.root(16), proof)
        with pytest.raises(ProofError):
            verify_consistency(old, 16, TREE.root(old), TREE.root(16), proof)


def test_every_altered_inclusion_proof_is_rejected() -> None:
    """For all leaves of all trees of up to 40 leaves, no changed hash, root, leaf or index passes."""
    for size in range(1, 41):
        for index in range(size):
            bit = (index * 37 + size * 101) % 256
            proof, root, leaf = inclusion_proof(TREE, index, size), TREE.root(size), naive.numbered_leaf(index)
            bad: list[tuple[bytes, int, int, bytes, tuple[bytes, ...]]] = [
                (flip(leaf, bit), index, size, root, proof),
                (leaf, index, size, flip(root, bit), proof),
                *((leaf, other, size, root, proof) for other in range(-1, size + 2) if other != index),
                *((leaf, index, size, root, other) for other in altered(proof, bit)),
            ]
            for arguments in bad:
                with pytest.raises((ProofError, FormatError)):
                    verify_inclusion(*arguments)


def test_an_empty_proof_proves_only_a_single_leaf() -> None:
    """S7: with no hashes, a leaf hash that is the root is the whole tree of size 1, and nothing else."""
    leaf = naive.numbered_leaf(0)
    verify_inclusion(leaf, 0, 1, leaf, [])
    for index, size in ((0, 2), (1, 2), (0, 3), (0, 2**63)):
        with pytest.raises(ProofError):
            verify_inclusion(leaf, index, size, leaf, [])
    with pytest.raises(ProofError):
        verify_consistency(1, 2, leaf, leaf, [])


@pytest.mark.parametrize("number", HOSTILE_NUMBERS, ids=repr)
def test_hostile_numbers(number: Any) -> None:
    """S7: sizes and indexes of other types or ranges are refused at once, never rounded, never looped over."""
    value = bytes(32)
    start = time.perf_counter()
    for call in (
        lambda: verify_inclusion(value, number, 2**64 - 1, value, [value] * 64),
        lambda: verify_inclusion(value, 0, number, value, [value]),
        lambda: root_from_inclusion(value, 0, number, [value]),
        lambda: verify_consistency(number, 2**64 - 1, value, value, [value]),
        lambda: verify_consistency(1, number, value, value, [value]),
        lambda: plan_inclusion(number, 2**63 - 1),
        lambda: plan_inclusion(0, number),
        lambda: plan_consistency(1, number),
    ):
        with pytest.raises((FormatError, ProofError)):
            call()
    assert time.perf_counter() - start < 0.1


@pytest.mark.parametrize("value", [b"", bytes(1), bytes(31), bytes(33), bytes(64), bytes(10**6)], ids=len)
def test_hostile_hashes(value: bytes) -> None:
    """S7: a hash of another length is refused wherever it stands."""
    good = bytes(32)
    for arguments in ((value, 0, 2, good, [good]), (good, 0, 2, value, [good]), (good, 0, 2, good, [value])):
        with pytest.raises((ProofError, FormatError)):
            verify_inclusion(*arguments)
    for other in ((1, 2, value, good, [good]), (1, 2, good, value, [good]), (1, 2, good, good, [value])):
        with pytest.raises((ProofError, FormatError)):
            verify_consistency(*other)


def test_a_million_hashes_are_refused_at_once() -> None:
    """S7: the expected number of hashes follows from the sizes and is compared before one hash is looked at."""
    hashes = [bytes(32)] * 10**6
    start = time.perf_counter()
    with pytest.raises(ProofError, match="wrong number of hashes"):
        verify_inclusion(bytes(32), 0, 2**64 - 1, bytes(32), hashes)
    with pytest.raises(ProofError, match="wrong number of hashes"):
        verify_consistency(3, 2**64 - 1, bytes(32), bytes(32), hashes)
    with pytest.raises(ProofError, match="wrong number of hashes"):
        verify_consistency(3, 3, bytes(32), bytes(32), hashes)
    assert time.perf_counter() - start < 0.05


@given(st.binary(max_size=40), st.integers(), st.integers(), st.binary(max_size=40), st.lists(st.binary(max_size=33)))
def test_only_our_errors(leaf: bytes, index: int, size: int, root: bytes, hashes: list[bytes]) -> None:
    """Whatever numbers and bytes are given, only children of tlog.Error come out."""
    with pytest.raises(Error):
        verify_inclusion(leaf, index, size, root, [*hashes, b"?"])
    with pytest.raises(Error):
        verify_consistency(index, size, leaf, root, [*hashes, b"?"])


def test_size_zero_proves_nothing() -> None:
    """An empty tree is a prefix of every tree, so a proof from it is refused, as the probes want it."""
    with pytest.raises(FormatError, match="old tree size"):
        verify_consistency(0, 5, naive.EMPTY, TREE.root(5), [])
    with pytest.raises(FormatError, match="tree size"):
        verify_inclusion(bytes(32), 0, 0, naive.EMPTY, [])


def test_nothing_may_be_left_over() -> None:
    """Building insists that it was given exactly the nodes of its plan."""
    plan = plan_inclusion(2, 7)
    nodes = read(TREE, plan_nodes(plan))
    with pytest.raises(AssertionError, match="left node hashes over"):
        build(plan, [*nodes, bytes(32)])
