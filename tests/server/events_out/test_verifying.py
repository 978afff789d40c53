"""Verifications that are asked for over HTTP."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

import tlog
from tests.ledgers import NAME, QuickDisk, create, flip
from tests.server.conftest import granted
from tlog._strict import format_base64
from tlog.events import uuid7
from tlog.jobs import VerifyJobs
from tlog.names import SYSTEM_PARTITION
from tlog_server.app import create_app
from tlog_server.settings import Settings

WAIT_S = 60.0
URL = f"/api/v1/verify?partition={NAME}"
SHOWN = ["job", "partition", "state", "asked_by", "started", "entries", "checked", "ended", "report", "failure"]


@pytest.fixture
def partition(tmp_path: Path) -> tlog.Partition:
    """A partition of 300 entries, 299 of them published."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append_many(range(299))
    partition.publish()
    partition.append("not published")
    partition.close()
    return partition


@pytest.fixture
def client(partition: tlog.Partition) -> FlaskClient:
    """Asks the server of its ledger."""
    return create_app(partition.paths.ledger).test_client()


@pytest.fixture
def bearer(partition: tlog.Partition) -> dict[str, str]:
    """The headers of a token that may administer the partition, and nothing else."""
    return {"Authorization": f"Bearer {granted(partition.paths.ledger, 'admin', partitions=[NAME], writer='ops')}"}


def ended(client: FlaskClient, place: str, bearer: dict[str, str]) -> Any:
    """What is shown of a verification when it is over."""
    deadline = time.monotonic() + WAIT_S
    while (shown := client.get(place, headers=bearer).get_json())["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return shown


def test_a_sound_partition(partition: tlog.Partition, client: FlaskClient, bearer: dict[str, str]) -> None:
    """202 with the place where to look; there, how it ended; and an entry that says who asked."""
    answer = client.post(URL, headers=bearer)
    assert answer.status_code == 202
    begun = answer.get_json()
    assert (begun["state"], begun["entries"], begun["asked_by"]) == ("running", 300, "ops")
    assert answer.headers["Location"] == f"/api/v1/verify/{begun['job']}"
    assert answer.headers["Cache-Control"] == "no-store"
    shown = ended(client, answer.headers["Location"], bearer)
    assert list(shown) == list(begun) == SHOWN
    root_hash = format_base64(partition.checkpoint().root_hash)
    report = {"entries": 300, "tree_size": 299, "root_hash": root_hash, "tiles": 3, "unpublished": 1}
    assert (shown["state"], shown["report"], shown["failure"]) == ("verified", report, None)
    with tlog.Ledger.open(partition.paths.ledger) as ledger:
        acts = [
            entry for entry in ledger.partition(SYSTEM_PARTITION).entries() if entry.data["action"] == "verify.start"
        ]
    assert [(act.data["actor"], act.data["target"], act.meta) for act in acts] == [("ops", NAME, {"writer": "ops"})]


def test_the_first_bad_place(partition: tlog.Partition, client: FlaskClient, bearer: dict[str, str]) -> None:
    """Where the log is damaged, the answer names the entry and the file below the ledger."""
    flip(partition.paths.plain(256), 8 * 400)
    shown = ended(client, client.post(URL, headers=bearer).headers["Location"], bearer)
    assert (shown["state"], shown["report"]) == ("failed", None)
    assert shown["failure"]["seq"] in range(256, 299)
    assert "partitions/users/segments/" in shown["failure"]["place"]
    assert str(partition.paths.ledger) not in str(shown)
    assert shown["failure"]["expected"] != shown["failure"]["found"]


def test_one_at_a_time(
    partition: tlog.Partition, client: FlaskClient, bearer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one runs, another is refused with the place of the first; reads and appends are not kept waiting."""
    started: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(
        VerifyJobs, "_run", lambda _, __, fd: started.append(subprocess.Popen(["sleep", "60"], pass_fds=[fd]))
    )
    first = client.post(URL, headers=bearer)
    second = client.post(URL, headers=bearer)
    assert (second.status_code, second.headers["Location"]) == (409, first.headers["Location"])
    assert client.get(f"/{NAME}/entry/5").status_code == 200
    assert partition.append("more").seq == 300
    started[0].kill()
    started[0].wait()
    shown = client.get(first.headers["Location"], headers=bearer).get_json()
    assert (shown["state"], shown["failure"]["error"]) == ("broken", "ProcessDied")
    assert len(started) == 1


def test_who_may_ask(partition: tlog.Partition, client: FlaskClient, bearer: dict[str, str]) -> None:
    """Nobody without a token, nor one without the verb or for another partition, learns or starts anything."""
    job = f"/api/v1/verify/{uuid7()}"
    reader, other = (
        {"Authorization": f"Bearer {text}"}
        for text in (
            granted(partition.paths.ledger, "read", "append"),
            granted(partition.paths.ledger, "admin", partitions=["other"]),
        )
    )
    assert [client.post(URL, headers=headers).status_code for headers in ({}, reader, other)] == [401, 403, 403]
    assert client.get(job).status_code == 401
    assert client.get(job, headers=other).status_code == 404
    place = client.post(URL, headers=bearer).headers["Location"]
    assert [client.get(place, headers=headers).status_code for headers in ({}, reader, other)] == [401, 403, 403]
    assert ended(client, place, bearer)["state"] == "verified"


@pytest.mark.parametrize(
    ("target", "status", "field"),
    [
        ("POST /api/v1/verify", 400, "partition"),
        ("POST /api/v1/verify?partition=users&x=1", 400, "query"),
        ("GET /api/v1/verify/none", 404, "job"),
        ("GET /api/v1/verify/lock", 404, "job"),
        ("GET /api/v1/verify/01a1ff0e-8d9c-7101-bf84-1eccfeb7ab84?x=1", 400, "query"),
    ],
)
def test_what_is_refused(client: FlaskClient, bearer: dict[str, str], target: str, status: int, field: str) -> None:
    """What cannot be verified is named before anything is started."""
    method, url = target.split(" ")
    answer = client.open(url, method=method, headers=bearer)
    assert (answer.status_code, answer.get_json(force=True)["field"]) == (status, field)


def test_what_cannot_be_verified(partition: tlog.Partition, bearer: dict[str, str]) -> None:
    """A partition that is not there, a body, and a server that only reads: nothing is started, nothing recorded."""
    ledger = partition.paths.ledger
    client = create_app(ledger).test_client()
    everything = {"Authorization": f"Bearer {granted(ledger)}"}
    assert client.post("/api/v1/verify?partition=none", headers=everything).status_code == 404
    assert client.post("/api/v1/verify?partition=..%2Fx", headers=everything).status_code == 404
    assert client.post(URL, headers=bearer, data=b"{}").status_code == 413
    reading = create_app(ledger, Settings(is_read_only=True)).test_client()
    assert reading.post(URL, headers=bearer).status_code == 403
    assert not (ledger / "jobs").exists()
    shutil.rmtree(ledger / "partitions" / NAME)
    assert client.post(URL, headers=bearer).status_code == 404
