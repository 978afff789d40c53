"""The library's modules in a real browser, against a real server, honest and lying."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route

from tests.browser.conftest import TIMEOUT_MS, Live
from tests.ledgers import NAME

VERIFY = """async ([vkey, index]) => {
    const {verifyEntry} = await import("/static/js/verify.js");
    const {Memory} = await import("/static/js/memory.js");
    const {parseVkey} = await import("/static/js/note.js");
    const memory = new Memory();
    memory.pin(await parseVkey(vkey));
    try {
        const {ok, entry, checkpoint, path, proof, notProved} =
            await verifyEntry({base: location.origin, partition: "users", index, vkey, memory});
        return {ok, seq: entry.seq, size: checkpoint.treeSize, siblings: path.length, proof, notProved};
    } catch (error) {
        return {ok: false, kind: error.kind, step: error.step, evidence: Boolean(error.evidence)};
    }
}"""


@pytest.fixture
def scripted(browser: Browser, live: Live) -> Iterator[Page]:
    """A page of the server, without its policy, so that the tests' own script can use the modules."""
    context: BrowserContext = browser.new_context(bypass_csp=True)
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.goto(f"{live.url}/healthz")
    yield page
    context.close()


def verify(page: Page, live: Live, index: int) -> dict[str, Any]:
    """Return what verifying an entry in the browser gives."""
    found: dict[str, Any] = page.evaluate(VERIFY, [live.vkey, index])
    return found


def test_entries_of_an_honest_server(scripted: Page, live: Live) -> None:
    """Entries verify, the proof is the one that the server gives, and the second visit is compared with the first."""
    for index in (0, 255, 256, 699):
        found = verify(scripted, live, index)
        assert (found["ok"], found["seq"], found["size"]) == (True, index, 700)
        answer = scripted.request.get(f"{live.url}/{NAME}/proof/inclusion?index={index}")
        assert found["proof"].encode() == answer.body()
        assert any("remembers no earlier checkpoint" in limit for limit in found["notProved"]) == (index == 0)
    assert verify(scripted, live, 700) == {"ok": False, "kind": "not-covered", "step": "tiles", "evidence": False}


def test_lying_servers(scripted: Page, live: Live) -> None:
    """A tampered tile and entry, an old checkpoint replayed, a redirect, and silence are told apart."""
    old = scripted.request.get(f"{live.url}/{NAME}/proof/inclusion?index=0&size=300").text().partition("\n\n")[2]
    assert verify(scripted, live, 5)["ok"] is True

    def tampered(route: Route) -> None:
        body = bytearray(route.fetch().body())
        body[100] ^= 1
        route.fulfill(body=bytes(body))

    for path, lie, kind, step in (
        ("tile/0/000", tampered, "tile", "tiles"),
        ("tile/entries/000", tampered, "entry", "entry"),
        ("checkpoint", tampered, None, None),
        ("checkpoint", lambda route: route.fulfill(body=old), "rollback", "memory"),
        (
            "checkpoint",
            lambda route: route.fulfill(status=302, headers={"Location": "/healthz"}),
            "redirect",
            "checkpoint",
        ),
        ("tile/0/000", lambda route: route.fulfill(status=404), "not-found", "tiles"),
        ("tile/0/000", lambda route: route.abort(), "network", "tiles"),
    ):
        pattern = f"{live.url}/{NAME}/{path}"
        scripted.route(pattern, lie)
        found = verify(scripted, live, 0)
        scripted.unroute(pattern)
        assert found["ok"] is False
        assert kind is None or (found["kind"], found["step"]) == (kind, step)
        assert found["evidence"] == (kind == "rollback")
    assert verify(scripted, live, 5)["ok"] is True
