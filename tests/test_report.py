"""Audit reports: what they say, what strangers cannot make them say, and what is noticed about a changed one."""

from __future__ import annotations

import contextlib
import html
import re
import sqlite3
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import tlog
from tests import ledgers
from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError, NotFoundError, StorageError, VerificationError
from tlog.keys import SigningKey
from tlog.policy import Policy
from tlog.report.contents import GRAVEST, MAX_NOTABLE, AuditReport, make_report
from tlog.report.page import format_report
from tlog.report.proofs import verify_report
from tlog.storage.checkpoints import format_record

VOID = {"meta", "br", "wbr", "img", "link", "input", "hr"}
ATTACKS = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</td></table></pre><h1>all is well</h1>",
    '<pre class="tlog-proof">',
    "]]></style></title><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp; &#60;",
    "javascript:alert(1)",
    "in\u202evoice\u2066\u200b\ufeff",
    "line\nbreak\r\t\x1b[31m\x7f\x85\u2028",
    "a" * 60_000,
)


def event(number: int, **more: Any) -> dict[str, Any]:
    """One event of January or February 2026; every tenth failed."""
    outcome = "success" if number % 10 else "failure"
    time = f"2026-{number % 2 + 1:02d}-{number % 28 + 1:02d}T09:00:00Z"
    return {"time": time, "actor": f"a{number % 5}", "action": "login", "outcome": outcome, **more}


def filled(path: Path, events: list[Any], *, publish_every: int = 50) -> tlog.Partition:
    """A partition with these events, published again and again."""
    partition = ledgers.create(path / "ledger", disk=ledgers.QuickDisk())
    for start in range(0, len(events), publish_every):
        partition.append_many(events[start : start + publish_every])
        partition.publish()
    return partition


@pytest.fixture
def users(tmp_path: Path) -> tlog.Partition:
    """A partition of 120 events, with checkpoints at 50, 100 and 120."""
    return filled(tmp_path, [event(number) for number in range(120)])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Policy]:
    """A report's page, and whom to trust."""
    partition = filled(tmp_path_factory.mktemp("page"), [event(number, note=f"n<{number}>") for number in range(120)])
    return format_report(make_report(partition, samples=5)).decode(), Policy.for_log(partition.vkey)


class Outline(HTMLParser):
    """The elements of a page with their attributes, in order; raises where they are not nested well."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.append((tag, tuple(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Compare with what is open."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Gather the text."""
        self.text += data


def test_what_a_report_says(users: tlog.Partition) -> None:
    """The values are those of the log: all is verified, counted, listed and proven."""
    report = make_report(users, samples=4)
    assert report.problems == ()
    assert report.verified == users.verify()
    assert (report.indexed, report.counts and report.counts.entries) == (120, 120)
    assert [hit.entry.seq for hit in report.notable] == list(range(0, 120, 10))
    assert [signed.checkpoint.tree_size for signed in report.checkpoints] == [50, 100, 120]
    assert [signed.logged for signed in report.checkpoints] == [users.entry(seq).ts for seq in (49, 99, 119)]
    spread = {0, 39, 79, 119}
    assert [sample.entry.seq for sample in report.samples] == sorted({*range(0, 120, 10), *spread})
    assert all(sample.proof == users.prove(sample.entry.seq) for sample in report.samples)
    assert make_report(users, samples=4, clock=lambda: 0) == make_report(users, samples=4, clock=lambda: 0)


def test_a_range(users: tlog.Partition) -> None:
    """Only events of the range are counted, listed and chosen, and checkpoints from the first to the last of them."""
    report = make_report(users, since="2026-01-01", until="2026-02-01", samples=3)
    chosen = [number for number in range(120) if number % 2 == 0]
    assert report.counts is not None
    assert report.counts.entries == len(chosen)
    assert {hit.entry.seq for hit in report.notable} == set(range(0, 120, 10))
    assert [sample.entry.seq for sample in report.samples if not sample.is_notable] == [118]
    assert (report.since, report.until) == ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
    short = make_report(users, since="2026-02-02", until="2026-02-03", samples=1)
    first = next(number for number in range(1, 120, 2) if number % 28 == 1)
    assert [sample.entry.seq for sample in short.samples] == [first]
    empty = make_report(users, since="2030-01-01")
    assert (empty.problems, empty.samples, empty.notable) == ((), (), ())
    assert "There is no event in the range." in format_report(empty).decode()
    with pytest.raises(FormatError, match="nothing to check"):
        verify_report(format_report(empty), policy=Policy.for_log(users.vkey))


def test_notable_events_are_bounded(tmp_path: Path) -> None:
    """Of too many, the gravest are listed, of these the latest; the page says how many there are."""
    grave = [event(number // 4 % 2, severity=GRAVEST[number % 4]) for number in range(40)]  # half of them failed
    partition = filled(tmp_path, [*(event(0) for _ in range(20)), *grave])
    report = make_report(partition, samples=0)
    assert (report.notable_count, len(report.notable)) == (60, MAX_NOTABLE)
    listed = [hit.values["severity"] for hit in report.notable]
    assert [listed.count(name) for name in GRAVEST] == [10, 10, 10, 0]
    assert len(report.samples) == MAX_NOTABLE
    assert "Of 60, these 30 are listed" in format_report(report).decode()


def test_the_page_stands_alone(page: tuple[str, Policy]) -> None:
    """It is nested well, names nothing elsewhere, has no script, and its tables have captions and scopes."""
    outline = Outline(page[0])
    names = [name for name, _ in outline.tags]
    assert not {"script", "img", "link", "iframe", "object", "form", "base"} & set(names)
    assert names.count("h1") == names.count("main") == 1
    assert names.count("table") == names.count("caption") > 5
    assert all(dict(attrs).get("scope") in {"col", "row"} for name, attrs in outline.tags if name == "th")
    for name, attrs in outline.tags:
        for key, value in attrs:
            assert key not in {"src", "style", "srcset", "action"}
            assert not key.startswith("on")
            if key == "href":
                assert name == "a"
                assert f'id="{str(value).removeprefix("#")}"' in page[0]
    assert not re.search(r"https?:|url\(|@import|data:", page[0])
    assert "default-src 'none'" in page[0]


def test_strangers_do_not_write_the_page(tmp_path: Path) -> None:
    """Whatever the entries say, the page has the same elements with the same attributes, and shows what was hidden."""
    pages = []
    for is_hostile in (True, False):
        events = []
        for number, attack in enumerate(ATTACKS):
            text = attack[:9000] if is_hostile else f"w{number}"
            events.append(event(0, **dict.fromkeys(("actor", "action", "target", "message", "category"), text)))
            events.append(event(0, severity=text, data={text[:900]: text}))
        events.append(event(0, message=ATTACKS[-1] if is_hostile else "w"))
        path = tmp_path / str(is_hostile)
        path.mkdir()
        partition = filled(path, events)
        pages.append(format_report(make_report(partition, samples=100)).decode())
        assert len(verify_report(pages[-1], policy=Policy.for_log(partition.vkey)).entries) == len(events)
    hostile, harmless = map(Outline, pages)
    assert sorted(map(str, hostile.tags)) == sorted(map(str, harmless.tags))
    assert not [c for c in hostile.text if not c.isprintable() and c != "\n"]
    assert "in\\u202evoice\\u2066\\u200b\\ufeff" in hostile.text
    assert "line\\nbreak\\u000d\\u0009\\u001b[31m\\u007f\\u0085\\u2028" in hostile.text
    assert "{{ 7 * 7 }}{% raw %}" in hostile.text
    assert "… [cut: 60,000 characters]" in hostile.text
    assert "a" * 5000 not in re.sub(r"[A-Za-z0-9+/=]{6000,}", "", hostile.text)


def test_an_origin_with_hidden_characters(tmp_path: Path) -> None:
    """Nor can whoever named the log hide anything: such an origin is refused before there is a log."""
    for hidden in ("\u202e", "\u200b", "\u2066", "\ufeff", "\u00ad", "\ue000"):
        with pytest.raises(tlog.FormatError, match=rf"holds U\+{ord(hidden):04X}, which nobody sees"):
            tlog.Ledger.create(tmp_path / "ledger", origin=f"log.example/{hidden}gro")
    assert not (tmp_path / "ledger").exists()


def test_proofs_of_a_page(page: tuple[str, Policy]) -> None:
    """The proofs inside a page are verified with the key alone."""
    text, policy = page
    verified = verify_report(text, policy=policy)
    seqs = [entry.leaf_index for entry in verified.entries]
    assert seqs == sorted({*range(0, 120, 10), 0, 29, 59, 89, 119})
    assert verified.checkpoint.tree_size == 120
    assert verify_report(text.encode(), policy=policy) == verified
    other = SigningKey.generate("audit.example.com/users").verifier_key
    with pytest.raises(VerificationError):
        verify_report(text, policy=Policy.for_log(other))


def elements(text: str, kind: str) -> list[re.Match[str]]:
    """The elements of a class, with their content as group 1."""
    return list(re.finditer(rf'class="{kind}"[^>]*>([^<]*)<', text))


def replaced(text: str, match: re.Match[str], content: str) -> str:
    """The page with another content of an element."""
    return text[: match.start(1)] + content + text[match.end(1) :]


def test_each_change_of_a_proof_is_noticed(page: tuple[str, Policy]) -> None:
    """One character changed in any line of a proof (three are tried), or of the checkpoint, ends the check."""
    text, policy = page
    changed = 0
    proofs = elements(text, "tlog-proof")
    assert len(proofs) == 16
    for match in [proofs[0], proofs[7], proofs[-1], *elements(text, "tlog-checkpoint")]:
        start = 0
        for line in match[1].split("\n"):
            at = start + len(line) // 2
            start += len(line) + 1
            if line:
                other = "B" if match[1][at] != "B" else "C"
                with pytest.raises((VerificationError, FormatError)):
                    verify_report(replaced(text, match, match[1][:at] + other + match[1][at + 1 :]), policy=policy)
                changed += 1
    assert changed > 40


def test_each_change_of_a_shown_value_is_noticed(page: tuple[str, Policy]) -> None:
    """What stands beside a proof is what it proves."""
    text, policy = page
    shown = elements(text, "tlog-shown")
    assert len(shown) == 4 * 16
    for match in [*shown[:4], *shown[30:34], *shown[-4:]]:
        value = html.unescape(match[1])
        for other in (value + " ", value[:-1], value.replace("a", "e") if "a" in value else value + "1", ""):
            with pytest.raises(VerificationError, match="what the report shows"):
                verify_report(replaced(text, match, html.escape(other)), policy=policy)


def without(text: str, pattern: str) -> str:
    """The page without what a pattern matches, which must be there once."""
    found, count = re.subn(pattern, "", text, flags=re.DOTALL)
    assert count == 1
    return found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda text: without(text, r'<article class="sample" id="entry-29">.*?</article>'),
            "not those of the entries",
        ),
        (lambda text: without(text, r'<article class="sample" id="entry-119">.*?</article>'), "proofs are missing"),
        (lambda text: without(text, r'<a class="tlog-listed" href="#entry-29">29</a>'), "not those of the entries"),
        (lambda text: without(text, r'<a class="tlog-listed" href="#entry-119">119</a>'), "not those of the entries"),
        (lambda text: text.replace('<code class="tlog-shown">', "<code>", 1), "what the report shows"),
        (lambda text: text[::-1].replace('"nwohs-golt"', '""', 1)[::-1], "what belongs beside a proof"),
        (lambda text: without(text, r'<pre class="tlog-checkpoint">.*?</pre>'), "0 latest checkpoints"),
        (lambda text: text.replace("</body>", '<pre class="tlog-checkpoint">x</pre></body>'), "2 latest checkpoints"),
        (
            lambda text: text.replace('<pre class="tlog-proof">', '<pre class="tlog-proof"><b>', 1),
            "1 are not text only",
        ),
        (lambda text: text[: text.rindex("</pre>")], "1 are not text only"),
        (lambda text: text[: text.rindex('<pre class="tlog-proof">')], "proofs are missing"),
        (lambda _: "", "0 latest checkpoints"),
        (lambda text: text + "x" * (64 << 20), "larger than"),
        (lambda text: text.replace("</body>", '<i class="tlog-listed">1</i>' * 9000), "more than 1,000 proofs"),
        (
            lambda text: text.replace("</body>", f'<a class="tlog-listed">{"1" * 30}</a>'),
            "tlog-listed is unknown or too",
        ),
        (lambda text: text.replace("</body>", '<pre class="tlog-more">x</pre>'), "tlog-more is unknown or too"),
        (lambda text: text.replace("</body>", '<p class="tlog-proof">x</p>'), "1 are not text only"),
        (lambda text: text.encode().replace(b"entry", b"\xff", 1), "not UTF-8"),
    ],
)
def test_removed_and_added_parts_are_noticed(
    page: tuple[str, Policy], change: Callable[[str], str | bytes], reason: str
) -> None:
    """A proof that is missing, stands elsewhere or was added, and parts that are torn, end the check."""
    with pytest.raises((VerificationError, FormatError), match=reason):
        verify_report(change(page[0]), policy=page[1])


@pytest.mark.parametrize(
    "part", ['<pre class="tlog-proof">', "<a ", "<!--", "</", "&", '<a class="tlog-listed">1', "&#1"]
)
def test_hostile_pages_are_read_in_linear_time(page: tuple[str, Policy], part: str) -> None:
    """Four megabytes of whatever makes parsers of HTML slow are refused, or passed over, at once."""
    text = page[0].replace("</body>", part * (4_000_000 // len(part)))
    started = time.process_time()
    with contextlib.suppress(FormatError):
        verify_report(text, policy=page[1])
    assert time.process_time() - started < 2  # it takes some 50 ms; what is quadratic takes hours


def test_proofs_of_another_checkpoint_are_noticed(users: tlog.Partition) -> None:
    """The proofs must be under the checkpoint that the page shows, even if another one is as good."""
    text = format_report(make_report(users, samples=2)).decode()
    (shown,) = elements(text, "tlog-checkpoint")
    with pytest.raises(VerificationError, match="another checkpoint"):
        verify_report(replaced(text, shown, users.checkpoint(100).raw.decode()), policy=Policy.for_log(users.vkey))


def test_what_is_not_promised(page: tuple[str, Policy]) -> None:
    """Counts, lists and which entries were chosen are the page's word: changing them is not noticed, as it says."""
    text, policy = page
    changed = without(text, r'<article class="sample" id="entry-29">.*?</article>')
    changed = without(changed, r'<a class="tlog-listed" href="#entry-29">29</a>, ').replace("120 events", "119 events")
    assert len(verify_report(changed, policy=policy).entries) == len(verify_report(text, policy=policy).entries) - 1


def shown_failure(report: AuditReport) -> str:
    """The text of a report's page that must say that something failed."""
    page = format_report(report).decode()
    assert page.index('class="verdict bad"') < page.index('id="summary"')
    assert 'class="verdict good"' not in page
    assert 'class="verdict warn"' not in page
    return Outline(page).text


def test_a_changed_entry_is_shown(users: tlog.Partition) -> None:
    """A log that does not verify has a report that says where, and no proof of the changed entry."""
    make_report(users)  # the index knows the entries as they were
    users.close()
    path = users.paths.plain(0)
    path.write_bytes(path.read_bytes().replace(b'"actor":"a3"', b'"actor":"a4"', 1))
    partition = ledgers.opened(users.paths.ledger)
    report = make_report(partition)
    with pytest.raises(VerificationError) as caught:
        partition.verify()
    assert str(caught.value) in {str(problem.error) for problem in report.problems}
    assert report.problems[0].what == "verifying"
    assert report.verified is None
    text = shown_failure(report)
    assert "Failed: verifying" in text
    assert "The log did not verify." in text
    assert str(caught.value.place) in text


def test_a_changed_tile_and_index_are_shown(users: tlog.Partition) -> None:
    """So is a tile that is not the tree's, and an index that does not say what the log says."""
    tile = users.paths.root / "tile/0/000.p/120"
    good = tile.read_bytes()
    ledgers.flip(tile, 8 * 40)
    report = make_report(ledgers.opened(users.paths.ledger))
    assert report.problems[0].what == "verifying"
    assert "tile/0/000.p/120" in shown_failure(report)
    tile.write_bytes(good)
    database = users.paths.ledger / "index" / "users.sqlite"
    with sqlite3.connect(database) as db:
        db.execute("UPDATE entry SET actor = 'mallory' WHERE seq = 17")
    db.close()
    report = make_report(ledgers.opened(users.paths.ledger))
    assert [problem.what for problem in report.problems] == ["comparing the index with the log"]
    assert report.verified is not None
    assert report.counts is None
    assert "entry 17" in shown_failure(report)


def test_a_forged_earlier_checkpoint_is_shown(users: tlog.Partition) -> None:
    """A checkpoint of the record that is not of this tree is evidence against the log."""
    pem = users.paths.private_key.read_bytes()
    key = SigningKey.from_pem(users.origin, pem)
    forged = Checkpoint(users.origin, 100, bytes(32)).sign(key)
    record = users.paths.checkpoints
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join([lines[0], format_record(forged), lines[2]]))
    report = make_report(ledgers.opened(users.paths.ledger))
    assert [problem.what for problem in report.problems] == ["checking earlier checkpoints"]
    assert isinstance(report.problems[0].error, tlog.InconsistentLogError)
    assert "it has forked" in shown_failure(report)


def test_anchors(users: tlog.Partition) -> None:
    """A kept checkpoint anchors the report; one of another tree is a failure, and none is said to be none."""
    kept = users.checkpoint(50).raw
    anchored = format_report(make_report(users, checkpoint=kept)).decode()
    assert 'class="verdict good"' in anchored
    assert "not anchored" not in anchored
    assert "not anchored" in format_report(make_report(users)).decode()
    key = SigningKey.from_pem(users.origin, users.paths.private_key.read_bytes())
    report = make_report(users, checkpoint=Checkpoint(users.origin, 50, bytes(32)).sign(key).raw)
    assert isinstance(report.problems[0].error, tlog.InconsistentLogError)
    shown_failure(report)
    with pytest.raises(FormatError):
        make_report(users, checkpoint=b"no checkpoint")


def test_what_is_not_published(tmp_path: Path) -> None:
    """Without a checkpoint, and for entries behind it, the report says that there are no proofs."""
    partition = ledgers.create(tmp_path / "ledger")
    with pytest.raises(NotFoundError):
        make_report(partition)
    partition.create()
    assert make_report(partition).problems == ()
    partition.append_many(event(number) for number in range(5))
    report = make_report(partition)
    assert (report.problems, report.samples, report.unproven) == ((), (), tuple(range(5)))
    assert "nothing is signed yet" in format_report(report).decode()
    with pytest.raises(FormatError, match="nothing to check"):
        verify_report(format_report(report), policy=Policy.for_log(partition.vkey))
    partition.publish()
    partition.append(event(7))
    report = make_report(partition)
    assert report.unproven == (5,)
    assert "1 entry at the end of the log that no checkpoint covers" in format_report(report).decode()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [({"since": "yesterday"}, "since"), ({"until": "2026-01-01|2027-01-01"}, "until"), ({"samples": 101}, "samples")],
)
def test_bad_arguments(users: tlog.Partition, arguments: dict[str, Any], what: str) -> None:
    """What is no time or number is refused before any work, naming it."""
    with pytest.raises(FormatError) as caught:
        make_report(users, **arguments)
    assert caught.value.what == what


def test_jinja2_is_asked_for(users: tlog.Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error names the extra that brings it."""
    report = make_report(users)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(StorageError, match=r"pip install 'tlog\[report\]'"):
        format_report(report)
