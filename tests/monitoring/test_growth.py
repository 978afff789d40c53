"""Growth out of the ordinary: learned first, robust against what it looks for, each interval judged once."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.monitoring.parties import Clock, Log, Taken, monitor_of, settings_file
from tlog.monitoring.growth import ALL, MAX_CATEGORIES, OTHER, Baseline, category_of, judge
from tlog.monitoring.settings import Growth
from tlog.monitoring.state import MonitorState

GROWTH = Growth(interval_s=100, factor=8, least=10, most=50)


def state_with(directory: Path, counts: dict[int, int]) -> MonitorState:
    """Return a state in which these intervals were counted."""
    MonitorState.create(directory)
    state = MonitorState(directory)
    for interval, entries in counts.items():
        state.count("log", ALL, interval, entries)
    return state


def test_it_learns_first(tmp_path: Path) -> None:
    """Nothing is said of what came before enough intervals, and how many are missing is told."""
    with state_with(tmp_path / "m", {100 + number: 10 for number in range(5)}) as state:
        state.count("log", ALL, 105, 1_000_000)
        assert judge(state, "log", GROWTH, 107 * 100.0) == ([], 4)
        assert judge(state, "empty", GROWTH, 0.0) == ([], 10)


def test_a_burst_and_a_silence(tmp_path: Path) -> None:
    """A burst is said once, a silence is said, and what was a burst does not move what is usual."""
    with state_with(tmp_path / "m", {number: 100 + number % 3 for number in range(100, 120)}) as state:
        assert judge(state, "log", GROWTH, 121 * 100.0) == ([], 0)
        state.count("log", ALL, 120, 5000)
        (alert,), _ = judge(state, "log", GROWTH, 122 * 100.0)
        assert (alert.kind, alert.details["entries"], alert.details["usual"]) == ("growth", 5000, 101)
        assert judge(state, "log", GROWTH, 122 * 100.0 + 99) == ([], 0)
        state.count("log", ALL, 122, 180)
        alerts, _ = judge(state, "log", GROWTH, 124 * 100.0)
        assert [one.details["entries"] for one in alerts] == [0]  # 121 was silent, 122 is within 8 deviations of 10


def test_a_category_of_its_own(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """Entries are counted by category and sequencing time: a burst in one is found although all together are usual."""
    more = "[log.growth]\ninterval_s = 100\nleast = 10\nmost = 50"
    path = settings_file(tmp_path / "m", [log], in_log=more)
    with monitor_of(path, clock, taken) as monitor:
        for number in range(20):
            clock.now_s += 100
            log.grow(
                *[{"category": "auth", "action": "x"}] * 100, *[{"category": "admin", "action": "y"}] * (number % 2)
            )
            monitor.round()
        assert monitor.learning[log.origin] == 0
        assert b"growth_learning" in monitor.metrics()
        assert taken.bodies == []
        clock.now_s += 100
        log.grow(*[{"category": "admin", "action": "y"}] * 101)
        clock.now_s += 200
        monitor.round()
        assert {body["category"] for body in taken.bodies} == {"auth", "admin"}
        assert "0 entries of the category 'auth' in 100 s, where 100 are usual" in taken.bodies[1]["message"]


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60))
def test_the_median_is_never_unusual(counts: list[int]) -> None:
    """Whatever was counted, its median is usual, and so is a count one beside it."""
    baseline = Baseline.of(counts)
    assert not baseline.is_unusual(round(baseline.usual), 1.0)
    assert baseline.is_unusual(round(baseline.usual + 9 * baseline.deviation) + 1, 8)


def test_very_many_categories_are_one() -> None:
    """A writer that makes up categories does not fill the state."""
    known: dict[str, None] = {}
    for number in range(1000):
        known[category_of(known, str(number))] = None
    assert len(known) == MAX_CATEGORIES + 1
    assert OTHER in known
