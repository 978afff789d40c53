"""R3, Venafi 2017 and TrustAsia 2021: two signed tree heads without a consistency proof between them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tlog
from tests.incidents.programs import TIMEOUT_S, start
from tests.ledgers import NAME, copied, make_ledger, opened
from tlog.errors import CorruptLedgerError

SIGN = """
import sys, tlog
partition = tlog.Ledger.open(sys.argv[1]).partition("users")
partition.append(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
try:
    print("signed", partition.publish().tree_size)
except tlog.CorruptLedgerError as err:
    print("refused", err)
"""


def keys_elsewhere(path: Path, keys: Path) -> Path:
    """Move the keys of a ledger to a directory outside of it; return `path`."""
    (path / "keys").rename(keys)
    config = path / "tlog.toml"
    config.write_text(config.read_text().replace('keys = "keys"', f'keys = "../{keys.name}"'))
    return path


def test_r03_a_directory_restored_from_an_older_copy_is_refused(tmp_path: Path) -> None:
    """The ledger is copied, grows, and the copy is put back: neither appending nor signing until the rest is there."""
    path = keys_elsewhere(make_ledger(tmp_path / "l", [100]), tmp_path / "keys")
    backup = copied(path, tmp_path / "backup")
    partition = opened(path)
    partition.append_many(range(50))
    newest = partition.publish()
    partition.close()
    present = copied(path, tmp_path / "present")
    copied(backup, path)
    with pytest.raises(CorruptLedgerError, match=r"the key has signed 150 entries|150 entries were signed"):
        opened(path).append("after the restore")
    with pytest.raises(CorruptLedgerError, match="150 entries"):
        opened(path).publish()
    assert opened(path).checkpoint().tree_size == 100
    shutil.rmtree(path)
    present.rename(path)
    assert opened(path).publish() == newest
    assert opened(path).append("after the right restore").seq == 150


def test_r03_two_processes_on_two_copies_with_one_key(tmp_path: Path) -> None:
    """Two processes, two copies that went different ways, one key: one signs size 11, the other one is refused."""
    source = keys_elsewhere(make_ledger(tmp_path / "a", [10]), tmp_path / "keys")
    copies = [source, copied(source, tmp_path / "b")]
    outputs = sign_at_once([(copy, copy.name) for copy in copies])
    assert sorted(output.split()[0] for output in outputs) == ["refused", "signed"]
    (refusal,) = (output for output in outputs if output.startswith("refused"))
    assert "has signed another tree of size 11" in refusal


def test_r03_two_processes_on_one_directory(tmp_path: Path) -> None:
    """Two processes, one directory: whatever both sign is one log, each checkpoint a prefix of the next."""
    path = make_ledger(tmp_path, [10])
    outputs = sign_at_once([(path, "one"), (path, "two")])
    assert [output.split() for output in outputs] == [["signed", "12"]] * 2
    partition = opened(path)
    checkpoints = list(partition.checkpoints.all())
    assert [checkpoint.tree_size for checkpoint in checkpoints] == [10, 12]
    proof = partition.prove_consistency(10)
    policy = tlog.Policy.for_log(partition.vkey)
    assert tlog.verify_consistency(proof, old=checkpoints[0], policy=policy).new.tree_size == 12
    assert partition.fsck().findings == ()
    assert {partition.entry(10).data, partition.entry(11).data} == {"one", "two"}
    assert partition.name == NAME


def sign_at_once(work: list[tuple[Path, str]]) -> list[str]:
    """Run a process for each (ledger, event): all append, and when all have, all sign. Return what each printed."""
    processes = [start(SIGN, *words, takes_input=True) for words in work]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=TIMEOUT_S)[0] for process in processes]
