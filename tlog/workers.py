"""Processes that examine stretches in parallel.

Python computes on one core a process. A worker is this program's Python running `tlog.worker`; it gets tasks and sends
results through its pipes, shares nothing, and ends when its input does. Where workers cannot be started, or one fails,
the caller does the work itself and gets the error first hand.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

import msgpack

from tlog.storage.disk import Disk, Files
from tlog.storage.layout import PartitionPaths
from tlog.stretch import (
    HASH_ONLY,
    STRETCH_ENTRIES,
    WRITE_TILES,
    Examined,
    Stretch,
    stretch_of,
    whole_stretches,
)

_LENGTH = struct.Struct(">I")
_START = "import sys; sys.path[:] = sys.argv[1:]; from tlog.worker import main; main()"


class Workers:
    """A number of worker processes, started when they are first needed."""

    def __init__(self, count: int) -> None:
        """count: processes."""
        self.count = count
        self._pool = ThreadPoolExecutor(count, "tlog-worker")
        self._local = threading.local()
        self._processes: list[subprocess.Popen[bytes]] = []

    def submit(self, stretch: Stretch) -> Future[Examined | None]:
        """Have a stretch examined; the result is None where a worker could not do it."""
        return self._pool.submit(self._run, stretch)

    def close(self) -> None:
        """End the worker processes when they have done what was submitted."""
        self._pool.shutdown()
        while self._processes:
            _end(self._processes.pop())

    def _run(self, stretch: Stretch) -> Examined | None:
        try:
            process = self._process()
            if process.stdin is None or process.stdout is None:
                raise AssertionError("a worker has pipes")
            send(process.stdin, list(stretch))
            answer = receive(process.stdout)
        except (OSError, EOFError, ValueError):
            return None
        return Examined(*answer) if isinstance(answer, list) else None

    def _process(self) -> subprocess.Popen[bytes]:
        """Return this thread's own worker."""
        process: subprocess.Popen[bytes] | None = getattr(self._local, "process", None)
        if process is None or process.poll() is not None:
            if process is not None:
                self._processes.remove(process)
                _end(process)
            process = self._local.process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _START, *filter(None, sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._processes.append(process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not read any more
                pipe.close()
    process.wait()


class Ahead:
    """Stretches of one partition that are examined while more entries are appended, before `publish` asks for them."""

    def __init__(self, files: Files, paths: PartitionPaths, segment_entries: int) -> None:
        self._files = files
        self._paths = paths
        self._segment_entries = segment_entries
        self._begun: dict[Stretch, Future[Examined | None]] = {}

    def begin(self, start: int, stop: int) -> int:
        """Begin with the whole stretches of the durable entries [start, stop), for integration and for its repetition.

        Return where the part that is not begun starts. Does nothing for less than two whole stretches.
        """
        first, last = whole_stretches(start, stop)
        pool = workers() if first < last and type(self._files.disk) is Disk else None
        if pool is None:
            return start
        for seq in range(first, last, STRETCH_ENTRIES):
            for mode in (WRITE_TILES, HASH_ONLY):
                stretch = stretch_of(self._paths, self._segment_entries, seq, seq + STRETCH_ENTRIES, mode)
                self._begun[stretch] = pool.submit(stretch)
        return last

    def claim(self, stretch: Stretch) -> Future[Examined | None] | None:
        """Return the examination that was begun, None where there is none. It is given out once."""
        return self._begun.pop(stretch, None)


def examine_all(files: Files, stretches: Sequence[Stretch], ahead: Ahead | None = None) -> Iterator[Examined | None]:
    """Yield what each stretch holds, in order; None for those that the caller must examine itself.

    files: the file system; workers know only the real one. ahead: where stretches may have been begun already.
    At most two stretches a worker are on their way.
    """
    pool = workers() if type(files.disk) is Disk and len(stretches) > 1 else None
    if pool is None:
        yield from itertools.repeat(None, len(stretches))
        return
    waiting: deque[Future[Examined | None]] = deque()
    for stretch in stretches:
        begun = None if ahead is None else ahead.claim(stretch)
        waiting.append(pool.submit(stretch) if begun is None else begun)
        if len(waiting) > 2 * pool.count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers() -> Workers | None:
    """Return this process's workers, one a core; None where there is one core, or no Python to start."""
    cores = available_cores()
    return _workers(os.getpid(), cores) if cores > 1 and sys.executable else None


@functools.lru_cache(maxsize=1)
def _workers(pid: int, cores: int) -> Workers:
    del pid  # a forked child starts its own
    started = Workers(cores)
    atexit.register(started.close)
    return started


def send(pipe: IO[bytes], message: object) -> None:
    """Write one message."""
    packed = msgpack.packb(message)
    pipe.write(_LENGTH.pack(len(packed)) + packed)
    pipe.flush()


def receive(pipe: IO[bytes]) -> object:
    """Read one message. Raises: EOFError where the other side has ended; ValueError where it is no message."""
    size = pipe.read(_LENGTH.size)
    if len(size) < _LENGTH.size:
        raise EOFError
    return msgpack.unpackb(pipe.read(_LENGTH.unpack(size)[0]))
