"""The application factory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request

from tlog.keeper import Keeper
from tlog.keeping.probe import Probe
from tlog.ledger import Ledger
from tlog_server import access, bodies, limits, problems, taking
from tlog_server.asking import KEEPER, LEDGER, METRICS, PROBE, SETTINGS, STOPPING, check_request
from tlog_server.check_pages import check_pages
from tlog_server.envelope import CALLER, REQUEST_ID, ROUTE, Envelope
from tlog_server.events_in import events_in
from tlog_server.events_out import events_out
from tlog_server.events_stream import events_stream
from tlog_server.health import health
from tlog_server.metrics import Metrics
from tlog_server.metrics import metrics as metrics_page
from tlog_server.openapi import openapi
from tlog_server.otlp import otlp
from tlog_server.pages import pages
from tlog_server.proofs import proofs
from tlog_server.search_pages import search_pages
from tlog_server.settings import Settings
from tlog_server.static_files import static_files
from tlog_server.static_log import static_log
from tlog_server.verifying import verifying

BLUEPRINTS = (
    health,
    metrics_page,
    static_files,
    static_log,
    proofs,
    pages,
    search_pages,
    check_pages,
    events_in,
    otlp,
    events_out,
    events_stream,
    verifying,
    openapi,
)


class _App(Flask):
    """Flask without coroutines: it looks whether each function is one, at every request, which takes its time."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as it is."""
        return func


def create_app(ledger: str | Path | Ledger, settings: Settings | None = None) -> Flask:
    """Return the WSGI application that serves a ledger.

    ledger: its directory, or the ledger itself, which the caller closes. Reading needs no private key.
    settings: the defaults unless given.
    Raises: NotFoundError where there is no ledger, FormatError naming the setting of `tlog.toml` that is wrong.
    """
    app = _App("tlog_server", static_folder=None, template_folder=None)
    settings = Settings() if settings is None else settings
    ledger = ledger if isinstance(ledger, Ledger) else Ledger.open(ledger)
    app.config[LEDGER] = ledger
    app.config[SETTINGS] = settings
    app.config[METRICS] = metrics = Metrics(ledger)
    app.config[KEEPER] = Keeper(ledger, publish_interval_s=settings.publish_interval_s, on_look=metrics.look)
    app.config[PROBE] = Probe(ledger.files, ledger.path)
    app.config[STOPPING] = threading.Event()
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.before_request(_begin)
    limits.install(app, token_rate=settings.token_rate, address_rate=settings.address_rate)
    app.before_request(check_request)
    app.after_request(_finish)
    bodies.install(app)
    access.install(app, ledger)
    taking.install(app, ledger)
    problems.install(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    keeps = not settings.token_rate and not settings.address_rate
    app.wsgi_app = Envelope(  # type: ignore[method-assign]
        app.wsgi_app, metrics, has_log=settings.has_access_log, keeps=keeps
    )
    return app


def _begin() -> None:
    environ, rule = request.environ, request.url_rule
    g.request_id = environ[REQUEST_ID]
    environ[ROUTE] = None if rule is None else rule.rule


def _finish(response: Response) -> Response:
    found = g.get("caller")
    request.environ[CALLER] = None if found is None else found.name
    return response
