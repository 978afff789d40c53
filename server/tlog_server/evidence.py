"""Evidence over HTTP, for peers: the same paths at witnesses and monitors. Source: docs/monitor.md, "Gossip"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Response

from tlog.monitoring.gossip import MAX_LIST

TEXT = "text/plain; charset=utf-8"


def evidence_blueprint(names: Callable[[], Sequence[str]], read: Callable[[str], bytes]) -> Blueprint:
    """Return the resources. names: the SHA-256 of each file in hex, the oldest first. read: a file by that name."""
    blueprint = Blueprint("evidence", __name__)

    @blueprint.get("/evidence")
    def listed() -> Response:
        """The names of the newest files, one a line."""
        return Response("".join(f"{name}\n" for name in names()[-MAX_LIST:]), content_type=TEXT)

    @blueprint.get("/evidence/<name>")
    def file(name: str) -> Response:
        """One file."""
        return Response(read(name), content_type=TEXT)

    return blueprint
