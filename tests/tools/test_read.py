"""`tlog get`, `tail`, `list`, `status`, `export`, `vkey`, `checkpoint`, `prove` and `consistency`."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

import tlog
from tests.tools.conftest import BIN, ENTRIES, Shell, objects, ok


def seqs(text: str) -> list[int]:
    """The seqs of printed entries."""
    return [item["seq"] for item in objects(text)]


def test_get(users: Shell) -> None:
    """An entry is printed byte for byte as it is hashed."""
    with tlog.Ledger.open(users.ledger) as ledger:
        raw = ledger.partition("users").entry(7).raw
    assert users.tlog("get", "users", 7).stdout_bytes == raw + b"\n"
    assert users.tlog("get", "users", 7, "--json").stdout_bytes == raw + b"\n"


@pytest.mark.parametrize("words", [["users", ENTRIES], ["nosuch", 0]])
def test_get_of_what_is_not_there(users: Shell, words: list[str | int]) -> None:
    """An entry or partition that does not exist is not found."""
    result = users.tlog("get", *words)
    assert (result.exit_code, result.stdout) == (3, "")
    error = objects(users.tlog("get", *words, "--json").stderr)[0]
    assert (error["error"], error["exit_code"]) == ("NotFoundError", 3)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], range(290, 300)),
        (["-n", 2], range(298, 300)),
        (["-n", 0], range(0)),
        (["-n", 1000], range(300)),
        (["--from", 297], range(297, 300)),
        (["--from", 0, "-n", 3], range(3)),
        (["--from", 298, "-n", 9], range(298, 300)),
        (["--from", 300], range(0)),
    ],
)
def test_tail(users: Shell, words: list[str | int], expected: range) -> None:
    """The last ten entries, or as many as -n says, or those from --from on."""
    assert seqs(ok(users.tlog("tail", "users", *words))) == list(expected)


def test_tail_from_beyond_the_end(users: Shell) -> None:
    """A reader that has seen more than there is must hear of it."""
    assert users.tlog("tail", "users", "--from", ENTRIES + 1).exit_code == 3


def test_follow_until_interrupted(users: Shell) -> None:
    """--follow prints new entries as they become durable, and ends well on Ctrl-C."""
    with _following(users, "-n", "1") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["seq"] == ENTRIES - 1
        ok(users.tlog("append", "users", "1"))
        assert json.loads(process.stdout.readline())["seq"] == ENTRIES
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stdout.read() == ""
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_follow_until_nobody_reads(users: Shell) -> None:
    """--follow ends well when its reader goes away, also while no entry is added."""
    with _following(users, "--from", str(ENTRIES - 1)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_closed_pipe_is_no_failure_of_verification(users: Shell) -> None:
    """A reader that stops reading ends the command quietly, with 141 as a shell has it and never with 1."""
    for command in ("tlog tail users --from 0", "tlog --help"):
        reader, writer = os.pipe()
        os.close(reader)
        run = subprocess.run(
            ["sh", "-c", f"{BIN}/{command}"],
            env=os.environ | {"TLOG_LEDGER": str(users.ledger)},
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(writer)
        assert (run.returncode, run.stderr) == (141, "")


def test_list_and_status(users: Shell) -> None:
    """Names one a line; sizes as a table, about one partition as a list, and as JSON."""
    ok(users.tlog("append", "orders", "1"))
    assert ok(users.tlog("list")) == "orders\nusers\n"
    assert objects(ok(users.tlog("list", "--json"))) == [{"partition": "orders"}, {"partition": "users"}]
    header, orders, table_users = ok(users.tlog("status")).splitlines()
    assert header.split() == ["partition", "entries", "published", "unpublished", "last", "ts"]
    assert orders.split()[:4] == ["orders", "1", "0", "1"]
    assert table_users.split()[:4] == ["users", "300", "300", "0"]
    fields = objects(ok(users.tlog("status", "--json")))
    assert (fields[0]["published"], fields[0]["root_hash"]) == (0, None)
    one = ok(users.tlog("status", "users"))
    assert all(str(fields[1][name]) in one for name in ("origin", "vkey", "last_ts", "root_hash"))
    assert users.tlog("status", "nosuch").exit_code == 3


def test_status_shows_the_rest_when_one_is_broken(users: Shell) -> None:
    """A partition that cannot be examined is reported; the others are shown."""
    ok(users.tlog("append", "aaa", "1"))
    (users.ledger / "keys" / "aaa.vkey").write_text("nonsense\n")
    result = users.tlog("status")
    assert result.exit_code == 2
    assert "tlog: aaa: error: " in result.stderr
    assert "users" in result.stdout


def test_export(users: Shell) -> None:
    """A static site has the checkpoint, the key, tiles and entry bundles; a second export adds what is new."""
    site = users.directory / "site"
    result = users.tlog("export", "users", site)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "300 entries exported" in result.stderr
    assert (site / "checkpoint").read_text() == ok(users.tlog("checkpoint", "users"))
    for name in (
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
        "vkey",
    ):
        assert (site / name).is_file()
    report = objects(ok(users.tlog("export", "users", site, "--json")))[0]
    assert report["tree_size"] == ENTRIES
    assert report["files"] == sum(path.is_file() for path in site.rglob("*"))
    assert report["size"] == sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    ok(users.tlog("append", "unpublished", "1"))
    assert users.tlog("export", "unpublished", site).exit_code == 3


def test_vkey(users: Shell) -> None:
    """The verifier key of one partition, or of all."""
    ok(users.tlog("append", "orders", "1"))
    keys = [tlog.VerifierKey.parse(line) for line in ok(users.tlog("vkey")).splitlines()]
    assert [key.name for key in keys] == ["audit.example.com/orders", "audit.example.com/users"]
    assert ok(users.tlog("vkey", "users")) == f"{keys[1]}\n"
    assert objects(ok(users.tlog("vkey", "users", "--json"))) == [{"partition": "users", "vkey": str(keys[1])}]
    assert users.tlog("vkey", "nosuch").exit_code == 3


def test_checkpoint(users: Shell) -> None:
    """The published checkpoint, or an earlier one, as the signed note that it is."""
    published = users.ledger / "partitions" / "users" / "checkpoint"
    assert users.tlog("checkpoint", "users").stdout_bytes == published.read_bytes()
    earlier = tlog.Checkpoint.parse(users.tlog("checkpoint", "users", "--size", 100).stdout_bytes)
    assert earlier.tree_size == 100
    fields = objects(ok(users.tlog("checkpoint", "users", "--size", 100, "--json")))[0]
    assert (fields["tree_size"], fields["note"]) == (100, str(earlier))
    missing = users.tlog("checkpoint", "users", "--size", 99)
    assert missing.exit_code == 3
    assert "100" in missing.stderr


def test_checkpoint_before_the_first(users: Shell) -> None:
    """Where nothing was published, the error names the command that publishes."""
    ok(users.tlog("append", "orders", "1"))
    result = users.tlog("checkpoint", "orders")
    assert result.exit_code == 3
    assert "'tlog publish orders'" in result.stderr


def test_prove(users: Shell) -> None:
    """The proof goes to standard output or to a file, replacing an older one; it is a .tlog-proof."""
    text = ok(users.tlog("prove", "users", 7))
    assert tlog.Proof.parse(text).leaf_index == 7
    path = users.write("7.tlog-proof", "old")
    written = users.tlog("prove", "users", 7, "-o", path)
    assert (written.exit_code, written.stdout) == (0, "")
    assert path.read_text() == text
    assert ok(users.tlog("prove", "users", 7, "-o", "-")) == text
    fields = objects(ok(users.tlog("prove", "users", 7, "--json")))[0]
    assert fields == {"partition": "users", "seq": 7, "tree_size": ENTRIES, "proof": text}
    assert objects(ok(users.tlog("prove", "users", 7, "-o", path, "--json")))[0]["proof"] == str(path)
    assert sorted(item.name for item in users.directory.iterdir()) == ["7.tlog-proof", "ledger"]


def test_prove_what_is_not_there(users: Shell) -> None:
    """An entry beyond the published tree, and a directory that does not exist, are not found."""
    ok(users.tlog("append", "users", "1"))
    unpublished = users.tlog("prove", "users", ENTRIES)
    assert unpublished.exit_code == 3
    assert "'tlog publish users'" in unpublished.stderr
    assert users.tlog("prove", "users", 7, "-o", users.directory / "nosuch" / "proof").exit_code == 3


def test_prove_to_what_is_no_file(users: Shell) -> None:
    """A device given with -o is written to, not replaced by a file."""
    ok(users.tlog("prove", "users", 7, "-o", os.devnull))
    assert not os.path.isfile(os.devnull)  # noqa: PTH113 - a device


def test_consistency(users: Shell) -> None:
    """The proof between two sizes is the body of a witness's add-checkpoint request."""
    text = ok(users.tlog("consistency", "users", 100))
    proof = tlog.ConsistencyProof.parse(text)
    assert (proof.old_size, proof.checkpoint.tree_size) == (100, ENTRIES)
    assert ok(users.tlog("consistency", "users", 100, ENTRIES)) == text
    assert tlog.ConsistencyProof.parse(ok(users.tlog("consistency", "users", 7, 100))).checkpoint.tree_size == 100
    fields = objects(ok(users.tlog("consistency", "users", 100, "--json")))[0]
    assert fields == {"partition": "users", "old_size": 100, "tree_size": ENTRIES, "proof": text}
    assert users.tlog("consistency", "users", 100, 99).exit_code == 3
    assert users.tlog("consistency", "users", ENTRIES + 1).exit_code in {2, 3}


class _following:  # noqa: N801 - used as a function
    """A `tlog tail --follow` in a process of its own, which has begun when the block does."""

    def __init__(self, shell: Shell, *words: str) -> None:
        self._process = subprocess.Popen(
            [BIN / "tlog", "tail", "users", "--follow", *words],
            env=os.environ | {"TLOG_LEDGER": str(shell.ledger)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self._process

    def __exit__(self, *error: object) -> None:
        with self._process:
            self._process.kill()
