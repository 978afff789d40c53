"""Witnesses: the library's own, which crash, lose their state, and gossip."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

from simulate.checks import Checks, Statement, ViolationError
from simulate.network import EPOCH_S, Connection, Network, OneAfterAnother, give_out, tell_root
from tlog.checkpoint import Checkpoint
from tlog.cosignature import Cosignature
from tlog.errors import CorruptLedgerError, Error, NotFoundError, StorageError
from tlog.keys import ED25519_COSIGNATURE, SigningKey, VerifierKey
from tlog.monitoring.proving import EarlierRoots
from tlog.monitoring.witness import WitnessGossip, WitnessTrees
from tlog.note import NoteSignature
from tlog.witnessing.observer import StaleSizeError
from tlog.witnessing.request import AddCheckpoint, origin_hash
from tlog.witnessing.state import WitnessState
from tlog.witnessing.transport import Reply
from tlog.witnessing.witness import Witness
from tlog_server.party import SIZE_TYPE, STATUSES

TEXT = "text/plain"


def witness_key(name: str, seed: int) -> SigningKey:
    """Return the key of a witness."""
    return SigningKey.from_seed(f"{name}.example", sha256(f"{name} {seed}".encode()).digest(), ED25519_COSIGNATURE)


class Site:
    """A log's site, as a witness is shown it. See `tlog.mirroring.source.Source`."""

    def __init__(self, network: Network, witness: str, log: str) -> None:
        self._network, self._witness, self._log = network, witness, log

    def read(self, path: str, limit: int) -> bytes:
        """See `Source`."""
        reply = self._network.ask(self._witness, self._log, path)
        if reply.status == 404:
            raise NotFoundError(f"{path} is not there")
        if len(reply.body) > limit:
            raise StorageError("the answer is too long")
        return reply.body


class Gossip(WitnessGossip):
    """The library's gossip, without threads."""

    network: Network

    def _pool(self) -> OneAfterAnother:
        return OneAfterAnother(self.network)


class HonestWitness:
    """`tlog.witnessing.witness.Witness` with its state on a disk, run by somebody who has trouble with machines."""

    def __init__(
        self, name: str, key: SigningKey, place: tuple[Network, Checks, Path], logs: dict[str, VerifierKey]
    ) -> None:
        """place: the network, who checks, and the directory of the state. logs: their keys by name."""
        self.name, self._key = name, key
        self.peers: list[str] = []
        self.sites: dict[str, str] = {}
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
        for log in logs.values():
            self.witness.add_log(log)
        self._network.handlers[name] = self.answer

    def answer(self, src: str, path: str, body: bytes | None) -> Reply:
        """Answer as the server does."""
        del src
        if path.startswith("evidence"):
            return give_out([kept.evidence.format() for kept in self.witness.evidence()], path)
        if "/consistency/" in path:
            reply = tell_root(EarlierRoots(self._trees().latest), path)
            self._checks.counts[f"answers {reply.status} of honest witnesses about earlier roots"] += 1
            return reply
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

    def gossip(self) -> None:
        """Ask each peer for what it has seen, and for its evidence."""
        gossip = Gossip(
            self.witness,
            [f"sim://{peer}" for peer in self.peers],
            Connection(self._network, self.name),
            self._trees(),
        )
        gossip.network = self._network
        self._checks.counts["forks that witnesses heard of"] += len(gossip.round())
        self._show_evidence()

    def can_read(self, origin: str) -> bool:
        """Tell whether the tiles of the tree that it cosigned last are on the log's site, as it is shown here."""
        try:
            _, tree = self._trees().latest(origin_hash(origin))
            tree.edge()
        except Error:
            return False
        return True

    def has_evidence(self, origin: str) -> bool:
        """Tell whether it can prove that a log forked."""
        return any(kept.origin == origin for kept in self.witness.evidence())

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

    def _trees(self) -> WitnessTrees:
        return WitnessTrees(self.witness, self.sites, sources=lambda log: Site(self._network, self.name, log))

    def _opened(self) -> Witness:
        state = WitnessState(self._state, self._record)
        return Witness(state, [self._key], clock=lambda: EPOCH_S + self._network.clock() + self.skew_s)
