"""Writing and following through nginx: who wrote is known by a certificate, and streams are not held back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

import tlog
from tests.deploy.conftest import serving
from tests.deploy.proxies import NGINX, proxied
from tests.deploy.tls import Certificates, trusting
from tests.ledgers import NAME, QuickDisk, create
from tlog.access import Tokens

pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine")

EVENTS = f"/api/v1/events?partition={NAME}"


class Writing(NamedTuple):
    """A served ledger that takes events. url: of the proxy. token: of a writer. certificates: of TLS."""

    ledger: Path
    url: str
    token: str
    certificates: Certificates

    def client(self, certificate: tuple[Path, Path] | None = None) -> httpx.Client:
        """Return a client, with a certificate where one is given."""
        context = trusting(self.certificates, certificate)
        return httpx.Client(base_url=self.url, verify=context, trust_env=False, timeout=30)


@pytest.fixture(scope="module")
def writing(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writing]:
    """The proxy and the server, which knows one writer by token and one by certificate."""
    root = tmp_path_factory.mktemp("writing")
    partition = create(root / "ledger", disk=QuickDisk())
    partition.append("first")
    partition.publish()
    partition.close()
    with (root / "ledger" / "tlog.toml").open("a", encoding="utf-8") as settings:
        settings.write('\n[access]\ntrusted_proxies = ["127.0.0.1"]\n')
    with tlog.Ledger.open(root / "ledger") as ledger:
        tokens = Tokens(ledger)
        token, _ = tokens.create("by-token", ["append"], [NAME])
        tokens.create_for_certificate("CN=client", "by-certificate", ["append"], [NAME])
    (root / "proxy").mkdir()
    with (
        serving(root / "ledger") as address,
        proxied(root / "proxy", address, root / "nothing", certificates) as (url, _),
    ):
        yield Writing(root / "ledger", url, token, certificates)


def _writer(writing: Writing, answer: httpx.Response) -> object:
    """Return who is recorded as the writer of the entry that an answer acknowledges."""
    assert answer.status_code == 201, answer.text
    with tlog.Ledger.open(writing.ledger) as ledger:
        return ledger.partition(NAME).entry(answer.json()["index"]).meta["writer"]


def test_writers(writing: Writing) -> None:
    """A token and a verified certificate each are recorded in the entry; nothing that a client claims is."""
    claim = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": "CN=client"}
    with writing.client() as client:
        bearer = {"Authorization": f"Bearer {writing.token}"}
        assert _writer(writing, client.post(EVENTS, json={"n": 1}, headers=bearer)) == "by-token"
        assert client.post(EVENTS, json={"n": 2}, headers=claim).status_code == 401
        lines = "".join(f'{{"n":{number}}}\n' for number in range(2000))
        ndjson = {**bearer, "Content-Type": "application/x-ndjson"}
        batch = client.post(f"/api/v1/events:batch?partition={NAME}", content=lines, headers=ndjson)
        assert (batch.status_code, batch.json()["count"]) == (201, 2000)
    with writing.client(writing.certificates[3:5]) as client:
        assert _writer(writing, client.post(EVENTS, json={"n": 3})) == "by-certificate"


def test_streams_are_not_held_back(writing: Writing) -> None:
    """An event arrives at a reader that follows through nginx while the stream is open."""
    arrived = threading.Event()
    seen: list[dict[str, object]] = []

    def follow() -> None:
        with (
            writing.client() as client,
            client.stream("GET", f"/api/v1/events/stream?partition={NAME}&start=0") as stream,
        ):
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    seen.append(json.loads(line.removeprefix("data:")))
                    arrived.set()
                    if seen[-1]["data"] == "last":
                        return

    thread = threading.Thread(target=follow)
    thread.start()
    assert arrived.wait(30), "the first entry, which was there before"
    with writing.client() as client:
        bearer = {"Authorization": f"Bearer {writing.token}"}
        assert client.post(EVENTS, json="last", headers=bearer).status_code == 201
    thread.join(30)
    assert not thread.is_alive()
    assert seen[-1]["data"] == "last"
