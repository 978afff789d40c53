"""Growth out of the ordinary: the entries of an interval against the median of those before it.

The median and the median absolute deviation (MAD) are not moved by the outliers that are looked for. 1.4826 times the
MAD is the standard deviation where counts are normally distributed; it is not let below the square root of the median,
that of counts of independent events, nor below 1. Source: Leys et al., "Detecting outliers", JESP 49 (2013).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import median

from tlog.monitoring.alerts import Alert
from tlog.monitoring.settings import Growth
from tlog.monitoring.state import MonitorState
from tlog.report.shown import visible

ALL = "*"
"""What the entries of all categories are counted under."""

OTHER = "(other)"
MAX_CATEGORIES = 64
MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is ordinary. intervals: that it was learned from. usual: the median. deviation: robust, at least 1."""

    intervals: int
    usual: float
    deviation: float

    @classmethod
    def of(cls, counts: list[int]) -> Baseline:
        """Return what is ordinary after these counts, of one interval or more."""
        usual = median(counts)
        mad = median(abs(count - usual) for count in counts)
        return cls(len(counts), usual, max(MAD_TO_DEVIATION * mad, sqrt(usual), 1.0))

    def __str__(self) -> str:
        return f"{self.usual:g} are usual (median of {self.intervals} intervals, deviation {self.deviation:.1f})"

    def is_unusual(self, count: int, factor: float) -> bool:
        """Whether a count is further from the median than so many deviations."""
        return abs(count - self.usual) > factor * self.deviation


def category_of(known: Mapping[str, object], category: str) -> str:
    """Return what a category is counted under: itself, unless there are very many."""
    return category if category in known or len(known) < MAX_CATEGORIES else OTHER


def judge(state: MonitorState, origin: str, growth: Growth, now_s: float) -> tuple[list[Alert], int]:
    """Judge the intervals that ended, one interval after their end; return the alerts, and what is still to learn.

    The number is of intervals that are missing before anything can be said, 0 where the monitor has learned. An
    interval before a category was first seen counts as empty only if the log was followed then.
    """
    newest = int(now_s // growth.interval_s) - 2
    counts = state.counts(origin)
    if not counts:
        return [], growth.least
    first = min(counts[ALL])
    judged = state.judged(origin)
    # What was before the monitor began is learned from, and not judged.
    start = newest if judged is None else judged + 1
    alerts: list[Alert] = []
    for interval in range(max(start, first, newest - growth.most), newest + 1):
        begin = max(first, interval - growth.most)
        if interval - begin < growth.least:
            continue
        for category, by_interval in counts.items():
            past = [by_interval.get(number, 0) for number in range(begin, interval)]
            baseline, found = Baseline.of(past), by_interval.get(interval, 0)
            if baseline.is_unusual(found, growth.factor):
                message = f"{_what(found, category, growth)}, where {baseline}"
                details = {"category": category, "interval_begin": interval * growth.interval_s, "entries": found}
                alerts.append(Alert(origin, "growth", "warning", message, {**details, "usual": baseline.usual}))
    if newest >= start:
        state.judge(origin, newest, newest - growth.most)
    return alerts, max(0, growth.least - (newest + 1 - max(first, newest + 1 - growth.most)))


def _what(found: int, category: str, growth: Growth) -> str:
    what = "entries" if category == ALL else f"entries of the category {visible(category)!r}"
    return f"{found:,} {what} in {growth.interval_s:,} s"
