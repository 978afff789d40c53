"""Servers to measure, each a process of its own, and wrk, which asks them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.go_programs import POSIX, GoPrograms
from bench.ledgers import ROOT
from tlog import SigningKey
from tlog._strict import format_base64

START_S = 30.0
WORKERS = 2
THREADS = 8
LOAD = Path(__file__).resolve().parent / "load.lua"
LOAD_THREADS = 2
"""Of wrk; the two cores are the server's and wrk's."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk asks again and again. connections: at a time, each with one request under way.

    paths: asked in turn. bodies: the same, for POST. token: sent as a bearer token. kind: whether the requests are the
    same again and again; or numbered, each body an object with a field of its own, because Tessera's server writes the
    same bytes once only; or keyed, with an idempotency key besides.
    """

    connections: int
    paths: Sequence[str]
    bodies: Sequence[bytes] = ()
    content_type: str = ""
    token: str = ""
    kind: Literal["same", "numbered", "keyed"] = "same"


@dataclass(frozen=True, slots=True)
class Found:
    """What wrk found. requests: that were answered. Times in milliseconds. refused: answered with another status."""

    requests: int
    seconds: float
    p50: float
    p99: float
    max: float
    refused: int
    failed: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def missing_wrk() -> str | None:
    """Return why nothing can be asked here, None where wrk is there."""
    return None if shutil.which("wrk") else "there is no wrk on this machine; on Debian or Ubuntu: apt install wrk"


def ask(work: Path, address: str, load: Load, seconds: float) -> Found:
    """Have wrk ask a server for some seconds. work: an empty directory of this load's own."""
    paths, bodies = work / "paths", work / "bodies"
    paths.write_text("".join(f"{path}\n" for path in load.paths), encoding="utf-8")
    bodies.write_bytes(b"\n\n".join(body.rstrip(b"\n") for body in load.bodies))
    words = ("POST" if load.bodies else "GET", paths, bodies if load.bodies else "", load.content_type, load.token)
    command = ["wrk", f"-t{LOAD_THREADS}", f"-c{load.connections}", f"-d{max(round(seconds), 1)}s", "--timeout", "30s"]
    command += ["-s", str(LOAD), f"http://{address}", "--", *map(str, words), load.kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = Found(**json.loads(done.stdout.splitlines()[-1]))
    if found.refused or found.failed or not found.requests:
        raise AssertionError(f"{load.paths[0]}: {found} from {address}")
    return found


@contextlib.contextmanager
def tlog_serve(ledger: Path, *options: str) -> Iterator[str]:
    """Run `tlog serve`; yield its address."""
    program = str(Path(sys.executable).parent / "tlog")
    address = free_address()
    command = [program, "serve", "--ledger", str(ledger), "--bind", address, f"--workers={WORKERS}"]
    with running([*command, f"--threads={THREADS}", *options], address):
        yield address


@contextlib.contextmanager
def bare_wsgi(workers: int = WORKERS, threads: int = THREADS) -> Iterator[str]:
    """Run gunicorn with the application of `bench.bare`, and the settings of `tlog serve`; yield its address."""
    address = free_address()
    command = [sys.executable, "-m", "gunicorn", "--worker-class=gthread", f"--workers={workers}", "--keep-alive=5"]
    with running([*command, f"--threads={threads}", f"--bind={address}", "bench.bare:application"], address):
        yield address


@contextlib.contextmanager
def tessera_posix(go: GoPrograms, directory: Path) -> Iterator[str]:
    """Run Tessera's conformance server on its POSIX driver; yield its address."""
    seed = os.urandom(32)
    key = SigningKey.from_seed("bench.example.com/posix", seed)
    name, key_id, _ = str(key.verifier_key).split("+", 2)
    secret = format_base64(b"\x01" + seed)
    address = free_address()
    command = [str(go.path(POSIX)), f"--storage_dir={directory}", f"--listen={address}"]
    with running(command, address, {"LOG_PRIVATE_KEY": f"PRIVATE+KEY+{name}+{key_id}+{secret}"}):
        yield address


@contextlib.contextmanager
def running(
    command: Sequence[str], address: str, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for a `with` block, from when it listens at its address."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_for(address, process)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    host, _, port = address.partition(":")
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on {address}")


def free_address() -> str:
    """Return an address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"
