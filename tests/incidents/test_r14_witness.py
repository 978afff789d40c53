"""R14 against a witness: the end of a log cut off, and everything of the log's own made anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.incidents.test_r14_cut_tail import CUTS, ENTRIES, cut, rewind, source
from tests.ledgers import opened
from tlog.errors import InconsistentLogError, ProofError, VerificationError
from tlog.evidence import verify_evidence
from tlog.policy import Policy
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.observer import StaleSizeError
from tlog.witnessing.request import origin_hash
from tlog.witnessing.witness import Witness

__all__ = ["cut", "source"]


@pytest.fixture
def witness(source: Path, tmp_path: Path) -> Iterator[Witness]:
    """A witness that has cosigned the log of 600 entries."""
    home = WitnessHome(tmp_path / "witness")
    home.create("witness.example.net")
    log = opened(source)
    with home.open() as witness:
        witness.add_log(log.vkey)
        witness.add_checkpoint(ConsistencyProof(0, (), log.checkpoint()).format())
        yield witness


@pytest.mark.parametrize("cut", CUTS, indirect=True)
def test_r14_a_witness_remembers_what_was_cut(cut: Path, witness: Witness) -> None:
    """With the cut in place or rewound, the witness's checkpoint shows it, and the witness cosigns nothing smaller."""
    partition = opened(cut)
    remembered = witness.checkpoint(origin_hash(partition.origin))
    with pytest.raises(VerificationError):
        partition.verify(checkpoint=remembered)
    partition = rewind(cut)
    with pytest.raises(VerificationError, match="600"):
        partition.verify(checkpoint=remembered)
    with pytest.raises(StaleSizeError) as caught:
        witness.add_checkpoint(ConsistencyProof(0, (), partition.checkpoint()).format())
    assert caught.value.tree_size == ENTRIES
    # Grown to the old size and beyond with other entries: the witness finds the contradiction, and keeps it.
    partition.append_many(["other"] * (ENTRIES - partition.size))
    with pytest.raises(InconsistentLogError):
        witness.add_checkpoint(ConsistencyProof(ENTRIES, (), partition.publish()).format())
    partition.append("more")
    partition.publish()
    with pytest.raises((InconsistentLogError, ProofError)):
        witness.add_checkpoint(partition.prove_consistency(ENTRIES).format())
    assert witness.evidence()
    for kept in witness.evidence():
        verify_evidence(kept.evidence, Policy.for_log(partition.vkey))
