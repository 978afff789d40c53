"""Ledgers to measure on: each is built once a run, in a process of its own, and used by several groups."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ORIGIN = "bench.example.com"
PARTITION = "audit"

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Built:
    """A ledger with one published partition. report: what the process that built it found, see `bench.child`."""

    path: Path
    size: int
    report: dict[str, Any]


class Ledgers:
    """The ledgers of one run. They may get a few entries more, at their ends, that no checkpoint covers."""

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        """directory: where they lie. say: told what is being built, since it takes its time."""
        self._directory = directory
        self._say = say
        self._built: dict[str, Built] = {}

    def plain(self, size: int) -> Built:
        """Return a ledger of so many entries in plain segments."""
        return self._get(f"plain-{size}", size)

    def sealed(self, size: int) -> Built:
        """Return a ledger of so many entries, the complete segments compressed."""
        return self._get(f"sealed-{size}", size, "--seal")

    def _get(self, name: str, size: int, *options: str) -> Built:
        if name not in self._built:
            self._say(f"  building a ledger of {size:,} entries")
            path = self._directory / name
            path.parent.mkdir(exist_ok=True)
            self._built[name] = Built(path, size, child("build", str(path), str(size), *options))
        return self._built[name]


def child(*arguments: str) -> dict[str, Any]:
    """Run `bench.child` in a new process and return its report. Raises: CalledProcessError."""
    command = [sys.executable, "-m", "bench.child", *arguments]
    report: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    return report
