"""Power loss at every step: scenarios, the states that a crash leaves of them, and what must hold in each.

Three kinds of run:

* `explore`: the power fails after each operation of a scenario, with everything unsynced in every permitted state.
* `explore_killed`: the process is killed after an operation, so that the page cache stays; a second process goes on;
  then the power fails. What was visible to the second process need not have been durable.
* `explore_twice`: the power fails, and again while the library recovers from that.
* `explore_failed_sync`: a sync fails, the caller reopens and goes on; then the power fails. What that sync should have
  written is never written unless somebody writes it again.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import tlog
from tests.torture.crashmodel import Model, State, Tree, read_tree
from tests.torture.examine import NAME, ORIGIN, SEGMENT_ENTRIES, Told, examine
from tests.torture.faultdisk import KilledError, RecordingDisk

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory; what is durable is the model's affair
FAR_FUTURE = 1 << 60


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """Yield an empty directory, in memory where that is possible."""
    where = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where, prefix="tlog-torture-") as name:
        yield Path(name)


def event(number: int, size: int = 150) -> dict[str, object]:
    """Return an event of about this many bytes."""
    return {"n": number, "text": f"{number:08d}" * (size // 8)}


@dataclass
class Session:
    """A ledger on a recording disk, and what its user was told, each with the number of operations at that time."""

    root: Path
    created_at: int = FAR_FUTURE
    appended: list[tuple[int, int, bytes]] = field(default_factory=list)
    published: list[tuple[int, tlog.Checkpoint]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.disk = RecordingDisk(self.root)
        self._clock = itertools.count(1_790_000_000_000_000_000, 1_000_000)
        self._ledger: tlog.Ledger | None = None
        self._numbers = itertools.count()

    @property
    def partition(self) -> tlog.Partition:
        """The partition; the ledger is opened, or created where there is none."""
        if self._ledger is None:
            clock = lambda: next(self._clock)  # noqa: E731
            try:
                self._ledger = tlog.Ledger.open(self.root / "ledger", disk=self.disk, clock=clock)
            except tlog.NotFoundError:
                self._ledger = tlog.Ledger.create(
                    self.root / "ledger",
                    origin=ORIGIN,
                    segment_entries=SEGMENT_ENTRIES,
                    disk=self.disk,
                    clock=clock,
                )
                self.created_at = min(self.created_at, len(self.disk.operations))
        return self._ledger.partition(NAME)

    def append(self, count: int = 1) -> None:
        """Append events, one call for all."""
        events = [event(next(self._numbers)) for _ in range(count)]
        if count == 1:
            receipt = self.partition.append(events[0])
            self.appended.append((len(self.disk.operations), receipt.seq, receipt.hash))
        else:
            bulk = self.partition.append_many(events)
            self.appended.append((len(self.disk.operations), bulk.stop - 1, bulk.hash))

    def publish(self) -> None:
        """Publish."""
        checkpoint = self.partition.publish()
        self.published.append((len(self.disk.operations), checkpoint))

    def forget(self) -> None:
        """The process is gone, and with it its objects; the files are closed."""
        if self._ledger is not None:
            with contextlib.suppress(tlog.Error, KilledError):
                self._ledger.close()
        self._ledger = None

    def told(self, operations: int) -> Told:
        """Return what the user was told before the operation of this number."""
        entries = {seq: hash_ for at, seq, hash_ in self.appended if at <= operations}
        checkpoints = [checkpoint for at, checkpoint in self.published if at <= operations]
        return Told(self.created_at <= operations or bool(entries), entries, checkpoints)


class Scenario(NamedTuple):
    """prepare: what is durable when it begins. run: what is recorded."""

    name: str
    prepare: Callable[[Session], None]
    run: Callable[[Session], None]


def _nothing(session: Session) -> None:
    """Nothing is there."""


def _base(entries: int, *, publish: bool = True) -> Callable[[Session], None]:
    def prepare(session: Session) -> None:
        session.append(entries)
        if publish:
            session.publish()

    return prepare


def _create(session: Session) -> None:
    session.append()
    session.append(2)


def _create_and_publish(session: Session) -> None:
    _create(session)
    session.publish()


def _groups(session: Session) -> None:
    session.append(20)
    session.append()
    session.append(7)


def _roll(session: Session) -> None:
    session.append(10)
    session.append()


def _publish(session: Session) -> None:
    session.publish()
    session.append(3)
    session.publish()
    session.publish()


def _publish_tiles(session: Session) -> None:
    session.append(20)
    session.publish()
    session.append()
    session.publish()


def _seal(session: Session) -> None:
    session.partition.seal()
    session.append()
    session.publish()


def _everything(session: Session) -> None:
    session.append(10)
    session.publish()
    session.partition.seal()
    session.append(2)
    session.publish()


SCENARIOS = (
    Scenario("first creation", _nothing, _create),
    Scenario("creation to publication", _nothing, _create_and_publish),
    Scenario("group commit", _base(5), _groups),
    Scenario("segment roll", _base(250), _roll),
    Scenario("first and second publication", _base(5, publish=False), _publish),
    Scenario("publication that completes a tile", _base(250), _publish_tiles),
    Scenario("seal", _base(260), _seal),
    Scenario("roll, publish, seal", _base(250), _everything),
)


def go_on(session: Session) -> None:
    """What a second process does after the first has died."""
    session.append()
    session.publish()


@dataclass
class Explorer:
    """Replays states and counts them.

    samples: random combinations after each operation. thorough: each single file and name too. share: of all these
    states that are replayed, chosen at random.
    """

    seed: int = 1
    samples: int = 1
    thorough: bool = False
    share: float = 1.0
    states: int = 0
    failures: list[str] = field(default_factory=list)

    def explore(self, scenario: Scenario) -> None:
        """The power fails after each operation."""
        with workspace() as work:
            session, base = self._recorded(scenario, work / "live")
            scenario.run(session)
            session.forget()
            self._replay(scenario.name, session, base, 0, work / "state")

    def explore_killed(self, scenario: Scenario, at: int) -> None:
        """The process is killed after `at` operations, the next one goes on, then the power fails."""
        with workspace() as work:
            session, base = self._recorded(scenario, work / "live")
            session.disk.kill_at = at
            with contextlib.suppress(tlog.Error, KilledError):
                scenario.run(session)
            session.forget()
            session.disk.kill_at = None
            go_on(session)
            session.forget()
            self._replay(f"{scenario.name}, killed at operation {at}", session, base, at, work / "state")

    def explore_failed_sync(self, scenario: Scenario, at: int) -> None:
        """The operation `at` is a sync that fails; the caller opens the ledger again and goes on."""
        with workspace() as work:
            session, base = self._recorded(scenario, work / "live")
            session.disk.fail_sync_at = at
            with contextlib.suppress(tlog.Error):
                scenario.run(session)
            session.disk.fail_sync_at = None
            session.forget()
            go_on(session)
            session.forget()
            self._replay(f"{scenario.name}, failed sync {at}", session, base, at, work / "state")

    def explore_twice(self, scenario: Scenario, at: int) -> None:
        """The power fails after `at` operations, and again during the recovery from one state that this leaves."""
        rng = random.Random(f"{self.seed} {scenario.name} {at}")
        with workspace() as work:
            first, base = self._recorded(scenario, work / "live")
            scenario.run(first)
            first.forget()
            model = Model(base)
            for operation in first.disk.operations[:at]:
                model.apply(operation)
            state = rng.choice(list(model.states(rng, 4, singles=True)))
            shutil.rmtree(work / "live")
            (work / "live").mkdir()
            state.build(work / "live")
            told = first.told(at)
            second = Session(work / "live", 0 if told.created else FAR_FUTURE)
            second.appended = [(0, seq, hash_) for seq, hash_ in told.entries.items()]
            second.published = [(0, checkpoint) for checkpoint in told.checkpoints]
            go_on(second)
            second.forget()
            self._replay(f"{scenario.name}, {state.label} at {at}, then", second, state.tree, 0, work / "state")

    def operations(self, scenario: Scenario) -> list[str]:
        """Return the kinds of the operations that a scenario makes."""
        with workspace() as work:
            session, _ = self._recorded(scenario, work / "live")
            scenario.run(session)
            session.forget()
            return [operation.kind for operation in session.disk.operations]

    def _recorded(self, scenario: Scenario, live: Path) -> tuple[Session, Tree]:
        """Return a session whose record begins after the scenario's preparation, and the tree that is durable then."""
        live.mkdir()
        session = Session(live)
        scenario.prepare(session)
        session.forget()
        session.disk.operations.clear()
        session.appended = [(0, seq, hash_) for _, seq, hash_ in session.appended]
        session.published = [(0, checkpoint) for _, checkpoint in session.published]
        session.created_at = 0 if scenario.prepare is not _nothing else FAR_FUTURE
        return session, read_tree(live)

    def _replay(self, name: str, session: Session, base: Tree, start: int, scratch: Path) -> None:
        rng = random.Random(f"{self.seed} {name}")
        model = Model(base)
        operations = session.disk.operations
        seen: set[tuple[bytes, int]] = set()
        for number in range(len(operations) + 1):
            if number:
                model.apply(operations[number - 1])
            if number < start:
                continue
            told = session.told(number)
            for state in model.states(rng, self.samples, singles=self.thorough):
                key = state.digest(), len(told.entries) + len(told.checkpoints) + told.created
                if key not in seen and rng.random() < self.share:
                    seen.add(key)
                    after = "the start" if number == 0 else f"{number - 1}: {operations[number - 1][:2]}"
                    self._check(f"{name}, after {after}, {state.label}", state, told, scratch)

    def _check(self, label: str, state: State, told: Told, scratch: Path) -> None:
        scratch.mkdir()
        state.build(scratch)
        self.states += 1
        try:
            examine(scratch / "ledger", told)
        except (AssertionError, tlog.Error, OSError) as err:
            self.failures.append(f"{label}: {type(err).__name__}: {err}")
        finally:
            shutil.rmtree(scratch)
