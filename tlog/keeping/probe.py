"""Whether the storage of a ledger can be written to now: a small file is written, synced and removed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from tlog.errors import Error, NotFoundError, StorageError
from tlog.storage.disk import TEMPORARY_SUFFIX, Files
from tlog.storage.layout import CONFIG_NAME

INTERVAL_S = 0.5
"""For how long an answer counts."""

TIMEOUT_S = 0.8
"""How long a try may take; a disk that takes longer to answer is one that cannot be reached."""

PROBE_SIZE = 4096


class Probe:
    """Tries the storage of a ledger, at most once in INTERVAL_S. It may be used from several threads."""

    def __init__(self, files: Files, ledger: Path) -> None:
        """files: how to reach it. ledger: its directory."""
        self._files = files
        self._ledger = ledger
        self._mutex = threading.Lock()
        self._try: _Try | None = None

    def check(self) -> None:
        """Return where the storage can be written to. Raises: StorageError saying why not, or that it is too slow."""
        with self._mutex:
            attempt = self._try
            if attempt is None or attempt.is_old:
                attempt = self._try = _Try(self._files, self._ledger)
        attempt.result()


class _Try:
    """One try, in a thread of its own, which may hang with the disk."""

    def __init__(self, files: Files, ledger: Path) -> None:
        self._files = files
        self._ledger = ledger
        self._started_at = time.monotonic()
        self._done = threading.Event()
        self._error: Error | None = None
        threading.Thread(target=self._run, name="tlog-probe", daemon=True).start()

    @property
    def is_old(self) -> bool:
        """Whether it has ended, and for longer than its answer counts: of tries that hang there is one at most."""
        return self._done.is_set() and time.monotonic() - self._started_at > INTERVAL_S

    def result(self) -> None:
        """Return or raise what came out, waiting for it until TIMEOUT_S after the start."""
        if not self._done.wait(max(self._started_at + TIMEOUT_S - time.monotonic(), 0)):
            raise StorageError(f"{self._ledger}: a write of {PROBE_SIZE} bytes is not durable after {TIMEOUT_S:g} s")
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        path = self._ledger / f"probe.{os.getpid()}{TEMPORARY_SUFFIX}"
        disk = self._files.disk
        try:
            if not self._files.exists(self._ledger / CONFIG_NAME):
                raise NotFoundError(f"{self._ledger}: the ledger is not there any more")
            fd = disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                disk.write(fd, bytes(PROBE_SIZE), path)
                disk.sync(fd, path)
            finally:
                disk.close(fd)
                disk.unlink(path)
        except Error as err:
            self._error = err
        finally:
            self._done.set()
