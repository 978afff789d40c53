"""Everything at once: `python -m tests.torture.stress SECONDS`.

Writers in threads and processes, readers that follow, provers, a publisher that seals as well, and a killer of all of
them, on one partition. At the end the ledger is compared entry by entry with what every process was told or has read.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import tlog
from tests.torture.examine import NAME, ORIGIN, SEGMENT_ENTRIES
from tests.torture.kills import start
from tests.torture.powerloss import workspace
from tests.torture.told import Statements
from tests.torture.writer import THREADS, Told, Writer, be_quiet

ROLES = ("writer", "writer", "publisher", "follower", "prover")
LONGEST_LIFE_S = 4.0
PAUSE_S = 0.02
"""Between two calls of a writer, so that the publisher need not integrate ten thousands of entries at a time."""


def write(path: Path, name: str, told: Told) -> None:
    """Append from some threads, one call after another, in each of the three ways."""
    numbers = itertools.count()

    def work(number: int) -> None:
        writer = Writer(path, f"{name}.{number}", random.Random(f"{name}{number}"), told)
        while True:
            writer.survive((writer.one, writer.many, writer.later)[next(numbers) % 3])
            time.sleep(PAUSE_S)

    in_threads(work)


def publish(path: Path, name: str, told: Told) -> None:
    """Publish again and again, and seal now and then."""
    writer = Writer(path, name, random.Random(name), told)
    for number in itertools.count():
        writer.survive(writer.seal if number % 10 == 9 else writer.publish)
        time.sleep(0.02)


def follow(path: Path, name: str, told: Told) -> None:
    """Read from the first entry on, and say what was read."""
    del name
    previous = bytes(32)
    with tlog.Ledger.open(path) as ledger:
        for number, entry in enumerate(ledger.partition(NAME).follow(0)):
            if entry.seq != number or entry.prev_hash != previous:
                told.say("error", f"the follower reads {entry.seq} after {number - 1}")
            previous = entry.hash
            told.say("entry", entry.seq, entry.hash.hex())


def prove(path: Path, name: str, told: Told) -> None:
    """Prove entries from some threads; each proof must verify under the checkpoint that came with it."""

    def work(number: int) -> None:
        rng = random.Random(f"{name}{number}")
        with tlog.Ledger.open(path) as ledger:
            partition = ledger.partition(NAME)
            policy = tlog.Policy.for_log(partition.vkey)
            kept = partition.checkpoint()
            while True:
                size = partition.checkpoint().tree_size
                seq = rng.choice((size - 1, rng.randrange(size)))
                verified = tlog.verify_proof(str(partition.prove(seq)), policy=policy)
                told.say("proof", seq, verified.entry.hash.hex(), verified.checkpoint.tree_size)
                consistency = partition.prove_consistency(kept.tree_size)
                tlog.verify_consistency(str(consistency), old=kept.raw, policy=policy)
                kept = partition.checkpoint()

    in_threads(work)


def in_threads(work: Callable[[int], None]) -> None:
    """Run a function in some threads; where one of them ends with an error, the process does."""

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException:  # noqa: BLE001 - whatever it is ends the process
            sys.excepthook(*sys.exc_info())
            os._exit(1)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@dataclass
class Stress:
    """One run, and its counts."""

    seed: int = 1
    entries: int = 0
    acknowledged: int = 0
    checkpoints: int = 0
    proofs: int = 0
    kills: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        """Let everything loose for so long, then audit."""
        with workspace() as work:
            path = work / "ledger"
            with tlog.Ledger.create(path, origin=ORIGIN, segment_entries=SEGMENT_ENTRIES) as ledger:
                ledger.partition(NAME).append({"writer": "base", "n": 0})
                ledger.partition(NAME).publish()
            outputs = self._let_loose(work, path, seconds)
            try:
                self._audit(path, outputs)
            except (AssertionError, tlog.Error, OSError) as err:
                self.failures.append(f"{type(err).__name__}: {err}")

    def _let_loose(self, work: Path, path: Path, seconds: float) -> list[Path]:
        rng = random.Random(self.seed)
        outputs: list[Path] = []
        running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end and not self.failures:
            for number, role in enumerate(ROLES):
                slot = f"{role}{number}"
                if slot not in running:
                    outputs.append(work / f"{slot}-{len(outputs)}.told")
                    arguments = ["tests.torture.stress", role, str(path), outputs[-1].stem]
                    running[slot] = start(arguments, outputs[-1]), now + 1 + rng.random() * LONGEST_LIFE_S
                process, death = running[slot]
                if process.poll() is not None:
                    self.failures.append(f"{slot} has ended by itself")
                elif now > death:
                    process.kill()
                    process.wait()
                    self.kills += 1
                    del running[slot]
            time.sleep(0.02)
        for process, _ in running.values():
            process.kill()
            process.wait()
            self.kills += 1
        return outputs

    def _audit(self, path: Path, outputs: list[Path]) -> None:
        told = Statements()
        for output in outputs:
            crash = output.with_suffix(".err").read_text()
            assert not crash, f"{output.stem} broke: {crash[-1500:]}"
            told.add(output.read_bytes())
        assert not told.errors, f"{len(told.errors)} errors, the first: {told.errors[0]}"
        self.entries = told.audit(path)
        self.acknowledged, self.checkpoints, self.proofs = len(told.entries), len(told.checkpoints), told.proofs


def main(arguments: list[str]) -> None:
    """Run one role, or everything for so many seconds."""
    be_quiet()
    roles = {"writer": write, "publisher": publish, "follower": follow, "prover": prove}
    if len(arguments) == 3:
        role, path, name = arguments
        roles[role](Path(path), name, Told())
        return
    stress = Stress()
    stress.run(float(arguments[0]))
    sys.stdout.write(f"{stress}\n")
    sys.exit(bool(stress.failures))


if __name__ == "__main__":
    main(sys.argv[1:])
