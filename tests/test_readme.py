"""Every command and every line of Python in README.md runs, in order, and shows what README.md says it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = "<!-- not run here: make -->\n"
_END = "@@@ end of output @@@"

# What differs from run to run: signatures, keys, hashes, times, rates.
_VARYING = (
    (re.compile(r"(?<= )[A-Za-z0-9+/]{91}="), "<signature>"),
    (re.compile(r"\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}"), "+<key ID>+<key>"),
    (re.compile(r"\+[0-9a-f]{8}\b"), "+<key ID>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"[A-Za-z0-9+/]{43}="), "<hash>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "<time>"),
    (re.compile(r"\d+\.\d\d s[,( ]+[\d,]+/s"), "<seconds and rate>"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block. line: its number in README.md. is_run: whether this test runs it."""

    language: str
    text: str
    line: int
    is_run: bool


def blocks() -> Iterator[Block]:
    """The fenced blocks of README.md."""
    text = README.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        is_run = not text[: match.start()].endswith(_NOT_RUN)
        yield Block(match[1], match[2], text.count("\n", 0, match.start()) + 1, is_run)


def stable(text: str) -> str:
    """A text without what differs from run to run."""
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text


def commands(block: Block) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that README.md shows for it."""
    _, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def run_console(block: Block, directory: Path) -> list[str]:
    """The output of each command of a console block, run in one shell."""
    script = "".join(f"{command}\nprintf '%s\\n' '{_END}'\n" for command, _ in commands(block))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TLOG_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    run = subprocess.run(
        ["sh", "-c", script],
        stdin=subprocess.DEVNULL,
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return run.stdout.split(f"{_END}\n")[:-1]


def test_the_readme_in_order(tmp_path: Path) -> None:
    """Console and Python blocks run one after the other in one directory and show what they are said to show."""
    for block in blocks():
        if not block.is_run:
            continue
        if block.language == "console":
            shown = run_console(block, tmp_path)
            assert len(shown) == len(commands(block))
            for (command, expected), found in zip(commands(block), shown, strict=True):
                assert stable(found) == stable(expected), f"README.md, line {block.line}: $ {command}"
        elif block.language == "python":
            run = subprocess.run(
                [sys.executable, "-W", "error", "-c", block.text],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (run.returncode, run.stderr) == (0, ""), f"README.md, line {block.line}"
            lines = [line.partition("  # ")[2] for line in block.text.splitlines() if line.startswith("print(")]
            assert stable(run.stdout).splitlines() == [stable(line) for line in lines]


def test_every_block_is_run_or_marked() -> None:
    """A block is run, or a picture, or marked as not run; and then it holds make targets only."""
    found = list(blocks())
    assert sum(block.is_run and block.language == "console" for block in found) > 1
    assert any(block.is_run and block.language == "python" for block in found)
    for block in found:
        if block.language == "text":
            assert "$ " not in block.text
        elif block.is_run:
            assert block.language in {"console", "python"}, f"README.md, line {block.line}"
            assert block.language == "python" or block.text.startswith("$ ")
        else:
            assert all(line.startswith("$ make ") for line in block.text.splitlines())


@pytest.mark.parametrize(
    "block", [block for block in blocks() if not block.is_run], ids=lambda block: f"line {block.line}"
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
    text = _FENCE.sub("", README.read_text(encoding="utf-8"))
    used = set(re.findall(r"`tlog ([a-z]+)", text))
    assert used <= names
    assert used
