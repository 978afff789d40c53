"""What `tlog stats` prints: small charts, as wide as the terminal. Only this command loads rich for its output."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable

from rich.bar import Bar
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from tlog.report.shown import visible
from tlog.report.stats import Statistics, time_line
from tlog_tools import output

WIDTH = 80
"""Columns where there is no terminal."""

MAX_WIDTH = 120
MAX_BARS = 31
"""Bars of the days; longer ranges are shown by week, month, year or decade."""

MAX_NAME = 32
"""Columns of a name."""

COLOUR = "cyan"


def print_statistics(found: Statistics) -> None:
    """Print statistics: facts, then a chart for days and for each field; plain where no terminal shows colours."""
    is_fancy = output.wants_colour(sys.stdout)
    text = io.StringIO()
    width = min(Console(file=sys.stdout).width, MAX_WIDTH) if sys.stdout.isatty() else WIDTH
    console = Console(
        file=text, width=width, force_terminal=is_fancy, color_system="standard" if is_fancy else None, highlight=False
    )
    console.print(Text(f"{found.partition}: {output.counted(found.entries, 'entry', 'entries')}", style="bold"))
    for label, value in _facts(found):
        console.print(Text(f"  {label:11}{value}"), soft_wrap=True)
    unit, spans = time_line(found.counts.days, MAX_BARS)
    earlier = [("before", found.counts.earlier)] if found.counts.earlier else []
    _print_chart(console, f"events per {unit}", [*earlier, *((span.name, span.entries) for span in spans)])
    for field, values in found.counts.fields.items():
        rows = [("-" if value is None else value, number) for value, number in values.counts]
        others = [("(others)", values.others)] if values.others else []
        _print_chart(console, f"events per {field}", [*rows, *others])
    for line in text.getvalue().splitlines():
        output.emit_line(line if is_fancy else line.rstrip())


def _facts(found: Statistics) -> Iterable[tuple[str, str]]:
    yield "origin", visible(found.origin)
    if found.oldest is not None:
        yield "logged", f"{found.oldest} to {found.newest}, by the log's clock"
    if found.published is None:
        yield "published", "nothing"
    else:
        age = "" if found.published_age_s is None else f", written {_duration(found.published_age_s)} ago"
        yield "published", f"{output.counted(found.published, 'entry', 'entries')}{age}; {found.unpublished:,} since"
    sizes = found.sizes
    compressed = f" ({_bytes(sizes.compressed)} compressed)" if sizes.compressed else ""
    signed = f"tiles {_bytes(sizes.tiles)}, checkpoints {_bytes(sizes.checkpoints)}"
    yield "bytes", f"segments {_bytes(sizes.segments)}{compressed}, {signed}, index {_bytes(sizes.index)}"
    yield "counted", f"{found.coverage}; not compared with the log, which 'tlog index check' does"


def _print_chart(console: Console, title: str, rows: list[tuple[str, int]]) -> None:
    if not rows:
        return
    most = max(number for _, number in rows)
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), expand=True)
    table.add_column(max_width=MAX_NAME, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1)
    for name, number in rows:
        shown = Text("  " + visible(name))
        if console.is_terminal:
            table.add_row(shown, f"{number:,}", Bar(max(most, 1), 0, number, color=COLOUR))
        else:
            table.add_row(shown, f"{number:,}", _PlainBar(number / max(most, 1)))
    console.print(Text(title, style="bold"))
    console.print(table)


class _PlainBar:
    """A bar of number signs, as wide as its cell where `part` is 1."""

    def __init__(self, part: float) -> None:
        self._part = part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Text]:
        width = options.max_width
        yield Text("#" * max(round(self._part * width), 1 if self._part else 0))


def _bytes(size: int) -> str:
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return output.counted(round(seconds / size), unit)
    return output.counted(round(seconds), "second")
