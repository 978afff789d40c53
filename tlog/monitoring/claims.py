"""What peers showed of one log in a round, held against each other.

Checkpoints of one size need no more than a look. Of two sizes, the larger tree must tell which root hash it had at the
smaller size; so each peer is asked that about every smaller checkpoint, one's own among them, that one could not
compare by tiles of one's own. Two signed checkpoints that contradict each other are then found by whoever sees both,
in the round in which they are seen, if one party with the larger tree tells the truth and can read its tiles.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor, Future

from tlog.checkpoint import Checkpoint
from tlog.errors import Error
from tlog.evidence import Evidence
from tlog.monitoring.gossip import Peer
from tlog.policy import Policy

_log = logging.getLogger("tlog.gossip")


class Claims:
    """The checkpoints of one log that were shown in one round. One thread uses it."""

    def __init__(self, policy: Policy, origin: str, own: Checkpoint | None) -> None:
        """policy: with the log's keys. own: the latest checkpoint that was verified here."""
        self.origin = origin
        self._policy = policy
        self._open = {} if own is None or own.tree_size == 0 else {own.text: own}
        self._shown: list[tuple[Peer, Checkpoint]] = []

    def add(self, peer: Peer, shown: Checkpoint, *, is_compared: bool) -> None:
        """Take up a checkpoint that the log signed. is_compared: with one's own tree, which holds it."""
        self._shown.append((peer, shown))
        if not is_compared and shown.tree_size:
            self._open.setdefault(shown.text, shown)

    def of_one_size(self) -> Iterator[Evidence]:
        """Return the evidence that two of them are of one size, and have two root hashes."""
        first: dict[int, Checkpoint] = {}
        for claim in self._open.values():
            other = first.setdefault(claim.tree_size, claim)
            if other.root_hash != claim.root_hash:
                yield Evidence(other, claim)

    def ask(self, pool: Executor) -> list[tuple[Peer, Future[list[Evidence]]]]:
        """Ask all peers at once about what is smaller than they showed. Cost: a request for each size and peer."""
        asked = []
        for peer, shown in self._shown:
            smaller = [claim for claim in self._open.values() if claim.tree_size < shown.tree_size]
            if smaller:
                asked.append((peer, pool.submit(self._hold_against, peer, smaller)))
        return asked

    def _hold_against(self, peer: Peer, claims: list[Checkpoint]) -> list[Evidence]:
        """Hold claims against a peer's tree. A peer that fails once is not asked again in this round."""
        found = []
        try:
            for size in sorted({claim.tree_size for claim in claims}):
                root = peer.earlier_root(self._policy, self.origin, size)
                contradictions = (root.contradicts(claim) for claim in claims if claim.tree_size == size)
                found += [evidence for evidence in contradictions if evidence is not None]
        except Error as err:
            _log.debug("%s about %s: %s", peer.url, self.origin, err)
        return found
