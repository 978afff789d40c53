"""Offline verification of consistency proofs."""

from __future__ import annotations

import base64
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import (
    IMPOSTOR,
    LOG,
    checkpoint,
    consistency_path,
    consistency_proof,
    entry_lines,
    inclusion_path,
    mutations,
    signing_key,
    tree_hash,
    witness_key,
)
from tests.vectors import TESSERA_LOG
from tlog.checkpoint import Checkpoint
from tlog.errors import (
    Error,
    FormatError,
    InconsistentLogError,
    PolicyError,
    ProofError,
    SignatureError,
    UnknownOriginError,
    UntrustedNoteError,
    VerificationError,
)
from tlog.policy import LogSignedCheckpoint, Policy, VerifiedCheckpoint
from tlog.tlogproof import ConsistencyProof, Proof
from tlog.verify import verify_checkpoint, verify_consistency, verify_proof

POLICY = Policy.for_log(LOG.verifier_key)
WITNESSED = Policy.parse(f"log {LOG.verifier_key}\nwitness w1 {witness_key(1).verifier_key}\nquorum w1\n")
LEAVES = entry_lines(33)


def test_every_pair_of_small_trees() -> None:
    """Each tree of 0 to 17 entries is shown to be a prefix of each later one."""
    signed = [checkpoint(LEAVES[:size]) for size in range(18)]
    for new_size in range(18):
        for old_size in range(new_size + 1):
            hashes = consistency_path(old_size, LEAVES[:new_size]) if old_size else ()
            proof = ConsistencyProof(old_size, hashes, signed[new_size])
            verified = verify_consistency(proof, old=signed[old_size], policy=POLICY)
            assert (verified.old.tree_size, verified.new.tree_size) == (old_size, new_size)


def test_a_consistency_proof_as_a_file() -> None:
    """Text and bytes do as well as the values, and the result keeps both checkpoints."""
    proof, old = consistency_proof(3, LEAVES[:7]), checkpoint(LEAVES[:3])
    expected = verify_consistency(proof, old=old, policy=POLICY)
    assert verify_consistency(str(proof), old=old.raw, policy=POLICY) == expected
    assert verify_consistency(proof.format(), old=old, policy=POLICY) == expected
    assert isinstance(expected.new, VerifiedCheckpoint)
    assert (expected.old.checkpoint, expected.new.checkpoint) == (old, proof.checkpoint)


def test_tessera_log_grows() -> None:
    """Each of tessera's 16 checkpoints extends each earlier one, by proofs computed from its entries."""
    leaves = b"one two three four five six seven eit nain ten ileven twelf threeten fourten fivten".split(b" ")
    policy = Policy.for_log("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")
    raw = [(TESSERA_LOG / f"checkpoint.{size}").read_bytes() for size in range(16)]
    for new_size in range(16):
        new = Checkpoint.parse(raw[new_size])
        assert new.root_hash == tree_hash(leaves[:new_size])
        for old_size in range(new_size + 1):
            hashes = consistency_path(old_size, leaves[:new_size]) if old_size else ()
            proof = ConsistencyProof(old_size, hashes, new)
            assert verify_consistency(proof, old=raw[old_size], policy=policy).new.tree_size == new_size
    in_the_log = Proof(6, inclusion_path(6, leaves), Checkpoint.parse(raw[15]), b"seven")
    with pytest.raises(VerificationError, match="the leaf is in the log, but it is no entry"):
        verify_proof(in_the_log, policy=policy)
    with pytest.raises(ProofError):
        verify_proof(replace(in_the_log, leaf_index=7), policy=policy)


# Requests that torchwood's witness gets in its tests (cmd/litewitness, add-checkpoint.hurl), joined here to pairs.
SIGSUM = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
SIGSUM_VKEY = f"{SIGSUM}+5202289b+Af/cLU2Y5BJNP+r3iMDC+av9eWCD0fBJVDfzAux5zxAP"
SIZE_1 = (
    f"{SIGSUM}\n1\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"
    f"— {SIGSUM} UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=\n"
)
SIZE_3 = (
    f"{SIGSUM}\n3\nRcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=\n\n"
    f"— {SIGSUM} UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=\n"
)
SIZE_5 = (
    f"{SIGSUM}\n5\nQrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=\n\n"
    f"— {SIGSUM} UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=\n"
)
FROM_1_TO_3 = "old 1\nKgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nKgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"
FROM_3_TO_5 = (
    "old 3\nKgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nKgMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
    "wgiIFdZfYNv6WU1OllBKsWnLYIS/DBMqt8Uh/S4OukE=\nKgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"
)
WRONG_HASH = "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABA="


def test_torchwood_requests() -> None:
    """The signed requests of torchwood's witness tests: the good ones verify, each bad one fails for its reason."""
    policy = Policy.for_log(SIGSUM_VKEY)
    old = SIZE_1.encode()
    first = ConsistencyProof.parse(f"old 0\n\n{SIZE_1}")
    assert verify_checkpoint(first.checkpoint, policy).tree_size == 1
    assert verify_consistency(FROM_1_TO_3 + SIZE_3, old=old, policy=policy).new.tree_size == 3
    assert verify_consistency(FROM_3_TO_5 + SIZE_5, old=SIZE_3.encode(), policy=policy).new.tree_size == 5
    # The bad signature there is no canonical base64 either, which comes first here.
    with pytest.raises(FormatError, match="not canonical base64"):
        verify_consistency(FROM_1_TO_3 + SIZE_3.replace("Vrx6go=", "Vrx6gx="), old=old, policy=policy)
    with pytest.raises(SignatureError):
        verify_consistency(FROM_1_TO_3 + SIZE_3.replace("Vrx6go=", "Vrx6gw="), old=old, policy=policy)
    with pytest.raises(UnknownOriginError):
        verify_consistency(FROM_1_TO_3 + SIZE_3.replace("e562", "e563"), old=old, policy=policy)
    wrong = FROM_1_TO_3[: FROM_1_TO_3.index("KgI")] + f"{WRONG_HASH}\n\n"
    for proof in (f"old 1\n\n{SIZE_3}", wrong + SIZE_3):
        with pytest.raises(ProofError):
            verify_consistency(proof, old=old, policy=policy)


def test_every_changed_byte_of_the_request_is_noticed() -> None:
    """No byte of the proof file, and none of the kept checkpoint, can change."""
    proof, old = consistency_proof(3, LEAVES[:7]).format(), checkpoint(LEAVES[:3]).raw
    for _, changed in mutations(proof):
        with pytest.raises(Error):
            verify_consistency(changed, old=old, policy=POLICY)
    for _, changed in mutations(old):
        with pytest.raises(Error):
            verify_consistency(proof, old=changed, policy=POLICY)


def test_every_single_change_of_a_consistency_proof_is_noticed() -> None:
    """S1: for all pairs of sizes to 17, each hash changed, dropped or doubled, and other sizes claimed."""
    signed = [checkpoint(LEAVES[:size]) for size in range(18)]
    for new_size in range(2, 18):
        for old_size in range(1, new_size):
            hashes = consistency_path(old_size, LEAVES[:new_size])
            bad = [(*hashes, bytes(32)), (bytes(32), *hashes), ()]
            for i, value in enumerate(hashes):
                flipped = bytes([value[0] ^ 1]) + value[1:]
                bad += [(*hashes[:i], flipped, *hashes[i + 1 :]), hashes[:i] + hashes[i + 1 :]]
                bad.append((*hashes[:i], value, *hashes[i:]))
            for forged in bad:
                with pytest.raises(ProofError):
                    verify_consistency(
                        ConsistencyProof(old_size, forged, signed[new_size]), old=signed[old_size], policy=POLICY
                    )
            for other in range(18):
                if other != old_size:
                    with pytest.raises(VerificationError, match="old size is not the tree size"):
                        verify_consistency(
                            ConsistencyProof(other, hashes, signed[new_size]), old=signed[old_size], policy=POLICY
                        )


def test_two_trees_of_one_size() -> None:
    """A fork at one size is evidence: both signed notes come with the error, whatever hashes the file has."""
    old, new = checkpoint(LEAVES[:7]), checkpoint(entry_lines(7, word="other"))
    for hashes in ((), (bytes(32),)):
        with pytest.raises(InconsistentLogError, match="two trees of size 7") as caught:
            verify_consistency(ConsistencyProof(7, hashes, new), old=old, policy=POLICY)
        assert (caught.value.old_note, caught.value.new_note, caught.value.proof) == (old.raw, new.raw, hashes)
        for note in (caught.value.old_note, caught.value.new_note):
            verify_checkpoint(note, POLICY)


def test_a_rewritten_history_convicts_itself() -> None:
    """A log that replaced signed entries and proves its new tree honestly is convicted by that proof.

    Where the old size is a power of two, its root is no part of the proof, which then leads nowhere.
    """
    for size in range(1, 17):
        forked = [*LEAVES[: size - 1], *entry_lines(33, word="other")[size - 1 : 20]]
        proof, old = consistency_proof(size, forked), checkpoint(LEAVES[:size])
        if size & (size - 1) == 0:
            with pytest.raises(ProofError):
                verify_consistency(proof, old=old, policy=POLICY)
            continue
        with pytest.raises(InconsistentLogError, match="replaced entries below") as caught:
            verify_consistency(proof, old=old, policy=POLICY)
        assert (caught.value.old_note, caught.value.new_note) == (old.raw, proof.checkpoint.raw)
        assert caught.value.proof == proof.hashes


def test_a_damaged_proof_accuses_nobody() -> None:
    """A wrong hash in the file is the file's fault: no accusation comes of it, wherever it stands."""
    for old_size in range(1, 17):
        proof, old = consistency_proof(old_size, LEAVES[:17]), checkpoint(LEAVES[:old_size])
        for i, value in enumerate(proof.hashes):
            damaged = (*proof.hashes[:i], sha256(value).digest(), *proof.hashes[i + 1 :])
            with pytest.raises(ProofError):
                verify_consistency(replace(proof, hashes=damaged), old=old, policy=POLICY)


def test_a_smaller_checkpoint_than_the_kept_one() -> None:
    """R14, S2: a log that went back, also to nothing, is told from one that grew; the kept checkpoint decides."""
    old = checkpoint(LEAVES[:7])
    for size in (0, 1, 6):
        for claimed in (size, 7):
            proof = ConsistencyProof(claimed, (), checkpoint(LEAVES[:size]))
            with pytest.raises(VerificationError, match="smaller than the one that was kept"):
                verify_consistency(proof, old=old, policy=POLICY)


def test_the_kept_checkpoint_must_be_signed_by_the_log() -> None:
    """The old checkpoint is not believed because it is old: unsigned, foreign and forged ones are refused."""
    proof = consistency_proof(3, LEAVES[:7])
    with pytest.raises(UntrustedNoteError):
        verify_consistency(proof, old=checkpoint(LEAVES[:3], IMPOSTOR), policy=POLICY)
    with pytest.raises(FormatError):
        verify_consistency(proof, old=checkpoint(LEAVES[:3]).text, policy=POLICY)
    with pytest.raises(FormatError):
        verify_consistency(proof, old=replace(checkpoint(LEAVES[:3]), signatures=()), policy=POLICY)
    with pytest.raises(SignatureError):
        verify_consistency(proof, old=replace(checkpoint(LEAVES[:3]), tree_size=4), policy=POLICY)


def test_two_logs_are_not_compared() -> None:
    """S2: checkpoints of two logs of the policy, even with equal trees, are not one log's history."""
    second = signing_key("audit.example.com/second")
    policy = Policy.parse(f"log {LOG.verifier_key}\nlog {second.verifier_key}\nquorum none\n")
    old = checkpoint(LEAVES[:3], second, origin=second.name)
    with pytest.raises(VerificationError, match="different logs"):
        verify_consistency(consistency_proof(3, LEAVES[:7]), old=old, policy=policy)
    with pytest.raises(UnknownOriginError):
        verify_consistency(consistency_proof(3, LEAVES[:7]), old=old, policy=POLICY)


def test_the_new_checkpoint_needs_the_quorum_and_the_old_one_does_not() -> None:
    """The witnesses must have seen the new tree; what was kept may be from before there were witnesses."""
    old, witness = checkpoint(LEAVES[:3]), witness_key(1)
    with pytest.raises(PolicyError):
        verify_consistency(consistency_proof(3, LEAVES[:7]), old=old, policy=WITNESSED)
    verified = verify_consistency(consistency_proof(3, LEAVES[:7], LOG, witness), old=old, policy=WITNESSED)
    assert verified.new.witnesses_met == ("w1",)
    assert type(verified.old) is LogSignedCheckpoint


def test_a_contradiction_is_told_before_the_quorum() -> None:
    """A fork that no witness cosigned is still a fork."""
    forked = entry_lines(7, word="other")
    with pytest.raises(InconsistentLogError):
        verify_consistency(consistency_proof(7, forked), old=checkpoint(LEAVES[:7]), policy=WITNESSED)
    with pytest.raises(InconsistentLogError):
        verify_consistency(consistency_proof(5, forked), old=checkpoint(LEAVES[:5]), policy=WITNESSED)


def test_from_the_empty_tree() -> None:
    """Every tree extends the empty one, by a proof without hashes; the two signatures are still needed."""
    old = checkpoint([])
    verified = verify_consistency(consistency_proof(0, LEAVES[:7]), old=old, policy=POLICY)
    assert (verified.old.tree_size, verified.new.tree_size) == (0, 7)
    verify_consistency(consistency_proof(0, []), old=old, policy=POLICY)
    with pytest.raises(ProofError, match="from the empty tree has no hashes"):
        verify_consistency(ConsistencyProof(0, (bytes(32),), checkpoint(LEAVES[:7])), old=old, policy=POLICY)
    with pytest.raises(UntrustedNoteError):
        verify_consistency(consistency_proof(0, LEAVES[:7]), old=checkpoint([], IMPOSTOR), policy=POLICY)


def test_equal_checkpoints() -> None:
    """A log that did not grow is consistent with itself, by a proof without hashes."""
    old = checkpoint(LEAVES[:7])
    assert verify_consistency(consistency_proof(7, LEAVES[:7]), old=old, policy=POLICY).new.tree_size == 7
    with pytest.raises(ProofError):
        verify_consistency(ConsistencyProof(7, (bytes(32),), old), old=old, policy=POLICY)


@given(st.integers(1, 33), st.integers(1, 33), st.data())
def test_random_pairs(first: int, second: int, data: st.DataObject) -> None:
    """Random pairs of sizes verify; a random other byte in a random place of the file does not."""
    old_size, new_size = sorted((first, second))
    raw, old = consistency_proof(old_size, LEAVES[:new_size]).format(), checkpoint(LEAVES[:old_size]).raw
    verify_consistency(raw, old=old, policy=POLICY)
    place = data.draw(st.integers(0, len(raw) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[place]))
    with pytest.raises(Error):
        verify_consistency(raw[:place] + bytes([other]) + raw[place + 1 :], old=old, policy=POLICY)


def test_hashes_in_the_file_are_base64() -> None:
    """The file's hash lines are what the RFC's proof says, in the RFC's order."""
    lines = str(consistency_proof(3, LEAVES[:7])).splitlines()[1:5]
    assert [base64.b64decode(line) for line in lines] == [
        tree_hash(LEAVES[2:3]),
        tree_hash(LEAVES[3:4]),
        tree_hash(LEAVES[:2]),
        tree_hash(LEAVES[4:7]),
    ]
