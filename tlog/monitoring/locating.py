"""Where the two trees of a split view part: how many entries they share, asked of a peer that has the other one.

Two trees that have one root hash at a size have the same entries up to there, so a binary search finds the first entry
in which they differ. Each answer of the peer is proven from a checkpoint that the log signed (`tlog.earlier`).
"""

from __future__ import annotations

from collections.abc import Callable

from tlog.checkpoint import Checkpoint
from tlog.evidence import Evidence
from tlog.monitoring.gossip import Peer
from tlog.policy import Policy
from tlog.reader import TileReader

RootAt = Callable[[int], bytes]
"""Returns the root hash of a tree at a size from 1 to its own."""


def shared_entries(one: RootAt, other: RootAt, most: int) -> int:
    """Return how many entries two trees share; the entry with that index is the first in which they differ.

    most: a size of both at which their root hashes differ, 1 or more. Cost: log2(most) calls of each.
    """
    same = 0
    while most - same > 1:
        middle = (same + most) // 2
        if one(middle) == other(middle):
            same = middle
        else:
            most = middle
    return same


def locate(evidence: Evidence, own: Checkpoint, tree: TileReader, peer: Peer, policy: Policy) -> int | None:
    """Return how many entries the two trees of a split view share, None where neither the peer nor oneself has one.

    evidence: verified. own, tree: one's own tree of the log. policy: with the log's keys.
    Raises: what asking the peer and reading tiles raise. Cost: a request to the peer for each bit of the size.
    """

    def theirs(size: int) -> bytes:
        return peer.earlier_root(policy, own.origin, size).root_hash

    for mine, other in ((evidence.against, evidence.shown), (evidence.shown, evidence.against)):
        if mine.tree_size > own.tree_size or tree.root_at(mine.tree_size) != mine.root_hash:
            continue
        if theirs(other.tree_size) == other.root_hash:
            return shared_entries(tree.root_at, theirs, evidence.against.tree_size)
    return None
