"""The end of a partition: what a crash leaves is recovered, damage is not, and nothing but regular files is used."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ledgers import NAME, QuickDisk, copied, create, files_of, lines_of, make_ledger, make_writable, opened
from tlog import Ledger, Partition
from tlog.errors import CorruptLedgerError, Error, FormatError, NotFoundError
from tlog.storage.tail import MARK_SIZE, DurableMark, read_mark

SECTOR = 512


@pytest.fixture(autouse=True)
def _no_test_hangs() -> Iterator[None]:
    """End a test that waits for a FIFO's other end with an error."""

    def stop(_number: int, _frame: object) -> None:
        raise TimeoutError("the test hangs")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(300)
    yield
    signal.alarm(0)


def part(path: Path, *names: str) -> Path:
    """Return a path in the partition's directory."""
    return path.joinpath("partitions", NAME, *names)


def segment(path: Path, first: int = 0) -> Path:
    """Return a plain segment file."""
    return part(path, "segments", f"{first:020d}.jsonl")


def set_mark(path: Path, seq: int, offset: int, first: int = 0) -> None:
    """Say that so many entries are durable."""
    part(path, "lock").write_bytes(DurableMark(seq, first, offset).encode())


def goes_on(path: Path, size: int) -> None:
    """Check that a ledger opens with `size` entries, that the chain goes on there, and that all of it is in order."""
    partition = opened(path, disk=QuickDisk())
    assert partition.append("after").seq == size
    entries = list(partition.entries())
    assert [entry.seq for entry in entries] == list(range(size + 1))
    assert partition.publish().tree_size == size + 1
    assert partition.verify().entries == size + 1
    assert partition.fsck().findings == ()
    partition.close()


def refused(path: Path, match: str) -> CorruptLedgerError:
    """Check that a ledger neither appends nor publishes, and that no byte of it changes; return the last error."""
    before = files_of(path)
    for action in (lambda partition: partition.append("more"), Partition.publish):
        partition = opened(path, disk=QuickDisk())
        with pytest.raises(CorruptLedgerError, match=match) as caught:
            action(partition)
        partition.close()
    after = files_of(path)
    assert after == before, set(after) ^ set(before)
    return caught.value


# Torn writes


def test_truncated_at_every_offset(tmp_path: Path) -> None:
    """R11: whatever the length to which the last segment is cut, exactly its complete lines are there again.

    Below the size that was signed the ledger refuses, and changes nothing.
    """
    source = make_ledger(tmp_path / "source", [7], more=5)
    raw = segment(source).read_bytes()
    lines = raw.split(b"\n")[:-1]
    signed = sum(len(line) + 1 for line in lines[:7])
    part(source, "lock").unlink()  # as after a power loss; with the mark, see below
    path = copied(source, tmp_path / "l")
    statements = {name: path.joinpath(name).read_bytes() for name in files_of(path)}
    for length in range(len(raw) + 1):
        segment(path).write_bytes(raw[:length])
        complete = raw[:length].count(b"\n")
        partition = opened(path, disk=QuickDisk())
        if length < signed:
            with pytest.raises(CorruptLedgerError, match=f"7 entries were signed, {complete} are here"):
                partition.append("after")
        else:
            assert partition.append("after").seq == complete
            stored = segment(path).read_bytes()
            assert stored.startswith(b"".join(line + b"\n" for line in lines[:complete]))
            if length % 50 == 0:
                assert [entry.seq for entry in partition.entries()] == list(range(complete + 1))
                assert partition.publish().tree_size == complete + 1
                assert partition.verify().entries == complete + 1
        partition.close()
        if length < signed:
            # The torn line, never acknowledged as far as the files tell, may be gone; no statement has changed.
            assert segment(path).read_bytes() in (raw[:length], raw[: raw[:length].rfind(b"\n") + 1])
        for name, content in statements.items():
            if length % 50 == 0 or name.endswith("lock"):
                path.joinpath(name).write_bytes(content)
        part(path, "lock").unlink(missing_ok=True)


def test_a_signed_line_cut_changes_no_file(tmp_path: Path) -> None:
    """Cut below the signed size with the durable mark in place: refused, the mark and all files as they were."""
    source = make_ledger(tmp_path / "source", [7], more=5)
    raw = segment(source).read_bytes()
    ends = [0]
    for line in raw.split(b"\n")[:-1]:
        ends.append(ends[-1] + len(line) + 1)
    for size in range(7):
        path = copied(source, tmp_path / "l")
        segment(path).write_bytes(raw[: ends[size]])
        refused(path, f"7 entries|entry {size}|entry 6")


def test_acknowledged_and_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Entries below the mark that are gone and not signed: it goes on, and the program's log says what is gone."""
    path = make_ledger(tmp_path, [7], more=5)
    lines = segment(path).read_bytes().split(b"\n")[:-1]
    segment(path).write_bytes(b"".join(line + b"\n" for line in lines[:9]))
    goes_on(path, 9)
    assert any("entries 9 to 11 were acknowledged and are gone" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("complete", [256, 255, 257, 511])
def test_torn_around_a_segments_end(tmp_path: Path, complete: int) -> None:
    """A torn line in the first or last place of a segment, with an empty next segment or none."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(complete))
    partition.close()
    first = complete - complete % 256
    with (
        make_writable(segment(tmp_path, first)).open("ab")
        if segment(tmp_path, first).exists()
        else segment(tmp_path, first).open("wb") as file
    ):
        file.write(b'{"seq":%d,"ts":"2026' % complete)
    goes_on(tmp_path, complete)


def test_an_empty_next_segment(tmp_path: Path) -> None:
    """A segment file that was created and never written to is the end of the partition."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(256))
    partition.close()
    segment(tmp_path, 256).write_bytes(b"")
    goes_on(tmp_path, 256)


# Zeros


def with_unacknowledged(path: Path, durable: int, more: int) -> tuple[bytes, int]:
    """Make a ledger whose mark says `durable`, with `more` entries written after it; return bytes and durable end."""
    partition = create(path, disk=QuickDisk())
    partition.append_many({"event": number, "text": "x" * 100} for number in range(durable))
    partition.publish()
    end = segment(path).stat().st_size
    partition.append_many({"event": number, "text": "x" * 100} for number in range(durable, durable + more))
    partition.close()
    set_mark(path, durable, end)
    return segment(path).read_bytes(), end


def test_zeros_beyond_the_mark(tmp_path: Path) -> None:
    """R11: sectors of zeros in a write that nobody waited for: recovered to the last whole line before the hole."""
    source = tmp_path / "source"
    raw, end = with_unacknowledged(source, 5, 20)
    holes = [(start, stop) for start in range(0, len(raw), SECTOR) for stop in (start + SECTOR, start + 3 * SECTOR)]
    holes = [(max(start, end), min(stop, len(raw))) for start, stop in holes if stop > end]
    holes += [(end, len(raw)), (end, end + (-end) % SECTOR)]
    for start, stop in holes:
        path = copied(source, tmp_path / "l")
        damaged = raw[:start] + bytes(stop - start) + raw[stop:]
        segment(path).write_bytes(damaged)
        goes_on(path, raw[:start].count(b"\n"))


@pytest.mark.parametrize("length", [1, 511, 512, 513, 4_096, 70_000, 2_000_000])
def test_zeros_after_the_end(tmp_path: Path, length: int) -> None:
    """R11: the file grew and its data never came: all that is acknowledged is there, and nothing else."""
    path = make_ledger(tmp_path, [5], more=3)
    with segment(path).open("ab") as file:
        file.write(bytes(length))
    goes_on(path, 8)


def test_zeros_without_a_mark(tmp_path: Path) -> None:
    """The same where the mark is lost: the chain tells where the good lines end."""
    source = tmp_path / "source"
    raw, end = with_unacknowledged(source, 5, 20)
    for start in range(end - end % SECTOR + SECTOR, len(raw), 2 * SECTOR):
        path = copied(source, tmp_path / "l")
        part(path, "lock").unlink()
        segment(path).write_bytes(raw[:start] + bytes(min(SECTOR, len(raw) - start)) + raw[start + SECTOR :])
        goes_on(path, raw[:start].count(b"\n"))


# Damage


def test_damage_below_the_mark(tmp_path: Path) -> None:
    """A flipped bit in an acknowledged line, or its newline, is an error that names the entry; nothing changes.

    Opening reads from the last signed entry on; what is wrong before it, verify names.
    """
    source = make_ledger(tmp_path / "source", [3], more=5)
    raw = segment(source).read_bytes()
    for byte in {*range(0, len(raw), 41), *(n for n, value in enumerate(raw) if value == 0x0A), len(raw) - 1}:
        seq = raw[:byte].count(b"\n")
        path = copied(source, tmp_path / "l")
        segment(path).write_bytes(raw[:byte] + bytes([raw[byte] ^ 1]) + raw[byte + 1 :])
        if seq >= 2:
            assert refused(path, f"entry {seq}\\b").seq == seq
        with pytest.raises(CorruptLedgerError) as caught:
            opened(path, disk=QuickDisk()).verify()
        assert caught.value.seq == seq


def test_a_hole_below_the_mark(tmp_path: Path) -> None:
    """R11: a sector of zeros in acknowledged bytes is damage, not a torn write; nothing changes."""
    partition = create(tmp_path / "source", disk=QuickDisk())
    partition.append_many({"text": "x" * 100, "n": number} for number in range(40))
    partition.close()
    raw = segment(tmp_path / "source").read_bytes()
    for start in range(0, len(raw), 3 * SECTOR):
        stop = min(start + SECTOR, len(raw))
        path = copied(tmp_path / "source", tmp_path / "l")
        segment(path).write_bytes(raw[:start] + bytes(stop - start) + raw[stop:])
        refused(path, f"entry {raw[:start].count(10)}\\b")


@pytest.mark.parametrize("first", [0, 256])
def test_damage_in_an_older_segment(tmp_path: Path, first: int) -> None:
    """An older segment is not read when a ledger opens, but signing what it holds is refused, naming the entry."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many({"event": number} for number in range(600))
    partition.close()
    raw = segment(tmp_path, first).read_bytes()
    at = raw.index(b'"event":%d' % (first + 77))
    make_writable(segment(tmp_path, first)).write_bytes(raw[:at] + b"X" + raw[at + 1 :])
    partition = opened(tmp_path, disk=QuickDisk())
    with pytest.raises(CorruptLedgerError, match=f"entry {first + 77} ") as caught:
        partition.publish()
    assert caught.value.seq == first + 77
    assert not part(tmp_path, "checkpoint").exists()
    assert not (tmp_path / "keys" / f"{NAME}.signed").exists()


def test_damage_beyond_the_mark_that_no_crash_leaves(tmp_path: Path) -> None:
    """Complete lines behind the mark with a flipped bit are no torn write: reported, not cut off."""
    raw, end = with_unacknowledged(tmp_path, 5, 3)
    at = raw.index(b'"event":6')
    segment(tmp_path).write_bytes(raw[:at] + b"X" + raw[at + 1 :])
    refused(tmp_path, "entry 6 ")
    assert end < at


def test_complete_lines_beyond_the_mark_are_adopted(tmp_path: Path) -> None:
    """Entries that were written and never acknowledged are there, and part of the chain."""
    with_unacknowledged(tmp_path, 5, 3)
    goes_on(tmp_path, 8)


def test_a_segment_with_too_many_entries(tmp_path: Path) -> None:
    """A segment that holds more entries than segments do is refused."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(300))
    partition.close()
    joined = segment(tmp_path, 0).read_bytes() + segment(tmp_path, 256).read_bytes()
    make_writable(segment(tmp_path, 0)).write_bytes(joined)
    segment(tmp_path, 256).unlink()
    part(tmp_path, "lock").write_bytes(b"")
    refused(tmp_path, "too many entries")


# The durable mark

GARBAGE: list[bytes | None] = [
    None,
    b"",
    b"garbage",
    b"0" * 40,
    b"0" * (MARK_SIZE - 1) + b"\n",
    bytes(MARK_SIZE),
    b"x" * 100_000,
    DurableMark(3, 0, 7).encode()[:-1],
    DurableMark(3, 0, 7).encode() + b"\n",
    DurableMark(3, 0, 7).encode().replace(b"3", b"4", 1),
]


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_a_lock_file_without_mark(tmp_path: Path, content: bytes | None) -> None:
    """A lock file that is missing, short, or garbage is no mark: nothing is lost, and the next writer makes one."""
    path = make_ledger(tmp_path, [100, 256], more=30)
    part(path, "lock").unlink()
    if content is not None:
        part(path, "lock").write_bytes(content)
    partition = opened(path, disk=QuickDisk())
    assert partition.size == 286
    assert partition.verify().entries == 286
    goes_on(path, 286)
    assert part(path, "lock").stat().st_size == MARK_SIZE
    assert read_mark(partition.files, partition.paths) == DurableMark(287, 256, segment(path, 256).stat().st_size)


def test_a_mark_of_the_past(tmp_path: Path) -> None:
    """After a power loss the mark may be older than the truth, by segments: all that is there is adopted."""
    partition = create(tmp_path / "source", disk=QuickDisk())
    partition.append_many(range(10))
    old = part(tmp_path / "source", "lock").read_bytes()
    partition.append_many(range(590))
    partition.close()
    part(tmp_path / "source", "lock").write_bytes(old)
    goes_on(copied(tmp_path / "source", tmp_path / "l"), 600)


# S13: nothing but regular files

Put = Callable[[Path, Path], None]


def _symlink(place: Path, elsewhere: Path) -> None:
    if place.exists():
        place.rename(elsewhere)
    place.symlink_to(elsewhere)


def _dangling(place: Path, elsewhere: Path) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to(elsewhere)


def _fifo(place: Path, _elsewhere: Path) -> None:
    place.unlink(missing_ok=True)
    os.mkfifo(place)


def _directory(place: Path, _elsewhere: Path) -> None:
    place.unlink(missing_ok=True)
    place.mkdir()


PUTS: dict[str, Put] = {"symlink": _symlink, "dangling link": _dangling, "fifo": _fifo, "directory": _directory}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a sealed segment, a plain one and a growing one."""
    path = tmp_path_factory.mktemp("whole") / "l"
    make_ledger(path, [256])
    partition = opened(path, disk=QuickDisk())
    partition.seal()
    partition.append_many(range(300))
    partition.publish()
    partition.append(1)
    partition.close()
    return path


TAIL = f"partitions/{NAME}/segments/{512:020d}"
OLD = f"partitions/{NAME}/segments/{256:020d}"
SEALED = f"partitions/{NAME}/segments/{0:020d}"
TILE = f"partitions/{NAME}/tile/0"
PLACES: dict[str, tuple[Callable[[Partition], object], ...]] = {
    f"{TAIL}.jsonl": (lambda p: p.append(1), Partition.publish, Partition.verify, lambda p: p.entry(530)),
    f"{OLD}.jsonl": (lambda p: p.entry(300), Partition.verify, Partition.seal),
    f"{SEALED}.jsonl.zst": (lambda p: p.entry(3), Partition.verify),
    f"{SEALED}.manifest": (lambda p: p.entry(3), Partition.verify),
    f"partitions/{NAME}/checkpoint": (lambda p: p.append(1), Partition.publish, Partition.checkpoint, Partition.verify),
    f"partitions/{NAME}/checkpoints.jsonl": (lambda p: p.append(1), Partition.publish, lambda p: p.checkpoint(256)),
    f"partitions/{NAME}/lock": (lambda p: p.append(1), Partition.publish),
    f"{TILE}/000": (lambda p: p.prove(3), Partition.verify),
    f"{TILE}/002.p/44": (lambda p: p.append(1), Partition.publish, lambda p: p.prove(3), Partition.verify),
    f"keys/{NAME}.pem": (lambda p: (p.append(1), p.publish()),),
    f"keys/{NAME}.vkey": (lambda p: p.vkey, lambda p: p.append(1), Partition.publish, Partition.verify),
    f"keys/{NAME}.signed": (lambda p: p.append(1), Partition.publish),
    "tlog.toml": (lambda p: Ledger.open(p.paths.ledger),),
}


@pytest.mark.parametrize("put", PUTS)
@pytest.mark.parametrize("place", PLACES)
def test_no_regular_file(whole: Path, tmp_path: Path, place: str, put: str) -> None:
    """S13: a link, FIFO or directory where a file belongs is refused at once, whoever comes to it, and not followed."""
    path = copied(whole, tmp_path / "l")
    partition = opened(path, disk=QuickDisk())
    target, elsewhere = path / place, tmp_path / "elsewhere"
    assert target.exists()
    PUTS[put](target, elsewhere)
    content = elsewhere.read_bytes() if elsewhere.exists() else None
    for action in PLACES[place]:
        with pytest.raises(Error):
            action(partition)
        partition.close()
        partition = opened(path, disk=QuickDisk()) if place != "tlog.toml" else partition
    partition.close()
    if place != "tlog.toml":
        report = opened(path, disk=QuickDisk()).fsck()
        if not place.endswith((".pem", "lock")):
            assert not report.is_clean
    assert (elsewhere.read_bytes() if elsewhere.exists() else None) == content
    assert not target.is_file() or target.is_symlink()


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    """S13: with a link in the place of the next segment or the next tile, nothing is written where it leads."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append_many(range(255))
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    segment(tmp_path / "l", 256).symlink_to(victim)
    with pytest.raises(Error):
        partition.append_many(range(10))
    assert victim.read_bytes() == b"precious"
    segment(tmp_path / "l", 256).unlink()
    partition.reopen()
    part(tmp_path / "l", "tile", "0").mkdir(parents=True)
    part(tmp_path / "l", "tile", "0", "000").symlink_to(victim)
    partition.publish()
    assert victim.read_bytes() == b"precious"
    assert not part(tmp_path / "l", "tile", "0", "000").is_symlink()
    assert partition.verify().entries == partition.size
    partition.close()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666, 0o610, 0o601, 0o777])
def test_a_key_that_others_may_read(tmp_path: Path, mode: int) -> None:
    """S13: a private key with a loose mode signs nothing; the error says what to do."""
    path = make_ledger(tmp_path, [3], more=1)
    key = path / "keys" / f"{NAME}.pem"
    key.chmod(mode)
    before = files_of(path)
    with pytest.raises(FormatError, match=rf"{NAME}\.pem: its mode is {mode:04o}.*chmod 600"):
        opened(path).publish()
    assert {name: seen for name, seen in files_of(path).items() if "lock" not in name} == {
        name: seen for name, seen in before.items() if "lock" not in name
    }
    key.chmod(0o600)
    assert opened(path).publish().tree_size == 4


def pem(body: bytes) -> bytes:
    """Return a PEM file with this body."""
    return b"-----BEGIN PRIVATE KEY-----\n" + body + b"\n-----END PRIVATE KEY-----\n"


BAD_KEYS = [
    b"",
    b"\n",
    bytes(32),
    b" " * 32,
    b"x" * 100_000,
    pem(b""),
    pem(b"MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4="),
    pem(b"MC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    pem(b"MC4CAQAwBQYDK2VwBCIEICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg"),
    pem(b"MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f")[:-10],
]


@pytest.mark.parametrize("content", BAD_KEYS, ids=range(len(BAD_KEYS)))
def test_a_key_that_is_none(tmp_path: Path, content: bytes) -> None:
    """S13: a private key that is empty, too short, too long, or of equal bytes signs nothing, and is named."""
    path = make_ledger(tmp_path, [3], more=1)
    key = path / "keys" / f"{NAME}.pem"
    key.write_bytes(content)
    with pytest.raises(FormatError, match=rf"{NAME}\.pem"):
        opened(path).publish()
    key.unlink()
    with pytest.raises(NotFoundError, match="private key is not here"):
        opened(path).publish()
    assert len(lines_of(opened(path))) == 4
