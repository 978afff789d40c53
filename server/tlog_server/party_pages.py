"""What the pages of monitors and witnesses share: refusals in words, the files, and evidence side by side."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, request

from tlog.errors import Error
from tlog.evidence import Evidence, verify_evidence
from tlog.policy import Policy
from tlog_server.metrics import FORWARDED, LOOPBACK
from tlog_server.problems import RefusedError
from tlog_server.rendering import html
from tlog_server.static_files import static_files

TEXT = "text/plain; charset=utf-8"

HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""How this machine is called by who asks on it."""


def install(app: Flask, pages: Blueprint) -> None:
    """Add pages, and the files that they need, to the application of a party; refusals are plain words."""

    @app.errorhandler(RefusedError)
    def refuse(refusal: RefusedError) -> Response:
        response = Response(f"{refusal.detail}\n", refusal.status, content_type=TEXT)
        response.headers.extend(refusal.headers)
        return response

    app.register_blueprint(static_files)
    app.register_blueprint(pages)


def require_here() -> None:
    """Refuse who does not ask on this machine, or asks through a proxy on it, which says so in its headers.

    So it is where a page from elsewhere had its own name point here, to have a browser on this machine read this one.
    """
    if (
        request.remote_addr not in LOOPBACK
        or _host() not in HOSTS
        or any(name in request.headers for name in FORWARDED)
    ):
        raise RefusedError(
            403, "This page is for who asks on this machine: it says what was found. Forward a port, as with ssh -L."
        )


def _host() -> str | None:
    try:
        return urlsplit(f"//{request.host}").hostname
    except ValueError:
        return None


def evidence_page(party: str, name: str, file: bytes, policies: list[Policy], shared: int | None = None) -> Response:
    """Return the page that shows evidence side by side.

    name: SHA-256 of the file in hex. policies: of the logs that the party knows; the evidence is judged under the first
    that knows its log. shared: how many entries both trees have in common, None where that is not known.
    Raises: RefusedError where it is not evidence under any of them, which says nothing about a log.
    """
    evidence = Evidence.parse(file)
    for policy in policies:
        try:
            split = verify_evidence(evidence, policy)
        except Error:
            continue
        one, other = str(split.against.checkpoint), str(split.shown.checkpoint)
        return html(
            "evidence.html",
            party=party,
            here="evidence",
            name=name,
            split=split,
            hashes=len(evidence.hashes),
            shared=shared,
            vkey=str(split.against.log_key),
            notes=[("One signed note", _marked(one, other)), ("The other", _marked(other, one))],
        )
    raise RefusedError(404, "The log of this evidence is followed no more, so its key is not known here.")


def _marked(text: str, other: str) -> list[tuple[str, bool]]:
    """Return the lines of a note, and of each whether the other note has another one in its place."""
    lines, others = text.rstrip("\n").split("\n"), other.rstrip("\n").split("\n")
    others += [""] * (len(lines) - len(others))
    return [(line, line != others[place]) for place, line in enumerate(lines)]
