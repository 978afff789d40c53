"""The index: `tlog index`."""

from __future__ import annotations

from pathlib import Path

import click

import tlog
from tlog_tools import common, output


@click.command("index")
@click.argument("action", type=click.Choice(["status", "rebuild", "check"]))
@click.argument("partition", required=False)
@common.with_ledger
@common.with_json
def index_command(action: str, partition: str | None, ledger_path: Path, as_json: bool) -> int:
    """Show, rebuild or check the index that queries use.

    status says how many entries the index covers. rebuild makes it anew from the entries; until then queries use the
    old one. check compares all of it with the log and fails at the first difference. Without PARTITION, of every
    partition.

    The index is derived from the entries and never trusted: it can be deleted at any time, and 'tlog query' makes it
    again.

    With --json: {"partition", "action", "indexed", "entries", "lag"} of each.
    """

    def act(target: tlog.Partition) -> None:
        with tlog.Index(target) as index:
            if action == "status":
                coverage = index.coverage()
            else:
                verb = "indexing" if action == "rebuild" else "checking the index of"
                with output.progress(f"{verb} {target.name}", target.size) as progress:
                    coverage = index.rebuild(progress) if action == "rebuild" else index.check(progress)
        fields = {"indexed": coverage.indexed, "entries": coverage.entries, "lag": coverage.lag}
        if as_json:
            output.emit_json({"partition": target.name, "action": action, **fields})
        else:
            done = {"status": "", "rebuild": "rebuilt; ", "check": "is what the log says; "}[action]
            output.emit_line(f"{target.name}: {done}{coverage}")

    with common.open_ledger(ledger_path) as ledger:
        return common.for_each(ledger, common.chosen(ledger, partition), as_json, act)
