"""Keys of signed notes: verifier keys (vkeys) and signing keys, of Ed25519 and ML-DSA-44.

A key is known by the pair (key name, key ID); the key ID is four bytes of a hash over name, signature type and public
key, so one Ed25519 key has one ID where it signs notes and another where it cosigns checkpoints. No function here
reads or writes files. Source: c2sp.org/signed-note, sections "Signatures" and "Verifier keys".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tlog._strict import format_base64, parse_base64
from tlog.errors import FormatError, SignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

ED25519_NOTE = 0x01
"""Signature type of an Ed25519 signature over a note's text: how a log signs its checkpoints."""

ED25519_COSIGNATURE = 0x04
"""Signature type of a timestamped Ed25519 cosignature (cosignature/v1): how a witness signs checkpoints."""

ML_DSA_44_COSIGNATURE = 0x06
"""Signature type of an ML-DSA-44 cosignature: how a witness, or a log, signs checkpoints for post-quantum readers."""

COSIGNATURES = (ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE)
"""The signature types that hold a timestamp, and that witnesses use."""

KEY_ID_SIZE = 4
PUBLIC_KEY_SIZE = 32
SEED_SIZE = 32
SIGNATURE_SIZE = 64
ML_DSA_44_PUBLIC_KEY_SIZE = 1312
ML_DSA_44_SIGNATURE_SIZE = 2420

MAX_VKEY_LENGTH = 4096
"""Characters of a vkey; the longest known, of an ML-DSA-44 key with a name of 255 bytes, has about 2,000."""

MAX_PEM_SIZE = 16_384
"""Bytes of a PEM file; an encrypted Ed25519 key needs about 350."""

_TYPE_NAMES = {
    ED25519_NOTE: "Ed25519 note signature",
    0x02: "ECDSA note signature",
    ED25519_COSIGNATURE: "Ed25519 cosignature",
    0x05: "RFC 6962 tree head signature",
    ML_DSA_44_COSIGNATURE: "ML-DSA-44 cosignature",
}
_SUPPORTED_TYPES = (ED25519_NOTE, *COSIGNATURES)

# Control characters can't stand in a note, '+' and the white space of Go's unicode.IsSpace not in a key name, and a
# lone surrogate in no UTF-8. Python's own idea of white space differs, so the characters are listed.
_NOT_IN_NAME = re.compile("[\x00-\x20+\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ud800-\udfff]")

_VKEY = re.compile(r"([^+]*)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]*)", re.ASCII)

_PEM = re.compile(
    rb"-----BEGIN ((?:ENCRYPTED )?PRIVATE KEY)-----\n(?:[A-Za-z0-9+/=]{1,76}\n)+-----END \1-----\n?", re.ASCII
)

# The y coordinates of the points whose order divides 8: under such a key a signature can be made for almost any
# message without a private key. Source: RFC 8032 section 5.1 (the curve); the points follow from 8P = 0.
_FIELD_PRIME = 2**255 - 19
_ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER_Y = frozenset({0, 1, _FIELD_PRIME - 1, _ORDER_8_Y, _FIELD_PRIME - _ORDER_8_Y})


class Signer(Protocol):
    """What can sign: a `SigningKey`, or a key that never leaves its hardware."""

    @property
    def verifier_key(self) -> VerifierKey:
        """The key with which others verify."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`: 64 bytes of Ed25519, or 2,420 of ML-DSA-44."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name, as a vkey writes it.

    name: the key name; for a log's key the log's origin. key_type: ED25519_NOTE, ED25519_COSIGNATURE or
    ML_DSA_44_COSIGNATURE. public_key: 32 bytes, or 1,312 of ML-DSA-44. key_id: 4 bytes, computed.
    Raises: FormatError for a name that notes can't hold, a signature type that is not supported, and public keys of
    small order, under which anybody can sign.
    Source: c2sp.org/signed-note, section "Verifier keys".
    """

    name: str
    key_type: int
    public_key: bytes
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if self.key_type not in _SUPPORTED_TYPES:
            raise FormatError(f"verifier key {self.name}", f"{_type_name(self.key_type)} is not supported")
        check = _check_ml_dsa_key if self.key_type == ML_DSA_44_COSIGNATURE else _check_ed25519_key
        check(self.public_key, f"verifier key {self.name}")
        object.__setattr__(self, "key_id", compute_key_id(self.name, self.key_type, self.public_key))

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """Return the key that `vkey` spells: `<name>+<8 hex digits>+<base64 of type and public key>`.

        Raises: FormatError for any other spelling, and where the key ID is not the one of name, type and key.
        """
        if len(vkey) > MAX_VKEY_LENGTH:
            raise FormatError("vkey", f"{len(vkey)} characters are more than {MAX_VKEY_LENGTH}")
        match = _VKEY.fullmatch(vkey)
        if match is None:
            raise FormatError("vkey", f"{vkey[:60]!r} is not <name>+<8 lowercase hex digits>+<base64>")
        name, key_id, encoded = match.groups()
        material = parse_base64(encoded, "vkey")
        if not material:
            raise FormatError("vkey", "it holds no key")
        # The ID is compared before the type is: a damaged vkey shall not pass for one of an unknown type.
        expected = compute_key_id(check_key_name(name), material[0], material[1:]).hex()
        if key_id != expected:
            raise FormatError("vkey", f"its key ID is {key_id}, but name and key give {expected}")
        return cls(name, material[0], material[1:])

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{format_base64(bytes([self.key_type]) + self.public_key)}"

    def __repr__(self) -> str:
        return f"VerifierKey.parse({str(self)!r})"

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check the `signature` over `message`.

        What the message is, the signature type says: `note.verify_line` makes it from a note's text.
        Raises: SignatureError. Cost: about 0.1 ms. Source: RFC 8032 section 5.1.7; FIPS 204 section 5.3.
        """
        from cryptography.exceptions import InvalidSignature

        try:
            self._public_key().verify(signature, message)
        except (InvalidSignature, ValueError) as err:
            raise SignatureError(self.name, self.key_id) from err

    def _public_key(self) -> Ed25519PublicKey | MLDSA44PublicKey:
        if self.key_type == ML_DSA_44_COSIGNATURE:
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

            return MLDSA44PublicKey.from_public_bytes(self.public_key)
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(self.public_key)


class SigningKey:
    """A private key with its name. Make one with `generate`, `from_seed` or `from_pem`.

    key_type says what it signs, and with which algorithm: ED25519_NOTE for a log, ED25519_COSIGNATURE or
    ML_DSA_44_COSIGNATURE for a witness. Neither `repr` nor an error shows the private key.
    """

    __slots__ = ("_private_key", "_verifier_key")

    def __init__(
        self, name: str, private_key: Ed25519PrivateKey | MLDSA44PrivateKey, key_type: int = ED25519_NOTE
    ) -> None:
        seed = private_key.private_bytes_raw()
        if seed == seed[:1] * SEED_SIZE:
            raise FormatError(f"private key of {name[:60]}", "all its bytes are equal: a placeholder, not a key")
        self._private_key = private_key
        self._verifier_key = VerifierKey(name, key_type, private_key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str, key_type: int = ED25519_NOTE) -> SigningKey:
        """Return a new random key. Raises: FormatError for a name that notes can't hold."""
        return cls(check_key_name(name), _private_class(key_type).generate(), key_type)

    @classmethod
    def from_seed(cls, name: str, seed: bytes, key_type: int = ED25519_NOTE) -> SigningKey:
        """Return the key of a 32-byte seed (the private key of RFC 8032, the seed of FIPS 204). Raises: FormatError."""
        if len(seed) != SEED_SIZE:
            raise FormatError(f"seed of {check_key_name(name)}", f"a seed is {SEED_SIZE} bytes")
        private = _private_class(key_type)
        make = private.from_private_bytes if key_type != ML_DSA_44_COSIGNATURE else private.from_seed_bytes
        return cls(check_key_name(name), make(seed), key_type)

    @classmethod
    def from_pem(
        cls, name: str, pem: bytes, passphrase: bytes | None = None, key_type: int = ED25519_NOTE
    ) -> SigningKey:
        """Return the key that a PKCS#8 PEM file holds. pem: the file's bytes, exactly one PEM block.

        passphrase: needed for an encrypted key, and refused for another. Raises: FormatError for empty or damaged
        files, keys of other kinds and wrong passphrases. Source: RFC 5958, RFC 7468 section 10, RFC 8410.
        """
        from cryptography.exceptions import InternalError, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        what = f"private key of {check_key_name(name)}"
        _check_pem(pem, passphrase, what)
        try:
            private_key = load_pem_private_key(pem, passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as err:
            reason = "the PEM block does not hold a PKCS#8 private key"
            if passphrase is not None:
                reason = "the passphrase is wrong, or the PEM block is damaged"
            raise FormatError(what, reason) from err
        if not isinstance(private_key, _private_class(key_type)):
            needed = "ML-DSA-44" if key_type == ML_DSA_44_COSIGNATURE else "Ed25519"
            raise FormatError(what, f"the file holds a key of another kind; an {needed} key is needed")
        return cls(name, private_key, key_type)

    def to_pem(self, passphrase: bytes | None = None) -> bytes:
        """Return the private key as PKCS#8 PEM, encrypted if a passphrase is given.

        Raises: FormatError for an empty passphrase, or one over 1,023 bytes.
        """
        from cryptography.hazmat.primitives.serialization import (
            BestAvailableEncryption,
            Encoding,
            KeySerializationEncryption,
            NoEncryption,
            PrivateFormat,
        )

        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            if not 1 <= len(passphrase) <= 1023:
                raise FormatError(f"passphrase of {self.name}", f"1 to 1023 bytes are possible, not {len(passphrase)}")
            encryption = BestAvailableEncryption(passphrase)
        return self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    @property
    def name(self) -> str:
        """The key name."""
        return self._verifier_key.name

    @property
    def key_type(self) -> int:
        """The signature type."""
        return self._verifier_key.key_type

    @property
    def verifier_key(self) -> VerifierKey:
        """The key with which others verify."""
        return self._verifier_key

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`: 64 bytes of Ed25519, or 2,420 of ML-DSA-44, which differ at each call.

        Cost: 0.05 ms, or 1 ms. Source: RFC 8032 section 5.1.6; FIPS 204 section 5.2, with an empty context.
        """
        return self._private_key.sign(message)

    def __repr__(self) -> str:
        return f"<SigningKey {self.name}+{self._verifier_key.key_id.hex()}>"


def check_key_name(name: str) -> str:
    """Return `name` if a note can name a key so: not empty, no white space, no '+', no control characters, UTF-8.

    Raises: FormatError. Source: c2sp.org/signed-note, section "Format".
    """
    if not name:
        raise FormatError("key name", "it is empty")
    if _NOT_IN_NAME.search(name) is not None:
        raise FormatError("key name", f"{name[:60]!r} holds white space, '+' or a control character")
    return name


def compute_key_id(name: str, key_type: int, public_key: bytes) -> bytes:
    """Return the 4-byte key ID of a key name, a signature type and a public key.

    Source: c2sp.org/signed-note: SHA-256(name || 0x0A || type || public key)[:4].
    """
    return hashlib.sha256(name.encode() + b"\n" + bytes([key_type]) + public_key).digest()[:KEY_ID_SIZE]


def _type_name(key_type: int) -> str:
    return f"signature type {key_type:#04x} ({_TYPE_NAMES.get(key_type, 'unassigned')})"


def _private_class(key_type: int) -> Any:
    """Return the class of `cryptography` that holds the private keys of a signature type."""
    if key_type == ML_DSA_44_COSIGNATURE:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

        return MLDSA44PrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey


def _check_ml_dsa_key(public_key: bytes, what: str) -> None:
    if len(public_key) != ML_DSA_44_PUBLIC_KEY_SIZE:
        raise FormatError(what, f"an ML-DSA-44 public key is {ML_DSA_44_PUBLIC_KEY_SIZE} bytes")


def _check_ed25519_key(public_key: bytes, what: str) -> None:
    if len(public_key) != PUBLIC_KEY_SIZE:
        raise FormatError(what, f"an Ed25519 public key is {PUBLIC_KEY_SIZE} bytes")
    y = int.from_bytes(public_key, "little") & (2**255 - 1)
    if y >= _FIELD_PRIME:
        raise FormatError(what, "the public key is not in its canonical encoding")
    if y in _SMALL_ORDER_Y:
        raise FormatError(what, "the public key is a point of small order: anybody can sign with it")


def _check_pem(pem: bytes, passphrase: bytes | None, what: str) -> None:
    """Refuse what is not one PKCS#8 PEM block, and a passphrase too few or too many."""
    if not pem:
        raise FormatError(what, "the file is empty")
    if len(pem) > MAX_PEM_SIZE:
        raise FormatError(what, f"{len(pem)} bytes are more than {MAX_PEM_SIZE}")
    match = _PEM.fullmatch(pem)
    if match is None:
        raise FormatError(what, "this is not exactly one PEM block PRIVATE KEY or ENCRYPTED PRIVATE KEY (PKCS#8)")
    encrypted = match[1].startswith(b"ENCRYPTED")
    if encrypted and passphrase is None:
        raise FormatError(what, "it is encrypted; give its passphrase")
    if not encrypted and passphrase is not None:
        raise FormatError(what, "a passphrase is given, but the file is not encrypted")
