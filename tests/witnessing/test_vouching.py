"""Who vouches for a log, as its status, its metrics, its pages and its log say it: asked of real witnesses."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.waiting import until
from tests.witnessing.parties import WSGI, honest, new_witness, served, witnessed_ledger
from tlog.errors import PolicyError, SignatureError
from tlog.keeper import Keeper
from tlog.ledger import Ledger
from tlog.note import NoteSignature
from tlog.partition import Partition
from tlog.report.vouching import last_cosigned, vouching
from tlog.status import leaders_notice, partition_status, status_of
from tlog.witnessing.collect import GRACE_S
from tlog_server.app import create_app
from tlog_tools.main import cli as main

HTML = {"Accept": "text/html"}


class Watched:
    """A ledger that needs two of three witnesses, w0 to w2; each is up or down."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.witnesses = [new_witness(directory / f"w{number}", f"w{number}.example") for number in range(3)]
        self.down: set[int] = set()
        self.slow: set[int] = set()
        lines = []
        for number, witness in enumerate(self.witnesses):
            stack.callback(witness.close)
            url = stack.enter_context(served(self._app(number, honest(witness))))
            lines.append(f"witness w{number} {witness.vkeys[0]} {url}\n")
        lines += ["group pair any w0 w1\n", "group most 2 pair w2\n", "quorum most\n"]
        self.ledger, self.partition = witnessed_ledger(directory / "ledger", "".join(lines))
        stack.callback(self.ledger.close)
        for witness in self.witnesses:
            witness.add_log(self.partition.vkey)

    def _app(self, number: int, app: WSGI) -> WSGI:
        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            if number in self.slow:
                time.sleep(4 * GRACE_S)
            if number not in self.down:
                return app(environ, start)
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("503 Not now", [("Content-Length", "0")])
            return []

        return answer

    def get(self, path: str) -> str:
        """Return a page's words, of a server that reads what is on disk."""
        app = create_app(self.ledger.path)
        return " ".join(app.test_client().get(path, headers=HTML).text.split())


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A ledger with three witnesses."""
    with contextlib.ExitStack() as stack:
        yield Watched(tmp_path, stack)


def seen(partition: Partition, ledger: Ledger) -> dict[str, tuple[int | None, int, bool]]:
    """Return what each witness cosigned last, its lag, and whether it is missing."""
    policy = ledger.witness_policy()
    assert policy is not None
    found = vouching(partition, policy).witnesses
    return {one.name: (None if one.last is None else one.last.size, one.lag, one.is_missing) for one in found}


def test_what_each_witness_cosigned_last(watched: Watched) -> None:
    """The size of the last tree of each, however long ago; lag and missing against the published one; and no other."""
    partition, ledger = watched.partition, watched.ledger
    policy = ledger.witness_policy()
    assert policy is not None
    before = vouching(partition, policy)
    assert (before.size, before.is_met, before.waiting) == (0, False, None)
    assert seen(partition, ledger) == dict.fromkeys(("w0", "w1", "w2"), (None, 0, True))
    partition.publish()
    assert seen(partition, ledger) == dict.fromkeys(("w0", "w1", "w2"), (3, 0, False))
    watched.down = {1}
    for number in range(4):
        partition.append(number)
        partition.publish()
    assert seen(partition, ledger) == {"w0": (7, 0, False), "w1": (3, 4, True), "w2": (7, 0, False)}
    found = vouching(partition, policy)
    assert [(group.name, group.had, group.needed, group.is_quorum) for group in found.groups] == [
        ("pair", 1, 1, False), ("most", 2, 2, True),
    ]  # fmt: skip
    assert (found.is_met, found.waiting) == (True, None)
    watched.down = {1, 2}
    partition.append("more")
    with pytest.raises(PolicyError):
        partition.publish()
    assert vouching(partition, policy).waiting == 8
    assert (vouching(partition, policy).size, vouching(partition, policy).is_met) == (7, True)


def test_a_forged_cosignature_in_the_record_is_found(watched: Watched) -> None:
    """A line under a witness's name and key that does not verify is an error, not a cosignature."""
    checkpoint = watched.partition.publish()
    policy = watched.ledger.witness_policy()
    assert policy is not None
    names = {f"{each.key.name}+{each.key.key_id.hex()}" for each in policy.witnesses}
    assert last_cosigned(policy, [checkpoint]).keys() == names
    own, *lines = checkpoint.signatures
    forged = NoteSignature(lines[0].name, lines[0].key_id, bytes([lines[0].signature[0]]) + lines[1].signature[1:])
    from dataclasses import replace

    with pytest.raises(SignatureError):
        last_cosigned(policy, [replace(checkpoint, signatures=(own, forged))])


def test_the_status_says_who_is_missing_and_why(watched: Watched) -> None:
    """`tlog status`, as table, for one partition and as JSON; the reason comes from the keeper that leads."""
    watched.partition.publish()
    watched.down = {0}
    with contextlib.closing(Ledger.open(watched.ledger.path)) as ledger:
        keeper = Keeper(ledger, publish_interval_s=0.05, indexes=False)
        keeper.start()
        ledger.partition("users").append("fourth")
        until(lambda: bool((leaders_notice(ledger) or _nothing()).missing))
        words = ["status", "users", "--ledger", str(ledger.path)]
        shown = CliRunner().invoke(main, words).output
        assert re.search(r"^quorum +met: most, 2 of 2: pair, w2$", shown, re.MULTILINE), shown
        assert re.search(
            r"^witness +w0: missing, last cosigned 3 entries, 20.* UTC \(it answered 503", shown, re.MULTILINE
        )
        assert re.search(r"^witness +w1: cosigned 4 entries, 20.*UTC$", shown, re.MULTILINE), shown
        table = CliRunner().invoke(main, ["status", "--ledger", str(ledger.path)]).output
        assert "2 of 3" in table.splitlines()[1]
        status = status_of(ledger, ["users"]).partitions[0]
        fields = status.to_fields()["witnesses"]
        assert (fields["quorum"], fields["is_met"], fields["waiting"]) == ("most, 2 of 2: pair, w2", True, None)
        assert [(each["name"], each["lag"], each["is_missing"]) for each in fields["records"]] == [
            ("w0", 1, True), ("w1", 0, False), ("w2", 0, False),
        ]  # fmt: skip
        assert "503" not in str(fields)
        keeper.stop()


def test_the_log_says_who_is_missing_once(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """Once when a witness is missing first, though the quorum is met, and once when it is back."""
    with (
        caplog.at_level(logging.WARNING, "tlog.keeper"),
        contextlib.closing(Ledger.open(watched.ledger.path)) as ledger,
    ):
        partition = ledger.partition("users")
        keeper = Keeper(ledger, publish_interval_s=0.05, indexes=False)
        keeper.start()
        for down in ({0}, {0}, set[int]()):
            watched.down = down
            keeper.wait_published(partition, partition.append("more").seq, 30)
        until(lambda: any("witness_back" in record.getMessage() for record in caplog.records))
        keeper.stop()
    said = [record.getMessage() for record in caplog.records]
    assert [" ".join(line.split()[:3]) for line in said] == [
        "witness_missing partition=users witness=w0", "witness_back partition=users witness=w0",
    ]  # fmt: skip
    assert "503" in said[0]


def test_metrics(watched: Watched) -> None:
    """Whether the quorum is met and a checkpoint waits; of each witness whether it is missing, its lag, its time."""
    watched.partition.publish()
    watched.down = {1, 2}
    watched.partition.append("more")
    with pytest.raises(PolicyError):
        watched.partition.publish()
    text = create_app(watched.ledger.path).test_client().get("/metrics").text
    for line in (
        'tlog_quorum_met{partition="users"} 1.0',
        'tlog_quorum_waiting{partition="users"} 1.0',
        'tlog_witness_missing{partition="users",witness="w2"} 0.0',
        'tlog_witness_lag_entries{partition="users",witness="w2"} 0.0',
    ):
        assert line in text, line
    assert re.search(r'tlog_witness_cosigned_timestamp_seconds\{partition="users",witness="w0"\} 1\.\d+e\+09', text)


def test_the_page(watched: Watched) -> None:
    """The quorum, each witness with its key, time, size and lag, its group, and the drawing of who follows whom."""
    path = "/witnesses?partition=users"
    assert "Nothing is published yet" in watched.get(path)
    watched.partition.publish()
    watched.down = {1}
    watched.partition.append("more")
    watched.partition.publish()
    text = watched.get(path)
    assert "The quorum is met" in text
    assert "2 of 3 witnesses cosigned the checkpoint of 4 entries." in text
    key = watched.witnesses[1].vkeys[0]
    assert f"{key.name}+{key.key_id.hex()}" in text
    row = text[text.index('<th scope="row">w1</th>') :]
    assert 'data-label="Of entries">3</td> <td class="count" data-label="Lag, entries">1</td>' in row
    assert '<span class="grave">not cosigned</span>' in row[: row.index("</tr>")]
    assert text.count('class="arrow broken"') == 1
    assert text.count('class="arrow"') == 4
    assert (
        'aria-label="Witnesses: w0, w1, w2; Groups: pair; Groups of groups: most; Log: audit.example.com/users"' in text
    )
    watched.down = {1, 2}
    watched.partition.append("again")
    with pytest.raises(PolicyError):
        watched.partition.publish()
    assert "A checkpoint of 5 entries was signed by the log, and waits for the quorum." in watched.get(path)


def test_a_policy_that_nobody_has_met(watched: Watched) -> None:
    """Where the policy changed since, what is published has no quorum under it, and the page says so."""
    watched.partition.publish()
    path = watched.ledger.path / "witnesses.policy"
    other = new_witness(path.parent / "w9", "w9.example")
    other.close()
    path.write_text(f"witness w9 {other.vkeys[0]} http://127.0.0.1:1\nquorum w9\n")
    text = watched.get("/witnesses?partition=users")
    assert "The quorum is not met" in text
    assert "none is known" in text
    with contextlib.closing(Ledger.open(watched.ledger.path)) as ledger:
        status = partition_status(ledger.partition("users"), ledger.witness_policy())
        assert status.vouching is not None
        assert [witness.last for witness in status.vouching.witnesses] == [None]


def test_a_witness_that_is_slower_than_the_quorum(watched: Watched) -> None:
    """It is not waited for, so it is missing, and what is said is that the others were faster, not that it is down."""
    watched.slow = {0}
    watched.partition.publish()
    (first, *others) = watched.partition.witnesses()
    assert "after the quorum was met" in (first.trouble or "")
    assert [seen.trouble for seen in others] == [None, None]


def test_names_that_are_no_unicode(watched: Watched) -> None:
    """A policy's names are octets: status, metrics, page, notice and log show those outside UTF-8 spelled out."""
    watched.ledger.close()
    path = watched.ledger.path / "witnesses.policy"
    text = path.read_bytes().replace(b" w1 ", b" \xff\xfe ").replace(b" w1\n", b" \xff\xfe\n")
    path.write_bytes(text)
    watched.down = {1}
    with contextlib.closing(Ledger.open(watched.ledger.path)) as ledger:
        keeper = Keeper(ledger, publish_interval_s=0.05, indexes=False)
        keeper.start()
        until(lambda: bool((leaders_notice(ledger) or _nothing()).missing))
        for words in (["--json"], ["users"], []):
            shown = CliRunner().invoke(main, ["status", *words, "--ledger", str(ledger.path)])
            assert shown.exit_code == 0, shown.output
        keeper.stop()
        client = create_app(ledger).test_client()
        assert (
            client.get("/api/v1/status")
            .get_json()["partitions"][0]["witnesses"]["records"][1]["name"]
            .startswith("\\u")
        )
        assert client.get("/metrics").status_code == 200
        assert client.get("/witnesses?partition=users", headers=HTML).status_code == 200


def _nothing() -> Any:
    from tlog.keeping.notice import Notice

    return Notice(0, 0.0)
