"""R13 in the witness network: rotation, archives and restores are no fork, and what is missing is not cosigned over."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.witnessing.parties import honest, new_witness, policy_text, served
from tlog import Checkpoint, Ledger, Partition, Policy
from tlog.errors import Error
from tlog.witnessing.request import origin_hash
from tlog.witnessing.witness import Witness

SEGMENT = 256


class Party:
    """A ledger of small segments in `path`, whose checkpoints need one witness."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.path = directory / "ledger"
        self.witness: Witness = stack.enter_context(new_witness(directory / "witness", "w.example"))
        Ledger.create(self.path, origin="audit.example.com", segment_entries=SEGMENT).close()
        url = stack.enter_context(served(honest(self.witness)))
        self.policy = policy_text("all", [("w", self.witness.vkeys[0], url)])
        (self.path / "witnesses").write_text(self.policy)
        config = self.path / "tlog.toml"
        config.write_text(f'{config.read_text()}\nwitnesses = "witnesses"\n')
        partition = self.opened()
        partition.create()
        self.witness.add_log(partition.vkey)

    def opened(self) -> Partition:
        """Return the partition, as a new process has it."""
        ledger = Ledger.open(self.path)
        self.stack.callback(ledger.close)
        return ledger.partition("users")

    def publish(self, partition: Partition, count: int) -> None:
        """Append so many entries, and publish; the witness must have cosigned."""
        partition.append_many({"n": number} for number in range(count))
        trust = Policy.parse(f"log {partition.vkey}\n{self.policy}")
        assert trust.verify(partition.publish()).witnesses_met == ("w",)


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Party]:
    """A witnessed ledger."""
    with contextlib.ExitStack() as stack:
        yield Party(tmp_path, stack)


def test_r13_a_rotated_and_restored_log_is_cosigned_on(party: Party, tmp_path: Path) -> None:
    """Segments rolled and sealed, the ledger archived, lost and restored elsewhere: each checkpoint is cosigned."""
    partition = party.opened()
    for _ in range(3):
        party.publish(partition, SEGMENT + 1)
        partition.seal()
        partition.reopen()
    partition.close()
    shutil.copytree(party.path, tmp_path / "archive")
    shutil.rmtree(party.path)
    party.path = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "archive", party.path)
    party.publish(party.opened(), 1)
    assert Checkpoint.parse(shown(party)).tree_size == 3 * (SEGMENT + 1) + 1
    assert party.witness.evidence() == []


def shown(party: Party) -> bytes:
    """Return what the witness shows of the log."""
    return party.witness.checkpoint(origin_hash("audit.example.com/users"))


@pytest.mark.parametrize("first", [0, SEGMENT])
def test_r13_an_undeclared_removal_is_not_cosigned_over(party: Party, tmp_path: Path, first: int) -> None:
    """A segment taken away: nothing is signed and no witness asked; put back, the log goes on and nobody is accused."""
    party.publish(party.opened(), 2 * SEGMENT + 9)
    segment = party.path / "partitions" / "users" / "segments" / f"{first:020d}.jsonl"
    segment.rename(tmp_path / "away")
    before = shown(party)
    with pytest.raises(Error, match=r"segment is missing|\.jsonl: No such file"):
        party.publish(party.opened(), 1)
    assert shown(party) == before
    (tmp_path / "away").rename(segment)
    party.publish(party.opened(), 1)
    assert party.witness.evidence() == []
