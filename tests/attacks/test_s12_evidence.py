"""S12 for evidence: a fork that somebody made up, signed with a key of their own, accuses no log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.statements import IMPOSTOR, LOG, LOG_VKEY, ORIGIN, checkpoint, consistency_proof, entry_lines
from tlog import Policy
from tlog.errors import UntrustedNoteError
from tlog.evidence import Evidence, verify_evidence
from tlog.monitoring.gossip import proven
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.witness import Witness
from tlog_tools.verify import main

LINES = entry_lines(5)
MADE_UP = Evidence(checkpoint(LINES, IMPOSTOR), checkpoint(entry_lines(5, word="fork"), IMPOSTOR))
"""Perfect evidence, under the key of whoever made it, which has the log's name."""

HALF = Evidence(checkpoint(LINES, LOG), MADE_UP.shown)
"""One of the two checkpoints is the log's own."""


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    """A witness that has cosigned the log."""
    home = WitnessHome(tmp_path / "witness")
    home.create("witness.example.net")
    with home.open() as witness:
        witness.add_log(LOG.verifier_key)
        witness.add_checkpoint(consistency_proof(0, LINES).format())
        yield witness


@pytest.mark.parametrize("evidence", [MADE_UP, HALF], ids=["both", "one"])
def test_s12_evidence_under_another_key(witness: Witness, evidence: Evidence, tmp_path: Path) -> None:
    """Auditors, peers and witnesses refuse it under the log's key; without a key there is no verdict."""
    verify_evidence(MADE_UP, Policy.for_log(IMPOSTOR.verifier_key))
    file = tmp_path / "made-up.evidence"
    file.write_bytes(evidence.format())
    for words, code in ((["--key", LOG_VKEY], 1), ([], 2)):
        judged = CliRunner().invoke(main, ["--evidence", str(file), *words])
        assert judged.exit_code == code
        assert "proved" not in judged.stdout
    assert proven([evidence.format()], Policy.for_log(LOG_VKEY), ORIGIN) == []
    with pytest.raises(UntrustedNoteError):
        witness.accuse(evidence)
    assert witness.evidence() == []
    witness.add_checkpoint(consistency_proof(5, entry_lines(6)).format())
