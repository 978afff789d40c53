"""Checkpoints: what a log signs about its tree at one size, as a signed note.

The note's text is the origin, the tree size in decimal, the root hash in base64, and optional extension lines, each on
a line. Parsing is syntax only: a `Checkpoint` says nothing until a policy has verified it (`tlog.policy`).
Source: c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tlog._strict import format_base64, parse_decimal, parse_hash, require_int
from tlog.errors import FormatError
from tlog.hashing import EMPTY_ROOT, HASH_SIZE
from tlog.keys import Signer
from tlog.names import MAX_ORIGIN_SIZE
from tlog.note import Note, NoteSignature, sign_line

MAX_TREE_SIZE = 2**63 - 1

_CONTROL = re.compile("[\x00-\x1f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, repr=False)
class Checkpoint:
    """A checkpoint as it was made or read; nothing says that its signatures verify.

    origin: the log's identity, 1 to 255 bytes of UTF-8 in one line. tree_size: 0 to 2^63 - 1 entries. root_hash: 32
    bytes; SHA-256 of nothing where the tree is empty. extensions: further lines of the text, not empty, opaque.
    signatures: the note's signature lines, none for a checkpoint still to be signed. Raises: FormatError.
    """

    origin: str
    tree_size: int
    root_hash: bytes
    extensions: tuple[str, ...] = ()
    signatures: tuple[NoteSignature, ...] = ()

    def __post_init__(self) -> None:
        _check_line(self.origin, "checkpoint origin")
        if len(self.origin.encode()) > MAX_ORIGIN_SIZE:
            raise FormatError("checkpoint origin", f"it has more than {MAX_ORIGIN_SIZE} bytes")
        require_int(self.tree_size, "checkpoint tree size", 0, MAX_TREE_SIZE)
        if len(self.root_hash) != HASH_SIZE:
            raise FormatError("checkpoint root hash", f"it is not {HASH_SIZE} bytes")
        if self.tree_size == 0 and self.root_hash != EMPTY_ROOT:
            raise FormatError("checkpoint root hash", "the root of the empty tree is SHA-256 of nothing")
        for line in self.extensions:
            _check_line(line, "checkpoint extension line")

    @classmethod
    def parse(cls, raw: bytes) -> Checkpoint:
        """Return the parts of a signed checkpoint. Syntax only: nothing is verified.

        raw: the signed note, at most 1 MiB. Raises: FormatError.
        """
        note = Note.parse(raw)
        return replace(cls.parse_text(note.text), signatures=note.signatures)

    @classmethod
    def parse_text(cls, text: bytes) -> Checkpoint:
        """Return the checkpoint, without signatures, of a note text. Raises: FormatError.

        Source: c2sp.org/tlog-checkpoint, section "Note text".
        """
        try:
            lines = text.decode().split("\n")
        except UnicodeDecodeError as err:
            raise FormatError("checkpoint", "it is not UTF-8") from err
        if len(lines) < 4 or lines[-1]:
            raise FormatError("checkpoint", "it needs an origin, a tree size and a root hash, each on a line")
        tree_size = parse_decimal(lines[1], "checkpoint tree size", MAX_TREE_SIZE)
        root_hash = parse_hash(lines[2], "checkpoint root hash")
        checkpoint = cls(lines[0], tree_size, root_hash, tuple(lines[3:-1]))
        if checkpoint.text != text:
            raise FormatError("checkpoint", "it is not in its canonical spelling")
        return checkpoint

    @property
    def text(self) -> bytes:
        """What is signed: the note text with its final newline."""
        lines = (self.origin, str(self.tree_size), format_base64(self.root_hash), *self.extensions, "")
        return "\n".join(lines).encode()

    @property
    def note(self) -> Note:
        """The signed note. Raises: FormatError where nobody has signed yet."""
        return Note(self.text, self.signatures)

    @property
    def raw(self) -> bytes:
        """The whole signed note, as it is stored and sent. Raises: FormatError where nobody has signed yet."""
        return self.note.raw

    def sign(self, *signers: Signer, timestamp_s: int | None = None) -> Checkpoint:
        """Return this checkpoint with a signature line of each signer behind the lines it has.

        An earlier line of the same key is replaced. timestamp_s: POSIX seconds, needed for cosigners.
        Raises: FormatError.
        """
        text = self.text
        added = {}
        for signer in signers:
            line = sign_line(signer, text, timestamp_s=timestamp_s)
            added[line.name, line.key_id] = line
        kept = [line for line in self.signatures if (line.name, line.key_id) not in added]
        return replace(self, signatures=(*kept, *added.values()))

    def __str__(self) -> str:
        return (self.raw if self.signatures else self.text).decode()

    def __repr__(self) -> str:
        signers = ", ".join(f"{line.name}+{line.key_id.hex()}" for line in self.signatures)
        return (
            f"<Checkpoint {self.origin!r} tree_size={self.tree_size} root_hash={self.root_hash.hex()} "
            f"signatures=[{signers}]>"
        )


def _check_line(line: str, what: str) -> None:
    if not line:
        raise FormatError(what, "it is empty")
    if _CONTROL.search(line) is not None:
        raise FormatError(what, f"{line[:60]!r} holds a control character")
