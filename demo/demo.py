"""The whole way of an event on real input, with the commands that a user would type. `make demo` runs it.

Everything is checked as it goes: a command that does not end as it must, or says something else than it must, ends the
demonstration with an error. What was written stays in demo/out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import orjson

HERE = Path(__file__).resolve().parent
EVENTS = HERE.parent / "testdata" / "events" / "flask-history.jsonl"
OUT = HERE / "out"

WIDTH = 100
FIRST_PART = 2000
PROVED = 1234
TAMPERED = 1500

IS_COLOURED = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def main() -> None:
    """Show it."""
    started = time.perf_counter()
    counts = prepare()
    heading(f"{counts['commits']:,} commits and {counts['merges']:,} merges of a public repository, as an audit log")
    append()
    prove_one()
    prove_growth()
    check_everything()
    ask()
    tamper()
    seconds = time.perf_counter() - started
    say(f"All as it should be, in {seconds:.1f} s. The files are in {OUT.relative_to(HERE.parent)}.")


def prepare() -> dict[str, int]:
    """Make an empty directory with the events in two files, by their action; return how many are in each."""
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "auditor").mkdir(parents=True)
    events: dict[str, list[bytes]] = {"commits": [], "merges": []}
    for line in EVENTS.read_bytes().splitlines(keepends=True):
        events[f"{orjson.loads(line)['action']}s"].append(line)
    for name, lines in events.items():
        (OUT / f"{name}.jsonl").write_bytes(b"".join(lines))
    return {name: len(lines) for name, lines in events.items()}


def append() -> None:
    """Two partitions are filled and published; an auditor keeps a checkpoint from the time between."""
    run("tlog init --origin audit.example.com", shows="created a ledger")
    run(f"head -n {FIRST_PART} commits.jsonl | tlog append commits -", shows=f"{FIRST_PART:,} entries appended")
    run("tlog publish commits && tlog checkpoint commits > auditor/kept.checkpoint", shows=f"size {FIRST_PART:,}")
    run(f"tail -n +{FIRST_PART + 1} commits.jsonl | tlog append commits -", shows="it has 3,806")
    run("tlog append merges - < merges.jsonl", shows="1,725 entries appended")
    run("tlog publish", shows="merges: published")


def prove_one() -> None:
    """One entry is proved to somebody who has two small files and nothing else."""
    heading("One entry, proved in a directory that holds the proof and the key only, without ledger or network")
    run(f"tlog prove commits {PROVED} -o auditor/entry.tlog-proof", shows=f"entry {PROVED}")
    run("tlog vkey commits > auditor/commits.vkey")
    alone = OUT / "alone"
    alone.mkdir()
    for name in ("entry.tlog-proof", "commits.vkey"):
        shutil.copy(OUT / "auditor" / name, alone)
    command = "tlog-verify --proof entry.tlog-proof --key commits.vkey"
    run(command, inside=alone, shows=f"entry {PROVED} is in the log audit.example.com/commits")


def prove_growth() -> None:
    """The published tree is shown to extend the one whose checkpoint the auditor kept."""
    heading("The log only grew since the auditor kept a checkpoint")
    run(f"tlog consistency commits {FIRST_PART} > auditor/growth.proof")
    command = "tlog-verify --consistency growth.proof --old kept.checkpoint --key commits.vkey"
    run(command, inside=OUT / "auditor", shows="only grew, from 2,000 to 3,806 entries", lines=1)


def check_everything() -> None:
    """Every hash of the ledger is computed anew."""
    heading("Every entry and tile checked, against the kept checkpoint")
    run(
        "tlog verify commits --checkpoint auditor/kept.checkpoint",
        shows="anchored by auditor/kept.checkpoint (size 2,000)",
    )


def ask() -> None:
    """The index answers a question; a report is made, and its proofs are checked by somebody else."""
    heading("Questions, and a report that its reader checks")
    question = "actor=dev-4e1ff006 since=2011-01-01 until=2011-02-01"
    run(f"tlog query commits '{question}' --limit 3", shows="index covers 0..3806 of 3806 entries")
    run(
        "tlog report commits --checkpoint auditor/kept.checkpoint -o auditor/report.html",
        shows="auditor/report.html",
    )
    run("tlog-verify --report report.html --key commits.vkey", inside=OUT / "auditor", shows="proved", lines=1)


def tamper() -> None:
    """One flipped bit in a copy is found, and its place is named."""
    heading("One byte changed in a copy")
    run("cp -R ledger copy")
    segment = OUT / "copy" / "partitions" / "commits" / "segments" / f"{0:020d}.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    offset = sum(map(len, lines[:TAMPERED])) + lines[TAMPERED].index(b'"success"') + 1
    content = bytearray(segment.read_bytes())
    content[offset] ^= 1
    segment.write_bytes(content)
    was, became = lines[TAMPERED][offset - sum(map(len, lines[:TAMPERED])) :][:7].decode(), chr(content[offset])
    say(f"  (byte {offset:,} of the segment: {was!r} is now {became + was[1:]!r}, in entry {TAMPERED})")
    run("tlog --ledger copy verify commits", exit_code=1, shows=f"error: entry {TAMPERED} ", is_wrapped=True)


def run(
    command: str,
    *,
    inside: Path = OUT,
    exit_code: int = 0,
    shows: str = "",
    lines: int = 20,
    is_wrapped: bool = False,
) -> None:
    """Run a command line, print it with what it says, and insist on how it ends and what it shows.

    inside: the directory to run it in. shows: what its output must hold. lines: how many of its output are printed.
    is_wrapped: whether long lines are wrapped, not shortened.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TLOG_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    started = time.perf_counter()
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=inside,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = f"{time.perf_counter() - started:.2f} s"
    say(f"$ {command}".ljust(WIDTH - len(seconds)) + seconds, style="1")
    for line in done.stdout.split("\n")[:-1][:lines]:
        for part in textwrap.wrap(line, WIDTH - 2, subsequent_indent="  ") if is_wrapped else [shortened(line)]:
            say(f"  {part}")
    if done.returncode != exit_code:
        sys.exit(f"demo: '{command}' ended with exit code {done.returncode} where {exit_code} is right\n{done.stdout}")
    if shows not in done.stdout:
        sys.exit(f"demo: '{command}' must say {shows!r}, and says\n{done.stdout}")


def shortened(line: str) -> str:
    """Return a line that fits the screen."""
    return line if len(line) <= WIDTH - 2 else f"{line[: WIDTH - 5]}..."


def heading(text: str) -> None:
    """Print a heading."""
    say(f"== {text}", style="1;36")


def say(text: str, *, style: str = "") -> None:
    """Print a line, in a style where standard output is a terminal."""
    print(f"\033[{style}m{text}\033[0m" if style and IS_COLOURED else text, flush=True)


if __name__ == "__main__":
    main()
