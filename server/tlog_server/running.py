"""Running the application under gunicorn: one parent that watches over worker processes with threads."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.systemd import sd_notify

from tlog.errors import FormatError, NotFoundError, StorageError
from tlog.keeper import Keeper
from tlog.ledger import Ledger
from tlog_server import logs
from tlog_server.app import create_app
from tlog_server.asking import KEEPER, LEDGER, MAX_URL_LENGTH
from tlog_server.metrics import MULTIPROCESS_DIR
from tlog_server.settings import Settings
from tlog_server.worker import Worker

DEFAULT_BIND = "127.0.0.1:8000"
GRACE_S = 20
"""How long requests may go on after the server was told to end."""

RETRY_S = 1.0
"""How long a worker process that cannot open the ledger waits before it ends, and another one is started."""

GUNICORN: dict[str, Any] = {
    "control_socket_disable": True,
    "forwarded_allow_ips": "",  # no proxy's word is taken for anything
    "forwarder_headers": "",
    "graceful_timeout": GRACE_S,
    "keepalive": 5,
    "limit_request_field_size": 8190,
    "limit_request_fields": 64,
    "limit_request_line": MAX_URL_LENGTH + 64,
    "loglevel": "warning",
    "worker_class": Worker,
    "worker_connections": 1000,
}

_log = logging.getLogger("tlog.server")

_BIND = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+):(0|[1-9][0-9]{0,4})", re.ASCII)
_MEMORY = Path("/dev/shm")  # noqa: S108 - a private directory is made in it


def serve(
    ledger: Path,
    bind: str = DEFAULT_BIND,
    *,
    settings: Settings | None = None,
    passphrase: bytes | None = None,
    on_ready: Callable[[str], None],
) -> int:
    """Serve a ledger until the process gets SIGTERM or SIGINT; return the exit code, 0 where it ended as told.

    Requests that are under way then are answered. SIGHUP starts new worker processes and ends the old ones likewise.
    ledger: its directory. bind: HOST:PORT, an IPv6 address in brackets, port 0 for a free one. passphrase: of the
    private keys where they are encrypted. on_ready: told the URL when the socket is open. Raises: FormatError,
    NotFoundError where there is no ledger, OSError where the address cannot be had.
    """
    settings = Settings() if settings is None else settings
    Ledger.open(ledger).close()
    host, port = parse_bind(bind)
    require_free(host, port)
    logs.configure(settings.log_format, has_access_log=settings.has_access_log)
    parent, counts = os.getpid(), _directory_of_counts()
    try:
        _Server(ledger, bind, settings, passphrase, on_ready).run()
    except SystemExit as end:  # in the parent and in each worker process
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        if os.getpid() == parent:
            os.environ.pop(MULTIPROCESS_DIR, None)
            shutil.rmtree(counts, ignore_errors=True)
    return 0


def parse_bind(bind: str) -> tuple[str, int]:
    """Return host and port of an address to listen on. Raises: FormatError."""
    match = _BIND.fullmatch(bind)
    if match is None or int(match[2]) > 0xFFFF:
        raise FormatError("bind", f"{bind[:80]!r} is not HOST:PORT, such as {DEFAULT_BIND} or [::1]:8000")
    return match[1].strip("[]"), int(match[2])


def require_free(host: str, port: int) -> None:
    """Raise OSError at once where the address cannot be had; gunicorn would try for seconds."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as err:
        raise OSError(err.errno, os.strerror(err.errno or 0), f"{host}:{port}") from err


def _directory_of_counts() -> Path:
    """Return a new directory for what the worker processes count, of which prometheus_client learns by a variable.

    It lies in memory where it can: the counts are memory-mapped, and on a disk that is full that would end the process.
    """
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    path = tempfile.mkdtemp(prefix="tlog-counts-", dir=place)
    os.environ[MULTIPROCESS_DIR] = path
    return Path(path)


class _Arbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no annotations
    """gunicorn's parent process; it tells systemd when it is ready, and this one also when it ends."""

    def stop(self, graceful: bool = True) -> None:
        """End the worker processes."""
        sd_notify("STOPPING=1", self.log)
        super().stop(graceful)


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no annotations
    """gunicorn with the application of one ledger, which each worker process opens for itself."""

    def __init__(
        self,
        ledger: Path,
        bind: str,
        settings: Settings,
        passphrase: bytes | None,
        on_ready: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._bind = bind
        self._settings = settings
        self._passphrase = passphrase
        self._on_ready = on_ready
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its settings; neither its files nor its variables are read."""
        settings = {
            **GUNICORN,
            "bind": self._bind,
            "workers": self._settings.workers,
            "threads": self._settings.threads,
            "when_ready": self._ready,
            "worker_exit": _worker_exit,
            "child_exit": _child_exit,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return the application, in a worker process, where its keeper begins its work."""
        app = create_app(_open_or_die(self._ledger, self._passphrase), self._settings)
        if not self._settings.is_read_only:
            keeper: Keeper = app.config[KEEPER]
            keeper.start()
        return app

    def run(self) -> None:
        """Run until told to end."""
        _Arbiter(self).run()

    def _ready(self, server: Any) -> None:
        for handler in server.log.error_log.handlers:
            handler.setFormatter(logs.formatter(self._settings.log_format))
        self._on_ready(str(server.LISTENERS[0]))


def _open_or_die(path: Path, passphrase: bytes | None) -> Ledger:
    """Open the ledger in a worker process; where it is gone for now, end this one, and gunicorn starts another.

    Any other way to fail while starting ends the whole server.
    """
    try:
        return Ledger.open(path, passphrase=passphrase)
    except (NotFoundError, StorageError) as err:
        _log.error("worker_waits error=%s: %s", type(err).__name__, err)
        time.sleep(RETRY_S)
        raise SystemExit(1) from err


def _worker_exit(_: Any, worker: Any) -> None:
    """Publish once more and close the ledger, when a worker process has answered its last request."""
    warnings.filterwarnings("ignore", message=".*tlog-counts-", category=ResourceWarning)  # prometheus_client's files
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.config[KEEPER].stop()
        app.config[LEDGER].close()


def _child_exit(_: Any, worker: Any) -> None:
    """Forget the gauges of a worker process that has ended."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
