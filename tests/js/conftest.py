"""The logs that the tests in Node and their peers in Python look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.js.data import write_data


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of what `write_data` writes."""
    root = tmp_path_factory.mktemp("js")
    write_data(root)
    return root
