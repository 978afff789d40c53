"""The largest note that a log can have cosigned, so that whoever reads it can parse it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.witnessing.parties import new_witness
from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError
from tlog.keys import SigningKey
from tlog.note import MAX_NOTE_SIZE
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.request import origin_hash

KEY = SigningKey.generate("audit.example.com/long")


def of_length(length: int) -> Checkpoint:
    """Return a signed checkpoint of this many bytes; an extension line fills it up."""
    base = len(Checkpoint(KEY.name, 5, bytes(32), ("x",)).sign(KEY).raw)
    return Checkpoint(KEY.name, 5, bytes(32), ("x" * (1 + length - base),)).sign(KEY)


def test_a_note_that_the_cosignature_makes_too_long(tmp_path: Path) -> None:
    """It is refused and not kept; one that is as long as can be with the cosignature is, and everybody can read it."""
    with new_witness(tmp_path / "w", "w.example.net", KEY.verifier_key) as witness:
        longest = of_length(MAX_NOTE_SIZE)
        assert len(longest.raw) == MAX_NOTE_SIZE
        with pytest.raises(FormatError, match="longer than 1048576 bytes"):
            witness.add_checkpoint(ConsistencyProof(0, (), longest).format())
        assert witness.latest() == [(KEY.name, None)]
        line = witness.add_checkpoint(ConsistencyProof(0, (), of_length(1000)).format())
    with new_witness(tmp_path / "other", "w.example.net", KEY.verifier_key) as witness:
        witness.add_checkpoint(ConsistencyProof(0, (), of_length(MAX_NOTE_SIZE - len(line))).format())
        shown = witness.checkpoint(origin_hash(KEY.name))
        assert len(shown) == MAX_NOTE_SIZE
        assert Checkpoint.parse(shown).tree_size == 5
