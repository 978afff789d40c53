"""Whether the process answers, whether it can do its work, and how the ledger stands."""

from __future__ import annotations

import contextlib
import json
import logging

from flask import Blueprint, Response, current_app, g

from tlog.errors import Error, NotFoundError
from tlog.keeping.notice import read_notice
from tlog.keeping.probe import Probe
from tlog.ledger import Ledger
from tlog.status import status_of
from tlog_server.access import may
from tlog_server.answering import NO_STORE, TEXT, answer
from tlog_server.asking import PROBE, keeper, ledger, parameters, settings
from tlog_server.problems import RefusedError

JSON = "application/json"

health = Blueprint("health", __name__)

_log = logging.getLogger("tlog.server")


@health.get("/healthz")
def healthz() -> Response:
    """The process answers; nothing else was looked at."""
    parameters()
    return answer(b"ok\n", TEXT, NO_STORE)


@health.get("/readyz")
def readyz() -> Response:
    """The ledger can be read, and each checkpoint that is published is signed by its partition's key.

    Where events are taken, the storage can be written to as well, no write of this process has failed for good, and no
    partition fails to be published. A partition that has published nothing yet is ready. Cost: a small read a
    partition, and at most twice a second a small write.
    """
    parameters()
    try:
        Ledger.open(ledger().path)
    except NotFoundError as err:
        raise RefusedError(503, "The ledger is not where it was.") from err
    if not settings().is_read_only:
        _require_writable()
    for name in ledger().partitions():
        with contextlib.suppress(NotFoundError):
            ledger().partition(name).checkpoint()
    return answer(b"ready\n", TEXT, NO_STORE)


@health.get("/api/v1/status")
def status() -> Response:
    """How the ledger stands, and each partition that the sender may read."""
    parameters()
    names = [name for name in ledger().partitions() if may("read", name)]
    found = status_of(ledger(), names)
    fields = {
        "origin": ledger().config.origin,
        "is_read_only": settings().is_read_only,
        "is_kept": found.is_kept,
        "beat_age_s": None if found.beat_age_s is None else round(found.beat_age_s, 3),
        "partitions": [partition.to_fields() for partition in found.partitions],
        "unreadable": sorted(found.unreadable),
    }
    return answer(json.dumps(fields).encode() + b"\n", JSON, NO_STORE)


def _require_writable() -> None:
    """Raise RefusedError, 503, where an event could not be made durable and published now."""
    probe: Probe = current_app.config[PROBE]
    try:
        probe.check()
    except Error as err:
        _log.error("not_ready request_id=%s error=%s: %s", g.request_id, type(err).__name__, err)
        raise RefusedError(503, "The log cannot write to its storage now.") from err
    poisoned = sum(partition.poison is not None for partition in ledger().opened())
    if poisoned:
        detail = f"A write failed, and this process appends nothing to {poisoned} partitions until it has recovered."
        raise RefusedError(503, detail)
    notice = read_notice(ledger().files, ledger().path) if keeper().is_running else None
    if keeper().trouble is not None or (notice is not None and notice.blocked):
        raise RefusedError(503, "Some partition cannot be published; the log of the server says which, and why.")
