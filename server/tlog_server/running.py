"""Running the application under gunicorn: one parent that watches over worker processes with threads."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from tlog.errors import FormatError
from tlog.ledger import Ledger
from tlog_server.app import create_app
from tlog_server.asking import MAX_URL_LENGTH

DEFAULT_BIND = "127.0.0.1:8000"
WORKERS = 2
THREADS = 8
GRACE_S = 20
"""How long requests may go on after the server was told to end."""

SETTINGS = {
    "control_socket_disable": True,
    "forwarded_allow_ips": "",  # no proxy's word is taken for anything
    "forwarder_headers": "",
    "graceful_timeout": GRACE_S,
    "keepalive": 5,
    "limit_request_field_size": 8190,
    "limit_request_fields": 64,
    "limit_request_line": MAX_URL_LENGTH + 64,
    "loglevel": "warning",
    "threads": THREADS,
    "worker_class": "gthread",
    "workers": WORKERS,
}

_BIND = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+):(0|[1-9][0-9]{0,4})", re.ASCII)


def serve(ledger: Path, bind: str = DEFAULT_BIND, *, on_ready: Callable[[str], None]) -> int:
    """Serve a ledger until the process gets SIGTERM or SIGINT; return the exit code, 0 where it ended as told.

    Requests that are under way then are answered. SIGHUP starts new worker processes and ends the old ones.
    ledger: its directory. bind: HOST:PORT, an IPv6 address in brackets, port 0 for a free one. on_ready: told the URL
    when the socket is open. Raises: FormatError, NotFoundError where there is no ledger, OSError where the address
    cannot be had.
    """
    Ledger.open(ledger).close()
    host, port = parse_bind(bind)
    _require_free(host, port)
    try:
        _Server(ledger, bind, on_ready).run()
    except SystemExit as end:  # in the parent and in each worker process
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def parse_bind(bind: str) -> tuple[str, int]:
    """Return host and port of an address to listen on. Raises: FormatError."""
    match = _BIND.fullmatch(bind)
    if match is None or int(match[2]) > 0xFFFF:
        raise FormatError("bind", f"{bind[:80]!r} is not HOST:PORT, such as {DEFAULT_BIND} or [::1]:8000")
    return match[1].strip("[]"), int(match[2])


def _require_free(host: str, port: int) -> None:
    """Raise OSError at once where the address cannot be had; gunicorn would try for seconds."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as err:
        raise OSError(err.errno, os.strerror(err.errno or 0), f"{host}:{port}") from err


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no annotations
    """gunicorn with the application of one ledger, which each worker process opens for itself."""

    def __init__(self, ledger: Path, bind: str, on_ready: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._bind = bind
        self._on_ready = on_ready
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its settings; neither its files nor its variables are read."""
        settings: dict[str, Any] = {**SETTINGS, "bind": self._bind, "when_ready": self._ready}
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return the application, in a worker process."""
        return create_app(self._ledger)

    def _ready(self, server: Any) -> None:
        self._on_ready(str(server.LISTENERS[0]))
