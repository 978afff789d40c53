"""The text formats of proofs: an inclusion proof and a consistency proof, each with the checkpoint it leads to.

An inclusion proof is a `.tlog-proof` file (c2sp.org/tlog-proof@v1). A consistency proof is the body of a witness's
`add-checkpoint` request (c2sp.org/tlog-witness), so the file can be posted to a witness as it is. Both formats are
parsed strictly by round trip; nothing here verifies anything (`tlog.verify` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlog._strict import format_base64, parse_base64, parse_decimal, parse_hash, require_int
from tlog.checkpoint import MAX_TREE_SIZE, Checkpoint
from tlog.errors import FormatError
from tlog.hashing import HASH_SIZE
from tlog.note import MAX_NOTE_SIZE

PROOF_HEADER = "c2sp.org/tlog-proof@v1"

MAX_PROOF_HASHES = 63
"""Hashes of a proof: an inclusion proof in a tree of 2^63 - 1 leaves has as many, and a witness takes no more."""

MAX_EXTRA_SIZE = 65_535
"""Bytes of a proof's extra data: the largest entry."""

MAX_PROOF_SIZE = MAX_NOTE_SIZE + (1 << 17)
"""Bytes of a proof file: the largest note, 63 hashes, and the extra data in base64."""


@dataclass(frozen=True, slots=True, repr=False)
class Proof:
    """An inclusion proof with its checkpoint, unverified. `str(proof)` is the text of the `.tlog-proof` file.

    leaf_index: zero-based. hashes: 32 bytes each, at most 63, from the leaf's sibling to the root's child. checkpoint:
    the signed checkpoint. extra: opaque bytes, at most 65,535, that nothing authenticates; None where the file has no
    extra line, which is not the same as b"". tlog puts the entry's line there. Raises: FormatError.
    """

    leaf_index: int
    hashes: tuple[bytes, ...]
    checkpoint: Checkpoint
    extra: bytes | None = None

    def __post_init__(self) -> None:
        require_int(self.leaf_index, "proof: leaf index", 0, MAX_TREE_SIZE)
        _check_hashes(self.hashes, "proof")
        if self.extra is not None and len(self.extra) > MAX_EXTRA_SIZE:
            raise FormatError("proof: extra line", f"{len(self.extra)} bytes are more than {MAX_EXTRA_SIZE}")

    @classmethod
    def parse(cls, text: str | bytes) -> Proof:
        """Return the proof that a `.tlog-proof` file holds. Nothing is verified.

        Raises: FormatError for whatever is not the one spelling. Source: c2sp.org/tlog-proof@v1, section "Format".
        """
        lines, checkpoint, raw = _split(text, "proof")
        if lines[0] != PROOF_HEADER:
            raise FormatError("proof", f"the first line is not {PROOF_HEADER}")
        rest = lines[1:]
        extra = None
        if rest and rest[0].startswith("extra "):
            extra = parse_base64(rest[0].removeprefix("extra "), "proof: extra line")
            rest = rest[1:]
        leaf_index = _numbered_line(rest[0] if rest else "", "index", "proof")
        proof = cls(leaf_index, _hash_lines(rest[1:], "proof"), Checkpoint.parse(checkpoint), extra)
        if proof.format() != raw:
            raise FormatError("proof", "it is not in its canonical spelling")
        return proof

    def format(self) -> bytes:
        """Return the bytes of the `.tlog-proof` file. Raises: FormatError where the checkpoint is not signed."""
        head = [PROOF_HEADER]
        if self.extra is not None:
            head.append(f"extra {format_base64(self.extra)}")
        head.append(f"index {self.leaf_index}")
        return _join(head, self.hashes, self.checkpoint)

    def __str__(self) -> str:
        return self.format().decode()

    def __repr__(self) -> str:
        return f"<Proof of leaf {self.leaf_index}, {len(self.hashes)} hashes, in {self.checkpoint!r}>"


@dataclass(frozen=True, slots=True, repr=False)
class ConsistencyProof:
    """A consistency proof with the newer checkpoint, unverified. `str(proof)` is its file's text.

    old_size: entries of the older tree, 0 to 2^63 - 1. hashes: 32 bytes each, at most 63, in the order of RFC 6962.
    checkpoint: the signed newer checkpoint. Raises: FormatError.
    """

    old_size: int
    hashes: tuple[bytes, ...]
    checkpoint: Checkpoint

    def __post_init__(self) -> None:
        require_int(self.old_size, "consistency proof: old size", 0, MAX_TREE_SIZE)
        _check_hashes(self.hashes, "consistency proof")

    @classmethod
    def parse(cls, text: str | bytes) -> ConsistencyProof:
        """Return the proof that an `add-checkpoint` request body holds. Nothing is verified.

        Raises: FormatError for whatever is not the one spelling. Source: c2sp.org/tlog-witness, "add-checkpoint".
        """
        lines, checkpoint, raw = _split(text, "consistency proof")
        old_size = _numbered_line(lines[0], "old", "consistency proof")
        proof = cls(old_size, _hash_lines(lines[1:], "consistency proof"), Checkpoint.parse(checkpoint))
        if proof.format() != raw:
            raise FormatError("consistency proof", "it is not in its canonical spelling")
        return proof

    def format(self) -> bytes:
        """Return the bytes of the file, or of the request. Raises: FormatError where the checkpoint is not signed."""
        return _join([f"old {self.old_size}"], self.hashes, self.checkpoint)

    def __str__(self) -> str:
        return self.format().decode()

    def __repr__(self) -> str:
        return f"<ConsistencyProof from {self.old_size}, {len(self.hashes)} hashes, to {self.checkpoint!r}>"


def _split(text: str | bytes, what: str) -> tuple[list[str], bytes, bytes]:
    """Return the lines before the first blank line, the bytes behind it, and the whole as bytes."""
    if len(text) > MAX_PROOF_SIZE:
        raise FormatError(what, f"it is longer than {MAX_PROOF_SIZE} bytes")
    try:
        raw = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError as err:
        raise FormatError(what, "it is not valid Unicode") from err
    head, blank, checkpoint = raw.partition(b"\n\n")
    if not blank:
        raise FormatError(what, "it has no blank line before the checkpoint")
    try:
        lines = head.decode("ascii").split("\n", MAX_PROOF_HASHES + 4)
    except UnicodeDecodeError as err:
        raise FormatError(what, "the lines before the checkpoint are not ASCII") from err
    return lines, checkpoint, raw


def _numbered_line(line: str, word: str, what: str) -> int:
    found, _, number = line.partition(" ")
    if found != word:
        raise FormatError(what, f"a line '{word} <number>' is missing where {line[:40]!r} stands")
    return parse_decimal(number, f"{what}: {word} line", MAX_TREE_SIZE)


def _hash_lines(lines: Sequence[str], what: str) -> tuple[bytes, ...]:
    if len(lines) > MAX_PROOF_HASHES:
        raise FormatError(what, f"it has more than {MAX_PROOF_HASHES} hashes")
    return tuple(parse_hash(line, f"{what}: hash line") for line in lines)


def _check_hashes(hashes: tuple[bytes, ...], what: str) -> None:
    if len(hashes) > MAX_PROOF_HASHES:
        raise FormatError(what, f"it has {len(hashes)} hashes, more than {MAX_PROOF_HASHES}")
    if any(len(value) != HASH_SIZE for value in hashes):
        raise FormatError(what, f"a hash is not {HASH_SIZE} bytes")


def _join(head: list[str], hashes: tuple[bytes, ...], checkpoint: Checkpoint) -> bytes:
    lines = [*head, *(format_base64(value) for value in hashes), "", ""]
    return "\n".join(lines).encode() + checkpoint.raw
