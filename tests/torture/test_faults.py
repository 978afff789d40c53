"""Samples of what `make torture` does in full."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

import tlog
from tests.torture.faults import Injector
from tests.torture.fulldisk import CannotMountError, FullDisk
from tlog.storage.disk import Disk

EVERY = 13


@pytest.mark.parametrize("first", [True, False], ids=["first creation", "with entries"])
def test_each_call_fails_once(*, first: bool) -> None:
    """A failing call is reported with its file; nothing is signed until a recovery succeeded; then all goes on."""
    injector = Injector()
    injector.inject(first=first, every=EVERY)
    assert injector.faults > 20
    assert injector.failures == []


def test_full_disk() -> None:
    """On a full disk calls fail, earlier entries stand, and with room again everything goes on."""
    full = FullDisk()
    try:
        full.run(every=5)
    except CannotMountError as err:
        pytest.skip(f"nothing can be mounted here: {err}")
    assert full.failures == []
    assert set(full.refused) == {"append", "publish", "seal"}


def test_an_unforeseen_error_hangs_nobody(tmp_path: Path) -> None:
    """Where the helper thread meets an error that is not ours, this and all later callers get an error."""

    class Disaster(Disk):
        def write_many_at(self, fd: int, parts: Sequence[bytes], offset: int, path: Path) -> None:
            raise MemoryError(fd, parts, offset, path)

    before = set(threading.enumerate())
    with tlog.Ledger.create(tmp_path / "ledger", origin="torture.example.com", disk=Disaster()) as ledger:
        partition = ledger.partition("events")
        for _ in range(2):
            pending = partition.submit({"n": 1})
            assert isinstance(pending.exception(timeout=10), tlog.CommitUnknownError)
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name == "tlog-writer"]
