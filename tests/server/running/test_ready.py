"""Readiness turns red as soon as events could not be kept, and green again when they can."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import tlog
from tests.incidents.programs import run
from tests.incidents.test_r04_full_disk import OWN_MOUNTS, can_mount
from tests.ledgers import FaultyDisk, QuickDisk, create
from tests.server.running.server import ONE, QUICK, running
from tests.waiting import until
from tlog.keeping.probe import INTERVAL_S
from tlog_server.app import create_app
from tlog_server.running import _open_or_die

FULL = """
import json, os, subprocess, sys, time
from pathlib import Path
import tlog
from tests.server.running.server import running
from tests.waiting import until
from tlog.keeping.probe import INTERVAL_S
root = Path(sys.argv[1])
disk = root / "disk"
disk.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)], check=True)
users = tlog.Ledger.create(disk / "ledger", origin="audit.example.com").partition("users")
users.append("first")
report = {}
def ask(name):
    report[name] = server.get("/readyz").status_code, server.get("/healthz").status_code
with running(disk / "ledger", "--publish-interval", "0.1", "--workers", "1") as server:
    until(lambda: server.get("/users/checkpoint").status_code == 200)
    ask("well")
    (disk / "stderr").unlink()
    with (disk / "ballast").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    time.sleep(INTERVAL_S)
    ask("full")
    report["checkpoint"] = server.get("/users/checkpoint").status_code
    (disk / "ballast").unlink(missing_ok=True)
    until(lambda: server.get("/readyz").status_code == 200)
    users.append("second")
    until(lambda: b"\\n2\\n" in server.get("/users/checkpoint").content)
    ask("well again")
print(json.dumps(report))
"""


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Red half a second after it is full, while reading goes on; green when there is room, and publishing goes on."""
    if not can_mount():
        pytest.skip("this process may not mount a file system of its own")
    report = json.loads(run(FULL, tmp_path, prefix=OWN_MOUNTS))
    assert report == {"well": [200, 200], "full": [503, 200], "checkpoint": 200, "well again": [200, 200]}


def test_a_ledger_that_is_gone(tmp_path: Path) -> None:
    """Where the directory is moved away every process is red, and green when it is back."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append("first")
    partition.close()
    with running(tmp_path / "ledger", *QUICK) as server:
        until(lambda: server.get("/readyz").status_code == 200)
        (tmp_path / "ledger").rename(tmp_path / "away")
        time.sleep(INTERVAL_S)
        assert {server.get("/readyz").status_code for _ in range(8)} == {503}
        (tmp_path / "away").rename(tmp_path / "ledger")
        until(lambda: {server.get("/readyz").status_code for _ in range(8)} == {200})


def test_a_process_that_is_started_while_the_ledger_is_gone(tmp_path: Path) -> None:
    """It ends as one that crashed, so that another one is started later, and the server goes on."""
    with pytest.raises(SystemExit) as end:
        _open_or_die(tmp_path / "none", None)
    assert end.value.code == 1


def test_a_write_that_failed(tmp_path: Path) -> None:
    """A process whose write failed for good is red until its keeper has opened the partition again."""
    disk = FaultyDisk()
    partition = create(tmp_path / "ledger", disk=disk)
    partition.append("first")
    partition.close()
    disk = FaultyDisk()
    ledger = tlog.Ledger.open(tmp_path / "ledger", disk=disk)
    app = create_app(ledger)
    client = app.test_client()
    users = ledger.partition(partition.name)
    users.append("second")
    assert client.get("/readyz").status_code == 200
    disk.fail_at = len(disk.log)
    with pytest.raises(tlog.CommitUnknownError):
        users.append("third")
    answer = client.get("/readyz")
    assert (answer.status_code, "A write failed" in answer.text) == (503, True)
    keeper = app.config["TLOG_KEEPER"]
    keeper.start()
    until(lambda: client.get("/readyz").status_code == 200)
    assert users.append("fourth").seq in {2, 3}
    keeper.stop()
    ledger.close()


def test_a_partition_that_cannot_be_published(tmp_path: Path) -> None:
    """It turns readiness red, without its name, and is shown in the status; the other partitions are published."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append("first")
    partition.close()
    path = partition.paths.plain(0)
    good = path.read_bytes()
    path.write_bytes(good.replace(b"first", b"1st!!"))
    with tlog.Ledger.open(tmp_path / "ledger", disk=QuickDisk()) as ledger:
        ledger.partition("others").append("first")
    with running(tmp_path / "ledger", *ONE) as server:
        until(lambda: server.get("/others/checkpoint").status_code == 200)
        until(lambda: server.get("/readyz").status_code == 503)
        assert partition.name not in server.get("/readyz").text
        shown = {found["partition"]: found["is_failing"] for found in server.get("/api/v1/status").json()["partitions"]}
        assert shown == {partition.name: True, "others": False}
        assert 'tlog_partition_failing{partition="users"} 1.0' in server.get("/metrics").text
        until(lambda: any("publish_failed partition=users" in line for line in server.said()))


def test_a_storage_that_refuses_one_write(tmp_path: Path) -> None:
    """Nobody needs to append for it to be found out; half a second later it is tried again."""
    create(tmp_path / "ledger", disk=QuickDisk()).append("first")
    disk = FaultyDisk()
    client = create_app(tlog.Ledger.open(tmp_path / "ledger", disk=disk)).test_client()
    assert client.get("/readyz").status_code == 200
    time.sleep(INTERVAL_S)
    disk.fail_at = len(disk.log)
    answers = [client.get("/readyz") for _ in range(2)]
    assert [(answer.status_code, "cannot write" in answer.text) for answer in answers] == [(503, True)] * 2
    assert str(tmp_path) not in answers[0].text
    time.sleep(INTERVAL_S)
    assert client.get("/readyz").status_code == 200
