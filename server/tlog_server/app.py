"""The application factory."""

from __future__ import annotations

import secrets
from pathlib import Path

from flask import Flask, Response, g

from tlog.ledger import Ledger
from tlog_server import problems
from tlog_server.asking import LEDGER, SETTINGS, check_request
from tlog_server.health import health
from tlog_server.proofs import proofs
from tlog_server.settings import Settings
from tlog_server.static_log import static_log

BLUEPRINTS = (health, static_log, proofs)

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What every answer carries, errors too."""


def create_app(ledger: str | Path | Ledger, settings: Settings | None = None) -> Flask:
    """Return the WSGI application that serves a ledger.

    ledger: its directory, or the ledger itself, which the caller closes. Reading needs no private key.
    settings: the defaults unless given.
    Raises: NotFoundError where there is no ledger, FormatError naming the setting of `tlog.toml` that is wrong.
    """
    app = Flask("tlog_server", static_folder=None, template_folder=None)
    app.config[LEDGER] = ledger if isinstance(ledger, Ledger) else Ledger.open(ledger)
    app.config[SETTINGS] = Settings() if settings is None else settings
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.before_request(_begin)
    app.before_request(check_request)
    app.after_request(_finish)
    problems.install(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return app


def _begin() -> None:
    g.request_id = secrets.token_hex(8)


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response
