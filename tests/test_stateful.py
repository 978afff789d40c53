"""A partition driven by random steps beside a model that is a list of bytes and a naive tree."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import tlog
from tests import naive
from tests.ledgers import SEGMENT_ENTRIES, QuickDisk, StepClock, create, opened
from tlog import Checkpoint, Policy

MAX_ENTRIES = 2_000
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.sampled_from("abc"), values, max_size=3),
    max_leaves=5,
)
BULK_SIZES = st.sampled_from([0, 1, 2, 7, 100, 255, 256, 257, 300, 511, 512, 513, 600])


class Log(RuleBasedStateMachine):
    """One partition, and what it should be: all data in order, and the size of every checkpoint."""

    @initialize()
    def start(self) -> None:
        """An empty partition with a key."""
        self.directory = Path(tempfile.mkdtemp())
        self.clock = StepClock()
        self.partition = create(self.directory / "l", disk=QuickDisk(), clock=self.clock)
        self.partition.create()
        self.policy = Policy.for_log(self.partition.vkey)
        self.data: list[object] = []
        self.hashes: dict[int, bytes] = {}
        self.lines: list[bytes] = []
        self.tree = naive.NaiveTree(lambda index: naive.leaf_hash(self.lines[index]))
        self.checkpoints: list[Checkpoint] = []
        self.sealed = 0

    def teardown(self) -> None:
        """Remove the ledger."""
        if hasattr(self, "partition"):
            self.partition.close()
            shutil.rmtree(self.directory)

    # Writing

    @rule(data=JSON, writer=st.none() | st.sampled_from(["alice", "\u00e9"]))
    def append(self, data: object, writer: str | None) -> None:
        """One value, with and without meta."""
        receipt = self.partition.append(data, meta=None if writer is None else {"writer": writer})
        assert receipt.seq == len(self.data)
        self.hashes[receipt.seq] = receipt.hash
        self.data.append(data)

    @rule(data=JSON)
    def append_json(self, data: object) -> None:
        """One text."""
        receipt = self.partition.append_json(json.dumps(data, ensure_ascii=False))
        assert receipt.seq == len(self.data)
        self.hashes[receipt.seq] = receipt.hash
        self.data.append(data)

    @precondition(lambda self: len(self.data) < MAX_ENTRIES)
    @rule(count=BULK_SIZES, then=st.sampled_from(["nothing", "publish", "publish", "seal"]))
    def append_many(self, count: int, then: str) -> None:
        """Many, across tiles and segments."""
        start = len(self.data)
        bulk = self.partition.append_many(range(count))
        assert (bulk.count, bulk.start, bulk.stop) == ((count, start, start + count) if count else (0, 0, 0))
        if count:
            self.hashes[bulk.stop - 1] = bulk.hash
        self.data.extend(range(count))
        if then != "nothing":
            self.publish()
        if then == "seal":
            self.seal()

    @rule(count=st.integers(1, 5), data=JSON)
    def submit(self, count: int, data: object) -> None:
        """Some at once."""
        waiting = [self.partition.submit(data) for _ in range(count)]
        receipts = [pending.result(10) for pending in waiting]
        assert [receipt.seq for receipt in receipts] == list(range(len(self.data), len(self.data) + count))
        self.hashes.update({receipt.seq: receipt.hash for receipt in receipts})
        self.data.extend([data] * count)

    @rule(bad=st.sampled_from([float("nan"), {1: 2}, "\ud800", "x" * 65_536]), before=st.integers(0, 3))
    def refuse(self, bad: object, before: int) -> None:
        """What JSON cannot carry writes nothing but what came before it."""
        with pytest.raises(tlog.FormatError):
            self.partition.append(bad)
        with pytest.raises(tlog.RefusedItemError) as caught:
            self.partition.append_many([*range(before), bad, "after"])
        assert caught.value.appended == before
        self.data.extend(range(before))

    @rule(step_ns=st.sampled_from([-(10**12), -(10**7), 10**7, 10**12]))
    def move_the_clock(self, step_ns: int) -> None:
        """Forwards or back."""
        self.clock.now_ns += step_ns

    @rule()
    def publish(self) -> None:
        """A checkpoint over all, of the naive root."""
        checkpoint = self.partition.publish()
        assert checkpoint.tree_size == len(self.data)
        self.look()
        assert checkpoint.root_hash == self.tree.root(len(self.data))
        if not self.checkpoints or self.checkpoints[-1] != checkpoint:
            assert not self.checkpoints or self.checkpoints[-1].tree_size < checkpoint.tree_size
            self.checkpoints.append(checkpoint)

    @rule()
    def reopen(self) -> None:
        """As another process would."""
        self.partition.close()
        self.partition = opened(self.directory / "l", disk=QuickDisk(), clock=self.clock)

    @rule()
    def recover(self) -> None:
        """The write end anew."""
        self.partition.reopen()

    @precondition(lambda self: self.checkpoints)
    @rule()
    def seal(self) -> None:
        """All complete segments that are published, once."""
        covered = self.checkpoints[-1].tree_size // SEGMENT_ENTRIES
        assert self.partition.seal().segments == covered - self.sealed
        self.sealed = covered

    # Reading

    @precondition(lambda self: self.checkpoints and self.checkpoints[-1].tree_size)
    @rule(choice=st.integers(0, 2**32))
    def prove(self, choice: int) -> None:
        """An inclusion proof, the naive one, verifies."""
        self.look()
        size = self.checkpoints[-1].tree_size
        seq = choice % size
        proof = self.partition.prove(seq)
        assert list(proof.hashes) == self.tree.path(seq, 0, size)
        verified = tlog.verify_proof(str(proof), policy=self.policy)
        assert (verified.entry.raw, verified.leaf_index) == (self.lines[seq], seq)
        assert verified.entry.data == self.data[seq]

    @precondition(lambda self: len(self.checkpoints) > 1)
    @rule(choices=st.tuples(st.integers(0, 2**32), st.integers(0, 2**32)))
    def prove_consistency(self, choices: tuple[int, int]) -> None:
        """A consistency proof between any two checkpoints, the naive one, verifies."""
        self.look()
        one, two = sorted(choice % len(self.checkpoints) for choice in choices)
        old, new = self.checkpoints[one], self.checkpoints[two]
        proof = self.partition.prove_consistency(old.tree_size, new.tree_size)
        trivial = old.tree_size in (0, new.tree_size)
        assert list(proof.hashes) == ([] if trivial else self.tree.proof(old.tree_size, new.tree_size))
        tlog.verify_consistency(str(proof), old=old.raw, policy=self.policy)

    @precondition(lambda self: self.checkpoints)
    @rule()
    def export(self) -> None:
        """A site of the last checkpoint."""
        report = self.partition.export(self.directory / "site")
        assert report.tree_size == self.checkpoints[-1].tree_size
        assert (self.directory / "site" / "checkpoint").read_bytes() == self.checkpoints[-1].raw

    @rule(choices=st.tuples(st.integers(0, 2**32), st.integers(0, 2**32)))
    def read(self, choices: tuple[int, int]) -> None:
        """Any range."""
        start, stop = sorted(choice % (len(self.data) + 2) for choice in choices)
        assert [entry.data for entry in self.partition.entries(start, stop)] == self.data[start:stop]

    # The audit, after every step

    def look(self) -> None:
        """Read what was appended since the last look into the model: the bytes are the log's to choose, and stay."""
        new = list(self.partition.entries(len(self.lines)))
        self.lines += [entry.raw for entry in new]

    @invariant()
    def all_is_well(self) -> None:
        """Entries, receipts, fsck, verify and the record of checkpoints agree with the model."""
        self.look()
        entries = list(self.partition.entries())
        assert [entry.raw for entry in entries] == self.lines
        assert [entry.data for entry in entries[-600:]] == self.data[-600:]
        assert len(entries) == len(self.data) == self.partition.size
        assert all(entries[seq].hash == chain_hash for seq, chain_hash in self.hashes.items())
        assert [entry.ts for entry in entries] == sorted(entry.ts for entry in entries)
        report = self.partition.fsck()
        assert report.findings == ()
        assert report.entries == len(self.data)
        kept = self.checkpoints[0].raw if self.checkpoints else None
        audit = self.partition.verify(checkpoint=kept)
        assert (audit.entries, audit.is_anchored) == (len(self.data), bool(self.checkpoints))
        assert audit.published == (self.checkpoints[-1] if self.checkpoints else None)
        assert [found.raw for found in self.partition.checkpoints.all()] == [known.raw for known in self.checkpoints]


Log.TestCase.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
test_any_sequence_of_steps = Log.TestCase
