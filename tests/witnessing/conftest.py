"""A witness in a directory of its own, and a log with a naive tree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.statements import LOG
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.witness import Witness

NAME = "witness.example.net"


@pytest.fixture
def home(tmp_path: Path) -> WitnessHome:
    """A new witness's directory."""
    made = WitnessHome(tmp_path / "witness")
    made.create(NAME)
    return made


@pytest.fixture
def witness(home: WitnessHome) -> Iterator[Witness]:
    """A witness that knows the log of `tests.statements`."""
    opened = home.open()
    opened.add_log(LOG.verifier_key)
    yield opened
    opened.close()
