"""Checking: `tlog verify` and `tlog fsck`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

import tlog
from tlog.fsck import FsckReport
from tlog.note import MAX_NOTE_SIZE
from tlog_tools import common, output


@click.command("verify")
@click.argument("partition", required=False)
@click.option(
    "--checkpoint",
    "kept_file",
    metavar="FILE",
    help="A checkpoint kept elsewhere since before; '-' for standard input.",
)
@common.with_ledger
@common.with_json
def verify_command(partition: str | None, kept_file: str | None, ledger_path: Path, as_json: bool) -> int:
    """Check every entry, tile and checkpoint.

    Without PARTITION, of every partition. The chain, the leaf hashes, the tiles and the tree are computed anew and
    compared with what was signed. The first bad place ends the check with exit code 1.

    Only a checkpoint that was kept elsewhere (--checkpoint, see 'tlog checkpoint') shows that nothing signed up to then
    was cut off or replaced; without it the result says "not anchored".

    With --json: {"partition", "origin", "entries", "unpublished", "tiles", "tree_size", "root_hash", "signed_by",
    "witnesses", "anchored", "anchor_size", "seconds"} of each.
    """
    kept = None if kept_file is None else output.read_input(kept_file, MAX_NOTE_SIZE, "checkpoint")
    with common.open_ledger(ledger_path) as ledger:
        names = common.chosen(ledger, partition)
        anchored = None if kept is None else _partition_of(ledger, names, kept, str(kept_file))

        def verify(target: tlog.Partition) -> None:
            started = time.perf_counter()
            anchor = kept if target.name == anchored else None
            with output.progress(f"verifying {target.name}", target.size) as progress:
                report = target.verify(checkpoint=anchor, progress=progress)
            seconds = time.perf_counter() - started
            if as_json:
                output.emit_json(_report_fields(report, target, seconds))
            else:
                _print_report(report, target, str(kept_file), seconds)

        code = common.for_each(ledger, names, as_json, verify)
    if kept is None and code == output.DONE and not as_json:
        output.say(
            "tlog: next: keep the output of 'tlog checkpoint PARTITION' elsewhere, and give it with --checkpoint"
        )
    return code


@click.command("fsck")
@click.argument("partition", required=False)
@click.option(
    "--repair", is_flag=True, help="Rebuild derived files (tiles, manifests, the published checkpoint's copy)."
)
@common.with_ledger
@common.with_json
def fsck_command(partition: str | None, repair: bool, ledger_path: Path, as_json: bool) -> int:
    """Rebuild and compare what is derived from the entries.

    Without PARTITION, of every partition. All findings are listed, not only the first. Entries, keys and signed
    checkpoints are never changed, also not with --repair. Exit code 1 where something is wrong and stays so.

    With --json: {"partition", "clean", "entries", "tiles", "findings"} of each; a finding is {"place", "message",
    "seq", "repairable", "repaired"}.
    """

    def examine(target: tlog.Partition) -> int:
        with output.progress(f"examining {target.name}", target.size) as progress:
            report = target.fsck(repair=repair, progress=progress)
        if as_json:
            findings = [
                {
                    "place": finding.place,
                    "message": finding.message,
                    "seq": finding.seq,
                    "repairable": finding.is_repairable,
                    "repaired": finding.is_repaired,
                }
                for finding in report.findings
            ]
            output.emit_json(
                {
                    "partition": target.name,
                    "clean": report.is_clean,
                    "entries": report.entries,
                    "tiles": report.tiles,
                    "findings": findings,
                }
            )
        else:
            _print_findings(report, target.name)
        return output.DONE if report.is_clean else output.FAILED

    with common.open_ledger(ledger_path) as ledger:
        return common.for_each(ledger, common.chosen(ledger, partition), as_json, examine)


def _partition_of(ledger: tlog.Ledger, names: list[str], kept: bytes, file: str) -> str:
    """Return the partition whose origin the kept checkpoint has."""
    origin = tlog.Checkpoint.parse(kept).origin
    for name in names:
        if ledger.partition(name).origin == origin:
            return name
    raise tlog.UnknownOriginError(origin, f"that of a partition to verify ({file})")


def _report_fields(report: tlog.Report, target: tlog.Partition, seconds: float) -> dict[str, Any]:
    published = report.published
    checkpoint = {} if published is None else common.checkpoint_fields(published)
    return {
        "partition": report.partition,
        "origin": checkpoint.get("origin"),
        "entries": report.entries,
        "unpublished": report.unpublished,
        "tiles": report.tiles,
        "tree_size": checkpoint.get("tree_size"),
        "root_hash": checkpoint.get("root_hash"),
        "signed_by": None if published is None else _key_of(target),
        "witnesses": report.witnesses,
        "anchored": report.is_anchored,
        "anchor_size": None if report.kept is None else report.kept.tree_size,
        "seconds": round(seconds, 6),
    }


def _print_report(report: tlog.Report, target: tlog.Partition, kept_file: str, seconds: float) -> None:
    entries = output.counted(report.entries, "entry", "entries")
    output.emit_line(f"{report.partition}: {entries} checked in {seconds:.2f} s ({report.entries / seconds:,.0f}/s)")
    output.emit_line("  chain      unbroken; every hash is that of its entry's bytes")
    if report.published is None:
        output.emit_line("  signed by  nobody: no checkpoint was published, so there is no tree to compare with")
    else:
        tiles = output.counted(report.tiles, "tile")
        output.emit_line(f"  tree       root hash and {tiles} are what the entries make")
        output.emit_line(f"  signed by  {_key_of(target)}, the ledger's key, at size {report.published.tree_size:,}")
        if report.unpublished:
            output.emit_line(f"  unsigned   {output.counted(report.unpublished, 'entry', 'entries')} since then")
    if report.kept is None:
        title = output.paint("not anchored", "yellow")
        output.emit_line(f"  {title}: no kept checkpoint was given, so a cut off end or a log made anew would not show")
    else:
        title = output.paint("anchored", "green")
        anchor = f"{output.printable(kept_file)} (size {report.kept.tree_size:,})"
        output.emit_line(f"  {title} by {anchor}: nothing up to there was changed or cut off")


def _print_findings(report: FsckReport, name: str) -> None:
    scope = f"{output.counted(report.entries, 'entry', 'entries')} and {output.counted(report.tiles, 'tile')}"
    found = output.counted(len(report.findings), "finding") if report.findings else "nothing wrong"
    output.emit_line(f"{name}: {found} in {scope}")
    for finding in report.findings:
        remedy = "not derived: restore it from a backup or an export"
        if finding.is_repaired:
            remedy = "repaired"
        elif finding.is_repairable:
            remedy = f"'tlog fsck {name} --repair' rebuilds it"
        where = "" if finding.message.startswith(finding.place) else f"{finding.place}: "
        output.emit_line(output.printable(f"  {where}{finding.message} [{remedy}]"))


def _key_of(target: tlog.Partition) -> str:
    """Return key name and key ID of a partition's own key."""
    key = target.vkey
    return f"{key.name}+{key.key_id.hex()}"
