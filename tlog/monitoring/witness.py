"""A witness that gossips: it compares what it cosigned with what its peers were shown.

A witness has no tiles. It compares trees of its own size by itself, and trees of other sizes with the tiles of the
log's site, where its URL is known. For the rest it asks its peers, as monitors do (`tlog.monitoring.claims`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from tlog.checkpoint import Checkpoint
from tlog.errors import Error, NotFoundError
from tlog.evidence import Evidence, SplitView
from tlog.mirroring.source import Source, SourceTiles, open_source
from tlog.monitoring.claims import Claims
from tlog.monitoring.gossip import Peer, compare, own_signature, proven, settled
from tlog.reader import TileReader
from tlog.witnessing.transport import Transport
from tlog.witnessing.witness import Witness

MAX_AT_ONCE = 16

_log = logging.getLogger("tlog.witness")


class WitnessTrees:
    """The trees that a witness cosigned, read from the logs' sites. It may be used from several threads."""

    def __init__(
        self, witness: Witness, sites: Mapping[str, str], *, sources: Callable[[str], Source] = open_source
    ) -> None:
        """sites: URL or directory of a log's site, by origin."""
        self._witness = witness
        self._sites = dict(sites)
        self._open = sources
        self._opened: dict[str, Source] = {}
        self._lock = threading.Lock()

    def reader(self, own: Checkpoint) -> TileReader:
        """Return the reader of a tree that was cosigned. Raises: NotFoundError where the log's site is not known."""
        if own.origin not in self._sites:
            raise NotFoundError(f"the site of {own.origin} is not known here")
        with self._lock:
            if own.origin not in self._opened:
                self._opened[own.origin] = self._open(self._sites[own.origin])
            source = self._opened[own.origin]
        return TileReader(SourceTiles(source), own.tree_size, own.root_hash)

    def latest(self, hash_hex: str) -> tuple[Checkpoint, TileReader]:
        """Return the latest checkpoint that was cosigned of a log, by its origin's hash, and its reader.

        The checkpoint has the log's own signature only. Raises: NotFoundError.
        """
        cosigned = Checkpoint.parse(self._witness.checkpoint(hash_hex))
        own = own_signature(self._witness.policy(cosigned.origin).authenticate(cosigned))
        return own, self.reader(own)


class WitnessGossip:
    """The gossip of one witness. One thread at a time calls `round`."""

    def __init__(self, witness: Witness, peers: Sequence[str], transport: Transport, trees: WitnessTrees) -> None:
        """peers: URLs of monitoring prefixes."""
        self._witness = witness
        self._peers = [Peer(url, transport) for url in peers]
        self._trees = trees

    def round(self) -> list[SplitView]:
        """Ask every peer about every log; keep what is proven, and return it, each split view once."""
        known = {kept.evidence.format() for kept in self._witness.evidence()}
        found: list[SplitView] = []
        with self._pool() as pool:
            latest = self._witness.latest()
            asked = [
                (peer, origin, pool.submit(peer.checkpoint, self._witness.policy(origin), origin))
                for peer in self._peers
                for origin, _ in latest
            ]
            files = [pool.submit(peer.evidence, frozenset()) for peer in self._peers]
            claims = {origin: Claims(self._witness.policy(origin), origin, own) for origin, own in latest}
            cosigned = dict(latest)
            for peer, origin, answer in asked:
                found += self._compare(cosigned[origin], claims[origin], (peer, answer), known)
            for given in files:
                found += self._hear(list(claims), given, known)
            found += self._hold_together(claims, pool, known)
        return found

    def run(self, stop: threading.Event, interval_s: float) -> None:
        """Make rounds until `stop` is set."""
        while not stop.is_set():
            try:
                for split in self.round():
                    _log.error("gossip: %s", split)
            except Error as err:
                _log.error("gossip: %s", err)
            stop.wait(interval_s)

    def _compare(
        self, own: Checkpoint | None, claims: Claims, asked: tuple[Peer, Future[Checkpoint | None]], known: set[bytes]
    ) -> Iterator[SplitView]:
        """Compare what a peer showed with what was cosigned; leave to `claims` what that cannot decide."""
        peer, answer = asked
        try:
            other = answer.result()
        except Error as err:
            _log.warning("gossip about %s: %s", claims.origin, err)
            return
        if other is None:
            return
        evidence, is_compared = None, False
        try:
            shown = compare(own, lambda: self._trees.reader(own or other), other)
            evidence, is_compared = shown.evidence, shown.ahead is None
        except NotFoundError as err:
            _log.debug("gossip about %s: %s", claims.origin, err)
        except Error as err:
            _log.warning("gossip about %s: %s", claims.origin, err)
        claims.add(peer, other, is_compared=is_compared)
        if evidence is not None:
            yield from self._accuse([evidence], known)

    def _hear(self, origins: list[str], given: Future[list[bytes]], known: set[bytes]) -> Iterator[SplitView]:
        try:
            for origin in origins:
                yield from self._accuse(proven(given.result(), self._witness.policy(origin), origin), known)
        except Error as err:
            _log.warning("gossip: %s", err)

    def _hold_together(self, claims: dict[str, Claims], pool: Executor, known: set[bytes]) -> Iterator[SplitView]:
        """Hold against each other what could not be compared, of logs that nothing convicts."""
        convicted = {kept.origin for kept in self._witness.evidence()}
        asked = []
        for origin, shown in claims.items():
            if origin not in convicted:
                yield from self._accuse(shown.of_one_size(), known)
                asked += shown.ask(pool)
        for _, answer in asked:
            yield from self._accuse(answer.result(), known)

    def _accuse(self, found: Iterable[Evidence], known: set[bytes]) -> Iterator[SplitView]:
        """Keep evidence that is new. It is verified first, whoever made it."""
        for evidence in found:
            same, _ = settled(evidence, self._witness.policy(evidence.against.origin))
            if same.format() not in known:
                known.add(same.format())
                yield self._witness.accuse(same)

    def _pool(self) -> Executor:
        return ThreadPoolExecutor(MAX_AT_ONCE, "tlog-gossip")
