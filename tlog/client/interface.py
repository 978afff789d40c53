"""What a local partition and a client of a remote one have in common, for programs that use either."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from tlog.entry import Entry
from tlog.tlogproof import ConsistencyProof, Proof


class AnyReceipt(Protocol):
    """A durable entry: its seq, and its 32-byte chain hash."""

    @property
    def seq(self) -> int: ...  # noqa: D102
    @property
    def hash(self) -> bytes: ...  # noqa: D102


class AnyBulkReceipt(Protocol):
    """Durable entries within [start, stop): how many, and the 32-byte chain hash of the last."""

    @property
    def count(self) -> int: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def stop(self) -> int: ...  # noqa: D102
    @property
    def hash(self) -> bytes: ...  # noqa: D102


class AnyCheckpoint(Protocol):
    """A published tree: the log's origin, the tree's size, and its 32-byte root hash."""

    @property
    def origin(self) -> str: ...  # noqa: D102
    @property
    def tree_size(self) -> int: ...  # noqa: D102
    @property
    def root_hash(self) -> bytes: ...  # noqa: D102


class Log(Protocol):
    """A log: `tlog.Partition`, which is a directory, or `tlog.Client`, which asks a server and verifies its answers.

    The partition reads what is durable, the client what is published. What each method does, costs and raises is said
    in the two classes.
    """

    @property
    def name(self) -> str:
        """The partition's name."""

    @property
    def origin(self) -> str:
        """The log's origin."""

    @property
    def size(self) -> int:
        """The number of entries that can be read."""

    def append(self, data: Any, /) -> AnyReceipt:
        """Append one event; durable on return."""

    def append_many(self, events: Iterable[Any], /) -> AnyBulkReceipt:
        """Append events in order; durable on return."""

    def checkpoint(self) -> AnyCheckpoint:
        """Return the published checkpoint."""

    def entry(self, seq: int, /) -> Entry:
        """Return one entry."""

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Yield the entries [start, stop)."""

    def follow(self, start: int | None = None, *, stop: threading.Event | None = None) -> Iterator[Entry]:
        """Yield entries as they come."""

    def prove(self, seq: int, /) -> Proof:
        """Return the proof that an entry is in the published tree."""

    def prove_consistency(self, old_size: int, /) -> ConsistencyProof:
        """Return the proof that the published tree begins with the one of `old_size` entries."""

    def close(self) -> None:
        """Release files or connections."""
