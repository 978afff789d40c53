"""Checkpoints: parsing, formatting, signing."""

from __future__ import annotations

import base64
import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import LOG, ORIGIN, TIMESTAMP_S, checkpoint, entry_lines, mutations, signing_key, witness_key
from tests.vectors import SUNLIGHT, TESSERA_LOG
from tlog.checkpoint import MAX_TREE_SIZE, Checkpoint
from tlog.errors import Error, FormatError, SignatureError, UntrustedNoteError
from tlog.hashing import EMPTY_ROOT
from tlog.keys import ED25519_NOTE, VerifierKey
from tlog.note import MAX_NOTE_SIZE, Note, NoteSignature, open_note, verify_line

TESSERA_KEY = VerifierKey.parse("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")
SUMDB_KEY = VerifierKey.parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")

# The example of c2sp.org/tlog-checkpoint. Its signature is the Go checksum database's, over another origin.
EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
).encode()

LEAVES = entry_lines(3)
CHECKPOINT = checkpoint(LEAVES)
ROOT = base64.b64encode(CHECKPOINT.root_hash).decode()
TEXT = f"{ORIGIN}\n3\n{ROOT}\n"


@pytest.mark.parametrize("size", range(16))
def test_tessera_checkpoints(size: int) -> None:
    """The 16 checkpoints of tessera's test log parse, verify, and have the size that their file's name says."""
    raw = (TESSERA_LOG / f"checkpoint.{size}").read_bytes()
    parsed = Checkpoint.parse(raw)
    assert (parsed.origin, parsed.tree_size, parsed.extensions) == ("example.com/log/testdata", size, ())
    assert parsed.raw == raw
    assert str(parsed).encode() == raw
    assert open_note(raw, [TESSERA_KEY]).note.text == parsed.text
    if size == 0:
        assert parsed.root_hash == EMPTY_ROOT
    if size == 15:
        assert parsed.root_hash == base64.b64decode("rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=")


def test_specification_example_is_a_trap() -> None:
    """The specification's example parses; its signature is a known key's, but over other text, and fails."""
    parsed = Checkpoint.parse(EXAMPLE)
    assert (parsed.origin, parsed.tree_size, parsed.raw) == ("example.com/behind-the-sofa", 20852163, EXAMPLE)
    (line,) = parsed.signatures
    assert line.key_id == SUMDB_KEY.key_id
    with pytest.raises(UntrustedNoteError):
        open_note(EXAMPLE, [SUMDB_KEY])
    renamed = NoteSignature(SUMDB_KEY.name, line.key_id, line.signature)
    with pytest.raises(SignatureError):
        verify_line(SUMDB_KEY, parsed.text, renamed)
    true_text = Checkpoint("go.sum database tree", parsed.tree_size, parsed.root_hash).text
    verify_line(SUMDB_KEY, true_text, renamed)


def test_other_signature_types_are_carried() -> None:
    """A checkpoint with lines of types that tlog does not know parses and comes back byte for byte."""
    raw = (SUNLIGHT / "tree" / "checkpoint").read_bytes()
    parsed = Checkpoint.parse(raw)
    assert (parsed.origin, parsed.tree_size, parsed.raw) == ("rome2026h1.example.org", 300, raw)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs an origin"),
        ("\n", "needs an origin"),
        (f"{ORIGIN}\n", "needs an origin"),
        (f"{ORIGIN}\n3\n", "needs an origin"),
        (f"{ORIGIN}\n3\n{ROOT}", "needs an origin"),
        (f"3\n{ROOT}\n", "needs an origin"),
        (f"\n3\n{ROOT}\n", "origin: it is empty"),
        (f"{ORIGIN}\n{ROOT}\n3\n", "tree size"),
        (f"{ORIGIN}\n{ROOT}\nextension\n", "tree size"),
        (f"{ORIGIN}\n\n{ROOT}\n", "tree size"),
        *(
            (f"{ORIGIN}\n{size}\n{ROOT}\n", "tree size")
            for size in ("03", "+3", "-3", " 3", "3 ", "3.0", "3e0", "0x3", "1_0", "５", "٣", "three", "-0", "00")
        ),
        (f"{ORIGIN}\n{MAX_TREE_SIZE + 1}\n{ROOT}\n", "is larger than"),
        (f"{ORIGIN}\n{2**64}\n{ROOT}\n", "is larger than"),
        (f"{ORIGIN}\n{'9' * 1000}\n{ROOT}\n", "is not a decimal"),
        (f"{ORIGIN}\n3\n{ROOT} \n", "base64"),
        (f"{ORIGIN}\n3\n{ROOT[:-1]}\n", "base64"),
        (f"{ORIGIN}\n3\n{CHECKPOINT.root_hash.hex()}\n", "holds 48 bytes"),
        (f"{ORIGIN}\n3\n{base64.b64encode(bytes(31)).decode()}\n", "holds 31 bytes"),
        (f"{ORIGIN}\n3\n{base64.b64encode(bytes(33)).decode()}\n", "holds 33 bytes"),
        (f"{ORIGIN}\n3\n\n", "holds 0 bytes"),
        (f"{ORIGIN}\n3\n{base64.b64encode(bytes(32)).decode()[:-2]}B=\n", "not canonical"),
        (f"{ORIGIN}\n3\n{'_' * 42}8=\n", "base64"),
        (f"{ORIGIN}\n0\n{ROOT}\n", "root of the empty tree"),
        (f"{ORIGIN}\n3\n{ROOT}\n\n", "extension line: it is empty"),
        (f"{ORIGIN}\n3\n{ROOT}\n\nextension\n", "extension line: it is empty"),
        (f"{ORIGIN}\n3\n{ROOT}\nextension", "needs an origin"),
        (f"{ORIGIN}\r\n3\r\n{ROOT}\r\n", "tree size"),
        (f"{ORIGIN}\n3\n{ROOT}\nexten\tsion\n", "control character"),
        (f"audit\x00\n3\n{ROOT}\n", "control character"),
        (f"{'o' * 256}\n3\n{ROOT}\n", "more than 255 bytes"),
        (f"{'ö' * 128}\n3\n{ROOT}\n", "more than 255 bytes"),
    ],
)
def test_malformed_texts(text: str, reason: str) -> None:
    """S10: missing lines, other spellings of numbers and hashes, and impossible values are refused by name."""
    with pytest.raises(FormatError, match=reason):
        Checkpoint.parse_text(text.encode())


@pytest.mark.parametrize("text", [b"\xff\n3\n", b"a\n3\n\xc0\x80\n", b"\xed\xa0\x80\n3\n"])
def test_texts_that_are_not_utf8(text: bytes) -> None:
    """A text outside UTF-8 is refused."""
    with pytest.raises(FormatError, match="not UTF-8"):
        Checkpoint.parse_text(text)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (TEXT.encode(), "no blank line"),
        (TEXT.encode() + b"\n", "0 signature lines"),
        (CHECKPOINT.raw.removesuffix(b"\n"), "last line"),
        (CHECKPOINT.raw.replace(b"\n", b"\r\n"), "no blank line"),
        (b"\n" + CHECKPOINT.raw, "tree size"),
        (CHECKPOINT.raw.replace(b"\n3\n", b"\n\n3\n"), "tree size"),
        (CHECKPOINT.raw.replace(b"\n\n", b"\n\n\n"), "extension line: it is empty"),
        (b"x" * (MAX_NOTE_SIZE + 1), "are more than"),
    ],
)
def test_malformed_notes(raw: bytes, reason: str) -> None:
    """S10: a checkpoint that is no note, or has blank lines before its own, is refused."""
    with pytest.raises(FormatError, match=reason):
        Checkpoint.parse(raw)


def test_a_changed_root_or_size_breaks_the_signature() -> None:
    """S10: wrong root hash, wrong size, wrong origin under the log's own signature line."""
    forged_root = base64.b64encode(bytes(32))
    for old, new in [(ROOT.encode(), forged_root), (b"\n3\n", b"\n2\n"), (b"users\n3", b"admin\n3")]:
        raw = CHECKPOINT.raw.replace(old, new)
        assert raw != CHECKPOINT.raw
        Checkpoint.parse(raw)
        with pytest.raises(SignatureError):
            open_note(raw, [LOG.verifier_key])


def test_every_changed_byte_is_noticed() -> None:
    """No byte of a checkpoint signed by one known key can change."""
    for _, raw in mutations(CHECKPOINT.raw):
        with pytest.raises((FormatError, SignatureError, UntrustedNoteError)):
            open_note(Checkpoint.parse(raw).note, [LOG.verifier_key])


@pytest.mark.parametrize(
    "origin",
    ["go.sum database tree", "a", "o" * 255, "ö" * 127, "https://log.example/?a=b+c", "line\u2028end\x85", "\x7f", " "],
)
def test_odd_origins(origin: str) -> None:
    """Whatever is one line of 1 to 255 bytes is an origin; Unicode line ends don't end the line."""
    made = Checkpoint(origin, 3, CHECKPOINT.root_hash).sign(LOG)
    assert Checkpoint.parse(made.raw) == made
    assert made.origin == origin


@pytest.mark.parametrize("tree_size", [-1, MAX_TREE_SIZE + 1, 2**200, True, 3.0, "3"])
def test_bad_tree_sizes(tree_size: int) -> None:
    """S7: sizes that are negative, too large, or no whole numbers are refused where a checkpoint is made."""
    with pytest.raises(FormatError, match="tree size"):
        Checkpoint(ORIGIN, tree_size, CHECKPOINT.root_hash)


@pytest.mark.parametrize("size", [0, 20, 31, 33, 64])
def test_bad_root_hashes(size: int) -> None:
    """A root hash is 32 bytes."""
    with pytest.raises(FormatError, match="root hash"):
        Checkpoint(ORIGIN, 3, bytes(size))


def test_the_empty_tree() -> None:
    """Size 0 goes with the hash of nothing only, and has the spelling of the specification."""
    made = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert made.text == f"{ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".encode()
    with pytest.raises(FormatError, match="SHA-256 of nothing"):
        Checkpoint(ORIGIN, 0, CHECKPOINT.root_hash)


def test_extension_lines() -> None:
    """Extension lines are kept, signed, and may hold anything but nothing."""
    made = Checkpoint(ORIGIN, 3, CHECKPOINT.root_hash, ("first", "— looks like a signature AAAA")).sign(LOG)
    assert Checkpoint.parse(made.raw) == made
    assert made.raw.startswith(f"{TEXT}first\n".encode())
    without = Note(TEXT.encode(), made.signatures)
    with pytest.raises(SignatureError):
        open_note(without, [LOG.verifier_key])
    for line in ("", "a\nb", "a\rb", "\ud800"):
        with pytest.raises(FormatError, match="extension line"):
            Checkpoint(ORIGIN, 3, CHECKPOINT.root_hash, (line,))


def test_signing() -> None:
    """Signatures are added behind those there; a second signature of one key takes the place of the first."""
    first = CHECKPOINT.sign(witness_key(1), timestamp_s=TIMESTAMP_S)
    again = first.sign(witness_key(1), signing_key("other.example"), timestamp_s=TIMESTAMP_S + 1)
    names = [line.name for line in again.signatures]
    assert names == [ORIGIN, "witness1.example.net", "other.example"]
    assert again.signatures[1] != first.signatures[1]
    keys = [signer.verifier_key for signer in (LOG, witness_key(1), signing_key("other.example"))]
    assert [key for key, _ in open_note(again.raw, keys).verified] == keys


def test_an_unsigned_checkpoint_has_no_file() -> None:
    """What nobody signed has a text, but no bytes to store or send."""
    unsigned = Checkpoint(ORIGIN, 3, CHECKPOINT.root_hash)
    assert str(unsigned) == TEXT
    with pytest.raises(FormatError, match="0 signature lines"):
        _ = unsigned.raw


def test_repr_names_the_facts() -> None:
    """The representation shows origin, size, root in hex, and who signed."""
    shown = repr(CHECKPOINT)
    key_id = LOG.verifier_key.key_id.hex()
    assert f"{ORIGIN!r} tree_size=3 root_hash={CHECKPOINT.root_hash.hex()} signatures=[{ORIGIN}+{key_id}]" in shown


def test_large_input_is_refused_quickly() -> None:
    """S7: ten megabytes of anything are refused at once."""
    start = time.perf_counter()
    for raw in (b"\n" * 10_000_000, b"a\n\n" * 3_000_000, CHECKPOINT.raw * 50_000):
        with pytest.raises(FormatError, match="are more than"):
            Checkpoint.parse(raw)
    assert time.perf_counter() - start < 1


ORIGINS = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), min_size=1, max_size=60)
KEY_NAMES = st.text("abcdefghijklmnopqrstuvwxyz.-/", min_size=1)
LINES = st.builds(NoteSignature, KEY_NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))


@given(
    ORIGINS,
    st.integers(1, MAX_TREE_SIZE),
    st.binary(min_size=32, max_size=32),
    st.lists(ORIGINS, max_size=3),
    st.lists(LINES, min_size=1, max_size=3),
)
def test_checkpoints_round_trip(
    origin: str, size: int, root: bytes, extensions: list[str], lines: list[NoteSignature]
) -> None:
    """Every checkpoint that can be made is parsed back from its bytes."""
    made = Checkpoint(origin, size, root, tuple(extensions), tuple(lines))
    assert Checkpoint.parse(made.raw) == made
    assert Checkpoint.parse_text(made.text) == Checkpoint(origin, size, root, tuple(extensions))


@given(st.binary(), st.text())
def test_arbitrary_input(raw: bytes, line: str) -> None:
    """Arbitrary bytes and lines in each place give an error of tlog or a round trip."""
    encoded = line.encode("utf-8", "surrogatepass")
    texts = [raw, *(TEXT.encode().replace(part, encoded) for part in (ORIGIN.encode(), b"3", ROOT.encode()))]
    for text in texts:
        with contextlib.suppress(Error):
            assert Checkpoint.parse_text(text).text == text
        signed = text + CHECKPOINT.raw.removeprefix(TEXT.encode())
        with contextlib.suppress(Error):
            assert Checkpoint.parse(signed).raw == signed


def test_a_key_of_the_log_is_no_property_of_the_checkpoint() -> None:
    """S12: parsing believes nobody: a checkpoint signed by any key parses, and opens under that key only."""
    stranger = signing_key(ORIGIN, ED25519_NOTE, "stranger")
    forged = Checkpoint.parse(checkpoint(LEAVES, stranger).raw)
    assert open_note(forged.note, [stranger.verifier_key]).note.text == forged.text
    with pytest.raises(UntrustedNoteError):
        open_note(forged.note, [LOG.verifier_key])
