"""Reading: `tlog get`, `tlog tail`, `tlog list`, `tlog status` and `tlog export`."""

from __future__ import annotations

import contextlib
import select
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

import tlog
from tlog.report.shown import moment
from tlog.report.vouching import Vouching
from tlog.status import PartitionStatus, leaders_notice, partition_status
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
    "checkpoint_age_s", "indexed", "is_failing", "witnesses"} of each; "root_hash", "last_ts" and "checkpoint_age_s" are
    null where there is none. "witnesses" is null without a policy, else {"quorum", "is_met", "waiting", "records"}, and
    each record {"name", "key", "size", "time", "lag", "is_missing"}.
    """
    with common.open_ledger(ledger_path) as ledger:
        policy, notice = ledger.witness_policy(), leaders_notice(ledger)
        names = ledger.partitions() if partition is None else common.chosen(ledger, partition)
        rows: list[PartitionStatus] = []

        def examine(target: tlog.Partition) -> None:
            status = partition_status(target, policy, notice)
            if status.trouble is not None:
                output.say(f"{target.name}: {status.trouble}")
            if as_json:
                output.emit_json(status.to_fields())
            else:
                rows.append(status)

        code = common.for_each(ledger, names, as_json, examine)
    if partition is not None:
        for status in rows:
            _print_status(status)
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


def _print_status(status: PartitionStatus) -> None:
    fields = status.to_fields()
    del fields["witnesses"]
    for name, value in fields.items():
        output.emit_line(f"{name.replace('_', ' '):12} {_cell(value)}")
    if status.vouching is not None:
        _print_witnesses(status.vouching, status.missing)


def _print_witnesses(found: Vouching, reasons: Mapping[str, str]) -> None:
    met = "met" if found.is_met else "not met"
    waiting = "" if found.waiting is None else f"; a checkpoint of {found.waiting:,} entries waits for it"
    output.emit_line(f"{'quorum':12} {met}: {output.printable(found.quorum)}{waiting}")
    for witness in found.witnesses:
        last = "nothing that is known"
        if witness.last is not None:
            last = f"{output.counted(witness.last.size, 'entry', 'entries')}, {moment(witness.last.time_s)}"
        state = "missing, last cosigned" if witness.is_missing else "cosigned"
        why = f" ({reasons[witness.name]})" if witness.is_missing and witness.name in reasons else ""
        output.emit_line(f"{'witness':12} {output.printable(f'{witness.name}: {state} {last}{why}')}")


def _print_table(rows: list[PartitionStatus]) -> None:
    columns = ["partition", "entries", "published", "unpublished", "last_ts"]
    cells = [[_cell(fields[column]) for column in columns] for fields in (row.to_fields() for row in rows)]
    if any(row.vouching is not None for row in rows):
        columns.append("witnesses")
        for row, line in zip(rows, cells, strict=True):
            line.append(_in_short(row.vouching))
    cells.insert(0, [column.replace("_", " ") for column in columns])
    widths = [max(len(line[number]) for line in cells) for number in range(len(columns))]
    for line in cells:
        sides = [str.ljust, str.rjust, str.rjust, str.rjust, str.ljust, str.ljust]
        padded = (side(text, width) for side, text, width in zip(sides, line, widths, strict=False))
        output.emit_line("  ".join(padded).rstrip())


def _in_short(found: Vouching | None) -> str:
    if found is None:
        return "-"
    total = len(found.witnesses)
    return f"{total - len(found.missing)} of {total}{'' if found.is_met else ', no quorum'}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else output.printable(str(value))
