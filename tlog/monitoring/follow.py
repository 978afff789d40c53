"""Following one log: its checkpoint, the consistency with the one before, and every entry that is new.

Nothing of an entry is looked at before the entry was compared with the tree, and the tree with the one before.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tlog.checkpoint import Checkpoint
from tlog.entry import GENESIS_HASH, Entry, parse_entry
from tlog.errors import FormatError, StorageError, VerificationError
from tlog.evidence import Evidence, find_contradiction
from tlog.index.fields import NS, Fields, format_time, parse_time
from tlog.mirroring.pull import proved_bundle
from tlog.mirroring.source import Source, SourceTiles, read_checkpoint
from tlog.monitoring.alerts import Alert
from tlog.monitoring.gossip import own_signature
from tlog.monitoring.growth import ALL, category_of
from tlog.monitoring.settings import LogSettings, Rule
from tlog.monitoring.state import Followed, MonitorState
from tlog.policy import LogSignedCheckpoint
from tlog.reader import TileCache, TileReader
from tlog.tile import TILE_WIDTH

MAX_DATA = 16_384
"""Characters of an event in an alert."""


@dataclass(frozen=True, slots=True)
class Step:
    """What came of looking at a log. signed: its checkpoint now. evidence: of a fork, instead of reading on."""

    signed: LogSignedCheckpoint
    evidence: Evidence | None = None


@dataclass(slots=True)
class _Reading:
    """What is found in one bundle."""

    followed: Followed
    alerts: list[Alert] = field(default_factory=list)
    counts: Counter[tuple[str, int]] = field(default_factory=Counter)


class Follower:
    """Follows one log. One thread at a time uses it."""

    def __init__(
        self,
        log: LogSettings,
        rules: tuple[Rule, ...],
        state: MonitorState,
        source: Source,
        *,
        skew_s: float,
        clock: Callable[[], float],
    ) -> None:
        """rules: those for this log. skew_s: how far an entry's time may lie after `clock`, POSIX time."""
        self.log = log
        self._rules = rules
        self._state = state
        self._source = source
        self._skew_s = skew_s
        self._clock = clock
        self._cache = TileCache()

    @property
    def own(self) -> Checkpoint | None:
        """The latest checkpoint that was verified here."""
        note = self._state.followed(self.log.origin).note
        return None if note is None else Checkpoint.parse(note)

    def tree(self, checkpoint: Checkpoint) -> TileReader:
        """Return the reader of a tree, from the log's site."""
        return TileReader(SourceTiles(self._source), checkpoint.tree_size, checkpoint.root_hash, self._cache)

    def look(self) -> Step:
        """Fetch the log's checkpoint, and accept it if the log only grew.

        Raises: FormatError, VerificationError where it is not the log's, its tiles are not its own, or the log went
        back; StorageError where it cannot be reached. The quorum is not asked for: the caller looks at `signed`.
        """
        signed = self.log.policy.authenticate(read_checkpoint(self._source))
        if signed.origin != self.log.origin:
            raise VerificationError("another log is served here", expected=self.log.origin, found=signed.origin)
        followed, own = self._state.followed(self.log.origin), self.own
        new = signed.checkpoint
        if own is not None:
            if new.tree_size < own.tree_size:
                return self._went_back(signed, own)
            evidence = find_contradiction(own_signature(signed), self.tree(new), own)
            if evidence is not None:
                return Step(signed, evidence)
        elif new.tree_size:
            self.tree(new).edge()
        if own is None or own.text != new.text:
            followed = followed._replace(note=own_signature(signed).raw, since=int(self._clock()))
            self._state.follow(self.log.origin, followed)
        return Step(signed)

    def read(self, say: Callable[[Alert], None]) -> None:
        """Read the entries that are new, under the latest checkpoint; what they give is said in the same transaction.

        Raises: VerificationError where one is not in the tree; StorageError. Memory: a bundle.
        """
        own = self.own
        if own is None:
            return
        tree = self.tree(own)
        while (followed := self._state.followed(self.log.origin)).next < own.tree_size:
            index, skipped = divmod(followed.next, TILE_WIDTH)
            reading = _Reading(followed)
            for raw in proved_bundle(self._source, tree, index)[skipped:]:
                self._take(raw, reading)
            with self._state.transaction():
                self._state.follow(self.log.origin, reading.followed)
                known = dict.fromkeys(self._state.counts(self.log.origin)) if reading.counts else {}
                for (category, interval), entries in reading.counts.items():
                    name = category_of(known, category)
                    known[name] = None
                    self._state.count(self.log.origin, name, interval, entries)
                for alert in reading.alerts:
                    say(alert)

    def _went_back(self, signed: LogSignedCheckpoint, own: Checkpoint) -> Step:
        """Tell a fork from an old checkpoint. Raises: VerificationError where it is old, or nobody can tell."""
        new = signed.checkpoint
        message = "the log shows a smaller tree than before: an old checkpoint, or it went back"
        error = VerificationError(message, expected=f"at least {own.tree_size}", found=str(new.tree_size))
        if new.tree_size == 0:
            raise error
        try:
            evidence = find_contradiction(own, self.tree(own), own_signature(signed))
        except (VerificationError, StorageError) as err:
            raise error from err
        if evidence is None:
            raise error
        return Step(signed, evidence)

    def _take(self, raw: bytes, reading: _Reading) -> None:
        """Look at one verified entry."""
        index = reading.followed.next
        entry = None
        try:
            entry = parse_entry(raw)
        except FormatError:
            pass  # an entry of another kind of log: its bytes are all there is
        except VerificationError as err:
            reading.alerts.append(self._alert("entry", "critical", f"entry {index} is damaged in itself: {err}", index))
        if entry is None:
            fields = Fields(index, int(self._clock()) * NS, _value(raw))
            reading.followed = reading.followed._replace(next=index + 1)
        else:
            self._check(entry, reading)
            fields = Fields.of_entry(entry)
            reading.followed = reading.followed._replace(next=index + 1, ts=entry.ts, hash=entry.hash)
        if self.log.growth is not None:
            time = fields.time if entry is None else parse_time(entry.ts) or 0
            interval = time // NS // self.log.growth.interval_s
            reading.counts[ALL, interval] += 1
            for category in fields.values("category"):
                reading.counts[category[:100], interval] += 1
        for rule in self._rules:
            if rule.query.matches(fields):
                reading.alerts.append(self._match(rule, fields, index))

    def _check(self, entry: Entry, reading: _Reading) -> None:
        """Compare an entry with the one before and with the clock."""
        before = reading.followed
        index = before.next
        expected = before.hash or (bytes.fromhex(GENESIS_HASH.decode()) if index == 0 else entry.prev_hash)
        if entry.seq != index or entry.prev_hash != expected:
            message = f"entry {index} does not continue the one before: it says seq {entry.seq}"
            reading.alerts.append(self._alert("entry", "critical", message, index))
        if entry.ts < before.ts:
            message = f"the time goes back at entry {index}, from {before.ts} to {entry.ts}"
            reading.alerts.append(self._alert("time", "error", message, index))
        latest = datetime.fromtimestamp(self._clock() + self._skew_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if entry.ts > latest and before.ts <= latest:
            message = f"entry {index} has the time {entry.ts}, which is in the future"
            reading.alerts.append(self._alert("time", "error", message, index))

    def _match(self, rule: Rule, fields: Fields, index: int) -> Alert:
        details: dict[str, Any] = {"rule": rule.name, "index": index, "entry_time": format_time(fields.time)}
        if rule.with_data:
            text = json.dumps(fields.data, ensure_ascii=True)
            details["data"] = fields.data if len(text) <= MAX_DATA else text[:MAX_DATA]
        message = f"entry {index} is what the rule {rule.name!r} looks for"
        return Alert(self.log.origin, "rule", rule.severity, message, details)

    def _alert(self, kind: str, severity: str, message: str, index: int) -> Alert:
        return Alert(self.log.origin, kind, severity, message, {"index": index})


def _value(raw: bytes) -> Any:
    """Return what rules see of an entry that is not of tlog: its JSON, or its text."""
    try:
        return json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {"data": {"text": raw.decode("utf-8", "replace")}}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
