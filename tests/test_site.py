from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import QuickDisk, create
from tlog.errors import CorruptLedgerError, NotFoundError, TileMismatchError
from tlog.partition import Partition
from tlog.tile import TILE_WIDTH, Bundle, Tile

SIZES = (0, 1, 5, 255, 256, 300, 511, 700)
PLACES: list[Tile | Bundle] = [
    *(Tile(level, index, width) for level in (0, 1, 2, 63) for index in range(4) for width in range(1, TILE_WIDTH + 1)),
    *(Bundle(index, width) for index in range(4) for width in range(1, TILE_WIDTH + 1)),
]


def grown(path: Path, sizes: tuple[int, ...] = SIZES) -> Partition:
    """A partition with a checkpoint at each of these sizes, exported after each."""
    partition = create(path / "ledger", disk=QuickDisk())
    for size in sizes:
        partition.append_many(range(size - (partition.size if partition.exists else 0)))
        partition.publish()
        partition.export(path / "site")
    return partition


@pytest.mark.parametrize("sealed", [False, True])
def test_a_site_has_what_was_exported_and_nothing_else(tmp_path: Path, sealed: bool) -> None:
    """Of all places and widths, those that exports at each signed size wrote are there, byte for byte."""
    partition = grown(tmp_path)
    if sealed:
        assert partition.seal().segments == 2
    site = partition.site
    count = 0
    for place in PLACES:
        file = tmp_path / "site" / place.path
        if file.is_file():
            assert site.read(place) == file.read_bytes()
            count += 1
        else:
            with pytest.raises(NotFoundError):
                site.read(place)
    assert count == sum(1 for file in (tmp_path / "site" / "tile").rglob("*") if file.is_file())


def test_what_is_signed_and_not_published_is_not_there(tmp_path: Path) -> None:
    """A checkpoint that only the record has implies nothing yet: neither tiles nor proofs."""
    partition = grown(tmp_path, (3, 7))
    old = partition.checkpoint(3)
    partition.checkpoints.publish(old)
    assert partition.site.checkpoint() == old
    assert len(partition.site.read(Tile(0, 0, 3))) == 3 * 32
    for place in (Tile(0, 0, 7), Bundle(0, 7)):
        with pytest.raises(NotFoundError):
            partition.site.read(place)
    for ask in (lambda: partition.prove(1, 7), lambda: partition.prove(5), lambda: partition.prove_consistency(3, 7)):
        with pytest.raises(NotFoundError):
            ask()


def test_proofs_at_sizes_that_were_signed(tmp_path: Path) -> None:
    """A proof can be under an earlier checkpoint, and under no other size."""
    partition = grown(tmp_path, (3, 7))
    assert partition.prove(2, 3).checkpoint == partition.checkpoint(3)
    assert partition.prove(2, 7).format() == partition.prove(2).format()
    for seq, size in ((3, 3), (2, 5), (2, 8)):
        with pytest.raises(NotFoundError):
            partition.prove(seq, size)


def test_damaged_files_are_not_given_out(tmp_path: Path) -> None:
    """An altered entry, an altered tile and a missing tile are named as damage; none of their bytes comes out."""
    partition = grown(tmp_path, (300,))
    partition.close()
    segment = partition.paths.plain(0)
    segment.write_bytes(segment.read_bytes().replace(b'"data":17,', b'"data":18,'))
    with pytest.raises(CorruptLedgerError, match="not the one in the tree"):
        partition.site.read(Bundle(0))
    tile = partition.paths.root / Tile(0, 0).path
    good = tile.read_bytes()
    tile.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    fresh = create_again(partition)
    with pytest.raises(TileMismatchError):
        fresh.site.read(Tile(0, 0))
    tile.unlink()
    with pytest.raises(CorruptLedgerError, match="missing"):
        create_again(partition).site.read(Tile(0, 0))


def create_again(partition: Partition) -> Partition:
    """The partition without anything that the object remembers."""
    return Partition(partition.files, partition.paths, partition.origin, partition.segments.segment_entries)
