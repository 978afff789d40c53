"""Pages on a server that lies: the browser says so, loudly, and never says that something is verified."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

import tlog
from tests.browser.conftest import axe_violations
from tests.browser.lying import Lie, LyingServer, flipped, instead, lying, replaced, truth
from tests.ledgers import NAME, QuickDisk, copied, create, opened
from tlog.keys import SigningKey
from tlog.policy import Policy
from tlog_server.app import create_app

ENTRY = 5
"""The entry that is looked at; it is in a full tile of level 0."""

FORKED_AT = 300


class Party(NamedTuple):
    """server: that can lie. ledger: the one it tells of. fork, longer: others of its key, different from FORKED_AT."""

    server: LyingServer
    ledger: Path
    fork: Path
    longer: Path


def _grow(path: Path, actor: str, size: int) -> None:
    partition = opened(path, disk=QuickDisk())
    start = partition.size if partition.exists else 0
    partition.append_many(
        {"actor": actor, "action": "login", "outcome": "success", "number": seq} for seq in range(start, size)
    )
    partition.publish()
    partition.close()


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Party]:
    """A ledger of 600 entries, and two forks of it: one as large, one larger, all signed by one key."""
    root = tmp_path_factory.mktemp("lying")
    create(root / "ledger", disk=QuickDisk()).close()
    _grow(root / "ledger", "alice", FORKED_AT)
    forks = [copied(root / "ledger", root / name) for name in ("fork", "longer")]
    _grow(root / "ledger", "alice", 600)
    for fork, size in zip(forks, (600, 700), strict=True):
        _grow(fork, "mallory", size)
    with lying(create_app(root / "ledger")) as server:
        yield Party(server, root / "ledger", *forks)


@pytest.fixture(autouse=True)
def honest(party: Party) -> Iterator[None]:
    """Every test begins with a server that tells the truth."""
    yield
    party.server.app, party.server.lie = create_app(party.ledger), truth


def visit(page: Page, party: Party, path: str) -> None:
    """Open a page; at the first visit, take the key that the server shows."""
    page.goto(party.server.url + path)
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text(re.compile("key first|Verified|only grew|First visit|[Nn]ot "))
    if page.locator("#key-take").is_visible():
        page.click("#key-take")
    expect(verdict).not_to_have_class(re.compile("idle|busy"))


def expect_alarm(page: Page, words: str) -> None:
    """The verdict is loud, an alert, says why, and nothing on the page says that it is verified."""
    verdict = page.locator("#verdict")
    expect(verdict).to_have_class("verdict bad alarm")
    expect(verdict).to_have_attribute("role", "alert")
    expect(verdict).to_contain_text(words)
    expect(verdict).to_contain_text("do not trust this")
    assert page.locator(".good").count() == 0
    if page.locator("#unproved").count() and "another text" not in words and words != "the sentence":
        expect(page.locator("#unproved")).to_be_visible()
    assert "Verified" not in (page.text_content("#verdict") or "")
    expect(page.locator("#checked-browser")).to_contain_text("It failed")


def other_root(party: Party) -> Lie:
    """A checkpoint with another root hash, signed by another key of the same name."""
    partition = opened(party.ledger)
    stranger = SigningKey.generate(partition.origin)
    return instead(f"/{NAME}/checkpoint", tlog.Checkpoint(partition.origin, 600, b"\1" * 32).sign(stranger).raw)


def other_root_unsigned(party: Party) -> Lie:
    """The log's own checkpoint with another root hash; its signature is of the old text."""
    lines = opened(party.ledger).checkpoint().raw.split(b"\n")
    lines[2] = b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
    return instead(f"/{NAME}/checkpoint", b"\n".join(lines))


LIES: dict[str, tuple[Callable[[Party], Lie], str]] = {
    "a full tile": (lambda _: flipped(f"/{NAME}/tile/0/000", ENTRY * 32), "tile"),
    "a sibling in it": (lambda _: flipped(f"/{NAME}/tile/0/000", 200 * 32), "tile"),
    "the right edge": (lambda _: flipped(f"/{NAME}/tile/0/002.p/88", 3), "root"),
    "the top": (lambda _: flipped(f"/{NAME}/tile/1/000.p/2", 40), "root"),
    "the entry": (lambda _: replaced("/tile/entries/", b'"alice"', b'"malle"'), "not the one under the checkpoint"),
    "the page": (lambda _: replaced(f"/events/{ENTRY}", b"alice", b"malle"), "another text than the one"),
    "the sentence only": (
        lambda _: replaced(f"/events/{ENTRY}", b'<bdi class="value">alice</bdi>', b'<bdi class="value">bob</bdi>'),
        "the sentence",
    ),
    "another key": (other_root, "No key that you trust has signed this"),
    "another root": (other_root_unsigned, "signature"),
}


@pytest.mark.parametrize("name", LIES)
def test_an_altered_entry_page(page: Page, party: Party, name: str) -> None:
    """Whatever is altered of what an entry's proof is made of, the page does not call the entry verified."""
    lie, words = LIES[name]
    party.server.lie, before = lie(party), party.server.lies
    visit(page, party, f"/{NAME}/events/{ENTRY}")
    assert party.server.lies > before
    expect_alarm(page, words)


def test_the_truth_is_verified(page: Page, party: Party) -> None:
    """The same page, without a lie, is verified: the tests above fail for the lie."""
    visit(page, party, f"/{NAME}/events/{ENTRY}")
    expect(page.locator("#verdict")).to_have_class("verdict good")


def test_an_old_checkpoint_is_replayed(page: Page, party: Party) -> None:
    """A browser that has seen 600 entries does not believe in 300, though the log did sign that."""
    visit(page, party, f"/{NAME}/events/{ENTRY}")
    party.server.lie = instead(f"/{NAME}/checkpoint", opened(party.ledger).checkpoint(FORKED_AT).raw)
    for path in (f"/{NAME}/events/{ENTRY}", f"/consistency?partition={NAME}"):
        visit(page, party, path)
        expect_alarm(page, "went back, or an old checkpoint is being replayed")


@pytest.mark.parametrize("fork", ["fork", "longer"])
def test_a_forked_log(page: Page, party: Party, fork: str, tmp_path: Path) -> None:
    """Another history under the real key is a split view: an alarm, and both signed notes to take away as evidence."""
    visit(page, party, f"/consistency?partition={NAME}")
    expect(page.locator("#verdict")).to_contain_text("First visit")
    party.server.app = create_app(getattr(party, fork))
    visit(page, party, f"/{NAME}/events/{FORKED_AT + 1}")
    expect_alarm(page, "keep them")
    visit(page, party, f"/consistency?partition={NAME}")
    expect_alarm(page, "keep them")
    assert axe_violations(page) == []
    with page.expect_download() as download:
        page.click("text=Download both notes")
    download.value.save_as(tmp_path / "evidence.json")
    evidence = json.loads((tmp_path / "evidence.json").read_text())
    policy = Policy.for_log(opened(party.ledger).vkey)
    old, new = (policy.authenticate(evidence[name].encode()) for name in ("old", "new"))
    assert old.checkpoint.raw == opened(party.ledger).checkpoint().raw
    assert new.checkpoint.raw == opened(getattr(party, fork)).checkpoint().raw
    party.server.app = create_app(party.ledger)  # the truth again: the evidence stays
    visit(page, party, f"/consistency?partition={NAME}")
    expect(page.locator("#verdict")).to_have_class("verdict good")
    page.reload()
    expect(page.locator("#evidence")).to_contain_text("Seen ")


def test_another_key_is_shown(page: Page, party: Party) -> None:
    """A page that shows another key than the one that is kept is an alarm, and the kept one stays."""
    visit(page, party, f"/{NAME}/events/{ENTRY}")
    kept, other = str(opened(party.ledger).vkey), str(SigningKey.generate(opened(party.ledger).origin).verifier_key)
    party.server.lie = replaced("/events/", kept.encode(), other.encode())
    visit(page, party, f"/{NAME}/events/{ENTRY}")
    expect_alarm(page, "not the key")
    party.server.lie = truth
    visit(page, party, f"/{NAME}/events/{ENTRY}")
    expect(page.locator("#verdict")).to_have_class("verdict good")


@pytest.mark.parametrize("path", ["/tile/0/000", "/tile/entries/", f"/{NAME}/checkpoint"])
@pytest.mark.parametrize("status", ["404 NOT FOUND", "503 SERVICE UNAVAILABLE"])
def test_what_is_kept_back(page: Page, party: Party, path: str, status: str) -> None:
    """Where something is missing, the entry is not verified; only what was forged is called a forgery."""
    party.server.lie = instead(path, b"", status)
    visit(page, party, f"/{NAME}/events/{ENTRY}")
    expect(page.locator("#verdict")).to_have_class("verdict warn")
    expect(page.locator("#verdict")).to_contain_text("Nothing was proved")
