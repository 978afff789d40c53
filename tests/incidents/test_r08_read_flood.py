"""R8, DigiCert and Sectigo 2025: readers exhausted the log, or were punished for its errors.

The same over HTTP. That errors of the server do not count against a client is in tests/server/access/test_limits.py.
"""

from __future__ import annotations

import fcntl
import threading
import tracemalloc
from collections import Counter
from pathlib import Path

import httpx

import tlog
from tests.ledgers import QuickDisk, create, opened
from tests.server.conftest import granted
from tests.server.test_serve import serving
from tlog_server.app import create_app

READERS = 16
APPENDS = 40


def test_r08_readers_take_no_lock(tmp_path: Path) -> None:
    """While somebody else holds the writers' lock and the key's lock for ever, everything can be read and proved."""
    writer = create(tmp_path, disk=QuickDisk())
    writer.append_many(range(600))
    writer.publish()
    writer.append_many(range(10))
    with writer.paths.lock.open("rb") as one, writer.paths.private_key.open("rb") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)
        reader = opened(tmp_path)
        assert reader.entry(605).seq == 605
        assert len(list(reader.entries())) == reader.size == 610
        assert reader.prove(3).leaf_index == 3
        assert reader.prove_consistency(100).old_size == 100
        assert reader.verify().entries == 610
        assert reader.fsck().findings == ()
        assert reader.export(tmp_path / "site").tree_size == 600


def test_r08_readers_in_the_middle_hold_up_no_writer(tmp_path: Path) -> None:
    """A hundred readers stopped in the middle of the log, one of them following: appending and publishing go on."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(600))
    partition.publish()
    reader = opened(tmp_path)
    readers = [reader.entries(start) for start in range(100)] + [reader.follow(0)]
    assert [next(entries).seq for entries in readers] == [*range(100), 0]
    assert partition.append("more").seq == 600
    assert partition.publish().tree_size == 601
    assert [next(entries).seq for entries in readers] == [*range(1, 101), 1]
    assert partition.seal().segments == 2
    assert [entry.seq for entry in readers[50]] == list(range(52, 600))


def test_r08_reading_all_needs_no_more_memory_than_reading_some(tmp_path: Path) -> None:
    """A reader of 30 MB of entries holds 256 of them at a time, and what it just read."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many({"n": number, "text": "x" * 30_000} for number in range(1000))
    tracemalloc.start()
    try:
        assert sum(1 for _ in partition.entries()) == 1000
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_r08_one_request_reads_no_more_than_is_allowed(tmp_path: Path) -> None:
    """Whoever asks for more than a page has is refused, and not given all there is."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append_many({"actor": f"a{number}"} for number in range(1100))
    partition.publish()
    with tlog.Index(partition) as index:
        index.catch_up()
    client = create_app(tmp_path / "l").test_client()
    for url in ("events?limit=1001", "events?limit=100000", "facets?field=actor&limit=1001", "counts?limit=1001"):
        assert client.get(f"/api/v1/{url}&partition=users").status_code == 400
    most = client.get("/api/v1/events?limit=1000&partition=users").get_json()
    assert (len(most["events"]), most["cursor"] is None) == (1000, False)
    assert len(client.get("/users/tile/0/000").data) == 256 * 32


def test_r08_over_http_a_flood_of_readers_stops_no_writer(tmp_path: Path) -> None:
    """Sixteen clients search, prove and fetch without pause: every event that is sent meanwhile is taken."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append_many({"actor": f"a{number % 7}", "text": "failed password"} for number in range(2000))
    partition.publish()
    with tlog.Index(partition) as index:
        index.catch_up()
    partition.close()
    bearer = {"Authorization": f"Bearer {granted(tmp_path / 'ledger', 'append')}"}
    urls = (
        "/api/v1/events?partition=users&text=failed&limit=200",
        "/api/v1/counts?partition=users",
        "/users/proof/inclusion?index=777",
        "/users/tile/entries/003",
    )
    statuses: Counter[int] = Counter()
    done = threading.Event()

    def read(url: str) -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            while not done.is_set():
                for path in urls:
                    statuses[client.get(path).status_code] += 1

    with serving(tmp_path / "ledger") as (_, line):
        url = line.rstrip("\n").rpartition(" ")[2]
        readers = [threading.Thread(target=read, args=(url,)) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        try:
            with httpx.Client(base_url=url, trust_env=False, timeout=60, headers=bearer) as client:
                for number in range(APPENDS):
                    answer = client.post("/api/v1/events?partition=users", json={"sent": number})
                    assert (answer.status_code, answer.json()["index"]) == (201, 2000 + number)
        finally:
            done.set()
            for reader in readers:
                reader.join()
    assert statuses[200] > READERS
    assert set(statuses) <= {200, 503}
    reopened = opened(tmp_path / "ledger")
    assert [entry.data for entry in reopened.entries(2000)] == [{"sent": number} for number in range(APPENDS)]
