"""What a witness remembers: durably, in one direction, and not twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.statements import LOG, ORIGIN, consistency_proof, entry_lines, signing_key
from tests.witnessing.conftest import NAME
from tlog.checkpoint import Checkpoint
from tlog.errors import ConflictError, CorruptLedgerError, Error, InconsistentLogError, NotFoundError, StorageError
from tlog.keys import VerifierKey
from tlog.note import open_note
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.observer import StaleSizeError
from tlog.witnessing.request import origin_hash
from tlog.witnessing.state import WitnessState
from tlog.witnessing.witness import Witness

LINES = entry_lines(40)
FORK = [*LINES[:7], *entry_lines(40, word="fork")[7:]]
HASH = origin_hash(ORIGIN)


def request(old_size: int, size: int, lines: list[bytes] = LINES) -> bytes:
    """Return the request to go from `old_size` to `size`."""
    return consistency_proof(old_size, lines[:size]).format()


def test_it_remembers(home: WitnessHome) -> None:
    """What was cosigned is known after the witness was closed and opened."""
    with home.open() as witness:
        witness.add_log(LOG.verifier_key)
        witness.add_checkpoint(request(0, 5))
    with home.open() as witness:
        with pytest.raises(StaleSizeError):
            witness.add_checkpoint(request(0, 5))
        witness.add_checkpoint(request(5, 8))


def test_lost_and_rewound_states_are_refused(home: WitnessHome, tmp_path: Path) -> None:
    """Without its state, with an old copy of it, or with another witness's, a key does not sign; the error says so."""
    with home.open() as witness:
        witness.add_log(LOG.verifier_key)
        witness.add_checkpoint(request(0, 5))
    shutil.copy(home.path / "state.sqlite", tmp_path / "old")
    with home.open() as witness:
        witness.add_checkpoint(request(5, 8))
    shutil.copy(home.path / "state.sqlite", tmp_path / "new")

    shutil.copy(tmp_path / "old", home.path / "state.sqlite")
    with pytest.raises(CorruptLedgerError, match=r"put back from a backup.*must not sign again"):
        home.open()
    other = WitnessHome(tmp_path / "other")
    other.create("other.example.net")
    shutil.copy(other.path / "state.sqlite", home.path / "state.sqlite")
    with pytest.raises(CorruptLedgerError, match="another state"):
        home.open()
    (home.path / "state.sqlite").unlink()
    with pytest.raises(CorruptLedgerError, match="is gone"):
        home.open()
    shutil.copy(tmp_path / "new", home.path / "state.sqlite")
    home.open().close()
    (home.path / "witness.record").unlink()
    with pytest.raises(NotFoundError):
        home.open()


def test_a_state_is_made_once(home: WitnessHome) -> None:
    """Neither a witness nor a state is made where there is one, or where a record of one is left."""
    with pytest.raises(ConflictError):
        home.create(NAME)
    (home.path / "state.sqlite").unlink()
    with pytest.raises(ConflictError):
        WitnessState.create(home.path / "state.sqlite", home.path / "witness.record")


def test_a_crash_between_commit_and_record(home: WitnessHome) -> None:
    """A record that is behind its state is what a crash leaves, and is no rollback."""
    with home.open() as witness:
        witness.add_log(LOG.verifier_key)
        record = (home.path / "witness.record").read_bytes()
        witness.add_checkpoint(request(0, 5))
    (home.path / "witness.record").write_bytes(record)
    with home.open() as witness:
        assert Checkpoint.parse(witness.checkpoint(HASH)).tree_size == 5
        witness.add_checkpoint(request(5, 8))
    assert (home.path / "witness.record").read_bytes()[16:] == (3).to_bytes(8, "big")


def test_after_a_failed_write_nothing_is_cosigned(home: WitnessHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a sync failed nobody knows what is stored: the witness stops until it is started again."""
    with home.open() as witness:
        witness.add_log(LOG.verifier_key)

        def fail(_: int) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("os.fdatasync", fail)
        with pytest.raises(StorageError):
            witness.add_checkpoint(request(0, 5))
        monkeypatch.undo()
        with pytest.raises(StorageError, match="start the witness again"):
            witness.add_checkpoint(request(5, 8))
    with home.open() as witness:
        seen = witness.latest()[0][1]
        witness.add_checkpoint(request(0 if seen is None else seen.tree_size, 8))


KILLED = """
    import os, sys
    from pathlib import Path
    from tlog.witnessing.home import WitnessHome
    import tlog.witnessing.state as state

    witness = WitnessHome(Path(sys.argv[1])).open()
    where = sys.argv[2]
    write = os.pwrite
    if where == "before the record":
        os.pwrite = lambda *args: os.kill(os.getpid(), 9)
    elif where == "before the reply":
        def write_and_die(*args):
            write(*args)
            os.kill(os.getpid(), 9)
        os.pwrite = write_and_die
    sys.stdout.buffer.write(witness.add_checkpoint(sys.stdin.buffer.read()))
"""


@pytest.mark.parametrize("where", ["before the record", "before the reply"])
def test_killed_between_persisting_and_the_reply(home: WitnessHome, where: str) -> None:
    """A witness that dies after it stored a checkpoint goes on from there; the log's retry is told the size (S9)."""
    with home.open() as witness:
        witness.add_log(LOG.verifier_key)
        witness.add_checkpoint(request(0, 3))
    program = [sys.executable, "-c", textwrap.dedent(KILLED), str(home.path), where]
    died = subprocess.run(program, input=request(3, 8), capture_output=True, check=False, timeout=60)
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, b"")
    with home.open() as witness:
        with pytest.raises(StaleSizeError) as caught:
            witness.add_checkpoint(request(3, 8))
        assert caught.value.tree_size == 8
        witness.add_checkpoint(request(8, 8))
        with pytest.raises(InconsistentLogError):
            witness.add_checkpoint(request(8, 8, FORK))


class WitnessMachine(RuleBasedStateMachine):
    """A witness, an honest log, a fork of it and a second log, restarts; a model of one number a log."""

    def __init__(self) -> None:
        """Nothing is there yet."""
        super().__init__()
        self.witness: Witness | None = None

    @initialize()
    def start(self) -> None:
        """Make the witness."""
        import tempfile

        self.directory = tempfile.mkdtemp()
        self.home = WitnessHome(Path(self.directory) / "witness")
        self.home.create(NAME)
        self.witness = self.home.open()
        self.witness.add_log(LOG.verifier_key)
        self.size = 0
        self.branch: list[bytes] | None = None
        self.cosigned: dict[int, bytes] = {}

    @property
    def running(self) -> Witness:
        """The witness."""
        if self.witness is None:
            raise AssertionError("not started")
        return self.witness

    @rule(old=st.integers(0, 12), size=st.integers(0, 12), is_fork=st.booleans())
    def submit(self, old: int, size: int, is_fork: bool) -> None:
        """A request with any sizes, from the log or from its fork."""
        lines = FORK if is_fork else LINES
        try:
            body = request(min(old, size), size, lines)
            answer = self.running.add_checkpoint(body)
        except Error:
            return
        assert min(old, size) == self.size
        body_checkpoint = body.partition(b"\n\n")[2]
        open_note(body_checkpoint + answer, self.running.vkeys)
        root = Checkpoint.parse(body_checkpoint).root_hash
        assert self.cosigned.setdefault(size, root) == root, "two trees of one size"
        assert size >= self.size
        self.size = size

    @rule()
    def restart(self) -> None:
        """Stop and start."""
        self.running.close()
        self.witness = self.home.open()

    @rule()
    def another_log(self) -> None:
        """Another log changes nothing for this one."""
        key: VerifierKey = signing_key("other.example/log").verifier_key
        self.running.add_log(key)

    @invariant()
    def nothing_went_back(self) -> None:
        """All that was cosigned is of one history, and what is served is the largest of it."""
        if self.witness is None or not self.cosigned:
            return
        served = Checkpoint.parse(self.running.checkpoint(HASH))
        assert served.tree_size == max(self.cosigned)
        for lines in (LINES, FORK):
            roots = {size: consistency_proof(0, lines[:size]).checkpoint.root_hash for size in self.cosigned}
            if roots == self.cosigned:
                return
        raise AssertionError("what was cosigned is of no one history")

    def teardown(self) -> None:
        """Remove the directory."""
        if self.witness is not None:
            self.witness.close()
            shutil.rmtree(self.directory)


TestWitnessMachine = WitnessMachine.TestCase
TestWitnessMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
