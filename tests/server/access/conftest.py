"""A ledger with a public and a private partition, and tokens for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from flask.testing import FlaskClient

import tlog
from tests.ledgers import QuickDisk
from tlog.access import VERBS, Tokens
from tlog.ledger import Config
from tlog.storage.layout import CONFIG_NAME
from tlog_server.app import create_app
from tlog_server.settings import Settings

PUBLIC, PRIVATE, ABSENT = "orders", "payroll", "absent"
RULES = {"private": [PRIVATE, "secret"], "trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]}
SUBJECT = "CN=web-1,O=Example"


class Guarded(NamedTuple):
    """A ledger, its partitions PUBLIC for all and PRIVATE for some, and a client of the server that knows no token.

    every: a token for everything. reader: one that may read PRIVATE. stranger: one that may do all in `elsewhere`.
    """

    path: Path
    client: FlaskClient
    every: str
    reader: str
    stranger: str


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Guarded:
    """Each partition has 300 entries, all published. Read only but for tokens."""
    path = tmp_path_factory.mktemp("guarded") / "ledger"
    ledger = tlog.Ledger.create(path, origin="audit.example.com", segment_entries=256, disk=QuickDisk())
    (path / CONFIG_NAME).write_bytes(Config("audit.example.com", 256, access=RULES).format())
    for name in (PUBLIC, PRIVATE):
        partition = ledger.partition(name)
        partition.append_many({"id": f"event-{number}", "actor": "alice"} for number in range(300))
        partition.publish()
        with tlog.Index(partition) as index:
            index.catch_up()
    tokens = Tokens(ledger)
    every, _ = tokens.create("tester", VERBS)
    reader, _ = tokens.create("reader", ["read"], [PRIVATE])
    stranger, _ = tokens.create("stranger", VERBS, ["elsewhere"])
    tokens.create_for_certificate(SUBJECT, "certified", ["read"], [PRIVATE])
    ledger.partition("tlog-system").publish()
    ledger.close()
    return Guarded(path, create_app(path).test_client(), every, reader, stranger)


@pytest.fixture
def asking_with(guarded: Guarded) -> Callable[[Settings], FlaskClient]:
    """Return a client of a server with other settings."""

    def client(settings: Settings) -> FlaskClient:
        return create_app(guarded.path, settings).test_client()

    return client


def bearing(token: str) -> dict[str, str]:
    """The header that sends a token."""
    return {"Authorization": f"Bearer {token}"}
