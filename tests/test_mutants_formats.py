"""What mutation testing found untested in the formats and in verification: which place an error names."""

from __future__ import annotations

import pytest

from tests.statements import LOG, checkpoint, entry_lines, inclusion_proof, signing_key
from tlog._strict import require_int
from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError, UntrustedNoteError, VerificationError
from tlog.note import Note, NoteSignature, open_note, sign_note
from tlog.policy import Policy
from tlog.tile import Bundle, Tile, parse_path
from tlog.verify import verify_proof

POLICY = Policy.for_log(LOG.verifier_key)


def test_a_leaf_that_is_no_entry_is_named_by_its_index() -> None:
    """Where a proven leaf is no entry, the error says which leaf."""
    leaves = [*entry_lines(3), b"no entry"]
    with pytest.raises(VerificationError) as caught:
        verify_proof(inclusion_proof(3, leaves), policy=POLICY)
    assert (caught.value.place, caught.value.seq) == ("entry 3", 3)


PATHS = {
    "tile/0/000.p/256": ("tile width", "256 is larger than 255"),
    "tile/0/000.p/257": ("tile width", "257 is larger than 255"),
    "tile/64/000": ("tile level", "64 is larger than 63"),
    "tile/0/x009/x223/x372/x036/x854/x775/808": ("tile path", "is larger than 9223372036854775807"),
}


@pytest.mark.parametrize(("path", "what", "reason"), [(path, *error) for path, error in PATHS.items()])
def test_tile_paths_just_over_a_limit(path: str, what: str, reason: str) -> None:
    """The error names the part of a tile path that is over its limit."""
    with pytest.raises(FormatError) as caught:
        parse_path(path)
    assert caught.value.what == what
    assert reason in caught.value.reason


def test_tile_paths_without_end() -> None:
    """A path of thousands of parts is refused before its digits are made a number."""
    with pytest.raises(FormatError, match="is not tile/"):
        parse_path("tile/0/" + "x001/" * 2000 + "001")


def test_tile_paths_around_a_thousand() -> None:
    """The index gets a second part from 1,000 on."""
    paths = [Tile(0, index).path for index in (999, 1000, 1001, 999_999, 1_000_000)]
    assert paths == ["tile/0/999", "tile/0/x001/000", "tile/0/x001/001", "tile/0/x999/999", "tile/0/x001/x000/000"]


def test_the_longest_tile_paths() -> None:
    """The last tile and the last bundle that a log can have are read."""
    assert parse_path("tile/63/x009/x223/x372/x036/x854/x775/807.p/255") == Tile(63, 2**63 - 1, 255)
    assert parse_path("tile/entries/x009/x223/x372/x036/x854/x775/807") == Bundle(2**63 - 1)


CHECKPOINT_LINES = {
    "checkpoint tree size": b"origin\n01\n" + b"A" * 43 + b"=\n",
    "checkpoint root hash": b"origin\n1\n" + b"A" * 42 + b"=\n",
}


@pytest.mark.parametrize(("what", "text"), CHECKPOINT_LINES.items(), ids=CHECKPOINT_LINES)
def test_checkpoint_lines_are_named(what: str, text: bytes) -> None:
    """The error names the line of a checkpoint that is wrong."""
    with pytest.raises(FormatError) as caught:
        Checkpoint.parse_text(text)
    assert caught.value.what == what


def test_a_checkpoint_shows_its_signers() -> None:
    """The repr of a checkpoint names every signer, and no signature."""
    other = signing_key("another.example.com")
    signed = checkpoint(entry_lines(2)).sign(other)
    keys = [LOG.verifier_key, other.verifier_key]
    assert repr(signed).endswith(f"signatures=[{', '.join(f'{key.name}+{key.key_id.hex()}' for key in keys)}]>")


def test_a_note_may_have_a_long_text() -> None:
    """The number of signature lines is limited, that of the text's lines is not."""
    note = sign_note(b"line\n" * 500, [LOG])
    assert Note.parse(note.raw) == note


def test_a_signature_line_of_no_base64_is_named() -> None:
    """The error says that it is the note's signature that is not base64."""
    with pytest.raises(FormatError) as caught:
        NoteSignature.parse("\u2014 name %%%%")
    assert caught.value.what == "note signature"


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (3, 3), (4, 3), (5, 3)])
def test_signers_of_an_untrusted_note_are_listed(count: int, shown: int) -> None:
    """The error lists the first three signers with their key IDs, names cut to 60 characters, and how many follow."""
    signers = [signing_key(f"{number}" * 70) for number in range(count)]
    note = sign_note(b"text\n", signers)
    with pytest.raises(UntrustedNoteError) as caught:
        open_note(note, [LOG.verifier_key])
    listed = ", ".join(f"{key.name[:60]}+{key.verifier_key.key_id.hex()}" for key in signers[:shown])
    more = f" and {count - shown} more" if count > shown else ""
    assert str(caught.value) == f"no known key has signed the note; the signers are {listed}{more}"
    assert caught.value.note == note.raw


@pytest.mark.parametrize(
    ("origin", "tree_size", "field"),
    [("two\nlines", 0, "checkpoint origin"), ("", 0, "checkpoint origin"), ("a", True, "checkpoint tree size")],
    ids=["two lines", "no origin", "no number"],
)
def test_a_checkpoint_names_the_field_that_is_wrong(origin: str, tree_size: int, field: str) -> None:
    """An origin of two lines or none, a size that is no number: the error names which of them."""
    with pytest.raises(FormatError) as caught:
        Checkpoint(origin, tree_size, bytes(32))
    assert caught.value.what == field


def test_whole_numbers() -> None:
    """Without limits of its own a number is 0 to 2^63 - 1."""
    assert [require_int(number, "size") for number in (0, 2**63 - 1)] == [0, 2**63 - 1]
    for number in (-1, 2**63):
        with pytest.raises(FormatError, match=f"^size: {number} is outside 0 to 9223372036854775807"):
            require_int(number, "size")


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (2**128 - 1, str(2**128 - 1)),
        (-(2**128) + 1, str(-(2**128) + 1)),
        (2**128, "a number of 129 bits"),
        (1 << 100_000, "a number of 100001 bits"),
    ],
    ids=["128 bits", "128 bits and a sign", "129 bits", "more digits than Python writes"],
)
def test_numbers_far_outside(number: int, shown: str) -> None:
    """A number of up to 128 bits is shown in the error; of a larger one its size, for Python may refuse to write it."""
    with pytest.raises(FormatError) as caught:
        require_int(number, "size")
    assert caught.value.reason.startswith(f"{shown} is outside")
