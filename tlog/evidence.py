"""Evidence of a split view: two checkpoints that one log signed, of which no tree can hold both.

The file needs nothing but the log's key to be judged, and nobody who shows it needs to be believed:

    tlog-evidence@v1
    against <base64 of the signed checkpoint of the smaller tree, or of the first of two of one size>
    <base64 of a hash>                                     any number of times

    <the other signed checkpoint>

Of two trees of one size, different root hashes are the contradiction, and there are no hashes. Otherwise the hashes are
the consistency proof from the smaller size to the larger one as the larger tree bears it out: it leads to the larger
tree's root, and to another root of the smaller size than the one that was signed. The proof begins with the hash that
RFC 6962 leaves out where the smaller size is a power of two, since it is the very hash in question.
Source: docs/formats.md, "Evidence"; RFC 9162 section 2.1.4.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from tlog._strict import format_base64, parse_base64, parse_hash
from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError, ProofError
from tlog.note import MAX_NOTE_SIZE
from tlog.policy import LogSignedCheckpoint, Policy
from tlog.proof import roots_from_consistency
from tlog.reader import TileReader
from tlog.tlogproof import MAX_PROOF_HASHES

HEADER = "tlog-evidence@v1"
MAX_EVIDENCE_SIZE = 3 * MAX_NOTE_SIZE
"""Bytes of a file: a note, another one in base64, and hashes."""

_AGAINST = "against "


@dataclass(frozen=True, slots=True)
class Evidence:
    """A claim that a log forked, unverified. `str(evidence)` is the file's text.

    against, shown: the signed checkpoints, the smaller tree's first. hashes: 32 bytes each, at most 64, none where the
    sizes are equal. Raises: FormatError.
    """

    against: Checkpoint
    shown: Checkpoint
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.against.tree_size > self.shown.tree_size:
            raise FormatError("evidence", "the checkpoint of the smaller tree comes first")
        if len(self.hashes) > MAX_PROOF_HASHES + 1 or any(len(value) != 32 for value in self.hashes):
            raise FormatError("evidence", f"it has at most {MAX_PROOF_HASHES + 1} hashes, of 32 bytes each")

    @classmethod
    def parse(cls, text: str | bytes) -> Evidence:
        """Return the claim that a file spells. Nothing is verified. Raises: FormatError for any other spelling."""
        if len(text) > MAX_EVIDENCE_SIZE:
            raise FormatError("evidence", f"it is longer than {MAX_EVIDENCE_SIZE} bytes")
        try:
            raw = text.encode() if isinstance(text, str) else text
            head, blank, shown = raw.partition(b"\n\n")
            lines = head.decode("ascii").split("\n", MAX_PROOF_HASHES + 4)
        except (UnicodeEncodeError, UnicodeDecodeError) as err:
            raise FormatError("evidence", "the lines before the checkpoint are not ASCII") from err
        if not blank or lines[0] != HEADER or len(lines) < 2 or not lines[1].startswith(_AGAINST):
            raise FormatError("evidence", f"it needs '{HEADER}', 'against <base64>', a blank line and a checkpoint")
        against = parse_base64(lines[1].removeprefix(_AGAINST), "evidence: against line")
        hashes = tuple(parse_hash(line, "evidence: hash line") for line in lines[2:])
        evidence = cls(Checkpoint.parse(against), Checkpoint.parse(shown), hashes)
        if evidence.format() != raw:
            raise FormatError("evidence", "it is not in its canonical spelling")
        return evidence

    def format(self) -> bytes:
        """Return the file's bytes. Raises: FormatError where a checkpoint is not signed."""
        lines = [HEADER, _AGAINST + format_base64(self.against.raw), *map(format_base64, self.hashes), "", ""]
        return "\n".join(lines).encode() + self.shown.raw

    def __str__(self) -> str:
        return self.format().decode()


@dataclass(frozen=True, slots=True)
class SplitView:
    """A log's fork, proven. against, shown: what it signed. root_hash: that of `against`'s size in `shown`'s tree."""

    against: LogSignedCheckpoint
    shown: LogSignedCheckpoint
    root_hash: bytes

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self.against.origin

    def __str__(self) -> str:
        size, roots = self.against.tree_size, (self.against.root_hash.hex(), self.root_hash.hex())
        return (
            f"the log {self.origin} signed two trees of which only one can be true: the first {size} entries have the "
            f"root {roots[0]} in its checkpoint of size {size}, and {roots[1]} in that of size {self.shown.tree_size}"
        )


def verify_evidence(evidence: str | bytes | Evidence, policy: Policy) -> SplitView:
    """Check that two statements which a log of the policy signed contradict each other.

    1. The file is well-formed.
    2. Both checkpoints are of one log of the policy, and signed by it. No quorum is asked for: witnesses may have been
       deceived, or have helped.
    3. The trees have one size and two roots; or the hashes lead to the larger tree's signed root, and to another root
       of the smaller size than the signed one.

    Raises: FormatError, UnknownOriginError, SignatureError, UntrustedNoteError; ProofError where there is no
    contradiction, or none is shown. Source: docs/formats.md, "Evidence".
    """
    # (1) Syntax.
    parsed = evidence if isinstance(evidence, Evidence) else Evidence.parse(evidence)
    # (2) One log has signed both.
    against, shown = policy.authenticate(parsed.against), policy.authenticate(parsed.shown)
    if against.origin != shown.origin:
        raise ProofError("the two checkpoints are of different logs", expected=against.origin, found=shown.origin)
    # (3) They contradict each other.
    root = _root_in(shown, against.tree_size, parsed.hashes)
    if root == against.root_hash:
        raise ProofError("there is no contradiction: the larger tree holds the smaller one")
    return SplitView(against, shown, root)


def _root_in(shown: LogSignedCheckpoint, size: int, hashes: tuple[bytes, ...]) -> bytes:
    """Return the root of the first `size` entries in the tree that was signed. Raises: ProofError."""
    if size == shown.tree_size:
        if hashes:
            raise ProofError("two trees of one size need no hashes")
        return shown.root_hash
    if size == 0:
        raise ProofError("the empty tree is in every tree: nothing contradicts it")
    if not hashes:
        raise ProofError("the hashes are missing that lead from the smaller size to the larger one")
    # The first hash is the one with which RFC 9162 begins; it is passed as the old root where that is left out.
    is_perfect = size & (size - 1) == 0
    try:
        old, new = roots_from_consistency(size, shown.tree_size, hashes[0], hashes[1:] if is_perfect else hashes)
    except FormatError as err:
        raise ProofError(f"the hashes are no consistency proof ({err.reason})") from err
    if new != shown.root_hash:
        raise ProofError(
            "the hashes do not lead to the larger tree's root", expected=shown.root_hash.hex(), found=new.hex()
        )
    return old


def find_contradiction(own: Checkpoint, tree: TileReader, other: Checkpoint) -> Evidence | None:
    """Return the evidence that `other` contradicts a log's tree that one has verified oneself, None where it does not.

    own: the signed checkpoint of that tree. tree: its reader. other: signed by the same log, of any size up to own's;
    who calls this has verified both signatures. Raises: FormatError where `other` is larger: it is to be compared when
    one's own tree has grown; what reading tiles raises. Cost: a few tiles.
    """
    size = other.tree_size
    if size > own.tree_size:
        raise FormatError("checkpoint", f"its size {size} is larger than {own.tree_size}, that of the verified tree")
    root = own.root_hash if size == own.tree_size else tree.root_at(size)
    if root == other.root_hash:
        return None
    return contradiction(other, own, tree.consistency_proof(size) if size < own.tree_size else (), root)


def contradiction(against: Checkpoint, shown: Checkpoint, proof: tuple[bytes, ...], root_hash: bytes) -> Evidence:
    """Return the evidence that two signed checkpoints contradict each other.

    against, shown: the smaller tree's first. proof: the consistency proof of RFC 6962 from one size to the other in
    `shown`'s tree. root_hash: of the smaller size in that tree. Nothing is verified here. Raises: FormatError.
    """
    size = against.tree_size
    if size == shown.tree_size:
        return Evidence(against, shown)
    return Evidence(against, shown, (root_hash, *proof) if size & (size - 1) == 0 else proof)
