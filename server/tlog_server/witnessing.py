"""A witness over HTTP: `add-checkpoint` for logs, and the latest cosigned checkpoints for monitors.

It is an application of its own, and not part of a ledger's server: whoever runs a log should not run its witness.
Source: c2sp.org/tlog-witness.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from flask import Blueprint, Flask, Response, request

from tlog.errors import NotFoundError
from tlog.monitoring.proving import EarlierRoots
from tlog.witnessing.request import MAX_REQUEST_SIZE
from tlog.witnessing.witness import Witness
from tlog_server.add_checkpoint import AddCheckpoint
from tlog_server.earlier import earlier_blueprint
from tlog_server.evidence import evidence_blueprint
from tlog_server.party import CHECKPOINT_CACHE, TEXT, new_party_app, refuse_in_words
from tlog_server.party_pages import install
from tlog_server.witness_pages import witness_pages


def create_witness_app(witness: Witness, roots: EarlierRoots | None = None, peers: Sequence[str] = ()) -> Flask:
    """Return the WSGI application of a witness; submission prefix and monitoring prefix are both its root.

    roots: answers peers from the tiles of the logs' sites, where these are known. peers: URLs of those with whom it
    gossips, for its page.
    """
    app = new_party_app("tlog_server.witnessing", witness.vkeys, lambda: witness.is_sound)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_SIZE
    refuse_in_words(app)

    @app.post("/add-checkpoint")
    def add_checkpoint() -> Response:
        """Cosign a checkpoint."""
        return Response(witness.add_checkpoint(request.get_data(cache=False)), content_type=TEXT)

    @app.post("/sign-subtree")
    def sign_subtree() -> Response:
        """Cosign a subtree."""
        return Response(witness.sign_subtree(request.get_data(cache=False)), content_type=TEXT)

    @app.get("/<origin_hash>/checkpoint")
    def checkpoint(origin_hash: str) -> Response:
        """The latest cosigned checkpoint of a log."""
        return Response(witness.checkpoint(origin_hash), content_type=TEXT, headers={"Cache-Control": CHECKPOINT_CACHE})

    if roots is not None:
        app.register_blueprint(earlier_blueprint(roots))
    app.register_blueprint(_evidence(witness))
    install(app, witness_pages(witness, peers))
    app.wsgi_app = AddCheckpoint(app.wsgi_app, witness)  # type: ignore[method-assign]
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
