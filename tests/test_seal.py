from __future__ import annotations

import contextlib
import io
import shutil
import stat
from pathlib import Path

import pytest
import zstandard

from tests.ledgers import FaultyDisk, QuickDisk, copied, create, files_of, lines_of, make_ledger, make_writable, opened
from tests.ledgers import tree_of as naive_tree
from tlog import Partition
from tlog.errors import CommitUnknownError, CorruptLedgerError, Error, NotFoundError, StorageError, TileMismatchError
from tlog.storage.sealed import Manifest


@pytest.fixture(scope="module")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ledger(tmp_path_factory.mktemp("template") / "l", [100, 600], more=300)


@pytest.fixture
def path(_template: Path, tmp_path: Path) -> Path:
    """A ledger of 900 entries in segments of 256, of which 600 are published and none sealed."""
    return copied(_template, tmp_path / "l")


def names(partition: Partition) -> list[str]:
    """Return the names in the directory of segments, without their zeros."""
    return [path.name.lstrip("0") or "0" for path in sorted(partition.paths.segments.iterdir())]


def test_sealing(path: Path) -> None:
    """Complete published segments are compressed, read-only, and read like before; others stay plain."""
    partition = opened(path)
    lines = lines_of(partition)
    before = sum(partition.paths.plain(first).stat().st_size for first in (0, 256))
    report = partition.seal()
    sealed = [partition.paths.sealed(first) for first in (0, 256)]
    assert (report.segments, report.size_before) == (2, before)
    assert report.size_after == sum(file.stat().st_size for file in sealed) < before / 2
    assert names(partition) == [".jsonl.zst", ".manifest", "256.jsonl.zst", "256.manifest", "512.jsonl", "768.jsonl"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in sealed} == {0o444}
    assert [entry.raw for entry in partition.entries()] == lines
    assert partition.verify().entries == 900
    assert partition.fsck().findings == ()
    assert partition.prove(17).extra == lines[17]
    assert partition.append(1).seq == 900


def test_the_frames_are_the_lines(path: Path) -> None:
    """Decompressing a sealed file as a stream, as zstdcat does, prints the segment's JSONL; each frame is 256 lines."""
    partition = opened(path)
    plain = partition.paths.plain(256).read_bytes()
    partition.seal()
    raw = partition.paths.sealed(256).read_bytes()
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw), read_across_frames=True)
    assert reader.read() == plain
    parameters = zstandard.get_frame_parameters(raw)
    assert (parameters.content_size, parameters.has_checksum) == (len(plain), True)


def test_the_manifest(path: Path) -> None:
    """The manifest says what the segment holds, in every field."""
    partition = opened(path)
    lines, entries = lines_of(partition), list(partition.entries())
    partition.seal()
    manifest = Manifest.decode(partition.paths.manifest(256).read_bytes(), "manifest")
    tree = naive_tree(lines)
    assert (manifest.first, manifest.count) == (256, 256)
    assert (manifest.prev_hash, manifest.last_hash) == (entries[255].hash, entries[511].hash)
    assert manifest.root_hash == tree.mth(256, 512)
    assert (manifest.first_ts, manifest.last_ts) == (entries[256].ts, entries[511].ts)
    assert manifest.size == partition.paths.sealed(256).stat().st_size
    assert manifest.frames == (0,)


def test_sealing_twice(path: Path) -> None:
    """A second sealing finds nothing to do and touches no file; a later one takes what was published since."""
    partition = opened(path)
    partition.seal()
    before = files_of(path, times=True)
    assert partition.seal().segments == 0
    assert files_of(path, times=True) == before
    partition.publish()
    assert partition.seal().segments == 1
    assert names(partition)[-1] == "768.jsonl"


def test_two_that_seal_the_same(path: Path) -> None:
    """Sealing is deterministic: two copies give the same bytes."""
    other = copied(path, path.parent / "other")
    opened(path).seal()
    opened(other).seal()
    assert files_of(path) == files_of(other)


def test_unpublished_segments_stay_plain(tmp_path: Path) -> None:
    """A complete segment that no checkpoint covers completely is not sealed; without a checkpoint nothing is."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(255))
    with pytest.raises(NotFoundError, match="tlog publish"):
        partition.seal()
    partition.publish()
    partition.append_many(range(300))
    assert partition.seal().segments == 0
    partition.publish()
    assert partition.seal().segments == 2


def test_all_sealed(tmp_path: Path) -> None:
    """A partition whose last segment is sealed opens, verifies and goes on in a new segment."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(512))
    partition.publish()
    assert partition.seal().segments == 2
    partition.close()
    for lock in (True, False):
        if not lock:
            partition.paths.lock.unlink()
        partition = opened(tmp_path)
        assert partition.size == 512
        partition.verify()
        partition.close()
    assert opened(tmp_path).append("on").seq == 512


@pytest.mark.parametrize("damage", ["byte", "line", "chain", "tile"])
def test_a_damaged_segment_is_not_sealed(path: Path, damage: str) -> None:
    """A segment that is not what was signed stays as it is, and so do those after it; nothing reads a sealed one."""
    partition = opened(path)
    file = partition.paths.plain(256)
    raw = file.read_bytes()
    if damage == "byte":
        raw = raw.replace(b'"event":300', b'"event":301')
    elif damage == "line":
        raw = raw[: raw.index(b'{"seq":300')] + raw[raw.index(b'{"seq":301') :]
    elif damage == "chain":  # a segment of another ledger, which is in order by itself
        shutil.rmtree(path.parent / "other", ignore_errors=True)
        other = create(path.parent / "other", disk=QuickDisk())
        other.append_many({"other": number} for number in range(600))
        other.close()
        raw = other.paths.plain(256).read_bytes()
    else:
        tile = partition.tiles.root / "tile/1/000.p/2"
        tile.write_bytes(tile.read_bytes()[::-1])
    make_writable(file).write_bytes(raw)
    with pytest.raises((CorruptLedgerError, NotFoundError, TileMismatchError)):
        opened(path).seal()
    assert file.read_bytes() == raw
    assert not partition.paths.sealed(256).exists()
    assert not partition.paths.manifest(256).exists()
    assert partition.paths.plain(0).exists() == (damage == "tile")


def test_what_a_crash_leaves(path: Path) -> None:
    """With both files there the plain one counts, sealing goes on, and fsck finds nothing wrong meanwhile."""
    before = opened(path)
    plain = before.paths.plain(0).read_bytes()
    before.seal()
    before.close()
    for sealed in (before.paths.sealed(0).read_bytes(), b"", b"half a frame"):
        before.paths.plain(0).write_bytes(plain)
        make_writable(before.paths.sealed(0)).write_bytes(sealed)
        partition = opened(path)
        assert [entry.seq for entry in partition.entries()] == list(range(900))
        assert partition.verify().entries == 900
        assert partition.fsck().findings == ()
        assert partition.seal().segments == 1
        assert not before.paths.plain(0).exists()
        assert partition.verify().entries == 900
        partition.close()


@pytest.mark.parametrize("mode", ["not done", "half done", "done"])
def test_every_failing_operation(path: Path, mode: str) -> None:
    """Whichever operation of sealing fails: no entry is lost, and sealing again does the rest."""
    number = 0
    while True:
        ledger = copied(path, path.parent / "copy")
        disk = FaultyDisk(number, mode)
        partition = opened(ledger, disk=disk)
        with contextlib.suppress(StorageError, CommitUnknownError):
            partition.seal()
        partition.close()
        if len(disk.log) <= number:
            break
        again = opened(ledger, disk=QuickDisk())
        assert [entry.seq for entry in again.entries()] == list(range(900)), disk.log[number]
        assert again.verify().entries == 900
        again.seal()
        assert again.fsck(repair=True).is_clean
        assert again.fsck().findings == ()
        assert not again.paths.plain(0).exists()
        assert not again.paths.plain(256).exists()
        again.close()
        number += 1
    assert number > 10


@pytest.mark.parametrize("how", ["gone", "empty", "garbage", "of another segment"])
def test_the_manifest_is_derived(path: Path, how: str) -> None:
    """A manifest that is gone or wrong is found by fsck, and made again from the frames, byte for byte."""
    partition = opened(path)
    partition.seal()
    file = partition.paths.manifest(0)
    good = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        other = partition.paths.manifest(256).read_bytes()
        file.write_bytes({"empty": b"", "garbage": b"x" * 100_000, "of another segment": other}[how])
    assert partition.entry(300).seq == 300
    with pytest.raises(Error):
        partition.entry(3)
    report = partition.fsck()
    assert (report.findings[0].place, report.findings[0].is_repairable) == (str(file), True)
    assert partition.fsck(repair=True).findings
    assert file.read_bytes() == good
    assert partition.fsck().findings == ()
    assert partition.entry(3).seq == 3
