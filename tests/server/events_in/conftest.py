"""A server that takes events: a new ledger for each test, and tokens for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask
from werkzeug.test import TestResponse

import tlog
from tests.ledgers import NAME, ORIGIN, SEGMENT_ENTRIES, QuickDisk
from tests.server.conftest import granted
from tlog_server.app import create_app
from tlog_server.settings import Settings

URL = f"/api/v1/events?partition={NAME}"
BATCH_URL = f"/api/v1/events:batch?partition={NAME}"


class Server(NamedTuple):
    """An application of a ledger. token: of the writer "tester", who may do everything."""

    app: Flask
    partition: tlog.Partition
    token: str

    def post(self, url: str, body: bytes = b"", *, token: str | None = None, **headers: str) -> TestResponse:
        """Send a body. headers: by name, with '_' for '-'; Content-Type is JSON unless given."""
        sent = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        return self.app.test_client().post(url, data=body, headers=sent)

    def data(self) -> list[Any]:
        """Return the data of all entries."""
        return [entry.data for entry in self.partition.entries()] if self.partition.exists else []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of an empty ledger."""
    with tlog.Ledger.create(
        tmp_path / "ledger", origin=ORIGIN, segment_entries=SEGMENT_ENTRIES, disk=QuickDisk()
    ) as ledger:
        token = granted(tmp_path / "ledger")
        app = create_app(ledger, Settings(max_event_bytes=1 << 17))
        yield Server(app, ledger.partition(NAME), token)
