"""Programs that log, run as processes of their own with a time limit: a deadlock is a failure, not a hang."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tlog
from tlog.events import Event

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 50
ORIGIN = "audit.example.com"
NAME = "web"

PRELUDE = """
import atexit, json, logging, logging.config, os, sys, threading, time
import tlog
root = sys.argv[1]
def config(**more):
    root_logger = {"level": "INFO", "handlers": ["audit"]}
    return {"version": 1, "disable_existing_loggers": False, "root": root_logger, "handlers": {"audit": {
        "class": "tlog.TlogHandler", "ledger": root, "partition": "web", "origin": "audit.example.com", **more}}}
def the_handler():
    return logging.getLogger().handlers[0]
log = logging.getLogger("app")
def run_threads(count, work):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
"""


def run(code: str, *words: object, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a program behind PRELUDE, to its good end; return what it printed."""
    command = [*prefix, sys.executable, "-W", "error", "-c", PRELUDE + code, *map(str, words)]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the JSON that a program printed last."""
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def partition_at(root: Path, name: str = NAME) -> tlog.Partition:
    """Return the partition that was logged into."""
    return tlog.Ledger.open(root).partition(name)


def events_of(partition: tlog.Partition) -> list[Event]:
    """Return the events of all entries; each must be a valid one."""
    return [Event.from_data(entry.data) for entry in partition.entries()]


def messages_of(partition: tlog.Partition) -> list[str | None]:
    """Return the messages of all entries, in order."""
    return [event.message for event in events_of(partition)]


def check(partition: tlog.Partition) -> None:
    """Publish, and verify every entry, tile and checkpoint."""
    size = partition.publish().tree_size
    assert partition.verify().entries == size
