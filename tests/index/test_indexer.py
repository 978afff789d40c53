"""Following the log: several processes, kills, forks, lag."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.incidents.programs import start
from tests.index.model import events
from tests.ledgers import SEGMENT_ENTRIES, create, lines_of, opened
from tlog.errors import CorruptLedgerError
from tlog.index import indexer
from tlog.index.search import Index, index_path
from tlog.index.sqlite import SqliteStore

CATCH_UP = """
import sys
from pathlib import Path
import tlog
from tlog.index import indexer
indexer.BATCH_ENTRIES = 64
partition = tlog.Ledger.open(sys.argv[1]).partition("users")
print("started", flush=True)
print(tlog.Index(partition).catch_up(lambda indexed: print(indexed, flush=True)), flush=True)
"""


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 64 entries at most a list of lines."""
    monkeypatch.setattr(indexer, "BATCH_ENTRIES", 64)


def test_catching_up_in_steps(tmp_path: Path) -> None:
    """Each call adds what was appended since the last one, and the index is what one made at once is."""
    partition = create(tmp_path / "l")
    index = Index(partition)
    for count in (1, 255, 1, 256, 300):
        partition.append_many(events(count))
        assert index.catch_up() == count
        assert index.catch_up() == 0
        partition.publish()
        partition.seal()
    told: list[int] = []
    path = index_path(partition)
    path.with_name(f"{path.name}.tmp").write_bytes(b"left by a rebuild that was killed")
    index.rebuild(told.append)
    assert told == [813]
    assert index.check().indexed == 813


@pytest.mark.usefixtures("small_batches")
def test_progress_and_batches(tmp_path: Path) -> None:
    """Many batches follow each other, and progress is told of each."""
    partition = create(tmp_path / "l")
    partition.append_many(events(1000))
    index, told = Index(partition), list[int]()
    assert index.catch_up(told.append) == 1000
    assert told == [256, 512, 768, 1000]
    index.check()


def test_a_damaged_log_is_not_indexed(tmp_path: Path) -> None:
    """Indexing stops at an entry that does not continue the chain; what comes before it stays indexed."""
    partition = create(tmp_path / "l")
    partition.append_many(events(SEGMENT_ENTRIES + 50))
    path = partition.paths.plain(SEGMENT_ENTRIES)
    path.write_bytes(path.read_bytes().replace(b'"actor":"alice"', b'"actor":"alixe"', 1))
    with pytest.raises(CorruptLedgerError, match="entry 2"):
        Index(partition).catch_up()
    assert Index(partition).coverage().indexed == 0


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """A process that is killed while it indexes leaves whole batches, and the next one goes on from there."""
    partition = create(tmp_path / "l")
    partition.append_many(events(20_000))
    partition.close()
    rng, seen = random.Random(5), [0]
    for _ in range(5):
        with start(CATCH_UP, tmp_path / "l") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            for _ in range(rng.randrange(1, 4)):
                process.stdout.readline()
            time.sleep(rng.random() / 200)
            process.send_signal(signal.SIGKILL)
        index = Index(opened(tmp_path / "l"))
        seen.append(index.coverage().indexed)
        assert seen[-1] >= seen[-2]
        assert index.count("") == seen[-1]
        index.close()
    assert 0 < seen[1] < 20_000
    assert len(set(seen)) > 3
    index = Index(opened(tmp_path / "l"))
    assert index.catch_up() == 20_000 - seen[-1]
    assert index.check().indexed == 20_000


def test_several_processes_at_once(tmp_path: Path) -> None:
    """Whoever comes second with a batch goes on after it: all entries are added once, and all processes end well."""
    partition = create(tmp_path / "l")
    partition.append_many(events(4000))
    processes = [start(CATCH_UP, tmp_path / "l") for _ in range(3)]
    added = []
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        added.append(int(output.split()[-1]))
    assert sum(added) == 4000
    assert Index(partition).check().indexed == 4000


def test_following(tmp_path: Path) -> None:
    """A thread indexes what is appended, tells its lag and its trouble, and goes on when that is over."""
    partition = create(tmp_path / "l")
    index = Index(partition)
    follower = index.follow()
    partition.append_many(events(10))
    _wait_until(lambda: index.coverage().indexed == 10)
    assert (follower.lag, follower.error) == (0, None)
    path = partition.paths.plain(0)
    mode = path.stat().st_mode
    partition.append(1)
    _wait_until(lambda: index.coverage().indexed == 11)
    raw = path.read_bytes()
    partition.append({"actor": "alice"})
    path.write_bytes(path.read_bytes()[: len(raw)] + lines_of(partition)[-1].replace(b"alice", b"alixe") + b"\n")
    _wait_until(lambda: isinstance(follower.error, CorruptLedgerError) or index.coverage().indexed == 12)
    if index.coverage().indexed == 11:
        path.write_bytes(raw + lines_of(partition)[-1].replace(b"alixe", b"alice") + b"\n")
        _wait_until(lambda: index.coverage().indexed == 12 and follower.error is None)
    assert path.stat().st_mode == mode
    follower.stop()
    partition.append(2)
    assert index.coverage().lag == 1


def test_stopping_early(tmp_path: Path, small_batches: None) -> None:  # noqa: ARG001
    """A follower with much to do ends soon when it is told to, with what it has."""
    partition = create(tmp_path / "l")
    partition.append_many(events(20_000))
    follower = Index(partition).follow()
    _wait_until(lambda: index_path(partition).exists() and follower.lag < 20_000)
    follower.stop()
    index = Index(partition)
    assert 0 < index.coverage().indexed < 20_000
    index.catch_up()
    assert index.count("") == 20_000


def test_after_a_fork(tmp_path: Path) -> None:
    """A forked child uses a connection of its own, and the parent's goes on working."""
    partition = create(tmp_path / "l")
    partition.append_many(events(100))
    index = Index(partition)
    index.catch_up()
    partition.append_many(events(100))
    partition.close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            worked = index.catch_up() == 100 and index.count("") == 200
            store = index._store
            assert isinstance(store, SqliteStore)
            code = 0 if worked and store._open is not None and store._open[0][0] == os.getpid() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert index.check().indexed == 200


def test_hostile_entries_make_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that unfold to many terms are written sooner, and unfold to no more than a few times their size."""
    partition = create(tmp_path / "l")
    partition.append({"data": {"k" * 250: list(range(9000))}})
    (made,) = indexer.documents_from(partition, 0)
    assert len(made.terms) < 6 * len(partition.entry(0).raw)
    partition.append_many([{"data": {"k" * 250: list(range(500))}}] * 299)
    monkeypatch.setattr(indexer, "BATCH_SIZE", 1 << 20)
    index, told = Index(partition), list[int]()
    index.catch_up(told.append)
    assert told == [256, 300]
    assert (index.count(f"data.{'k' * 250}=8999"), index.count(f"data.{'k' * 250}=499")) == (1, 300)


def _wait_until(condition: object) -> None:
    assert callable(condition)
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within 10 seconds")
