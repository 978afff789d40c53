"""Earlier roots: which root hash a signed tree had at an earlier size, and the proof of it.

Of two trees of one log, whoever was shown the smaller one cannot compare them without the larger one's tiles. Whoever
can read these answers with a file that needs nothing but the log's key to be judged:

    tlog-earlier-root@v1
    size <entries, in decimal>
    root <base64 of the root hash that the tree had at this size>
    <base64 of a hash>                                     any number of times

    <the tree's signed checkpoint>

The hashes are the consistency proof of RFC 6962 from the earlier size to the tree's. If the root hash is another one
than the log signed for that size, the answer is evidence (`tlog.evidence`) against it.
Source: docs/formats.md, "Earlier root"; RFC 9162 section 2.1.4.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from tlog._strict import format_base64, parse_decimal, parse_hash, require_int
from tlog.checkpoint import MAX_TREE_SIZE, Checkpoint
from tlog.errors import FormatError, ProofError, UnknownOriginError
from tlog.evidence import Evidence, contradiction
from tlog.hashing import HASH_SIZE
from tlog.note import MAX_NOTE_SIZE
from tlog.policy import LogSignedCheckpoint, Policy
from tlog.proof import verify_consistency
from tlog.reader import TileReader
from tlog.tlogproof import MAX_PROOF_HASHES

HEADER = "tlog-earlier-root@v1"
MAX_EARLIER_ROOT_SIZE = MAX_NOTE_SIZE + 4096
"""Bytes of a file: a signed note, and 63 hashes with three lines before them."""

_WHAT = "earlier root"


@dataclass(frozen=True, slots=True)
class EarlierRoot:
    """A claim about a tree at an earlier size, unverified. `str(root)` is the file's text.

    tree_size: the earlier size, from 1 to the checkpoint's. root_hash: 32 bytes. hashes: 32 bytes each, at most 63.
    checkpoint: the signed checkpoint of the tree. Raises: FormatError.
    """

    tree_size: int
    root_hash: bytes
    hashes: tuple[bytes, ...]
    checkpoint: Checkpoint

    def __post_init__(self) -> None:
        require_int(self.tree_size, f"{_WHAT}: size", 1, self.checkpoint.tree_size)
        if len(self.hashes) > MAX_PROOF_HASHES:
            raise FormatError(_WHAT, f"it has more than {MAX_PROOF_HASHES} hashes")
        if any(len(value) != HASH_SIZE for value in (self.root_hash, *self.hashes)):
            raise FormatError(_WHAT, f"a hash is not {HASH_SIZE} bytes")

    @classmethod
    def parse(cls, text: str | bytes) -> EarlierRoot:
        """Return the claim that a file spells. Nothing is verified. Raises: FormatError for any other spelling."""
        if len(text) > MAX_EARLIER_ROOT_SIZE:
            raise FormatError(_WHAT, f"it is longer than {MAX_EARLIER_ROOT_SIZE} bytes")
        try:
            raw = text.encode() if isinstance(text, str) else text
            head, blank, checkpoint = raw.partition(b"\n\n")
            lines = head.decode("ascii").split("\n", MAX_PROOF_HASHES + 4)
        except (UnicodeEncodeError, UnicodeDecodeError) as err:
            raise FormatError(_WHAT, "the lines before the checkpoint are not ASCII") from err
        words = [line.partition(" ")[0] for line in lines[:3]]
        if not blank or words != [HEADER, "size", "root"]:
            form = f"'{HEADER}', 'size <number>', 'root <base64>', a blank line and a checkpoint"
            raise FormatError(_WHAT, f"it needs {form}")
        if len(lines) > MAX_PROOF_HASHES + 3:
            raise FormatError(_WHAT, f"it has more than {MAX_PROOF_HASHES} hashes")
        claim = cls(
            parse_decimal(lines[1].removeprefix("size "), f"{_WHAT}: size line", MAX_TREE_SIZE),
            parse_hash(lines[2].removeprefix("root "), f"{_WHAT}: root line"),
            tuple(parse_hash(line, f"{_WHAT}: hash line") for line in lines[3:]),
            Checkpoint.parse(checkpoint),
        )
        if claim.format() != raw:
            raise FormatError(_WHAT, "it is not in its canonical spelling")
        return claim

    def format(self) -> bytes:
        """Return the file's bytes. Raises: FormatError where the checkpoint is not signed."""
        head = [HEADER, f"size {self.tree_size}", f"root {format_base64(self.root_hash)}"]
        return "\n".join([*head, *map(format_base64, self.hashes), "", ""]).encode() + self.checkpoint.raw

    def __str__(self) -> str:
        return self.format().decode()


@dataclass(frozen=True, slots=True)
class ProvenRoot:
    """The root hash that a tree had at an earlier size, proven. signed: the tree's checkpoint. hashes: the proof."""

    tree_size: int
    root_hash: bytes
    hashes: tuple[bytes, ...]
    signed: LogSignedCheckpoint

    def contradicts(self, other: Checkpoint) -> Evidence | None:
        """Return the evidence that this tree and another of the earlier size contradict each other; None if not.

        other: signed by the same log, which whoever calls this has verified. Raises: FormatError for another size.
        """
        if other.tree_size != self.tree_size:
            raise FormatError(_WHAT, f"it is of size {self.tree_size}, and the checkpoint of {other.tree_size}")
        if other.root_hash == self.root_hash:
            return None
        return contradiction(other, self.signed.checkpoint, self.hashes, self.root_hash)


def verify_earlier_root(claim: str | bytes | EarlierRoot, policy: Policy, origin: str, tree_size: int) -> ProvenRoot:
    """Check which root hash a log's tree had at an earlier size, and return it with the proof.

    policy: whose keys of logs are believed; no quorum is asked for. origin, tree_size: what was asked for.

    1. The claim is well-formed.
    2. It is about the size that was asked for, in a tree that this very log signed.
    3. The hashes lead from the root hash to the one that was signed.

    Raises: FormatError, UnknownOriginError, SignatureError, UntrustedNoteError, ProofError.
    Cost: one signature, two SHA-256 calls a hash. Source: docs/formats.md, "Earlier root".
    """
    # (1) Syntax.
    parsed = claim if isinstance(claim, EarlierRoot) else EarlierRoot.parse(claim)
    # (2) This log, this size.
    signed = policy.authenticate(parsed.checkpoint)
    if signed.origin != origin:
        raise UnknownOriginError(signed.origin, repr(origin))
    if parsed.tree_size != tree_size:
        raise ProofError("the root is of another size", expected=str(tree_size), found=str(parsed.tree_size))
    # (3) The proof.
    verify_consistency(tree_size, signed.tree_size, parsed.root_hash, signed.root_hash, parsed.hashes)
    return ProvenRoot(tree_size, parsed.root_hash, parsed.hashes, signed)


def prove_earlier_root(checkpoint: Checkpoint, tree: TileReader, tree_size: int) -> EarlierRoot:
    """Return the root hash that a tree had at an earlier size, with its proof.

    checkpoint: the tree's, signed. tree: its reader. tree_size: from 1 to the checkpoint's. Raises: FormatError; what
    reading tiles raises. Cost: the tiles of two proofs.
    """
    require_int(tree_size, f"{_WHAT}: size", 1, checkpoint.tree_size)
    return EarlierRoot(tree_size, tree.root_at(tree_size), tree.consistency_proof(tree_size), checkpoint)
