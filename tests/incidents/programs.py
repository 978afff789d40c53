"""Small programs of the tests, run as processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60


def start(code: str, *words: object, prefix: Sequence[str] = (), takes_input: bool = False) -> subprocess.Popen[str]:
    """Start a Python program given as text; its standard output is a pipe, and its input where that is wanted.

    prefix: a command to run it under.
    """
    command = [*prefix, sys.executable, "-c", code, *map(str, words)]
    given = subprocess.PIPE if takes_input else subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, stdin=given, stdout=subprocess.PIPE, text=True)


def run(code: str, *words: object, prefix: Sequence[str] = ()) -> str:
    """Run a Python program given as text to its good end, and return what it printed."""
    with start(code, *words, prefix=prefix) as process:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    return output
