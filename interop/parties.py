"""Witnesses that run as their own processes: torchwood's litewitness, sunlight, and `tlog-witness`."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import tlog
from interop.programs import TIMEOUT_S, DisagreementError, Programs
from tlog._strict import format_base64
from tlog.hashing import EMPTY_ROOT
from tlog.witnessing.web import WebTransport

TOOLS = ("openssl", "ssh-agent", "ssh-add", "ssh-keygen")


class Party(NamedTuple):
    """A witness that runs. vkeys: its verifier keys."""

    name: str
    url: str
    vkeys: tuple[tlog.VerifierKey, ...]


@contextlib.contextmanager
def run_ours(home: Path, *logs: tlog.VerifierKey) -> Iterator[Party]:
    """Run `tlog-witness`, with a key of each kind."""
    vkeys = run_tlog("tlog-witness", home, "init", "--name", "ours.example.com", "--post-quantum").split()
    run_tlog("tlog-witness", home, "add-log", *map(str, logs))
    command = [_program("tlog-witness"), "--dir", str(home), "serve", "--bind", "127.0.0.1:0"]
    with _running(command, home / "log", lambda text: re.search(r"http://\S+", text)) as found:
        yield Party("ours", found[0], tuple(map(tlog.VerifierKey.parse, vkeys)))


@contextlib.contextmanager
def run_litewitness(programs: Programs, home: Path, *logs: tlog.VerifierKey) -> Iterator[Party]:
    """Run torchwood's litewitness, with a key in an ssh-agent of its own.

    Logs go into its database as `witnessctl` would put them there: that program needs a module that is not to be had
    everywhere.
    """
    home.mkdir()
    agent, key, database = home / "agent", home / "key", home / "witness.db"
    run_program("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    fingerprint = run_program("ssh-keygen", "-l", "-f", f"{key}.pub").split()[1]
    address = _free_address()
    with _running(["ssh-agent", "-D", "-a", str(agent)], home / "agent.log", lambda _: agent.exists() or None):
        run_program("ssh-add", "-q", key, environment={"SSH_AUTH_SOCK": str(agent)})
        options = ["-db", database, "-name", "lite.example.com", "-key", fingerprint, "-ssh-agent", agent]
        command = [str(word) for word in (programs.litewitness, *options, "-listen", address)]
        with _running(command, home / "log", _listening(address)) as said:
            vkey = re.search(r'vkey="?([^"\s]+)', said)
            if vkey is None:
                raise DisagreementError(f"litewitness does not tell its key: {said}")
            with contextlib.closing(sqlite3.connect(database, timeout=5)) as db, db:
                for log in logs:
                    db.execute("INSERT INTO log VALUES (?, 0, ?)", (log.name, format_base64(EMPTY_ROOT)))
                    db.execute("INSERT INTO key VALUES (?, ?)", (log.name, str(log)))
            yield Party("lite", f"http://{address}", (tlog.VerifierKey.parse(vkey[1]),))


@contextlib.contextmanager
def run_sunlight(programs: Programs, home: Path, *logs: tlog.VerifierKey) -> Iterator[Party]:
    """Run sunlight as a witness; it reads which logs there are from a URL, without TLS as behind a proxy.

    It is a log of certificates first, and ends at once without one.
    """
    home.mkdir()
    address = _free_address()
    (home / "seed").write_bytes(os.urandom(32))
    with contextlib.closing(sqlite3.connect(home / "checkpoints.db")) as db, db:
        db.execute("CREATE TABLE checkpoints (logID BLOB PRIMARY KEY, body BLOB NOT NULL) STRICT")
    with _serving_text("logs/v0\n" + "".join(f"vkey {log}\n" for log in logs)) as logs_url:
        config = {
            "listen": [address],
            "logs": [_certificate_log(home)],
            "checkpoints": str(home / "checkpoints.db"),
            "witness": {
                "name": "sunlight.example.com",
                "submissionprefix": "https://127.0.0.1",
                "secret": str(home / "seed"),
                "loglists": [logs_url],
            },
        }
        (home / "sunlight.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
        command = [str(programs.sunlight), "-c", str(home / "sunlight.yaml")]
        listening = _listening(address, "adding new log to witness config")
        with _running(command, home / "log", listening):
            page = html.unescape(fetch(f"http://localhost:{address.rpartition(':')[2]}/").decode())
            vkey = re.search(r"sunlight\.example\.com\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+", page)
            if vkey is None:
                raise DisagreementError(f"sunlight does not show its key: {page}")
            yield Party("sunlight", f"http://{address}", (tlog.VerifierKey.parse(vkey[0]),))


def _certificate_log(home: Path) -> dict[str, Any]:
    """Return the settings of a log of certificates that nobody sends any."""
    key, root = home / "root.key", home / "root.pem"
    run_program(
        "openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=interop", "-keyout", key, "-out", root
    )
    now = datetime.now(UTC)
    return {
        "shortname": "certificates",
        "inception": datetime.now().astimezone().date().isoformat(),
        "submissionprefix": "https://certificates.example.com",
        "monitoringprefix": "https://certificates.example.com",
        "roots": str(root),
        "secret": str(home / "seed"),
        "cache": str(home / "cache.db"),
        "localdirectory": str(home / "certificates"),
        "notafterstart": now.strftime("%Y-%m-%dT00:00:00Z"),
        "notafterlimit": (now + timedelta(days=90)).strftime("%Y-%m-%dT00:00:00Z"),
    }


@contextlib.contextmanager
def _serving_text(text: str) -> Iterator[str]:
    """Serve a text at any path for a `with` block; yield a URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/logs"
        finally:
            server.shutdown()
            thread.join(TIMEOUT_S)


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _listening(address: str, words: str = "") -> Callable[[str], str | None]:
    """Return what finds whether a program has said these words and answers; it returns all that was said."""

    def ready(text: str) -> str | None:
        with contextlib.suppress(OSError):
            host, _, port = address.partition(":")
            socket.create_connection((host, int(port)), timeout=1).close()
            return text if words in text else None
        return None

    return ready


@contextlib.contextmanager
def _running(command: Sequence[str], log: Path, ready: Callable[[str], Any]) -> Iterator[Any]:
    """Run a program for a `with` block, from when `ready` finds something in what it has said; yield that."""
    with log.open("w", encoding="utf-8") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            deadline = time.monotonic() + TIMEOUT_S
            while (found := ready(log.read_text(encoding="utf-8"))) is None:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DisagreementError(
                        f"{Path(command[0]).name} does not start: {log.read_text(encoding='utf-8')}"
                    )
                time.sleep(0.02)
            yield found
        finally:
            process.send_signal(signal.SIGINT if command[0].endswith(("litewitness", "sunlight")) else signal.SIGTERM)
            process.wait(TIMEOUT_S)


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def run_tlog(program: str, home: Path, *words: str) -> str:
    """Run a command of ours on a party's directory, and return what it printed."""
    return run_program(_program(program), "--dir", home, *words)


def run_program(*command: Path | str, environment: dict[str, str] | None = None) -> str:
    """Run a program, and return what it printed. environment: set besides. Raises: DisagreementError where it fails."""
    variables = None if environment is None else os.environ | environment
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env=variables)
    if run.returncode != 0:
        raise DisagreementError(f"{Path(command[0]).name} ended with status {run.returncode}: {run.stderr[-2000:]}")
    return run.stdout


def fetch(url: str) -> bytes:
    """Return the body of an answer. Raises: tlog.Error."""
    with WebTransport() as transport:
        return transport.send(url, None, limit=1 << 20, timeout_s=TIMEOUT_S).body
