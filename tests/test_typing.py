from __future__ import annotations

import ast
from pathlib import Path

import tlog
from tests.typing import api


def test_the_usage_program_runs(tmp_path: Path) -> None:
    """The program that mypy checks in `make lint` does what it says."""
    assert api.main(tmp_path) == 515


def test_the_usage_program_uses_every_public_name() -> None:
    """Each name of `tlog.__all__` is used in it, so its types are checked."""
    tree = ast.parse(Path(api.__file__).read_bytes())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tlog"
    }
    assert set(tlog.__all__) - used == {"__version__"}
