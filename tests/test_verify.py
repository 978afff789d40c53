"""Offline verification of checkpoints and inclusion proofs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import (
    IMPOSTOR,
    LOG,
    ORIGIN,
    TIMESTAMP_S,
    checkpoint,
    entry_lines,
    inclusion_path,
    inclusion_proof,
    mutations,
    signing_key,
    tree_hash,
    witness_key,
)
from tlog.errors import (
    Error,
    FormatError,
    PolicyError,
    ProofError,
    SignatureError,
    UnknownOriginError,
    UntrustedNoteError,
    VerificationError,
)
from tlog.keys import SigningKey
from tlog.policy import Policy, VerifiedCheckpoint
from tlog.tlogproof import Proof
from tlog.verify import VerifiedEntry, verify_checkpoint, verify_consistency, verify_proof

POLICY = Policy.for_log(LOG.verifier_key)
WITNESSED = Policy.parse(f"log {LOG.verifier_key}\nwitness w1 {witness_key(1).verifier_key}\nquorum w1\n")
LEAVES = entry_lines(33)
PROOF = inclusion_proof(4, LEAVES[:7])


def cosign(proof: Proof, *signers: SigningKey) -> Proof:
    """Return the proof with its checkpoint cosigned."""
    return replace(proof, checkpoint=proof.checkpoint.sign(*signers, timestamp_s=TIMESTAMP_S))


def test_every_entry_of_every_small_tree() -> None:
    """Each entry of the trees of 1 to 20 entries is proven, and comes back parsed from the proven bytes."""
    for size in range(1, 21):
        signed = checkpoint(LEAVES[:size])
        for index in range(size):
            proof = Proof(index, inclusion_path(index, LEAVES[:size]), signed, LEAVES[index])
            verified = verify_proof(proof, policy=POLICY)
            assert (verified.leaf_index, verified.entry.seq, verified.entry.raw) == (index, index, LEAVES[index])
            assert verified.checkpoint.tree_size == size


def test_a_proof_as_a_file() -> None:
    """Text and bytes of the file do as well as the parsed proof; the result says who signed and what the entry is."""
    expected = verify_proof(PROOF, policy=POLICY)
    assert verify_proof(str(PROOF), policy=POLICY) == verify_proof(PROOF.format(), policy=POLICY) == expected
    assert isinstance(expected, VerifiedEntry)
    assert isinstance(expected.checkpoint, VerifiedCheckpoint)
    assert expected.entry.partition == "users"
    assert expected.entry.data == {"event": 4}
    assert expected.checkpoint.log_key == LOG.verifier_key


def test_the_entry_given_besides() -> None:
    """The line may come from a file of its own, with or without its newline, and must agree with the extra line."""
    bare = replace(PROOF, extra=None)
    expected = verify_proof(PROOF, policy=POLICY)
    for proof in (bare, PROOF):
        for entry in (LEAVES[4], LEAVES[4] + b"\n"):
            assert verify_proof(proof, policy=POLICY, entry=entry) == expected
    with pytest.raises(VerificationError, match="give the entry's line"):
        verify_proof(bare, policy=POLICY)
    with pytest.raises(VerificationError, match="not the one in the proof's extra line"):
        verify_proof(PROOF, policy=POLICY, entry=LEAVES[3])
    with pytest.raises(VerificationError, match="not the one in the proof's extra line"):
        verify_proof(replace(PROOF, extra=b""), policy=POLICY, entry=LEAVES[4])
    for entry in (LEAVES[3], LEAVES[4][:-1], LEAVES[4] + b"\n\n", b" " + LEAVES[4], b"", b"\n"):
        with pytest.raises(ProofError):
            verify_proof(bare, policy=POLICY, entry=entry)


def test_an_empty_extra_line_is_no_entry() -> None:
    """An extra line of no bytes is claimed leaf data of no bytes, which is not in the log."""
    with pytest.raises(ProofError):
        verify_proof(replace(PROOF, extra=b""), policy=POLICY)


def test_every_changed_byte_of_the_file_is_noticed() -> None:
    """No byte of a proof file whose signers are known can change, with or without a quorum to meet."""
    raw = cosign(PROOF, witness_key(1)).format()
    verify_proof(raw, policy=WITNESSED)
    for _, changed in mutations(raw):
        with pytest.raises(Error):
            verify_proof(changed, policy=WITNESSED)


def test_unknown_signers_are_all_that_can_change() -> None:
    """With a line of an unknown signer, a change is refused, or lies in that line and alters nothing verified."""
    raw = cosign(PROOF, witness_key(1)).format()
    start = raw.rindex("—".encode())
    expected = verify_proof(raw, policy=POLICY)
    accepted = 0
    for place, changed in mutations(raw):
        try:
            verified = verify_proof(changed, policy=POLICY)
        except Error:
            continue
        assert place >= start
        assert verified.entry == expected.entry
        assert verified.checkpoint.checkpoint.text == expected.checkpoint.checkpoint.text
        assert (verified.checkpoint.log_key, verified.checkpoint.witnesses_met) == (LOG.verifier_key, ())
        accepted += 1
    assert accepted > 100


def test_every_single_change_of_the_proof_is_noticed() -> None:
    """S1, S7: each hash changed, dropped, doubled, swapped or added; index, size and leaf changed, at many sizes."""
    for size, index in [(1, 0), (2, 1), (7, 4), (8, 0), (20, 19), (33, 32), (33, 5)]:
        good = inclusion_proof(index, LEAVES[:size])
        verify_proof(good, policy=POLICY)
        hashes = good.hashes
        bad = [replace(good, hashes=(*hashes, bytes(32))), replace(good, hashes=(bytes(32), *hashes))]
        for i, value in enumerate(hashes):
            for bit in (0, 100, 255):
                flipped = (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(32, "big")
                bad.append(replace(good, hashes=(*hashes[:i], flipped, *hashes[i + 1 :])))
            bad.append(replace(good, hashes=hashes[:i] + hashes[i + 1 :]))
            bad.append(replace(good, hashes=(*hashes[:i], value, *hashes[i:])))
            bad.append(replace(good, hashes=(*hashes[:i], tree_hash(LEAVES[:size]), *hashes[i + 1 :])))
        if len(set(hashes)) > 1:
            bad.append(replace(good, hashes=hashes[::-1]))
        bad += [replace(good, leaf_index=other) for other in range(size + 2) if other != index]
        bad += [replace(good, leaf_index=other) for other in (2**32 + index, 2**62 + index)]
        for proof in bad:
            with pytest.raises((ProofError, FormatError)):
                verify_proof(proof, policy=POLICY)


def test_a_proof_belongs_to_its_own_checkpoint() -> None:
    """S5: a good path under another signed size, another signed root, or another log's checkpoint is refused."""
    for other in (checkpoint(LEAVES[:8]), checkpoint(LEAVES[:6]), checkpoint(entry_lines(7, word="other"))):
        with pytest.raises(ProofError):
            verify_proof(replace(PROOF, checkpoint=other), policy=POLICY)
    second = signing_key("audit.example.com/second")
    both = Policy.parse(f"log {LOG.verifier_key}\nlog {second.verifier_key}\nquorum none\n")
    elsewhere = checkpoint(LEAVES[:7], second, origin=second.name)
    with pytest.raises(UnknownOriginError):
        verify_proof(replace(PROOF, checkpoint=elsewhere), policy=POLICY)
    with pytest.raises(VerificationError, match="its partition is not"):
        verify_proof(replace(PROOF, checkpoint=elsewhere), policy=both)


def test_a_root_of_ones_own_proves_nothing() -> None:
    """S5, S12: a forged entry with a valid path to a root that the attacker computed, signed, or left unsigned."""
    forged = [*LEAVES[:4], entry_lines(5, word="forged")[4], *LEAVES[5:7]]
    resigned = inclusion_proof(4, forged, IMPOSTOR)
    with pytest.raises(UntrustedNoteError):
        verify_proof(resigned, policy=POLICY)
    borrowed = replace(resigned, checkpoint=replace(resigned.checkpoint, signatures=PROOF.checkpoint.signatures))
    with pytest.raises(SignatureError):
        verify_proof(borrowed, policy=POLICY)
    with pytest.raises(FormatError, match="0 signature lines"):
        verify_proof(replace(resigned, checkpoint=replace(resigned.checkpoint, signatures=())), policy=POLICY)
    with pytest.raises(ProofError):
        verify_proof(replace(PROOF, extra=forged[4]), policy=POLICY)
    with pytest.raises(UnknownOriginError):
        verify_proof(PROOF, policy=Policy(()))


def test_an_empty_proof_is_for_a_tree_of_one_leaf_only() -> None:
    """S7: a proof without hashes is good for the only leaf of a tree, and refused everywhere else."""
    only = inclusion_proof(0, LEAVES[:1])
    assert only.hashes == ()
    assert verify_proof(only, policy=POLICY).leaf_index == 0
    for size in (2, 3, 8):
        with pytest.raises(ProofError):
            verify_proof(replace(only, checkpoint=checkpoint(LEAVES[:size])), policy=POLICY)
    with pytest.raises(FormatError):
        verify_proof(replace(only, checkpoint=checkpoint([])), policy=POLICY)


def test_the_quorum_is_asked_for() -> None:
    """A proof whose checkpoint lacks the witness is refused with what is missing, and met witnesses are told."""
    with pytest.raises(PolicyError) as caught:
        verify_proof(PROOF, policy=WITNESSED)
    assert caught.value.missing == ("w1",)
    with pytest.raises(PolicyError):
        verify_proof(cosign(PROOF, witness_key(2)), policy=WITNESSED)
    assert verify_proof(cosign(PROOF, witness_key(1)), policy=WITNESSED).checkpoint.witnesses_met == ("w1",)


def _leaf_in_a_tree(leaf: bytes, index: int = 4, origin: str = ORIGIN) -> Proof:
    """A log that signs any leaf: `leaf` at `index` among entries that are as they should be."""
    leaves = [*LEAVES[:index], leaf, *LEAVES[index + 1 : 7]]
    return Proof(index, inclusion_path(index, leaves), checkpoint(leaves, signing_key(origin), origin=origin), leaf)


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        (b"", "it is no entry"),
        (b"one", "it is no entry"),
        (b"\xff\xfe", "it is no entry"),
        (LEAVES[4] + b"\n", "it is no entry"),
        (LEAVES[4].replace(b'"seq"', b'"Seq"'), "it is no entry"),
        (LEAVES[4].replace(b'{"event": 4}', b'{"event": 5}'), "hash is not the hash of its bytes"),
        (LEAVES[3], "its seq is not its leaf index"),
        (LEAVES[5], "its seq is not its leaf index"),
        (entry_lines(5, partition="admins")[4], "its partition is not the one"),
    ],
)
def test_leaves_that_are_in_the_log_but_are_not_its_entries(leaf: bytes, reason: str) -> None:
    """S7: even what a log signed must be an entry, with its own hash, at its own seq, of the log's partition."""
    with pytest.raises(VerificationError, match=reason) as caught:
        verify_proof(_leaf_in_a_tree(leaf), policy=POLICY)
    assert not isinstance(caught.value, ProofError)
    assert caught.value.seq == 4


def test_nothing_is_parsed_before_it_is_proven() -> None:
    """Leaf data that is neither in the tree nor an entry is refused for the first reason."""
    with pytest.raises(ProofError, match="does not lead to the root"):
        verify_proof(replace(PROOF, extra=b"no entry"), policy=POLICY)


def test_the_origin_names_the_partition() -> None:
    """The partition is the last element of the origin's path; an origin without a path names none."""
    for origin in ("a/users", "audit.example.com/deep/path/users"):
        policy = Policy.for_log(signing_key(origin).verifier_key)
        assert verify_proof(_leaf_in_a_tree(LEAVES[4], origin=origin), policy=policy).checkpoint.origin == origin
    for origin in ("users", "audit.example.com/Users", "audit.example.com/users/", "audit.example.com/xusers"):
        policy = Policy.for_log(signing_key(origin).verifier_key)
        with pytest.raises(VerificationError, match="its partition is not"):
            verify_proof(_leaf_in_a_tree(LEAVES[4], origin=origin), policy=policy)


@given(st.binary(), st.text())
def test_arbitrary_proofs(raw: bytes, text: str) -> None:
    """Arbitrary input is refused with the errors of tlog only."""
    for proof in (raw, text, PROOF.format().replace(b"index 4", raw), PROOF.format() + raw + b"\n"):
        with pytest.raises(Error):
            verify_proof(proof, policy=POLICY)
        with pytest.raises(Error):
            verify_consistency(proof, old=checkpoint(LEAVES[:3]), policy=POLICY)


def test_verify_checkpoint() -> None:
    """A checkpoint is verified from its bytes or as a value, by the whole policy."""
    signed = checkpoint(LEAVES[:7])
    assert verify_checkpoint(signed.raw, POLICY) == verify_checkpoint(signed, policy=POLICY)
    assert verify_checkpoint(signed, POLICY).tree_size == 7
    with pytest.raises(PolicyError):
        verify_checkpoint(signed, WITNESSED)
    with pytest.raises(FormatError):
        verify_checkpoint(signed.text, POLICY)
