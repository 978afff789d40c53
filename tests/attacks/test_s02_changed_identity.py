"""S2, immudb CVE-2022-39199: a server said that it was another one, and the client forgot what it knew.

The client's own memory, over HTTP, is tested with the server, and that of witnesses with the witness network.
"""

from __future__ import annotations

import pytest

from tests.statements import IMPOSTOR, LOG, LOG_VKEY, ORIGIN, checkpoint, consistency_path, entry_lines, signing_key
from tlog import Policy, verify_checkpoint, verify_consistency
from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError, InconsistentLogError, UnknownOriginError, UntrustedNoteError, VerificationError
from tlog.hashing import EMPTY_ROOT
from tlog.tlogproof import ConsistencyProof

POLICY = Policy.for_log(LOG_VKEY)
LINES = entry_lines(20)
KEPT = checkpoint(LINES[:10])
HASHES = consistency_path(10, LINES)


def grown(new: Checkpoint, hashes: tuple[bytes, ...] = HASHES, old_size: int = 10) -> None:
    """Verify a new checkpoint against the kept one."""
    verify_consistency(ConsistencyProof(old_size, hashes, new), old=KEPT, policy=POLICY)


def test_s02_another_origin_key_or_name() -> None:
    """A checkpoint of another origin, of another key for the same name, or of a key of another name: refused."""
    grown(checkpoint(LINES))
    other = "audit.example.com/admins"
    for new, error in (
        (checkpoint(LINES, signing_key(other), origin=other), UnknownOriginError),
        (checkpoint(LINES, LOG, origin=other), UnknownOriginError),
        (checkpoint(LINES, IMPOSTOR), UntrustedNoteError),
        (checkpoint(LINES, signing_key(other)), UntrustedNoteError),
    ):
        with pytest.raises(error):
            grown(new)
        with pytest.raises(error):
            verify_checkpoint(new, POLICY)


def test_s02_a_log_that_begins_again() -> None:
    """Size 0, or a smaller size, after something was kept: an error, whatever the proof says."""
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT).sign(LOG)
    verify_checkpoint(empty, POLICY)  # well signed, which is why what was kept must count
    for new, old_size in ((empty, 0), (empty, 10), (checkpoint(LINES[:9]), 9), (checkpoint(LINES[:9]), 10)):
        with pytest.raises(VerificationError, match="smaller than the one that was kept"):
            grown(new, (), old_size)
    with pytest.raises(VerificationError, match="old size"):
        grown(checkpoint(LINES), (), 0)
    with pytest.raises(InconsistentLogError):
        grown(checkpoint(entry_lines(10, word="other")), ())


def test_s02_nobody_is_trusted_on_first_use() -> None:
    """There is no policy without a key, and a policy without logs verifies nothing."""
    with pytest.raises(UnknownOriginError):
        verify_checkpoint(checkpoint(LINES), Policy(()))
    for text in ("", "log\nquorum none\n", f"log {ORIGIN}\nquorum none\n"):
        with pytest.raises(FormatError):
            Policy.parse(text)
