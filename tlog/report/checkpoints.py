"""The checkpoints of a partition, one by one and against each other, each held against the published tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tlog._strict import format_base64, require_int
from tlog.checkpoint import Checkpoint
from tlog.errors import CorruptLedgerError, FormatError, NotFoundError
from tlog.ledger import Ledger
from tlog.names import check_partition_name, origin_of
from tlog.partition import Partition
from tlog.policy import LogSignedCheckpoint, Policy
from tlog.report.contents import SignedSize

MAX_HISTORY = 1000
"""Checkpoints of one page of the history."""

Verdict = Literal["same", "consistent", "contradicting", "unknown"]


@dataclass(frozen=True, slots=True)
class History:
    """Some checkpoints of a partition, the largest first. before: where the next page begins, None after the last."""

    checkpoints: tuple[SignedSize, ...]
    before: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two checkpoints of one log say together.

    verdict: "same": one size, one root hash. "consistent": the tree of the newer begins with that of the older.
    "contradicting": no log that only grows has both. "unknown": this log cannot tell, as one is larger than what it has
    published. words: the verdict as a sentence. difference: the first point in which they differ, "" where they don't.
    older, newer: the two, by size, signed by the log.
    """

    verdict: Verdict
    words: str
    difference: str
    older: LogSignedCheckpoint
    newer: LogSignedCheckpoint


def history(partition: Partition, *, before: int | None = None, limit: int = 50) -> History:
    """Return the last checkpoints up to the published one, each checked: signed by the log, prefix of the published.

    before: only those that are smaller, as `History.before` of the page before. limit: 1 to 1,000.
    Raises: NotFoundError where nothing was published; CorruptLedgerError naming the checkpoint that is not a prefix;
    SignatureError, UntrustedNoteError. Cost: a signature and some tiles for each.
    """
    require_int(limit, "limit", 1, MAX_HISTORY)
    published = partition.checkpoint()
    end = published.tree_size + 1
    found = partition.checkpoints.before(end if before is None else min(before, end), limit + 1)
    policy = Policy.for_log(partition.vkey)
    for signed in found[:limit]:
        policy.authenticate(signed)
        expected = partition.root_at(signed.tree_size)
        if signed.root_hash != expected:
            raise CorruptLedgerError(
                "a checkpoint of the record is not one of the published tree",
                place=f"checkpoint of size {signed.tree_size}",
                expected=format_base64(expected),
                found=format_base64(signed.root_hash),
            )
    more = len(found) > limit
    return History(_dated(partition, found[:limit]), found[limit - 1].tree_size if more else None)


def _dated(partition: Partition, checkpoints: Sequence[Checkpoint]) -> tuple[SignedSize, ...]:
    def logged(size: int) -> str | None:
        return partition.entry(size - 1).ts if size else None

    return tuple(SignedSize(signed, logged(signed.tree_size)) for signed in checkpoints)


def partition_of_origin(ledger: Ledger, origin: str) -> str:
    """Return the name of the partition whose log has this origin; it need not exist. Raises: NotFoundError."""
    name = origin.rpartition("/")[2]
    try:
        if origin == origin_of(ledger.config.origin, check_partition_name(name)):
            return name
    except FormatError:
        pass
    raise NotFoundError(f"origin {origin!r}: this ledger's logs are {ledger.config.origin}/NAME")


def compare(first: bytes, second: bytes, partition: Partition) -> Comparison:
    """Compare two signed checkpoints with each other, and with the published tree of the log that signed them.

    first, second: signed notes, in any order. Raises: FormatError; UnknownOriginError, SignatureError,
    UntrustedNoteError where one is not signed by this partition's key; NotFoundError where nothing is published.
    """
    policy = Policy.for_log(partition.vkey)
    older, newer = sorted((policy.authenticate(first), policy.authenticate(second)), key=lambda each: each.tree_size)
    if older.tree_size == newer.tree_size:
        if older.root_hash == newer.root_hash:
            return Comparison("same", "Both state the same tree: one size, one root hash.", "", older, newer)
        words = "The log signed two different trees of one size. It has forked; nothing else explains this."
        return Comparison("contradicting", words, _difference(older, newer.root_hash, "the other"), older, newer)
    size = partition.checkpoint().tree_size
    for each in (older, newer):
        if each.tree_size > size:
            words = (
                f"The log has published {size:,} entries, and cannot tell about the checkpoint of {each.tree_size:,}."
            )
            return Comparison("unknown", words, "", older, newer)
        root = partition.root_at(each.tree_size)
        if root != each.root_hash:
            words = "The log's key signed a tree with which the published one does not begin. The log has forked."
            return Comparison("contradicting", words, _difference(each, root, "the published tree"), older, newer)
    words = f"The tree of {newer.tree_size:,} entries begins with that of {older.tree_size:,}: the log only grew."
    return Comparison("consistent", words, "", older, newer)


def _difference(signed: LogSignedCheckpoint, root: bytes, whose: str) -> str:
    return (
        f"At size {signed.tree_size:,}: the checkpoint states the root hash {format_base64(signed.root_hash)}, "
        f"{whose} has {format_base64(root)}."
    )
