"""Restoring: `tlog restore`."""

from __future__ import annotations

from pathlib import Path

import click

from tlog.mirroring.restore import restore
from tlog.mirroring.source import open_source
from tlog_tools import common, output


@click.command("restore")
@click.argument("partition")
@click.option("--from", "source", metavar="DIR|URL", required=True, help="A mirror's copy, or any copy of the site.")
@common.with_ledger
@common.with_json
def restore_command(partition: str, source: str, ledger_path: Path, as_json: bool) -> None:
    """Put a lost partition together again from a copy of it.

    Its key, and the record of what the key signed, must be in the ledger. The copy must hold all that the key has
    signed, and every entry is compared with what was signed; otherwise nothing is restored, and the key must not sign
    again. Checkpoints of smaller trees than the copy's are lost with the partition's directory.

    With --json: {"partition", "entries", "signed"}.
    """
    with common.open_ledger(ledger_path) as ledger, output.progress(f"restoring {partition}", None) as progress:
        report = restore(ledger, partition, open_source(source), progress)
    if as_json:
        output.emit_json({"partition": partition, "entries": report.entries, "signed": report.signed})
    else:
        output.say(f"{partition}: {report.entries:,} entries are back; nothing that the key has signed is missing")
