"""S3, Go CVE-2026-56865: of tiles that a proof shares, some were accepted unverified."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import NAME, QuickDisk, StepClock, flip
from tlog import Ledger, Policy, verify_proof
from tlog.errors import Error
from tlog.tile import Tile, edge_tiles


@pytest.mark.parametrize("size", [300, 66_311])
def test_s03_each_tile_on_the_way_is_authenticated(tmp_path: Path, size: int) -> None:
    """Sizes with many peaks in few tiles: each tile of a proof with a flipped bit is named, and nothing is cached."""
    ledger = Ledger.create(tmp_path, origin="audit.example.com", disk=QuickDisk(), clock=StepClock())
    partition = ledger.partition(NAME)
    partition.append_many(range(size))
    partition.publish()
    policy = Policy.for_log(partition.vkey)
    seqs = [0, 255, 256, size // 2, size - 1]
    good = [str(proof) for proof in partition.prove_many(seqs)]
    full = [Tile(0, seq // 256) for seq in seqs if (seq // 256 + 1) * 256 <= size]
    upper = [Tile(1, index) for index in range((size >> 8) // 256)]
    tiles = sorted({*full, *upper, *edge_tiles(size)})
    assert len(tiles) >= 3
    for tile in tiles:
        reader = Ledger.open(tmp_path).partition(NAME)
        path = partition.paths.root / tile.path
        for bit in (0, path.stat().st_size * 8 - 1):
            flip(path, bit)
            refusals = []
            for seq, right in zip(seqs, good, strict=True):
                try:
                    assert str(reader.prove(seq)) == right
                except Error as err:
                    refusals.append(str(err))
            assert refusals
            assert all(tile.path in text for text in refusals)
            flip(path, bit)
            assert [str(reader.prove(seq)) for seq in seqs] == good  # what was refused was not kept either
            reader = Ledger.open(tmp_path).partition(NAME)
    for seq, proof in zip(seqs, good, strict=True):
        assert verify_proof(proof, policy=policy).entry.seq == seq
