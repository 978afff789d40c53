"""Statistics are what a reader of all entries and files would count."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tlog
from tests import ledgers
from tests.index.model import HOSTILE, TIMES
from tlog.errors import NotFoundError
from tlog.index.fields import NS, Fields, kept_value
from tlog.index.query import Query
from tlog.index.search import Index
from tlog.report.stats import Statistics, statistics, time_line

DAYS = st.dates(date(1678, 1, 1), date(2261, 12, 31))
ENTRIES = 600


def event(number: int) -> object:
    """An entry of any form: hostile values, other types, times before 1970, and no times at all."""
    if number % 50 == 7:
        return [number]
    return {
        "actor": HOSTILE[number % len(HOSTILE)] if number % 11 else number,
        "category": f"c{number % 30}",
        "outcome": ("success", "failure", None)[number % 3],
        "time": (*TIMES, "1969-12-31T23:59:59.999999999Z", f"1969-12-{number // 7 % 28 + 1:02d}T00:00:00Z")[number % 7],
    }


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> tlog.Partition:
    """A partition of 600 entries, of which 500 are published and 512 compressed... as far as they are published."""
    partition = ledgers.create(tmp_path_factory.mktemp("stats") / "ledger", disk=ledgers.QuickDisk())
    partition.append_many(event(number) for number in range(520))
    partition.publish()
    partition.seal()
    partition.append_many(event(number) for number in range(520, ENTRIES))
    return partition


@pytest.fixture(scope="module")
def found(users: tlog.Partition) -> Statistics:
    """Its statistics."""
    return statistics(users)


def test_counts_are_those_of_the_entries(users: tlog.Partition, found: Statistics) -> None:
    """Days, values and totals are what reading every entry gives."""
    fields = [Fields.of_entry(entry) for entry in users.entries()]
    days = Counter((date(1970, 1, 1) + timedelta(days=each.time // (86_400 * NS))).isoformat() for each in fields)
    assert min(days) == "1969-12-01"
    assert found.counts.days == tuple(sorted(days.items()))
    assert (found.counts.entries, found.counts.indexed, found.counts.earlier) == (ENTRIES, ENTRIES, 0)
    for name, values in found.counts.fields.items():
        counted = Counter(
            kept_value(value) if (value := next(iter(f.values(name)), None)) is not None else None for f in fields
        )
        assert len(values.counts) <= 10
        assert dict(values.counts).items() <= counted.items()
        assert values.others == ENTRIES - sum(number for _, number in values.counts)
        assert sorted((number for _, number in values.counts), reverse=True) == [
            number for _, number in counted.most_common(10)
        ]


def test_counts_of_a_range(users: tlog.Partition) -> None:
    """A query's counts are those of the entries that it matches."""
    query = Query.parse("since=1969-12-05 until=1970-01-01 outcome=failure")
    matching = [entry.seq for entry in users.entries() if query.matches(Fields.of_entry(entry))]
    with Index(users) as index:
        counts = index.counts(query, top=3)
        assert counts.entries == len(matching) > 5
        assert sum(number for _, number in counts.days) == counts.entries
        assert counts.fields["outcome"].counts == (("failure", len(matching)),)
        hits = [index.first(query, start) for start in (0, matching[0] + 1, matching[-1], matching[-1] + 1)]
    assert [hit and hit.entry.seq for hit in hits] == [matching[0], matching[1], matching[-1], None]


def test_only_the_last_days_are_listed(tmp_path: Path) -> None:
    """Of more than 1,000 days the last ones are listed, and the entries of the others counted together."""
    partition = ledgers.create(tmp_path / "ledger", disk=ledgers.QuickDisk())
    first = date(1990, 1, 1)
    partition.append_many({"time": (first + timedelta(days=number)).isoformat()} for number in range(1003))
    counts = statistics(partition).counts
    assert (len(counts.days), counts.earlier, counts.entries) == (1000, 3, 1003)
    assert counts.days[0] == ("1990-01-04", 1)


def test_sizes_are_those_of_the_files(users: tlog.Partition, found: Statistics) -> None:
    """Bytes are what the files have, each counted once."""
    root = users.paths.root
    sizes = {path.relative_to(root): path.stat().st_size for path in root.rglob("*") if path.is_file()}
    named = {name: sum(size for path, size in sizes.items() if path.parts[0] == name) for name in ("segments", "tile")}
    assert found.sizes.segments == named["segments"] > found.sizes.compressed > 0
    assert found.sizes.compressed == sum(size for path, size in sizes.items() if path.suffix == ".zst")
    assert found.sizes.tiles == named["tile"] > 0
    assert found.sizes.checkpoints == sum(size for path, size in sizes.items() if path.name.startswith("checkpoint"))
    assert found.sizes.index > 0


def test_what_is_signed(users: tlog.Partition, found: Statistics) -> None:
    """Published, unpublished, age and the log's own times."""
    assert (found.entries, found.published, found.unpublished) == (ENTRIES, 520, ENTRIES - 520)
    assert (found.oldest, found.newest) == (users.entry(0).ts, users.entry(ENTRIES - 1).ts)
    written = users.paths.checkpoint.stat().st_mtime
    assert statistics(users, clock=lambda: int((written + 60) * 1e9)).published_age_s == pytest.approx(60, abs=0.01)
    assert statistics(users, clock=lambda: 0).published_age_s == 0


def test_partitions_without_entries(tmp_path: Path) -> None:
    """A partition that is empty has statistics; one that does not exist has none."""
    partition = ledgers.create(tmp_path / "ledger")
    with pytest.raises(NotFoundError):
        statistics(partition)
    partition.create()
    empty = statistics(partition)
    assert (empty.entries, empty.oldest, empty.published, empty.published_age_s) == (0, None, None, None)
    assert (empty.counts.days, str(empty.coverage)) == ((), "index covers 0..0 of 0 entries")


@given(st.dictionaries(DAYS, st.integers(1, 1000), max_size=50), st.integers(1, 80))
def test_time_line(days: dict[date, int], limit: int) -> None:
    """Spans follow each other without gaps, are not too many, and no entry is lost."""
    unit, spans = time_line(sorted((day.isoformat(), number) for day, number in days.items()), limit)
    assert sum(span.entries for span in spans) == sum(days.values())
    assert len(spans) <= max(limit, 60 if unit == "decade" else 0)
    firsts = [span.first for span in spans]
    assert firsts == sorted(set(firsts))
    steps = {"day": (1, 1), "week": (7, 7), "month": (28, 31), "year": (365, 366), "decade": (3651, 3653)}
    low, high = steps[unit]
    assert all(low <= (after - before).days <= high for before, after in itertools.pairwise(firsts))
    if days:
        assert firsts[0] <= min(days)
        assert firsts[-1] <= max(days)
        assert len({span.name for span in spans}) == len(spans)


def test_units_of_a_time_line() -> None:
    """Longer ranges are shown in longer spans."""
    found = [
        time_line([("2026-01-01", 1), ((date(2026, 1, 1) + timedelta(days=last)).isoformat(), 1)], 31)
        for last in (0, 30, 31, 300, 3000, 30000)
    ]
    assert [line.unit for line in found] == ["day", "day", "week", "month", "year", "decade"]
    assert [line.spans[0].name for line in found[2:]] == ["week of 2025-12-29", "2026-01", "2026", "2020s"]
