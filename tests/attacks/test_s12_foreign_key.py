"""S12: evidence signed anew with a key that came inside it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.incidents.programs import ROOT
from tests.statements import IMPOSTOR, LOG_VKEY, checkpoint, entry_lines, inclusion_proof
from tlog import Policy, verify_proof
from tlog.errors import Error, UntrustedNoteError

FORGED = entry_lines(6, word="forged")


def auditor(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `tlog-verify` as a process."""
    command = [sys.executable, "-c", "from tlog_tools.verify import main; main()", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_s12_signed_anew_with_another_key() -> None:
    """A perfect proof under the attacker's own key is refused under the pinned one, by name and by bytes."""
    forged = inclusion_proof(2, FORGED, IMPOSTOR)
    assert verify_proof(forged, policy=Policy.for_log(IMPOSTOR.verifier_key)).leaf_index == 2
    with pytest.raises(UntrustedNoteError):
        verify_proof(forged, policy=Policy.for_log(LOG_VKEY))
    # The attacker's key with the pinned key's ID on its line is a bad signature of a known key.
    line = replace(forged.checkpoint.signatures[0], key_id=checkpoint(FORGED).signatures[0].key_id)
    with pytest.raises(Error):
        verify_proof(
            replace(forged, checkpoint=replace(forged.checkpoint, signatures=(line,))), policy=Policy.for_log(LOG_VKEY)
        )


def test_s12_the_auditors_command(tmp_path: Path) -> None:
    """Exit code 1 with the pinned key; 2, and no verdict, without one; a key laid beside the proof is never found."""
    file = tmp_path / "forged.tlog-proof"
    file.write_text(str(inclusion_proof(2, FORGED, IMPOSTOR)))
    (tmp_path / "vkey").write_text(f"{IMPOSTOR.verifier_key}\n")
    pinned = auditor("--proof", file, "--key", LOG_VKEY)
    assert pinned.returncode == 1
    assert "no known key has signed" in pinned.stderr
    unpinned = auditor("--proof", file)
    assert unpinned.returncode == 2
    assert "proved" not in unpinned.stdout + unpinned.stderr
