"""Charts as numbers: where the points and bars of a drawing lie. The templates make SVG of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlog.index.counts import Counts
from tlog.index.fields import NS, parse_time
from tlog.report.overview import Point
from tlog.report.stats import time_line

WIDTH, HEIGHT = 1000, 100
MIN_SPAN = 60 * NS
MAX_BARS = 62
MIN_SLOTS = 14


@dataclass(frozen=True, slots=True)
class Growth:
    """A drawing of growth. line: the points of a line from the first entry to the last, as SVG has it. area: below it.

    rows: of the table that says the same.
    """

    line: str
    area: str
    rows: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """x, y, height: of the bar. name: of its span of time. count: events in it."""

    x: int
    y: float
    height: float
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Bars:
    """A drawing of events by time. unit: of time. width: of the drawing. most: the highest count. ends: first, last.

    is_short: whether the bars do not fill the drawing.
    """

    unit: str
    width: int
    most: int
    bars: tuple[Bar, ...]
    ends: tuple[str, str]
    is_short: bool


def growth_of(points: Sequence[Point]) -> Growth | None:
    """Return the drawing of growth, None where all came within a minute: there is nothing to see."""
    times = [parse_time(point.ts) or 0 for point in points]
    if not times or times[-1] - times[0] < MIN_SPAN:
        return None
    first, span, most = times[0], times[-1] - times[0], points[-1].size
    places = [
        f"{WIDTH * (time - first) / span:.1f},{HEIGHT - HEIGHT * point.size / most:.1f}"
        for time, point in zip(times, points, strict=True)
    ]
    line = " ".join(places)
    return Growth(line, f"0,{HEIGHT} {line} {WIDTH},{HEIGHT}", tuple(points[:: max(len(points) // 12, 1)]))


def bars_of(counts: Counts) -> Bars | None:
    """Return the bars of events by the time that they state, None where there are none."""
    unit, spans = time_line(counts.days, MAX_BARS)
    if not spans:
        return None
    most = max(span.entries for span in spans)
    bars = []
    for slot, span in enumerate(spans):
        if span.entries:
            height = round(max(HEIGHT * span.entries / most, 2.0), 2)  # one event beside thousands is still to be seen
            bars.append(Bar(10 * slot + 1, round(HEIGHT - height, 2), height, span.name, span.entries))
    width, ends = 10 * max(len(spans), MIN_SLOTS), (spans[0].name, spans[-1].name)
    return Bars(unit, width, most, tuple(bars), ends, len(spans) < MIN_SLOTS)
