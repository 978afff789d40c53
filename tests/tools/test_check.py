"""`tlog verify` and `tlog fsck`."""

from __future__ import annotations

from pathlib import Path

import pytest

import tlog
from tests.tools.conftest import ENTRIES, Shell, objects, ok


def flip(path: Path, place: bytes) -> None:
    """Flip the lowest bit of the first byte of `place` in a file."""
    content = bytearray(path.read_bytes())
    content[content.index(place)] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def segment(shell: Shell, first: int = 0) -> Path:
    """A segment file of the partition users."""
    return shell.ledger / "partitions" / "users" / "segments" / f"{first:020d}.jsonl"


def test_not_anchored(users: Shell) -> None:
    """Without a kept checkpoint the result says "not anchored", and nothing in it says "valid"."""
    result = users.tlog("verify", "users")
    assert result.exit_code == 0
    assert "not anchored: " in result.stdout
    assert "tlog checkpoint" in result.stderr
    assert "valid" not in (result.stdout + result.stderr).replace("invalid", "")
    assert objects(ok(users.tlog("verify", "--json")))[0]["anchored"] is False


def test_anchored(users: Shell) -> None:
    """With a kept checkpoint, of now or from before, from a file or standard input, the result says "anchored by"."""
    kept = users.write("kept", ok(users.tlog("checkpoint", "users", "--size", 100)))
    result = users.tlog("verify", "users", "--checkpoint", kept)
    assert f"  anchored by {kept} (size 100): nothing up to there was changed or cut off\n" in ok(result)
    assert (result.stderr, "not anchored" in result.stdout) == ("", False)
    fields = objects(ok(users.tlog("verify", "--checkpoint", "-", "--json", stdin=kept.read_bytes())))[0]
    assert fields.pop("seconds") > 0
    with tlog.Ledger.open(users.ledger) as ledger:
        key, checkpoint = ledger.partition("users").vkey, ledger.partition("users").checkpoint()
    assert fields == {
        "partition": "users",
        "origin": "audit.example.com/users",
        "entries": ENTRIES,
        "unpublished": 0,
        "tiles": fields["tiles"],
        "tree_size": ENTRIES,
        "root_hash": str(checkpoint).split("\n")[2],
        "signed_by": f"{key.name}+{key.key_id.hex()}",
        "witnesses": [],
        "anchored": True,
        "anchor_size": 100,
    }


def test_unpublished_entries_are_told_apart(users: Shell) -> None:
    """Entries that no checkpoint covers are counted; a partition without checkpoint is signed by nobody."""
    ok(users.tlog("append", "users", "1"))
    ok(users.tlog("append", "orders", "1"))
    assert "unsigned   1 entry since then" in ok(users.tlog("verify", "users"))
    orders = ok(users.tlog("verify", "orders"))
    assert "signed by  nobody" in orders
    assert "not anchored" in orders


def test_all_partitions(users: Shell) -> None:
    """Without a name all are verified; the kept checkpoint anchors the one whose origin it has."""
    ok(users.tlog("append", "orders", "1"))
    kept = users.write("kept", ok(users.tlog("checkpoint", "users")))
    fields = objects(ok(users.tlog("verify", "--checkpoint", kept, "--json")))
    assert [(item["partition"], item["anchored"]) for item in fields] == [("orders", False), ("users", True)]
    other = users.tlog("verify", "orders", "--checkpoint", kept)
    assert (other.exit_code, other.stdout) == (1, "")


def test_the_first_bad_entry_is_named(users: Shell) -> None:
    """A changed byte is a failure that names the entry, its file, what was expected and what was found."""
    ok(users.tlog("append", "orders", "1"))
    flip(segment(users), b"u17")
    result = users.tlog("verify")
    assert result.exit_code == 1
    assert "orders: 1 entry checked" in result.stdout
    assert f"tlog: users: error: entry 17 ({segment(users)}): " in result.stderr
    assert "'tlog fsck'" in result.stderr
    error = objects(users.tlog("verify", "users", "--json").stderr)[0]
    assert (error["exit_code"], error["seq"], error["partition"]) == (1, 17, "users")
    assert len(error["expected"]) == len(error["found"]) == 64


def test_a_cut_off_end_needs_the_kept_checkpoint(users: Shell) -> None:
    """A ledger put back to an earlier state is not anchored without a kept checkpoint, and fails with one."""
    kept = users.write("kept", ok(users.tlog("checkpoint", "users")))
    segment(users, 256).unlink()
    lines = segment(users).read_bytes().splitlines(keepends=True)
    segment(users).chmod(0o644)
    segment(users).write_bytes(b"".join(lines[:100]))
    earlier = users.tlog("checkpoint", "users", "--size", 100).stdout_bytes
    (users.ledger / "partitions" / "users" / "checkpoint").write_bytes(earlier)
    (users.ledger / "partitions" / "users" / "lock").unlink()
    assert "not anchored" in ok(users.tlog("verify", "users"))
    failed = users.tlog("verify", "users", "--checkpoint", kept)
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "entry 100" in failed.stderr


@pytest.mark.parametrize(
    ("content", "exit_code"),
    [(b"", 2), (b"x" * 2_000_000, 2), (b"a/b\n1\n" + b"A" * 43 + b"=\n\n\xe2\x80\x94 a/b AAAAAAA=\n", 1)],
)
def test_kept_files_that_are_none(users: Shell, content: bytes, exit_code: int) -> None:
    """A file that is no checkpoint is bad input; a checkpoint of another log proves nothing here."""
    assert users.tlog("verify", "--checkpoint", users.write("kept", content)).exit_code == exit_code


def test_kept_file_missing(users: Shell) -> None:
    """A missing file is not found."""
    result = users.tlog("verify", "--checkpoint", users.directory / "nosuch")
    assert result.exit_code == 3
    assert "nosuch: No such file" in result.stderr


def test_fsck_of_what_is_in_order(users: Shell) -> None:
    """Nothing wrong ends with 0."""
    assert ok(users.tlog("fsck", "users")).startswith(f"users: nothing wrong in {ENTRIES} entries and ")
    fields = objects(ok(users.tlog("fsck", "--json")))[0]
    assert fields == {"partition": "users", "clean": True, "entries": ENTRIES, "tiles": fields["tiles"], "findings": []}


def test_fsck_repairs_what_is_derived(users: Shell) -> None:
    """A damaged tile is found, named with the command that repairs it, and rebuilt by --repair."""
    tile = users.ledger / "partitions" / "users" / "tile" / "0" / "000"
    before = tile.read_bytes()
    tile.chmod(0o644)
    tile.write_bytes(bytes(len(before)))
    found = users.tlog("fsck", "users")
    assert found.exit_code == 1
    assert str(tile) in found.stdout
    assert "'tlog fsck users --repair'" in found.stdout
    repaired = objects(ok(users.tlog("fsck", "--repair", "--json")))[0]
    assert str(tile) in {item["place"] for item in repaired["findings"]}
    assert all(item["repaired"] for item in repaired["findings"])
    assert tile.read_bytes() == before
    ok(users.tlog("fsck"))


def test_fsck_never_repairs_entries(users: Shell) -> None:
    """A damaged entry is found and stays as it is."""
    flip(segment(users), b"u17")
    before = segment(users).read_bytes()
    result = users.tlog("fsck", "users", "--repair")
    assert result.exit_code == 1
    assert "entry 17" in result.stdout
    assert segment(users).read_bytes() == before
    finding = objects(users.tlog("fsck", "--json").stdout)[0]["findings"][0]
    assert (finding["seq"], finding["repairable"], finding["repaired"]) == (17, False, False)
