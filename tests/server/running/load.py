"""Threads that append over HTTP, and an audit of all that was acknowledged to them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

import httpx

import tlog
from tests.ledgers import NAME
from tests.server.running.server import Server
from tests.waiting import until


class Load:
    """Appends from several threads while the `with` block lasts, each over a connection that is kept."""

    def __init__(self, server: Server, token: str, *, threads: int = 6, wait: str = "durable") -> None:
        self._url = f"{server.url}/api/v1/events?partition={NAME}&wait={wait}"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._name = f"{threads}-{id(self)}"
        self._stop = threading.Event()
        self._mutex = threading.Lock()
        self.acknowledged: dict[int, str] = {}
        self.refused: Counter[int] = Counter()
        self.broken = 0
        self.retry_after: set[str] = set()
        self.longest_s = 0.0
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def grow(self, count: int) -> None:
        """Return when `count` more entries were acknowledged than now."""
        target = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) > target)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, thread: int) -> None:
        number = 0
        with httpx.Client(headers=self._headers, trust_env=False, timeout=30) as client:
            while not self._stop.is_set():
                number += 1
                name = f"{self._name}-{thread}-{number}"
                begun_at = time.monotonic()
                try:
                    answer = client.post(self._url, json={"name": name})
                except httpx.HTTPError:
                    self.broken += 1
                    self._stop.wait(0.02)
                    continue
                with self._mutex:
                    self.longest_s = max(self.longest_s, time.monotonic() - begun_at)
                    if answer.status_code == 201:
                        self.acknowledged[answer.json()["index"]] = name
                        continue
                    self.refused[answer.status_code] += 1
                    self.retry_after.add(answer.headers.get("Retry-After", ""))
                self._stop.wait(0.02)


def audit(ledger: tlog.Ledger, load: Load) -> int:
    """Return the number of entries; each that was acknowledged must be where it was said, and the log verify."""
    users = ledger.partition(NAME)
    names = [entry.data["name"] for entry in users.entries()]
    assert load.acknowledged
    assert all(names[seq] == name for seq, name in load.acknowledged.items())
    assert len(set(names)) == len(names)
    assert users.publish().tree_size == users.verify().entries == len(names)
    sizes = Counter(checkpoint.tree_size for checkpoint in users.checkpoints.all())
    assert max(sizes.values()) == 1
    return len(names)
