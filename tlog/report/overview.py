"""What a picture of a partition needs besides its status: how it grew, and who vouches for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tlog._strict import require_int
from tlog.checkpoint import Checkpoint
from tlog.keys import VerifierKey
from tlog.partition import Partition
from tlog.policy import LogSignedCheckpoint, Policy, PolicyLog

MAX_POINTS = 1000


class Point(NamedTuple):
    """size: entries that the log had at a time. ts: the time, by the log's clock, ISO 8601."""

    size: int
    ts: str


class Vouching(NamedTuple):
    """Who vouches for a checkpoint beside its log. signed: names the witnesses. is_met: whether they are the quorum."""

    signed: LogSignedCheckpoint
    is_met: bool


def growth(partition: Partition, points: int = 49) -> tuple[Point, ...]:
    """Return sizes that are spread evenly from 1 to that of now, with the time at which the log had reached each.

    points: at most so many, 2 to 1,000. Raises: NotFoundError, FormatError, CorruptLedgerError. Cost: an entry a point.
    """
    require_int(points, "points", 2, MAX_POINTS)
    size = partition.size
    sizes: Sequence[int] = sorted({1 + (size - 1) * step // (points - 1) for step in range(points)}) if size else ()
    return tuple(Point(number, partition.entry(number - 1).ts) for number in sizes)


def vouching(checkpoint: Checkpoint, key: VerifierKey, policy: Policy) -> Vouching:
    """Return which witnesses of a policy have cosigned a log's checkpoint, and whether that is its quorum.

    key: of the log; the policy's own logs do not matter here. Raises: FormatError where the log's key stands in the
    policy as a witness's, SignatureError, UntrustedNoteError.
    """
    policy = replace(policy, logs=(PolicyLog(key),))
    signed = policy.authenticate(checkpoint)
    return Vouching(signed, policy.is_quorum(signed.witnesses_met))
