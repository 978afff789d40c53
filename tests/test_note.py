"""Signed notes: parsing, opening, signing."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import IMPOSTOR, LOG, TIMESTAMP_S, colliding_keys, mutations, signing_key, witness_key
from tests.vectors import SIGNED_NOTE, load_json
from tlog.errors import Error, FormatError, SignatureError, UntrustedNoteError
from tlog.keys import ED25519_NOTE, SigningKey, VerifierKey, compute_key_id
from tlog.note import (
    MAX_NOTE_SIZE,
    MAX_SIGNATURES,
    Note,
    NoteSignature,
    check_note_text,
    open_note,
    sign_line,
    sign_note,
    verify_line,
)

TRANSCRIBED = load_json(SIGNED_NOTE)
CASES = [
    *((case["name"], case["note"].encode(), case) for case in TRANSCRIBED["open"]),
    *((case["name"], bytes.fromhex(case["note_hex"]), case) for case in TRANSCRIBED["open_raw"]),
]
ERRORS = {"unverified": UntrustedNoteError, "malformed": FormatError, "invalid_signature": SignatureError}

TEXT = b"This is an example message.\n"
SIGNED = sign_note(TEXT, [LOG]).raw


@pytest.mark.parametrize(("raw", "case"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_transcribed_notes(raw: bytes, case: dict[str, Any]) -> None:
    """Every note of golang.org/x/mod's tests is accepted or refused as there, with the same signers."""
    keys = [VerifierKey.parse(vkey) for vkey in case["keys"]]
    if case["want"] != "ok":
        with pytest.raises(ERRORS[case["want"]]):
            open_note(raw, keys)
        return
    opened = open_note(raw, keys)
    known = {(key.name, key.key_id) for key in keys}
    unverified = dict.fromkeys(line.name for line in opened.note.signatures if (line.name, line.key_id) not in known)
    assert [key.name for key, _ in opened.verified] == case["verified"]
    assert list(unverified) == case["unverified"]
    assert opened.note.raw == raw


def test_transcribed_signature() -> None:
    """Signing gives, byte for byte, the note that golang.org/x/mod's tests want."""
    case = TRANSCRIBED["sign"]
    _, _, name, _, encoded = case["skey"].split("+", 4)
    signer = SigningKey.from_seed(name, base64.b64decode(encoded)[1:])
    assert sign_note(case["text"].encode(), [signer]).raw == case["want"].encode()


def test_specification_example() -> None:
    """The example of c2sp.org/signed-note verifies under the vkey printed with it."""
    raw = TRANSCRIBED["spec_example"]["note"].encode()
    key = VerifierKey.parse(TRANSCRIBED["spec_example"]["vkey"])
    opened = open_note(raw, [key])
    assert opened.verified == ((key, opened.note.signatures[0]),)
    assert opened.note.text == TEXT


def test_blank_line_in_the_text() -> None:
    """The specification's first example: the last blank line separates, earlier ones are text."""
    raw = (
        "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
        "— quasimodo.example/salvatore "
        "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    ).encode()
    note = Note.parse(raw)
    assert note.text.endswith("di sole:\n\ned è subito sera.\n".encode())
    assert note.signatures[0].name == "quasimodo.example/salvatore"
    assert note.signatures[0].key_id.hex() == "367ba04b"
    assert len(note.signatures[0].signature) == 64
    assert note.raw == raw


@pytest.mark.parametrize(
    "text", [b"\n", b"\n\n", b"a\n\n\n", "one\x85line\u2028still one\u2029\x7f\n".encode(), b"\xe2\x80\x94 a b\n"]
)
def test_odd_texts_round_trip(text: bytes) -> None:
    """Blank lines, Unicode line ends and look-alikes of signature lines belong to the text."""
    note = sign_note(text, [LOG])
    assert Note.parse(note.raw) == note
    assert open_note(note.raw, [LOG.verifier_key]).note.text == text


def _changed(old: bytes, new: bytes) -> bytes:
    assert old in SIGNED
    return SIGNED.replace(old, new)


LINE = SIGNED.splitlines(keepends=True)[-1]
ENCODED = LINE.split(b" ")[2].rstrip(b"\n")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "no blank line"),
        (b"\n", "no blank line"),
        (TEXT + b"\n", "it has 0 signature lines"),
        (SIGNED.removesuffix(b"\n"), "last line"),
        (SIGNED + b"\n", "it has 0 signature lines"),
        (SIGNED + b"more\n", "not a signature line"),
        (SIGNED.replace(b"\n", b"\r\n"), "no blank line"),
        (_changed(b"message.", b"message.\r"), "control character 0x0d"),
        (_changed(b"an example", b"an\texample"), "control character 0x09"),
        (_changed(b"an example", b"an\0example"), "control character 0x00"),
        (_changed(b"an example", b"an \xffexample"), "not UTF-8"),
        (_changed(b"an example", b"an \xed\xa0\x80example"), "not UTF-8"),
        (_changed(b"an example", b"an \xc0\x80example"), "not UTF-8"),
        (_changed(b"audit.", b"audit\xff."), "not UTF-8"),
        (_changed(b"audit.", b"audit+"), "key name"),
        (_changed(b"audit.", "audit\u00a0".encode()), "key name"),
        (_changed(b"audit.example.com/users", b""), "key name"),
        (_changed("— ".encode(), b"- "), "not a signature line"),
        (_changed("— ".encode(), "—".encode()), "not a signature line"),
        (_changed(b" " + ENCODED, b""), "not a signature line"),
        (_changed(ENCODED, b""), "needs a key ID"),
        (_changed(ENCODED, b"AAAA"), "needs a key ID"),
        (_changed(ENCODED, b"AAAAAA=="), "needs a key ID"),
        (_changed(ENCODED, ENCODED + b"="), "base64"),
        (_changed(ENCODED, ENCODED + b" "), "base64"),
        (_changed(ENCODED, ENCODED[:10] + b"!" + ENCODED[10:]), "base64"),
        (_changed(ENCODED, ENCODED[:-2] + b"R="), "not canonical"),
        (_changed(ENCODED, ENCODED.replace(b"=", b"")), "base64"),
        (_changed(ENCODED, b"-_" + ENCODED[2:]), "base64"),
        (b" " * (MAX_NOTE_SIZE + 1), "are more than"),
    ],
)
def test_malformed_notes(raw: bytes, reason: str) -> None:
    """S10: each broken rule of the format is refused with its reason, before any signature is looked at."""
    with pytest.raises(FormatError, match=reason):
        Note.parse(raw)
    with pytest.raises(FormatError, match=reason):
        open_note(raw, [LOG.verifier_key])


def test_every_changed_byte_is_noticed() -> None:
    """No byte of a note signed by one known key can change."""
    keys = [LOG.verifier_key]
    for place, raw in mutations(SIGNED):
        with pytest.raises((FormatError, SignatureError, UntrustedNoteError)):
            open_note(raw, keys)
        assert raw[place] != SIGNED[place]


def test_changed_lines_of_unknown_keys_do_not_matter() -> None:
    """In the line of an unknown key only the syntax counts; text and verified signatures stay the same."""
    note = sign_note(TEXT, [LOG, signing_key("stranger.example")])
    start = note.raw.rindex("—".encode())
    accepted = 0
    for place, raw in mutations(note.raw):
        try:
            opened = open_note(raw, [LOG.verifier_key])
        except Error:
            continue
        assert place >= start
        assert opened.note.text == TEXT
        assert opened.verified == ((LOG.verifier_key, note.signatures[0]),)
        accepted += 1
    assert accepted > 100


def test_the_pair_of_name_and_id_counts() -> None:
    """A line with a known name and another ID, or a known ID and another name, is an unknown key's: ignored."""
    good, signature = LOG.verifier_key, LOG.sign(TEXT)
    other_id = NoteSignature(good.name, b"\0\0\0\0", signature)
    other_name = NoteSignature("other.example", good.key_id, signature)
    line = sign_line(LOG, TEXT)
    opened = open_note(Note(TEXT, (other_id, other_name, line)), [good])
    assert opened.verified == ((good, line),)
    with pytest.raises(UntrustedNoteError) as caught:
        open_note(Note(TEXT, (other_id, other_name)), [good])
    assert caught.value.note == Note(TEXT, (other_id, other_name)).raw
    assert "other.example" in str(caught.value)


def test_another_key_of_the_same_name() -> None:
    """S12: a note signed anew by an attacker's key of the same name is of an unknown signer."""
    with pytest.raises(UntrustedNoteError):
        open_note(sign_note(TEXT, [IMPOSTOR]), [LOG.verifier_key])


def test_forged_key_id() -> None:
    """An attacker's signature under the name and ID of a known key is a known key's bad signature."""
    forged = NoteSignature(LOG.name, LOG.verifier_key.key_id, IMPOSTOR.sign(TEXT))
    with pytest.raises(SignatureError) as caught:
        open_note(Note(TEXT, (forged,)), [LOG.verifier_key])
    assert (caught.value.key_name, caught.value.key_id) == (LOG.name, LOG.verifier_key.key_id)


def test_every_line_of_a_known_key_must_verify() -> None:
    """A bad line of a known key refuses the note before, behind and between good lines, of this key and others."""
    good, other = sign_line(LOG, TEXT), sign_line(signing_key("other.example"), TEXT)
    bad = NoteSignature(LOG.name, LOG.verifier_key.key_id, bytes(64))
    keys = [LOG.verifier_key, signing_key("other.example").verifier_key]
    for lines in [(bad,), (bad, good), (good, bad), (other, bad), (bad, other), (good, bad, other)]:
        with pytest.raises(SignatureError):
            open_note(Note(TEXT, lines), keys)


@pytest.mark.parametrize("length", [1, 32, 63, 65, 72, 128])
def test_signatures_of_a_wrong_length(length: int) -> None:
    """A known key's signature of another length does not verify, for either type of key."""
    for signer in (LOG, witness_key(1)):
        key = signer.verifier_key
        if length == 72 and signer is not LOG:
            continue
        with pytest.raises(SignatureError):
            open_note(Note(TEXT, (NoteSignature(key.name, key.key_id, bytes([1]) * length),)), [key])


def test_repeated_lines_count_once() -> None:
    """Lines of one key, equal or of different times, make one verified key with its first line."""
    witness = witness_key(1)
    lines = tuple(sign_line(witness, TEXT, timestamp_s=TIMESTAMP_S + i // 2) for i in range(6))
    opened = open_note(Note(TEXT, lines), [witness.verifier_key])
    assert opened.verified == ((witness.verifier_key, lines[0]),)


def test_ambiguous_known_keys() -> None:
    """Two different known keys of one name and ID are refused, whatever the note; the same key twice is one key."""
    first, second = colliding_keys(ED25519_NOTE)
    assert first.key_id == second.key_id
    assert first != second
    with pytest.raises(FormatError, match="two different keys"):
        open_note(SIGNED, [first, second, LOG.verifier_key])
    opened = open_note(SIGNED, [LOG.verifier_key, LOG.verifier_key])
    assert len(opened.verified) == 1


def test_limits() -> None:
    """100 lines, with signatures of post-quantum size, are read; 101 lines are not."""
    large = tuple(NoteSignature(f"signer{i}", b"abcd", bytes([i]) * 5000) for i in range(MAX_SIGNATURES - 1))
    note = Note(TEXT, (*large, sign_line(LOG, TEXT)))
    assert Note.parse(note.raw) == note
    assert len(open_note(note.raw, [LOG.verifier_key]).verified) == 1
    with pytest.raises(FormatError, match="more than 100 signature lines"):
        Note.parse(note.raw + LINE)
    with pytest.raises(FormatError, match="101 signature lines"):
        Note(TEXT, (*note.signatures, note.signatures[0]))
    with pytest.raises(FormatError, match="are more than"):
        sign_note(b" " * MAX_NOTE_SIZE + b"\n", [LOG])


def test_a_note_of_the_largest_size() -> None:
    """A note of exactly 1 MiB is read, and one byte more is not."""
    filler = MAX_NOTE_SIZE - len(SIGNED)
    largest = Note(b"x" * filler + TEXT, Note.parse(SIGNED).signatures).raw
    assert len(largest) == MAX_NOTE_SIZE
    assert Note.parse(largest).raw == largest
    with pytest.raises(FormatError, match="1048577 bytes are more than 1048576"):
        Note.parse(b"x" + largest)
    check_note_text(b"x" * (MAX_NOTE_SIZE - 1) + b"\n")


def test_parts_of_a_signature_line() -> None:
    """A line has a key ID of four bytes and a signature of at least one."""
    for key_id, signature in ((b"abc", b"x"), (b"abcde", b"x"), (b"abcd", b"")):
        with pytest.raises(FormatError, match="needs a key ID"):
            NoteSignature("signer.example", key_id, signature)


def test_an_untrusted_note_names_its_signers() -> None:
    """The first three signers are named, and the others counted."""
    signers = [signing_key(f"signer{number}.example") for number in range(5)]
    for count, end in ((1, "signer0.example+"), (3, "signer2.example+"), (5, " and 2 more")):
        with pytest.raises(UntrustedNoteError) as caught:
            open_note(sign_note(TEXT, signers[:count]), [LOG.verifier_key])
        assert end in str(caught.value)
        assert ("more" in str(caught.value)) == (count > 3)


def test_no_known_keys_trust_nobody() -> None:
    """Without keys, no note is opened."""
    with pytest.raises(UntrustedNoteError):
        open_note(SIGNED, [])


@pytest.mark.parametrize("text", [b"", b"no newline", b"a\tb\n", b"\xff\n", b"a\r\n"])
def test_texts_that_can_not_be_signed(text: bytes) -> None:
    """What no note can hold is refused before it is signed."""
    with pytest.raises(FormatError):
        sign_note(text, [LOG])


def test_signers_that_can_not_sign() -> None:
    """No signers, one signer twice, and a cosigner without a time are refused."""
    with pytest.raises(FormatError, match="0 signature lines"):
        sign_note(TEXT, [])
    with pytest.raises(FormatError, match="two signers"):
        sign_note(TEXT, [LOG, LOG])
    with pytest.raises(FormatError, match="needs a timestamp"):
        sign_note(TEXT, [LOG, witness_key(1)])


def test_several_signers() -> None:
    """A note carries its signers' lines in their order, and every subset of known keys verifies its own."""
    signers = [LOG, signing_key("second.example"), witness_key(1)]
    note = sign_note(TEXT, signers, timestamp_s=TIMESTAMP_S)
    assert [line.name for line in note.signatures] == [signer.name for signer in signers]
    for number in range(1, 8):
        keys = [signer.verifier_key for place, signer in enumerate(signers) if number >> place & 1]
        assert [key for key, _ in open_note(note.raw, keys).verified] == keys


def test_a_line_is_verified_by_its_own_key_only() -> None:
    """`verify_line` refuses a line that names another key, also where the signature would verify."""
    line = sign_line(LOG, TEXT)
    verify_line(LOG.verifier_key, TEXT, line)
    with pytest.raises(SignatureError):
        verify_line(LOG.verifier_key, TEXT, NoteSignature("other.example", line.key_id, line.signature))


def test_key_ids_follow_the_formula() -> None:
    """The ID on the line is the one of name, type and public key."""
    key = LOG.verifier_key
    assert sign_line(LOG, TEXT).key_id == compute_key_id(key.name, 1, key.public_key)


NAMES = st.text(st.characters(min_codepoint=0x21, exclude_categories=["Cs", "Zs", "Zl", "Zp"]), min_size=1).filter(
    lambda name: "+" not in name and "\x85" not in name
)
TEXTS = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]) | st.just("\n")).map(
    lambda text: f"{text}\n".encode()
)
SIGNATURES = st.builds(NoteSignature, NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))


@given(TEXTS, st.lists(SIGNATURES, min_size=1, max_size=5))
def test_notes_round_trip(text: bytes, signatures: list[NoteSignature]) -> None:
    """Every note that can be made is parsed back from its bytes."""
    note = Note(text, tuple(signatures))
    assert Note.parse(note.raw) == note
    assert [NoteSignature.parse(str(line)) for line in signatures] == signatures


@given(st.binary())
def test_arbitrary_bytes(raw: bytes) -> None:
    """Arbitrary bytes, alone, as text, as signature lines and as a signature, give errors of tlog or a round trip."""
    block = base64.b64encode(raw)
    for candidate in (raw, raw + b"\n\n" + LINE, TEXT + b"\n" + raw, TEXT + "\n— a ".encode() + block + b"\n"):
        try:
            assert Note.parse(candidate).raw == candidate
            open_note(candidate, [LOG.verifier_key])
        except Error:
            pass


@given(st.text())
def test_arbitrary_signature_lines(text: str) -> None:
    """Arbitrary text as a signature line gives an error of tlog or a round trip."""
    for line in (text, f"— {text}", f"— a {text}", f"— {text} AAAAAAA="):
        with contextlib.suppress(Error):
            assert str(NoteSignature.parse(line)) == line
