"""A witness over HTTP: `add-checkpoint` for logs, and the latest cosigned checkpoints for monitors.

It is an application of its own, and not part of a ledger's server: whoever runs a log should not run its witness.
Source: c2sp.org/tlog-witness.
"""

from __future__ import annotations

import logging
import secrets
from hashlib import sha256

from flask import Blueprint, Flask, Response, g, request

from tlog.errors import (
    Error,
    FormatError,
    InconsistentLogError,
    NotFoundError,
    ProofError,
    SignatureError,
    UnknownOriginError,
    UntrustedNoteError,
)
from tlog.witnessing.observer import StaleSizeError
from tlog.witnessing.request import MAX_REQUEST_SIZE
from tlog.witnessing.witness import Witness
from tlog_server.evidence import evidence_blueprint

TEXT = "text/plain; charset=utf-8"
SIZE_TYPE = "text/x.tlog.size"
CHECKPOINT_CACHE = "public, max-age=10"

STATUSES: tuple[tuple[type[Error], int], ...] = (
    (FormatError, 400),
    (UnknownOriginError, 404),
    (NotFoundError, 404),
    (SignatureError, 403),
    (UntrustedNoteError, 403),
    (ProofError, 422),
    (InconsistentLogError, 422),
)
"""The status of each refusal; what is not named here is an outage of the witness, 503."""

_log = logging.getLogger("tlog.witness")


def create_witness_app(witness: Witness) -> Flask:
    """Return the WSGI application of a witness; submission prefix and monitoring prefix are both its root."""
    app = Flask("tlog_server.witnessing", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_SIZE
    app.url_map.merge_slashes = False

    @app.before_request
    def begin() -> None:
        g.request_id = secrets.token_hex(8)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.post("/add-checkpoint")
    def add_checkpoint() -> Response:
        """Cosign a checkpoint."""
        return Response(witness.add_checkpoint(request.get_data(cache=False)), content_type=TEXT)

    @app.get("/<origin_hash>/checkpoint")
    def checkpoint(origin_hash: str) -> Response:
        """The latest cosigned checkpoint of a log."""
        return Response(witness.checkpoint(origin_hash), content_type=TEXT, headers={"Cache-Control": CHECKPOINT_CACHE})

    app.register_blueprint(_evidence(witness))

    @app.get("/vkey")
    def vkey() -> Response:
        """The verifier keys; whoever trusts the witness should have them by another way too."""
        return Response("".join(f"{key}\n" for key in witness.vkeys), content_type=TEXT)

    @app.get("/healthz")
    def healthz() -> Response:
        """The process answers."""
        return Response("ok\n", content_type=TEXT)

    @app.errorhandler(StaleSizeError)
    def stale(error: StaleSizeError) -> Response:
        return Response(f"{error.tree_size}\n", 409, content_type=SIZE_TYPE)

    @app.errorhandler(Error)
    def refuse(error: Error) -> Response:
        for kind, status in STATUSES:
            if isinstance(error, kind):
                return Response(f"{error}\n", status, content_type=TEXT)
        _log.error("request %s: %s", g.request_id, error)
        return Response("the witness cannot reach its state now; ask again later\n", 503, {"Retry-After": "5"}, TEXT)

    return app


def _evidence(witness: Witness) -> Blueprint:
    """Return the evidence of a witness as resources."""

    def files() -> dict[str, bytes]:
        formatted = [kept.evidence.format() for kept in witness.evidence()]
        return {sha256(file).hexdigest(): file for file in formatted}

    def read(name: str) -> bytes:
        found = files().get(name)
        if found is None:
            raise NotFoundError("there is no such evidence here")
        return found

    return evidence_blueprint(lambda: list(files()), read)
