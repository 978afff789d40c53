"""R13: rotation, archives and restores that were taken for tampering, and tampering that was taken for them.

A declared removal of old entries ("front truncated") waits for declared pruning: so far every removal is undeclared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ledgers import NAME, QuickDisk, copied, create, make_ledger, opened
from tlog import Partition
from tlog.errors import Error


def test_r13_many_rotations_are_no_tampering(tmp_path: Path) -> None:
    """Twelve segment rolls, with publishing, sealing and reopening in between: always in order, against all kept."""
    partition = create(tmp_path, disk=QuickDisk())
    kept = []
    for number in range(12):
        partition.append_many({"event": number * 256 + n} for n in range(256))
        kept.append(partition.publish())
        if number % 4 == 3:
            partition.seal()
            partition.reopen()
    partition.append("in the thirteenth")
    for checkpoint in kept:
        report = partition.verify(checkpoint=checkpoint.raw)
        assert report.is_anchored
        assert report.entries == 12 * 256 + 1
    assert partition.fsck().findings == ()
    assert len(list(partition.paths.segments.glob("*.zst"))) == 12


@pytest.mark.parametrize("names", [[0], [0, 256], [256]], ids=str)
def test_r13_an_undeclared_removal_is_told_and_an_archived_segment_can_come_back(
    tmp_path: Path, names: list[int]
) -> None:
    """Old segments moved away: verify and fsck name the gap, nothing is signed; put back, all is in order again."""
    path = make_ledger(tmp_path / "l", [600])
    kept = opened(path).checkpoint()
    archive = tmp_path / "archive"
    archive.mkdir()
    segments = path / "partitions" / NAME / "segments"
    for first in names:
        (segments / f"{first:020d}.jsonl").rename(archive / f"{first:020d}.jsonl")
    actions: list[Callable[[Partition], object]] = [
        Partition.verify,
        lambda p: p.verify(checkpoint=kept.raw),
        lambda p: p.append("more"),
        lambda p: p.export(tmp_path / "site"),
    ]
    for action in actions:
        with pytest.raises(Error, match=r"segment is missing|entry|entries|\.jsonl: No such file"):
            action(opened(path, disk=QuickDisk()))
    assert not opened(path).fsck(repair=True).is_clean
    for file in archive.iterdir():
        file.rename(segments / file.name)
    partition = opened(path, disk=QuickDisk())
    assert partition.verify(checkpoint=kept.raw).is_anchored
    assert partition.fsck().findings == ()
    assert partition.append("more").seq == 600


def test_r13_archive_and_restore_of_the_whole(tmp_path: Path) -> None:
    """A ledger archived and restored elsewhere verifies, proves, and goes on."""
    path = make_ledger(tmp_path / "l", [600])
    kept = opened(path).checkpoint()
    opened(path).seal()
    partition = opened(copied(path, tmp_path / "elsewhere"), disk=QuickDisk())
    assert partition.verify(checkpoint=kept.raw).is_anchored
    assert partition.prove(300).checkpoint == kept
    assert partition.append("more").seq == 600
    assert partition.publish().tree_size == 601
