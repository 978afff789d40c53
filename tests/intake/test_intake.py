"""Events with ids: stored once, whoever sends them again, and whatever happened in between."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tlog
from tests.intake.test_stateful import DyingDisk
from tests.ledgers import NAME, FaultyDisk, QuickDisk, copied, create, make_ledger, opened
from tests.torture.faultdisk import KilledError
from tlog.errors import BackpressureError, CommitUnknownError, FormatError, RefusedItemError, ReusedIdError
from tlog.intake.batch import MAX_BATCH_ID_LENGTH, Batch
from tlog.intake.intake import Accepted, Intake, Intakes


@pytest.mark.parametrize("mode", ["not done", "half done", "done"])
@pytest.mark.parametrize("offset", range(4))
def test_another_process_takes_over(tmp_path: Path, offset: int, mode: str) -> None:
    """A process dies at any step of an append; one that was open all the time stores the event once, where it is."""
    disk = DyingDisk()
    dying, other = Intake(create(tmp_path, disk=disk)), Intake(opened(tmp_path))
    for number, intake in enumerate((dying, other)):
        intake.accept("before", event_id=f"before {number}")
    disk.plan(offset, mode, is_deadly=True)
    try:
        dying.accept("event", event_id="1")
    except KilledError:
        assert offset < 3
    accepted = other.accept("event", event_id="1")
    assert [entry.data for entry in other.partition.entries()] == ["before", "before", "event"]
    assert accepted.seq == 2


@pytest.mark.parametrize("meta", [{}, {"writer": "w"}, {"writer": 'é"\\', "id": "1"}, {"id": 'é"\\\u2028 '}])
def test_meta_is_what_partitions_write(tmp_path: Path, meta: dict[str, str]) -> None:
    """An entry of an intake is, to the byte, the entry that an append with this meta makes."""
    one, other = create(tmp_path / "a", disk=QuickDisk()), create(tmp_path / "b", disk=QuickDisk())
    one.append({"a": [1.5, "é"]}, meta=meta)
    Intake(other).accept({"a": [1.5, "é"]}, writer=meta.get("writer"), event_id=meta.get("id"))
    assert one.entry(0).raw == other.entry(0).raw
    assert other.entry(0).meta == meta


def test_ids_written_by_others_are_known(tmp_path: Path) -> None:
    """Whoever appended an id in meta, in whatever shape, it is known; the first entry with it counts."""
    partition = create(tmp_path, disk=QuickDisk())
    for meta in (
        {"id": "1"},
        {"id": "2", "writer": "w"},
        {"writer": "w", "id": "3", "position": 7},
        {"id": "1"},
        {"id": 4},
    ):
        partition.append("x", meta=meta)
    intake = Intake(partition)
    found = [intake.accept("x", writer=writer, event_id=name) for writer, name in ((None, "1"), ("w", "2"), ("w", "3"))]
    assert [(accepted.seq, accepted.is_first) for accepted in found] == [(0, False), (1, False), (2, False)]
    assert intake.accept("x", event_id="4").is_first


def test_a_log_that_was_restored(tmp_path: Path) -> None:
    """Where a backup took the log's place, what the table says about entries that are gone, or others, is nothing."""
    make_ledger(tmp_path / "l", [2])
    copied(tmp_path / "l", tmp_path / "backup")
    with_ids = Intake(opened(tmp_path / "l"))
    assert with_ids.accept("x", event_id="1").seq == 2
    with_ids.close()
    with_ids.partition.close()
    table = tmp_path / "l" / "index" / f"{NAME}.ids"
    kept = table.read_bytes()
    for more in (0, 1, 5):
        copied(tmp_path / "backup", tmp_path / "l")
        table.parent.mkdir(exist_ok=True)
        table.write_bytes(kept)
        partition = opened(tmp_path / "l")
        partition.append_many(range(more))
        accepted = Intake(partition).accept("x", event_id="1")
        assert (accepted.seq, accepted.is_first) == (2 + more, True)
        partition.close()
    copied(tmp_path / "backup", tmp_path / "l")
    other = Intake(opened(tmp_path / "l"))
    assert other.accept("x", event_id="2").seq == 2
    other.close()
    table.write_bytes(kept)  # made of three entries, too, of which the last was another one
    assert not other.accept("x", event_id="2").is_first


def test_a_table_that_lies(tmp_path: Path) -> None:
    """A table that names other entries than those that have the ids is made anew, and nothing it says is believed."""
    partition = create(tmp_path, disk=QuickDisk())
    intake = Intake(partition)
    for name in ("1", "2"):
        intake.accept(name, event_id=name)
    for lie in ("seq = 1 - seq", "seq = seq + 1000000", "seq = -1"):
        with intake._ids._connected() as db:
            db.execute(f"UPDATE ids SET {lie}")  # noqa: S608
        again = [intake.accept(name, event_id=name) for name in ("1", "2")]
        assert [(accepted.seq, accepted.is_first) for accepted in again] == [(0, False), (1, False)]
    with pytest.raises(ReusedIdError, match="entry 0"):
        intake.accept("other", event_id="1")


def test_many_threads_and_two_processes(tmp_path: Path) -> None:
    """Threads of two intakes that send the same events in another order each store them once, and agree where."""
    create(tmp_path, disk=QuickDisk()).append("first")
    intakes = [Intake(opened(tmp_path, disk=QuickDisk())) for _ in range(2)]
    found: list[dict[str, Accepted]] = []

    def send(number: int) -> None:
        order = [str((n * (2 * number + 1)) % 64) for n in range(64)]
        found.append({name: intakes[number % 2].accept(name, event_id=name) for name in order})

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for name in map(str, range(64)):
        assert len({one[name].seq for one in found}) == 1
        assert sum(one[name].is_first for one in found) == 1
    assert intakes[0].partition.size == 65


def test_without_ids_there_is_no_table(tmp_path: Path) -> None:
    """Who gives no ids pays for none: neither table nor lock is made."""
    partition = create(tmp_path, disk=QuickDisk())
    intake = Intake(partition)
    assert intake.accept({"id": 5}, writer="w").is_first
    Batch(intake, writer="w").add([1, {"id": ""}])
    assert not (tmp_path / "index").exists()
    assert not (partition.paths.root / "intake.lock").exists()
    assert intake.accept({"id": "5"}, writer="w").is_first
    assert (partition.paths.root / "intake.lock").exists()
    assert partition.publish().tree_size == partition.verify().entries == 4
    assert partition.fsck().findings == ()


@pytest.mark.parametrize("offset", range(3))
def test_a_failed_write(tmp_path: Path, offset: int) -> None:
    """After a failed write the partition is opened again, at most once a second; the retry stores the event once."""
    disk = FaultyDisk()
    intake = Intake(create(tmp_path, disk=disk))
    intake.accept("before", event_id="0")
    disk.fail_at = len(disk.log) + offset
    with pytest.raises(CommitUnknownError, match="injected"):
        intake.accept("event", event_id="1")
    disk.fail_at = len(disk.log)  # of what recovery does
    failures: list[str] = []
    while True:
        try:
            accepted = intake.accept("event", event_id="1")
            break
        except BackpressureError as err:
            intake._reopen_at -= 1
            failures.append(f"in {err.retry_after_s:.0f} s")
        except tlog.Error as err:
            failures.append(type(err).__name__)
        assert len(failures) < 5
    assert set(failures) <= {"in 1 s", "StorageError", "CommitUnknownError"}
    assert "in 1 s" in failures or offset
    assert [entry.data for entry in intake.partition.entries()] == ["before", "event"]
    assert accepted.seq == 1


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    """An event that is durable is acknowledged although the table could not be written; the next ones wait for it."""
    intake = Intake(create(tmp_path, disk=QuickDisk()))
    intake.accept("a", event_id="1")
    with intake._ids._connected() as db:
        db.execute("PRAGMA query_only = ON")
        assert intake.accept("b", event_id="2").seq == 1
        with pytest.raises(tlog.StorageError, match="readonly"):
            intake.accept("b", event_id="2")
        db.execute("PRAGMA query_only = OFF")
    assert intake.accept("b", event_id="2").seq == 1


def test_a_table_that_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making the table of a long log anew is spread over calls, each of which says how far it is."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(1000), meta={"id": "all the same"})
    monkeypatch.setattr("tlog.intake.ids.BATCH_ENTRIES", 256)
    monkeypatch.setattr("tlog.intake.ids.IdTable.catch_up.__defaults__", (0.0,))
    intake, said = Intake(partition), list[str]()
    while True:
        try:
            intake.catch_up()
            break
        except BackpressureError as err:
            said.append(str(err))
    assert len(said) >= 3
    assert "256 of 1,000" in "".join(said)
    assert intake.accept(0, event_id="all the same").seq == 0


@pytest.mark.parametrize(
    ("event_id", "writer"),
    [("", None), ("x" * 257, None), ("a\0", None), ("\ud800", None), (5, None), ("a", ""), ("a", "x" * 257)],
)
def test_ids_and_writers_that_are_refused(tmp_path: Path, event_id: Any, writer: str | None) -> None:
    """Text of 1 to 256 characters that every reader reads alike."""
    with pytest.raises(FormatError):
        Intake(create(tmp_path)).accept(1, writer=writer, event_id=event_id)
    assert not (tmp_path / "partitions").exists()


def test_batches(tmp_path: Path) -> None:
    """A batch says what of it is durable, also after it was refused or its source failed."""
    intake = Intake(create(tmp_path, disk=QuickDisk()))
    batch = Batch(intake, batch_id="b")
    with pytest.raises(RefusedItemError) as caught:
        batch.add([1, 2, object(), 3])
    assert (caught.value.index, caught.value.appended, batch.receipt.count) == (2, 2, 2)

    def source() -> Any:
        yield from range(5000)
        raise KeyError("source")

    batch = Batch(intake)
    with pytest.raises(KeyError):
        batch.add(source())
    assert (batch.receipt.count, batch.receipt.start, batch.receipt.stop) == (5000, 2, 5002)
    assert batch.receipt.hash == intake.partition.entry(5001).hash
    assert Batch(intake).add([]).count == 0
    for bad in ("", "x" * (MAX_BATCH_ID_LENGTH + 1)):
        with pytest.raises(FormatError):
            Batch(intake, batch_id=bad)
    assert Batch(intake, batch_id="x" * MAX_BATCH_ID_LENGTH).add([1]).count == 1


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=256))
def test_any_id(tmp_path: Path, writer: str, event_id: str) -> None:
    """Whatever the characters of writer and id: known again by the table, and by one made from the log alone."""
    partition = create(tmp_path, disk=QuickDisk()) if not (tmp_path / "tlog.toml").exists() else opened(tmp_path)
    intake = Intake(partition)
    try:
        first = intake.accept(event_id, writer=writer, event_id=event_id)
    except FormatError:
        assert "\0" in writer + event_id
        return
    assert intake.accept(event_id, writer=writer, event_id=event_id).seq == first.seq
    intake._ids.reset()
    assert not intake.accept(event_id, writer=writer, event_id=event_id).is_first
    intake.close()
    partition.close()


def test_meta_of_many(tmp_path: Path) -> None:
    """`append_many` gives all its events one meta; a bad one is refused before anything is written."""
    partition = create(tmp_path, disk=QuickDisk())
    assert partition.append_many([1, 2], meta={"writer": "w"}).count == 2
    assert partition.append_many_json([b" 3"], meta={"writer": "w"}).count == 1
    assert [(entry.data, entry.meta) for entry in partition.entries()] == [(n, {"writer": "w"}) for n in (1, 2, 3)]
    for append in (partition.append_many, partition.append_many_json):
        with pytest.raises(FormatError, match=r"^meta"):
            append([b"1"], meta={"writer": float("nan")})
    assert partition.size == 3


def test_one_intake_a_partition(tmp_path: Path) -> None:
    """The intakes of a ledger are made once each; names that are none are refused."""
    with tlog.Ledger.create(tmp_path, origin="audit.example.com") as ledger:
        intakes = Intakes(ledger)
        assert intakes.of("a") is intakes.of("a") is not intakes.of("b")
        with pytest.raises(FormatError):
            intakes.of("A")
