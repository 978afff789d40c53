"""Pictures of what was measured, as SVG that reads on light and on dark pages.

    python -m bench.plot docs/performance.json      from `python -m bench --output docs/performance.md`
    python -m bench.plot docs/performance-scale.csv from `python -m bench.scale`

The pictures lie beside the file: performance-bulk.svg, performance-threads.svg; performance-scale.svg.
"""

from __future__ import annotations

import csv
import importlib
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import bulk, peers, threads
from bench.harness import Row
from bench.table import figure, read_rows

INK = "#767e87"
"""Of text and axes: a grey that is dark enough for white pages and light enough for black ones."""

OURS, OTHERS, LIMIT = "#2f81d6", "#9aa3ad", "#d6862f"

SMOOTHED = 5
"""Samples of the long run that one point of its curves is the median of."""


def main() -> None:
    """Draw what the file on the command line holds."""
    source = Path(sys.argv[1])
    try:
        pyplot = _pyplot()
    except ImportError as err:
        sys.exit(f"bench.plot: matplotlib is not to be had here ({err}); nothing was drawn")
    drawings: dict[str, Callable[[Any, Path], None]] = (
        {"scale": _draw_scale}
        if source.suffix == ".csv"
        else {
            "bulk": lambda axes, path: _draw_bulk(axes, read_rows(path)),
            "threads": lambda axes, path: _draw_threads(axes, read_rows(path)),
        }
    )
    for name, draw in drawings.items():
        panels = 3 if name == "scale" else 1
        canvas, axes = pyplot.subplots(panels, 1, figsize=(7.2, 2.9 if panels == 1 else 5.4), layout="constrained")
        draw(axes, source)
        target = source.with_name(f"performance-{name}.svg")
        # No date, and always the same identifiers: the file changes only where the figures do.
        canvas.savefig(target, transparent=True, bbox_inches="tight", metadata={"Date": None})
        pyplot.close(canvas)
        print(target)


def _pyplot() -> Any:
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "tlog",
            "font.family": "sans-serif",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
        }
    )
    return importlib.import_module("matplotlib.pyplot")


def _draw_bulk(axes: Any, rows: Sequence[Row]) -> None:
    """Draw one bar for each log that takes the same entries."""
    found = [row for row in rows if row.group in {bulk.NAME, peers.NAME} and row.theirs is not None]
    bars = {row.reference: row.theirs.median for row in found if row.theirs is not None}
    bars["tlog"] = next(row for row in found if row.group == bulk.NAME).ours.median
    names = sorted(bars, key=lambda name: bars[name])
    drawn = axes.barh(names, [bars[name] for name in names], color=[OURS if n == "tlog" else OTHERS for n in names])
    axes.bar_label(drawn, [figure(bars[name], "") for name in names], padding=4)
    axes.set_title("Bulk append, durable and published at the end: entries a second")
    axes.margins(x=0.1)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _draw_threads(axes: Any, rows: Sequence[Row]) -> None:
    """Draw the rate by number of threads, for both ways to append and for one sync an entry."""
    found = [row for row in rows if row.group == threads.NAME and row.unit == "/s" and "published" not in row.reference]
    submit = [row for row in found if "submit" in row.what]
    append = [row for row in found if "submit" not in row.what]
    naive = [row.theirs.median for row in append if row.theirs is not None]
    labels = [f"{count}" for count in threads.THREADS]
    for values, name, colour in (
        ([row.ours.median for row in submit], f"submit, {threads.WINDOW} on their way a thread", OURS),
        ([row.ours.median for row in append], "append", LIMIT),
        (naive, "one fsync an entry", OTHERS),
    ):
        axes.plot(labels, values, marker="o", label=name, color=colour)
    axes.set_yscale("log")
    axes.set_title("Durable entries a second, by number of threads")
    axes.legend(frameon=False, labelcolor=INK)
    axes.grid(axis="y", alpha=0.2, color=INK)


def _draw_scale(axes: Sequence[Any], path: Path) -> None:
    """Draw rate, memory and proof latency by number of entries, one above the other."""
    with path.open(encoding="utf-8", newline="") as file:
        samples = list(csv.DictReader(file))
    entries = [int(sample["entries"]) / 1e6 for sample in samples]

    def column(name: str) -> list[float]:
        values = [float(sample[name]) for sample in samples]
        return [statistics.median(values[max(i - SMOOTHED + 1, 0) : i + 1]) for i in range(len(values))]

    for panel, (title, names) in zip(
        axes,
        (
            ("appended and published, entries a second", {"rate": "rate"}),
            ("memory, MB", {"rss_mb": "process", "worker_mb": "largest worker"}),
            ("a random proof, ms", {"proof_p50_ms": "p50", "proof_p99_ms": "p99"}),
        ),
        strict=True,
    ):
        for (name, label), colour in zip(names.items(), (OURS, LIMIT), strict=False):
            panel.plot(entries, column(name), color=colour, label=label)
        if len(names) > 1:
            panel.legend(frameon=False, labelcolor=INK, ncols=2)
        panel.set_title(title, loc="left", fontsize=9)
        panel.set_ylim(bottom=0)
        panel.grid(axis="y", alpha=0.2, color=INK)
    axes[-1].set_xlabel("million entries in the partition")


if __name__ == "__main__":
    main()
