"""Reading entries from segments: by number, in order, across segments plain and sealed, while they are sealed."""

from __future__ import annotations

import contextlib
import os
import random
import re
import tempfile
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledgers import NAME, QuickDisk, create, lines_of, make_ledger, make_writable, opened
from tlog import Partition
from tlog.errors import CorruptLedgerError, NotFoundError
from tlog.storage.disk import Disk
from tlog.storage.lines import WIDE_WINDOW, WINDOW, Line, LineFile, Mark, find_line, last_line
from tlog.storage.plain import seq_of

LONGEST = 65_535

# find_line and last_line


def line_file(path: Path, lines: list[tuple[int, int]], rest: bytes = b"") -> LineFile:
    """Write a file of lines, given as number and length, and return it open."""
    texts = [b'{"seq":%d,' % number + b"x" * length for number, length in lines]
    path.write_bytes(b"".join(text[:LONGEST] + b"\n" for text in texts) + rest)
    return LineFile(Disk(), os.open(path, os.O_RDONLY), path, seq_of)


def scan(file: LineFile, number: int) -> Line | None:
    """Return the first line with at least this number, by reading all."""
    offset = 0
    for text in file.path.read_bytes().split(b"\n")[:-1]:
        found = seq_of(text)
        assert found is not None
        if found >= number:
            return Line(found, offset, text)
        offset += len(text) + 1
    return None


LENGTHS = st.one_of(
    st.integers(0, 300), st.integers(0, 300), st.integers(WINDOW - 200, WINDOW + 200), st.just(LONGEST), st.just(0)
)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_find_line_is_a_scan(data: st.DataObject) -> None:
    """find_line finds what a scan finds, for lines of any length, and for numbers with gaps of any size."""
    count = data.draw(st.integers(1, 60))
    lengths = data.draw(st.lists(LENGTHS, min_size=count, max_size=count))
    gaps = data.draw(st.lists(st.sampled_from([1, 1, 1, 2, 50, 10**6]), min_size=count, max_size=count))
    first = data.draw(st.sampled_from([0, 5, 10**9]))
    numbers = [first + sum(gaps[:position]) for position in range(count)]
    with tempfile.TemporaryDirectory() as directory:
        file = line_file(Path(directory) / "f", list(zip(numbers, lengths, strict=True)))
        end = Mark(numbers[-1] + 1, os.fstat(file.fd).st_size)
        asked = {*numbers, *(number + 1 for number in numbers[:-1]), *(number - 1 for number in numbers[1:]), first}
        for number in asked:
            assert find_line(file, Mark(first, 0), end, number) == scan(file, number)
        os.close(file.fd)


@pytest.mark.parametrize("shape", ["short then long", "long then short", "one long in the middle", "all long"])
def test_find_line_where_guesses_are_bad(tmp_path: Path, shape: str) -> None:
    """Lines of very different lengths are found with few reads, because halving takes over from guessing."""
    short, long = [10] * 3_000, [40_000] * 60
    lengths = {
        "short then long": short + long,
        "long then short": long + short,
        "one long in the middle": [*short, LONGEST, *short],
        "all long": [LONGEST] * 60,
    }[shape]
    file = line_file(tmp_path / "f", list(enumerate(lengths)))
    reads = 0

    class Counting(Disk):
        def read_at(self, fd: int, size: int, offset: int, path: str | Path) -> bytes:
            nonlocal reads
            reads += 1
            assert size <= WIDE_WINDOW
            return super().read_at(fd, size, offset, path)

    counted = file._replace(disk=Counting())
    end = Mark(len(lengths), os.fstat(file.fd).st_size)
    for number in sorted({0, 1, 59, 60, 61, len(lengths) - 1, *random.Random(1).sample(range(len(lengths)), 40)}):
        if number >= len(lengths):
            continue
        reads = 0
        assert find_line(counted, Mark(0, 0), end, number) == scan(file, number)
        assert reads <= 24, (number, reads)
    os.close(file.fd)


def test_find_line_between_marks(tmp_path: Path) -> None:
    """Marks that are nearer than the file's ends give the same line; None where all numbers are smaller."""
    file = line_file(tmp_path / "f", [(number * 3, number % 50) for number in range(500)])
    lines = [scan(file, number * 3) for number in range(500)]
    whole = Mark(10_000, os.fstat(file.fd).st_size)
    for low, high in pairwise(range(0, 500, 100)):
        one, two = lines[low], lines[high]
        assert one is not None
        assert two is not None
        for number in range(one.number, two.number, 7):
            found = find_line(file, Mark(one.number, one.offset), Mark(two.number, two.offset), number)
            expected = scan(file, number)
            assert expected is not None
            assert found == (expected if expected.number < two.number else None)
    assert find_line(file, Mark(0, 0), whole, 1_498) is None
    os.close(file.fd)


@pytest.mark.parametrize("damage", ["no number", "not in order", "too long a line"])
def test_find_line_in_damaged_files(tmp_path: Path, damage: str) -> None:
    """A line without number, numbers that go back, and a line that does not end are errors, never a wrong line."""
    lines = [(number, 100) for number in range(1_000)]
    if damage == "not in order":
        lines[500:] = [(number - 400, 100) for number in range(500, 1_000)]
    file = line_file(tmp_path / "f", lines)
    raw = bytearray(file.path.read_bytes())
    if damage == "no number":
        raw = bytearray(raw.replace(b'"seq"', b'"Seq"'))
    elif damage == "too long a line":
        raw = bytearray(raw.replace(b"\n", b" "))
    file.path.write_bytes(raw)
    end = Mark(1_000, len(raw))
    for number in range(0, 1_000, 37):
        if damage == "not in order":
            with contextlib.suppress(CorruptLedgerError):
                found = find_line(file, Mark(0, 0), end, number)
                assert found is None or found.number == number
            continue
        with pytest.raises(CorruptLedgerError, match=re.escape(str(file.path))):
            find_line(file, Mark(0, 0), end, number)
    os.close(file.fd)


REST = [b"", b"{", b'{"seq":9', b"\0" * 600, b"x" * 70_000]


@pytest.mark.parametrize("rest", REST, ids=range(len(REST)))
@pytest.mark.parametrize("lengths", [[], [0], [5, 5], [LONGEST], [LONGEST] * 3, [10] * 2_000, [*[10] * 50, LONGEST]])
def test_last_line(tmp_path: Path, lengths: list[int], rest: bytes) -> None:
    """The last complete line is found behind any rest that a write left; None where there is none."""
    file = line_file(tmp_path / "f", list(enumerate(lengths)), rest)
    found = last_line(file)
    if not lengths:
        assert found is None
    else:
        assert found == scan(file, len(lengths) - 1)
    os.close(file.fd)


# Segments


@pytest.fixture(scope="module")
def _mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sealed segments 0 and 256, a plain one after them, and a growing one, with lines of many lengths."""
    path = tmp_path_factory.mktemp("mixed") / "l"
    partition = create(path, disk=QuickDisk())
    partition.append_many({"n": n, "text": "x" * (n * 7919 % 3_000 if n % 50 else 60_000)} for n in range(512))
    partition.publish()
    partition.seal()
    partition.append_many({"n": n, "text": "y" * (n % 700)} for n in range(512, 900))
    partition.publish()
    partition.close()
    return path


@pytest.fixture
def mixed(_mixed: Path) -> Iterator[Partition]:
    """The partition of that ledger, to read only."""
    partition = opened(_mixed)
    names = {path.name for path in partition.paths.segments.iterdir()}
    assert names >= {f"{0:020d}.jsonl.zst", f"{256:020d}.jsonl.zst", f"{512:020d}.jsonl", f"{768:020d}.jsonl"}
    assert len(names) == 6
    yield partition
    partition.close()


def test_every_line_by_its_seq(mixed: Partition) -> None:
    """line() returns the same as reading all in order, from plain and sealed segments."""
    lines = [line for lines in mixed.segments.chunks(0, 900) for line in lines]
    assert [seq_of(line) for line in lines] == list(range(900))
    for seq in [*range(0, 900, 13), 0, 255, 256, 511, 512, 767, 768, 899]:
        assert mixed.segments.line(seq) == lines[seq]
    with pytest.raises(NotFoundError, match="entry 900"):
        mixed.segments.line(900)
    assert mixed.segments.count() == 900
    assert mixed.segments.firsts() == [0, 256, 512, 768]


def test_chunks_across_segments(mixed: Partition) -> None:
    """chunks() yields exactly the entries asked for, in lists that end where tiles end, wherever segments end."""
    edges = [0, 1, 100, 255, 256, 257, 300, 511, 512, 513, 767, 768, 769, 899, 900]
    for start in edges:
        for stop in edges:
            chunks = list(mixed.segments.chunks(start, stop))
            assert [seq_of(line) for chunk in chunks for line in chunk] == list(range(start, stop))
            position = start
            for chunk in chunks:
                position += len(chunk)
                assert chunk
                assert position % 256 == 0 or position == stop


def test_chunks_beyond_the_end(mixed: Partition) -> None:
    """chunks() yields what there is and then says which entry is missing."""
    got: list[bytes] = []
    with pytest.raises(NotFoundError, match=r"entry 900: .* ends before it"):
        got.extend(line for lines in mixed.segments.chunks(600, 1_000) for line in lines)
    assert [seq_of(line) for line in got] == list(range(600, 900))


def test_a_growing_line_is_not_read(tmp_path: Path) -> None:
    """Bytes after the last newline are a line that is being written: no reader sees it."""
    partition = opened(make_ledger(tmp_path, [5]))
    path = partition.paths.plain(0)
    with path.open("ab") as file:
        file.write(b'{"seq":5,"ts":')
    assert partition.segments.count() == 5
    assert len(list(partition.entries())) == 5
    with pytest.raises(NotFoundError):
        partition.segments.line(5)
    partition.close()


def test_a_segment_sealed_under_a_reader(tmp_path: Path) -> None:
    """Iterators and readers that began before sealing go on with the right entries."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many({"n": n, "text": "x" * 500} for n in range(1_100))
    partition.publish()
    reader = opened(tmp_path)
    steps = [0, 1, 255, 256, 300, 511, 600, 1_024]
    iterators = [reader.entries() for _ in steps]
    for iterator, step in zip(iterators, steps, strict=True):
        assert [next(iterator).seq for _ in range(step)] == list(range(step))
    assert reader.entry(700).seq == 700
    assert partition.seal().segments == 4
    for iterator, step in zip(iterators, steps, strict=True):
        assert [entry.seq for entry in iterator] == list(range(step, 1_100))
    assert [reader.entry(seq).data["n"] for seq in range(0, 1_100, 31)] == list(range(0, 1_100, 31))
    partition.close()
    reader.close()


def test_sealing_while_threads_read(tmp_path: Path) -> None:
    """Readers in other threads, of single entries, ranges and proofs, never see a gap while segments are sealed."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many({"n": n} for n in range(2_000))
    partition.publish()
    reader = opened(tmp_path)
    problems: list[BaseException] = []
    done = threading.Event()

    def read(seed: int) -> None:
        choose = random.Random(seed)
        try:
            while not done.is_set():
                start = choose.randrange(2_000)
                stop = min(2_000, start + choose.randrange(600))
                assert [entry.data["n"] for entry in reader.entries(start, stop)] == list(range(start, stop))
                assert reader.entry(start).data["n"] == start
                assert reader.prove(start).leaf_index == start
        except BaseException as err:  # noqa: BLE001 - raised below
            problems.append(err)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    assert partition.seal().segments == 7
    done.set()
    for thread in threads:
        thread.join()
    assert problems == []
    partition.close()
    reader.close()


def test_a_missing_segment_is_an_error(tmp_path: Path) -> None:
    """A gap between segment files is named with the first entry that is missing; other files are passed over."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(800))
    partition.close()
    for name in ("notes.txt", "x.jsonl", "00000000000000000256.jsonl.1-2.tmp"):
        (partition.paths.segments / name).write_text("x")
    assert partition.segments.firsts() == [0, 256, 512, 768]
    make_writable(partition.paths.plain(256)).unlink()
    with pytest.raises(CorruptLedgerError, match="a segment is missing") as caught:
        partition.segments.firsts()
    assert caught.value.seq == 256
    with pytest.raises(CorruptLedgerError, match="a segment is missing"):
        opened(tmp_path).append(1)


def test_open_files_are_bounded(tmp_path: Path) -> None:
    """Reading entries all over a partition of 60 segments keeps at most 32 files open."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(60 * 256))
    partition.close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for seq in range(0, 60 * 256, 256):
        assert partition.entry(seq).data == seq
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 32
    partition.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert lines_of(partition)[-1].startswith(b'{"seq":15359,')
    assert partition.name == NAME
