"""R6, Raio and Azul 2025: two storage failures, the second in the recovery from the first, and the log went on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ledgers import FaultyDisk, copied, files_of, make_ledger, opened
from tlog import Partition
from tlog.errors import Error, StorageError


class FailingDisk(FaultyDisk):
    """A disk on which reading can fail too."""

    readable = True

    def read_at(self, fd: int, size: int, offset: int, path: str | Path) -> bytes:
        """Read, or fail."""
        if not self.readable:
            raise StorageError(f"{path}: Input/output error, injected into read")
        return super().read_at(fd, size, offset, path)


@pytest.mark.parametrize("step", ["write_many_at", "sync 0", "write_at lock"])
def test_r06_a_failed_write_and_a_failed_recovery(tmp_path: Path, step: str) -> None:
    """A write or sync fails, then so does every read of recovery: no call works, nothing is signed, until one does."""
    make_ledger(tmp_path, [5])
    disk = FailingDisk()
    partition = opened(tmp_path, disk=disk)
    partition.append("acknowledged")
    before = len(disk.log)
    partition.append("acknowledged too")
    offset = next(number for number, name in enumerate(disk.log[before:]) if name.startswith(step))
    disk.fail_at = len(disk.log) + offset
    with pytest.raises(Error, match=r"injected into .*unknown"):
        partition.append("unknown")
    disk.readable = False
    statements = {name: seen for name, seen in files_of(tmp_path).items() if "checkpoint" in name or "keys" in name}
    calls: list[Callable[[Partition], object]] = [
        Partition.reopen,
        lambda p: p.append(1),
        lambda p: p.submit(1).result(),
        Partition.publish,
    ]
    for call in (*calls, lambda p: p.append_many([1, 2]), *calls):
        with pytest.raises(Error):
            call(partition)
    assert statements == {name: seen for name, seen in files_of(tmp_path).items() if name in statements}
    disk.readable = True
    partition.reopen()
    stored = [entry.data for entry in partition.entries(5)]
    assert stored in (["acknowledged", "acknowledged too"], ["acknowledged", "acknowledged too", "unknown"])
    assert partition.publish().tree_size == 5 + len(stored)
    assert partition.fsck().findings == ()


def test_r06_a_failed_publication_and_a_failed_reload(tmp_path: Path) -> None:
    """Each step of publishing fails once, then reading fails: in the end there is one line of checkpoints."""
    template = make_ledger(tmp_path / "template", [5], more=300)
    disk = FailingDisk()
    opened(copied(template, tmp_path / "l"), disk=disk).publish()
    for number in range(len(disk.log)):
        path = copied(template, tmp_path / "l")
        disk = FailingDisk(number)
        partition = opened(path, disk=disk)
        with pytest.raises(Error, match="injected into"):
            partition.publish()
        disk.readable = False
        for _ in range(2):
            with pytest.raises(Error, match=r"injected into read|unknown|open the partition again"):
                partition.publish()
        disk.readable = True
        partition.reopen()
        assert partition.publish().tree_size == 305
        assert [checkpoint.tree_size for checkpoint in partition.checkpoints.all()] == [5, 305]
        assert partition.fsck().findings == ()
        partition.close()
