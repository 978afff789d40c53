"""A disk that is really full: a small file system in memory, filled up to so many pages before each run."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tlog
from tests.torture.examine import NAME, ORIGIN, SEGMENT_ENTRIES, Told, examine
from tests.torture.powerloss import event

PAGE = 4096
SIZE = 4 << 20
PUBLISHED = 250


class CannotMountError(Exception):
    """This machine lets us mount nothing; the text says why."""


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """Yield the root of an empty file system of 4 MiB. Raises: CannotMountError."""
    mount = shutil.which("mount")
    if mount is None:
        raise CannotMountError("there is no mount command")
    with tempfile.TemporaryDirectory(prefix="tlog-full-") as name:
        command = [mount, "-t", "tmpfs", "-o", f"size={SIZE}", "tlog-full", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotMountError(done.stderr.strip())
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


@dataclass
class FullDisk:
    """Runs the scenario with ever more room. refused: calls that failed for want of it, by kind."""

    refused: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self, every: int = 1) -> None:
        """Leave 0, `every`, twice `every` ... pages free, until the scenario has all it needs."""
        with small_disk() as disk:
            free = 0
            is_complete = False
            while not is_complete:
                try:
                    is_complete = self._run(disk, free)
                except (AssertionError, tlog.Error, OSError) as err:
                    self.failures.append(f"{free} pages free: {type(err).__name__}: {err}")
                    return
                self.runs += 1
                free += every

    def _run(self, disk: Path, free: int) -> bool:
        """Do the scenario with so many free pages, and again with enough; return whether no call failed."""
        path, ballast = disk / "ledger", disk / "ballast"
        with tlog.Ledger.create(path, origin=ORIGIN, segment_entries=SEGMENT_ENTRIES) as ledger:
            partition = ledger.partition(NAME)
            bulk = partition.append_many(event(n) for n in range(PUBLISHED))
            told = Told(True, {bulk.stop - 1: bulk.hash}, [partition.publish()])
            _fill(ballast, free)
            is_complete = True
            for count in (1, 20, 300):
                is_complete &= self._append(partition, told, count)
            is_complete &= self._publish(partition, told)
            is_complete &= self._seal(partition)
            ballast.unlink()
            partition.reopen()
            for seq, hash_ in told.entries.items():
                assert partition.entry(seq).hash == hash_, f"entry {seq} was acknowledged"
            assert self._append(partition, told, 5), "with room there is no append"
            assert self._publish(partition, told), "with room there is no publication"
        examine(path, told)
        shutil.rmtree(path)
        return is_complete

    def _append(self, partition: tlog.Partition, told: Told, count: int) -> bool:
        try:
            bulk = partition.append_many([event(n) for n in range(count)])
        except (tlog.StorageError, tlog.CommitUnknownError) as err:
            return self._refuse("append", err)
        told.entries[bulk.stop - 1] = bulk.hash
        return True

    def _publish(self, partition: tlog.Partition, told: Told) -> bool:
        try:
            told.checkpoints.append(partition.publish())
        except (tlog.StorageError, tlog.CommitUnknownError) as err:
            return self._refuse("publish", err)
        return True

    def _seal(self, partition: tlog.Partition) -> bool:
        try:
            partition.seal()
        except tlog.StorageError as err:
            return self._refuse("seal", err)
        return True

    def _refuse(self, kind: str, err: tlog.Error) -> bool:
        assert "No space left on device" in str(err), f"{kind} on a full disk: {err}"
        self.refused[kind] = self.refused.get(kind, 0) + 1
        return False


def _fill(ballast: Path, free: int) -> None:
    """Fill the disk with one file, up to so many pages."""
    room = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        file.write(bytes(max(room.f_bavail - free, 0) * PAGE))
