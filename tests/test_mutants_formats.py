"""What mutation testing found untested in the formats and in verification: which place an error names."""

from __future__ import annotations

import pytest

from tests.statements import LOG, checkpoint, entry_lines, inclusion_proof, signing_key
from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError, VerificationError
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
