"""The progress bar. Only a terminal loads this module: rich takes longer to import than most commands take to run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text


class _Entries(ProgressColumn):
    """How many entries are done, of how many, and how fast."""

    def render(self, task: Task) -> Text:
        total = "" if task.total is None else f" of {task.total:,.0f}"
        rate = f", {task.completed / task.elapsed:,.0f}/s" if task.elapsed else ""
        return Text(f"{task.completed:,.0f}{total} entries{rate}")


@contextlib.contextmanager
def show_bar(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error while the block runs, and remove it; yield what must be told the entries done."""
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        _Entries(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(),
    ]
    if total is not None:
        columns.append(TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total)
        yield lambda done: bars.update(task, completed=done)
