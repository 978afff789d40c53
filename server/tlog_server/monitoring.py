"""A monitor over HTTP: the checkpoints that it has verified and its evidence, for its peers; its metrics and pages.

The paths are those of a witness's monitoring prefix, so that witnesses and monitors ask each other in one way.
Source: c2sp.org/tlog-witness, section "Monitoring"; docs/monitor.md, "Gossip".
"""

from __future__ import annotations

from flask import Flask, Response

from tlog.errors import NotFoundError
from tlog.monitoring.metrics import CONTENT_TYPE
from tlog.monitoring.monitor import Monitor
from tlog_server.earlier import earlier_blueprint
from tlog_server.evidence import evidence_blueprint
from tlog_server.monitor_pages import monitor_pages
from tlog_server.party_pages import install

TEXT = "text/plain; charset=utf-8"


def create_monitor_app(monitor: Monitor) -> Flask:
    """Return the WSGI application of a monitor. It makes no rounds: `Monitor.start` does."""
    app = Flask("tlog_server.monitoring", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 0
    app.url_map.merge_slashes = False

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.get("/<origin_hash>/checkpoint")
    def checkpoint(origin_hash: str) -> Response:
        """The latest checkpoint of a log that was verified here."""
        return Response(monitor.checkpoint(origin_hash), content_type=TEXT)

    @app.get("/metrics")
    def metrics() -> Response:
        """The metrics."""
        return Response(monitor.metrics(), content_type=CONTENT_TYPE)

    @app.get("/healthz")
    def healthz() -> Response:
        """The process answers, and rounds are made."""
        return Response("ok\n", content_type=TEXT) if monitor.is_running() else Response("no rounds\n", 503)

    @app.errorhandler(NotFoundError)
    def refuse(error: NotFoundError) -> Response:
        return Response(f"{error}\n", 404, content_type=TEXT)

    def names() -> list[str]:
        return [name for name, _, _ in monitor.state.evidence()]

    app.register_blueprint(earlier_blueprint(monitor.roots))
    app.register_blueprint(evidence_blueprint(names, monitor.state.evidence_file))
    install(app, monitor_pages(monitor))
    return app
