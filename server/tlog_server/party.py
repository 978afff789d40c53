"""What the applications of witnesses, mirrors and monitors share: request ids, headers, health, and refusals.

Their protocols have statuses and plain words where the ledger's server has problem documents.
Source: c2sp.org/tlog-witness; c2sp.org/tlog-mirror.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from typing import NamedTuple

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


class Refusal(NamedTuple):
    """The answer to a request that is refused."""

    body: str
    status: int
    headers: dict[str, str]
    content_type: str


def new_request_id() -> str:
    """Return an id for a request, by which it can be found in the log."""
    return secrets.token_hex(8)


def common_headers(request_id: str) -> dict[str, str]:
    """Return what every answer carries, unless its handler gave that header another value."""
    return {"X-Request-ID": request_id, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def refusal(error: Error, request_id: str) -> Refusal:
    """Return the answer that the protocols have for an error; an outage is logged, and not described to the client."""
    if isinstance(error, StaleSizeError):
        return Refusal(f"{error.tree_size}\n", 409, {}, SIZE_TYPE)
    for kind, status in STATUSES:
        if isinstance(error, kind):
            return Refusal(f"{error}\n", status, {}, TEXT)
    _log.error("request %s: %s", request_id, error)
    return Refusal("the storage cannot be reached now; ask again later\n", 503, {"Retry-After": "5"}, TEXT)


def new_party_app(name: str, vkeys: Iterable[VerifierKey], is_sound: Callable[[], bool]) -> Flask:
    """Return an application with what all parties have.

    vkeys: what `/vkey` shows. is_sound: whether the state can be written, which is what `/healthz` tells.
    """
    app = Flask(name, static_folder=None, template_folder=None)
    app.url_map.merge_slashes = False
    shown = "".join(f"{key}\n" for key in vkeys)

    @app.before_request
    def begin() -> None:
        g.request_id = new_request_id()

    @app.after_request
    def finish(response: Response) -> Response:
        for field, value in common_headers(g.request_id).items():
            response.headers.setdefault(field, value)
        return response

    @app.get("/vkey")
    def vkey() -> Response:
        """The verifier keys; whoever trusts the party should have them by another way too."""
        return Response(shown, content_type=TEXT)

    @app.get("/healthz")
    def healthz() -> Response:
        """The process answers, and no write of its state has failed."""
        if not is_sound():
            return Response("a write of the state failed; start it again\n", 503, content_type=TEXT)
        return Response("ok\n", content_type=TEXT)

    return app


def refuse_in_words(app: Flask) -> None:
    """Answer the library's errors as the protocols have it; call it after anything else that handles errors."""

    @app.errorhandler(Error)
    def refuse(error: Error) -> Response:
        refused = refusal(error, g.request_id)
        return Response(refused.body, refused.status, refused.headers, content_type=refused.content_type)
