"""UUIDs of version 7: their layout, and that they only grow."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from uuid import UUID

import pytest

from tlog.events import UUID7Source, uuid7


def test_layout() -> None:
    """Version 7, the variant of RFC 9562, the present time in milliseconds, lower case."""
    before = time.time_ns() // 10**6
    text = uuid7()
    value = UUID(text)
    assert str(value) == text
    assert value.version == 7
    assert value.variant == "specified in RFC 4122"
    assert before <= value.int >> 80 <= time.time_ns() // 10**6 + 1


def test_they_only_grow() -> None:
    """Many a millisecond, and each greater than the one before, as text as well."""
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(set(made))
    assert len({text[:13] for text in made}) < len(made)


def test_threads_share_one_order() -> None:
    """In each thread they grow, and no two are the same."""
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        made: list[list[str]] = [[] for _ in range(8)]
        threads = [threading.Thread(target=_fill, args=(item,)) for item in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert all(item == sorted(item) for item in made)
    assert len({text[:28] for item in made for text in item}) == 8 * 2000  # the counter, too, not only random bits


def _fill(made: list[str]) -> None:
    for _ in range(2000):
        made.append(uuid7())  # noqa: PERF401 - one at a time, so that threads take turns


def test_a_clock_that_steps_back_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a clock that stands still, too: the counter goes on."""
    source = UUID7Source()
    now = 1_800_000_000_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now)
    first = source.make()
    now -= 3_600 * 10**9
    later = [source.make() for _ in range(100)]
    now += 2 * 3_600 * 10**9
    last = source.make()
    assert [first, *later, last] == sorted({first, *later, last})
    assert {UUID(text).int >> 80 for text in (first, *later)} == {1_800_000_000_000}
    assert UUID(last).int >> 80 == 1_800_003_600_000


def test_a_full_counter_runs_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last count of a millisecond comes the next millisecond."""
    source = UUID7Source()
    monkeypatch.setattr(time, "time_ns", lambda: 5 * 10**6)
    source._last = (5 << 42) + (1 << 42) - 2
    made = [UUID(source.make()) for _ in range(3)]
    assert [value.int >> 80 for value in made] == [5, 6, 6]
    assert made == sorted(made)
    assert all(value.version == 7 for value in made)


def test_a_forked_process_makes_others() -> None:
    """A child that is forked while a thread holds the lock neither hangs nor goes on counting where its parent was."""
    source = UUID7Source()
    parent = source.make()
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with source._mutex:
            entered.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(10)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, "\n".join(source.make() for _ in range(10)).encode())
        os._exit(0)
    leave.set()
    holder.join()
    os.close(writing)
    is_ready, _, _ = select.select([reading], [], [], 10)
    if not is_ready:
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        child = pipe.read().split("\n")
    assert os.waitpid(pid, 0)[1] == 0
    mine = [source.make() for _ in range(10)]
    assert child == sorted(child)
    assert len({text[:28] for text in (parent, *child, *mine)}) == 21


def test_threads_take_turns() -> None:
    """While one thread is making one, another waits; a signal handler of the same thread need not wait for itself."""
    source = UUID7Source()
    made: list[str] = []
    other = threading.Thread(target=lambda: made.append(source.make()), daemon=True)
    assert source._mutex.acquire(timeout=1)
    assert source._mutex.acquire(timeout=1)
    made.append(source.make())
    other.start()
    other.join(0.1)
    assert len(made) == 1
    source._mutex.release()
    source._mutex.release()
    other.join(10)
    assert made == sorted(made)
    assert len(made) == 2
