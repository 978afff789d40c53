"""A ledger of events that are asked about."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

import tlog
from tests.index.model import events
from tests.ledgers import QuickDisk, create
from tests.server.conftest import granted
from tlog_server.app import create_app

ENTRIES = 300

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def users(tmp_path_factory: pytest.TempPathFactory) -> tlog.Partition:
    """A partition of 300 indexed events, and one behind the index's end. Read only."""
    partition = create(tmp_path_factory.mktemp("events_out") / "ledger", disk=QuickDisk())
    partition.append_many(
        {
            "id": f"id-{number % 250}",
            "category": ("security", "user", "data")[number % 3],
            "severity": ("info", "warning")[number % 2],
            "target": f"doc/{number % 7}",
            "correlation_id": f"request-{number // 4}",
            **event,
        }
        for number, event in enumerate(events(ENTRIES))
    )
    partition.publish()
    with tlog.Index(partition) as index:
        index.catch_up()
    partition.append({"id": "new", "actor": "zoe", "action": "login"}, meta={"writer": "web-1", "id": "k"})
    return partition


@pytest.fixture(scope="session")
def client(users: tlog.Partition) -> FlaskClient:
    """Asks the server of that partition."""
    return create_app(users.paths.ledger).test_client()


@pytest.fixture
def bearer(users: tlog.Partition) -> dict[str, str]:
    """The headers of a token that may do everything."""
    return {"Authorization": f"Bearer {granted(users.paths.ledger)}"}


@pytest.fixture
def ask(client: FlaskClient) -> Ask:
    """Ask for a path below /api/v1 with parameters; return the answer's JSON, which must have the status expected."""

    def asked(path: str, status: int = 200, **parameters: str | int) -> Any:
        answer = client.get(f"/api/v1/{path}", query_string=parameters)
        assert answer.status_code == status, answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "application/json" if status == 200 else "application/problem+json"
        return answer.get_json(force=True)

    return asked


def elsewhere(users: tlog.Partition, tmp_path: Path) -> Path:
    """A copy of the ledger that a test may change."""
    shutil.copytree(users.paths.ledger, tmp_path / "copy")
    return tmp_path / "copy"
