"""Reporting: `tlog stats` and `tlog report`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

import tlog
from tlog.note import MAX_NOTE_SIZE
from tlog.report.contents import MAX_SAMPLES, SAMPLES, make_report
from tlog.report.page import format_report
from tlog.report.stats import Statistics, statistics
from tlog_tools import common, output


@click.command("stats")
@click.argument("partition", required=False)
@common.with_ledger
@common.with_json
def stats_command(partition: str | None, ledger_path: Path, as_json: bool) -> int:
    """Show what is in a partition: sizes, days, kinds of events.

    Without PARTITION, of every partition. Events are counted by the query index, which is brought up to date first;
    'tlog index check' compares it with the log. A day is that of the time which an event states.

    With --json: {"partition", "origin", "entries", "oldest", "newest", "published", "unpublished", "published_age_s",
    "bytes", "indexed", "days", "earlier", "counts"} of each. "days" maps dates to numbers, at most the last 1,000;
    "counts" maps fields to {"values": [[value, number], ...], "others"}.
    """

    def show(target: tlog.Partition) -> None:
        with output.progress(f"indexing {target.name}", target.size) as progress:
            found = statistics(target, progress=progress)
        if as_json:
            output.emit_json(_fields(found))
        else:
            from tlog_tools.charts import print_statistics

            print_statistics(found)

    with common.open_ledger(ledger_path) as ledger:
        return common.for_each(ledger, common.chosen(ledger, partition), as_json, show)


@click.command("report")
@click.argument("partition")
@click.option("--since", metavar="TIME", help="Events from this time on: 2026-01-31 or 2026-01-31T09:30:00Z.")
@click.option("--until", metavar="TIME", help="Events before this time.")
@click.option("-o", "--output", "target", metavar="FILE", required=True, help="Where to write the page; '-': stdout.")
@click.option(
    "--samples",
    type=click.IntRange(0, MAX_SAMPLES),
    default=SAMPLES,
    show_default=True,
    help="Proofs of entries spread over the range, beside those of notable events.",
)
@click.option("--checkpoint", "kept_file", metavar="FILE", help="A checkpoint kept elsewhere since before; '-': stdin.")
@common.with_ledger
@common.with_json
def report_command(
    *,
    partition: str,
    since: str | None,
    until: str | None,
    target: str,
    samples: int,
    kept_file: str | None,
    ledger_path: Path,
    as_json: bool,
) -> int:
    """Write an audit report as one HTML file, with proofs in it.

    The partition is verified in full, and the index compared with it. The page has counts and charts, failures and
    grave events, checkpoints, and proofs that 'tlog-verify --report FILE --key VKEY' checks. It needs nothing from
    elsewhere, can be printed, and replaces FILE at once. Where something does not verify, the page is written and says
    so first, and the exit code is 1.

    With --json: {"partition", "file", "verified", "anchored", "events", "notable", "proofs", "problems"}, on standard
    error where the page goes to standard output; "events" is null where they could not be counted.
    """
    kept = None if kept_file is None else output.read_input(kept_file, MAX_NOTE_SIZE, "checkpoint")
    with common.open_ledger(ledger_path) as ledger:
        examined = common.existing(ledger, partition)

        def showing(what: str) -> AbstractContextManager[Any]:
            return output.progress(f"{what} {partition}", examined.size)

        found = make_report(examined, since=since, until=until, samples=samples, checkpoint=kept, showing=showing)
    page = format_report(found)
    if target == "-":
        output.emit(page)
        output.flush()
    else:
        output.write_file(Path(target), page)
    events = None if found.counts is None else found.counts.entries
    if as_json:
        fields = {
            "partition": partition,
            "file": target,
            "verified": not found.problems,
            "anchored": found.verified is not None and found.verified.is_anchored,
            "events": events,
            "notable": found.notable_count,
            "proofs": len(found.samples),
            "problems": [{"what": problem.what, "message": str(problem.error)} for problem in found.problems],
        }
        (output.say_json if target == "-" else output.emit_json)(fields)
    else:
        counted = "events not counted" if events is None else output.counted(events, "event")
        counted += f", {output.counted(len(found.samples), 'proof')}"
        output.say(f"wrote {'the report' if target == '-' else target}: {counted}")
    codes = [
        output.report_error(problem.error, program="tlog", as_json=as_json, partition=partition)
        for problem in found.problems
    ]
    return codes[0] if codes else output.DONE


def _fields(found: Statistics) -> dict[str, Any]:
    sizes = found.sizes
    return {
        "partition": found.partition,
        "origin": found.origin,
        "entries": found.entries,
        "oldest": found.oldest,
        "newest": found.newest,
        "published": found.published,
        "unpublished": found.unpublished,
        "published_age_s": None if found.published_age_s is None else round(found.published_age_s, 3),
        "bytes": {name: getattr(sizes, name) for name in ("segments", "compressed", "tiles", "checkpoints", "index")},
        "indexed": found.counts.indexed,
        "days": dict(found.counts.days),
        "earlier": found.counts.earlier,
        "counts": {
            name: {"values": list(values.counts), "others": values.others}
            for name, values in found.counts.fields.items()
        },
    }
