"""Earlier roots: verified with the log's key alone, evidence where they contradict, and nothing else passes for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import (
    IMPOSTOR,
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
from tlog.earlier import (
    MAX_EARLIER_ROOT_SIZE,
    EarlierRoot,
    ProvenRoot,
    prove_earlier_root,
    verify_earlier_root,
)
from tlog.errors import Error, FormatError, ProofError, SignatureError, UnknownOriginError, UntrustedNoteError
from tlog.evidence import verify_evidence
from tlog.policy import Policy
from tlog.reader import TileReader
from tlog.tile import Tile

LINES = entry_lines(20)
FORK = entry_lines(20, word="fork")
POLICY = Policy.for_log(LOG_VKEY)


def root_of(size: int, larger: int, lines: list[bytes] = LINES) -> EarlierRoot:
    """Return how a tree of `larger` entries stands at `size`, by the words of RFC 6962."""
    proof = consistency_path(size, lines[:larger]) if size < larger else ()
    return EarlierRoot(size, tree_hash(lines[:size]), proof, checkpoint(lines[:larger]))


def verified(claim: str | bytes | EarlierRoot, size: int) -> ProvenRoot:
    """Verify a claim about the log of these tests."""
    return verify_earlier_root(claim, POLICY, ORIGIN, size)


class Tiles:
    """The tiles of a naive tree of one level."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines

    def read_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
        """Return the hashes of each tile."""
        return [b"".join(map(tree_hash, ([line] for line in self.lines[: tile.width]))) for tile in tiles]


@given(st.integers(1, 20), st.integers(1, 20), st.booleans())
def test_every_two_sizes(one: int, other: int, is_fork: bool) -> None:
    """For any two sizes: made from tiles as by the words of RFC 6962, read back, verified, and evidence or not."""
    size, larger = sorted((one, other))
    claim = root_of(size, larger, FORK if is_fork else LINES)
    tree = TileReader(Tiles(FORK if is_fork else LINES), larger, claim.checkpoint.root_hash)
    assert prove_earlier_root(claim.checkpoint, tree, size) == claim
    assert EarlierRoot.parse(claim.format()) == claim == EarlierRoot.parse(str(claim))
    proven = verified(claim.format(), size)
    assert (proven.root_hash, proven.signed.tree_size) == (claim.root_hash, larger)
    found = proven.contradicts(checkpoint(LINES[:size]))
    assert (found is not None) == is_fork
    if found is not None:
        assert verify_evidence(found.format(), POLICY).root_hash == tree_hash(FORK[:size])


@pytest.mark.parametrize(("size", "larger"), [(5, 11), (4, 11), (8, 8), (1, 2)])
def test_every_byte_counts(size: int, larger: int) -> None:
    """A change of any bit makes it another file, which proves nothing."""
    for _, changed in mutations(root_of(size, larger, FORK).format()):
        with pytest.raises(Error):
            verified(changed, size)


@pytest.mark.parametrize(("size", "larger"), [(5, 11), (4, 11), (8, 8), (1, 2), (11, 20)])
def test_hashes_left_out_or_added_or_moved(size: int, larger: int) -> None:
    """One hash fewer, more, or another one, and the proof is none."""
    claim = root_of(size, larger)
    wrong = [(*claim.hashes, bytes(32)), (bytes(32), *claim.hashes)]
    if claim.hashes:
        wrong += [claim.hashes[1:], claim.hashes[:-1], (bytes(32), *claim.hashes[1:])]
    if len(claim.hashes) > 1:
        wrong.append(claim.hashes[::-1])
    for hashes in wrong:
        with pytest.raises(ProofError):
            verified(replace(claim, hashes=hashes), size)
    with pytest.raises(ProofError):
        verified(replace(claim, root_hash=bytes(32)), size)


@pytest.mark.parametrize("size", range(1, 12))
def test_another_root_cannot_be_made_to_fit(size: int) -> None:
    """No root of another tree goes with the hashes of this one: a fork is neither hidden nor made up."""
    claim = root_of(size, 12)
    for other in (FORK, FORK[:1] + LINES[1:], [*LINES[: size - 1], b"x"]):
        with pytest.raises(ProofError):
            verified(replace(claim, root_hash=tree_hash(other[:size])), size)


def test_what_was_asked_for() -> None:
    """The claim is about this very log and this very size, and the log's own key signed it."""
    claim = root_of(5, 11)
    for size in (4, 6, 11):
        with pytest.raises(ProofError, match="another size"):
            verified(claim, size)
    other = signing_key("other.example")
    both = Policy.parse(f"log {LOG_VKEY}\nlog {other.verifier_key}\nquorum none\n")
    stranger = replace(claim, checkpoint=Checkpoint("other.example", 11, tree_hash(LINES[:11])).sign(other))
    with pytest.raises(UnknownOriginError):
        verify_earlier_root(stranger, both, ORIGIN, 5)
    with pytest.raises(UnknownOriginError):
        verified(stranger, 5)
    with pytest.raises(UntrustedNoteError):
        verified(replace(claim, checkpoint=checkpoint(LINES[:11], IMPOSTOR)), 5)
    with pytest.raises(SignatureError):
        verified(replace(claim, checkpoint=replace(claim.checkpoint, root_hash=tree_hash(FORK[:11]))), 5)
    with pytest.raises(FormatError, match="of size 5"):
        verified(claim, 5).contradicts(checkpoint(LINES[:6]))


FILE = root_of(5, 11).format()
FORM = "it needs 'tlog-earlier-root@v1'"
SPELLINGS: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "nothing": (lambda raw: raw[:0], "earlier root", FORM),
    "another header": (lambda raw: raw.replace(b"@v1", b"@v2", 1), "earlier root", FORM),
    "more in the header": (lambda raw: raw.replace(b"@v1", b"@v1 x", 1), "earlier root", "canonical"),
    "no size": (lambda raw: raw.replace(b"size 5\n", b"", 1), "earlier root", FORM),
    "no root": (lambda raw: raw.replace(b"root ", b"", 1), "earlier root", FORM),
    "another order": (
        lambda raw: raw.replace(b"size 5\n", b"", 1).replace(b"\n\n", b"\nsize 5\n\n", 1),
        "earlier root",
        FORM,
    ),
    "no blank line": (lambda raw: raw.partition(b"\n\n")[0], "earlier root", FORM),
    "no ASCII": (lambda raw: raw.replace(b"size 5", "size ５".encode(), 1), "earlier root", "ASCII"),
    "a leading zero": (lambda raw: raw.replace(b"size 5", b"size 05", 1), "earlier root: size line", "decimal"),
    "a sign": (lambda raw: raw.replace(b"size 5", b"size +5", 1), "earlier root: size line", "decimal"),
    "two spaces": (lambda raw: raw.replace(b"size 5", b"size  5", 1), "earlier root: size line", "decimal"),
    "size 0": (lambda raw: raw.replace(b"size 5", b"size 0", 1), "earlier root: size", "0 is outside 1 to 11"),
    "too large a size": (lambda raw: raw.replace(b"size 5", b"size 12", 1), "earlier root: size", "outside 1 to 11"),
    "2^63": (lambda raw: raw.replace(b"size 5", b"size %d" % 2**63, 1), "earlier root: size line", "than"),
    "a short root": (lambda raw: raw.replace(b"root ", b"root AAAA\n", 1), "earlier root: root line", "3 bytes"),
    "no base64": (lambda raw: raw.replace(b"root ", b"root  ", 1), "earlier root: root line", "base64"),
    "a short hash": (lambda raw: raw.replace(b"\n\n", b"\nAAAA\n\n", 1), "earlier root: hash line", "3 bytes"),
    "an empty hash": (lambda raw: raw.replace(b"\n\n", b"\n\n\n", 1), "checkpoint", ""),
    "64 hashes": (
        lambda raw: raw.replace(b"\n\n", b"\n" + (b"A" * 43 + b"=\n") * 64 + b"\n", 1),
        "earlier root",
        "more than 63 hashes",
    ),
    "1000 hashes": (
        lambda raw: raw.replace(b"\n\n", b"\n" + (b"A" * 43 + b"=\n") * 1000 + b"\n", 1),
        "earlier root",
        "more than 63 hashes",
    ),
    "other line ends": (lambda raw: raw.replace(b"\n", b"\r\n"), "earlier root", "before the checkpoint"),
    "a line more": (lambda raw: raw + b"\n", "note", "signature line"),
    "a byte less": (lambda raw: raw[:-1], "note", "newline"),
    "no signature": (lambda raw: raw.partition("\n— ".encode())[0] + b"\n", "note", "signature"),
    "no checkpoint": (lambda raw: raw.partition(b"\n\n")[0] + b"\n\n", "note", "blank line"),
    "too long": (lambda raw: raw + b"x" * MAX_EARLIER_ROOT_SIZE, "earlier root", "is longer than"),
}


@pytest.mark.parametrize(("change", "what", "reason"), SPELLINGS.values(), ids=SPELLINGS)
def test_other_spellings(change: Callable[[bytes], bytes], what: str, reason: str) -> None:
    """Whatever is not the one spelling is refused, and the error names the place."""
    with pytest.raises(FormatError) as caught:
        EarlierRoot.parse(change(FILE))
    assert caught.value.what.startswith(what)
    assert reason in caught.value.reason


def test_the_number_of_hashes() -> None:
    """63 hashes of 32 bytes are read back; one more, or one of another length, is refused; so are other sizes."""
    claim = root_of(5, 11)
    most = replace(claim, hashes=(bytes(32),) * 63)
    assert EarlierRoot.parse(most.format()) == most
    for wrong in ({"hashes": (bytes(32),) * 64}, {"hashes": (bytes(31),)}, {"root_hash": bytes(33)}, {"tree_size": 0}):
        with pytest.raises(FormatError):
            replace(most, **wrong)
    with pytest.raises(FormatError, match="outside 1 to 11"):
        prove_earlier_root(claim.checkpoint, TileReader(Tiles(LINES), 11, claim.checkpoint.root_hash), 12)
