"""Every command and every line of Python in README.md runs, in order, and shows what README.md says it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docrunner import FENCE, PICTURES, Block, blocks_of, run_page

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def test_the_readme_in_order(tmp_path: Path) -> None:
    """Console and Python blocks run one after the other in one directory and show what they are said to show."""
    assert run_page(README, tmp_path) > 10


def test_every_block_is_run_or_marked() -> None:
    """A block is run, or a picture, or marked as not run; and then it holds make targets only."""
    found = list(blocks_of(README))
    assert sum(block.is_run and block.language == "console" for block in found) > 1
    assert any(block.is_run and block.language == "python" for block in found)
    for block in found:
        if block.language in PICTURES:
            assert "$ " not in block.text
        elif block.is_run:
            assert block.language in {"console", "python"}, f"README.md, line {block.line}"
        else:
            assert all(line.startswith("$ make ") for line in block.text.splitlines())


@pytest.mark.parametrize(
    "block",
    [block for block in blocks_of(README) if not block.is_run and block.language not in PICTURES],
    ids=lambda block: f"line {block.line}",
)
def test_make_targets_exist(block: Block) -> None:
    """What is not run here is a target of the Makefile."""
    for line in block.text.splitlines():
        target = line.removeprefix("$ make ").split()[0]
        assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_links_lead_somewhere() -> None:
    """Every relative link is a file of the project."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", README.read_text(encoding="utf-8"))
    assert len(links) > 3
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_commands_in_the_text_exist() -> None:
    """A command that the text names in backquotes is a command."""
    from tlog_tools.main import SECTIONS

    names = {name for commands in SECTIONS.values() for name in commands}
    text = FENCE.sub("", README.read_text(encoding="utf-8"))
    used = set(re.findall(r"`tlog ([a-z]+)", text))
    assert used <= names
    assert used
