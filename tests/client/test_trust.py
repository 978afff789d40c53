"""What a client believes: the caller's key, and what it has seen before; never what the server says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tlog
from tests.client.clients import MakeClient
from tests.client.lying import LyingServer, Said, refused
from tests.client.made import chained, write_site
from tests.ledgers import files_of
from tests.statements import IMPOSTOR, LOG, LOG_VKEY, ORIGIN, POLICY_EXAMPLE, checkpoint, entry_lines, signing_key
from tlog.client.memory import MAX_EVIDENCE, FileMemory
from tlog.errors import Error
from tlog.hashing import EMPTY_ROOT
from tlog.tlogproof import ConsistencyProof

LINES = entry_lines(300)
ADMINS = signing_key("audit.example.com/admins")
FORK = chained(LINES[:20], 300, "forged")


@pytest.fixture
def told(make: MakeClient, server: LyingServer, tmp_path: Path) -> Any:
    """A client that knows the first 40 entries, with its state in tmp_path/state, and what it knows is served."""
    server.root = write_site(tmp_path / "old", LINES[:40])
    client = make(server.url, vkey=LOG_VKEY, state=tmp_path / "state")
    assert client.size == 40
    return client


def kept(tmp_path: Path) -> bytes:
    """Return the checkpoint that is remembered."""
    (path,) = (tmp_path / "state").glob("*.checkpoint")
    return path.read_bytes()


@pytest.mark.parametrize("size", [40, 41, 256, 300])
def test_s02_a_log_that_forked(told: Any, server: LyingServer, make: MakeClient, tmp_path: Path, size: int) -> None:
    """Another tree, of the same size or larger: both signed notes are evidence, which is kept; nothing is believed."""
    before = kept(tmp_path)
    server.root = write_site(tmp_path / "fork", FORK[:size])
    new = (tmp_path / "fork/users/checkpoint").read_bytes()
    again = make(server.url, vkey=LOG_VKEY, state=tmp_path / "state")
    for client in (told, again):
        for action in (
            client.checkpoint,
            lambda client=client: client.entry(45),
            lambda client=client: list(client.entries()),
        ):
            error = refused(action, tlog.InconsistentLogError)
            assert isinstance(error, tlog.InconsistentLogError)
            assert (error.old_note, error.new_note) == (before, new)
    assert kept(tmp_path) == before
    (evidence,) = (tmp_path / "state").glob("*.evidence-*")
    assert str(evidence) in str(error)
    assert (evidence / "old.checkpoint").read_bytes() == before
    assert (evidence / "new.checkpoint").read_bytes() == new
    command = [str(Path(sys.executable).parent / "tlog-verify"), "--consistency", str(evidence / "growth.proof")]
    command += ["--old", str(evidence / "old.checkpoint"), "--key", LOG_VKEY]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (shown.returncode, "forked" in shown.stderr) == (1, True), shown.stderr
    server.root = write_site(tmp_path / "grown", LINES)
    assert told.size == 300
    assert again.entry(45).raw == LINES[45]


@pytest.mark.parametrize("size", [0, 1, 39])
def test_s02_a_log_that_begins_again(told: Any, server: LyingServer, tmp_path: Path, size: int) -> None:
    """A smaller tree, be it the truth of yesterday or empty, is an error once a larger one was seen."""
    before = kept(tmp_path)
    server.root = write_site(tmp_path / "smaller", LINES[:size])
    assert tlog.Checkpoint.parse((tmp_path / "smaller/users/checkpoint").read_bytes()).tree_size == size
    error = refused(told.checkpoint, tlog.VerificationError)
    assert "smaller" in str(error)
    assert kept(tmp_path) == before
    new = tlog.Client(server.url, vkey=LOG_VKEY, state=tmp_path / "state")
    refused(new.checkpoint, tlog.VerificationError)
    new.close()


@pytest.mark.parametrize(
    ("note", "error"),
    [
        (checkpoint(LINES[:50], IMPOSTOR).raw, tlog.UntrustedNoteError),
        (checkpoint(LINES[:50], ADMINS, origin=ADMINS.name).raw, tlog.UnknownOriginError),
        (checkpoint(LINES[:50], LOG, origin=ADMINS.name).raw, tlog.UnknownOriginError),
        (checkpoint(LINES[:50]).raw.replace(b"\n50\n", b"\n51\n"), tlog.SignatureError),
        (checkpoint(LINES[:50]).raw + b"\n", tlog.FormatError),
        (b"", tlog.FormatError), (b"<html></html>", tlog.FormatError), (b"\xff" * 100, tlog.FormatError),
        (b"x" * (2 << 20), tlog.FormatError),
    ],
)  # fmt: skip
def test_s02_another_identity(told: Any, server: LyingServer, tmp_path: Path, note: bytes, error: type[Error]) -> None:
    """Another key, origin or signature, and what is no checkpoint: refused, and nothing is forgotten or asked for."""
    before = kept(tmp_path)
    server.lie = lambda path: Said(note) if path.endswith("/checkpoint") else None
    refused(told.checkpoint, error)
    assert kept(tmp_path) == before
    assert not any("vkey" in path for path in server.asked)


def test_s02_another_log_of_the_policy(make: MakeClient, server: LyingServer, tmp_path: Path) -> None:
    """A policy may believe several logs; one of them does not pass for another."""
    policy = f"log {LOG_VKEY}\nlog {ADMINS.verifier_key}\nquorum none\n"
    server.root = write_site(tmp_path / "site", LINES[:50])
    note = checkpoint(LINES[:50], ADMINS, origin=ADMINS.name).raw
    server.lie = lambda path: Said(note) if path.endswith("/checkpoint") else None
    client = make(server.url, policy=policy, origin=ORIGIN)
    refused(client.checkpoint, tlog.UnknownOriginError)
    server.lie = lambda _: None
    assert client.size == 50
    remembering = make(server.url, policy=policy, origin=ORIGIN, state=tmp_path / "state")
    assert remembering.size == 50
    (path,) = (tmp_path / "state").glob("*.checkpoint")
    path.write_bytes(note)
    refused(remembering.checkpoint, tlog.VerificationError)
    assert path.read_bytes() == note


def test_the_quorum_counts(make: MakeClient, server: LyingServer, tmp_path: Path) -> None:
    """Where the policy asks for witnesses, a checkpoint that only the log signed is refused."""
    server.root = write_site(tmp_path / "site", LINES[:5])
    refused(make(server.url, policy=POLICY_EXAMPLE).checkpoint, tlog.PolicyError)


def test_clients_that_race(told: Any, server: LyingServer, make: MakeClient, tmp_path: Path) -> None:
    """While one client looks, another one moves the memory on: the larger tree stays, if both are of one log."""
    both = write_site(tmp_path / "both", LINES[:50])
    note = (both / "users/checkpoint").read_bytes()
    write_site(both, LINES[:60])
    fork = write_site(write_site(tmp_path / "fork", LINES[:50]), FORK[:70])
    quicker = make(server.url, vkey=LOG_VKEY, state=tmp_path / "state")

    def lie(_: str) -> Said:
        server.lie = lambda _: None
        server.root = both
        assert quicker.size == 60
        return Said(note)

    server.lie = lie
    assert told.checkpoint().tree_size == 60
    assert tlog.Checkpoint.parse(kept(tmp_path)).tree_size == 60
    # The same, and what the other one saw is another log.
    (state,) = (tmp_path / "state").glob("*.checkpoint")
    state.write_bytes((tmp_path / "old/users/checkpoint").read_bytes())

    def fork_meanwhile(_: str) -> Said:
        server.lie = lambda _: None
        server.root = fork
        state.write_bytes((fork / "users/checkpoint").read_bytes())
        return Said(note)

    server.lie = fork_meanwhile
    refused(make(server.url, vkey=LOG_VKEY, state=tmp_path / "state").checkpoint, tlog.InconsistentLogError)


def test_the_memory_is_checked(told: Any, server: LyingServer, make: MakeClient, tmp_path: Path) -> None:
    """A memory that was altered is an error that says what to do, and is left as it is."""
    (path,) = (tmp_path / "state").glob("*.checkpoint")
    original = path.read_bytes()
    for content in (
        b"", b"\n", original[:-1], original.replace(b"\n40\n", b"\n39\n"), original + b"x", b"x" * (2 << 20),
        checkpoint(LINES[:40], IMPOSTOR).raw, checkpoint(LINES[:40], ADMINS, origin=ADMINS.name).raw,
    ):  # fmt: skip
        path.write_bytes(content)
        for client in (told, make(server.url, vkey=LOG_VKEY, state=tmp_path / "state")):
            assert "put back a copy" in str(refused(client.checkpoint))
        assert path.read_bytes() == content
    path.unlink()
    path.symlink_to(tmp_path / "old/users/checkpoint")
    refused(told.checkpoint, tlog.StorageError)
    path.unlink()
    os.mkfifo(path)
    refused(told.checkpoint, Error)
    path.unlink()
    path.mkdir()
    refused(told.checkpoint, tlog.StorageError)


def test_the_memory_is_private_and_whole(told: Any, tmp_path: Path) -> None:
    """Nobody else reads or writes it, and no half-written file stays behind."""
    assert told.origin == ORIGIN
    state = tmp_path / "state"
    assert state.stat().st_mode & 0o777 == 0o700
    assert {path.suffix for path in state.iterdir()} == {".checkpoint", ".lock"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in state.iterdir())


def test_the_memory_fails_closed(server: LyingServer, make: MakeClient, tmp_path: Path) -> None:
    """Where nothing can be remembered, nothing is believed."""
    server.root = write_site(tmp_path / "site", LINES[:5])
    (tmp_path / "file").write_bytes(b"")
    client = make(server.url, vkey=LOG_VKEY, state=tmp_path / "file" / "state")
    refused(client.checkpoint, tlog.StorageError)
    refused(lambda: client.entry(0), tlog.StorageError)


def test_advancing_is_compare_and_swap(tmp_path: Path) -> None:
    """Only who knows what is kept may replace it; logs of one name and different origins are kept apart."""
    memory = FileMemory(tmp_path / "a/b", ORIGIN)
    assert memory.read() is None
    assert not memory.advance(b"guess", b"new")
    assert memory.advance(None, b"one")
    assert not memory.advance(None, b"two")
    assert memory.advance(b"one", b"two")
    assert memory.read() == b"two"
    assert FileMemory(tmp_path / "a/b", "other.example/users").read() is None


def test_evidence_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that signs a new contradiction at every look does not fill the disk."""
    memory = FileMemory(tmp_path, ORIGIN)
    proof = ConsistencyProof(0, (), checkpoint(LINES[:1]))
    monkeypatch.setattr("os.fsync", lambda _: None)
    for number in range(MAX_EVIDENCE + 5):
        error = tlog.InconsistentLogError("forked", old_note=b"old", new_note=b"%d" % number)
        assert memory.accuse(error, proof) is not None
    assert len(list(tmp_path.glob("*.evidence-*"))) == MAX_EVIDENCE
    assert len(files_of(tmp_path)) == 3 * MAX_EVIDENCE + 1


def test_an_empty_log_grows(server: LyingServer, make: MakeClient, tmp_path: Path) -> None:
    """A log that has signed its empty tree is followed from there."""
    server.root = write_site(tmp_path / "empty", [])
    client = make(server.url, vkey=LOG_VKEY, state=tmp_path / "state")
    assert client.checkpoint().root_hash == EMPTY_ROOT
    assert list(client.entries()) == []
    server.root = write_site(tmp_path / "grown", LINES)
    assert client.size == 300
