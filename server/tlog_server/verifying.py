"""Verifying a partition on request, in a process of its own: started here, asked about here, done in `tlog.jobs`."""

from __future__ import annotations

from flask import Blueprint, Response, request

from tlog.errors import FormatError, NotFoundError
from tlog.jobs import JobRunsError, VerifyJobs
from tlog.jsontext import encode_json
from tlog.names import SYSTEM_PARTITION
from tlog_server.access import caller, require
from tlog_server.answering import NO_STORE, answer
from tlog_server.asking import accepted, ledger, parameters, settings
from tlog_server.problems import RefusedError

JSON = "application/json"

verifying = Blueprint("verifying", __name__)


@verifying.post("/api/v1/verify")
def start() -> Response:
    """Start to verify a partition; that it was asked for is an entry of the system partition."""
    asked = parameters("partition")
    accepted(JSON)
    if "partition" not in asked:
        raise RefusedError(400, "The parameter partition is missing: its name.", field="partition")
    sender = require("admin", asked["partition"])
    if sender.name is None:
        raise AssertionError("whoever administers is somebody")
    if settings().is_read_only:
        raise RefusedError(403, "This server only reads; 'tlog verify' does it without the server.")
    try:
        found = ledger().existing(asked["partition"])
    except (NotFoundError, FormatError) as err:
        raise RefusedError(404, "There is no partition of this name.", field="partition") from err
    try:
        job = VerifyJobs(ledger()).start(found.name, asked_by=sender.name, writer=sender.name)
    except JobRunsError as err:
        headers = [] if err.job is None else [("Location", _place(err.job))]
        raise RefusedError(409, "A verification runs; one runs at a time in a ledger.", headers=headers) from err
    response = answer(encode_json(job.to_fields()) + b"\n", JSON, NO_STORE)
    response.status_code = 202
    response.headers["Location"] = _place(job.id)
    return response


@verifying.get("/api/v1/verify/<job>")
def show(job: str) -> Response:
    """How a verification goes, or how it ended."""
    parameters()
    accepted(JSON)
    if caller().token is None:
        require("admin", SYSTEM_PARTITION)  # asks for a token
    try:
        found = VerifyJobs(ledger()).get(job)
    except NotFoundError as err:
        raise RefusedError(404, "There is no such verification; the last 16 are kept.", field="job") from err
    require("admin", found.partition)
    return answer(encode_json(found.to_fields()) + b"\n", JSON, NO_STORE)


def _place(job: str) -> str:
    return f"{request.script_root}/api/v1/verify/{job}"
