"""A log of three entries, and what follows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.monitoring.parties import Clock, Log, Taken


@pytest.fixture
def clock() -> Clock:
    """A clock that is moved by hand."""
    return Clock()


@pytest.fixture
def taken() -> Taken:
    """What targets get."""
    return Taken()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Log:
    """A log of three entries."""
    made = Log(tmp_path / "log", clock)
    made.grow(*({"actor": name, "action": "login", "category": "auth"} for name in ("alice", "bob", "carol")))
    return made
