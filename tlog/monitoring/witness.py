"""A witness that gossips: it compares what it cosigned with what its peers were shown.

A witness has no tiles. It compares trees of its own size by itself, smaller ones with the log's site where its URL is
known; a larger one is compared by the peer, whose evidence is asked for in the same round.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tlog.checkpoint import Checkpoint
from tlog.errors import Error, StorageError
from tlog.evidence import Evidence, SplitView
from tlog.mirroring.source import SourceTiles, open_source
from tlog.monitoring.gossip import Peer, compare, proven, settled
from tlog.reader import TileReader
from tlog.witnessing.transport import Transport
from tlog.witnessing.witness import Witness

MAX_AT_ONCE = 16

_log = logging.getLogger("tlog.witness")


class WitnessGossip:
    """The gossip of one witness. One thread at a time calls `round`."""

    def __init__(
        self, witness: Witness, peers: Sequence[str], transport: Transport, sites: Mapping[str, str] | None = None
    ) -> None:
        """peers: URLs of monitoring prefixes. sites: URL or directory of a log's site, by origin."""
        self._witness = witness
        self._peers = [Peer(url, transport) for url in peers]
        self._sites = dict(sites or {})

    def round(self) -> list[SplitView]:
        """Ask every peer about every log; keep what is proven, and return it, each split view once."""
        known = {kept.evidence.format() for kept in self._witness.evidence()}
        found: list[SplitView] = []
        with ThreadPoolExecutor(MAX_AT_ONCE, "tlog-gossip") as pool:
            latest = self._witness.latest()
            asked = [
                (origin, own, pool.submit(peer.checkpoint, self._witness.policy(origin), origin))
                for peer in self._peers
                for origin, own in latest
            ]
            files = [pool.submit(peer.evidence, frozenset()) for peer in self._peers]
            for origin, own, answer in asked:
                found += self._compare(origin, own, answer, known)
            for given in files:
                found += self._hear([origin for origin, _ in latest], given, known)
        return found

    def run(self, stop: threading.Event, interval_s: float) -> None:
        """Make rounds until `stop` is set."""
        while not stop.is_set():
            try:
                for split in self.round():
                    _log.error("gossip: %s", split)
            except StorageError as err:
                _log.error("gossip: %s", err)
            stop.wait(interval_s)

    def _compare(
        self, origin: str, own: Checkpoint | None, answer: Future[Checkpoint | None], known: set[bytes]
    ) -> Iterator[SplitView]:
        try:
            other = answer.result()
            if own is None or other is None or (other.tree_size < own.tree_size and origin not in self._sites):
                return
            evidence = compare(own, lambda: self._tree(origin, own), other).evidence
            if evidence is not None:
                yield from self._accuse(settled(evidence, self._witness.policy(origin))[0], known)
        except Error as err:
            _log.warning("gossip about %s: %s", origin, err)

    def _hear(self, origins: list[str], given: Future[list[bytes]], known: set[bytes]) -> Iterator[SplitView]:
        try:
            for origin in origins:
                for evidence in proven(given.result(), self._witness.policy(origin), origin):
                    yield from self._accuse(evidence, known)
        except Error as err:
            _log.warning("gossip: %s", err)

    def _accuse(self, evidence: Evidence, known: set[bytes]) -> Iterator[SplitView]:
        if evidence.format() not in known:
            known.add(evidence.format())
            yield self._witness.accuse(evidence)

    def _tree(self, origin: str, own: Checkpoint) -> TileReader:
        return TileReader(SourceTiles(open_source(self._sites[origin])), own.tree_size, own.root_hash)
