from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tlog
from tests.ledgers import ORIGIN, QuickDisk
from tlog.recording.anchor import Anchor
from tlog.storage.disk import Files


def make(path: Path, count: int = 3) -> tlog.AuditLog:
    """Return a log with so many events, published."""
    trail = tlog.AuditLog.open(path, origin=ORIGIN)
    for number in range(count):
        trail.audit(f"m{number}")
    trail.publish()
    return trail


def segment(trail: tlog.AuditLog) -> Path:
    """Return the file that holds the entries."""
    return trail.partition.paths.plain(0)


def test_the_first_verification_is_not_anchored_and_the_next_one_is(tmp_path: Path) -> None:
    """What was verified is kept beside the partitions, durably, and the next verification begins with it."""
    with make(tmp_path / "l") as trail:
        first = trail.verify()
        assert (first.is_anchored, first.entries) == (False, 3)
        kept = tmp_path / "l" / "verified" / "audit.checkpoint"
        assert kept.read_bytes() == trail.partition.checkpoint().raw
        trail.audit("more")
        second = trail.verify()
        assert second.kept == first.published == second.published
        assert second.unpublished == 1
    with tlog.AuditLog.open(tmp_path / "l") as again:
        newest = again.publish()
        third = again.verify()
        assert (third.kept, third.published) == (first.published, newest)
        assert kept.read_bytes() == newest.raw
        assert again.stats().verified == newest


def test_nothing_to_verify(tmp_path: Path) -> None:
    """Without events there is nothing; without a checkpoint the chain is checked and nothing is kept."""
    with tlog.AuditLog.open(tmp_path, origin=ORIGIN) as trail:
        with pytest.raises(tlog.NotFoundError, match="partition audit: there is none"):
            trail.verify()
        trail.info("first")
        assert trail.verify().published is None
        assert trail.stats().verified is None


def test_an_altered_entry(tmp_path: Path) -> None:
    """The entry is named, and what was kept stays."""
    with make(tmp_path) as trail:
        trail.verify()
        kept = (tmp_path / "verified" / "audit.checkpoint").read_bytes()
        segment(trail).write_bytes(segment(trail).read_bytes().replace(b'"m1"', b'"mX"'))
        with pytest.raises(tlog.CorruptLedgerError, match=r"entry 1 .*not the hash of its bytes"):
            trail.verify()
        assert (tmp_path / "verified" / "audit.checkpoint").read_bytes() == kept


def test_a_log_that_was_put_back(tmp_path: Path) -> None:
    """An older copy of the whole log is right in itself, and is found out by what was kept."""
    with make(tmp_path / "l") as trail:
        shutil.copytree(tmp_path / "l", tmp_path / "old")
        trail.audit("later")
        trail.publish()
        trail.verify()
    shutil.copytree(tmp_path / "l" / "verified", tmp_path / "old" / "verified")
    with tlog.AuditLog(tmp_path / "old") as old:
        assert old.partition.verify().entries == 3
        with pytest.raises(tlog.VerificationError, match="entries are missing: 4 are covered by the checkpoint"):
            old.verify()


@pytest.mark.parametrize("keeps_key", [True, False])
def test_a_log_that_was_made_anew(tmp_path: Path, keeps_key: bool) -> None:
    """Other entries under the same key, or another key, are found out by what was kept."""
    with make(tmp_path / "l") as trail:
        trail.verify()
    shutil.rmtree(tmp_path / "l" / "partitions")
    (tmp_path / "l" / "keys" / "audit.signed").unlink()
    if not keeps_key:
        (tmp_path / "l" / "keys" / "audit.pem").unlink()
        (tmp_path / "l" / "keys" / "audit.vkey").unlink()
    with make(tmp_path / "l", 5) as anew:
        assert anew.partition.verify().entries == 5
        expected = tlog.InconsistentLogError if keeps_key else tlog.UntrustedNoteError
        with pytest.raises(expected):
            anew.verify()


def test_what_was_kept_was_altered(tmp_path: Path) -> None:
    """A kept file that is no checkpoint is an error that names it and says what to do; so is another log's."""
    with make(tmp_path / "l") as trail, make(tmp_path / "other", 2) as other:
        trail.verify()
        path = tmp_path / "l" / "verified" / "audit.checkpoint"
        for raw in (b"", b"x", path.read_bytes()[:-1], b"x" * (1 << 21)):
            path.write_bytes(raw)
            with pytest.raises(tlog.FormatError, match=r"audit\.checkpoint.*put back a copy"):
                trail.verify()
            with pytest.raises(tlog.FormatError, match=r"audit\.checkpoint"):
                trail.stats()
        path.write_bytes(other.partition.checkpoint().raw)
        with pytest.raises(tlog.VerificationError):
            trail.verify()
        path.unlink()
        assert not trail.verify().is_anchored


def test_another_place_for_what_is_kept(tmp_path: Path) -> None:
    """The file may lie outside of the ledger."""
    make(tmp_path / "l").close()
    place = tmp_path / "elsewhere" / "kept"
    with tlog.AuditLog(tmp_path / "l", anchor=place) as trail:
        trail.verify()
        assert trail.verify().is_anchored
        assert place.exists()
        assert not (tmp_path / "l" / "verified").exists()


def test_what_is_kept_never_goes_back(tmp_path: Path) -> None:
    """Whoever has verified an older checkpoint does not replace a newer one."""
    with make(tmp_path / "l") as trail:
        old = trail.partition.checkpoint()
        trail.audit("more")
        new = trail.publish()
    anchor = Anchor(Files(QuickDisk()), tmp_path / "kept")
    assert anchor.read() is None
    assert [anchor.advance(found) for found in (old, new, old)] == [old, new, new]
    assert anchor.read() == new
