"""Processes that are killed with SIGKILL while they write, and what they had been told before."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import tlog
from tests.torture.examine import ORIGIN, SEGMENT_ENTRIES
from tests.torture.powerloss import workspace
from tests.torture.told import Statements

ROOT = Path(__file__).resolve().parent.parent.parent
LONGEST_LIFE_S = 0.25


def start(arguments: list[str], output: Path, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """Start one of this package's programs, its output in a file. prefix: a command to run it under."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with output.open("ab") as told, output.with_suffix(".err").open("ab") as errors:
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", *arguments], stdout=told, stderr=errors, env=environment, cwd=ROOT
        )


@dataclass
class Killer:
    """Kills writers. kills: how many were killed. acknowledged: entries and checkpoints that they had been told of."""

    seed: int = 1
    kills: int = 0
    ledgers: int = 0
    acknowledged: int = 0
    entries: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self, kills: int, *, at_once: int = 2) -> None:
        """Kill so many writers, `at_once` on one ledger at a time; audit after each round. A ledger has ten kills."""
        rng = random.Random(self.seed)
        while self.kills < kills and not self.failures:
            with workspace() as work:
                self._rounds(work, rng, min(kills, self.kills + 10), at_once)
                self.ledgers += 1

    def _rounds(self, work: Path, rng: random.Random, until: int, at_once: int) -> None:
        path, told = work / "ledger", Statements()
        tlog.Ledger.create(path, origin=ORIGIN, segment_entries=SEGMENT_ENTRIES).close()
        while self.kills < until:
            outputs = [work / f"{self.kills}-{number}.told" for number in range(at_once)]
            writers = [
                start(["tests.torture.writer", str(path), output.stem, f"{self.seed} {output.stem}", "0"], output)
                for output in outputs
            ]
            _wait_for_output(outputs, writers)
            for writer in rng.sample(writers, len(writers)):
                time.sleep(rng.random() * LONGEST_LIFE_S)
                writer.kill()
                writer.wait()
                self.kills += 1
            try:
                for output in outputs:
                    told.add(output.read_bytes())
                    crash = output.with_suffix(".err").read_text()
                    assert not crash, f"a writer broke: {crash[-800:]}"
                assert not told.errors, f"a writer had an error: {told.errors[0]}"
                self.entries = told.audit(path)
            except (AssertionError, tlog.Error, OSError) as err:
                self.failures.append(f"kill {self.kills}: {type(err).__name__}: {err}")
                return
        self.acknowledged += len(told.entries) + len(told.checkpoints)


def _wait_for_output(outputs: list[Path], writers: list[subprocess.Popen[bytes]]) -> None:
    """Wait until one of the writers was told something, or has ended."""
    deadline = time.monotonic() + 30
    while not any(output.stat().st_size for output in outputs):
        if time.monotonic() > deadline or any(writer.poll() is not None for writer in writers):
            return
        time.sleep(0.002)
