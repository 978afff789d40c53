"""What must hold of a ledger after a crash, whatever the crash left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import tlog
from tests.torture.faultdisk import UserDisk
from tlog.reader import TileReader
from tlog.storage.checkpoints import SignerRecord
from tlog.tile import TILE_WIDTH

ORIGIN = "torture.example.com"
NAME = "events"
SEGMENT_ENTRIES = 256
PROVE_ALL_BELOW = 40
"""Entries of a log in which every entry is proved; in larger ones those at the edges of tiles and the last are."""


@dataclass
class Told:
    """What a user was told. created: that the ledger is there. entries: hash by seq. checkpoints: as returned."""

    created: bool
    entries: dict[int, bytes] = field(default_factory=dict)
    checkpoints: list[tlog.Checkpoint] = field(default_factory=list)


class Roots:
    """The root hash of every checkpoint ever seen, by size; two roots of one size are a split view."""

    def __init__(self) -> None:
        self._roots: dict[int, bytes] = {}

    def see(self, checkpoints: Iterable[tlog.Checkpoint]) -> None:
        """Take note of checkpoints. Raises: AssertionError where one contradicts another."""
        for checkpoint in checkpoints:
            known = self._roots.setdefault(checkpoint.tree_size, checkpoint.root_hash)
            assert known == checkpoint.root_hash, f"two checkpoints of size {checkpoint.tree_size}"


def open_ledger(path: Path, *, created: bool) -> tlog.Ledger:
    """Open a ledger, or create it where it was never said to be there."""
    try:
        return tlog.Ledger.open(path, disk=UserDisk())
    except tlog.NotFoundError:
        assert not created, "the ledger is gone"
        return tlog.Ledger.create(path, origin=ORIGIN, segment_entries=SEGMENT_ENTRIES, disk=UserDisk())


def checkpoints_on_disk(partition: tlog.Partition) -> list[tlog.Checkpoint]:
    """Return every checkpoint that the files of a partition hold, and the signer's record."""
    found = [partition.checkpoints.published(), SignerRecord(partition.files, partition.paths).read()]
    if partition.paths.checkpoints.exists():
        found += list(partition.checkpoints.all())
    return [checkpoint for checkpoint in found if checkpoint is not None]


def examine(path: Path, told: Told) -> None:
    """Recover a ledger and go on with it. Raises: AssertionError or tlog.Error where something does not hold."""
    roots = Roots()
    roots.see(told.checkpoints)
    with open_ledger(path, created=told.created) as ledger:
        partition = ledger.partition(NAME)
        require_published(partition, told)
        receipt = partition.append({"after": "the crash"})
        require_entries(partition, told, receipt)
        roots.see(checkpoints_on_disk(partition))
        checkpoint = partition.publish()
        assert checkpoint.tree_size == receipt.seq + 1
        roots.see([checkpoint, *checkpoints_on_disk(partition)])
        require_sound(partition, [*told.checkpoints, checkpoint])
        if partition.seal().segments:
            require_sound(partition, [*told.checkpoints, checkpoint])
        require_proofs(partition, told.entries)
    with tlog.Ledger.open(path) as ledger:
        again = ledger.partition(NAME).append({"after": "all that"})
        assert again.seq == receipt.seq + 1, "the chain does not go on"


def require_published(partition: tlog.Partition, told: Told) -> None:
    """Before anybody recovers: the published checkpoint is none older than was told, and its tree can be fetched."""
    published = partition.checkpoints.published() if partition.exists else None
    size = 0 if published is None else published.tree_size
    assert size >= max((signed.tree_size for signed in told.checkpoints), default=0), "a published checkpoint is gone"
    if published is not None:
        reader = TileReader(partition.tiles, published.tree_size, published.root_hash)
        for tile in range(-(-published.tree_size // TILE_WIDTH)):
            reader.leaf_hashes(tile)
        reader.edge()
        require_proofs(partition, told.entries)


def require_entries(partition: tlog.Partition, told: Told, receipt: tlog.Receipt) -> None:
    """Every entry that was told of is there as it was, and the new one comes after it."""
    entries = {entry.seq: entry for entry in partition.entries()}
    assert sorted(entries) == list(range(receipt.seq + 1)), "the entries have gaps"
    assert entries[receipt.seq].hash == receipt.hash, "the receipt is of another entry"
    for seq, expected in told.entries.items():
        assert seq < receipt.seq, f"entry {seq} was acknowledged and is gone"
        assert entries[seq].hash == expected, f"entry {seq} was acknowledged and is another now"


def require_sound(partition: tlog.Partition, kept: list[tlog.Checkpoint]) -> None:
    """The ledger is in order by its own account, and consistent with what was kept."""
    report = partition.fsck()
    assert not report.findings, f"fsck finds {report.findings[0].place}: {report.findings[0].message}"
    partition.verify(checkpoint=max(kept, key=lambda checkpoint: checkpoint.tree_size).raw)
    for old in kept:
        assert partition.checkpoint(old.tree_size).root_hash == old.root_hash


def require_proofs(partition: tlog.Partition, told: dict[int, bytes]) -> None:
    """Entries of the published tree are proved, each proof under the checkpoint that came with it."""
    size = partition.checkpoint().tree_size
    some = {0, 1, TILE_WIDTH - 1, TILE_WIDTH, size // 2, size - 2, size - 1}
    seqs = range(size) if size < PROVE_ALL_BELOW else sorted(seq for seq in some if 0 <= seq < size)
    policy = tlog.Policy.for_log(partition.vkey)
    for seq in seqs:
        verified = tlog.verify_proof(str(partition.prove(seq)), policy=policy)
        assert verified.entry is not None
        assert verified.entry.seq == seq
        assert told.get(seq, verified.entry.hash) == verified.entry.hash, f"the proof of {seq} is of another entry"
