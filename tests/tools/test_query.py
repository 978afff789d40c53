"""`tlog query` and `tlog index`."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

import tlog
from tests.index.model import events
from tests.tools.conftest import ENTRIES, Shell, objects, ok

EVENTS = 60


@pytest.fixture
def audit(users: Shell) -> Shell:
    """The ledger with a second published partition, audit, of 60 events and three entries of other kinds."""
    with tlog.Ledger.open(users.ledger) as ledger:
        partition = ledger.partition("audit")
        partition.append_many(events(EVENTS))
        partition.append_many([5, {"actor": "\x1b[31m=evil", "message": "=1+1\nline"}, {"actor": ["a"], "message": 7}])
        partition.publish()
    return users


def seqs(text: str) -> list[int]:
    """The seqs of printed entries."""
    return [item["seq"] for item in objects(text)]


def test_query(audit: Shell) -> None:
    """Entries are printed byte for byte, the newest first, and what the answer covers is said."""
    result = audit.tlog("query", "audit", 'actor=alice text="failed password"', "--format", "jsonl")
    with tlog.Ledger.open(audit.ledger) as ledger:
        wanted = [
            entry.raw
            for entry in ledger.partition("audit").entries(0, EVENTS)
            if entry.data["actor"] == "alice" and "failed password" in entry.data["message"]
        ]
    assert wanted
    assert result.stdout_bytes.splitlines() == wanted[::-1]
    assert result.stderr == "index covers 0..63 of 63 entries\n"
    again = audit.tlog("query", "audit", 'actor=alice text="failed password"', "--json", "--oldest-first")
    assert again.stdout_bytes.splitlines() == wanted
    assert objects(again.stderr) == [{"indexed": 63, "entries": 63, "cursor": None}]


@pytest.mark.parametrize(
    ("words", "query"),
    [
        (["--actor", "alice|bob", "--action", "log*"], "actor=alice|bob action=log*"),
        (["--text", "failed password", "--outcome", "failure"], 'text="failed password" outcome=failure'),
        (
            ["outcome!=failure", "--since", "2026-01-10", "--until", "2026-01-12"],
            "outcome!=failure since=2026-01-10 until=2026-01-12",
        ),
        (["--data", "ip=10.0.0.1", "--data", "n=*"], "data.ip=10.0.0.1 data.n=*"),
        (["--seq", "1|5"], "seq=1|5"),
        (["--category", "x"], "category=x"),
        (["--target", "x"], "target=x"),
        (["--severity", "x"], "severity=x"),
        (["--correlation-id", "x"], "correlation_id=x"),
        (["--id", "x"], "id=x"),
    ],
)
def test_options_are_conditions(audit: Shell, words: list[str], query: str) -> None:
    """An option says the same as the condition of its name."""
    found = ok(audit.tlog("query", "audit", *words, "--json"))
    assert found == ok(audit.tlog("query", "audit", query, "--json"))
    assert bool(found) == ("=x" not in query)


def test_paging(audit: Shell) -> None:
    """Each page ends with the cursor of the next, in text and in JSON."""
    first = audit.tlog("query", "audit", "--limit", 40, "--json")
    cursor = objects(first.stderr)[0]["cursor"]
    shown = audit.tlog("query", "audit", "--limit", 40).stderr
    assert shown == f"index covers 0..63 of 63 entries; more with --after {cursor}\n"
    rest = audit.tlog("query", "audit", "--limit", 40, "--after", cursor, "--json")
    assert objects(rest.stderr)[0]["cursor"] is None
    assert seqs(first.stdout) + seqs(rest.stdout) == list(range(62, -1, -1))
    assert audit.tlog("query", "audit", "--actor", "bob", "--after", cursor).exit_code == 2


def test_table(audit: Shell) -> None:
    """The table has a line for each entry, cut to its columns, and nothing that steers a terminal."""
    lines = ok(audit.tlog("query", "audit", "--limit", 3)).splitlines()
    assert lines[0].split() == [
        "seq",
        "time",
        "category",
        "action",
        "actor",
        "target",
        "outcome",
        "severity",
        "message",
    ]
    assert [line.split()[0] for line in lines[1:]] == ["62", "61", "60"]
    assert "\\u001b[31m=evil" in lines[2]
    assert "=1+1\\nline" in lines[2]
    assert ok(audit.tlog("query", "audit", "actor=nosuch")) == ""
    long = audit.tlog("append", "audit", '{"message":"' + "x" * 5000 + '"}')
    assert long.exit_code == 0
    assert max(map(len, ok(audit.tlog("query", "audit", "--limit", 2)).splitlines())) < 250


def test_csv(audit: Shell) -> None:
    """CSV has a row for each entry; no cell is a formula to a spreadsheet."""
    rows = list(csv.reader(io.StringIO(ok(audit.tlog("query", "audit", "--format", "csv", "--limit", 1000)))))
    assert len(rows) == 1 + EVENTS + 3
    assert rows[0] == ["seq", "time", "category", "action", "actor", "target", "outcome", "severity", "message"]
    evil = next(row for row in rows if row[0] == "61")
    assert (evil[4], evil[8]) == ("\\u001b[31m=evil", "'=1+1\\nline")
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_facets(audit: Shell) -> None:
    """Counts come instead of entries, in every format."""
    found = objects(ok(audit.tlog("query", "audit", "actor=*", "--facets", "actor,outcome", "--json")))
    assert sum(row["count"] for row in found if row["field"] == "actor") == EVENTS + 1
    assert {row["value"] for row in found if row["field"] == "outcome"} == {"success", "failure", None}
    assert ok(audit.tlog("query", "audit", "--facets", "actor")).splitlines()[0].split() == ["field", "value", "count"]
    assert ok(audit.tlog("query", "audit", "--facets", "actor", "--format", "csv")).startswith(
        "field,value,count\nactor,carol,"
    )
    assert audit.tlog("query", "audit", "--facets", "id").exit_code == 2


def test_with_proofs(audit: Shell) -> None:
    """Each entry found comes with a file that the verifier accepts; where one has none yet, nothing is written."""
    directory = audit.directory / "a" / "proofs"
    result = audit.tlog("query", "audit", "actor=bob", "--limit", 3, "--json", "--with-proofs", directory)
    vkey = ok(audit.tlog("vkey", "audit")).strip()
    names = [f"audit-{seq}.tlog-proof" for seq in seqs(ok(result))]
    assert sorted(path.name for path in directory.iterdir()) == sorted(names)
    for name in names:
        assert audit.verify("--proof", directory / name, "--key", vkey).exit_code == 0
    audit.tlog("append", "audit", '{"actor":"bob"}')
    other = audit.directory / "other"
    result = audit.tlog("query", "audit", "actor=bob", "--limit", 3, "--with-proofs", other)
    assert (result.exit_code, result.stdout, other.exists()) == (3, "", False)
    assert "tlog publish audit" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nosuch"], 3, "tlog list"),
        (["users", "actr=a"], 2, "query, character 1, actr: is no field; there are category"),
        (["users", "actor=a b"], 2, "query, character 9"),
        (["users", "--since", "yesterday"], 2, "since: 'yesterday' is no time; write 2026-01-31"),
        (["users", "--text", "!"], 2, "text: '!' holds 0 words"),
        (["users", "--data", "=x"], 2, "data.: a path below data"),
        (["users", "--data", "ip"], 2, "data.ip: character 1: data.ip has no value here"),
        (["users", "--limit", "0"], 2, "0 is not in the range"),
        (["users", "--limit", "1001"], 2, "1001 is not in the range"),
        (["users", "--after", "x"], 2, "cursor: 'x' is none"),
        (["users", "--format", "xml"], 2, "'xml' is not one of"),
        (["users", "--facets", "id"], 2, "facets: 'id' cannot be counted; there are category"),
    ],
)
def test_bad_input(users: Shell, words: list[str], code: int, said: str) -> None:
    """What cannot be asked ends with its exit code, and with what would be right."""
    result = users.tlog("query", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_index_status_rebuild_check(audit: Shell) -> None:
    """The index of each partition is shown, made and compared."""
    assert ok(audit.tlog("index", "status")) == (
        "audit: index covers 0..0 of 63 entries\nusers: index covers 0..0 of 300 entries\n"
    )
    assert not (audit.ledger / "index").exists()
    rebuilt = ok(audit.tlog("index", "rebuild", "users"))
    assert rebuilt == f"users: rebuilt; index covers 0..{ENTRIES} of {ENTRIES} entries\n"
    (checked,) = objects(ok(audit.tlog("index", "check", "users", "--json")))
    assert checked == {"partition": "users", "action": "check", "indexed": ENTRIES, "entries": ENTRIES, "lag": 0}
    assert audit.tlog("index", "check", "nosuch").exit_code == 3
    assert audit.tlog("index", "mend").exit_code == 2


def test_index_that_is_wrong(audit: Shell) -> None:
    """A damaged index ends every command but rebuild, which names itself as the remedy; an index may be deleted."""
    ok(audit.tlog("query", "audit"))
    path = Path(audit.ledger / "index" / "audit.sqlite")
    path.write_bytes(b"no database at all" * 1000)
    for words in (["query", "audit"], ["index", "status", "audit"], ["index", "check", "audit"]):
        result = audit.tlog(*words)
        assert result.exit_code == 4
        assert "'tlog index rebuild audit' makes it anew" in result.stderr
    ok(audit.tlog("index", "rebuild", "audit"))
    ok(audit.tlog("index", "check", "audit"))
    path.unlink()
    assert seqs(ok(audit.tlog("query", "audit", "seq=7", "--json"))) == [7]


def test_a_log_that_was_rolled_back(audit: Shell) -> None:
    """An index of another log is a failed verification, and not an empty answer."""
    ok(audit.tlog("query", "audit"))
    path = audit.ledger / "index" / "audit.sqlite"
    with tlog.Ledger.open(audit.ledger) as ledger:
        partition = ledger.partition("audit")
        root = partition.paths.root
        partition.close()
    for file in (root / "lock", root / "checkpoint", root / "checkpoints.jsonl"):
        file.unlink()
    (segment,) = (root / "segments").glob("*.jsonl")
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:10]))
    result = audit.tlog("query", "audit", "actor=alice")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the index covers 63 entries, the log has 10" in result.stderr
    assert path.exists()
