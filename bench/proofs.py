"""Inclusion proofs: made at random and in runs, and verified."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import tlog
from bench.harness import Bar, Bench, Row, Sample, latencies, percentile
from bench.ledgers import PARTITION, Built

NAME = "Proofs"

RUN = 1000
"""Proofs of one run."""

TILE_NODES = 255
"""Nodes of a full tile. A proof needs all but eight of those of its entry's tile, which authenticate it."""

VERIFIED = 200
"""Proofs that are verified, again and again."""

MAX_P99_MS = 1.0
MAX_VERIFY_MS = 0.2


def run(bench: Bench) -> Iterator[Row]:
    """Measure making, then verifying."""
    built = bench.ledgers.plain(bench.scale.largest)
    with tlog.Ledger.open(built.path) as ledger:
        partition = ledger.partition(PARTITION)
        yield from _made(bench, built, partition)
        yield from _verified(bench, built, partition)


def _made(bench: Bench, built: Built, partition: tlog.Partition) -> Iterator[Row]:
    taken: list[float] = []
    chosen = random.Random(1)
    seconds = bench.scale.seconds

    def at_random() -> None:
        start = time.perf_counter()
        partition.prove(chosen.randrange(built.size))
        taken.append(time.perf_counter() - start)

    def in_runs() -> None:
        start = chosen.randrange(built.size - RUN)
        partition.prove_many(range(start, start + RUN))

    sides: dict[str, Callable[[], float]] = {
        "random": lambda: _rate(at_random, seconds),
        "runs": lambda: RUN * _rate(in_runs, seconds),
        "nodes": lambda: _rate(_hash_tile, seconds),
    }
    if bench.go.missing is None:
        sides["x/mod"] = lambda: _prove_record(bench, built, partition)
    sample = bench.alternate(sides)
    size = f"{built.size:,} entries"
    random_bars, run_bars = (Bar("value", "≥", 5000),), (Bar("value", "≥", 20_000),)
    bare, xmod = f"SHA-256 over the {TILE_NODES} nodes of a tile", "x/mod ProveRecord"
    yield Row(
        NAME,
        f"`prove`, random, {size}",
        "/s",
        sample["random"],
        bare,
        sample["nodes"],
        random_bars,
        latencies(taken),
    )
    p99 = Sample((percentile(taken, 0.99) * 1e3,))
    yield Row(NAME, "`prove`, random: p99 latency", " ms", p99, bars=(Bar("value", "≤", MAX_P99_MS),))
    note = bench.go.missing or "hashes in memory, in Go; a proof of ours carries entry and checkpoint, all checked"
    yield Row(NAME, f"`prove`, random, {size}", "/s", sample["random"], xmod, sample.get("x/mod"), (), note)
    per_run = Sample(tuple(256 * figure for figure in sample["nodes"].runs))
    yield Row(
        NAME,
        f"`prove_many`, runs of {RUN:,}, {size}",
        "/s",
        sample["runs"],
        "the same nodes, once for 256 proofs",
        per_run,
        run_bars,
    )
    yield Row(NAME, f"`prove_many`, runs of {RUN:,}, {size}", "/s", sample["runs"], xmod, sample.get("x/mod"))


def _verified(bench: Bench, built: Built, partition: tlog.Partition) -> Iterator[Row]:
    policy = tlog.Policy.for_log(partition.vkey)
    seqs = random.Random(2).sample(range(built.size), VERIFIED)
    proofs = partition.prove_many(seqs)
    texts = [str(proof) for proof in proofs]
    messages = [b"\0" + partition.entry(seq).raw for seq in seqs]
    depth = max(len(proof.hashes) for proof in proofs)
    checkpoint = proofs[0].checkpoint.raw
    secret = Ed25519PrivateKey.generate()
    public, signature = secret.public_key(), secret.sign(checkpoint)
    node = bytes(65)

    def ours() -> None:
        for text in texts:
            tlog.verify_proof(text, policy=policy)

    def signature_alone() -> None:
        for _ in texts:
            public.verify(signature, checkpoint)

    def path_alone() -> None:
        for message in messages:
            sha256(message).digest()
            for _ in range(depth):
                sha256(node).digest()

    def milliseconds(action: Callable[[], None]) -> float:
        return 1e3 / (VERIFIED * _rate(action, bench.scale.seconds / 2))

    sample = bench.alternate(
        {
            "ours": lambda: milliseconds(ours),
            "signature": lambda: milliseconds(signature_alone),
            "path": lambda: milliseconds(path_alone),
        }
    )
    bars = (Bar("value", "≤", MAX_VERIFY_MS),)
    share = sample["signature"].median / sample["ours"].median
    detail = f"the signature is {share:.0%} of ours"
    what = "`verify_proof`, from its text"
    yield Row(NAME, what, " ms", sample["ours"], "Ed25519 alone", sample["signature"], bars, detail)
    bare = f"SHA-256 of the entry and {depth} nodes alone"
    yield Row(NAME, what, " ms", sample["ours"], bare, sample["path"])


def _rate(action: Callable[[], None], seconds: float) -> float:
    """Return how often a second `action` is done, over this time."""
    count = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or not count:
        action()
        count += 1
    return count / elapsed


def _hash_tile() -> None:
    """Hash as many nodes as one tile has."""
    sha, node = sha256, bytes(65)
    for _ in range(TILE_NODES):
        sha(node).digest()


def _prove_record(bench: Bench, built: Built, partition: tlog.Partition) -> float:
    """Return how many proofs a second x/mod makes of the same tree."""
    checkpoint = partition.checkpoint()
    report = bench.go.run(
        "proverecord",
        *("-dir", str(built.path / "partitions" / PARTITION)),
        *("-size", str(checkpoint.tree_size)),
        *("-root", checkpoint.root_hash.hex()),
        *("-seconds", str(bench.scale.seconds)),
    )
    return float(report["proofs"] / report["seconds"])
