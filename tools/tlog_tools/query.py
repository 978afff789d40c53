"""Asking: `tlog query`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

import tlog
from tlog.index.fields import FIELDS, PATH_PREFIX
from tlog.index.search import PAGE, Coverage, Facets, Page
from tlog.index.table import COLUMNS, format_csv, row_of
from tlog_tools import common, output

OPTIONS = (*FIELDS, "seq", "since", "until", "text")
"""The conditions that have an option of their own."""

WIDTH = 40
"""Characters of a cell of the table; `--format jsonl` shows all."""


def with_conditions(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each condition; the command gets them by name."""
    helps = {
        "since": "From this time on: 2026-01-31 or 2026-01-31T09:30:00Z.",
        "until": "Before this time.",
        "text": "Words that follow each other in one string.",
        "seq": "Entries at these positions.",
    }
    for name in reversed(OPTIONS):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, name, metavar="VALUE", help=helps.get(name, f"As '{name}=VALUE'."))(command)
    return command


@click.command("query")
@click.argument("partition")
@click.argument("query", required=False, default="")
@with_conditions
@click.option(
    "--data", "paths", metavar="PATH=VALUE", multiple=True, help="As 'data.PATH=VALUE'; may stand repeatedly."
)
@click.option("--format", "form", type=click.Choice(["table", "jsonl", "csv"]), default="table", show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=PAGE, show_default=True, help="How many entries.")
@click.option("--after", metavar="CURSOR", help="Go on behind the page that ended with this cursor.")
@click.option("--oldest-first", is_flag=True, help="Begin with the oldest instead of the newest.")
@click.option("--facets", metavar="FIELD,...", help="Count the values of these fields instead of printing entries.")
@click.option("--with-proofs", "directory", metavar="DIR", help="Write the proof of each entry found into DIR.")
@common.with_ledger
@common.with_json
def query_command(
    *,
    partition: str,
    query: str,
    paths: tuple[str, ...],
    form: str,
    limit: int,
    after: str | None,
    oldest_first: bool,
    facets: str | None,
    directory: str | None,
    ledger_path: Path,
    as_json: bool,
    **conditions: str | None,
) -> None:
    """Find entries by their fields, times and words.

    QUERY is a line such as 'actor=alice action=login* since=2026-01-01 text="failed password"': all conditions must
    hold, '!=' negates, 'a|b' is either, '*' ends a value of which only the beginning is given. The fields are category,
    action, actor, target, outcome, severity, correlation_id, id, seq and, below the event's own data, data.PATH. An
    option adds the condition of its name.

    The index is brought up to date first. Entries are read from the log, and the command fails where the index does not
    say the same. How much the index covers, and the cursor of the next page, go to standard error.

    With --json: as --format jsonl, which prints the entries' lines byte for byte; then, on standard error, {"indexed",
    "entries", "cursor"}. With --facets: {"field", "value", "count"}.
    """
    asked = tlog.Query.parse(query)
    for name in OPTIONS:
        if (value := conditions[name]) is not None:
            asked = asked.with_option(name, value)
    for item in paths:
        path, _, value = item.partition("=")
        asked = asked.with_option(PATH_PREFIX + path, value)
    form = "jsonl" if as_json else form
    with common.open_ledger(ledger_path) as ledger, tlog.Index(common.existing(ledger, partition)) as index:
        with output.progress(f"indexing {partition}", index.partition.size) as progress:
            index.catch_up(progress)
        if facets is not None:
            counted = [index.facets(asked, field) for field in facets.split(",")]
            _print_rows(form, ("field", "value", "count"), _counts(counted))
            _say_coverage(counted[0].coverage, None, as_json)
            return
        page = index.search(asked, limit=limit, after=after, oldest_first=oldest_first)
        if directory is not None:
            _write_proofs(page, partition, Path(directory))
    if form == "jsonl":
        for hit in page.hits:
            output.emit_entry(hit.entry.raw)
    else:
        _print_rows(form, COLUMNS, [row_of(hit) for hit in page.hits])
    if directory is not None and not as_json:
        output.flush()
        proofs = output.counted(len(page.hits), "proof")
        output.say(f"wrote {proofs} to {directory}; 'tlog-verify --proof FILE --key VKEY' checks one")
    _say_coverage(page.coverage, page.cursor, as_json)


def _counts(counted: Iterable[Facets]) -> list[dict[str, Any]]:
    return [
        {"field": facets.field, "value": value, "count": number}
        for facets in counted
        for value, number in facets.counts
    ]


def _print_rows(form: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    if form == "jsonl":
        for row in rows:
            output.emit_json(row)
    elif form == "csv":
        output.emit(format_csv([columns, *([row[column] for column in columns] for row in rows)]))
    elif rows:
        cells = [columns, *(tuple(_table_cell(row[column]) for column in columns) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for line in cells:
            output.emit_line("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _table_cell(value: Any) -> str:
    if value is None:
        return "-"
    text = output.printable(str(value)).replace("\n", "\\n")
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


def _say_coverage(coverage: Coverage, cursor: str | None, as_json: bool) -> None:
    output.flush()
    if as_json:
        output.say_json({"indexed": coverage.indexed, "entries": coverage.entries, "cursor": cursor})
    else:
        output.say(f"{coverage}" + (f"; more with --after {cursor}" if cursor else ""))


def _write_proofs(page: Page, partition: str, directory: Path) -> None:
    """Write all proofs, or none where one cannot be had."""
    proofs = page.prove()
    directory.mkdir(parents=True, exist_ok=True)
    for proof in proofs:
        output.write_file(directory / f"{partition}-{proof.leaf_index}.tlog-proof", proof.format())
