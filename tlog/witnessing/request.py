"""What a witness is sent: the bodies of `add-checkpoint` and `sign-subtree`, taken apart so that rules can be asked.

Parsing is syntax only. A tree size and a root hash that contradict each other are for the witness to judge, which has
statuses of its own for them. Source: c2sp.org/tlog-witness, sections "add-checkpoint" and "sign-subtree".
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from tlog._strict import MAX_TREE_SIZE, parse_decimal, parse_hash
from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError
from tlog.note import MAX_NOTE_SIZE, Note
from tlog.subtree import check_subtree
from tlog.tlogproof import MAX_PROOF_HASHES

MAX_REQUEST_SIZE = MAX_NOTE_SIZE + 4096
"""Bytes of a request: a signed note, and 63 hashes with a size line before it."""

_WHAT = "add-checkpoint"


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to cosign, unverified.

    old_size: entries of the tree that the proof starts from. hashes: the proof, at most 63 of 32 bytes. note: the
    signed checkpoint. origin, tree_size, root_hash: what its text says.
    """

    old_size: int
    hashes: tuple[bytes, ...]
    note: Note
    origin: str
    tree_size: int
    root_hash: bytes

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """Return the request that a body spells. Nothing is verified. Raises: FormatError for any other spelling.

        body: at most MAX_REQUEST_SIZE bytes. It is split at its first blank line; the checkpoint has one of its own.
        """
        (first, *proof), signed = _split(body, "old ", _WHAT)
        old_size = parse_decimal(first, f"{_WHAT}: old size", MAX_TREE_SIZE)
        return cls(old_size, _proof(proof, _WHAT), *_checkpoint(signed))


@dataclass(frozen=True, slots=True)
class SignSubtree:
    """A request to cosign a subtree of a tree that was cosigned, unverified.

    span: its leaves [start, end). subtree_root: 32 bytes. hashes: the proof, at most 63. checkpoint: of the tree.
    """

    span: tuple[int, int]
    subtree_root: bytes
    hashes: tuple[bytes, ...]
    checkpoint: Checkpoint

    @classmethod
    def parse(cls, body: bytes) -> SignSubtree:
        """Return the request that a body spells. Nothing is verified. Raises: FormatError for any other spelling.

        Source: c2sp.org/tlog-witness, section "sign-subtree".
        """
        what = "sign-subtree"
        (span, *rest), signed = _split(body, "subtree ", what)
        start, space, end = span.partition(" ")
        if not space or not rest:
            raise FormatError(what, "it needs a line 'subtree <start> <end>', and one with the subtree's hash")
        first = parse_decimal(start, f"{what}: range", MAX_TREE_SIZE)
        behind = parse_decimal(end, f"{what}: range", MAX_TREE_SIZE)
        checkpoint = Checkpoint.parse(signed)
        check_subtree(first, behind, checkpoint.tree_size)
        root = parse_hash(rest[0], f"{what}: hash line")
        return cls((first, behind), root, _proof(rest[1:], what), checkpoint)


def origin_hash(origin: str) -> str:
    """Return under which name a witness serves the checkpoints of a log: SHA-256 of the origin in lowercase hex."""
    return sha256(origin.encode()).hexdigest()


def _split(body: bytes, word: str, what: str) -> tuple[list[str], bytes]:
    """Return the lines before the first blank line, the first one without its word, and the bytes behind it."""
    if len(body) > MAX_REQUEST_SIZE:
        raise FormatError(what, f"{len(body)} bytes are more than {MAX_REQUEST_SIZE}")
    head, blank, signed = body.partition(b"\n\n")
    try:
        first, *rest = head.decode("ascii").split("\n", MAX_PROOF_HASHES + 3)
    except UnicodeDecodeError as err:
        raise FormatError(what, "the lines before the checkpoint are not ASCII") from err
    if not blank or not first.startswith(word):
        raise FormatError(what, f"it needs a line that begins with '{word}', hashes, a blank line and a checkpoint")
    return [first.removeprefix(word), *rest], signed


def _proof(lines: list[str], what: str) -> tuple[bytes, ...]:
    if len(lines) > MAX_PROOF_HASHES:
        raise FormatError(what, f"it has more than {MAX_PROOF_HASHES} proof lines")
    return tuple(parse_hash(line, f"{what}: proof line") for line in lines)


def _checkpoint(signed: bytes) -> tuple[Note, str, int, bytes]:
    """Return a signed checkpoint's note, origin, tree size and root hash. Raises: FormatError."""
    note = Note.parse(signed)
    origin, *rest = note.text.decode().split("\n")
    if not origin or len(rest) < 3 or not all(rest[:-1]):
        raise FormatError("checkpoint", "it needs an origin, a tree size and a root hash, each on a line")
    tree_size = parse_decimal(rest[0], "checkpoint tree size", MAX_TREE_SIZE)
    return note, origin, tree_size, parse_hash(rest[1], "checkpoint root hash")
