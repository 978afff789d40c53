"""R9, Mammoth 2025h1: the clock went back, and a tree head was older than an entry in it."""

from __future__ import annotations

from pathlib import Path

from tests.ledgers import QuickDisk, StepClock, create, opened

HOUR_NS = 3_600_000_000_000


def test_r09_an_hour_back_between_append_and_publish(tmp_path: Path) -> None:
    """The clock steps back an hour between append and publish: time is held, and the next entry is not older."""
    clock = StepClock()
    partition = create(tmp_path, disk=QuickDisk(), clock=clock)
    last = partition.entry(partition.append("before").seq).ts
    clock.now_ns -= HOUR_NS
    checkpoint = partition.publish()
    assert checkpoint.extensions == ()  # a checkpoint of a log states no time that could be older
    assert partition.entry(partition.append("after").seq).ts == last
    partition.close()
    partition = opened(tmp_path, disk=QuickDisk(), clock=clock)
    assert partition.entry(partition.append("after a restart").seq).ts == last
    clock.now_ns += 2 * HOUR_NS
    assert partition.entry(partition.append("later").seq).ts > last
    assert partition.verify(checkpoint=checkpoint.raw).entries == 4


def test_r09_two_writers_whose_clocks_disagree(tmp_path: Path) -> None:
    """Two writers take turns, one an hour behind the other: ts never goes back, and the chain verifies."""
    ahead, behind = StepClock(), StepClock()
    behind.now_ns -= HOUR_NS
    writers = [create(tmp_path, disk=QuickDisk(), clock=ahead), opened(tmp_path, disk=QuickDisk(), clock=behind)]
    for number in range(20):
        assert writers[number % 2].append(number).seq == number
    times = [entry.ts for entry in writers[0].entries()]
    assert times == sorted(times)
    assert len(set(times)) == 10
    assert writers[1].publish().tree_size == writers[0].verify().entries == 20
