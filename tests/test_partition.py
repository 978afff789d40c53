from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tlog
from tests import naive
from tests.ledgers import (
    NAME,
    ORIGIN,
    FaultyDisk,
    StepClock,
    copied,
    create,
    files_of,
    lines_of,
    make_ledger,
    make_writable,
    opened,
    tree_of,
)
from tlog import Ledger, Partition, Policy
from tlog.errors import (
    CommitUnknownError,
    ConflictError,
    CorruptLedgerError,
    Error,
    FormatError,
    NotFoundError,
    RefusedItemError,
    StorageError,
)
from tlog.integrate import Integration


def test_the_way_of_an_event(tmp_path: Path) -> None:
    """From append to somebody else's verification, as DESIGN section 6 sketches it."""
    ledger = Ledger.create(tmp_path, origin=ORIGIN)
    users = ledger.partition(NAME)
    receipt = users.append({"user": "alice", "action": "login"})
    assert (receipt.seq, len(receipt.hash)) == (0, 32)
    bulk = users.append_many({"user": "bob", "n": number} for number in range(300))
    assert (bulk.count, bulk.start, bulk.stop) == (300, 1, 301)
    checkpoint = users.publish()
    assert (checkpoint.origin, checkpoint.tree_size) == (f"{ORIGIN}/{NAME}", 301)
    assert checkpoint.root_hash == tree_of(lines_of(users)).root(301)
    policy = Policy.for_log(str(users.vkey))
    proof = users.prove(receipt.seq)
    verified = tlog.verify_proof(str(proof), policy=policy)
    assert verified.entry.data == {"user": "alice", "action": "login"}
    users.append(1)
    newer = users.publish()
    consistency = users.prove_consistency(301)
    assert consistency.checkpoint == newer
    tlog.verify_consistency(str(consistency), old=checkpoint.raw, policy=policy)
    report = users.verify(checkpoint=checkpoint.raw)
    assert (report.entries, report.is_anchored, report.unpublished) == (302, True, 0)
    assert ledger.partitions() == [NAME]
    ledger.close()


def test_an_entry_has_all_its_fields(tmp_path: Path) -> None:
    """An entry read back has seq, ts, partition, prev_hash, meta, data, hash and raw; the raw line is the leaf."""
    partition = create(tmp_path)
    first = partition.append({"b": 1, "a": [None, "é"]}, meta={"writer": "alice"})
    second = partition.append_json(b' {"n": 1.0, "n2": 1E5} ')
    entry, other = partition.entry(0), partition.entry(1)
    assert (entry.seq, entry.partition, entry.meta, entry.data) == (
        0,
        NAME,
        {"writer": "alice"},
        {"b": 1, "a": [None, "é"]},
    )
    assert list(entry.data) == ["b", "a"]
    assert (entry.prev_hash, entry.hash) == (bytes(32), first.hash)
    assert (other.prev_hash, other.hash, other.meta) == (first.hash, second.hash, {})
    assert other.raw_data == b'{"n": 1.0, "n2": 1E5}'
    assert entry.ts < other.ts
    assert entry.hash == hashlib.sha256(entry.raw[: -len(',"hash":""}') - 64]).digest()
    assert [entry.raw, other.raw] == lines_of(partition)
    assert list(json.loads(entry.raw)) == ["seq", "ts", "partition", "prev_hash", "meta", "data", "hash"]


def test_reading_ranges(tmp_path: Path) -> None:
    """entries() yields half-open ranges across segments, ending at what is durable."""
    partition = create(tmp_path)
    partition.append_many(range(600))
    for start, stop in (
        (0, None),
        (0, 0),
        (5, 5),
        (255, 257),
        (256, 512),
        (511, 600),
        (599, 600),
        (600, 700),
        (0, 10**9),
    ):
        expected = list(range(start, min(600 if stop is None else stop, 600)))
        assert [entry.data for entry in partition.entries(start, stop)] == expected
    for seq in (0, 255, 256, 511, 512, 599):
        assert partition.entry(seq).data == seq
    for seq in (-1, 600, 2**64, 2**200):
        with pytest.raises(NotFoundError, match="entry"):
            partition.entry(seq)


def test_what_does_not_exist_yet(tmp_path: Path) -> None:
    """A partition without entries, and one without checkpoint, say so, naming the command that helps."""
    partition = create(tmp_path)
    asked: list[Callable[[], object]] = [
        lambda: partition.size,
        lambda: partition.entry(0),
        lambda: list(partition.entries()),
        partition.verify,
    ]
    for ask in asked:
        with pytest.raises(NotFoundError):
            ask()
    assert not partition.exists
    assert not partition.paths.root.exists()
    partition.append(1)
    asked = [partition.checkpoint, lambda: partition.prove(0), lambda: partition.prove_consistency(0)]
    for ask in asked:
        with pytest.raises(NotFoundError, match="tlog publish users"):
            ask()
    partition.publish()
    partition.append(2)
    with pytest.raises(NotFoundError, match="covers 1 entries"):
        partition.prove(1)
    with pytest.raises(NotFoundError, match="checkpoint of size 2"):
        partition.checkpoint(2)
    with pytest.raises(FormatError, match="old tree size"):
        partition.prove_consistency(2)
    with pytest.raises(ConflictError, match="exists"):
        partition.create()
    with pytest.raises(ConflictError, match="ledger already"):
        Ledger.create(tmp_path, origin=ORIGIN)
    with pytest.raises(NotFoundError, match="tlog init"):
        Ledger.open(tmp_path / "nowhere")


def test_checkpoints_of_all_sizes(tmp_path: Path) -> None:
    """Every checkpoint signed is found by its size, and proofs lead between any two of them."""
    sizes = [1, 2, 3, 255, 256, 257, 300, 511, 512, 513, 600]
    partition = opened(make_ledger(tmp_path, sizes))
    tree = tree_of(lines_of(partition))
    policy = Policy.for_log(partition.vkey)
    for old in sizes:
        assert partition.checkpoint(old).root_hash == tree.root(old)
        for new in sizes:
            if old <= new:
                proof = partition.prove_consistency(old, new)
                assert list(proof.hashes) == ([] if old == new else tree.proof(old, new))
                tlog.verify_consistency(str(proof), old=partition.checkpoint(old).raw, policy=policy)
    with pytest.raises(NotFoundError, match="next larger one is of size 300"):
        partition.checkpoint(258)
    for seq, inclusion in zip(range(0, 600, 37), partition.prove_many(range(0, 600, 37)), strict=True):
        assert list(inclusion.hashes) == tree.path(seq, 0, 600)
        assert tlog.verify_proof(str(inclusion), policy=policy).entry.seq == seq


def test_publishing_an_empty_partition(tmp_path: Path) -> None:
    """A checkpoint of size 0 has the root of the empty tree; the log goes on from it."""
    partition = create(tmp_path)
    with pytest.raises(NotFoundError, match="users"):
        partition.publish()
    partition.create()
    checkpoint = partition.publish()
    assert (checkpoint.tree_size, checkpoint.root_hash) == (0, naive.EMPTY)
    assert partition.publish() == checkpoint
    assert partition.verify().entries == 0
    partition.append(1)
    assert partition.publish().tree_size == 1
    assert partition.prove_consistency(0).hashes == ()
    assert partition.fsck().findings == ()


def test_publishing_unchanged_does_nothing(tmp_path: Path) -> None:
    """publish() where nothing was added writes no file, and signs nothing."""
    partition = create(tmp_path)
    partition.append_many(range(300))
    first = partition.publish()
    before = files_of(tmp_path, times=True)
    for _ in range(3):
        assert partition.publish() == first
    assert files_of(tmp_path, times=True) == before
    partition.close()
    bytes_before = files_of(tmp_path)
    again = opened(tmp_path)
    assert again.publish() == first
    assert files_of(tmp_path) == bytes_before


def test_reading_writes_nothing(tmp_path: Path) -> None:
    """Reading, proving and verifying need no private key and change no file."""
    make_ledger(tmp_path, [100, 300], more=5)
    (tmp_path / "keys" / f"{NAME}.pem").unlink()
    before = files_of(tmp_path, times=True)
    partition = opened(tmp_path)
    assert len(list(partition.entries())) == 305
    partition.prove(7)
    partition.prove_consistency(100)
    assert partition.verify().unpublished == 5
    assert partition.fsck().findings == ()
    assert files_of(tmp_path, times=True) == before
    with pytest.raises(NotFoundError, match="nothing can be signed"):
        partition.publish()


def test_the_clock_steps_back(tmp_path: Path) -> None:
    """R9: with the clock an hour back, ts is held at its last value, also after a reopening, and never goes back."""
    clock = StepClock()
    partition = create(tmp_path, clock=clock)
    partition.append(0)
    clock.now_ns -= 3_600_000_000_000
    partition.append(1)
    partition.append_many([2, 3])
    partition.publish()
    partition.close()
    partition = opened(tmp_path, clock=clock)
    partition.append(4)
    clock.now_ns += 7_200_000_000_000
    partition.append(5)
    times = [entry.ts for entry in partition.entries()]
    assert times[:5] == [times[0]] * 5
    assert times[5] > times[4]
    assert partition.publish().tree_size == 6
    assert partition.verify().entries == 6


def test_entries_at_the_limit(tmp_path: Path) -> None:
    """A line of exactly 65,535 bytes is accepted; one byte more is refused with both sizes, and nothing is written."""
    partition = create(tmp_path)
    partition.append("")
    room = 65_535 - len(lines_of(partition)[0])
    for append in (
        partition.append,
        lambda data: partition.submit(data).result(),
        lambda data: partition.append_many([data]),
        lambda data: partition.append_json(json.dumps(data)),
    ):
        before = files_of(tmp_path)
        with pytest.raises(FormatError) as caught:
            append("x" * (room + 1))
        assert f"{room + 3:,} bytes of JSON where {room + 2:,} fit into one entry of 65,535 bytes" in str(caught.value)
        assert files_of(tmp_path) == before
    shutil.rmtree(tmp_path)
    partition = create(tmp_path)
    assert partition.append("x" * room).seq == 0
    assert len(lines_of(partition)[0]) == 65_535
    assert partition.append_many(["x" * room, "y" * room]).stop == 3
    assert [len(entry.raw) for entry in partition.entries()] == [65_535] * 3
    partition.publish()
    assert partition.verify().entries == 3


def test_a_refused_entry_writes_nothing(tmp_path: Path) -> None:
    """Each way of appending refuses data that JSON cannot carry, and no file changes."""
    partition = create(tmp_path)
    partition.append(0)
    before = files_of(tmp_path, times=True)
    for append in (partition.append, partition.submit):
        with pytest.raises(FormatError, match=r"data\.a\[1\]"):
            append({"a": [1, float("nan")]})
    with pytest.raises(FormatError, match="meta"):
        partition.append(1, meta={"a": float("inf")})
    with pytest.raises(FormatError, match="stands twice"):
        partition.append_json('{"a":1,"a":2}')
    assert files_of(tmp_path, times=True) == before


@pytest.mark.parametrize("index", [0, 1, 31, 255, 256, 4_095, 4_096, 8_192, 9_000])
def test_a_bad_item_among_many(tmp_path: Path, index: int) -> None:
    """The error has the item's index, and exactly the items before it are durable."""
    partition = create(tmp_path)
    items: list[Any] = [*range(index), {"x": float("nan")}, *range(10)]
    with pytest.raises(RefusedItemError, match=rf"item {index}, data\.x: nan .* the {index} items before it") as caught:
        partition.append_many(iter(items))
    assert (caught.value.index, caught.value.appended) == (index, index)
    partition.close()
    assert [entry.data for entry in opened(tmp_path).entries()] == list(range(index))
    assert partition.append_many(items[index + 1 :]).start == index


@pytest.mark.parametrize("index", [0, 5, 5_000])
def test_a_bad_text_among_many(tmp_path: Path, index: int) -> None:
    """append_many_json refuses the same way, and keeps the texts before byte for byte."""
    partition = create(tmp_path)
    texts = [b'{"n": %d.0}' % number for number in range(index)]
    with pytest.raises(RefusedItemError, match=f"item {index}, .*stands twice") as caught:
        partition.append_many_json([*texts, '{"a":1,"a":1}', b"1"])
    assert (caught.value.index, caught.value.appended) == (index, index)
    assert [entry.raw_data for entry in partition.entries()] == texts


def test_an_item_that_only_just_does_not_fit(tmp_path: Path) -> None:
    """An item that would fit as entry 0 and is one byte too large for entry 10 is refused, and nothing is lost."""
    partition = create(tmp_path)
    partition.append("")
    room = 65_535 - len(lines_of(partition)[0])
    shutil.rmtree(tmp_path)
    partition = create(tmp_path)
    items = [*range(10), "x" * room, *range(20)]
    with pytest.raises(RefusedItemError) as caught:
        partition.append_many(items)
    assert (caught.value.index, caught.value.appended) == (10, 10)
    assert [entry.data for entry in partition.entries()] == list(range(10))


def test_many_that_are_none(tmp_path: Path) -> None:
    """No items, no entries."""
    partition = create(tmp_path)
    assert partition.append_many([]).count == 0
    assert partition.append_many_json(iter(())).count == 0
    assert partition.publish().tree_size == 0


@pytest.mark.parametrize("count", [0, 3, 4_096, 10_000])
def test_the_callers_iterable_raises(tmp_path: Path, count: int) -> None:
    """An exception of the caller's own iterable comes through as it is, after what came before is durable."""
    partition = create(tmp_path)

    def items() -> Iterator[int]:
        yield from range(count)
        raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        partition.append_many(items())
    partition.close()
    assert [entry.data for entry in opened(tmp_path).entries()] == list(range(count))


def test_follow_waits_and_stops(tmp_path: Path) -> None:
    """follow() starts at the next entry unless told otherwise, and ends when it is stopped."""
    partition = create(tmp_path)
    partition.append_many(range(3))
    stop = threading.Event()
    follower = partition.follow(1, stop=stop)
    assert [next(follower).data for _ in range(2)] == [1, 2]
    partition.append(3)
    assert next(follower).data == 3
    stop.set()
    assert list(follower) == []
    waiting = partition.follow(stop=threading.Event())
    timer = threading.Timer(0.2, lambda: partition.append("new"))
    timer.start()
    assert next(waiting).data == "new"
    timer.join()


# Names and settings


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/a", "a\\b", "A", "-a", ".a", "_a", "a b", "a\0", "a\n", "ü", "a" * 65, "api", "static",
     "v1",
     "metrics", "healthz", "readyz", "aé", "a\u202e", "../../etc/passwd"],
)  # fmt: skip
def test_partition_names(tmp_path: Path, name: str) -> None:
    """A name with separators, NUL, other letters or a path of the server is refused, and nothing is created."""
    ledger = Ledger.create(tmp_path, origin=ORIGIN)
    before = files_of(tmp_path)
    with pytest.raises(FormatError, match="partition name"):
        ledger.partition(name)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("name", ["a", "0", "a.b", "a-b_c.d", "a" * 64, "users..x", "apis"])
def test_good_partition_names(tmp_path: Path, name: str) -> None:
    """Other names work, up to 64 characters."""
    ledger = Ledger.create(tmp_path, origin=ORIGIN)
    ledger.partition(name).append(1)
    assert ledger.partitions() == [name]
    assert ledger.partition(name).publish().origin == f"{ORIGIN}/{name}"
    ledger.close()


@pytest.mark.parametrize(
    "origin", ["", "a b", "a+b", "https://a.example", "/a", "a/", "a\n", "a\0", "x" * 300, "a\ud800", "a\u00a0b"]
)
def test_origins(tmp_path: Path, origin: str) -> None:
    """An origin prefix that no log's name can begin with is refused, and no ledger is made."""
    with pytest.raises(FormatError, match="origin"):
        Ledger.create(tmp_path / "l", origin=origin)
    assert not (tmp_path / "l").exists()


@pytest.mark.parametrize(
    "text",
    [b"", b"x", b"\xff", b"origin = 1\n", b'origin = "a b"\n', b'origin = "a"\nsegment_entries = 100\n',
     b'origin = "a"\nsegment_entries = 128\n', b'origin = "a"\nsegment_entries = 131072\n',
     b'origin = "a"\nsegment_entries = true\n', b'origin = "a"\nsegment_entries = "256"\n', b'origin = "a"\nkeys = 7\n',
     b'origin = "a"\nkeys = ""\n', b'origin = "a"\nother = 1\n', b'origin = "a"\n' + b"#" * 70_000,
     b"origin = " + b"[" * 10_000],
)  # fmt: skip
def test_bad_configurations(tmp_path: Path, text: bytes) -> None:
    """A configuration with a wrong or unknown setting is refused, naming the file."""
    (tmp_path / "tlog.toml").write_bytes(text)
    with pytest.raises(FormatError, match=r"tlog\.toml"):
        Ledger.open(tmp_path)


def test_keys_elsewhere_and_encrypted(tmp_path: Path) -> None:
    """Keys may lie on another volume and be encrypted; without the passphrase nothing is signed."""
    ledger = Ledger.create(tmp_path / "l", origin=ORIGIN, keys="../keys", passphrase=b"correct horse")
    partition = ledger.partition(NAME)
    partition.append(1)
    assert (tmp_path / "keys" / f"{NAME}.pem").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in (tmp_path / "keys" / f"{NAME}.pem").read_bytes()
    checkpoint = partition.publish()
    ledger.close()
    with Ledger.open(tmp_path / "l", passphrase=b"wrong") as locked:
        locked.partition(NAME).append(2)
        with pytest.raises(FormatError, match=r"users\.pem"):
            locked.partition(NAME).publish()
    with Ledger.open(tmp_path / "l") as locked:
        assert locked.partition(NAME).checkpoint() == checkpoint
        with pytest.raises(FormatError, match="passphrase"):
            locked.partition(NAME).publish()
    with Ledger.open(tmp_path / "l", passphrase=b"correct horse") as unlocked:
        assert unlocked.partition(NAME).publish().tree_size == 2


# Refusing to sign and to append (invariants 2 and 3, R3)


def refuses(path: Path, match: str = "") -> None:
    """Check that the ledger neither appends nor signs, and that no statement of it changes."""
    statements = {name: seen for name, seen in files_of(path).items() if "checkpoint" in name or "keys" in name}
    for action in (lambda partition: partition.append("more"), Partition.publish):
        with pytest.raises(CorruptLedgerError, match=match):
            action(opened(path))
    after = {name: seen for name, seen in files_of(path).items() if "checkpoint" in name or "keys" in name}
    assert after == statements


def part(path: Path, *names: str) -> Path:
    """Return a path in the partition's directory."""
    return path.joinpath("partitions", NAME, *names)


def test_rolled_back_data_is_not_signed(tmp_path: Path) -> None:
    """R3 (a): the partition's directory restored from a backup meets the key's record, which is ahead."""
    backup = make_ledger(tmp_path / "old", [100])
    current = copied(backup, tmp_path / "new")
    partition = opened(current)
    partition.append_many(range(50))
    partition.publish()
    partition.close()
    shutil.rmtree(part(current))
    shutil.copytree(part(backup), part(current))
    refuses(current, "150 entries")


def test_rolled_back_segments_are_not_signed(tmp_path: Path) -> None:
    """Segments alone restored from a backup: fewer entries than were signed."""
    backup = make_ledger(tmp_path / "old", [100])
    current = copied(backup, tmp_path / "new")
    partition = opened(current)
    partition.append_many(range(50))
    partition.publish()
    partition.close()
    shutil.rmtree(part(current, "segments"))
    shutil.copytree(part(backup, "segments"), part(current, "segments"))
    refuses(current, "150 entries|entry 149")


def test_a_rolled_back_checkpoint_is_healed_or_refused(tmp_path: Path) -> None:
    """The published file alone put back is healed from the record; with the record cut too, the key's record counts."""
    path = make_ledger(tmp_path / "l", [100, 150])
    newest = part(path, "checkpoint").read_bytes()
    lines = part(path, "checkpoints.jsonl").read_bytes().split(b"\n")
    old = json.loads(lines[0])["note"].encode()
    part(path, "checkpoint").write_bytes(old)
    assert opened(path).publish().raw == newest
    assert part(path, "checkpoint").read_bytes() == newest
    part(path, "checkpoint").write_bytes(old)
    part(path, "checkpoints.jsonl").write_bytes(lines[0] + b"\n")
    # The key's record says 150: the log goes on only because the entries make exactly that tree.
    assert opened(path).publish().tree_size == 150
    edited = part(path, "segments", "0" * 20 + ".jsonl")
    part(path, "checkpoint").write_bytes(old)
    part(path, "checkpoints.jsonl").write_bytes(lines[0] + b"\n")
    partition = opened(path)
    cut = b"\n".join(edited.read_bytes().split(b"\n")[:120]) + b"\n"
    make_writable(edited).write_bytes(cut)
    refuses(path, "150 entries")
    part(path, "lock").unlink()
    refuses(path, "150 entries")
    del partition


def test_a_rolled_back_signer_record_is_refused(tmp_path: Path) -> None:
    """The key's record put back, or removed, or of another log, while the checkpoints are ahead of it."""
    old = make_ledger(tmp_path / "old", [100])
    path = copied(old, tmp_path / "new")
    partition = opened(path)
    partition.append(1)
    partition.publish()
    partition.close()
    record = path / "keys" / f"{NAME}.signed"
    good = record.read_bytes()
    record.write_bytes((old / "keys" / f"{NAME}.signed").read_bytes())
    refuses(path, "the key's record is not the last")
    record.unlink()
    refuses(path, "the key's record of them is gone")
    record.write_bytes(good.replace(b"users", b"other"))
    refuses(path, "another log")
    record.write_bytes(b"garbage\n")
    refuses(path, "cannot be read")
    record.write_bytes(good)
    assert opened(path).publish().tree_size == 101


def test_two_copies_with_one_key(tmp_path: Path) -> None:
    """R3 (b): of two copies that share one key directory and went different ways, only one gets a signature."""
    source = make_ledger(tmp_path / "a", [10])
    (source / "keys").rename(tmp_path / "keys")
    config = source / "tlog.toml"
    config.write_text(config.read_text().replace('keys = "keys"', 'keys = "../keys"'))
    copy = copied(source, tmp_path / "b")
    first, second = opened(source), opened(copy)
    first.append("one way")
    second.append("another way")
    assert first.publish().tree_size == 11
    with pytest.raises(CorruptLedgerError, match="another tree of size 11"):
        second.publish()
    second.append("and on")
    with pytest.raises(CorruptLedgerError, match="another tree of size 11"):
        second.publish()
    second.close()
    with pytest.raises(CorruptLedgerError):
        opened(copy).publish()
    assert first.publish().tree_size == 11
    sizes = [json.loads(line)["tree_size"] for line in part(copy, "checkpoints.jsonl").read_bytes().splitlines()]
    assert sizes == [10]


def test_two_copies_with_copied_keys_contradict_each_other(tmp_path: Path) -> None:
    """With the keys copied too, nothing here can help: what both sign is evidence for whoever sees both."""
    source = make_ledger(tmp_path / "a", [10])
    copy = copied(source, tmp_path / "b")
    first, second = opened(source), opened(copy)
    first.append("one way")
    second.append("another way")
    kept = first.publish()
    second.publish()
    with pytest.raises(tlog.InconsistentLogError):
        second.verify(checkpoint=kept.raw)


def test_an_edited_entry_is_not_signed_over(tmp_path: Path) -> None:
    """An unsigned entry edited on disk, its chain made right again: the next one does not chain to what was durable."""
    path = make_ledger(tmp_path, [5], more=5)
    segment = part(path, "segments", "0" * 20 + ".jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"event":7', b'"event":8'))
    with pytest.raises(CorruptLedgerError, match="entry 7"):
        opened(path).append("more")
    with pytest.raises(CorruptLedgerError, match="entry 7"):
        opened(path).publish()


def test_an_edge_tile_that_was_altered_stops_the_log(tmp_path: Path) -> None:
    """A bit flipped in a right-edge tile: nothing is appended or signed, and the error names tile and command."""
    path = make_ledger(tmp_path, [300])
    tile = part(path, "tile", "0", "001.p", "44")
    raw = tile.read_bytes()
    make_writable(tile).write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
    refuses(path, r"tile/0/001\.p/44.*fsck|tile/0/001\.p/44")
    tile.write_bytes(raw)
    assert opened(path).append(1).seq == 300


def test_a_flipped_bit_in_memory_is_not_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R1 (Yeti 2022): a leaf hash flipped between hashing and signing: two computations must agree."""
    partition = create(tmp_path)
    partition.append_many(range(300))
    partition.publish()
    partition.append_many(range(300))
    real = Integration.to

    def flipped(self: Integration, stop: int) -> bytes:
        root = real(self, stop)
        if stop < 600:
            return root
        row = self._builder._rows[0]
        row[0] = bytes([row[0][0] ^ 1]) + row[0][1:]
        return self._builder.root()

    monkeypatch.setattr(Integration, "to", flipped)
    before = (tmp_path / "keys" / f"{NAME}.signed").read_bytes()
    with pytest.raises(CorruptLedgerError, match="memory or disk is failing; nothing was signed"):
        partition.publish()
    assert (tmp_path / "keys" / f"{NAME}.signed").read_bytes() == before
    assert partition.checkpoint().tree_size == 300
    monkeypatch.undo()
    assert partition.publish().tree_size == 600
    assert partition.fsck().is_clean


# Failing writes and syncs


def scenario(partition: Partition, told: list[int]) -> None:
    """Append, publish, cross a segment and a tile, publish again; note what was acknowledged."""
    told.append(partition.append(0).seq)
    partition.publish()
    told.extend(range(1, partition.append_many(range(1, 250)).stop))
    told.extend(future.result().seq for future in [partition.submit(number) for number in range(250, 260)])
    partition.publish()
    told.append(partition.append(260).seq)
    partition.publish()


def count_operations(path: Path) -> list[str]:
    """Return the changing operations of the scenario, in order."""
    disk = FaultyDisk()
    partition = create(path, disk=disk)
    start = len(disk.log)
    scenario(partition, [])
    partition.close()
    return disk.log[start:]


@pytest.mark.parametrize("mode", ["not done", "half done", "done"])
def test_every_failing_operation(tmp_path: Path, mode: str) -> None:
    """Whichever write, sync or rename fails once: the error is ours, and the ledger goes on after reopening.

    Every acknowledged entry is there unaltered, nothing is signed twice, fsck is clean.
    """
    operations = count_operations(tmp_path / "count")
    assert len(operations) > 60
    for number, operation in enumerate(operations):
        path = tmp_path / "l"
        shutil.rmtree(path, ignore_errors=True)
        create(path)
        disk = FaultyDisk(number, mode)
        partition = opened(path, disk=disk)
        told: list[int] = []
        with contextlib.suppress(StorageError, CommitUnknownError):
            scenario(partition, told)
        assert len(disk.log) > number, operation
        with contextlib.suppress(Error):
            partition.close()
        again = opened(path, disk=FaultyDisk())
        size = again.append("after").seq
        entries = list(again.entries())
        where = f"{operation} ({number}, {mode})"
        assert [entry.seq for entry in entries] == list(range(size + 1)), where
        assert told == list(range(len(told))), where
        assert size >= len(told), where
        assert [entry.data for entry in entries[:-1]] == list(range(size)), where
        assert again.publish().tree_size == size + 1, where
        report = again.fsck()
        assert report.findings == (), where
        assert again.verify().entries == size + 1
        sizes = [json.loads(line)["tree_size"] for line in part(path, "checkpoints.jsonl").read_bytes().splitlines()]
        assert sizes == sorted(set(sizes)), where
        again.close()


@pytest.mark.parametrize("mode", ["not done", "half done", "done"])
@pytest.mark.parametrize("target", ["write_many_at 0", "sync 0", "write_at lock"])
def test_a_failed_write_poisons_the_writer(tmp_path: Path, mode: str, target: str) -> None:
    """After a failed write or sync every append and publish fails, until reopen() recovers."""
    make_ledger(tmp_path, [5])
    disk = FaultyDisk()
    partition = opened(tmp_path, disk=disk)
    partition.append(5)
    start = len(disk.log)
    partition.append(6)
    offset = next(n for n, name in enumerate(disk.log[start:]) if name.startswith(target))
    disk.fail_at, disk.mode = len(disk.log) + offset, mode
    pending = partition.submit(7)
    with pytest.raises(CommitUnknownError, match=r"injected into .*whether the entries are stored is unknown"):
        pending.result()
    statements = {name: seen for name, seen in files_of(tmp_path).items() if "checkpoint" in name or "keys" in name}
    actions: list[Callable[[], object]] = [
        lambda: partition.append(8),
        lambda: partition.submit(8).result(),
        lambda: partition.append_many([8, 9]),
        partition.publish,
    ]
    for action in actions:
        with pytest.raises(CommitUnknownError, match="open the partition again"):
            action()
    assert isinstance(pending.exception(), CommitUnknownError)
    assert statements == {
        name: seen for name, seen in files_of(tmp_path).items() if "checkpoint" in name or "keys" in name
    }
    assert [entry.data for entry in partition.entries(5)][:2] == [5, 6]
    partition.reopen()
    stored = [entry.data for entry in partition.entries(5)]
    assert stored in ([5, 6], [5, 6, 7])
    assert stored == ([5, 6] if mode != "done" and target.startswith("write_many") else [5, 6, 7])
    assert partition.append("after").seq == 5 + len(stored)
    assert partition.publish().tree_size == 6 + len(stored)
    assert partition.fsck().findings == ()


def test_a_failed_recovery_read_keeps_the_writer_poisoned(tmp_path: Path) -> None:
    """R6: a write fails, and so does the recovery that follows: all calls fail, nothing is signed, until one works."""

    class Broken(FaultyDisk):
        can_read = True

        def read_at(self, fd: int, size: int, offset: int, path: str | Path) -> bytes:
            if not self.can_read and str(path).endswith(".jsonl"):
                raise StorageError(f"{path}: Input/output error, injected into read")
            return super().read_at(fd, size, offset, path)

    make_ledger(tmp_path, [5])
    disk = Broken()
    partition = opened(tmp_path, disk=disk)
    partition.append(5)
    disk.fail_at = len(disk.log) + 1
    with pytest.raises(CommitUnknownError):
        partition.append(6)
    disk.can_read = False
    for _ in range(3):
        with pytest.raises(Error, match="injected into read"):
            partition.reopen()
        with pytest.raises(Error, match="injected into read"):
            partition.append(7)
        with pytest.raises(Error, match="injected into read"):
            partition.publish()
    assert (tmp_path / "keys" / f"{NAME}.signed").read_bytes().split(b"\n")[1] == b"5"
    disk.can_read = True
    partition.reopen()
    assert partition.append(8).seq in (6, 7)
    assert partition.publish().tree_size in (7, 8)
    assert partition.fsck().findings == ()


def test_memory_does_not_grow_with_what_is_appended(tmp_path: Path) -> None:
    """Invariant 8: appending four times as much through a generator needs no more memory."""
    code = """
import resource, sys
from tlog import Ledger
partition = Ledger.create(sys.argv[1], origin="a.example").partition("users")
partition.append_many({"n": n, "text": "x" * 100} for n in range(int(sys.argv[2])))
partition.publish()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = []
    for number, count in enumerate((25_000, 100_000)):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / str(number)), str(count)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).resolve().parent.parent,
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 20_000  # KiB; the entries alone would take 25,000 more
