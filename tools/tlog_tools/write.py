"""Writing: `tlog append`, `tlog publish` and `tlog seal`."""

from __future__ import annotations

import select
import time
from collections import deque
from pathlib import Path
from typing import BinaryIO

import click

import tlog
from tlog_tools import common, output

MAX_LINE_SIZE = 1 << 17
"""Bytes of an input line that are kept; an entry takes at most 65,535."""

MAX_AHEAD = 1024
"""Lines that can be given once more. The library takes some ahead of the one that it refuses."""

PROGRESS_LINES = 1000
READ_SIZE = 1 << 18

PAUSE_S = 0.1
"""How long to wait for more input before what came so far is made durable."""


@click.command("append")
@click.argument("partition")
@click.argument("json_text", metavar="JSON|-")
@click.option("--skip-bad", is_flag=True, help="With '-': report a bad line and go on.")
@common.with_ledger
@common.with_json
def append_command(partition: str, json_text: str, skip_bad: bool, ledger_path: Path, as_json: bool) -> None:
    """Append one event, or many from standard input.

    JSON is one event, kept byte for byte; its seq is printed once it is durable. With '-', standard input holds one
    event a line (JSONL); a blank line is no JSON value, hence a bad line. A bad line ends the command with its number,
    and all entries before it are durable. With --skip-bad it is reported and counted, and the command goes on. Where
    the input pauses, what came so far is made durable.

    With --json: {"seq", "hash"} of the entry, or {"partition", "appended", "skipped", "entries", "seconds"}.
    """
    if skip_bad and json_text != "-":
        raise click.UsageError("--skip-bad goes with '-', events from standard input")
    with common.open_ledger(ledger_path) as ledger:
        target = ledger.partition(partition)
        if json_text == "-":
            _append_lines(target, skip_bad, as_json)
            return
        receipt = target.append_json(json_text)
        if as_json:
            output.emit_json({"seq": receipt.seq, "hash": receipt.hash.hex()})
        else:
            output.emit_line(str(receipt.seq))


@click.command("publish")
@click.argument("partition", required=False)
@common.with_ledger
@common.with_json
def publish_command(partition: str | None, ledger_path: Path, as_json: bool) -> int:
    """Sign and publish a checkpoint over all durable entries.

    Without PARTITION, of every partition. Where nothing was appended since the last checkpoint, nothing is done.

    With --json: {"partition", "origin", "tree_size", "root_hash"} of each, the hash in base64.
    """

    def publish(target: tlog.Partition) -> None:
        with output.progress(f"publishing {target.name}", target.size - common.published_size(target)) as progress:
            checkpoint = _publish(target, progress)
        if as_json:
            output.emit_json({"partition": target.name, **common.checkpoint_fields(checkpoint)})
        else:
            root_hash = common.checkpoint_fields(checkpoint)["root_hash"]
            output.say(f"{target.name}: published size {checkpoint.tree_size:,}, root hash {root_hash}")

    with common.open_ledger(ledger_path) as ledger:
        return common.for_each(ledger, common.chosen(ledger, partition), as_json, publish)


@click.command("seal")
@click.argument("partition", required=False)
@common.with_ledger
@common.with_json
def seal_command(partition: str | None, ledger_path: Path, as_json: bool) -> int:
    """Compress the segments that are complete.

    Without PARTITION, of every partition. Everything works on compressed segments too, and zstdcat prints them.

    With --json: {"partition", "segments", "size_before", "size_after"} of each, sizes in bytes.
    """

    def seal(target: tlog.Partition) -> None:
        with output.progress(f"sealing {target.name}", target.size) as progress:
            report = target.seal(progress=progress)
        if as_json:
            output.emit_json(
                {
                    "partition": target.name,
                    "segments": report.segments,
                    "size_before": report.size_before,
                    "size_after": report.size_after,
                }
            )
        elif report.segments == 0:
            output.say(f"{target.name}: there is no complete segment to seal")
        else:
            sizes = f"{report.size_before:,} bytes became {report.size_after:,}"
            output.say(f"{target.name}: sealed {output.counted(report.segments, 'segment')}, {sizes}")

    with common.open_ledger(ledger_path) as ledger:
        return common.for_each(ledger, common.chosen(ledger, partition), as_json, seal)


class InputLines:
    """The lines of a stream, for `append_many_json` to take.

    The iteration ends at the end of the stream, which `is_done` tells, and also where the stream pauses: what came so
    far is then made durable, and another iteration goes on behind it. So a slow source is not kept waiting in memory.
    """

    def __init__(self, stream: BinaryIO, progress: output.Progress | None = None) -> None:
        self._stream = stream
        self._progress = progress
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._is_at_end = False
        self._recent: deque[bytes] = deque(maxlen=MAX_AHEAD)
        self._is_owed = False
        self.given = 0

    @property
    def is_done(self) -> bool:
        """Whether all lines were given."""
        return self._is_at_end and not self._lines

    def __iter__(self) -> InputLines:
        return self

    def __next__(self) -> bytes:
        while not self._lines:
            if self._is_at_end or (self._is_owed and not self._is_ready()):
                self._is_owed = False
                raise StopIteration
            self._read()
        line = self._lines.popleft()
        self._recent.append(line)
        self._is_owed = True
        self.given += 1
        if self._progress is not None and self.given % PROGRESS_LINES == 0:
            self._progress(self.given)
        return line

    def go_back_to(self, index: int) -> None:
        """Give the lines from `index` on, zero-based, once more."""
        for _ in range(self.given - index):
            self._lines.appendleft(self._recent.pop())
        self.given = index

    def _read(self) -> None:
        part = self._stream.read1(READ_SIZE)  # type: ignore[attr-defined]
        if part:
            *lines, rest = (self._rest + part).split(b"\n")
            # What is too long for any entry will be refused; the rest of it is not worth the memory.
            self._rest = rest[:MAX_LINE_SIZE]
        else:
            lines, self._rest = [self._rest] if self._rest else [], b""
            self._is_at_end = True
        self._lines.extend(lines)

    def _is_ready(self) -> bool:
        """Whether more can be read now, or soon."""
        try:
            return bool(select.select([self._stream], [], [], PAUSE_S)[0])
        except (OSError, ValueError):  # no file descriptor, so nothing to wait for
            return True


def _append_lines(target: tlog.Partition, skip_bad: bool, as_json: bool) -> None:
    started = time.perf_counter()
    appended = skipped = 0
    try:
        with output.progress(f"appending to {target.name}", None) as progress:
            lines = InputLines(output.standard_input(), progress)
            while not lines.is_done:
                first = lines.given
                try:
                    appended += target.append_many_json(lines).count
                except tlog.RefusedItemError as err:
                    appended += err.appended
                    number = first + err.index + 1
                    if not skip_bad:
                        raise _bad_line(err, number, appended) from err
                    skipped += 1
                    _report_skipped(err, number, as_json)
                    lines.go_back_to(number)
    except KeyboardInterrupt as err:
        raise click.Abort(f"partition {target.name} has {target.size:,} durable entries") from err
    _summarise(target, appended, skipped, time.perf_counter() - started, as_json)


def _summarise(target: tlog.Partition, appended: int, skipped: int, seconds: float, as_json: bool) -> None:
    entries = target.size
    if as_json:
        output.emit_json(
            {
                "partition": target.name,
                "appended": appended,
                "skipped": skipped,
                "entries": entries,
                "seconds": round(seconds, 6),
            }
        )
        return
    left_out = f", {output.counted(skipped, 'bad line')} skipped" if skipped else ""
    rate = f"{seconds:.2f} s, {appended / seconds:,.0f}/s" if seconds else ""
    output.say(
        f"{target.name}: {output.counted(appended, 'entry', 'entries')} appended{left_out} ({rate}); it has {entries:,}"
    )


def _bad_line(error: tlog.RefusedItemError, number: int, appended: int) -> tlog.FormatError:
    cause = _cause_of(error)
    return tlog.FormatError(
        f"standard input, line {number}, {cause.what}",
        f"{cause.reason}; the {appended:,} entries before it are durable, none from it on is; append the "
        f"input from line {number} on when it is corrected, or use --skip-bad",
    )


def _report_skipped(error: tlog.RefusedItemError, number: int, as_json: bool) -> None:
    cause = _cause_of(error)
    if as_json:
        output.say_json({"skipped_line": number, "what": cause.what, "reason": cause.reason})
    else:
        output.say(output.printable(f"line {number} skipped: {cause}"))


def _cause_of(error: tlog.RefusedItemError) -> tlog.FormatError:
    cause = error.__cause__
    return cause if isinstance(cause, tlog.FormatError) else error


def _publish(target: tlog.Partition, progress: output.Progress | None) -> tlog.Checkpoint:
    try:
        return target.publish(progress=progress)
    except tlog.FormatError as err:
        if "encrypted" in err.reason:
            remedy = f"{common.PASSPHRASE_VARIABLE} is where the passphrase is taken from"
            raise tlog.FormatError(err.what, f"{err.reason} ({remedy})") from err
        raise
