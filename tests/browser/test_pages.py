"""Pages in a browser: every one accessible in both themes and on a phone, the keyboard enough, and no policy broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import tlog
from tests.browser.conftest import SIZES, Live, axe_violations, overflow_of, serving
from tests.browser.lying import LyingServer, lying
from tests.ledgers import NAME, QuickDisk, create, opened
from tests.server.conftest import granted
from tests.server.pages.making import PLAIN, make_hostile
from tests.test_report import ATTACKS
from tlog.policy import Policy
from tlog_server.app import create_app

PAGES = (
    "/",
    f"/{NAME}/",
    f"/{NAME}/events/8",
    f"/search?partition={NAME}&q=actor%3Dalice%7Cbob",
    f"/search?partition={NAME}&q=no%3D",
    f"/live?partition={NAME}",
    f"/history?partition={NAME}",
    f"/consistency?partition={NAME}",
    "/compare",
    "/verify",
    "/search",
    "/nothing",
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LyingServer]:
    """A server, which tells the truth, of a ledger whose entries attack."""
    path = tmp_path_factory.mktemp("hostile") / "ledger"
    make_hostile(path)
    with lying(create_app(path)) as server:
        yield server


def take_key(page: Page) -> None:
    """At the first visit, take the key that the server shows; then wait until the page has said something."""
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text(re.compile("key first|Verified|Proved|only grew|First visit"))
    if page.locator("#key-take").is_visible():
        page.click("#key-take")
    expect(verdict).not_to_have_class(re.compile("idle|busy"))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_for_everybody(page: Page, live: Live, path: str) -> None:
    """Axe finds nothing wrong in either theme, with the key asked for and known; a phone need not scroll aside."""
    page.goto(live.url + path)
    page.wait_for_load_state("load")
    if "events" in path or "consistency" in path:
        expect(page.locator("#key-form")).to_be_visible()
        assert axe_violations(page) == []
        take_key(page)
        expect(page.locator("#verdict")).to_have_class("verdict good")
    for theme in ("light", "dark"):
        assert axe_violations(page, theme=theme) == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert overflow_of(page) == 0
    if "events" in path:
        page.click("text=The same as a table")
        assert overflow_of(page) == 0


def test_an_entry_is_verified_here(page: Page, live: Live) -> None:
    """Each step is shown, the path drawn with every sibling, and the proof that is given away proves it elsewhere."""
    page.goto(f"{live.url}/{NAME}/events/421")
    take_key(page)
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text("Verified in this browser")
    expect(verdict).to_contain_text(f"checkpoint of {SIZES[-1]} entries")
    assert set(page.locator("#steps li").evaluate_all("items => items.map((item) => item.className)")) == {"done"}
    proof = opened(live.ledger).prove(421)
    assert page.locator("#drawing .path-sibling").count() == len(proof.hashes)
    assert page.locator("#path-rows tr").count() == len(proof.hashes)
    assert page.text_content("#bytes") == opened(live.ledger).entry(421).raw.decode()
    with page.expect_download() as download:
        page.click(f"text=Download {NAME}-421.tlog-proof")
    assert download.value.suggested_filename == f"{NAME}-421.tlog-proof"
    text = download.value.path().read_bytes()
    assert tlog.verify_proof(text, policy=Policy.for_log(live.vkey)).leaf_index == 421
    expect(page.locator("#command")).to_have_text(f"tlog-verify --proof {NAME}-421.tlog-proof --key {live.vkey}")
    page.reload()  # the key is kept: nothing is asked again, and growth is proved too
    expect(verdict).to_have_class("verdict good")
    expect(page.locator("#steps")).to_contain_text("last visit")


def test_a_key_of_ones_own(page: Page, live: Live) -> None:
    """A key that is not this log's is refused in words; with the pasted right one the page verifies."""
    page.goto(f"{live.url}/{NAME}/events/1")
    for text, words in (("nonsense", "is not <name>"), (live.vkey.replace(NAME, "other"), "key ID")):
        page.fill("#key-text", text)
        page.click("text=Use this key")
        expect(page.locator("#key-form [role=alert]")).to_contain_text(re.compile(words))
    page.fill("#key-text", live.vkey)
    page.click("text=Use this key")
    expect(page.locator("#verdict")).to_have_class("verdict good")


@pytest.mark.parametrize("index", range(PLAIN - 1, PLAIN + len(ATTACKS) + 7))
def test_hostile_entries_are_text(page: Page, hostile: LyingServer, index: int) -> None:
    """No script of an entry runs, no policy is broken, and its true page is not taken for a false one."""
    page.on("dialog", lambda _: pytest.fail("a script of an entry has run"))
    page.goto(f"{hostile.url}/{NAME}/events/{index}")
    take_key(page)
    expect(page.locator("#verdict")).to_have_class("verdict good")
    assert page.locator("#main img, #main script, #main h1").count() == 1
    page.set_viewport_size({"width": 390, "height": 800})
    assert overflow_of(page) == 0


def test_hostile_lists_are_text(page: Page, hostile: LyingServer) -> None:
    """The same of the pages with many entries."""
    page.on("dialog", lambda _: pytest.fail("a script of an entry has run"))
    page.set_viewport_size({"width": 390, "height": 800})
    for path in (f"/search?partition={NAME}", f"/live?partition={NAME}", f"/{NAME}/"):
        page.goto(hostile.url + path)
        assert overflow_of(page) == 0
    page.goto(f"{hostile.url}/search?partition={NAME}&q=actor%3D%22%3Cscript%3Ealert(1)%3C/script%3E%22")
    expect(page.locator("#entries tr")).to_have_count(1)
    expect(page.locator("#entries")).to_contain_text("<script>alert(1)</script>")


def test_growth_and_live_entries(page: Page, tmp_path: Path) -> None:
    """The second visit proves growth; entries come into the live page as text, wait while it is paused, then come."""
    ledger = tmp_path / "ledger"
    partition = create(ledger, disk=QuickDisk())
    partition.append_many({"number": number} for number in range(300))
    partition.publish()
    partition.close()
    granted(ledger)
    with serving(ledger) as url:
        page.goto(f"{url}/consistency?partition={NAME}")
        take_key(page)
        expect(page.locator("#verdict")).to_contain_text("First visit")
        page.goto(f"{url}/live?partition={NAME}")
        expect(page.locator("#state")).to_contain_text("Following the log")
        partition.append({"actor": "<b>mallory</b>", "action": "in\u202evoice", "outcome": "failure"})
        row = page.locator("#rows tr").first
        expect(row).to_contain_text("<b>mallory</b>")
        expect(row).to_contain_text("in\\u202evoice")
        expect(row.locator("a")).to_have_attribute("href", f"/{NAME}/events/300")
        assert axe_violations(page) == []
        page.click("#pause")
        partition.append_many({"actor": "later", "action": "come"} for _ in range(3))
        expect(page.locator("#state")).to_contain_text("Paused: 3 wait")
        expect(row).to_contain_text("mallory")
        page.click("#pause")
        expect(row).to_contain_text("later")
        partition.publish()
        partition.close()
        page.goto(f"{url}/consistency?partition={NAME}")
        expect(page.locator("#verdict")).to_contain_text("grew from 300 to 304 entries")
        expect(page.locator("#remembered tbody tr")).to_have_count(2)
        page.click("text=Forget this log")
        expect(page.locator("#key-form")).to_be_visible()


def test_a_proof_is_checked_with_the_keyboard_alone(page: Page, live: Live) -> None:
    """From the top of the page: to the text, the button, the key, the verdict; the skip link goes to the content."""
    page.goto(f"{live.url}/verify")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"

    def tab_to(name: str) -> None:
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == name:
                return
        pytest.fail(f"{name} cannot be reached")

    tab_to("proof")
    page.keyboard.insert_text(str(opened(live.ledger).prove(99)))
    tab_to("check-here")
    page.keyboard.press("Enter")
    expect(page.locator("#key-form")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    for _ in range(5):
        if page.evaluate("document.activeElement.id") == "key-take":
            break
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_contain_text("Proved, in this browser")
    assert axe_violations(page) == []


def test_a_proof_is_dropped_anywhere(page: Page, live: Live) -> None:
    """A file that is dropped on any page is checked on the page for that; an altered one is called so."""
    drop = """(text) => {
        const data = new DataTransfer();
        data.items.add(new File([text], "x.tlog-proof"));
        document.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
    }"""
    proof = str(opened(live.ledger).prove(7))
    page.goto(f"{live.url}/{NAME}/")
    page.wait_for_load_state("load")
    page.evaluate(drop, proof)
    page.wait_for_url(f"{live.url}/verify")
    take_key(page)
    expect(page.locator("#verdict")).to_contain_text("Entry 7 is in the log")
    expect(page.locator("#proved")).to_contain_text("bob did user.logout")
    page.evaluate(drop, proof.replace("index 7", "index 6"))
    expect(page.locator("#verdict")).to_have_class("verdict bad alarm")
    page.evaluate(drop, "nonsense")
    expect(page.locator("#verdict")).to_contain_text("Not in the accepted form")
    page.set_input_files("#file", {"name": "p", "mimeType": "text/plain", "buffer": proof.encode()})
    expect(page.locator("#verdict")).to_have_class("verdict good")


def test_checkpoints_are_compared_here(page: Page, live: Live) -> None:
    """The server's answer and the browser's own agree; what is contradicting is an alarm in the browser, too."""
    notes = [str(opened(live.ledger).checkpoint(size)) for size in (SIZES[0], SIZES[2])]
    page.goto(f"{live.url}/compare")
    for name, text in zip(("first", "second"), notes, strict=True):
        page.fill(f"#{name}", text)
    page.click("button[type=submit] >> text=Compare")
    expect(page.locator("#verdict")).to_contain_text("Consistent")
    assert axe_violations(page) == []
    page.click("text=Compare in this browser")
    page.click("#key-take")
    expect(page.locator("#browser-verdict")).to_contain_text("Consistent, as this browser finds")
    page.fill("#second", notes[1].replace("\n7", "\n8"))
    page.click("text=Compare in this browser")
    expect(page.locator("#browser-verdict")).to_have_class("verdict bad alarm")
    assert axe_violations(page) == []


def test_the_theme_is_remembered(page: Page, live: Live) -> None:
    """The switch goes round system, light, dark; the choice counts on the next page, against the system's."""
    page.emulate_media(color_scheme="light")
    page.goto(f"{live.url}/")
    back = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(back)
    page.click("#theme")
    page.click("#theme")
    expect(page.locator("#theme")).to_have_text("Theme: dark")
    dark = page.evaluate(back)
    assert dark != light
    page.goto(f"{live.url}/{NAME}/")
    assert page.evaluate(back) == dark
    expect(page.locator("#theme")).to_have_text("Theme: dark")


def test_a_private_log(browser: Browser, tmp_path: Path) -> None:
    """A browser asks its user for the token, as a password; then it verifies as it does elsewhere."""
    ledger = tmp_path / "ledger"
    partition = create(ledger, disk=QuickDisk())
    partition.append_many({"number": number} for number in range(300))
    partition.publish()
    partition.close()
    config = ledger / "tlog.toml"
    config.write_text(config.read_text() + '\n[access]\nprivate = ["*"]\n')
    token = granted(ledger, "read")
    with lying(create_app(ledger)) as server:
        context = browser.new_context(http_credentials={"username": "me", "password": token})
        page = context.new_page()
        page.goto(f"{server.url}/{NAME}/events/3")
        take_key(page)
        expect(page.locator("#verdict")).to_have_class("verdict good")
        context.close()
        stranger = browser.new_context()
        refused = stranger.request.get(f"{server.url}/{NAME}/events/3", headers={"Accept": "text/html"})
        assert (refused.status, "A token is needed" in refused.text()) == (401, True)
        stranger.close()


def test_without_scripts(live: Live, browser: Browser) -> None:
    """Every page can be read, a search made, checkpoints compared and a proof checked, and no dead button is shown."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    for path in PAGES:
        page.goto(live.url + path)
        assert page.locator("h1").count() == 1
        shown = page.locator("button:visible").all_text_contents()
        assert set(shown) <= {"Search", "Compare", "Let this server check it"}
    page.goto(f"{live.url}/search?partition={NAME}")
    page.fill("#q", "actor=carol outcome=failure")
    page.click("button[type=submit]")
    assert "33 entries" in (page.text_content(".result") or "")
    page.goto(f"{live.url}/verify")
    page.fill("#proof", str(opened(live.ledger).prove(3)))
    page.click("#check-server")
    assert "This server finds it proved" in (page.text_content("#server-verdict") or "")
    context.close()
