"""A process that writes to a ledger and says what it was told: `python -m tests.torture.writer LEDGER NAME SEED STEPS`.

Each line on standard output is written with one call after the library has returned, so what is there was told:
`entry SEQ HASH`, `checkpoint BASE64`, `error TYPE: MESSAGE`, `done`. Lines that a kill cuts are not counted.
STEPS 0 goes on for ever; STEPS fixed does the same things each time, those that failed once more.
"""

from __future__ import annotations

import base64
import itertools
import logging
import os
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import tlog
from tests.torture.examine import NAME

THREADS = 4
ATTEMPTS = 4


class Told:
    """Where the process says what it was told."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd

    def say(self, *words: object) -> None:
        """Write one line with one call."""
        os.write(self._fd, (" ".join(map(str, words)) + "\n").encode())


class Writer:
    """Writes events that name the writer and carry a number, each of them once."""

    def __init__(self, path: Path, name: str, rng: random.Random, told: Told) -> None:
        self._name = name
        self._rng = rng
        self._told = told
        self._ledger = self._open(path)
        self._numbers: Iterator[int] = itertools.count()
        self.partition = self._ledger.partition(NAME)

    def _open(self, path: Path) -> tlog.Ledger:
        try:
            return tlog.Ledger.open(path)
        except tlog.Error as err:
            self._told.say("error", f"{type(err).__name__}: {err}")
            return tlog.Ledger.open(path)

    def event(self) -> dict[str, object]:
        """Return a new event of 20 to 2,000 bytes."""
        return {"writer": self._name, "n": next(self._numbers), "text": "x" * self._rng.choice((0, 100, 300, 2000))}

    def one(self) -> None:
        """Append one event."""
        receipt = self.partition.append(self.event())
        self._told.say("entry", receipt.seq, receipt.hash.hex())

    def many(self) -> None:
        """Append some events with one call."""
        bulk = self.partition.append_many([self.event() for _ in range(self._rng.randrange(1, 60))])
        self._told.say("entry", bulk.stop - 1, bulk.hash.hex())

    def later(self) -> None:
        """Submit some events and wait for them."""
        pending = [self.partition.submit(self.event()) for _ in range(self._rng.randrange(1, 20))]
        for receipt in (one.result() for one in pending):
            self._told.say("entry", receipt.seq, receipt.hash.hex())

    def threads(self) -> None:
        """Append from some threads at once."""
        started = [threading.Thread(target=self.one) for _ in range(THREADS)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()

    def publish(self) -> None:
        """Publish; the partition is created by its first entry."""
        if not self.partition.exists:
            self.one()
        self._told.say("checkpoint", base64.b64encode(self.partition.publish().raw).decode())

    def seal(self) -> None:
        """Seal what can be."""
        if self.partition.exists and self.partition.checkpoints.published() is not None:
            self.partition.seal()

    def reopen(self) -> None:
        """Open the write end anew."""
        self.partition.reopen()

    def step(self) -> None:
        """Do something at random; after an error open again, as often as that takes."""
        actions: tuple[Callable[[], None], ...] = (self.one, self.many, self.later, self.threads, self.publish)
        rare: tuple[Callable[[], None], ...] = (self.seal, self.reopen)
        action = self._rng.choice(rare) if self._rng.random() < 0.1 else self._rng.choice(actions)
        self.survive(action)

    def fixed(self) -> None:
        """Append, complete a segment, publish, seal, publish; what fails is done again."""
        steps: tuple[Callable[[], None], ...] = (self.one, self.many, self.publish, self.one, self.seal, self.publish)
        for action in steps:
            for _ in range(ATTEMPTS):
                if self.survive(action):
                    break

    def survive(self, action: Callable[[], None]) -> bool:
        """Do something and return whether it was done; say what error it raises, and open again."""
        try:
            action()
        except tlog.Error as err:
            frames = traceback.extract_tb(err.__traceback__)[-5:]
            where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
            self._told.say("error", f"{type(err).__name__}: {err} ({where})")
            try:
                self.partition.reopen()
            except tlog.Error as again:
                self._told.say("error", f"{type(again).__name__}: {again}")
            return False
        return True


def be_quiet() -> None:
    """Keep the library's warnings of what recovery removed from standard error, where only crashes belong."""
    logging.getLogger("tlog").addHandler(logging.NullHandler())


def main(arguments: list[str]) -> None:
    """Write until the steps are done or the process is killed."""
    be_quiet()
    path, name, seed, steps = arguments
    told = Told()
    writer = Writer(Path(path), name, random.Random(seed), told)
    if steps == "fixed":
        writer.fixed()
    else:
        for _ in range(int(steps)) if int(steps) else itertools.count():
            writer.step()
    told.say("done")


if __name__ == "__main__":
    main(sys.argv[1:])
