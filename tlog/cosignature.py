"""Cosignatures: timestamped statements of witnesses that a checkpoint is consistent with all they saw before.

There are two forms. Ed25519, signature type 0x04, signs the checkpoint's whole text, and not the cosigner's name.
ML-DSA-44, 0x06, signs the cosigner's name, the origin, and a subtree with its root hash, and no extension lines; a
checkpoint is the subtree [0, tree size). Source: c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

from dataclasses import dataclass

from tlog._strict import parse_decimal, parse_hash, require_int
from tlog.errors import FormatError, SignatureError
from tlog.hashing import HASH_SIZE
from tlog.keys import (
    COSIGNATURES,
    ED25519_COSIGNATURE,
    KEY_ID_SIZE,
    ML_DSA_44_COSIGNATURE,
    ML_DSA_44_SIGNATURE_SIZE,
    SIGNATURE_SIZE,
    Signer,
    VerifierKey,
    check_key_name,
)

MAX_TIMESTAMP_S = 2**63 - 1
MAX_SUBTREE = 2**63 - 1

TIMESTAMP_SIZE = 8

_SIGNATURE_SIZES = {ED25519_COSIGNATURE: SIGNATURE_SIZE, ML_DSA_44_COSIGNATURE: ML_DSA_44_SIGNATURE_SIZE}
_LABEL = b"subtree/v1\n\0"
_MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A cosignature as it was made or read; nothing says that it verifies.

    key_name, key_id: the cosigner's, as on its signature line. timestamp_s: POSIX seconds, 1 to 2^63 - 1: a witness's
    cosignature always has a time. 0 is possible with ML-DSA-44 only: a statement that the tree is consistent, and none
    that it is the largest one seen. signature: 64 bytes of Ed25519, or 2,420 of ML-DSA-44. Raises: FormatError.
    """

    key_name: str
    key_id: bytes
    timestamp_s: int
    signature: bytes

    def __post_init__(self) -> None:
        check_key_name(self.key_name)
        what = f"cosignature of {self.key_name[:60]}"
        size = len(self.signature)
        if len(self.key_id) != KEY_ID_SIZE or size not in _SIGNATURE_SIZES.values():
            raise FormatError(what, f"needs a key ID of {KEY_ID_SIZE} and a signature of {_sizes()} bytes")
        least = 0 if size == ML_DSA_44_SIGNATURE_SIZE else 1
        require_int(self.timestamp_s, f"{what}: timestamp", least, MAX_TIMESTAMP_S)

    @classmethod
    def decode(cls, key_name: str, key_id: bytes, payload: bytes) -> Cosignature:
        """Return the cosignature of a signature line: its name, its key ID, and the bytes that follow the ID.

        payload: uint64 timestamp, big-endian || signature. Raises: FormatError.
        Source: c2sp.org/tlog-cosignature, section "Format".
        """
        if len(payload) - TIMESTAMP_SIZE not in _SIGNATURE_SIZES.values():
            reason = f"{TIMESTAMP_SIZE} bytes of timestamp and {_sizes()} of signature are needed, not {len(payload)}"
            raise FormatError(f"cosignature of {key_name[:60]}", reason)
        timestamp_s = int.from_bytes(payload[:TIMESTAMP_SIZE], "big")
        return cls(key_name, key_id, timestamp_s, payload[TIMESTAMP_SIZE:])

    @property
    def payload(self) -> bytes:
        """What the signature line holds behind the key ID: the bytes that `decode` takes."""
        return self.timestamp_s.to_bytes(TIMESTAMP_SIZE, "big") + self.signature


def cosigned_message(text: bytes, timestamp_s: int) -> bytes:
    """Return the bytes that an Ed25519 cosigner signs: a header line, a time line, and the checkpoint's whole text.

    text: the checkpoint's note text, extension lines and final newline included. timestamp_s: 1 to 2^63 - 1.
    Source: c2sp.org/tlog-cosignature, section "Ed25519 signed message".
    """
    return b"cosignature/v1\ntime %d\n%b" % (timestamp_s, text)


def subtree_message(origin: str, start: int, end: int, root_hash: bytes, *, key_name: str, timestamp_s: int) -> bytes:
    """Return the bytes that an ML-DSA-44 cosigner signs about the subtree [start, end) of a log.

    key_name: the cosigner's, and origin: the log's, 1 to 255 bytes of UTF-8 each. timestamp_s: 0 to 2^63 - 1, and 0
    where start is not 0. root_hash: 32 bytes. Raises: FormatError.
    Source: c2sp.org/tlog-cosignature, section "ML-DSA-44 signed message".
    """
    what = f"cosigned message of {key_name[:60]}"
    require_int(end, f"{what}: end", 0, MAX_SUBTREE)
    require_int(start, f"{what}: start", 0, end)
    require_int(timestamp_s, f"{what}: timestamp", 0, 0 if start else MAX_TIMESTAMP_S)
    names = []
    for text in (key_name.encode(), origin.encode()):
        if not 1 <= len(text) <= _MAX_NAME:
            raise FormatError(what, f"the cosigner's name and the origin have 1 to {_MAX_NAME} bytes each")
        names.append(bytes([len(text)]) + text)
    if len(root_hash) != HASH_SIZE:
        raise FormatError(what, f"the root hash has {HASH_SIZE} bytes")
    numbers = [number.to_bytes(8, "big") for number in (timestamp_s, start, end)]
    return b"".join((_LABEL, names[0], numbers[0], names[1], *numbers[1:], root_hash))


def cosign(text: bytes, signer: Signer, timestamp_s: int) -> Cosignature:
    """Return the signer's cosignature over a checkpoint's note text.

    The statement is that at `timestamp_s` this was the largest consistent tree seen of the log: whoever calls this
    has checked that, and has stored it durably. Raises: FormatError for a key of another signature type, a timestamp
    outside 1 to 2^63 - 1, or, for ML-DSA-44, a text that is no checkpoint.
    """
    key = signer.verifier_key
    if key.key_type not in COSIGNATURES:
        raise FormatError(f"key {key.name}", f"signature type {key.key_type:#04x} can't cosign, only 0x04 and 0x06 can")
    require_int(timestamp_s, "cosignature timestamp", 1, MAX_TIMESTAMP_S)
    return Cosignature(key.name, key.key_id, timestamp_s, signer.sign(_message(key, text, timestamp_s)))


def verify_cosignature(cosignature: Cosignature, text: bytes, key: VerifierKey) -> None:
    """Check that `cosignature` is the statement of `key` about the checkpoint with the note text `text`.

    The timestamp is part of what is signed; whether it is recent enough is the caller's to judge.
    Raises: SignatureError, also where the cosignature names another key, the key is of another signature type, or, for
    ML-DSA-44, the text is no checkpoint.
    """
    named = (cosignature.key_name, cosignature.key_id) == (key.name, key.key_id)
    if len(cosignature.signature) != _SIGNATURE_SIZES.get(key.key_type) or not named:
        raise SignatureError(key.name, key.key_id)
    try:
        message = _message(key, text, cosignature.timestamp_s)
    except FormatError as err:
        raise SignatureError(key.name, key.key_id) from err
    key.verify(message, cosignature.signature)


def cosign_subtree(origin: str, start: int, end: int, root_hash: bytes, signer: Signer) -> Cosignature:
    """Return an ML-DSA-44 signer's cosignature, without a time, over the subtree [start, end) of a log.

    The statement is that the subtree is consistent with all that the signer saw. Raises: FormatError.
    """
    key = signer.verifier_key
    if key.key_type != ML_DSA_44_COSIGNATURE:
        raise FormatError(f"key {key.name}", f"signature type {key.key_type:#04x} can't cosign subtrees, only 0x06 can")
    message = subtree_message(origin, start, end, root_hash, key_name=key.name, timestamp_s=0)
    return Cosignature(key.name, key.key_id, 0, signer.sign(message))


def _message(key: VerifierKey, text: bytes, timestamp_s: int) -> bytes:
    """Return what a cosigner signs about a checkpoint. Raises: FormatError."""
    if key.key_type == ED25519_COSIGNATURE:
        return cosigned_message(text, timestamp_s)
    # The signature is over origin, size and root hash; the rest of the text is nobody's statement.
    lines = text.split(b"\n", 3)
    if len(lines) != 4:
        raise FormatError("checkpoint", "it needs an origin, a tree size and a root hash, each on a line")
    try:
        origin, size, root = (line.decode() for line in lines[:3])
    except UnicodeDecodeError as err:
        raise FormatError("checkpoint", "it is not UTF-8") from err
    tree_size = parse_decimal(size, "checkpoint tree size", MAX_SUBTREE)
    root_hash = parse_hash(root, "checkpoint root hash")
    return subtree_message(origin, 0, tree_size, root_hash, key_name=key.name, timestamp_s=timestamp_s)


def _sizes() -> str:
    return " or ".join(f"{size:,}" for size in _SIGNATURE_SIZES.values())
