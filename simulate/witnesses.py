"""Witnesses: the library's own, which crash and lose their state, and some that lie."""

from __future__ import annotations

import random
import shutil
from hashlib import sha256
from pathlib import Path

from simulate.checks import Checks, Statement, ViolationError
from simulate.network import EPOCH_S, Network, give_out
from tlog.checkpoint import Checkpoint
from tlog.cosignature import Cosignature
from tlog.errors import CorruptLedgerError, Error
from tlog.keys import ED25519_COSIGNATURE, SigningKey, VerifierKey
from tlog.note import NoteSignature, sign_line
from tlog.witnessing.observer import StaleSizeError
from tlog.witnessing.request import AddCheckpoint, origin_hash
from tlog.witnessing.state import WitnessState
from tlog.witnessing.transport import Reply
from tlog.witnessing.witness import Witness
from tlog_server.party import SIZE_TYPE, STATUSES

TEXT = "text/plain"
HUGE = (b"9223372036854775807\n", b"9223372036854775808\n", b"9" * 4000 + b"\n", b"-1\n", b"00\n", b"0\n", b"7\n")


def witness_key(name: str, seed: int) -> SigningKey:
    """Return the key of a witness."""
    return SigningKey.from_seed(f"{name}.example", sha256(f"{name} {seed}".encode()).digest(), ED25519_COSIGNATURE)


class HonestWitness:
    """`tlog.witnessing.witness.Witness` with its state on a disk, run by somebody who has trouble with machines."""

    def __init__(
        self, name: str, key: SigningKey, place: tuple[Network, Checks, Path], logs: list[VerifierKey]
    ) -> None:
        """place: the network, who checks, and the directory of the state."""
        self.name, self._key = name, key
        self._network, self._checks, directory = place
        self._state, self._record = directory / "state.sqlite", directory / "witness.record"
        self._copy, self._copied_at = self._state.with_suffix(".backup"), -1
        self._written = self._kept = 0
        self._is_whole, self._is_restored = True, False
        self.is_lost = False
        self.skew_s = 0.0
        directory.mkdir()
        WitnessState.create(self._state, self._record)
        self.witness = self._opened()
        for log in logs:
            self.witness.add_log(log)
        self._network.handlers[name] = self.answer

    def answer(self, src: str, path: str, body: bytes | None) -> Reply:
        """Answer as the server does."""
        del src
        if path.startswith("evidence"):
            return give_out([kept.evidence.format() for kept in self.witness.evidence()], path)
        try:
            if body is None:
                return Reply(200, TEXT, self.witness.checkpoint(path.removesuffix("/checkpoint")))
            answer = self.witness.add_checkpoint(body)
        except StaleSizeError as err:
            return Reply(409, SIZE_TYPE, f"{err.tree_size}\n".encode())
        except Error as err:
            status = next((status for kind, status in STATUSES if isinstance(err, kind)), 503)
            self._checks.counts[f"answers {status} of honest witnesses"] += 1
            if status == 422:
                self._show_evidence()
            return Reply(status, TEXT, str(err).encode())
        self._written += 1
        request, line = AddCheckpoint.parse(body), NoteSignature.parse(answer.decode().rstrip("\n"))
        time = Cosignature.decode(line.name, line.key_id, line.signature).timestamp_s
        self._checks.cosigned(self.name, Statement(request.origin, request.tree_size, request.root_hash), time)
        return Reply(200, TEXT, answer)

    def seen(self, origin: str) -> Statement | None:
        """Return what it cosigned last."""
        try:
            latest = Checkpoint.parse(self.witness.checkpoint(origin_hash(origin)))
        except Error:
            return None
        return Statement(origin, latest.tree_size, latest.root_hash)

    def crash(self) -> None:
        """Lose what is in memory."""
        self.witness.close()

    def start(self) -> bool:
        """Start again from what is on the disk; tell whether it runs. Without its whole state it must not."""
        if self.is_lost:
            return False
        try:
            self.witness = self._opened()
        except CorruptLedgerError as err:
            if self._is_whole and not self._is_restored:  # evidence that came twice counts as a write
                raise ViolationError("memory", f"{self.name} does not start from its own state: {err}") from err
            self._checks.counts["witnesses that refused to start from a lost or old state"] += 1
            self.is_lost = True
            return False
        self._checks.started(self.name, is_whole=self._is_whole)
        return True

    def back_up(self) -> None:
        """Copy the state while it is stopped for a moment."""
        self.witness.close()
        shutil.copyfile(self._state, self._copy)
        self._copied_at = self._written
        self.witness = self._opened()

    def restore(self) -> None:
        """Put the copy back, if there is one; the witness is down."""
        if self._copied_at >= 0:
            shutil.copyfile(self._copy, self._state)
            self._is_whole, self._is_restored = self._copied_at == self._written, True

    def lose_state(self) -> None:
        """Lose the disk that the state is on; the key is on another one, and the witness is down."""
        self._state.unlink()
        self._is_whole = False

    def _show_evidence(self) -> None:
        kept = self.witness.evidence()
        self._written += len(kept) - self._kept
        self._kept = len(kept)
        for piece in kept:
            self._checks.convicted(self.name, piece.evidence)

    def _opened(self) -> Witness:
        state = WitnessState(self._state, self._record)
        return Witness(state, [self._key], clock=lambda: EPOCH_S + self._network.clock() + self.skew_s)


class LyingWitness:
    """Has the key that policies name, and does not do what a witness does."""

    def __init__(self, name: str, key: SigningKey, kind: str, network: Network) -> None:
        """kind: one of `plan.WITNESS_LIES`."""
        self.name, self._key, self._kind, self._network = name, key, kind, network
        self._notes: dict[str, list[bytes]] = {}
        self._first: dict[str, bytes] = {}
        self._rng = random.Random(name)
        network.handlers[name] = self.answer

    def answer(self, src: str, path: str, body: bytes | None) -> Reply:
        """Lie."""
        del src
        if self._kind == "silent":
            return Reply(self._rng.choice((500, 503, 302, 404)), TEXT, b"\x1b[31mno\n")
        if self._kind == "garbage":
            return Reply(200, TEXT, self._rng.randbytes(self._rng.choice((0, 10, 3000))))
        if body is None:
            notes = self._notes.get(path.removesuffix("/checkpoint"))
            if not notes:
                return Reply(404, TEXT, b"")
            return Reply(200, TEXT, notes[0] if self._kind == "replays" else self._rng.choice(notes))
        if self._kind == "huge sizes" and self._rng.random() < 0.8:
            return Reply(409, SIZE_TYPE, self._rng.choice(HUGE))
        request = AddCheckpoint.parse(body)
        line = sign_line(self._key, request.note.text, timestamp_s=EPOCH_S + int(self._network.clock()))
        self._notes.setdefault(origin_hash(request.origin), []).append(request.note.raw + f"{line}\n".encode())
        signed = f"{line}\n".encode()
        return Reply(200, TEXT, self._first.setdefault(request.origin, signed) if self._kind == "replays" else signed)
