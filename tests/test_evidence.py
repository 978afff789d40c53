"""Evidence of a split view: verified with the log's key alone, and nothing else passes for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import (
    IMPOSTOR,
    LOG,
    LOG_VKEY,
    ORIGIN,
    checkpoint,
    consistency_path,
    entry_lines,
    mutations,
    signing_key,
    tree_hash,
)
from tlog.checkpoint import Checkpoint
from tlog.errors import Error, FormatError, ProofError, UnknownOriginError, UntrustedNoteError
from tlog.evidence import Evidence, contradiction, find_contradiction, verify_evidence
from tlog.keys import SigningKey
from tlog.policy import Policy
from tlog.reader import TileReader
from tlog.tile import Tile

LINES = entry_lines(20)
FORK = entry_lines(20, word="fork")
POLICY = Policy.for_log(LOG_VKEY)


def fork_at(size: int, larger: int, lines: list[bytes] = FORK, *signers: SigningKey) -> Evidence:
    """Return the evidence that a log signed `size` entries of one history and `larger` of another."""
    proof = consistency_path(size, lines[:larger]) if size < larger else ()
    return contradiction(checkpoint(LINES[:size]), checkpoint(lines[:larger], *signers), proof, tree_hash(lines[:size]))


@given(st.integers(1, 20), st.integers(1, 20))
def test_every_fork_is_shown(one: int, other: int) -> None:
    """For any two sizes the evidence is verified, names both, and survives its file."""
    size, larger = sorted((one, other))
    evidence = fork_at(size, larger)
    assert Evidence.parse(evidence.format()) == evidence == Evidence.parse(str(evidence))
    found = verify_evidence(evidence.format(), POLICY)
    assert (found.origin, found.against.tree_size, found.shown.tree_size) == (ORIGIN, size, larger)
    assert found.root_hash == tree_hash(FORK[:size])
    assert found.root_hash.hex() in str(found)
    assert found.against.root_hash.hex() in str(found)


@given(st.integers(1, 20), st.integers(1, 20))
def test_an_honest_log_cannot_be_accused(one: int, other: int) -> None:
    """Checkpoints of one history contradict nothing, whatever proof comes with them."""
    size, larger = sorted((one, other))
    with pytest.raises(ProofError):
        verify_evidence(fork_at(size, larger, LINES), POLICY)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=10), st.integers(0, 20), st.integers(1, 20))
def test_made_up_hashes_accuse_nobody(hashes: list[bytes], one: int, other: int) -> None:
    """With any other hashes two honest checkpoints are no evidence."""
    size, larger = sorted((one, other))
    with pytest.raises(ProofError):
        verify_evidence(Evidence(checkpoint(LINES[:size]), checkpoint(LINES[:larger]), tuple(hashes)), POLICY)


def test_every_byte_counts() -> None:
    """A change of any bit makes it another file, which proves nothing, or the same."""
    raw = fork_at(5, 11).format()
    for _, changed in mutations(raw):
        with pytest.raises(Error):
            verify_evidence(changed, POLICY)


@pytest.mark.parametrize(("size", "larger"), [(4, 11), (5, 11), (8, 8), (1, 2)])
def test_hashes_left_out_or_added(size: int, larger: int) -> None:
    """One hash fewer, more, or another one, and it is no evidence."""
    evidence = fork_at(size, larger)
    for hashes in (
        (*evidence.hashes, bytes(32)),
        (bytes(32), *evidence.hashes),
        *([evidence.hashes[1:], evidence.hashes[:-1], (bytes(32), *evidence.hashes[1:])] if evidence.hashes else []),
    ):
        with pytest.raises(ProofError):
            verify_evidence(replace(evidence, hashes=hashes), POLICY)


def test_whose_word_it_is() -> None:
    """Both checkpoints must be signed by the log whose key the reader has, and be of one log."""
    with pytest.raises(UntrustedNoteError):
        verify_evidence(fork_at(5, 11, FORK, IMPOSTOR), POLICY)
    with pytest.raises(UnknownOriginError):
        verify_evidence(fork_at(5, 11), Policy.for_log(str(signing_key("other.example").verifier_key)))
    other = signing_key("other.example")
    both = Policy.parse(f"log {LOG_VKEY}\nlog {other.verifier_key}\nquorum none\n")
    stranger = Checkpoint("other.example", 5, tree_hash(FORK[:5])).sign(other)
    with pytest.raises(ProofError, match="different logs"):
        verify_evidence(Evidence(checkpoint(LINES[:5]), stranger), both)


def test_the_empty_tree_contradicts_nothing() -> None:
    """Size 0 is in every tree."""
    with pytest.raises(ProofError, match="empty tree"):
        verify_evidence(Evidence(checkpoint([]), checkpoint(LINES[:3]), (bytes(32),)), POLICY)
    with pytest.raises(ProofError):
        verify_evidence(Evidence(checkpoint([]), checkpoint([])), POLICY)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:0],
        lambda raw: raw.replace(b"@v1", b"@v2"),
        lambda raw: raw.replace(b"against ", b"against  "),
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw + b"\n",
        lambda raw: raw[:-1],
        lambda raw: b"\xff" + raw,
        lambda raw: raw.replace(b"\n\n", b"\n", 1),
        lambda raw: raw.replace(b"\n\n", b"\nAAAA\n\n", 1),
        lambda raw: raw.replace(b"\n\n", b"\n" + (b"A" * 43 + b"=\n") * 70 + b"\n", 1),
        lambda raw: raw * 10_000,
    ],
)
def test_other_spellings(change: object) -> None:
    """Whatever is not the one spelling is refused."""
    with pytest.raises(FormatError):
        Evidence.parse(change(fork_at(5, 11).format()))  # type: ignore[operator]


def test_the_smaller_one_comes_first() -> None:
    """The order is part of the spelling."""
    with pytest.raises(FormatError, match="smaller"):
        Evidence(checkpoint(LINES[:5]), checkpoint(FORK[:3]))
    assert LOG.verifier_key.name == ORIGIN


class Tiles:
    """The tiles of a naive tree."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines

    def read_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
        """Return the hashes of each tile, one after another; the trees here have one level of tiles."""
        assert all(tile.level == 0 for tile in tiles)
        return [b"".join(map(tree_hash, ([line] for line in self.lines[: tile.width]))) for tile in tiles]


@given(st.integers(0, 20), st.booleans())
def test_comparing_with_a_tree_of_ones_own(size: int, is_fork: bool) -> None:
    """A checkpoint of another history is found against a verified tree, one of the same is not, a larger one waits."""
    own = checkpoint(LINES[:12])
    tree = TileReader(Tiles(LINES[:12]), 12, own.root_hash)
    other = checkpoint((FORK if is_fork else LINES)[:size])
    if size > 12:
        with pytest.raises(FormatError, match="larger"):
            find_contradiction(own, tree, other)
        return
    found = find_contradiction(own, tree, other)
    assert (found is not None) == (is_fork and size > 0)
    if found is not None:
        assert verify_evidence(found.format(), POLICY).against.tree_size == size


def test_the_number_of_hashes() -> None:
    """64 hashes of 32 bytes are read back; one more, or one of another length, is refused."""
    most = replace(fork_at(5, 11), hashes=(bytes(32),) * 64)
    assert Evidence.parse(most.format()) == most
    for hashes in ((bytes(32),) * 65, (bytes(31),)):
        with pytest.raises(FormatError, match="at most 64 hashes, of 32 bytes each"):
            replace(most, hashes=hashes)


FORKED = fork_at(5, 11).format()
PLACES = {
    "nothing": (b"", "evidence", "it needs 'tlog-evidence@v1'"),
    "header alone": (b"tlog-evidence@v1\n\nx", "evidence", "it needs 'tlog-evidence@v1'"),
    "another header": (FORKED.replace(b"@v1", b"@v2"), "evidence", "it needs 'tlog-evidence@v1'"),
    "no blank line": (FORKED.partition(b"\n\n")[0], "evidence", "it needs 'tlog-evidence@v1'"),
    "no base64": (FORKED.replace(b"against ", b"against  "), "evidence: against line", "is not standard base64"),
    "no hash": (FORKED.replace(b"\n\n", b"\nAAAA\n\n", 1), "evidence: hash line", "holds 3 bytes"),
}


@pytest.mark.parametrize(("raw", "what", "reason"), PLACES.values(), ids=PLACES)
def test_places_are_named(raw: bytes, what: str, reason: str) -> None:
    """The error names the line that is wrong, or says which lines the file needs."""
    with pytest.raises(FormatError) as caught:
        Evidence.parse(raw)
    assert caught.value.what == what
    assert reason in caught.value.reason
