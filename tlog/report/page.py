"""An audit report as one HTML file: no script, nothing from elsewhere, charts drawn as SVG.

What entries say was written by strangers. Every value goes through `visible` and is escaped; none stands in an
attribute. The page forbids scripts and everything from elsewhere by a policy of its own besides.
"""

from __future__ import annotations

import shlex
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlog._strict import format_base64
from tlog.errors import StorageError, VerificationError
from tlog.events import SEVERITIES
from tlog.index.counts import Counts, Values
from tlog.index.fields import Fields, format_time
from tlog.report.contents import GRAVEST, AuditReport, Problem
from tlog.report.proofs import CHECKPOINT, LISTED, PROOF, SHOWN, shown_values
from tlog.report.shown import cut, visible
from tlog.report.stats import time_line

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")

MAX_BARS = 62
"""Bars of the chart of days; longer ranges are shown by week, month, year or decade."""

MIN_SLOTS = 14
"""Bars for which there is room at least, so that one day is a bar and not a wall."""

MAX_CELL = 200
"""Characters of a value in a table."""


def format_report(report: AuditReport) -> bytes:
    """Return the report's page: one HTML file in UTF-8. Raises: StorageError where jinja2 is not installed."""
    page = (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            version=_version(),
            counts=report.counts,
            chart=None if report.counts is None else _chart(report.counts),
            tables=[] if report.counts is None else _tables(report.counts),
            notable=_notable(report),
            problems=[_explained(problem) for problem in report.problems],
            shown_values=shown_values,
            classes={"checkpoint": CHECKPOINT, "listed": LISTED, "shown": SHOWN, "proof": PROOF},
        )
    )
    return page.encode()


def _environment() -> Environment:
    try:
        import jinja2
        import markupsafe
    except ImportError as err:
        raise StorageError(
            "reports need the package jinja2, which is not installed: pip install 'tlog[report]'"
        ) from err

    def seen(value: Any) -> Any:
        """What every expression of the templates goes through, before it is escaped."""
        if isinstance(value, markupsafe.Markup):
            return value
        return visible(value) if isinstance(value, str) else value

    def lines(text: str) -> markupsafe.Markup:
        return markupsafe.Markup("\n").join(visible(line) for line in text.split("\n"))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=seen,
    )
    environment.filters |= {
        "base64": format_base64,
        "counted": _counted,
        "cut": lambda text: cut(visible(text), MAX_CELL),
        "lines": lines,
        "number": lambda number: f"{number:,}",
        "quoted": shlex.quote,
    }
    return environment


def _chart(counts: Counts) -> dict[str, Any]:
    """Return the bars of the chart of days, in a drawing 100 high, each in a slot 10 wide."""
    unit, spans = time_line(counts.days, MAX_BARS)
    most = max((span.entries for span in spans), default=1)
    bars = []
    for slot, span in enumerate(spans):
        if span.entries:
            height = round(max(100 * span.entries / most, 1.5), 2)  # one event beside thousands is still to be seen
            bars.append(
                {
                    "x": 10 * slot + 1,
                    "y": round(100 - height, 2),
                    "height": height,
                    "name": span.name,
                    "count": span.entries,
                }
            )
    return {
        "unit": unit,
        "most": most,
        "width": 10 * max(len(spans), MIN_SLOTS),
        "is_short": len(spans) < MIN_SLOTS,
        "bars": bars,
        "first": spans[0].name if spans else "",
        "last": spans[-1].name if len(spans) > 1 else "",
    }


def _notable(report: AuditReport) -> list[dict[str, Any]]:
    """Return the rows of the table of notable events."""
    proven = {sample.entry.seq for sample in report.samples}
    rows = []
    for hit in report.notable:
        message = Fields.of_entry(hit.entry).data
        message = message.get("message") if isinstance(message, dict) else None
        row: dict[str, Any] = {name: hit.values[name] or "" for name in ("severity", "outcome", "target")}
        row |= {name: hit.values[name] or "-" for name in ("actor", "action")}
        row |= {"seq": hit.entry.seq, "time": format_time(hit.time), "is_proven": hit.entry.seq in proven}
        row |= {"is_grave": row["severity"] in GRAVEST, "message": message if isinstance(message, str) else ""}
        rows.append(row)
    return rows


def _tables(counts: Counts) -> list[dict[str, Any]]:
    """Return the tables of counts: their captions, and name, count, share and bar of each row."""
    titles = {
        "category": "Events by category",
        "outcome": "Events by outcome",
        "severity": "Events by severity",
        "actor": "Events by actor",
        "action": "Events by action",
    }
    found = []
    for field, title in titles.items():
        rows = _rows(field, counts.fields[field])
        most = max((count for _, count in rows), default=1)
        found.append(
            {
                "title": title,
                "field": field,
                "rows": [
                    {
                        "name": name,
                        "count": count,
                        "share": f"{100 * count / max(counts.entries, 1):.1f} %",
                        "bar": round(100 * count / most, 2),
                    }
                    for name, count in rows
                ],
            }
        )
    return found


def _rows(field: str, values: Values) -> list[tuple[str, int]]:
    counts = list(values.counts)
    if field == "severity":
        order = {name: number for number, name in enumerate(SEVERITIES)}
        counts.sort(key=lambda item: -order.get(item[0] or "", -1))
    rows = [("(none given)" if value is None else value or "(empty)", count) for value, count in counts]
    return [*rows, ("(other values)", values.others)] if values.others else rows


def _explained(problem: Problem) -> dict[str, str | None]:
    error = problem.error
    found: dict[str, str | None] = {"what": problem.what, "message": str(error)}
    for name in ("place", "expected", "found"):
        found[name] = getattr(error, name, None)
    if isinstance(error, VerificationError):
        found["message"] = error.message
    return found


def _counted(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _version() -> str:
    try:
        return metadata.version("tlog")
    except metadata.PackageNotFoundError:  # run from its sources
        return "of unknown version"
