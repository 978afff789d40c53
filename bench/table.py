"""The results as text: a table for each group, in Markdown that reads well on a terminal too, and as JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.harness import Bar, Bench, Row, Sample
from bench.machine import Machine

HEADER = ("what", "ours", "reference", "ratio", "bar", "result", "detail")

NUMBERS = (1, 3)
"""Columns that are aligned to the right."""

BEGIN, END = "<!-- bench: {} -->", "<!-- bench: end of {} -->"


def figure(value: float, unit: str) -> str:
    """Return a figure with its unit: three digits are enough of what varies by some percent."""
    if value >= 1000:
        digits = len(f"{value:.0f}")
        return f"{round(value, 3 - digits):,.0f}{unit}"
    return f"{value:.3g}{unit}"


def heading(bench: Bench, machine: Machine, command: str, seconds: float) -> str:
    """Return the lines above the tables: machine, entries, how it was measured."""
    line = bench.event_size + bench.overhead
    go = ", ".join(f"{name} {version}" for name, version in bench.go.versions.items()) or bench.go.missing
    return (
        f"Machine: {machine.format()}.\n\n"
        f"Entries: {bench.event_size:.0f} bytes of JSON on average, {line:.0f} bytes as a line of a segment. "
        f"References in Go: {go}. Median of {bench.scale.rounds} alternating runs, ± half the range; the ratio is ours "
        f"by the reference's. Command: `{command}`, {seconds / 60:.1f} minutes.\n"
    )


def tables(rows: Sequence[Row]) -> str:
    """Return one table for each group, under its name."""
    parts = []
    for group, members in itertools.groupby(rows, key=lambda row: row.group):
        parts.append(f"### {group}\n\n{_aligned([HEADER, *map(_cells, members)])}\n")
    return "\n".join(parts)


def summary(rows: Sequence[Row]) -> str:
    """Return how many rows pass, and which do not."""
    judged = [(row, bar, verdict) for row in rows for bar, verdict in zip(row.bars, row.verdicts, strict=True)]
    lines = [f"{sum(verdict == 'pass' for _, _, verdict in judged)} of {len(judged)} bars are met."]
    for row, bar, verdict in judged:
        if verdict != "pass":
            against = f", against {row.reference}" if bar.on == "ratio" else ""
            lines.append(f"- {verdict}: {_bar(bar, row.unit)}: {row.group}: {row.what}{against}")
    return "\n".join(lines) + "\n"


def write_json(path: Path, machine: Machine, command: str, rows: Sequence[Row]) -> None:
    """Write everything that was measured, every run of it, for `bench.plot` and for comparisons."""
    content = {
        "command": command,
        "machine": asdict(machine),
        "rows": [asdict(row) | {"ratio": row.ratio, "verdicts": row.verdicts} for row in rows],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file that `write_json` wrote."""
    return [_row(fields) for fields in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def has_place(path: Path, name: str) -> bool:
    """Whether a file has a place of this name, between two markers."""
    text = path.read_text(encoding="utf-8")
    return 0 <= text.find(BEGIN.format(name)) < text.find(END.format(name))


def put(path: Path, name: str, content: str) -> None:
    """Replace what stands between two markers of a file. It must have them; `has_place` tells."""
    text = path.read_text(encoding="utf-8")
    begin, end = BEGIN.format(name), END.format(name)
    start, stop = text.index(begin) + len(begin), text.index(end)
    path.write_text(f"{text[:start]}\n\n{content.strip()}\n\n{text[stop:]}", encoding="utf-8")


def _row(fields: dict[str, Any]) -> Row:
    def sample(value: dict[str, Any] | None) -> Sample | None:
        return None if value is None else Sample(tuple(value["runs"]))

    ours = sample(fields["ours"])
    if ours is None:
        raise AssertionError("a row has a figure of ours")
    return Row(
        fields["group"],
        fields["what"],
        fields["unit"],
        ours,
        fields["reference"],
        sample(fields["theirs"]),
        tuple(Bar(**bar) for bar in fields["bars"]),
        fields["detail"],
    )


def _cells(row: Row) -> tuple[str, ...]:
    theirs = "" if row.theirs is None else figure(row.theirs.median, row.unit) + _spread(row.theirs)
    return (
        row.what,
        figure(row.ours.median, row.unit) + _spread(row.ours),
        row.reference + (f": {theirs}" if theirs else ""),
        "" if row.ratio is None else f"{row.ratio:.3g}" if row.ratio < 100 else f"{row.ratio:,.0f}",
        ", ".join(_bar(bar, row.unit) for bar in row.bars),
        ", ".join(row.verdicts),
        row.detail,
    )


def _spread(sample: Sample) -> str:
    return f" ±{sample.spread:.0%}" if len(sample.runs) > 1 else ""


def _bar(bar: Bar, unit: str) -> str:
    limit = f"{bar.limit:,.0f}" if bar.limit >= 1000 else f"{bar.limit:g}"
    return f"{bar.sign} {limit}{unit if bar.on == 'value' else ' times'}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with columns of even width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| "
        + " | ".join(_padded(cell, width, column) for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 1) + (":" if i in NUMBERS else "-") for i, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _padded(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column in NUMBERS else cell.ljust(width)
