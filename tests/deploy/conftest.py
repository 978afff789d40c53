"""A ledger that is served and exported, and programs that serve it with what deploy/ has."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deploy.tls import Certificates, make_certificates
from tests.ledgers import NAME, QuickDisk, create

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BIN = Path(sys.executable).parent
SIZES = (1, 300, 700)
LIMIT_S = 30.0


class Deployed(NamedTuple):
    """A ledger, the directory with the exports of its partitions, and the address where `tlog serve` serves it."""

    ledger: Path
    site: Path
    address: str


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Checkpoints at SIZES, exported after each; the proxy on this machine is trusted. Read only."""
    root = tmp_path_factory.mktemp("deployed")
    partition = create(root / "ledger", disk=QuickDisk())
    for size in SIZES:
        start = partition.size if partition.exists else 0
        partition.append_many({"id": f"event-{seq}", "actor": "alice"} for seq in range(start, size))
        partition.publish()
        partition.export(root / "site" / NAME)
    partition.close()
    with (root / "ledger" / "tlog.toml").open("a", encoding="utf-8") as settings:
        settings.write('\n[access]\ntrusted_proxies = ["127.0.0.1"]\n')
    with serving(root / "ledger") as address:
        yield Deployed(root / "ledger", root / "site", address)


@contextlib.contextmanager
def serving(ledger: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run `tlog serve` on a free port; yield HOST:PORT."""
    command = [str(BIN / "tlog"), "serve", "--ledger", str(ledger), "--bind", "127.0.0.1:0"]
    with subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().rstrip("\n").rpartition("http://")[2]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(LIMIT_S)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens on a port, or the process has ended."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        assert process.poll() is None, "the program ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nobody listens on port {port}")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program that must end well; return all that it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of this test."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))
