"""R14: the end of a log cut off, which a hash chain alone cannot show.

Against a witness instead of a kept checkpoint: with the witness network.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.ledgers import NAME, QuickDisk, copied, make_ledger, make_writable, opened
from tlog import Partition
from tlog.errors import CorruptLedgerError, Error, InconsistentLogError, VerificationError

ENTRIES = 600
CUTS = {"the last line": 599, "the last 88 lines": 512, "the last segment": 512, "to one line": 1, "all segments": 0}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with checkpoints of 200 and 600 entries."""
    return make_ledger(tmp_path_factory.mktemp("source") / "l", [200, ENTRIES])


@pytest.fixture
def cut(source: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy with its end cut off, the durable mark as well."""
    size = CUTS[request.param]
    path = copied(source, tmp_path / "l")
    for segment in sorted((path / "partitions" / NAME / "segments").iterdir()):
        first = int(segment.name.partition(".")[0])
        lines = segment.read_bytes().splitlines(keepends=True)[: max(size - first, 0)]
        make_writable(segment).write_bytes(b"".join(lines))
        if not lines and (request.param != "the last 88 lines"):
            segment.unlink()
    (path / "partitions" / NAME / "lock").unlink()
    return path


def rewind(path: Path) -> Partition:
    """Do what an operator does who has the key: forget what was signed, make the log anew from what is left."""
    partition = opened(path, disk=QuickDisk())
    for file in (partition.paths.checkpoint, partition.paths.checkpoints, partition.paths.signed):
        file.unlink()
    shutil.rmtree(partition.paths.root / "tile")
    partition.publish()
    return partition


@pytest.mark.parametrize("cut", CUTS, indirect=True)
def test_r14_cut_with_the_checkpoint_in_place(source: Path, cut: Path) -> None:
    """Found with the ledger's own checkpoint already; nothing is appended or signed."""
    kept = opened(source).checkpoint(200)
    for checkpoint in (None, kept.raw):
        with pytest.raises(CorruptLedgerError, match="entries are missing: 600 are covered"):
            opened(cut).verify(checkpoint=checkpoint)
    for action in (lambda p: p.append("more"), Partition.publish):
        with pytest.raises(CorruptLedgerError):
            action(opened(cut, disk=QuickDisk()))


@pytest.mark.parametrize("cut", CUTS, indirect=True)
def test_r14_cut_with_the_checkpoint_rewound(source: Path, cut: Path) -> None:
    """With all of the ledger's own statements made anew only a kept checkpoint tells; without one: not anchored."""
    kept = opened(source).checkpoint()
    partition = rewind(cut)
    report = partition.verify()
    assert not report.is_anchored
    assert report.kept is None
    with pytest.raises(VerificationError, match="600"):
        partition.verify(checkpoint=kept.raw)
    # Grown to the old size again, with other entries: a contradiction between two signed statements.
    partition.append_many(["other"] * (ENTRIES - partition.size))
    partition.publish()
    assert not partition.verify().is_anchored
    with pytest.raises(InconsistentLogError) as caught:
        partition.verify(checkpoint=kept.raw)
    assert caught.value.old_note == kept.raw


def test_r14_the_whole_partition_deleted(source: Path, tmp_path: Path) -> None:
    """The partition's directory gone: reading says so, and with the key still there nothing begins at 0 again."""
    path = copied(source, tmp_path / "l")
    shutil.rmtree(path / "partitions" / NAME)
    for action in (Partition.verify, lambda p: p.append("from the start"), Partition.publish):
        with pytest.raises(Error):
            action(opened(path, disk=QuickDisk()))
