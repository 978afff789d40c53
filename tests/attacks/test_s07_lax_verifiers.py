"""S7: verifiers that took an empty proof, an index beyond the size, one leaf at many places, or never came back.

The probes of transparency-dev/merkle are in tests/test_proof.py, numbers that are none in test_hostile_sizes.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.attacks.bounds import Counted, refused
from tests.ledgers import QuickDisk, create
from tlog import Policy, Proof, proof, verify_proof
from tlog.errors import ProofError, VerificationError
from tlog.hashing import leaf_hash, node_hash


def test_s07_a_leaf_is_proved_at_its_own_place_only(tmp_path: Path) -> None:
    """Each entry of a real log, claimed at every index up to beyond the size: true for one index."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(["the same"] * 21)
    partition.publish()
    policy = Policy.for_log(partition.vkey)
    for found in partition.prove_many(range(21)):
        for index in [*range(24), 2**63 - 1]:
            claimed = replace(found, leaf_index=index)
            if index == found.leaf_index:
                assert verify_proof(claimed, policy=policy).leaf_index == index
            else:
                with pytest.raises((VerificationError, ValueError)):
                    verify_proof(claimed, policy=policy)


def test_s07_shorter_longer_and_empty_proofs(tmp_path: Path) -> None:
    """Hashes left out, repeated, added or exchanged, none at all, and a leaf that is the root: refused."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(21))
    checkpoint = partition.publish()
    policy = Policy.for_log(partition.vkey)
    for found in partition.prove_many(range(21)):
        hashes = found.hashes
        for wrong in {
            (),
            hashes[1:],
            hashes[:-1],
            (*hashes, hashes[-1]),
            (hashes[0], *hashes),
            (*hashes, checkpoint.root_hash),
            hashes[::-1],
            (leaf_hash(found.extra or b""),),
        } - {hashes}:
            with pytest.raises(VerificationError):
                verify_proof(replace(found, hashes=wrong), policy=policy)
    with pytest.raises(VerificationError):
        verify_proof(Proof(0, (), checkpoint, checkpoint.root_hash), policy=policy)


def test_s07_the_size_is_bound() -> None:
    """A proof of one size is none for another one, whatever root it would lead to."""
    for size in range(1, 40):
        for index in range(size):
            steps = len(proof.plan_inclusion(index, size))
            root = proof.root_from_inclusion(bytes(32), index, size, [bytes(32)] * steps)
            for other in {size - 1, size + 1, 2 * size, 2**64 - 1} - {0}:
                if index < other and len(proof.plan_inclusion(index, min(other, 2**63 - 1))) != steps:
                    with pytest.raises(ProofError):
                        proof.verify_inclusion(bytes(32), index, other, root, [bytes(32)] * steps)


def test_s07_a_million_hashes_cost_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof of a million elements is refused by its length, before a single hash is computed."""
    nodes = Counted(node_hash)
    monkeypatch.setattr("tlog.proof.node_hash", nodes)
    hashes = [bytes(32)] * 1_000_000
    for call in (
        lambda: proof.verify_inclusion(bytes(32), 5, 2**63 - 1, bytes(32), hashes),
        lambda: proof.verify_inclusion(bytes(32), 0, 2**64 - 1, bytes(32), hashes),
        lambda: proof.verify_consistency(3, 2**64 - 1, bytes(32), bytes(32), hashes),
        lambda: proof.verify_consistency(7, 7, bytes(32), bytes(32), hashes),
    ):
        assert "1000000" in refused(call, ProofError)
    assert nodes.calls == 0
    with pytest.raises(ProofError):
        proof.verify_inclusion(bytes(32), 2**63 + 5, 2**64 - 1, bytes(32), [bytes(32)] * 64)
    assert nodes.calls == 64  # the longest proof that there is
