"""R5, Oak 2022: a migration left rows out, and their indexes were given to other entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import NAME, QuickDisk, files_of, make_ledger, make_writable, opened
from tlog.errors import CorruptLedgerError, Error


def segment(path: Path, first: int) -> Path:
    """Return a plain segment file."""
    return make_writable(path / "partitions" / NAME / "segments" / f"{first:020d}.jsonl")


def without_line(path: Path, number: int) -> None:
    """Delete one line of a file."""
    lines = path.read_bytes().split(b"\n")
    del lines[number]
    path.write_bytes(b"\n".join(lines))


@pytest.mark.parametrize("mark", ["kept", "gone"])
def test_r05_the_index_of_a_deleted_line_is_not_used_again(tmp_path: Path, mark: str) -> None:
    """A middle line of the growing segment is gone, and its event comes again: refused, the gap is named."""
    path = make_ledger(tmp_path, [300], more=20)
    without_line(segment(path, 256), 310 - 256)
    if mark == "gone":
        (path / "partitions" / NAME / "lock").unlink()
    before = files_of(path / "partitions" / NAME / "segments")
    with pytest.raises(CorruptLedgerError, match="entry 310 "):
        opened(path, disk=QuickDisk()).append({"event": 310})
    with pytest.raises(CorruptLedgerError, match="entry 310 "):
        opened(path, disk=QuickDisk()).publish()
    assert files_of(path / "partitions" / NAME / "segments") == before


def test_r05_a_line_deleted_long_ago_is_no_free_index(tmp_path: Path) -> None:
    """A middle line of an old segment is gone: new entries go to the end, and reading and verifying name the gap."""
    path = make_ledger(tmp_path, [600])
    without_line(segment(path, 0), 100)
    partition = opened(path, disk=QuickDisk())
    assert partition.append({"event": 100}).seq == 600
    for action in (lambda: partition.entry(100), lambda: partition.prove(100), partition.verify):
        with pytest.raises(Error, match="100"):
            action()
    assert 100 in [finding.seq for finding in partition.fsck().findings]


@pytest.mark.parametrize("damage", ["a line left out", "a line twice", "a segment left out", "lines exchanged"])
def test_r05_exporting_and_sealing_compare_count_and_root(tmp_path: Path, damage: str) -> None:
    """What was damaged is neither exported as a site with a checkpoint, nor sealed: the plain segment stays."""
    path = make_ledger(tmp_path / "l", [600])
    file = segment(path, 256)
    lines = file.read_bytes().split(b"\n")
    if damage == "a line left out":
        del lines[10]
    elif damage == "a line twice":
        lines.insert(10, lines[10])
    else:
        lines[10], lines[11] = lines[11], lines[10]
    file.write_bytes(b"\n".join(lines))
    if damage == "a segment left out":
        file.unlink()
    partition = opened(path, disk=QuickDisk())
    with pytest.raises(Error):
        partition.export(tmp_path / "site")
    assert not (tmp_path / "site" / "checkpoint").exists()
    with pytest.raises(Error):
        partition.seal()
    assert file.exists() == (damage != "a segment left out")
    assert not (file.parent / f"{256:020d}.jsonl.zst").exists()


def test_r05_the_whole_way_keeps_count_and_root(tmp_path: Path) -> None:
    """Sealed, exported, copied, opened again: as many entries, the same root, every line the same."""
    path = make_ledger(tmp_path / "l", [600])
    partition = opened(path, disk=QuickDisk())
    checkpoint = partition.publish()
    lines = [entry.raw for entry in partition.entries()]
    assert partition.seal().segments == 2
    assert partition.export(tmp_path / "site").tree_size == 600
    assert (tmp_path / "site" / "checkpoint").read_bytes() == checkpoint.raw
    again = opened(path, disk=QuickDisk())
    assert [entry.raw for entry in again.entries()] == lines
    assert again.verify(checkpoint=checkpoint.raw).entries == 600
