"""The program of a worker process: examines stretches until its input ends. Started by `tlog.workers`."""

from __future__ import annotations

import signal
import sys

from tlog.errors import Error
from tlog.stretch import Stretch, examine
from tlog.workers import receive, send


def main() -> None:
    """Answer each task on standard input with what the stretch holds, or with None where it cannot be examined."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
    while True:
        try:
            task = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            send(sys.stdout.buffer, list(examine(Stretch(*task))) if isinstance(task, list) else None)
        except Error:
            send(sys.stdout.buffer, None)
