"""What a log sends to a witness: the body of `add-checkpoint`, taken apart so far that each rule can be asked in turn.

Parsing is syntax only. A tree size and a root hash that contradict each other are for the witness to judge, which has
statuses of its own for them. Source: c2sp.org/tlog-witness, section "add-checkpoint".
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from tlog._strict import MAX_TREE_SIZE, parse_decimal, parse_hash
from tlog.errors import FormatError
from tlog.note import MAX_NOTE_SIZE, Note
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
        if len(body) > MAX_REQUEST_SIZE:
            raise FormatError(_WHAT, f"{len(body)} bytes are more than {MAX_REQUEST_SIZE}")
        head, blank, signed = body.partition(b"\n\n")
        try:
            first, *proof = head.decode("ascii").split("\n", MAX_PROOF_HASHES + 2)
        except UnicodeDecodeError as err:
            raise FormatError(_WHAT, "the lines before the checkpoint are not ASCII") from err
        if not blank or not first.startswith("old "):
            raise FormatError(_WHAT, "it needs a line 'old <size>', the proof's hashes, a blank line and a checkpoint")
        if len(proof) > MAX_PROOF_HASHES:
            raise FormatError(_WHAT, f"it has more than {MAX_PROOF_HASHES} proof lines")
        old_size = parse_decimal(first.removeprefix("old "), f"{_WHAT}: old size", MAX_TREE_SIZE)
        hashes = tuple(parse_hash(line, f"{_WHAT}: proof line") for line in proof)
        return cls(old_size, hashes, *_checkpoint(signed))


def origin_hash(origin: str) -> str:
    """Return under which name a witness serves the checkpoints of a log: SHA-256 of the origin in lowercase hex."""
    return sha256(origin.encode()).hexdigest()


def _checkpoint(signed: bytes) -> tuple[Note, str, int, bytes]:
    """Return a signed checkpoint's note, origin, tree size and root hash. Raises: FormatError."""
    note = Note.parse(signed)
    origin, *rest = note.text.decode().split("\n")
    if not origin or len(rest) < 3 or not all(rest[:-1]):
        raise FormatError("checkpoint", "it needs an origin, a tree size and a root hash, each on a line")
    tree_size = parse_decimal(rest[0], "checkpoint tree size", MAX_TREE_SIZE)
    return note, origin, tree_size, parse_hash(rest[1], "checkpoint root hash")
