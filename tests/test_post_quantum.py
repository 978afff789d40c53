"""ML-DSA-44 cosignatures, signature type 0x06, of witnesses and of logs."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import LOG, LOG_VKEY, ORIGIN, TIMESTAMP_S, checkpoint, entry_lines, signing_key, witness_key
from tlog.checkpoint import Checkpoint
from tlog.cosignature import Cosignature, cosign, cosign_subtree, subtree_message, verify_cosignature
from tlog.errors import FormatError, PolicyError, SignatureError
from tlog.keys import (
    ED25519_COSIGNATURE,
    ML_DSA_44_COSIGNATURE,
    SigningKey,
    VerifierKey,
    compute_key_id,
)
from tlog.note import NoteSignature, open_note, sign_note, verify_line
from tlog.policy import Policy

WITNESS = signing_key("witness.example.net/pq", ML_DSA_44_COSIGNATURE)
LOG_PQ = signing_key(ORIGIN, ML_DSA_44_COSIGNATURE, "post-quantum")
CHECKPOINT = checkpoint(entry_lines(3))
TEXT = CHECKPOINT.text


def naive_message(name: bytes, timestamp_s: int, origin: bytes, span: tuple[int, int], root_hash: bytes) -> bytes:
    """Return the structure `cosigned_message` of c2sp.org/tlog-cosignature, field by field."""
    head = b"subtree/v1\n\x00" + struct.pack(">B", len(name)) + name + struct.pack(">Q", timestamp_s)
    return head + struct.pack(">B", len(origin)) + origin + struct.pack(">QQ", *span) + root_hash


def test_sizes_and_key_id() -> None:
    """Public key, signature and key ID are those of the specification; a vkey round-trips."""
    key = WITNESS.verifier_key
    cosignature = cosign(TEXT, WITNESS, TIMESTAMP_S)
    assert (len(key.public_key), len(cosignature.signature), len(cosignature.payload)) == (1312, 2420, 2428)
    assert key.key_id == compute_key_id(key.name, 0x06, key.public_key)
    assert VerifierKey.parse(str(key)) == key
    assert len(str(key)) < 2048


@given(
    st.text("abc.é/", min_size=1, max_size=60),
    st.text("xyz.é/", min_size=1, max_size=60),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
)
def test_the_message_is_the_structure(name: str, origin: str, end: int, timestamp_s: int) -> None:
    """What is signed equals a second transcription of the structure."""
    message = subtree_message(origin, 0, end, b"r" * 32, key_name=name, timestamp_s=timestamp_s)
    assert message == naive_message(name.encode(), timestamp_s, origin.encode(), (0, end), b"r" * 32)


def test_the_longest_names_in_the_message() -> None:
    """Names of 255 bytes have room in the structure."""
    message = subtree_message("o" * 255, 0, 2, b"r" * 32, key_name="n" * 255, timestamp_s=1)
    assert message == naive_message(b"n" * 255, 1, b"o" * 255, (0, 2), b"r" * 32)


@pytest.mark.parametrize(
    ("origin", "span", "timestamp_s", "root_hash", "reason"),
    [
        ("o", (1, 2), 1, b"r" * 32, "timestamp"),
        ("o", (3, 2), 0, b"r" * 32, "start"),
        ("o", (0, 2**63), 0, b"r" * 32, "end"),
        ("o", (0, 2), 2**63, b"r" * 32, "timestamp"),
        ("", (0, 2), 0, b"r" * 32, "1 to 255 bytes"),
        ("o" * 256, (0, 2), 0, b"r" * 32, "1 to 255 bytes"),
        ("o", (0, 2), 0, b"r" * 31, "32 bytes"),
    ],
)
def test_what_cannot_be_signed(
    origin: str, span: tuple[int, int], timestamp_s: int, root_hash: bytes, reason: str
) -> None:
    """Ranges, names and hashes outside the structure are refused by name."""
    with pytest.raises(FormatError, match=reason):
        subtree_message(origin, *span, root_hash, key_name="w", timestamp_s=timestamp_s)


def test_cosigning_a_checkpoint() -> None:
    """A cosignature verifies as a value and as a line, and binds name, time, origin, size and root, not extensions."""
    cosignature = cosign(TEXT, WITNESS, TIMESTAMP_S)
    verify_cosignature(cosignature, TEXT, WITNESS.verifier_key)
    verify_cosignature(cosignature, TEXT + b"an extension line\n", WITNESS.verifier_key)
    line = NoteSignature(cosignature.key_name, cosignature.key_id, cosignature.payload)
    verify_line(WITNESS.verifier_key, TEXT, line)
    origin, size, root, _ = TEXT.split(b"\n")
    for other in (
        b"\n".join((origin + b"x", size, root, b"")),
        b"\n".join((origin, b"4", root, b"")),
        b"\n".join((origin, size, b"A" * 43 + b"=", b"")),
        b"\n".join((origin, b"03", root, b"")),
        b"\n".join((origin, size, b"")),
        b"\xff" + TEXT,
        b"",
    ):
        with pytest.raises(SignatureError):
            verify_cosignature(cosignature, other, WITNESS.verifier_key)
    later = Cosignature(cosignature.key_name, cosignature.key_id, TIMESTAMP_S + 1, cosignature.signature)
    renamed = VerifierKey("witness.example.net/other", ML_DSA_44_COSIGNATURE, WITNESS.verifier_key.public_key)
    as_renamed = Cosignature(renamed.name, renamed.key_id, TIMESTAMP_S, cosignature.signature)
    for wrong, key in ((later, WITNESS.verifier_key), (as_renamed, renamed)):
        with pytest.raises(SignatureError):
            verify_cosignature(wrong, TEXT, key)


def test_a_bit_in_each_part_of_the_payload() -> None:
    """Time and signature: a change is noticed, and so are payloads of other lengths."""
    payload = cosign(TEXT, WITNESS, TIMESTAMP_S).payload
    key = WITNESS.verifier_key
    for place in (0, 7, 8, 100, 1200, len(payload) - 1):
        changed = bytearray(payload)
        changed[place] ^= 1
        with pytest.raises(SignatureError):
            verify_line(key, TEXT, NoteSignature(key.name, key.key_id, bytes(changed)))
    for other in (payload[:-1], payload + b"\0", payload[:72]):
        with pytest.raises(SignatureError):
            verify_line(key, TEXT, NoteSignature(key.name, key.key_id, other))


def test_the_two_algorithms_do_not_mix() -> None:
    """A line of one algorithm is none of a key of the other one, whatever its name and ID say."""
    ed25519 = witness_key(1)
    for signer, other in ((ed25519, WITNESS), (WITNESS, ed25519)):
        payload = cosign(TEXT, signer, TIMESTAMP_S).payload
        key = other.verifier_key
        with pytest.raises(SignatureError):
            verify_line(key, TEXT, NoteSignature(key.name, key.key_id, payload))
    with pytest.raises(FormatError, match="0x04 can't cosign subtrees"):
        cosign_subtree(ORIGIN, 0, 3, CHECKPOINT.root_hash, ed25519)


def test_subtrees() -> None:
    """A subtree's cosignature has no time, and is the statement about that subtree alone."""
    cosignature = cosign_subtree(ORIGIN, 2, 3, b"h" * 32, WITNESS)
    assert cosignature.timestamp_s == 0
    message = naive_message(WITNESS.name.encode(), 0, ORIGIN.encode(), (2, 3), b"h" * 32)
    WITNESS.verifier_key.verify(message, cosignature.signature)
    with pytest.raises(SignatureError):
        verify_cosignature(cosignature, TEXT, WITNESS.verifier_key)


def test_keys_are_stored_and_read() -> None:
    """A PEM file, plain or encrypted, gives the key back; a key of the other kind is refused by name."""
    for passphrase in (None, b"secret"):
        pem = WITNESS.to_pem(passphrase)
        again = SigningKey.from_pem(WITNESS.name, pem, passphrase, ML_DSA_44_COSIGNATURE)
        assert again.verifier_key == WITNESS.verifier_key
        with pytest.raises(FormatError, match="an Ed25519 key is needed"):
            SigningKey.from_pem(WITNESS.name, pem, passphrase, ED25519_COSIGNATURE)
    with pytest.raises(FormatError, match="an ML-DSA-44 key is needed"):
        SigningKey.from_pem(LOG.name, LOG.to_pem(), None, ML_DSA_44_COSIGNATURE)
    new = SigningKey.generate("witness.example.net", ML_DSA_44_COSIGNATURE)
    assert new.verifier_key.key_type == ML_DSA_44_COSIGNATURE
    with pytest.raises(FormatError, match="placeholder"):
        SigningKey.from_seed("witness.example.net", bytes(32), ML_DSA_44_COSIGNATURE)


def test_policy_with_both_algorithms() -> None:
    """Witnesses of both algorithms count; a log may be believed by its ML-DSA-44 key alone."""
    text = (
        f"log {LOG_VKEY}\nlog {LOG_PQ.verifier_key}\nwitness a {witness_key(1).verifier_key}\n"
        f"witness b {WITNESS.verifier_key}\ngroup both all a b\nquorum both\n"
    )
    policy = Policy.parse(text)
    assert policy.format().decode() == text.replace("both all", "both 2")
    unsigned = Checkpoint(CHECKPOINT.origin, CHECKPOINT.tree_size, CHECKPOINT.root_hash)
    for log in (LOG, LOG_PQ):
        signed = unsigned.sign(log, witness_key(1), WITNESS, timestamp_s=TIMESTAMP_S)
        verified = policy.verify(signed.raw)
        assert (verified.log_key, verified.witnesses_met) == (log.verifier_key, ("a", "b"))
        assert len(verified.cosignatures) == 2, "the log's own ML-DSA-44 line is no witness's"
    with pytest.raises(PolicyError) as caught:
        policy.verify(unsigned.sign(LOG, LOG_PQ, witness_key(1), timestamp_s=TIMESTAMP_S).raw)
    assert caught.value.missing == ("b",)


def test_a_witness_without_a_time_does_not_count() -> None:
    """Time 0 says nothing about the largest tree seen, so it meets no quorum (c2sp.org/tlog-witness)."""
    message = subtree_message(ORIGIN, 0, 3, CHECKPOINT.root_hash, key_name=WITNESS.name, timestamp_s=0)
    key = WITNESS.verifier_key
    untimed = NoteSignature(key.name, key.key_id, bytes(8) + WITNESS.sign(message))
    verify_line(key, TEXT, untimed)
    signed = Checkpoint(
        CHECKPOINT.origin, 3, CHECKPOINT.root_hash, signatures=(*CHECKPOINT.sign(LOG).signatures, untimed)
    )
    policy = Policy.parse(f"log {LOG_VKEY}\nwitness w {key}\nquorum w\n")
    with pytest.raises(PolicyError, match="missing w"):
        policy.verify(signed.raw)


def test_notes_of_both_algorithms() -> None:
    """One note carries lines of both algorithms, each verified by its own key."""
    note = sign_note(TEXT, [LOG, WITNESS, witness_key(1)], timestamp_s=TIMESTAMP_S)
    keys = [LOG.verifier_key, WITNESS.verifier_key, witness_key(1).verifier_key]
    assert [key for key, _ in open_note(note.raw, keys).verified] == keys
