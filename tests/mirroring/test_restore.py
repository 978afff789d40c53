"""A partition that was lost, put together again from a copy, before its key may sign again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tlog
from tlog.errors import ConflictError, CorruptLedgerError, Error, NotFoundError
from tlog.mirroring.restore import restore
from tlog.mirroring.source import DirectorySource


class Lost:
    """A log of 700 entries, its exported site, and the log's directory gone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ledger = tlog.Ledger.create(directory / "ledger", origin="audit.example.com", segment_entries=256)
        log = self.ledger.partition("users")
        log.append_many({"n": n} for n in range(300))
        log.publish()
        log.export(directory / "early")
        log.append_many({"n": n} for n in range(300, 700))
        self.last = log.publish()
        log.export(directory / "site")
        self.lines = [entry.raw for entry in log.entries()]
        self.ledger.close()
        shutil.move(log.paths.root, directory / "moved")
        self.ledger = tlog.Ledger.open(directory / "ledger")

    def restore(self, site: str = "site") -> tlog.Partition:
        """Restore from a site; the ledger is opened anew as another process would."""
        report = restore(self.ledger, "users", DirectorySource(self.directory / site))
        assert (report.entries, report.signed) == (700, 700)
        return tlog.Ledger.open(self.directory / "ledger").partition("users")


@pytest.fixture
def lost(tmp_path: Path) -> Lost:
    """A lost log."""
    return Lost(tmp_path)


def test_restored_and_going_on(lost: Lost) -> None:
    """Every entry is back byte for byte, checks are clean and anchored, and appending and publishing go on."""
    with pytest.raises(Error):
        lost.ledger.partition("users").append("too early")
    log = lost.restore()
    assert [entry.raw for entry in log.entries()] == lost.lines
    assert log.checkpoint().text == lost.last.text
    assert log.fsck().findings == ()
    assert log.verify(checkpoint=lost.last.raw).is_anchored
    for name in ("tile/0/000", "tile/0/002.p/188", "tile/1/000.p/2"):
        assert (log.paths.root / name).read_bytes() == (lost.directory / "moved" / name).read_bytes()
    log.append({"n": 700})
    assert log.publish().tree_size == 701
    tlog.verify_consistency(
        str(log.prove_consistency(700)), old=lost.last.raw, policy=tlog.Policy.for_log(str(log.vkey))
    )
    assert not (lost.directory / "ledger" / "restoring").exists()


def test_a_copy_that_lacks_entries(lost: Lost) -> None:
    """An older copy is refused, and the missing entries are named; nothing is left behind."""
    with pytest.raises(CorruptLedgerError, match="entries 300 to 699 are missing, so the key must not sign again"):
        lost.restore("early")
    assert not (lost.directory / "ledger" / "partitions" / "users").exists()


def test_a_copy_of_another_history(lost: Lost) -> None:
    """A copy that the same key signed, and that is not what the record says, is refused."""
    twin = tlog.Ledger.create(lost.directory / "twin", origin="audit.example.com")
    shutil.copytree(lost.directory / "ledger" / "keys", lost.directory / "twin" / "keys")
    (lost.directory / "twin" / "keys" / "users.signed").unlink()
    fork = twin.partition("users")
    fork.append_many({"other": n} for n in range(700))
    fork.publish()
    fork.export(lost.directory / "fork")
    with pytest.raises(CorruptLedgerError, match="not those that the key signed last"):
        lost.restore("fork")


def test_tampered_copies(lost: Lost) -> None:
    """One bit of any tile, bundle or the checkpoint: refused, and the partition stays lost."""
    for path in sorted(path for path in (lost.directory / "site").rglob("*") if path.is_file()):
        if path.name == "vkey":
            continue
        good = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 1]) + good[len(good) // 2 + 1 :])
        if not str(path).endswith("tile/1/000.p/1"):  # of an earlier tree
            with pytest.raises(Error):
                lost.restore()
        path.write_bytes(good)
    lost.restore()


def test_what_must_be_there(lost: Lost) -> None:
    """Without the verifier key or the key's record nothing is restored; nor where there are entries already."""
    keys = lost.directory / "ledger" / "keys"
    for name in ("users.signed", "users.vkey"):
        (keys / name).rename(keys / "away")
        with pytest.raises(NotFoundError):
            lost.restore()
        (keys / "away").rename(keys / name)
    lost.restore()
    with pytest.raises(ConflictError, match="move the directory away"):
        lost.restore()


def test_an_interrupted_restoration(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an interrupted one left is no partition, and is removed by the next."""
    monkeypatch.setattr("tlog.mirroring.restore.audit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        lost.restore()
    monkeypatch.undo()
    assert lost.ledger.partitions() == []
    lost.restore()
