"""A ledger with checkpoints at several sizes, the site that was exported after each, and a client of the server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from flask.testing import FlaskClient

import tlog
from tests.ledgers import QuickDisk, create, opened
from tlog.access import VERBS, Tokens, Verb
from tlog.accessrules import EVERY
from tlog_server.app import create_app

SIZES = (0, 1, 5, 255, 256, 300, 511, 700)
MORE = 20


class Served(NamedTuple):
    """A partition that is served. site: where it was exported after each checkpoint. client: asks the server."""

    partition: tlog.Partition
    site: Path
    client: FlaskClient


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Checkpoints at SIZES, sealed where segments were complete, and MORE entries that are not published. Read only."""
    root = tmp_path_factory.mktemp("served")
    partition = create(root / "ledger", disk=QuickDisk())
    for size in SIZES:
        start = partition.size if partition.exists else 0
        partition.append_many({"id": f"event-{seq}", "actor": "alice", "number": seq} for seq in range(start, size))
        partition.publish()
        partition.export(root / "site")
    partition.seal()
    partition.append_many({"id": f"event-{seq}", "actor": "bob", "number": seq} for seq in range(MORE))
    with tlog.Index(partition) as index:
        index.catch_up()
    partition.close()
    return Served(opened(root / "ledger"), root / "site", create_app(root / "ledger").test_client())


def granted(ledger: Path, *verbs: Verb, partitions: Sequence[str] = (EVERY,), writer: str = "tester") -> str:
    """Return the text of a new token of a ledger; it may do everything everywhere unless told otherwise."""
    with tlog.Ledger.open(ledger) as opened_ledger:
        return Tokens(opened_ledger).create(writer, verbs or VERBS, partitions)[0]


@pytest.fixture(scope="session")
def token(served: Served) -> str:
    """The text of a token of the writer "tester", who may append, read and administer every partition of `served`."""
    return granted(served.partition.paths.ledger)


@pytest.fixture
def bearer(token: str) -> dict[str, str]:
    """The headers that send the token."""
    return {"Authorization": f"Bearer {token}"}
