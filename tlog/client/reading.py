"""Reading a log: entries, in any number, each compared with a tree that was verified; and proofs of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlog._strict import require_int
from tlog.client.address import Address
from tlog.client.answers import json_object, refusal
from tlog.client.exchange import Pacing, exchange
from tlog.client.steps import Flow, Give, Sleep
from tlog.client.trees import Tree, Trees
from tlog.entry import Entry
from tlog.errors import CorruptLedgerError, NotFoundError
from tlog.policy import VerifiedCheckpoint
from tlog.tile import TILE_WIDTH
from tlog.tlogproof import ConsistencyProof, Proof
from tlog.verify import proven_entry, verify_proof

MAX_STATUS_SIZE = 1 << 22
"""Bytes of what a server says about itself."""


class Reading:
    """The questions that can be asked about one log; each is a flow."""

    def __init__(self, trees: Trees, address: Address, pacing: Pacing) -> None:
        self._trees = trees
        self._address = address
        self._pacing = pacing

    def checkpoint(self) -> Flow[VerifiedCheckpoint]:
        """See `Client.checkpoint`."""
        tree = yield from self._trees.newest()
        return tree.checkpoint

    def entry(self, seq: int) -> Flow[Entry]:
        """See `Client.entry`."""
        tree = yield from self._trees.covering(require_int(seq, "seq"))
        (entry,) = yield from self.chosen(tree, [seq])
        return entry

    def entries(self, start: int, stop: int | None) -> Flow[None]:
        """See `Client.entries`; gives them a bundle at a time."""
        first = require_int(start, "start")
        last = None if stop is None else require_int(stop, "stop")
        tree = yield from self._trees.newest()
        yield from self._walk(tree, first, tree.size if last is None else min(last, tree.size), None)

    def follow(self, start: int | None) -> Flow[None]:
        """See `Client.follow`; gives them a bundle at a time, and never ends."""
        seq = None if start is None else require_int(start, "start")
        previous: Entry | None = None
        while True:
            try:
                tree = yield from self._trees.newest()
            except NotFoundError:  # nothing is published yet
                seq = seq or 0
            else:
                seq = tree.size if seq is None else seq
                if seq < tree.size:
                    previous = yield from self._walk(tree, seq, tree.size, previous)
                    seq = tree.size
            yield Sleep(self._pacing.poll_s, is_idle=True)

    def prove(self, seq: int) -> Flow[Proof]:
        """See `Client.prove`."""
        tree = yield from self._trees.covering(require_int(seq, "seq"))
        (entry,) = yield from self.chosen(tree, [seq])
        hashes = yield from self._trees.ask(tree, lambda reader: reader.inclusion_proof(seq))
        proof = Proof(seq, hashes, tree.checkpoint.checkpoint, entry.raw)
        verify_proof(proof, policy=self._trees.identity.policy)
        return proof

    def prove_consistency(self, old_size: int) -> Flow[ConsistencyProof]:
        """See `Client.prove_consistency`."""
        tree = yield from self._trees.newest()
        if require_int(old_size, "old size") > tree.size:
            raise NotFoundError(f"old size {old_size}: the log has published {tree.size} entries")
        return (yield from self._trees.growth(old_size, tree))

    def status(self) -> Flow[dict[str, Any]]:
        """See `Client.status`."""
        request = self._address.request("GET", "/api/v1/status", limit=MAX_STATUS_SIZE)
        answer = yield from exchange(request, self._pacing)
        if answer.status != 200:
            raise refusal(request, answer)
        return json_object(answer, "status")

    def chosen(self, tree: Tree, seqs: Sequence[int]) -> Flow[list[Entry]]:
        """Return entries of a tree, in the order of `seqs`. Cost: a request for each bundle that holds some."""
        found: dict[int, Entry] = {}
        wanted: dict[int, list[int]] = {}
        for seq in seqs:
            wanted.setdefault(seq // TILE_WIDTH, []).append(seq)
        for bundle_index, some in wanted.items():
            lines = yield from self._trees.lines(tree, bundle_index)
            for seq in some:
                found[seq] = proven_entry(lines[seq % TILE_WIDTH], seq, tree.checkpoint.origin)
        return [found[seq] for seq in seqs]

    def part(self, tree: Tree, bundle_index: int, start: int, stop: int) -> Flow[list[Entry]]:
        """Return those of the entries [start, stop) that one bundle holds. Raises: as `Trees.lines`, `proven_entry`."""
        lines = yield from self._trees.lines(tree, bundle_index)
        base = bundle_index * TILE_WIDTH
        some = range(max(start, base), min(stop, base + len(lines)))
        return [proven_entry(lines[seq - base], seq, tree.checkpoint.origin) for seq in some]

    def _walk(self, tree: Tree, start: int, stop: int, previous: Entry | None) -> Flow[Entry | None]:
        """Give the entries [start, stop), which follow `previous` where that is given; return the last one."""
        for bundle_index in bundles_of(start, stop):
            some = yield from self.part(tree, bundle_index, start, stop)
            for entry in some:
                if previous is not None and entry.prev_hash != previous.hash:
                    raise CorruptLedgerError(
                        "the entry does not follow the one before it",
                        place=f"entry {entry.seq}",
                        seq=entry.seq,
                        expected=previous.hash.hex(),
                        found=entry.prev_hash.hex(),
                    )
                previous = entry
            yield Give(some)
        return previous


def bundles_of(start: int, stop: int) -> range:
    """Return the indexes of the bundles that hold the entries [start, stop)."""
    return range(start // TILE_WIDTH, -(-stop // TILE_WIDTH)) if start < stop else range(0)
