"""A Flask application that records its requests and logs into the same partition; made at import, as gunicorn does."""

from __future__ import annotations

import logging.config
import os
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, request

from tlog.integrations.wsgi import TlogMiddleware
from tlog.recording.background import BackgroundWriter


def create_app(root: str, writer: BackgroundWriter, **options: Any) -> Flask:
    """Return the application."""
    app = Flask("orders")
    log = logging.getLogger(f"orders.{os.path.basename(root)}")  # noqa: PTH119 - a name is wanted

    @app.get("/orders/<name>")
    def show(name: str) -> str:
        log.info("showing %s", name)
        return f"order {name}"

    @app.post("/login")
    def login() -> tuple[str, int]:
        request.environ["REMOTE_USER"] = request.form["user"]
        return "no", 403

    @app.get("/stream")
    def stream() -> Response:
        def parts() -> Iterator[bytes]:
            for number in range(3):
                log.info("part %d", number)
                yield b"%d" % number

        return Response(parts())

    @app.get("/crash")
    def crash() -> str:
        raise KeyError("crash")

    @app.after_request
    def name_process(response: Response) -> Response:
        response.headers["X-Process"] = str(os.getpid())
        return response

    app.wsgi_app = TlogMiddleware(app.wsgi_app, writer, **options)  # type: ignore[method-assign]
    return app


def from_environment() -> Flask:
    """Return the application that a server process runs, with logging configured."""
    root = os.environ["TLOG_TEST_ROOT"]
    handler = {"class": "tlog.TlogHandler", "ledger": root, "partition": "web", "origin": "audit.example.com"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"audit": handler},
            "loggers": {"orders": {"level": "INFO", "handlers": ["audit"]}},
        }
    )
    app = create_app(root, BackgroundWriter.at(root, "web"))
    logging.getLogger("orders").info("loaded")  # in the parent, before it forks
    return app
