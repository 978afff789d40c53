"""The JavaScript library, tested by Node's own test runner on what the Python library made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.vectors import TESTDATA

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "server" / "tlog_server" / "static" / "js"
PAGE = HERE.parents[1] / "docs" / "browser.md"
NODE = shutil.which("node")
LIMIT_S = 300

FILES = sorted(path.name for path in HERE.glob("*.test.mjs"))


@pytest.mark.skipif(NODE is None, reason="there is no node on this machine")
@pytest.mark.parametrize("file", FILES)
def test_javascript(file: str, written: Path) -> None:
    """Every test of the file passes, and none is left out."""
    environment = os.environ | {"TLOG_JS_DATA": str(written), "TLOG_TESTDATA": str(TESTDATA), "NODE_NO_WARNINGS": "1"}
    # Not `node --test`, which runs the file in a process of its own: that would outlive a run that is broken off.
    command = ["node", "--test-reporter=tap", str(HERE / file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    counts = {name: int(number) for name, number in re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE)}
    assert counts["tests"] == counts["pass"] > 0
    assert counts["skipped"] == counts["todo"] == 0


def test_every_file_is_run() -> None:
    """There are tests for vectors, logs, tampering, lying servers, memory, evidence, and text."""
    assert [f"{name}.test.mjs" for name in ("evidence", "liars", "log", "memory", "tamper", "text", "vectors")] == FILES


def test_every_kind_of_failure_is_documented() -> None:
    """docs/browser.md names each kind that an error can have, and no other; the sources use these only."""
    errors = (SOURCES / "errors.js").read_text("utf-8")
    known = {
        kind
        for block in re.findall(r"new Set\(\[(.*?)\]\)", errors, re.DOTALL)
        for kind in re.findall(r'"(.*?)"', block)
    }
    page = (PAGE.read_text("utf-8")).partition("## What is checked")[2].partition("\n## ")[0]
    cells = [line.split("|")[3] for line in page.split("\n") if line.startswith("| ")]
    assert set(re.findall("`([a-z-]+)`", " ".join(cells))) | {"quorum"} == known
    used = {
        kind
        for path in SOURCES.glob("*.js")
        for kind in re.findall(r'new VerifyError\(\s*"([a-z-]+)"', path.read_text("utf-8"))
    }
    assert {"fork", "rollback", "split-view", "timeout"} <= used <= known
