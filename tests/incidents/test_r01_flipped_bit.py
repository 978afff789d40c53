"""R1, Yeti 2022: one bit of one leaf hash flipped before signing, and a public log was lost for ever."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.ledgers import (
    NAME,
    ORIGIN,
    QuickDisk,
    StepClock,
    copied,
    create,
    files_of,
    flip,
    lines_of,
    make_ledger,
    opened,
    tree_of,
)
from tlog import Ledger, Partition, SigningKey, workers
from tlog.errors import CorruptLedgerError, SignatureError
from tlog.stretch import HASH_ONLY, STRETCH_ENTRIES, WRITE_TILES, Examined, Stretch
from tlog.workers import Workers

SIGNED, GROWN = 300, 900
"""The signed size, and the one to be signed: a full tile lies between them, and parts of two others."""


def statements(path: Path) -> dict[str, object]:
    """Return every file of a ledger that says what was signed."""
    return {name: seen for name, seen in files_of(path).items() if "checkpoint" in name or "keys" in name}


def flipped(value: Any) -> Any:
    """Return hashes with one bit of the last one flipped."""
    if isinstance(value, bytes):
        return bytes([value[0] ^ 0x10]) + value[1:]
    return [*value[:-1], flipped(value[-1])]


@dataclass
class Memory:
    """Memory that fails once: of a function's results, the one with this number has a flipped bit."""

    function: Callable[..., Any]
    fail_at: int | None = None
    results: int = field(default=0, init=False)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        self.results += 1
        value = self.function(*arguments)
        return flipped(value) if self.results - 1 == self.fail_at else value


def failing(patch: pytest.MonkeyPatch, place: str, fail_at: int | None) -> Memory:
    """Let the memory fail that holds results of the function `place`."""
    module, _, name = place.rpartition(".")
    memory = Memory(getattr(importlib.import_module(module), name), fail_at)
    patch.setattr(place, memory)
    return memory


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger that has signed 300 entries and holds 900."""
    return make_ledger(tmp_path_factory.mktemp("grown") / "l", [SIGNED], more=GROWN - SIGNED)


@pytest.mark.parametrize(
    "place",
    [
        "tlog.integrate.leaf_hash",  # of the last signed entry
        "tlog.integrate.leaf_hashes",  # in both computations of the root
        "tlog.integrate.perfect_root",  # of a full tile, second computation
        "tlog.tilebuilder.perfect_root",  # of full tiles, and of parts of the right edge
        "tlog.tree.node_hash",  # interior nodes, authentication of the right edge, folding it to the root
    ],
)
def test_r01_a_hash_flipped_in_memory_is_not_signed(grown: Path, tmp_path: Path, place: str) -> None:
    """Whichever result of a hash function has a flipped bit: refused, nothing is signed, and all is well afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        results = failing(patch, place, None)
        opened(copied(grown, tmp_path / "l"), disk=QuickDisk()).publish()
    assert results.results > 0
    for number in sorted({0, 1, results.results // 2, results.results - 1} & set(range(results.results))):
        path = copied(grown, tmp_path / "l")
        before = statements(path)
        partition = opened(path, disk=QuickDisk())
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, place, number)
            with pytest.raises(CorruptLedgerError):
                partition.publish()
        assert statements(path) == before, number
        assert partition.publish().root_hash == tree_of(lines_of(partition)).root(GROWN)
        assert partition.fsck().findings == ()
        partition.close()


def test_r01_the_right_edge_flipped_in_memory_is_not_signed(grown: Path, tmp_path: Path) -> None:
    """Any hash of the right edge with a flipped bit, after it was authenticated: refused."""
    place = "tlog.integrate.RightEdge"
    for number in range(SIGNED.bit_count()):
        path = copied(grown, tmp_path / "l")
        before = statements(path)
        partition = opened(path, disk=QuickDisk())
        with pytest.MonkeyPatch.context() as patch:
            real = importlib.import_module("tlog.integrate").RightEdge

            def edge(size: int, hashes: list[bytes], real: Any = real, number: int = number) -> Any:
                return real(size, [flipped(value) if at == number else value for at, value in enumerate(hashes)])

            patch.setattr(place, edge)
            with pytest.raises(CorruptLedgerError, match="memory or disk is failing; nothing was signed"):
                partition.publish()
        assert statements(path) == before
        assert partition.publish().tree_size == GROWN
        partition.close()


class FlippingDisk(QuickDisk):
    """A disk of which one read of a segment comes back with a flipped bit."""

    def __init__(self) -> None:
        self.fail_at: int | None = None
        self.reads = 0

    def read_at(self, fd: int, size: int, offset: int, path: str | Path) -> bytes:
        """Read, with a flipped bit in a digit of the last line or nowhere."""
        data = super().read_at(fd, size, offset, path)
        if str(path).endswith(".jsonl") and "checkpoints" not in str(path) and data:
            self.reads += 1
            if self.reads - 1 == self.fail_at:
                place = data.rindex(b'"event":') + len(b'"event":')
                data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        return data


def test_r01_bytes_flipped_between_disk_and_hash_are_not_signed(grown: Path, tmp_path: Path) -> None:
    """Whichever read of a segment has a flipped bit: either it was not needed, or signing is refused; never a lie."""
    path = copied(grown, tmp_path / "count")
    disk = FlippingDisk()
    partition = opened(path, disk=disk)
    partition.publish()
    reads, root = disk.reads, partition.checkpoint().root_hash
    refused = 0
    for number in range(reads):
        path = copied(grown, tmp_path / "l")
        before = statements(path)
        disk = FlippingDisk()
        disk.fail_at = number
        partition = opened(path, disk=disk)
        try:
            checkpoint = partition.publish()
        except CorruptLedgerError:
            refused += 1
            assert statements(path) == before, number
        else:
            assert checkpoint.root_hash == root, number
        partition.close()
        assert opened(path, disk=QuickDisk()).publish().root_hash == root
    assert refused >= 2  # at least the two computations of the root


def test_r01_a_flipped_signature_is_not_published(grown: Path, tmp_path: Path) -> None:
    """A bit flipped in the signature itself, or in the key: nobody gets to see it, and the next try is right."""
    path = copied(grown, tmp_path / "l")
    partition = opened(path, disk=QuickDisk())
    with pytest.MonkeyPatch.context() as patch:
        real = SigningKey.sign
        patch.setattr(SigningKey, "sign", lambda self, message: flipped(real(self, message)))
        with pytest.raises(SignatureError):
            partition.publish()
    assert partition.checkpoint().tree_size == SIGNED
    assert [checkpoint.tree_size for checkpoint in partition.checkpoints.all()] == [SIGNED]
    assert partition.publish().root_hash == tree_of(lines_of(partition)).root(GROWN)


def test_r01_a_workers_result_flipped_is_not_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker process hands over one tile's root with a flipped bit, in the first or the second computation."""
    monkeypatch.setattr(workers, "available_cores", lambda: 2)
    partition = Ledger.create(tmp_path, origin=ORIGIN).partition(NAME)
    partition.append("signed")
    partition.publish()
    partition.append_many(range(3 * STRETCH_ENTRIES))
    partition.reopen()  # what was examined while appending is forgotten
    before = statements(tmp_path)
    real = Workers.submit
    for mode in (WRITE_TILES, HASH_ONLY):
        altered: list[Stretch] = []

        def submit(
            self: Workers, stretch: Stretch, mode: str = mode, altered: list[Stretch] = altered
        ) -> Future[Examined | None]:
            future = real(self, stretch)
            if stretch.mode != mode or altered:
                return future
            examined = future.result()
            assert examined is not None
            altered.append(stretch)
            answer: Future[Examined | None] = Future()
            answer.set_result(examined._replace(roots=flipped(examined.roots)))
            return answer

        monkeypatch.setattr(Workers, "submit", submit)
        with pytest.raises(CorruptLedgerError, match="nothing was signed"):
            partition.publish()
        assert len(altered) == 1
        assert statements(tmp_path) == before


@pytest.mark.parametrize("where", ["nowhere", "noted", "roots", "again", "disk"])
def test_r01_a_bit_flipped_while_stretches_are_examined_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """What the writer noted, what a worker found in it or on disk, or the disk itself has one flipped bit.

    A flipped bit in what was noted makes the worker's result worthless: the disk is read twice instead, and what is
    signed is right. Flipped results are not signed. A flipped bit on disk is named.
    """
    monkeypatch.setattr(workers, "available_cores", lambda: 2)
    real, altered = Workers.submit, list[Stretch]()

    def submit(self: Workers, stretch: Stretch) -> Future[Examined | None]:
        if altered or not stretch.leaves:
            return real(self, stretch)
        altered.append(stretch)
        if where == "disk":
            flip(Path(stretch.ledger) / "partitions" / NAME / "segments" / f"{0:020d}.jsonl", 300_000)
        if where == "noted":
            stretch = stretch._replace(leaves=flipped(stretch.leaves))
        examined = real(self, stretch).result()
        assert (examined is None) == (where in {"noted", "disk"})
        if examined is not None and where in {"roots", "again"}:
            examined = examined._replace(**{where: flipped(getattr(examined, where))})
        answer: Future[Examined | None] = Future()
        answer.set_result(examined)
        return answer

    monkeypatch.setattr(Workers, "submit", submit)
    partition = create(tmp_path)
    partition.append_many(range(2 * STRETCH_ENTRIES + 5))
    assert [stretch.start for stretch in altered] == [0]
    if where == "disk":
        with pytest.raises(CorruptLedgerError) as caught:
            partition.publish()
        assert caught.value.seq is not None
        assert 0 < caught.value.seq < STRETCH_ENTRIES
        return
    if where in {"roots", "again"}:
        with pytest.raises(CorruptLedgerError, match="nothing was signed"):
            partition.publish()
    assert partition.publish().root_hash == tree_of(lines_of(partition)).root(2 * STRETCH_ENTRIES + 5)


def test_r01_a_flipped_bit_in_a_stored_tile_is_named(tmp_path: Path) -> None:
    """Each stored tile with a flipped bit: fsck names it, and so does the start where the tile is on the right edge."""
    source = make_ledger(tmp_path / "source", [600])
    tiles = [path.relative_to(source) for path in sorted((source / "partitions" / NAME / "tile").rglob("*"))]
    files = [tile for tile in tiles if (source / tile).is_file()]
    assert len(files) == 4
    edge = 0
    for tile in files:
        path = copied(source, tmp_path / "l")
        flip(path / tile, 77)
        partition = opened(path, disk=QuickDisk())
        findings = partition.fsck().findings
        assert [Path(finding.place).relative_to(path) for finding in findings] == [tile]
        if ".p/" in str(tile):
            edge += 1
            for action in (lambda p: p.append("more"), Partition.publish):
                with pytest.raises(CorruptLedgerError, match=str(tile.relative_to(f"partitions/{NAME}"))):
                    action(opened(path, disk=QuickDisk()))
        assert partition.fsck(repair=True).is_clean
        assert opened(path, disk=QuickDisk(), clock=StepClock()).append("more").seq == 600
    assert edge == 2


def test_r01_nothing_is_signed_over_a_tile_that_was_altered(tmp_path: Path) -> None:
    """A whole hash of the right edge exchanged on disk between two publications: the next signature is refused."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(300))
    partition.publish()
    partition.append_many(range(10))
    flip(tmp_path / "partitions" / NAME / "tile" / "1" / "000.p" / "1", 0)
    before = statements(tmp_path)
    with pytest.raises(CorruptLedgerError, match=r"tile/1/000\.p/1"):
        partition.publish()
    assert statements(tmp_path) == before
