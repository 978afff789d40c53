from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ledgers import NAME, QuickDisk, StepClock, copied, files_of, flip, make_ledger, make_writable, opened
from tlog import Ledger, Partition
from tlog.errors import NotFoundError
from tlog.fsck import MAX_FINDINGS


@pytest.fixture(scope="module")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_ledger(tmp_path_factory.mktemp("template") / "l", [100, 300, 600], more=5)
    opened(path).seal()
    return path


@pytest.fixture
def path(_template: Path, tmp_path: Path) -> Path:
    """A ledger of 605 entries with two sealed segments and three checkpoints."""
    return copied(_template, tmp_path / "l")


def part(path: Path, *names: str) -> Path:
    """Return a path in the partition's directory."""
    return path.joinpath("partitions", NAME, *names)


def is_derived(name: str) -> bool:
    """Whether fsck may write a file: tiles, manifests and the published copy of the last checkpoint."""
    return "/tile/" in name or name.endswith((".manifest", f"{NAME}/checkpoint"))


def originals(path: Path) -> dict[str, object]:
    """Return all files that fsck must never touch, with times."""
    return {name: seen for name, seen in files_of(path, times=True).items() if not is_derived(name)}


def test_a_clean_ledger(path: Path) -> None:
    """Nothing is found, nothing is written, with and without repair; the counts are those of the ledger."""
    before = files_of(path, times=True)
    for repair in (False, True):
        told: list[int] = []
        report = opened(path).fsck(repair=repair, progress=told.append)
        assert (report.entries, report.findings, report.is_clean) == (605, (), True)
        assert told == sorted(told)
        assert told[-1] == 605
        tiles = [file for file in part(path, "tile").rglob("*") if file.is_file()]
        assert report.tiles >= len(tiles)
    assert files_of(path, times=True) == before


DERIVED = [
    "tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2", "tile/1/000.p/1", "checkpoint",
    "segments/00000000000000000000.manifest", "segments/00000000000000000256.manifest",
]  # fmt: skip


@pytest.mark.parametrize("name", DERIVED)
@pytest.mark.parametrize("how", ["gone", "bit", "cut", "longer", "empty"])
def test_what_is_derived_is_rebuilt(path: Path, name: str, how: str) -> None:
    """A derived file that is gone or wrong is named, is called repairable, and is rebuilt byte for byte."""
    good, kept = files_of(path), originals(path)
    file = part(path, name)
    raw = file.read_bytes()
    if how == "gone":
        file.unlink()
    elif how == "bit":
        flip(file, len(raw) * 4)
    else:
        file.write_bytes({"cut": raw[:-1], "longer": raw + b"\0", "empty": b""}[how])
    damaged = files_of(path, times=True)
    report = opened(path).fsck()
    assert str(file) in {finding.place for finding in report.findings if finding.is_repairable}
    assert not any(finding.is_repaired for finding in report.findings)
    assert len(report.findings) == 1 or "tile" not in name
    assert not report.is_clean
    assert files_of(path, times=True) == damaged
    repaired = opened(path).fsck(repair=True)
    assert repaired.is_clean
    assert all(finding.is_repaired for finding in repaired.findings)
    assert files_of(path) == good
    assert originals(path) == kept
    assert opened(path).fsck().findings == ()


def test_all_that_is_derived_at_once(path: Path) -> None:
    """With every derived file gone, one repair brings all of them back, byte for byte."""
    good = files_of(path)
    for name in files_of(path):
        if is_derived(name):
            (path / name).unlink()
    report = opened(path).fsck(repair=True)
    assert report.is_clean
    assert files_of(path) == good
    assert opened(path).append("on").seq == 605


Damage = Callable[[Path], None]


def _edit(name: str, old: bytes, new: bytes) -> Damage:
    def edit(path: Path) -> None:
        file = path / name
        raw = file.read_bytes()
        assert old in raw
        make_writable(file).write_bytes(raw.replace(old, new, 1))

    return edit


def _drop_last_line(name: str) -> Damage:
    def drop(path: Path) -> None:
        file = path / name
        make_writable(file).write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))

    return drop


SEGMENTS = f"partitions/{NAME}/segments"
PLAIN, SEALED = f"{SEGMENTS}/{512:020d}.jsonl", f"{SEGMENTS}/{0:020d}.jsonl.zst"
RECORD, SIGNED, VKEY = f"partitions/{NAME}/checkpoints.jsonl", f"keys/{NAME}.signed", f"keys/{NAME}.vkey"
ORIGINALS: dict[str, tuple[Damage, str]] = {
    "entry": (_edit(PLAIN, b'"event":520', b'"event":521'), "entry 520 "),
    "unsigned entry": (_edit(PLAIN, b'"event":603}', b'"event":604}'), "entry 603 "),
    "last entry gone": (_drop_last_line(PLAIN), "entry 604 "),
    "segment gone": (lambda path: (path / PLAIN).unlink(), "entry 512 "),
    "frame": (lambda path: flip(path / SEALED, 8_000), SEALED),
    "sealed segment gone": (lambda path: (path / SEALED).unlink(), SEGMENTS),
    "record": (_edit(RECORD, b'"tree_size":300', b'"tree_size":301'), RECORD),
    "record gone": (lambda path: (path / RECORD).unlink(), "checkpoint"),
    "record's last line gone": (_drop_last_line(RECORD), RECORD),
    "signer's record": (_edit(SIGNED, b"\n600\n", b"\n599\n"), SIGNED),
    "signer's record ahead": (_edit(SIGNED, b"\n600\n", b"\n603\n"), SIGNED),
    "signer's record far ahead": (_edit(SIGNED, b"\n600\n", b"\n700\n"), "700 were signed"),
    "signer's record gone": (lambda path: (path / SIGNED).unlink(), SIGNED),
    "signer's record garbage": (_edit(SIGNED, b"\n", b""), SIGNED),
    "verifier key": (_edit(VKEY, b"users", b"other"), VKEY),
    "verifier key gone": (lambda path: (path / VKEY).unlink(), VKEY),
}


@pytest.mark.parametrize("kind", ORIGINALS)
def test_originals_are_never_touched(path: Path, kind: str) -> None:
    """What is wrong with an original is found and named, is not repairable, and no byte of an original changes."""
    damage, place = ORIGINALS[kind]
    damage(path)
    before = originals(path)
    for repair in (False, True):
        report = opened(path).fsck(repair=repair)
        assert not report.is_clean
        found = [f"{finding.place}: {finding.message}" for finding in report.findings if not finding.is_repaired]
        assert any(place in text for text in found), found
        assert originals(path) == before
    assert not (path / SIGNED).exists() or (path / SIGNED).read_bytes() == before_bytes(before, SIGNED)


def before_bytes(files: dict[str, object], name: str) -> bytes:
    """Return the bytes of a file as `originals` saw them."""
    seen = files[name]
    assert isinstance(seen, tuple)
    assert isinstance(seen[0], bytes)
    return seen[0]


def test_tiles_are_not_rebuilt_from_wrong_entries(path: Path) -> None:
    """Where the entries are not what was signed, tiles that are right stay, and none is made of the wrong entries."""
    record = json.loads((path / RECORD).read_bytes().splitlines()[-1])
    assert record["tree_size"] == 600
    other = make_ledger(path.parent / "other", [100, 300, 600], more=5)
    raw = (other / PLAIN).read_bytes().replace(b'"event":520', b'"event":777')
    make_writable(path / PLAIN).write_bytes(raw)
    part(path, "lock").unlink()
    before = files_of(path)
    report = opened(path).fsck(repair=True)
    assert not report.is_clean
    assert files_of(path) == before


def test_leftovers_of_temporary_files(path: Path) -> None:
    """Files that a crash left without their names are no finding; --repair removes them and nothing else."""
    good = files_of(path)
    left = [
        part(path, "tile/0/003.1-2.tmp"),
        part(path, "checkpoint.77-88.tmp"),
        part(path, "segments/00000000000000000256.jsonl.zst.1-2.tmp"),
        part(path, "segments/00000000000000000256.manifest.1-2.tmp"),
    ]
    for file in left:
        file.write_bytes(b"half")
        os.utime(file, (0, 0))  # a young one may belong to somebody who is writing it
    assert opened(path).fsck().findings == ()
    assert all(file.exists() for file in left)
    assert opened(path).verify().entries == 605
    assert opened(path).fsck(repair=True).is_clean
    assert files_of(path) == good


def test_several_findings_in_one_run(path: Path) -> None:
    """A wrong tile, a wrong manifest and a wrong record are all found, not only the first."""
    flip(part(path, "tile", "0", "000"), 5)
    flip(part(path, "segments", f"{256:020d}.manifest"), 300)
    (path / SIGNED).unlink()
    places = {finding.place for finding in opened(path).fsck().findings}
    assert places >= {str(part(path, "segments", f"{256:020d}.manifest")), str(path / SIGNED)}
    # Without the signer's record no tree is known to be signed; with it back the tile is found too.
    opened(path).fsck(repair=True)
    (path / SIGNED).write_bytes(b"\n".join(part(path, "checkpoint").read_bytes().split(b"\n")[:3]) + b"\n")
    assert {finding.place for finding in opened(path).fsck().findings} == {str(part(path, "tile", "0", "000"))}


def test_findings_are_bounded(tmp_path: Path) -> None:
    """A partition with more wrong tiles than anybody reads reports a thousand of them."""
    ledger = Ledger.create(tmp_path, origin="a.example", segment_entries=65536, disk=QuickDisk(), clock=StepClock())
    partition = ledger.partition(NAME)
    partition.append_many(range(256 * (MAX_FINDINGS + 5)))
    partition.publish()
    for index in range(MAX_FINDINGS + 5):
        flip(partition.paths.root / f"tile/0/{'' if index < 1000 else 'x001/'}{index % 1000:03d}", 9)
    assert len(partition.fsck().findings) == MAX_FINDINGS
    ledger.close()


def test_partitions_in_other_states(tmp_path: Path) -> None:
    """A partition that does not exist, is empty, or was never published."""
    partition: Partition = Ledger.create(tmp_path, origin="a.example").partition(NAME)
    with pytest.raises(NotFoundError, match="there is none"):
        partition.fsck()
    partition.create()
    assert partition.fsck().findings == ()
    partition.append(1)
    assert (partition.fsck().entries, partition.fsck().findings) == (1, ())
    partition.publish()
    assert partition.fsck().findings == ()
    partition.close()
