"""What a monitor knows, to be looked at: its logs, who vouches for them, and what it has found."""

from __future__ import annotations

from dataclasses import dataclass

from tlog.checkpoint import Checkpoint
from tlog.monitoring.monitor import Monitor
from tlog.monitoring.settings import LogSettings
from tlog.monitoring.state import Condition
from tlog.report.vouching import Vouching, vouching_for
from tlog.witnessing.request import origin_hash

QUIET = frozenset({"peer", "rule", "growth"})
"""Kinds of conditions that say nothing against a log."""


UNREAD = frozenset({"unreachable", "invalid"})
"""Kinds of conditions in which a log is not followed further."""


@dataclass(frozen=True, slots=True)
class FollowedLog:
    """A log, as a monitor sees it.

    origin, source: what is followed, and where it is read. name: SHA-256 of the origin in hex. checkpoint: the latest
    one that was verified, None at first. read: entries that were read. vouching: who cosigned it, under the monitor's
    policy. conditions: what lasts. ahead: larger checkpoints, shown by peers, that could not be compared yet.
    evidence: hash and time of each piece. learning: intervals until growth is judged, None where it is not.
    """

    origin: str
    source: str
    name: str
    checkpoint: Checkpoint | None
    read: int
    vouching: Vouching
    conditions: tuple[Condition, ...]
    ahead: int
    evidence: tuple[tuple[str, int], ...]
    learning: int | None

    @property
    def size(self) -> int:
        """Entries of the latest verified checkpoint."""
        return 0 if self.checkpoint is None else self.checkpoint.tree_size

    @property
    def last_time_s(self) -> int | None:
        """When a witness cosigned last, POSIX seconds; None where none is known to have."""
        return max(
            (witness.last.time_s for witness in self.vouching.witnesses if witness.last is not None), default=None
        )

    @property
    def is_read(self) -> bool:
        """Whether it was seen, and can be read and verified."""
        return self.checkpoint is not None and not {found.kind for found in self.conditions} & UNREAD

    @property
    def is_well(self) -> bool:
        """Whether it was seen, and nothing lasts that says something against it."""
        kinds = {condition.kind.partition(" ")[0] for condition in self.conditions if condition.is_said}
        return self.checkpoint is not None and not self.evidence and kinds <= QUIET


def followed_logs(monitor: Monitor) -> tuple[FollowedLog, ...]:
    """Return the logs in the order of the settings. Cost: some rows of the state a log. Raises: StorageError."""
    conditions, evidence = monitor.state.conditions(), monitor.state.evidence()
    return tuple(_followed(monitor, log, conditions, evidence) for log in monitor.settings.logs)


def _followed(
    monitor: Monitor, log: LogSettings, conditions: list[Condition], evidence: list[tuple[str, str, int]]
) -> FollowedLog:
    followed = monitor.state.followed(log.origin)
    checkpoint = None if followed.note is None else Checkpoint.parse(followed.note)
    return FollowedLog(
        log.origin,
        log.source,
        origin_hash(log.origin),
        checkpoint,
        followed.next,
        vouching_for(log.policy, 0 if checkpoint is None else checkpoint.tree_size, monitor.state.cosigned(log.origin)),
        tuple(found for found in conditions if found.origin == log.origin),
        len(monitor.state.ahead(log.origin)),
        tuple((name, time_s) for name, origin, time_s in evidence if origin == log.origin),
        monitor.learning.get(log.origin),
    )
