"""Reading: `tlog get`, `tlog tail`, `tlog list`, `tlog status` and `tlog export`."""

from __future__ import annotations

import contextlib
import select
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

import tlog
from tlog.status import partition_status
from tlog_tools import common, output

DEFAULT_TAIL = 10


@click.command("get")
@click.argument("partition")
@click.argument("seq", type=common.Number())
@common.with_ledger
@common.with_json
def get_command(partition: str, seq: int, ledger_path: Path, as_json: bool) -> None:  # noqa: ARG001 - it is JSON anyway
    """Print one entry.

    It is the entry's line, byte for byte as it is hashed, which is JSON; its own hash was checked.
    """
    with common.open_ledger(ledger_path) as ledger:
        output.emit_entry(common.existing(ledger, partition).entry(seq).raw)


@click.command("tail")
@click.argument("partition")
@click.option(
    "-n", "count", type=common.Number(), metavar="N", help=f"How many entries; {DEFAULT_TAIL} without --from."
)
@click.option("--from", "start", type=common.Number(), metavar="SEQ", help="Start at this entry.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new entries as they become durable, until interrupted.")
@common.with_ledger
@common.with_json
def tail_command(
    *,
    partition: str,
    count: int | None,
    start: int | None,
    follow: bool,
    ledger_path: Path,
    as_json: bool,  # noqa: ARG001
) -> None:
    """Print the last entries, or all from one on; follow new ones.

    One line of JSON an entry, byte for byte as it is hashed. `--from SEQ` prints all entries from SEQ on, with `-n N`
    the first N of them. `--follow` ends with exit code 0 when it is interrupted or nobody reads its output any more.
    """
    if follow and start is not None and count is not None:
        raise click.UsageError("--follow goes on from --from for ever; leave out -n")
    with common.open_ledger(ledger_path) as ledger:
        source = common.existing(ledger, partition)
        size = source.size
        stop = size
        if start is None:
            start = max(size - (DEFAULT_TAIL if count is None else count), 0)
        elif start > size:
            raise tlog.NotFoundError(f"entry {start}: partition {partition} has {size} entries; fewer than were seen?")
        elif count is not None:
            stop = min(start + count, size)
        if follow:
            _follow(source, start)
        else:
            _print(source.entries(start, stop))


@click.command("list")
@common.with_ledger
@common.with_json
def list_command(ledger_path: Path, as_json: bool) -> None:
    """Print the names of the partitions, one a line.

    With --json: {"partition"} of each.
    """
    with common.open_ledger(ledger_path) as ledger:
        for name in ledger.partitions():
            if as_json:
                output.emit_json({"partition": name})
            else:
                output.emit_line(name)


@click.command("status")
@click.argument("partition", required=False)
@common.with_ledger
@common.with_json
def status_command(partition: str | None, ledger_path: Path, as_json: bool) -> int:
    """Show sizes and checkpoints.

    A table of all partitions, or all about one. Nothing is verified but the checkpoint's signature.

    With --json: {"partition", "origin", "vkey", "entries", "last_ts", "published", "unpublished", "root_hash",
    "checkpoint_age_s", "indexed", "is_failing"} of each; "root_hash", "last_ts" and "checkpoint_age_s" are null where
    there is none.
    """
    with common.open_ledger(ledger_path) as ledger:
        names = ledger.partitions() if partition is None else common.chosen(ledger, partition)
        rows: list[dict[str, Any]] = []

        def examine(target: tlog.Partition) -> None:
            status = partition_status(target)
            fields = status.to_fields()
            if status.trouble is not None:
                output.say(f"{target.name}: {status.trouble}")
            if as_json:
                output.emit_json(fields)
            else:
                rows.append(fields)

        code = common.for_each(ledger, names, as_json, examine)
    if partition is not None:
        for fields in rows:
            _print_fields(fields)
    elif rows:
        _print_table(rows)
    elif not names and not as_json:
        output.say(f"{ledger.path}: the ledger has no partitions yet; 'tlog append NAME JSON' makes one")
    return code


@click.command("export")
@click.argument("partition")
@click.argument("directory", metavar="DIR")
@common.with_ledger
@common.with_json
def export_command(partition: str, directory: str, ledger_path: Path, as_json: bool) -> None:
    """Write a static site that any web server can serve.

    DIR gets the published checkpoint, the verifier key, all tiles and all entry bundles, as tlog-tiles names them. A
    later export to the same DIR adds what is new.

    With --json: {"partition", "directory", "tree_size", "files", "size"}, the size in bytes.
    """
    with common.open_ledger(ledger_path) as ledger:
        source = common.existing(ledger, partition)
        with output.progress(f"exporting {partition}", common.published_size(source)) as progress:
            report = source.export(directory, progress=progress)
    if as_json:
        output.emit_json(
            {
                "partition": partition,
                "directory": directory,
                "tree_size": report.tree_size,
                "files": report.files,
                "size": report.size,
            }
        )
    else:
        site = f"{report.files:,} files, {report.size:,} bytes"
        output.say(f"{partition}: {report.tree_size:,} entries exported to {directory}, {site}")


def _print(entries: Iterable[tlog.Entry], *, at_once: bool = False) -> None:
    for entry in entries:
        output.emit_entry(entry.raw)
        if at_once:
            output.flush()


def _follow(source: tlog.Partition, start: int) -> None:
    """Print entries until Ctrl-C, or until the reader of standard output goes away, which is the usual way to end."""
    stop = threading.Event()
    threading.Thread(target=_wait_for_closed_output, args=[stop], daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        _print(source.follow(start, stop=stop), at_once=True)
    output.drop_unread()


def _wait_for_closed_output(stop: threading.Event) -> None:
    """Set `stop` when nobody reads standard output any more: where the log is idle, no write finds it out."""
    poll = select.poll()
    with contextlib.suppress(OSError, ValueError):  # an output that is no file descriptor
        poll.register(sys.stdout.fileno(), 0)
        poll.poll()
        stop.set()


def _print_fields(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        output.emit_line(f"{name.replace('_', ' '):12} {_cell(value)}")


def _print_table(rows: list[dict[str, Any]]) -> None:
    columns = ("partition", "entries", "published", "unpublished", "last_ts")
    cells = [tuple(column.replace("_", " ") for column in columns)]
    cells += [tuple(_cell(row[column]) for column in columns) for row in rows]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    for name, *numbers, last_ts in cells:
        middle = "  ".join(text.rjust(width) for text, width in zip(numbers, widths[1:-1], strict=True))
        output.emit_line(f"{name.ljust(widths[0])}  {middle}  {last_ts}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else output.printable(str(value))
