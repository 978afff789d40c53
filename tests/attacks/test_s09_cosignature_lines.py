"""S9: signature lines that nobody had verified were stored and believed.

A witness under concurrent and torn submissions, and the log's side of cosigning: `tests/witnessing/`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.attacks.bounds import refused
from tests.statements import LOG, LOG_VKEY, TIMESTAMP_S, WITNESS_VKEYS, checkpoint, entry_lines, witness_key
from tlog import ConsistencyProof, Policy
from tlog._strict import format_base64
from tlog.cosignature import cosign
from tlog.errors import FormatError, PolicyError, SignatureError
from tlog.note import NoteSignature

POLICY = Policy.parse(f"log {LOG_VKEY}\nwitness W {WITNESS_VKEYS[1]}\nquorum W\n")
LINES = entry_lines(10)
SIGNED = checkpoint(LINES, LOG)


def test_s09_lines_of_unknown_keys_do_not_count_and_do_no_harm() -> None:
    """Garbage and well-made lines of unknown keys change nothing: neither the quorum nor the log's signature."""
    cosigned = SIGNED.sign(witness_key(1), timestamp_s=TIMESTAMP_S)
    garbage = NoteSignature("stranger.example", b"abcd", b"\0" * 72)
    forged = NoteSignature(witness_key(1).name, b"\0\0\0\0", b"x")
    strangers = SIGNED.sign(*(witness_key(number) for number in (2, 3, 4)), timestamp_s=TIMESTAMP_S).signatures[1:]
    for extra in ((garbage,), (forged,), strangers, (garbage, forged, *strangers)):
        with pytest.raises(PolicyError):
            POLICY.verify(replace(SIGNED, signatures=(*SIGNED.signatures, *extra)))
        verified = POLICY.verify(replace(cosigned, signatures=(*extra, *cosigned.signatures)))
        assert verified.witnesses_met == ("W",)
        assert [line.key_name for line in verified.cosignatures] == [witness_key(1).name]


def test_s09_a_cosignature_of_something_else() -> None:
    """A witness's cosignature over another checkpoint, another time or another log does not stand for this one."""
    key = witness_key(1)
    for text, shift in ((checkpoint(LINES[:9]).text, 0), (SIGNED.text, 1), (b"other\n" + SIGNED.text[6:], 0)):
        line = cosign(text, key, TIMESTAMP_S)
        payload = (TIMESTAMP_S + shift).to_bytes(8, "big") + line.signature
        moved = NoteSignature(key.name, key.verifier_key.key_id, payload)
        with pytest.raises(SignatureError):
            POLICY.verify(replace(SIGNED, signatures=(*SIGNED.signatures, moved)))


@pytest.mark.parametrize("count", [64, 65, 1000, 20_000])
def test_s09_requests_with_too_many_hashes(count: int) -> None:
    """A request to a witness holds at most 63 hashes; more are refused by their number."""
    lines = [f"old {count}", *[format_base64(bytes(32))] * count, "", SIGNED.raw.decode()]
    assert "63" in refused(lambda: ConsistencyProof.parse("\n".join(lines)), FormatError, 16 << 20)
