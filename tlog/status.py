"""How a ledger stands: sizes, checkpoints, indexes, and whether somebody publishes. Nothing is verified but signatures.

Commands and the server show the same; a part that cannot be read does not hide the others.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tlog._strict import format_base64
from tlog.errors import Error, FormatError, NotFoundError, VerificationError
from tlog.keeping.notice import Notice, is_led, read_notice
from tlog.ledger import Ledger
from tlog.partition import Partition
from tlog.policy import Policy
from tlog.report.shown import visible
from tlog.report.vouching import Vouching, WitnessRecord, vouching


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """How a partition stands.

    partition: its name. origin, vkey: of its log. entries: how many are durable. last_ts: of the last of them.
    published: how many the published checkpoint covers, 0 where there is none. root_hash: of that one. age_s: seconds
    since it was published. indexed: how many entries the index covers. trouble: why it is not published or indexed, as
    far as is known. poison: why this process appends nothing to it. vouching: how it stands with the witnesses of the
    ledger's policy. missing: why some of them did not cosign the last time, as far as is known. What is None is not
    there.
    """

    partition: str
    origin: str
    vkey: str
    entries: int
    last_ts: str | None
    published: int
    root_hash: bytes | None
    age_s: float | None
    indexed: int
    trouble: str | None = None
    poison: str | None = None
    vouching: Vouching | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def unpublished(self) -> int:
        """How many durable entries the published checkpoint does not cover."""
        return max(self.entries - self.published, 0)

    @property
    def index_lag(self) -> int:
        """How many durable entries the index does not cover."""
        return max(self.entries - self.indexed, 0)

    def to_fields(self) -> dict[str, Any]:
        """Return what `tlog status --json` and the server show: the root hash in base64, no reasons that name files."""
        return {
            "partition": self.partition,
            "origin": self.origin,
            "vkey": self.vkey,
            "entries": self.entries,
            "last_ts": self.last_ts,
            "published": self.published,
            "unpublished": self.unpublished,
            "root_hash": None if self.root_hash is None else format_base64(self.root_hash),
            "checkpoint_age_s": None if self.age_s is None else round(self.age_s, 3),
            "indexed": self.indexed,
            "is_failing": self.trouble is not None or self.poison is not None,
            "witnesses": None if self.vouching is None else _vouching_fields(self.vouching),
        }


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """How a ledger stands.

    is_kept: whether some process publishes and indexes. beat_age_s: seconds since it said how it stands, None where
    nobody leads. troubled: partitions that it cannot publish or index. partitions: those that were asked for and can be
    read. unreadable: why the others cannot, by name.
    """

    is_kept: bool
    beat_age_s: float | None
    troubled: int
    partitions: tuple[PartitionStatus, ...]
    unreadable: dict[str, str]


def status_of(ledger: Ledger, names: Iterable[str]) -> LedgerStatus:
    """Return how the ledger stands, and these partitions of it. Raises: StorageError.

    Cost: some small reads a partition, less than a millisecond.
    """
    notice, is_kept = leaders_notice(ledger), is_led(ledger.files, ledger.path)
    policy = ledger.witness_policy()
    found: list[PartitionStatus] = []
    unreadable: dict[str, str] = {}
    for name in names:
        try:
            found.append(partition_status(ledger.partition(name), policy, notice))
        except Error as err:
            unreadable[name] = f"{type(err).__name__}: {err}"
    return LedgerStatus(
        is_kept,
        None if notice is None else notice.age_s,
        0 if notice is None else notice.troubled,
        tuple(found),
        unreadable,
    )


def leaders_notice(ledger: Ledger) -> Notice | None:
    """Return what the keeper that leads says, None where nobody leads. Raises: StorageError."""
    return read_notice(ledger.files, ledger.path) if is_led(ledger.files, ledger.path) else None


def partition_status(
    partition: Partition, policy: Policy | None = None, notice: Notice | None = None
) -> PartitionStatus:
    """Return how one partition stands. policy: of the ledger's witnesses. notice: what the keeper that leads says.

    Where the last entry, the index or the record of cosignatures cannot be read, that is the trouble, and the rest is
    shown. Raises: StorageError, VerificationError.
    """
    from tlog.index.search import index_path, sqlite_store

    name = partition.name
    trouble = None if notice is None else notice.publishing.get(name) or notice.indexing.get(name)
    entries, last_ts = partition.size, None
    try:
        last_ts = partition.entry(entries - 1).ts if entries else None
    except VerificationError as err:
        trouble = trouble or f"{type(err).__name__}: {err}"
    published, root_hash, age_s = 0, None, None
    with contextlib.suppress(NotFoundError):
        checkpoint = partition.checkpoint()
        published, root_hash = checkpoint.tree_size, checkpoint.root_hash
        age_s = max(time.time() - partition.files.modified_at(partition.paths.checkpoint), 0.0)
    indexed = 0
    if partition.files.exists(index_path(partition)):
        store = sqlite_store(partition)
        try:
            indexed = store.position().size
        except Error as err:
            trouble = trouble or f"{type(err).__name__}: {err}"
        finally:
            store.close()
    vouched = None
    try:
        vouched = None if policy is None else vouching(partition, policy)
    except (VerificationError, FormatError) as err:
        trouble = trouble or f"{type(err).__name__}: {err}"
    poison = partition.poison
    return PartitionStatus(
        partition.name,
        partition.origin,
        str(partition.vkey),
        entries,
        last_ts,
        published,
        root_hash,
        age_s,
        indexed,
        trouble,
        None if poison is None else f"{type(poison).__name__}: {poison}",
        vouched,
        {} if notice is None else notice.missing.get(name, {}),
    )


def _vouching_fields(found: Vouching) -> dict[str, Any]:
    return {
        "quorum": found.quorum,
        "is_met": found.is_met,
        "waiting": found.waiting,
        "records": [_witness_fields(record) for record in found.witnesses],
    }


def _witness_fields(record: WitnessRecord) -> dict[str, Any]:
    last = record.last
    return {
        "name": visible(record.name),
        "key": f"{record.key.name}+{record.key.key_id.hex()}",
        "size": None if last is None else last.size,
        "time": None if last is None else last.time_s,
        "lag": record.lag,
        "is_missing": record.is_missing,
    }
