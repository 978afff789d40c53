"""Earlier roots over HTTP, for peers: the same path at witnesses and monitors. Source: docs/monitor.md, "Gossip"."""

from __future__ import annotations

from flask import Blueprint, Response

from tlog._strict import parse_decimal
from tlog.errors import BackpressureError, Error, FormatError, NotFoundError
from tlog.monitoring.proving import EarlierRoots

TEXT = "text/plain; charset=utf-8"
RETRY_AFTER_S = 5


def earlier_blueprint(roots: EarlierRoots) -> Blueprint:
    """Return the resource."""
    blueprint = Blueprint("earlier", __name__)

    @blueprint.get("/<origin_hash>/consistency/<size>")
    def consistency(origin_hash: str, size: str) -> Response:
        """The root hash that the tree verified last had at a size, with the proof and the signed checkpoint."""
        return Response(roots.answer(origin_hash, parse_decimal(size, "size")), content_type=TEXT)

    @blueprint.errorhandler(NotFoundError)
    @blueprint.errorhandler(FormatError)
    def missing(error: Error) -> Response:
        return Response(f"{error}\n", 404, content_type=TEXT)

    @blueprint.errorhandler(Error)
    def later(error: Error) -> Response:
        after = int(error.retry_after_s) if isinstance(error, BackpressureError) else RETRY_AFTER_S
        message = "the tree cannot be read now; ask again later\n"
        return Response(message, 503, {"Retry-After": str(after)}, content_type=TEXT)

    return blueprint
