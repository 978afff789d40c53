"""EIO, ENOSPC and SIGKILL at each system call that a writer makes on its ledger, injected by strace.

A clean run under strace tells which calls there are: strace counts each system call for each thread, so a call is known
by its name and that number. Source: strace(1), option --inject.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import tlog
from tests.torture.examine import NAME, ORIGIN, SEGMENT_ENTRIES
from tests.torture.kills import start
from tests.torture.powerloss import workspace
from tests.torture.told import Statements

CALLS = (
    *("openat", "write", "pwrite64", "pwritev", "pread64", "fdatasync", "fsync", "ftruncate", "rename", "link"),
    *("linkat", "unlink", "unlinkat", "mkdir", "rmdir", "chmod", "fchmodat", "flock", "getdents64"),
)
NEED_SPACE = ("write", "pwrite64", "pwritev", "fdatasync", "fsync", "rename", "link", "linkat", "mkdir", "openat")
ENTRIES = 250
TIMEOUT_S = 60

_LINE = re.compile(r"([0-9]+) +([a-z0-9_]+)\(")


class Injection(NamedTuple):
    """What strace does at the `when`-th `call` of each thread. what: error=EIO, signal=SIGKILL and so on."""

    call: str
    when: int
    what: str


class Traced(NamedTuple):
    """A run under strace. output: what the writer said. crash: its standard error. status: exit code or -signal."""

    output: bytes
    trace: str
    crash: str
    status: int


@dataclass
class Tracer:
    """Injects and counts. injected: runs in which strace did what it should have done."""

    seed: int = 1
    injected: int = 0
    by_call: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def run(self, sample: int | None = None) -> None:
        """Do all injections, or a sample of them."""
        with workspace() as work:
            for first in (False, True):
                base, told = work / f"base-{first}", Statements()
                base.mkdir()
                _prepare(base / "ledger", told, first=first)
                plan = self._plan(work, base)
                if sample is not None:
                    plan = random.Random(self.seed).sample(plan, min(sample, len(plan)))
                for injection in plan:
                    try:
                        self._inject(work, base, told, injection)
                    except (AssertionError, tlog.Error, OSError) as err:
                        self.failures.append(f"{injection}: {type(err).__name__}: {err}")

    def _plan(self, work: Path, base: Path) -> list[Injection]:
        """Return every injection at a call that names a file of the ledger."""
        trace = _trace(work, base, None).trace
        counts: Counter[tuple[str, str]] = Counter()
        found: dict[tuple[str, int], None] = {}
        for line in trace.splitlines():
            match = _LINE.match(line)
            if match is None:
                continue
            thread, call = match.groups()
            counts[thread, call] += 1
            if str(work / "run" / "ledger") in line and "LOCK_UN" not in line:  # giving a lock back cannot fail
                found[call, counts[thread, call]] = None
        plan = []
        for call, when in found:
            plan += [Injection(call, when, what) for what in ("error=EIO", "signal=SIGKILL")]
            if call in NEED_SPACE:
                plan.append(Injection(call, when, "error=ENOSPC"))
        return plan

    def _inject(self, work: Path, base: Path, before: Statements, injection: Injection) -> None:
        traced = _trace(work, base, injection)
        hits = [line for line in traced.trace.splitlines() if "(INJECTED)" in line]
        if any(str(work / "run" / "ledger") not in line for line in hits):
            return  # another thread's call of that number, such as Python's own when it starts
        if not hits and traced.status != -signal.SIGKILL:
            return
        told = Statements(dict(before.entries), list(before.checkpoints))
        told.roots.see(before.checkpoints)
        told.add(traced.output)
        self.injected += 1
        self.by_call[f"{injection.call} {injection.what}"] += 1
        assert not traced.crash, f"the writer broke: {traced.crash[-800:]}"
        for error in told.errors:
            assert str(work / "run" / "ledger") in error, f"an error names no file: {error}"
        assert told.finished or "SIGKILL" in injection.what, f"the writer did not finish: {told.errors}"
        told.audit(work / "run" / "ledger")


def _prepare(path: Path, told: Statements, *, first: bool) -> None:
    with tlog.Ledger.create(path, origin=ORIGIN, segment_entries=SEGMENT_ENTRIES) as ledger:
        if not first:
            partition = ledger.partition(NAME)
            bulk = partition.append_many({"writer": "base", "n": n} for n in range(ENTRIES))
            told.entries[bulk.stop - 1] = bulk.hash.hex()
            told.checkpoints.append(partition.publish())


def _trace(work: Path, base: Path, injection: Injection | None) -> Traced:
    """Run the writer on a copy of `base`."""
    root, output, log = work / "run", work / "run.told", work / "run.trace"
    if root.exists():
        shutil.rmtree(root)
    shutil.copytree(base, root)
    for path in (output, output.with_suffix(".err"), log):
        path.unlink(missing_ok=True)
    options = ["strace", "-f", "-qq", "-y", "-s", "8", "-o", str(log), "-e", f"trace={','.join(CALLS)}"]
    if injection is not None:
        options += ["-e", f"inject={injection.call}:{injection.what}:when={injection.when}"]
    program = start(["tests.torture.writer", str(root / "ledger"), "w", "1", "fixed"], output, tuple(options))
    try:
        program.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()
        raise AssertionError("the writer hangs") from None
    crash = output.with_suffix(".err").read_text()
    return Traced(output.read_bytes(), log.read_text(errors="replace"), crash, program.returncode)
