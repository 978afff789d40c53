"""Samples of what `make torture` does in full."""

from __future__ import annotations

import shutil

import pytest

from tests.torture.kills import Killer
from tests.torture.stress import Stress
from tests.torture.syscalls import Tracer

KILLS = 20
INJECTIONS = 8
STRESS_S = 20


def test_kill() -> None:
    """Writers killed at random points: what they were told stands, and their successors go on."""
    killer = Killer()
    killer.run(KILLS)
    assert killer.failures == []
    assert killer.kills == KILLS
    assert killer.acknowledged > KILLS


def test_system_calls() -> None:
    """EIO, ENOSPC and SIGKILL at single system calls: what was told stands, errors name the file."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace on this machine")
    tracer = Tracer()
    tracer.run(INJECTIONS)
    assert tracer.failures == []
    assert tracer.injected > 0


def test_stress() -> None:
    """Threads, processes, readers, provers, a publisher and a killer at once: everybody was told the truth."""
    stress = Stress()
    stress.run(STRESS_S)
    assert stress.failures == []
    assert min(stress.acknowledged, stress.checkpoints, stress.proofs, stress.kills) > 5
