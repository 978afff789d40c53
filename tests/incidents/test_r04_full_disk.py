"""R4, Mammoth 2024h1: the disk was full, and promises that had been given were never kept."""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.incidents.programs import run

# Runs a ledger on storage that is full three times: in the middle of a bulk append, before a segment roll, and before
# publishing. It says what it was told, and what stands after there is room again.
FILL_UP = """
import json, os, resource, signal, sys
from pathlib import Path
import tlog

way, root = sys.argv[1], Path(sys.argv[2])
if way == "tmpfs":
    import subprocess
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(root)], check=True)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ballast = root / "ballast"

def fill(room):  # bytes left on the disk, or in a file
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        return
    with ballast.open("ab") as file:
        while os.statvfs(root).f_bavail * os.statvfs(root).f_frsize > room:
            file.write(bytes(4096))
            file.flush()

def free():
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        ballast.unlink()

def failed(action):
    try:
        action()
    except tlog.Error as err:
        return [type(err).__name__, str(err)]
    return None

users = tlog.Ledger.create(root / "l", origin="audit.example.com", segment_entries=256).partition("users")
told = []
def append(count):
    for number in range(count):
        told.append(users.append({"n": len(told), "text": "x" * 300}).seq)
append(10)
kept = users.publish()
report = {}

fill(64 * 1024)
report["append"] = failed(lambda: append(1000))
report["append again"] = failed(lambda: append(1))
report["publish while poisoned"] = failed(users.publish)
report["published meanwhile"] = users.checkpoint().tree_size
report["before freeing"] = [entry.seq for entry in users.entries()] [:len(told)] == told
free()
users.reopen()
report["after reopening"] = users.size, len(told)
del told[:]
told.extend(range(users.size))
append(256 - users.size % 256)

fill(0)
report["roll"] = failed(lambda: append(1))
free()
users.reopen()
report["after the roll"] = users.size, len(told)
del told[:]
told.extend(range(users.size))
append(3)

statements = {p: p.read_bytes() for p in (users.paths.signed, users.paths.checkpoint, users.paths.checkpoints)}
fill(0)
report["publish"] = failed(users.publish)
report["statements stand"] = all(p.read_bytes() == raw for p, raw in statements.items())
free()
users.reopen()
append(1)
report["published"] = users.publish().tree_size, len(told)
report["verified"] = users.verify(checkpoint=kept.raw).entries
report["findings"] = [str(finding) for finding in users.fsck().findings]
report["data"] = [entry.data["n"] for entry in users.entries()] == list(range(users.size))
print(json.dumps(report))
"""

OWN_MOUNTS = ("unshare", "--mount", "--map-root-user")


@functools.cache
def can_mount() -> bool:
    """Whether a process may have mounts of its own here."""
    try:
        trial = [*OWN_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(trial, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("way", ["limit", "tmpfs"] if can_mount() else ["limit"])
def test_r04_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path, way: str) -> None:
    """In an append, at a segment roll, while publishing: the failing call errors, what was told stands, it goes on.

    tmpfs: a file system of 1 MiB, full. limit: no file may grow beyond a size (EFBIG instead of ENOSPC).
    """
    output = run(FILL_UP, way, tmp_path, prefix=OWN_MOUNTS if way == "tmpfs" else ())
    report: dict[str, Any] = json.loads(output)
    reason = "No space left on device" if way == "tmpfs" else "File too large"
    for step in ("append", "roll"):
        kind, message = report[step]
        assert kind == "CommitUnknownError", step
        assert reason in message, step
        assert ".jsonl" in message, step
    assert report["append again"][0] == report["publish while poisoned"][0] == "CommitUnknownError"
    assert report["published meanwhile"] == 10
    assert report["before freeing"]
    for step in ("after reopening", "after the roll"):
        size, told = report[step]
        assert 0 <= size - told <= 1, step  # what failed may have been stored nevertheless
    kind, message = report["publish"]
    assert kind == "StorageError"
    assert reason in message
    assert report["statements stand"]
    size, told = report["published"]
    assert size == told == report["verified"]
    assert report["findings"] == []
    assert report["data"]
