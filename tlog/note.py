"""Signed notes: text with the signatures of one or more keys.

A signed note is the text, a blank line, and signature lines `— <key name> <base64 of key ID and signature>`. What an
untrusted note says means nothing: `open_note` is the way in, and it wants the keys that its caller trusts.
Source: c2sp.org/signed-note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tlog._strict import format_base64, parse_base64
from tlog.cosignature import Cosignature, cosign, verify_cosignature
from tlog.errors import FormatError, SignatureError, UntrustedNoteError
from tlog.keys import COSIGNATURES, KEY_ID_SIZE, Signer, VerifierKey, check_key_name

MAX_NOTE_SIZE = 1 << 20
"""Bytes of a signed note: room for 100 post-quantum signatures of 5 kB each, and a text as long."""

MAX_SIGNATURES = 100
"""Signature lines of a note. The specification wants at least 16; other implementations take 100."""

_LINE_START = "— "
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line of a note, unverified.

    name: key name. key_id: 4 bytes. signature: what follows the key ID, one byte or more; its form is the key type's
    matter. Raises: FormatError.
    """

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.key_id) != KEY_ID_SIZE or not self.signature:
            raise FormatError(f"signature of {self.name[:60]}", "needs a key ID of 4 bytes and a signature")

    @classmethod
    def parse(cls, line: str) -> NoteSignature:
        """Return the signature of one line without its newline. Raises: FormatError."""
        name, space, encoded = line.removeprefix(_LINE_START).partition(" ")
        if not line.startswith(_LINE_START) or not space:
            raise FormatError("note", f"{line[:60]!r} is not a signature line")
        raw = parse_base64(encoded, "note signature")
        return cls(name, raw[:KEY_ID_SIZE], raw[KEY_ID_SIZE:])

    def __str__(self) -> str:
        return f"{_LINE_START}{self.name} {format_base64(self.key_id + self.signature)}"


@dataclass(frozen=True, slots=True)
class Note:
    """A signed note, unverified: its text and its signature lines in order.

    text: UTF-8 without control characters but newlines, ending in a newline. signatures: 1 to MAX_SIGNATURES.
    Raises: FormatError.
    """

    text: bytes
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        check_note_text(self.text)
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            found = len(self.signatures)
            raise FormatError("note", f"it has {found} signature lines, where 1 to {MAX_SIGNATURES} are possible")

    @classmethod
    def parse(cls, raw: bytes) -> Note:
        """Return the parts of a signed note. Nothing is verified.

        raw: at most MAX_NOTE_SIZE bytes. Raises: FormatError for whatever is not a note in its one spelling.
        Source: c2sp.org/signed-note, section "Format".
        """
        if len(raw) > MAX_NOTE_SIZE:
            raise FormatError("note", f"{len(raw)} bytes are more than {MAX_NOTE_SIZE}")
        # The text may hold blank lines; the last one separates it from the signatures.
        split = raw.rfind(b"\n\n")
        if split < 0:
            raise FormatError("note", "it has no blank line between text and signatures")
        if not raw.endswith(b"\n"):
            raise FormatError("note", "its last line does not end in a newline")
        if raw.count(b"\n", split) > MAX_SIGNATURES + 2:
            raise FormatError("note", f"it has more than {MAX_SIGNATURES} signature lines")
        try:
            block = raw[split + 2 :].decode()
        except UnicodeDecodeError as err:
            raise FormatError("note", "a signature line is not UTF-8") from err
        lines = block.split("\n")[:-1]
        note = cls(raw[: split + 1], tuple(NoteSignature.parse(line) for line in lines))
        if note.raw != raw:
            raise FormatError("note", "it is not in its canonical spelling")
        return note

    @property
    def raw(self) -> bytes:
        """The whole signed note, as it is stored and sent."""
        return self.text + b"\n" + "".join(f"{signature}\n" for signature in self.signatures).encode()


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note of which at least one signature by a known key was verified, and no known key's signature failed.

    verified: each known key that signed, once, with its first signature line, in the order of the lines.
    """

    note: Note
    verified: tuple[tuple[VerifierKey, NoteSignature], ...]


def open_note(note: bytes | Note, keys: Iterable[VerifierKey]) -> OpenedNote:
    """Verify a signed note under the keys that the caller trusts.

    Lines of unknown keys are ignored, also where the name or the key ID alone is a known key's. Every line of a known
    key must verify; several lines of one key count once. Cost: one verification a line of a known key.
    Raises: FormatError (malformed note, or two known keys of one name and ID), SignatureError, UntrustedNoteError.
    Source: c2sp.org/signed-note, section "Signatures".
    """
    known = _index_keys(keys)
    parsed = Note.parse(note) if isinstance(note, bytes) else note
    verified: dict[VerifierKey, NoteSignature] = {}
    for signature in parsed.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        verify_line(key, parsed.text, signature)
        verified.setdefault(key, signature)
    if not verified:
        signers = ", ".join(f"{line.name[:60]}+{line.key_id.hex()}" for line in parsed.signatures[:3])
        more = f" and {len(parsed.signatures) - 3} more" if len(parsed.signatures) > 3 else ""
        raise UntrustedNoteError(f"no known key has signed the note; the signers are {signers}{more}", parsed.raw)
    return OpenedNote(parsed, tuple(verified.items()))


def sign_note(text: bytes, signers: Sequence[Signer], *, timestamp_s: int | None = None) -> Note:
    """Return the note that consists of `text` and one signature line of each signer.

    timestamp_s: POSIX seconds, needed where a signer is a cosigner. Raises: FormatError, also for no signers, or two
    of one key name and ID.
    """
    names = [(signer.verifier_key.name, signer.verifier_key.key_id) for signer in signers]
    if len(set(names)) != len(names):
        raise FormatError("note", "two signers have one key name and ID")
    check_note_text(text)
    return Note(text, tuple(sign_line(signer, text, timestamp_s=timestamp_s) for signer in signers))


def sign_line(signer: Signer, text: bytes, *, timestamp_s: int | None = None) -> NoteSignature:
    """Return the signer's signature line over the note text `text`.

    timestamp_s: POSIX seconds, needed for a cosigner and used by no other. Raises: FormatError.
    """
    key = signer.verifier_key
    if key.key_type in COSIGNATURES:
        if timestamp_s is None:
            raise FormatError(f"key {key.name}", "a cosigner needs a timestamp to sign")
        return NoteSignature(key.name, key.key_id, cosign(text, signer, timestamp_s).payload)
    return NoteSignature(key.name, key.key_id, signer.sign(text))


def verify_line(key: VerifierKey, text: bytes, signature: NoteSignature) -> None:
    """Check the signature line of a known key over the note text: the one place that knows what each type signs.

    Raises: SignatureError.
    """
    if (signature.name, signature.key_id) != (key.name, key.key_id):
        raise SignatureError(key.name, key.key_id)
    if key.key_type in COSIGNATURES:
        try:
            cosignature = Cosignature.decode(signature.name, signature.key_id, signature.signature)
        except FormatError as err:
            raise SignatureError(key.name, key.key_id) from err
        verify_cosignature(cosignature, text, key)
    else:
        key.verify(text, signature.signature)


def check_note_text(text: bytes) -> None:
    """Refuse a text that no note can have. Raises: FormatError. Source: c2sp.org/signed-note, section "Format"."""
    if not text.endswith(b"\n"):
        raise FormatError("note text", "it does not end in a newline")
    if len(text) > MAX_NOTE_SIZE:
        raise FormatError("note text", f"{len(text)} bytes are more than {MAX_NOTE_SIZE}")
    control = _CONTROL.search(text)
    if control is not None:
        raise FormatError("note text", f"it holds the control character {control[0][0]:#04x}")
    try:
        text.decode()
    except UnicodeDecodeError as err:
        raise FormatError("note text", "it is not UTF-8") from err


def _index_keys(keys: Iterable[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise FormatError("known keys", f"two different keys are both {key.name}+{key.key_id.hex()}")
    return known
