"""Verifier keys and signing keys."""

from __future__ import annotations

import base64
import contextlib
from hashlib import sha256
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import signing_key
from tests.vectors import SIGNED_NOTE, WYCHEPROOF_ED25519, load_json
from tlog.errors import Error, FormatError, SignatureError
from tlog.keys import (
    ED25519_COSIGNATURE,
    ED25519_NOTE,
    MAX_PEM_SIZE,
    MAX_VKEY_LENGTH,
    SigningKey,
    VerifierKey,
    check_key_name,
)

TRANSCRIBED = load_json(SIGNED_NOTE)

# RFC 8410 section 10.3 and 10.1.
RFC8410_PEM = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""
RFC8410_PUBLIC = base64.b64decode("MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=")[-32:]

VKEYS = [
    TRANSCRIBED["spec_example"]["vkey"],
    TRANSCRIBED["enoch_is_ed25519_seed_of_32_zero_bytes"],
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
    "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.example.org+b8a2cf20+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN",
]

# Encodings of the points of small order that are canonical; the sign bit of the first two pairs is no matter.
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


def spell_vkey(name: str, material: bytes) -> str:
    """Return the vkey of any type byte and key, with the right ID, by the specification's formula."""
    key_id = sha256(name.encode() + b"\n" + material).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(material).decode()}"


@pytest.mark.parametrize("vkey", VKEYS)
def test_known_vkeys_round_trip(vkey: str) -> None:
    """Vkeys that others published parse, with their key ID recomputed, and spell the same again."""
    key = VerifierKey.parse(vkey)
    assert str(key) == vkey
    assert key.key_id.hex() == vkey.split("+")[1]
    assert repr(key) == f"VerifierKey.parse({vkey!r})"
    assert VerifierKey(key.name, key.key_type, key.public_key) == key


@pytest.mark.parametrize("vkey", TRANSCRIBED["vkeys_bad"])
def test_transcribed_bad_vkeys(vkey: str) -> None:
    """The malformed vkeys of golang.org/x/mod's tests are refused."""
    with pytest.raises(FormatError):
        VerifierKey.parse(vkey)


@pytest.mark.parametrize(
    ("vkey", "reason"),
    [
        ("", "is not <name>"),
        ("bananas.sigstore.dev+12344556", "is not <name>"),
        ("example.com+12345678+THIS_IS_NOT_BASE64!", "is not <name>"),
        ("example.com+12345678+", "holds no key"),
        ("example.com+00000000+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "key ID is 00000000"),
        ("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "is not <name>"),
        ("example.com/foo+530d903+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "is not <name>"),
        ("example.com/foo+0530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "is not <name>"),
        ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n", "is not <name>"),
        (" example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "white space"),
        ("example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "key ID is 530d903a"),
        ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U1=", "not canonical"),
        ("example.com/foo+530d903a+BekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "key ID is 530d903a"),
        ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "empty"),
        ("x" * (MAX_VKEY_LENGTH + 1), "are more than"),
    ],
)
def test_bad_vkeys(vkey: str, reason: str) -> None:
    """Every other spelling of a vkey is refused with the reason."""
    with pytest.raises(FormatError, match=reason):
        VerifierKey.parse(vkey)


@pytest.mark.parametrize(
    ("material", "reason"),
    [
        (b"\x06" + bytes(range(32)) * 40, "is 1312 bytes"),
        (b"\x02\x30\x59", r"0x02 \(ECDSA note signature\)"),
        (b"\x05" + bytes(32), r"0x05 \(RFC 6962 tree head signature\)"),
        (b"\x63" + bytes(32), r"0x63 \(unassigned\)"),
        (b"\xff" + b"example.com/scheme", r"0xff \(unassigned\)"),
        (b"\x01" + b"\x07" * 31, "is 32 bytes"),
        (b"\x01" + b"\x07" * 33, "is 32 bytes"),
        (b"\x04", "is 32 bytes"),
    ],
)
def test_unsupported_vkeys(material: bytes, reason: str) -> None:
    """Well-formed vkeys of types that are not supported, or with keys of a wrong length, are refused by name."""
    with pytest.raises(FormatError, match=reason):
        VerifierKey.parse(spell_vkey("example.com/key", material))


def test_the_longest_vkey() -> None:
    """A vkey of exactly the limit's length is read."""
    overhead = len(str(signing_key("x").verifier_key)) - 1
    vkey = str(signing_key("x" * (MAX_VKEY_LENGTH - overhead)).verifier_key)
    assert len(vkey) == MAX_VKEY_LENGTH
    assert str(VerifierKey.parse(vkey)) == vkey


@given(st.text())
def test_arbitrary_vkeys(text: str) -> None:
    """Whatever is not refused spells itself, and only the errors of tlog come out."""
    for vkey in (text, f"{text}+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"):
        with contextlib.suppress(Error):
            assert str(VerifierKey.parse(vkey)) == vkey


@given(st.text(min_size=1), st.sampled_from([ED25519_NOTE, ED25519_COSIGNATURE]), st.binary(min_size=32, max_size=32))
def test_vkeys_round_trip(name: str, key_type: int, public_key: bytes) -> None:
    """Every key that can be made can be spelled and parsed, and its ID is that of the specification's formula."""
    try:
        key = VerifierKey(name, key_type, public_key)
    except FormatError:
        return
    assert VerifierKey.parse(str(key)) == key
    assert str(key) == spell_vkey(name, bytes([key_type]) + public_key)


@pytest.mark.parametrize(
    "character",
    [*"\t\n\v\f\r +\x00\x1f\x85\xa0\u1680\u2000\u2005\u200a\u2028\u2029\u202f\u205f\u3000", "\ud800"],
)
def test_key_names(character: str) -> None:
    """A key name holds none of the white space that Go knows, no '+', nothing that a note can't hold."""
    for name in (character, f"a{character}b"):
        with pytest.raises(FormatError):
            check_key_name(name)


@pytest.mark.parametrize("name", ["a", "audit.example.com/users", "Ünïcødé", "\u200b", "\x7f", "a—b", "oid/1.2.3"])
def test_good_key_names(name: str) -> None:
    """What is not white space to Go is part of a name, even where Python or people would think otherwise."""
    assert check_key_name(name) == name
    assert VerifierKey.parse(str(signing_key(name).verifier_key)).name == name


def _wycheproof() -> list[tuple[str, dict[str, Any]]]:
    groups = load_json(WYCHEPROOF_ED25519)["testGroups"]
    return [(group["publicKey"]["pk"], case) for group in groups for case in group["tests"]]


def test_wycheproof() -> None:
    """All 151 Ed25519 cases of Wycheproof come out as they should through `VerifierKey.verify`."""
    verdicts = {"valid": 0, "invalid": 0}
    for public_key, case in _wycheproof():
        key = VerifierKey("wycheproof", ED25519_NOTE, bytes.fromhex(public_key))
        message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
        if case["result"] == "valid":
            key.verify(message, signature)
        else:
            with pytest.raises(SignatureError) as caught:
                key.verify(message, signature)
            assert (caught.value.key_name, caught.value.key_id) == ("wycheproof", key.key_id)
        verdicts[case["result"]] += 1
    assert verdicts == {"valid": 88, "invalid": 63}


def test_signature_with_s_beyond_the_order() -> None:
    """S10: a signature whose S is not reduced, the classic second signature of one message, is refused."""
    order = 2**252 + 27742317777372353535851937790883648493
    key = signing_key("example.com")
    good = key.sign(b"message")
    malleable = good[:32] + (int.from_bytes(good[32:], "little") + order).to_bytes(32, "little")
    key.verifier_key.verify(b"message", good)
    with pytest.raises(SignatureError):
        key.verifier_key.verify(b"message", malleable)


@pytest.mark.parametrize("encoding", SMALL_ORDER)
def test_small_order_keys(encoding: str) -> None:
    """S10: public keys of small order are refused."""
    with pytest.raises(FormatError, match="small order"):
        VerifierKey("example.com", ED25519_NOTE, bytes.fromhex(encoding))
    with pytest.raises(FormatError, match="small order"):
        VerifierKey.parse(spell_vkey("example.com", b"\x04" + bytes.fromhex(encoding)))


def test_small_order_keys_are_a_danger() -> None:
    """The signature library itself takes a forged signature under such a key: the refusal above is needed."""
    identity = bytes.fromhex(SMALL_ORDER[0])
    forged = identity + bytes(32)
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(forged, b"anything at all")
    except InvalidSignature:
        pytest.fail("the library refuses by itself now: the check in VerifierKey can go")


@pytest.mark.parametrize("y", [2**255 - 19, 2**255 - 18, 2**255 - 2, 2**255 - 1])
def test_non_canonical_public_keys(y: int) -> None:
    """A public key has one encoding."""
    for sign in (0, 1 << 255):
        with pytest.raises(FormatError, match="canonical"):
            VerifierKey("example.com", ED25519_NOTE, (y | sign).to_bytes(32, "little"))


def test_one_key_two_types() -> None:
    """One private key has two IDs where it logs and where it cosigns."""
    seed = bytes(range(32))
    log, witness = (SigningKey.from_seed("example.com", seed, t) for t in (ED25519_NOTE, ED25519_COSIGNATURE))
    assert log.verifier_key.public_key == witness.verifier_key.public_key
    assert log.verifier_key.key_id != witness.verifier_key.key_id
    assert (log.key_type, witness.key_type) == (0x01, 0x04)


def test_generate() -> None:
    """Generated keys differ, sign, and survive their PEM."""
    first, second = SigningKey.generate("example.com/a"), SigningKey.generate("example.com/a")
    assert first.verifier_key != second.verifier_key
    first.verifier_key.verify(b"message", first.sign(b"message"))
    with pytest.raises(SignatureError):
        second.verifier_key.verify(b"message", first.sign(b"message"))
    with pytest.raises(FormatError, match="white space"):
        SigningKey.generate("example.com/a b")


def test_the_private_key_does_not_show() -> None:
    """Neither repr nor str of a signing key holds its seed."""
    key = SigningKey.from_seed("example.com", bytes(range(32)))
    assert repr(key) == str(key) == f"<SigningKey example.com+{key.verifier_key.key_id.hex()}>"


def test_rfc8410_pem() -> None:
    """The private key printed in RFC 8410 loads, gives the public key printed there, and is written the same."""
    key = SigningKey.from_pem("example.com", RFC8410_PEM)
    assert key.verifier_key.public_key == RFC8410_PUBLIC
    assert key.to_pem() == RFC8410_PEM
    assert SigningKey.from_pem("example.com", RFC8410_PEM.removesuffix(b"\n")).to_pem() == RFC8410_PEM


@pytest.mark.parametrize("key_type", [ED25519_NOTE, ED25519_COSIGNATURE])
@pytest.mark.parametrize("passphrase", [None, b"correct horse", "пароль".encode()])
def test_pem_round_trip(key_type: int, passphrase: bytes | None) -> None:
    """A key comes back from its PEM, encrypted or not."""
    key = SigningKey.generate("example.com", key_type)
    pem = key.to_pem(passphrase)
    assert (b"ENCRYPTED" in pem) == (passphrase is not None)
    loaded = SigningKey.from_pem("example.com", pem, passphrase, key_type)
    assert loaded.verifier_key == key.verifier_key


def _pem_of(private_key: Any) -> bytes:
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert isinstance(pem, bytes)
    return pem


def _pem_of_seed(seed: bytes) -> bytes:
    return _pem_of(Ed25519PrivateKey.from_private_bytes(seed))


ENCRYPTED_PEM = SigningKey.from_seed("example.com", bytes(range(32))).to_pem(b"secret")

BAD_PEM = {
    "empty": (b"", None, "empty"),
    "blank line": (b"\n", None, "not exactly one PEM block"),
    "no PEM": (b"not a key", None, "not exactly one PEM block"),
    "two blocks": (RFC8410_PEM * 2, None, "not exactly one PEM block"),
    "text before": (b"my key:\n" + RFC8410_PEM, None, "not exactly one PEM block"),
    "line behind": (RFC8410_PEM + b"\n", None, "not exactly one PEM block"),
    "CRLF": (RFC8410_PEM.replace(b"\n", b"\r\n"), None, "not exactly one PEM block"),
    "cut off": (RFC8410_PEM[:60], None, "not exactly one PEM block"),
    "large": (b" " * (MAX_PEM_SIZE + 1), None, "are more than"),
    "largest": (b" " * MAX_PEM_SIZE, None, "not exactly one PEM block"),
    "needless passphrase": (RFC8410_PEM, b"secret", "is not encrypted"),
    "no passphrase": (ENCRYPTED_PEM, None, "give its passphrase"),
    "wrong passphrase": (ENCRYPTED_PEM, b"Secret", "passphrase is wrong"),
    "empty passphrase": (ENCRYPTED_PEM, b"", "passphrase is wrong"),
    "wrong DER": (RFC8410_PEM.replace(b"MC4CAQ", b"MC4CAg"), None, "does not hold a PKCS#8"),
    "short DER": (RFC8410_PEM.replace(b"VhC", b"V"), None, "does not hold a PKCS#8"),
    "ECDSA": (_pem_of(ec.generate_private_key(ec.SECP256R1())), None, "another kind"),
    "RSA": (_pem_of(rsa.generate_private_key(65537, 2048)), None, "another kind"),
    "X25519": (_pem_of(x25519.X25519PrivateKey.generate()), None, "another kind"),
    "Ed448": (_pem_of(ed448.Ed448PrivateKey.generate()), None, "another kind"),
    "zero bytes": (_pem_of_seed(bytes(32)), None, "all its bytes are equal"),
    "spaces": (_pem_of_seed(b" " * 32), None, "all its bytes are equal"),
}


@pytest.mark.parametrize(("pem", "passphrase", "reason"), BAD_PEM.values(), ids=BAD_PEM)
def test_bad_pem(pem: bytes, passphrase: bytes | None, reason: str) -> None:
    """S13: empty, damaged, foreign, placeholder and wrongly unlocked keys are refused with the reason."""
    with pytest.raises(FormatError, match=reason) as caught:
        SigningKey.from_pem("example.com", pem, passphrase)
    assert "private key of example.com" in str(caught.value)


def test_public_key_pem_is_no_private_key() -> None:
    """A PEM of the public half is refused."""
    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(FormatError, match="not exactly one PEM block"):
        SigningKey.from_pem("example.com", pem)


@given(st.binary(max_size=80), st.booleans())
def test_arbitrary_pem(content: bytes, armoured: bool) -> None:
    """Arbitrary bytes, as they are or as the content of a PEM block, raise only the errors of tlog."""
    pem = content
    if armoured:
        body = base64.encodebytes(content)
        pem = b"-----BEGIN PRIVATE KEY-----\n" + body + b"-----END PRIVATE KEY-----\n"
    with pytest.raises(Error):
        SigningKey.from_pem("example.com", pem)


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(range(33)), bytes(32), b"\xff" * 32, b" " * 32])
def test_bad_seeds(seed: bytes) -> None:
    """S13: seeds of a wrong length or of one repeated byte are refused."""
    with pytest.raises(FormatError):
        SigningKey.from_seed("example.com", seed)


@pytest.mark.parametrize("passphrase", [b"", b"x" * 1024])
def test_bad_passphrases(passphrase: bytes) -> None:
    """A passphrase that would not protect, or could not be used, is refused when the key is written."""
    with pytest.raises(FormatError, match="1 to 1023 bytes"):
        signing_key("example.com").to_pem(passphrase)
