"""The nine invariants of the design, one test each. docs/testing.md says which tests fail when one is broken."""

from __future__ import annotations

import fcntl
import hashlib
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import tlog
from tests.ledgers import (
    NAME,
    FaultyDisk,
    QuickDisk,
    copied,
    create,
    files_of,
    flip,
    lines_of,
    make_ledger,
    make_writable,
    opened,
    tree_of,
)
from tlog import Checkpoint, Partition, Policy
from tlog import integrate as integrate_module
from tlog.errors import CommitUnknownError, CorruptLedgerError, Error, TileMismatchError
from tlog.hashing import leaf_hashes
from tlog.reader import TileReader
from tlog.storage.disk import Disk, FilePath


@pytest.fixture(autouse=True)
def _no_test_hangs() -> Iterator[None]:
    """End a test that waits for ever with an error."""

    def stop(_number: int, _frame: object) -> None:
        raise TimeoutError("the test hangs")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)


class WatchedDisk(Disk):
    """The real disk. Notes which files and names are not durable yet, and the order of what is done."""

    def __init__(self) -> None:
        self.unsynced: set[Path] = set()
        self.unnamed: set[Path] = set()
        self.log: list[str] = []
        self.read = 0
        self.on_rename: Callable[[Path, Path], None] | None = None

    def open(self, path: FilePath, flags: int, mode: int = 0o644) -> int:
        """Open; a file that was not there needs its name synced."""
        if not Path(path).exists():
            self.unnamed.add(Path(path).parent)
        return super().open(path, flags, mode)

    def write(self, fd: int, data: bytes, path: Path) -> None:
        """Write."""
        self.unsynced.add(path)
        self.log.append(f"write {path.name}")
        super().write(fd, data, path)

    def write_at(self, fd: int, data: bytes, offset: int, path: Path) -> None:
        """Write."""
        self.unsynced.add(path)
        self.log.append(f"write {path.name}")
        super().write_at(fd, data, offset, path)

    def write_many_at(self, fd: int, parts: Sequence[bytes], offset: int, path: Path) -> None:
        """Write."""
        self.unsynced.add(path)
        self.log.append(f"write {path.name}")
        super().write_many_at(fd, parts, offset, path)

    def read_at(self, fd: int, size: int, offset: int, path: FilePath) -> bytes:
        """Read, and count the bytes."""
        data = super().read_at(fd, size, offset, path)
        self.read += len(data)
        return data

    def sync(self, fd: int, path: Path) -> None:
        """Sync."""
        super().sync(fd, path)
        self.unsynced.discard(path)
        self.log.append(f"sync {path.name}")

    def rename(self, source: Path, target: Path) -> None:
        """Rename; what is not durable must not get its name."""
        assert source not in self.unsynced, f"{target} was renamed before it was durable"
        if self.on_rename is not None:
            self.on_rename(source, target)
        super().rename(source, target)
        self.unnamed.add(target.parent)
        self.log.append(f"rename {target.name}")

    def sync_dir(self, path: Path) -> None:
        """Sync a directory."""
        super().sync_dir(path)
        self.unnamed.discard(path)
        self.log.append(f"sync_dir {path.name}")


def part(path: Path, *names: str) -> Path:
    """Return a path in the partition's directory."""
    return path.joinpath("partitions", NAME, *names)


def test_invariant_1_durable_before_acknowledged(tmp_path: Path) -> None:
    """When an append returns, in whatever way, its bytes and the name of its file are synced; a failed sync is told."""
    disk = WatchedDisk()
    partition = create(tmp_path / "l", disk=disk)
    ways: list[Callable[[], object]] = [
        lambda: partition.append(1),
        lambda: partition.append_json("1"),
        lambda: partition.submit(1).result(),
        lambda: partition.append_many(range(600)),
        lambda: partition.append_many_json(["1"] * 300),
    ]
    for way in ways:
        way()
        segments = {path for path in disk.unsynced if path.suffix == ".jsonl"}
        assert segments == set()
        assert partition.paths.segments not in disk.unnamed
    partition.close()
    assert opened(tmp_path / "l").size == 903
    failing = FaultyDisk()
    partition = opened(tmp_path / "l", disk=failing)
    partition.append(1)
    start = len(failing.log)
    partition.append(1)
    syncs = [number for number, name in enumerate(failing.log[start:]) if name.startswith("sync ")]
    failing.fail_at = len(failing.log) + syncs[0]
    with pytest.raises(CommitUnknownError):
        partition.append(1)
    partition.close()


def test_invariant_2_signed_only_what_is_durable_and_consistent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edited, cut or rolled back files, and bits flipped in memory, are not signed: the signer's record stays."""
    source = make_ledger(tmp_path / "source", [300], more=100)

    def edit_unsigned(path: Path) -> None:
        file = part(path, "segments", f"{256:020d}.jsonl")
        file.write_bytes(file.read_bytes().replace(b'"event":350', b'"event":351'))

    def edit_last_signed(path: Path) -> None:
        file = part(path, "segments", f"{256:020d}.jsonl")
        file.write_bytes(file.read_bytes().replace(b'"event":299', b'"event":298'))

    def alter_edge(path: Path) -> None:
        flip(part(path, "tile", "0", "001.p", "44"), 100)

    def roll_back(path: Path) -> None:
        file = part(path, "segments", f"{256:020d}.jsonl")
        file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:20]))

    def forge_record(path: Path) -> None:
        file = path / "keys" / f"{NAME}.signed"
        file.write_bytes(file.read_bytes().replace(b"\n300\n", b"\n299\n"))

    def rewrite_last_signed(path: Path) -> None:
        file = part(path, "segments", f"{256:020d}.jsonl")
        lines = file.read_bytes().replace(b'"event":299', b'"event":298').splitlines()
        for number in range(299 - 256, len(lines)):
            head, _, rest = lines[number].partition(b'"prev_hash":"')
            body = head + b'"prev_hash":"' + lines[number - 1][-66:-2] + rest[64:-75]
            lines[number] = body + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'
        file.write_bytes(b"".join(line + b"\n" for line in lines))

    for damage in (edit_unsigned, edit_last_signed, rewrite_last_signed, alter_edge, roll_back, forge_record):
        path = copied(source, tmp_path / "l")
        damage(path)
        record = (path / "keys" / f"{NAME}.signed").read_bytes()
        with pytest.raises(CorruptLedgerError):
            opened(path, disk=QuickDisk()).publish()
        assert (path / "keys" / f"{NAME}.signed").read_bytes() == record, damage.__name__
        assert opened(path).checkpoint().tree_size == 300

    path = copied(source, tmp_path / "l")
    seen: list[int] = []

    def flipped(lines: Sequence[bytes]) -> list[bytes]:
        hashes = leaf_hashes(lines)
        if not seen:
            hashes[0] = bytes([hashes[0][0] ^ 1]) + hashes[0][1:]
        seen.append(len(hashes))
        return hashes

    monkeypatch.setattr(integrate_module, "leaf_hashes", flipped)
    with pytest.raises(CorruptLedgerError, match="memory or disk is failing"):
        opened(path, disk=QuickDisk()).publish()
    monkeypatch.undo()
    assert opened(path, disk=QuickDisk()).publish().tree_size == 400


def test_invariant_3_never_two_checkpoints_of_one_size(tmp_path: Path) -> None:
    """The key's record is durable before a signature is written; of two copies with one key only one gets another."""
    disk = WatchedDisk()
    source = tmp_path / "a"
    partition = create(source, disk=disk)
    partition.append_many(range(10))
    disk.log.clear()
    partition.publish()
    recorded = disk.log.index(f"rename {NAME}.signed")
    assert "sync_dir keys" in disk.log[recorded : disk.log.index("write checkpoints.jsonl")]
    assert disk.log.index("write checkpoints.jsonl") < disk.log.index("rename checkpoint")
    partition.close()
    (source / "keys").rename(tmp_path / "keys")
    config = source / "tlog.toml"
    config.write_text(config.read_text().replace('keys = "keys"', 'keys = "../keys"'))
    copy = copied(source, tmp_path / "b")
    one, two = opened(source), opened(copy)
    one.append("one way")
    two.append("another way")
    signed: dict[int, bytes] = {}
    for partition in (one, two, one, two):
        try:
            checkpoint = partition.publish()
        except CorruptLedgerError:
            assert partition is two
            partition.close()
        else:
            assert signed.setdefault(checkpoint.tree_size, checkpoint.root_hash) == checkpoint.root_hash
            partition.append("more")
    assert set(signed) == {11, 12}
    open_since_before = opened(copied(source, tmp_path / "c"))
    assert open_since_before.append_many([]).count == 0
    size = open_since_before.size
    one.append_many(range(size - one.size + 2))
    one.publish()
    with pytest.raises(CorruptLedgerError, match=f"has signed {size + 2} entries, {size} are here"):
        open_since_before.publish()


def test_invariant_4_published_only_what_can_be_fetched(tmp_path: Path) -> None:
    """At the instant in which `checkpoint` is replaced, all tiles of its tree are there, durable and right."""
    disk = WatchedDisk()
    partition = create(tmp_path, disk=disk)
    published: list[int] = []

    def look(source: Path, target: Path) -> None:
        if target.name != "checkpoint":
            return
        checkpoint = Checkpoint.parse(source.read_bytes())
        reader = TileReader(partition.tiles, checkpoint.tree_size, checkpoint.root_hash)
        for index in range(-(-checkpoint.tree_size // 256)):
            reader.leaf_hashes(index)
        assert not {path for path in disk.unsynced if "tile" in path.parts}
        assert not {path for path in disk.unnamed if "tile" in path.parts}
        published.append(checkpoint.tree_size)

    disk.on_rename = look
    for count in (1, 254, 1, 1, 300, 0, 700):
        partition.append_many(range(count))
        partition.publish()
    assert published == [1, 255, 256, 257, 557, 1257]
    partition.close()


def test_invariant_5_recovery_is_automatic_and_bounded(tmp_path: Path) -> None:
    """A torn last line is cut off at opening, and opening a log forty times as long reads no more bytes."""
    read = []
    for segments in (2, 40):
        path = tmp_path / str(segments)
        partition = create(path, disk=QuickDisk())
        partition.append_many(range(segments * 256 - 100))
        partition.publish()
        partition.close()
        last = part(path, "segments", f"{(segments - 1) * 256:020d}.jsonl")
        good = last.read_bytes()
        for torn in (b'{"seq":', bytes(1000), b"x" * 3000):
            last.write_bytes(good + torn)
            disk = WatchedDisk()
            partition = opened(path, disk=disk)
            assert partition.append_many([]).count == 0
            read.append(disk.read)
            assert last.read_bytes() == good
            partition.close()
    assert max(read[3:]) < max(read[:3]) * 1.3
    partition = opened(tmp_path / "2", disk=QuickDisk())
    assert partition.append("on").seq == 412
    last = part(tmp_path / "2", "segments", f"{256:020d}.jsonl")
    flip(last, 8 * (last.stat().st_size - 100))
    partition.close()
    with pytest.raises(CorruptLedgerError, match="entry"):
        opened(tmp_path / "2").append("damage is not recovered")


def test_invariant_6_any_number_of_writers_make_one_chain(tmp_path: Path) -> None:
    """Threads of two writers share one gapless chain, and syncs; a process that dies with the lock blocks nobody."""

    class SlowDisk(QuickDisk):
        syncs = 0

        def sync(self, fd: int, path: Path) -> None:  # noqa: ARG002 - the seam has it
            SlowDisk.syncs += 1
            time.sleep(0.002)

    first = create(tmp_path, disk=SlowDisk())
    first.append("0")
    second = opened(tmp_path, disk=SlowDisk())
    seqs: list[int] = []

    def work(partition: Partition) -> None:
        for number in range(20):
            seqs.append(partition.append(number).seq)  # noqa: PERF401 - as they come

    SlowDisk.syncs = 0
    threads = [threading.Thread(target=work, args=(partition,)) for partition in (first, second) * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seqs) == list(range(1, 241))
    assert SlowDisk.syncs < 200
    assert first.publish().tree_size == 241
    assert first.verify().entries == 241
    die = "import fcntl, os, signal, sys; fcntl.flock(open(sys.argv[1]), 2); os.kill(os.getpid(), signal.SIGKILL)"
    killed = subprocess.run([sys.executable, "-c", die, first.paths.lock], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert second.append("after").seq == 241
    first.close()
    second.close()


def test_invariant_7_readers_never_block_and_see_nothing_half_written(tmp_path: Path) -> None:
    """With all locks held by somebody, and a line half-written, readers read, prove and verify what is durable."""
    path = make_ledger(tmp_path, [300], more=10)
    with part(path, "segments", f"{256:020d}.jsonl").open("ab") as segment:
        segment.write(b'{"seq":310,"ts":"20')
    with part(path, "lock").open() as lock, (path / "keys" / f"{NAME}.pem").open() as key:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(key, fcntl.LOCK_EX)
        before = files_of(path, times=True)
        partition = opened(path)
        assert partition.size == 310
        assert [entry.seq for entry in partition.entries()] == list(range(310))
        assert partition.entry(309).seq == 309
        with pytest.raises(tlog.NotFoundError):
            partition.entry(310)
        tlog.verify_proof(str(partition.prove(299)), policy=Policy.for_log(partition.vkey))
        assert partition.verify().entries == 310
        assert partition.fsck().findings == ()
        assert files_of(path, times=True) == before
        partition.close()


def test_invariant_8_memory_does_not_grow(tmp_path: Path) -> None:
    """Appending, verifying and reading two and a half times as much need no more memory.

    test_partition.py measures a whole process in the same way, publishing too.
    """
    peaks: list[list[int]] = []
    for count in (1_000, 20_000, 50_000):  # the first only loads what is loaded once
        ledger = tlog.Ledger.create(tmp_path / str(count), origin="a.example", disk=QuickDisk())
        partition = ledger.partition(NAME)  # its segments have 65,536 entries, so that all of these are in one
        works: list[Callable[[], object]] = [
            lambda: partition.append_many({"n": number} for number in range(count)),  # noqa: B023 - called here
            partition.verify,
            lambda: sum(1 for _ in partition.entries()),  # noqa: B023 - called here
        ]
        tracemalloc.start()
        peaks.append([])
        for work in works:
            tracemalloc.reset_peak()
            work()
            peaks[-1].append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        ledger.close()
    for less, more in zip(peaks[1], peaks[2], strict=True):
        assert more < less * 1.25, peaks


def test_invariant_9_verification_trusts_nothing(tmp_path: Path) -> None:
    """Each altered place is named with what was expected and found; what was not covered is not called verified."""
    source = make_ledger(tmp_path / "source", [256, 600], more=10)
    partition = opened(source)
    kept = partition.checkpoint(256).raw
    tree = tree_of(lines_of(partition))
    report = partition.verify()
    assert (report.is_anchored, report.unpublished, report.entries) == (False, 10, 610)
    assert report.published is not None
    assert report.published.root_hash == tree.root(600)
    partition.close()
    for name, bit, expected in (
        ("segments/00000000000000000000.jsonl", 8 * 150, "entry 0 "),
        ("segments/00000000000000000512.jsonl", 8 * 150, "entry 512 "),
        ("tile/0/000", 9, "tile/0/000"),
        ("tile/0/002.p/88", 9, "tile/0/002.p/88"),
        ("tile/1/000.p/2", 300, "tile/1/000.p/2"),
    ):
        path = copied(source, tmp_path / "l")
        flip(part(path, name), bit)
        with pytest.raises((CorruptLedgerError, TileMismatchError), match=expected):
            opened(path).verify(checkpoint=kept)
    path = copied(source, tmp_path / "l")
    whole = opened(path)
    proof = whole.prove(3)
    wrong = tlog.Proof(proof.leaf_index, (bytes(32), *proof.hashes[1:]), proof.checkpoint, proof.extra)
    with pytest.raises(Error):
        tlog.verify_proof(wrong.format(), policy=Policy.for_log(whole.vkey))
    flip(part(path, "tile", "0", "000"), 77)
    with pytest.raises(TileMismatchError):
        opened(path).prove(200)
    whole.close()
    path = copied(source, tmp_path / "l")
    for first in (0, 256, 512):
        make_writable(part(path, "segments", f"{first:020d}.jsonl")).unlink()
    with pytest.raises(CorruptLedgerError, match="entries are missing"):
        opened(path).verify()
