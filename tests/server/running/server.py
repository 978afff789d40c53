"""A server as users run it: `tlog serve` on a free port, with its worker processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

TLOG = Path(sys.executable).parent / "tlog"
QUICK = ("--publish-interval", "0.1")
ONE = (*QUICK, "--workers", "1")


class Server:
    """A server that runs. url: of it. stderr: the file with what it says."""

    def __init__(self, process: subprocess.Popen[str], url: str, stderr: Path) -> None:
        self.process = process
        self.url = url
        self.stderr = stderr

    def client(self, token: str | None = None) -> httpx.Client:
        """Return a client, to be closed. token: what it sends."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=30)

    def get(self, path: str) -> httpx.Response:
        """Ask for a resource, over a connection of its own."""
        return httpx.get(self.url + path, trust_env=False, timeout=30)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    @property
    def workers(self) -> list[int]:
        """The numbers of its worker processes."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def end(self, sig: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end, and return its exit code."""
        self.process.send_signal(sig)
        return self.process.wait(60)

    def said(self) -> list[str]:
        """The lines on its standard error."""
        return self.stderr.read_text().splitlines()


@contextlib.contextmanager
def running(ledger: Path, *words: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run `tlog serve` with these options and variables."""
    command = [str(TLOG), "serve", "--ledger", str(ledger), "--bind", "127.0.0.1:0", "--json", *words]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TLOG_")}
    stderr = ledger.parent / "stderr"
    with (
        stderr.open("wb") as errors,
        subprocess.Popen(
            command,
            env={**inherited, "PYTHONWARNINGS": "default", **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, stderr.read_text()
            yield Server(process, json.loads(line)["url"], stderr)
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(30)
            process.kill()
