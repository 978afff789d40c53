"""Answers that stay the same are kept, for those who ask plainly, and nothing else is."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient

import tlog
from tests.ledgers import NAME, QuickDisk, create
from tests.server.conftest import Served, granted
from tlog_server import envelope as module
from tlog_server.app import create_app
from tlog_server.envelope import SECURITY_HEADERS, Envelope
from tlog_server.settings import Settings

TILE = f"/{NAME}/tile/0/000"
BUNDLE = f"/{NAME}/tile/entries/000"


def kept(client: FlaskClient) -> Envelope:
    """What is around the application of a client."""
    found = client.application.wsgi_app
    assert isinstance(found, Envelope)
    return found


def ask(client: FlaskClient, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask as an HTTP server does, which tells the target as it was sent; the answer without the request's id."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.get(path, headers=sent, environ_overrides={"RAW_URI": path})
    assert len(answer.headers.pop("X-Request-ID")) == 16
    return answer.status_code, dict(answer.headers), answer.data


@pytest.fixture
def client(served: Served) -> FlaskClient:
    """A client of a new application."""
    return create_app(served.partition.paths.ledger).test_client()


@pytest.mark.parametrize("path", [TILE, BUNDLE, f"/{NAME}/tile/0/002.p/188"])
def test_a_kept_answer_is_the_same_answer(client: FlaskClient, path: str) -> None:
    """Bytes and headers are those of the first one, for each liking of codings; partial requests are answered too."""
    for headers in ({}, {"Accept_Encoding": "gzip"}, {"Accept_Encoding": "zstd, gzip"}, {"Accept_Encoding": "br"}):
        first = ask(client, path, **headers)
        count = len(kept(client)._kept)
        assert ask(client, path, **headers) == first
        assert len(kept(client)._kept) == count > 0
        assert {name: first[1][name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    tag = ask(client, path)[1]["ETag"]
    assert ask(client, path, If_None_Match=tag)[0] == 304
    assert ask(client, path, Range="bytes=1-3")[2] == ask(client, path)[2][1:4]
    assert client.head(path).data == b""
    assert client.get(f"{path}?x=1").status_code == 400
    assert client.post(path).status_code == 405


def test_each_answer_has_its_own_id_and_is_counted(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    """Kept or not."""
    ids = {client.get(TILE, environ_overrides={"RAW_URI": TILE}).headers["X-Request-ID"] for _ in range(5)}
    assert len(ids) == 5
    line = 'tlog_http_requests_total{method="GET",route="/<name>/tile/<path:rest>",status="200"} 5.0'
    assert line in client.get("/metrics").text
    logged = create_app(client.application.config["TLOG_LEDGER"], Settings(has_access_log=True)).test_client()
    with caplog.at_level(logging.INFO, "tlog.access"):
        for _ in range(3):
            ask(logged, TILE)
    assert len(caplog.records) == 3


@pytest.mark.parametrize(
    "path",
    [
        f"/{NAME}/checkpoint",
        f"/{NAME}/vkey",
        "/healthz",
        f"/{NAME}/tile/0/009",
        f"/{NAME}/proof/consistency?old=1&new=5",
    ],
)
def test_what_changes_is_not_kept(client: FlaskClient, path: str) -> None:
    """Neither the checkpoint, nor errors, nor what depends on more than the path."""
    for _ in range(2):
        ask(client, path)
    assert kept(client)._kept == {}


def test_what_is_private_is_not_kept(served: Served, tmp_path: Path) -> None:
    """Not of a private partition, with or without a token; nor for requests with a token in general."""
    shutil.copytree(served.partition.paths.ledger, tmp_path / "ledger")
    token = granted(tmp_path / "ledger")
    public = create_app(tmp_path / "ledger").test_client()
    assert ask(public, TILE, Authorization=f"Bearer {token}")[0] == 200
    assert kept(public)._kept == {}
    with (tmp_path / "ledger" / "tlog.toml").open("a") as file:
        file.write(f'\n[access]\nprivate = ["{NAME}"]\n')
    private = create_app(tmp_path / "ledger").test_client()
    for _ in range(2):
        assert ask(private, TILE, Authorization=f"Bearer {token}")[0] == 200
        assert ask(private, TILE)[0] == 401
    assert kept(private)._kept == {}


def test_where_requests_are_limited_each_one_counts(served: Served) -> None:
    """Then nothing is kept."""
    app = create_app(served.partition.paths.ledger, Settings(address_rate=1000))
    for _ in range(2):
        assert ask(app.test_client(), TILE)[0] == 200
    assert kept(app.test_client())._kept == {}


def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In all, and by the size of one answer."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append_many(["x" * 1000] * 1024)
    partition.publish()
    partition.close()
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 100_000)
    monkeypatch.setattr(module, "MAX_KEPT_BYTES", 20_000)
    client = create_app(tlog.Ledger.open(tmp_path / "ledger")).test_client()
    for number in range(4):
        assert ask(client, f"/{NAME}/tile/entries/00{number}")[0] == 200
        assert kept(client)._kept == {}
    for number in range(4):
        assert ask(client, f"/{NAME}/tile/0/00{number}")[0] == 200
        assert len(kept(client)._kept) <= 2
