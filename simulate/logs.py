"""Logs: an honest one, and one that shows different trees to different parties."""

from __future__ import annotations

import random
from dataclasses import replace
from hashlib import sha256

from simulate.checks import Checks, Statement, ViolationError
from simulate.network import Network, SimulatedCollector
from tests import naive
from tlog.checkpoint import Checkpoint
from tlog.errors import CorruptLedgerError, Error, InconsistentLogError, PolicyError
from tlog.keys import SigningKey
from tlog.note import NoteSignature
from tlog.policy import Policy
from tlog.tile import Tile, parse_path
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.transport import Reply

MAX_GROWTH = 9
"""Entries between two checkpoints; sizes around powers of two are all met."""


class View:
    """One history of a log: all of another one's up to a size, and entries of its own from there."""

    def __init__(self, label: str, parent: View | None = None, size: int = 0) -> None:
        self.size = size
        self.published: Checkpoint | None = None
        self._label, self._parent, self._start = label, parent, size
        self.tree = naive.NaiveTree(self.leaf)

    def leaf(self, index: int) -> bytes:
        """Return the leaf hash at an index."""
        if self._parent is not None and index < self._start:
            return self._parent.leaf(index)
        return naive.leaf_hash(f"{self._label} {index}".encode())

    def prove(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Return the consistency proof between two sizes."""
        return tuple(self.tree.proof(old_size, new_size)) if 0 < old_size < new_size else ()

    def shown(self) -> bytes:
        """Return the published checkpoint, and the leaf hashes of its tree: what a monitor reads."""
        if self.published is None:
            return b""
        raw = self.published.raw
        return b"%d\n%b" % (len(raw), raw) + b"".join(map(self.leaf, range(self.published.tree_size)))


class Log:
    """What logs have in common, and the honest one."""

    def __init__(self, name: str, network: Network, checks: Checks, quorum: Policy, seed: int) -> None:
        """quorum: the policy of witnesses, with their URLs."""
        self.name = name
        self.origin = f"{name}.example/audit"
        self.key = SigningKey.from_seed(self.origin, sha256(f"{name} {seed}".encode()).digest())
        self._network, self._checks, self._quorum = network, checks, quorum
        self._main = View(name)
        self._collector = SimulatedCollector(quorum, network, name)
        checks.keys[self.origin] = self.key.verifier_key
        network.handlers[name] = self.answer

    def view_of(self, party: str) -> View:  # noqa: ARG002 - a lying log asks who it is
        """Return the history that a party is shown."""
        return self._main

    def crash(self) -> None:
        """Forget what is in memory only."""
        self._collector = SimulatedCollector(self._quorum, self._network, self.name)

    def publish(self, rng: random.Random) -> None:
        """Grow, sign, and publish with the quorum, as `tlog.publisher` does."""
        self._main.size += rng.randint(0, MAX_GROWTH)
        try:
            self._collector.require_unseen(self.key.verifier_key, self._main.size)
            checkpoint = self._sign(self._main)
            self._main.published = self._collector.cosign(
                checkpoint, self.key.verifier_key, lambda old: self._main.prove(old, checkpoint.tree_size)
            )
            self._checks.counts["checkpoints published"] += 1
        except PolicyError:
            self._checks.counts["not published, without the quorum"] += 1
        except (CorruptLedgerError, InconsistentLogError) as err:
            raise ViolationError("alarm", f"{self.name} is honest, and was told: {err}") from err

    def answer(self, src: str, path: str, body: bytes | None) -> Reply:
        """Answer what a client asks, by the size it knows, a witness for a tile, a monitor, who reads everything."""
        del body
        view = self.view_of(src)
        if view.published is None:
            return Reply(404, "text/plain", b"")
        if path == "tree":
            return Reply(200, "application/octet-stream", view.shown())
        if path.startswith("tile/"):
            return _tile(view, view.published.tree_size, path)
        old_size = min(int(path), view.published.tree_size)
        proof = ConsistencyProof(old_size, view.prove(old_size, view.published.tree_size), view.published)
        return Reply(200, "text/plain", proof.format())

    def _sign(self, view: View) -> Checkpoint:
        root = view.tree.root(view.size)
        self._checks.signs(Statement(self.origin, view.size, root), view.tree)
        return Checkpoint(self.origin, view.size, root).sign(self.key)


def _tile(view: View, size: int, path: str) -> Reply:
    """Answer as a site does that has all tiles of a tree; one tile is enough for the trees of a simulation."""
    tile = parse_path(path)
    if tile.index or not isinstance(tile, Tile) or tile.level or tile.width > size:
        return Reply(404, "text/plain", b"")
    return Reply(200, "application/octet-stream", b"".join(map(view.leaf, range(tile.width))))


class LyingLog(Log):
    """Shows each party one of several histories, and gets for each the cosignatures that it can."""

    def __init__(self, name: str, network: Network, checks: Checks, quorum: Policy, seed: int) -> None:
        super().__init__(name, network, checks, quorum, seed)
        self._views = [self._main]
        self._shown: dict[str, View] = {}
        self._collectors: dict[tuple[int, str], SimulatedCollector] = {}

    def view_of(self, party: str) -> View:
        """See `Log`."""
        return self._shown.get(party, self._main)

    def crash(self) -> None:
        """See `Log`."""
        self._collectors.clear()

    def fork(self, rng: random.Random, parties: list[str]) -> None:
        """Begin another history, and show it to some: to all, which is a rollback, to half, or to one."""
        parent = rng.choice(self._views)
        if parent.size == 0:
            return
        start = rng.choice((parent.size, parent.size, parent.size - 1, rng.randrange(parent.size), 0))
        view = View(f"{self.name} fork {len(self._views)}", parent, start)
        view.size += rng.randint(1, MAX_GROWTH)
        self._views.append(view)
        share = rng.choice((1.0, 0.5, 0.5, 0.2))
        for party in parties:
            if rng.random() < share:
                self._shown[party] = view
        self._checks.counts["forks begun"] += 1

    def rejoin(self) -> None:
        """Show everybody the first history again, as if nothing had been."""
        self._shown.clear()

    def publish(self, rng: random.Random) -> None:
        """Grow every history, or let it be; ask all witnesses for each, or only those who are shown it."""
        for number, view in enumerate(self._views):
            view.size += rng.choice((0, rng.randint(1, MAX_GROWTH)))
            checkpoint = self._sign(view)
            asks_all = rng.random() < 0.5
            lines: list[NoteSignature] = []
            for witness in self._quorum.witnesses:
                if asks_all or self.view_of(witness.name) is view:
                    lines += self._cosignature(number, witness.name, view, checkpoint)
            if rng.random() < 0.1:  # lines of another history, which sign something else
                other = rng.choice(self._views).published
                lines += () if other is None else other.signatures[1:]
            view.published = replace(checkpoint, signatures=(*checkpoint.signatures, *dict.fromkeys(lines)))

    def _cosignature(self, number: int, name: str, view: View, checkpoint: Checkpoint) -> tuple[NoteSignature, ...]:
        """Return the line of one witness, none where it does not sign."""
        collector = self._collectors.get((number, name))
        if collector is None:
            witness = next(witness for witness in self._quorum.witnesses if witness.name == name)
            alone = Policy((), (witness,), (), name)
            collector = self._collectors[number, name] = SimulatedCollector(alone, self._network, self.name)
        try:
            signed = collector.cosign(
                checkpoint, self.key.verifier_key, lambda old: view.prove(old, checkpoint.tree_size)
            )
        except Error:
            return ()
        return signed.signatures[1:]
