"""S10, sigstore's conformance cases: checkpoints that were almost right.

tests/test_note.py, test_checkpoint.py, test_keys.py and test_cosignature.py have every rule on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.statements import IMPOSTOR, LOG, LOG_VKEY, ORIGIN, checkpoint, colliding_keys, entry_lines
from tlog import Policy, VerifierKey
from tlog._strict import format_base64
from tlog.errors import Error, FormatError, SignatureError, UnknownOriginError, UntrustedNoteError
from tlog.keys import ED25519_NOTE
from tlog.note import NoteSignature, open_note

LINES = entry_lines(10)
GOOD = checkpoint(LINES).raw
ROOT = format_base64(checkpoint(LINES).root_hash).encode()
SIGNATURE = GOOD.splitlines(keepends=True)[-1]
ORDER = 2**252 + 27742317777372353535851937790883648493

Change = Callable[[bytes], bytes]


def line(name: str, key_id: bytes, signature: bytes) -> bytes:
    """Return a signature line."""
    return f"{NoteSignature(name, key_id, signature)}\n".encode()


def large_s() -> bytes:
    """Return the log's signature line with S + L in the place of S: the same equation, another spelling."""
    signature = checkpoint(LINES).signatures[0]
    s = int.from_bytes(signature.signature[32:], "little") + ORDER
    return line(ORIGIN, signature.key_id, signature.signature[:32] + s.to_bytes(32, "little"))


CASES: dict[str, tuple[Change, type[Error]]] = {
    "bad key hint": (
        lambda raw: raw.replace(SIGNATURE, line(ORIGIN, b"\0\0\0\0", checkpoint(LINES).signatures[0].signature)),
        UntrustedNoteError,
    ),
    "wrong root hash": (lambda raw: raw.replace(ROOT, format_base64(bytes(32)).encode()), SignatureError),
    "missing origin": (lambda raw: raw.replace(f"{ORIGIN}\n".encode(), b"", 1), Error),
    "empty origin": (lambda raw: raw.replace(f"{ORIGIN}\n".encode(), b"\n", 1), FormatError),
    "missing size": (lambda raw: raw.replace(b"\n10\n", b"\n"), FormatError),
    "missing root hash": (lambda raw: raw.replace(ROOT + b"\n", b""), FormatError),
    "missing log signature": (lambda raw: raw.replace(SIGNATURE, b""), FormatError),
    "no matching signature": (
        lambda raw: raw.replace(SIGNATURE, checkpoint(LINES, IMPOSTOR).raw.splitlines(keepends=True)[-1]),
        UntrustedNoteError,
    ),
    "another origin": (lambda raw: raw.replace(ORIGIN.encode(), b"other.example/users", 1), UnknownOriginError),
    "negative size": (lambda raw: raw.replace(b"\n10\n", b"\n-10\n"), FormatError),
    "leading zero": (lambda raw: raw.replace(b"\n10\n", b"\n010\n"), FormatError),
    "leading plus": (lambda raw: raw.replace(b"\n10\n", b"\n+10\n"), FormatError),
    "separator": (lambda raw: raw.replace(b"\n10\n", b"\n1_0\n"), FormatError),
    "other digits": (lambda raw: raw.replace(b"\n10\n", "\n\uff11\uff10\n".encode()), FormatError),
    "size of 65 bits": (lambda raw: raw.replace(b"\n10\n", b"\n18446744073709551616\n"), FormatError),
    "blank after the size": (lambda raw: raw.replace(b"\n10\n", b"\n10 \n"), FormatError),
    "CRLF": (lambda raw: raw.replace(b"\n", b"\r\n"), FormatError),
    "CR in one line": (lambda raw: raw.replace(b"\n10\n", b"\n10\r\n"), FormatError),
    "no final newline": (lambda raw: raw[:-1], FormatError),
    "two final newlines": (lambda raw: raw + b"\n", FormatError),
    "base64 without padding": (lambda raw: raw.replace(ROOT, ROOT.rstrip(b"=")), FormatError),
    "base64 with other trailing bits": (lambda raw: raw.replace(ROOT, other_trailing_bits(ROOT)), FormatError),
    "base64 for URLs": (lambda raw: raw.replace(ROOT, b"-_" * 21 + b"-="), FormatError),
    "hyphen for dash": (lambda raw: raw.replace("— ".encode(), b"- "), FormatError),
    "S beyond the order": (lambda raw: raw.replace(SIGNATURE, large_s()), SignatureError),
    "a second, bad line of the log's key": (
        lambda raw: raw + line(ORIGIN, LOG.verifier_key.key_id, bytes(64)),
        SignatureError,
    ),
    "NUL": (lambda raw: raw.replace(b"\n10\n", b"\n10\0\n"), FormatError),
    "not UTF-8": (lambda raw: raw.replace(ROOT + b"\n", ROOT + b"\n\xff\n"), FormatError),
}


def other_trailing_bits(encoded: bytes) -> bytes:
    """Return base64 of 32 bytes with a set bit in the part that no byte needs."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return encoded[:-2] + bytes([alphabet[alphabet.index(encoded[-2]) | 1]]) + b"="


@pytest.mark.parametrize("name", CASES)
def test_s10_almost_right(name: str) -> None:
    """Each case is refused, by the kind of error that says what is wrong."""
    change, kind = CASES[name]
    bad = change(GOOD)
    assert bad != GOOD
    with pytest.raises(kind):
        Policy.for_log(LOG_VKEY).verify(bad)


def test_s10_a_repeated_line_counts_once() -> None:
    """The log's own line twice is one signature."""
    verified = Policy.for_log(LOG_VKEY).verify(GOOD + SIGNATURE)
    assert verified.log_key == LOG.verifier_key


def test_s10_another_key_of_the_same_name_and_id() -> None:
    """Two keys that collide in name and ID: a policy that knows both is refused, and one does not stand in for one."""
    first, second = colliding_keys(ED25519_NOTE)
    assert (first.name, first.key_id) == (second.name, second.key_id)
    signed = b"a\n0\n" + format_base64(bytes(32)).encode() + b"\n\n" + line("a", first.key_id, bytes(64))
    with pytest.raises(FormatError):
        open_note(signed, [first, second])
    with pytest.raises(SignatureError):
        open_note(signed, [first])


def test_s10_keys_of_small_order() -> None:
    """The keys under which anybody can sign are no keys: the identity, the point of order two, and their like."""
    prime = 2**255 - 19
    for y in (0, 1, prime - 1, prime, prime + 1):
        with pytest.raises(FormatError, match=r"small order|canonical"):
            VerifierKey(ORIGIN, ED25519_NOTE, y.to_bytes(32, "little"))


def test_s10_a_good_one_passes() -> None:
    """The note that the cases are made from is valid."""
    assert Policy.for_log(LOG_VKEY).verify(GOOD).tree_size == 10
    assert replace(checkpoint(LINES)).raw == GOOD
