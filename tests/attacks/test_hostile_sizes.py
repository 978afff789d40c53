"""Hostile numbers, names and sizes at every public entry point: refused at once, clearly, in bounded memory.

JSON values are in test_s08_hostile_events.py, files that are none in test_s13_paths_and_keys.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.bounds import Counted, refused
from tests.ledgers import ORIGIN, QuickDisk, create
from tests.statements import LOG_VKEY, WITNESS_VKEYS, checkpoint, consistency_proof, entry_lines, inclusion_proof
from tests.statements import witness_key as witness
from tlog import (
    Checkpoint,
    ConsistencyProof,
    Ledger,
    Partition,
    Policy,
    Proof,
    VerifierKey,
    hashing,
    keys,
    verify_checkpoint,
    verify_consistency,
    verify_proof,
)
from tlog._strict import format_base64
from tlog.errors import Error, FormatError, NotFoundError, RefusedItemError
from tlog.keys import SigningKey
from tlog.policy import PolicyGroup, PolicyLog, PolicyWitness

MIB = 1 << 20
NUMBERS = [-1, -(2**63), -(2**200), True, False, 0.0, 1.0, 1.5, float("nan"), float("inf"), 2**63, 2**64, 2**200]
LINES = entry_lines(10)
SIGNED = checkpoint(LINES)


@pytest.fixture(scope="module")
def partition(tmp_path_factory: pytest.TempPathFactory) -> Partition:
    """A published partition of 300 entries."""
    created = create(tmp_path_factory.mktemp("hostile") / "l", disk=QuickDisk())
    created.append(0)
    created.publish()
    created.append_many(range(299))
    created.publish()
    return created


def group(threshold: Any) -> Policy:
    """Return a policy with a group of this threshold."""
    key = VerifierKey.parse(WITNESS_VKEYS[1])
    log = PolicyLog(VerifierKey.parse(LOG_VKEY))
    return Policy((log,), (PolicyWitness("W", key),), (PolicyGroup("G", threshold, ("W",)),), "G")


NUMBER_CALLS: dict[str, Callable[[Partition, Any, Path], Any]] = {
    "Partition.entry": lambda p, n, _: p.entry(n),
    "Partition.prove": lambda p, n, _: p.prove(n),
    "Partition.prove_many": lambda p, n, _: p.prove_many([0, n]),
    "Partition.prove_consistency, old": lambda p, n, _: p.prove_consistency(n),
    "Partition.prove_consistency, new": lambda p, n, _: p.prove_consistency(0, n),
    "Partition.checkpoint": lambda p, n, _: p.checkpoint(n),
    "Ledger.create": lambda _, n, path: Ledger.create(path / "other", origin=ORIGIN, segment_entries=n),
    "Checkpoint": lambda _, n, __: Checkpoint("a", n, bytes(32)),
    "Checkpoint.sign": lambda _, n, __: SIGNED.sign(witness(1), timestamp_s=n),
    "Proof": lambda _, n, __: Proof(n, (), SIGNED),
    "ConsistencyProof": lambda _, n, __: ConsistencyProof(n, (), SIGNED),
    "Policy": lambda _, n, __: group(n),
}


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: str(number)[:22])
@pytest.mark.parametrize("call", NUMBER_CALLS)
def test_numbers_that_are_no_sizes(
    partition: Partition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: Any
) -> None:
    """Negative, bool, float and huge numbers: refused without hashing a node."""
    nodes = Counted(hashing.node_hash)
    monkeypatch.setattr("tlog.proof.node_hash", nodes)
    refused(lambda: NUMBER_CALLS[call](partition, number, tmp_path))
    assert nodes.calls == 0
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("number", [-(2**200), -1, 300, 2**63, 2**64, 2**200])
def test_ranges_beyond_the_log_are_empty(partition: Partition, number: int) -> None:
    """Ranges are cut to what exists, as slices are: beyond it is nothing, and the way there costs nothing."""
    expected = 300 if number < 0 else 0
    assert sum(1 for _ in partition.entries(number)) == expected
    assert sum(1 for _ in partition.entries(0, number)) == (0 if number < 0 else 300)


@pytest.mark.parametrize(
    "word", ["-1", "1.0", "+1", "01", "1e3", "0x10", "\uff11", "\u00a01", "1_0", "9" * 25, "9" * 1_000_000]
)
def test_numbers_in_texts(word: str) -> None:
    """Other spellings than canonical decimals, and decimals of a million digits, in every text that has numbers."""
    policy = f"log {LOG_VKEY}\nwitness W {WITNESS_VKEYS[1]}\ngroup G {word} W\nquorum G\n"
    note = SIGNED.raw.decode().replace("\n10\n", f"\n{word}\n", 1)
    inclusion = str(inclusion_proof(3, LINES)).replace("index 3\n", f"index {word}\n")
    consistency = str(consistency_proof(4, LINES)).replace("old 4\n", f"old {word}\n")
    for call in (
        lambda: Checkpoint.parse(note.encode()),
        lambda: Proof.parse(inclusion),
        lambda: Proof.parse(inclusion.encode()),
        lambda: ConsistencyProof.parse(consistency),
        lambda: Policy.parse(policy),
    ):
        refused(call, FormatError, 24 * MIB)


def large(part: bytes, size: int = 10_000_000) -> bytes:
    """Return at least `size` bytes of repeated `part`."""
    return part * (size // len(part) + 1)


HASH_LINE = format_base64(bytes(32)).encode() + b"\n"
SIGNATURE_LINE = SIGNED.raw.splitlines(keepends=True)[-1]
LARGE = {
    "newlines": large(b"\n"),
    "one line": large(b"x"),
    "zeros": large(b"\0"),
    "not UTF-8": large(b"\xff"),
    "signature lines": SIGNED.raw + large(SIGNATURE_LINE),
    "text lines": SIGNED.text + large(b"line\n") + b"\n" + SIGNATURE_LINE,
    "blank lines": large(b"line\n\n") + SIGNATURE_LINE,
    "10^6 hashes, inclusion": b"c2sp.org/tlog-proof@v1\nindex 3\n" + HASH_LINE * 1_000_000 + b"\n" + SIGNED.raw,
    "10^6 hashes, consistency": b"old 4\n" + HASH_LINE * 1_000_000 + b"\n" + SIGNED.raw,
    "a large extra line": b"c2sp.org/tlog-proof@v1\nextra " + large(b"QUFB") + b"\nindex 3\n\n" + SIGNED.raw,
    "policy comments": large(b"# comment\n") + f"log {LOG_VKEY}\nquorum none\n".encode(),
    "policy logs": large(f"log {LOG_VKEY}\n".encode()) + b"quorum none\n",
    "policy members": f"witness W {WITNESS_VKEYS[1]}\ngroup G 1 ".encode() + large(b"W ") + b"\nquorum G\n",
    "blanks": large(b" ") + b"quorum none\n",
}
POLICY = Policy.for_log(LOG_VKEY)


@pytest.mark.parametrize("name", LARGE)
def test_large_texts(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Ten megabytes and more, as note, checkpoint, proof or policy: refused by size, no signature verified."""
    verify = Counted(keys.VerifierKey.verify)
    monkeypatch.setattr(keys.VerifierKey, "verify", verify)
    raw = LARGE[name]
    assert len(raw) >= 10_000_000
    for call in (
        lambda: verify_checkpoint(raw, POLICY),
        lambda: verify_proof(raw, policy=POLICY),
        lambda: verify_consistency(raw, old=SIGNED, policy=POLICY),
        lambda: verify_consistency(consistency_proof(4, LINES), old=raw, policy=POLICY),
        lambda: Policy.parse(raw),
    ):
        refused(call, FormatError)
    assert verify.calls == 0


def test_keys_of_ten_megabytes() -> None:
    """Verifier keys, PEM files, passphrases and key names of ten megabytes."""
    raw = large(b"A")
    text, vkey = raw.decode(), LOG_VKEY + raw.decode()
    for call in (
        lambda: VerifierKey.parse(text),
        lambda: VerifierKey.parse(vkey),
        lambda: Policy.for_log(text),
        lambda: SigningKey.from_pem("a", raw),
        lambda: SigningKey.generate("a").to_pem(raw),
    ):
        refused(call, FormatError)


def test_entries_at_the_limit_and_one_over(tmp_path: Path) -> None:
    """65,535 bytes of line are an entry, one more is none, by every way in; the error states both sizes."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append(0)
    room = 65_535 - len(partition.entry(0).raw) + 1
    full = "x" * (room - 2)
    seqs = [
        partition.append(full).seq,
        partition.submit(full).result().seq,
        partition.append_json(f'"{full}"').seq,
        partition.append_many([full]).start,
        partition.append_many_json([f'"{full}"']).start,
    ]
    assert seqs == [1, 2, 3, 4, 5]
    assert {len(partition.entry(seq).raw) for seq in seqs} == {65_535}
    for call in (
        lambda: partition.append(full + "x"),
        lambda: partition.submit(full + "x").result(),
        lambda: partition.append_json(f'"{full}x"'),
        lambda: partition.append_many([full + "x"]),
        lambda: partition.append_many_json([f'"{full}x"']),
        lambda: partition.append("x", meta={"writer": full}),
    ):
        text = refused(call, FormatError)
        assert f"{room:,} fit into one entry of 65,535 bytes" in text
    assert partition.size == 6
    checkpoint = partition.publish()
    assert partition.verify(checkpoint=checkpoint.raw).entries == 6
    policy = Policy.for_log(partition.vkey)
    assert verify_proof(str(partition.prove(5)), policy=policy).entry.data == full


BAD_NAMES = [
    "",
    ".",
    "..",
    "../users",
    "a/b",
    "/users",
    "a\\b",
    "a\0b",
    "users\n",
    "users ",
    " users",
    "Users",
    "-users",
    ".users",
    "_users",
    "üsers",
    "\uff55sers",
    "us\u200bers",
    "\u202esers",
    "\ud800",
    "users٠",
    "a" * 65,
    "x" * 10_000_000,
    "api",
    "static",
    "v1",
    "metrics",
    "healthz",
    "readyz",
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: ascii(name)[:20])
def test_partition_names(tmp_path: Path, name: str) -> None:
    """Separators, dots, NUL, other alphabets, names that the server needs, and long ones: no partition, no file."""
    ledger = Ledger.create(tmp_path / "l", origin=ORIGIN, disk=QuickDisk())
    refused(lambda: ledger.partition(name), FormatError)
    assert [path.name for path in tmp_path.rglob("*")] == ["l", "tlog.toml"]


BAD_ORIGINS = [
    "",
    " ",
    "https://audit.example.com",
    "/a",
    "a/",
    "a b",
    "a+b",
    "a\nb",
    "a\n",
    "a\0b",
    "a\x7fb",
    "a\u2028b",
    "a\u00a0b",
    "\ud800",
    'a"\nkeys = "/elsewhere',
    "é" * 96,
    "a" * 191,
    "x" * 10_000_000,
]


@pytest.mark.parametrize("origin", BAD_ORIGINS, ids=lambda origin: ascii(origin)[:20])
def test_origins(tmp_path: Path, origin: str) -> None:
    """White space, controls, schemes, what would end a line of a note or of tlog.toml, and long ones: no ledger."""
    refused(lambda: Ledger.create(tmp_path / "l", origin=origin), FormatError, 48 * MIB)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_of_ten_megabytes(tmp_path: Path) -> None:
    """tlog.toml of ten megabytes, nested a hundred thousand deep, or with numbers of a million digits."""
    file = tmp_path / "tlog.toml"
    for text in (
        large(b"#"),
        b'origin = "a.example"\nsegment_entries = ' + b"9" * 60_000 + b"\n",
        b"origin = " + b"[" * 60_000 + b"\n",
        b'origin = "a.example"\n' + b"[a." + b"a." * 3_000 + b"a]\n",
    ):
        file.write_bytes(text)
        refused(lambda: Ledger.open(tmp_path), FormatError, 48 * MIB)


def test_an_endless_iterable_ends_at_its_first_bad_event(tmp_path: Path) -> None:
    """A source without an end, with one bad event: it is asked for no more than a step beyond that."""
    partition = create(tmp_path, disk=QuickDisk())
    taken = 0

    def events() -> Iterator[Any]:
        nonlocal taken
        while True:
            taken += 1
            yield {1, 2} if taken == 1000 else taken

    with pytest.raises(RefusedItemError) as caught:
        partition.append_many(events())
    assert caught.value.appended == partition.size == 999
    assert taken < 2000


def test_nothing_there_is_made_by_asking(tmp_path: Path) -> None:
    """Reading what does not exist creates nothing."""
    ledger = Ledger.create(tmp_path / "l", origin=ORIGIN, disk=QuickDisk())
    missing = ledger.partition("missing")
    for call in (
        lambda: missing.size,
        lambda: missing.entry(2**62),
        lambda: missing.prove(0),
        missing.checkpoint,
        missing.verify,
        missing.fsck,
        lambda: Ledger.open(tmp_path / "nowhere"),
    ):
        refused(call, NotFoundError)
    assert [path.name for path in tmp_path.rglob("*")] == ["l", "tlog.toml"]
    assert issubclass(NotFoundError, Error)
