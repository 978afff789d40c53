"""R8, DigiCert and Sectigo 2025: readers exhausted the log, or were punished for its errors.

Quotas, and limits on what one request reads, are tested with the server.
"""

from __future__ import annotations

import fcntl
import tracemalloc
from pathlib import Path

from tests.ledgers import QuickDisk, create, opened


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
