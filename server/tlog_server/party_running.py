"""Running a witness or a mirror under gunicorn: one worker process, because one process holds the state."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from flask import Flask
from gunicorn.app.base import BaseApplication

from tlog.errors import ConflictError
from tlog_server.running import GRACE_S, parse_bind, require_free

THREADS = 16
"""Requests at once; those that arrive together share a write to the disk."""

SETTINGS: dict[str, Any] = {
    "control_socket_disable": True,
    "forwarded_allow_ips": "",
    "forwarder_headers": "",
    "graceful_timeout": GRACE_S,
    "keepalive": 5,
    "limit_request_fields": 64,
    "loglevel": "warning",
    "threads": THREADS,
    "worker_class": "gthread",
    "worker_connections": 1000,
    "workers": 1,
}

_PARTY = "TLOG_PARTY"


class Party(Protocol):
    """A witness or a mirror."""

    def close(self) -> None:
        """Release the state."""


P = TypeVar("P", bound=Party)


def serve_party(
    open_party: Callable[[], P], make_app: Callable[[P], Flask], bind: str, *, on_ready: Callable[[str], None]
) -> int:
    """Serve until the process gets SIGTERM or SIGINT; return the exit code, 0 where it ended as told.

    open_party: opens it, in the worker process; once before, so that what is wrong is said at once. make_app: its
    application. bind: HOST:PORT, port 0 for a free one. on_ready: told the URL. Raises: what opening raises;
    FormatError, OSError where the address cannot be had.
    """
    open_party().close()
    require_free(*parse_bind(bind))

    def load() -> Flask:
        party = _patiently(open_party)
        app = make_app(party)
        app.config[_PARTY] = party
        return app

    try:
        _Server(load, bind, on_ready).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _patiently(open_party: Callable[[], P]) -> P:
    """Open it; after a reload the worker process before this one holds the state until its last answer."""
    deadline = time.monotonic() + GRACE_S
    while True:
        try:
            return open_party()
        except ConflictError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no annotations
    """gunicorn with the application of one party."""

    def __init__(self, load: Callable[[], Flask], bind: str, on_ready: Callable[[str], None]) -> None:
        self._load = load
        self._bind = bind
        self._on_ready = on_ready
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its settings; neither its files nor its variables are read."""
        settings = {**SETTINGS, "bind": self._bind, "when_ready": self._ready, "worker_exit": _worker_exit}
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return the application, in the worker process."""
        return self._load()

    def _ready(self, server: Any) -> None:
        self._on_ready(str(server.LISTENERS[0]))


def _worker_exit(_: Any, worker: Any) -> None:
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.config[_PARTY].close()
