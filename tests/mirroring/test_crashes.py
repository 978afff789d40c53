"""A mirror whose disk fails, is full, or loses power during an upload, and one that is killed before it answers.

What is told is durable: entries that a 202 named, a tree that a 200 cosigned. Nothing else becomes visible, nothing
goes back, and the upload goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.mirroring.conftest import LINES, body, opened, pend, reading
from tests.mirroring.test_add_entries import assert_whole
from tests.statements import ORIGIN
from tests.torture.crashmodel import Model
from tests.torture.faultdisk import KilledError, RecordingDisk
from tests.torture.faults import AFTER, BEFORE, HALF, Fault, FaultyDisk
from tests.torture.powerloss import workspace
from tlog.errors import StorageError
from tlog.mirroring.mirror import Mirror, PartialUploadError
from tlog.mirroring.store import MirrorStore

SIZES = (300, 700)
"""Two trees, one after the other; the first one ends within a bundle."""


def uploads(mirror: Mirror) -> list[int]:
    """Upload what is missing of the pending tree in parts; return what was told each time: the next entry."""
    told = []
    pending = mirror.pending(ORIGIN)
    assert pending is not None
    while True:
        following = mirror.store(ORIGIN).next_entry()
        try:
            assert mirror.add_entries(reading(body(following, pending.tree_size, packages=1)))
        except PartialUploadError as err:
            told.append(err.next_entry)
        else:
            return [*told, pending.tree_size]


def examine(directory: Path, told: int, signed: int) -> None:
    """After a restart what was told is there, the served tree is whole, and the upload goes on to its end."""
    with opened(directory) as mirror:
        store = mirror.store(ORIGIN)
        assert store.next_entry() >= told
        found = store.checkpoint()
        assert (0 if found is None else found.tree_size) >= signed
        if found is not None:
            assert_whole(mirror, found.tree_size)
        uploads(mirror)
        assert_whole(mirror, SIZES[-1])


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("when", [BEFORE, HALF, AFTER])
def test_every_call_fails(error: int, when: str) -> None:
    """Each call of an upload fails: it is an error, nothing wrong is visible, and sending it again is all it takes."""
    counted = FaultyDisk()
    with workspace() as directory, opened(directory / "m", counted) as mirror:
        _prepare(mirror)
        start = len(counted.calls)
        uploads(mirror)
        calls = range(start, len(counted.calls))
    assert len(calls) > 50
    for at in calls:
        with workspace() as directory:
            disk = FaultyDisk(Fault(at, error, when))
            with opened(directory / "m", disk) as mirror:
                _prepare(mirror)
                with contextlib.suppress(StorageError):
                    uploads(mirror)
                assert disk.failed is not None
                uploads(mirror)
                assert_whole(mirror, SIZES[-1])
            examine(directory / "m", SIZES[-1], SIZES[-1])


def test_power_loss_after_every_step() -> None:
    """Whatever of the unsynced data and names is left: no cosigned tree is without an entry, none goes back."""
    rng = random.Random(7)
    with workspace() as directory:
        disk = RecordingDisk(directory / "m")
        told: list[tuple[int, int]] = []
        with opened(directory / "m", disk) as mirror:
            _prepare(mirror)
            told.append((len(disk.operations), SIZES[0]))
            pending = mirror.pending(ORIGIN)
            assert pending is not None
            for size in (256 * n for n in (2, 3)):
                with contextlib.suppress(PartialUploadError):
                    following = mirror.store(ORIGIN).next_entry()
                    mirror.add_entries(reading(body(following, pending.tree_size, packages=1)))
                told.append((len(disk.operations), min(size, SIZES[-1])))
        shutil.rmtree(directory / "m" / "logs")
        model, seen = Model({}), set[bytes]()
        for number, operation in enumerate(disk.operations, 1):
            model.apply(operation)
            if number < told[0][0]:
                continue
            known = max(size for at, size in told if at <= number)
            for state in model.states(rng, 2, singles=number % 5 == 0):
                if state.digest() in seen:
                    continue
                seen.add(state.digest())
                copy = directory / "copy"
                shutil.copytree(directory / "m", copy)
                state.build(copy)
                examine(copy, known, SIZES[1] if known == SIZES[1] else SIZES[0])
                shutil.rmtree(copy)
    assert len(seen) > 50


def test_power_loss_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed leaves names that no disk has yet; the next one makes them durable before it signs."""

    def killed(*_: object) -> None:
        raise KilledError

    with workspace() as directory:
        first = RecordingDisk(directory / "m")
        with opened(directory / "m", first) as mirror:
            _prepare(mirror)
            monkeypatch.setattr(MirrorStore, "commit", killed)
            with pytest.raises(KilledError):
                mirror.add_entries(reading(body(300, 700)))
            monkeypatch.undo()
        model = Model({})
        for operation in first.operations:
            if operation.kind != "sync_dir":  # it was killed before each of them, as far as anybody knows
                model.apply(operation)
        second = RecordingDisk(directory / "m")
        with opened(directory / "m", second) as mirror:
            uploads(mirror)
        for operation in second.operations:
            model.apply(operation)
        shutil.rmtree(directory / "m" / "logs")
        nothing = next(state for state in model.states(random.Random(0), 0, singles=False) if "no names" in state.label)
        nothing.build(directory / "m")
        with opened(directory / "m") as mirror:
            store = mirror.store(ORIGIN)
            assert [store.entries(index, min(256, 700 - index * 256)) for index in (1, 2)] == [
                LINES[256:512],
                LINES[512:],
            ]


def test_killed_before_the_larger_tree_was_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries beyond a tree are here already when it is signed: its bundle at the edge has the width of that tree."""

    def killed(*_: object) -> None:
        raise KilledError

    with opened(tmp_path / "m") as mirror:
        pend(mirror, 0, 600)
        with pytest.raises(PartialUploadError) as caught:
            mirror.add_entries(reading(body(0, 600, packages=1)))
        pend(mirror, 600, 700)
        monkeypatch.setattr(MirrorStore, "commit", killed)
        with pytest.raises(KilledError):
            mirror.add_entries(reading(body(256, 700)))
        monkeypatch.undo()
    with opened(tmp_path / "m") as mirror:
        assert mirror.add_entries(reading(body(600, 600, ticket=caught.value.ticket)))
        assert_whole(mirror, 600)
        assert mirror.add_entries(reading(body(700, 700)))
        assert_whole(mirror, 700)


KILLED = """
    import os, sys
    from pathlib import Path
    from tests.mirroring.conftest import body, opened, pend, reading

    mirror = opened(Path(sys.argv[1]))
    if sys.argv[2] == "pend":
        pend(mirror, 0, 700)
    else:
        assert mirror.add_entries(reading(body(0, 700)))
    os.kill(os.getpid(), 9)
"""


def test_killed_between_persisting_and_answering(tmp_path: Path) -> None:
    """The client hears nothing and asks again: add-checkpoint tells the size, add-entries cosigns the same tree."""
    home = tmp_path / "m"
    for step in ("pend", "upload"):
        program = [sys.executable, "-c", textwrap.dedent(KILLED), str(home), step]
        ended = subprocess.run(program, check=False, timeout=60, cwd=Path(__file__).parents[2], env=os.environ)
        assert ended.returncode == -signal.SIGKILL
    with opened(home) as mirror:
        assert_whole(mirror, 700)
        before = (home / "logs").rglob("checkpoint")
        files = [path.read_bytes() for path in before]
        pend(mirror, 700, 700)
        (line,) = mirror.add_entries(reading(body(512, 700)))
        assert line.name == "mirror.example.net"
        assert_whole(mirror, 700)
        assert [path.read_bytes() for path in (home / "logs").rglob("checkpoint")] == files


def _prepare(mirror: Mirror) -> None:
    """Mirror the first tree, and make the second one pending."""
    pend(mirror, 0, SIZES[0])
    uploads(mirror)
    pend(mirror, *SIZES)
