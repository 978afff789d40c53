"""Audit reports: what can be said about a partition and a range of time, and what proves it.

`make_report` examines the partition now and gathers a value; `tlog.report.page` makes one HTML file of it. What goes
wrong on the way is part of the report: a log that does not verify is what a report is for.
Source: docs/report.md.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

from tlog._strict import require_int
from tlog.audit import Report
from tlog.checkpoint import Checkpoint
from tlog.entry import Entry, parse_entry
from tlog.errors import Error, NotFoundError
from tlog.index.counts import Counts
from tlog.index.fields import format_time
from tlog.index.query import Query, Value
from tlog.index.search import Hit, Index
from tlog.integrate import Progress
from tlog.partition import Partition
from tlog.policy import Policy
from tlog.sequencer import Clock
from tlog.tlogproof import Proof
from tlog.verify import verify_consistency

SAMPLES = 10
MAX_SAMPLES = 100
"""Entries that are spread over the range, the first and the last among them, each with its proof."""

MAX_NOTABLE = 30
"""Notable events that are listed, each with its proof."""

MAX_CHECKPOINTS = 100
"""Checkpoints that are listed, the last ones."""

TOP = 10
"""Values of each field that are listed."""

GRAVEST = ("emergency", "alert", "critical", "error")
"""Severities whose events are notable, the gravest first; failures come after them."""

Showing = Callable[[str], AbstractContextManager[Progress | None]]
"""Shows progress: called with what is being done, it gives what is told how many entries are done."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be shown. what: the step, in words. error: why."""

    what: str
    error: Error


@dataclass(frozen=True, slots=True)
class Sample:
    """An entry with its proof, under the published checkpoint. is_notable: whether it is a notable event."""

    proof: Proof
    entry: Entry
    is_notable: bool


@dataclass(frozen=True, slots=True)
class SignedSize:
    """A checkpoint of the record. logged: when its last entry was sequenced, None for the empty tree."""

    checkpoint: Checkpoint
    logged: str | None


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit report says. Whatever could not be had is None or empty, and `problems` says why.

    made: when, RFC 3339. since, until: the range of the events' own time, RFC 3339, None for no bound. vkey: the log's
    verifier key. verified: what `Partition.verify` has checked. indexed: entries whose index was compared with the log.
    counts: of the events in the range. notable: events of a grave severity, and failures, by seq; notable_count: how
    many there are. checkpoint: the published one. checkpoints: those from the first that covers an entry of the range
    on to the first that covers all, the last ones of checkpoint_count; each was found to be signed by the log and to be
    a prefix of the published tree. samples: by seq. unproven: entries chosen that no checkpoint covers yet.
    """

    partition: str
    origin: str
    vkey: str
    made: str
    since: str | None
    until: str | None
    verified: Report | None
    indexed: int | None
    counts: Counts | None
    notable: tuple[Hit, ...]
    notable_count: int
    checkpoint: Checkpoint | None
    checkpoints: tuple[SignedSize, ...]
    checkpoint_count: int
    samples: tuple[Sample, ...]
    unproven: tuple[int, ...]
    problems: tuple[Problem, ...]


@contextlib.contextmanager
def _silently(_: str) -> Iterator[None]:
    yield None


def make_report(
    partition: Partition,
    *,
    since: str | None = None,
    until: str | None = None,
    samples: int = SAMPLES,
    checkpoint: bytes | None = None,
    showing: Showing = _silently,
    clock: Clock = time.time_ns,
) -> AuditReport:
    """Examine a partition and return a report about it.

    1. Every entry, tile and the published checkpoint are verified (`Partition.verify`).
    2. The query index is brought up to date and compared with the log, so that counts and lists leave nothing out.
    3. The events of the range are counted, and the notable ones listed.
    4. The checkpoints of the range are checked: signed by the log, and prefixes of the published tree.
    5. Proofs are made for the notable events, and for entries spread evenly over the range, always the same ones.

    since, until: as in queries, e.g. "2026-01-31"; the range of the events' own time is half-open. samples: 0 to 100.
    checkpoint: a signed checkpoint that was kept elsewhere; without it the report says "not anchored". showing: shows
    progress. clock: nanoseconds since 1970.
    Raises: FormatError naming the argument; NotFoundError where there is no such partition. What is wrong with the log
    is not raised but told in `problems`. Cost: as `Partition.verify` and `Index.check`. Memory: the report.
    """
    query = Query()
    for name, value in (("since", since), ("until", until)):
        query = query if value is None else query.with_option(name, value)
    require_int(samples, "samples", 0, MAX_SAMPLES)
    if checkpoint is not None:
        Checkpoint.parse(checkpoint)
    if not partition.exists:
        raise NotFoundError(f"partition {partition.name}: there is none in {partition.paths.ledger}")
    made = format_time(clock() // 10**6 * 10**6)
    with Index(partition) as index:
        return _Maker(partition, index, query, showing).report(made, samples, checkpoint)


class _Maker:
    """Makes one report. What fails is noted, and the rest goes on."""

    def __init__(self, partition: Partition, index: Index, query: Query, showing: Showing) -> None:
        self._partition = partition
        self._index = index
        self._query = query
        self._showing = showing
        self._problems: list[Problem] = []

    def report(self, made: str, samples: int, kept: bytes | None) -> AuditReport:
        """Return the report."""
        verified = self._try("verifying", lambda: self._verify(kept))
        indexed = self._try("comparing the index with the log", self._check_index)
        found = None if indexed is None else self._try("counting events", self._events)
        counts, hits, count, first, last = found or (None, [], 0, None, None)
        published = self._try("reading the published checkpoint", self._published)
        earlier = None
        if published is not None:
            earlier = self._try("checking earlier checkpoints", lambda: self._checkpoints(published, first, last))
        signed, signed_count = earlier or ((), 0)
        size = 0 if published is None else published.tree_size
        chosen = self._try("choosing entries", lambda: self._chosen(hits, samples, first, last)) or []
        proven = [seq for seq in chosen if seq < size]
        notable = {hit.entry.seq for hit in hits}
        proofs = self._try("making proofs", lambda: self._proofs(proven, notable)) or ()
        # Another process may have published meanwhile: what is shown is the checkpoint of the proofs.
        shown = proofs[0].proof.checkpoint if proofs else published
        query = self._query
        return AuditReport(
            partition=self._partition.name,
            origin=self._partition.origin,
            vkey=str(self._try("reading the verifier key", lambda: self._partition.vkey) or ""),
            made=made,
            since=None if query.since is None else format_time(query.since),
            until=None if query.until is None else format_time(query.until),
            verified=verified,
            indexed=indexed,
            counts=counts,
            notable=tuple(hits),
            notable_count=count,
            checkpoint=shown,
            checkpoints=signed,
            checkpoint_count=signed_count,
            samples=proofs,
            unproven=tuple(seq for seq in chosen if seq >= size),
            problems=tuple(self._problems),
        )

    def _try(self, what: str, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except Error as err:
            self._problems.append(Problem(what, err))
            return None

    def _verify(self, kept: bytes | None) -> Report:
        with self._showing("verifying") as progress:
            return self._partition.verify(checkpoint=kept, progress=progress)

    def _check_index(self) -> int:
        if self._partition.size:
            with self._showing("indexing") as progress:
                self._index.catch_up(progress)
        with self._showing("comparing the index of") as progress:
            return self._index.check(progress).indexed

    def _published(self) -> Checkpoint | None:
        try:
            return self._partition.checkpoint()
        except NotFoundError:
            return None

    def _events(self) -> tuple[Counts, list[Hit], int, int | None, int | None]:
        """Return the counts, the notable events, how many these are, and the first and last seq of the range."""
        counts = self._index.counts(self._query, top=TOP)
        first = self._index.first(self._query)
        last = self._index.search(self._query, limit=1).hits
        found: dict[int, Hit] = {}
        count = 0
        for query in self._notable_queries():
            count += self._index.count(query)
            room = MAX_NOTABLE - len(found)
            if room:
                found |= {hit.entry.seq: hit for hit in self._index.search(query, limit=room).hits}
        hits = [found[seq] for seq in sorted(found)]
        return counts, hits, count, first.entry.seq if first else None, last[0].entry.seq if last else None

    def _notable_queries(self) -> Iterator[Query]:
        """Yield what to ask for notable events, the gravest first; no event matches two of these."""
        grave = tuple(Value(name) for name in GRAVEST)
        for value in grave:
            yield self._query.with_condition("severity", (value,))
        failures = self._query.with_condition("outcome", (Value("failure"),))
        yield failures.with_condition("severity", grave, is_negated=True)

    def _chosen(self, hits: list[Hit], samples: int, first: int | None, last: int | None) -> list[int]:
        """Return the seqs of the entries to prove: the notable ones, and `samples` spread over the range."""
        chosen = {hit.entry.seq for hit in hits}
        if samples and first is not None and last is not None:
            steps = max(samples - 1, 1)
            for number in range(samples):
                hit = self._index.first(self._query, first + (last - first) * number // steps)
                if hit is not None:
                    chosen.add(hit.entry.seq)
        return sorted(chosen)

    def _checkpoints(
        self, published: Checkpoint, first: int | None, last: int | None
    ) -> tuple[tuple[SignedSize, ...], int]:
        """Return the checkpoints of the range, the last ones of so many, each checked against the published one."""
        listed: deque[Checkpoint] = deque(maxlen=MAX_CHECKPOINTS)
        count = 0
        for signed in self._partition.checkpoints.all():
            if (first is not None and signed.tree_size <= first) or signed.tree_size > published.tree_size:
                continue
            count += 1
            listed.append(signed)
            if self._query.until is not None and last is not None and signed.tree_size > last:
                break
        policy = Policy.for_log(self._partition.vkey)
        for signed in listed:
            verify_consistency(self._partition.prove_consistency(signed.tree_size), old=signed, policy=policy)
        return tuple(SignedSize(signed, self._logged(signed.tree_size)) for signed in listed), count

    def _logged(self, tree_size: int) -> str | None:
        return self._partition.entry(tree_size - 1).ts if tree_size else None

    def _proofs(self, seqs: list[int], notable: set[int]) -> tuple[Sample, ...]:
        found = []
        for proof in self._partition.prove_many(seqs) if seqs else []:
            if proof.extra is None:
                raise AssertionError("the prover puts the entry into the proof")
            found.append(Sample(proof, parse_entry(proof.extra), proof.leaf_index in notable))
        return tuple(found)
