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

from tlog.hashing import HASH_SIZE
from tlog.storage.disk import Disk, Files
from tlog.storage.layout import PartitionPaths
from tlog.stretch import STRETCH_ENTRIES, WRITE_TILES, Examined, Stretch, stretch_of

NOTED_ENTRIES = 1024
"""Entries that are written at once from which on it is worth noting their leaf hashes."""

MAX_WAITING = 32
MAX_BEGUN = 1024
"""Stretches that wait for a worker, and that were begun and not asked for yet, before others are left to `publish`."""

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
    """Stretches of one partition that are examined while more entries are appended, before `publish` asks for them.

    Whoever appends in bulk notes the leaf hashes of what it made durable. A worker that gets them reads the same
    entries back and compares, so that the root is computed from both: from what was written, and from what is on disk.
    """

    def __init__(self, files: Files, paths: PartitionPaths, segment_entries: int) -> None:
        self._paths = paths
        self._segment_entries = segment_entries
        self._is_real = type(files.disk) is Disk
        self._written = self._start = self._next = 0
        self._noted = bytearray()
        self._is_going_on = False
        self._begun: dict[int, Future[Examined | None]] = {}

    def is_worthwhile(self, first: int, count: int) -> bool:
        """Whether the leaf hashes of `count` entries, written at once from the seq `first` on, should be noted.

        Not where another process has written since this one did: stretches would be of several writers.
        """
        follows, self._written = first == self._written, first + count
        return follows and count >= NOTED_ENTRIES and self._is_real and workers() is not None

    def note(self, first: int, leaves: bytes) -> None:
        """Take the leaf hashes of durable entries from the seq `first` on; begin with stretches that are whole.

        Less than two whole stretches are not worth a process, and what the workers can't keep up with waits for
        `publish`. Memory: 32 bytes an entry for at most 34 stretches.
        """
        if first != self._next:
            self._start, self._is_going_on = first + -first % STRETCH_ENTRIES, False
            self._noted.clear()
        self._noted += leaves[max(self._start - first, 0) * HASH_SIZE :]
        self._next = first + len(leaves) // HASH_SIZE
        size = STRETCH_ENTRIES * HASH_SIZE
        while len(self._noted) >= (size if self._is_going_on else 2 * size):
            self._begin(self._start, bytes(self._noted[:size]))
            del self._noted[:size]
            self._start += STRETCH_ENTRIES
            self._is_going_on = True

    def claim(self, stretch: Stretch) -> Future[Examined | None] | None:
        """Return the examination that was begun, None where there is none. It is given out once."""
        return self._begun.pop(stretch.start, None) if stretch.mode == WRITE_TILES else None

    def _begin(self, start: int, leaves: bytes) -> None:
        pool = workers()
        waiting = sum(not begun.done() for begun in self._begun.values())
        if pool is not None and waiting < MAX_WAITING and len(self._begun) < MAX_BEGUN:
            stretch = stretch_of(self._paths, self._segment_entries, start, WRITE_TILES, leaves=leaves)
            self._begun[start] = pool.submit(stretch)


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
