"""Offline verification: what an auditor calls, with nothing but the bytes given, and a policy of trusted keys.

Trust moves forward step by step or an error is raised; what comes back was proven. A key or a root hash that arrives
inside a proof is never believed: every root is one that a log of the policy signed. Nothing here reads files, knows a
ledger or asks the network. Source: c2sp.org/tlog-proof, section "Verifying a tlog proof"; RFC 9162 section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from tlog.checkpoint import Checkpoint
from tlog.entry import Entry, parse_entry
from tlog.errors import FormatError, InconsistentLogError, ProofError, VerificationError
from tlog.hashing import leaf_hash
from tlog.policy import LogSignedCheckpoint, Policy, VerifiedCheckpoint
from tlog.proof import roots_from_consistency, verify_inclusion
from tlog.proof import verify_consistency as verify_consistency_hashes
from tlog.tlogproof import ConsistencyProof, Proof


@dataclass(frozen=True, slots=True)
class VerifiedEntry:
    """An entry that is in the log: at this index of the tree that the checkpoint commits to.

    entry: the entry, parsed from the very bytes that were proven. leaf_index: equal to entry.seq. checkpoint: valid
    under the policy; its `witnesses_met` says who cosigned it. What is not proven: the entries before and after it,
    and that what the writer said is true.
    """

    entry: Entry
    leaf_index: int
    checkpoint: VerifiedCheckpoint


@dataclass(frozen=True, slots=True)
class VerifiedConsistency:
    """Two checkpoints of one log, of which the new one extends the old one: nothing before was changed or removed.

    old: signed by the log (its quorum is not asked for, see `verify_consistency`). new: valid under the policy.
    """

    old: LogSignedCheckpoint
    new: VerifiedCheckpoint


def verify_checkpoint(checkpoint: bytes | Checkpoint, policy: Policy) -> VerifiedCheckpoint:
    """Check that a signed checkpoint is valid under the policy: origin, log's signature, quorum of witnesses.

    checkpoint: the signed note. Raises: FormatError, UnknownOriginError, SignatureError, UntrustedNoteError,
    PolicyError. Cost: one signature verification a signature line of a known key.
    """
    return policy.verify(checkpoint)


def verify_proof(proof: str | bytes | Proof, *, policy: Policy, entry: bytes | None = None) -> VerifiedEntry:
    """Check that an entry is in a log, from a `.tlog-proof` file and a policy alone.

    1. The proof file is well-formed.
    2. Its checkpoint is valid under the policy: origin, log's signature, witnesses' quorum.
    3. The entry's line is the one that the file carries, or the one given; if there are both, they are equal.
    4. The inclusion proof leads from the line's leaf hash, at the proof's index, to the checkpoint's root hash.
    5. Only then is the line parsed. Its own hash is right, its seq is the leaf index, and its partition is the one
       that the origin names.

    proof: the file's content, or a parsed proof. entry: the entry's line, with or without its newline; needed where
    the proof has no extra line. Raises: FormatError, UnknownOriginError, SignatureError, UntrustedNoteError,
    PolicyError, ProofError, VerificationError. Cost: one signature verification a known key, and a SHA-256 call a
    hash. Source: c2sp.org/tlog-proof, section "Verifying a tlog proof".
    """
    # (1) Syntax.
    parsed = proof if isinstance(proof, Proof) else Proof.parse(proof)
    # (2) The checkpoint, under keys that the caller pinned.
    checkpoint = policy.verify(parsed.checkpoint)
    # (3) Which bytes are claimed to be in the log.
    leaf_data = _leaf_data(parsed, entry)
    # (4) They are there, at that index, in the tree of the size and root that were signed.
    verify_inclusion(leaf_hash(leaf_data), parsed.leaf_index, checkpoint.tree_size, checkpoint.root_hash, parsed.hashes)
    # (5) What they say.
    return VerifiedEntry(proven_entry(leaf_data, parsed.leaf_index, checkpoint.origin), parsed.leaf_index, checkpoint)


def verify_consistency(
    proof: str | bytes | ConsistencyProof, *, old: bytes | Checkpoint, policy: Policy
) -> VerifiedConsistency:
    """Check that a log's new checkpoint extends the old one, which the auditor kept from before.

    1. The proof file is well-formed.
    2. Both checkpoints are of the same log, and signed by it under the policy.
    3. They do not contradict each other: of two checkpoints of one size the root hashes are equal.
    4. The proof's old size is the old checkpoint's tree size, and the new checkpoint is not smaller.
    5. The consistency proof leads from the old root hash to the new one. If it leads to the new root hash, but from
       another old one, then it shows that the log has replaced entries that it had signed.
    6. The new checkpoint is cosigned by the policy's quorum.

    The quorum is asked of the new checkpoint only. The old one adds no trust: it can only make this check fail, and it
    may be older than the policy's witnesses. Contradiction comes before the quorum, for it is the worse news.

    old: the signed note that was kept. Raises: InconsistentLogError, carrying both signed notes as evidence, where the
    log contradicts itself; ProofError where the proof leads nowhere, which a damaged file explains as well as a fork;
    FormatError, UnknownOriginError, SignatureError, UntrustedNoteError, PolicyError, VerificationError.
    Source: RFC 9162 section 2.1.4, c2sp.org/tlog-witness.
    """
    # (1) Syntax.
    parsed = proof if isinstance(proof, ConsistencyProof) else ConsistencyProof.parse(proof)
    # (2) One log has signed both.
    kept, new = policy.authenticate(old), policy.authenticate(parsed.checkpoint)
    if kept.origin != new.origin:
        message = "the two checkpoints are of different logs"
        raise VerificationError(message, expected=repr(kept.origin), found=repr(new.origin))
    # (3) Two root hashes for one size contradict each other, whatever the proof says.
    if kept.tree_size == new.tree_size and kept.root_hash != new.root_hash:
        message = f"the log {new.origin} has signed two trees of size {new.tree_size}: it has forked"
        raise _contradiction(message, kept, new, parsed)
    # (4) The proof speaks of these two sizes.
    if new.tree_size < kept.tree_size:
        message = (
            "the proof's checkpoint is smaller than the one that was kept: it is an old one, or the log went back; "
            "ask the log for a proof from the kept size to its present one"
        )
        raise VerificationError(message, expected=f"at least {kept.tree_size}", found=str(new.tree_size))
    if parsed.old_size != kept.tree_size:
        message = "the proof's old size is not the tree size of the checkpoint that was kept"
        raise VerificationError(message, expected=str(kept.tree_size), found=str(parsed.old_size))
    # (5) The old tree is a prefix of the new one.
    _verify_prefix(kept, new, parsed)
    # (6) The policy's witnesses saw the new one.
    return VerifiedConsistency(kept, policy.require_quorum(new))


def _leaf_data(proof: Proof, entry: bytes | None) -> bytes:
    """Return the claimed leaf data: the extra line's content, or the entry that the caller gave."""
    given = None if entry is None else entry.removesuffix(b"\n")
    if proof.extra is None:
        if given is None:
            raise VerificationError("the proof does not carry its entry; give the entry's line besides")
        return given
    if given is not None and given != proof.extra:
        raise VerificationError("the entry given is not the one in the proof's extra line")
    return proof.extra


def proven_entry(leaf_data: bytes, leaf_index: int, origin: str) -> Entry:
    """Return the entry of leaf data that was proven, having compared what it says with where it was found.

    leaf_data: what is the leaf at `leaf_index` of the log with this origin; that is the caller's claim. Raises:
    VerificationError where it is no entry, or one of another place.
    """
    place = f"entry {leaf_index}"
    try:
        entry = parse_entry(leaf_data)
    except FormatError as err:
        message = f"the leaf is in the log, but it is no entry: {err.reason}"
        raise VerificationError(message, place=place, seq=leaf_index) from err
    if entry.seq != leaf_index:
        message = "its seq is not its leaf index"
        raise VerificationError(message, place=place, seq=leaf_index, expected=str(leaf_index), found=str(entry.seq))
    _, slash, partition = origin.rpartition("/")
    if not slash or entry.partition != partition:
        message = "its partition is not the one that the log's origin names"
        raise VerificationError(message, place=place, seq=leaf_index, expected=origin, found=entry.partition)
    return entry


def _verify_prefix(old: LogSignedCheckpoint, new: LogSignedCheckpoint, proof: ConsistencyProof) -> None:
    """Check the hashes of the consistency proof between two signed trees, old.tree_size <= new.tree_size."""
    if old.tree_size == 0:
        # Every tree extends the empty one, whose root hash the checkpoint's parser has compared.
        if proof.hashes:
            raise ProofError("a proof from the empty tree has no hashes", expected="0", found=str(len(proof.hashes)))
        return
    if old.tree_size == new.tree_size:
        verify_consistency_hashes(old.tree_size, new.tree_size, old.root_hash, new.root_hash, proof.hashes)
        return
    prefix_root, whole_root = roots_from_consistency(old.tree_size, new.tree_size, old.root_hash, proof.hashes)
    if whole_root == new.root_hash and prefix_root != old.root_hash:
        # The hashes lead to the signed new root, so `prefix_root` is that of the new tree's first entries; and since
        # the log signed another one for them, it is convicted by its own proof.
        message = f"the log {new.origin} has replaced entries below {old.tree_size} that it had signed: it has forked"
        raise _contradiction(message, old, new, proof)
    verify_consistency_hashes(old.tree_size, new.tree_size, old.root_hash, new.root_hash, proof.hashes)


def _contradiction(
    message: str, old: LogSignedCheckpoint, new: LogSignedCheckpoint, proof: ConsistencyProof
) -> InconsistentLogError:
    return InconsistentLogError(message, old_note=old.checkpoint.raw, new_note=new.checkpoint.raw, proof=proof.hashes)
