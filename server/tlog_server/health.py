"""Whether the process answers, and whether it can serve the ledger."""

from __future__ import annotations

import contextlib

from flask import Blueprint, Response

from tlog.errors import NotFoundError
from tlog.ledger import Ledger
from tlog_server.answering import NO_STORE, TEXT, answer
from tlog_server.asking import ledger, parameters
from tlog_server.problems import RefusedError

health = Blueprint("health", __name__)


@health.get("/healthz")
def healthz() -> Response:
    """The process answers; nothing else was looked at."""
    parameters()
    return answer(b"ok\n", TEXT, NO_STORE)


@health.get("/readyz")
def readyz() -> Response:
    """The ledger can be read, and each checkpoint that is published is signed by its partition's key.

    A partition that has published nothing yet is ready. Cost: a small read a partition.
    """
    parameters()
    try:
        Ledger.open(ledger().path)
    except NotFoundError as err:
        raise RefusedError(503, "The ledger is not where it was.") from err
    for name in ledger().partitions():
        with contextlib.suppress(NotFoundError):
            ledger().partition(name).checkpoint()
    return answer(b"ready\n", TEXT, NO_STORE)
