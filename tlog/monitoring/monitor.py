"""A monitor: round after round it follows its logs, gossips with its peers, and hands over what it has to say.

`tlog_server.monitoring` serves what it knows; the command `tlog-monitor` runs it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tlog.checkpoint import Checkpoint
from tlog.errors import Error, FormatError, NotFoundError, PolicyError, StorageError, VerificationError
from tlog.evidence import Evidence
from tlog.mirroring.source import Source, open_source
from tlog.monitoring import growth, metrics
from tlog.monitoring.alerts import MISBEHAVIOUR, SEVERITIES, Alert
from tlog.monitoring.claims import Claims
from tlog.monitoring.deliver import Deliver, deliver_due, deliver_to
from tlog.monitoring.follow import Follower
from tlog.monitoring.gossip import MAX_LIST, Peer, compare, proven, settled
from tlog.monitoring.locating import locate
from tlog.monitoring.proving import EarlierRoots
from tlog.monitoring.settings import LogSettings, Settings
from tlog.monitoring.state import Ahead, Condition, MonitorState
from tlog.policy import LogSignedCheckpoint
from tlog.reader import TileReader
from tlog.report.vouching import cosigned_by
from tlog.storage.disk import Files
from tlog.witnessing.request import origin_hash
from tlog.witnessing.transport import Transport

if TYPE_CHECKING:
    from tlog.witnessing.web import WebTransport

MAX_AT_ONCE = 16
"""Peers that are asked at the same time."""

FINE, MISBEHAVED, TROUBLE, NO_QUORUM, REMARKABLE = 0, 1, 4, 5, 6
"""What a round comes to, as exit codes."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a round came to. alerts: said in it. conditions: that last. failed: the error of each target that failed."""

    alerts: tuple[Alert, ...]
    conditions: tuple[Condition, ...]
    failed: dict[str, str]

    @property
    def code(self) -> int:
        """The exit code: the worst that is the case."""
        kinds = {alert.kind for alert in self.alerts if alert.details.get("state") != "over"}
        kinds |= {condition.kind for condition in self.conditions}
        if kinds & MISBEHAVIOUR:
            return MISBEHAVED
        if "quorum" in kinds:
            return NO_QUORUM
        if self.failed or any(kind == "unreachable" or kind.startswith("peer ") for kind in kinds):
            return TROUBLE
        return REMARKABLE if kinds else FINE


class Monitor:
    """One monitor. One thread at a time calls `round`; the other methods may be used from several."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        sources: Callable[[str], Source] = open_source,
        deliver: Deliver = deliver_to,
        transport: Transport | None = None,
    ) -> None:
        """Open the state. clock: POSIX time in seconds. transport: to peers, `WebTransport` unless given.

        Raises: NotFoundError where there is no state yet; ConflictError where another process has it; FormatError.
        """
        self.settings = settings
        self._clock = clock
        self._deliver = deliver
        self.state = MonitorState(settings.directory)
        self._web = _web() if settings.peers and transport is None else None
        via = transport or self._web
        self._peers = [] if via is None else [Peer(url, via) for url in settings.peers]
        self._heard: dict[str, set[str]] = {peer.url: set() for peer in self._peers}
        self._followers = [
            Follower(
                log,
                tuple(rule for rule in settings.rules if not rule.origins or log.origin in rule.origins),
                self.state,
                sources(log.source),
                skew_s=settings.skew_s,
                clock=clock,
            )
            for log in settings.logs
        ]
        self.roots = EarlierRoots(self._tree_of)
        self.learning: dict[str, int] = {}
        self._said: list[Alert] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def round(self) -> Report:
        """Look at every log, ask every peer, deliver what is due. Raises: StorageError where the state fails."""
        self._said = []
        for follower in self._followers:
            self._follow(follower)
        self._gossip()
        self._locate()
        targets = {target.name: target for target in self.settings.targets}
        failed = deliver_due(self.state, targets, self._clock(), self._deliver)
        report = Report(tuple(self._said), tuple(self.state.conditions()), failed)
        if self.settings.metrics_file is not None:
            Files().replace(self.settings.metrics_file, self.metrics())
        return report

    def run(self, tell: Callable[[Report], None] = lambda _: None) -> None:
        """Make rounds until `stop` is called. tell: gets what each came to. Raises: StorageError."""
        while not self._stop.is_set():
            started = time.monotonic()
            tell(self.round())
            self._stop.wait(max(0.0, self.settings.interval_s - (time.monotonic() - started)))

    def start(self) -> None:
        """Make rounds in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="tlog-monitor", daemon=True)
        self._thread.start()

    def is_running(self) -> bool:
        """Whether the thread that `start` made lives."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Let `run` end after the round that it makes."""
        self._stop.set()

    def checkpoint(self, hash_hex: str) -> bytes:
        """Return the latest checkpoint of a log that was verified here, by its origin's hash. Raises: NotFoundError."""
        return self._seen(hash_hex)[0].raw

    def metrics(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        return metrics.render(self.state, [log.origin for log in self.settings.logs], self.learning, self._clock())

    def close(self) -> None:
        """End the thread, and release the state."""
        self.stop()
        if self._thread is not None:
            self._thread.join(timeout=60)
        if self._web is not None:
            self._web.close()
        self.state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _seen(self, hash_hex: str) -> tuple[Checkpoint, Follower]:
        """Return the latest checkpoint of a log, and who follows it. Raises: NotFoundError."""
        for follower in self._followers:
            if origin_hash(follower.log.origin) == hash_hex and (own := follower.own) is not None:
                return own, follower
        raise NotFoundError("nothing of this log was seen here")

    def _tree_of(self, hash_hex: str) -> tuple[Checkpoint, TileReader]:
        """Return the latest checkpoint of a log, and the reader of its tree. Raises: NotFoundError."""
        own, follower = self._seen(hash_hex)
        return own, follower.tree(own)

    def _follow(self, follower: Follower) -> None:
        """Look at one log, and read what is new."""
        log = follower.log
        unreachable = invalid = None
        try:
            step = follower.look()
            self._judge(log, step.signed)
            if step.evidence is not None:
                self._fork(log, step.evidence, "the log itself")
            follower.read(self._say)
            if log.growth is not None:
                with self.state.transaction():
                    alerts, self.learning[log.origin] = growth.judge(self.state, log.origin, log.growth, self._clock())
                    for alert in alerts:
                        self._say(alert)
        except (VerificationError, FormatError) as err:
            invalid = str(err)
        except StorageError as err:
            self.state.conditions()  # raises where it is the monitor's own state that fails
            unreachable = str(err)
        self._last(log.origin, "invalid", invalid, "critical")
        self._last(log.origin, "unreachable", unreachable, "error", self.settings.unreachable_s)

    def _judge(self, log: LogSettings, signed: LogSignedCheckpoint) -> None:
        """See how the checkpoint stands: quorum, missing witnesses, age."""
        self.state.see_cosigned(log.origin, cosigned_by(signed))
        quorum = missing = stale = None
        try:
            log.policy.require_quorum(signed)
        except PolicyError as err:
            quorum = str(err)
        if signed.witnesses_missing and quorum is None:
            missing = f"not cosigned by {', '.join(signed.witnesses_missing[:20])}; the quorum is met"
        times = [line.timestamp_s for line in signed.cosignatures]
        since = max(times) if times else self.state.followed(log.origin).since
        age_s = self._clock() - since
        if log.stale_s is not None and since and age_s > log.stale_s:
            known = "last cosigned" if times else "known"
            stale = f"the checkpoint of size {signed.tree_size:,} is {known} since more than {log.stale_s:,} s"
        self._last(log.origin, "quorum", quorum, "error")
        self._last(log.origin, "witness", missing, "warning", self.settings.unreachable_s)
        self._last(log.origin, "stale", stale, "warning")

    def _gossip(self) -> None:
        """Ask all peers at once, and compare what they show."""
        if not self._peers:
            return
        claims = {each: Claims(each.log.policy, each.log.origin, each.own) for each in self._followers}
        with ThreadPoolExecutor(MAX_AT_ONCE, "tlog-gossip") as pool:
            asked = [
                (peer, follower, pool.submit(peer.checkpoint, follower.log.policy, follower.log.origin))
                for peer in self._peers
                for follower in self._followers
            ]
            files = [(peer, pool.submit(peer.evidence, frozenset(self._heard[peer.url]))) for peer in self._peers]
            for peer, follower, answer in asked:
                other = self._answered(peer, follower, answer)
                if other is not None:
                    is_compared = self._compare(follower, other, peer.url)
                    claims[follower].add(peer, other, is_compared=is_compared)
            for peer, found in files:
                with suppress(Error):
                    self._hear(peer, found.result())
            self._hold_together(claims, pool)
        for follower in self._followers:
            self._reconcile(follower)

    def _answered(self, peer: Peer, follower: Follower, answer: Future[Checkpoint | None]) -> Checkpoint | None:
        """Return the checkpoint that a peer showed; say where there was none that the log signed."""
        error = answer.exception()
        if error is not None and not isinstance(error, Error):
            raise error
        message = None if error is None else f"the peer {peer.url}: {error}"
        self._last(follower.log.origin, f"peer {peer.url}", message, "warning", self.settings.unreachable_s)
        return None if error is not None else answer.result()

    def _hold_together(self, claims: dict[Follower, Claims], pool: Executor) -> None:
        """Hold against each other what could not be compared with trees of one's own, of logs that nothing convicts."""
        convicted = {origin for _, origin, _ in self.state.evidence()}
        asked = []
        for follower, shown in claims.items():
            if follower.log.origin not in convicted:
                for evidence in shown.of_one_size():
                    self._fork(follower.log, evidence, "several peers")
                asked += [(follower, *question) for question in shown.ask(pool)]
        for follower, peer, answer in asked:
            for evidence in answer.result():
                self._fork(follower.log, evidence, peer.url)

    def _compare(self, follower: Follower, other: Checkpoint, peer: str) -> bool:
        """Compare a checkpoint with one's own tree; keep it where that cannot be done yet: False then."""
        own = follower.own
        try:
            shown = compare(own, lambda: follower.tree(own or other), other)
        except (StorageError, VerificationError):
            shown = None
        if shown is None or shown.ahead is not None:
            ahead = Ahead(sha256(other.text).hexdigest(), peer, other.raw, self._clock())
            self.state.wait_for(follower.log.origin, ahead)
            return False
        if shown.evidence is not None:
            self._fork(follower.log, shown.evidence, peer)
        return True

    def _reconcile(self, follower: Follower) -> None:
        """Compare again what could not be compared before."""
        origin, late = follower.log.origin, None
        for ahead in self.state.ahead(origin):
            checkpoint = Checkpoint.parse(ahead.note)
            if self._compare(follower, checkpoint, ahead.peer):
                self.state.reconciled(origin, ahead.hash)
            elif late is None and self._clock() - ahead.since >= self.settings.unreconciled_s:
                late = (
                    f"the peer {ahead.peer} was shown a tree of {checkpoint.tree_size:,} entries, which this monitor "
                    "was not shown in time"
                )
        self._last(origin, "unreconciled", late, "error")

    def _hear(self, peer: Peer, files: list[bytes]) -> None:
        """Take up a peer's evidence, as far as it proves itself."""
        heard = self._heard[peer.url]
        heard.update(sha256(file).hexdigest() for file in files if len(heard) < 4 * MAX_LIST)
        for log in self.settings.logs:
            for evidence in proven(files, log.policy, log.origin):
                self._fork(log, evidence, peer.url)

    def _fork(self, log: LogSettings, evidence: Evidence, shown_by: str) -> None:
        """Keep evidence, and say so once. It is verified first, whoever made it."""
        evidence, split = settled(evidence, log.policy)
        with self.state.transaction():
            if not self.state.keep(log.origin, evidence, self._clock()):
                return
            details = {"evidence": sha256(evidence.format()).hexdigest(), "shown_by": shown_by}
            self._say(Alert(log.origin, "fork", "critical", str(split), details))
            self.state.set_condition(Condition(log.origin, "fork", self._clock(), True, str(split)))

    def _locate(self) -> None:
        """Ask where the two trees of each split view of this round part, as far as a peer can tell."""
        followers = {follower.log.origin: follower for follower in self._followers}
        for alert in [alert for alert in self._said if alert.kind == "fork"]:
            follower, name = followers[alert.origin], str(alert.details["evidence"])
            if (own := follower.own) is None:
                continue
            evidence = Evidence.parse(self.state.evidence_file(name))
            for peer in self._peers:
                with suppress(Error):
                    shared = locate(evidence, own, follower.tree(own), peer, follower.log.policy)
                    if shared is not None:
                        self.state.locate(name, shared)
                        break

    def _last(self, origin: str, kind: str, message: str | None, severity: str, grace_s: float = 0) -> None:
        """Say once that something lasts, after a while, and once that it is over. message: None where it is not so."""
        known = next((found for found in self.state.conditions() if (found.origin, found.kind) == (origin, kind)), None)
        name = kind.partition(" ")[0]
        with self.state.transaction():
            if message is None:
                if known is not None:
                    self.state.end_condition(origin, kind)
                    if known.is_said:
                        self._say(Alert(origin, name, "info", f"over: {known.message}", {"state": "over"}))
                return
            since = self._clock() if known is None else known.since
            is_said = known is not None and known.is_said
            if not is_said and self._clock() - since >= grace_s:
                self._say(Alert(origin, name, severity, message, {"state": "begun"}))
                is_said = True
            self.state.set_condition(Condition(origin, kind, since, is_said, message))

    def _say(self, alert: Alert) -> None:
        """Put an alert into the outboxes of those who want it."""
        rank = SEVERITIES.index(alert.severity)
        wanting = [target.name for target in self.settings.targets if SEVERITIES.index(target.least) <= rank]
        self.state.say(alert, wanting, self._clock())
        self._said.append(alert)


def _web() -> WebTransport:
    """Return a transport of the monitor's own. Raises: StorageError where httpx is missing."""
    try:
        from tlog.witnessing.web import WebTransport
    except ImportError as err:
        raise StorageError("gossip needs httpx; pip install 'tlog[client]' brings it") from err
    return WebTransport()
