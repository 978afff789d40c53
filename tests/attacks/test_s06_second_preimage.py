"""S6, pymerkle and CVE-2012-2459: a node that passes for a leaf, and an odd node that is counted twice."""

from __future__ import annotations

import inspect
from hashlib import sha256

import pytest

from tests import naive
from tests.statements import LOG_VKEY, checkpoint, entry_lines, inclusion_path
from tlog import Policy, hashing, verify_proof
from tlog.errors import ProofError
from tlog.hashing import leaf_hash, leaf_hashes, node_hash, perfect_root
from tlog.proof import verify_inclusion
from tlog.tlogproof import Proof
from tlog.tree import RightEdge


def root(leaves: list[bytes]) -> bytes:
    """Return the root over leaves' data, by the code under test."""
    edge = RightEdge()
    edge.extend(leaf_hashes(leaves))
    return edge.root()


def test_s06_a_node_is_no_leaf() -> None:
    """The 64 bytes of two hashes as a leaf give another root, and are proved in no tree."""
    lines = entry_lines(4)
    hashes = [leaf_hash(line) for line in lines]
    pair = hashes[0] + hashes[1]
    assert leaf_hash(pair) != node_hash(hashes[0], hashes[1])
    assert root([pair, hashes[2] + hashes[3]]) != root(lines) == naive.NaiveTree(lambda n: hashes[n]).root(4)
    signed = checkpoint(lines)
    with pytest.raises(ProofError):  # the shorter tree of the attack, which the signed size rules out
        verify_proof(Proof(0, inclusion_path(0, lines)[1:], signed, pair), policy=Policy.for_log(LOG_VKEY))
    with pytest.raises(ProofError):
        verify_inclusion(leaf_hash(pair), 0, 2, signed.root_hash, [node_hash(hashes[2], hashes[3])])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 11, 13])
def test_s06_an_odd_node_is_not_counted_twice(size: int) -> None:
    """A log of n entries and one with its end repeated up to the next even row have different roots."""
    lines = entry_lines(size)
    roots = {root(lines + lines[-count:]) for count in range(1, size + 1)} | {root(lines)}
    assert len(roots) == size + 1


def test_s06_no_switch_turns_the_prefixes_off() -> None:
    """The hash functions take data and nothing else; the prefixes are those of RFC 6962."""
    functions = [getattr(hashing, name) for name in ("leaf_hash", "leaf_hashes", "node_hash", "perfect_root")]
    assert [list(inspect.signature(function).parameters) for function in functions] == [
        ["leaf_data"],
        ["leaves"],
        ["left", "right"],
        ["hashes"],
    ]
    assert leaf_hash(b"") == sha256(b"\x00").digest()
    assert node_hash(b"l", b"r") == perfect_root([b"l", b"r"]) == sha256(b"\x01lr").digest()
