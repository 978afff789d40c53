"""The self-contained checker in a real browser: from a file, without network, with good, bad and hostile proofs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import BrowserContext, Page, expect

import tlog
from tests.browser.conftest import Live, axe_violations, complaints_of, overflow_of
from tests.ledgers import QuickDisk, create
from tests.statements import signing_key, witness_key
from tlog_server.checker import build_checker
from tlog_server.static_files import ROOT

HOSTILE = 7
MARKUP = "</script><script>document.title = 'taken over'</script><img src=x onerror=\"document.title='taken over'\">"
INVISIBLE = "safe\u202egnp.exe\u200b"


class Made(NamedTuple):
    """A proof of the hostile entry, one that witnesses cosigned too, and keys and policies to check them with."""

    proof: str
    cosigned: str
    vkey: str
    impostor: str
    policy: str
    demanding: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Proofs from a log of 300 entries, one of which was written by an attacker."""
    partition = create(tmp_path_factory.mktemp("made") / "ledger", disk=QuickDisk())
    for number in range(HOSTILE):
        partition.append({"event": number})
    partition.append({MARKUP: INVISIBLE, "text": MARKUP, "large": 2**63 + 1}, meta={"writer": f"{MARKUP}{INVISIBLE}"})
    partition.append_many({"event": number} for number in range(HOSTILE + 1, 300))
    partition.publish()
    proof = partition.prove(HOSTILE)
    witnesses = [witness_key(number) for number in range(3)]
    cosigned = proof.checkpoint.sign(*witnesses[:2], timestamp_s=1_795_251_600)
    vkey = str(partition.vkey)
    listed = f"log {vkey}\n" + "".join(f"witness w{n} {key.verifier_key}\n" for n, key in enumerate(witnesses))
    partition.close()
    return Made(
        proof=str(proof),
        cosigned=str(tlog.Proof(proof.leaf_index, proof.hashes, cosigned, proof.extra)),
        vkey=vkey,
        impostor=str(signing_key("audit.example.com/users", salt="an impostor").verifier_key),
        policy=f"{listed}group two 2 w0 w1 w2\nquorum two\n",
        demanding=f"{listed}quorum w2\n",
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checker, kept on a disk."""
    path = tmp_path_factory.mktemp("kept") / "tlog-checker.html"
    path.write_bytes(build_checker(ROOT).page)
    return path


@pytest.fixture
def checker(context: BrowserContext, file: Path) -> Iterator[Page]:
    """The checker, opened from the disk, in a browser that is offline. Whatever it tries to fetch fails the test."""
    context.set_offline(True)
    page = context.new_page()
    errors, asked = complaints_of(page), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    yield page
    assert errors == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]


def check(page: Page, proof: str, trust: str) -> str:
    """Put in a proof and a key or policy, press the button, and return the verdict's text."""
    page.fill("#proof", proof)
    page.fill("#trust", trust)
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#verdict")).to_have_class(re.compile("verdict (good|bad|warn)"))
    return page.inner_text("#verdict")


def test_a_good_proof(checker: Page, made: Made) -> None:
    """It says what was proved and by whom, shows every step, what is not proved, the entry, and the way to the root."""
    said = check(checker, made.proof, made.vkey)
    assert said.startswith("Proved: entry 7 is in the log audit.example.com/users")
    assert "300 entries" in said
    assert "+".join(made.vkey.split("+")[:2]) in said
    assert checker.locator("#steps li.done").count() == checker.locator("#steps li").count() == 7
    limits = checker.inner_text("#limits")
    assert "true" in limits
    assert "no witness was asked for" in limits
    assert "latest checkpoint" in limits
    assert checker.locator("#drawing svg g.path-sibling").count() == 9
    assert checker.locator("#path-rows tr").count() == 9
    assert made.proof.endswith(checker.inner_text("#checkpoint").removesuffix("\n") + "\n")


def test_a_tampered_proof_and_another_key(checker: Page, made: Made) -> None:
    """A proof with one character changed, and a good proof under another key, are refused; nothing of them is shown."""
    line = next(line for line in made.proof.split("\n") if line.endswith("=") and " " not in line)
    for proof, trust, words in (
        (made.proof.replace(line, f"A{line[1:]}" if line[0] != "A" else f"B{line[1:]}"), made.vkey, "does not lead"),
        (made.proof.replace("index 7", "index 8"), made.vkey, "does not lead"),
        (made.proof.replace("\n300\n", "\n301\n"), made.vkey, "does not verify"),
        (made.proof, made.impostor, "No key that you trust"),
        (made.proof, made.vkey.replace("users", "userz"), "key ID"),
        (made.proof.replace("extra ", "extra  "), made.vkey, "Not in the accepted form"),
        (made.cosigned, made.demanding, "quorum"),
    ):
        said = check(checker, proof, trust)
        assert said.startswith("Not proved"), said
        assert words in said
        expect(checker.locator("#steps li.failed")).to_have_count(1)
        expect(checker.locator("#proved")).to_be_hidden()
        assert "bad" in (checker.locator("#verdict").get_attribute("class") or "")


def test_witnesses(checker: Page, made: Made) -> None:
    """A policy whose quorum has cosigned is met, and the witnesses are named."""
    said = check(checker, made.cosigned, made.policy)
    assert said.startswith("Proved")
    assert "cosigned by w0, w1" in said
    assert "no witness" not in checker.inner_text("#limits")


def test_a_hostile_entry(checker: Page, made: Made) -> None:
    """What an attacker wrote is text on the page: no element, no script, no character that hides or reorders others."""
    before = checker.locator("script, img").count()
    check(checker, made.proof, made.vkey)
    assert checker.title() == "Proof checker · tlog"
    assert checker.locator("script, img").count() == before
    data = checker.inner_text("#data")
    assert MARKUP.replace('"', '\\"') in data
    assert "safe\\u202egnp.exe\\u200b" in data
    assert '"large": 9223372036854775809' in data
    shown = checker.inner_text("body")
    assert "\u202e" not in shown
    assert "\u200b" not in shown
    exact = bytes.fromhex(checker.locator("#hex").text_content() or "")
    assert exact in made.proof.encode() or f'"seq":{HOSTILE},'.encode() in exact
    assert MARKUP.replace('"', '\\"').encode() in exact


def test_a_verdict_goes_with_what_it_is_about(checker: Page, made: Made) -> None:
    """Whoever changes the proof or the key afterwards sees no verdict until the next check."""
    check(checker, made.proof, made.vkey)
    checker.locator("#proof").press("End")
    checker.keyboard.type("x")
    expect(checker.locator("#verdict")).to_be_empty()
    expect(checker.locator("#result")).to_be_hidden()
    check(checker, made.proof, made.vkey)
    checker.get_by_role("button", name="Clear").click()
    expect(checker.locator("#verdict")).to_be_empty()
    checker.get_by_role("button", name="Check").click()
    expect(checker.locator("#verdict")).to_contain_text("A proof is missing")


def test_files_chosen_and_dropped(checker: Page, made: Made, tmp_path: Path) -> None:
    """Files are told apart by their content; with both there, the check starts by itself. No file is altered unseen."""
    proof, vkey = tmp_path / "a.tlog-proof", tmp_path / "users.vkey"
    proof.write_text(made.proof)
    vkey.write_text(f"{made.vkey}\n")
    checker.set_input_files("#proof-file", vkey)  # in the wrong field
    expect(checker.locator("#trust-said")).to_contain_text("audit.example.com/users+")
    checker.set_input_files("#proof-file", proof)
    expect(checker.locator("#verdict")).to_contain_text("Proved: entry 7")
    checker.get_by_role("button", name="Clear").click()
    checker.evaluate(
        """([proof, vkey]) => {
            const carried = new DataTransfer();
            for (const [name, text] of [["x.tlog-proof", proof], ["y.vkey", vkey]]) {
                carried.items.add(new File([text], name));
            }
            for (const kind of ["dragover", "drop"]) {
                const event = new DragEvent(kind, {dataTransfer: carried, bubbles: true, cancelable: true});
                document.body.dispatchEvent(event);
            }
        }""",
        [made.proof, made.vkey],
    )
    expect(checker.locator("#verdict")).to_contain_text("Proved: entry 7")
    for name, content, words in (
        ("windows", made.proof.replace("\n", "\r\n").encode(), "carriage returns"),
        ("bytes", b"\xff" * 10, "not UTF-8"),
        ("large", b"x" * (3 << 20), "more than any proof"),
    ):
        (tmp_path / name).write_bytes(content)
        checker.set_input_files("#proof-file", tmp_path / name)
        expect(checker.locator("#verdict")).to_contain_text(words)


def test_keyboard_alone(checker: Page, made: Made) -> None:
    """Everything is reached with the tabulator key; the verdict gets the focus, and is announced."""
    checker.keyboard.press("Tab")
    assert checker.evaluate("document.activeElement.className") == "skip"
    reached = []
    for _ in range(8):
        checker.keyboard.press("Tab")
        reached.append(checker.evaluate("document.activeElement.id || document.activeElement.type"))
        if reached[-1] in {"proof", "trust"}:
            checker.keyboard.insert_text(made.proof if reached[-1] == "proof" else made.vkey)
        if reached[-1] == "check":
            break
    assert reached == ["proof-file", "proof", "trust-file", "trust", "check"]
    checker.keyboard.press("Enter")
    expect(checker.locator("#verdict")).to_contain_text("Proved")
    expect(checker.locator("#verdict")).to_be_focused()
    assert checker.locator("#verdict").get_attribute("role") == "status"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessible_on_a_phone(checker: Page, made: Made, theme: str) -> None:
    """Axe finds nothing, before and after a check, good or bad; nothing is wider than a phone."""
    checker.set_viewport_size({"width": 390, "height": 800})
    assert axe_violations(checker, theme=theme) == []
    for proof in (made.proof.replace("index 7", "index 8"), made.proof):
        check(checker, proof, made.vkey)
        checker.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert axe_violations(checker, theme=theme) == []
        assert overflow_of(checker) <= 0
    back = checker.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(20, 24, 27)") == (theme == "dark")


def test_a_browser_without_the_cryptography(context: BrowserContext, file: Path, made: Made) -> None:
    """Without WebCrypto, or without Ed25519 in it, the page says that nothing can be checked, and never 'proved'."""
    for broken in (
        "Object.defineProperty(crypto, 'subtle', {value: undefined})",
        "crypto.subtle.importKey = async () => { throw new DOMException('no', 'NotSupportedError'); }",
        "crypto.subtle.verify = async () => true",
        "crypto.subtle.digest = async () => new ArrayBuffer(32)",
    ):
        page = context.new_page()
        page.add_init_script(broken)
        page.goto(file.as_uri())
        expect(page.locator("#cannot")).to_contain_text("annot")
        said = check(page, made.proof, made.vkey)
        assert said.startswith("Not proved"), said
        assert "annot verify in this browser" in said
        page.close()


def test_the_served_checker_is_the_same(context: BrowserContext, live: Live, made: Made) -> None:
    """The server gives the same page, under a policy that lets it reach nothing, and as a file to keep."""
    page = context.new_page()
    answer = page.goto(f"{live.url}/static/checker.html")
    assert answer is not None
    assert answer.body() == build_checker(ROOT).page
    assert check(page, made.proof, made.vkey).startswith("Proved")
    assert page.evaluate("fetch('/healthz').then(() => 'reached', () => 'refused')") == "refused"
    with page.expect_download() as waiting:
        page.evaluate("() => { location.href = '/static/checker.html?download=1'; }")
    assert waiting.value.suggested_filename == "tlog-checker.html"
    assert Path(waiting.value.path()).read_bytes() == build_checker(ROOT).page
