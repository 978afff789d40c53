"""Following a query."""

from __future__ import annotations

import itertools
import threading
import tracemalloc
from pathlib import Path

import pytest

from tests.ledgers import QuickDisk, create, make_writable, opened
from tlog.errors import VerificationError
from tlog.index.live import follow_query
from tlog.index.query import Query

WAIT_S = 60.0


def test_what_matches_comes_in_order_and_once(tmp_path: Path) -> None:
    """Entries from before the start and those that come while another thread appends: all that match, and no others."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append_many({"actor": "ab"[n % 2], "n": n} for n in range(600))
    done = threading.Event()
    found = follow_query(partition, Query.parse("actor=a"), 100, stop=done.is_set, beat_s=WAIT_S)
    assert _seqs(itertools.islice(found, 250)) == list(range(100, 600, 2))
    more = threading.Thread(target=lambda: [partition.append({"actor": "ab"[n % 2]}) for n in range(20)])
    more.start()
    assert _seqs(itertools.islice(found, 10)) == list(range(600, 620, 2))
    more.join()
    done.set()
    assert list(found) == []


def test_beats_come_whatever_matches(tmp_path: Path) -> None:
    """Without entries, with many that do not match, and before one that is yet to come, None comes again and again."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append_many({"actor": "b", "n": n} for n in range(3000))
    looks: list[None] = []

    def stop() -> bool:
        looks.append(None)
        return False

    found = follow_query(partition, Query.parse("actor=a"), 0, stop=stop, beat_s=0)
    assert list(itertools.islice(found, 5)) == [None] * 5
    assert len(looks) == 5  # not only when all entries were looked at
    found = follow_query(partition, Query(), 3001, stop=lambda: False, beat_s=0)
    assert next(found) is None
    partition.append_many([1, 2])
    assert _seqs(entry for entry in itertools.islice(found, 6) if entry is not None) == [3001]


def test_a_slow_taker_costs_no_memory(tmp_path: Path) -> None:
    """Of 30 MB of entries that wait, only some are read ahead."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append_many({"n": n, "text": "x" * 30_000} for n in range(1000))
    tracemalloc.start()
    try:
        found = follow_query(partition, Query(), 0, stop=lambda: False, beat_s=WAIT_S)
        assert _seqs(itertools.islice(found, 10)) == list(range(10))
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_an_entry_that_was_replaced_behind_the_reader(tmp_path: Path) -> None:
    """The link to the last entry that was given out is checked, also after a pause."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append_many(range(3))
    found = follow_query(opened(tmp_path / "l"), Query(), 0, stop=lambda: False, beat_s=0)
    while (entry := next(found)) is None or entry.seq < 2:
        pass
    other = create(tmp_path / "other", disk=QuickDisk())
    other.append_many([0, 1, "other", 3])
    for path in (partition.paths.plain(0), partition.paths.lock):
        make_writable(path).write_bytes((tmp_path / "other" / path.relative_to(tmp_path / "l")).read_bytes())
    with pytest.raises(VerificationError, match="does not follow"):
        assert [entry for entry in itertools.islice(found, 50) if entry is not None] == []


def _seqs(found: object) -> list[int]:
    return [entry.seq for entry in found]  # type: ignore[attr-defined]
