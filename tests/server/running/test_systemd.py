"""What systemd is told: when the server is ready, and when it ends."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.ledgers import QuickDisk, create
from tests.server.running.server import running


def test_ready_and_stopping(tmp_path: Path) -> None:
    """READY=1 when the socket is open, STOPPING=1 when it is told to end (Type=notify)."""
    create(tmp_path / "ledger", disk=QuickDisk()).create()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(30)
        with running(tmp_path / "ledger", environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as server:
            assert told.recv(1000).startswith(b"READY=1")
            assert server.end() == 0
            assert told.recv(1000) == b"STOPPING=1"
