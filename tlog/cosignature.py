"""Cosignatures: timestamped statements of witnesses that a checkpoint is consistent with all they saw before.

Only the Ed25519 form, signature type 0x04, is known here. Source: c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

from dataclasses import dataclass

from tlog._strict import require_int
from tlog.errors import FormatError, SignatureError
from tlog.keys import ED25519_COSIGNATURE, KEY_ID_SIZE, SIGNATURE_SIZE, Signer, VerifierKey, check_key_name

MAX_TIMESTAMP_S = 2**63 - 1

TIMESTAMP_SIZE = 8
PAYLOAD_SIZE = TIMESTAMP_SIZE + SIGNATURE_SIZE


@dataclass(frozen=True, slots=True)
class Cosignature:
    """An Ed25519 cosignature as it was made or read; nothing says that it verifies.

    key_name, key_id: the cosigner's, as on its signature line. timestamp_s: POSIX seconds, 1 to 2^63 - 1: a witness's
    cosignature always has a time. signature: 64 bytes. Raises: FormatError.
    """

    key_name: str
    key_id: bytes
    timestamp_s: int
    signature: bytes

    def __post_init__(self) -> None:
        check_key_name(self.key_name)
        what = f"cosignature of {self.key_name[:60]}"
        require_int(self.timestamp_s, f"{what}: timestamp", 1, MAX_TIMESTAMP_S)
        if len(self.key_id) != KEY_ID_SIZE or len(self.signature) != SIGNATURE_SIZE:
            raise FormatError(what, f"needs a key ID of {KEY_ID_SIZE} and a signature of {SIGNATURE_SIZE} bytes")

    @classmethod
    def decode(cls, key_name: str, key_id: bytes, payload: bytes) -> Cosignature:
        """Return the cosignature of a signature line: its name, its key ID, and the bytes that follow the ID.

        payload: uint64 timestamp, big-endian || 64-byte signature. Raises: FormatError.
        Source: c2sp.org/tlog-cosignature, section "Format".
        """
        if len(payload) != PAYLOAD_SIZE:
            reason = f"timestamp and signature take {PAYLOAD_SIZE} bytes, not {len(payload)}"
            raise FormatError(f"cosignature of {key_name[:60]}", reason)
        timestamp_s = int.from_bytes(payload[:TIMESTAMP_SIZE], "big")
        return cls(key_name, key_id, timestamp_s, payload[TIMESTAMP_SIZE:])

    @property
    def payload(self) -> bytes:
        """What the signature line holds behind the key ID: the 72 bytes that `decode` takes."""
        return self.timestamp_s.to_bytes(TIMESTAMP_SIZE, "big") + self.signature


def cosigned_message(text: bytes, timestamp_s: int) -> bytes:
    """Return the bytes that an Ed25519 cosigner signs: a header line, a time line, and the checkpoint's whole text.

    text: the checkpoint's note text, extension lines and final newline included. timestamp_s: 1 to 2^63 - 1.
    Source: c2sp.org/tlog-cosignature, section "Ed25519 signed message".
    """
    return b"cosignature/v1\ntime %d\n%b" % (timestamp_s, text)


def cosign(text: bytes, signer: Signer, timestamp_s: int) -> Cosignature:
    """Return the signer's cosignature over a checkpoint's note text.

    The statement is that at `timestamp_s` this was the largest consistent tree seen of the log: whoever calls this
    has checked that, and has stored it durably. Raises: FormatError for a key of another signature type, or a
    timestamp outside 1 to 2^63 - 1.
    """
    key = signer.verifier_key
    if key.key_type != ED25519_COSIGNATURE:
        raise FormatError(f"key {key.name}", f"signature type {key.key_type:#04x} can't cosign, only 0x04 can")
    require_int(timestamp_s, "cosignature timestamp", 1, MAX_TIMESTAMP_S)
    return Cosignature(key.name, key.key_id, timestamp_s, signer.sign(cosigned_message(text, timestamp_s)))


def verify_cosignature(cosignature: Cosignature, text: bytes, key: VerifierKey) -> None:
    """Check that `cosignature` is the statement of `key` about the checkpoint with the note text `text`.

    The timestamp is part of what is signed; whether it is recent enough is the caller's to judge.
    Raises: SignatureError, also where the cosignature names another key or the key is of another signature type.
    """
    named = (cosignature.key_name, cosignature.key_id) == (key.name, key.key_id)
    if key.key_type != ED25519_COSIGNATURE or not named:
        raise SignatureError(key.name, key.key_id)
    key.verify(cosigned_message(text, cosignature.timestamp_s), cosignature.signature)
