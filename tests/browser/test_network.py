"""Pages of the witness network in a browser: for everybody, and evidence judged with a key from elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import axe_violations, overflow_of
from tests.server.pages.test_parties import Parties
from tests.waiting import until
from tests.witnessing.parties import served
from tests.witnessing.test_vouching import Watched
from tlog.keys import SigningKey
from tlog_server.app import create_app
from tlog_server.monitoring import create_monitor_app
from tlog_server.witnessing import create_witness_app


class Network(NamedTuple):
    """URLs of a log's server, a monitor and a witness; the log's key, and the path of the monitor's page of the log."""

    log: str
    monitor: str
    witness: str
    vkey: str
    log_path: str
    evidence: str


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A log with three witnesses, one of them missing; and a monitor and a witness that know of another log's fork."""
    root = tmp_path_factory.mktemp("network")
    with contextlib.ExitStack() as stack:
        (root / "watched").mkdir()
        watched = Watched(root / "watched", stack)
        watched.partition.publish()
        watched.down = {1}
        watched.partition.append("more")
        watched.partition.publish()
        (root / "parties").mkdir()
        parties = Parties(root / "parties")
        stack.callback(parties.fork.close)
        witness = create_witness_app(parties.witness, peers=["http://monitor.example"])
        yield Network(
            stack.enter_context(served(create_app(watched.ledger.path))),
            stack.enter_context(served(create_monitor_app(parties.monitor))),
            stack.enter_context(served(witness)),
            str(parties.fork.views[0].partition.vkey),
            parties.log_path,
            parties.evidence[0],
        )


@pytest.mark.parametrize("which", ["log", "monitor", "monitored", "evidence", "witness"])
def test_every_page_for_everybody(page: Page, network: Network, which: str) -> None:
    """Axe finds nothing wrong in either theme; a phone need not scroll aside, but in the drawing, by keyboard too."""
    url = {
        "log": f"{network.log}/witnesses?partition=users",
        "monitor": f"{network.monitor}/",
        "monitored": network.monitor + network.log_path,
        "evidence": network.monitor + network.evidence,
        "witness": f"{network.witness}/",
    }[which]
    page.goto(url)
    page.wait_for_load_state("load")
    expect(page.locator(".network svg")).to_be_visible()
    for theme in ("light", "dark"):
        assert axe_violations(page, theme=theme) == []
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.set_viewport_size({"width": 390, "height": 800})
    assert overflow_of(page) == 0
    drawing = page.locator(".network .scroll")
    drawing.focus()
    page.keyboard.press("ArrowRight")
    until(lambda: drawing.evaluate("element => element.scrollLeft") > 0)


def test_the_drawing_says_who_is_missing(page: Page, network: Network) -> None:
    """Boxes of parties, an arrow for each that follows, a dashed one for each that does not."""
    page.goto(f"{network.log}/witnesses?partition=users")
    expect(page.locator(".network .party")).to_have_count(6)
    expect(page.locator(".network .arrow")).to_have_count(5)
    expect(page.locator(".network .broken")).to_have_count(1)
    expect(page.locator("#quorum")).to_contain_text("The quorum is met")


def test_evidence_is_judged_here(page: Page, network: Network) -> None:
    """The log's key proves the fork in this browser; another key, no key, or altered evidence accuses nobody."""
    page.goto(network.monitor + network.evidence)
    verdict = page.locator("#verdict")
    impostor = SigningKey.generate("audit.example.com/users").verifier_key
    for key, words in (
        ("nonsense", "Not proved"),
        (str(impostor), "No key that you trust"),
        (network.vkey, "has forked"),
    ):
        page.fill("#judge-key", key)
        page.keyboard.press("Enter")
        expect(verdict).to_contain_text(words)
    expect(page.locator("#checked-browser")).to_contain_text("Both signatures")
    assert axe_violations(page) == []

    def alter(route: Route) -> None:
        text = route.fetch().text()
        place = text.rindex("\n\n") - 10
        route.fulfill(body=text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :])

    page.route("**/evidence/*", alter)
    page.click("text=Check in this browser")
    expect(verdict).to_contain_text("Not proved")
    expect(verdict).to_have_class("verdict warn")


def test_from_the_finding_to_the_evidence(page: Page, network: Network) -> None:
    """By the links alone: from the monitor's page to the log's, to the evidence, and to the file."""
    page.goto(network.monitor)
    page.click("table.logs a")
    expect(page.locator("h1")).to_contain_text("audit.example.com/users")
    page.click("text=Side by side >> nth=0")
    expect(page.locator("h1")).to_contain_text("Evidence of a split view")
    with page.expect_download() as download:
        page.click("text=Download the evidence")
    assert download.value.path().read_text("utf-8").startswith("tlog-evidence@v1\n")
