"""The keeper: what grows is published and indexed, by one of many, whatever happens to the others."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tlog
from tests.incidents.programs import start
from tests.ledgers import ORIGIN, FaultyDisk, QuickDisk
from tests.waiting import until
from tlog import keeper as module
from tlog.keeper import Keeper, NotPublishedError
from tlog.keeping.notice import LOCK_NAME, MAX_NOTICE_SIZE, NOTICE_NAME, is_led, read_notice, write_notice
from tlog.status import status_of
from tlog.storage.disk import Disk

Start = Callable[..., Keeper]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[tlog.Ledger]:
    """A ledger with a partition "users" of two entries, nothing published."""
    tlog.Ledger.create(tmp_path / "ledger", origin=ORIGIN, segment_entries=256, disk=QuickDisk()).close()
    with opened(tmp_path / "ledger") as ledger:
        ledger.partition("users").append_many(["first", "second"])
        yield ledger


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts keepers that look often, and stops them."""
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    monkeypatch.setattr(module, "RETRY_CORRUPT_S", 0.05)
    running: list[Keeper] = []

    def start_one(ledger: tlog.Ledger, *, indexes: bool = False) -> Keeper:
        keeper = Keeper(ledger, publish_interval_s=0.05, indexes=indexes)
        keeper.start()
        running.append(keeper)
        return keeper

    yield start_one
    for keeper in running:
        keeper.stop()


def opened(path: Path, disk: Disk | None = None) -> tlog.Ledger:
    """Open a ledger as another process would."""
    return tlog.Ledger.open(path, disk=disk or QuickDisk())


def published(partition: tlog.Partition) -> int:
    """The size of the published checkpoint, -1 where there is none."""
    with contextlib.suppress(tlog.NotFoundError):
        return partition.checkpoint().tree_size
    return -1


def has_grown(partition: tlog.Partition, size: int) -> bool:
    """Whether the published checkpoint covers more than `size` entries."""
    return published(partition) > size


def indexed(partition: tlog.Partition) -> int:
    """How many entries the index covers."""
    with tlog.Index(partition) as index:
        return index.coverage().indexed


def test_what_grows_is_published_and_indexed(ledger: tlog.Ledger, started: Start) -> None:
    """Old entries, new ones, those of partitions that did not exist when the keeper began, and no entries at all."""
    keeper = started(ledger, indexes=True)
    users, more, none = (ledger.partition(name) for name in ("users", "more", "none"))
    assert keeper.wait_published(users, 1, 30).tree_size == 2
    assert keeper.wait_published(users, users.append("third").seq, 30).tree_size == 3
    assert keeper.wait_published(more, more.append("first").seq, 30).tree_size == 1
    none.create()
    until(lambda: published(none) == 0)
    until(lambda: (indexed(users), indexed(more)) == (3, 1))
    status = status_of(ledger, ledger.partitions())
    assert status.is_kept
    assert status.troubled == 0
    assert [(found.partition, found.published, found.unpublished) for found in status.partitions] == [
        ("more", 1, 0), ("none", 0, 0), ("users", 3, 0),
    ]  # fmt: skip


def test_one_leads_and_another_takes_over(ledger: tlog.Ledger, started: Start) -> None:
    """Of many keepers one leads; when it stops it has published all, and another one leads."""
    with opened(ledger.path) as second_ledger:
        first, second = started(ledger), started(second_ledger)
        until(lambda: first.is_leader or second.is_leader)
        assert first.is_leader != second.is_leader
        leader, other = (first, second) if first.is_leader else (second, first)
        seq = ledger.partition("users").append("last").seq
        leader.stop()
        assert published(ledger.partition("users")) == seq + 1
        until(lambda: other.is_leader)
        assert is_led(ledger.files, ledger.path)


def test_what_was_appended_after_the_leaders_last_look(ledger: tlog.Ledger, started: Start) -> None:
    """A keeper that does not lead publishes it at its end, when whoever led has ended."""
    users = ledger.partition("users")
    fd = os.open(ledger.path / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    keeper = started(ledger)
    seq = users.append("last").seq
    leader = threading.Timer(0.3, os.close, [fd])
    leader.start()
    keeper.stop()
    leader.join()
    assert published(users) == seq + 1


def test_without_its_lock_file_a_keeper_does_not_lead(ledger: tlog.Ledger, started: Start) -> None:
    """Where the file is removed, whoever leads gives up, so that not two of them lead for long."""
    keeper = started(ledger)
    until(lambda: keeper.is_leader)
    lock = ledger.path / LOCK_NAME
    inode = lock.stat().st_ino
    kept = lock.open("rb")  # so that the number is not used again
    lock.unlink()
    until(lambda: lock.exists() and lock.stat().st_ino != inode and keeper.is_leader)
    kept.close()
    seq = ledger.partition("users").append("on it goes").seq
    assert keeper.wait_published(ledger.partition("users"), seq, 30).tree_size == seq + 1


# Keeps a ledger, and says when it leads, until it is killed.
KEEPER = """
import sys, time
import tlog
from tlog.keeper import Keeper
keeper = Keeper(tlog.Ledger.open(sys.argv[1]), publish_interval_s=0.05)
keeper.start()
while not keeper.is_leader:
    time.sleep(0.01)
print("leads", flush=True)
time.sleep(60)
"""
# Appends until its input ends, and says how many entries were acknowledged.
APPENDER = """
import sys, threading
import tlog
users = tlog.Ledger.open(sys.argv[1]).partition("users")
threading.Thread(target=lambda: (sys.stdin.read(), ended.append(1)), daemon=True).start()
ended, count = [], 0
while not ended:
    count = users.append({"number": count}).seq + 1
print(count)
"""


def test_a_killed_leader_is_followed_by_another(ledger: tlog.Ledger) -> None:
    """Three times the leading process is killed while others append: publishing goes on, no size is signed twice."""
    users = ledger.partition("users")
    appender = start(APPENDER, ledger.path, takes_input=True)
    keepers = [start(KEEPER, ledger.path)]
    try:
        for _ in range(3):
            assert keepers[-1].stdout is not None
            assert keepers[-1].stdout.readline() == "leads\n"
            until(functools.partial(has_grown, users, published(users) + 2))
            keepers.append(start(KEEPER, ledger.path))
            keepers[-2].kill()
        assert keepers[-1].stdout is not None
        assert keepers[-1].stdout.readline() == "leads\n"
        count = int(appender.communicate("", 30)[0])
        until(lambda: published(users) == count)
    finally:
        for process in (*keepers, appender):
            process.kill()
            process.communicate()
    sizes = Counter(checkpoint.tree_size for checkpoint in users.checkpoints.all())
    assert max(sizes.values()) == 1
    assert users.verify().entries == count == users.size


def test_a_damaged_partition_does_not_stop_the_others(
    ledger: tlog.Ledger, started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in the log once and in the notice as long as it lasts; when it is restored it is published again."""
    users, more = ledger.partition("users"), ledger.partition("more")
    users.publish()
    path = users.paths.plain(0)
    users.append("third")
    good = path.read_bytes()
    path.write_bytes(good.replace(b"third", b"3rd!!"))
    with caplog.at_level(logging.WARNING, "tlog.keeper"):
        keeper = started(ledger)
        keeper.wait_published(more, more.append("first").seq, 30)
        until(lambda: "users" in getattr(read_notice(ledger.files, ledger.path), "publishing", ()))
        keeper.wait_published(more, more.append("second").seq, 30)
        with pytest.raises(NotPublishedError, match="CorruptLedgerError"):
            keeper.wait_published(users, 2, 0)
        (found,) = status_of(ledger, ["users"]).partitions
        assert "CorruptLedgerError" in str(found.trouble)
        assert found.to_fields()["is_failing"]
        path.write_bytes(good)
        assert keeper.wait_published(users, 2, 30).tree_size == 3
        until(lambda: not getattr(read_notice(ledger.files, ledger.path), "troubled", 1))
    said = [record.getMessage().split()[0] for record in caplog.records if "partition=users" in record.getMessage()]
    assert said == ["publish_failed", "publish_recovered"]


def test_where_the_key_is_missing_it_is_said(
    ledger: tlog.Ledger, started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine without the private key can only read, and is told how."""
    users = ledger.partition("users")
    users.paths.private_key.unlink()
    with caplog.at_level(logging.WARNING, "tlog.keeper"):
        keeper = started(ledger)
        until(lambda: "users" in getattr(read_notice(ledger.files, ledger.path), "publishing", ()))
        with pytest.raises(NotPublishedError, match="bring the key, or serve read-only"):
            keeper.wait_published(users, 0, 0)
    assert "serve read-only" in caplog.text


def test_waiting_says_why_it_was_in_vain(ledger: tlog.Ledger, started: Start) -> None:
    """Nobody leads; somebody leads, and there is no such entry yet."""
    users = ledger.partition("users")
    with pytest.raises(NotPublishedError, match="no process publishes"):
        Keeper(ledger).wait_published(users, 0, 0)
    keeper = started(ledger)
    assert Keeper(ledger).wait_published(users, 1, 30).tree_size == 2
    with pytest.raises(NotPublishedError, match=r"publishes every 0\.05 s"):
        keeper.wait_published(users, 2, 0.05)


def test_a_write_end_that_failed_is_opened_again(
    ledger: tlog.Ledger, started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Also by a keeper that does not lead: as soon as the disk is well, this process appends again."""
    disk = FaultyDisk()
    leader = started(ledger)
    until(lambda: leader.is_leader)
    with opened(ledger.path, disk) as other:
        users = other.partition("users")
        users.append("third")
        disk.fail_at = len(disk.log)
        with pytest.raises(tlog.CommitUnknownError):
            users.append("fourth")
        (found,) = status_of(other, ["users"]).partitions
        assert "CommitUnknownError" in str(found.poison) or "StorageError" in str(found.poison)
        with caplog.at_level(logging.WARNING, "tlog.keeper"):
            follower = started(other)
            until(lambda: "reopened partition=users" in caplog.text)
        assert status_of(other, ["users"]).partitions[0].poison is None
        assert not follower.is_leader
        seq = users.append("fifth").seq
        assert follower.wait_published(users, seq, 30).tree_size == seq + 1


def test_a_ledger_that_goes_and_comes_back(
    ledger: tlog.Ledger, started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """While its directory is gone the keeper says so, but not at each look, and it goes on when it is back."""
    away = ledger.path.with_name("away")
    with caplog.at_level(logging.WARNING, "tlog.keeper"):
        keeper = started(ledger)
        until(lambda: keeper.is_leader)
        ledger.path.rename(away)
        until(lambda: keeper.trouble is not None)
        time.sleep(0.3)  # in which it looks ten times and more
        away.rename(ledger.path)
        until(lambda: keeper.trouble is None)
    said = [record.getMessage().split()[0] for record in caplog.records]
    assert 0 < said.count("keeper_failed") <= 3  # a round under way finds other words for it than those that follow
    assert "keeper_recovered" in said
    seq = ledger.partition("users").append("back").seq
    keeper.wait_published(ledger.partition("users"), seq, 30)


def test_an_index_that_cannot_be_kept_stops_no_other(
    ledger: tlog.Ledger, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index of another log is a trouble of its partition only; when it is removed, a new one is made."""
    monkeypatch.setattr("tlog.keeping.indexing.RETRY_S", 0.05)
    users, more = ledger.partition("users"), ledger.partition("more")
    more.append_many(["one", "two", "three"])
    with tlog.Index(more) as index:
        index.catch_up()
    wrong = ledger.path / "index" / "users.sqlite"
    (ledger.path / "index" / "more.sqlite").rename(wrong)
    keeper = started(ledger, indexes=True)
    until(lambda: indexed(more) == 3)
    until(lambda: "users" in getattr(read_notice(ledger.files, ledger.path), "indexing", ()))
    keeper.wait_published(users, 1, 30)
    for path in wrong.parent.glob("users.sqlite*"):
        path.unlink()
    until(lambda: indexed(users) == 2)
    until(lambda: not getattr(read_notice(ledger.files, ledger.path), "troubled", 1))


def test_a_keeper_stops_in_the_middle_of_much_indexing(ledger: tlog.Ledger, started: Start) -> None:
    """What was indexed is kept, and the next one goes on from there."""
    users = ledger.partition("users")
    users.append_many({"number": number} for number in range(40_000))
    keeper = started(ledger, indexes=True)
    until(lambda: keeper.is_leader)
    keeper.stop()
    done = indexed(users)
    assert done < 40_002
    started(ledger, indexes=True)
    until(lambda: indexed(users) == 40_002)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "{" * 9000, "9" * 5000, '{"process":1}', '{"process":[]}', "\xff", "x" * 70_000,
     '{"process":1,"beat":1,"publishing":[],"indexing":{},"troubled":0}'],
)  # fmt: skip
def test_notices_that_are_none(ledger: tlog.Ledger, text: str) -> None:
    """Whatever lies there is read as a notice or as none, and the status is shown."""
    (ledger.path / NOTICE_NAME).write_text(text, encoding="latin-1")
    assert read_notice(ledger.files, ledger.path) is None
    assert status_of(ledger, ["users"]).partitions[0].entries == 2


def test_a_notice_is_bounded(ledger: tlog.Ledger) -> None:
    """Of many partitions in trouble some are named, and all are counted."""
    many = {f"p{number:04}": "\x01" * 5000 for number in range(2000)}
    write_notice(ledger.files, ledger.path, many, {}, blocked=7, missing=dict.fromkeys(many, many))
    assert (ledger.path / NOTICE_NAME).stat().st_size < MAX_NOTICE_SIZE
    notice = read_notice(ledger.files, ledger.path)
    assert notice is not None
    assert (len(notice.publishing), notice.troubled, notice.blocked) == (50, 2000, 7)
    assert [len(witnesses) for witnesses in notice.missing.values()] == [10] * 50
    assert 0 <= notice.age_s < 100
    fields = json.loads((ledger.path / NOTICE_NAME).read_text())
    fields["beat"] += 1e9
    (ledger.path / NOTICE_NAME).write_text(json.dumps(fields))
    later = read_notice(ledger.files, ledger.path)
    assert later is not None
    assert later.age_s == float("inf")


def test_a_status_hides_nothing_behind_what_cannot_be_read(ledger: tlog.Ledger) -> None:
    """A partition whose checkpoint is of another key is named as unreadable, and the others are shown."""
    users, more = ledger.partition("users"), ledger.partition("more")
    more.append("first")
    users.paths.checkpoint.write_bytes(more.publish().raw)
    status = status_of(ledger, ["more", "users"])
    assert [found.partition for found in status.partitions] == ["more"]
    assert list(status.unreadable) == ["users"]
    assert (status.is_kept, status.beat_age_s) == (False, None)
