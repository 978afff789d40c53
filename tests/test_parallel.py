"""Stretches examined by worker processes give what one process gives, and name the same first bad place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

import tlog
from tlog import workers
from tlog.errors import CorruptLedgerError, TileMismatchError
from tlog.storage.disk import Disk, Files
from tlog.stretch import HASH_ONLY, STRETCH_ENTRIES, examine, stretch_of, whole_stretches

SEGMENT = 1 << 16
ENTRIES = 3 * SEGMENT + 300


class OwnDisk(Disk):
    """The real file system as a class of the tests: workers don't know it, so one process does the work."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A ledger that was published at an odd size first, then grew by more than two stretches."""
    path = tmp_path_factory.mktemp("parallel") / "ledger"
    with tlog.Ledger.create(path, origin="audit.example.com") as ledger:
        users = ledger.partition("users")
        users.append_many(range(100))
        users.publish()
        users.append_many(range(ENTRIES - 100))
        users.publish()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def copied(grown: Path, tmp_path: Path) -> Path:
    """A copy of that ledger to damage."""
    shutil.copytree(grown, tmp_path / "ledger")
    return tmp_path / "ledger"


def segment(ledger: Path, number: int) -> Path:
    """Return the path of the segment with this number."""
    return ledger / f"partitions/users/segments/{number * SEGMENT:020d}.jsonl"


def alter(path: Path, offset: int) -> None:
    """Flip one bit."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def test_workers_publish_the_tree_that_one_process_publishes(grown: Path, tmp_path: Path) -> None:
    """Tiles and root hash do not depend on who computed them, and all entries verify either way."""
    assert workers.available_cores() == 1 or workers.workers() is not None
    report = tlog.Ledger.open(grown).partition("users").verify()
    alone = tlog.Ledger.open(grown, disk=OwnDisk()).partition("users")
    assert alone.verify() == report
    assert report.entries == ENTRIES
    copy = tlog.Ledger.create(tmp_path / "alone", origin="audit.example.com", disk=OwnDisk())
    shutil.copytree(grown / "partitions/users/segments", copy.path / "partitions/users/segments")
    assert copy.partition("users").publish().root_hash == cast("tlog.Checkpoint", report.published).root_hash
    tiles = sorted(p.relative_to(copy.path) for p in (copy.path / "partitions/users/tile").rglob("*") if p.is_file())
    assert len(tiles) > ENTRIES // 256
    for tile in tiles:
        assert (copy.path / tile).read_bytes() == (grown / tile).read_bytes()


@pytest.mark.parametrize("number", [0, 2, 3])
def test_a_flipped_bit_in_any_stretch_is_named(copied: Path, number: int) -> None:
    """The first bad entry is named, whichever process found it."""
    path = segment(copied, number)
    line = path.read_bytes().split(b"\n")[200]
    alter(path, sum(len(text) + 1 for text in path.read_bytes().split(b"\n")[:200]) + line.index(b'"data":') + 7)
    with pytest.raises(CorruptLedgerError, match="hash is not the hash") as caught:
        tlog.Ledger.open(copied).partition("users").verify()
    assert caught.value.seq == number * SEGMENT + 200


def test_a_replaced_stretch_does_not_join(copied: Path) -> None:
    """A segment that is a chain in itself, but not the continuation, is refused at its first entry."""
    other = tlog.Ledger.create(copied.parent / "other", origin="audit.example.com").partition("users")
    other.append_many(str(number) for number in range(2 * SEGMENT))
    segment(copied, 1).unlink()
    shutil.copy(segment(other.paths.ledger, 1), segment(copied, 1))
    with pytest.raises(CorruptLedgerError, match="prev_hash") as caught:
        tlog.Ledger.open(copied).partition("users").verify()
    assert caught.value.seq == SEGMENT


@pytest.mark.parametrize("tile", ["0/300", "1/001", "2/000.p/3"])
def test_a_flipped_bit_in_a_tile_is_named(copied: Path, tile: str) -> None:
    """Tiles of stretches and the tiles above them are compared."""
    path = copied / "partitions/users/tile" / tile
    alter(path, 5)
    with pytest.raises(TileMismatchError) as caught:
        tlog.Ledger.open(copied).partition("users").verify()
    assert caught.value.tile == f"tile/{tile}"


def test_a_damaged_stretch_is_not_signed(copied: Path) -> None:
    """Publishing names the first bad entry and signs nothing, when workers did the reading."""
    users = tlog.Ledger.open(copied).partition("users")
    before = users.checkpoint()
    users.append_many(range(3 * SEGMENT))
    users.reopen()  # what was examined while appending is forgotten
    path = segment(copied, 4)
    alter(path, path.stat().st_size // 2)
    with pytest.raises(CorruptLedgerError) as caught:
        users.publish()
    assert caught.value.seq is not None
    assert caught.value.seq // SEGMENT == 4
    assert users.checkpoint() == before


def test_workers_that_cannot_work_are_replaced(grown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies or does not start leaves the work to the caller; the next one is started anew."""
    users = tlog.Ledger.open(grown).partition("users")
    stretch = stretch_of(users.paths, 1 << 16, 0, HASH_ONLY)
    pool = workers.Workers(1)
    assert pool.submit(stretch).result() == examine(stretch)
    pool._processes[0].kill()
    assert pool.submit(stretch).result() in (None, examine(stretch))
    assert pool.submit(stretch).result() == examine(stretch)
    missing = stretch._replace(start=1 << 30, stop=(1 << 30) + STRETCH_ENTRIES)
    assert pool.submit(missing).result() is None
    pool.close()
    pool = workers.Workers(1)
    monkeypatch.setattr(workers, "workers", lambda: pool)
    monkeypatch.setattr("sys.executable", os.devnull)
    assert list(workers.examine_all(Files(), [stretch, stretch])) == [None, None]
    pool.close()


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, 2, (0, 2)),
        (0, 1, (0, 0)),
        (1, 3, None),
    ],
)
def test_only_whole_stretches_are_sent(start: int, stop: int, expected: tuple[int, int] | None) -> None:
    """Less than two whole stretches are not worth a process; a ragged start or end stays with the caller."""
    size = STRETCH_ENTRIES
    if expected is None:
        assert whole_stretches(start, stop * size + 5) == (size, stop * size)
        assert whole_stretches(start, 2 * size + 5) == (start, start)
    else:
        assert whole_stretches(start * size, stop * size) == (expected[0] * size, expected[1] * size)
