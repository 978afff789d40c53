"""What strangers can ask of a monitor's or a witness's tree, and what it costs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.monitoring.parties import Clock, Log, Taken, monitor_of, settings_file
from tests.witnessing.parties import new_witness
from tlog.checkpoint import Checkpoint
from tlog.earlier import verify_earlier_root
from tlog.errors import BackpressureError, NotFoundError
from tlog.mirroring.source import DirectorySource, SourceTiles
from tlog.monitoring import proving
from tlog.monitoring.monitor import Monitor
from tlog.monitoring.proving import EarlierRoots
from tlog.monitoring.witness import WitnessTrees
from tlog.policy import Policy
from tlog.reader import TileReader
from tlog.tile import Tile
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.request import origin_hash
from tlog_server.monitoring import create_monitor_app
from tlog_server.witnessing import create_witness_app


class Counting:
    """The tiles of a log's site, counted; `wait` is called before each reading."""

    def __init__(self, log: Log, wait: Callable[[], object] = lambda: None) -> None:
        self.read, self._wait = 0, wait
        self._tiles = SourceTiles(DirectorySource(log.site))

    def read_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
        """See `TileSource`."""
        self._wait()
        self.read += 1
        return self._tiles.read_tiles(tiles)


def tree_of(checkpoint: Checkpoint, tiles: Counting) -> Callable[[str], tuple[Checkpoint, TileReader]]:
    """Return what knows one tree only; the reader is new each time, as at a witness."""
    return lambda _: (checkpoint, TileReader(tiles, checkpoint.tree_size, checkpoint.root_hash))


def test_the_same_is_made_once(log: Log) -> None:
    """An answer is remembered; sizes that the tree has not cost nothing; another checkpoint is another question."""
    tiles, shown = Counting(log), log.partition.checkpoint()
    roots = EarlierRoots(tree_of(shown, tiles))
    answer = roots.answer("", 2)
    assert verify_earlier_root(answer, Policy.for_log(log.partition.vkey), log.origin, 2).signed.tree_size == 3
    read = tiles.read
    assert read > 0
    assert roots.answer("", 2) == answer
    for size in (0, 4, 2**63 - 1, 2**64 - 1):
        with pytest.raises(NotFoundError, match="has 3 entries"):
            roots.answer("", size)
    assert tiles.read == read
    log.grow("more")
    roots._tree_of = tree_of(log.partition.checkpoint(), tiles)
    assert roots.answer("", 2) != answer
    assert tiles.read > read


def test_what_is_remembered_is_bounded(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers that were asked for last are kept."""
    monkeypatch.setattr(proving, "MAX_REMEMBERED", 2)
    tiles = Counting(log)
    roots = EarlierRoots(tree_of(log.partition.checkpoint(), tiles))
    for size in (1, 2, 1, 3):
        roots.answer("", size)
    read = tiles.read
    roots.answer("", 1)
    assert tiles.read == read
    roots.answer("", 2)
    assert tiles.read > read
    assert len(roots._made) == 2


def test_few_are_made_at_once(log: Log) -> None:
    """So many of one log, so many in all: others are refused, but for what is known; afterwards there is room."""
    gate, begun = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        begun.release()
        assert gate.wait(60)

    log.grow(*range(30))
    shown = log.partition.checkpoint()
    roots = EarlierRoots(tree_of(shown, Counting(log)))
    known = roots.answer("one", 20)
    roots._tree_of = tree_of(shown, Counting(log, wait))
    few = proving.MAX_OF_ONE_LOG
    assert 2 * few == proving.MAX_AT_ONCE
    with ThreadPoolExecutor(proving.MAX_AT_ONCE) as pool:
        try:
            made = [pool.submit(roots.answer, "one", size) for size in range(1, few + 1)]
            for _ in range(few):
                assert begun.acquire(timeout=60)
            with pytest.raises(BackpressureError):
                roots.answer("one", 15)
            made += [pool.submit(roots.answer, "two", size) for size in range(few + 1, 2 * few + 1)]
            for _ in range(few):
                assert begun.acquire(timeout=60)
            with pytest.raises(BackpressureError):
                roots.answer("three", 15)
            assert roots.answer("one", 20) == known
        finally:
            gate.set()
        assert all(answer.result() for answer in made)
    assert roots.answer("one", 15)


def test_a_place_is_free_again_after_a_failure(log: Log) -> None:
    """Trees that cannot be read take no places away."""
    shown = log.partition.checkpoint()
    roots = EarlierRoots(lambda _: (shown, TileReader(Counting(log), 3, bytes(32))))
    for _ in range(2 * proving.MAX_AT_ONCE):
        with pytest.raises(Exception, match="do not fold"):
            roots.answer("", 2)


@pytest.fixture
def monitor(log: Log, clock: Clock, taken: Taken, tmp_path: Path) -> Monitor:
    """A monitor that has read the log."""
    monitor = monitor_of(settings_file(tmp_path / "m", [log]), clock, taken)
    monitor.round()
    return monitor


def test_over_http(log: Log, monitor: Monitor, tmp_path: Path) -> None:
    """Both applications answer alike, take one spelling of a size, and say 503 where the site shows other tiles."""
    place, policy = origin_hash(log.origin), Policy.for_log(log.partition.vkey)
    with monitor, new_witness(tmp_path / "w", "w.example.net", log.partition.vkey) as witness:
        trees = WitnessTrees(witness, {log.origin: str(log.site)})
        apps = [create_monitor_app(monitor), create_witness_app(witness, EarlierRoots(trees.latest))]
        ignorant = create_witness_app(witness).test_client()
        clients = [app.test_client() for app in apps]
        assert clients[1].get(f"/{place}/consistency/2").status_code == 404
        witness.add_checkpoint(ConsistencyProof(0, (), log.partition.checkpoint()).format())
        assert ignorant.get(f"/{place}/consistency/2").status_code == 404
        for client in clients:
            reply = client.get(f"/{place}/consistency/2")
            assert (reply.status_code, reply.content_type) == (200, "text/plain; charset=utf-8")
            assert reply.headers["Cache-Control"] == "no-store"
            assert verify_earlier_root(reply.data, policy, log.origin, 2).signed.tree_size == 3
            for path in ("4", "0", "02", "+2", "-1", "2.0", "two", "", "9" * 30, "2/", "\uff12"):
                assert client.get(f"/{place}/consistency/{path}").status_code == 404, path
            for origin in ("0" * 64, place.upper(), log.origin, "x"):
                assert client.get(f"/{origin}/consistency/2").status_code == 404, origin
            assert client.post(f"/{place}/consistency/2").status_code == 405
        assert clients[0].get(f"/{place}/consistency/2").data == clients[1].get(f"/{place}/consistency/2").data
        log.site.rename(tmp_path / "away")
        assert [client.get(f"/{place}/consistency/2").status_code for client in clients] == [200, 200]
        assert [client.get(f"/{place}/consistency/1").status_code for client in clients] == [404, 404]
        log.site.mkdir()
        other = Log(tmp_path / "other", Clock())
        other.grow(*range(3))
        (tmp_path / "other" / "site").rename(log.site / "x")
        log.site.rename(tmp_path / "empty")
        (tmp_path / "empty" / "x").rename(log.site)
        for client in clients:
            refused = client.get(f"/{place}/consistency/1")
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
            assert str(tmp_path) not in refused.text


def test_threads_of_a_server_are_left_for_others() -> None:
    """Whatever strangers ask, half of a witness's threads are free to cosign."""
    from tlog_server.party_running import THREADS

    assert proving.MAX_AT_ONCE <= THREADS // 2
