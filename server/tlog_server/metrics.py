"""Metrics for Prometheus: what the worker processes count, and what the ledger's state is when it is asked.

Labels are few and known: routes by their template, methods and statuses of HTTP, reasons of this program, partitions up
to MAX_PARTITIONS. Nothing that a client makes up becomes a label.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app, request

from tlog.errors import Error
from tlog.ledger import Ledger
from tlog.names import SYSTEM_PARTITION
from tlog.partition import Partition
from tlog.report.shown import visible
from tlog.status import status_of
from tlog_server.access import require
from tlog_server.answering import NO_STORE
from tlog_server.asking import METRICS, parameters

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that tells prometheus_client where the counts of several processes lie."""

MAX_PARTITIONS = 100
"""Partitions that are labels, the first by name; the others are not shown."""

MAX_WITNESSES = 20
"""Witnesses that are labels, the first of the policy."""

OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LOOPBACK = frozenset({"127.0.0.1", "::1"})
FORWARDED = ("Forwarded", "X-Forwarded-For")

metrics = Blueprint("metrics", __name__)


@metrics.get("/metrics")
def show() -> Response:
    """All metrics, of all worker processes.

    Without a token for this machine only, and not through a proxy on it, which says so in its headers; otherwise a
    token with the verb admin for the system partition.
    """
    parameters()
    if request.remote_addr not in LOOPBACK or any(name in request.headers for name in FORWARDED):
        require("admin", SYSTEM_PARTITION)
    from prometheus_client import CONTENT_TYPE_LATEST

    response = Response(counts().render(), content_type=CONTENT_TYPE_LATEST)
    response.headers["Cache-Control"] = NO_STORE
    return response


def counts() -> Metrics:
    """Return what this process counts."""
    found: Metrics = current_app.config[METRICS]
    return found


class Metrics:
    """What one process counts. Where MULTIPROCESS_DIR is set, it is added to what the others count."""

    def __init__(self, ledger: Ledger) -> None:
        """ledger: whose state is shown. prometheus_client is loaded now, after the variable was set."""
        import prometheus_client

        self._ledger = ledger
        self._registry = registry = prometheus_client.CollectorRegistry()
        counter, gauge = prometheus_client.Counter, prometheus_client.Gauge
        self._requests = counter(
            "tlog_http_requests", "Requests that were answered.", ["route", "method", "status"], registry=registry
        )
        self._seconds = prometheus_client.Histogram(
            "tlog_http_request_seconds",
            "Seconds from a request's header to the answer's.",
            ["route"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._refused = counter(
            "tlog_http_refused", "Requests that were refused, by the reason.", ["reason"], registry=registry
        )
        self._entries = counter("tlog_appended_entries", "Entries appended.", ["partition"], registry=registry)
        self._bytes = counter(
            "tlog_appended_bytes", "Bytes of the bodies that appended, as declared.", ["partition"], registry=registry
        )
        self._batches = counter("tlog_appended_batches", "Requests that appended.", ["partition"], registry=registry)
        self._held = counter(
            "tlog_clock_held",
            "Groups of entries that were given the last entry's time, because the clock stood before it.",
            ["partition"],
            registry=registry,
        )
        self._streams = gauge(
            "tlog_streams", "Streams of events that are open.", registry=registry, multiprocess_mode="livesum"
        )
        self._poisoned = gauge(
            "tlog_poisoned_partitions",
            "Partitions to which a process appends nothing after a failed write, summed over the processes.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._held_before: dict[str, int] = {}
        self._known: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self._labels: set[str] = set()

    def answered(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """Count a request. route: its template, None where no route matched. Cost: about 5 microseconds."""
        key = (route or "none", method if method in METHODS else OTHER, status)
        children = self._known.get(key)
        if children is None:
            children = self._requests.labels(key[0], key[1], str(status)), self._seconds.labels(key[0])
            self._known[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a request that was refused. reason: one of a few words of this program."""
        self._refused.labels(reason).inc()

    def appended(self, partition: Partition, entries: int, size: int) -> None:
        """Count what one request appended. size: bytes of its body, 0 where it did not say."""
        name = self._label(partition.name)
        self._entries.labels(name).inc(entries)
        self._bytes.labels(name).inc(size)
        self._batches.labels(name).inc()

    def look(self) -> None:
        """Take over what the library counts in this process; called a few times a second."""
        poisoned = 0
        for partition in self._ledger.opened():
            poisoned += partition.poison is not None
            held, before = partition.clock_held, self._held_before.get(partition.name, 0)
            if held != before:
                self._held_before[partition.name] = held
                self._held.labels(self._label(partition.name)).inc(held - before if held > before else held)
        self._poisoned.set(poisoned)

    def stream(self, change: int) -> None:
        """Count a stream of events that was opened (1) or has ended (-1)."""
        self._streams.inc(change)

    def render(self) -> bytes:
        """Return all metrics as text. Cost: some file reads a partition."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        shown = self._registry
        if MULTIPROCESS_DIR in os.environ:
            shown = CollectorRegistry()
            MultiProcessCollector(shown)  # type: ignore[no-untyped-call]
        state = CollectorRegistry()
        state.register(_State(self._ledger))
        return generate_latest(shown) + generate_latest(state)

    def _label(self, partition: str) -> str:
        if partition not in self._labels:
            if len(self._labels) >= MAX_PARTITIONS:
                return OTHER
            self._labels.add(partition)
        return partition


class _State:
    """The ledger's state as gauges, looked up when it is asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges. A ledger that cannot be read has `tlog_up` 0 and nothing else."""
        from prometheus_client.metrics_core import GaugeMetricFamily

        try:
            names = self._ledger.partitions()[:MAX_PARTITIONS]
            status = status_of(self._ledger, names)
        except Error:
            yield GaugeMetricFamily("tlog_up", "Whether the ledger can be read.", 0)
            return
        yield GaugeMetricFamily("tlog_up", "Whether the ledger can be read.", 1)
        yield GaugeMetricFamily("tlog_keeper_leads", "Whether some process publishes and indexes.", int(status.is_kept))
        yield GaugeMetricFamily(
            "tlog_keeper_beat_age_seconds", "Seconds since that process said how it stands.", status.beat_age_s or 0.0
        )
        yield GaugeMetricFamily("tlog_partitions", "Partitions of the ledger.", len(self._ledger.partitions()))
        for name, text, value in _GAUGES:
            family = GaugeMetricFamily(name, text, labels=["partition"])
            for partition in status.partitions:
                found = value(partition)
                if found is not None:
                    family.add_metric([partition.partition], found)
            yield family
        for name, text, seen in _OF_WITNESSES:
            family = GaugeMetricFamily(name, text, labels=["partition", "witness"])
            for partition in status.partitions:
                for witness in () if partition.vouching is None else partition.vouching.witnesses[:MAX_WITNESSES]:
                    found = seen(witness)
                    if found is not None:
                        family.add_metric([partition.partition, visible(witness.name)], found)
            yield family


_GAUGES: tuple[tuple[str, str, Any], ...] = (
    ("tlog_partition_entries", "Durable entries.", lambda status: status.entries),
    ("tlog_partition_published_entries", "Entries that the published checkpoint covers.", lambda s: s.published),
    ("tlog_partition_checkpoint_age_seconds", "Seconds since the checkpoint was published.", lambda s: s.age_s),
    ("tlog_partition_index_lag_entries", "Durable entries that are not indexed.", lambda s: s.index_lag),
    ("tlog_partition_failing", "Whether it cannot be published or indexed.", lambda s: float(s.trouble is not None)),
    (
        "tlog_quorum_met",
        "Whether the published checkpoint has the quorum of the ledger's witnesses.",
        lambda s: None if s.vouching is None else float(s.vouching.is_met),
    ),
    (
        "tlog_quorum_waiting",
        "Whether a checkpoint was signed and waits for the quorum.",
        lambda s: None if s.vouching is None else float(s.vouching.waiting is not None),
    ),
)

_OF_WITNESSES: tuple[tuple[str, str, Any], ...] = (
    ("tlog_witness_missing", "Whether its cosignature is missing.", lambda w: float(w.is_missing)),
    ("tlog_witness_lag_entries", "Published entries that it has not cosigned.", lambda w: w.lag),
    (
        "tlog_witness_cosigned_timestamp_seconds",
        "When it cosigned last, POSIX seconds.",
        lambda w: None if w.last is None else w.last.time_s,
    ),
)
