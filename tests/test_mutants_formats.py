"""What mutation testing found untested in the formats and in verification: which place an error names."""

from __future__ import annotations

import pytest

from tests.statements import LOG, entry_lines, inclusion_proof
from tlog.errors import VerificationError
from tlog.policy import Policy
from tlog.verify import verify_proof

POLICY = Policy.for_log(LOG.verifier_key)


def test_a_leaf_that_is_no_entry_is_named_by_its_index() -> None:
    """Where a proven leaf is no entry, the error says which leaf."""
    leaves = [*entry_lines(3), b"no entry"]
    with pytest.raises(VerificationError) as caught:
        verify_proof(inclusion_proof(3, leaves), policy=POLICY)
    assert (caught.value.place, caught.value.seq) == ("entry 3", 3)
