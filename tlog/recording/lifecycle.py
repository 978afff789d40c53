"""What happens when a process forks, and when it ends, to those who hold events in memory.

A forked child has neither the threads of its parent nor anybody who releases the locks that these held. So whoever
has locks is told to begin afresh there. And whoever keeps events is told to write them when the process ends: by
atexit, and by `multiprocessing` in its children, which end without atexit.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from typing import Protocol

EXIT_TIMEOUT_S = 10.0
"""How long the end of a process waits for the disk."""


class Forgets(Protocol):
    """Has locks, threads or events that a forked child must not inherit."""

    def forget(self) -> None:
        """Begin afresh; called in the child, where no other thread runs."""


class Flushes(Protocol):
    """Keeps events in memory."""

    def flush(self) -> bool:
        """Write them, not beyond `deadline`; return whether that was done."""


class _State:
    exit_deadline: float | None = None
    pid_of_finalizer: int | None = None


_state = _State()
_forgetful: weakref.WeakSet[Forgets] = weakref.WeakSet()
_flushing: weakref.WeakSet[Flushes] = weakref.WeakSet()


def forget_after_fork(who: Forgets) -> None:
    """Have `forget` called in forked children, for as long as somebody else refers to `who`."""
    _forgetful.add(who)


def flush_at_exit(who: Flushes) -> None:
    """Have `flush` called when the process ends, for as long as somebody else refers to `who`."""
    _flushing.add(who)


def is_ending() -> bool:
    """Whether the process ends, and what was in memory has been written."""
    return _state.exit_deadline is not None


def deadline(timeout_s: float | None) -> float:
    """Return when to give up, by the monotonic clock: after `timeout_s` seconds, and not beyond the process's end."""
    own = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    return own if _state.exit_deadline is None else min(own, _state.exit_deadline)


def watch_multiprocessing() -> None:
    """In a child of `multiprocessing`, have its own way of ending flush; cheap enough to be called now and then."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and _state.pid_of_finalizer != os.getpid() and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _flush_all, exitpriority=0)
        _state.pid_of_finalizer = os.getpid()


def say(text: str) -> None:
    """Write a line to standard error, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"tlog: {text}\n")


def _flush_all() -> None:
    _state.exit_deadline = time.monotonic() + EXIT_TIMEOUT_S
    for who in list(_flushing):
        if not who.flush():
            say(f"events were lost: not durable {EXIT_TIMEOUT_S:g} s after the process ended")


def _forget_all() -> None:
    _state.exit_deadline = None  # the child's end is not the parent's
    for who in list(_forgetful):
        who.forget()


atexit.register(_flush_all)
os.register_at_fork(after_in_child=_forget_all)
