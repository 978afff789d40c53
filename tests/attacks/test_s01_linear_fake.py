"""S1, immudb CVE-2022-36111: a proof that was checked at its ends only, and a middle that could be exchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import QuickDisk, create
from tests.statements import LOG_VKEY, ORIGIN, checkpoint, consistency_path, consistency_proof, entry_lines, tree_hash
from tlog import Policy, verify_consistency
from tlog.errors import InconsistentLogError, NotFoundError, ProofError, VerificationError
from tlog.proof import verify_consistency as verify_hashes
from tlog.tlogproof import ConsistencyProof

POLICY = Policy.for_log(LOG_VKEY)


def test_s01_any_one_element_changed_is_rejected() -> None:
    """All sizes m < n <= 64: each hash, both roots and both sizes changed, one at a time."""
    lines = entry_lines(64)
    roots = [tree_hash(lines[:size]) for size in range(65)]
    wrong = bytes(32)
    for new in range(2, 65):
        for old in range(1, new):
            hashes = consistency_path(old, lines[:new])
            verify_hashes(old, new, roots[old], roots[new], hashes)
            bad = [(old, new, wrong, roots[new], hashes), (old, new, roots[old], wrong, hashes)]
            bad += [
                (old, new, roots[old], roots[new], (*hashes[:n], wrong, *hashes[n + 1 :])) for n in range(len(hashes))
            ]
            bad += [(old, new, roots[old], roots[new], (*hashes[:n], *hashes[n + 1 :])) for n in range(len(hashes))]
            if old > 1:
                bad.append((old - 1, new, roots[old], roots[new], hashes))
            for arguments in bad:
                with pytest.raises(ProofError):
                    verify_hashes(*arguments)


@pytest.mark.parametrize("changed", [1, 20, 38])
def test_s01_a_fork_that_shares_its_ends(changed: int) -> None:
    """A log whose first and last entries are the old ones, with another one between them, is convicted or refused."""
    honest = entry_lines(64)
    forged = [*honest[:changed], honest[changed].replace(b'"event"', b'"EVENT"'), *honest[changed + 1 :]]
    old = checkpoint(honest[:40])
    with pytest.raises(InconsistentLogError):  # a proof that is right for the forged log
        verify_consistency(consistency_proof(40, forged), old=old, policy=POLICY)
    mixed = ConsistencyProof(40, consistency_path(40, honest), checkpoint(forged))
    with pytest.raises(ProofError):  # the honest log's hashes with the forged checkpoint
        verify_consistency(mixed, old=old, policy=POLICY)
    assert checkpoint(forged).origin == ORIGIN


def test_s01_what_is_not_in_the_tree_never_counts_as_verified(tmp_path: Path) -> None:
    """Entries behind the checkpoint are chained and no more: no proof of them, and the report counts them apart."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(10))
    kept = partition.publish()
    partition.append_many(range(3))
    report = partition.verify(checkpoint=kept.raw)
    assert (report.entries, report.unpublished) == (13, 3)
    for seq in (10, 12):
        with pytest.raises(NotFoundError, match="covers 10 entries"):
            partition.prove(seq)
    with pytest.raises(VerificationError):
        Policy.for_log(partition.vkey).verify(kept.raw.replace(b"\n10\n", b"\n13\n"))
