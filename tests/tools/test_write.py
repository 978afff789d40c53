"""`tlog init`, `keygen`, `append`, `publish` and `seal`."""

from __future__ import annotations

import json
import stat
import subprocess
import time

import pytest

import tlog
from tests.tools.conftest import BIN, ENTRIES, Shell, objects, ok

PASSPHRASE = {"TLOG_KEY_PASSPHRASE": "correct horse"}
WRONG = {"TLOG_KEY_PASSPHRASE": "wrong horse"}


def test_init(shell: Shell) -> None:
    """A ledger is created where the argument says, otherwise where the ledger is looked for; twice is a conflict."""
    created = shell.tlog("init", "--origin", "audit.example.com")
    assert (created.exit_code, created.stdout) == (0, "")
    assert "created a ledger" in created.stderr
    assert tlog.Ledger.open(shell.ledger).config.origin == "audit.example.com"
    other = shell.directory / "other"
    assert objects(ok(shell.tlog("init", "--origin", "a.example", other, "--json"))) == [
        {"ledger": str(other), "origin": "a.example"}
    ]
    again = shell.tlog("init", "--origin", "audit.example.com")
    assert (again.exit_code, again.stdout) == (4, "")
    assert str(shell.ledger) in again.stderr


def test_init_refuses_bad_origins(shell: Shell) -> None:
    """An origin with a scheme is bad input."""
    result = shell.tlog("init", "--origin", "https://audit.example.com")
    assert result.exit_code == 2
    assert "scheme" in result.stderr
    assert not shell.ledger.exists()


def test_keygen(users: Shell) -> None:
    """A partition gets its key ahead of its first append, once; the key file is its owner's alone."""
    vkey = ok(users.tlog("keygen", "orders"))
    assert ok(users.tlog("vkey", "orders")) == vkey
    assert tlog.VerifierKey.parse(vkey.removesuffix("\n")).name == "audit.example.com/orders"
    assert stat.S_IMODE((users.ledger / "keys" / "orders.pem").stat().st_mode) == 0o600
    assert ok(users.tlog("append", "orders", "1")) == "0\n"
    assert ok(users.tlog("vkey", "orders")) == vkey
    assert users.tlog("keygen", "orders").exit_code == 4
    assert users.tlog("keygen", "api").exit_code == 2


def test_keygen_with_passphrase(users: Shell) -> None:
    """The passphrase comes from the environment; publishing needs it again, appending and verifying do not."""
    result = users.tlog("keygen", "orders", "--passphrase", "--json", **PASSPHRASE)
    assert objects(ok(result))[0]["encrypted"] is True
    assert b"ENCRYPTED" in (users.ledger / "keys" / "orders.pem").read_bytes()
    ok(users.tlog("append", "orders", "1"))
    refused = users.tlog("publish", "orders")
    assert refused.exit_code == 2
    assert "TLOG_KEY_PASSPHRASE" in refused.stderr
    assert users.tlog("publish", "orders", **WRONG).exit_code == 2
    ok(users.tlog("publish", "orders", **PASSPHRASE))
    ok(users.tlog("verify", "orders"))


def test_keygen_asks_for_a_passphrase_on_terminals_only(users: Shell) -> None:
    """Without a terminal and without the variable there is nobody to ask."""
    result = users.tlog("keygen", "orders", "--passphrase")
    assert result.exit_code == 2
    assert "TLOG_KEY_PASSPHRASE" in result.stderr
    assert not (users.ledger / "keys" / "orders.pem").exists()


def test_append_one(users: Shell) -> None:
    """The seq of a durable entry is printed; the JSON text is kept byte for byte."""
    text = '{"user": "ä",  "n":1.50}'
    assert ok(users.tlog("append", "users", text)) == f"{ENTRIES}\n"
    assert f'"data":{text},'.encode() in (users.tlog("get", "users", ENTRIES).stdout_bytes)
    receipt = objects(ok(users.tlog("append", "users", "null", "--json")))[0]
    assert receipt == {"seq": ENTRIES + 1, "hash": json.loads(users.tlog("get", "users", ENTRIES + 1).stdout)["hash"]}


@pytest.mark.parametrize(
    "text", ["", "{", '{"a":1,"a":2}', "NaN", "1e999", "18446744073709551616", '"\\ud800"', "1\n2"]
)
def test_append_refuses_bad_json(users: Shell, text: str) -> None:
    """What JSON readers would not read alike is bad input, and appends nothing."""
    result = users.tlog("append", "users", text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "error: data" in result.stderr
    assert tlog.Ledger.open(users.ledger).partition("users").size == ENTRIES


def test_append_creates_a_partition_and_its_key(users: Shell) -> None:
    """The first append to a name makes the partition."""
    assert ok(users.tlog("append", "new", "{}")) == "0\n"
    assert ok(users.tlog("list")) == "new\nusers\n"


def test_append_lines(users: Shell) -> None:
    """'-' appends standard input, one event a line, and says how many in one line; the last newline may be missing."""
    result = users.tlog("append", "users", "-", stdin='{"n":1}\r\n{"n":2}\n {"n":3} ')
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("users: 3 entries appended (")
    assert result.stderr.endswith("/s); it has 303\n")
    assert [entry["data"] for entry in objects(ok(users.tlog("tail", "users", "-n", 3)))] == [
        {"n": 1},
        {"n": 2},
        {"n": 3},
    ]
    summary = objects(ok(users.tlog("append", "users", "-", "--json", stdin="1\n")))[0]
    assert summary.pop("seconds") > 0
    assert summary == {"partition": "users", "appended": 1, "skipped": 0, "entries": 304}
    assert users.tlog("append", "users", "-", stdin="").stderr.startswith("users: 0 entries appended")


@pytest.mark.parametrize("before", [0, 1, 255, 256, 257, 9000])
def test_a_bad_line_stops(users: Shell, before: int) -> None:
    """A bad line ends the command with its number; the lines before it are durable, those after it are not appended."""
    result = users.tlog("append", "users", "-", stdin="1\n" * before + '{"a":}\n' + "3\n" * 20)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"standard input, line {before + 1}, data: " in result.stderr
    assert f"the {before:,} entries before it are durable" in result.stderr
    assert tlog.Ledger.open(users.ledger).partition("users").size == ENTRIES + before


@pytest.mark.parametrize("gap", [0, 1, 255, 256, 700])
def test_skip_bad(users: Shell, gap: int) -> None:
    """--skip-bad reports each bad line with its number and appends all others, in order, once."""
    good = "".join(f"{number}\n" for number in range(gap))
    result = users.tlog("append", "new", "-", "--skip-bad", stdin=f"bad\n{good}bad\n\n{good}bad")
    assert (result.exit_code, result.stdout) == (0, "")
    bad = [1, gap + 2, gap + 3, 2 * gap + 4]
    assert [line.split(":")[0] for line in result.stderr.splitlines()[:4]] == [
        f"line {number} skipped" for number in bad
    ]
    assert f"new: {2 * gap:,} entries appended, 4 bad lines skipped (" in result.stderr
    with tlog.Ledger.open(users.ledger) as ledger:
        assert [entry.data for entry in ledger.partition("new").entries()] == [*range(gap), *range(gap)]


def test_skip_bad_in_json(users: Shell) -> None:
    """With --json, skipped lines are objects on standard error and are counted in the result."""
    result = users.tlog("append", "users", "-", "--skip-bad", "--json", stdin="1\n{\n3\n")
    assert [item["skipped_line"] for item in objects(result.stderr)] == [2]
    assert objects(ok(result))[0] | {"seconds": 0} == {
        "partition": "users", "appended": 2, "skipped": 1, "entries": ENTRIES + 2, "seconds": 0,
    }  # fmt: skip


@pytest.mark.parametrize("size", [65_536, 1 << 17, (1 << 17) + 1, 1 << 20])
def test_lines_too_long_for_an_entry(users: Shell, size: int) -> None:
    """A line that no entry can hold is refused, whatever its length, and the line after it is a line again."""
    line = '"' + "x" * (size - 3) + '"\n'
    assert len(line) == size
    stopped = users.tlog("append", "users", "-", stdin=f"1\n{line}2\n")
    assert stopped.exit_code == 2
    assert "line 2, data" in stopped.stderr
    skipped = users.tlog("append", "users", "-", "--skip-bad", "--json", stdin=f"{line}7\n")
    assert objects(ok(skipped))[0]["appended"] == 1
    assert json.loads(users.tlog("tail", "users", "-n", 1).stdout)["data"] == 7


def test_a_slow_source_is_not_kept_waiting(users: Shell) -> None:
    """What came through a pipe so far is durable while the pipe stays open; a line in two parts is one line."""
    with subprocess.Popen(
        [BIN / "tlog", "append", "users", "-", "--json", "--ledger", users.ledger],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for part, size in ((b"1\n2\n[", ENTRIES + 2), (b"3]\n", ENTRIES + 3)):
            process.stdin.write(part)
            process.stdin.flush()
            deadline = time.monotonic() + 20
            while tlog.Ledger.open(users.ledger).partition("users").size < size:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        process.stdin.write(b"4")
        process.stdin.close()
        summary = objects(process.stdout.read().decode())[0]
    assert (process.returncode, summary["appended"], summary["entries"]) == (0, 4, ENTRIES + 4)
    assert [entry["data"] for entry in objects(ok(users.tlog("tail", "users", "-n", 2)))] == [[3], 4]


def test_publish(users: Shell) -> None:
    """One partition or all are published; an unchanged one stays as it is; a misspelt name makes no partition."""
    ok(users.tlog("append", "orders", "1"))
    ok(users.tlog("append", "users", "1"))
    only = users.tlog("publish", "orders")
    assert only.stdout == ""
    assert only.stderr.startswith("orders: published size 1, root hash ")
    published = objects(ok(users.tlog("publish", "--json")))
    assert [(item["partition"], item["tree_size"]) for item in published] == [("orders", 1), ("users", ENTRIES + 1)]
    assert objects(ok(users.tlog("publish", "--json"))) == published
    assert users.tlog("publish", "order").exit_code == 3
    assert ok(users.tlog("list")) == "orders\nusers\n"


def test_publish_goes_on_after_a_failure(users: Shell) -> None:
    """Of several partitions a broken one is reported with its name; the others are published."""
    ok(users.tlog("append", "aaa", "1"))
    (users.ledger / "keys" / "aaa.pem").write_bytes(b"")
    ok(users.tlog("append", "users", "1"))
    result = users.tlog("publish", "--json")
    assert result.exit_code == 2
    assert [item["tree_size"] for item in objects(result.stdout)] == [ENTRIES + 1]
    assert [(item["partition"], item["exit_code"]) for item in objects(result.stderr)] == [("aaa", 2)]


def test_seal(users: Shell) -> None:
    """Complete segments are compressed, once; everything goes on working."""
    sealed = objects(ok(users.tlog("seal", "--json")))[0]
    assert (sealed["partition"], sealed["segments"]) == ("users", 1)
    assert sealed["size_after"] < sealed["size_before"]
    again = users.tlog("seal", "users")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "no complete segment" in again.stderr
    ok(users.tlog("verify"))
    assert json.loads(users.tlog("get", "users", 7).stdout)["data"]["user"] == "u7"


def test_nothing_to_work_on(shell: Shell) -> None:
    """A ledger without partitions is no success of publish, seal, verify or fsck; lists are empty."""
    ok(shell.tlog("init", "--origin", "a.example"))
    for command in ("publish", "seal", "verify", "fsck"):
        assert shell.tlog(command).exit_code == 3
    for command in ("list", "vkey", "status"):
        assert ok(shell.tlog(command)) == ""
