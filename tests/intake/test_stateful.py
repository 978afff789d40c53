"""Two intakes of one partition, in a random order of events, retries, deaths, failures and lost tables."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.ledgers import NAME, ORIGIN, SEGMENT_ENTRIES, FaultyDisk, StepClock
from tests.torture.faultdisk import KilledError
from tlog import Ledger, Partition
from tlog.errors import CommitUnknownError, RefusedItemError, ReusedIdError, StorageError
from tlog.intake.batch import Batch
from tlog.intake.intake import Intake

WRITERS = st.sampled_from([None, "web"])
IDS = st.sampled_from(["1", "2", "é"])
DATA = st.integers(0, 1)
SENDERS = st.integers(0, 1)


class DyingDisk(FaultyDisk):
    """A disk whose n-th changing operation fails, or is the last thing that its process does."""

    is_deadly = False
    is_dead = False

    def _step(self, name: str, path: Path, action: Callable[[], None], half: Callable[[], None] | None = None) -> None:
        if self.is_dead:
            raise KilledError
        try:
            super()._step(name, path, action, half)
        except StorageError:
            if self.is_deadly:
                self.is_dead = True
                raise KilledError from None
            raise

    def plan(self, offset: int | None, mode: str, *, is_deadly: bool) -> None:
        """Let the operation after `offset` others be the bad one."""
        self.fail_at = None if offset is None else len(self.log) + offset
        self.mode = mode
        self.is_deadly = is_deadly


class Process(NamedTuple):
    """What a process that takes events has open."""

    disk: DyingDisk
    partition: Partition
    intake: Intake


class Sent(RuleBasedStateMachine):
    """What was acknowledged: the data and seq of each writer and id, and how many events without id there may be."""

    @initialize()
    def start(self) -> None:
        """An empty ledger and two processes."""
        self.directory = Path(tempfile.mkdtemp())
        Ledger.create(self.directory / "l", origin=ORIGIN, segment_entries=SEGMENT_ENTRIES).close()
        self.clock = StepClock()
        self.processes = [self.begin(), self.begin()]
        self.known: dict[tuple[str | None, str], tuple[Any, int]] = {}
        self.sent: set[tuple[str | None, str]] = set()
        self.plain = self.doubtful = 0

    def begin(self) -> Process:
        """What a new process opens."""
        disk = DyingDisk()
        partition = Ledger.open(self.directory / "l", disk=disk, clock=self.clock).partition(NAME)
        return Process(disk, partition, Intake(partition))

    def teardown(self) -> None:
        """Remove the ledger."""
        if hasattr(self, "directory"):
            for process in self.processes:
                process.intake.close()
                process.partition.close()
            shutil.rmtree(self.directory)

    @rule(sender=SENDERS, writer=WRITERS, event_id=IDS, data=DATA)
    def accept(self, sender: int, writer: str | None, event_id: str, data: int) -> None:
        """An event with an id: the first of it, a retry, or another with the same id."""
        with self.alive(sender) as process:
            self.send(process, writer, event_id, data)

    def send(self, process: Process, writer: str | None, event_id: str, data: Any) -> None:
        """Send an event, and compare what comes back with what is known."""
        key = (writer, event_id)
        before = self.known.get(key)
        self.sent.add(key)
        accepted, seq = None, -1
        try:
            accepted = process.intake.accept(data, writer=writer, event_id=event_id)
        except ReusedIdError as err:
            seq = err.seq
        if accepted is None:
            if before is None:  # one that nobody was told of was stored first
                before = self.known[key] = (process.partition.entry(seq).data, seq)
            assert (before[1], before[0] == data) == (seq, False)
        elif before is None:
            self.known[key] = (data, accepted.seq)
        else:
            assert (data, accepted.seq, accepted.is_first) == (*before, False)

    @rule(sender=SENDERS, writer=WRITERS, sent=st.lists(st.tuples(IDS | st.none(), DATA), max_size=6))
    def accept_batch(self, sender: int, writer: str | None, sent: list[tuple[str | None, int]]) -> None:
        """A batch of events with ids of their own, and without."""
        events = [{"n": n} if name is None else {"id": name, "n": n} for name, n in sent]
        plain = sum(name is None for name, _ in sent)
        self.sent |= {(writer, name) for name, _ in sent if name is not None}
        with self.alive(sender) as process:
            self.doubtful += plain
            batch = Batch(process.intake, writer=writer)
            refused = None
            try:
                batch.add_json([orjson.dumps(event) for event in events])
            except RefusedItemError as err:
                refused = err.index
            self.doubtful -= plain
            taken = sent[: batch.receipt.count]
            assert batch.receipt.count == (len(sent) if refused is None else refused)
            self.plain += sum(name is None for name, _ in taken)
            for name, n in taken:
                if name is not None:
                    self.send(process, writer, name, {"id": name, "n": n})
            if refused is not None:
                name, n = sent[refused]
                assert name is not None
                known = self.known.get((writer, name))  # or one that nobody was told of
                assert known is None or known[0] != {"id": name, "n": n}

    @rule(sender=SENDERS, count=st.sampled_from([1, 3, 260]))
    def append(self, sender: int, count: int) -> None:
        """Events that nobody sends again."""
        if self.plain < 600:
            with self.alive(sender) as process:
                self.doubtful += count
                process.partition.append_many(range(count))
                self.doubtful -= count
                self.plain += count

    @rule(sender=SENDERS)
    def publish(self, sender: int) -> None:
        """A checkpoint, and compression."""
        with self.alive(sender) as process:
            if process.partition.exists:
                process.partition.publish()
                process.partition.seal()

    @rule(sender=SENDERS, offset=st.integers(0, 5), mode=st.sampled_from(["not done", "half done", "done"]))
    def fail(self, sender: int, offset: int, mode: str) -> None:
        """One of the next operations on the disk fails."""
        self.processes[sender].disk.plan(offset, mode, is_deadly=False)

    @rule(sender=SENDERS, offset=st.integers(0, 5), mode=st.sampled_from(["not done", "half done", "done"]))
    def die(self, sender: int, offset: int, mode: str) -> None:
        """One of the next operations is the last one of its process."""
        self.processes[sender].disk.plan(offset, mode, is_deadly=True)

    @rule(sender=SENDERS)
    def restart(self, sender: int) -> None:
        """The process ends as it should, and another one begins."""
        with self.alive(sender) as process:
            process.intake.close()
            process.partition.close()
            self.processes[sender] = self.begin()

    @rule()
    def lose_table(self) -> None:
        """Somebody removes the table, which may be in use."""
        for path in (self.directory / "l" / "index").glob("*"):
            path.unlink()

    @rule()
    def spoil_table(self) -> None:
        """The table is of something else."""
        self.lose_table()
        (self.directory / "l" / "index").mkdir(exist_ok=True)
        (self.directory / "l" / "index" / f"{NAME}.ids").write_bytes(b"not a table" * 500)

    @contextlib.contextmanager
    def alive(self, sender: int) -> Any:
        """Do something in a process, which may fail, or end with it."""
        process = self.processes[sender]
        process.intake._reopen_at = 0.0  # as if a second had gone by
        try:
            yield process
        except KilledError:
            self.processes[sender] = self.begin()
        except (CommitUnknownError, StorageError):
            process.disk.plan(None, "", is_deadly=False)

    @invariant()
    def audit(self) -> None:
        """Every id is in one entry, where it was said to be; nothing was lost, nothing is there that nobody sent."""
        if not hasattr(self, "processes"):
            return
        with Ledger.open(self.directory / "l") as ledger:
            partition = ledger.partition(NAME)
            if not partition.exists:
                return
            found: dict[tuple[str | None, str], tuple[Any, int]] = {}
            plain = 0
            for entry in partition.entries():
                if "id" in entry.meta:
                    key = (entry.meta.get("writer"), entry.meta["id"])
                    assert key not in found, f"{key} stands twice"
                    found[key] = (entry.data, entry.seq)
                else:
                    plain += 1
            for key, place in self.known.items():
                assert found[key] == place
            assert found.keys() <= self.sent
            assert self.plain <= plain <= self.plain + self.doubtful


TestSent = Sent.TestCase
TestSent.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
