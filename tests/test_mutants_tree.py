"""What mutation testing found untested in layer 1: the very edges of the numbers, and which argument an error names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tlog.errors import FormatError, ProofError
from tlog.proof import (
    plan_consistency,
    plan_inclusion,
    root_from_inclusion,
    roots_from_consistency,
    verify_consistency,
    verify_inclusion,
)

ROOT = bytes(32)
OTHER = b"\x01" * 32
LARGEST = 2**64 - 1

REFUSED: dict[str, tuple[Callable[[], object], str, str]] = {
    "plan_inclusion, size 0": (lambda: plan_inclusion(0, 0), "tree size", "0 is outside 1 to"),
    "plan_inclusion, no number": (lambda: plan_inclusion(0, True), "tree size", "bool given"),
    "plan_inclusion, index = size": (lambda: plan_inclusion(5, 5), "leaf index", "5 is outside 0 to 4"),
    "plan_inclusion, index = size + 1": (lambda: plan_inclusion(6, 5), "leaf index", "6 is outside 0 to 4"),
    "plan_consistency, new size": (lambda: plan_consistency(0, -1), "new tree size", "-1 is outside 0 to"),
    "plan_consistency, old > new": (lambda: plan_consistency(6, 5), "old tree size", "6 is outside 0 to 5"),
    "root, size 0": (lambda: root_from_inclusion(ROOT, 0, 0, ()), "tree size", "0 is outside 1 to"),
    "root, size 2^64": (lambda: root_from_inclusion(ROOT, 0, 2**64, ()), "tree size", f"outside 1 to {LARGEST}"),
    "root, index = size": (lambda: verify_inclusion(ROOT, 5, 5, ROOT, ()), "leaf index", "5 is outside 0 to 4"),
    "roots, new size": (lambda: roots_from_consistency(1, 1, ROOT, ()), "new tree size", "1 is outside 2 to"),
    "roots, old = new": (lambda: roots_from_consistency(4, 4, ROOT, ()), "old tree size", "4 is outside 1 to 3"),
    "roots, old = new + 1": (lambda: roots_from_consistency(5, 4, ROOT, ()), "old tree size", "5 is outside 1 to 3"),
    "verify, new size": (lambda: verify_consistency(0, 0, ROOT, ROOT, ()), "new tree size", "0 is outside 1 to"),
    "verify, old > new": (lambda: verify_consistency(5, 4, ROOT, ROOT, ()), "old tree size", "5 is outside 1 to 4"),
}


@pytest.mark.parametrize(("call", "what", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_numbers_are_named(call: Callable[[], object], what: str, reason: str) -> None:
    """The error names the argument that is out of range, and its range."""
    with pytest.raises(FormatError) as caught:
        call()
    assert caught.value.what == what
    assert reason in caught.value.reason


def test_empty_trees_need_no_proof() -> None:
    """Between two empty trees, and from the empty one to any, there is nothing to prove."""
    assert plan_consistency(0, 0) == plan_consistency(0, 7) == []


def test_consistency_error_names_the_root_that_is_wrong() -> None:
    """The error of a consistency proof says whether it misses the old root or the new one."""
    old, new = roots_from_consistency(3, 5, ROOT, (ROOT, OTHER, ROOT, OTHER))
    for roots, named in (
        ((OTHER, new), "does not lead to the old root"),
        ((old, OTHER), "does not lead to the new root"),
    ):
        with pytest.raises(ProofError, match=named):
            verify_consistency(3, 5, *roots, (ROOT, OTHER, ROOT, OTHER))
