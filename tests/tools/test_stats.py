"""`tlog stats`."""

from __future__ import annotations

import re

from tests.tools.conftest import ENTRIES, Shell, modules_after, objects, ok
from tests.tools.test_output import on_terminal

EVENTS = [
    '{"time":"2026-01-05T09:00:00Z","category":"security","actor":"alice","action":"login","outcome":"failure"}',
    '{"time":"2026-01-05T09:10:00Z","category":"security","actor":"alice","action":"login","outcome":"success"}',
    '{"time":"2026-01-07T09:00:00Z","category":"user","actor":"b\\u202eob\\u001b[31m","action":"share"}',
]


def with_events(shell: Shell) -> Shell:
    """The ledger with a second partition, of three events."""
    ok(shell.tlog("append", "audit", "-", stdin="\n".join(EVENTS)))
    return shell


def test_charts(users: Shell) -> None:
    """Facts, and a chart for days and for each field, plain where there is no terminal."""
    shown = ok(with_events(users).tlog("stats", "audit"))
    assert shown.startswith("audit: 3 entries\n  origin     audit.example.com/audit\n  logged     20")
    assert "  published  nothing\n" in shown
    assert "  counted    index covers 0..3 of 3 entries; not compared with the log" in shown
    days = re.findall(r"^  (2026-01-0\d) (\d) ?(#*)$", shown, re.MULTILINE)
    assert [(day, int(count)) for day, count, _ in days] == [("2026-01-05", 2), ("2026-01-06", 0), ("2026-01-07", 1)]
    longest, half = len(days[0][2]), len(days[-1][2])
    assert longest > 50
    assert abs(longest - 2 * half) <= 1
    assert re.search(r"^  b\\u202eob\\u001b\[31m +1 #+$", shown, re.MULTILINE)
    assert shown.isascii()
    assert max(map(len, shown.splitlines()[6:])) <= 80


def test_on_a_terminal(users: Shell) -> None:
    """A terminal gets coloured bars as wide as it is, and NO_COLOR plain ones."""
    with_events(users)
    for width in (50, 100):
        shown = on_terminal(users, "tlog", "stats", "audit", COLUMNS=str(width))
        assert "\x1b[36m" in shown
        chart = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).rpartition("events per day")[2].splitlines()
        assert max(map(len, chart)) <= width
        assert max(line.count("█") for line in chart) > width // 3
    plain = on_terminal(users, "tlog", "stats", "audit", COLUMNS="50", NO_COLOR="1", TERM="dumb")
    assert "\x1b" not in plain
    assert "#####" in plain


def test_json(users: Shell) -> None:
    """--json says the same of each partition to a program."""
    with_events(users)
    audit, first = objects(ok(users.tlog("stats", "--json")))
    assert (audit["partition"], audit["entries"], audit["published"], audit["unpublished"]) == ("audit", 3, None, 3)
    assert (audit["days"], audit["earlier"]) == ({"2026-01-05": 2, "2026-01-07": 1}, 0)
    assert audit["counts"]["actor"] == {"values": [["alice", 2], ["b\u202eob\x1b[31m", 1]], "others": 0}
    assert (first["entries"], first["published"], first["indexed"]) == (ENTRIES, ENTRIES, ENTRIES)
    assert first["published_age_s"] > 0
    assert set(first["bytes"]) == {"segments", "compressed", "tiles", "checkpoints", "index"}


def test_errors(users: Shell) -> None:
    """A partition that is not there, and an index that is damaged, end the command with their exit codes."""
    assert users.tlog("stats", "nosuch").exit_code == 3
    ok(users.tlog("stats", "users"))
    (users.ledger / "index" / "users.sqlite").write_bytes(b"no database" * 1000)
    result = users.tlog("stats", "users")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "'tlog index rebuild users' makes it anew" in result.stderr


def test_rich_is_loaded_for_charts_only(users: Shell) -> None:
    """--json needs no rich, and no command here needs jinja2 unless it writes a report."""
    program = "tlog_tools.main import cli as command"
    loaded = modules_after(program, ["stats", "--ledger", str(users.ledger), "--json"])
    assert "tlog.report.stats" in loaded
    assert loaded.isdisjoint({"rich", "jinja2", "tlog_tools.charts"})
