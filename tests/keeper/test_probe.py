"""Whether the storage can be written to is found out within a second, whatever is wrong with it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import tlog
from tests.incidents.programs import run
from tests.incidents.test_r04_full_disk import OWN_MOUNTS, can_mount
from tests.ledgers import ORIGIN
from tlog.keeping import probe as module
from tlog.keeping.probe import Probe
from tlog.storage.disk import Disk

FULL = """
import os, sys, subprocess
from pathlib import Path
import tlog
from tlog.keeping.probe import INTERVAL_S, Probe
import time
root = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(root)], check=True)
ledger = tlog.Ledger.create(root / "ledger", origin="audit.example.com")
probe = Probe(ledger.files, ledger.path)
def ask():
    time.sleep(INTERVAL_S)
    try:
        probe.check()
    except tlog.Error as err:
        return str(err).rpartition(": ")[2]
    return "well"
print(ask())
try:
    (root / "ballast").write_bytes(bytes(2 << 20))
except OSError:
    pass
print(ask())
(root / "ballast").unlink()
print(ask())
subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
print(ask())
"""


@pytest.fixture
def ledger(tmp_path: Path) -> tlog.Ledger:
    """An empty ledger."""
    return tlog.Ledger.create(tmp_path / "ledger", origin=ORIGIN)


def test_a_storage_that_is_well(ledger: tlog.Ledger) -> None:
    """Nothing is left behind, and many who ask get the answer of one try."""
    probe = Probe(ledger.files, ledger.path)
    before = sorted(ledger.path.iterdir())
    threads = [threading.Thread(target=probe.check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ledger.path.iterdir()) == before


def test_a_storage_that_is_full_or_read_only(tmp_path: Path) -> None:
    """A file system of 1 MiB: full, then with room again, then read-only."""
    if not can_mount():
        pytest.skip("this process may not mount a file system of its own")
    said = run(FULL, tmp_path, prefix=OWN_MOUNTS).splitlines()
    assert said == ["well", "No space left on device", "well", "Read-only file system"]


def test_a_ledger_that_is_gone(ledger: tlog.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its directory is not there any more, nor its settings."""
    monkeypatch.setattr(module, "INTERVAL_S", 0.0)
    probe = Probe(ledger.files, ledger.path)
    probe.check()
    time.sleep(0.01)
    ledger.path.rename(ledger.path.with_name("away"))
    with pytest.raises(tlog.NotFoundError):
        probe.check()
    time.sleep(0.01)
    ledger.path.mkdir()
    with pytest.raises(tlog.NotFoundError, match="not there any more"):
        probe.check()


def test_a_storage_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that does not end is said after a moment, no second one is tried, and later it is well again."""
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)
    go_on, syncs = threading.Event(), []

    class HangingDisk(Disk):
        """A disk whose syncs wait."""

        def sync(self, fd: int, path: Path) -> None:
            """Wait."""
            syncs.append(path)
            go_on.wait()
            super().sync(fd, path)

    tlog.Ledger.create(tmp_path / "ledger", origin=ORIGIN).close()
    ledger = tlog.Ledger.open(tmp_path / "ledger", disk=HangingDisk())
    probe = Probe(ledger.files, ledger.path)
    for _ in range(3):
        with pytest.raises(tlog.StorageError, match="not durable after"):
            probe.check()
    assert len(syncs) == 1
    go_on.set()
    monkeypatch.setattr(module, "INTERVAL_S", 0.0)
    monkeypatch.setattr(module, "TIMEOUT_S", 30.0)
    time.sleep(0.01)
    probe.check()
