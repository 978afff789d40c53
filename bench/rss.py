"""How much memory this process and its workers have, in bytes, from what Linux tells in /proc."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

PROC = Path("/proc")


def peak() -> int:
    """Return the largest resident size of this process so far.

    Not getrusage's: that one is never below the size of the process that started this one.
    """
    return _status(PROC / "self", "VmHWM") * 1024


def resident() -> int:
    """Return the resident size of this process now."""
    return _status(PROC / "self", "VmRSS") * 1024


def worker_peak() -> int:
    """Return the largest resident size of a child process, at work or ended, 0 where there was none."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(ended, _of_workers("VmHWM")) * 1024


def worker_resident() -> int:
    """Return the resident size of the largest child process now, 0 where there is none."""
    return _of_workers("VmRSS") * 1024


def resident_below(parent: int) -> int:
    """Return the resident size of the largest child of another process now, 0 where there is none."""
    return _of_workers("VmRSS", parent) * 1024


def _of_workers(name: str, parent: int | None = None) -> int:
    own = os.getpid() if parent is None else parent
    workers = [path for path in PROC.glob("[0-9]*") if _status(path, "PPid") == own]
    return max((_status(path, name) for path in workers), default=0)


def _status(process: Path, name: str) -> int:
    """Return a number of a process's status, 0 where the process has ended."""
    try:
        text = (process / "status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(rf"^{name}:\s*(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0
