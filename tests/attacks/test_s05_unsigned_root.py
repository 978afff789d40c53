"""S5, sigstore-python, sigstore-java, Rekor: inclusion proofs that led to a root which nobody had signed."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

import tlog
from tests.statements import IMPOSTOR, LOG_VKEY, checkpoint, entry_lines, inclusion_path, inclusion_proof, tree_hash
from tlog import Policy, verify_proof
from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError, ProofError, SignatureError, UnknownOriginError, UntrustedNoteError
from tlog.proof import verify_inclusion
from tlog.tlogproof import Proof

POLICY = Policy.for_log(LOG_VKEY)


def test_s05_a_proof_that_leads_to_a_root_of_its_own() -> None:
    """The hashes are right for some tree; the checkpoint is signed over another root, size or origin: refused."""
    lines, others = entry_lines(9), entry_lines(9, word="other")
    hashes = inclusion_path(4, others)
    verify_inclusion(
        tlog_leaf(others[4]), 4, 9, tree_hash(others), hashes
    )  # so the hashes prove something, but nothing that was signed
    own = checkpoint(others)
    cases = [
        (checkpoint(lines), ProofError),  # signed, another root
        (checkpoint(others[:8]), ProofError),  # signed, another size
        (replace(own, signatures=checkpoint(lines).signatures), SignatureError),  # a signature of another text
        (replace(own, origin="audit.example.com/admins"), UnknownOriginError),
        (checkpoint(others, IMPOSTOR), UntrustedNoteError),
    ]
    for signed, error in cases:
        with pytest.raises(error):
            verify_proof(Proof(4, hashes, signed, others[4]), policy=POLICY)
    with pytest.raises(FormatError):  # a checkpoint that nobody signed
        verify_proof(Proof(4, hashes, replace(own, signatures=()), others[4]), policy=POLICY)


def test_s05_the_public_functions_take_no_root() -> None:
    """Whatever verifies in the public interface asks for a policy, and for no root hash."""
    names = [name for name in tlog.__all__ if name.startswith("verify_")]
    assert names == ["verify_checkpoint", "verify_consistency", "verify_evidence", "verify_proof"]
    for name in names:
        parameters = inspect.signature(getattr(tlog, name)).parameters
        assert parameters["policy"].default is inspect.Parameter.empty
        assert not [word for word in parameters if "root" in word or "key" in word]
    assert isinstance(inclusion_proof(0, entry_lines(1)).checkpoint, Checkpoint)


def tlog_leaf(line: bytes) -> bytes:
    """Return the leaf hash of a line."""
    return tree_hash([line])
