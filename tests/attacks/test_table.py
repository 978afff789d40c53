"""docs/security.md has a row for each incident and attack, and every test that it names exists, and none is missing."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security.md"
ROWS = [f"R{number}" for number in range(1, 15)] + [f"S{number}" for number in range(1, 14)]


def named_tests(text: str) -> dict[str, set[str]]:
    """Return the tests that a text names, by file; `::name` alone is in the file named before it."""
    found: dict[str, set[str]] = {}
    path = ""
    for file, name in re.findall(r"`((?:tests/[\w/]+\.py)?)::(\w+)`", text):
        path = file or path
        found.setdefault(path, set()).add(name)
    return found


def test_every_row_has_tests_of_its_own() -> None:
    """R1 to R14 and S1 to S13, each with at least one test, whose name says the row."""
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in PAGE.read_text("utf-8").splitlines()}
    for row in ROWS:
        own = f"test_{row[0].lower()}{int(row[1:]):02d}_"
        assert [name for names in named_tests(lines[row]).values() for name in names if name.startswith(own)], row


def test_the_table_and_the_tests_agree() -> None:
    """Every test that the page names exists; every test of a row is named."""
    named = named_tests(PAGE.read_text("utf-8"))
    files = [
        path for folder in ("incidents", "attacks") for path in (ROOT / "tests" / folder).glob("test_[rs][0-9]*.py")
    ]
    assert len(files) >= len(ROWS)
    for path in files:
        assert named.get(str(path.relative_to(ROOT))) == _defined(path)
    for name, tests in named.items():
        assert tests <= _defined(ROOT / name), name


def _defined(path: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE))
