"""Events that are sent until they are acknowledged, to a server whose processes are killed: each is there once."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

import tlog
from tests.ledgers import NAME, ORIGIN
from tests.server.conftest import granted
from tests.server.events_in.conftest import BATCH_URL, URL, Server
from tests.server.running.server import Server as RunningServer
from tests.server.running.server import running
from tlog_server.app import create_app

THREADS = 16
EVENTS = 25
BATCHES = 4
BATCH = 150


class Sender:
    """Sends events and batches, each until it is acknowledged. acknowledged: index by id."""

    def __init__(self, server: RunningServer, token: str, number: int) -> None:
        self.acknowledged: dict[str, int] = {}
        self.retries = 0
        self._server = server
        self._token = token
        self._number = number

    def run(self) -> None:
        """Send everything."""
        with self._server.client(self._token) as client:
            for n in range(EVENTS):
                name = f"{self._number}-{n}"
                body = json.dumps({"id": name, "n": n}).encode()
                self.acknowledged[name] = self._send(client, URL, body, "application/json")["index"]
                if n % (EVENTS // BATCHES) == 0:
                    names = [f"{name}/{k}" for k in range(BATCH)]
                    body = "".join(json.dumps({"id": name}) + "\n" for name in names).encode()
                    answer = self._send(client, BATCH_URL, body, "application/x-ndjson")
                    assert answer["count"] == BATCH
                    self.acknowledged |= dict.fromkeys(names, -1)

    def _send(self, client: httpx.Client, url: str, body: bytes, kind: str) -> dict[str, Any]:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                answer = client.post(url, content=body, headers={"Content-Type": kind})
                if answer.status_code in {200, 201}:
                    found: dict[str, Any] = answer.json()
                    return found
                assert answer.status_code == 503, answer.text
                assert "Retry-After" in answer.headers
            self.retries += 1
            time.sleep(0.02)
        raise AssertionError("no answer in a minute")


def test_killed_workers(tmp_path: Path) -> None:
    """Two processes, sixteen senders, workers killed with SIGKILL again and again: all acknowledged is there, once."""
    tlog.Ledger.create(tmp_path / "ledger", origin=ORIGIN, segment_entries=256).close()
    token = granted(tmp_path / "ledger", "append")
    with running(tmp_path / "ledger", "--workers", "2", "--publish-interval", "0.1") as server:
        senders = [Sender(server, token, number) for number in range(THREADS)]
        threads = [threading.Thread(target=sender.run) for sender in senders]
        for thread in threads:
            thread.start()
        kills = 0
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.4)
            workers = server.workers
            if len(workers) == 2 and kills < 6:
                os.kill(workers[kills % 2], signal.SIGKILL)
                kills += 1
            if kills == 3:  # the table goes, too, while it is used
                for path in (tmp_path / "ledger" / "index").glob(f"{NAME}.ids*"):
                    path.unlink(missing_ok=True)
        for thread in threads:
            thread.join()
        assert server.end() == 0
    acknowledged = {name: index for sender in senders for name, index in sender.acknowledged.items()}
    assert len(acknowledged) == THREADS * len(senders[0].acknowledged) > THREADS * EVENTS
    assert kills >= 2
    assert sum(sender.retries for sender in senders) > 0
    with tlog.Ledger.open(tmp_path / "ledger") as ledger:
        partition = ledger.partition(NAME)
        found = Counter(entry.data["id"] for entry in partition.entries())
        assert found == Counter(acknowledged.keys())
        for name, index in acknowledged.items():
            assert index == -1 or partition.entry(index).data["id"] == name
        partition.publish()
        assert partition.verify().entries == len(acknowledged)
        assert partition.fsck().findings == ()


def test_a_retry_after_a_restart(tmp_path: Path) -> None:
    """The first answer comes again from a new application, also where the table of ids is lost or is nonsense."""
    tlog.Ledger.create(tmp_path / "ledger", origin=ORIGIN).close()
    token = granted(tmp_path / "ledger", "append")
    answers = []
    for damage in ("none", "none", "lost", "nonsense"):
        table = tmp_path / "ledger" / "index" / f"{NAME}.ids"
        if damage == "lost":
            table.unlink()
        elif damage == "nonsense":
            table.write_bytes(b"nonsense" * 1000)
        with tlog.Ledger.open(tmp_path / "ledger") as ledger:
            server = Server(create_app(ledger), ledger.partition(NAME), token)
            answers.append(server.post(URL, b'{"a":1}', Idempotency_Key="K"))
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    assert len({answer.data for answer in answers}) == 1
    with tlog.Ledger.open(tmp_path / "ledger") as ledger:
        assert ledger.partition(NAME).size == 1


@pytest.mark.parametrize("key", [None, "K"])
def test_a_disk_that_was_full(tmp_path: Path, key: str | None) -> None:
    """While nothing can be written, events are refused with 503 and Retry-After; then it goes on by itself.

    Full: no file of the worker process may grow beyond a size, so that a write ends early.
    """
    tlog.Ledger.create(tmp_path / "ledger", origin=ORIGIN).close()
    token = granted(tmp_path / "ledger", "append")
    headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
    with running(tmp_path / "ledger", "--workers", "1") as server, server.client(token) as client:
        first = client.post(URL, content=b'"first"', headers={"Content-Type": "application/json"})
        assert first.status_code == 201
        (worker,) = server.workers
        segment = next((tmp_path / "ledger/partitions" / NAME / "segments").iterdir())
        limit(worker, segment.stat().st_size + 10)
        refused = [client.post(URL, content=b'"x"', headers=headers) for _ in range(3)]
        assert [answer.status_code for answer in refused] == [503] * 3
        assert all("Retry-After" in answer.headers for answer in refused)
        limit(worker, None)
        end = time.monotonic() + 30
        while (answer := client.post(URL, content=b'"x"', headers=headers)).status_code == 503:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert answer.status_code == 201
        assert server.end() == 0
    with tlog.Ledger.open(tmp_path / "ledger") as ledger:
        assert [entry.data for entry in ledger.partition(NAME).entries()] == ["first", "x"]
        assert ledger.partition(NAME).fsck().findings == ()


def limit(process: int, size: int | None) -> None:
    """Let no file of a process grow beyond a size."""
    soft = resource.RLIM_INFINITY if size is None else size
    resource.prlimit(process, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
