"""Pages without a browser: each is valid, says what it must without scripts, and leads nowhere that is not there."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import tlog
from tests.ledgers import NAME, QuickDisk, create, flip, opened
from tests.server.pages.making import PLAIN, Outline, make_hostile, require_sound
from tests.test_report import ATTACKS
from tlog.keys import ED25519_COSIGNATURE, SigningKey
from tlog.storage.checkpoints import format_record
from tlog_server.app import create_app
from tlog_server.rendering import POLICY

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
TURNED = "in\u202evoice\u2066\u200b\ufeff"
SIZE = PLAIN + len(ATTACKS) + 7
PATHS = (
    "/", f"/{NAME}/", "/search", f"/search?partition={NAME}", f"/search?partition={NAME}&q=actor%3Dalice&order=oldest",
    f"/search?partition={NAME}&q=no%3D", f"/live?partition={NAME}", "/live", f"/history?partition={NAME}", "/history",
    f"/consistency?partition={NAME}", "/consistency", f"/witnesses?partition={NAME}", "/witnesses",
    "/compare", "/verify", "/nothing",
    *(f"/{NAME}/events/{index}" for index in (0, PLAIN, SIZE - 1)),
)  # fmt: skip


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger whose entries attack. Read only."""
    path = tmp_path_factory.mktemp("pages") / "ledger"
    make_hostile(path)
    return path


@pytest.fixture(scope="module")
def client(ledger: Path) -> FlaskClient:
    """Asks the server of the ledger."""
    return create_app(ledger).test_client()


def get(client: FlaskClient, path: str) -> TestResponse:
    """Ask as a browser does."""
    return client.get(path, headers=HTML)


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_sound(client: FlaskClient, path: str) -> None:
    """Well nested; one title, one first heading, no level left out; ids once, labels for fields; nothing inline."""
    require_sound(get(client, path), "audit.example.com")


def test_every_link_leads_somewhere(client: FlaskClient) -> None:
    """From the first page on, every link, form, script and style of every page that can be reached is there."""
    waiting, seen = {"/"}, set[str]()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        response = get(client, path)
        assert response.status_code == 200, path
        if not response.content_type.startswith("text/html") or path.startswith("/static/"):
            continue
        for element in Outline(response.text).elements:
            target = element.attributes.get("href") or element.attributes.get("src") or element.attributes.get("action")
            if target and not target.startswith("#"):
                found = urlsplit(urljoin(f"http://log{path}", target))
                assert found.netloc == "log", target
                waiting.add(f"{found.path}?{found.query}" if found.query else found.path)
        waiting = {target for target in waiting - seen if "&q=" not in target or len(seen) < 60}
    assert len(seen) > SIZE


@pytest.mark.parametrize("index", range(PLAIN, SIZE))
def test_no_entry_can_alter_its_page(client: FlaskClient, index: int) -> None:
    """What attacks is text, shown with its tricks spelled out, and the page's elements are those of a harmless one."""
    page, harmless = (Outline(get(client, f"/{NAME}/events/{seq}").text) for seq in (index, 0))
    kinds = [{element.name for element in found.elements} for found in (page, harmless)]
    assert kinds[0] <= kinds[1]
    assert [element.attributes for element in page.all("script", "link", "form", "input")] == [
        element.attributes for element in harmless.all("script", "link", "form", "input")
    ]
    text = page.text_of(next(page.all("body")))
    assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", text) is None


def test_what_attacks_is_shown(client: FlaskClient) -> None:
    """Markup stands there as text; what reorders or hides text is spelled out; what is long is cut, and says so."""
    index = {text: PLAIN + place for place, text in enumerate(ATTACKS)}
    page = Outline(get(client, f"/{NAME}/events/{index['<script>alert(1)</script>']}").text)
    sentence = next(element for element in page.elements if element.attributes.get("id") == "sentence")
    attack = "<script>alert(1)</script>"
    assert page.text_of(sentence) == f"{attack} did {attack} to {attack}."
    turned = get(client, f"/{NAME}/events/{index[TURNED]}").text
    assert "in\\u202evoice\\u2066\\u200b\\ufeff" in turned
    assert "a" * 60_000 in get(client, f"/{NAME}/events/{index['a' * 60_000]}").text
    for path in (f"/live?partition={NAME}", f"/search?partition={NAME}"):
        listed = get(client, path).text
        assert "[cut: 60,000 characters]" in listed
        assert "a" * 201 not in listed
        assert "&lt;script&gt;alert(1)" in listed


def test_the_overview_says_who_vouches(client: FlaskClient, ledger: Path, tmp_path: Path) -> None:
    """Key, origin, sizes, and in plain words that there are no witnesses; with a policy, who has cosigned."""
    text = " ".join(get(client, f"/{NAME}/").text.split())
    partition = opened(ledger)
    for shown in (str(partition.vkey), partition.origin, f"<dd>{SIZE}</dd>", "nobody but the log itself vouches"):
        assert shown in text
    other = create(tmp_path / "ledger", disk=QuickDisk())
    other.append({"actor": "alice", "action": "login"})
    other.publish()
    other.close()
    witness = SigningKey.generate("witness.example.com/w", ED25519_COSIGNATURE).verifier_key
    (tmp_path / "ledger" / "policy").write_text(f"witness w1 {witness} https://w.example.com\nquorum w1\n")
    config = tmp_path / "ledger" / "tlog.toml"
    config.write_text(config.read_text() + 'witnesses = "policy"\n')
    watched = " ".join(get(create_app(tmp_path / "ledger").test_client(), f"/{NAME}/").text.split())
    assert "It is not met." in watched
    assert "0 of 1 witness cosigned the latest checkpoint; missing: <bdi>w1</bdi>." in watched


def test_a_log_without_checkpoint(tmp_path: Path) -> None:
    """Nothing is signed yet, and every page says so instead of failing; after damage, too, the ledger's page stays."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append({"actor": "alice", "action": "login"})
    partition.close()
    client = create_app(tmp_path / "ledger").test_client()
    says = {
        "/": "none yet", f"/{NAME}/": "not published a checkpoint yet", f"/{NAME}/events/0": "Nothing proves this",
        f"/history?partition={NAME}": "not published a checkpoint yet", f"/live?partition={NAME}": "alice",
        f"/consistency?partition={NAME}": "not published a checkpoint yet", f"/search?partition={NAME}": "covers 0 of",
    }  # fmt: skip
    for path, words in says.items():
        response = get(client, path)
        assert (response.status_code, words in response.text) == (200, True), path
    flip(partition.paths.segments / f"{0:020}.jsonl", 400)
    assert get(client, "/").status_code == 200
    broken = get(client, f"/{NAME}/events/0")
    assert (broken.status_code, "gives out nothing that it cannot prove" in broken.text) == (500, True)
    assert str(tmp_path) not in broken.text


def test_errors_are_pages_for_browsers_only(client: FlaskClient) -> None:
    """A browser gets a page, everybody else a problem document; both name the remedy."""
    for path, status in ((f"/{NAME}/events/{SIZE}", 404), ("/search?partition=none", 404), ("/live?x=1", 400)):
        shown, told = get(client, path), client.get(path)
        assert (shown.status_code, told.status_code) == (status, status)
        assert shown.content_type.startswith("text/html")
        assert told.content_type == "application/problem+json"
        assert told.json is not None
        assert told.json["detail"].split("'")[0] in shown.text


def test_searching(client: FlaskClient) -> None:
    """The address is the search: fields of the form and the query language together, page by page without a gap."""
    seqs: list[int] = []
    path: str | None = f"/search?partition={NAME}&q=outcome%21%3Dsuccess&actor=alice&since=2026-01-01&order=oldest"
    while path is not None:
        page = Outline(get(client, path).text)
        links = list(page.all("a"))
        rows = [element for element in links if f"/{NAME}/events/" in element.attributes["href"]]
        seqs += [int(element.attributes["href"].rpartition("/")[2]) for element in rows]
        path = next((element.attributes["href"] for element in links if element.attributes.get("rel") == "next"), None)
    assert seqs == [*range(PLAIN), PLAIN + len(ATTACKS) - 1]
    for words, count in (("nobody here", 0), ("only text", 1), ("javascript alert", 1)):  # typed without a condition
        assert f"<strong>{count} " in get(client, f"/search?partition={NAME}&q={quote(words)}").text
    refused = get(client, f"/search?partition={NAME}&q=colour%3Dred")
    assert refused.status_code == 400
    assert "is no field" in refused.text


def test_taking_hits_away(client: FlaskClient, ledger: Path) -> None:
    """JSONL is the exact lines, CSV a table no cell of which is a formula; the file's name says what was searched."""
    lines = client.get(f"/search/export?partition={NAME}&q=actor%3Dalice&order=oldest")
    expected = b"".join(entry.raw + b"\n" for entry in opened(ledger).entries(0, PLAIN))
    assert lines.data.startswith(expected)
    name = f'attachment; filename="{NAME}-searched-0-to-{SIZE}-of-{SIZE}.jsonl"'
    assert lines.headers["Content-Disposition"] == name
    table = client.get(f"/search/export?partition={NAME}&format=csv").text
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert [int(row["seq"]) for row in rows] == list(range(SIZE - 1, -1, -1))
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "@"))]
    for query in ("format=xml", "format=csv&q=no%3Dx", "format=csv&order=up"):
        assert client.get(f"/search/export?partition={NAME}&{query}").status_code == 400


def notes_of(ledger: Path) -> Iterator[tuple[tlog.Checkpoint, str]]:
    """Yield the signed checkpoints, and each as a browser sends it."""
    for checkpoint in opened(ledger).checkpoints.all():
        yield checkpoint, str(checkpoint).replace("\n", "\r\n")


def test_comparing_checkpoints(client: FlaskClient, ledger: Path) -> None:
    """Same, consistent, contradicting with the first difference, not signed, of two logs, no checkpoint at all."""
    (old, first), (new, last) = notes_of(ledger)
    key = SigningKey.from_pem(opened(ledger).origin, (ledger / "keys" / f"{NAME}.pem").read_bytes())
    forked = str(tlog.Checkpoint(old.origin, old.tree_size, b"\1" * 32).sign(key))
    larger = str(tlog.Checkpoint(old.origin, 10**6, b"\1" * 32).sign(key))
    other = str(tlog.Checkpoint("other.example/x", 1, b"\1" * 32).sign(SigningKey.generate("other.example/x")))
    altered = last.replace(f"\n{new.tree_size}\r", f"\n{new.tree_size + 1}\r")
    for pair, words in (
        ((first, first), ("The same",)),
        ((last, first), ("Consistent", f"The tree of {new.tree_size} entries begins with that of {old.tree_size}")),
        (
            (first, forked),
            ("They contradict each other", f"At size {old.tree_size}: ", "two different trees of one size"),
        ),
        ((forked, last), ("They contradict each other", f"At size {old.tree_size}: ", "forked")),
        ((first, larger), ("Not known", "1,000,000")),
        ((first, other), ("cannot be compared", "two logs")),
        ((first, altered), ("cannot be compared", "does not verify")),
        ((other, other), ("cannot be compared", "this ledger&#39;s logs are")),
        ((first, "nonsense"), ("cannot be compared",)),
    ):
        response = client.post("/compare", data=dict(zip(("first", "second"), pair, strict=True)), headers=HTML)
        assert response.status_code == 200
        shown = " ".join(response.text.split())
        assert [word for word in words if word not in shown] == [], (pair, shown[2000:4500])
        assert Outline(response.text).open == []
        assert ("verdict good" in response.text) == (words[0] in {"The same", "Consistent"})


def test_checking_a_proof(client: FlaskClient, ledger: Path) -> None:
    """A good proof is proved, any altered one is not, and what it holds is shown as text."""
    proof = str(opened(ledger).prove(PLAIN))
    good = client.post("/verify", data={"proof": proof.replace("\n", "\r\n")}, headers=HTML)
    assert "This server finds it proved" in good.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;</bdi> did" in good.text
    for altered in (
        proof.replace(f"index {PLAIN}", f"index {PLAIN - 1}"),
        proof[:-20],
        proof.replace("\n\n", "\n"),
        "",
    ):
        bad = client.post("/verify", data={"proof": altered}, headers=HTML)
        assert ("Not proved" in bad.text, "finds it proved" in bad.text) == (True, False)


def test_forms_are_read_strictly(client: FlaskClient) -> None:
    """Another media type, other fields, doubles of none, a body without length or of too much are refused."""
    form = "application/x-www-form-urlencoded"
    for data, content_type, status in (
        (b"{}", "application/json", 415), (b"proof=a&more=b", form, 400), (b"prof=a", form, 400), (b"", form, 400),
        (b"proof=%ff", form, 400), (b"proof=" + b"a" * (1 << 19), form, 413),
    ):  # fmt: skip
        assert client.post("/verify", data=data, content_type=content_type).status_code == status, data[:20]


def test_the_history(tmp_path: Path) -> None:
    """All checkpoints, the latest first, page by page; one that the published tree does not begin with is an error."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    for number in range(120):
        partition.append({"number": number})
        partition.publish()
    client = create_app(tmp_path / "ledger").test_client()
    sizes, path = [], f"/history?partition={NAME}"
    while path:
        page = Outline(get(client, path).text)
        rows = [page.text_of(element) for element in page.all("th") if element.attributes.get("scope") == "row"]
        sizes += [int(row) for row in rows]
        path = next((link.attributes["href"] for link in page.all("a") if link.attributes.get("rel") == "next"), "")
    assert sizes == list(range(120, 0, -1))
    key = SigningKey.from_pem(partition.origin, (tmp_path / "ledger" / "keys" / f"{NAME}.pem").read_bytes())
    forged = tlog.Checkpoint(partition.origin, 119, b"\1" * 32).sign(key)
    lines = partition.paths.checkpoints.read_bytes().split(b"\n")
    lines[118] = format_record(forged).rstrip(b"\n")
    partition.paths.checkpoints.write_bytes(b"\n".join(lines))
    assert get(client, f"/history?partition={NAME}").status_code == 500


def test_private_logs_are_not_listed(tmp_path: Path) -> None:
    """Neither the ledger's page nor a choice names what the reader may not read; its pages ask for a token."""
    with tlog.Ledger.create(tmp_path / "ledger", origin="audit.example.com") as ledger:
        for name in ("open", "secret"):
            ledger.partition(name).append({"actor": "alice", "action": "login"})
            ledger.partition(name).publish()
    config = tmp_path / "ledger" / "tlog.toml"
    config.write_text(config.read_text() + '\n[access]\nprivate = ["secret"]\n')
    client = create_app(tmp_path / "ledger").test_client()
    for path in ("/", "/search", "/live"):
        assert ("open" in get(client, path).text, "secret" in get(client, path).text) == (True, False)
    for path in ("/secret/", "/secret", "/secret/events/0", "/search?partition=secret", "/history?partition=secret"):
        refused = get(client, path)
        assert refused.status_code == 401
        assert "Basic" in " ".join(refused.headers.getlist("WWW-Authenticate"))


def test_the_documentation(client: FlaskClient) -> None:
    """docs/pages.md has the policy of every page, and a row for each of them."""
    text = (Path(__file__).parents[3] / "docs" / "pages.md").read_text(encoding="utf-8")
    assert f"```text\n{POLICY}\n```" in text
    blueprints = ("pages", "search_pages", "check_pages")
    rules = [rule for rule in client.application.url_map.iter_rules() if rule.endpoint.partition(".")[0] in blueprints]
    paths = {str(rule).replace("<name>", "<partition>") for rule in rules} - {"/<partition>", "/search/export"}
    assert len(paths) == 10
    assert [path for path in paths if f"| `{path}" not in text] == []
