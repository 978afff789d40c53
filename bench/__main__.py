"""The benchmark suite: us and the references alternately in one run. `python -m bench --help` tells the options."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, cast

from bench import paper, table
from bench.go_programs import GoPrograms
from bench.harness import BENCH, FULL, QUICK, Bench, Row
from bench.ledgers import ROOT
from bench.machine import examine


class Group(Protocol):
    """A module that measures a group of rows."""

    NAME: str

    def run(self, bench: Bench) -> Iterator[Row]:
        """Yield the rows as they are measured."""


GROUPS = (
    "bulk",
    "peers",
    "threads",
    "handler",
    "processes",
    "verify",
    "proofs",
    "random_entry",
    "open",
    "memory",
    "disk",
    "index",
    "http",
    "witness",
)
"""The modules, in the order of the table."""

PICTURES = """\
![Bulk append: entries a second of tlog and of the references](performance-bulk.svg)

![Durable entries a second, by number of threads](performance-threads.svg)"""
"""What `bench.plot` draws beside the results."""


def main() -> None:
    """Measure what the command line asks for and print it. Exit status 0 whatever the figures are."""
    arguments = _parser().parse_args()
    groups = arguments.only.split(",") if arguments.only else list(GROUPS)
    output: Path | None = arguments.output
    _check(groups, output)
    scale = {"quick": QUICK, "full": FULL}.get(arguments.scale, BENCH)
    command = " ".join(["python -m bench", *sys.argv[1:]])
    start = time.monotonic()
    arguments.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.work) as name:
        work = Path(name)
        machine = examine(work)
        bench = Bench(scale, work, GoPrograms(work / "go"))
        bench.say(f"{machine.format()}")
        rows = _measure(bench, groups)
    head = table.heading(bench, machine, command, time.monotonic() - start)
    text = f"{head}\n{table.tables(rows)}\n{table.summary(rows)}"
    print(f"\n{text}")
    if output is not None:
        _write(output, text, rows)
        table.write_json(output.with_suffix(".json"), machine, command, rows)


def _measure(bench: Bench, groups: Sequence[str]) -> list[Row]:
    rows = []
    for name in groups:
        group = cast("Group", importlib.import_module(f"bench.{name}"))
        bench.say(group.NAME)
        for row in group.run(bench):
            bench.say(f"  {row.what}: {table.figure(row.ours.median, row.unit)} {', '.join(row.verdicts)}")
            rows.append(row)
    return rows


def _write(output: Path, text: str, rows: Sequence[Row]) -> None:
    """Put the results into their places of a file that has them, or make a file of the results alone."""
    if output.exists():
        table.put(output, "results", f"{PICTURES}\n\n{text}")
        if table.has_place(output, "paper"):
            table.put(output, "paper", paper.estimate(rows))
    else:
        output.write_text(text, encoding="utf-8")


def _check(groups: Sequence[str], output: Path | None) -> None:
    """Find out before an hour is spent whether the results can be kept."""
    unknown = set(groups) - set(GROUPS)
    if unknown:
        sys.exit(f"bench: there is no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    if output is None:
        return
    if len(groups) < len(GROUPS):
        sys.exit("bench: --output records a whole run; leave out --only")
    if output.suffix != ".md":
        sys.exit(f"bench: {output} must end in .md; what was measured goes into a .json file beside it")
    if output.exists() and not table.has_place(output, "results"):
        begin, end = table.BEGIN.format("results"), table.END.format("results")
        sys.exit(f"bench: {output} exists and has no place for results, between the lines {begin} and {end}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    scale = parser.add_mutually_exclusive_group()
    for name, text in (("quick", "a minute, to see whether it works"), ("full", "up to an hour, 10^7 entries")):
        scale.add_argument(f"--{name}", dest="scale", action="store_const", const=name, help=text)
    parser.add_argument("--only", metavar="GROUPS", help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="where to put the results; FILE.json beside it")
    # Not the system's directory for temporary files: that one is often in memory.
    parser.add_argument(
        "--work", type=Path, metavar="DIR", default=ROOT / "build", help="on the disk to measure; emptied again"
    )
    return parser


if __name__ == "__main__":
    main()
