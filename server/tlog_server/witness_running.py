"""Running a witness under gunicorn: one worker process, because one process holds a witness's state."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from tlog.errors import ConflictError
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.witness import Witness
from tlog_server.running import GRACE_S, parse_bind, require_free
from tlog_server.witnessing import create_witness_app

DEFAULT_BIND = "127.0.0.1:7380"

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

_WITNESS = "TLOG_WITNESS"


def serve_witness(
    directory: Path, bind: str = DEFAULT_BIND, *, passphrase: bytes | None = None, on_ready: Callable[[str], None]
) -> int:
    """Serve a witness until the process gets SIGTERM or SIGINT; return the exit code, 0 where it ended as told.

    directory: the witness's. bind: HOST:PORT, port 0 for a free one. passphrase: of its keys. on_ready: told the URL.
    Raises: as `WitnessHome.open`; FormatError, OSError where the address cannot be had.
    """
    WitnessHome(directory).open(passphrase=passphrase).close()
    require_free(*parse_bind(bind))
    try:
        _Server(directory, bind, passphrase, on_ready).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no annotations
    """gunicorn with the application of one witness."""

    def __init__(self, directory: Path, bind: str, passphrase: bytes | None, on_ready: Callable[[str], None]) -> None:
        self._directory = directory
        self._bind = bind
        self._passphrase = passphrase
        self._on_ready = on_ready
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its settings; neither its files nor its variables are read."""
        settings = {**SETTINGS, "bind": self._bind, "when_ready": self._ready, "worker_exit": _worker_exit}
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return the application, in the worker process."""
        witness = self._opened()
        app = create_witness_app(witness)
        app.config[_WITNESS] = witness
        return app

    def _opened(self) -> Witness:
        """Return the witness; after a reload the worker process before this one holds it until its last answer."""
        deadline = time.monotonic() + GRACE_S
        while True:
            try:
                return WitnessHome(self._directory).open(passphrase=self._passphrase)
            except ConflictError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _ready(self, server: Any) -> None:
        self._on_ready(str(server.LISTENERS[0]))


def _worker_exit(_: Any, worker: Any) -> None:
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.config[_WITNESS].close()
