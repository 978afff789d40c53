"""S2 and S10 at a witness: a log that comes with another identity, and checkpoints that were almost right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.test_s10_checkpoint_parsing import CASES, GOOD
from tests.statements import IMPOSTOR, LOG, ORIGIN, consistency_proof, entry_lines, signing_key
from tlog.checkpoint import Checkpoint
from tlog.errors import Error, FormatError, UnknownOriginError, UntrustedNoteError
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.observer import StaleSizeError
from tlog.witnessing.request import origin_hash
from tlog.witnessing.witness import Witness

LINES = entry_lines(10)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    """A witness that has cosigned 5 entries of the log."""
    home = WitnessHome(tmp_path / "witness")
    home.create("witness.example.net")
    with home.open() as witness:
        witness.add_log(LOG.verifier_key)
        witness.add_checkpoint(consistency_proof(0, LINES[:5]).format())
        yield witness


def test_s02_a_witness_trusts_nobody_on_first_use(witness: Witness) -> None:
    """Another key, another origin, another name for the key: refused, and what was cosigned stays what it was."""
    stranger = signing_key("other.example/log")
    for old_size, signer in ((5, IMPOSTOR), (0, IMPOSTOR), (5, stranger)):
        with pytest.raises(UntrustedNoteError):
            witness.add_checkpoint(consistency_proof(old_size, LINES, signer).format())
    moved = Checkpoint("other.example/log", 10, b"r" * 32).sign(stranger)
    with pytest.raises(UnknownOriginError):
        witness.add_checkpoint(b"old 0\n\n" + moved.raw)
    assert Checkpoint.parse(witness.checkpoint(origin_hash(ORIGIN))).tree_size == 5


def test_s02_a_witness_does_not_begin_again(witness: Witness) -> None:
    """An empty tree, and a smaller one, of the right log are refused once something was cosigned."""
    for size in (0, 1, 4):
        with pytest.raises(StaleSizeError):
            witness.add_checkpoint(consistency_proof(0, LINES[:size]).format())
    with pytest.raises(FormatError):
        witness.add_checkpoint(b"old 5\n\n" + consistency_proof(0, LINES[:4]).checkpoint.raw)


@pytest.mark.parametrize("name", CASES)
def test_s10_checkpoints_that_are_almost_right(witness: Witness, name: str) -> None:
    """None of them is cosigned."""
    change, _ = CASES[name]
    good = consistency_proof(5, LINES).format()
    assert good.endswith(GOOD)
    with pytest.raises(Error):
        witness.add_checkpoint(good.removesuffix(GOOD) + change(GOOD))
    assert Checkpoint.parse(witness.checkpoint(origin_hash(ORIGIN))).tree_size == 5
