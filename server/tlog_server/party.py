"""What the applications of witnesses, mirrors and monitors share: request ids, headers, health, and refusals.

Their protocols have statuses and plain words where the ledger's server has problem documents.
Source: c2sp.org/tlog-witness; c2sp.org/tlog-mirror.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable

from flask import Flask, Response, g

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
from tlog.keys import VerifierKey
from tlog.mirroring.mirror import NothingPendingError
from tlog.witnessing.observer import StaleSizeError

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
    (NothingPendingError, 422),
    (InconsistentLogError, 422),
)
"""The status of each refusal; what is not named here is an outage, 503."""

_log = logging.getLogger("tlog.party")


def new_party_app(name: str, vkeys: Iterable[VerifierKey]) -> Flask:
    """Return an application with what all parties have; `/vkey` shows the keys, `/healthz` that the process answers."""
    app = Flask(name, static_folder=None, template_folder=None)
    app.url_map.merge_slashes = False
    shown = "".join(f"{key}\n" for key in vkeys)

    @app.before_request
    def begin() -> None:
        g.request_id = secrets.token_hex(8)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.get("/vkey")
    def vkey() -> Response:
        """The verifier keys; whoever trusts the party should have them by another way too."""
        return Response(shown, content_type=TEXT)

    @app.get("/healthz")
    def healthz() -> Response:
        """The process answers."""
        return Response("ok\n", content_type=TEXT)

    return app


def refuse_in_words(app: Flask) -> None:
    """Answer the library's errors as the protocols have it; call it after anything else that handles errors."""

    @app.errorhandler(StaleSizeError)
    def stale(error: StaleSizeError) -> Response:
        return Response(f"{error.tree_size}\n", 409, content_type=SIZE_TYPE)

    @app.errorhandler(Error)
    def refuse(error: Error) -> Response:
        for kind, status in STATUSES:
            if isinstance(error, kind):
                return Response(f"{error}\n", status, content_type=TEXT)
        _log.error("request %s: %s", g.request_id, error)
        return Response("the storage cannot be reached now; ask again later\n", 503, {"Retry-After": "5"}, TEXT)
