"""Every kind of stored byte altered, one bit or one field at a time: found, and the report names the place."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tlog
from tests.ledgers import NAME, ORIGIN, QuickDisk, StepClock, copied, files_of, flip, make_writable, opened, tree_of
from tlog import Ledger, Partition, Policy
from tlog.errors import CorruptLedgerError, Error, InconsistentLogError, TileMismatchError, VerificationError
from tlog.fsck import FsckReport
from tlog.storage.sealed import Manifest
from tlog_tools.main import cli

SEGMENT_ENTRIES = 512
SIZES = (100, 600, 1100)
"""Of the checkpoints: the last two leave partial tiles at level 1 beside each other."""
ENTRIES = 1110


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a sealed, a complete and a growing segment, three checkpoints and entries after them."""
    path = tmp_path_factory.mktemp("template") / "l"
    ledger = Ledger.create(path, origin=ORIGIN, segment_entries=SEGMENT_ENTRIES, disk=QuickDisk(), clock=StepClock())
    partition = ledger.partition(NAME)
    for start, stop in zip((0, *SIZES), (*SIZES, ENTRIES), strict=True):
        for number in range(start, stop, 50):  # meta in some, and more than one ts
            partition.append({"event": number}, meta={"writer": "w"})
            partition.append_many({"event": n, "text": "JJ\u00e9"} for n in range(number + 1, min(number + 50, stop)))
        if stop in SIZES:
            partition.publish()
        if stop == SIZES[1]:
            partition.seal()
    ledger.close()
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    """A copy of that ledger."""
    return copied(template, tmp_path / "l")


@pytest.fixture(scope="module")
def kept(template: Path) -> bytes:
    """The checkpoint of size 600, kept by an auditor."""
    return opened(template).checkpoint(SIZES[1]).raw


@pytest.fixture(scope="module")
def newest(template: Path) -> bytes:
    """The newest checkpoint, kept by an auditor."""
    return opened(template).checkpoint().raw


def part(path: Path, *names: str) -> Path:
    """Return a path in the partition's directory."""
    return path.joinpath("partitions", NAME, *names)


def segment(path: Path, first: int, suffix: str = ".jsonl") -> Path:
    """Return a file of a segment."""
    return part(path, "segments", f"{first:020d}{suffix}")


def examine(path: Path, kept: bytes) -> tuple[Error | None, FsckReport]:
    """Return what verify with a kept checkpoint raises, None for nothing, and what fsck finds.

    Any other error than one of verification leaves.
    """
    partition = opened(path, disk=QuickDisk())
    error: Error | None = None
    try:
        partition.verify(checkpoint=kept)
    except VerificationError as err:
        error = err
    except tlog.FormatError as err:  # of the verifier key, without which nothing can be verified
        if f"{NAME}.vkey" not in str(err):
            raise
        error = err
    report = partition.fsck()
    partition.close()
    return error, report


def places_of(error: Error | None, report: FsckReport) -> str:
    """Return what both reports say, as one text."""
    said = [] if error is None else [str(error)]
    return "\n".join(said + [f"{finding.place}: {finding.message}" for finding in report.findings])


def bits_of(path: Path, step: int) -> Iterator[int]:
    """Yield a bit in every `step`-th byte of a file, not always the same one, and one in its first and last byte."""
    size = path.stat().st_size
    for byte in sorted({0, size - 1, *range(0, size, step)}):
        yield byte * 8 + (byte // step * 5 + byte) % 8


@pytest.fixture
def altered(path: Path) -> Callable[[Path, int], Iterator[int]]:
    """Flip bits of a file one at a time, and put it right again after each."""

    def each(file: Path, step: int) -> Iterator[int]:
        good = file.read_bytes()
        for bit in bits_of(file, step):
            flip(file, bit)
            yield bit
            file.write_bytes(good)

    assert path.exists()
    return each


Altered = Callable[[Path, int], Iterator[int]]


def test_the_untouched_ledger(path: Path, kept: bytes, newest: bytes) -> None:
    """Nothing is found in the ledger that all these tests alter, with either kept checkpoint."""
    for anchor in (kept, newest):
        error, report = examine(path, anchor)
        assert (error, report.findings, report.entries) == (None, (), ENTRIES)
    stored = {str(name.relative_to(part(path))) for name in part(path).rglob("*") if name.is_file()}
    assert {"tile/0/000", "tile/0/003", "tile/0/004.p/76", "tile/1/000.p/4", "tile/1/000.p/2"} <= stored


# One bit


@pytest.mark.parametrize("first", [512, 1024])
def test_one_bit_of_a_plain_segment(path: Path, kept: bytes, altered: Altered, first: int) -> None:
    """Verify and fsck both name the entry in whose line the bit is, also where it is the newline."""
    file = segment(path, first)
    raw = file.read_bytes()
    for bit in altered(file, 2999):
        seq = first + raw[: bit // 8].count(b"\n")
        error, report = examine(path, kept)
        assert isinstance(error, CorruptLedgerError), bit
        assert error.seq == seq or (seq == ENTRIES - 1 and str(file) in str(error)), (bit, error)
        assert any(finding.seq == seq for finding in report.findings) or seq == ENTRIES - 1, (bit, report)
        assert not report.is_clean


def test_every_bit_of_one_entry(path: Path, kept: bytes) -> None:
    """Every bit of one line, its newline included: the entry is named by its seq."""
    file = segment(path, 512)
    raw = file.read_bytes()
    start = raw.index(b'{"seq":700,')
    end = raw.index(b"\n", start) + 1
    partition = opened(path, disk=QuickDisk())
    for bit in range(start * 8, end * 8, 11):
        flip(file, bit)
        with pytest.raises(CorruptLedgerError) as caught:
            partition.verify(checkpoint=kept)
        assert caught.value.seq == 700, (bit - start * 8, caught.value)
        assert f"entry 700 ({file})" in str(caught.value)
        file.write_bytes(raw)


def test_one_bit_of_a_sealed_segment(path: Path, kept: bytes, altered: Altered) -> None:
    """The frame is named by its first entry; a bit that changes no entry is told by the manifest."""
    file, manifest = segment(path, 0, ".jsonl.zst"), segment(path, 0, ".manifest")
    second_frame = Manifest.decode(manifest.read_bytes(), "").frames[1]
    named = 0
    for bit in altered(file, 173):
        seq = 256 if bit // 8 >= second_frame else 0
        error, report = examine(path, kept)
        assert not report.is_clean, bit
        assert str(file) in places_of(error, report) or str(manifest) in places_of(error, report)
        if error is not None:
            named += 1
            assert f"entry {seq} ({file})" in str(error), (bit, error)
    assert named > 30


def test_one_bit_of_a_manifest(path: Path, kept: bytes, altered: Altered) -> None:
    """Fsck names the manifest, and repairs it byte for byte."""
    file = segment(path, 0, ".manifest")
    good = file.read_bytes()
    for bit in altered(file, 5):
        _, report = examine(path, kept)
        assert [finding.place for finding in report.findings][:1] == [str(file)], bit
        assert report.findings[0].is_repairable
        opened(path, disk=QuickDisk()).fsck(repair=True)
        assert file.read_bytes() == good


@pytest.mark.parametrize("tile", ["0/000", "0/001", "0/003", "0/004.p/76", "1/000.p/4"])
def test_one_bit_of_a_tile(path: Path, kept: bytes, altered: Altered, tile: str) -> None:
    """Verify and fsck name the tile."""
    file = part(path, "tile", tile)
    for _ in altered(file, 1499 if tile.startswith("0") else 31):
        error, report = examine(path, kept)
        assert isinstance(error, TileMismatchError)
        assert error.tile == f"tile/{tile}"
        assert {finding.place for finding in report.findings} == {str(file)}
        assert all(finding.is_repairable for finding in report.findings)


def test_one_bit_of_a_tile_of_an_earlier_tree(path: Path, kept: bytes, altered: Altered) -> None:
    """Fsck names the partial tile that only an earlier checkpoint has; the published tree does not need it."""
    file = part(path, "tile", "1", "000.p", "2")
    for _ in altered(file, 7):
        error, report = examine(path, kept)
        assert error is None
        assert {finding.place for finding in report.findings} == {str(file)}


def test_one_bit_of_the_checkpoint(path: Path, kept: bytes, altered: Altered) -> None:
    """Verify refuses it, and fsck names the file, which is a copy."""
    file = part(path, "checkpoint")
    for bit in altered(file, 3):
        error, report = examine(path, kept)
        assert error is not None, bit
        assert str(file) in {finding.place for finding in report.findings}, (bit, report.findings)


def test_one_bit_of_the_record_of_checkpoints(path: Path, kept: bytes, altered: Altered) -> None:
    """Fsck names the file, whichever of its checkpoints it is."""
    file = part(path, "checkpoints.jsonl")
    for bit in altered(file, 19):
        error, report = examine(path, kept)
        assert error is None, bit
        assert not report.is_clean, bit
        assert str(file) in places_of(error, report) or str(part(path, "checkpoint")) in places_of(error, report)


def test_one_bit_of_the_signers_record(path: Path, kept: bytes, altered: Altered) -> None:
    """Fsck names the file, or the tree that it says was signed; nothing is signed any more."""
    file = path / "keys" / f"{NAME}.signed"
    good = part(path, "checkpoint").read_bytes()
    for bit in altered(file, 1):
        error, report = examine(path, kept)
        assert error is None
        assert not report.is_clean, (bit, file.read_bytes())
        places = places_of(error, report)
        assert str(file) in places or "were signed" in places, (bit, places)
        with pytest.raises(CorruptLedgerError):
            opened(path, disk=QuickDisk()).publish()
        assert part(path, "checkpoint").read_bytes() == good


def test_one_bit_of_the_verifier_key(path: Path, kept: bytes, altered: Altered) -> None:
    """Verify and fsck name the file."""
    file = path / "keys" / f"{NAME}.vkey"
    for bit in altered(file, 1):
        error, report = examine(path, kept)
        assert error is not None, bit
        assert str(file) in str(error)
        assert str(file) in {finding.place for finding in report.findings}


def test_one_bit_of_the_private_key(path: Path, altered: Altered) -> None:
    """A private key that is not the verifier key's signs nothing, whether something was signed before or not."""
    file = path / "keys" / f"{NAME}.pem"
    fresh = path.parent / "fresh"
    with Ledger.create(fresh, origin=ORIGIN) as ledger:
        ledger.partition(NAME).append(1)
    fresh_file = fresh / "keys" / f"{NAME}.pem"
    good = fresh_file.read_bytes()
    for bit in altered(file, 2):
        file.chmod(0o600)
        with pytest.raises(Error):
            opened(path, disk=QuickDisk()).publish()
        fresh_file.write_bytes(good)
        flip(fresh_file, bit)
        fresh_file.chmod(0o600)
        with pytest.raises(Error):
            opened(fresh, disk=QuickDisk()).publish()
        assert not part(fresh, "checkpoint").exists()


def test_one_bit_of_the_durable_mark(path: Path, kept: bytes, altered: Altered) -> None:
    """A mark that is altered is no mark: nothing is lost, and the next writer makes it again."""
    file = part(path, "lock")
    good = file.read_bytes()
    for _ in altered(file, 9):
        assert examine(path, kept)[0] is None
        assert opened(path, disk=QuickDisk()).size == ENTRIES
        partition = opened(path, disk=QuickDisk())
        assert partition.append_many([]).count == 0
        assert partition.size == ENTRIES
        partition.close()
        assert file.read_bytes() == good


def test_one_bit_of_a_proof(template: Path, newest: bytes) -> None:
    """A .tlog-proof or consistency proof with a flipped bit is refused, wherever the bit is."""
    partition = opened(template)
    policy = Policy.for_log(partition.vkey)
    proof = partition.prove(700).format()
    consistency = partition.prove_consistency(SIZES[1]).format()
    old = partition.checkpoint(SIZES[1]).raw
    tlog.verify_proof(proof, policy=policy)
    tlog.verify_consistency(consistency, old=old, policy=policy)
    for bit in range(0, len(proof) * 8, 7):
        with pytest.raises(Error):
            tlog.verify_proof(_flipped(proof, bit), policy=policy)
    for bit in range(0, len(consistency) * 8, 3):
        with pytest.raises(Error):
            tlog.verify_consistency(_flipped(consistency, bit), old=old, policy=policy)
    for bit in range(len(newest) * 8):
        with pytest.raises(Error):
            tlog.verify_checkpoint(_flipped(newest, bit), policy)


def _flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# One field


def lines_in(file: Path) -> list[bytes]:
    """Return the lines of a file, without newlines."""
    return file.read_bytes().split(b"\n")[:-1]


def write_lines(file: Path, lines: Iterable[bytes]) -> None:
    """Write lines in place of a file's content."""
    make_writable(file).write_bytes(b"".join(line + b"\n" for line in lines))


def rehashed(line: bytes) -> bytes:
    """Return an entry's line with the hash that its bytes have now."""
    body = line[:-75]
    return body + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'


FIELDS: dict[str, tuple[bytes, bytes]] = {
    "seq": (b'{"seq":700,', b'{"seq":701,'),
    "ts back": (b'"ts":"20', b'"ts":"19'),
    "ts no time": (b'"ts":"20', b'"ts":"xx'),
    "partition": (b'"partition":"users"', b'"partition":"other"'),
    "prev_hash": (b'"prev_hash":"', b'"prev_hash":"0'),
    "meta": (b'"meta":{"writer":"w"}', b'"meta":{"writer":"x"}'),
    "no meta": (b'"meta":{"writer":"w"},', b""),
    "data": (b'"event":700', b'"event":701'),
    "meta's key": (b'"meta":', b'"Meta":'),
    "data's key": (b'"data":', b'"Data":'),
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("how", ["alone", "with its hash"])
def test_one_field_of_an_entry(path: Path, kept: bytes, field: str, how: str) -> None:
    """A field altered is named by its entry; with its hash made right, by that entry or the one that follows it."""
    file = segment(path, 512)
    lines = lines_in(file)
    old, new = FIELDS[field]
    line = lines[700 - 512]
    assert old in line
    changed = line.replace(old, new, 1)
    if field == "prev_hash":
        changed = line.replace(old + line.split(old)[1][:1], old + b"g", 1)
    lines[700 - 512] = rehashed(changed) if how == "with its hash" else changed
    write_lines(file, lines)
    error, report = examine(path, kept)
    named_itself = field in ("seq", "ts back", "ts no time", "partition", "prev_hash", "meta's key")
    expected = 700 if how == "alone" or named_itself else 701
    assert isinstance(error, CorruptLedgerError)
    assert error.seq == expected
    assert error.expected is not None
    assert error.expected != error.found
    assert expected in {finding.seq for finding in report.findings}


@pytest.mark.parametrize("field", ["data", "meta"])
def test_one_field_and_the_chain_after_it(path: Path, kept: bytes, newest: bytes, field: str) -> None:
    """An entry altered and the whole chain behind it made right: the tiles that were signed name the entry."""
    rewrite_chain(path, *FIELDS[field])
    for anchor in (kept, newest):
        error, report = examine(path, anchor)
        assert isinstance(error, CorruptLedgerError)
        assert (error.seq, "is not the one that was signed" in str(error)) == (700, True)
        findings = {finding.seq for finding in report.findings}
        assert min(seq for seq in findings if seq is not None) == 700
        assert not any(finding.is_repairable for finding in report.findings)


def rewrite_chain(path: Path, old: bytes, new: bytes) -> list[bytes]:
    """Alter entry 700 and chain all that follow to it; return the lines of all entries."""
    partition = opened(path, disk=QuickDisk())
    lines = [entry.raw for entry in partition.entries()]
    partition.close()
    assert old in lines[700]
    lines[700] = rehashed(lines[700].replace(old, new))
    for seq in range(701, len(lines)):
        last = lines[seq - 1][-66:-2]
        start = lines[seq].index(b'"prev_hash":"') + len(b'"prev_hash":"')
        lines[seq] = rehashed(lines[seq][:start] + last + lines[seq][start + 64 :])
    write_lines(segment(path, 512), lines[512:1024])
    write_lines(segment(path, 1024), lines[1024:])
    part(path, "lock").unlink()
    return lines


def test_entries_and_their_tile_rewritten_together(path: Path, kept: bytes, newest: bytes) -> None:
    """With level 0 tiles that fit the rewritten entries, the tile above them names the entries that were replaced."""
    lines = rewrite_chain(path, b'"event":700', b'"event":777')
    tree = tree_of(lines)
    for index in (2, 3):
        rows = [tree.mth(seq, seq + 1) for seq in range(index * 256, index * 256 + 256)]
        part(path, "tile", "0", f"{index:03d}").write_bytes(b"".join(rows))
    rows = [tree.mth(seq, seq + 1) for seq in range(1024, 1100)]
    part(path, "tile", "0", "004.p", "76").write_bytes(b"".join(rows))
    for anchor in (kept, newest):
        error, report = examine(path, anchor)
        assert isinstance(error, VerificationError)
        assert "checkpoint of size 1100" in {finding.place for finding in report.findings}
        assert not any(finding.is_repairable for finding in report.findings)
    before = files_of(path)
    assert not opened(path).fsck(repair=True).is_clean
    assert files_of(path) == before
    copy = copied(path, path.parent / "all")
    rows = [tree.mth(index * 256, index * 256 + 256) for index in range(4)]
    part(copy, "tile", "1", "000.p", "4").write_bytes(b"".join(rows))
    assert isinstance(examine(copy, kept)[0], VerificationError)


def test_entries_and_one_full_tile_rewritten_together(path: Path, kept: bytes) -> None:
    """A level 0 tile rewritten with its entries, the rest of the tree untouched: the range of the tile is named."""
    lines = rewrite_chain(path, b'"event":700', b'"event":777')
    tree = tree_of(lines)
    rows = [tree.mth(seq, seq + 1) for seq in range(512, 768)]
    part(path, "tile", "0", "002").write_bytes(b"".join(rows))
    error, _ = examine(path, kept)
    assert isinstance(error, VerificationError)
    # Entry 768 is the first whose level 0 tile still says what was signed; the level above tells of those before it.
    assert "entries 512 to 767" in str(error) or "entry 768 " in str(error)


@pytest.mark.parametrize("change", ["removed", "twice", "swapped", "inserted", "empty line", "first removed"])
def test_lines_moved_about(path: Path, kept: bytes, change: str) -> None:
    """A line removed, doubled, swapped or inserted is named by the first seq that is not in its place."""
    file = segment(path, 512)
    lines = lines_in(file)
    at = 0 if change == "first removed" else 700 - 512
    replacement = {
        "removed": [],
        "first removed": [],
        "twice": [lines[at], lines[at]],
        "swapped": [lines[at + 1], lines[at], *lines[at + 2 : at + 2]],
        "inserted": [rehashed(lines[at].replace(b'"event":700', b'"event":7000')), lines[at]],
        "empty line": [b"", lines[at]],
    }[change]
    lines[at : at + (2 if change == "swapped" else 1)] = replacement
    write_lines(file, lines)
    before = files_of(path, times=True)
    error, report = examine(path, kept)
    assert files_of(path, times=True) == before
    expected = 512 + at + (1 if change in ("twice", "inserted") else 0)
    assert isinstance(error, CorruptLedgerError)
    assert error.seq == expected
    assert expected in {finding.seq for finding in report.findings}


MANIFEST_CHANGES: dict[str, Callable[[Manifest], Manifest]] = {
    "first": lambda m: replace(m, first=512),
    "count": lambda m: replace(m, count=m.count - 1),
    "prev_hash": lambda m: replace(m, prev_hash=bytes(31) + b"\1"),
    "last_hash": lambda m: replace(m, last_hash=bytes(32)),
    "root_hash": lambda m: replace(m, root_hash=bytes(32)),
    "first_ts": lambda m: replace(m, first_ts=m.last_ts),
    "last_ts": lambda m: replace(m, last_ts=m.first_ts),
    "frames": lambda m: replace(m, frames=(0, m.frames[1] + 1)),
    "size": lambda m: replace(m, size=m.size + 1),
    "sha256": lambda m: replace(m, sha256=bytes(32)),
}


@pytest.mark.parametrize("field", MANIFEST_CHANGES)
def test_one_field_of_a_manifest(path: Path, kept: bytes, field: str) -> None:
    """A manifest that is well-formed and wrong in one field is named by fsck; its entries are never misread."""
    file = segment(path, 0, ".manifest")
    manifest = Manifest.decode(file.read_bytes(), "")
    file.write_bytes(MANIFEST_CHANGES[field](manifest).encode())
    error, report = examine(path, kept)
    assert str(file) in {finding.place for finding in report.findings}
    assert error is None or str(file) in str(error) or str(segment(path, 0, ".jsonl.zst")) in str(error)
    partition = opened(path)
    for seq in (0, 255, 256, 511):
        try:
            assert partition.entry(seq).data["event"] == seq
        except Error:
            assert error is not None


def test_frames_moved_about(path: Path, kept: bytes) -> None:
    """Frames of a sealed segment swapped, or one twice: the entry is named."""
    file = segment(path, 0, ".jsonl.zst")
    raw, cut = file.read_bytes(), Manifest.decode(segment(path, 0, ".manifest").read_bytes(), "").frames[1]
    for changed in (raw[cut:] + raw[:cut], raw[:cut] * 2, raw[:cut], raw + raw[cut:], b""):
        make_writable(file).write_bytes(changed)
        error, report = examine(path, kept)
        assert not report.is_clean
        assert str(file) in places_of(error, report) or str(segment(path, 0, ".manifest")) in places_of(error, report)
        assert error is not None or changed == raw + raw[cut:]


def test_fields_of_the_checkpoint(path: Path, kept: bytes) -> None:
    """Size, root hash, origin and signature exchanged for others that are well-formed: verify refuses them."""
    file = part(path, "checkpoint")
    good = file.read_bytes()
    other = json.loads(lines_in(part(path, "checkpoints.jsonl"))[0])["note"].encode()
    text, signature = good.split(b"\n\n")
    other_text, other_signature = other.split(b"\n\n")
    for changed in (
        good.replace(b"\n1100\n", b"\n1099\n"),
        good.replace(text.split(b"\n")[2], other_text.split(b"\n")[2]),
        good.replace(b"/users\n", b"/other\n", 1),
        good.replace(b"/users", b"/other"),
        text + b"\n\n" + other_signature,
        other_text + b"\n\n" + signature,
        text + b"\n\n",
        other,
    ):
        file.write_bytes(changed)
        error, report = examine(path, kept)
        assert error is not None, changed
        assert str(file) in {finding.place for finding in report.findings}


@pytest.mark.parametrize("change", ["first removed", "middle removed", "last removed", "swapped", "twice", "edited"])
def test_lines_of_the_record_of_checkpoints(path: Path, kept: bytes, change: str) -> None:
    """Checkpoints of the record swapped, doubled, or edited are found; so is the last one removed.

    One before the last that is removed leaves no trace but a missing checkpoint: nothing that was signed is wrong.
    """
    file = part(path, "checkpoints.jsonl")
    one, two, three = lines_in(file)
    changed = {
        "first removed": [two, three],
        "middle removed": [one, three],
        "last removed": [one, two],
        "swapped": [two, one, three],
        "twice": [one, one, two, three],
        "edited": [one, two.replace(b'"tree_size":600', b'"tree_size":601'), three],
    }[change]
    write_lines(file, changed)
    error, report = examine(path, kept)
    assert error is None
    assert report.is_clean == (change in ("first removed", "middle removed"))
    if not report.is_clean:
        assert str(file) in places_of(error, report) or str(part(path, "checkpoint")) in places_of(error, report)


def test_repair_never_puts_an_older_checkpoint_in_place(path: Path) -> None:
    """Where the record has lost its last line, the published checkpoint is the newer one, and stays."""
    record, published = part(path, "checkpoints.jsonl"), part(path, "checkpoint")
    newest = published.read_bytes()
    for torn in (b"".join(line + b"\n" for line in lines_in(record)[:2]), record.read_bytes()[:-1]):
        record.write_bytes(torn)
        report = opened(path).fsck(repair=True)
        assert report.findings
        assert published.read_bytes() == newest


def test_fields_of_proofs(template: Path) -> None:
    """Index, hashes, entry and checkpoint of a proof exchanged, left out, doubled or added are refused."""
    partition = opened(template)
    policy = Policy.for_log(partition.vkey)
    proof, other = partition.prove(700), partition.prove(701)
    old = partition.checkpoint(SIZES[0])
    hashes = proof.hashes
    wrong = [
        replace(proof, leaf_index=701),
        replace(proof, leaf_index=700 + 1024),
        replace(proof, extra=other.extra),
        replace(proof, extra=None),
        replace(proof, extra=b""),
        replace(proof, checkpoint=old),
        replace(proof, hashes=other.hashes),
        replace(proof, hashes=()),
        replace(proof, hashes=hashes[1:]),
        replace(proof, hashes=hashes[:-1]),
        replace(proof, hashes=(*hashes, hashes[-1])),
        replace(proof, hashes=(hashes[1], hashes[0], *hashes[2:])),
        *(replace(proof, hashes=(*hashes[:n], bytes(32), *hashes[n + 1 :])) for n in range(len(hashes))),
    ]
    for bad in wrong:
        with pytest.raises(Error):
            tlog.verify_proof(bad.format(), policy=policy)
    kept = partition.checkpoint(SIZES[1])
    consistency = partition.prove_consistency(SIZES[1])
    hashes = consistency.hashes
    for wrong_one in [
        replace(consistency, old_size=SIZES[1] + 1),
        replace(consistency, old_size=SIZES[0]),
        replace(consistency, old_size=0, hashes=()),
        replace(consistency, checkpoint=old),
        replace(consistency, hashes=()),
        replace(consistency, hashes=hashes[1:]),
        replace(consistency, hashes=(*hashes, bytes(32))),
        *(replace(consistency, hashes=(*hashes[:n], bytes(32), *hashes[n + 1 :])) for n in range(len(hashes))),
    ]:
        with pytest.raises(Error):
            tlog.verify_consistency(wrong_one.format(), old=kept.raw, policy=policy)


# Restored bytes (R2, R3) and rotation (R13)


def test_the_right_bytes_restored(path: Path, kept: bytes) -> None:
    """R2: a corrupted entry stops the audit; with its right bytes back all is clean and the root is the same."""
    file = segment(path, 512)
    good, root = file.read_bytes(), opened(path).checkpoint().root_hash
    at = good.index(b'"event":700')
    make_writable(file).write_bytes(good[:at] + b'"Event":700' + good[at + 11 :])
    error, _ = examine(path, kept)
    assert isinstance(error, CorruptLedgerError)
    assert error.seq == 700
    with pytest.raises(CorruptLedgerError, match="entry 700"):
        opened(path).prove(700)
    assert opened(path).prove(699).leaf_index == 699
    file.write_bytes(good)
    error, report = examine(path, kept)
    assert (error, report.findings) == (None, ())
    partition = opened(path)
    assert partition.checkpoint().root_hash == root
    assert partition.publish().tree_size == ENTRIES


def test_wrong_bytes_restored(path: Path, kept: bytes) -> None:
    """R2: another line of the right length and with a right hash of its own is no replacement."""
    file = segment(path, 512)
    lines = lines_in(file)
    lines[700 - 512] = rehashed(lines[700 - 512].replace(b'"event":700', b'"event":777'))
    write_lines(file, lines)
    assert examine(path, kept)[0] is not None
    with pytest.raises(CorruptLedgerError, match="entry 700"):
        opened(path).prove(700)


def test_an_older_copy_restored(path: Path, template: Path, newest: bytes) -> None:
    """R3: an earlier day's directory with today's keys is read, but neither appended to nor signed."""
    partition = opened(path)
    partition.append("today")
    today = partition.publish().raw
    partition.close()
    shutil.rmtree(part(path))
    shutil.copytree(part(template), part(path))
    before = files_of(path)
    for action in (lambda p: p.append("more"), Partition.publish, lambda p: p.append_many([1])):
        with pytest.raises(CorruptLedgerError, match=f"{ENTRIES + 1} entries were signed|has signed {ENTRIES + 1}"):
            action(opened(path))
    assert files_of(path) == before
    assert opened(path).verify(checkpoint=newest).is_anchored
    with pytest.raises(CorruptLedgerError, match=f"entry {ENTRIES}: entries are missing"):
        opened(path).verify(checkpoint=today)


def test_rotation_is_no_tampering(path: Path, kept: bytes, newest: bytes) -> None:
    """R13: sealing again and again, archiving and restoring leave a ledger that verifies."""
    partition = opened(path, disk=QuickDisk())
    for number in range(3):
        partition.append_many(range(600))
        partition.publish()
        assert partition.seal().segments >= 1
        report = partition.verify(checkpoint=kept)
        assert (report.entries, report.is_anchored) == (ENTRIES + 600 * (number + 1), True)
    partition.close()
    archive = shutil.make_archive(str(path.parent / "archive"), "gztar", path)
    shutil.rmtree(path)
    shutil.unpack_archive(archive, path, filter="data")
    error, report_of_fsck = examine(path, newest)
    assert (error, report_of_fsck.findings) == (None, ())
    assert opened(path).append("after").seq == ENTRIES + 1800


@pytest.mark.parametrize("names", [[".jsonl.zst"], [".manifest"], [".jsonl.zst", ".manifest"]])
def test_an_undeclared_deletion_in_front(path: Path, kept: bytes, names: list[str]) -> None:
    """R13: the first segment removed is a loss of entries, and is called so; without its manifest it is repairable."""
    for name in names:
        segment(path, 0, name).unlink()
    with pytest.raises(Error) as caught:
        opened(path).verify(checkpoint=kept)
    assert str(part(path, "segments")) in str(caught.value)
    report = opened(path).fsck()
    assert not report.is_clean
    if names == [".manifest"]:
        assert opened(path).fsck(repair=True).is_clean
        assert opened(path).verify(checkpoint=kept).is_anchored
    else:
        assert not any(finding.is_repairable for finding in report.findings)


# The end cut off (R14)

CUTS = [1, 10, 11, 86, 87, 510, 598, 1110]
"""How many of the last entries are deleted: of the unsigned ones, of a segment, and all."""


def cut(path: Path, count: int) -> int:
    """Delete the last `count` entries, and the segments that are empty then; return how many are left."""
    left = ENTRIES - count
    for first in (0, 512, 1024):
        plain = segment(path, first)
        if first >= left:
            for suffix in (".jsonl", ".jsonl.zst", ".manifest"):
                segment(path, first, suffix).unlink(missing_ok=True)
        elif plain.exists():
            write_lines(plain, lines_in(plain)[: left - first])
    return left


def rewind(path: Path, left: int) -> int:
    """Put all statements back to the largest checkpoint that the entries left still bear out; return its size."""
    record = part(path, "checkpoints.jsonl")
    lines = [line for line in lines_in(record) if json.loads(line)["tree_size"] <= left]
    part(path, "lock").unlink()
    if not lines:
        for file in (record, part(path, "checkpoint"), path / "keys" / f"{NAME}.signed"):
            file.unlink()
        return 0
    note = json.loads(lines[-1])["note"].encode()
    write_lines(record, lines)
    part(path, "checkpoint").write_bytes(note)
    (path / "keys" / f"{NAME}.signed").write_bytes(note.partition(b"\n\n")[0] + b"\n")
    return int(json.loads(lines[-1])["tree_size"])


@pytest.mark.parametrize("count", [count for count in CUTS if count > ENTRIES - SIZES[-1]])
def test_cut_with_checkpoints_in_place(path: Path, newest: bytes, kept: bytes, count: int) -> None:
    """R14: signed entries deleted, statements left alone: found with every kept checkpoint and without one."""
    left = cut(path, count)
    part(path, "lock").unlink()
    for anchor in (newest, kept, None):
        with pytest.raises(CorruptLedgerError, match=r"entries are missing|a segment is missing") as caught:
            opened(path).verify(checkpoint=anchor)
        assert caught.value.seq == left
    report = opened(path).fsck()
    assert left in {finding.seq for finding in report.findings}
    for action in (lambda p: p.append("more"), Partition.publish):
        with pytest.raises(CorruptLedgerError, match=rf"{SIZES[-1]} entries|{left} are here"):
            action(opened(path))


@pytest.mark.parametrize("count", CUTS)
def test_cut_with_checkpoints_rewound(path: Path, newest: bytes, count: int) -> None:
    """R14: with all statements rewound too, the kept checkpoint tells; without one the result is not anchored."""
    left = cut(path, count)
    size = rewind(path, left)
    if count > ENTRIES - SIZES[-1]:
        with pytest.raises(CorruptLedgerError, match="entries are missing") as caught:
            opened(path).verify(checkpoint=newest)
        assert caught.value.seq == left
    else:
        assert opened(path).verify(checkpoint=newest).is_anchored
    report = opened(path).verify()
    assert not report.is_anchored
    assert report.kept is None
    assert (report.entries, 0 if report.published is None else report.published.tree_size) == (left, size)
    says_not_anchored(path)


@pytest.mark.parametrize("count", [1, 10])
def test_acknowledged_entries_cut(path: Path, newest: bytes, count: int) -> None:
    """R14: entries that were acknowledged and not signed are missed as long as the durable mark is there."""
    left = cut(path, count)
    for anchor in (None, newest):
        with pytest.raises(CorruptLedgerError, match="were acknowledged") as caught:
            opened(path).verify(checkpoint=anchor)
        assert caught.value.seq == left


def test_an_older_checkpoint_put_back(path: Path, kept: bytes, newest: bytes) -> None:
    """R14: all entries there, but an older checkpoint published: the kept one is newer, and says so."""
    note = json.loads(lines_in(part(path, "checkpoints.jsonl"))[0])["note"].encode()
    part(path, "checkpoint").write_bytes(note)
    for anchor in (kept, newest):
        with pytest.raises(VerificationError, match="older than the one that was kept"):
            opened(path).verify(checkpoint=anchor)
    assert not opened(path).verify().is_anchored


def test_a_log_made_anew(path: Path, newest: bytes) -> None:
    """R14: the same key, other entries from the beginning: both signed notes come as evidence, of a fork."""
    shutil.rmtree(part(path))
    (path / "keys" / f"{NAME}.signed").unlink()
    partition = opened(path)
    partition.append_many({"another": number} for number in range(ENTRIES))
    partition.publish()
    with pytest.raises(InconsistentLogError) as caught:
        partition.verify(checkpoint=newest)
    assert caught.value.old_note == newest
    assert caught.value.new_note == partition.checkpoint().raw
    assert not partition.verify().is_anchored
    says_not_anchored(path)


def test_another_key(path: Path, newest: bytes) -> None:
    """R14: the log made anew with another key: the kept checkpoint was not signed by it."""
    shutil.rmtree(path / "keys")
    shutil.rmtree(part(path))
    partition = opened(path)
    partition.append_many(range(ENTRIES))
    partition.publish()
    with pytest.raises(VerificationError):
        partition.verify(checkpoint=newest)
    says_not_anchored(path)


def says_not_anchored(path: Path) -> None:
    """Check that the command line says "not anchored" and nothing of "valid"."""
    result: Any = CliRunner().invoke(cli, ["--ledger", str(path), "verify", NAME])
    assert result.exit_code == 0, result.stderr
    assert "not anchored" in result.stdout
    assert "valid" not in result.stdout + result.stderr
    result = CliRunner().invoke(cli, ["--ledger", str(path), "verify", NAME, "--json"])
    assert json.loads(result.stdout)["anchored"] is False
