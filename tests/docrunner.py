"""Runs what stands in the fenced blocks of a page, in order and in one directory, and compares what it shows.

* A `console` block holds lines `$ command`, each followed by all that the command prints, standard error included. Its
  commands run in one shell.
* A `python` block is a program of its own. It prints what the comments behind its `print(...)` lines say.
* A block whose fence names a file behind the language (```text users.vkey) is written to that file before all else.
* A block below `<!-- not run here: ... -->` is not run; `text`, `json`, `mermaid` blocks and those without a language
  are pictures and examples.

What differs from run to run (signatures, keys, hashes, times, rates) is compared by its kind only. A line `...` stands
for any lines, or none.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)(?: ([^\s`]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURES = frozenset({"", "text", "json", "mermaid"})

_NOT_RUN = re.compile(r"<!-- not run here: [^\n]*-->\n\Z")
_ANY_LINES = r"(?:.*\n)*"
_END = "@@@ end of output @@@"

_VARYING = (
    (re.compile(r"\btlog_[0-9a-f]{12}_[0-9a-f]{64}\b"), "<token>"),
    (re.compile(r"^((?:created |revoked )?)[0-9a-f]{12}(?=:?  ?\w)", re.MULTILINE), r"\1<token ID>"),
    (re.compile(r"(?<=until )\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"(?<= )[A-Za-z0-9+/]{91}="), "<signature>"),
    (re.compile(r"\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}"), "+<key ID>+<key>"),
    (re.compile(r"\+[0-9a-f]{8}\b"), "+<key ID>"),
    (re.compile(r"(?<=, key )[0-9a-f]{8}\b"), "<key ID>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"), "<time>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "<time>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"[A-Za-z0-9+/]{43}="), "<hash>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z"), "<time>"),
    (re.compile(r"\d+\.\d\d s[,( ]+[\d,]+/s"), "<seconds and rate>"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<UUID>"),
    (re.compile(r'"host":"[^"]*","process":\d+'), "<host and process>"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. language, file: "" where the fence has none. line: of the fence. is_run: whether it is run."""

    language: str
    file: str
    text: str
    line: int
    is_run: bool


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        is_run = match[1] not in PICTURES and _NOT_RUN.search(text[: match.start()]) is None
        yield Block(match[1], match[2] or "", match[3], text.count("\n", 0, match.start()) + 1, is_run)


def file_of(page: Path, name: str) -> bytes:
    """Return the content of the block that names this file."""
    (found,) = (block for block in blocks_of(page) if block.file == name)
    return found.text.encode()


def stable(text: str) -> str:
    """Return a text without what differs from run to run."""
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text


def commands_of(block: Block) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output that the page shows for it."""
    before, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    if before:
        raise AssertionError(f"line {block.line}: the block does not begin with a command")
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def run_page(page: Path, directory: Path) -> int:
    """Run all blocks of a page in `directory`; return how many commands and programs ran.

    Raises: AssertionError naming the line of the block where something else comes out than the page says.
    """
    blocks, count = list(blocks_of(page)), 0
    for block in blocks:
        if block.file:
            (directory / block.file).write_text(block.text, encoding="utf-8")
    for block in blocks:
        if not block.is_run:
            continue
        place = f"{page.name}, line {block.line}"
        if block.language == "console":
            count += _run_console(block, directory, place)
        elif block.language == "python":
            _run_python(block, directory, place)
            count += 1
        else:
            raise AssertionError(f"{place}: nobody knows how to run {block.language!r}")
    return count


def _run_console(block: Block, directory: Path, place: str) -> int:
    commands = commands_of(block)
    script = "".join(f"{command}\nprintf '%s\\n' '{_END}'\n" for command, _ in commands)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TLOG_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    shown = _run(["sh", "-c", script], directory, environment).stdout.split(f"{_END}\n")[:-1]
    if len(shown) != len(commands):
        raise AssertionError(f"{place}: {len(shown)} of {len(commands)} commands ended")
    for (command, expected), found in zip(commands, shown, strict=True):
        _require_same(found, expected, f"{place}: $ {command}")
    return len(commands)


def _run_python(block: Block, directory: Path, place: str) -> None:
    run = _run([sys.executable, "-W", "error", "-c", block.text], directory, None)
    if run.returncode:
        raise AssertionError(f"{place}: the program ended with exit code {run.returncode}\n{run.stdout}")
    printed = [line.partition("  # ")[2] + "\n" for line in block.text.splitlines() if line.startswith("print(")]
    _require_same(run.stdout, "".join(printed), place)


def _require_same(found: str, expected: str, place: str) -> None:
    lines = stable(expected).splitlines(keepends=True)
    pattern = "".join(_ANY_LINES if line == "...\n" else re.escape(line) for line in lines)
    if re.fullmatch(pattern, stable(found)) is None:
        raise AssertionError(f"{place}\nthe page says:\n{expected}\nit says:\n{found}")


def _run(command: list[str], directory: Path, environment: dict[str, str] | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
