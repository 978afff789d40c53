"""Subtree consistency proofs: the published probes, the words of the draft, and every wrong hash."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import consistency_path, tree_hash
from tests.vectors import merkle_probes
from tlog.errors import Error, FormatError, ProofError
from tlog.proof import build, plan_nodes
from tlog.subtree import check_subtree, plan_subtree_consistency, root_from_subtree, verify_subtree
from tlog.tree import Range

LEAVES = [bytes([number]) for number in range(40)]
SUBTREES = [
    (start, end, size)
    for size in range(1, 27)
    for end in range(1, size + 1)
    for start in range(end)
    if start % (1 << (end - start - 1).bit_length()) == 0
]


def subproof(start: int, end: int, leaves: list[bytes], *, whole: bool = True) -> tuple[bytes, ...]:
    """Return SUBTREE_SUBPROOF(start, end, D_n, b), word by word."""
    size = len(leaves)
    if (start, end) == (0, size):
        return () if whole else (tree_hash(leaves),)
    k = 1
    while 2 * k < size:
        k *= 2
    if end <= k:
        return (*subproof(start, end, leaves[:k], whole=whole), tree_hash(leaves[k:]))
    if k <= start:
        return (*subproof(start - k, end - k, leaves[k:], whole=whole), tree_hash(leaves[:k]))
    return (*subproof(0, end - k, leaves[k:], whole=False), tree_hash(leaves[:k]))


def built(start: int, end: int, size: int) -> tuple[bytes, ...]:
    """Return the proof as the library builds it from nodes."""
    plan = plan_subtree_consistency(start, end, size)
    nodes = [tree_hash(LEAVES[n.index << n.level : (n.index + 1) << n.level]) for n in plan_nodes(plan)]
    return build(plan, nodes)


@pytest.mark.parametrize(("name", "probe"), list(merkle_probes("subtreeconsistency")))
def test_published_probes(name: str, probe: dict[str, object]) -> None:
    """The probes of transparency-dev/merkle are accepted and refused as they say."""
    start, end, size = (int(str(probe[name])) for name in ("start", "end", "size"))
    roots = [base64.b64decode(str(probe[name])) for name in ("root1", "root2")]
    listed = probe["proof"] or []
    assert isinstance(listed, list)
    hashes = [base64.b64decode(text) for text in listed]
    if start == end:  # an empty subtree is in every tree; here it is refused, since it proves nothing
        with pytest.raises(FormatError):
            check_subtree(start, end, max(size, 1))
        return
    assert name.endswith(".json")
    if probe["wantErr"]:
        with pytest.raises(Error):
            verify_subtree((start, end), size, roots[0], roots[1], hashes)
    else:
        verify_subtree((start, end), size, roots[0], roots[1], hashes)


def test_all_small_subtrees() -> None:
    """For every subtree of every tree up to 26 leaves: what is built is the draft's proof, and verifies."""
    for start, end, size in SUBTREES:
        leaves = LEAVES[:size]
        hashes = built(start, end, size)
        assert hashes == subproof(start, end, leaves)
        verify_subtree((start, end), size, tree_hash(leaves[start:end]), tree_hash(leaves), hashes)
        if start == 0:
            assert hashes == consistency_path(end, leaves)


@given(st.sampled_from(SUBTREES), st.data())
def test_every_change_is_noticed(subtree: tuple[int, int, int], data: st.DataObject) -> None:
    """Another hash, one fewer or more, another root, or another place: refused."""
    start, end, size = subtree
    leaves = LEAVES[:size]
    roots = (tree_hash(leaves[start:end]), tree_hash(leaves))
    hashes = list(built(start, end, size))
    wrong = [(roots, [*hashes, bytes(32)]), ((bytes(32), roots[1]), hashes), ((roots[0], bytes(32)), hashes)]
    if hashes:
        place = data.draw(st.integers(0, len(hashes) - 1))
        wrong += [
            (roots, [*hashes[:place], bytes(32), *hashes[place + 1 :]]),
            (roots, hashes[:-1]),
            (roots, hashes[1:]),
        ]
    for (subtree_root, root), changed in wrong:
        with pytest.raises(ProofError):
            verify_subtree((start, end), size, subtree_root, root, changed)


@pytest.mark.parametrize(
    ("start", "end", "size", "what"),
    [
        (0, 0, 0, "tree size"),
        (0, 0, 4, "subtree end"),
        (1, 1, 2, "subtree start"),
        (2, 2, 4, "subtree start"),
        (2, 1, 4, "subtree start"),
        (8, 5, 16, "subtree start"),
        (1, 3, 4, "subtree"),
        (2, 5, 8, "subtree"),
        (0, 5, 4, "subtree end"),
        (-1, 2, 4, "subtree start"),
        (4, 9, 9, "subtree"),
        (0, 1, 2**64, "tree size"),
        (True, 2, 4, "subtree start"),
    ],
)
def test_what_is_no_subtree(start: int, end: int, size: int, what: str) -> None:
    """Empty, misaligned and outside ranges are refused by name."""
    with pytest.raises(FormatError) as caught:
        check_subtree(start, end, size)
    assert caught.value.what == what
    with pytest.raises(FormatError):
        root_from_subtree(start, end, size, bytes(32), [])


def test_huge_sizes_and_short_hashes() -> None:
    """Sizes near 2^64 cost a few steps; a hash of another length is refused."""
    assert len(plan_subtree_consistency(2**40, 2**40 + 1, 2**64 - 1)) <= 64
    assert plan_subtree_consistency(0, 3, 4) == [Range(2, 3), Range(3, 4), Range(0, 2)]
    with pytest.raises(FormatError, match="32 bytes"):
        root_from_subtree(0, 1, 2, bytes(31), [bytes(32)])
    with pytest.raises(ProofError):
        root_from_subtree(0, 1, 2, bytes(32), [bytes(32)] * 10**5)
