"""The pages of monitors and witnesses: sound, escaped, on this machine only where they say what was found."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from flask.testing import FlaskClient

from tests.monitoring.parties import Clock, Log, Taken, monitor_of, settings_file
from tests.monitoring.test_fork import ALL, Fork
from tests.server.pages.making import attacking, require_sound
from tests.test_report import ATTACKS
from tests.witnessing.parties import new_witness
from tlog.keys import SigningKey
from tlog.monitoring.monitor import Monitor
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.request import origin_hash
from tlog.witnessing.witness import Witness
from tlog_server.monitoring import create_monitor_app
from tlog_server.party_pages import evidence_page
from tlog_server.problems import RefusedError
from tlog_server.witness_pages import LISTED
from tlog_server.witnessing import create_witness_app

HERE = {"Accept": "text/html"}
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


class Parties:
    """A forked log of 4 and 9 entries; a monitor that was shown the smaller tree, and a witness of the larger one."""

    def __init__(self, directory: Path) -> None:
        self.fork = Fork(directory, (4, 9))
        for number, log in enumerate(self.fork.views):
            lines = [f"witness w{n}<b> {self.fork.witnesses[f'w{n}'].vkeys[0]} http://w{n}" for n in range(2)]
            log.policy.write_text("\n".join([log.policy.read_text().split("\n")[0], *lines, "quorum w0<b>\n"]))
            assert number < 2
        self.fork.show({**dict.fromkeys(ALL, 0), "w2": 1, "m1": 1}, "")
        del self.fork.web.sites["w1"]
        log = self.fork.views[0]
        (log.site / "checkpoint").write_bytes(self.fork.witnesses["w0"].checkpoint(origin_hash(log.origin)))
        self.fork.interval(("w0", "w2", "m0", "m1"))
        self.monitor: Monitor = self.fork.monitors["m0"]
        self.witness: Witness = self.fork.witnesses["w0"]
        self.watching = create_monitor_app(self.monitor).test_client()
        self.witnessing = create_witness_app(self.witness, peers=["http://m0", "http://w2"]).test_client()
        self.log_path = f"/{origin_hash(log.origin)}/"
        self.evidence = [f"/evidence/{name}/view" for name, _, _ in self.monitor.state.evidence()]


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parties]:
    """The parties after one interval of gossip. Read only."""
    made = Parties(tmp_path_factory.mktemp("parties"))
    yield made
    made.fork.close()


def text_of(client: FlaskClient, path: str) -> str:
    """Return a page's text, its blanks put together."""
    response = client.get(path, headers=HERE)
    assert response.status_code == 200, path
    return " ".join(response.text.split())


def test_every_page_is_sound(parties: Parties) -> None:
    """Well made, in a frame of its own, and all links lead somewhere."""
    for client, owner, start in (
        (parties.watching, "Monitor", ("/", parties.log_path, *parties.evidence)),
        (parties.witnessing, "Witness", ("/",)),
    ):
        waiting, seen = set(start), set[str]()
        while waiting:
            path = waiting.pop()
            seen.add(path)
            response = client.get(path, headers=HERE)
            assert response.status_code == 200, path
            if not response.content_type.startswith("text/html") or path.startswith("/static/"):
                continue
            for element in require_sound(response, owner).elements:
                target = element.attributes.get("href") or element.attributes.get("src")
                if target and not target.startswith("#"):
                    found = urlsplit(urljoin(f"http://party{path}", target))
                    assert found.netloc == "party"
                    waiting.add(f"{found.path}?{found.query}" if found.query else found.path)
            waiting -= seen
        assert len(seen) > 5


def test_the_monitor_shows_what_it_found(parties: Parties) -> None:
    """The fork, loudly; the log, its witnesses, the peers that are silent; and the drawing of who follows whom."""
    text = text_of(parties.watching, "/")
    assert "A log has forked" in text
    assert re.search(r"<dt>Split views proven</dt><dd>[12]</dd>", text)
    assert '<td data-label="Witnesses">1 of 2</td>' in text
    assert "No rounds are made" in text
    assert text.count(">critical</span>") == len(parties.evidence)
    drawn = text[text.index("Who follows whom") :]
    for label in ("w0.example.net", "w1.example.net", "audit.example.com/users", "this monitor", ">w2<", ">m1<"):
        assert label in drawn, label
    assert drawn[: drawn.index("</svg>")].count("arrow broken") == 2  # the witness that is missing, the peer w1
    of_log = text_of(parties.watching, parties.log_path)
    assert "The quorum is met" in of_log
    assert "1 of 2 witnesses cosigned the checkpoint of 4 entries." in of_log
    assert "w1&lt;b&gt;</th>" in of_log
    assert parties.watching.get(f"/{'0' * 64}/", headers=HERE).status_code == 404


def test_evidence_side_by_side(parties: Parties) -> None:
    """Both notes, line by line; what differs is marked, and the first point of difference is said with both hashes."""
    views = [log.partition.checkpoint() for log in parties.fork.views]
    own, theirs = views
    for path in parties.evidence:
        text = text_of(parties.watching, path)
        assert f"<mark>{own.root_hash.hex()}</mark>" in text
        root = parties.fork.views[1].partition.root_at(4)
        assert f"<mark>{root.hex()}</mark>" in text
        assert "First point of difference</strong>" in text
        assert "<mark>Entry 0</mark>: the trees have nothing in common." in text
        assert "Root hash of the first 4 entries" in text
        lines = [line for note in (own, theirs) for line in str(note).rstrip("\n").split("\n")]
        shown = re.findall(r'<span class="line">(?:<mark>)?([^<]*)', text)
        assert [line for line in shown if not line.startswith("—")] == [
            line for line in lines if not line.startswith("—")
        ]
        assert "<mark>4</mark>" in text
        assert '<span class="line">audit.example.com/users</span>' in text
        name = path.split("/")[2]
        assert f'href="/evidence/{name}" download="{name[:12]}.evidence"' in text
        assert parties.watching.get(f"/evidence/{name}").status_code == 200
    assert parties.watching.get(f"/evidence/{'0' * 64}/view").status_code == 404


def test_evidence_of_nobody_known_accuses_nobody(parties: Parties) -> None:
    """Where the policy that knew the log is gone, nothing is said about it."""
    name, _, _ = parties.monitor.state.evidence()[0]
    with pytest.raises(RefusedError):
        evidence_page("Monitor", name, parties.monitor.state.evidence_file(name), [])


def test_findings_are_for_this_machine(parties: Parties) -> None:
    """Who asks from elsewhere, or through a proxy, gets evidence and checkpoints, and no findings."""
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}
    for path in ("/", parties.log_path):
        assert parties.watching.get(path, environ_base=elsewhere).status_code == 403
        refused = parties.watching.get(path, headers={"X-Forwarded-For": "192.0.2.1"})
        assert (refused.status_code, "Forward a port" in refused.text) == (403, True)
        for host in (
            "attacker.example",
            "attacker.example:7382",
            "localhost.attacker.example:7382",
            "127.0.0.1.x:80",
            "[::1",
            "",
            "a b",
        ):
            assert parties.watching.get(path, headers={"Host": host}).status_code == 403
        for host in ("localhost:7382", "127.0.0.1:9000", "[::1]:7382"):
            assert parties.watching.get(path, headers={"Host": host}).status_code == 200
    for path in (parties.evidence[0], f"{parties.log_path}checkpoint", "/evidence", "/static/css/pages.css"):
        assert parties.watching.get(path, environ_base=elsewhere).status_code == 200
    assert parties.witnessing.get("/", environ_base=elsewhere).status_code == 200
    for path in ("/?x=1", "/?before=1&before=2", "/?before=-1", f"{parties.log_path}?before=x"):
        assert parties.watching.get(path).status_code == 400


def test_the_witness_shows_whom_it_follows(tmp_path: Path, parties: Parties) -> None:
    """Its key, each log with size and time, page by page; a log that forked is called so, and its evidence is shown."""
    log = parties.fork.views[0]
    text = text_of(parties.witnessing, "/")
    assert str(parties.witness.vkeys[0]) in text
    assert "A log has forked" in text
    assert '<span class="grave">forked</span>' in text
    assert "gossips" in text
    for name in re.findall(r'href="(/evidence/[0-9a-f]{64}/view)"', text):
        assert "First point of difference:</strong> root hash of the first 4" in text_of(parties.witnessing, name)
    assert parties.witnessing.get(f"/evidence/{'0' * 64}/view").status_code == 404
    keys = [SigningKey.generate(f"log.example/{number:03}").verifier_key for number in range(LISTED + 20)]
    with new_witness(tmp_path / "w", "many.example", log.partition.vkey, *keys) as witness:
        witness.add_checkpoint(ConsistencyProof(0, (), log.partition.checkpoint()).format())
        client = create_witness_app(witness).test_client()
        first = text_of(client, "/")
        assert "It follows 121 logs." in first
        assert "110 more" not in first
        assert "89 more" in first  # of the page's hundred, eleven are drawn
        after = re.search(r'href="(/\?after=[^"]+)"', first)
        assert after is not None
        second = text_of(client, after[1])
        shown = re.findall(r'<th scope="row">(?:<a [^>]*>)?([^<]+)', first + second)
        assert shown == sorted([log.origin, *(key.name for key in keys)])
        assert 'rel="next"' not in second


def test_what_entries_say_is_text(tmp_path: Path) -> None:
    """Events that attack, in alerts with their data: shown as text, spelled out, cut; page by page, none left out."""
    log = Log(tmp_path / "log", Clock())
    log.grow(*(attacking(text) for text in ATTACKS), *(attacking(f"plain {number}") for number in range(60)))
    rule = '[[rule]]\nname = "<b>all"\nquery = "actor=*"\nwith_data = true\n'
    path = settings_file(tmp_path / "m", [log], "skew_s = 31536000")
    path.write_text(path.read_text() + rule)
    with contextlib.closing(monitor_of(path, Clock(), Taken())) as monitor:
        monitor.round()
        client, target, seen = create_monitor_app(monitor).test_client(), "/", set[int]()
        while True:
            response = client.get(target, headers=HERE)
            page = require_sound(response, "Monitor")
            assert not [element for element in page.all("script") if element.attributes.get("src") is None]
            text = page.text_of(next(page.all("body")))
            assert (
                re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", text)
                is None
            )
            seen |= {int(found) for found in re.findall(r'<span class="detail">entry (\d+)', response.text)}
            links = [each.attributes["href"] for each in page.all("a") if each.attributes.get("rel") == "next"]
            if not links:
                break
            (target,) = links
        assert seen == set(range(len(ATTACKS) + 60))


def test_the_documentation(parties: Parties) -> None:
    """docs/pages.md has a row for each page of a monitor and of a witness."""
    text = (Path(__file__).parents[3] / "docs" / "pages.md").read_text(encoding="utf-8")
    section = text.partition("## Monitors and witnesses")[2].partition("\n## ")[0]
    shown = set(re.findall(r"^\| `([^`]+)` of", section, re.MULTILINE))
    paths = set()
    for client in (parties.watching, parties.witnessing):
        rules = client.application.url_map.iter_rules()
        paths |= {str(rule) for rule in rules if rule.endpoint.partition(".")[0] in {"monitor_pages", "witness_pages"}}
    assert {path.replace("<name>", "<hash>").replace("<origin_hash>", "<origin hash>") for path in paths} == shown
