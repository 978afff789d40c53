"""What the tests of the commands share: a ledger in a temporary directory, and two ways to run a command on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import tlog
from tlog_tools.main import cli
from tlog_tools.verify import main

BIN = Path(sys.executable).parent
ENTRIES = 300


class Shell:
    """Runs commands on one ledger, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ledger = directory / "ledger"

    def tlog(self, *words: str | Path | int, stdin: str | bytes | None = None, **environment: str) -> Result:
        """Run `tlog` in this process."""
        variables = {"TLOG_LEDGER": str(self.ledger), "TLOG_KEY_PASSPHRASE": None, **environment}
        return CliRunner(env=variables).invoke(cli, list(map(str, words)), input=stdin)

    def verify(self, *words: str | Path, stdin: str | bytes | None = None) -> Result:
        """Run `tlog-verify` in this process."""
        return CliRunner().invoke(main, list(map(str, words)), input=stdin)

    def start(self, *words: str | Path | int, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run an installed command as a process of its own, in the directory."""
        program, *rest = map(str, words)
        return subprocess.run(
            [BIN / program, *rest],
            cwd=self.directory,
            env=os.environ | {"TLOG_LEDGER": str(self.ledger)} | environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file and return its path."""
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with the published partition users, 300 entries and a checkpoint at 100 too, made once."""
    directory = tmp_path_factory.mktemp("template")
    with tlog.Ledger.create(directory / "ledger", origin="audit.example.com", segment_entries=256) as ledger:
        users = ledger.partition("users")
        users.append_many({"user": f"u{number}", "action": "login"} for number in range(100))
        users.publish()
        users.append_many({"user": f"u{number}", "action": "login"} for number in range(100, ENTRIES))
        users.publish()
    return directory


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A directory without a ledger."""
    return Shell(tmp_path)


@pytest.fixture
def users(tmp_path: Path, _template: Path) -> Shell:
    """A ledger with the published partition users."""
    shutil.copytree(_template, tmp_path, dirs_exist_ok=True)
    return Shell(tmp_path)


def objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a text, one a line."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(item, dict) for item in found)
    return found


def ok(result: Result) -> str:
    """The standard output of a command that ended well."""
    assert (result.exit_code, result.exception) == (0, None) or result.exit_code == 0, result.stderr
    return result.stdout


def modules_after(program: str, words: Sequence[str]) -> set[str]:
    """The modules that a fresh interpreter has loaded after a command ran in it."""
    script = f"""
import contextlib, io, sys
from {program}
with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), contextlib.suppress(SystemExit):
    command({list(words)!r}, "tlog")
print(*sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())
