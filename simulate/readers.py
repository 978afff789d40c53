"""Those who believe nobody: clients with a policy, and monitors who read everything and tell each other."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from simulate.checks import Checks, Statement
from simulate.network import Connection, Network, OneAfterAnother, give_out, tell_root
from tlog.checkpoint import Checkpoint
from tlog.errors import Error, InconsistentLogError, NotFoundError, StorageError, VerificationError
from tlog.evidence import Evidence
from tlog.hashing import HASH_SIZE, split_hashes
from tlog.keys import VerifierKey
from tlog.monitoring.claims import Claims
from tlog.monitoring.gossip import Peer, compare, own_signature, proven, settled
from tlog.monitoring.proving import EarlierRoots
from tlog.policy import Policy
from tlog.reader import TileReader
from tlog.tile import Tile
from tlog.tlogproof import ConsistencyProof
from tlog.verify import verify_checkpoint, verify_consistency
from tlog.witnessing.request import origin_hash
from tlog.witnessing.transport import Reply

MAX_WAITING = 16
"""Checkpoints of larger trees that are kept of one log."""


class Client:
    """Keeps the last checkpoint that its policy accepted, and takes only what extends it."""

    def __init__(self, number: int, network: Network, checks: Checks, policies: dict[str, Policy]) -> None:
        """policies: by the log's name."""
        self.name, self._number = f"c{number}", number
        self._network, self._checks, self._policies = network, checks, policies
        self._kept: dict[str, Checkpoint] = {}

    def fetch(self, log: str) -> None:
        """Ask a log for its newest checkpoint, and verify it."""
        policy, old = self._policies[log], self._kept.get(log)
        try:
            reply = self._network.ask(self.name, log, "0" if old is None else str(old.tree_size))
            if reply.status != 200:
                return
            shown = ConsistencyProof.parse(reply.body).checkpoint
            if old is None:
                new = verify_checkpoint(shown, policy)
            elif shown == old:
                return
            else:
                new = verify_consistency(reply.body, old=old, policy=policy).new
        except StorageError:
            return
        except InconsistentLogError:
            self._checks.counts["forks that clients met themselves"] += 1
            return
        except VerificationError:
            self._checks.counts["checkpoints refused by clients"] += 1
            return
        self._kept[log] = new.checkpoint
        self._checks.accepted(self._number, Statement(new.origin, new.tree_size, new.root_hash))


class Leaves:
    """The tiles over leaf hashes that were read; one tile is enough for the trees of a simulation."""

    def __init__(self, leaves: bytes) -> None:
        self._leaves = split_hashes(leaves)

    def read_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
        """See `tlog.reader.TileSource`."""
        if any(tile.level or tile.index for tile in tiles):
            raise StorageError("only the first tile is here")
        return [b"".join(self._leaves[: tile.width]) for tile in tiles]


class Monitor:
    """Follows logs, and compares what it read with what others have seen."""

    def __init__(
        self, name: str, place: tuple[Network, Checks], logs: dict[str, VerifierKey], peers: list[str]
    ) -> None:
        """logs: their keys by name. peers: names of witnesses and monitors."""
        self.name = name
        self._network, self._checks = place
        self._logs = logs
        connection = Connection(self._network, name)
        self._peers = [Peer(f"sim://{peer}", connection) for peer in peers]
        self._policies = {key.name: Policy.for_log(key) for key in logs.values()}
        self._origins = {origin_hash(origin): origin for origin in self._policies}
        self._own: dict[str, tuple[Checkpoint, TileReader]] = {}
        self.waiting: dict[str, dict[Statement, Checkpoint]] = {origin: {} for origin in self._policies}
        self.evidence: dict[str, dict[bytes, Evidence]] = {origin: {} for origin in self._policies}
        self._heard: set[str] = set()
        self._read_last: dict[str, bytes] = {}
        self._roots = EarlierRoots(self._tree_of)
        self._network.handlers[name] = self.answer

    def own(self, origin: str) -> Statement | None:
        """Return the tree that it has verified."""
        return _statement(self._own[origin][0]) if origin in self._own else None

    def follow(self) -> None:
        """Read each log, and go on to its newest tree if that extends the one that is known."""
        for log, key in self._logs.items():
            try:
                reply = self._network.ask(self.name, log, "tree")
                if reply.status == 200:
                    self._read(key.name, reply.body)
            except Error:
                self._checks.counts["readings that monitors gave up"] += 1

    def gossip(self) -> None:
        """Ask each peer for what it has seen, and for its evidence; then hold together what that leaves open."""
        claims = {
            origin: Claims(policy, origin, self._own[origin][0] if origin in self._own else None)
            for origin, policy in self._policies.items()
        }
        for peer in self._peers:
            for origin, policy in self._policies.items():
                try:
                    other = peer.checkpoint(policy, origin)
                except StorageError:
                    self._checks.counts["questions of gossip without an answer"] += 1
                except Error:
                    self._checks.counts["lies of peers that were refused"] += 1
                else:
                    if other is not None:
                        claims[origin].add(peer, other, is_compared=self._consider(origin, other))
            self._ask_for_evidence(peer)
        self._hold_together(claims)

    def answer(self, src: str, path: str, body: bytes | None) -> Reply:
        """Answer as a witness does, and give out all evidence."""
        del src, body
        if path.startswith("evidence"):
            return give_out([raw for kept in self.evidence.values() for raw in kept], path)
        if "/consistency/" in path:
            reply = tell_root(self._roots, path)
            self._checks.counts[f"answers {reply.status} of honest monitors about earlier roots"] += 1
            return reply
        origin = self._origins.get(path.removesuffix("/checkpoint"), "")
        if origin not in self._own:
            return Reply(404, "text/plain", b"")
        return Reply(200, "text/plain", self._own[origin][0].raw)

    def _read(self, origin: str, body: bytes) -> None:
        """Verify a log's checkpoint and all its leaves, and compare them with what is known. Raises: Error."""
        length, _, rest = body.partition(b"\n")
        raw, leaves = rest[: int(length)], rest[int(length) :]
        if self._read_last.get(origin) == raw:
            return
        signed = self._policies[origin].authenticate(raw)
        new = signed.checkpoint
        if len(leaves) != new.tree_size * HASH_SIZE:
            raise StorageError("leaves are missing")
        tree = TileReader(Leaves(leaves), new.tree_size, new.root_hash)
        tree.edge()
        self._read_last[origin] = raw
        if origin in self._own:
            own, known = self._own[origin]
            if new.tree_size < own.tree_size:
                self._compare(own, known, new)
                return
            if self._compare(new, tree, own):
                return
        self._own[origin] = (own_signature(signed), tree)
        waiting = self.waiting[origin]
        for statement in [statement for statement in waiting if statement.size <= new.tree_size]:
            self._compare(new, tree, waiting.pop(statement))

    def _consider(self, origin: str, other: Checkpoint) -> bool:
        """Compare a checkpoint that a peer showed; one of a larger tree waits until one's own is as large: False."""
        own = self._own.get(origin)
        if own is None or other.tree_size > own[0].tree_size:
            if len(self.waiting[origin]) < MAX_WAITING:
                self.waiting[origin][_statement(other)] = other
            return False
        self._compare(*own, other)
        return True

    def _hold_together(self, claims: dict[str, Claims]) -> None:
        """Hold against each other what could not be compared with one's own tree."""
        for origin, shown in claims.items():
            if self.evidence[origin]:
                continue
            found = list(shown.of_one_size())
            for _, answer in shown.ask(OneAfterAnother(self._network)):
                found += answer.result()
            for evidence in found:
                self._checks.counts["forks found by asking about earlier roots"] += 1
                self._keep(settled(evidence, self._policies[origin])[0])

    def _tree_of(self, hash_hex: str) -> tuple[Checkpoint, TileReader]:
        """Return the latest verified checkpoint of a log, and the reader of its tree. Raises: NotFoundError."""
        own = self._own.get(self._origins.get(hash_hex, ""))
        if own is None:
            raise NotFoundError("nothing of this log was seen here")
        return own

    def _compare(self, own: Checkpoint, tree: TileReader, other: Checkpoint) -> bool:
        """Compare two signed checkpoints, `tree` being that of the larger one; tell whether they contradict."""
        found = compare(own, lambda: tree, other).evidence
        if found is not None:
            self._keep(found)
        has_evidence = bool(self.evidence[own.origin])
        self._checks.compared(self.name, _statement(own), _statement(other), has_evidence=has_evidence)
        return found is not None

    def _ask_for_evidence(self, peer: Peer) -> None:
        """Take over what a peer can prove."""
        try:
            files = peer.evidence(self._heard)
        except Error:
            return
        self._heard.update(sha256(file).hexdigest() for file in files)
        kept = [found for origin, policy in self._policies.items() for found in proven(files, policy, origin)]
        self._checks.counts["forged evidence that was refused"] += len(files) - len(kept)
        for evidence in kept:
            self._keep(evidence)

    def _keep(self, evidence: Evidence) -> None:
        raw = evidence.format()
        if raw not in self.evidence[evidence.shown.origin]:
            self.evidence[evidence.shown.origin][raw] = evidence
            self._heard.add(sha256(raw).hexdigest())
            self._checks.convicted(self.name, evidence)


def _statement(checkpoint: Checkpoint) -> Statement:
    return Statement(checkpoint.origin, checkpoint.tree_size, checkpoint.root_hash)
