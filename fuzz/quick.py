"""A hypothesis profile for mutation testing, loaded with `pytest -p fuzz.quick`.

A mutant that a test kills is worth no search for a smaller example, and the verdict must be the same at every run.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "quick",
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out tests whose names are not plain ASCII: mutmut cannot ask pytest for them by name."""
    items[:] = [item for item in items if item.nodeid.isascii() and "\\" not in item.nodeid]
