from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tlog
from tests.ledgers import FaultyDisk
from tests.recording.programs import NAME, ORIGIN, check, partition_at
from tlog.errors import CommitUnknownError, Error, FormatError
from tlog.events import Event
from tlog.jsontext import encode_json
from tlog.recording.background import BackgroundWriter, Counters
from tlog.recording.steady import SteadyAppender, opener
from tlog.storage.disk import Disk

FAULTS = ("not done", "half done", "done")


class GatedDisk(Disk):
    """A disk whose syncs wait until the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.waits = threading.Event()

    def sync(self, fd: int, path: Path) -> None:
        """Wait, and sync."""
        self.waits.set()
        self.gate.wait(30)
        super().sync(fd, path)


@pytest.fixture
def writers() -> Iterator[list[BackgroundWriter]]:
    """Writers that are closed after the test."""
    made: list[BackgroundWriter] = []
    yield made
    for writer in made:
        assert writer.close(20)


def on_disk(root: Path, disk: Disk) -> tlog.Partition:
    """A partition that exists, on a disk of the test."""
    if not (root / "tlog.toml").exists():
        made = tlog.Ledger.create(root, origin=ORIGIN, segment_entries=256)
        made.partition(NAME).create()
        made.close()
    return tlog.Ledger.open(root, disk=disk).partition(NAME)


def data_of(root: Path) -> list[Any]:
    """What all entries hold."""
    return [entry.data for entry in partition_at(root).entries()]


@pytest.mark.parametrize("value", [Event(actor="a", action="b", outcome="success"), {"n": 1}, [1, "x"], None])
def test_any_event_is_written_as_it_was_when_it_was_put(
    tmp_path: Path, writers: list[BackgroundWriter], value: Any
) -> None:
    """Events and JSON values are written; what the caller changes afterwards has no effect."""
    writers.append(writer := BackgroundWriter.at(tmp_path, NAME, origin=ORIGIN))
    expected = value.to_data() if isinstance(value, Event) else value
    changing = {"list": [1]}
    assert writer.put(value)
    assert writer.put(changing)
    changing["list"].append(2)
    assert writer.flush(20)
    assert data_of(tmp_path) == [expected, {"list": [1]}]
    with pytest.raises(FormatError, match="data"):
        writer.put({"x": {1}})
    assert writer.counters == Counters(2, 2, 0, 0)


def test_full_means_wait(tmp_path: Path, writers: list[BackgroundWriter]) -> None:
    """With the queue full, callers wait, for ever or as long as they were told to; none of theirs is lost."""
    disk = GatedDisk()
    partition = on_disk(tmp_path, disk)
    writers.append(writer := BackgroundWriter(lambda: partition, capacity=3))
    for number in range(3):
        assert writer.put(number)
    assert disk.waits.wait(10)
    assert not writer.offer_json(b"99")
    late = threading.Thread(target=writer.put, args=(3,))
    late.start()
    late.join(0.1)
    assert late.is_alive()
    assert not writer.flush(0.01)
    assert writer.counters == Counters(3, 0, 0, 0)
    assert writer.counters.waiting == 3
    disk.gate.set()
    late.join(20)
    assert writer.flush(20)
    assert writer.offer_json(b"4")
    assert writer.flush(20)
    assert data_of(tmp_path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("settings", [{"when_full": "drop"}, {"timeout_s": 0.02}])
def test_what_is_dropped_is_counted_and_the_log_says_so(
    tmp_path: Path, writers: list[BackgroundWriter], settings: Any
) -> None:
    """Dropped events are counted, and an entry of the log tells how many are missing."""
    disk = GatedDisk()
    partition = on_disk(tmp_path, disk)
    writers.append(writer := BackgroundWriter(lambda: partition, capacity=2, **settings))
    assert [writer.put(number) for number in range(5)] == [True, True, False, False, False]
    assert writer.counters == Counters(2, 0, 3, 0)
    disk.gate.set()
    assert writer.flush(20)
    assert writer.close(20)
    assert writer.put("after")
    assert writer.close(20)
    *others, notice, last = data_of(tmp_path)
    assert (others, last) == ([0, 1], "after")
    assert (notice["action"], notice["data"]["count"], notice["outcome"]) == ("log.dropped", 3, "failure")
    Event.from_data(notice)
    assert writer.counters == Counters(4, 4, 3, 0)


def test_many_bytes_are_full_too(
    tmp_path: Path, writers: list[BackgroundWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is bounded in bytes as well."""
    monkeypatch.setattr("tlog.recording.background.MAX_WAITING_BYTES", 1000)
    disk = GatedDisk()
    partition = on_disk(tmp_path, disk)
    writers.append(writer := BackgroundWriter(lambda: partition, when_full="drop"))
    assert [writer.put("x" * size) for size in (2000, 1, 500)] == [True, False, False]
    disk.gate.set()
    assert writer.flush(20)
    assert writer.put("x" * 500)


def test_refused_events_are_counted_and_told(tmp_path: Path, writers: list[BackgroundWriter]) -> None:
    """An event that no entry can hold does not keep the others from being written."""
    told: list[Exception] = []
    writers.append(writer := BackgroundWriter.at(tmp_path, NAME, origin=ORIGIN, on_error=told.append))
    for value in ("a", "x" * 70_000, "b", "y" * 70_000, "c"):
        assert writer.put(value)
    assert writer.flush(20)
    assert data_of(tmp_path) == ["a", "b", "c"]
    assert writer.counters == Counters(5, 3, 0, 2)
    assert len(told) == 2
    assert isinstance(writer.last_error, FormatError)
    assert "65,535" in str(told[0])


def test_it_publishes_as_often_as_it_is_asked_to(tmp_path: Path, writers: list[BackgroundWriter]) -> None:
    """Publishing follows writing after the interval, and once more at close; without being asked it never does."""
    writers.append(writer := BackgroundWriter.at(tmp_path, NAME, origin=ORIGIN, publish_every_s=0.05))
    writer.put(1)
    wait_for(lambda: partition_at(tmp_path).checkpoints.published() is not None)
    assert partition_at(tmp_path).checkpoint().tree_size == 1
    writer.put(2)
    wait_for(lambda: partition_at(tmp_path).checkpoint().tree_size == 2)
    writers.append(slow := BackgroundWriter.at(tmp_path, NAME, publish_every_s=1000))
    slow.put(3)
    assert slow.close(20)
    assert partition_at(tmp_path).checkpoint().tree_size == 3
    writers.append(never := BackgroundWriter.at(tmp_path, NAME))
    never.put(4)
    assert never.close(20)
    assert partition_at(tmp_path).checkpoint().tree_size == 3


def test_a_publication_that_fails_is_told_and_tried_again(tmp_path: Path, writers: list[BackgroundWriter]) -> None:
    """Events go on being written while nothing can be published."""
    told: list[Exception] = []
    on_disk(tmp_path, Disk())
    key = tmp_path / "keys" / f"{NAME}.pem"
    key.rename(key.with_suffix(".away"))
    writers.append(writer := BackgroundWriter.at(tmp_path, NAME, publish_every_s=0.03, on_error=told.append))
    writer.put(1)
    wait_for(lambda: bool(told))
    writer.put(2)
    assert writer.flush(20)
    key.with_suffix(".away").rename(key)
    wait_for(lambda: partition_at(tmp_path).checkpoints.published() is not None)
    assert data_of(tmp_path) == [1, 2]


@pytest.mark.parametrize("mode", FAULTS)
@pytest.mark.parametrize("again", [None, 0, 2])
def test_a_failing_disk_loses_and_repeats_nothing(
    tmp_path: Path, mode: str, again: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever operation fails, in whatever way, and one of the recovery too: each event is there once, in its order.

    again: how many operations after the first failure the second one comes.
    """
    monkeypatch.setattr("tlog.recording.background.FIRST_DELAY_S", 0.0)
    for number in itertools.count():
        root = tmp_path / str(number)
        disk = FaultyDisk(None, mode)
        partition = on_disk(root, disk)
        partition.append("before")
        disk.fail_at = len(disk.log) + number
        told: list[Exception] = []

        def tell(error: Exception, disk: FaultyDisk = disk, told: list[Exception] = told) -> None:
            told.append(error)
            disk.fail_at = None if again is None or len(told) > 1 else len(disk.log) + again

        writer = BackgroundWriter(lambda partition=partition: partition, on_error=tell)  # type: ignore[misc]
        texts = [f"{group}.{event}" for group in range(2) for event in range(4)]
        for half in (texts[:4], texts[4:]):
            for text in half:
                writer.put(text)
            assert writer.flush(20)
        assert writer.counters == Counters(8, 8, 0, 0)
        assert writer.close(20)
        assert data_of(root) == ["before", *texts]
        check(partition_at(root))
        if not told:
            break
    assert number > 3


@pytest.mark.parametrize("mode", FAULTS)
def test_a_failing_disk_fails_a_synchronous_append_only_where_it_fails_twice(tmp_path: Path, mode: str) -> None:
    """One failed write is recovered from, and the event is there once; a second one is told to the caller."""
    for number in range(3):
        root = tmp_path / f"{mode}{number}"
        disk = FaultyDisk(None, mode)
        partition = on_disk(root, disk)
        appender = SteadyAppender(lambda partition=partition: partition)  # type: ignore[misc]
        appender.append(b'"before"')
        disk.fail_at = len(disk.log) + number
        appender.append(b'"event"')
        appender.append(b'"after"')
        appender.close()
        assert data_of(root) == ["before", "event", "after"]


class BrokenDisk(Disk):
    """A disk on which nothing can be written while it is broken."""

    is_broken = False

    def write_many_at(self, fd: int, parts: Any, offset: int, path: Path) -> None:
        """Write, or fail."""
        if self.is_broken:
            raise tlog.StorageError(f"{path}: broken")
        super().write_many_at(fd, parts, offset, path)


def test_an_outage_is_told_once_and_waited_for(tmp_path: Path, writers: list[BackgroundWriter]) -> None:
    """While the disk is broken events wait, and the application is told once; then all are written."""
    disk = BrokenDisk()
    partition = on_disk(tmp_path, disk)
    told: list[Exception] = []
    writers.append(writer := BackgroundWriter(lambda: partition, on_error=told.append))
    disk.is_broken = True
    for number in range(3):
        writer.put(number)
    time.sleep(0.3)
    assert not writer.flush(0.05)
    assert not writer.close(0.05)
    assert len(told) == 1
    assert isinstance(writer.last_error, CommitUnknownError)
    assert writer.counters.waiting == 3
    disk.is_broken = False
    assert writer.close(20)
    assert data_of(tmp_path) == [0, 1, 2]


def test_synchronous_appends_of_many_threads_survive_an_outage(tmp_path: Path) -> None:
    """Each thread learns whether its event was stored, and who was told so finds it, once."""
    disk = BrokenDisk()
    partition = on_disk(tmp_path, disk)
    appender = SteadyAppender(lambda: partition)
    stored, failed = list[str](), list[str]()

    def work(thread: int) -> None:
        for number in range(20):
            text = f"{thread}.{number}"
            try:
                appender.append(encode_json(text))
                stored.append(text)
            except Error:
                failed.append(text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        disk.is_broken = not disk.is_broken
        time.sleep(0.01)
    disk.is_broken = False
    for thread in threads:
        thread.join(20)
    appender.append(b'"last"')
    found = data_of(tmp_path)
    assert len(set(found)) == len(found)
    assert set(stored) <= set(found) <= {*stored, *failed, "last"}
    assert len(stored) + len(failed) == 160
    check(partition_at(tmp_path))


def test_without_new_threads_callers_write_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the interpreter ends and allows no thread to start, events are written by whoever puts them."""
    writer = BackgroundWriter.at(tmp_path, NAME, origin=ORIGIN)

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert writer.put("first")
    assert writer.put("second")
    assert data_of(tmp_path) == ["first", "second"]
    assert writer.counters == Counters(2, 2, 0, 0)


def test_what_the_writer_itself_logs_is_dropped(tmp_path: Path, writers: list[BackgroundWriter]) -> None:
    """A disk that puts an event for every sync would otherwise never come to an end."""

    class ChattyDisk(Disk):
        def sync(self, fd: int, path: Path) -> None:
            super().sync(fd, path)
            assert writers[0].put("synced") is False

    partition = on_disk(tmp_path, ChattyDisk())
    writers.append(writer := BackgroundWriter(lambda: partition))
    writer.put("event")
    assert writer.flush(20)
    assert writer.close(20)
    assert data_of(tmp_path) == ["event"]
    assert writer.counters.dropped >= 1


def test_equal_events_are_both_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for what is stored already counts: of two equal texts one may be there, and the other not yet."""
    monkeypatch.setattr("tlog.recording.background.FIRST_DELAY_S", 0.0)
    disk = FaultyDisk(None, "half done")
    partition = on_disk(tmp_path, disk)
    partition.append("same")
    disk.fail_at = len(disk.log)
    appender = SteadyAppender(opener(tmp_path, NAME))
    appender._open_partition = lambda: partition
    texts = [b'"same"', b'"same"', b'"other"']
    with pytest.raises(Error):
        appender.append_many(texts)
    assert appender.append_many(texts) is None
    assert data_of(tmp_path) == ["same", "same", "same", "other"]


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so, 20 seconds at most."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
