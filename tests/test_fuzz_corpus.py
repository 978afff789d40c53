"""The corpus of the fuzzer, replayed without it: the seeds as they are, and with some hundred changes each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.seeds import SEEDS
from fuzz.targets import OLD_ROOT_HASH, OLD_TREE_SIZE, ORIGIN, POLICY, TARGETS, attempt
from tlog.checkpoint import Checkpoint
from tlog.verify import verify_proof

CORPUS = Path(__file__).resolve().parent.parent / "testdata" / "fuzz"
SEED_FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())

MUTATIONS = 200
FEW_MUTATIONS = 10
"""For encrypted keys, whose passphrase is slow to try, on purpose; and for seeds of several kilobytes."""

TOKENS = (
    b"\n", b"\n\n", b"\r\n", b"\0", b" ", b"\t", b"-", b"+", b"0", b"9" * 20, b"1" * 5000, b"18446744073709551616",
    b"=", b"\xe2\x80\x94 ", b"\xff", b"\xed\xa0\x80", b"\xef\xbc\x91", b'"', b"\\", b"\\u0000", b"{", b"}", b"[" * 200,
    b"]", b',"a":1,"a":1', b"NaN", b"\xc2\x85",
)  # fmt: skip


def seed_id(path: Path) -> str:
    """Name a seed in pytest's output."""
    return f"{path.parent.name}-{path.name}"


def mutations(data: bytes, others: list[bytes], count: int, seed: str) -> Iterator[bytes]:
    """Yield `count` changed copies of a seed; the same ones at every run."""
    choose = random.Random(seed)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(choose.choice((1, 1, 1, 2, 4))):
            start = choose.randrange(len(changed) + 1)
            end = min(start + choose.choice((0, 1, 1, 2, 8, 40)), len(changed))
            kind = choose.randrange(6)
            if kind == 0 and start < len(changed):
                changed[start] ^= 1 << choose.randrange(8)
            elif kind == 1:
                changed[start:end] = b""
            elif kind == 2:
                changed[start:end] = choose.choice(TOKENS)
            elif kind == 3:
                changed[start:start] = changed[start:end] * choose.choice((1, 2, 70))
            elif kind == 4:
                other = choose.choice(others)
                cut = choose.randrange(len(other) + 1)
                changed[start:end] = other[cut : cut + choose.choice((1, 8, 60))]
            else:
                del changed[start:]
        yield bytes(changed)


def test_corpus_is_the_one_of_the_script() -> None:
    """Every target has seeds, and the files are byte for byte what `fuzz/seeds.py` writes."""
    assert SEEDS.keys() == TARGETS.keys() == {path.parent.name for path in SEED_FILES}
    for target, make in SEEDS.items():
        written = {path.name: path.read_bytes() for path in SEED_FILES if path.parent.name == target}
        made = make()
        assert {name: written.get(name) for name in made} == made
        assert {name.split("-")[0] for name in made} == {"valid", "refused"}


@pytest.mark.parametrize("path", SEED_FILES, ids=seed_id)
def test_seed(path: Path) -> None:
    """A seed is accepted or refused, as its name says, and shows no bug."""
    accepted = attempt(TARGETS[path.parent.name], path.read_bytes())
    assert accepted or not path.name.startswith("valid-")
    assert not accepted or not path.name.startswith("refused-")


@pytest.mark.parametrize("target", TARGETS)
def test_mutations_of_seeds(target: str) -> None:
    """Changed copies of the seeds show no bug, and some of them are accepted while most are refused."""
    seeds = [path.read_bytes() for path in SEED_FILES if path.parent.name == target]
    accepted = tried = 0
    for number, data in enumerate(seeds):
        count = FEW_MUTATIONS if b"ENCRYPTED" in data or len(data) > 4000 else MUTATIONS
        for changed in mutations(data, seeds, count, f"{target} {number}"):
            accepted += attempt(TARGETS[target], changed)
            tried += 1
    assert 0 < accepted < tried // 2 or target == "raw-json"


def test_seeds_get_past_the_signatures() -> None:
    """The seeds are signed with the keys that the targets know, so the fuzzer reaches what lies behind them."""
    verified = verify_proof((CORPUS / "tlog-proof" / "valid-entry").read_bytes(), policy=POLICY)
    assert verified.checkpoint.witnesses_met == ("w",)
    same = (CORPUS / "consistency-proof" / "valid-same-size").read_bytes().partition(b"\n\n")[2]
    checkpoint = POLICY.verify(same)
    assert checkpoint.origin == ORIGIN
    assert checkpoint.checkpoint.text == Checkpoint(ORIGIN, OLD_TREE_SIZE, OLD_ROOT_HASH).text
