"""Ed25519 cosignatures, signature type 0x04."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import LOG, TIMESTAMP_S, checkpoint, entry_lines, mutations, witness_key
from tests.vectors import SUNLIGHT, load_json
from tlog.checkpoint import Checkpoint
from tlog.cosignature import (
    MAX_TIMESTAMP_S,
    Cosignature,
    cosign,
    cosigned_message,
    verify_cosignature,
)
from tlog.errors import Error, FormatError, SignatureError
from tlog.keys import ED25519_COSIGNATURE, ED25519_NOTE, VerifierKey
from tlog.note import Note, NoteSignature, open_note, sign_note, verify_line

ROME = "000de184301123b9278c086a7d9f68c9577e83872224c197058fd90784ea9706"
MILAN = "88ad7a28caeb0b2aa890fdf0304c2fcaf59fca2ee140134ff8c1300bac493482"
COSIGNED = [
    (f"witness/{ROME}/checkpoint", "witness/witness.v0.json"),
    (f"witness/mirror/{ROME}/checkpoint", "witness/mirror/mirror.v0.json"),
    (f"witness2/{MILAN}/checkpoint", "witness2/witness.v0.json"),
]
PAYLOAD_SIZE = 8 + 64
TEXT = checkpoint(entry_lines(3)).text
WITNESS = witness_key(1)


def decode(name: str, encoded: str) -> Cosignature:
    """Return the cosignature of a line's name and base64."""
    raw = base64.b64decode(encoded)
    return Cosignature.decode(name, raw[:4], raw[4:])


@pytest.mark.parametrize(("note", "witness"), COSIGNED)
def test_sunlight_cosignatures(note: str, witness: str) -> None:
    """The cosigned checkpoints of sunlight's tests verify under the vkeys published there."""
    (vkey,) = load_json(SUNLIGHT / witness)["verifier_keys"]
    key = VerifierKey.parse(vkey)
    assert key.key_type == ED25519_COSIGNATURE
    opened = open_note((SUNLIGHT / note).read_bytes(), [key])
    ((signer, line),) = opened.verified
    cosignature = Cosignature.decode(line.name, line.key_id, line.signature)
    assert (signer, cosignature.timestamp_s) == (key, 1767139200)
    assert Checkpoint.parse_text(opened.note.text).tree_size == 300
    assert cosignature.payload == line.signature
    verify_cosignature(cosignature, opened.note.text, key)


def test_sunlight_witness_over_another_tree() -> None:
    """A cosignature of one checkpoint does not verify over another one of the same log and size."""
    rome = Note.parse((SUNLIGHT / COSIGNED[0][0]).read_bytes())
    mirrored = Note.parse((SUNLIGHT / COSIGNED[1][0]).read_bytes())
    (vkey,) = load_json(SUNLIGHT / COSIGNED[0][1])["verifier_keys"]
    with pytest.raises(SignatureError):
        open_note(Note(mirrored.text, rome.signatures), [VerifierKey.parse(vkey)])


def test_specification_example() -> None:
    """The line printed in c2sp.org/tlog-cosignature decodes to the time printed there."""
    cosignature = decode(
        "witness.example.com/w1",
        "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==",
    )
    assert (cosignature.key_id.hex(), cosignature.timestamp_s) == ("8d66cf3f", 1679315147)
    text = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert cosigned_message(text, 1679315147) == b"cosignature/v1\ntime 1679315147\n" + text


def test_timestamps_that_others_decode() -> None:
    """The time in the line of transparency-dev/formats' tests is the one wanted there; a plain signature has none."""
    encoded = "ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOworDcFiEBYJXORmnFBOBA=="
    assert decode("remora.n621.de", encoded).timestamp_s == 1727964367
    plain = "eQjRQm6eSKzFoiYalgwCPXu2y3ijtg68is9M46JKxuZB+dRfTmeQeDBoXnvxZx2ugnkyV+MUMLXpWs1hPb/W/4xkNQY="
    with pytest.raises(FormatError, match="64 or 2,420 of signature are needed, not 64"):
        decode("remora.n621.de", plain)


def test_cosigning() -> None:
    """A cosignature verifies as a value and as a line, over the text with its extension lines, and nothing else."""
    text = TEXT + b"extension line\n"
    cosignature = cosign(text, WITNESS, TIMESTAMP_S)
    verify_cosignature(cosignature, text, WITNESS.verifier_key)
    line = NoteSignature(cosignature.key_name, cosignature.key_id, cosignature.payload)
    verify_line(WITNESS.verifier_key, text, line)
    assert sign_note(text, [WITNESS], timestamp_s=TIMESTAMP_S) == Note(text, (line,))
    for other in (TEXT, text.replace(b"extension", b"Extension"), text[:-1], text + b"\n", cosigned_message(text, 1)):
        with pytest.raises(SignatureError):
            verify_cosignature(cosignature, other, WITNESS.verifier_key)


def test_every_byte_of_the_payload_is_signed() -> None:
    """Time and signature: a change of any byte is noticed."""
    cosignature = cosign(TEXT, WITNESS, TIMESTAMP_S)
    assert len(cosignature.payload) == PAYLOAD_SIZE
    for _, payload in mutations(cosignature.payload):
        with pytest.raises(SignatureError):
            verify_line(WITNESS.verifier_key, TEXT, NoteSignature(WITNESS.name, cosignature.key_id, payload))


def test_keys_of_the_two_types_do_not_mix() -> None:
    """One key pair as log and as witness: neither type's signature passes for the other's."""
    log, witness = LOG.verifier_key, VerifierKey(LOG.name, ED25519_COSIGNATURE, LOG.verifier_key.public_key)
    plain = NoteSignature(log.name, witness.key_id, LOG.sign(TEXT))
    timed = TIMESTAMP_S.to_bytes(8, "big")
    with pytest.raises(SignatureError):
        verify_line(witness, TEXT, plain)
    with pytest.raises(SignatureError):
        verify_line(witness, TEXT, NoteSignature(log.name, witness.key_id, timed + LOG.sign(TEXT)))
    cosigned = LOG.sign(cosigned_message(TEXT, TIMESTAMP_S))
    verify_line(witness, TEXT, NoteSignature(log.name, witness.key_id, timed + cosigned))
    with pytest.raises(SignatureError):
        verify_line(log, TEXT, NoteSignature(log.name, log.key_id, cosigned))
    with pytest.raises(FormatError, match="0x01 can't cosign"):
        cosign(TEXT, LOG, TIMESTAMP_S)
    assert log.key_type == ED25519_NOTE


def test_a_cosignature_names_its_key() -> None:
    """A cosignature under another name, ID or key type is not this key's, though the signature would verify."""
    good = cosign(TEXT, WITNESS, TIMESTAMP_S)
    key = WITNESS.verifier_key
    for name, key_id in [("other.example", key.key_id), (key.name, b"abcd")]:
        with pytest.raises(SignatureError):
            verify_cosignature(Cosignature(name, key_id, good.timestamp_s, good.signature), TEXT, key)
    as_log = VerifierKey(key.name, ED25519_NOTE, key.public_key)
    renamed = Cosignature(key.name, as_log.key_id, good.timestamp_s, good.signature)
    with pytest.raises(SignatureError):
        verify_cosignature(renamed, TEXT, as_log)


@pytest.mark.parametrize("timestamp_s", [0, -1, MAX_TIMESTAMP_S + 1, 2**64, True, 1.0])
def test_bad_timestamps(timestamp_s: int) -> None:
    """A witness's time is a whole number from 1 to 2^63 - 1."""
    with pytest.raises(FormatError):
        cosign(TEXT, WITNESS, timestamp_s)
    with pytest.raises(FormatError):
        Cosignature("witness.example", b"abcd", timestamp_s, bytes(64))


@pytest.mark.parametrize("timestamp_s", [0, 2**63, 2**64 - 1])
def test_bad_timestamps_on_lines(timestamp_s: int) -> None:
    """A correctly signed line with time 0, or a time over 2^63 - 1, does not verify."""
    key = WITNESS.verifier_key
    payload = timestamp_s.to_bytes(8, "big") + WITNESS.sign(cosigned_message(TEXT, timestamp_s))
    with pytest.raises(FormatError):
        Cosignature.decode(key.name, key.key_id, payload)
    with pytest.raises(SignatureError):
        open_note(Note(TEXT, (NoteSignature(key.name, key.key_id, payload),)), [key])


@pytest.mark.parametrize(("key_id", "signature"), [(b"abc", bytes(64)), (b"abcd", bytes(63)), (b"abcde", bytes(65))])
def test_parts_of_a_wrong_size(key_id: bytes, signature: bytes) -> None:
    """A cosignature has a key ID of four bytes and a signature of 64."""
    with pytest.raises(FormatError, match="a key ID of 4 and a signature of 64 or 2,420 bytes"):
        Cosignature("witness.example", key_id, 1, signature)


def test_extreme_timestamps() -> None:
    """The first and the last time that is possible can be signed and verified."""
    for timestamp_s in (1, MAX_TIMESTAMP_S):
        verify_cosignature(cosign(TEXT, WITNESS, timestamp_s), TEXT, WITNESS.verifier_key)


@given(st.integers(1, MAX_TIMESTAMP_S), st.binary(min_size=4, max_size=4), st.binary(min_size=64, max_size=64))
def test_payloads_round_trip(timestamp_s: int, key_id: bytes, signature: bytes) -> None:
    """Every cosignature is decoded from its payload."""
    cosignature = Cosignature("witness.example", key_id, timestamp_s, signature)
    assert Cosignature.decode("witness.example", key_id, cosignature.payload) == cosignature


@given(st.binary(max_size=80) | st.binary(min_size=PAYLOAD_SIZE, max_size=PAYLOAD_SIZE))
def test_arbitrary_payloads(payload: bytes) -> None:
    """Arbitrary bytes give an error of tlog or a round trip, and never a verified cosignature."""
    key = WITNESS.verifier_key
    try:
        cosignature = Cosignature.decode(key.name, key.key_id, payload)
        assert cosignature.payload == payload
        verify_cosignature(cosignature, TEXT, key)
    except Error:
        return
    pytest.fail("a forged cosignature was accepted")
